//! What waits for the broker.
//!
//! The outbox, not the MQTT client, is the truth about what the broker has acknowledged: a connection takes messages
//! out with [`Outbox::take_next`], reports each with [`Outbox::acknowledged`] or [`Outbox::refused`], and a new
//! connection starts with [`Outbox::connection_started`], which makes everything unacknowledged (and everything
//! retained) due again. Messages may therefore arrive twice, and are never lost, except transient ones beyond
//! their limit.
//!
//! Limits: [`EVENTS_MAX`] events in memory (then they spill to the journal), [`RETAINED_MAX`] retained topics,
//! [`TRANSIENT_MAX`] transient messages of each QoS (the oldest is dropped), [`PAYLOAD_BYTES_MAX`] per message.

mod announce;
mod ends;
mod events;
mod message;
mod retained;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::board::Board;
use events::Events;
pub use events::Refill;
pub use message::{JournalEvent, OutboxCounters, Outgoing, Qos, Ticket};
use retained::Retained;

/// Durable events in memory; what exceeds it is read back from the journal.
pub const EVENTS_MAX: usize = 1_000;
/// Retained topics; a new topic beyond it is dropped and counted.
pub const RETAINED_MAX: usize = 10_000;
/// Transient messages waiting, separately for QoS 0 and QoS 1, so that ticks cannot push out alerts.
pub const TRANSIENT_MAX: usize = 1_000;
/// Topic and payload in bytes: under the 256 KiB that brokers are asked to accept, with room for the packet's header.
pub const PAYLOAD_BYTES_MAX: usize = 255 * 1024;

#[derive(Debug)]
struct Transient {
    topic: String,
    payload: Vec<u8>,
    qos: Qos,
    expiry_s: Option<u32>,
    correlation: Option<Vec<u8>>,
}

/// See the module.
#[derive(Debug)]
pub struct Outbox {
    events: Events,
    retained: Retained,
    alerts: VecDeque<Transient>,
    ticks: VecDeque<Transient>,
    transient_sent: BTreeMap<u64, Transient>,
    transient_count: u64,
    published: u64,
    dropped: u64,
    refused: u64,
    /// Shows what is taken, to those who read over HTTP.
    board: Option<Arc<Board>>,
}

impl Outbox {
    /// An outbox that continues a journal: every event up to `acknowledged_through` was acknowledged by the broker in
    /// an earlier run, those from there to `written_through` wait in the journal for a refill. A new journal is `0, 0`.
    #[must_use]
    pub fn new(acknowledged_through: u64, written_through: u64) -> Self {
        Self {
            events: Events::new(acknowledged_through, written_through),
            retained: Retained::default(),
            alerts: VecDeque::new(),
            ticks: VecDeque::new(),
            transient_sent: BTreeMap::new(),
            transient_count: 0,
            published: 0,
            dropped: 0,
            refused: 0,
            board: None,
        }
    }

    /// The same, and `board` is shown what it takes: the same bytes, so that nobody can read of a message what another
    /// way does not say.
    #[must_use]
    pub fn shown_on(mut self, board: Option<Arc<Board>>) -> Self {
        self.board = board;
        self
    }

    /// Sets the newest value of a retained topic. It is published again on every connect until it is cleared by an
    /// empty payload. `expiry_s` counts from each publish.
    pub fn retained(&mut self, topic: &str, payload: Vec<u8>, expiry_s: Option<u32>) {
        self.show(topic, &payload);
        if Self::too_large(topic, &payload) || !self.retained.set(topic, payload, expiry_s, false) {
            self.dropped += 1;
        }
    }

    /// Adds a durable event that is already in the journal. Sequences ascend (gaps are fine); one that is not above
    /// all earlier ones, or that a refill already brought, is ignored.
    pub fn event(&mut self, sequence: u64, topic: &str, payload: Vec<u8>) {
        self.show(topic, &payload);
        if Self::too_large(topic, &payload) {
            self.dropped += 1;
            self.events.skip(sequence);
        } else {
            self.events.push(sequence, topic, payload);
        }
    }

    /// What to read from the journal, when events spilled and half of the memory is free again.
    #[must_use]
    pub fn refill_wanted(&self) -> Option<Refill> {
        self.events.refill_wanted()
    }

