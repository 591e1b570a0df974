//! The MQTT client: topics and bytes between the broker, the outbox and the daemon.
//!
//! Invariants: every connection is a fresh client, so nothing of an old one is ever sent, and the outbox alone decides
//! what is due (`session.rs` says why). Nothing here makes a producer wait. An inbound message is acknowledged to the
//! broker only when the daemon says so, in the order of receipt; what is not acknowledged comes again after a
//! reconnect.
//!
//! Limits: 64 publishes in flight (fewer when the broker says so), 256 inbound messages without acknowledgement,
//! packets of 256 KiB, 5 s to connect, reconnects after 1, 2, 4, ... 60 s, and after 5 minutes when another client has
//! our id. A full inbound channel stops the reading, which stops the broker.

mod acks;
mod dial;
mod fault;
mod notice;
mod options;
mod outbound;
mod probe;
mod session;
mod supervise;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use rumqttc::{ManualAck, PubAck};
use secrecy::SecretString;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::rustls::ClientConfig;

pub use acks::AckToken;
use acks::SharedAcks;
pub use dial::{Heard, dial};
pub use fault::Fault;
use notice::Notices;
pub use notice::{NOTICES_MAX, Notice, tell_alerts};

use super::outbox::OutboxHandle;
use crate::message::topic::Topics;

/// Below the base topic: `online` on connect, `offline` by the will and at shutdown, retained.
const STATE: &str = "daemon/state";
/// Below the base topic, retained: who connected last.
const INFO: &str = "daemon/info";
/// Below the base topic: the self-test.
const PROBE: &str = "daemon/probe";

/// Where the broker is and how to speak to it.
#[derive(Debug)]
pub struct MqttConfig {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Fixed and unique for each instance: a second client with it ends the first one's connection.
    pub client_id: String,
    /// User name, if the broker wants one.
    pub username: Option<String>,
    /// Password, never logged.
    pub password: Option<SecretString>,
    /// For TLS; `None` is plain TCP.
    pub tls: Option<Arc<ClientConfig>>,
    /// Topic filters of commands and signals, subscribed on every connect with QoS 1.
    pub command_filters: Vec<String>,
    /// How our topics are called.
    pub topics: Topics,
    /// How long the broker queues for us while we are away, in seconds; 86,400 is the usual.
    pub session_expiry_s: u32,
    /// Seconds of silence until a ping; a dead link is noticed within twice that. From 1, usually 15.
    pub keep_alive_s: u16,
}

/// A message from the broker.
#[derive(Debug)]
pub struct Inbound {
    /// Where it was published.
    pub topic: String,
    /// Its bytes, at most 256 KiB.
    pub payload: Vec<u8>,
    /// Whether its publisher retained it, also when it arrives live.
    pub retain: bool,
    /// MQTT 5 response topic.
    pub response_topic: Option<String>,
    /// MQTT 5 correlation data.
    pub correlation: Option<Vec<u8>>,
    /// For [`Bus::ack`] once the message is dealt with.
    pub ack: AckToken,
}

/// How the connection is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BusStatus {
    /// Whether the broker accepted the connection and it has not been lost.
    pub connected: bool,
    /// Whether the broker still had our session at the last connect.
    pub session_present: bool,
    /// Connections after the first.
    pub reconnects: u64,
    /// Connections at which the broker had no session of ours.
    pub sessions_begun: u64,
    /// What went wrong last, without secrets; stays after the recovery.
    pub last_error: Option<String>,
    /// How long our last own message took to the broker and back; `None` while that is not known.
    pub round_trip: Option<Duration>,
    /// The client ended, by [`Bus::shutdown`].
    pub stopped: bool,
}

/// Why the client does not start.
#[derive(Debug, thiserror::Error)]
pub enum MqttError {
    /// A value of the configuration cannot be used.
    #[error("mqtt: {0}")]
    Config(String),
    /// The system has no randomness.
    #[error("mqtt: random numbers: {0}")]
    Random(getrandom::Error),
}

