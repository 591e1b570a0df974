//! The outbox as threads and tasks share it, and the board that shows beside it what it takes.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::{JournalEvent, Outbox, OutboxCounters, Qos, Refill};
use crate::daemon::board::Board;

/// The outbox as threads and tasks share it. Every call locks for as long as a map insertion takes, never across an
/// await, so that neither the committing thread nor the engine loop ever waits for the broker.
#[derive(Debug, Clone)]
pub struct OutboxHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    outbox: Mutex<Outbox>,
    /// Shown beside it what it takes, for those who read over HTTP.
    board: Option<Arc<Board>>,
    added: Notify,
    room: Notify,
}

impl OutboxHandle {
    /// Shares `outbox`.
    #[must_use]
    pub fn new(outbox: Outbox) -> Self {
        Self::shown(outbox, None)
    }

    /// Shares `outbox`, and shows on `board` what it takes.
    #[must_use]
    pub fn shown(outbox: Outbox, board: Option<Arc<Board>>) -> Self {
        Self {
            shared: Arc::new(Shared {
                outbox: Mutex::new(outbox),
                board,
                added: Notify::new(),
                room: Notify::new(),
            }),
        }
    }

    /// [`Outbox::retained`].
    pub fn retained(&self, topic: &str, payload: Vec<u8>, expiry_s: Option<u32>) {
        self.show(topic, &payload);
        self.add(|outbox| outbox.retained(topic, payload, expiry_s));
    }

    /// [`Outbox::event`].
    pub fn event(&self, sequence: u64, topic: &str, payload: Vec<u8>) {
        self.show(topic, &payload);
        self.add(|outbox| outbox.event(sequence, topic, payload));
    }

    /// [`Outbox::transient`].
    pub fn transient(&self, topic: &str, payload: Vec<u8>, qos: Qos) {
        self.show(topic, &payload);
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
        let result = work(&mut outbox);
        if outbox.refill_wanted().is_some() {
            self.shared.room.notify_one();
        }
        result
    }

    /// Waits until something was added since the last wait. Only the MQTT client waits here.
    pub(in crate::daemon) async fn added(&self) {
        self.shared.added.notified().await;
    }

    fn show(&self, topic: &str, payload: &[u8]) {
        if let Some(board) = &self.shared.board {
            board.take(topic, payload);
        }
    }

    pub(super) fn add(&self, work: impl FnOnce(&mut Outbox)) {
        self.with(work);
        self.shared.added.notify_one();
    }
}