    /// Brings events back from the journal: `events`, ascending, are all events from `from` (of [`Refill`]) through
    /// `complete_through`. More than there is room for is left for the next refill. An answer to an older request is
    /// ignored, so nothing is lost or reordered while new events come in at the same time.
    pub fn refill(&mut self, from: u64, events: Vec<JournalEvent>, complete_through: u64) {
        let before = events.len();
        let mut events = events;
        events.retain(|(_, topic, payload)| !Self::too_large(topic, payload));
        self.dropped += (before - events.len()) as u64;
        self.events.refill(from, events, complete_through);
    }

    /// The highest sequence through which every event was acknowledged by the broker. Never decreases.
    #[must_use]
    pub fn acknowledged_through(&self) -> u64 {
        self.events.acknowledged_through()
    }

    /// Adds a message that may be dropped: the oldest of the same QoS goes when [`TRANSIENT_MAX`] wait.
    pub fn transient(&mut self, topic: &str, payload: Vec<u8>, qos: Qos) {
        self.show(topic, &payload);
        let topic = topic.to_owned();
        self.add_transient(Transient { topic, payload, qos, expiry_s: None, correlation: None });
    }

    /// Adds the answer to a request on the topic that it asked for, with QoS 1; otherwise like [`Outbox::transient`].
    pub fn respond(&mut self, topic: &str, payload: Vec<u8>, correlation: Option<Vec<u8>>) {
        let (topic, qos) = (topic.to_owned(), Qos::AtLeastOnce);
        self.add_transient(Transient { topic, payload, qos, expiry_s: None, correlation });
    }

    fn add_transient(&mut self, message: Transient) {
        if Self::too_large(&message.topic, &message.payload) {
            self.dropped += 1;
            return;
        }
        let queue = if message.qos == Qos::AtMostOnce { &mut self.ticks } else { &mut self.alerts };
        if queue.len() == TRANSIENT_MAX {
            queue.pop_front();
            self.dropped += 1;
        }
        queue.push_back(message);
    }

    /// Depths and totals.
    #[must_use]
    pub fn counters(&self) -> OutboxCounters {
        OutboxCounters {
            events_waiting: self.events.len(),
            events_spilled: self.events.spilled(),
            retained_topics: self.retained.len(),
            retained_waiting: self.retained.waiting(),
            transient_waiting: self.alerts.len() + self.ticks.len() + self.transient_sent.len(),
            published: self.published,
            dropped: self.dropped,
            refused: self.refused,
        }
    }

    /// Takes the next message out: events in order (somebody waits for them), then state, then transient messages.
    pub fn take_next(&mut self) -> Option<Outgoing> {
        self.events.next().or_else(|| self.retained.next()).or_else(|| self.next_transient())
    }

    /// The broker has the message (QoS 0: it left).
    pub fn acknowledged(&mut self, ticket: &Ticket) {
        self.published += 1;
        match ticket {
            Ticket::Event(sequence) => self.events.acknowledged(*sequence),
            Ticket::Retained { topic, version } => self.retained.acknowledged(topic, *version),
            Ticket::Transient(number) => drop(self.transient_sent.remove(number)),
        }
    }

    /// The broker does not want the message. Events and state stay until [`Outbox::retry_refused`] or the next
    /// connection; a transient message is dropped.
    pub fn refused(&mut self, ticket: &Ticket) {
        self.refused += 1;
        match ticket {
            Ticket::Event(sequence) => self.events.refused(*sequence),
            Ticket::Retained { topic, version } => self.retained.refused(topic, *version),
            Ticket::Transient(number) => {
                self.transient_sent.remove(number);
                self.dropped += 1;
            }
        }
    }

    /// Makes what the broker refused due again.
    pub fn retry_refused(&mut self) {
        self.events.retry_refused();
        self.retained.retry_refused();
    }

    /// A connection was made: everything retained and everything unacknowledged is due again.
    pub fn connection_started(&mut self) {
        self.events.reset();
        self.retained.reset();
        for (_, message) in std::mem::take(&mut self.transient_sent).into_iter().rev() {
            match message.qos {
                Qos::AtLeastOnce if self.alerts.len() < TRANSIENT_MAX => self.alerts.push_front(message),
                _ => self.dropped += 1,
            }
        }
    }

