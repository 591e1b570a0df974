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
use std::ops::Range;

use self::component::{Component, Place, component, list, slug};
use self::row::Row;
use super::json::Object;
use super::view::{Message, MessageKind};
pub use crate::engine::record::Announced;
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
/// Bounds of [`birth_delay_ms`].
const BIRTH_DELAY_MS_MIN: u64 = 1_000;
const BIRTH_DELAY_MS_MAX: u64 = 5_000;
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

/// What to publish now, and what to remember.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcement {
    /// Messages, removals first, the daemon before its strategies.
    pub messages: Vec<Message>,
    /// What Home Assistant may know of while they are on their way: the old and the new. To be stored before they
    /// leave, so that no crash makes a component be forgotten that was not taken back.
    pub pending: Vec<Announced>,
    /// What is announced once the broker has them.
    pub announced: Vec<Announced>,
    /// What is gone then, without components.
    pub gone: Vec<Announced>,
}

/// Announces everything, and takes back what was announced before and is gone.
pub fn announce(input: &Input<'_>, before: &[Announced]) -> Announcement {
    let known = before.iter().map(|old| (old.topic.clone(), old.clone())).collect();
    let mut all = withdraw(gone(input, &known));
    all.append(announce_some(input, &known, 0..devices(input)));
    all
}

/// How many devices there are.
pub fn devices(input: &Input<'_>) -> usize {
    1 + input.settings.strategies.len()
}

/// Announces the devices of these numbers; the daemon is 0. `known` is what was announced before.
pub fn announce_some(
    input: &Input<'_>,
    known: &BTreeMap<String, Announced>,
    numbers: Range<usize>,
) -> Announcement {
    let mut announcement = Announcement::default();
    for number in numbers {
        let device = match number.checked_sub(1) {
            None => daemon_device(input),
            Some(index) => strategy_device(input, &input.settings.strategies[index]),
        };
        let old = known.get(&device.topic).map_or(&[][..], |old| &old.components);
        let announced = device.announced();
        let mut pending = announced.clone();
        pending.components.extend(device.gone(old).cloned());
        let payload = device.payload(old);
        announcement.messages.push(message(&device.topic, payload));
        announcement.pending.push(pending);
        announcement.announced.push(announced);
    }
    announcement
}

/// What was announced before and is not among the devices any more.
pub fn gone<'a>(
    input: &Input<'_>,
    known: &'a BTreeMap<String, Announced>,
) -> impl Iterator<Item = &'a Announced> + use<'a> {
    let strategies = input.settings.strategies.iter().map(|strategy| strategy_topic(input, strategy));
    let present: BTreeSet<String> = strategies.chain([daemon_topic(input)]).collect();
    known.values().filter(move |old| !present.contains(&old.topic))
}

/// Takes devices back, as when discovery was turned off.
pub fn withdraw<'a>(devices: impl IntoIterator<Item = &'a Announced>) -> Announcement {
    let mut announcement = Announcement::default();
    for old in devices {
        announcement.messages.push(message(&old.topic, String::new()));
        announcement.gone.push(Announced { topic: old.topic.clone(), components: Vec::new() });
    }
    announcement
}

impl Announcement {
    /// Adds another one behind it.
    pub fn append(&mut self, other: Announcement) {
        self.messages.extend(other.messages);
        self.pending.extend(other.pending);
        self.announced.extend(other.announced);
        self.gone.extend(other.gone);
    }
}

/// Where Home Assistant tells that it started.
pub fn birth_topic(prefix: &str) -> String {
    format!("{prefix}/status")
}

/// How long to wait after Home Assistant's start, in milliseconds: 1 to 5 s, spread by the instance's name, so that
/// several daemons do not speak at once.
pub fn birth_delay_ms(instance: &str) -> u64 {
    // FNV-1a: any hash that is the same for ever.
    let hash = instance.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    BIRTH_DELAY_MS_MIN + hash % (BIRTH_DELAY_MS_MAX - BIRTH_DELAY_MS_MIN + 1)
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
    fn payload(&self, old: &[(String, String)]) -> String {
        let mut components = Object::new();
        for component in &self.components {
            components = components.raw(&component.key, &component.json);
        }
        for (key, platform) in self.gone(old) {
            components = components.raw(key, &Object::new().text("p", platform).finish());
        }
        self.head.clone().raw("cmps", &components.finish()).finish()
    }

    /// The old components that it does not have any more.
    fn gone<'a>(&self, old: &'a [(String, String)]) -> impl Iterator<Item = &'a (String, String)> + use<'a> {
        let present: BTreeSet<String> =
            self.components.iter().map(|component| component.key.clone()).collect();
        old.iter().filter(move |(key, _)| !present.contains(key))
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
    Device { topic: daemon_topic(input), head, components }
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
    Device { topic: strategy_topic(input, strategy), head, components }
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

fn daemon_topic(input: &Input<'_>) -> String {
    topic(input, &format!("{}_daemon", input.instance))
}

fn strategy_topic(input: &Input<'_>, strategy: &StrategySettings) -> String {
    topic(input, &format!("{}_strategy_{}", input.instance, strategy.id))
}

fn topic(input: &Input<'_>, object_id: &str) -> String {
    format!("{}/device/{object_id}/config", input.prefix)
}

fn message(topic: &str, payload: String) -> Message {
    Message { topic: topic.to_string(), payload, kind: MessageKind::Announcement }
}
