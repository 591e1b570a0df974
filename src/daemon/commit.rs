//! The committing thread: nothing leaves before what it depends on is on disk.
//!
//! It journals the records of all batches that wait with one write and one sync, and only then releases what they
//! protect: requests to venues, event messages, results, states, acknowledgements. It never waits for the broker or a
//! venue, and the engine loop never for it. While the disk fails it repeats the group with growing pauses and goes on
//! collecting; of a retained topic it keeps only the newest value meanwhile, so that an outage costs memory only for
//! records. Requests that take no risk on do not wait for a disk that fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::caller::Reply;
pub use super::committer::{CommitFigures, Committer, Item, Job, StoreEvent};
use super::figures::Figures;
use super::gateway::Dispatcher;
use super::mqtt::Bus;
use super::outbox::{JournalEvent, Outbox, OutboxHandle, Qos};
use crate::engine::record::Record;
use crate::message::record_view;
use crate::message::topic::Topics;
use crate::message::view::{Message, MessageKind};
use crate::model::trading::Dispatch;
use crate::store::{JournalError, Ledger};

/// The most records of one group commit.
const GROUP_RECORDS_MAX: usize = 5_000;
/// The first and the longest pause after a failed write.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Records that a refill looks at, for each event that it wants.
const REFILL_RECORDS_PER_EVENT: usize = 8;

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
    /// The way to accounts.
    pub dispatcher: Dispatcher,
    /// Where the time of writing is counted.
    pub latency: Arc<Figures>,
}

/// Starts the thread. It ends when every [`Committer`] is gone, and then the store is closed.
///
/// # Errors
/// When the thread cannot be made.
pub fn start(context: CommitContext) -> std::io::Result<(Committer, std::thread::JoinHandle<()>)> {
    let (mut thread, committer, receiver) = Thread::new(context);
    let handle = std::thread::Builder::new().name("commit".into()).spawn(move || thread.run(&receiver))?;
    Ok((committer, handle))
}

/// What the thread does, for `stage` without its waits.
pub(super) struct Thread {
    context: CommitContext,
    figures: Arc<CommitFigures>,
    /// Events through this sequence are from an earlier run.
    replayed_through: u64,
    group: Group,
}

/// What waits for one commit, and leaves after it.
#[derive(Default)]
struct Group {
    records: Vec<Record>,
    dispatches: Vec<Dispatch>,
    messages: Vec<Message>,
    retained: BTreeMap<String, (String, Option<u32>)>,
    replies: Vec<Reply>,
    /// How many of the records are on disk.
    written: usize,
    /// Batches that came while the disk failed and still count as waiting.
    held: usize,
}

impl Thread {
    /// The thread before it runs, the hold on it, and what it is given.
    pub(super) fn new(context: CommitContext) -> (Thread, Committer, Receiver<Job>) {
        let (sender, receiver) = channel();
        let committer = Committer::new(sender);
        let figures = Arc::clone(&committer.figures);
        let replayed_through = context.ledger.last_sequence();
        figures.committed.store(replayed_through, Ordering::Release);
        (Thread { context, figures, replayed_through, group: Group::default() }, committer, receiver)
    }

