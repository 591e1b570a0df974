//! What the committing thread is given, and the hold on it that others have. The thread itself is in `commit`.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;

use super::caller::Reply;
use crate::engine::record::Record;
use crate::message::view::Message;
use crate::model::trading::Dispatch;

/// What must wait for its records, in order.
#[derive(Debug)]
pub enum Item {
    /// A record: it is journalled, and its event message released.
    Record(Box<Record>),
    /// A message.
    Message(Message),
    /// The answer to a command, and its acknowledgement.
    Reply(Reply),
    /// Something to ask of a venue.
    Dispatch(Box<Dispatch>),
}

/// Something for the thread to do, in order.
#[derive(Debug)]
pub enum Job {
    /// One event's effects.
    Batch(Vec<Item>),
    /// Read events back for the outbox.
    Refill {
        /// First sequence.
        from: u64,
        /// The most events.
        limit: usize,
    },
    /// Write a checkpoint of the state through this sequence.
    Checkpoint {
        /// Its sequence.
        sequence: u64,
        /// Its bytes.
        state: Vec<u8>,
    },
    /// Begin a new file of the journal.
    Rotate,
    /// Journal one last record under the next sequence: the process is about to die.
    Poison(Box<Record>),
    /// Tell when everything before is on disk and released.
    Flushed(oneshot::Sender<()>),
}

/// What the thread tells the engine loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// Writing began to fail.
    Failing,
    /// Writing works again.
    Working,
}

/// Figures of the thread, for the health topic.
#[derive(Debug, Default)]
pub struct CommitFigures {
    /// Jobs that wait.
    pub waiting: AtomicUsize,
    /// Bytes written since the start.
    pub bytes_written: AtomicU64,
    /// Group commits since the start.
    pub groups: AtomicU64,
    /// The last sequence on disk.
    pub committed: AtomicU64,
    /// Woken when nothing more waits, never waited for.
    pub follower: OnceLock<std::thread::Thread>,
    /// The thread took a job no more.
    pub ended: AtomicBool,
}

/// The engine loop's hold on the thread.
#[derive(Clone, Debug)]
pub struct Committer {
    jobs: Sender<Job>,
    /// Its figures.
    pub figures: Arc<CommitFigures>,
}

impl Committer {
    /// A hold on the thread that takes these jobs.
    pub(super) fn new(jobs: Sender<Job>) -> Committer {
        Committer { jobs, figures: Arc::default() }
    }

    /// Hands a job over; never waits. Jobs after the thread's end are dropped.
    pub fn give(&self, job: Job) {
        self.figures.waiting.fetch_add(1, Ordering::Relaxed);
        if self.jobs.send(job).is_err() {
            self.figures.ended.store(true, Ordering::Relaxed);
            tracing::error!("the committing thread has ended, a job is lost");
        }
    }

    /// Whether the thread is gone, so that nothing reaches the disk any more.
    pub fn has_ended(&self) -> bool {
        self.figures.ended.load(Ordering::Relaxed)
    }

    /// Waits until everything given before is on disk and released.
    pub async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        self.give(Job::Flushed(done));
        // An error means that the thread has ended, so nothing is left to wait for.
        let _ = wait.await;
    }

    /// The same with a bound; false when the disk does not take it in time.
    pub async fn flush_within(&self, bound: Duration) -> bool {
        tokio::time::timeout(bound, self.flush()).await.is_ok()
    }
}
