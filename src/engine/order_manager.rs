//! Order ids, and what a report does to an order: pure steps from (order, report) to records.

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

use super::record::{Correction, DriftRecord, Record};
use super::state::State;
use crate::exchange::paper::PaperSettings;
use crate::model::amount::{Money, Price, Quantity};
use crate::model::ids::{ClientOrderId, SignalId, StoreId, StrategyId, Symbol, VenueId};
use crate::model::live::{Drift, Figures, LiveOrder};
use crate::model::order::{Order, OrderReason, OrderStatus, OrderType, Side};
use crate::model::position::{Execution, Position};
use crate::model::report::{ExecutionReport, Fill, Trade};
use crate::model::time::Timestamp;

/// The most orders that a strategy may have working at once; beyond it entries are refused as `limit_exceeded`.
pub const OPEN_ORDERS_MAX: usize = 100;

/// The id of an order: the first 32 characters of lowercase base32 of SHA-256 over what caused it. The same cause in
/// the same store gives the same id, so a retry can never become a second order.
pub fn order_id(
    store: StoreId,
    strategy: StrategyId,
    cause: &str,
    time: Timestamp,
    leg: &str,
) -> ClientOrderId {
    let mut hash = Sha256::new();
    let time = time.as_ms().to_string();
    for part in [store.as_str(), strategy.as_str(), cause, &time, leg] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let text = BASE32_NOPAD.encode(&hash.finalize()).to_ascii_lowercase();
    ClientOrderId::new(&text[..32]).expect("base32 has only letters and the digits 2 to 7")
}

/// What an order is made from.
#[derive(Clone, Debug)]
pub struct OrderDraft {
    /// The strategy.
    pub strategy: StrategyId,
    /// The pair.
    pub symbol: Symbol,
    /// Where it goes.
    pub venue: VenueId,
    /// The signal behind it.
    pub signal_id: Option<SignalId>,
    /// Base units, negative to sell.
    pub quantity_signed: Quantity,
    /// Market or limit.
    pub order_type: OrderType,
    /// Whether it may only reduce.
    pub reduce_only: bool,
}

impl OrderDraft {
    /// The order, about to be submitted.
    pub fn order(self, order_id: ClientOrderId, at: Timestamp) -> Order {
        Order {
            order_id,
            strategy: self.strategy,
            symbol: self.symbol,
            venue: self.venue,
            signal_id: self.signal_id,
            side: Side::of(self.quantity_signed),
            order_type: self.order_type,
            quantity: self.quantity_signed.abs(),
            filled_quantity: Quantity::ZERO,
            filled_notional: Money::ZERO,
            reduce_only: self.reduce_only,
            status: OrderStatus::Submitting,
            reason: None,
            created: at,
            time: at,
        }
    }
}

/// The order with another status.
pub fn with_status(order: &Order, status: OrderStatus, reason: Option<OrderReason>, at: Timestamp) -> Order {
    // What made an order is told as long as nothing else has to be.
    Order { status, reason: reason.or(order.reason), time: at, ..order.clone() }
}

/// The records that a report leads to; none for an order that is not open any more, such as a report that came twice.
///
/// # Panics
/// When the exchange reports more than was ordered.
pub fn records_of(state: &State, at: Timestamp, report: &ExecutionReport) -> Vec<Record> {
    match *report {
        ExecutionReport::Working { order_id } => {
            changed(state, order_id, |order| with_status(order, OrderStatus::Working, None, at))
        }
        ExecutionReport::Cancelled { order_id, reason } => {
            changed(state, order_id, |order| with_status(order, OrderStatus::Cancelled, Some(reason), at))
        }
        ExecutionReport::Status { order_id, status, reason } => {
            changed(state, order_id, |order| with_status(order, status, reason, at))
        }
        ExecutionReport::Cut { order_id, quantity } => {
            changed(state, order_id, |order| Order { quantity, time: at, ..order.clone() })
        }
        ExecutionReport::Noted(ref note) => vec![Record::Live(note.clone())],
        ExecutionReport::Drifted { order_id, drift } => {
            let live = state.live.order(order_id).map(|order| order.strategy);
            live.map(|strategy| drifted(strategy, order_id, drift, at)).into_iter().collect()
        }
        ExecutionReport::NotedStop(ref stop) => vec![Record::LiveStop(stop.clone())],
        ExecutionReport::Settled { order_id, figures } => {
            let live = state.live.orders.get(&order_id);
            live.and_then(|live| correction(live, figures, at)).into_iter().collect()
        }
        ExecutionReport::Ask(_) | ExecutionReport::Warned { .. } => Vec::new(),
        ExecutionReport::Filled { order_id, price, quantity, fee, liquidity } => {
            let live = state.live.orders.get(&order_id);
            let order = state.orders.get(&order_id).or(live.map(|live| &live.order));
            let Some(order) = order else { return Vec::new() };
            // What a venue says is a fact, also beyond what was ordered.
            let simulated = live.is_none();
            assert!(!simulated || quantity <= order.remaining(), "order {order_id} was overfilled");
            let strategy = &state.strategies[&order.strategy];
            let execution = Execution {
                symbol: order.symbol,
                side: order.side,
                quantity,
                price,
                fee,
                order_id,
                time: at,
            };
            let result = Position::after(strategy.positions.get(&order.symbol), &execution);
            let fill = Fill {
                strategy: order.strategy,
                symbol: order.symbol,
                venue: order.venue,
                event_type: result.event_type,
                side: order.side,
                quantity,
                price,
                fee,
                liquidity,
                realized_pnl: result.realized_pnl,
                position_quantity: result.position.as_ref().map_or(Quantity::ZERO, |p| p.quantity),
                order_id,
                signal_id: order.signal_id.clone(),
                number: fills_of(state, order_id) + 1,
                time: at,
            };
            let mut records = vec![Record::Fill(fill.clone()), Record::Order(after_fill(order, &fill))];
            records.extend(result.closed.map(|position| Record::Trade(trade_of(&fill, &position))));
            records
        }
        ExecutionReport::Triggered { .. } => Vec::new(),
    }
}

