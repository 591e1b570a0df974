//! A position and what a fill does to it.
//!
//! A position keeps its signed cost, not an average price: a partial reduction takes `cost x part / whole` out, rounded
//! half-even to 8 decimals, a full close takes all. So the sum of what was realised equals the equity's change exactly,
//! and what remains of a closed position is exactly 0.

use serde::{Deserialize, Serialize};

use super::amount::{Money, Price, Quantity};
use super::ids::{ClientOrderId, Symbol};
use super::order::Side;
use super::report::{Fill, FillEvent};
use super::time::Timestamp;

/// An open position in base units; negative is short. One that is flat is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The pair.
    pub symbol: Symbol,
    /// Base units, negative for a short; never 0.
    pub quantity: Quantity,
    /// Signed cost: what was paid for a long, minus what was received for a short.
    pub cost: Money,
    /// Profit realised since it opened, before fees.
    pub realized_pnl: Money,
    /// Fees since it opened.
    pub fees: Money,
    /// Funding received since it opened.
    pub funding: Money,
    /// When it left flat.
    pub opened_at: Timestamp,
    /// The order whose fill opened it.
    pub opened_by: ClientOrderId,
    /// Base units entered in total.
    pub entered_quantity: Quantity,
    /// What they cost, without sign.
    pub entered_notional: Money,
    /// What was received for the units that were left, without sign.
    pub left_notional: Money,
}

/// An execution, seen from the position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The pair.
    pub symbol: Symbol,
    /// Buy or sell.
    pub side: Side,
    /// Base units, above 0.
    pub quantity: Quantity,
    /// Price.
    pub price: Price,
    /// Fee in quote currency.
    pub fee: Money,
    /// The order that was executed.
    pub order_id: ClientOrderId,
    /// When.
    pub time: Timestamp,
}

impl Execution {
    /// The execution behind a fill.
    pub fn of(fill: &Fill) -> Execution {
        Execution {
            symbol: fill.symbol,
            side: fill.side,
            quantity: fill.quantity,
            price: fill.price,
            fee: fill.fee,
            order_id: fill.order_id,
            time: fill.time,
        }
    }
}

/// What an execution did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FillResult {
    /// Kind of the change.
    pub event_type: FillEvent,
    /// Profit realised by it, before fees.
    pub realized_pnl: Money,
    /// The position afterwards; `None` when flat.
    pub position: Option<Position>,
    /// The position as it was when it closed, with `quantity` and `cost` 0, if it closed.
    pub closed: Option<Position>,
}

impl Position {
    /// Buy for a long, sell for a short.
    pub fn side(&self) -> Side {
        Side::of(self.quantity)
    }

    /// Mean price of the units held, unrounded: for display, never for the ledger.
    pub fn entry_price(&self) -> Option<Price> {
        self.cost.value().checked_div(self.quantity.value()).map(Price::new)
    }

    /// Profit that closing at `mark` would realise, before fees.
    pub fn unrealized_pnl(&self, mark: Price) -> Money {
        mark.times(self.quantity) - self.cost
    }

    /// Mean price of all units entered, unrounded.
    pub fn open_price(&self) -> Option<Price> {
        self.entered_notional.value().checked_div(self.entered_quantity.value()).map(Price::new)
    }

    /// Mean price of all units left, once it is closed, unrounded.
    pub fn close_price(&self) -> Option<Price> {
        self.left_notional.value().checked_div(self.entered_quantity.value()).map(Price::new)
    }

    /// The position (or its absence) after an execution.
    ///
    /// # Panics
    /// When the execution's quantity is not above 0.
    pub fn after(position: Option<&Position>, execution: &Execution) -> FillResult {
        assert!(execution.quantity.is_positive(), "an execution must have a quantity above 0");
        let Some(position) = position else {
            return FillResult {
                event_type: FillEvent::Open,
                realized_pnl: Money::ZERO,
                position: Some(Position::open(execution, execution.quantity, execution.fee)),
                closed: None,
            };
        };
        if position.side() == execution.side {
            return position.increased(execution);
        }
        let held = position.quantity.abs();
        if execution.quantity <= held {
            return position.reduced(execution, execution.quantity, execution.fee);
        }
        let fee_close = execution.fee.share(held, execution.quantity);
        let mut result = position.reduced(execution, held, fee_close);
        let opened = execution.quantity - held;
        result.event_type = FillEvent::Flip;
        result.position = Some(Position::open(execution, opened, execution.fee - fee_close));
        result
    }

