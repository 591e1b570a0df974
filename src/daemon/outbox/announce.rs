//! Retained values that are not kept here: announcements to Home Assistant, some kilobytes for each strategy. And all
//! retained values at once, for somebody who asks.

use super::{Outbox, OutboxHandle};

impl Outbox {
    /// Sets a retained topic whose value can be made again: it is forgotten once the broker has it.
    pub fn announce(&mut self, topic: &str, payload: Vec<u8>) {
        if Self::too_large(topic, &payload) || !self.retained.set(topic, payload, None, true) {
            self.dropped += 1;
        }
    }

    /// Makes every retained value but the announcements due again; tells how many there are.
    pub fn republish(&mut self) -> usize {
        self.retained.republish()
    }

    /// Whether an announcement waits for the broker's word.
    #[must_use]
    pub fn announcing(&self) -> bool {
        self.retained.announcing()
    }

    /// Whether the broker has the newest value of a retained topic, if there is one.
    #[must_use]
    pub fn settled(&self, topic: &str) -> bool {
        self.retained.settled(topic)
    }
}

impl OutboxHandle {
    /// Waits until the broker has taken or refused every announcement. One task waits at a time.
    pub async fn announced(&self) {
        while self.with(|outbox| outbox.announcing()) {
            self.shared.announced.notified().await;
        }
    }

    /// [`Outbox::republish`].
    pub fn republish(&self) -> usize {
        let mut count = 0;
        self.add(|outbox| count = outbox.republish());
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(outbox: &mut Outbox) -> Vec<String> {
        let mut topics = Vec::new();
        while let Some(outgoing) = outbox.take_next() {
            topics.push(outgoing.topic.clone());
            if !outgoing.topic.starts_with("lost") {
                outbox.acknowledged(&outgoing.ticket);
            }
        }
        topics
    }

    #[test]
    fn announcements_are_kept_until_the_broker_has_them() {
        let mut outbox = Outbox::new(0, 0);
        outbox.announce("lost", b"a".to_vec());
        outbox.announce("had", b"b".to_vec());
        outbox.retained("state", b"c".to_vec(), None);
        assert_eq!(topics(&mut outbox), ["lost", "had", "state"]);
        assert!(outbox.announcing());
        assert!(!outbox.settled("lost") && outbox.settled("had") && outbox.settled("never"));
        outbox.connection_started();
        assert_eq!(topics(&mut outbox), ["lost", "state"]);
        // What is on its way is not sent a second time.
        assert_eq!(outbox.republish(), 1);
        assert_eq!(topics(&mut outbox), ["state"]);
        assert_eq!(outbox.counters().retained_topics, 2);
        // One that is refused holds nothing up, and is offered again.
        outbox.connection_started();
        while let Some(outgoing) = outbox.take_next() {
            if outgoing.topic == "lost" {
                outbox.refused(&outgoing.ticket);
            }
        }
        assert!(!outbox.announcing() && !outbox.settled("lost"));
        outbox.retry_refused();
        assert!(outbox.announcing());
    }
}
