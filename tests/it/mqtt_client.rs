//! The MQTT client against a real mosquitto, a link that freezes, and the embedded broker.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use rumqttc::{AsyncClient, Broker, Event, Incoming, MqttOptions, PublishOptions, QoS};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tradebus::daemon::mqtt::{self, Bus, BusStatus, Inbound, MqttConfig, NOTICES_MAX, Notice};
use tradebus::daemon::outbox::{Outbox, OutboxHandle, Qos};
use tradebus::message::topic::Topics;

use crate::support::mosquitto::{Mosquitto, Setup};
use crate::support::proxy::{Link, Proxy};

const STATE: &str = "t/daemon/state";
const PROBE: &str = "t/daemon/probe";
const PATIENCE: Duration = Duration::from_secs(20);

/// The client under test and what the daemon holds of it.
pub struct Rig {
    pub bus: Bus,
    pub outbox: OutboxHandle,
    pub inbound: mpsc::Receiver<Inbound>,
    pub notices: mpsc::Receiver<Notice>,
    pub task: JoinHandle<()>,
}

impl Rig {
    pub fn start(port: u16) -> Self {
        Self::with(port, |_| {})
    }

    pub fn with(port: u16, change: impl FnOnce(&mut MqttConfig)) -> Self {
        let mut config = MqttConfig {
            host: "127.0.0.1".into(),
            port,
            client_id: "tradebus".into(),
            username: None,
            password: None,
            tls: None,
            command_filters: vec!["t/in/#".into()],
            topics: Topics::new("t"),
            session_expiry_s: 3_600,
            keep_alive_s: 1,
        };
        change(&mut config);
        let outbox = OutboxHandle::new(Outbox::new(0, 0));
        let (sender, inbound) = mpsc::channel(64);
        let (told, notices) = mpsc::channel(NOTICES_MAX);
        let (bus, task) = mqtt::start(config, outbox.clone(), sender, told).expect("a good configuration");
        Self { bus, outbox, inbound, notices, task }
    }

    pub async fn status(&self, what: &str, wanted: impl Fn(&BusStatus) -> bool) -> BusStatus {
        let mut status = self.bus.status();
        let seen = within(what, status.wait_for(|status| wanted(status))).await;
        seen.expect("the client runs").clone()
    }

    pub async fn receive(&mut self, what: &str) -> Inbound {
        within(what, self.inbound.recv()).await.expect("the client runs")
    }

    /// The next notice: its code and its text.
    pub async fn notice(&mut self, what: &str) -> (&'static str, String) {
        let notice = within(what, self.notices.recv()).await.expect("the client runs");
        (notice.code, notice.text)
    }

    /// Polls, because there is no event for it.
    pub async fn until(&self, what: &str, wanted: impl Fn(&OutboxHandle) -> bool) {
        let poll = async {
            while !wanted(&self.outbox) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(what, poll).await;
    }
}

/// Somebody else at the broker: collects what is published and can publish.
pub struct Peer {
    client: AsyncClient,
    messages: mpsc::UnboundedReceiver<(String, String)>,
    _task: JoinSet<()>,
}

impl Peer {
    /// Returns when the subscription is granted.
    pub async fn subscribe(port: u16, filter: &str) -> Self {
        let mut options = MqttOptions::new("peer", Broker::tcp("127.0.0.1", port));
        options.set_max_packet_size(Some(256 * 1024)).set_outgoing_inflight_upper_limit(64);
        let (client, mut event_loop) = AsyncClient::builder(options).capacity(64).build();
        client.subscribe(filter, QoS::AtLeastOnce).await.expect("room");
        let (sender, messages) = mpsc::unbounded_channel();
        let (granted_sender, mut granted) = mpsc::unbounded_channel();
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Ok(event) = event_loop.poll().await {
                match event {
                    Event::Incoming(Incoming::SubAck(_)) => drop(granted_sender.send(())),
                    Event::Incoming(Incoming::Publish(publish)) => {
                        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                        let topic = text(&publish.topic);
                        // The client talks to itself there.
                        if topic != PROBE {
                            drop(sender.send((topic, text(&publish.payload))));
                        }
                    }
                    _ => {}
                }
            }
        });
        within("the peer's subscription", granted.recv()).await.expect("the peer runs");
        Self { client, messages, _task: task }
    }

    pub async fn publish(&self, topic: &str, payload: &str, retain: bool) {
        let options = PublishOptions::at_least_once().retain(retain);
        let notice =
            self.client.publish_tracked(topic, payload.as_bytes().to_vec(), options).await.expect("room");
        within("the peer's publish", notice.wait_completion_async()).await.expect("accepted");
    }

    pub async fn next(&mut self, what: &str) -> (String, String) {
        within(what, self.messages.recv()).await.expect("the peer runs")
    }

    /// Collects until `wanted` topics (other than the state) have arrived.
    async fn collect(&mut self, wanted: usize) -> BTreeMap<String, String> {
        let mut seen = BTreeMap::new();
        while seen.len() < wanted {
            let (topic, payload) = self.next(&format!("message {} of {wanted}", seen.len() + 1)).await;
            if topic != STATE {
                seen.insert(topic, payload);
            }
        }
        seen
    }
}

pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("timed out: {what}"))
}

#[tokio::test]
async fn state_and_subscriptions_come_back_after_a_restart_without_persistence() {
    let mut broker = Mosquitto::start(Setup::default());
    let mut rig = Rig::start(broker.port);
    rig.outbox.retained("t/out/a", b"1".to_vec(), None);
    rig.outbox.retained("t/out/gone", b"1".to_vec(), None);
    rig.outbox.retained("t/out/a", b"2".to_vec(), Some(180));
    rig.until("the state is published", |outbox| outbox.counters().retained_waiting == 0).await;
    rig.outbox.retained("t/out/gone", Vec::new(), None);
    rig.until("the topic is cleared", |outbox| outbox.counters().retained_topics == 1).await;
    let first = rig.status("connected", |status| status.connected).await;
    assert_eq!((first.reconnects, first.session_present), (0, false));

    broker.restart();
    let again = rig.status("reconnected", |status| status.connected && status.reconnects == 1).await;
    assert!(!again.session_present && again.last_error.is_some(), "{again:?}");
    let mut peer = Peer::subscribe(broker.port, "t/#").await;
    let seen = [peer.next("state").await, peer.next("state").await];
    let wanted =
        [("t/out/a", "2"), (STATE, "online")].map(|(topic, payload)| (topic.to_owned(), payload.to_owned()));
    assert_eq!(BTreeSet::from(seen), BTreeSet::from(wanted));
    peer.publish("t/in/signal", "go", false).await;
    assert_eq!(rig.receive("the signal").await.payload, b"go");

    rig.bus.shutdown(Duration::from_secs(2)).await;
    while peer.next("offline").await != (STATE.to_owned(), "offline".to_owned()) {}
    within("the task ends", rig.task).await.expect("no panic");
}

#[tokio::test]
async fn unacknowledged_inbound_comes_again_also_after_our_restart() {
    let mut broker = Mosquitto::start(Setup { persistence: true, login: None });
    let mut rig = Rig::start(broker.port);
    rig.status("connected", |status| status.connected).await;
    let peer = Peer::subscribe(broker.port, "none").await;
    peer.publish("t/in/kept", "retained", true).await;
    for text in ["one", "two", "three"] {
        peer.publish("t/in/signal", text, false).await;
    }
    let kept = rig.receive("the retained command").await;
    assert!(kept.retain, "the retain flag must be seen");
    let one = rig.receive("one").await;
    let two = rig.receive("two").await;
    let three = rig.receive("three").await;
    // Out of order: `three` must wait for `two`, so both come again.
    for token in [three.ack, one.ack, kept.ack] {
        rig.bus.ack(token);
    }
    rig.outbox.event(1, "t/out/event", b"the acknowledgements have left before this".to_vec());
    rig.until("an event", |outbox| outbox.acknowledged_through() == 1).await;

    broker.restart();
    let again = rig.status("reconnected", |status| status.connected && status.reconnects == 1).await;
    assert!(again.session_present);
    rig.bus.ack(two.ack);
    let mut seen = BTreeSet::new();
    while seen.len() < 3 {
        // The retained copy comes with every subscription.
        let inbound = rig.receive("redelivery").await;
        seen.insert(String::from_utf8(inbound.payload).expect("text"));
    }
    assert_eq!(seen, BTreeSet::from(["retained", "two", "three"].map(String::from)));

    // Another process with our id: the broker says session present, and everything must work on it.
    rig.task.abort();
    let mut rig = Rig::start(broker.port);
    assert!(rig.status("connected", |status| status.connected).await.session_present);
    rig.outbox.event(1, "t/out/event", b"x".to_vec());
    rig.outbox.retained("t/out/state", b"x".to_vec(), None);
    rig.until("published on a kept session", |outbox| outbox.counters().published == 2).await;
    let mut texts = BTreeSet::new();
    while texts.len() < 3 {
        let inbound = rig.receive("redelivery to the new process").await;
        rig.bus.ack(inbound.ack);
        texts.insert(String::from_utf8(inbound.payload).expect("text"));
    }
}

