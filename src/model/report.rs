//! What an exchange says about orders, and the fill that follows from it.

use serde::{Deserialize, Serialize};

use super::amount::{Money, Price, Quantity};
use super::ids::{ClientOrderId, SignalId, StrategyId, Symbol, VenueId};
use super::live::{Drift, Figures, LiveNote, LiveStop};
use super::order::{OrderReason, OrderStatus, Side};
use super::stop::StopCause;
use super::time::Timestamp;
use super::trading::VenueRequest;

/// Whether the fill took liquidity or gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Liquidity {
    /// Crossed the spread.
    Taker,
    /// Rested in the book.
    Maker,
}

impl Liquidity {
    /// `taker` or `maker`.
    pub fn as_str(self) -> &'static str {
        match self {
            Liquidity::Taker => "taker",
            Liquidity::Maker => "maker",
        }
    }
}

/// What an exchange reports about one order or stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecutionReport {
    /// The order rests now.
    Working {
        /// Our id of the order.
        order_id: ClientOrderId,
    },
    /// A part or all of it was executed.
    Filled {
        /// Our id of the order.
        order_id: ClientOrderId,
        /// Price of this execution.
        price: Price,
        /// Base units of this execution.
        quantity: Quantity,
        /// Fee in quote currency; negative is a rebate.
        fee: Money,
        /// Taker or maker.
        liquidity: Liquidity,
    },
    /// It is out of the book.
    Cancelled {
        /// Our id of the order.
        order_id: ClientOrderId,
        /// Why.
        reason: OrderReason,
    },
    /// The stop of a position was touched: the order that it becomes is to be journalled, and comes back with
    /// `Exchange::close_touched`. Passed over when nothing is held, no stop or another one is kept, or it became an
    /// order already.
    Triggered {
        /// Our id of the stop; of a venue it may be one that was about to be replaced, but of the side that is held.
        stop_id: ClientOrderId,
        /// The pair.
        symbol: Symbol,
        /// Which trigger.
        cause: StopCause,
        /// Base units that a venue closes; `None` of a simulated exchange: all that is held and that no other order
        /// surely closes.
        quantity: Option<Quantity>,
    },
    /// An order at a venue stands otherwise now.
    Status {
        /// Our id of the order.
        order_id: ClientOrderId,
        /// Where it stands.
        status: OrderStatus,
        /// Why it ended, or is to end.
        reason: Option<OrderReason>,
    },
    /// An order that was not sent yet is for less.
    Cut {
        /// Our id of the order.
        order_id: ClientOrderId,
        /// Base units of it now.
        quantity: Quantity,
    },
    /// What is remembered of an order at a venue changed.
    Noted(Box<LiveNote>),
    /// Everything booked of an order is proven by executions, which decide price and fee.
    Settled {
        /// Our id of the order.
        order_id: ClientOrderId,
        /// The sums of its executions.
        figures: Figures,
    },
    /// The paper model has filled what the venue filled of an order.
    Drifted {
        /// Our id of the order.
        order_id: ClientOrderId,
        /// What both made of it.
        drift: Drift,
    },
    /// What is remembered of a stop at a venue changed.
    NotedStop(Box<LiveStop>),
    /// The venue is to be asked this. Paper never asks.
    Ask(Box<VenueRequest>),
    /// A person should know.
    Warned {
        /// Our id of the order.
        order_id: ClientOrderId,
        /// A stable word for programs.
        code: &'static str,
        /// A sentence for people.
        text: String,
    },
}

/// What a fill did to the position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FillEvent {
    /// From flat.
    Open,
    /// Larger in the same direction.
    Increase,
    /// Smaller in the same direction.
    Reduce,
    /// To flat.
    Close,
    /// Through flat to the other side.
    Flip,
}

impl FillEvent {
    /// The word on the bus.
    pub fn as_str(self) -> &'static str {
        match self {
            FillEvent::Open => "open",
            FillEvent::Increase => "increase",
            FillEvent::Reduce => "reduce",
            FillEvent::Close => "close",
            FillEvent::Flip => "flip",
        }
    }
}

/// An executed quantity at a price: the only thing that changes a position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// The strategy whose ledger it enters.
    pub strategy: StrategyId,
    /// The pair.
    pub symbol: Symbol,
    /// Where it happened.
    pub venue: VenueId,
    /// What it did to the position.
    pub event_type: FillEvent,
    /// Buy or sell.
    pub side: Side,
    /// Base units, positive.
    pub quantity: Quantity,
    /// Price of the execution.
    pub price: Price,
    /// Fee in quote currency.
    pub fee: Money,
    /// Taker or maker.
    pub liquidity: Liquidity,
    /// Profit that it realised, before fees.
    pub realized_pnl: Money,
    /// Signed position after it.
    pub position_quantity: Quantity,
    /// The order that was filled.
    pub order_id: ClientOrderId,
    /// The signal behind the order, if any.
    pub signal_id: Option<SignalId>,
    /// Number of the fill within its order, from 1. The fill's id is `<order_id>-<number>`.
    pub number: u32,
    /// When it happened.
    pub time: Timestamp,
}

/// One finished round trip of a position, flat to flat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trade {
    /// The order id of the fill that opened it; with the closing time it is unique.
    pub id: String,
    /// The strategy.
    pub strategy: StrategyId,
    /// The pair.
    pub symbol: Symbol,
    /// Where it was traded.
    pub venue: VenueId,
    /// Buy for a long, sell for a short.
    pub side: Side,
    /// When the position left flat.
    pub open_time: Timestamp,
    /// When it was flat again.
    pub close_time: Timestamp,
    /// Mean price of what was entered.
    pub open_price: Price,
    /// Mean price of what was left.
    pub close_price: Price,
    /// Base units entered in total.
    pub quantity: Quantity,
    /// Net profit: realised, minus fees, plus funding.
    pub pnl: Money,
    /// Fees.
    pub fees: Money,
    /// Funding received (paid is negative).
    pub funding: Money,
}
