//! From a wish to an order: how much, in which direction, and whether it only reduces.
//!
//! Pure arithmetic over what is held and what is working. An order that only reduces never fails for its level or for
//! the freshness of the price.

use rust_decimal::Decimal;

use super::event::Level;
use crate::model::amount::{Money, Price, Quantity};
use crate::model::instrument::Instrument;
use crate::model::order::Side;
use crate::model::signal::{Action, Reason, Refusal, Size};

/// What the plan is made from. Quantities are base units.
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    /// What is wished.
    pub action: Action,
    /// How much, the strategy's default already filled in; `None` only for `flat`.
    pub size: Option<Size>,
    /// Whether the size is the strategy's default, so that a target does nothing when its side is held.
    pub size_is_default: bool,
    /// Where a loss is cut, for `risk_pct`.
    pub stop_loss: Option<Price>,
    /// Signed position.
    pub position: Quantity,
    /// Signed sum of what working orders would still add.
    pub working: Quantity,
    /// What working orders would still take off the position, without sign.
    pub exits_working: Quantity,
    /// The part of it in market orders, which surely fill.
    pub exits_sent: Quantity,
    /// The part of that in orders that only reduce.
    pub exits_only: Quantity,
    /// Whether any other order is working, which a `flat` takes back.
    pub has_orders: bool,
    /// The price that the size refers to: the limit, else the other side's quote, else the last price.
    pub price: Option<Price>,
    /// Why no entry is taken at the present price: too old, or too far from that of the alert.
    pub price_unfit: Option<&'a Refusal>,
    /// Equity of the strategy.
    pub equity: Money,
    /// Lot and minimum.
    pub instrument: &'a Instrument,
    /// The level that counts.
    pub level: Level,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The target is reached already.
    Unchanged,
    /// Take back what is working; nothing is held that is not being closed.
    CancelOnly,
    /// Send one order.
    Order {
        /// Signed base units.
        quantity: Quantity,
        /// The part of it that opens or enlarges, without sign; 0 makes it reduce-only.
        opened: Quantity,
        /// Take back what is working first.
        cancel_first: bool,
        /// The level cut a flip down to its closing part.
        only_closes: bool,
    },
}

/// Makes the plan.
///
/// # Errors
/// `no_price`, `stale_price`, `price_deviation`, `paused`, `reduce_only`, `below_minimum`, and `malformed` for a stop
/// on the wrong side.
pub fn plan(input: &PlanInput<'_>) -> Result<Plan, Refusal> {
    if input.action == Action::Flat {
        return Ok(plan_flat(input));
    }
    let Some(delta) = delta(input)? else { return Ok(Plan::Unchanged) };
    let opposes = !input.position.is_zero() && Side::of(delta) != Side::of(input.position);
    let left = |working: Quantity| match opposes {
        true => (input.position.abs() - working).max(Quantity::ZERO),
        false => Quantity::ZERO,
    };
    // What rests may never fill, so an exit does not wait for it; what it makes superfluous is taken back.
    let closable = left(input.exits_sent);
    if delta.abs() <= closable {
        if delta.abs() < input.position.abs() {
            check_minimum(input, delta.abs())?;
        }
        let opened = Quantity::ZERO;
        return Ok(Plan::Order { quantity: delta, opened, cancel_first: false, only_closes: false });
    }
    let opened = delta.abs() - left(input.exits_working);
    if let Some(refusal) = refusal_of_level(input.level) {
        if closable.is_zero() {
            return Err(refusal);
        }
        let quantity = Side::of(delta).signed(closable);
        return Ok(Plan::Order { quantity, opened: Quantity::ZERO, cancel_first: false, only_closes: true });
    }
    if let Some(unfit) = input.price_unfit {
        return Err(unfit.clone());
    }
    check_minimum(input, delta.abs())?;
    Ok(Plan::Order { quantity: delta, opened, cancel_first: false, only_closes: false })
}

/// The refusal of an entry at this level.
pub fn refusal_of_level(level: Level) -> Option<Refusal> {
    match level {
        Level::Run => None,
        Level::Pause => Some(Refusal::new(Reason::Paused, "level is pause: no entries")),
        Level::Reduce | Level::Flatten => {
            let detail = format!("level is {}: only orders that reduce", level.as_str());
            Some(Refusal::new(Reason::ReduceOnly, detail))
        }
    }
}

