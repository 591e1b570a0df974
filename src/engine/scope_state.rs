//! What a strategy, a type or the portfolio remembers beyond sums: peak, day start and exposure.

use serde::{Deserialize, Serialize};

use super::record::BasisRecord;
use crate::model::amount::Money;
use crate::model::ids::VenueId;
use crate::model::time::Timestamp;

/// What a scope remembers beyond sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeState {
    /// Highest equity.
    pub peak: Money,
    /// Equity when the UTC day began.
    pub day_start: Money,
    /// When the first strategy of the scope began.
    pub started: Timestamp,
    /// Open positions.
    pub positions: u32,
    /// Since when at least one is open.
    pub held_since: Option<Timestamp>,
    /// Milliseconds with an open position before that.
    pub held_ms: i64,
    /// Of a type or the portfolio: whether peak and day start are those of its live strategies alone.
    pub live: bool,
}

impl ScopeState {
    /// Share of the time since its start with an open position.
    pub fn exposure(&self, at: Timestamp) -> Option<f64> {
        let life_ms = at.since_ms(self.started);
        let held_ms = self.held_ms + self.held_since.map_or(0, |since| at.since_ms(since).max(0));
        (life_ms > 0).then(|| (held_ms as f64 / life_ms as f64).min(1.0))
    }

    /// Whether the money of a strategy whose orders go to `venue` is in peak and day start.
    pub(super) fn counts(&self, venue: VenueId) -> bool {
        !self.live || !venue.is_paper()
    }

    /// Begins anew with other strategies.
    pub(super) fn rebase(&mut self, record: &BasisRecord) {
        (self.live, self.peak, self.day_start) = (record.live, record.peak, record.day_start);
    }

    pub(super) fn count(&mut self, before: bool, after: bool, at: Timestamp) {
        match (before, after) {
            (false, true) => self.positions += 1,
            (true, false) => self.positions = self.positions.saturating_sub(1),
            _ => {}
        }
        match (self.positions, self.held_since) {
            (0, Some(since)) => {
                self.held_ms += at.since_ms(since).max(0);
                self.held_since = None;
            }
            (1.., None) => self.held_since = Some(at),
            _ => {}
        }
    }
}
