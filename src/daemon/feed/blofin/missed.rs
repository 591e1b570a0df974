//! Trades that a break of the stream missed: asked for, and put before those that the stream brings meanwhile.
//!
//! A trade that is older than a price which the engine had already, such as one of a poll, comes too late and is not
//! taken, so what this brings is what happened since the last poll or message.
//!
//! Limits: the [`PAIRS_MAX`] pairs that traded last, at most once in [`EVERY`], for at most [`PATIENCE`]; of each pair
//! the venue's last 100 trades, and [`HELD_MAX`] frames that wait for them.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::model::ids::Symbol;

/// The most pairs that are asked for after a break.
pub const PAIRS_MAX: usize = 10;
/// Between two breaks after which trades are asked for: a connection that comes and goes must not use up the rates.
pub const EVERY: Duration = Duration::from_secs(30);
/// How long the answers may take.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// The most frames of a pair that wait.
pub const HELD_MAX: usize = 256;

#[derive(Debug, Default)]
struct Waiting {
    is_asked: bool,
    held: Vec<Utf8Bytes>,
}

/// What is asked for, by the venue's names of pairs.
#[derive(Debug, Default)]
pub(super) struct Missed {
    waiting: BTreeMap<Symbol, Waiting>,
    begun: Option<Instant>,
}

impl Missed {
    /// A break is over; `pairs` begins with those that traded last.
    pub(super) fn begin(&mut self, now: Instant, pairs: impl Iterator<Item = Symbol>) {
        if self.begun.is_none_or(|begun| now.duration_since(begun) >= EVERY) {
            self.begun = Some(now);
            self.waiting = pairs.take(PAIRS_MAX).map(|pair| (pair, Waiting::default())).collect();
        }
    }

    /// Whether nothing is waited for.
    pub(super) fn is_over(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The pairs that are to be asked for now, once.
    pub(super) fn take_due(&mut self) -> Vec<Symbol> {
        let due = self.waiting.iter_mut().filter(|(_, waiting)| !waiting.is_asked);
        due.map(|(pair, waiting)| {
            waiting.is_asked = true;
            *pair
        })
        .collect()
    }

    /// Whether trades of a pair have to wait.
    pub(super) fn waits_for(&self, pair: Symbol) -> bool {
        self.waiting.contains_key(&pair)
    }

    /// Keeps a frame of a pair until its answer is there; `false` when there is no room.
    pub(super) fn hold(&mut self, pair: Symbol, frame: &Utf8Bytes) -> bool {
        let waiting = self.waiting.get_mut(&pair).filter(|waiting| waiting.held.len() < HELD_MAX);
        waiting.is_some_and(|waiting| {
            waiting.held.push(frame.clone());
            true
        })
    }

    /// A pair is waited for no longer; gives what was held.
    pub(super) fn end(&mut self, pair: Symbol) -> Vec<Utf8Bytes> {
        self.waiting.remove(&pair).map(|waiting| waiting.held).unwrap_or_default()
    }

    /// The pairs that have been waited for too long.
    pub(super) fn overdue(&self, now: Instant) -> Vec<Symbol> {
        let late = self.begun.is_some_and(|begun| now.duration_since(begun) >= PATIENCE);
        self.waiting.keys().filter(|_| late).copied().collect()
    }

    /// All pairs that are waited for.
    pub(super) fn all(&self) -> Vec<Symbol> {
        self.waiting.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn within_the_limits() {
        let start = Instant::now();
        let pair = |n: usize| Symbol::new(&format!("P{n:02}-USDT")).unwrap();
        let mut missed = Missed::default();
        missed.begin(start, (0..50).map(pair));
        assert_eq!(missed.take_due().len(), PAIRS_MAX);
        assert!(missed.take_due().is_empty() && missed.waits_for(pair(9)) && !missed.waits_for(pair(10)));
        let frame = Utf8Bytes::from_static("x");
        (0..HELD_MAX).for_each(|_| assert!(missed.hold(pair(0), &frame)));
        assert!(!missed.hold(pair(0), &frame) && !missed.hold(pair(10), &frame));
        assert_eq!((missed.end(pair(0)).len(), missed.end(pair(0)).len()), (HELD_MAX, 0));
        assert!(missed.overdue(start).is_empty());
        for pair in missed.overdue(start + PATIENCE) {
            missed.end(pair);
        }
        assert!(missed.is_over() && missed.all().is_empty());
        // Not again at once.
        missed.begin(start + EVERY - Duration::from_millis(1), (0..1).map(pair));
        assert!(missed.is_over());
        missed.begin(start + EVERY, (0..1).map(pair));
        assert_eq!(missed.all(), [pair(0)]);
    }
}
