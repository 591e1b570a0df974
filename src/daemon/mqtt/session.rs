//! One connection, from the attempt to its loss.
//!
//! The crate's event loop is not safe to cancel, so a task of its own polls it and forwards what matters
//! (`wire.rs`). This side drains the outbox (`outbound.rs`) and never awaits the crate's request channel: every publish
//! is tracked and at most 64 are outstanding, so the channel always has room. Outcomes are awaited in the order of
//! sending.
//!
//! The event loop is dropped with its connection and never reconnects: what it would send again is in the outbox too,
//! and what it would drop (a lost session) is still there.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use rumqttc::{
    AsyncClient, Publish, PublishNoticeError, PublishResult, QoS, SubAck, SubscribeNoticeError,
    SubscribeReasonCode,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::fault::{Fault, words};
use super::options;
use super::probe::{Came, Probe};
use super::wire::{WIRE_MAX, Wire, poll};
use super::{Context, INFO, Inbound, PROBE};
use crate::daemon::outbox::Ticket;
use crate::engine::effect::AlertLevel;

/// Room for everything in flight, `online`, `offline`, the subscription and all acknowledgements.
const REQUESTS_MAX: usize = 512;
/// Inbound messages held here while the daemon's channel is full: more than the receive maximum, so that only a flood
/// of QoS 0 stops the reading (and with it, in the end, the connection).
const HELD_MAX: usize = 300;
/// How often what the broker refused, publishes and subscriptions, is offered again.
const RETRY_REFUSED: Duration = Duration::from_secs(60);

/// How a connection ended.
pub(super) struct Ended {
    /// Whether the broker had accepted it.
    pub(super) was_connected: bool,
    /// `None`: the daemon asked for the end.
    pub(super) fault: Option<Fault>,
    /// Whether our own message came back.
    pub(super) tested: bool,
    /// Whether another daemon had used our client id before we came.
    pub(super) twin: bool,
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
    Probe,
    Pump,
}

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a publish is for.
pub(super) enum Purpose {
    /// `online` or `offline`.
    Word,
    /// The self-test.
    Probe,
    /// A message of the outbox.
    Message(Ticket),
}

pub(super) struct Outstanding {
    pub(super) purpose: Purpose,
    pub(super) topic: String,
    pub(super) outcome: Pending<Result<PublishResult, PublishNoticeError>>,
}

pub(super) struct Session<'a> {
    pub(super) context: &'a Context,
    pub(super) client: AsyncClient,
    pub(super) wire: mpsc::Receiver<Wire>,
    stop: watch::Receiver<Option<Instant>>,
    pub(super) outstanding: VecDeque<Outstanding>,
    /// What is asked for now, and what of it was refused before.
    subscribing: Option<Pending<Result<SubAck, SubscribeNoticeError>>>,
    filters: Vec<String>,
    pub(super) probe: Probe,
    twin: bool,
    held: VecDeque<Inbound>,
    connected: bool,
    /// Commands are subscribed (or refused), so we may say that we are here.
    pub(super) greeted: bool,
    pub(super) packet_bytes_max: usize,
    /// The last sign of life, or when something began to be outstanding.
    pub(super) heard: Instant,
    retry_at: Instant,
    /// Until when to drain, and until when to be gone.
    stopping: Option<(Instant, Instant)>,
}

