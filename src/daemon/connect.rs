//! The broker and the client, started: the embedded broker first, on whose port the client then calls.

use std::net::SocketAddr;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::clock::Clock;
use super::mqtt::{self, Bus};
use super::options::{RunError, RunOptions};
use super::outbox::OutboxHandle;
use crate::config::{Broker, Config};
use crate::message::topic::Topics;

/// Messages from the bus that wait for the engine; then the broker waits.
const INBOUND_MAX: usize = 64;
/// Seconds of silence until a ping.
const KEEP_ALIVE_S: u16 = 15;

/// The client's task.
pub type Client = JoinHandle<()>;

/// The embedded broker, if it is configured, and where it listens.
#[cfg(feature = "embedded-broker")]
pub(super) async fn embedded(
    config: &Config,
    options: &RunOptions,
) -> Result<(Option<super::broker::EmbeddedBroker>, Option<SocketAddr>), RunError> {
    use super::broker::{BrokerError, EmbeddedBroker};
    if config.mqtt.broker != Broker::Embedded {
        return Ok((None, None));
    }
    let mut listen = config.mqtt.embedded_listen;
    let mut started = EmbeddedBroker::start(listen).await;
    if options.any_port && matches!(started, Err(BrokerError::Occupied { .. })) {
        tracing::warn!(%listen, "the port is taken, another one is used");
        listen.set_port(0);
        started = EmbeddedBroker::start(listen).await;
    }
    let broker = started.map_err(|error| RunError::Broker(error.to_string()))?;
    let address = broker.local_addr();
    tracing::info!(%address, "embedded broker");
    Ok((Some(broker), Some(address)))
}

/// Says on which ports, where somebody waits for that.
pub(super) fn greet(options: &RunOptions, address: Option<SocketAddr>, http: Option<SocketAddr>) {
    if let Some(greeting) = &options.greeting {
        let port = address.map_or(1883, |address| address.port());
        let http = http.map_or_else(String::new, |http| http.to_string());
        println!("{}", greeting.replace("{port}", &port.to_string()).replace("{http}", &http));
    }
}

/// The client, what it receives, and the task that makes alerts of its notices.
pub(super) fn start_client(
    config: &Config,
    topics: &Topics,
    embedded: Option<SocketAddr>,
    outbox: &OutboxHandle,
    clock: &Clock,
) -> Result<(mpsc::Receiver<mqtt::Inbound>, Bus, Client), RunError> {
    let (inbound_sender, inbound) = mpsc::channel(INBOUND_MAX);
    let (notice_sender, notices) = mpsc::channel(mqtt::NOTICES_MAX);
    let client = client_config(config, topics, embedded);
    let (bus, client) = mqtt::start(client, outbox.clone(), inbound_sender, notice_sender)?;
    let config = config.clone();
    let certificates = move |now| config.certificate_warnings(now);
    tokio::spawn(mqtt::tell_alerts(notices, outbox.clone(), topics.clone(), clock.clone(), certificates));
    Ok((inbound, bus, client))
}

fn client_config(config: &Config, topics: &Topics, embedded: Option<SocketAddr>) -> mqtt::MqttConfig {
    let (host, port) = match (&config.mqtt.broker, embedded) {
        (Broker::Tcp { host, port, .. }, _) => (host.clone(), *port),
        (Broker::Embedded, Some(address)) => (address.ip().to_string(), address.port()),
        (Broker::Embedded, None) => {
            let listen = config.mqtt.embedded_listen;
            (listen.ip().to_string(), listen.port())
        }
    };
    mqtt::MqttConfig {
        host,
        port,
        client_id: config.instance.clone(),
        username: config.mqtt.username.clone(),
        password: config.mqtt.password.as_ref().map(|secret| secret.value.clone()),
        command_filters: topics.commands().into_iter().chain(config.mqtt.birth_topic.clone()).collect(),
        tls: config.mqtt.tls.as_ref().map(|tls| tls.client.clone()),
        topics: topics.clone(),
        session_expiry_s: config.mqtt.session_expiry_s,
        keep_alive_s: KEEP_ALIVE_S,
    }
}
