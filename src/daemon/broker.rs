//! The broker for `broker = "embedded"`: for trying out, never for live keys.
//!
//! Limits (measured, see the operations guide): the loopback address only, anonymous, nothing on disk, 64 clients,
//! packets of 256 KiB, 5,000 retained messages, 1,000 queued messages and 4 MiB per client, sessions of one day.

use std::net::SocketAddr;
use std::time::Duration;

use mqtt5::broker::config::{BrokerConfig, StorageBackend, StorageConfig};
use mqtt5::broker::{BrokerShutdownHandle, MqttBroker};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const PACKET_BYTES_MAX: usize = 256 * 1024;
const QUEUED_BYTES_MAX: usize = 4 * 1024 * 1024;
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// Why the broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Without an access list it must not be reachable from outside.
    #[error("embedded broker: {0} is not a loopback address; use 127.0.0.1, or a broker with access control")]
    NotLoopback(SocketAddr),
    /// Usually another broker.
    #[error("embedded broker: cannot listen on {address}: {source}; is a broker running there already?")]
    Occupied {
        /// Where it should have listened.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The broker's own refusal.
    #[error("embedded broker on {address}: {text}")]
    Start {
        /// Where it should have listened.
        address: SocketAddr,
        /// What it said.
        text: String,
    },
}

/// A running broker; dropping it stops it too, without waiting.
pub struct EmbeddedBroker {
    address: SocketAddr,
    shutdown: BrokerShutdownHandle,
    task: JoinHandle<()>,
}

impl EmbeddedBroker {
    /// Listens on `listen` (port 0: a free port, see [`EmbeddedBroker::local_addr`]) inside the current runtime.
    ///
    /// # Errors
    /// [`BrokerError`], which names the address.
    pub async fn start(listen: SocketAddr) -> Result<Self, BrokerError> {
        if !listen.ip().is_loopback() {
            return Err(BrokerError::NotLoopback(listen));
        }
        // The crate reports a failed bind as text only, so the system's own error is asked for first.
        let probe = TcpListener::bind(listen).await;
        drop(probe.map_err(|source| BrokerError::Occupied { address: listen, source })?);
        let failed = |text: String| BrokerError::Start { address: listen, text };
        let mut broker =
            MqttBroker::with_config(config(listen)).await.map_err(|error| failed(error.to_string()))?;
        let address = broker.local_addr().ok_or_else(|| failed("it has no address".into()))?;
        let shutdown = broker.shutdown_handle();
        let mut ready = broker.ready_receiver();
        let task = tokio::spawn(async move {
            if let Err(error) = broker.run().await {
                tracing::error!(%error, "the embedded broker ended");
            }
        });
        ready.wait_for(|ready| *ready).await.map_err(|_| failed("it ended while starting".into()))?;
        Ok(Self { address, shutdown, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections and the port; within 2 s.
    pub async fn stop(mut self) {
        self.shutdown.shutdown();
        // Late or not, dropping the handle's owner below ends what is left.
        let _ = tokio::time::timeout(STOP_WITHIN, &mut self.task).await;
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        self.shutdown.shutdown();
        self.task.abort();
    }
}

fn config(listen: SocketAddr) -> BrokerConfig {
    let storage = StorageConfig::new()
        .with_backend(StorageBackend::Memory)
        .with_max_queued_messages_per_client(1_000)
        .with_max_queued_bytes_per_client(QUEUED_BYTES_MAX);
    BrokerConfig::new()
        .with_bind_address(listen)
        .with_max_clients(64)
        .with_session_expiry(Duration::from_secs(86_400))
        .with_max_packet_size(PACKET_BYTES_MAX)
        .with_max_retained_messages(5_000)
        .with_client_channel_capacity(4_096)
        .with_server_receive_maximum(64)
        .with_sys_topics_enabled(false)
        .with_storage(storage)
}
