//! The public stream: subscriptions, the text ping, and data frames with their faults.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{Order, SILENCE_MAX, SUBSCRIBE_BYTES_MAX, Shared, StreamFault};

/// How often a socket is looked at once more before its client counts as silent.
const LOOKS: usize = 10_000;

/// What a client says within [`SILENCE_MAX`], or `None`. Virtual time may jump there while a ping is on its way through
/// the kernel of a busy machine: such a ping is still heard.
pub(super) async fn heard(socket: &mut WebSocketStream<TcpStream>) -> Option<Option<Result<Message, Error>>> {
    if let Ok(inbound) = tokio::time::timeout(SILENCE_MAX, socket.next()).await {
        return Some(inbound);
    }
    for _ in 0..LOOKS {
        std::thread::yield_now();
        tokio::task::yield_now().await;
        if let Some(inbound) = socket.next().now_or_never() {
            return Some(inbound);
        }
    }
    None
}

/// A topic: channel and pair.
type Topic = (String, String);

pub(super) async fn serve(socket: TcpStream, shared: &Arc<Shared>) {
    if too_soon(shared) {
        shared.violated("two new connections within a second".into());
        return;
    }
    if *shared.no_streams.borrow() {
        return;
    }
    let Ok(socket) = tokio_tungstenite::accept_async(socket).await else { return };
    let (orders_in, orders) = mpsc::unbounded_channel();
    shared.state().clients.push(orders_in);
    shared.count(|stats| {
        stats.connections += 1;
        stats.open += 1;
    });
    let mut client = Client { socket, shared: Arc::clone(shared), topics: BTreeSet::new(), held: Vec::new() };
    client.run(orders).await;
}

/// Whether the last connection was less than a second ago.
pub(super) fn too_soon(shared: &Shared) -> bool {
    let now = Instant::now();
    let before = shared.state().connected.replace(now);
    before.is_some_and(|before| now.duration_since(before) < Duration::from_secs(1))
}

struct Client {
    socket: WebSocketStream<TcpStream>,
    shared: Arc<Shared>,
    topics: BTreeSet<Topic>,
    held: Vec<String>,
}

/// Also when it is cut off in the middle of something.
impl Drop for Client {
    fn drop(&mut self) {
        let topics = self.topics.len();
        self.shared.count(|stats| {
            stats.open -= 1;
            stats.topics -= topics;
        });
    }
}

impl Client {
    async fn run(&mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut frozen = self.shared.frozen.subscribe();
        loop {
            if *frozen.borrow_and_update() {
                // What the client sends meanwhile is left unread.
                if frozen.wait_for(|frozen| !frozen).await.is_err() {
                    return;
                }
            }
            let going_on = tokio::select! {
                biased;
                changed = frozen.changed() => changed.is_ok(),
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => false,
                },
                inbound = heard(&mut self.socket) => match inbound {
                    Some(Some(Ok(message))) => self.hear(message).await,
                    Some(_) => false,
                    None => {
                        self.shared.violated("no ping within 30 s".into());
                        false
                    }
                },
            };
            if !going_on {
                return;
            }
        }
    }

    async fn hear(&mut self, message: Message) -> bool {
        match message {
            Message::Text(text) if text.as_str() == "ping" => {
                self.shared.count(|stats| stats.pings += 1);
                self.send("pong".into()).await
            }
            Message::Text(text) => self.subscribe(text.as_str()).await,
            Message::Close(frame) => {
                let reason = frame.map(|frame| frame.reason.to_string()).unwrap_or_default();
                self.shared.count(|stats| stats.closed_because.push(reason));
                // Reading on lets the library answer the close frame.
                true
            }
            _ => true,
        }
    }

    async fn subscribe(&mut self, text: &str) -> bool {
        let refusal = |text: &str| {
            let words = serde_json::to_string(&format!("Invalid request: {text}")).expect("a text");
            format!(r#"{{"event":"error","code":"60012","msg":{words}}}"#)
        };
        if text.len() > SUBSCRIBE_BYTES_MAX {
            self.shared.violated(format!("a subscription of {} bytes", text.len()));
            return self.send(refusal("too long")).await;
        }
        let Ok(request) = serde_json::from_str::<serde_json::Value>(text) else {
            return self.send(refusal(text)).await;
        };
        let op = request["op"].as_str().unwrap_or_default().to_owned();
        let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        for arg in request["args"].as_array().cloned().unwrap_or_default() {
            let topic = (word(&arg["channel"]), word(&arg["instId"]));
            if !self.shared.state().markets.contains_key(&topic.1) {
                if !self.send(refusal(text)).await {
                    return false;
                }
                continue;
            }
            let changed = match op.as_str() {
                "subscribe" => self.topics.insert(topic),
                _ => self.topics.remove(&topic),
            };
            if changed && op == "subscribe" {
                self.shared.count(|stats| stats.topics += 1);
            } else if changed {
                self.shared.count(|stats| stats.topics -= 1);
            }
            if !self.send(format!(r#"{{"event":"{op}","arg":{arg}}}"#)).await {
                return false;
            }
        }
        true
    }

    async fn obey(&mut self, order: Order) -> bool {
        match order {
            Order::Push { channel, pair, frame } => match self.topics.contains(&(channel, pair)) {
                true => self.push(frame).await,
                false => true,
            },
            Order::Raw(frame) => self.send(frame).await,
            Order::Close { with_frame: true } => {
                let frame = CloseFrame { code: CloseCode::Away, reason: "maintenance".into() };
                let _ = self.socket.close(Some(frame)).await;
                false
            }
            Order::Close { with_frame: false } => false,
        }
    }

    /// Sends a data frame as the present fault wants it.
    async fn push(&mut self, frame: String) -> bool {
        let mut frames = vec![frame];
        {
            let mut state = self.shared.state();
            let fault = state.stream_faults.front_mut();
            let (left, done) = match fault {
                None => (0, false),
                Some(
                    StreamFault::Drop(left)
                    | StreamFault::Repeat(left)
                    | StreamFault::Reorder(left)
                    | StreamFault::Delay(left)
                    | StreamFault::Garbage(left),
                ) => {
                    *left = left.saturating_sub(1);
                    (*left, *left == 0)
                }
            };
            match state.stream_faults.front() {
                None => {}
                Some(StreamFault::Drop(_)) => frames.clear(),
                Some(StreamFault::Repeat(_)) => frames.push(frames[0].clone()),
                Some(StreamFault::Garbage(_)) => frames.insert(0, "\u{1}{\"arg\":".into()),
                Some(StreamFault::Delay(_)) => {
                    self.held.append(&mut frames);
                    frames = if left == 0 { std::mem::take(&mut self.held) } else { Vec::new() };
                }
                Some(StreamFault::Reorder(_)) => {
                    self.held.insert(0, frames.remove(0));
                    frames = if left == 0 { std::mem::take(&mut self.held) } else { Vec::new() };
                }
            }
            if done {
                state.stream_faults.pop_front();
            }
        }
        for frame in frames {
            self.shared.count(|stats| stats.frames += 1);
            if !self.send(frame).await {
                return false;
            }
        }
        true
    }

    async fn send(&mut self, text: String) -> bool {
        self.socket.send(Message::text(text)).await.is_ok()
    }
}
