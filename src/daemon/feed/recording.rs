//! A recording as a feed. A thread reads the files, so that a slow disk does not hold up the loop; it is at most
//! [`READ_AHEAD`] events ahead.

use std::path::PathBuf;

use tokio::sync::mpsc;

use super::outlet::Outlet;
use super::pace::Pacer;
use super::{FeedEnd, FeedError};
use crate::backtest::source::{RecordingError, RecordingSource};
use crate::daemon::clock::Clock;
use crate::model::ids::{FeedId, Symbol};
use crate::model::market::Arrival;
use crate::model::time::Timestamp;

/// The most events that are read before they are due.
const READ_AHEAD: usize = 256;
const SPEED_MIN: f64 = 0.001;
const SPEED_MAX: f64 = 1_000_000.0;

/// Files, and how they are played.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordingFeed {
    /// 1 to 64 files with the symbol that each records. Equal times keep this order.
    pub files: Vec<(PathBuf, Symbol)>,
    /// 1 is as recorded, 10 is ten times as fast; 0.001 to 1000000. 0 is as fast as it is consumed, only with
    /// [`RecordingClock::Recorded`].
    pub speed: f64,
    /// Which times the events have.
    pub clock: RecordingClock,
    /// Whether it starts again at the end. The times go on: the first event of the next round follows the last one
    /// at the mean distance of events, at least a millisecond. A recording without events ends nevertheless.
    pub repeat: bool,
}

/// Which times the events of a recording have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingClock {
    /// The feed's clock: the first event is now, the others follow at the distances of the files divided by `speed`.
    Wall,
    /// The files' times, whatever `speed` is.
    Recorded,
}

impl RecordingFeed {
    /// Looks at the speed; the files are looked at by [`RecordingSource::open`].
    ///
    /// # Errors
    /// When the speed is out of range, or 0 with [`RecordingClock::Wall`].
    pub fn check(&self) -> Result<(), FeedError> {
        let unpaced = self.speed == 0.0 && self.clock == RecordingClock::Recorded;
        if unpaced || (SPEED_MIN..=SPEED_MAX).contains(&self.speed) {
            return Ok(());
        }
        Err(FeedError::Speed { speed: self.speed })
    }
}

/// What the reading thread says.
enum Read {
    Event(Arrival),
    Failed(RecordingError),
    End,
}

pub(super) async fn run(
    id: FeedId,
    feed: RecordingFeed,
    clock: Clock,
    outlet: &mut Outlet,
) -> Result<(), FeedEnd> {
    feed.check()?;
    let clock_pace = match feed.clock {
        RecordingClock::Wall => clock,
        // Only distances matter, and the recorded clock itself stands still between events.
        RecordingClock::Recorded => Clock::steady(Timestamp::MIN),
    };
    let mut pacer = (feed.speed > 0.0).then(|| Pacer::new(clock_pace, feed.speed));
    let (reads, mut inbox) = mpsc::channel(READ_AHEAD);
    let (files, repeat) = (feed.files, feed.repeat);
    // The thread ends by itself when the inbox is gone.
    let thread = std::thread::Builder::new().name(format!("feed-{id}"));
    thread.spawn(move || read(&files, id, repeat, &reads)).map_err(FeedError::Thread)?;
    loop {
        let mut arrival = match outlet.wait(inbox.recv()).await? {
            Some(Read::Event(arrival)) => arrival,
            Some(Read::Failed(error)) => return Err(error.into()),
            Some(Read::End) => return Ok(()),
            None => return Err(FeedError::ReaderGone.into()),
        };
        if let Some(pacer) = &mut pacer {
            let due = pacer.wait(arrival.at, outlet).await?;
            if feed.clock == RecordingClock::Wall {
                // As late as it was when it was recorded.
                arrival.event.time = due.plus_ms(arrival.event.time.since_ms(arrival.at));
                arrival.at = due;
            }
        }
        outlet.send(arrival).await?;
    }
}

/// The reading thread.
fn read(files: &[(PathBuf, Symbol)], id: FeedId, repeat: bool, reads: &mpsc::Sender<Read>) {
    let last = match read_rounds(files, id, repeat, reads) {
        Ok(()) => Read::End,
        Err(error) => Read::Failed(error),
    };
    // When the feed is gone, nobody is left to be told.
    let _ = reads.blocking_send(last);
}

/// Reads until the end, for ever when repeated, or until nobody takes the events.
fn read_rounds(
    files: &[(PathBuf, Symbol)],
    id: FeedId,
    repeat: bool,
    reads: &mpsc::Sender<Read>,
) -> Result<(), RecordingError> {
    let mut source = RecordingSource::open(files, id)?;
    let Some(first) = source.first_time() else { return Ok(()) };
    let mut shift_ms = 0;
    loop {
        let mut last = first;
        let mut count = 0;
        for arrival in source.by_ref() {
            let mut arrival = arrival?;
            last = arrival.at;
            count += 1;
            arrival.at = arrival.at.plus_ms(shift_ms);
            arrival.event.time = arrival.event.time.plus_ms(shift_ms);
            if reads.blocking_send(Read::Event(arrival)).is_err() {
                return Ok(());
            }
        }
        if !repeat {
            return Ok(());
        }
        let length_ms = last.since_ms(first);
        shift_ms += length_ms + (length_ms / (count - 1).max(1)).max(1);
        source.rewind()?;
    }
}
