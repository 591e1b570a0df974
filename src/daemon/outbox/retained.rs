//! Retained topics: the newest value of each, kept for ever, in the order in which they became due.
//!
//! Invariant: a topic is in `due` exactly while its newest value was not handed out on this connection. Limit:
//! [`RETAINED_MAX`] topics.

use std::collections::BTreeMap;

use super::{Outgoing, Qos, RETAINED_MAX, Ticket};

#[derive(Debug)]
struct Entry {
    payload: Vec<u8>,
    expiry_s: Option<u32>,
    version: u64,
    due_at: Option<u64>,
    refused: bool,
    acknowledged: bool,
    /// Forgotten once the broker has it.
    once: bool,
}

#[derive(Debug, Default)]
pub(super) struct Retained {
    entries: BTreeMap<String, Entry>,
    due: BTreeMap<u64, String>,
    count: u64,
    /// Entries that are sent once.
    once: usize,
}

impl Retained {
    /// Whether there was room for the topic.
    pub(super) fn set(&mut self, topic: &str, payload: Vec<u8>, expiry_s: Option<u32>, once: bool) -> bool {
        self.count += 1;
        let due_at = self.entries.get(topic).map(|entry| entry.due_at);
        if due_at.is_none() && self.entries.len() >= RETAINED_MAX {
            return false;
        }
        let entry = Entry {
            payload,
            expiry_s,
            version: self.count,
            due_at: due_at.flatten(),
            refused: false,
            acknowledged: false,
            once,
        };
        let before = self.entries.insert(topic.to_owned(), entry);
        self.once += usize::from(once);
        self.once -= usize::from(before.is_some_and(|before| before.once));
        self.enqueue(topic);
        true
    }

    pub(super) fn next(&mut self) -> Option<Outgoing> {
        let (_, topic) = self.due.pop_first()?;
        let entry = self.entries.get_mut(&topic)?;
        entry.due_at = None;
        Some(Outgoing {
            ticket: Ticket::Retained { topic: topic.clone(), version: entry.version },
            topic,
            payload: entry.payload.clone(),
            qos: Qos::AtLeastOnce,
            retain: true,
            expiry_s: entry.expiry_s,
            correlation: None,
        })
    }

    pub(super) fn published(&self, topic: &str) -> Option<&[u8]> {
        self.entries.get(topic).filter(|entry| entry.acknowledged).map(|entry| entry.payload.as_slice())
    }

    pub(super) fn acknowledged(&mut self, topic: &str, version: u64) {
        let Some(entry) = self.current(topic, version) else { return };
        entry.acknowledged = true;
        let once = entry.once;
        if (once || entry.payload.is_empty()) && entry.due_at.is_none() {
            self.entries.remove(topic);
            self.once -= usize::from(once);
        }
    }

    pub(super) fn refused(&mut self, topic: &str, version: u64) {
        if let Some(entry) = self.current(topic, version) {
            entry.refused = true;
        }
    }

    pub(super) fn retry_refused(&mut self) {
        self.enqueue_all(|entry| entry.refused);
    }

    pub(super) fn reset(&mut self) {
        self.enqueue_all(|_| true);
    }

    /// Whether a value that is sent once waits for the broker; one that was refused does not count.
    pub(super) fn announcing(&self) -> bool {
        self.once > 0 && self.entries.values().any(|entry| entry.once && !entry.refused)
    }

    /// Whether the broker has the newest value, or there is none.
    pub(super) fn settled(&self, topic: &str) -> bool {
        self.entries.get(topic).is_none_or(|entry| entry.acknowledged)
    }

    /// Makes all that is kept due again; tells how many values that is.
    pub(super) fn republish(&mut self) -> usize {
        self.enqueue_all(|entry| !entry.once);
        self.entries.values().filter(|entry| !entry.once && !entry.payload.is_empty()).count()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.entries.values().filter(|entry| !entry.acknowledged).count()
    }

    fn current(&mut self, topic: &str, version: u64) -> Option<&mut Entry> {
        self.entries.get_mut(topic).filter(|entry| entry.version == version)
    }

    fn enqueue_all(&mut self, wanted: impl Fn(&Entry) -> bool) {
        let topics: Vec<String> =
            self.entries.iter().filter(|(_, entry)| wanted(entry)).map(|(topic, _)| topic.clone()).collect();
        for topic in topics {
            self.enqueue(&topic);
        }
    }

    fn enqueue(&mut self, topic: &str) {
        let Some(entry) = self.entries.get_mut(topic) else { return };
        entry.refused = false;
        if entry.due_at.is_none() {
            self.count += 1;
            entry.due_at = Some(self.count);
            self.due.insert(self.count, topic.to_owned());
        }
    }
}
