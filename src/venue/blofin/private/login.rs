//! The first frames of the private stream: who we are, and what we want to hear.

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::request::Method;
use super::sign::{Keys, Stamp};

/// What a login signs in place of a path.
const PATH: &str = "/users/self/verify";

/// What the private stream can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Orders, as they change.
    Orders,
    /// Stops and other orders with a trigger, as they change.
    AlgoOrders,
    /// Positions, at first and as they change.
    Positions,
    /// Balances, now and then.
    Account,
}

impl Channel {
    /// Every channel, in the order in which they are asked for.
    pub const ALL: [Channel; 4] =
        [Channel::Orders, Channel::AlgoOrders, Channel::Positions, Channel::Account];

    /// The venue's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Channel::Orders => "orders",
            Channel::AlgoOrders => "orders-algo",
            Channel::Positions => "positions",
            Channel::Account => "account",
        }
    }

    /// Reads the venue's name.
    pub fn parse(name: &str) -> Option<Channel> {
        Channel::ALL.into_iter().find(|channel| channel.as_str() == name)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Login<'a> {
    api_key: &'a str,
    passphrase: &'a str,
    timestamp: String,
    sign: String,
    nonce: &'a str,
}

/// The frame that logs in. It is good for a minute.
pub fn login(keys: &Keys, stamp: &Stamp) -> SecretString {
    let args = Login {
        api_key: keys.api_key.expose_secret(),
        passphrase: keys.passphrase.expose_secret(),
        timestamp: stamp.time.as_ms().to_string(),
        sign: keys.signature(PATH, Method::Get, stamp, ""),
        nonce: &stamp.nonce,
    };
    let args = serde_json::to_string(&args).expect("texts are JSON");
    format!("{{\"op\":\"login\",\"args\":[{args}]}}").into()
}

/// The frame that subscribes to everything about the account, for all pairs.
pub fn subscribe() -> String {
    let args = Channel::ALL.map(|channel| format!("{{\"channel\":\"{}\"}}", channel.as_str()));
    format!("{{\"op\":\"subscribe\",\"args\":[{}]}}", args.join(","))
}
