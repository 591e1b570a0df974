//! The committing thread: nothing leaves before what it depends on is on disk.
//!
//! It journals the records of all batches that wait with one write and one sync, and only then releases what they
//! protect: event messages, results, states, acknowledgements. It never waits for the broker, and the engine loop never
//! for it. While the disk fails it repeats the group with growing pauses and goes on collecting; of a retained topic it
//! keeps only the newest value meanwhile, so that an outage costs memory only for records.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::caller::Reply;
use super::mqtt::Bus;
use super::outbox::{JournalEvent, OutboxHandle, Qos};
use crate::engine::record::Record;
use crate::message::topic::Topics;
use crate::message::view::{self, Message, MessageKind};
use crate::store::{JournalError, Ledger};

/// The most records of one group commit.
const GROUP_RECORDS_MAX: usize = 5_000;
/// The first and the longest pause after a failed write.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Records that a refill looks at, for each event that it wants.
const REFILL_RECORDS_PER_EVENT: usize = 8;

/// What must wait for its records, in order.
#[derive(Debug)]
pub enum Item {
    /// A record: it is journalled, and its event message released.
    Record(Box<Record>),
    /// A message.
    Message(Message),
    /// The answer to a message, and its acknowledgement.
    Reply(Reply),
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
    /// Woken after each group commit, never waited for.
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

/// What the thread works with.
pub struct CommitContext {
    /// The store.
    pub ledger: Ledger,
    /// Where messages go.
    pub outbox: OutboxHandle,
    /// Where acknowledgements go.
    pub bus: Bus,
    /// How topics are called.
    pub topics: Topics,
    /// Who hears of a failing store.
    pub events: mpsc::UnboundedSender<StoreEvent>,
}

/// Starts the thread. It ends when every [`Committer`] is gone, and then the store is closed.
///
/// # Errors
/// When the thread cannot be made.
pub fn start(context: CommitContext) -> std::io::Result<(Committer, std::thread::JoinHandle<()>)> {
    let (sender, receiver) = channel();
    let figures = Arc::new(CommitFigures::default());
    let committer = Committer { jobs: sender, figures: figures.clone() };
    let replayed_through = context.ledger.last_sequence();
    figures.committed.store(replayed_through, Ordering::Release);
    let mut thread = Thread { context, figures, replayed_through, group: Group::default() };
    let handle = std::thread::Builder::new().name("commit".into()).spawn(move || thread.run(&receiver))?;
    Ok((committer, handle))
}

struct Thread {
    context: CommitContext,
    figures: Arc<CommitFigures>,
    /// Events through this sequence are from an earlier run.
    replayed_through: u64,
    group: Group,
}

/// What waits for one commit.
#[derive(Default)]
struct Group {
    records: Vec<Record>,
    released: Vec<Released>,
    retained: BTreeMap<String, (String, Option<u32>)>,
    /// Batches that came while the disk failed and still count as waiting.
    held: usize,
}

/// What leaves after the commit, in order.
enum Released {
    /// The event message of the record at this position.
    Record(usize),
    Message(Message),
    Reply(Reply),
}

impl Thread {
    fn run(&mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            let mut next = Some(job);
            while let Some(job) = next.take() {
                self.figures.waiting.fetch_sub(1, Ordering::Relaxed);
                match job {
                    Job::Batch(items) => self.group.add(items),
                    other => {
                        self.commit(jobs);
                        self.act(other, jobs);
                    }
                }
                if self.group.records.len() + self.group.released.len() < GROUP_RECORDS_MAX {
                    next = jobs.try_recv().ok();
                }
            }
            self.commit(jobs);
        }
    }

    fn act(&mut self, job: Job, jobs: &Receiver<Job>) {
        match job {
            Job::Batch(items) => self.group.add(items),
            Job::Refill { from, limit } => self.refill(from, limit),
            Job::Checkpoint { sequence, state } => {
                if let Err(error) = self.context.ledger.checkpoint(sequence, &state) {
                    tracing::warn!(%error, "checkpoint not written; the next start reads more of the journal");
                }
            }
            Job::Rotate => {
                if let Err(error) = self.context.ledger.rotate() {
                    tracing::warn!(%error, "journal not rotated");
                }
            }
            Job::Poison(record) => {
                self.group.records.push(*record);
                self.commit(jobs);
            }
            Job::Flushed(done) => drop(done.send(())),
        }
    }

