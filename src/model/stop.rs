//! Protective stops: the prices at which a position is closed, at most one of each kind for a position.

use serde::{Deserialize, Serialize};

use super::amount::{Price, Quantity};
use super::ids::{ClientOrderId, SignalId, Symbol};
use super::order::Side;

/// Which of the two prices was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopCause {
    /// The one that cuts a loss.
    StopLoss,
    /// The one that takes a profit.
    TakeProfit,
}

impl StopCause {
    /// `stop_loss` or `take_profit`.
    pub fn as_str(self) -> &'static str {
        match self {
            StopCause::StopLoss => "stop_loss",
            StopCause::TakeProfit => "take_profit",
        }
    }
}

/// A price that closes a position, and the signal that set it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// On the tick.
    pub price: Price,
    /// The signal; the order that the trigger becomes carries it.
    pub signal_id: SignalId,
    /// Rises with every signal that sets a trigger: of two for one position the greater counts, whichever comes first.
    pub number: u64,
}

/// What a signal asks for, or what a position has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Triggers {
    /// Where a loss is cut.
    pub stop_loss: Option<Trigger>,
    /// Where a profit is taken.
    pub take_profit: Option<Trigger>,
}

impl Triggers {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.stop_loss.is_none() && self.take_profit.is_none()
    }

    /// The trigger of a cause.
    pub fn get(&self, cause: StopCause) -> Option<&Trigger> {
        match cause {
            StopCause::StopLoss => self.stop_loss.as_ref(),
            StopCause::TakeProfit => self.take_profit.as_ref(),
        }
    }

    /// Takes over what `named` names, unless what is here was set later; what it does not name is kept.
    pub fn merge(&mut self, named: &Triggers) {
        let pairs = [(&mut self.stop_loss, &named.stop_loss), (&mut self.take_profit, &named.take_profit)];
        for (mine, theirs) in pairs {
            if let Some(theirs) = theirs
                && mine.as_ref().is_none_or(|mine| mine.number <= theirs.number)
            {
                *mine = Some(theirs.clone());
            }
        }
    }
}

/// The stop of one position, as an exchange keeps it: reduce-only, at the market when the last price touches a trigger;
/// of both triggers the first that is touched ends the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectiveStop {
    /// Our id, on disk before it leaves. Another size or price is another stop with another id.
    pub stop_id: ClientOrderId,
    /// The pair.
    pub symbol: Symbol,
    /// The closing side: sell for a long position.
    pub side: Side,
    /// Base units, without sign: the whole position of the strategy.
    pub quantity: Quantity,
    /// Trigger of the stop loss.
    pub stop_loss: Option<Price>,
    /// Trigger of the take profit.
    pub take_profit: Option<Price>,
}

impl ProtectiveStop {
    /// Which trigger this last price touches: the stop loss first.
    pub fn touched(&self, last: Price) -> Option<StopCause> {
        let fallen = |trigger: Price| last <= trigger;
        let risen = |trigger: Price| last >= trigger;
        let (loses, wins) = match self.side {
            Side::Sell => (self.stop_loss.is_some_and(fallen), self.take_profit.is_some_and(risen)),
            Side::Buy => (self.stop_loss.is_some_and(risen), self.take_profit.is_some_and(fallen)),
        };
        match (loses, wins) {
            (true, _) => Some(StopCause::StopLoss),
            (_, true) => Some(StopCause::TakeProfit),
            _ => None,
        }
    }

    /// Whether both ask the same of an exchange, their ids apart.
    pub fn equals(&self, other: &ProtectiveStop) -> bool {
        *other == ProtectiveStop { stop_id: other.stop_id, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::amount::parse_decimal;

    fn price(text: &str) -> Price {
        Price::new(parse_decimal(text).unwrap())
    }

    #[test]
    fn the_stop_loss_is_touched_first() {
        let check = |side, triggers: [&str; 2], last: &str, expected: &str| {
            let [stop_loss, take_profit] = triggers.map(|text| (text != "-").then(|| price(text)));
            let (stop_id, symbol) = (ClientOrderId::new("a").unwrap(), Symbol::new("BTC-USDT").unwrap());
            let quantity = Quantity::new(parse_decimal("1").unwrap());
            let stop = ProtectiveStop { stop_id, symbol, side, quantity, stop_loss, take_profit };
            let shown = stop.touched(price(last)).map_or("-", StopCause::as_str);
            assert_eq!(shown, expected, "{side:?} {triggers:?} {last}");
        };
        check(Side::Sell, ["90", "110"], "90.01", "-");
        check(Side::Sell, ["90", "110"], "90", "stop_loss");
        check(Side::Sell, ["90", "110"], "70", "stop_loss");
        check(Side::Sell, ["90", "110"], "110", "take_profit");
        check(Side::Sell, ["90", "110"], "109.99", "-");
        check(Side::Buy, ["110", "90"], "110", "stop_loss");
        check(Side::Buy, ["110", "90"], "90", "take_profit");
        check(Side::Buy, ["110", "90"], "100", "-");
        check(Side::Sell, ["-", "110"], "1", "-");
        check(Side::Sell, ["90", "-"], "1000", "-");
        // Triggers that have crossed: the loss counts.
        check(Side::Sell, ["100", "95"], "97", "stop_loss");
    }

    #[test]
    fn the_later_signal_counts() {
        let trigger = |text: &str| {
            let (at, number) = text.split_once('#')?;
            let signal_id = SignalId::new("s").unwrap();
            Some(Trigger { price: price(at), signal_id, number: number.parse().unwrap() })
        };
        let check = |before: [&str; 2], named: [&str; 2], expected: &str| {
            let of = |[sl, tp]: [&str; 2]| Triggers { stop_loss: trigger(sl), take_profit: trigger(tp) };
            let mut triggers = of(before);
            triggers.merge(&of(named));
            let shown = [StopCause::StopLoss, StopCause::TakeProfit]
                .map(|cause| triggers.get(cause).map_or("-".into(), |trigger| trigger.price.to_string()));
            assert_eq!(shown.join(" "), expected, "{before:?} {named:?}");
        };
        check(["-", "-"], ["90#1", "-"], "90 -");
        check(["90#1", "110#1"], ["95#2", "-"], "95 110");
        check(["90#1", "110#1"], ["-", "120#2"], "90 120");
        check(["90#3", "-"], ["95#2", "110#2"], "90 110");
        check(["90#3", "-"], ["95#3", "-"], "95 -");
    }
}
