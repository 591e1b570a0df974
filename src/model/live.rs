//! What is remembered of an order at a venue beyond the order itself: where the venue keeps it, and what of it is in
//! the ledger already.
//!
//! Two accounts are kept of each order, because a venue tells its fills twice: as cumulative figures of the order, at
//! once and with a mean price, and as executions with ids, later and exact. What the figures show is booked; what the
//! executions show settles it. An execution is counted once, by its id.

use serde::{Deserialize, Serialize};

use super::amount::{Money, Quantity};
use super::ids::{AccountId, ClientOrderId, StrategyId, VenueOrderId};
use super::instrument::Instrument;
use super::order::Order;
use super::stop::ProtectiveStop;
use super::time::Timestamp;

/// Sums over executions of one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Base units, positive.
    pub quantity: Quantity,
    /// Sum of price x quantity, each rounded as in the ledger.
    pub notional: Money,
    /// Fees; positive is paid.
    pub fee: Money,
}

impl Figures {
    /// With another execution.
    pub fn with(self, other: Figures) -> Figures {
        Figures {
            quantity: self.quantity + other.quantity,
            notional: self.notional + other.notional,
            fee: self.fee + other.fee,
        }
    }
}

/// What an exchange notes of an order at a venue. Each note replaces the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveNote {
    /// Our id of the order.
    pub order_id: ClientOrderId,
    /// Whose keys signed it.
    pub account: AccountId,
    /// Tick, lot and contract value by which it was decided.
    pub instrument: Instrument,
    /// The venue's id; known once the venue said anything about it, and proof that it arrived.
    pub venue_order_id: Option<VenueOrderId>,
    /// It was not sent after this.
    pub expires: Timestamp,
    /// What is in the ledger.
    pub booked: Figures,
    /// What executions proved.
    pub settled: Figures,
    /// The executions behind `settled`, sorted.
    pub trades: Vec<VenueOrderId>,
    /// When the venue said that nothing more can come.
    pub ended: Option<Timestamp>,
}

/// How long an order that ended is kept, in milliseconds: what is repeated about it later than that would be taken for
/// news, an order of a touched stop for another one.
const KEPT_MS: i64 = 300_000;

impl LiveNote {
    /// Whether it ended long enough before `time` and every fill of it is proven, so that nothing about it is open.
    pub fn is_done_before(&self, time: Timestamp) -> bool {
        self.ended.is_some_and(|ended| ended.plus_ms(KEPT_MS) < time) && self.settled == self.booked
    }
}

/// An order at a venue as the store knows it, kept beyond its end until every fill is proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveOrder {
    /// The order as it was last recorded.
    pub order: Order,
    /// Fills that were recorded.
    pub fills: u32,
    /// What the ledger made of them: a fill that flips a position is rounded in two parts.
    pub ledger: Figures,
    /// The note.
    pub note: LiveNote,
}

/// What an order cost more at the venue than the paper model says, by price alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// What the paper model paid or received for the quantity that both filled, in quote money.
    pub notional: Money,
    /// What the venue took beyond that; negative when it was cheaper there.
    pub cost: Money,
}

/// A protective stop at a venue as the store knows it, until the venue says that it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveStop {
    /// Whose position it protects.
    pub strategy: StrategyId,
    /// Whose keys signed it.
    pub account: AccountId,
    /// The stop.
    pub stop: ProtectiveStop,
    /// Tick, lot and contract value by which it was decided.
    pub instrument: Instrument,
    /// The venue's id; proof that it arrived.
    pub venue_order_id: Option<VenueOrderId>,
    /// It was not sent after this.
    pub expires: Timestamp,
    /// Whether it is to go.
    pub leaves: bool,
    /// Whether it is not at the venue, or not any more.
    pub gone: bool,
}