/// The daemon's hold on the client.
#[derive(Debug, Clone)]
pub struct Bus {
    acks: Arc<SharedAcks>,
    status: watch::Receiver<BusStatus>,
    stop: watch::Sender<Option<Instant>>,
}

/// The broker's end of [`Bus::detached`].
#[derive(Debug)]
pub struct Wire {
    acks: Arc<SharedAcks>,
    status: watch::Sender<BusStatus>,
}

impl Wire {
    /// A new connection, at which the broker still has our session or not.
    pub fn connect(&self, session_present: bool) {
        self.acks.begin();
        self.status.send_modify(|status| {
            status.reconnects += u64::from(status.sessions_begun > 0);
            status.sessions_begun += u64::from(!session_present || status.sessions_begun == 0);
            (status.connected, status.session_present) = (true, session_present);
        });
    }

    /// Delivers a message with a packet id.
    pub fn issue(&self, packet: u16) -> AckToken {
        self.acks.issue(Some(ManualAck::PubAck(PubAck::new(packet, None))))
    }

    /// The packet id of the next acknowledgement that arrives.
    pub fn acknowledged(&self) -> Option<u16> {
        match self.acks.next()? {
            ManualAck::PubAck(ack) => Some(ack.pkid),
            ManualAck::PubRec(ack) => Some(ack.pkid),
        }
    }
}

/// What the client's tasks share with its [`Bus`].
struct Context {
    config: MqttConfig,
    outbox: OutboxHandle,
    inbound: mpsc::Sender<Inbound>,
    acks: Arc<SharedAcks>,
    status: watch::Sender<BusStatus>,
    stop: watch::Receiver<Option<Instant>>,
    notices: Notices,
    /// Names this run of the daemon in its self-test.
    run: String,
}

/// Starts the client inside the current tokio runtime. Its task ends after [`Bus::shutdown`], or when all handles are
/// gone. What a person should know comes out of `notices`, whose receiver may be slow.
///
/// # Errors
/// [`MqttError::Config`] for an empty host or client id, a bad topic or filter, or a keep-alive of 0.
pub fn start(
    config: MqttConfig,
    outbox: OutboxHandle,
    inbound: mpsc::Sender<Inbound>,
    notices: mpsc::Sender<Notice>,
) -> Result<(Bus, JoinHandle<()>), MqttError> {
    options::check(&config)?;
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(MqttError::Random)?;
    let run = data_encoding::HEXLOWER.encode(&random);
    let notices = Notices::new(notices);
    let acks = Arc::new(SharedAcks::default());
    let (status, status_seen) = watch::channel(BusStatus::default());
    let (stop_sender, stop) = watch::channel(None);
    let context = Context { config, outbox, inbound, acks: Arc::clone(&acks), status, stop, notices, run };
    let task = tokio::spawn(supervise::run(context));
    Ok((Bus { acks, status: status_seen, stop: stop_sender }, task))
}

impl Bus {
    /// A hold on no client: whoever has the other end stands in for the broker.
    pub(super) fn detached() -> (Bus, Wire) {
        let acks = Arc::new(SharedAcks::default());
        let (status, status_seen) = watch::channel(BusStatus::default());
        let (stop, _) = watch::channel(None);
        (Bus { acks: Arc::clone(&acks), status: status_seen, stop }, Wire { acks, status })
    }

    /// Acknowledges a message to the broker. It leaves when all earlier ones of the connection are acknowledged too;
    /// a token of an earlier connection is ignored, because its message comes again. Never blocks.
    pub fn ack(&self, token: AckToken) {
        self.acks.done(token);
    }

    /// The status now and its changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<BusStatus> {
        self.status.clone()
    }

    /// Publishes what is pending and then `offline`, and disconnects, all within `bound` (a quarter of it is kept for
    /// `offline`). What did not leave stays in the outbox. Inbound messages are no longer delivered.
    pub async fn shutdown(&self, bound: Duration) {
        self.stop.send_replace(Some(Instant::now() + bound));
        let mut status = self.status.clone();
        // An error means that the task is gone, which is what this waits for.
        let _ = tokio::time::timeout(bound * 2, status.wait_for(|status| status.stopped)).await;
    }
}
