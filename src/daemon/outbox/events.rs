//! Durable events: unacknowledged ones in memory in order of sequence, the rest in the journal.
//!
//! Invariant: an event is acknowledged, in `unacknowledged`, or covered by `spill`. `seen_through` is the highest
//! sequence that is or was in memory; everything in `spill` is above it. Limit: [`EVENTS_MAX`] in memory.

use std::collections::BTreeMap;

use super::{EVENTS_MAX, JournalEvent, Outgoing, Qos, Ticket};

/// What the outbox wants from the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refill {
    /// The first sequence that is not in memory.
    pub from: u64,
    /// How many events there is room for.
    pub limit: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Sent,
    Refused,
}

#[derive(Debug)]
struct Event {
    topic: String,
    payload: Vec<u8>,
    phase: Phase,
}

/// Sequences `from..=through` are in the journal only.
#[derive(Debug, Clone, Copy)]
struct Spill {
    from: u64,
    through: u64,
}

#[derive(Debug)]
pub(super) struct Events {
    unacknowledged: BTreeMap<u64, Event>,
    /// No event below it is `Waiting`; saves walking over those in flight.
    cursor: u64,
    seen_through: u64,
    spill: Option<Spill>,
}

impl Events {
    pub(super) fn new(acknowledged_through: u64, written_through: u64) -> Self {
        let spill = (written_through > acknowledged_through)
            .then_some(Spill { from: acknowledged_through + 1, through: written_through });
        Self { unacknowledged: BTreeMap::new(), cursor: 0, seen_through: acknowledged_through, spill }
    }

    pub(super) fn push(&mut self, sequence: u64, topic: &str, payload: Vec<u8>) {
        if sequence <= self.seen_through {
            return;
        }
        if let Some(spill) = &mut self.spill {
            spill.through = spill.through.max(sequence);
        } else if self.unacknowledged.len() >= EVENTS_MAX {
            self.spill = Some(Spill { from: sequence, through: sequence });
        } else {
            self.insert(sequence, topic.to_owned(), payload);
        }
    }

    /// Counts an event that cannot be published as done, unless a refill will meet it again.
    pub(super) fn skip(&mut self, sequence: u64) {
        match &mut self.spill {
            Some(spill) => spill.through = spill.through.max(sequence),
            None => self.seen_through = self.seen_through.max(sequence),
        }
    }

    pub(super) fn refill_wanted(&self) -> Option<Refill> {
        let spill = self.spill?;
        let room = EVENTS_MAX - self.unacknowledged.len();
        (room >= EVENTS_MAX / 2).then_some(Refill { from: spill.from, limit: room })
    }

    pub(super) fn refill(&mut self, from: u64, events: Vec<JournalEvent>, complete_through: u64) {
        let Some(spill) = self.spill.filter(|spill| spill.from == from) else { return };
        let mut through = complete_through;
        for (sequence, topic, payload) in events {
            if sequence <= self.seen_through || sequence < from {
                continue;
            }
            if self.unacknowledged.len() >= EVENTS_MAX {
                self.spill = Some(Spill { from: sequence, through: spill.through.max(sequence) });
                return;
            }
            through = through.max(sequence);
            self.insert(sequence, topic, payload);
        }
        if through < from {
            return;
        }
        self.seen_through = self.seen_through.max(through);
        self.spill = (through < spill.through).then_some(Spill { from: through + 1, through: spill.through });
    }

    pub(super) fn acknowledged_through(&self) -> u64 {
        let in_memory = self.unacknowledged.keys().next().copied();
        let spilled = self.spill.map(|spill| spill.from);
        let first_missing = [in_memory, spilled].into_iter().flatten().min();
        first_missing.map_or(self.seen_through, |sequence| sequence.saturating_sub(1))
    }

    pub(super) fn next(&mut self) -> Option<Outgoing> {
        let found = self.unacknowledged.range_mut(self.cursor..).find(|(_, e)| e.phase == Phase::Waiting);
        let Some((&sequence, event)) = found else {
            self.cursor = self.seen_through.saturating_add(1);
            return None;
        };
        self.cursor = sequence.saturating_add(1);
        event.phase = Phase::Sent;
        Some(Outgoing {
            ticket: Ticket::Event(sequence),
            topic: event.topic.clone(),
            payload: event.payload.clone(),
            qos: Qos::AtLeastOnce,
            retain: false,
            expiry_s: None,
            correlation: None,
        })
    }

    pub(super) fn acknowledged(&mut self, sequence: u64) {
        self.unacknowledged.remove(&sequence);
    }

    pub(super) fn refused(&mut self, sequence: u64) {
        if let Some(event) = self.unacknowledged.get_mut(&sequence) {
            event.phase = Phase::Refused;
        }
    }

    pub(super) fn retry_refused(&mut self) {
        self.rewind(|phase| phase == Phase::Refused);
    }

    pub(super) fn reset(&mut self) {
        self.rewind(|_| true);
    }

    pub(super) fn len(&self) -> usize {
        self.unacknowledged.len()
    }

    pub(super) fn spilled(&self) -> bool {
        self.spill.is_some()
    }

    fn insert(&mut self, sequence: u64, topic: String, payload: Vec<u8>) {
        self.unacknowledged.insert(sequence, Event { topic, payload, phase: Phase::Waiting });
        self.cursor = self.cursor.min(sequence);
        self.seen_through = sequence;
    }

    fn rewind(&mut self, due: impl Fn(Phase) -> bool) {
        self.cursor = 0;
        for event in self.unacknowledged.values_mut().filter(|event| due(event.phase)) {
            event.phase = Phase::Waiting;
        }
    }
}
