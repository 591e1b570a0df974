//! Requests of the bus: what the loop answers by itself, and how answers leave.
//!
//! One answer for each request. An answer of the engine waits for the disk like all that tells of its state; a refusal
//! protects nothing and waits for nothing.

use super::backups::{Asked as Begun, Outcome, Pending, ResponseTo};
use super::caller::Caller;
use super::commit::{Item, send};
use super::engine_loop::EngineLoop;
use super::mqtt::AckToken;
use super::outbox::Qos;
use crate::engine::admission::{AGE_MS_MAX, check_time};
use crate::engine::effect::Answer;
use crate::engine::event::Event;
use crate::message::json::Object;
use crate::message::request::{self, Asked, Op, Wish};
use crate::message::view::{Message, MessageKind};
use crate::model::ids::SignalId;
use crate::model::signal::{Reason, Refusal};

impl EngineLoop {
    /// Reads a request and answers it, or makes an event of it.
    pub(super) fn request(
        &mut self,
        (op, payload, retain): (&str, &[u8], bool),
        ack: AckToken,
        response: ResponseTo,
    ) -> Option<Event> {
        let Asked { op, id, wish } = request::read(op, payload, retain);
        match wish {
            Ok(wish) => match wish.op {
                Op::Engine(query) => {
                    if wish.op.only_tells() {
                        // Waiting for a failing disk, it would keep what is behind it at the broker.
                        self.bus.ack(ack);
                    }
                    let token = self.wait_for(Caller::bus(ack, response).asking(&op, id.clone()));
                    return Some(Event::Request(Box::new(wish.request(token, query, id))));
                }
                Op::Snapshot => {
                    let topics = self.outbox.republish() as u64;
                    let data = Object::new().integer("topics", topics).finish();
                    self.say(&op, id.as_ref(), response, (Ok(data), false));
                }
                Op::Backup => self.request_backup(&wish, id, response),
            },
            Err(refusal) => self.say(&op, id.as_ref(), response, (Err(refusal), false)),
        }
        self.bus.ack(ack);
        None
    }

    /// An answer of the engine, on its way.
    pub(super) fn answer(&self, mut caller: Caller, answer: &Answer, items: &mut Vec<Item>) {
        let Some((op, id)) = caller.asked.take() else { return };
        let payload = request::answer(&op, id.as_ref(), answer);
        let topic = self.topics.at(&format!("daemon/response/{op}"));
        let message = Message { topic, payload: payload.clone(), kind: MessageKind::Once };
        let reply = self.reply_to(caller, Some(payload), answer.told.as_ref().err().cloned());
        if answer.told.is_err() {
            send(&self.outbox, message);
            reply.release(&self.outbox, &self.bus);
        } else {
            items.push(Item::Message(message));
            items.push(Item::Reply(reply));
        }
    }

    /// Tells whoever asked for a copy of the store that it is there.
    pub(super) fn backup_finished(&self, (pending, outcome): (Pending, Outcome)) {
        self.say(Op::Backup.as_str(), Some(&pending.id), pending.response, (outcome, false));
    }

    fn request_backup(&mut self, wish: &Wish, id: Option<SignalId>, response: ResponseTo) {
        let now = self.clock.now();
        let complete = id.zip(wish.time).ok_or_else(|| Refusal::new(Reason::Malformed, "id, time: missing"));
        let fresh = complete.and_then(|(id, time)| check_time(now, time, AGE_MS_MAX).map(|()| id));
        let op = Op::Backup.as_str();
        match fresh {
            Err(refusal) => self.say(op, None, response, (Err(refusal), false)),
            Ok(id) => match self.backups.start(now, Pending { id: id.clone(), response: response.clone() }) {
                Begun::Begun => {}
                Begun::Repeated(data) => self.say(op, Some(&id), response, (Ok(data), true)),
                Begun::Refused(refusal) => self.say(op, Some(&id), response, (Err(refusal), false)),
            },
        }
    }

    /// Publishes an answer that waits for nothing: data as JSON, or a refusal; and whether it is a repetition.
    fn say(&self, op: &str, id: Option<&SignalId>, response: ResponseTo, (outcome, again): (Outcome, bool)) {
        let now = self.clock.now();
        let payload = match &outcome {
            Ok(data) => request::told(op, id, data, again, now),
            Err(refusal) => request::refused(op, id, refusal, now),
        };
        if let Some((topic, correlation)) = response {
            self.outbox.respond(&topic, payload.clone().into_bytes(), correlation);
        }
        let topic = self.topics.at(&format!("daemon/response/{op}"));
        self.outbox.transient(&topic, payload.into_bytes(), Qos::AtLeastOnce);
    }
}
