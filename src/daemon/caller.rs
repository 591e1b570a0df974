//! Who waits for the answer to a command, and how it gets it: the broker by an acknowledgement, a request over HTTP by
//! its response. Either is released only after what it tells is on disk.

use std::sync::Arc;

use secrecy::SecretString;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::backups::ResponseTo;
use super::figures::Figures;
use super::mqtt::{AckToken, Bus};
use super::outbox::{Outbox, OutboxHandle};
use crate::model::ids::SignalId;
use crate::model::signal::Refusal;

/// A command that does not come from the broker.
#[derive(Debug)]
pub struct Command {
    /// The topic on which it would have been published.
    pub topic: String,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// The key that came beside an alert.
    pub key: Option<SecretString>,
    /// Gets the answer; dropped when there is none.
    pub answer: oneshot::Sender<Answer>,
}

/// What a caller over HTTP is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The result of a signal, as it is published.
    pub payload: Option<String>,
    /// Why it was refused.
    pub refusal: Option<Refusal>,
}

/// Who waits, and since when.
#[derive(Debug)]
pub struct Caller {
    way: Way,
    since: Instant,
    /// Operation and id of a request.
    pub asked: Option<(String, Option<SignalId>)>,
}

#[derive(Debug)]
enum Way {
    Bus {
        /// Acknowledged once the answer is on its way.
        ack: AckToken,
        /// Where the answer goes beside its topic.
        response: ResponseTo,
    },
    Http(oneshot::Sender<Answer>),
}

impl Caller {
    /// The sender of a message from the broker.
    pub fn bus(ack: AckToken, response: ResponseTo) -> Caller {
        Caller { way: Way::Bus { ack, response }, since: Instant::now(), asked: None }
    }

    /// A request over HTTP.
    pub fn http(answer: oneshot::Sender<Answer>) -> Caller {
        Caller { way: Way::Http(answer), since: Instant::now(), asked: None }
    }

    /// The same, who asked for this.
    #[must_use]
    pub fn asking(mut self, op: &str, id: Option<SignalId>) -> Caller {
        self.asked = Some((op.to_owned(), id));
        self
    }
}

/// The answer to one command.
#[derive(Debug)]
pub struct Reply {
    /// Who gets it.
    pub caller: Caller,
    /// The answer, as it is published.
    pub payload: Option<String>,
    /// Why the command was refused.
    pub refusal: Option<Refusal>,
    /// Where its time is counted.
    pub figures: Arc<Figures>,
}

impl Reply {
    /// Answers and acknowledges.
    pub fn release(self, outbox: &OutboxHandle, bus: &Bus) {
        let answered = outbox.with(|outbox| self.put(outbox));
        answered.finish(bus);
        outbox.wake();
    }

    /// Puts the answer into the outbox, if it is for the broker, and gives what is left to do.
    #[must_use]
    pub(super) fn put(self, outbox: &mut Outbox) -> Answered {
        self.figures.answered.add(self.caller.since.elapsed());
        match self.caller.way {
            Way::Bus { ack, response } => {
                if let (Some((topic, correlation)), Some(payload)) = (response, self.payload) {
                    outbox.respond(&topic, payload.into_bytes(), correlation);
                }
                Answered::Bus(ack)
            }
            Way::Http(sender) => {
                Answered::Http(sender, Answer { payload: self.payload, refusal: self.refusal })
            }
        }
    }
}

/// An answer of which only the last step is left.
#[derive(Debug)]
pub(super) enum Answered {
    /// The acknowledgement.
    Bus(AckToken),
    /// The response.
    Http(oneshot::Sender<Answer>, Answer),
}

impl Answered {
    pub(super) fn finish(self, bus: &Bus) {
        match self {
            Answered::Bus(ack) => bus.ack(ack),
            // Who asked may be gone.
            Answered::Http(sender, answer) => drop(sender.send(answer)),
        }
    }
}
