//! Which signals were decided: the memory behind "the same signal again gets the same result again".
//!
//! Kept for 7 days, at most 100,000 (see [`SignalHistory::is_full`]); entries are found by 16 bytes of a hash over
//! strategy and id, so that long ids cost nothing. What is known of one is kept in its binary form, a quarter of what
//! it takes in memory: most are never asked for.

use std::collections::{BTreeMap, VecDeque};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
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

/// A [`Decided`] in its binary form, which can always be read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Packed(Box<[u8]>);

impl Packed {
    fn new(decided: &Decided) -> Packed {
        let bytes = postcard::to_allocvec(decided).expect("a decision always has a binary form");
        // Copied, because a vector that shrinks leaves a hole behind it.
        Packed(bytes.as_slice().into())
    }

    fn open(&self) -> Decided {
        postcard::from_bytes(&self.0).expect("it was made here, or looked at when it was read")
    }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Packed, D::Error> {
        let bytes: &[u8] = Deserialize::deserialize(deserializer)?;
        postcard::from_bytes::<Decided>(bytes).map_err(D::Error::custom)?;
        Ok(Packed(bytes.into()))
    }
}

/// The signals of the last days.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalHistory {
    decided: BTreeMap<Digest16, Packed>,
    /// Oldest first.
    order: VecDeque<(Timestamp, Digest16)>,
}

impl SignalHistory {
    /// The answer to a signal that was decided before and is not yet forgotten.
    pub fn find(&self, at: Timestamp, strategy: StrategyId, id: &SignalId) -> Option<Decided> {
        let decided = self.decided.get(&key(strategy, id))?.open();
        (at.since_ms(decided.result.time) <= HISTORY_MS).then_some(decided)
    }

    /// Whether a new entry must wait; exits are still taken.
    pub fn is_full(&self, at: Timestamp) -> bool {
        // What is too old is dropped with the next insertion only.
        let old = |(time, _): &(Timestamp, Digest16)| at.since_ms(*time) > HISTORY_MS;
        self.order.len() >= HISTORY_MAX && self.order.len() - self.order.partition_point(old) >= HISTORY_MAX
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
    pub fn insert(&mut self, at: Timestamp, strategy: StrategyId, id: &SignalId, decided: &Decided) {
        while let Some((time, oldest)) = self.order.front().copied() {
            if at.since_ms(time) <= HISTORY_MS && self.order.len() < 2 * HISTORY_MAX {
                break;
            }
            self.order.pop_front();
            self.decided.remove(&oldest);
        }
        let key = key(strategy, id);
        if self.decided.insert(key, Packed::new(decided)).is_none() {
            self.order.push_back((at, key));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::signal::Outcome;

    fn insert(history: &mut SignalHistory, at: Timestamp, id: &str) {
        let (strategy, id) = (StrategyId::new("s1").unwrap(), SignalId::new(id).unwrap());
        let (orders, note) = (Vec::new(), None);
        let outcome = Outcome::Unchanged;
        let result = SignalResult {
            strategy: "s1".into(),
            id: Some(id.clone()),
            outcome,
            note,
            orders,
            repeated: false,
            time: at,
        };
        history.insert(at, strategy, &id, &Decided { fingerprint: None, result });
    }

    fn finds(history: &SignalHistory, at: Timestamp, id: &str) -> bool {
        history.find(at, StrategyId::new("s1").unwrap(), &SignalId::new(id).unwrap()).is_some()
    }

    #[test]
    fn an_id_is_free_again_after_a_week() {
        let mut history = SignalHistory::default();
        let (begin, end) = (Timestamp::from_ms(0), Timestamp::from_ms(HISTORY_MS));
        insert(&mut history, begin, "a");
        assert!(finds(&history, end, "a"));
        assert!(!finds(&history, end.plus_ms(1), "a"));
        // The new decision under the old id lives its own week.
        insert(&mut history, end.plus_ms(1), "a");
        insert(&mut history, end.plus_ms(2), "b");
        assert!(finds(&history, end.plus_ms(3), "a"));
        assert_eq!(history.len(), 2);
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_the_checkpoint() {
        let mut history = SignalHistory::default();
        insert(&mut history, Timestamp::from_ms(0), "a");
        let bytes = postcard::to_allocvec(&history).unwrap();
        assert_eq!(postcard::from_bytes(&bytes), Ok(history.clone()));
        let packed = history.decided.values_mut().next().unwrap();
        packed.0 = packed.0[1..].into();
        let bytes = postcard::to_allocvec(&history).unwrap();
        assert!(postcard::from_bytes::<SignalHistory>(&bytes).is_err());
    }

    #[test]
    fn a_full_history_empties_itself_by_time() {
        let mut history = SignalHistory::default();
        for n in 0..HISTORY_MAX {
            assert!(!history.is_full(Timestamp::from_ms(n as i64)));
            insert(&mut history, Timestamp::from_ms(n as i64), &n.to_string());
        }
        assert!(history.is_full(Timestamp::from_ms(HISTORY_MS)));
        assert!(!history.is_full(Timestamp::from_ms(HISTORY_MS + 1)));
    }
}
