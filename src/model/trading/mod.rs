//! What is asked of a venue for one account, and what it says ([`report`]): the seam between the pure live exchange
//! and the gateway that waits for the network.
//!
//! All quantities are base units; only `venue/` knows contracts. A request is complete in itself: it carries the
//! instrument by which it was decided, so that a replay gives the same bytes. What a venue says is an upsert: reports
//! may come twice, late, and in any order, and whoever takes them judges by cumulative figures, never by their count.

mod report;

pub use report::*;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::amount::{Price, Quantity};
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
        /// The pairs that are traded, and the newest fill that is known of each: a venue counts the fills of each pair.
        fills_after: BTreeMap<Symbol, Option<VenueOrderId>>,
        /// From when fills are told.
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
    /// Not sent after this: then [`VenueReport::NotSent`] is the answer.
    pub expires: Timestamp,
}
