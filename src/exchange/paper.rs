//! The paper exchange: fills like a venue that is never on your side.
//!
//! Market orders fill completely at the latest price of the other side; resting orders only when the market trades
//! through them, and what one print or one level offers is consumed once. A stop is touched by the last price and then
//! fills like a market order, at the worse of the quote and the last price. Known limits: no queue position, no market
//! impact, no partial fill of a market order, no order book beyond the best level.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::matching::{stopped_price, taker_price, traded_through, trigger_price, within_limit};
use super::{Exchange, MarketView};
use crate::model::amount::{Money, Price, Quantity, Ratio};
use crate::model::ids::{ClientOrderId, Symbol};
use crate::model::market::PriceUpdate;
use crate::model::order::{Order, OrderReason, OrderType, Side};
use crate::model::report::{ExecutionReport, Liquidity};
use crate::model::stop::ProtectiveStop;
use crate::model::time::Timestamp;
use crate::risk::RiskApproved;

/// How a paper exchange fills.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaperSettings {
    /// Fee of a fill that takes liquidity, as a share of its notional.
    pub fee_taker_ratio: Ratio,
    /// Fee of a fill that gives liquidity, as a share of its notional. Negative is a rebate.
    pub fee_maker_ratio: Ratio,
    /// What a market order without a known quote pays beyond the last price, in basis points.
    pub slippage_bps: Ratio,
    /// Time between an order and its arrival at the exchange, in milliseconds.
    pub latency_ms: i64,
    /// Notional may reach equity x leverage.
    pub leverage: Ratio,
}

impl PaperSettings {
    /// The fee of a fill.
    pub fn fee(&self, price: Price, quantity: Quantity, liquidity: Liquidity) -> Money {
        let ratio = match liquidity {
            Liquidity::Taker => self.fee_taker_ratio,
            Liquidity::Maker => self.fee_maker_ratio,
        };
        price.times(quantity).times(ratio)
    }
}

/// A simulated venue for one strategy.
#[derive(Debug)]
pub struct PaperExchange {
    settings: PaperSettings,
    /// On their way, in order of arrival; also market orders that wait for a price they may fill at.
    pending: Vec<Pending>,
    /// Resting, in order of arrival.
    resting: Vec<PaperOrder>,
    /// The stops of positions, one for each symbol.
    stops: BTreeMap<Symbol, ProtectiveStop>,
    /// What our fills took from the best level of a side, so that a repeated quote offers it only once.
    consumed: BTreeMap<(Symbol, Side), (Price, Quantity)>,
}

#[derive(Clone, Copy, Debug)]
struct PaperOrder {
    order_id: ClientOrderId,
    symbol: Symbol,
    side: Side,
    order_type: OrderType,
    remaining: Quantity,
    /// A touched stop became this order.
    of_stop: bool,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    order: PaperOrder,
    /// When it arrives; `Timestamp::MIN` once it did and only waits for a price.
    due: Timestamp,
    /// It fills only after the market has seen more updates than this.
    updates_min: u64,
}

impl PaperExchange {
    /// An exchange without orders.
    pub fn new(settings: PaperSettings) -> PaperExchange {
        let (pending, resting) = (Vec::new(), Vec::new());
        PaperExchange { settings, pending, resting, stops: BTreeMap::new(), consumed: BTreeMap::new() }
    }

    /// Lets an order arrive: fills it, rests it, or leaves it waiting (`false`) for a price that it may fill at.
    fn arrive(
        &mut self,
        pending: &Pending,
        market: &MarketView<'_>,
        reports: &mut Vec<ExecutionReport>,
    ) -> bool {
        let order = pending.order;
        let fillable = market.updates > pending.updates_min;
        let price = match order.of_stop {
            true => stopped_price(order.side, market, self.settings.slippage_bps),
            false => taker_price(order.side, market, self.settings.slippage_bps),
        };
        let price = price.filter(|_| fillable);
        match (order.order_type, price) {
            (OrderType::Market, None) => return false,
            (OrderType::Market, Some(price)) => {
                reports.push(self.fill(&order, price, order.remaining, Liquidity::Taker));
            }
            (OrderType::Limit { price: limit }, Some(price)) if within_limit(order.side, limit, price) => {
                reports.push(self.fill(&order, price, order.remaining, Liquidity::Taker));
            }
            (OrderType::Limit { .. }, _) => {
                self.resting.push(order);
                reports.push(ExecutionReport::Working { order_id: order.order_id });
            }
        }
        true
    }

