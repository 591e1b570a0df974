//! Home Assistant discovery in its device form (Home Assistant 2024.12 and later): one retained message for the daemon,
//! one for each strategy, topic `<prefix>/device/<object id>/config`.
//!
//! - Unique ids are `<instance>.<key>` and `<instance>.strategy.<id>.<key>`; no part can hold a dot but the symbol at
//!   the end, so they never meet, and they never change.
//! - The daemon's payload announces at most [`PRICES_MAX`] markets and [`FEEDS_MAX`] feeds, a strategy's at most
//!   [`SYMBOLS_MAX`] symbols, the first ones in the order of the settings; what is beyond is on the bus but not in Home
//!   Assistant. So a payload stays below [`PAYLOAD_BYTES_MAX`] whatever is configured.
//! - Only prices, feeds and health expire: they are repeated every 60 s. A strategy's state leaves when it changes, so
//!   its availability is the daemon's, and that it has a state at all.

mod component;
mod row;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use self::component::{Component, Place, component, list, slug};
use self::row::Row;
use super::json::Object;
use super::view::{Message, MessageKind};
use crate::engine::settings::{EngineSettings, MarketSettings, StrategySettings};
use crate::model::ids::{FeedId, Symbol};
use crate::model::market::MarketKey;

/// The largest payload of a device, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 128 * 1024;
/// Markets that have a price sensor.
pub const PRICES_MAX: usize = 100;
/// Feeds that have a connectivity sensor.
pub const FEEDS_MAX: usize = 32;
/// Symbols of a strategy whose positions have sensors.
pub const SYMBOLS_MAX: usize = 32;
/// Live values are unavailable after this time without news, in seconds: three times the longest silence.
pub const EXPIRE_S: u32 = 180;
/// Digits for money of a currency that is not like dollars.
const INFINITE_DIGITS: u32 = 8;

/// What is announced.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The daemon's instance: letters, digits, `_` and `-`.
    pub instance: &'a str,
    /// What our topics begin with.
    pub base_topic: &'a str,
    /// What discovery topics begin with.
    pub prefix: &'a str,
    /// Our version.
    pub version: &'a str,
    /// Markets and strategies.
    pub settings: &'a EngineSettings,
}

/// A device that Home Assistant knows of; kept in the store so that it can be taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// Its discovery topic.
    pub topic: String,
    /// Key and platform of each of its components.
    pub components: Vec<(String, String)>,
}

/// What to publish now, and what to remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Retained messages, removals first, the daemon before its strategies.
    pub messages: Vec<Message>,
    /// What is announced once they are out. To be stored before they leave.
    pub announced: Vec<Announced>,
}

/// Announces everything, and takes back what was announced before and is gone.
pub fn announce(input: &Input<'_>, before: &[Announced]) -> Announcement {
    let devices: Vec<Device> = std::iter::once(daemon_device(input))
        .chain(input.settings.strategies.iter().map(|strategy| strategy_device(input, strategy)))
        .collect();
    let present: BTreeSet<&str> = devices.iter().map(|device| device.topic.as_str()).collect();
    let gone = before.iter().filter(|old| !present.contains(old.topic.as_str()));
    let mut messages: Vec<Message> = gone.map(|old| retained(&old.topic, String::new())).collect();
    let known: BTreeMap<&str, &Announced> = before.iter().map(|old| (old.topic.as_str(), old)).collect();
    for device in &devices {
        let payload = device.payload(known.get(device.topic.as_str()).copied());
        messages.push(retained(&device.topic, payload));
    }
    Announcement { messages, announced: devices.iter().map(Device::announced).collect() }
}

/// Takes everything back, as when discovery was turned off.
pub fn withdraw(before: &[Announced]) -> Vec<Message> {
    before.iter().map(|old| retained(&old.topic, String::new())).collect()
}

/// Where Home Assistant tells that it started.
pub fn birth_topic(prefix: &str) -> String {
    format!("{prefix}/status")
}

/// Whether a message on [`birth_topic`] asks for a new announcement. A retained one is old news.
pub fn is_birth(payload: &[u8], retained: bool) -> bool {
    !retained && payload == b"online"
}

/// A device with its entities.
struct Device {
    topic: String,
    /// All of the payload but the components.
    head: Object,
    components: Vec<Component>,
}

impl Device {
    /// The payload. Components that were there before are reduced to their platform, which removes them: leaving them
    /// out would not.
    fn payload(&self, before: Option<&Announced>) -> String {
        let mut components = Object::new();
        for component in &self.components {
            components = components.raw(&component.key, &component.json);
        }
        let present: BTreeSet<&str> =
            self.components.iter().map(|component| component.key.as_str()).collect();
        let old = before.map_or(&[][..], |before| &before.components);
        for (key, platform) in old.iter().filter(|(key, _)| !present.contains(key.as_str())) {
            components = components.raw(key, &Object::new().text("p", platform).finish());
        }
        self.head.clone().raw("cmps", &components.finish()).finish()
    }

