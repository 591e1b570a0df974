//! Keys of `[strategy.ID]` that only TradingView alerts need: whose alerts are taken, and what they mean.
//!
//! A strategy of type `tradingview` has a key, or the configuration says that it has none: a forgotten key is a
//! problem, not an open door.

use std::collections::BTreeMap;

use secrecy::ExposeSecret;

use super::feed::FeedConfig;
use super::reader::Table;
use super::schema::suggestion;
use super::secret::{Secret, read_secret};
use crate::message::tradingview::{AlertKey, AllSettings, TradingViewSettings};
use crate::model::amount::Ratio;
use crate::model::ids::Symbol;

/// How the alerts of a strategy are taken.
#[derive(Clone, Debug)]
pub struct TradingViewConfig {
    /// The key in their bodies: at least [`AlertKey::LENGTH_MIN`] characters, none of them a space.
    pub key: Option<Secret>,
    /// Whether one without a key is refused. There is a key when it is true.
    pub key_required: bool,
    /// Other exchanges whose alerts are taken: `BINANCE`, `BINANCE:SPOT`, `BINANCE:PERP`.
    pub accept_from: Vec<String>,
    /// What `1000PEPEUSDT.P` or `BYBIT:1000PEPEUSDT.P` means; one of the strategy's symbols.
    pub overrides: BTreeMap<String, Symbol>,
    /// Whether Pine's simulated sizes count.
    pub contracts_as_size: bool,
    /// How far the price of an alert that enters may be from ours, in percent: above 0, at most 100.
    pub price_deviation_max_pct: Option<Ratio>,
}

/// The type whose strategies take alerts.
const TYPE: &str = "tradingview";
/// The keys that mean nothing to other types.
const KEYS: [&str; 6] =
    ["key_file", "key_required", "accept_from", "overrides", "contracts_as_size", "price_deviation_max_pct"];

impl super::Config {
    /// How the alerts of each strategy are read that takes alerts. Holds no key, only what it is recognised by.
    pub fn tradingview(&self) -> AllSettings {
        let settings = self.strategies.iter().filter_map(|strategy| {
            let alerts = strategy.tradingview.as_ref()?;
            let feed = self.feeds.iter().find(|feed| feed.id == strategy.feed);
            let settings = TradingViewSettings {
                key: alerts.key.as_ref().map(|key| AlertKey::new(key.value.expose_secret())),
                key_required: alerts.key_required,
                exchange: feed.and_then(FeedConfig::exchange).map(str::to_owned),
                accept_from: alerts.accept_from.clone(),
                overrides: alerts.overrides.clone(),
                contracts_as_size: alerts.contracts_as_size,
            };
            Some((strategy.id, settings))
        });
        settings.collect()
    }
}

/// Reads the keys; `None` for strategies of other types, where they are problems.
pub(super) fn read_tradingview(
    table: &Table,
    kind: Option<&str>,
    feed: Option<&FeedConfig>,
    symbols: &[Symbol],
) -> Option<TradingViewConfig> {
    let config = TradingViewConfig {
        key: read_key(table),
        key_required: table.flag("key_required"),
        accept_from: read_accept_from(table, feed),
        overrides: read_overrides(table, symbols),
        contracts_as_size: table.flag("contracts_as_size"),
        price_deviation_max_pct: table.number_maybe("price_deviation_max_pct").map(Ratio::new),
    };
    if kind != Some(TYPE) {
        if let Some(kind) = kind {
            let why = format!("is for strategies of type {TYPE:?}, and this one is of type {kind:?}");
            KEYS.iter().filter(|key| table.has(key)).for_each(|key| table.problem(key, why.clone()));
        }
        return None;
    }
    if config.key_required && table.text_maybe("key_file").is_none() {
        table.problem(
            "key_file",
            "is missing: alerts need a key; or write key_required = false when only trusted clients can publish to \
             its topics",
        );
    }
    Some(config)
}

fn read_key(table: &Table) -> Option<Secret> {
    let (secret, readable) = match read_secret(&table.file_path("key_file")?) {
        Ok(read) => read,
        Err(why) => {
            table.problem("key_file", why);
            return None;
        }
    };
    let key = secret.value.expose_secret().trim();
    let length = key.chars().count();
    if length < AlertKey::LENGTH_MIN {
        let least = AlertKey::LENGTH_MIN;
        table.problem(
            "key_file",
            format!("the key has {length} characters; it must have {least} or more: `openssl rand -hex 24` makes one"),
        );
    }
    if key.chars().any(|c| c.is_whitespace() || c.is_control()) {
        table.problem("key_file", "the key has a space or a control character; it must be one word");
    }
    if readable {
        table.warning("key_file", "everyone on this machine can read the file; chmod 600 it");
    }
    Some(Secret { value: key.into(), file: secret.file })
}

fn read_accept_from(table: &Table, feed: Option<&FeedConfig>) -> Vec<String> {
    let entries = table.texts("accept_from");
    for (path, entry) in &entries {
        if TradingViewSettings::check_accept_from(entry).is_err() {
            table.reader.problem(
                path,
                format!("{entry:?} is not like \"BINANCE\", \"BINANCE:SPOT\" or \"BINANCE:PERP\""),
            );
        }
    }
    if let Some(feed) = feed.filter(|feed| feed.exchange().is_none() && !entries.is_empty()) {
        let why =
            format!("has no effect: feed {:?} is no exchange, so alerts of all are taken", feed.id.as_str());
        table.warning("accept_from", why);
    }
    entries.into_iter().map(|(_, entry)| entry).collect()
}

fn read_overrides(table: &Table, symbols: &[Symbol]) -> BTreeMap<String, Symbol> {
    let mut overrides: BTreeMap<String, Symbol> = BTreeMap::new();
    for (name, path, text) in table.text_table("overrides") {
        if let Some(other) = overrides.keys().find(|other| other.eq_ignore_ascii_case(&name)) {
            table.reader.problem(&path, format!("differs from {other:?} only by case"));
        }
        match symbols.iter().find(|symbol| symbol.as_str() == text) {
            Some(symbol) => drop(overrides.insert(name, *symbol)),
            None => {
                let near = suggestion(&text, symbols.iter().map(Symbol::as_str));
                table.reader.problem(&path, format!("{text:?} is not one of the strategy's symbols{near}"));
            }
        }
    }
    overrides
}
