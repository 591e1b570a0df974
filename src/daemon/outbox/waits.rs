//! Who waits for the outbox: the client for messages, the journal for room, the announcer for the broker's word.

use super::{OutboxHandle, Refill};

impl OutboxHandle {
    /// Waits until a refill from the journal is wanted. One task waits at a time.
    pub async fn wait_refill(&self) -> Refill {
        loop {
            if let Some(refill) = self.with(|outbox| outbox.refill_wanted()) {
                return refill;
            }
            self.shared.room.notified().await;
        }
    }

    /// Waits until the broker has taken or refused every announcement. One task waits at a time.
    pub async fn announced(&self) {
        while self.with(|outbox| outbox.announcing()) {
            self.shared.announced.notified().await;
        }
    }

    /// Tells the client of what was added by [`OutboxHandle::with`].
    pub fn wake(&self) {
        self.shared.added.notify_one();
    }

    /// Waits until something was added since the last wait. Only the MQTT client waits here.
    pub(in crate::daemon) async fn added(&self) {
        self.shared.added.notified().await;
    }
}