    fn announced(&self) -> Announced {
        let pair = |component: &Component| (component.key.clone(), component.platform.to_string());
        Announced { topic: self.topic.clone(), components: self.components.iter().map(pair).collect() }
    }
}

fn daemon_device(input: &Input<'_>) -> Device {
    let (markets, strategies) = (&input.settings.markets, &input.settings.strategies);
    let entity = slug(input.instance);
    let quotes: BTreeSet<&str> = strategies.iter().map(quote_of).collect();
    let only_quote = if quotes.len() == 1 { quotes.first().copied().unwrap_or_default() } else { "" };
    let daemon = Place {
        base: input.base_topic,
        unique: input.instance,
        entity: &entity,
        quote: only_quote,
        ..Place::default()
    };
    let money = if strategies.is_empty() { &[][..] } else { table::PORTFOLIO_MONEY };
    let mut components = rows(table::DAEMON, &daemon);
    components.extend(rows(money, &daemon));
    let feeds: BTreeSet<FeedId> = markets.iter().map(|market| market.key.feed).collect();
    for feed in feeds.iter().take(FEEDS_MAX) {
        components.extend(rows(table::FEED, &Place { feed: feed.as_str(), ..daemon.clone() }));
    }
    for market in markets.iter().take(PRICES_MAX) {
        let place = at_market(&daemon, &market.key, Some(market));
        components.extend(rows(table::MARKET, &place));
    }
    let device = device_head(input, input.instance, input.instance, "daemon");
    let availability = format!("[{}]", will(input));
    let head = head(input, device).raw("avty", &availability);
    Device { topic: topic(input, &format!("{}_daemon", input.instance)), head, components }
}

fn strategy_device(input: &Input<'_>, strategy: &StrategySettings) -> Device {
    let id = strategy.id.as_str();
    let unique = format!("{}.strategy.{id}", input.instance);
    let entity = slug(&format!("{}_{id}", input.instance));
    let place = Place {
        base: input.base_topic,
        unique: &unique,
        entity: &entity,
        id,
        quote: quote_of(strategy),
        ..Place::default()
    };
    let mut components = rows(table::STRATEGY, &place);
    for (_, key) in strategy.markets.iter().take(SYMBOLS_MAX) {
        let market = input.settings.markets.iter().find(|market| market.key == *key);
        components.extend(rows(table::POSITIONS, &at_market(&place, key, market)));
    }
    let name = format!("{} {id}", input.instance);
    let device = device_head(input, &unique, &name, &format!("strategy ({})", strategy.kind));
    let device = device.text("via_device", input.instance);
    // Cleared when the strategy goes, so its state is also its availability.
    let state = Object::new()
        .text("t", &format!("{}/strategy/{id}/state", input.base_topic))
        .text("val_tpl", "{{ 'online' if value_json is defined else 'offline' }}")
        .finish();
    let availability = format!("[{},{state}]", will(input));
    let head = head(input, device).raw("avty", &availability).text("avty_mode", "all");
    Device { topic: topic(input, &format!("{}_strategy_{id}", input.instance)), head, components }
}

fn rows(rows: &[Row], place: &Place<'_>) -> Vec<Component> {
    rows.iter().map(|row| component(row, place)).collect()
}

fn at_market<'a>(place: &Place<'a>, key: &'a MarketKey, market: Option<&MarketSettings>) -> Place<'a> {
    let digits = |value: rust_decimal::Decimal| value.normalize().scale();
    Place {
        feed: key.feed.as_str(),
        symbol: key.symbol.as_str(),
        base_currency: key.symbol.base(),
        quote: key.symbol.quote(),
        price_digits: market.map_or(INFINITE_DIGITS, |market| digits(market.instrument.tick_size().value())),
        quantity_digits: market.map_or(INFINITE_DIGITS, |market| digits(market.instrument.lot().value())),
        ..place.clone()
    }
}

/// The quote currency of a strategy; all its symbols have the same.
fn quote_of(strategy: &StrategySettings) -> &str {
    strategy.markets.keys().next().map_or("", Symbol::quote)
}

fn device_head(input: &Input<'_>, id: &str, name: &str, model: &str) -> Object {
    Object::new()
        .raw("ids", &list(&[id]))
        .text("name", name)
        .text("mf", "tradebus")
        .text("mdl", model)
        .text("sw", input.version)
}

fn head(input: &Input<'_>, device: Object) -> Object {
    let origin = Object::new().text("name", "tradebus").text("sw", input.version);
    Object::new().raw("dev", &device.finish()).raw("o", &origin.finish())
}

fn will(input: &Input<'_>) -> String {
    Object::new().text("t", &format!("{}/daemon/state", input.base_topic)).finish()
}

fn topic(input: &Input<'_>, object_id: &str) -> String {
    format!("{}/device/{object_id}/config", input.prefix)
}

fn retained(topic: &str, payload: String) -> Message {
    Message { topic: topic.to_string(), payload, kind: MessageKind::Retained(None) }
}
