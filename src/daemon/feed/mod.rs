//! Feeds: tasks that turn a source of prices into market events.
//!
//! A feed never drops an event: when the consumer is slow, the feed waits. Nothing is decided here; a feed that
//! fails says so in its status and ends, and the daemon does what is to be done.

use tokio::sync::{mpsc, watch};

use crate::backtest::source::RecordingError;
use crate::daemon::clock::Clock;
use crate::model::ids::FeedId;
use crate::model::market::MarketEvent;
use crate::model::time::Timestamp;
use crate::venue::synthetic::SyntheticError;
use outlet::{Outlet, Stopped};
pub use recording::{RecordingClock, RecordingFeed};
pub use synthetic::SyntheticFeed;

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
#[derive(Clone, Debug, PartialEq)]
pub enum FeedSource {
    /// Files.
    Recording(RecordingFeed),
    /// A market that is made up.
    Synthetic(SyntheticFeed),
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
    /// Why the feed ended itself: a sentence that names file and line.
    pub error: Option<String>,
}

/// Runs a feed until it ends, fails, or is told to stop: by `true` in `stop`, or by an end of the other side of
/// `stop` or `out`. How it went is in `status`, which is final when this returns.
pub async fn run(
    feed: FeedTask,
    out: mpsc::Sender<MarketEvent>,
    status: watch::Sender<FeedStatus>,
    stop: watch::Receiver<bool>,
) {
    let mut outlet = Outlet::new(out, status, stop);
    let ran = match feed.source {
        FeedSource::Recording(source) => recording::run(feed.id, source, feed.clock, &mut outlet).await,
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
