//! A WebSocket client connection that carries texts.
//!
//! Limits: [`CONNECT_MAX`] until it is open, [`CLOSE_MAX`] for a farewell, and a message size that its user sets; a
//! larger one closes the connection with code 1009 and the reason. Control frames are answered while reading.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};

/// How long the name, the connection, TLS and the upgrade may take together.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long a farewell may take.
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// What one read takes from the system. The library's 128 KiB would be most of our memory with several connections.
const READ_BYTES: usize = 16 * 1024;

/// An open connection.
pub struct Socket {
    inner: WebSocketStream<MaybeTlsStream<TcpStream>>,
    message_bytes_max: usize,
}

/// Why a connection is not, or is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SocketError {
    /// It was not made.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The other side closed it.
    #[error("closed by the other side: {0}")]
    Closed(String),
    /// A message beyond the limit. The connection is of no use afterwards.
    #[error("a message of over {0} bytes")]
    TooLong(usize),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl Socket {
    /// Connects to a `ws://` or `wss://` address. `tls` is used for the latter.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn connect(
        url: &str,
        tls: Arc<ClientConfig>,
        message_bytes_max: usize,
    ) -> Result<Socket, SocketError> {
        let limits = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max));
        let connecting = connect_async_tls_with_config(url, Some(limits), true, Some(Connector::Rustls(tls)));
        match timeout(CONNECT_MAX, connecting).await {
            Ok(Ok((inner, _))) => Ok(Socket { inner, message_bytes_max }),
            Ok(Err(error)) => Err(SocketError::Connect(error.to_string())),
            Err(_) => Err(SocketError::Connect(format!("no answer within {} s", CONNECT_MAX.as_secs()))),
        }
    }

    /// Sends a text.
    ///
    /// # Errors
    /// When the connection is over.
    pub async fn send(&mut self, text: String) -> Result<(), SocketError> {
        self.inner.send(Message::text(text)).await.map_err(|error| self.error(error))
    }

    /// The next text. Nothing is lost when this is given up while it waits.
    ///
    /// # Errors
    /// When the connection is over.
    pub async fn receive(&mut self) -> Result<Utf8Bytes, SocketError> {
        loop {
            match self.inner.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Close(frame))) => {
                    let reason = frame.map(|frame| format!("{} {}", frame.code, frame.reason));
                    return Err(SocketError::Closed(reason.unwrap_or_else(|| "without a reason".into())));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(self.error(error)),
                None => return Err(SocketError::Closed("without a close frame".into())),
            }
        }
    }

    /// Says goodbye with a reason, at most 100 bytes of it, and hangs up.
    pub async fn close(mut self, error: Option<&SocketError>, reason: &str) {
        let code = match error {
            Some(SocketError::TooLong(_)) => CloseCode::Size,
            _ => CloseCode::Normal,
        };
        let reason: String = reason.chars().take(100).filter(char::is_ascii).collect();
        let frame = CloseFrame { code, reason: reason.into() };
        // Whoever does not listen any more needs no farewell.
        let _ = timeout(CLOSE_MAX, self.inner.close(Some(frame))).await;
    }

    fn error(&self, error: Error) -> SocketError {
        match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => {
                SocketError::TooLong(self.message_bytes_max)
            }
            Error::ConnectionClosed | Error::AlreadyClosed => {
                SocketError::Closed("without a close frame".into())
            }
            other => SocketError::Failed(other.to_string()),
        }
    }
}
