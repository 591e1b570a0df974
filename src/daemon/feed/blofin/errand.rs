//! What is asked for, and when what is asked for again and again is due.

use std::borrow::Cow;
use std::time::Duration;

use tokio::time::Instant;

use super::rest::RestError;
use crate::daemon::backoff::backoff;
use crate::model::ids::Symbol;
use crate::venue::blofin::request;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Instruments,
    Tickers,
    Marks,
    /// The last trades of a pair, by the venue's name.
    Trades(Symbol),
}

impl Ask {
    /// Where it is asked for.
    pub(super) fn path(self) -> Cow<'static, str> {
        match self {
            Ask::Instruments => request::INSTRUMENTS.into(),
            Ask::Tickers => request::TICKERS.into(),
            Ask::Marks => request::MARK_PRICES.into(),
            Ask::Trades(pair) => request::trades(pair, request::TRADES_MAX).into(),
        }
    }
}

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
