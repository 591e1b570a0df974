//! The way to the broker: TCP, TLS where it is asked for, and an ear that keeps the few bytes which the client crate
//! does not understand.
//!
//! Invariant: with TLS the broker's certificate is verified for the host of its address, which is also sent as SNI.
//! Limit: four bytes are kept from the beginning, three from the end.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use rumqttc::{MqttOptions, NetworkOptions, default_socket_connect};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// The fixed header of a CONNACK without the properties that MQTT 5 demands.
const CONNACK_OF_3: [u8; 2] = [0x20, 2];
/// The first bytes of a TLS alert.
const TLS_ALERT: [u8; 2] = [0x15, 3];
/// A DISCONNECT that ends with its reason. The protocol allows it; the client crate waits for the rest.
const DISCONNECT_SHORT: [u8; 2] = [0xE0, 1];

/// Makes `options` go to the broker by our own way, with TLS if `tls` is there.
pub fn dial(options: &mut MqttOptions, host: &str, tls: Option<&Arc<ClientConfig>>) -> Heard {
    let heard = Heard::default();
    heard.with(|ends| ends.is_tls = tls.is_some());
    let (keep, host, tls) = (heard.clone(), host.to_owned(), tls.cloned());
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options.set_network_options(network).set_socket_connector(move |address, network| {
        let (heard, host, tls) = (keep.clone(), host.clone(), tls.clone());
        async move {
            let socket = default_socket_connect(address, network).await?;
            let stream: Box<dyn Stream> = match tls {
                None => Box::new(socket),
                Some(tls) => {
                    let name = ServerName::try_from(host).map_err(io::Error::other)?;
                    Box::new(TlsConnector::from(tls).connect(name, socket).await?)
                }
            };
            Ok(Listening { stream, heard })
        }
    });
    heard
}

/// The first and the last bytes of a connection. Clones are the same connection's.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<Mutex<Ends>>);

#[derive(Debug, Default)]
struct Ends {
    first: Vec<u8>,
    last: [u8; 3],
    is_tls: bool,
}

impl Heard {
    /// Whether the broker answered as one of MQTT 3.1.1 does.
    #[must_use]
    pub fn is_mqtt_3(&self) -> bool {
        self.with(|ends| ends.first.starts_with(&CONNACK_OF_3))
    }

    /// Whether TLS is spoken.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.with(|ends| ends.is_tls)
    }

    /// Whether the broker answered a plain connection with TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.with(|ends| ends.first.starts_with(&TLS_ALERT))
    }

    /// Whether the broker answered at all.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        self.with(|ends| ends.first.is_empty())
    }

    /// The reason of a short DISCONNECT, if the connection ended with one.
    #[must_use]
    pub fn short_disconnect(&self) -> Option<u8> {
        self.with(|ends| ends.last.starts_with(&DISCONNECT_SHORT).then_some(ends.last[2]))
    }

    fn add(&self, bytes: &[u8]) {
        self.with(|ends| {
            ends.first.extend(bytes.iter().take(4 - ends.first.len()));
            for byte in &bytes[bytes.len().saturating_sub(3)..] {
                ends.last.rotate_left(1);
                ends.last[2] = *byte;
            }
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut Ends) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

struct Listening {
    stream: Box<dyn Stream>,
    heard: Heard,
}

impl AsyncRead for Listening {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.heard.add(&buffer.filled()[before..]);
        }
        result
    }
}

impl AsyncWrite for Listening {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parts: &[&[u8]], mqtt_3: bool, tls: bool, disconnect: Option<u8>) {
        let heard = Heard::default();
        assert!(heard.is_silence());
        parts.iter().for_each(|part| heard.add(part));
        let seen = (heard.is_mqtt_3(), heard.is_tls(), heard.short_disconnect());
        assert_eq!(seen, (mqtt_3, tls, disconnect), "{parts:?}");
    }

    #[test]
    fn ends_of_connections() {
        check(&[&[0x20, 2, 0, 1]], true, false, None);
        check(&[&[0x20], &[2], &[0, 5]], true, false, None);
        check(&[&[0x20, 3, 0, 0, 0], &[0xE0, 1, 0x8E]], false, false, Some(0x8E));
        check(&[&[0x20, 3, 0, 0, 0, 0xE0], &[1, 0x8E]], false, false, Some(0x8E));
        check(&[&[0x20, 3, 0, 0, 0, 0xE0, 1, 0x8E, 0x30]], false, false, None);
        check(&[&[0x20, 3, 0, 0, 0, 0xE0, 2, 0x8E, 0]], false, false, None);
        check(&[&[0x15, 3, 1, 0, 2]], false, true, None);
    }
}