    fn fill(
        &self,
        order: &PaperOrder,
        price: Price,
        quantity: Quantity,
        liquidity: Liquidity,
    ) -> ExecutionReport {
        let fee = self.settings.fee(price, quantity, liquidity);
        ExecutionReport::Filled { order_id: order.order_id, price, quantity, fee, liquidity }
    }

    fn arrivals(
        &mut self,
        at: Timestamp,
        symbol: Symbol,
        market: &MarketView<'_>,
        reports: &mut Vec<ExecutionReport>,
    ) {
        let mut index = 0;
        while index < self.pending.len() {
            let pending = self.pending[index];
            let due = pending.order.symbol == symbol && pending.due <= at;
            if due && self.arrive(&pending, market, reports) {
                self.pending.remove(index);
            } else {
                index += 1;
            }
        }
    }

    /// Fills resting orders that the update traded through, best price first, then by arrival.
    fn match_resting(
        &mut self,
        symbol: Symbol,
        update: &PriceUpdate,
        market: &MarketView<'_>,
        reports: &mut Vec<ExecutionReport>,
    ) {
        let mut candidates: Vec<(usize, Price, super::Available)> = Vec::new();
        for (index, order) in self.resting.iter().enumerate() {
            let limit = order.order_type.price().filter(|_| order.symbol == symbol);
            let offer = limit.and_then(|limit| Some((limit, traded_through(order.side, limit, update)?)));
            if let Some((limit, available)) = offer {
                candidates.push((index, limit, available));
            }
        }
        candidates.sort_by_key(|(index, limit, _)| match self.resting[*index].side {
            Side::Buy => (Side::Buy, -*limit),
            Side::Sell => (Side::Sell, *limit),
        });
        let is_quote = matches!(update, PriceUpdate::Quote { .. });
        let mut taken = Quantity::ZERO;
        for (index, limit, available) in candidates {
            let mut order = self.resting[index];
            let before = if is_quote { self.taken_from_level(&order, available.price) } else { taken };
            let offered = available.quantity.map_or(order.remaining, |quantity| quantity - before);
            let quantity = market.instrument.round_quantity(order.remaining.min(offered));
            if !quantity.is_positive() {
                continue;
            }
            reports.push(self.fill(&order, limit, quantity, Liquidity::Maker));
            order.remaining -= quantity;
            self.resting[index] = order;
            taken += quantity;
            if is_quote {
                self.consumed.insert((symbol, order.side), (available.price, before + quantity));
            }
        }
        self.resting.retain(|order| order.remaining.is_positive());
    }

    fn taken_from_level(&self, order: &PaperOrder, price: Price) -> Quantity {
        match self.consumed.get(&(order.symbol, order.side)) {
            Some((level, taken)) if *level == price => *taken,
            _ => Quantity::ZERO,
        }
    }
}

impl Exchange for PaperExchange {
    fn submit(
        &mut self,
        at: Timestamp,
        order: RiskApproved,
        market: &MarketView<'_>,
        reports: &mut Vec<ExecutionReport>,
    ) {
        let order = order.order();
        let mut pending = Pending {
            order: PaperOrder::of(order),
            due: at.plus_ms(self.settings.latency_ms),
            updates_min: if market.from_candle { market.updates } else { 0 },
        };
        if self.settings.latency_ms == 0 {
            if self.arrive(&pending, market, reports) {
                return;
            }
            pending.due = Timestamp::MIN;
        }
        self.pending.push(pending);
    }

