//! What a venue says about one account.

use serde::{Deserialize, Serialize};

use super::super::amount::{Money, Price, Quantity};
use super::super::ids::{AccountId, ClientOrderId, Symbol, VenueOrderId};
use super::super::order::Side;
use super::super::time::Timestamp;
use super::{Environment, PositionMode, PositionSide};

/// What a venue says about one account, or what the gateway says about the way to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountReport {
    /// Which account.
    pub account: AccountId,
    /// What is said.
    pub report: VenueReport,
}

/// What can be said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VenueReport {
    /// Who the keys belong to and what they may; first of all, and again after each reconnect.
    Check(Box<AccountCheck>),
    /// The private stream is logged in and subscribed, or it is not.
    Link {
        /// Whether it is.
        up: bool,
        /// Why not, for people.
        text: String,
    },
    /// How far the venue's clock is ahead of ours, in milliseconds.
    Skew {
        /// Negative when it is behind.
        ms: i64,
    },
    /// An order stands like this.
    Order(Box<OrderState>),
    /// The venue took note of an order and of the stop, but has not said where it stands.
    Acknowledged {
        /// Our id of the order or stop.
        order_id: ClientOrderId,
        /// The venue's.
        venue_order_id: Option<VenueOrderId>,
    },
    /// The venue refused an order or a stop for good: it never was in the book.
    Refused {
        /// Our id.
        order_id: ClientOrderId,
        /// Which sending under that id: when it expired, as the request said.
        expires: Timestamp,
        /// Why.
        refusal: VenueRefusal,
    },
    /// An order or a stop never left: it expired in the queue, or no connection could be made.
    NotSent {
        /// Our id.
        order_id: ClientOrderId,
        /// Which sending under that id: when it expired, as the request said.
        expires: Timestamp,
        /// Why, for people.
        text: String,
    },
    /// An order or a stop left and no answer came: it may or may not be there.
    Unanswered {
        /// Our id.
        order_id: ClientOrderId,
    },
    /// The venue knows no order or stop of this id.
    NotFound {
        /// Our id.
        order_id: ClientOrderId,
        /// When the lookup was asked for.
        asked: Timestamp,
    },
    /// The venue did not take an order or a stop back: it must be looked up.
    CancelRefused {
        /// Our id.
        order_id: ClientOrderId,
        /// Why.
        refusal: VenueRefusal,
    },
    /// A protective stop stands like this.
    Stop(Box<StopState>),
    /// Executions, oldest first.
    Fills(Vec<VenueFill>),
    /// Money was paid or received for holding a position.
    Funding(VenueFunding),
    /// A position as the venue has it now, flat ones included: a hint that something changed there. The truth about it
    /// are fills and snapshots.
    Position(Box<VenuePosition>),
    /// What the account is worth now.
    Balance(VenueBalance),
    /// Everything about the account.
    Snapshot(Box<AccountSnapshot>),
}

/// A refusal in the venue's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VenueRefusal {
    /// The venue's code.
    pub code: String,
    /// Its meaning, for people; without secrets.
    pub text: String,
    /// Whether the id is already known there: the order must be looked up.
    pub duplicate: bool,
    /// Whether it is the venue's or the network's trouble of the moment rather than the order's.
    pub transient: bool,
}

/// Where an order stands at the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VenueOrderStatus {
    /// In the book.
    Live,
    /// In the book, a part is filled.
    PartlyFilled,
    /// Filled. Final.
    Filled,
    /// Cancelled without or after a partial fill. Final.
    Cancelled,
}

/// Who made an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderCategory {
    /// A person or a program.
    Normal,
    /// The venue, because the margin was used up.
    Liquidation,
    /// The venue, because the other side of another liquidation was needed.
    AutoDeleverage,
    /// A stop loss that was touched.
    StopLoss,
    /// A take profit that was touched.
    TakeProfit,
}

/// An order as the venue has it. Figures are cumulative.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderState {
    /// Our id; `None` when the order is not ours.
    pub order_id: Option<ClientOrderId>,
    /// Our id of the stop that made it, when one did.
    pub stop_id: Option<ClientOrderId>,
    /// The venue's id.
    pub venue_order_id: VenueOrderId,
    /// The venue's id of the stop that made it, when one did.
    pub venue_stop_id: Option<VenueOrderId>,
    /// The pair.
    pub symbol: Symbol,
    /// Buy or sell.
    pub side: Side,
    /// Which position it acts on.
    pub position_side: PositionSide,
    /// Who made it.
    pub category: OrderCategory,
    /// Where it stands.
    pub status: VenueOrderStatus,
    /// Base units wanted.
    pub quantity: Quantity,
    /// Base units filled so far.
    pub filled_quantity: Quantity,
    /// Mean price of what is filled; `None` before the first.
    pub average_price: Option<Price>,
    /// Fees so far; positive is paid. `None` when the venue does not say.
    pub fee: Option<Money>,
    /// The venue's time of the change.
    pub time: Timestamp,
}

