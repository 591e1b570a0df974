//! What the daemon counts for its operator. Totals since the start; counting never waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::engine::effect::Effect;
use crate::engine::record::Record;
use crate::model::signal::{Outcome, Reason};

/// Upper bounds of the histogram's buckets, in microseconds.
pub const BUCKETS_US: [u64; 12] =
    [500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000, 10_000_000];

/// The counts.
#[derive(Debug, Default)]
pub struct Figures {
    /// Signals that were `filled`, `accepted`, `unchanged`.
    done: [AtomicU64; 3],
    /// Signals that were refused, in the order of [`Reason::ALL`].
    refused: [AtomicU64; Reason::ALL.len()],
    repeated: AtomicU64,
    orders: AtomicU64,
    fills: AtomicU64,
    trades: AtomicU64,
    /// Answered commands by the time that they took; the last is beyond all bounds.
    answered: [AtomicU64; BUCKETS_US.len() + 1],
    answered_us: AtomicU64,
}

/// The counts at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Signals by status and, when they were refused, by reason. A repetition counts again.
    pub signals: Vec<(&'static str, &'static str, u64)>,
    /// Those of them that were repetitions.
    pub repeated: u64,
    /// Changes of orders.
    pub orders: u64,
    /// Fills.
    pub fills: u64,
    /// Closed trades.
    pub trades: u64,
    /// Commands that were answered within each of [`BUCKETS_US`], not summed up, and beyond them.
    pub answered: Vec<u64>,
    /// The time that they took together, in microseconds.
    pub answered_us: u64,
}

impl Figures {
    /// Counts what an effect tells.
    pub fn count(&self, effect: &Effect) {
        match effect {
            Effect::Persist(Record::Order(_)) => add(&self.orders),
            Effect::Persist(Record::Fill(_)) => add(&self.fills),
            Effect::Persist(Record::Trade(_)) => add(&self.trades),
            Effect::Reply { result: Some(result), .. } => {
                match &result.outcome {
                    Outcome::Filled => add(&self.done[0]),
                    Outcome::Accepted => add(&self.done[1]),
                    Outcome::Unchanged => add(&self.done[2]),
                    Outcome::Rejected(refusal) => {
                        let index = Reason::ALL.iter().position(|reason| *reason == refusal.reason);
                        index.into_iter().for_each(|index| add(&self.refused[index]));
                    }
                }
                if result.repeated {
                    add(&self.repeated);
                }
            }
            _ => {}
        }
    }

    /// Counts a command that was answered, on disk and released, so long after it was received.
    pub fn answered(&self, after: Duration) {
        let us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.iter().position(|bound| us <= *bound).unwrap_or(BUCKETS_US.len());
        add(&self.answered[bucket]);
        self.answered_us.fetch_add(us, Ordering::Relaxed);
    }

    /// The counts now.
    pub fn counts(&self) -> Counts {
        let done = ["filled", "accepted", "unchanged"].into_iter().zip(&self.done);
        let done = done.map(|(status, count)| (status, "", get(count)));
        let refused = Reason::ALL.iter().zip(&self.refused);
        let refused = refused.map(|(reason, count)| ("rejected", reason.as_str(), get(count)));
        Counts {
            signals: done.chain(refused).collect(),
            repeated: get(&self.repeated),
            orders: get(&self.orders),
            fills: get(&self.fills),
            trades: get(&self.trades),
            answered: self.answered.iter().map(get).collect(),
            answered_us: get(&self.answered_us),
        }
    }
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

fn get(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_their_buckets() {
        let figures = Figures::default();
        for us in [0, 500, 501, 10_000_000, 10_000_001] {
            figures.answered(Duration::from_micros(us));
        }
        let counts = figures.counts();
        assert_eq!(counts.answered, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(counts.answered_us, 20_001_002);
        assert_eq!(counts.signals.len(), 3 + Reason::ALL.len());
    }
}
