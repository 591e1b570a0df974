//! The way out of a session: what the outbox holds becomes a publish, and its outcome goes back to the outbox.
//!
//! Invariant: a message that the broker refuses is kept and offered again every 60 s, because somebody may repair its
//! rules; one that is larger than the broker takes is dropped, because sending it would end the connection each time.

use rumqttc::{PubAckReason, PublishNoticeError, PublishOptions, PublishProperties, PublishResult, QoS};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::fault::words;
use super::options::IN_FLIGHT_MAX;
use super::probe::Due;
use super::session::{Outstanding, Purpose, Session, outcome};
use super::wire::Wire;
use super::{PROBE, STATE};
use crate::daemon::outbox::{Outgoing, Qos, Ticket};
use crate::engine::effect::AlertLevel;

/// Header, lengths, packet id and properties of a publish: 21 bytes at most.
const PACKET_OVERHEAD: usize = 32;

impl Session<'_> {
    pub(super) fn pump(&mut self) {
        while let Some(ack) = self.context.acks.next() {
            if let Err(error) = self.client.try_manual_ack(ack) {
                tracing::warn!(%error, "an acknowledgement was not sent; the message will come again");
            }
        }
        while self.greeted && self.outstanding.len() < usize::from(IN_FLIGHT_MAX) {
            let Some(outgoing) = self.context.outbox.with(|outbox| outbox.take_next()) else { return };
            self.send(outgoing);
        }
    }

    /// `online` or `offline`.
    pub(super) fn say(&mut self, word: &str) {
        let topic = self.context.config.topics.at(STATE);
        let options = PublishOptions::at_least_once().retained();
        self.publish(Purpose::Word, &topic, word.as_bytes().to_vec(), options);
    }

    /// Does what the self-test wants.
    pub(super) fn probe(&mut self) {
        match self.probe.due(Instant::now()) {
            None => {}
            Some(Due::Send(payload)) => {
                let topic = self.context.config.topics.at(PROBE);
                self.publish(Purpose::Probe, &topic, payload, PublishOptions::at_least_once());
            }
            Some(Due::Missing) => self.probe_failed("did not come back"),
        }
    }

    pub(super) fn probe_failed(&mut self, why: &str) {
        self.context.status.send_modify(|status| status.round_trip = None);
        let topic = self.context.config.topics.at(PROBE);
        let text = format!(
            "self-test: our own message on {topic} {why}, so signals may not arrive; the broker's access list (user \
             {}) or a bridge is the likely reason",
            self.context.config.username.as_deref().unwrap_or("anonymous")
        );
        self.complain(AlertLevel::Warning, "mqtt_self_test", "", &text);
    }

    fn send(&mut self, outgoing: Outgoing) {
        let Outgoing { ticket, topic, payload, qos, retain, expiry_s, correlation } = outgoing;
        let bytes = topic.len() + payload.len() + correlation.as_ref().map_or(0, Vec::len) + PACKET_OVERHEAD;
        if bytes > self.packet_bytes_max {
            let text = format!(
                "{topic}: {bytes} bytes are more than the broker's limit of {}, so the message is dropped; raise the \
                 broker's max_packet_size",
                self.packet_bytes_max
            );
            self.complain(AlertLevel::Warning, "mqtt_too_large", self.kind_of(&topic), &text);
            self.context.outbox.with(|outbox| outbox.give_up(&ticket));
            return;
        }
        let qos = match qos {
            Qos::AtMostOnce => QoS::AtMostOnce,
            Qos::AtLeastOnce => QoS::AtLeastOnce,
        };
        let mut options = PublishOptions::new(qos).retain(retain);
        if expiry_s.is_some() || correlation.is_some() {
            let properties = PublishProperties {
                message_expiry_interval: expiry_s,
                correlation_data: correlation.map(Into::into),
                ..Default::default()
            };
            options = options.properties(properties);
        }
        self.publish(Purpose::Message(ticket), &topic, payload, options);
    }

    fn publish(&mut self, purpose: Purpose, topic: &str, payload: Vec<u8>, options: PublishOptions) {
        if self.outstanding.is_empty() {
            self.heard = Instant::now();
        }
        match self.client.try_publish_tracked(topic, payload, options) {
            Ok(notice) => {
                let outcome = Box::pin(notice.wait_async());
                self.outstanding.push_back(Outstanding { purpose, topic: topic.to_owned(), outcome });
            }
            Err(error) => {
                // The request inside the error would print the payload.
                tracing::debug!(%error, topic, "publish not accepted");
                self.refused(purpose, topic, "not a valid publish, or the connection is gone");
            }
        }
    }

    /// Settles the oldest outstanding publish.
    pub(super) fn settle(&mut self, result: Result<PublishResult, PublishNoticeError>) {
        use PubAckReason::{NoMatchingSubscribers, Success};
        let Some(Outstanding { purpose, topic, .. }) = self.outstanding.pop_front() else { return };
        match result {
            Ok(PublishResult::Qos1(ack)) if !matches!(ack.reason, Success | NoMatchingSubscribers) => {
                let why = format!("the broker refuses the publish: {}", words(ack.reason));
                self.refused(purpose, &topic, &why);
            }
            Ok(_) => self.accepted(&purpose),
            Err(PublishNoticeError::RetainNotSupported) => {
                self.refused(purpose, &topic, "the broker does not keep retained messages");
            }
            // The connection is being lost; the outbox still has it.
            Err(_) => {}
        }
    }

    fn accepted(&mut self, purpose: &Purpose) {
        match purpose {
            Purpose::Word => {}
            Purpose::Probe => self.probe.settled(true, Instant::now()),
            Purpose::Message(ticket) => self.context.outbox.with(|outbox| outbox.acknowledged(ticket)),
        }
    }

    fn refused(&mut self, purpose: Purpose, topic: &str, why: &str) {
        match purpose {
            Purpose::Probe => {
                self.probe.settled(false, Instant::now());
                return self.probe_failed(&format!("was not accepted ({why})"));
            }
            Purpose::Message(ticket) => self.refuse(&ticket),
            Purpose::Word => {}
        }
        let text = format!("{topic}: {why}; it is offered again every 60 s");
        self.complain(AlertLevel::Warning, "mqtt_publish_refused", self.kind_of(topic), &text);
    }

    fn refuse(&self, ticket: &Ticket) {
        self.context.outbox.with(|outbox| outbox.refused(ticket));
    }

    /// What a complaint about this topic is about: few kinds, whatever topics there are.
    fn kind_of(&self, topic: &str) -> &'static str {
        self.context.config.topics.kind_of(topic).unwrap_or("other")
    }

    pub(super) async fn say_goodbye(&mut self, gone_by: Instant) {
        self.say("offline");
        while !self.outstanding.is_empty() {
            // Reading on keeps the poller, and with it the acknowledgements, moving.
            let step = tokio::select! {
                biased;
                () = sleep_until(gone_by) => return,
                wire = self.wire.recv() => {
                    wire.is_some_and(|wire| !matches!(wire, Wire::Lost(_))).then_some(None)
                }
                result = outcome(&mut self.outstanding) => Some(Some(result)),
            };
            match step {
                Some(Some(result)) => self.settle(result),
                Some(None) => {}
                None => return,
            }
        }
        while let Some(ack) = self.context.acks.next() {
            let _ = self.client.try_manual_ack(ack);
        }
        if self.client.try_disconnect_now().is_ok() {
            while let Ok(Some(_)) = timeout_at(gone_by, self.wire.recv()).await {}
        }
    }

    /// Tells a person, once an hour for each `code` and `about`; the status has the newest.
    pub(super) fn complain(&self, level: AlertLevel, code: &'static str, about: &str, text: &str) {
        self.context.notices.tell(level, code, about, text);
        self.context.status.send_modify(|status| status.last_error = Some(text.to_owned()));
    }
}
