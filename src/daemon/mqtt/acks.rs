//! Which inbound messages of the current connection were dealt with.
//!
//! Invariant: acknowledgements leave in the order of receipt, as the protocol demands, whatever the order in which the
//! daemon finishes. The receive maximum of the connection limits the queue to 256.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use rumqttc::ManualAck;
use tokio::sync::Notify;

/// Names one inbound message of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckToken {
    connection: u64,
    /// From 1 in order of receipt; 0 for QoS 0, where there is nothing to acknowledge.
    number: u64,
}

#[cfg(test)]
impl AckToken {
    /// Of a message of QoS 0.
    pub fn none() -> AckToken {
        AckToken { connection: 0, number: 0 }
    }
}

#[derive(Debug, Default)]
struct Acks {
    connection: u64,
    /// How many messages of this connection left the front of the queue.
    settled: u64,
    waiting: VecDeque<(ManualAck, bool)>,
}

impl Acks {
    fn begin(&mut self) {
        *self = Self { connection: self.connection + 1, ..Self::default() };
    }

    fn issue(&mut self, ack: Option<ManualAck>) -> AckToken {
        let number = ack.map_or(0, |ack| {
            self.waiting.push_back((ack, false));
            self.settled + self.waiting.len() as u64
        });
        AckToken { connection: self.connection, number }
    }

    fn done(&mut self, token: AckToken) {
        if token.connection != self.connection || token.number <= self.settled {
            return;
        }
        let index = usize::try_from(token.number - self.settled - 1).unwrap_or(usize::MAX);
        if let Some((_, done)) = self.waiting.get_mut(index) {
            *done = true;
        }
    }

    fn next(&mut self) -> Option<ManualAck> {
        let (ack, _) =
            self.waiting.front().is_some_and(|(_, done)| *done).then(|| self.waiting.pop_front())??;
        self.settled += 1;
        Some(ack)
    }
}

/// The acknowledgements as the daemon's threads and the client share them.
#[derive(Debug, Default)]
pub(super) struct SharedAcks {
    acks: Mutex<Acks>,
    changed: Notify,
}

impl SharedAcks {
    /// A new connection: tokens of the earlier ones mean nothing any more.
    pub(super) fn begin(&self) {
        self.with(Acks::begin);
    }

    pub(super) fn issue(&self, ack: Option<ManualAck>) -> AckToken {
        self.with(|acks| acks.issue(ack))
    }

    pub(super) fn done(&self, token: AckToken) {
        self.with(|acks| acks.done(token));
        self.changed.notify_one();
    }

    /// The next acknowledgement that may leave.
    pub(super) fn next(&self) -> Option<ManualAck> {
        self.with(Acks::next)
    }

    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn with<T>(&self, work: impl FnOnce(&mut Acks) -> T) -> T {
        work(&mut self.acks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumqttc::PubAck;

    /// Three messages with packet ids 1 to 3 (and one of QoS 0); `done` names them by number, `left` is what may leave.
    fn check(done: &[usize], begin_before_done: bool, left: &[u16]) {
        let mut acks = Acks::default();
        acks.begin();
        let mut tokens = vec![acks.issue(None)];
        tokens.extend((1..=3).map(|pkid| acks.issue(Some(ManualAck::PubAck(PubAck::new(pkid, None))))));
        if begin_before_done {
            acks.begin();
            acks.issue(Some(ManualAck::PubAck(PubAck::new(1, None))));
        }
        let mut ids = Vec::new();
        for number in done {
            acks.done(tokens[*number]);
            while let Some(ManualAck::PubAck(ack)) = acks.next() {
                ids.push(ack.pkid);
            }
        }
        assert_eq!(ids, left, "done: {done:?}");
    }

    #[test]
    fn order_of_receipt() {
        check(&[], false, &[]);
        check(&[0], false, &[]);
        check(&[1, 2, 3], false, &[1, 2, 3]);
        check(&[3, 2, 1], false, &[1, 2, 3]);
        check(&[2, 3], false, &[]);
        check(&[1, 1, 3, 1], false, &[1]);
        check(&[1, 2, 3], true, &[]);
    }
}
