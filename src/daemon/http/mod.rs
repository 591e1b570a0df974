//! HTTP: what MQTT says can be read here, and what it accepts can be sent.
//!
//! It runs on a thread of its own, so that neither a thousand readers nor a slow one takes time from the engine loop.
//! Live values come from the [`Board`], which holds the bytes that went to the outbox: they cannot differ from MQTT's,
//! and reading them asks nobody. History comes from the query store, on two more threads that may wait for the disk.
//! Commands go into the loop's inbox and are answered by the committing thread, after they are on disk.
//!
//! Limits, all in [`Limits`]: connections, streams, questions at once, sizes and times. What is beyond one is refused
//! by its name. Together the connections stay below what the process may open, so that the journal always can.

mod access;
mod command;
mod history;
mod metrics;
mod page;
mod params;
mod patient;
mod problem;
mod routes;
mod server;
mod state;
mod stream;
mod webhook;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::board::Board;
use super::caller::Command;
use super::figures::Figures;
use super::indexer::Indexer;
use crate::config::HttpConfig;
use crate::message::daemon::Health;
use crate::message::topic::Topics;
use crate::message::tradingview::AllSettings;
use crate::model::ids::{StrategyId, StrategyType};
use access::Access;
use metrics::Requests;
use webhook::Guesses;

pub use routes::{OPENAPI, ROUTES};
pub use server::HttpServer;

/// Bytes that the system holds for a peer that takes them slowly; Linux doubles it.
const SEND_BYTES: u32 = 64 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;

/// What may be asked of the interface at once, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections that are not streams; the next is told so and closed.
    pub connections: usize,
    /// Streams.
    pub streams: usize,
    /// Questions of the history that run or wait.
    pub questions: usize,
    /// For a request's head, and between two requests.
    pub head: Duration,
    /// For a request's body.
    pub body: Duration,
    /// For a peer to take what is written to it.
    pub write: Duration,
    /// For the answer to a command, on disk.
    pub answer: Duration,
    /// Between two signs of life of a stream's peer that are asked for.
    pub ping: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 200,
            streams: 1_000,
            questions: 16,
            head: Duration::from_secs(10),
            body: Duration::from_secs(10),
            write: Duration::from_secs(20),
            answer: Duration::from_secs(10),
            ping: Duration::from_secs(30),
        }
    }
}

/// What the interface works with.
pub struct HttpContext {
    /// Who may do what.
    pub config: HttpConfig,
    /// What MQTT shows.
    pub board: Arc<Board>,
    /// Answers questions of the history.
    pub history: Indexer,
    /// To the engine loop.
    pub commands: mpsc::Sender<Command>,
    /// To the engine loop, which tells how the daemon is.
    pub ask: mpsc::Sender<oneshot::Sender<Health>>,
    /// Counts for the operator.
    pub figures: Arc<Figures>,
    /// How topics are called.
    pub topics: Topics,
    /// The configured strategies and their types.
    pub strategies: BTreeMap<StrategyId, StrategyType>,
    /// How alerts are read.
    pub alerts: AllSettings,
    /// What may be asked at once.
    pub limits: Limits,
}

/// The context and what only the interface knows.
struct Shared {
    context: HttpContext,
    access: Access,
    requests: Requests,
    guesses: Guesses,
    questions: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    /// The number of the board's latest change.
    changes: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
}

/// Takes the address; nothing is answered yet. `any_port` takes another one when it is occupied. Needs a runtime.
///
/// # Errors
/// When it cannot be taken.
pub fn bind(listen: SocketAddr, any_port: bool) -> std::io::Result<TcpListener> {
    match open(listen) {
        Err(error) if any_port && error.kind() == std::io::ErrorKind::AddrInUse => {
            tracing::warn!(%listen, "the port is taken, another one is used");
            open(SocketAddr::new(listen.ip(), 0))
        }
        other => other,
    }
}

fn open(listen: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Connections inherit it. The system's own choice would be megabytes for each client that takes nothing.
    socket.set_send_buffer_size(SEND_BYTES)?;
    socket.bind(listen)?;
    socket.listen(BACKLOG)?.into_std()
}

/// Waits until the daemon stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody can stop it any more, so it has.
    let _ = stop.wait_for(|stop| *stop).await;
}