    /// Writes the group, again and again until it is on disk, and releases it.
    fn commit(&mut self, jobs: &Receiver<Job>) {
        let mut pause = RETRY_FIRST;
        let mut failing = false;
        let mut written = 0;
        let mut limit = GROUP_RECORDS_MAX;
        let mut later = Vec::new();
        while written < self.group.records.len() {
            let end = self.group.records.len().min(written + limit);
            let first = self.context.ledger.last_sequence() + 1;
            match self.context.ledger.append(first, &self.group.records[written..end]) {
                Ok(()) => {
                    written = end;
                    self.figures.groups.fetch_add(1, Ordering::Relaxed);
                    let bytes = self.context.ledger.bytes_written();
                    self.figures.bytes_written.store(bytes, Ordering::Relaxed);
                    self.figures.committed.store(self.context.ledger.last_sequence(), Ordering::Release);
                    if let Some(follower) = self.figures.follower.get() {
                        follower.unpark();
                    }
                }
                Err(JournalError::TooLarge { .. }) if end - written > 1 => limit = (end - written) / 2,
                Err(error) => {
                    if !failing {
                        failing = true;
                        tracing::error!(%error, "the store fails: no new entries, exits still pass");
                        let _ = self.context.events.send(StoreEvent::Failing);
                    }
                    tracing::debug!(%error, ?pause, "writing again after a pause");
                    self.wait_and_collect(jobs, pause, &mut later);
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
        if failing {
            tracing::info!("the store works again");
            let _ = self.context.events.send(StoreEvent::Working);
        }
        self.release();
        for job in later {
            self.act(job, jobs);
        }
    }

    /// Passes a pause and collects what comes meanwhile, so that it joins the group that is tried again.
    fn wait_and_collect(&mut self, jobs: &Receiver<Job>, pause: Duration, later: &mut Vec<Job>) {
        // What comes must not cut the pause short: the disk would be tried, and the group encoded, with every job.
        let end = Instant::now() + pause;
        loop {
            let job = match jobs.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout) => return,
                // Nobody gives jobs any more, but what was given must still reach the disk.
                Err(RecvTimeoutError::Disconnected) => return std::thread::sleep(pause),
            };
            // What takes memory until the disk works counts as waiting, so that the bus waits at the limit.
            match job {
                Job::Batch(items) => {
                    let holds = items.iter().any(|item| !matches!(item, Item::Message(_)));
                    self.group.held += usize::from(holds);
                    self.figures.waiting.fetch_sub(usize::from(!holds), Ordering::Relaxed);
                    self.group.add(items);
                }
                other => {
                    self.figures.waiting.fetch_sub(1, Ordering::Relaxed);
                    later.push(other);
                }
            }
        }
    }

    fn release(&mut self) {
        let group = std::mem::take(&mut self.group);
        self.figures.waiting.fetch_sub(group.held, Ordering::Relaxed);
        let first = self.context.ledger.last_sequence() + 1 - group.records.len() as u64;
        let (outbox, topics) = (&self.context.outbox, &self.context.topics);
        let mut replies = Vec::new();
        for released in group.released {
            match released {
                Released::Record(index) => {
                    let sequence = first + index as u64;
                    if let Some(message) = view::event(topics, &group.records[index], sequence, false) {
                        outbox.event(sequence, &message.topic, message.payload.into_bytes());
                    }
                }
                Released::Message(message) => send(outbox, message),
                Released::Reply(reply) => replies.push(reply),
            }
        }
        for (topic, (payload, expiry_s)) in group.retained {
            outbox.retained(&topic, payload.into_bytes(), expiry_s);
        }
        // Last, so that whoever was answered finds what the answer tells of.
        for reply in replies {
            reply.release(outbox, &self.context.bus);
        }
    }

    /// Reads event messages back from the journal, as far as it is on disk.
    fn refill(&self, from: u64, limit: usize) {
        let last = self.context.ledger.last_sequence();
        let records = match self.context.ledger.read(from, limit.saturating_mul(REFILL_RECORDS_PER_EVENT)) {
            Ok(records) => records,
            Err(error) => {
                tracing::error!(%error, from, "events cannot be read back from the journal");
                return;
            }
        };
        let mut events: Vec<JournalEvent> = Vec::new();
        let mut through = if records.is_empty() { last } else { from.saturating_sub(1) };
        for (sequence, record) in records {
            let replayed = sequence <= self.replayed_through;
            if let Some(message) = view::event(&self.context.topics, &record, sequence, replayed) {
                if events.len() == limit {
                    break;
                }
                events.push((sequence, message.topic, message.payload.into_bytes()));
            }
            through = sequence;
        }
        self.context.outbox.refill(from, events, through);
    }
}

impl Group {
    fn add(&mut self, items: Vec<Item>) {
        for item in items {
            match item {
                Item::Record(record) => {
                    self.released.push(Released::Record(self.records.len()));
                    self.records.push(*record);
                }
                Item::Message(Message { topic, payload, kind: MessageKind::Retained(expiry_s) }) => {
                    self.retained.insert(topic, (payload, expiry_s));
                }
                Item::Message(message) => self.released.push(Released::Message(message)),
                Item::Reply(reply) => self.released.push(Released::Reply(reply)),
            }
        }
    }
}

/// Hands a message to the outbox.
pub fn send(outbox: &OutboxHandle, message: Message) {
    let payload = message.payload.into_bytes();
    match message.kind {
        MessageKind::Retained(expiry_s) => outbox.retained(&message.topic, payload, expiry_s),
        MessageKind::Announcement => outbox.announce(&message.topic, payload),
        MessageKind::Once => outbox.transient(&message.topic, payload, Qos::AtLeastOnce),
        MessageKind::Fleeting => outbox.transient(&message.topic, payload, Qos::AtMostOnce),
    }
}