    fn cancel(
        &mut self,
        _at: Timestamp,
        order_id: ClientOrderId,
        reason: OrderReason,
        reports: &mut Vec<ExecutionReport>,
    ) {
        let before = self.pending.len() + self.resting.len();
        self.pending.retain(|pending| pending.order.order_id != order_id);
        self.resting.retain(|order| order.order_id != order_id);
        if self.pending.len() + self.resting.len() < before {
            reports.push(ExecutionReport::Cancelled { order_id, reason });
        }
    }

    fn on_price(
        &mut self,
        at: Timestamp,
        symbol: Symbol,
        update: &PriceUpdate,
        market: &MarketView<'_>,
        reports: &mut Vec<ExecutionReport>,
    ) {
        // The market moves first: what rests sees the update before what arrives only now.
        if !self.resting.is_empty() {
            self.match_resting(symbol, update, market, reports);
        }
        if !self.pending.is_empty() {
            self.arrivals(at, symbol, market, reports);
        }
        // Last, so that a stop closes also what this update has filled.
        if let Some(stop) = self.stops.get(&symbol) {
            reports.extend(trigger_price(update, market).and_then(|price| triggered(stop, price)));
        }
    }

    fn on_wakeup(
        &mut self,
        at: Timestamp,
        symbol: Symbol,
        market: &MarketView<'_>,
        reports: &mut Vec<ExecutionReport>,
    ) {
        self.arrivals(at, symbol, market, reports);
        // What is due but must wait for a price asks for no further wakeup: the price itself is one.
        for pending in &mut self.pending {
            if pending.order.symbol == symbol && pending.due <= at {
                pending.due = Timestamp::MIN;
            }
        }
    }

    fn next_wakeup(&self) -> Option<(Timestamp, Symbol)> {
        let waiting = self.pending.iter().filter(|pending| pending.due != Timestamp::MIN);
        waiting.map(|pending| (pending.due, pending.order.symbol)).min()
    }

    fn restore(&mut self, order: &Order) {
        let order = PaperOrder::of(order);
        match order.order_type {
            OrderType::Limit { .. } => self.resting.push(order),
            OrderType::Market => self.pending.push(Pending { order, due: Timestamp::MIN, updates_min: 0 }),
        }
    }

    fn protect(
        &mut self,
        _: Timestamp,
        symbol: Symbol,
        stop: Option<&ProtectiveStop>,
        market: &MarketView<'_>,
        reports: &mut Vec<ExecutionReport>,
    ) {
        match stop {
            Some(stop) => {
                reports.extend(market.trigger().and_then(|price| triggered(stop, price)));
                self.stops.insert(symbol, stop.clone());
            }
            None => {
                self.stops.remove(&symbol);
            }
        }
    }

    fn close_touched(
        &mut self,
        at: Timestamp,
        order: RiskApproved,
        market: &MarketView<'_>,
        reports: &mut Vec<ExecutionReport>,
    ) {
        self.submit(at, order, market, reports);
    }

    fn restore_stop(&mut self, stop: &ProtectiveStop) {
        self.stops.insert(stop.symbol, stop.clone());
    }

    fn stop(&self, symbol: Symbol) -> Option<&ProtectiveStop> {
        self.stops.get(&symbol)
    }
}

fn triggered(stop: &ProtectiveStop, last: Price) -> Option<ExecutionReport> {
    let (stop_id, symbol) = (stop.stop_id, stop.symbol);
    let report = |cause| ExecutionReport::Triggered { stop_id, symbol, cause, quantity: None };
    stop.touched(last).map(report)
}

impl PaperOrder {
    fn of(order: &Order) -> PaperOrder {
        PaperOrder {
            order_id: order.order_id,
            symbol: order.symbol,
            side: order.side,
            order_type: order.order_type,
            remaining: order.remaining(),
            of_stop: order.is_of_stop(),
        }
    }
}

#[cfg(test)]
#[path = "paper_tests.rs"]
mod tests;
