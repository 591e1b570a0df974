//! One connection, from the attempt to its loss.
//!
//! The crate's event loop is not safe to cancel, so a task of its own polls it and forwards what matters
//! (`wire.rs`). This side drains the outbox and never awaits the crate's request channel: every publish is tracked
//! and at most [`IN_FLIGHT_MAX`] are outstanding, so the channel always has room. Outcomes are awaited in the order
//! of sending.
//!
//! The event loop is dropped with its connection and never reconnects: what it would send again is in the outbox too,
//! and what it would drop (a lost session) is still there.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use rumqttc::{
    AsyncClient, PubAckReason, Publish, PublishNoticeError, PublishOptions, PublishProperties, PublishResult,
    QoS, SubAck, SubscribeNoticeError,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::options::{self, Fault, IN_FLIGHT_MAX};
use super::wire::{WIRE_MAX, Wire, poll};
use super::{Context, Inbound};
use crate::daemon::outbox::{Outgoing, Qos, Ticket};

/// Room for everything in flight, `online`, `offline`, the subscription and all acknowledgements.
const REQUESTS_MAX: usize = 512;
/// Inbound messages held here while the daemon's channel is full: more than the receive maximum, so that only a flood
/// of QoS 0 stops the reading (and with it, in the end, the connection).
const HELD_MAX: usize = 300;
/// How often what the broker refused is offered again.
const RETRY_REFUSED: Duration = Duration::from_secs(60);
/// More than the header and properties of a publish.
const PACKET_OVERHEAD: usize = 64;

/// How a connection ended.
pub(super) struct Ended {
    /// Whether the broker had accepted it.
    pub(super) was_connected: bool,
    /// `None`: the daemon asked for the end.
    pub(super) fault: Option<Fault>,
}

enum Step<'a> {
    Wire(Wire),
    Room(Option<mpsc::Permit<'a, Inbound>>),
    Published(Result<PublishResult, PublishNoticeError>),
    Subscribed(Result<SubAck, SubscribeNoticeError>),
    Stop(Instant),
    Drained,
    Silent,
    RetryRefused,
    Pump,
}

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

struct Outstanding {
    /// `None` for `online` and `offline`.
    ticket: Option<Ticket>,
    topic: String,
    outcome: Pending<Result<PublishResult, PublishNoticeError>>,
}

struct Session<'a> {
    context: &'a Context,
    client: AsyncClient,
    wire: mpsc::Receiver<Wire>,
    stop: watch::Receiver<Option<Instant>>,
    outstanding: VecDeque<Outstanding>,
    subscribing: Option<Pending<Result<SubAck, SubscribeNoticeError>>>,
    held: VecDeque<Inbound>,
    connected: bool,
    /// Commands are subscribed (or refused), so we may say that we are here.
    greeted: bool,
    packet_bytes_max: usize,
    /// The last sign of life, or when something began to be outstanding.
    heard: Instant,
    retry_at: Instant,
    /// Until when to drain, and until when to be gone.
    stopping: Option<(Instant, Instant)>,
}

/// Connects once and stays until the connection is lost or the daemon stops. `reconnects` is what the status shows
/// once it is connected.
pub(super) async fn run(context: &Context, reconnects: u64) -> Ended {
    let (client, event_loop) =
        AsyncClient::builder(options::options(&context.config)).capacity(REQUESTS_MAX).build();
    let (sender, wire) = mpsc::channel(WIRE_MAX);
    // Dropping the set aborts the task, so it never outlives this function.
    let mut poller = JoinSet::new();
    poller.spawn(poll(event_loop, sender));
    context.acks.begin();
    let now = Instant::now();
    let mut session = Session {
        context,
        client,
        wire,
        stop: context.stop.clone(),
        outstanding: VecDeque::new(),
        subscribing: None,
        held: VecDeque::new(),
        connected: false,
        greeted: false,
        packet_bytes_max: usize::MAX,
        heard: now,
        retry_at: now + RETRY_REFUSED,
        stopping: None,
    };
    let fault = session.drive(reconnects).await;
    context.status.send_modify(|status| status.connected = false);
    Ended { was_connected: session.connected, fault }
}

