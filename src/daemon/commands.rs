//! Messages from the bus and commands over HTTP become events here, by the same lines.

use secrecy::{ExposeSecret, SecretString};

use super::caller::{Caller, Command};
use super::engine_loop::EngineLoop;
use super::mqtt::Inbound;
use super::report;
use crate::engine::event::{Event, SignalMessage, SignalOrigin};
use crate::message::topic::Inbound as Topic;
use crate::message::{level, signal, tradingview};

impl EngineLoop {
    /// Reads a message from the bus. What is nothing for the engine is acknowledged here.
    pub(super) fn event_of(&mut self, inbound: Inbound) -> Option<Event> {
        let Inbound { topic, payload, retain, response_topic, correlation, ack } = inbound;
        let heard = self.announcer.hears(&topic, &payload, retain);
        let topics = self.topics.clone();
        let about = topics.inbound(&topic).filter(|_| !heard && !payload.is_empty());
        let Some(about) = about else {
            self.bus.ack(ack);
            return None;
        };
        if retain {
            self.health.retained_refused += 1;
            self.outbox.retained(&topic, Vec::new(), None);
        }
        let response =
            response_topic.filter(|topic| self.may_respond(topic)).map(|topic| (topic, correlation));
        match about {
            Topic::Request(op) => self.request((op, &payload, retain), ack, response),
            about => self.event_about(&about, (&payload, retain), None, Caller::bus(ack, response)),
        }
    }

    /// Reads a command over HTTP. One that nobody takes is dropped, which tells who sent it.
    pub(super) fn event_of_http(&mut self, command: Command) -> Option<Event> {
        let Command { topic, payload, key, answer } = command;
        let topics = self.topics.clone();
        let about = topics.inbound(&topic)?;
        self.event_about(&about, (&payload, false), key.as_ref(), Caller::http(answer))
    }

    /// Reads what goes to the engine, whoever sent it; `caller` gets the answer.
    fn event_about(
        &mut self,
        about: &Topic<'_>,
        (payload, retain): (&[u8], bool),
        key: Option<&SecretString>,
        caller: Caller,
    ) -> Option<Event> {
        match *about {
            Topic::Signal(strategy) => {
                let token = self.wait_for(caller);
                let read = signal::read(strategy, payload, retain);
                let (strategy, origin) = (strategy.to_string(), SignalOrigin::Native);
                let (id, body) = (read.id, read.body);
                Some(Event::Signal(Box::new(SignalMessage { token, strategy, id, body, origin })))
            }
            Topic::Alert(strategy) => {
                let token = self.wait_for(caller);
                let key = key.map(ExposeSecret::expose_secret);
                let read = tradingview::read_with_key(strategy, payload, retain, key, &self.alerts);
                report::log_alert(&read);
                Some(Event::Signal(Box::new(read.into_message(token))))
            }
            Topic::Level(strategy) => {
                let token = self.wait_for(caller);
                Some(Event::Level(level::read(token, strategy, payload, retain)))
            }
            // Over HTTP there is a path for each thing that can be asked.
            Topic::Request(_) => None,
        }
    }

    /// Whether a response may go there: not into our own tree (it could be a command), nor into Home Assistant's.
    fn may_respond(&self, topic: &str) -> bool {
        let own = self.topics.at("");
        let valid = !topic.is_empty() && !topic.contains(['+', '#', '\0']) && !topic.starts_with('$');
        valid && !topic.starts_with(&own) && !self.announcer.owns(topic)
    }
}
