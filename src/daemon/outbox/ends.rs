//! Messages with an end: what the broker may forget, and what it can never have.

use super::{Outbox, OutboxHandle, Qos, Ticket, Transient};

impl Outbox {
    /// Like [`Outbox::transient`] with QoS 1; the broker keeps it so many seconds for a subscriber that
    /// is away, so that it does not push out what has to be kept.
    pub fn expiring(&mut self, topic: &str, payload: Vec<u8>, expiry_s: u32) {
        self.show(topic, &payload);
        let (topic, qos) = (topic.to_owned(), Qos::AtLeastOnce);
        self.add_transient(Transient { topic, payload, qos, expiry_s: Some(expiry_s), correlation: None });
    }

    /// The value of a retained topic, once the broker has had it.
    #[must_use]
    pub fn published(&self, topic: &str) -> Option<&[u8]> {
        self.retained.published(topic)
    }

    /// This broker can never take the message: it is counted as dropped, and nothing waits for it. State is offered
    /// again with its next value and on the next connection.
    pub fn give_up(&mut self, ticket: &Ticket) {
        self.dropped += 1;
        match ticket {
            Ticket::Event(sequence) => self.events.acknowledged(*sequence),
            Ticket::Retained { topic, version } => self.retained.acknowledged(topic, *version),
            Ticket::Transient(number) => drop(self.transient_sent.remove(number)),
        }
    }
}

impl OutboxHandle {
    /// [`Outbox::expiring`].
    pub fn expiring(&self, topic: &str, payload: Vec<u8>, expiry_s: u32) {
        self.add(|outbox| outbox.expiring(topic, payload, expiry_s));
    }
}
