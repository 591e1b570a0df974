//! Which requests were carried out: the memory behind "the same request again does nothing twice".
//!
//! Kept for as long as a repetition could be fresh ([`MEMORY_MS`]), at most [`REQUESTS_MAX`].

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::admission::{AGE_FLAT_MS_MAX, FUTURE_MS_MAX};
use super::record::RequestRecord;
use crate::model::ids::{SignalId, StrategyId};
use crate::model::time::Timestamp;

/// How long a request is remembered, in milliseconds: beyond it, it is stale whatever its time.
pub const MEMORY_MS: i64 = AGE_FLAT_MS_MAX + FUTURE_MS_MAX;
/// How many are remembered.
pub const REQUESTS_MAX: usize = 256;

/// The requests of the last minutes, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestHistory(VecDeque<RequestRecord>);

impl RequestHistory {
    /// The request that used this id.
    pub fn find(&self, at: Timestamp, strategy: StrategyId, id: &SignalId) -> Option<&RequestRecord> {
        let same = |record: &&RequestRecord| record.strategy == strategy && record.id == *id;
        self.0.iter().rev().find(same).filter(|record| at.since_ms(record.time) <= MEMORY_MS)
    }

    /// Whether another one would push out one that must still be remembered.
    pub fn is_full(&self, at: Timestamp) -> bool {
        let oldest = self.0.front().is_some_and(|record| at.since_ms(record.time) <= MEMORY_MS);
        self.0.len() >= REQUESTS_MAX && oldest
    }

    /// Remembers one, and forgets what is too old or beyond the limit.
    pub(super) fn insert(&mut self, record: &RequestRecord) {
        let old = |oldest: &RequestRecord| record.time.since_ms(oldest.time) > MEMORY_MS;
        while self.0.len() >= REQUESTS_MAX || self.0.front().is_some_and(old) {
            self.0.pop_front();
        }
        self.0.push_back(record.clone());
    }
}