impl<'a> Session<'a> {
    async fn drive(&mut self, reconnects: u64) -> Option<Fault> {
        loop {
            self.pump();
            if let Some((_, gone_by)) = self.stopping
                && self.outstanding.is_empty()
            {
                self.say_goodbye(gone_by).await;
                return None;
            }
            match self.step().await {
                Step::Wire(Wire::Connected { session_present, packet_bytes_max }) => {
                    self.packet_bytes_max = packet_bytes_max;
                    self.subscribe(session_present, reconnects);
                }
                Step::Wire(Wire::Message(publish)) => self.receive(&publish),
                Step::Wire(Wire::Alive) | Step::Pump => {}
                Step::Wire(Wire::Lost(fault)) => return self.stopping.is_none().then_some(fault),
                Step::Silent => return Some(Fault::Other("the broker stopped answering".into())),
                Step::Room(permit) => self.deliver(permit),
                Step::Published(result) => self.settle(result),
                Step::Subscribed(result) => self.subscribed(result),
                Step::RetryRefused => {
                    self.retry_at = Instant::now() + RETRY_REFUSED;
                    self.context.outbox.with(|outbox| outbox.retry_refused());
                }
                Step::Stop(_) if !self.connected => return None,
                Step::Stop(gone_by) => {
                    let now = Instant::now();
                    let remaining = gone_by.saturating_duration_since(now);
                    self.stopping = Some((now + remaining * 3 / 4, gone_by));
                    self.held.clear();
                }
                Step::Drained => {
                    self.say_goodbye(self.stopping.map_or_else(Instant::now, |(_, gone_by)| gone_by)).await;
                    return None;
                }
            }
        }
    }

