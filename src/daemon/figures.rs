//! What the daemon counts for its operator. Totals since the start; counting never waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::engine::effect::Effect;
use crate::engine::record::Record;
use crate::model::signal::{Outcome, Reason};

const US: u64 = 1_000;
const MS: u64 = 1_000 * US;

/// Upper bounds of the times of answers, in nanoseconds.
const ANSWERED_NS: [u64; 12] = [
    MS / 2,
    MS,
    5 * MS / 2,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    100 * MS,
    250 * MS,
    1_000 * MS,
    5_000 * MS,
    10_000 * MS,
];
/// Those of the engine's events.
const HANDLED_NS: [u64; 10] =
    [US, 5 * US / 2, 5 * US, 10 * US, 25 * US, 50 * US, 100 * US, MS, 10 * MS, 100 * MS];
/// Those of the journal's writes.
const FLUSHED_NS: [u64; 10] =
    [MS / 10, MS / 4, MS / 2, MS, 5 * MS / 2, 5 * MS, 10 * MS, 25 * MS, 100 * MS, 1_000 * MS];

/// How long something took, counted by bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds_ns: &'static [u64],
    /// One for each bound, and one beyond all.
    counts: Box<[AtomicU64]>,
    total_ns: AtomicU64,
}

/// A histogram at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    /// Upper bounds in nanoseconds.
    pub bounds_ns: &'static [u64],
    /// How often it took up to each bound and over the one before, and beyond all.
    pub counts: Vec<u64>,
    /// All together, in nanoseconds.
    pub total_ns: u64,
}

impl Histogram {
    fn new(bounds_ns: &'static [u64]) -> Histogram {
        let counts = (0..=bounds_ns.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { bounds_ns, counts, total_ns: AtomicU64::new(0) }
    }

    /// Counts one.
    pub fn add(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        add(&self.counts[self.bounds_ns.partition_point(|bound| *bound < ns)]);
        self.total_ns.fetch_add(ns, Ordering::Relaxed);
    }

    fn times(&self) -> Times {
        Times {
            bounds_ns: self.bounds_ns,
            counts: self.counts.iter().map(get).collect(),
            total_ns: get(&self.total_ns),
        }
    }
}

/// The counts.
#[derive(Debug)]
pub struct Figures {
    /// Signals that were `filled`, `accepted`, `unchanged`.
    done: [AtomicU64; 3],
    /// Signals that were refused, in the order of [`Reason::ALL`].
    refused: [AtomicU64; Reason::ALL.len()],
    repeated: AtomicU64,
    orders: AtomicU64,
    fills: AtomicU64,
    trades: AtomicU64,
    /// From the receipt of a command to its answer, which is on disk.
    pub answered: Histogram,
    /// What the engine takes for an event.
    pub handled: Histogram,
    /// What the disk takes for a group of records.
    pub flushed: Histogram,
}

impl Default for Figures {
    fn default() -> Figures {
        Figures {
            done: Default::default(),
            refused: std::array::from_fn(|_| AtomicU64::new(0)),
            repeated: AtomicU64::new(0),
            orders: AtomicU64::new(0),
            fills: AtomicU64::new(0),
            trades: AtomicU64::new(0),
            answered: Histogram::new(&ANSWERED_NS),
            handled: Histogram::new(&HANDLED_NS),
            flushed: Histogram::new(&FLUSHED_NS),
        }
    }
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
    /// From the receipt of a command to its answer, which is on disk.
    pub answered: Times,
    /// What the engine took for events.
    pub handled: Times,
    /// What the disk took for groups of records.
    pub flushed: Times,
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
            answered: self.answered.times(),
            handled: self.handled.times(),
            flushed: self.flushed.times(),
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
            figures.answered.add(Duration::from_micros(us));
        }
        let counts = figures.counts();
        assert_eq!(counts.answered.counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(counts.answered.total_ns, 20_001_002_000);
        assert_eq!(counts.signals.len(), 3 + Reason::ALL.len());
        for bounds in [&ANSWERED_NS[..], &HANDLED_NS, &FLUSHED_NS] {
            assert!(bounds.is_sorted());
        }
    }
}
