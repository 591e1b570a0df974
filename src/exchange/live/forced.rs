//! Orders that a venue made: of our stops, and against us.
//!
//! What was booked as forced, because nothing of its stop's side was held any more, must not be booked once more as the
//! order of that stop, when the venue's word about it comes late or again.

use super::LiveExchange;
use crate::model::ids::VenueOrderId;
use crate::model::trading::OrderState;

/// How many of them are remembered. A word about one comes at most minutes late.
const FORCED_MAX: usize = 64;

impl LiveExchange {
    /// Whether an order of the venue's is one of these.
    pub fn knows(&self, id: VenueOrderId) -> bool {
        self.by_venue.contains_key(&id)
    }

    /// Whether a stop of this strategy became this order.
    pub fn made_stop(&self, state: &OrderState) -> bool {
        self.stops.made(state).is_some()
    }

    /// An order of the venue's was booked as forced.
    pub fn note_forced(&mut self, id: VenueOrderId) {
        self.forced.insert(id);
        if self.forced.len() > FORCED_MAX {
            self.forced.pop_first();
        }
    }

    pub(super) fn is_forced(&self, id: VenueOrderId) -> bool {
        self.forced.contains(&id)
    }
}
