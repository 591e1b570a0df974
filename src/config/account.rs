//! `[account.NAME]`: at which venue, with which keys, and whether what trades there fits.
//!
//! Invariant: an account has all of its keys or none. Without any it is paper; with some, or with one that cannot be
//! read, it is a problem, never silently paper.

use secrecy::{ExposeSecret, SecretString};

use super::feed::FeedConfig;
use super::later::check_venue;
use super::mqtt::Broker;
use super::reader::Table;
use super::secret::{Secret, read_secret};
use super::strategy::{StrategyConfig, TypeConfig};
use super::venue::VenueConfig;
use crate::model::ids::{AccountId, StrategyType, VenueId};
use crate::model::trading::MarginMode;

/// The keys of an account: the file, and the name that only the environment may give a value to.
const KEYS: [(&str, &str); 3] =
    [("api_key_file", "api_key"), ("api_secret_file", "api_secret"), ("passphrase_file", "passphrase")];

/// An account.
#[derive(Clone, Debug)]
pub struct AccountConfig {
    /// Its name.
    pub id: AccountId,
    /// Its venue.
    pub venue: VenueId,
    /// What signs for it; without them it trades on paper.
    pub keys: Option<AccountKeys>,
    /// What its positions are secured by.
    pub margin_mode: MarginMode,
    /// What the leverage of its pairs is set to: 1 to 125.
    pub leverage: u32,
    /// How long link, clock or prices may be unhealthy before working entries are taken back, in seconds.
    pub dead_man_after_s: u32,
    /// How far the venue's clock may be from ours for an entry, in milliseconds.
    pub clock_skew_max_ms: i64,
    /// For keys that are bound to a broker: 1 to 16 letters and digits.
    pub broker_id: Option<String>,
}

/// What proves whose account it is.
#[derive(Clone, Debug)]
pub struct AccountKeys {
    /// The API key.
    pub api_key: Secret,
    /// Signs.
    pub api_secret: Secret,
    /// Chosen when the key was made.
    pub passphrase: Secret,
}

pub(super) fn read_accounts(root: &Table) -> Vec<AccountConfig> {
    let mut accounts: Vec<AccountConfig> = Vec::new();
    for (name, table) in root.named("account") {
        let Ok(id) = AccountId::new(&name) else {
            let why = format!("{name:?} is not 1 to 32 letters, digits, \"_\" or \"-\"");
            table.reader.problem(&table.path, why);
            continue;
        };
        let venue = table.text("venue");
        check_venue(table.reader, &table.path_of("venue"), &venue);
        let keys = read_keys(&table);
        if let Some(keys) = &keys {
            let own =
                |account: &&AccountConfig| account.keys.as_ref().is_some_and(|other| is_same(other, keys));
            if let Some(other) = accounts.iter().find(own) {
                let why = format!(
                    "is the key of account {:?} too; one account has one key here",
                    other.id.as_str()
                );
                table.problem(given(&table, KEYS[0]), why);
            }
        }
        if keys.is_none() {
            for key in ["margin_mode", "leverage", "dead_man_after_s", "clock_skew_max_ms", "broker_id"] {
                if table.has(key) {
                    table.warning(
                        key,
                        "has no effect on an account without keys; [paper] has the leverage of paper",
                    );
                }
            }
        }
        accounts.push(AccountConfig {
            id,
            venue: VenueId::new(&venue).unwrap_or_else(|_| super::engine::paper_venue()),
            keys,
            margin_mode: match table.word("margin_mode") {
                "isolated" => MarginMode::Isolated,
                _ => MarginMode::Cross,
            },
            leverage: u32::try_from(table.integer("leverage")).unwrap_or(1),
            dead_man_after_s: u32::try_from(table.integer("dead_man_after_s")).unwrap_or(u32::MAX),
            clock_skew_max_ms: table.integer("clock_skew_max_ms"),
            broker_id: read_broker(&table),
        });
    }
    accounts
}

fn is_same(a: &AccountKeys, b: &AccountKeys) -> bool {
    a.api_key.value.expose_secret() == b.api_key.value.expose_secret()
}

fn read_broker(table: &Table) -> Option<String> {
    let broker = table.text_maybe("broker_id")?;
    if broker.len() > 16 || !broker.chars().all(|c| c.is_ascii_alphanumeric()) {
        table.problem("broker_id", "is not 1 to 16 letters and digits");
    }
    Some(broker)
}