/// Where a protective stop stands at the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VenueStopStatus {
    /// It waits.
    Live,
    /// It was touched and made an order. Final.
    Triggered,
    /// Taken back. Final.
    Cancelled,
    /// It was touched and its order was refused. Final.
    Failed,
}

/// A protective stop as the venue has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopState {
    /// Our id; `None` when it is not ours.
    pub stop_id: Option<ClientOrderId>,
    /// The venue's id.
    pub venue_order_id: VenueOrderId,
    /// The pair.
    pub symbol: Symbol,
    /// The closing side.
    pub side: Side,
    /// Where it stands.
    pub status: VenueStopStatus,
    /// Base units; `None` when it stands for the whole position.
    pub quantity: Option<Quantity>,
    /// Trigger of the stop loss.
    pub stop_loss: Option<Price>,
    /// Trigger of the take profit.
    pub take_profit: Option<Price>,
    /// The venue's time of the change.
    pub time: Timestamp,
}

/// One execution as the venue booked it: the last word on price and fee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VenueFill {
    /// The venue's id of the execution.
    pub trade_id: VenueOrderId,
    /// The venue's id of its order.
    pub venue_order_id: VenueOrderId,
    /// The pair.
    pub symbol: Symbol,
    /// Buy or sell.
    pub side: Side,
    /// Which position it changed.
    pub position_side: PositionSide,
    /// Base units, positive.
    pub quantity: Quantity,
    /// Its price.
    pub price: Price,
    /// Its fee in quote currency; positive is paid.
    pub fee: Money,
    /// When it happened.
    pub time: Timestamp,
}

/// A funding payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VenueFunding {
    /// What tells it from others.
    pub id: String,
    /// The pair.
    pub symbol: Symbol,
    /// Quote money; negative is paid.
    pub amount: Money,
    /// When it was booked.
    pub time: Timestamp,
}

/// What an account has of its quote currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VenueBalance {
    /// Cash.
    pub balance: Money,
    /// With the profit of open positions.
    pub equity: Money,
    /// Free for new orders.
    pub available: Money,
    /// When.
    pub time: Timestamp,
}

/// A position as the venue has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VenuePosition {
    /// The pair.
    pub symbol: Symbol,
    /// Which of them.
    pub position_side: PositionSide,
    /// Signed base units: negative is short, in every mode.
    pub quantity: Quantity,
    /// Mean price of what is held.
    pub entry_price: Option<Price>,
    /// Where it would be liquidated, if the venue says.
    pub liquidation_price: Option<Price>,
    /// When it changed.
    pub time: Timestamp,
}

/// Everything about an account, read in several requests: what changed meanwhile may be in one part and not in another,
/// so a difference counts only when the next snapshot shows it too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSnapshot {
    /// When it was asked for.
    pub asked: Timestamp,
    /// Positions that are not flat.
    pub positions: Vec<VenuePosition>,
    /// Orders in the book, all of them.
    pub orders: Vec<OrderState>,
    /// Stops that wait, all of them.
    pub stops: Vec<StopState>,
    /// Fills after the one that was named, oldest first, all of them.
    pub fills: Vec<VenueFill>,
    /// Orders behind those fills that are in the book no more.
    pub orders_ended: Vec<OrderState>,
    /// Money.
    pub balance: VenueBalance,
}

/// Who the keys belong to and what they may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountCheck {
    /// The account's id at the venue.
    pub uid: String,
    /// Which world.
    pub environment: Environment,
    /// Whether the keys may only read.
    pub read_only: bool,
    /// When the keys end, if they do.
    pub expires: Option<Timestamp>,
    /// Whether the keys are bound to addresses.
    pub ip_bound: bool,
    /// How positions are held.
    pub position_mode: PositionMode,
    /// Leverage of each pair, in the margin mode of the configuration.
    pub leverages: Vec<(Symbol, u32)>,
}