/// Connects once and stays until the connection is lost or the daemon stops. `reconnects` is what the status shows
/// once it is connected.
pub(super) async fn run(context: &Context, reconnects: u64) -> Ended {
    let (options, heard) = options::options(&context.config);
    let (client, event_loop) = AsyncClient::builder(options).capacity(REQUESTS_MAX).build();
    let (sender, wire) = mpsc::channel(WIRE_MAX);
    // Dropping the set aborts the task, so it never outlives this function.
    let mut poller = JoinSet::new();
    poller.spawn(poll(event_loop, heard, sender));
    context.acks.begin();
    let now = Instant::now();
    let bound = Duration::from_secs(u64::from(context.config.keep_alive_s));
    let mut session = Session {
        context,
        client,
        wire,
        stop: context.stop.clone(),
        outstanding: VecDeque::new(),
        subscribing: None,
        filters: Vec::new(),
        probe: Probe::new(&context.run, bound, now),
        twin: false,
        held: VecDeque::new(),
        connected: false,
        greeted: false,
        packet_bytes_max: usize::MAX,
        heard: now,
        retry_at: now + RETRY_REFUSED,
        stopping: None,
    };
    let fault = session.drive(reconnects).await;
    let tested = context.status.borrow().round_trip.is_some();
    context.status.send_modify(|status| {
        status.connected = false;
        status.round_trip = None;
    });
    Ended { was_connected: session.connected, fault, tested, twin: session.twin }
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
                    if self.greeted && self.subscribing.is_none() && !self.filters.is_empty() {
                        self.ask();
                    }
                }
                Step::Probe => self.probe(),
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
            () = sleep_until(self.probe.due_at()), if self.greeted && stopping.is_none() => Step::Probe,
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
        self.filters = config.command_filters.clone();
        self.filters.extend([PROBE, INFO].map(|topic| config.topics.at(topic)));
        self.ask();
    }

    fn ask(&mut self) {
        match self.client.try_subscribe_many_tracked(options::filters(&self.context.config, &self.filters)) {
            Ok(notice) => self.subscribing = Some(Box::pin(notice.wait_async())),
            // The filters were checked at the start, so the connection is gone; the wire will say why.
            Err(error) => tracing::debug!(%error, "cannot subscribe"),
        }
    }

    /// Makes `online`, everything retained and everything unacknowledged due.
    fn greet(&mut self) {
        self.greeted = true;
        self.say("online");
        self.context.outbox.with(|outbox| outbox.connection_started());
        self.context.status.send_modify(|status| status.connected = true);
    }

    /// What was refused does not work, and is asked for again; all else does.
    fn subscribed(&mut self, result: Result<SubAck, SubscribeNoticeError>) {
        self.subscribing = None;
        let codes = match result {
            Ok(ack) => ack.return_codes,
            Err(SubscribeNoticeError::V5SubAckFailure(codes)) => codes,
            // Without an answer the connection is being lost.
            Err(_) => return,
        };
        let asked = std::mem::take(&mut self.filters);
        for (filter, code) in asked.into_iter().zip(codes) {
            let topics = &self.context.config.topics;
            let is_ours = filter == topics.at(PROBE) || filter == topics.at(INFO);
            let why = match code {
                SubscribeReasonCode::Success(QoS::AtMostOnce) if !is_ours => {
                    "is granted with QoS 0 only, so messages may be lost".to_owned()
                }
                SubscribeReasonCode::Success(_) => continue,
                code => {
                    let why = words(code);
                    self.filters.push(filter.clone());
                    format!("is refused: {why}; {}, until the broker grants it", lost_with(&filter))
                }
            };
            let text = format!("the subscription to {filter} {why}");
            self.complain(AlertLevel::Error, "mqtt_subscription_refused", &filter, &text);
        }
        if !self.greeted {
            self.greet();
        }
    }

    fn receive(&mut self, publish: &Publish) {
        if self.stopping.is_some() {
            return;
        }
        let topics = &self.context.config.topics;
        let (is_probe, is_info) = (publish.topic == topics.at(PROBE), publish.topic == topics.at(INFO));
        if is_probe || is_info {
            // They are for nobody else, whatever QoS the broker gives them.
            let token = self.context.acks.issue(self.client.prepare_ack(publish));
            self.context.acks.done(token);
            self.twin |= is_info && publish.retain && self.is_of_twin(&publish.payload);
            return if is_probe {
                self.probed(publish)
            };
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

    /// A message on the topic of the self-test.
    fn probed(&mut self, publish: &Publish) {
        match self.probe.came(&publish.payload, Instant::now()) {
            Came::Nothing => {}
            Came::Back(round_trip) => {
                if self.context.status.borrow().round_trip.is_none() {
                    tracing::info!(round_trip_ms = round_trip.as_millis(), "mqtt self-test passed");
                }
                self.context.status.send_modify(|status| status.round_trip = Some(round_trip));
            }
            Came::Foreign => {
                let text = format!(
                    "another daemon uses the base topic, or a client publishes to {}: two daemons below one \
                     base topic both trade every signal; give each its own mqtt.base_topic",
                    self.context.config.topics.at(PROBE)
                );
                self.complain(AlertLevel::Error, "mqtt_second_daemon", "", &text);
            }
        }
    }

    /// Whether a retained info is of another daemon with our client id: ours was there, and it is not any more. A
    /// broker does not always say why it ends a connection, but who takes ours over leaves this.
    fn is_of_twin(&self, info: &[u8]) -> bool {
        let config = &self.context.config;
        let topic = config.topics.at(INFO);
        let replaced =
            self.context.outbox.with(|outbox| outbox.published(&topic).is_some_and(|own| own != info));
        let instance = |info: serde_json::Value| info["instance"].as_str() == Some(config.client_id.as_str());
        replaced && serde_json::from_slice(info).is_ok_and(instance)
    }

    fn deliver(&mut self, permit: Option<mpsc::Permit<'a, Inbound>>) {
        match (permit, self.held.pop_front()) {
            (Some(permit), Some(inbound)) => permit.send(inbound),
            // Nobody listens any more; the broker keeps what is not acknowledged.
            _ => self.held.clear(),
        }
    }
}

/// The time by which to be gone; at once when all handles were dropped.
pub(super) async fn stop_requested(stop: &mut watch::Receiver<Option<Instant>>) -> Instant {
    let requested = stop.wait_for(Option::is_some).await.ok().and_then(|gone_by| *gone_by);
    requested.unwrap_or_else(Instant::now)
}

/// What stops without a subscription.
fn lost_with(filter: &str) -> &'static str {
    match filter.rsplit('/').next() {
        Some("signal") => "signals do not arrive",
        Some("set") => "levels cannot be set from the bus",
        Some("tradingview") => "TradingView alerts do not arrive",
        Some("probe") => "the self-test does not work",
        Some("info") => "another daemon with our client id is not noticed",
        Some("status") => "Home Assistant's restarts are not noticed",
        _ => "its messages do not arrive",
    }
}

pub(super) async fn outcome(
    outstanding: &mut VecDeque<Outstanding>,
) -> Result<PublishResult, PublishNoticeError> {
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
