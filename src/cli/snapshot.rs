//! What a daemon has retained at the broker, or what it answers over HTTP, read once.
//!
//! Nothing in MQTT says that all retained messages have arrived. They are taken to be there when the broker has been
//! silent for twice its answering time, and for [`QUIET_MIN`] at least.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::bus::{Bus, talk};
use super::exit::{Exit, Failure};
use super::payload;
use super::settings::Client;
use crate::message::topic::Topics;

const QUIET_MIN: Duration = Duration::from_millis(150);
/// Live messages may keep coming, so there is an end.
const COLLECT_MAX: Duration = Duration::from_secs(3);
/// The sign of life.
pub const STATE: &str = "daemon/state";
const ONLINE: &str = "online";

/// Retained messages by topic, without the base.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<String, String>);

impl Snapshot {
    /// Reads what `filters` (without the base) and the sign of life match.
    ///
    /// # Errors
    /// [`Exit::UNAVAILABLE`] when the broker does not answer, or no daemon was ever there.
    pub fn read(client: &Client, filters: &[String]) -> Result<Snapshot, Failure> {
        if let Some(web) = &client.web {
            let mut messages = talk(web.read(filters))?;
            // Who answers is there.
            messages.insert(STATE.to_owned(), ONLINE.to_owned());
            return Ok(Snapshot(messages));
        }
        let config = &client.config;
        let topics = Topics::new(&config.mqtt.base_topic);
        let filters: Vec<String> =
            filters.iter().map(String::as_str).chain([STATE]).map(|filter| topics.at(filter)).collect();
        let messages = talk(async {
            let mut bus = Bus::connect(config).await?;
            let messages = collect(&mut bus, &filters).await?;
            bus.disconnect().await;
            Ok(messages)
        })?;
        let base = topics.at("");
        let below = |topic: String| topic.strip_prefix(&base).map(str::to_owned);
        let snapshot = Snapshot(
            messages.into_iter().filter_map(|(topic, payload)| Some((below(topic)?, payload))).collect(),
        );
        match snapshot.get(STATE) {
            Some(_) => Ok(snapshot),
            None => Err(nobody_there(client)),
        }
    }

    /// The payload of a topic.
    pub fn get(&self, topic: &str) -> Option<&str> {
        self.0.get(topic).map(String::as_str)
    }

    /// The payloads of the topics that match a filter with `+`, in the order of topics.
    pub fn all(&self, filter: &str) -> Vec<&str> {
        let matches = |topic: &str| {
            let (mut wanted, mut levels) = (filter.split('/'), topic.split('/'));
            wanted.by_ref().zip(levels.by_ref()).all(|(wanted, level)| wanted == "+" || wanted == level)
                && topic.split('/').count() == filter.split('/').count()
        };
        let matching = self.0.iter().filter(|(topic, _)| matches(topic));
        matching.map(|(_, payload)| payload.as_str()).collect()
    }

    /// The same, parsed.
    pub fn values(&self, filter: &str) -> Vec<Value> {
        self.all(filter).into_iter().map(payload::read).collect()
    }

    /// Whether the daemon says that it is there.
    pub fn online(&self) -> bool {
        self.get(STATE) == Some(ONLINE)
    }

    /// Refuses a name that the daemon does not know, so that nothing is not mistaken for no position.
    ///
    /// # Errors
    /// [`Exit::USAGE`], with the names that there are.
    pub fn require(&self, what: &str, name: &str) -> Result<(), Failure> {
        if self.get(&format!("{what}/{name}/state")).is_some() {
            return Ok(());
        }
        let known = |topic: &String| {
            Some(topic.strip_prefix(what)?.strip_prefix('/')?.strip_suffix("/state")?.to_owned())
        };
        let names: Vec<String> = self.0.keys().filter_map(known).collect();
        let names = if names.is_empty() { "none".to_owned() } else { payload::printable(&names.join(", ")) };
        Err(Failure::new(Exit::USAGE, format!("the daemon has no {what} {name}; it has: {names}")))
    }

    /// How a command that printed this ends: what a daemon said that is gone is not what holds now.
    ///
    /// # Errors
    /// [`Exit::UNAVAILABLE`] when the daemon is offline.
    pub fn finish(&self, client: &Client) -> Result<Exit, Failure> {
        if self.online() { Ok(Exit::OK) } else { Err(offline(client, "this is what it said last")) }
    }
}

/// What is said when there is no sign of life.
pub fn nobody_there(client: &Client) -> Failure {
    let topic = Topics::new(&client.config.mqtt.base_topic).at(STATE);
    Failure::unavailable(format!("no daemon at {}: nothing is retained on {topic}", client.address()))
}

/// What is said when the daemon is gone.
pub fn offline(client: &Client, so: &str) -> Failure {
    Failure::unavailable(format!("the daemon at {} is offline; {so}", client.address()))
}

/// What is retained where `filters` match, by topic.
pub async fn collect(bus: &mut Bus, filters: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let begun = Instant::now();
    bus.subscribe(filters).await?;
    let quiet = QUIET_MIN.max(begun.elapsed() * 2);
    let end = Instant::now() + COLLECT_MAX;
    let mut messages = BTreeMap::new();
    while let Some(message) = bus.next(end.min(Instant::now() + quiet)).await? {
        if message.payload.is_empty() {
            messages.remove(&message.topic);
        } else {
            messages.insert(message.topic, message.payload);
        }
        if Instant::now() >= end {
            break;
        }
    }
    Ok(messages)
}

#[cfg(test)]
impl Snapshot {
    /// A snapshot of these topics and payloads.
    pub fn of(messages: &[(&str, &str)]) -> Snapshot {
        Snapshot(messages.iter().map(|(topic, payload)| ((*topic).into(), (*payload).into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_whole_topics() {
        let snapshot = Snapshot::of(&[
            ("strategy/a/state", "1"),
            ("strategy/b/state", "2"),
            ("strategy/a/position/BTC-USDT", "3"),
            ("portfolio/state", "4"),
        ]);
        let check = |filter: &str, expected: &[&str]| assert_eq!(snapshot.all(filter), expected, "{filter}");
        check("strategy/+/state", &["1", "2"]);
        check("strategy/b/state", &["2"]);
        check("strategy/+/position/+", &["3"]);
        check("strategy/+", &[]);
        check("portfolio/state", &["4"]);
        assert!(snapshot.require("strategy", "a").is_ok());
        let refused = snapshot.require("strategy", "c").unwrap_err();
        assert_eq!(refused, Failure::new(Exit::USAGE, "the daemon has no strategy c; it has: a, b"));
    }
}
