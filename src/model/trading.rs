//! What is asked of a venue for one account, and what it says: the seam between the pure live exchange and the gateway
//! that waits for the network.
//!
//! All quantities are base units; only `venue/` knows contracts. A request is complete in itself: it carries the
//! instrument by which it was decided, so that a replay gives the same bytes. What a venue says is an upsert: reports
//! may come twice, late, and in any order, and whoever takes them judges by cumulative figures and never by their count.

use serde::{Deserialize, Serialize};

use super::amount::{Money, Price, Quantity};
use super::ids::{AccountId, ClientOrderId, Symbol, VenueOrderId};
use super::instrument::Instrument;
use super::order::{OrderType, Side};
use super::time::Timestamp;

/// How positions of one pair in both directions are held. A setting of the whole account at the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PositionMode {
    /// One position for each pair.
    Net,
    /// A long and a short one beside each other. A flip takes two orders there.
    LongShort,
}

/// Which position an order acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PositionSide {
    /// The only one, in [`PositionMode::Net`].
    Net,
    /// The long one.
    Long,
    /// The short one.
    Short,
}

/// What a position is secured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MarginMode {
    /// By the whole account.
    Cross,
    /// By its own margin.
    Isolated,
}

/// Which of a venue's worlds an account belongs to. Orders never cross from one to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Environment {
    /// Real money.
    Production,
    /// Play money at the venue.
    Demo,
}

/// Something to ask of a venue. The gateway carries it out once it is on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispatch {
    /// Whose keys sign it.
    pub account: AccountId,
    /// What is asked.
    pub request: VenueRequest,
}

impl Dispatch {
    /// Whether it takes no risk on: it reduces, takes back, or only asks. It may leave before it is on disk when the
    /// disk fails.
    pub fn is_safe(&self) -> bool {
        match &self.request {
            VenueRequest::Place(order) => order.reduce_only,
            VenueRequest::PlaceStop(_)
            | VenueRequest::Cancel { .. }
            | VenueRequest::Lookup { .. }
            | VenueRequest::CancelStop { .. }
            | VenueRequest::LookupStop { .. }
            | VenueRequest::Snapshot { .. } => true,
        }
    }
}

/// What can be asked of a venue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VenueRequest {
    /// Send an order. The gateway sends it at most once and never repeats it on its own.
    Place(Box<PlaceOrder>),
    /// Take an order back. May be repeated.
    Cancel {
        /// Our id.
        order_id: ClientOrderId,
        /// The venue's id, when it is known.
        venue_order_id: Option<VenueOrderId>,
        /// The pair.
        symbol: Symbol,
    },
    /// Where does this order stand? May be repeated.
    Lookup {
        /// Our id.
        order_id: ClientOrderId,
        /// The pair.
        symbol: Symbol,
        /// When it is asked; comes back with [`VenueReport::NotFound`].
        asked: Timestamp,
    },
    /// Put a protective stop. Sent at most once, like an order.
    PlaceStop(Box<PlaceStop>),
    /// Take a protective stop back. May be repeated.
    CancelStop {
        /// Our id.
        stop_id: ClientOrderId,
        /// The venue's id, when it is known.
        venue_order_id: Option<VenueOrderId>,
        /// The pair.
        symbol: Symbol,
    },
    /// Where does this stop stand? May be repeated.
    LookupStop {
        /// Our id.
        stop_id: ClientOrderId,
        /// The pair.
        symbol: Symbol,
        /// When it is asked.
        asked: Timestamp,
    },
    /// Tell everything about the account: [`VenueReport::Snapshot`]. May be repeated.
    Snapshot {
        /// When it is asked; comes back with the snapshot.
        asked: Timestamp,
        /// The latest fill that is booked; newer ones are told.
        fills_after: Option<VenueOrderId>,
        /// From when fills are told if none is booked.
        since: Timestamp,
    },
}

/// An order as it leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceOrder {
    /// Our id, on disk before it leaves.
    pub order_id: ClientOrderId,
    /// Tick, lot and contract value by which it was decided.
    pub instrument: Instrument,
    /// Buy or sell.
    pub side: Side,
    /// Market or limit.
    pub order_type: OrderType,
    /// Base units, positive, whole lots.
    pub quantity: Quantity,
    /// Whether it may only reduce.
    pub reduce_only: bool,
    /// Cross or isolated.
    pub margin_mode: MarginMode,
    /// Which position it acts on.
    pub position_side: PositionSide,
    /// Not sent after this: then [`VenueReport::NotSent`] is the answer.
    pub expires: Timestamp,
}

/// A protective stop as it leaves: reduce-only, at the market when the last price touches a trigger; of both triggers
/// the first that is touched cancels the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceStop {
    /// Our id, on disk before it leaves.
    pub stop_id: ClientOrderId,
    /// Tick, lot and contract value by which it was decided.
    pub instrument: Instrument,
    /// The closing side.
    pub side: Side,
    /// Base units, positive, whole lots: the strategy's own size, never "all".
    pub quantity: Quantity,
    /// Trigger of the stop loss.
    pub stop_loss: Option<Price>,
    /// Trigger of the take profit.
    pub take_profit: Option<Price>,
    /// Cross or isolated.
    pub margin_mode: MarginMode,
    /// Which position it acts on.
    pub position_side: PositionSide,
}

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
        /// Why.
        refusal: VenueRefusal,
    },
    /// An order or a stop never left: it expired in the queue, or no connection could be made.
    NotSent {
        /// Our id.
        order_id: ClientOrderId,
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
