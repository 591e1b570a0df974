//! What a signal says about stops: held against the price, rounded to the tick, and for whom it is meant.
//!
//! Stops belong to the side that the signal names. A trigger is rounded towards the price, so that it is never touched
//! later than asked for, and lies beyond it even then.

use super::desk::Desk;
use super::exchange_control::ExchangeControl;
use super::record::{Record, TriggersRecord};
use super::state::State;
use crate::model::amount::Price;
use crate::model::ids::{ClientOrderId, StrategyId, Symbol};
use crate::model::instrument::Instrument;
use crate::model::order::{Order, Side};
use crate::model::signal::{Reason, Refusal, Signal};
use crate::model::stop::{StopCause, Trigger, Triggers};

/// Whether a signal names any.
pub(super) fn names_stops(signal: &Signal) -> bool {
    signal.stop_loss.is_some() || signal.take_profit.is_some()
}

/// The stops that a signal names, as they may be set: beyond both `prices`, which are the least and the greatest at
/// which a position is entered, or the last price when it is held.
///
/// # Errors
/// `malformed` for a stop on the wrong side of the price, `no_price` when there is none to hold it against.
pub(super) fn triggers_of(
    state: &State,
    signal: &Signal,
    instrument: &Instrument,
    prices: Option<(Price, Price)>,
) -> Result<Triggers, Refusal> {
    let number = state.sequence + 1;
    let trigger = |cause: StopCause, asked: Option<Price>| {
        let Some(asked) = asked else { return Ok(None) };
        let Some(prices) = prices else {
            let detail = format!("{}: there is no price to hold it against", cause.as_str());
            return Err(Refusal::new(Reason::NoPrice, detail));
        };
        let price = checked(cause, asked, signal.action.side(), instrument, prices)?;
        Ok(Some(Trigger { price, signal_id: signal.id.clone(), number }))
    };
    Ok(Triggers {
        stop_loss: trigger(StopCause::StopLoss, signal.stop_loss)?,
        take_profit: trigger(StopCause::TakeProfit, signal.take_profit)?,
    })
}

/// The prices that stops are held against which a signal sets without an entry.
pub(super) fn prices_of(
    state: &State,
    strategy: StrategyId,
    signal: &Signal,
    last: Option<Price>,
) -> Option<(Price, Price)> {
    let held = state.strategies[&strategy].positions.get(&signal.symbol);
    if held.is_some_and(|held| held.side() == signal.action.side()) {
        return last.map(|last| (last, last));
    }
    let entries = entries(state, strategy, signal);
    let prices = entries.filter_map(|order| price_entered(order.side, order.order_type.price(), last));
    prices.fold(None, |range, price| {
        let (least, greatest) = range.unwrap_or((price, price));
        Some((price.min(least), price.max(greatest)))
    })
}

/// About where an entry fills: at the last price, or at its limit if that is better.
pub(super) fn price_entered(side: Side, limit: Option<Price>, last: Option<Price>) -> Option<Price> {
    match (side, limit, last) {
        (Side::Buy, Some(limit), Some(last)) => Some(limit.min(last)),
        (Side::Sell, Some(limit), Some(last)) => Some(limit.max(last)),
        (_, limit, last) => limit.or(last),
    }
}

/// A trigger on the tick, which must be beyond the prices.
fn checked(
    cause: StopCause,
    asked: Price,
    side: Side,
    instrument: &Instrument,
    (least, greatest): (Price, Price),
) -> Result<Price, Refusal> {
    let below = (cause == StopCause::StopLoss) == (side == Side::Buy);
    // Towards the price: up for a trigger below it.
    let rounded = instrument.round_price_against(asked, if below { Side::Buy } else { Side::Sell });
    let price = if below { least } else { greatest };
    let beyond = if below { rounded < price } else { rounded > price };
    if beyond {
        return Ok(rounded);
    }
    let shown = match rounded == asked {
        true => asked.to_string(),
        false => format!("{asked}, on the tick {rounded},"),
    };
    let wanted = if below { "below" } else { "above" };
    let detail = format!("{}: {shown} must be {wanted} the price {price}", cause.as_str());
    Err(Refusal::new(Reason::Malformed, detail))
}