    fn open(execution: &Execution, quantity: Quantity, fee: Money) -> Position {
        let quantity_signed = execution.side.signed(quantity);
        Position {
            symbol: execution.symbol,
            quantity: quantity_signed,
            cost: execution.price.times(quantity_signed),
            realized_pnl: Money::ZERO,
            fees: fee,
            funding: Money::ZERO,
            opened_at: execution.time,
            opened_by: execution.order_id,
            entered_quantity: quantity,
            entered_notional: execution.price.times(quantity),
            left_notional: Money::ZERO,
        }
    }

    fn increased(&self, execution: &Execution) -> FillResult {
        let quantity_signed = execution.side.signed(execution.quantity);
        let mut position = self.clone();
        position.quantity += quantity_signed;
        position.cost += execution.price.times(quantity_signed);
        position.fees += execution.fee;
        position.entered_quantity += execution.quantity;
        position.entered_notional += execution.price.times(execution.quantity);
        FillResult {
            event_type: FillEvent::Increase,
            realized_pnl: Money::ZERO,
            position: Some(position),
            closed: None,
        }
    }

    fn reduced(&self, execution: &Execution, quantity: Quantity, fee: Money) -> FillResult {
        let part_signed = self.side().signed(quantity);
        let cost = self.cost.share(quantity, self.quantity.abs());
        let realized_pnl = execution.price.times(part_signed) - cost;
        let mut position = self.clone();
        position.quantity -= part_signed;
        position.cost -= cost;
        position.realized_pnl += realized_pnl;
        position.fees += fee;
        position.left_notional += execution.price.times(quantity);
        if position.quantity.is_zero() {
            FillResult { event_type: FillEvent::Close, realized_pnl, position: None, closed: Some(position) }
        } else {
            FillResult { event_type: FillEvent::Reduce, realized_pnl, position: Some(position), closed: None }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::amount::parse_decimal;

    /// Runs `side quantity price` lines and shows event, realised profit and what is left.
    fn check(fills: &str, expected: &str) {
        let mut position = None;
        let mut shown = Vec::new();
        for fill in fills.split(';') {
            let words: Vec<&str> = fill.split_whitespace().collect();
            let execution = Execution {
                symbol: Symbol::new("BTC-USDT").unwrap(),
                side: if words[0] == "buy" { Side::Buy } else { Side::Sell },
                quantity: Quantity::new(parse_decimal(words[1]).unwrap()),
                price: Price::new(parse_decimal(words[2]).unwrap()),
                fee: Money::new(parse_decimal("0.3").unwrap()),
                order_id: ClientOrderId::new("a").unwrap(),
                time: Timestamp::MIN,
            };
            let result = Position::after(position.as_ref(), &execution);
            position = result.position;
            let (quantity, cost, fees) = position
                .as_ref()
                .map_or((Quantity::ZERO, Money::ZERO, Money::ZERO), |p| (p.quantity, p.cost, p.fees));
            let event = result.event_type.as_str();
            shown.push(format!("{event} {} -> {quantity} @ {cost} fees {fees}", result.realized_pnl));
        }
        assert_eq!(shown.join("; "), expected);
    }

    #[test]
    fn longs_and_shorts() {
        check(
            "buy 1 100; buy 1 110; sell 0.5 120; sell 1.5 90",
            "open 0 -> 1 @ 100 fees 0.3; increase 0 -> 2 @ 210 fees 0.6; \
             reduce 7.5 -> 1.5 @ 157.5 fees 0.9; close -22.5 -> 0 @ 0 fees 0",
        );
        check(
            "sell 2 100; buy 1 90; buy 1 120",
            "open 0 -> -2 @ -200 fees 0.3; reduce 10 -> -1 @ -100 fees 0.6; close -20 -> 0 @ 0 fees 0",
        );
    }

    #[test]
    fn a_flip_splits_its_fee_by_quantity() {
        check(
            "buy 1 100; sell 3 110; buy 2 100",
            "open 0 -> 1 @ 100 fees 0.3; flip 10 -> -2 @ -220 fees 0.2; close 20 -> 0 @ 0 fees 0",
        );
    }

    #[test]
    fn thirds_leave_nothing_behind() {
        check(
            "buy 3 0.00000001; sell 1 0.00000002; sell 1 0.00000002; sell 1 0.00000002",
            "open 0 -> 3 @ 0.00000003 fees 0.3; reduce 0.00000001 -> 2 @ 0.00000002 fees 0.6; \
             reduce 0.00000001 -> 1 @ 0.00000001 fees 0.9; close 0.00000001 -> 0 @ 0 fees 0",
        );
    }
}