fn plan_flat(input: &PlanInput<'_>) -> Plan {
    let missing = input.position.abs() - input.exits_only;
    match (missing.is_positive(), input.has_orders) {
        (false, false) => Plan::Unchanged,
        (false, true) => Plan::CancelOnly,
        (true, _) => Plan::Order {
            quantity: Side::of(input.position).opposite().signed(missing),
            opened: Quantity::ZERO,
            cancel_first: true,
            only_closes: false,
        },
    }
}

/// The signed change that is wished, in whole lots; `None` when the target is reached.
fn delta(input: &PlanInput<'_>) -> Result<Option<Quantity>, Refusal> {
    let side = input.action.side();
    let size = input.size.expect("every action but flat has a size by now");
    let projected = input.position + input.working;
    let relative = input.size_is_default || size.is_relative();
    if input.action.is_target() && relative && !projected.is_zero() && Side::of(projected) == side {
        return Ok(None);
    }
    let quantity = input.instrument.round_quantity(quantity_of(input, size, side)?);
    if quantity.is_zero() {
        check_minimum(input, quantity)?;
    }
    if !input.action.is_target() {
        return Ok(Some(side.signed(quantity)));
    }
    let delta = side.signed(quantity) - projected;
    Ok((!delta.is_zero()).then_some(delta))
}

fn quantity_of(input: &PlanInput<'_>, size: Size, side: Side) -> Result<Quantity, Refusal> {
    if let Size::Quantity(quantity) = size {
        return Ok(quantity);
    }
    let Some(price) = input.price else {
        let no_price = || Refusal::new(Reason::NoPrice, "the feed has not sent a price yet");
        return Err(refusal_of_level(input.level).unwrap_or_else(no_price));
    };
    let share = |pct: Decimal| {
        let product = input.equity.value().checked_mul(pct).unwrap_or(Decimal::MAX);
        Money::new(product / Decimal::ONE_HUNDRED)
    };
    match size {
        Size::Quantity(quantity) => Ok(quantity),
        Size::Notional(notional) => Ok(input.instrument.quantity_for(notional, price)),
        Size::EquityPct(pct) => Ok(input.instrument.quantity_for(share(pct.value()).max(Money::ZERO), price)),
        Size::RiskPct(pct) => {
            let distance = stop_distance(input, price, side)?;
            Ok(input.instrument.quantity_for(share(pct.value()).max(Money::ZERO), distance))
        }
    }
}

fn stop_distance(input: &PlanInput<'_>, price: Price, side: Side) -> Result<Price, Refusal> {
    let malformed = |detail: String| Err(Refusal::new(Reason::Malformed, detail));
    let Some(stop) = input.stop_loss else {
        return malformed("stop_loss: missing, a size of risk_pct needs it".into());
    };
    let distance = match side {
        Side::Buy => price - stop,
        Side::Sell => stop - price,
    };
    if !distance.is_positive() {
        let wanted = if side == Side::Buy { "below" } else { "above" };
        return malformed(format!("stop_loss: {stop} must be {wanted} the price {price}"));
    }
    Ok(distance)
}