/// Whose stops a signal changes that makes no entry: the position's (`None`) and those of working entries of its side,
/// as far as they have other ones.
pub(super) fn stop_targets(
    state: &State,
    strategy: StrategyId,
    signal: &Signal,
    triggers: &Triggers,
) -> Vec<Option<ClientOrderId>> {
    let (symbol, side) = (signal.symbol, signal.action.side());
    let position = state.strategies[&strategy].positions.get(&symbol);
    let stops = state.stops.of_position(strategy, symbol).map(|stops| &stops.triggers);
    let held = position.is_some_and(|position| position.side() == side) && differs(stops, triggers);
    let changed = |order: &&Order| differs(state.stops.of_order(order.order_id), triggers);
    let entries = entries(state, strategy, signal).filter(changed).map(|order| Some(order.order_id));
    held.then_some(None).into_iter().chain(entries).collect()
}

/// The working entries of the side and symbol of a signal.
fn entries<'s>(
    state: &'s State,
    strategy: StrategyId,
    signal: &Signal,
) -> impl Iterator<Item = &'s Order> + use<'s> {
    let (symbol, side) = (signal.symbol, signal.action.side());
    state.orders.values().filter(move |order| {
        let own = order.strategy == strategy && order.symbol == symbol;
        own && order.side == side && !order.reduce_only
    })
}

/// Whether a trigger that is named has another price than that which is there.
fn differs(there: Option<&Triggers>, named: &Triggers) -> bool {
    [StopCause::StopLoss, StopCause::TakeProfit].into_iter().any(|cause| {
        let before = there.and_then(|triggers| triggers.get(cause)).map(|trigger| trigger.price);
        named.get(cause).is_some_and(|named| Some(named.price) != before)
    })
}

impl ExchangeControl {
    /// Sets stops of a symbol's position (`None`) and of working entries.
    pub(super) fn set_stops(
        &mut self,
        desk: &mut Desk<'_>,
        index: usize,
        symbol: Symbol,
        targets: &[Option<ClientOrderId>],
        triggers: &Triggers,
    ) {
        let strategy = self.accounts[index].settings.id;
        for order_id in targets.iter().copied() {
            let triggers = triggers.clone();
            let named = TriggersRecord { strategy, symbol, order_id, triggers, time: desk.at };
            desk.record(Record::Triggers(named));
        }
        self.with_reports(desk, index, |control, desk, reports| {
            control.protect(desk, index, symbol, reports);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::amount::{Quantity, parse_decimal};
    use rust_decimal::Decimal;

    fn price(text: &str) -> Price {
        Price::new(parse_decimal(text).unwrap())
    }

    #[test]
    fn triggers_lie_beyond_the_price_on_the_tick() {
        let symbol = Symbol::new("BTC-USDT").unwrap();
        let one = Quantity::new(Decimal::ONE);
        let instrument = Instrument::new(symbol, price("0.5"), one, one, one).unwrap();
        let check = |cause, side, asked: &str, expected: &str| {
            let shown = match checked(cause, price(asked), side, &instrument, (price("100"), price("102"))) {
                Ok(rounded) => rounded.to_string(),
                Err(refusal) => format!("{}: {}", refusal.reason.as_str(), refusal.detail),
            };
            assert_eq!(shown, expected, "{cause:?} {side:?} {asked}");
        };
        use StopCause::{StopLoss, TakeProfit};
        check(StopLoss, Side::Buy, "95", "95");
        check(StopLoss, Side::Buy, "95.1", "95.5");
        check(TakeProfit, Side::Buy, "105.4", "105");
        check(StopLoss, Side::Sell, "105.4", "105");
        check(TakeProfit, Side::Sell, "95.1", "95.5");
        check(StopLoss, Side::Buy, "0.0001", "0.5");
        check(StopLoss, Side::Buy, "100", "malformed: stop_loss: 100 must be below the price 100");
        check(StopLoss, Side::Sell, "102", "malformed: stop_loss: 102 must be above the price 102");
        check(TakeProfit, Side::Buy, "99", "malformed: take_profit: 99 must be above the price 102");
        let near = "malformed: stop_loss: 99.9, on the tick 100, must be below the price 100";
        check(StopLoss, Side::Buy, "99.9", near);
    }
}