/// Publishes 200 events through a link that freezes in the middle and then `recovers`.
async fn check_frozen_link(recovers: Link) {
    let broker = Mosquitto::start(Setup::default());
    let proxy = Proxy::start(broker.port).await;
    let rig = Rig::start(proxy.port);
    let mut peer = Peer::subscribe(broker.port, "t/out/#").await;
    rig.status("connected", |status| status.connected).await;
    for sequence in 1..=200_u64 {
        if sequence == 100 {
            rig.until("some are published", |outbox| outbox.acknowledged_through() > 0).await;
            proxy.set(Link::Frozen);
        }
        rig.outbox.event(sequence, &format!("t/out/{sequence}"), b"fill".to_vec());
    }
    if recovers == Link::Open {
        // The client has to find out by itself that nothing answers.
        rig.status("the frozen link is noticed", |status| !status.connected).await;
    }
    proxy.set(recovers);
    proxy.set(Link::Open);
    assert_eq!(peer.collect(200).await.len(), 200);
    rig.until("all are acknowledged", |outbox| outbox.acknowledged_through() == 200).await;
}

#[tokio::test]
async fn a_frozen_link_that_heals_loses_nothing() {
    check_frozen_link(Link::Open).await;
}

#[tokio::test]
async fn a_frozen_link_that_is_cut_loses_nothing() {
    check_frozen_link(Link::Cut).await;
}

#[tokio::test]
async fn nothing_blocks_or_is_lost_when_the_daemon_is_slow() {
    let broker = Mosquitto::start(Setup::default());
    let mut rig = Rig::start(broker.port);
    rig.status("connected", |status| status.connected).await;
    let peer = Peer::subscribe(broker.port, "none").await;
    for number in 0..150 {
        peer.publish(&format!("t/in/{number}"), "x", false).await;
    }
    // Nobody has read anything yet, and publishing still works.
    for number in 0..500 {
        rig.outbox.transient(
            "t/out/tick",
            vec![1],
            if number % 2 == 0 { Qos::AtMostOnce } else { Qos::AtLeastOnce },
        );
    }
    rig.until("publishing goes on", |outbox| outbox.counters().published == 500).await;
    for number in 0..150 {
        let inbound = rig.receive("inbound").await;
        assert_eq!(inbound.topic, format!("t/in/{number}"));
        rig.bus.ack(inbound.ack);
    }
    assert_eq!(rig.outbox.counters().dropped, 0);
}

#[cfg(feature = "embedded-broker")]
#[tokio::test]
async fn the_embedded_broker_serves_the_same_client() {
    use tradebus::daemon::broker::EmbeddedBroker;

    let broker = EmbeddedBroker::start("127.0.0.1:0".parse().expect("address")).await.expect("a broker");
    let address = broker.local_addr();
    let occupied = EmbeddedBroker::start(address).await.err().expect("occupied").to_string();
    assert!(occupied.contains(&address.to_string()), "{occupied}");
    let outside = EmbeddedBroker::start("0.0.0.0:0".parse().expect("address"))
        .await
        .err()
        .expect("refused")
        .to_string();
    assert!(outside.contains("0.0.0.0:0"), "{outside}");

    let mut rig = Rig::start(address.port());
    for number in 0..300 {
        rig.outbox.retained(&format!("t/out/{number}"), b"state".to_vec(), None);
    }
    rig.until("all are published", |outbox| outbox.counters().retained_waiting == 0).await;
    let mut peer = Peer::subscribe(address.port(), "t/#").await;
    assert_eq!(peer.collect(300).await.len(), 300);
    peer.publish("t/in/signal", "go", false).await;
    assert_eq!(rig.receive("the signal").await.payload, b"go");
    rig.bus.shutdown(Duration::from_secs(2)).await;
    broker.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "the port is free again");
}
