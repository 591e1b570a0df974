//! From what a venue says of an order's fills to what is booked.

use super::in_flight::{InFlight, SETTLE_MS, Step};
use crate::model::amount::{AMOUNT_DECIMALS, Money, Price, Quantity};
use crate::model::live::Figures;
use crate::model::order::{OrderStatus, OrderType};
use crate::model::report::{ExecutionReport, Liquidity};
use crate::model::time::Timestamp;
use crate::model::trading::{OrderState, VenueFill};

impl InFlight {
    /// The venue's last word on an execution.
    pub fn on_fill(&mut self, at: Timestamp, fill: &VenueFill, out: &mut Vec<ExecutionReport>) {
        let Err(place) = self.note.trades.binary_search(&fill.trade_id) else { return };
        if fill.symbol != self.order.symbol || fill.side != self.order.side {
            let id = fill.trade_id;
            return self.warn("fill_differs", format!("the venue's fill {id} is not of this order"), out);
        }
        let before = self.note.clone();
        self.note.trades.insert(place, fill.trade_id);
        let (notional, fee) = (fill.price.times(fill.quantity), fill.fee.rounded());
        self.note.settled = self.note.settled.with(Figures { quantity: fill.quantity, notional, fee });
        let unbooked = self.note.settled.quantity - self.note.booked.quantity;
        if unbooked.is_positive() {
            let quantity = unbooked.min(fill.quantity);
            self.book(at, quantity, fill.price, fee.share(quantity, fill.quantity), out);
        }
        self.settle(out);
        self.note_change(&before, out);
    }

    /// Once the executions account for everything that is booked, they decide its price and fee.
    fn settle(&mut self, out: &mut Vec<ExecutionReport>) {
        let (booked, settled) = (self.note.booked, self.note.settled);
        if booked.quantity == settled.quantity {
            self.note.booked = settled;
            out.push(ExecutionReport::Settled { order_id: self.order.order_id, figures: settled });
        }
    }

    /// Books what the cumulative figures have beyond the ledger.
    pub(super) fn book_cumulative(
        &mut self,
        at: Timestamp,
        state: &OrderState,
        out: &mut Vec<ExecutionReport>,
    ) {
        let quantity = state.filled_quantity - self.note.booked.quantity;
        if !quantity.is_positive() {
            return;
        }
        let Some(mean) = state.average_price.filter(|price| price.is_positive()) else {
            self.next = Some((at.plus_ms(SETTLE_MS), Step::LookUp));
            return;
        };
        let price = increase_price(mean, state.filled_quantity, self.note.booked.notional, quantity);
        let fee = state.fee.map_or(Money::ZERO, |fee| fee.rounded() - self.note.booked.fee);
        self.book(at, quantity, price, fee, out);
        self.settle(out);
    }

    fn book(
        &mut self,
        at: Timestamp,
        quantity: Quantity,
        price: Price,
        fee: Money,
        out: &mut Vec<ExecutionReport>,
    ) {
        let (order_id, ended) = (self.order.order_id, self.note.ended.is_some());
        let rested = matches!(
            self.order.status,
            OrderStatus::Working | OrderStatus::PartlyFilled | OrderStatus::Cancelling
        );
        let maker = rested && self.order.order_type != OrderType::Market;
        let liquidity = if maker { Liquidity::Maker } else { Liquidity::Taker };
        let notional = price.times(quantity);
        self.note.booked = self.note.booked.with(Figures { quantity, notional, fee });
        out.push(ExecutionReport::Filled { order_id, price, quantity, fee, liquidity });
        if self.note.booked.quantity > self.order.quantity {
            let text = format!("{} of {} are filled", self.note.booked.quantity, self.order.quantity);
            self.warn("overfilled", text, out);
        }
        if ended {
            let text = format!("{quantity} filled at {price} after the order had ended");
            self.warn("filled_after_end", text, out);
        } else if self.note.booked.quantity >= self.order.quantity {
            (self.order.status, self.note.ended, self.next) = (OrderStatus::Filled, Some(at), None);
        } else if self.order.status != OrderStatus::Cancelling {
            self.order.status = OrderStatus::PartlyFilled;
        }
    }
}

/// The price of the last `quantity` of what is filled, from the mean of all and what the rest cost. The mean itself
/// when rounding at the venue leaves no sensible answer.
fn increase_price(mean: Price, filled: Quantity, before: Money, quantity: Quantity) -> Price {
    if before.is_zero() {
        return mean;
    }
    let cost = mean.times(filled) - before;
    let price = cost.value().checked_div(quantity.value()).unwrap_or(mean.value());
    let price = Price::new(price.round_dp(AMOUNT_DECIMALS).normalize());
    let far = price.value() * rust_decimal::Decimal::TWO < mean.value();
    if far || price.value() > mean.value() * rust_decimal::Decimal::TWO { mean } else { price }
}
