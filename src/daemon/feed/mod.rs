//! Feeds: tasks that turn a source of prices into market events.
//!
//! A feed of a recording or a made-up market never drops an event: when the consumer is slow, the feed waits. One of
//! a venue cannot wait, see [`blofin`]. Nothing is decided here; a feed that fails says so in its status and ends, and
//! the daemon does what is to be done.

use std::collections::VecDeque;

use tokio::sync::{mpsc, watch};

use crate::backtest::source::RecordingError;
use crate::daemon::clock::Clock;
use crate::engine::effect::AlertLevel;
use crate::model::ids::FeedId;
use crate::model::market::Arrival;
use crate::model::time::Timestamp;
use crate::venue::synthetic::SyntheticError;
pub use blofin::BlofinFeed;
use outlet::{Outlet, Stopped};
pub use recording::{RecordingClock, RecordingFeed};
pub use synthetic::SyntheticFeed;

pub mod blofin;
mod outlet;
mod pace;
mod recording;
mod synthetic;
#[cfg(test)]
mod tests;

/// What [`run`] needs to know.
#[derive(Clone, Debug)]
pub struct FeedTask {
    /// The name that its events bear.
    pub id: FeedId,
    /// The clock that events are due by; a recording with [`RecordingClock::Recorded`] does not look at it.
    pub clock: Clock,
    /// Where prices come from.
    pub source: FeedSource,
}

/// Where prices come from.
#[derive(Clone, Debug)]
pub enum FeedSource {
    /// Files.
    Recording(RecordingFeed),
    /// A market that is made up.
    Synthetic(SyntheticFeed),
    /// BloFin.
    Blofin(BlofinFeed),
}

/// The most notices that wait to be published; more push out the oldest.
const NOTICES_MAX: usize = 32;

/// Something that a person should know of a feed, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How urgent.
    pub level: AlertLevel,
    /// A stable word for programs.
    pub code: &'static str,
    /// A sentence that names the feed.
    pub text: String,
    /// When.
    pub time: Timestamp,
}

/// How good the connection to a venue is. Totals count since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quality {
    /// Where prices come from now: `stream`, `poll` or `none`.
    pub source: &'static str,
    /// Milliseconds from the venue's time of a message to ours, smoothed; the clocks' difference is in it.
    pub latency_ms: Option<i64>,
    /// Polls that were answered.
    pub polls: u64,
    /// Subscriptions that were found lost and made again.
    pub gaps: u64,
    /// Rows that were wrong and are not taken.
    pub dropped: u64,
    /// Quotes that a newer one replaced before the engine had time.
    pub conflated: u64,
    /// Trades that were dropped, because too many waited for the engine.
    pub overflowed: u64,
}

/// How a feed is. Whoever waits for a change is woken by all but `messages` and `last_message`, which are always up
/// to date when looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedStatus {
    /// Whether prices come.
    pub connected: bool,
    /// Time of the event since when `connected` is what it is; `None` before the first.
    pub since: Option<Timestamp>,
    /// Time of the last event.
    pub last_message: Option<Timestamp>,
    /// Events that were handed over.
    pub messages: u64,
    /// How often the source was connected again after the first time.
    pub reconnects: u32,
    /// Whether the source had its last event. Events may still be in the channel.
    pub ended: bool,
    /// Why the feed ended itself (a sentence that names file and line), or why a venue's feed lacks prices.
    pub error: Option<String>,
    /// How good a venue's connection is.
    pub quality: Option<Quality>,
    /// What a person should know, oldest first, at most [`NOTICES_MAX`].
    pub notices: VecDeque<Notice>,
    /// How many notices there were; the last of them is the last of `notices`.
    pub noticed: u64,
}

impl FeedStatus {
    /// Adds notices.
    fn add(&mut self, notices: impl Iterator<Item = Notice>) {
        for notice in notices {
            if self.notices.len() == NOTICES_MAX {
                self.notices.pop_front();
            }
            self.notices.push_back(notice);
            self.noticed += 1;
        }
    }

    /// The notices after the first `seen` ones, as far as they are still here.
    pub fn notices_after(&self, seen: u64) -> impl Iterator<Item = &Notice> {
        let fresh = usize::try_from(self.noticed.saturating_sub(seen)).unwrap_or(usize::MAX);
        self.notices.iter().skip(self.notices.len().saturating_sub(fresh))
    }
}

/// Runs a feed until it ends, fails, or is told to stop: by `true` in `stop`, or by an end of the other side of
/// `stop` or `out`. How it went is in `status`, which is final when this returns.
pub async fn run(
    feed: FeedTask,
    out: mpsc::Sender<Arrival>,
    status: watch::Sender<FeedStatus>,
    stop: watch::Receiver<bool>,
) {
    let mut outlet = Outlet::new(out, status, stop);
    let ran = match feed.source {
        FeedSource::Recording(source) => recording::run(feed.id, source, feed.clock, &mut outlet).await,
        FeedSource::Blofin(source) => blofin::run(feed.id, source, feed.clock, &mut outlet).await,
        FeedSource::Synthetic(source) => synthetic::run(feed.id, source, feed.clock, &mut outlet).await,
    };
    outlet.finish(ran);
}

/// Why a feed is over before its source is.
#[derive(Debug)]
enum FeedEnd {
    Stopped,
    Failed(FeedError),
}

impl From<Stopped> for FeedEnd {
    fn from(_: Stopped) -> FeedEnd {
        FeedEnd::Stopped
    }
}

impl<E: Into<FeedError>> From<E> for FeedEnd {
    fn from(error: E) -> FeedEnd {
        FeedEnd::Failed(error.into())
    }
}

/// What can go wrong with a feed.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// A file cannot be read, or has a broken line.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// Settings that no market can have.
    #[error(transparent)]
    Synthetic(#[from] SyntheticError),
    /// A speed that cannot be.
    #[error("speed is {speed}, it must be 0.001 to 1000000, or 0 with the clock \"recorded\"")]
    Speed {
        /// The speed.
        speed: f64,
    },
    /// The system gives no thread to read files with.
    #[error("no thread for reading: {0}")]
    Thread(std::io::Error),
    /// A bug: the reading thread is gone.
    #[error("the thread that reads the recording stopped without a word")]
    ReaderGone,
}
