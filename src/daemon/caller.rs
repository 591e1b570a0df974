//! Who waits for the answer to a command, and how it gets it: the broker by an acknowledgement, a request over HTTP by
//! its response. Either is released only after what it tells is on disk.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::figures::Figures;
use super::mqtt::{AckToken, Bus};
use super::outbox::OutboxHandle;
use crate::model::signal::Refusal;

/// A command that does not come from the broker.
#[derive(Debug)]
pub struct Command {
    /// The topic on which it would have been published.
    pub topic: String,
    /// Its bytes.
    pub payload: Vec<u8>,
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
}

#[derive(Debug)]
enum Way {
    Bus {
        /// Acknowledged once the answer is on its way.
        ack: AckToken,
        /// MQTT 5 response topic and correlation data, when the sender asked for a response.
        response: Option<(String, Option<Vec<u8>>)>,
    },
    Http(oneshot::Sender<Answer>),
}

impl Caller {
    /// The sender of a message from the broker.
    pub fn bus(ack: AckToken, response: Option<(String, Option<Vec<u8>>)>) -> Caller {
        Caller { way: Way::Bus { ack, response }, since: Instant::now() }
    }

    /// A request over HTTP.
    pub fn http(answer: oneshot::Sender<Answer>) -> Caller {
        Caller { way: Way::Http(answer), since: Instant::now() }
    }
}

/// The answer to one command.
#[derive(Debug)]
pub struct Reply {
    /// Who gets it.
    pub caller: Caller,
    /// The result of a signal.
    pub payload: Option<String>,
    /// Why the command was refused.
    pub refusal: Option<Refusal>,
    /// Where its time is counted.
    pub figures: Arc<Figures>,
}

impl Reply {
    /// Answers and acknowledges.
    pub fn release(self, outbox: &OutboxHandle, bus: &Bus) {
        self.figures.answered(self.caller.since.elapsed());
        match self.caller.way {
            Way::Bus { ack, response } => {
                if let (Some((topic, correlation)), Some(payload)) = (response, self.payload) {
                    outbox.respond(&topic, payload.into_bytes(), correlation);
                }
                bus.ack(ack);
            }
            // Who asked may be gone.
            Way::Http(answer) => drop(answer.send(Answer { payload: self.payload, refusal: self.refusal })),
        }
    }
}
