//! When something that is asked for again and again is due.

use std::time::Duration;

use tokio::time::Instant;

use super::rest::RestError;
use crate::daemon::backoff::backoff;

/// Something that is asked for again and again.
#[derive(Debug)]
pub(super) struct Errand {
    /// When it is asked for next.
    pub(super) due: Instant,
    is_running: bool,
    failures: u32,
}

impl Errand {
    pub(super) fn new(due: Instant) -> Errand {
        Errand { due, is_running: false, failures: 0 }
    }

    /// Whether it is to be asked for now; if so, it is under way until [`Errand::end`].
    pub(super) fn start(&mut self, now: Instant) -> bool {
        let starts = now >= self.due && !self.is_running;
        self.is_running |= starts;
        starts
    }

    /// Plans the next time: after `every`, or, after failures in a row, when it is worth another try.
    pub(super) fn end(&mut self, now: Instant, every: Duration, failed: Option<&RestError>) {
        self.is_running = false;
        self.failures = if failed.is_some() { self.failures.saturating_add(1) } else { 0 };
        let wait = match failed {
            None => every,
            Some(RestError::Rates(wait)) => *wait,
            Some(_) => backoff(self.failures - 1, u64::from(self.failures)),
        };
        self.due = now + wait;
    }
}