    /// Waits for the next thing to do. Every branch is safe to cancel.
    async fn step(&mut self) -> Step<'a> {
        let (context, stopping) = (self.context, self.stopping);
        let silent_at = self.heard + Duration::from_secs(u64::from(context.config.keep_alive_s)) * 2;
        let drain_by = stopping.map_or(silent_at, |(drain_by, _)| drain_by);
        let waits = self.subscribing.is_some() || !self.outstanding.is_empty();
        let step = tokio::select! {
            biased;
            gone_by = stop_requested(&mut self.stop), if stopping.is_none() => Step::Stop(gone_by),
            () = sleep_until(drain_by), if stopping.is_some() => Step::Drained,
            wire = self.wire.recv(), if self.held.len() < HELD_MAX => {
                Step::Wire(wire.unwrap_or_else(|| Wire::Lost(Fault::Other("the event loop ended".into()))))
            }
            result = outcome(&mut self.outstanding) => Step::Published(result),
            result = subscription(&mut self.subscribing), if self.subscribing.is_some() => {
                Step::Subscribed(result)
            }
            permit = context.inbound.reserve(), if !self.held.is_empty() => Step::Room(permit.ok()),
            () = context.acks.changed() => Step::Pump,
            () = context.outbox.added(), if self.connected => Step::Pump,
            () = sleep_until(silent_at), if waits => Step::Silent,
            () = sleep_until(self.retry_at) => Step::RetryRefused,
        };
        if matches!(step, Step::Wire(_)) {
            self.heard = Instant::now();
        }
        step
    }

    /// The rule of every connect: subscriptions first, then [`Session::greet`]. The crate sends a publish before a
    /// subscription that was asked for earlier, and who hears `online` must be able to send a command.
    fn subscribe(&mut self, session_present: bool, reconnects: u64) {
        self.connected = true;
        self.heard = Instant::now();
        let config = &self.context.config;
        tracing::info!(host = config.host, port = config.port, session_present, "mqtt connected");
        self.context.status.send_modify(|status| {
            status.session_present = session_present;
            status.sessions_begun += u64::from(!session_present);
            status.reconnects = reconnects;
        });
        if config.command_filters.is_empty() {
            return self.greet();
        }
        match self.client.try_subscribe_many_tracked(options::filters(config)) {
            Ok(notice) => self.subscribing = Some(Box::pin(notice.wait_async())),
            Err(error) => {
                self.complain(format!("cannot subscribe: {error}"));
                self.greet();
            }
        }
    }

    /// Makes `online`, everything retained and everything unacknowledged due.
    fn greet(&mut self) {
        self.greeted = true;
        let topic = &self.context.config.will_topic;
        self.publish(None, topic, b"online".to_vec(), PublishOptions::at_least_once().retained());
        self.context.outbox.with(|outbox| outbox.connection_started());
        self.context.status.send_modify(|status| status.connected = true);
    }

    fn pump(&mut self) {
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

    fn send(&mut self, outgoing: Outgoing) {
        let Outgoing { ticket, topic, payload, qos, retain, expiry_s, correlation } = outgoing;
        if topic.len() + payload.len() + PACKET_OVERHEAD > self.packet_bytes_max {
            self.complain(format!(
                "{topic}: larger than the broker's packet limit of {} bytes",
                self.packet_bytes_max
            ));
            self.context.outbox.with(|outbox| outbox.refused(&ticket));
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
        self.publish(Some(ticket), &topic, payload, options);
    }

    fn publish(&mut self, ticket: Option<Ticket>, topic: &str, payload: Vec<u8>, options: PublishOptions) {
        if self.outstanding.is_empty() {
            self.heard = Instant::now();
        }
        match self.client.try_publish_tracked(topic, payload, options) {
            Ok(notice) => {
                let outcome = Box::pin(notice.wait_async());
                self.outstanding.push_back(Outstanding { ticket, topic: topic.to_owned(), outcome });
            }
            Err(error) => {
                // The request inside the error would print the payload.
                tracing::debug!(%error, topic, "publish not accepted");
                self.complain(format!("{topic}: not a valid publish, or the connection is gone"));
                if let Some(ticket) = ticket {
                    self.context.outbox.with(|outbox| outbox.refused(&ticket));
                }
            }
        }
    }

    /// Settles the oldest outstanding publish.
    fn settle(&mut self, result: Result<PublishResult, PublishNoticeError>) {
        use PubAckReason::{NoMatchingSubscribers, Success};
        let Some(Outstanding { ticket, topic, .. }) = self.outstanding.pop_front() else { return };
        let accepted = match result {
            Ok(PublishResult::Qos1(ack)) if !matches!(ack.reason, Success | NoMatchingSubscribers) => {
                self.complain(format!("{topic}: the broker refuses the publish: {:?}", ack.reason));
                false
            }
            Ok(_) => true,
            Err(PublishNoticeError::RetainNotSupported) => {
                self.complain(format!("{topic}: the broker does not support retained messages"));
                false
            }
            // The connection is being lost; the outbox still has it.
            Err(_) => return,
        };
        let Some(ticket) = ticket else { return };
        self.context.outbox.with(|outbox| match accepted {
            true => outbox.acknowledged(&ticket),
            false => outbox.refused(&ticket),
        });
    }

    fn subscribed(&mut self, result: Result<SubAck, SubscribeNoticeError>) {
        self.subscribing = None;
        match result {
            Ok(_) => {}
            // The refused ones do not work; all else does.
            Err(SubscribeNoticeError::V5SubAckFailure(codes)) => {
                let filters = self.context.config.command_filters.join(", ");
                self.complain(format!("the broker refuses subscriptions among {filters}: {codes:?}"));
            }
            // Without an answer the connection is being lost.
            Err(_) => return,
        }
        self.greet();
    }

    fn receive(&mut self, publish: &Publish) {
        if self.stopping.is_some() {
            return;
        }
        let properties = publish.properties.as_ref();
        self.held.push_back(Inbound {
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            payload: publish.payload.to_vec(),
            retain: publish.retain,
            response_topic: properties.and_then(|properties| properties.response_topic.clone()),
            correlation: properties
                .and_then(|properties| properties.correlation_data.as_ref())
                .map(|data| data.to_vec()),
            ack: self.context.acks.issue(self.client.prepare_ack(publish)),
        });
    }

    fn deliver(&mut self, permit: Option<mpsc::Permit<'a, Inbound>>) {
        match (permit, self.held.pop_front()) {
            (Some(permit), Some(inbound)) => permit.send(inbound),
            // Nobody listens any more; the broker keeps what is not acknowledged.
            _ => self.held.clear(),
        }
    }

    async fn say_goodbye(&mut self, gone_by: Instant) {
        let topic = &self.context.config.will_topic;
        self.publish(None, topic, b"offline".to_vec(), PublishOptions::at_least_once().retained());
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

    fn complain(&self, text: String) {
        tracing::warn!("mqtt: {text}");
        self.context.status.send_modify(|status| status.last_error = Some(text));
    }
}

/// The time by which to be gone; at once when all handles were dropped.
pub(super) async fn stop_requested(stop: &mut watch::Receiver<Option<Instant>>) -> Instant {
    let requested = stop.wait_for(Option::is_some).await.ok().and_then(|gone_by| *gone_by);
    requested.unwrap_or_else(Instant::now)
}

async fn outcome(outstanding: &mut VecDeque<Outstanding>) -> Result<PublishResult, PublishNoticeError> {
    match outstanding.front_mut() {
        Some(oldest) => (&mut oldest.outcome).await,
        None => pending().await,
    }
}

async fn subscription(
    subscribing: &mut Option<Pending<Result<SubAck, SubscribeNoticeError>>>,
) -> Result<SubAck, SubscribeNoticeError> {
    match subscribing {
        Some(notice) => notice.await,
        None => pending().await,
    }
}
