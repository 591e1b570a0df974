//! An ear and a mouth at the broker: folds everything that the daemon says, and publishes what a test says.

use std::collections::BTreeMap;
use std::time::Duration;

use rumqttc::{
    AsyncClient, Broker, Event, Incoming, MqttOptions, PublishOptions, PublishProperties, QoS, SessionMode,
};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

const PATIENCE: Duration = Duration::from_secs(40);
/// What a test says itself is of no interest to it.
const COMMANDS: [&str; 3] = ["/signal", "/tradingview", "/level/set"];

/// A message as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    pub correlation: Option<Vec<u8>>,
}

impl Message {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).expect("the daemon speaks UTF-8")
    }
}

/// An order, a fill or a trade.
#[derive(Debug, Clone)]
pub struct Said {
    /// The last part of its topic.
    pub kind: String,
    /// Without `replayed`.
    pub body: Value,
    /// How often it came as new, and how often as replayed.
    pub new: u32,
    pub replayed: u32,
}

/// Everything that was heard.
#[derive(Debug, Default)]
pub struct Heard {
    /// The newest message of every topic.
    pub newest: BTreeMap<String, Message>,
    /// By sequence.
    pub events: BTreeMap<u64, Said>,
    /// By strategy and signal, in order of arrival.
    pub results: BTreeMap<(String, String), Vec<Value>>,
    pub results_count: usize,
    /// Results without an id.
    pub results_nameless: Vec<Value>,
    pub alerts: Vec<Value>,
    /// What Home Assistant is told, in order of arrival.
    pub discovery: Vec<Message>,
    /// Messages outside the daemon's tree and Home Assistant's.
    pub elsewhere: Vec<Message>,
    /// How often `online` was said.
    pub online: usize,
    pub prices: u64,
    /// In order of arrival.
    pub ticks: Vec<Message>,
}

impl Heard {
    /// The newest JSON of a topic below the base.
    pub fn json(&self, topic: &str) -> Option<Value> {
        let message = self.newest.get(&format!("tradebus/{topic}")).filter(|m| !m.payload.is_empty())?;
        Some(serde_json::from_slice(&message.payload).unwrap_or_else(|error| panic!("{message:?}: {error}")))
    }

    pub fn word(&self, topic: &str) -> Option<&str> {
        self.newest.get(&format!("tradebus/{topic}")).map(Message::text)
    }