/// All keys, or none; what is missing or cannot be read is noted.
fn read_keys(table: &Table) -> Option<AccountKeys> {
    if KEYS.iter().all(|(file, value)| table.text(file).is_empty() && table.text(value).is_empty()) {
        return None;
    }
    let [api_key, api_secret, passphrase] = KEYS.map(|names| read_key(table, names));
    Some(AccountKeys { api_key: api_key?, api_secret: api_secret?, passphrase: passphrase? })
}

/// The name under which a key is given.
fn given(table: &Table, (file, value): (&'static str, &'static str)) -> &'static str {
    if table.text(value).is_empty() { file } else { value }
}

fn read_key(table: &Table, (file_name, name): (&'static str, &'static str)) -> Option<Secret> {
    let text = table.text_maybe(name);
    if text.is_some() && !table.is_from_environment(name) {
        let variable = format!("TRADEBUS_{}", table.path_of(name).replace('.', "__").to_uppercase());
        table.problem(name, format!("may not stand here; use {file_name}, or {variable} in the environment"));
    }
    let secret = match (table.file_path(file_name), text) {
        (Some(_), Some(_)) => {
            table.problem(name, format!("{file_name} is given too; give one of them"));
            return None;
        }
        (None, None) => {
            table
                .problem(file_name, "is missing: an account has all three keys, or none and trades on paper");
            return None;
        }
        (None, Some(text)) => Secret { value: SecretString::from(text), file: None },
        (Some(file), None) => match read_secret(&file) {
            Ok((secret, readable)) => {
                if readable {
                    table.warning(file_name, "everyone on this machine can read the file; chmod 600 it");
                }
                secret
            }
            Err(why) => {
                table.problem(file_name, why);
                return None;
            }
        },
    };
    if !secret.value.expose_secret().chars().all(|c| matches!(c, ' '..='~')) {
        table.problem(
            given(table, (file_name, name)),
            "has a character that no key has; is it the right file?",
        );
    }
    Some(secret)
}

/// Notes strategies that cannot trade at their account, and accounts that nobody uses.
pub(super) fn check_accounts(
    root: &Table,
    accounts: &[AccountConfig],
    types: &std::collections::BTreeMap<StrategyType, TypeConfig>,
    strategies: &[StrategyConfig],
    feeds: &[FeedConfig],
    (broker, venue): (&Broker, &VenueConfig),
) {
    let tables = root.named("account");
    for account in accounts.iter().filter(|account| account.keys.is_some()) {
        let named = |strategy: &&StrategyConfig| {
            let shared = types.get(&strategy.kind).and_then(|kind| kind.account.as_deref());
            strategy.account.as_deref().or(shared) == Some(account.id.as_str())
        };
        let users: Vec<&StrategyConfig> = strategies.iter().filter(named).collect();
        if users.is_empty() {
            if let Some((_, table)) = tables.iter().find(|(name, _)| name == account.id.as_str()) {
                table.reader.warning(&table.path, "has keys, and no strategy uses them");
            }
            continue;
        }
        if !venue.is_rest_private() {
            root.reader.problem("venue.blofin.rest_url", "is not encrypted, and keys would go there");
        }
        if *broker == Broker::Embedded {
            let why =
                "an account with keys needs an external broker: whoever reaches the embedded one may trade";
            root.reader.problem("mqtt.broker", why);
        }
        for strategy in &users {
            check_user(root, account, strategy, feeds);
        }
        let quote =
            |strategy: &StrategyConfig| strategy.symbols.first().map(|symbol| symbol.quote().to_owned());
        if let Some(other) = users.iter().find(|other| quote(other) != quote(users[0])) {
            let why = format!(
                "trades in another currency than strategy {:?} of the same account; an account has one here",
                users[0].id.as_str()
            );
            root.reader.problem(&format!("strategy.{}.symbols", other.id), why);
        }
    }
}

fn check_user(root: &Table, account: &AccountConfig, strategy: &StrategyConfig, feeds: &[FeedConfig]) {
    let (id, venue) = (strategy.id, account.venue);
    let at_venue = feeds.iter().any(|feed| feed.id == strategy.feed && feed.is_venue());
    if !at_venue {
        let why = format!(
            "account {:?} trades at {venue}, and feed {:?} has no prices from there",
            account.id.as_str(),
            strategy.feed.as_str()
        );
        root.reader.problem(&format!("strategy.{id}.account"), why);
    }
    for symbol in strategy.symbols.iter().filter(|symbol| symbol.as_str().contains('.')) {
        let why = format!("\"{symbol}\" must be written as the venue does, without what is behind the \".\"");
        root.reader.problem(&format!("strategy.{id}.symbols"), why);
    }
}
