//! The connection of a client command to the broker: short, clean, without a will.
//!
//! The crate's event loop is not safe to cancel, so a task of its own polls it, as in the daemon. A connection that is
//! lost is the end of the command: nothing is tried again behind the user's back.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use rumqttc::{
    AsyncClient, Broker as Address, Event, EventLoop, Incoming, MqttOptions, PubAckReason,
    PublishNoticeError, PublishOptions, PublishResult, QoS, SubscribeFilterInput, SubscribeReasonCode,
};
use secrecy::ExposeSecret;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::exit::{Exit, Failure};
use crate::config::{Broker, Config};
use crate::daemon::mqtt::{Fault, Heard, dial};

/// How long the broker may take to accept the connection, and to acknowledge anything.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const KEEP_ALIVE_S: u16 = 15;
const PACKET_BYTES_MAX: u32 = 256 * 1024;
const REQUESTS_MAX: usize = 16;
/// Messages that are held while something else is waited for; beyond it the topics are not those of a daemon.
const HELD_MAX: usize = 10_000;

/// A message from the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: String,
}

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The broker has it.
    Accepted,
    /// The broker has it, and nobody subscribes to its topic.
    Unheard,
}

enum Wire {
    Connected,
    Message(Message),
    Lost(String),
}

/// An open connection.
pub struct Bus {
    address: String,
    client: AsyncClient,
    wire: mpsc::Receiver<Wire>,
    held: VecDeque<Message>,
    // Dropping the set ends the polling.
    _poller: JoinSet<()>,
}

/// Runs a command's conversation with the broker.
pub fn talk<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::INTERNAL, format!("cannot start: {error}")))?;
    let result = runtime.block_on(work);
    // A name that is still being looked up is not worth waiting for.
    runtime.shutdown_background();
    result
}

/// The broker's address in a configuration: the embedded broker is found where it listens.
pub fn address(config: &Config) -> String {
    let (host, port) = host_and_port(config);
    Broker::Tcp { host, port, tls: config.mqtt.tls.is_some() }.to_string()
}

fn host_and_port(config: &Config) -> (String, u16) {
    match &config.mqtt.broker {
        Broker::Embedded => {
            let listen = config.mqtt.embedded_listen;
            (listen.ip().to_string(), listen.port())
        }
        Broker::Tcp { host, port, .. } => (host.clone(), *port),
    }
}

impl Bus {
    /// Connects under a client id of this process's own, so that the daemon's connection is not taken over.
    ///
    /// # Errors
    /// [`Exit::UNAVAILABLE`], with the reason and the address.
    pub async fn connect(config: &Config) -> Result<Bus, Failure> {
        let address = address(config);
        let (options, heard) = options(config);
        let (client, event_loop) = AsyncClient::builder(options).capacity(REQUESTS_MAX).build();
        let (sender, mut wire) = mpsc::channel(REQUESTS_MAX);
        let mut poller = JoinSet::new();
        poller.spawn(poll(event_loop, heard, sender));
        let why = match timeout(ANSWER_WITHIN, wire.recv()).await {
            Ok(Some(Wire::Connected)) => {
                return Ok(Bus { address, client, wire, held: VecDeque::new(), _poller: poller });
            }
            Ok(Some(Wire::Lost(why))) => why,
            Ok(_) => "it does not speak MQTT 5".to_owned(),
            Err(_) => format!("no answer within {} s", ANSWER_WITHIN.as_secs()),
        };
        Err(Failure::unavailable(format!("cannot connect to the broker {address}: {why}")))
    }

    /// Subscribes and waits until the broker has granted it.
    ///
    /// # Errors
    /// [`Exit::UNAVAILABLE`] when the connection is lost, or a filter refused.
    pub async fn subscribe(&mut self, filters: &[String]) -> Result<(), Failure> {
        let inputs =
            filters.iter().map(|filter| SubscribeFilterInput::new(filter.as_str(), QoS::AtLeastOnce));
        let notice = self.client.try_subscribe_many_tracked(inputs);
        let notice = notice.map_err(|error| self.broken(format!("cannot subscribe: {error}")))?;
        let ack = self.answer(notice.wait_async()).await?;
        let ack = ack.map_err(|error| self.broken(format!("cannot subscribe: {error}")))?;
        for (filter, code) in filters.iter().zip(&ack.return_codes) {
            if !matches!(code, SubscribeReasonCode::Success(_)) {
                return Err(self.broken(format!("it refuses the subscription to {filter}: {code:?}")));
            }
        }
        Ok(())
    }

    /// Publishes with QoS 1, not retained, and waits until the broker has it.
    ///
    /// # Errors
    /// [`Exit::UNAVAILABLE`] when the connection is lost, or the publish refused.
    pub async fn publish(&mut self, topic: &str, payload: String) -> Result<Published, Failure> {
        self.send(topic, payload, PublishOptions::at_least_once()).await
    }