    fn next_transient(&mut self) -> Option<Outgoing> {
        let message = self.alerts.pop_front().or_else(|| self.ticks.pop_front())?;
        self.transient_count += 1;
        let outgoing = Outgoing {
            ticket: Ticket::Transient(self.transient_count),
            topic: message.topic.clone(),
            payload: message.payload.clone(),
            qos: message.qos,
            retain: false,
            expiry_s: message.expiry_s,
            correlation: message.correlation.clone(),
        };
        self.transient_sent.insert(self.transient_count, message);
        Some(outgoing)
    }

    fn show(&self, topic: &str, payload: &[u8]) {
        if let Some(board) = &self.board {
            board.take(topic, payload);
        }
    }

    fn too_large(topic: &str, payload: &[u8]) -> bool {
        let too_large = topic.len() + payload.len() > PAYLOAD_BYTES_MAX;
        if too_large {
            tracing::error!(topic, bytes = payload.len(), "message dropped: larger than the limit");
        }
        too_large
    }
}

/// The outbox as threads and tasks share it. Every call locks for as long as a map insertion takes, never across an
/// await, so that neither the committing thread nor the engine loop ever waits for the broker.
#[derive(Debug, Clone)]
pub struct OutboxHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    outbox: Mutex<Outbox>,
    added: Notify,
    room: Notify,
    announced: Notify,
}

impl OutboxHandle {
    /// Shares `outbox`.
    #[must_use]
    pub fn new(outbox: Outbox) -> Self {
        Self {
            shared: Arc::new(Shared {
                outbox: Mutex::new(outbox),
                added: Notify::new(),
                room: Notify::new(),
                announced: Notify::new(),
            }),
        }
    }

    /// [`Outbox::retained`].
    pub fn retained(&self, topic: &str, payload: Vec<u8>, expiry_s: Option<u32>) {
        self.add(|outbox| outbox.retained(topic, payload, expiry_s));
    }

    /// [`Outbox::event`].
    pub fn event(&self, sequence: u64, topic: &str, payload: Vec<u8>) {
        self.add(|outbox| outbox.event(sequence, topic, payload));
    }

    /// [`Outbox::transient`].
    pub fn transient(&self, topic: &str, payload: Vec<u8>, qos: Qos) {
        self.add(|outbox| outbox.transient(topic, payload, qos));
    }

    /// [`Outbox::respond`].
    pub fn respond(&self, topic: &str, payload: Vec<u8>, correlation: Option<Vec<u8>>) {
        self.add(|outbox| outbox.respond(topic, payload, correlation));
    }

    /// [`Outbox::refill`].
    pub fn refill(&self, from: u64, events: Vec<JournalEvent>, complete_through: u64) {
        self.add(|outbox| outbox.refill(from, events, complete_through));
    }

    /// Waits until a refill from the journal is wanted. One task waits at a time.
    pub async fn wait_refill(&self) -> Refill {
        loop {
            if let Some(refill) = self.with(|outbox| outbox.refill_wanted()) {
                return refill;
            }
            self.shared.room.notified().await;
        }
    }

    /// [`Outbox::acknowledged_through`].
    #[must_use]
    pub fn acknowledged_through(&self) -> u64 {
        self.with(|outbox| outbox.acknowledged_through())
    }

    /// [`Outbox::counters`].
    #[must_use]
    pub fn counters(&self) -> OutboxCounters {
        self.with(|outbox| outbox.counters())
    }

    /// Runs `work` under the lock. It must neither block nor call this handle.
    pub fn with<T>(&self, work: impl FnOnce(&mut Outbox) -> T) -> T {
        let mut outbox = self.shared.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        let announcing = outbox.announcing();
        let result = work(&mut outbox);
        if announcing && !outbox.announcing() {
            self.shared.announced.notify_one();
        }
        if outbox.refill_wanted().is_some() {
            self.shared.room.notify_one();
        }
        result
    }

    /// Tells the client of what was added by [`OutboxHandle::with`].
    pub fn wake(&self) {
        self.shared.added.notify_one();
    }

    /// Waits until something was added since the last wait. Only the MQTT client waits here.
    pub(super) async fn added(&self) {
        self.shared.added.notified().await;
    }

    fn add(&self, work: impl FnOnce(&mut Outbox)) {
        self.with(work);
        self.wake();
    }
}
