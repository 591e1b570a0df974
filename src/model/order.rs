//! Orders and their states.

use serde::{Deserialize, Serialize};

use super::amount::{Money, Price, Quantity};
use super::ids::{ClientOrderId, SignalId, StrategyId, Symbol, VenueId};
use super::signal::Reason;
use super::stop::StopCause;
use super::time::Timestamp;

/// Buy or sell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Side {
    /// Adds base units.
    Buy,
    /// Takes base units away.
    Sell,
}

impl Side {
    /// The side of a signed quantity; `Buy` for zero.
    pub fn of(quantity: Quantity) -> Side {
        if quantity.is_negative() { Side::Sell } else { Side::Buy }
    }

    /// The quantity with this side's sign: positive for a buy, negative for a sell.
    pub fn signed(self, quantity: Quantity) -> Quantity {
        match self {
            Side::Buy => quantity.abs(),
            Side::Sell => -quantity.abs(),
        }
    }

    /// The other side.
    pub fn opposite(self) -> Side {
        match self {
            Side::Buy => Side::Sell,
            Side::Sell => Side::Buy,
        }
    }

    /// `buy` or `sell`.
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Buy => "buy",
            Side::Sell => "sell",
        }
    }
}

/// At which price an order may fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderType {
    /// At the market, at once.
    Market,
    /// At this price or better; rests until it fills or is cancelled.
    Limit {
        /// The worst price that is accepted.
        price: Price,
    },
}

impl OrderType {
    /// The limit price, if there is one.
    pub fn price(self) -> Option<Price> {
        match self {
            OrderType::Market => None,
            OrderType::Limit { price } => Some(price),
        }
    }

    /// `market` or `limit`.
    pub fn as_str(self) -> &'static str {
        match self {
            OrderType::Market => "market",
            OrderType::Limit { .. } => "limit",
        }
    }
}

/// Where an order stands. An order leaves the table only in a final state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderStatus {
    /// On disk and on its way; on paper: waiting for its latency or for a price that it may fill at.
    Submitting,
    /// Resting.
    Working,
    /// Resting with a part filled.
    PartlyFilled,
    /// A cancel is on its way.
    Cancelling,
    /// Filled completely. Final.
    Filled,
    /// Cancelled; what was filled before stays. Final.
    Cancelled,
    /// Refused by the exchange. Final.
    Rejected,
    /// Its time ran out. Final.
    Expired,
    /// The venue did not answer in time: it is looked up by its id, never sent again.
    Unknown,
}

impl OrderStatus {
    /// Whether nothing can happen to the order any more.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            OrderStatus::Filled | OrderStatus::Cancelled | OrderStatus::Rejected | OrderStatus::Expired
        )
    }

    /// The word on the bus.
    pub fn as_str(self) -> &'static str {
        match self {
            OrderStatus::Submitting => "submitting",
            OrderStatus::Working => "working",
            OrderStatus::PartlyFilled => "partly_filled",
            OrderStatus::Cancelling => "cancelling",
            OrderStatus::Filled => "filled",
            OrderStatus::Cancelled => "cancelled",
            OrderStatus::Rejected => "rejected",
            OrderStatus::Expired => "expired",
            OrderStatus::Unknown => "unknown",
        }
    }
}

/// Why an order ended otherwise than by filling, or why it was made without a wish for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderReason {
    /// A refusal of the list in the signal contract.
    Refused(Reason),
    /// Cancelled because the daemon stopped while the order was in its paper latency.
    Restart,
    /// Cancelled because the level became stricter.
    Level,
    /// Cancelled because a signal wants to be flat.
    Flat,
    /// Cancelled because the paper account was liquidated.
    Liquidation,
    /// Cancelled because it could only reduce, and there is less left to reduce.
    ReduceOnly,
    /// Cancelled because somebody asked for it.
    Request,
    /// Made because a stop loss was touched, or cancelled because of that.
    StopLoss,
    /// Made because a take profit was touched, or cancelled because of that.
    TakeProfit,
    /// Ended by the venue on its own account.
    Venue,
    /// Cancelled because the venue, its prices or the clock were unhealthy for too long.
    DeadMan,
    /// It provably never reached the venue.
    NotSent,
}

impl OrderReason {
    /// The reason of an order that a touched stop became, and of those that it ends.
    pub fn of_stop(cause: StopCause) -> OrderReason {
        match cause {
            StopCause::StopLoss => OrderReason::StopLoss,
            StopCause::TakeProfit => OrderReason::TakeProfit,
        }
    }

    /// The word on the bus.
    pub fn as_str(self) -> &'static str {
        match self {
            OrderReason::Refused(reason) => reason.as_str(),
            OrderReason::Restart => "restart",
            OrderReason::Level => "level",
            OrderReason::Flat => "flat",
            OrderReason::Liquidation => "liquidation",
            OrderReason::ReduceOnly => "reduce_only",
            OrderReason::Request => "request",
            OrderReason::StopLoss => StopCause::StopLoss.as_str(),
            OrderReason::TakeProfit => StopCause::TakeProfit.as_str(),
            OrderReason::Venue => "venue",
            OrderReason::DeadMan => "dead_man",
            OrderReason::NotSent => "not_sent",
        }
    }
}

/// An order as it stands. Quantities are base units and positive; the side says the direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Our id, on disk before the order leaves.
    pub order_id: ClientOrderId,
    /// The strategy that it belongs to.
    pub strategy: StrategyId,
    /// The pair.
    pub symbol: Symbol,
    /// Where it goes.
    pub venue: VenueId,
    /// The signal that caused it, or that set the stop which did; `None` when a level or a liquidation did.
    pub signal_id: Option<SignalId>,
    /// Buy or sell.
    pub side: Side,
    /// Market or limit.
    pub order_type: OrderType,
    /// Base units that are wanted.
    pub quantity: Quantity,
    /// Base units that are filled; above `quantity` only if a venue did so, which is a fact.
    pub filled_quantity: Quantity,
    /// Sum of price x quantity of its fills, from which the average price is derived.
    pub filled_notional: Money,
    /// Whether it may only make the position smaller.
    pub reduce_only: bool,
    /// Where it stands.
    pub status: OrderStatus,
    /// Why it ended, if it did not fill; from the beginning on, which trigger made it, if one did.
    pub reason: Option<OrderReason>,
    /// When it was made.
    pub created: Timestamp,
    /// When it last changed.
    pub time: Timestamp,
}

impl Order {
    /// Base units that are still to be filled.
    pub fn remaining(&self) -> Quantity {
        (self.quantity - self.filled_quantity).max(Quantity::ZERO)
    }

    /// Whether a touched stop became this order.
    pub fn is_of_stop(&self) -> bool {
        let of_stop = matches!(self.reason, Some(OrderReason::StopLoss | OrderReason::TakeProfit));
        of_stop && self.reduce_only
    }

    /// What is still to be filled, with the side's sign.
    pub fn remaining_signed(&self) -> Quantity {
        self.side.signed(self.remaining())
    }

    /// The mean price of its fills, unrounded; `None` before the first.
    pub fn average_price(&self) -> Option<Price> {
        if self.filled_quantity.is_zero() {
            return None;
        }
        self.filled_notional.value().checked_div(self.filled_quantity.value()).map(Price::new)
    }
}