    pub fn results_of(&self, strategy: &str, id: &str) -> &[Value] {
        self.results.get(&(strategy.to_owned(), id.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// Events of one kind, by sequence.
    pub fn said<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (u64, &'a Value)> + 'a {
        self.events.iter().filter(move |(_, said)| said.kind == kind).map(|(seq, said)| (*seq, &said.body))
    }

    fn take(&mut self, message: Message) {
        if message.topic.starts_with("homeassistant/") {
            return self.discovery.push(message);
        }
        let Some(rest) = message.topic.strip_prefix("tradebus/") else { return self.elsewhere.push(message) };
        let levels: Vec<&str> = rest.split('/').collect();
        let json = || -> Value {
            serde_json::from_slice(&message.payload).unwrap_or_else(|error| panic!("{message:?}: {error}"))
        };
        match levels.as_slice() {
            ["strategy", _, kind @ ("order" | "fill" | "trade")] => self.event(kind, json()),
            ["strategy", id, "signal", "result"] => {
                let result = json();
                self.results_count += 1;
                match result["id"].as_str() {
                    Some(signal) => {
                        self.results.entry(((*id).to_owned(), signal.to_owned())).or_default().push(result);
                    }
                    None => self.results_nameless.push(result),
                }
            }
            ["daemon", "alert"] => self.alerts.push(json()),
            ["daemon", "state"] => self.online += usize::from(message.payload == b"online"),
            ["price", ..] => self.prices += 1,
            ["tick", ..] => self.ticks.push(message.clone()),
            _ => {}
        }
        self.newest.insert(message.topic.clone(), message);
    }

    fn event(&mut self, kind: &str, mut body: Value) {
        let object = body.as_object_mut().expect("an object");
        let replayed = object.remove("replayed").and_then(|flag| flag.as_bool()).expect("replayed");
        let seq = object["seq"].as_u64().expect("seq");
        let first = Said { kind: kind.to_owned(), body: body.clone(), new: 0, replayed: 0 };
        let said = self.events.entry(seq).or_insert(first);
        assert_eq!((said.kind.as_str(), &said.body), (kind, &body), "two events under one seq");
        said.new += u32::from(!replayed);
        said.replayed += u32::from(replayed);
    }
}

/// Connected for as long as it lives, also over the broker's restarts.
pub struct Bus {
    pub heard: Heard,
    client: AsyncClient,
    inbox: mpsc::UnboundedReceiver<Message>,
    subscriptions: watch::Receiver<u64>,
    asleep: watch::Sender<bool>,
    task: JoinSet<()>,
}

impl Bus {
    /// Hears everything at this broker; returns when the subscription is granted.
    pub async fn connect(port: u16, name: &str) -> Self {
        Self::open(port, name, false, true).await
    }

    /// Hears commands too.
    pub async fn raw(port: u16, name: &str) -> Self {
        Self::open(port, name, false, false).await
    }

    /// The same with a session that the broker keeps.
    pub async fn persistent(port: u16, name: &str) -> Self {
        Self::open(port, name, true, true).await
    }

    async fn open(port: u16, name: &str, persistent: bool, skip_commands: bool) -> Self {
        let mut options = MqttOptions::new(name, Broker::tcp("127.0.0.1", port));
        options.set_max_packet_size(Some(512 * 1024)).set_outgoing_inflight_upper_limit(64);
        if persistent {
            options.set_session_mode(SessionMode::Persistent).set_session_expiry_interval(Some(3_600));
        }
        let (client, mut event_loop) = AsyncClient::builder(options).capacity(256).build();
        let (sender, inbox) = mpsc::unbounded_channel();
        let (granted, subscriptions) = watch::channel(0);
        let (asleep, mut sleeping) = watch::channel(false);
        let mut task = JoinSet::new();
        let subscriber = client.clone();
        task.spawn(async move {
            loop {
                match event_loop.poll().await {
                    Ok(Event::Incoming(Incoming::ConnAck(ack))) if ack.session_present => {
                        granted.send_modify(|count| *count += 1);
                    }
                    Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                        subscriber.try_subscribe("#", QoS::AtLeastOnce).expect("room");
                    }
                    Ok(Event::Incoming(Incoming::SubAck(_))) => granted.send_modify(|count| *count += 1),
                    Ok(Event::Incoming(Incoming::Publish(publish))) => {
                        let properties = publish.properties.as_ref();
                        let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                        let correlation = properties.and_then(|p| p.correlation_data.as_ref());
                        let correlation = correlation.map(|data| data.to_vec());
                        if skip_commands && COMMANDS.iter().any(|end| topic.ends_with(end)) {
                            continue;
                        }
                        let message = Message { topic, payload: publish.payload.to_vec(), correlation };
                        if sender.send(message).is_err() {
                            return;
                        }
                    }
                    Ok(_) => {}
                    // The broker restarts.
                    Err(_) => {
                        sleep(Duration::from_millis(10)).await;
                        drop(sleeping.wait_for(|asleep| !asleep).await);
                    }
                }
            }
        });
        let mut bus = Self { heard: Heard::default(), client, inbox, subscriptions, asleep, task };
        bus.subscribed(1).await;
        bus
    }

    /// Waits until the subscription was granted (or found again) that often.
    pub async fn subscribed(&mut self, count: u64) {
        let granted = timeout(PATIENCE, self.subscriptions.wait_for(|granted| *granted >= count)).await;
        granted.expect("timed out: a subscription").expect("the task runs");
    }

    /// While asleep, it does not come back when the broker is gone.
    pub fn sleep(&self, asleep: bool) {
        self.asleep.send_replace(asleep);
    }

    pub fn subscriptions(&self) -> u64 {
        *self.subscriptions.borrow()
    }

    /// Folds what arrives until `wanted`.
    pub async fn until(&mut self, what: &str, mut wanted: impl FnMut(&Heard) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(&self.heard) {
            match timeout_at(deadline, self.inbox.recv()).await {
                Ok(message) => self.heard.take(message.expect("the task runs")),
                Err(_) => panic!("timed out: {what}; alerts: {:?}", self.heard.alerts.iter().rev().take(5)),
            }
        }
    }

    /// Folds what has arrived already.
    pub fn drain(&mut self) {
        while let Ok(message) = self.inbox.try_recv() {
            self.heard.take(message);
        }
    }

    /// Publishes and waits until the broker has it, however often it restarts meanwhile.
    pub async fn publish(&self, topic: &str, payload: &[u8], retain: bool) {
        self.send(topic, payload, PublishOptions::at_least_once().retain(retain)).await;
    }

    /// Publishes a request with a response topic.
    pub async fn request(&self, topic: &str, payload: &[u8], response: &str, correlation: &[u8]) {
        let properties = PublishProperties {
            response_topic: Some(response.to_owned()),
            correlation_data: Some(correlation.to_vec().into()),
            ..Default::default()
        };
        self.send(topic, payload, PublishOptions::at_least_once().properties(properties)).await;
    }

    async fn send(&self, topic: &str, payload: &[u8], options: PublishOptions) {
        let publish = async {
            loop {
                let notice = self.client.publish_tracked(topic, payload.to_vec(), options.clone()).await;
                if notice.expect("room").wait_completion_async().await.is_ok() {
                    return;
                }
            }
        };
        timeout(PATIENCE, publish).await.expect("timed out: a publish");
    }

    /// Ends without a word to the broker.
    pub async fn close(mut self) {
        self.task.shutdown().await;
    }
}