fn check_minimum(input: &PlanInput<'_>, quantity: Quantity) -> Result<(), Refusal> {
    let minimum = input.instrument.quantity_min();
    if quantity >= minimum {
        return Ok(());
    }
    let symbol = input.instrument.symbol();
    let detail = format!(
        "quantity {quantity} is below the minimum {minimum} of {symbol} (lot {})",
        input.instrument.lot()
    );
    Err(Refusal::new(Reason::BelowMinimum, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::amount::{Ratio, parse_decimal};
    use crate::model::ids::Symbol;

    fn quantity(text: &str) -> Quantity {
        Quantity::new(parse_decimal(text).unwrap())
    }

    /// `action size position working exits level` and what is planned; size `d1` is a default of 1, `e10` is 10 % of
    /// an equity of 1000 at a price of 100, `n50` is a notional of 50; exits `r1` rest, others are on their way.
    fn check(line: &str, expected: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let instrument = Instrument::plain(Symbol::new("BTC-USDT").unwrap());
        let number = |text: &str| parse_decimal(text).unwrap();
        let size = match words[1].split_at(1) {
            ("-", _) => None,
            ("d", rest) => Some(Size::Quantity(quantity(rest))),
            ("e", rest) => Some(Size::EquityPct(Ratio::new(number(rest)))),
            ("n", rest) => Some(Size::Notional(Money::new(number(rest)))),
            ("r", rest) => Some(Size::RiskPct(Ratio::new(number(rest)))),
            _ => Some(Size::Quantity(quantity(words[1]))),
        };
        let input = PlanInput {
            action: ["long", "short", "flat", "buy", "sell"]
                .iter()
                .zip([Action::Long, Action::Short, Action::Flat, Action::Buy, Action::Sell])
                .find_map(|(word, action)| (*word == words[0]).then_some(action))
                .unwrap(),
            size,
            size_is_default: words[1].starts_with('d'),
            stop_loss: Some(Price::new(number("90"))),
            position: quantity(words[2]),
            working: quantity(words[3]),
            exits_working: quantity(words[4].trim_start_matches('r')),
            exits_sent: if words[4].starts_with('r') { Quantity::ZERO } else { quantity(words[4]) },
            exits_only: if words[4].starts_with('r') { Quantity::ZERO } else { quantity(words[4]) },
            has_orders: words[3] != "0",
            price: Some(Price::new(number("100"))),
            price_unfit: None,
            equity: Money::new(number("1000")),
            instrument: &instrument,
            level: Level::parse(words[5]).unwrap(),
        };
        let shown = match plan(&input) {
            Ok(Plan::Order { quantity, opened, cancel_first, only_closes }) => {
                let flags = [(cancel_first, " cancel_first"), (only_closes, " only_closes")];
                let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, word)| *word).collect();
                format!("{quantity} opens {opened}{flags}")
            }
            Ok(other) => format!("{other:?}"),
            Err(refusal) => refusal.reason.as_str().into(),
        };
        assert_eq!(shown, expected, "{line}");
    }

    #[test]
    fn targets_and_deltas() {
        check("long 1 0 0 0 run", "1 opens 1");
        check("long 1 1 0 0 run", "Unchanged");
        check("long 1 0.4 0 0 run", "0.6 opens 0.6");
        check("long 1 3 0 0 run", "-2 opens 0");
        check("long 1 0 1 0 run", "Unchanged");
        check("long 1 -2 0 0 run", "3 opens 1");
        check("short 1 2 0 0 run", "-3 opens 1");
        check("long d1 0.2 0 0 run", "Unchanged");
        check("long d1 -2 0 0 run", "3 opens 1");
        check("long e10 5 0 0 run", "Unchanged");
        check("long e10 0 0 0 run", "1 opens 1");
        check("long n50 0 0 0 run", "0.5 opens 0.5");
        check("long r1 0 0 0 run", "1 opens 1");
        check("short r1 0 0 0 run", "malformed");
        check("buy 1 0 0 0 run", "1 opens 1");
        check("sell 1 3 0 0 run", "-1 opens 0");
        check("sell 1 3 -3 3 run", "-1 opens 1");
        check("sell 1 3 -3 r3 run", "-1 opens 0");
        check("sell 4 3 -3 r3 run", "-4 opens 4");
        check("flat - 3 -3 3 run", "CancelOnly");
        check("flat - 3 -1 1 run", "-2 opens 0 cancel_first");
        check("flat - 0 0 0 run", "Unchanged");
        check("flat - 0 1 0 run", "CancelOnly");
        check("flat - -2 0 0 run", "2 opens 0 cancel_first");
        check("buy 0.000000001 0 0 0 run", "below_minimum");
        // Absurd sizes are cut down, for the margin check to refuse.
        check("long e10000000000000 0 0 0 run", "1000000000000 opens 1000000000000");
        check("long r10000000000000 0 0 0 run", "10000000000000 opens 10000000000000");
    }

    #[test]
    fn exits_pass_every_level() {
        for level in ["pause", "reduce", "flatten"] {
            let refused = if level == "pause" { "paused" } else { "reduce_only" };
            check(&format!("long 1 0 0 0 {level}"), refused);
            check(&format!("buy 1 1 0 0 {level}"), refused);
            check(&format!("sell 1 1 0 0 {level}"), "-1 opens 0");
            check(&format!("sell 2 1 -1 r1 {level}"), "-1 opens 0 only_closes");
            check(&format!("short 1 1 0 0 {level}"), "-1 opens 0 only_closes");
            check(&format!("flat - 1 0 0 {level}"), "-1 opens 0 cancel_first");
        }
    }
}