/// The record of an open order as `change` makes it; none for one that ended.
fn changed(state: &State, order_id: ClientOrderId, change: impl FnOnce(&Order) -> Order) -> Vec<Record> {
    state.orders.get(&order_id).map(|order| Record::Order(change(order))).into_iter().collect()
}

fn drifted(strategy: StrategyId, order_id: ClientOrderId, drift: Drift, time: Timestamp) -> Record {
    Record::Drift(DriftRecord { strategy, order_id, drift, time })
}

/// The report as it may be booked: a reduce-only order never does more than close, also when one print filled several
/// orders at once. For simulated fills only; a fill at a venue is a fact.
pub fn cut_to_position(state: &State, paper: &PaperSettings, report: &ExecutionReport) -> ExecutionReport {
    let ExecutionReport::Filled { order_id, price, quantity, fee, liquidity } = *report else {
        return report.clone();
    };
    let Some(order) = state.orders.get(&order_id).filter(|order| order.reduce_only) else {
        return report.clone();
    };
    let position = state.strategies[&order.strategy].positions.get(&order.symbol);
    let opposed = position.filter(|position| position.side() != order.side);
    let held = opposed.map_or(Quantity::ZERO, |position| position.quantity.abs());
    if held.is_zero() {
        return ExecutionReport::Cancelled { order_id, reason: OrderReason::ReduceOnly };
    }
    let kept = quantity.min(held);
    // A share of the fee that was rounded for the whole would be rounded twice.
    let fee = if kept == quantity { fee } else { paper.fee(price, kept, liquidity) };
    ExecutionReport::Filled { order_id, price, quantity: kept, fee, liquidity }
}

/// What the ledger lacks of the sums of an order's executions, if anything.
fn correction(live: &LiveOrder, figures: Figures, at: Timestamp) -> Option<Record> {
    let (order, ledger) = (&live.order, live.ledger);
    let differs = (ledger.notional, ledger.fee) != (figures.notional, figures.fee);
    differs.then(|| {
        Record::Correction(Correction {
            strategy: order.strategy,
            symbol: order.symbol,
            order_id: order.order_id,
            side: order.side,
            notional: figures.notional - ledger.notional,
            fee: figures.fee - ledger.fee,
            time: at,
        })
    })
}

fn fills_of(state: &State, order_id: ClientOrderId) -> u32 {
    let live = state.live.orders.get(&order_id).map(|live| live.fills);
    live.or(state.order_fills.get(&order_id).copied()).unwrap_or(0)
}

/// One that ended or is being taken back stays so, unless nothing of it is left.
fn after_fill(order: &Order, fill: &Fill) -> Order {
    let mut order = order.clone();
    order.filled_quantity += fill.quantity;
    order.filled_notional += fill.price.times(fill.quantity);
    order.status = match order.status {
        _ if order.remaining().is_zero() => OrderStatus::Filled,
        status if status.is_final() || status == OrderStatus::Cancelling => status,
        _ => OrderStatus::PartlyFilled,
    };
    order.time = fill.time;
    order
}

fn trade_of(fill: &Fill, position: &Position) -> Trade {
    Trade {
        id: format!("{}-{}", position.opened_by, position.opened_at.as_ms()),
        strategy: fill.strategy,
        symbol: fill.symbol,
        venue: fill.venue,
        side: fill.side.opposite(),
        open_time: position.opened_at,
        close_time: fill.time,
        open_price: position.open_price().unwrap_or(Price::ZERO),
        close_price: position.close_price().unwrap_or(Price::ZERO),
        quantity: position.entered_quantity,
        pnl: position.realized_pnl - position.fees + position.funding,
        fees: position.fees,
        funding: position.funding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_cause_gives_the_same_id() {
        let id = |store: &str, strategy: &str, cause: &str, ms: i64| {
            let (store, strategy) = (StoreId::new(store).unwrap(), StrategyId::new(strategy).unwrap());
            order_id(store, strategy, cause, Timestamp::from_ms(ms), "0").to_string()
        };
        assert_eq!(id("ab", "s", "c", 1), id("ab", "s", "c", 1));
        assert_eq!(id("ab", "s", "c", 1).len(), 32);
        let others =
            [id("ac", "s", "c", 1), id("ab", "sc", "", 1), id("ab", "s", "d", 1), id("ab", "s", "c", 2)];
        assert!(others.iter().all(|other| *other != id("ab", "s", "c", 1)));
    }
}