    /// Makes the broker forget what it retains on a topic, and waits until it has.
    ///
    /// # Errors
    /// [`Exit::UNAVAILABLE`] when the connection is lost, or the publish refused.
    pub async fn clear(&mut self, topic: &str) -> Result<(), Failure> {
        let options = PublishOptions::at_least_once().retained();
        self.send(topic, String::new(), options).await.map(|_| ())
    }

    async fn send(
        &mut self,
        topic: &str,
        payload: String,
        options: PublishOptions,
    ) -> Result<Published, Failure> {
        let notice = self.client.try_publish_tracked(topic, payload, options);
        let Ok(notice) = notice else { return Err(self.broken(format!("cannot publish to {topic}"))) };
        let reason = match self.answer(notice.wait_async()).await? {
            Ok(PublishResult::Qos1(ack)) => ack.reason,
            Ok(_) => PubAckReason::Success,
            Err(PublishNoticeError::V5PubAck(reason)) => reason,
            Err(error) => return Err(self.broken(format!("cannot publish to {topic}: {error}"))),
        };
        match reason {
            PubAckReason::Success => Ok(Published::Accepted),
            PubAckReason::NoMatchingSubscribers => Ok(Published::Unheard),
            reason => Err(self.broken(format!("it refuses the publish to {topic}: {reason:?}"))),
        }
    }

    /// The next message; `None` when none comes until `until`.
    ///
    /// # Errors
    /// [`Exit::UNAVAILABLE`] when the connection is lost.
    pub async fn next(&mut self, until: Instant) -> Result<Option<Message>, Failure> {
        if let Some(message) = self.held.pop_front() {
            return Ok(Some(message));
        }
        loop {
            let Ok(wire) = timeout_at(until, self.wire.recv()).await else { return Ok(None) };
            if let Some(message) = self.message(wire)? {
                return Ok(Some(message));
            }
        }
    }

    /// Takes leave, so that the broker does not log a lost client.
    pub async fn disconnect(mut self) {
        if self.client.try_disconnect_now().is_ok() {
            let gone = async { while !matches!(self.wire.recv().await, None | Some(Wire::Lost(_))) {} };
            // Late or not, the process ends now.
            let _ = timeout(Duration::from_millis(500), gone).await;
        }
    }

    /// Waits for an acknowledgement, holding the messages that come meanwhile.
    async fn answer<T>(&mut self, notice: impl Future<Output = T>) -> Result<T, Failure> {
        let mut notice = pin!(notice);
        let until = Instant::now() + ANSWER_WITHIN;
        loop {
            let wire = tokio::select! {
                biased;
                wire = timeout_at(until, self.wire.recv()) => wire,
                answer = &mut notice => return Ok(answer),
            };
            let Ok(wire) = wire else {
                return Err(self.broken(format!("no answer within {} s", ANSWER_WITHIN.as_secs())));
            };
            let message = self.message(wire)?;
            self.held.extend(message);
            if self.held.len() > HELD_MAX {
                return Err(self.broken(format!("it sends more than {HELD_MAX} messages at once")));
            }
        }
    }

    fn message(&self, wire: Option<Wire>) -> Result<Option<Message>, Failure> {
        match wire {
            Some(Wire::Message(message)) => Ok(Some(message)),
            Some(Wire::Connected) => Ok(None),
            Some(Wire::Lost(why)) => Err(self.broken(why)),
            None => Err(self.broken("the connection ended".to_owned())),
        }
    }

    fn broken(&self, why: String) -> Failure {
        Failure::unavailable(format!("broker {}: {why}", self.address))
    }
}

fn options(config: &Config) -> (MqttOptions, Heard) {
    let (host, port) = host_and_port(config);
    let client_id = format!("{}-cli-{}", config.instance, std::process::id());
    let mut options = MqttOptions::new(client_id, Address::tcp(host.as_str(), port));
    let heard = dial(&mut options, &host, config.mqtt.tls.as_ref().map(|tls| &tls.client));
    options
        .set_clean_start(true)
        .set_keep_alive(KEEP_ALIVE_S)
        .set_connect_timeout(ANSWER_WITHIN)
        // The crate's default would allocate 16 MB.
        .set_outgoing_inflight_upper_limit(REQUESTS_MAX as u16)
        .set_max_packet_size(Some(PACKET_BYTES_MAX));
    if let Some(username) = &config.mqtt.username {
        let password = config.mqtt.password.as_ref().map_or("", |password| password.value.expose_secret());
        options.set_credentials(username.clone(), password.to_owned());
    }
    (options, heard)
}

async fn poll(mut event_loop: EventLoop, heard: Heard, wire: mpsc::Sender<Wire>) {
    loop {
        let message = match event_loop.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(_))) => Wire::Connected,
            Ok(Event::Incoming(Incoming::Publish(publish))) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                Wire::Message(Message { topic: text(&publish.topic), payload: text(&publish.payload) })
            }
            Ok(_) => continue,
            Err(error) => Wire::Lost(Fault::new(&error, &heard).text()),
        };
        let lost = matches!(message, Wire::Lost(_));
        if wire.send(message).await.is_err() || lost {
            return;
        }
    }
}
