//! Keeps one stream alive for as long as it is wanted: connects, pings, and starts again.
//!
//! Any inbound frame is a sign of life. After a while without one the venue is asked; without an answer in the same
//! time the connection is dead, however open it looks. Reconnects wait 1, 2, 4, ... 60 s with jitter, and no two
//! connections of this process begin within [`CONNECT_DISTANCE`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_rustls::rustls::ClientConfig;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::daemon::backoff::backoff;
use crate::daemon::websocket::{Socket, SocketError};
use crate::venue::blofin::FRAME_BYTES_MAX;
use crate::venue::blofin::request::PING;

/// Time between the beginnings of two connections. The venue takes one a second from an address.
pub const CONNECT_DISTANCE: Duration = Duration::from_millis(1_100);
/// A ping leaves at least this often: the venue hangs up after 30 s of silence.
pub const PING_EVERY: Duration = Duration::from_secs(17);

/// When the last connection of this process began.
#[derive(Debug, Default)]
pub struct Gate(Mutex<Option<Instant>>);

impl Gate {
    /// Waits for its turn.
    async fn pass(&self) {
        let mut last = self.0.lock().await;
        if let Some(last) = *last {
            sleep_until(last + CONNECT_DISTANCE).await;
        }
        *last = Some(Instant::now());
    }
}

/// What a stream is made of.
#[derive(Clone, Debug)]
pub struct Link {
    /// Where it goes.
    pub url: String,
    /// TLS for `wss://`.
    pub tls: Arc<ClientConfig>,
    /// Time without a frame until the venue is asked, and again until the connection counts as dead.
    pub patience: Duration,
    /// Spaces out connections.
    pub gate: Arc<Gate>,
}

/// What a stream says.
#[derive(Clone, Debug)]
pub enum LinkEvent {
    /// It is connected, and nothing is subscribed to yet.
    Up,
    /// A frame.
    Text(Utf8Bytes),
    /// It is not connected: why, and when it is tried again.
    Down(SocketError, Duration),
}

/// Runs until nobody takes its events. `frames` are sent as soon as they come; those that came before
/// [`LinkEvent::Up`] are not.
pub async fn keep(link: Link, mut frames: mpsc::Receiver<String>, events: mpsc::Sender<LinkEvent>) {
    let mut attempt = 0;
    for round in 0.. {
        link.gate.pass().await;
        let begun = Instant::now();
        let error = match Socket::connect(&link.url, Arc::clone(&link.tls), FRAME_BYTES_MAX).await {
            Err(error) => error,
            Ok(mut socket) => {
                let Err(ended) = session(&link, &mut socket, &mut frames, &events).await;
                let Some(error) = ended else {
                    socket.close(None, "going away").await;
                    return;
                };
                // A connection that lasted longer than we would have waited for it was a good one.
                if begun.elapsed() > backoff(attempt, round) {
                    attempt = 0;
                }
                socket.close(Some(&error), &error.to_string()).await;
                error
            }
        };
        let wait = backoff(attempt, round);
        attempt = attempt.saturating_add(1);
        if events.send(LinkEvent::Down(error, wait)).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep(wait) => {}
            () = events.closed() => return,
        }
    }
}

/// One connection. Ends with why it is over, or with nothing when nobody listens any more.
async fn session(
    link: &Link,
    socket: &mut Socket,
    frames: &mut mpsc::Receiver<String>,
    events: &mpsc::Sender<LinkEvent>,
) -> Result<std::convert::Infallible, Option<SocketError>> {
    // What was meant for the last connection is of no use to this one.
    while frames.try_recv().is_ok() {}
    events.send(LinkEvent::Up).await.map_err(|_| None)?;
    let mut heard = Instant::now();
    let mut pinged = heard;
    let mut awaited: Option<Instant> = None;
    loop {
        let due = match awaited {
            Some(asked) => asked + link.patience,
            None => (heard + link.patience).min(pinged + PING_EVERY),
        };
        tokio::select! {
            biased;
            text = socket.receive() => {
                heard = Instant::now();
                awaited = None;
                events.send(LinkEvent::Text(text.map_err(Some)?)).await.map_err(|_| None)?;
            }
            () = events.closed() => return Err(None),
            Some(frame) = frames.recv() => socket.send(frame).await.map_err(Some)?,
            () = sleep_until(due) => {
                if awaited.is_some() {
                    let silence = heard.elapsed().as_millis();
                    return Err(Some(SocketError::Failed(format!("silent for {silence} ms, also when asked"))));
                }
                socket.send(PING.to_owned()).await.map_err(Some)?;
                pinged = Instant::now();
                awaited = Some(pinged);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connections_keep_their_distance() {
        let gate = Gate::default();
        let start = Instant::now();
        for turn in 0..4 {
            gate.pass().await;
            assert_eq!(start.elapsed(), CONNECT_DISTANCE * turn);
        }
    }
}
