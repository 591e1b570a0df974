//! Which signals were decided: the memory behind "the same signal again gets the same result again".
//!
//! Kept for 7 days, at most 100,000 (see [`SignalHistory::is_full`]); entries are found by 16 bytes of a hash over
//! strategy and id, so that long ids cost nothing.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::ids::{SignalId, StrategyId};
use crate::model::signal::{Signal, SignalResult};
use crate::model::time::{DAY_MS, Timestamp};

/// How long a signal's id is remembered, in milliseconds.
pub const HISTORY_MS: i64 = 7 * DAY_MS;
/// How many signals are remembered before new entries are refused.
pub const HISTORY_MAX: usize = 100_000;

/// A key or fingerprint: the first 16 bytes of a SHA-256.
pub type Digest16 = [u8; 16];

/// What is known of a decided signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Tells another signal under the same id; `None` for a poisoned one, which any signal equals.
    pub fingerprint: Option<Digest16>,
    /// The answer it got.
    pub result: SignalResult,
}

/// The signals of the last days.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalHistory {
    decided: BTreeMap<Digest16, Decided>,
    /// Oldest first.
    order: VecDeque<(Timestamp, Digest16)>,
}

impl SignalHistory {
    /// The answer to a signal that was decided before.
    pub fn find(&self, strategy: StrategyId, id: &SignalId) -> Option<&Decided> {
        self.decided.get(&key(strategy, id))
    }

    /// Whether a new entry must wait; exits are still taken.
    pub fn is_full(&self) -> bool {
        self.decided.len() >= HISTORY_MAX
    }

    /// How many signals are remembered.
    pub fn len(&self) -> usize {
        self.decided.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.decided.is_empty()
    }

    /// Remembers a decision and forgets what is older than [`HISTORY_MS`], and the oldest beyond twice the limit.
    pub fn insert(&mut self, at: Timestamp, strategy: StrategyId, id: &SignalId, decided: Decided) {
        let key = key(strategy, id);
        if self.decided.insert(key, decided).is_none() {
            self.order.push_back((at, key));
        }
        while let Some((time, oldest)) = self.order.front().copied() {
            if at.since_ms(time) <= HISTORY_MS && self.order.len() <= 2 * HISTORY_MAX {
                break;
            }
            self.order.pop_front();
            self.decided.remove(&oldest);
        }
    }
}

/// What makes two signals equal: all parsed fields but the confidence (the comment is not parsed at all).
pub fn fingerprint(signal: &Signal) -> Digest16 {
    let essence = Signal { confidence: None, ..signal.clone() };
    let bytes = postcard::to_allocvec(&essence).expect("a signal always has a binary form");
    digest16(&[&bytes])
}

fn key(strategy: StrategyId, id: &SignalId) -> Digest16 {
    digest16(&[strategy.as_str().as_bytes(), &[0], id.as_str().as_bytes()])
}

fn digest16(parts: &[&[u8]]) -> Digest16 {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    let full = hash.finalize();
    let mut short = Digest16::default();
    short.copy_from_slice(&full[..16]);
    short
}