    fn run(&mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            let mut next = Some(job);
            while let Some(job) = next.take() {
                if let Some(other) = self.take(job) {
                    self.commit(jobs);
                    self.act_and_commit(other, jobs);
                }
                if self.group.len() < GROUP_RECORDS_MAX {
                    next = jobs.try_recv().ok();
                }
            }
            self.commit(jobs);
            // Only now: its work would hold up on one core what somebody waits for.
            if let Some(follower) = self.figures.follower.get() {
                follower.unpark();
            }
        }
    }

    /// The store.
    pub(super) fn ledger(&self) -> &Ledger {
        &self.context.ledger
    }

    /// Adds a batch to the group, and gives back what is to be done after the group.
    pub(super) fn take(&mut self, job: Job) -> Option<Job> {
        self.figures.waiting.fetch_sub(1, Ordering::Relaxed);
        match job {
            Job::Batch(items) => self.group.add(items),
            other => return Some(other),
        }
        None
    }

    /// Does what is to be done between two groups; a last record begins the next one.
    pub(super) fn act(&mut self, job: Job) {
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
            Job::Poison(record) => self.group.records.push(*record),
            Job::Flushed(done) => drop(done.send(())),
        }
    }

    /// Writes the group, again and again until it is on disk, and releases it.
    fn commit(&mut self, jobs: &Receiver<Job>) {
        let mut pause = RETRY_FIRST;
        let mut failing = false;
        let mut later = Vec::new();
        while let Err(error) = self.write() {
            if !failing {
                failing = true;
                tracing::error!(%error, "the store fails: no new entries, exits still pass");
                let _ = self.context.events.send(StoreEvent::Failing);
            }
            tracing::debug!(%error, ?pause, "writing again after a pause");
            self.send_safe();
            self.wait_and_collect(jobs, pause, &mut later);
            pause = (pause * 2).min(RETRY_MAX);
        }
        if failing {
            tracing::info!("the store works again");
            let _ = self.context.events.send(StoreEvent::Working);
        }
        self.release();
        for job in later {
            self.act_and_commit(job, jobs);
        }
    }

    fn act_and_commit(&mut self, job: Job, jobs: &Receiver<Job>) {
        self.act(job);
        if self.group.len() > 0 {
            self.commit(jobs);
        }
    }

    /// Writes what is left of the group, and waits until it is on disk.
    ///
    /// # Errors
    /// When it is not; the same call may be repeated.
    pub(super) fn write(&mut self) -> Result<(), JournalError> {
        let mut limit = GROUP_RECORDS_MAX;
        while self.group.written < self.group.records.len() {
            let written = self.group.written;
            let end = self.group.records.len().min(written + limit);
            let first = self.context.ledger.last_sequence() + 1;
            let begun = Instant::now();
            match self.context.ledger.append(first, &self.group.records[written..end]) {
                Ok(()) => {
                    self.context.latency.flushed.add(begun.elapsed());
                    self.group.written = end;
                    self.figures.groups.fetch_add(1, Ordering::Relaxed);
                    let bytes = self.context.ledger.bytes_written();
                    self.figures.bytes_written.store(bytes, Ordering::Relaxed);
                    self.figures.committed.store(self.context.ledger.last_sequence(), Ordering::Release);
                }
                Err(JournalError::TooLarge { .. }) if end - written > 1 => limit = (end - written) / 2,
                Err(error) => return Err(error),
            }
        }
        Ok(())
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
            later.extend(self.hold(job));
        }
    }

    /// [`Thread::take`] while the disk fails. What takes memory until it works counts as waiting, so that the bus
    /// waits at the limit.
    pub(super) fn hold(&mut self, job: Job) -> Option<Job> {
        if let Job::Batch(items) = &job
            && items.iter().any(|item| !matches!(item, Item::Message(_)))
        {
            self.group.held += 1;
            self.figures.waiting.fetch_add(1, Ordering::Relaxed);
        }
        let later = self.take(job);
        self.send_safe();
        later
    }

    /// While the disk fails, what only takes risk away or asks leaves first; it is journalled when the disk works.
    pub(super) fn send_safe(&mut self) {
        let (safe, rest) =
            std::mem::take(&mut self.group.dispatches).into_iter().partition(Dispatch::is_safe);
        self.group.dispatches = rest;
        let safe: Vec<Dispatch> = safe;
        safe.into_iter().for_each(|dispatch| self.context.dispatcher.send(dispatch));
    }

    /// Puts everything into the outbox before the client is woken, once: it then leaves with one write, instead of a
    /// write, a wakeup and an answer of the broker for each message before the result.
    pub(super) fn release(&mut self) {
        let Group { records, dispatches, messages, retained, replies, written: _, held } =
            std::mem::take(&mut self.group);
        // First of all: an order is late at once, a message is not.
        dispatches.into_iter().for_each(|dispatch| self.context.dispatcher.send(dispatch));
        self.figures.waiting.fetch_sub(held, Ordering::Relaxed);
        let first = self.context.ledger.last_sequence() + 1 - records.len() as u64;
        let topics = &self.context.topics;
        let event =
            |(sequence, record)| Some((sequence, record_view::event(topics, record, sequence, false)?));
        let events: Vec<(u64, Message)> = (first..).zip(&records).filter_map(event).collect();
        let mut answered = Vec::new();
        self.context.outbox.with(|outbox| {
            for (sequence, message) in events {
                outbox.event(sequence, &message.topic, message.payload.into_bytes());
            }
            messages.into_iter().for_each(|message| put(outbox, message));
            answered.extend(replies.into_iter().map(|reply| reply.put(outbox)));
            for (topic, (payload, expiry_s)) in retained {
                outbox.retained(&topic, payload.into_bytes(), expiry_s);
            }
        });
        // Last, so that whoever is answered finds what the answer tells of.
        answered.into_iter().for_each(|answered| answered.finish(&self.context.bus));
        self.context.outbox.wake();
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
            if let Some(message) = record_view::event(&self.context.topics, &record, sequence, replayed) {
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
                Item::Record(record) => self.records.push(*record),
                Item::Message(Message { topic, payload, kind: MessageKind::Retained(expiry_s) }) => {
                    self.retained.insert(topic, (payload, expiry_s));
                }
                Item::Message(message) => self.messages.push(message),
                Item::Reply(reply) => self.replies.push(reply),
                Item::Dispatch(dispatch) => self.dispatches.push(*dispatch),
            }
        }
    }

    /// All but the retained messages, whose newest values alone are kept.
    fn len(&self) -> usize {
        self.records.len() + self.dispatches.len() + self.messages.len() + self.replies.len()
    }
}

/// Hands a message to the client.
pub fn send(outbox: &OutboxHandle, message: Message) {
    outbox.with(|outbox| put(outbox, message));
    outbox.wake();
}

fn put(outbox: &mut Outbox, message: Message) {
    let payload = message.payload.into_bytes();
    match message.kind {
        MessageKind::Retained(expiry_s) => outbox.retained(&message.topic, payload, expiry_s),
        MessageKind::Announcement => outbox.announce(&message.topic, payload),
        MessageKind::Once => outbox.transient(&message.topic, payload, Qos::AtLeastOnce),
        MessageKind::Expiring(expiry_s) => outbox.expiring(&message.topic, payload, expiry_s),
        MessageKind::Fleeting => outbox.transient(&message.topic, payload, Qos::AtMostOnce),
    }
}
