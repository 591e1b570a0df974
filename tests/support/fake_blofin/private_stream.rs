//! The private stream: login with a signature, subscriptions, and what changes in the account.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::private_rest::{gossip, sign};
use super::{Chaos, Shared, now_ms, stream};

/// For a private stream: rows of a channel, or its end.
#[derive(Clone, Debug)]
pub(super) enum PrivateOrder {
    Push {
        key: String,
        channel: &'static str,
        row: Value,
    },
    /// As it is, whatever is subscribed to.
    Raw(String),
    Close,
}

pub(super) async fn serve(socket: TcpStream, shared: &Arc<Shared>) {
    if stream::too_soon(shared) {
        shared.violated("two new connections within a second".into());
        return;
    }
    let Ok(socket) = tokio_tungstenite::accept_async(socket).await else { return };
    let (orders_in, orders) = mpsc::unbounded_channel();
    shared.state().private_clients.push(orders_in);
    shared.count(|stats| {
        stats.private_connections += 1;
        stats.private_open += 1;
    });
    let mut client = Client { socket, shared: Arc::clone(shared), key: None, channels: BTreeSet::new() };
    client.run(orders).await;
    let subscribed = !client.channels.is_empty();
    shared.count(|stats| {
        stats.private_open -= 1;
        stats.private_subscribed -= usize::from(subscribed);
    });
}

struct Client {
    socket: WebSocketStream<TcpStream>,
    shared: Arc<Shared>,
    key: Option<String>,
    channels: BTreeSet<String>,
}

impl Client {
    async fn run(&mut self, mut orders: mpsc::UnboundedReceiver<PrivateOrder>) {
        loop {
            let going_on = tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(PrivateOrder::Push { key, channel, row }) => self.push(&key, channel, row).await,
                    Some(PrivateOrder::Raw(frame)) => self.send(frame).await,
                    Some(PrivateOrder::Close) | None => false,
                },
                inbound = stream::heard(&mut self.socket) => match inbound {
                    Some(Some(Ok(Message::Text(text)))) if text.as_str() == "ping" => self.send("pong".into()).await,
                    Some(Some(Ok(Message::Text(text)))) => self.hear(text.as_str()).await,
                    Some(Some(Ok(_))) => true,
                    Some(_) => false,
                    None => {
                        self.shared.violated("no ping within 30 s on a private stream".into());
                        false
                    }
                },
            };
            if !going_on {
                return;
            }
        }
    }

    async fn hear(&mut self, text: &str) -> bool {
        let Ok(request) = serde_json::from_str::<Value>(text) else { return false };
        let args = request["args"].as_array().cloned().unwrap_or_default();
        if request["op"] == "login" && self.is_refused() {
            let words = json!({"event": "error", "code": "60009", "msg": "Login failed."});
            return self.send(words.to_string()).await;
        }
        if request["op"] == "login" {
            let answer = match self.login(&args[0]) {
                Ok(key) => {
                    self.key = Some(key);
                    json!({"event": "login", "code": "0", "msg": ""})
                }
                Err(why) => {
                    self.shared.violated(format!("login: {why}"));
                    let key = args[0]["apiKey"].as_str().unwrap_or_default();
                    let words = format!("Login failed. {why}{}", gossip(&self.shared.state(), key));
                    json!({"event": "error", "code": "60009", "msg": words})
                }
            };
            return self.send(answer.to_string()).await;
        }
        let Some(key) = self.key.clone() else {
            self.shared.violated("a private subscription before the login".into());
            return self.send(json!({"event": "error", "code": "60012", "msg": text}).to_string()).await;
        };
        if self.channels.is_empty() {
            self.shared.count(|stats| stats.private_subscribed += 1);
        }
        for arg in args {
            self.channels.insert(arg["channel"].as_str().unwrap_or_default().to_owned());
            if !self.send(json!({"event": "subscribe", "arg": arg}).to_string()).await {
                return false;
            }
        }
        let rows: Vec<Value> = {
            let state = self.shared.state();
            let account = &state.accounts[&key];
            account.positions.keys().map(|(pair, side)| account.position_row(pair, side)).collect()
        };
        self.send(json!({"arg": {"channel": "positions"}, "data": rows}).to_string()).await
    }

    /// Whether a test wants this login to be refused, whatever it says.
    fn is_refused(&self) -> bool {
        let mut state = self.shared.state();
        let is_refused = state.logins_refused > 0;
        state.logins_refused -= usize::from(is_refused);
        is_refused
    }

    fn login(&self, arg: &Value) -> Result<String, &'static str> {
        let word = |name: &str| arg[name].as_str().unwrap_or_default().to_owned();
        let mut state = self.shared.state();
        let account = state.accounts.get_mut(&word("apiKey")).ok_or("key")?;
        if word("passphrase") != account.passphrase {
            return Err("passphrase");
        }
        let (time, nonce) = (word("timestamp"), word("nonce"));
        if word("sign") != sign(&account.secret, &["/users/self/verify", "GET", &time, &nonce]) {
            return Err("signature");
        }
        if time.parse::<i64>().map_or(true, |time| (time - now_ms()).abs() > 60_000) {
            return Err("time");
        }
        Ok(word("apiKey"))
    }

    async fn push(&mut self, key: &str, channel: &str, row: Value) -> bool {
        if self.key.as_deref() != Some(key) || !self.channels.contains(channel) {
            return true;
        }
        let copies = {
            let mut state = self.shared.state();
            match (state.private_lost, state.private_repeated) {
                (0, 0) => state.chaos.as_mut().map_or(1, Chaos::copies),
                (0, _) => {
                    state.private_repeated -= 1;
                    2
                }
                _ => {
                    state.private_lost -= 1;
                    0
                }
            }
        };
        // Balances are an object, all else a list.
        let data = if channel == "account" { row } else { json!([row]) };
        let frame = match channel {
            "orders" | "orders-algo" => {
                json!({"action": "update", "arg": {"channel": channel}, "data": data})
            }
            _ => json!({"arg": {"channel": channel}, "data": data}),
        };
        for _ in 0..copies {
            self.shared.count(|stats| stats.private_frames += 1);
            if !self.send(frame.to_string()).await {
                return false;
            }
        }
        true
    }

    async fn send(&mut self, text: String) -> bool {
        self.socket.send(Message::text(text)).await.is_ok()
    }
}
