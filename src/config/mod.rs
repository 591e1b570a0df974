//! The configuration: defaults, a file, the environment and the command line, read into values that are valid.
//!
//! Invariants: a [`Config`] from [`Config::load`] has passed every check, and `load` tells all problems at once.
//! Secrets are in `secrecy` types; no `Debug`, problem, warning or effective text shows one. The engine gets
//! [`EngineSettings`](crate::engine::settings::EngineSettings), never a `Config`.
//!
//! Limits of this version: BloFin alone can be traded at, beside recorded and synthetic markets on paper. Asking
//! for what is not built is a problem. `docs/CONFIGURATION.md` has every key.

mod account;
mod address;
mod demo;
#[cfg(test)]
mod documented;
mod effective;
mod engine;
mod feed;
mod http;
mod later;
mod market;
mod mqtt;
mod only;
mod reader;
mod schema;
mod secret;
mod source;
mod strategy;
mod tls;
mod tradingview;
pub mod trust;
mod value;
mod venue;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use account::{AccountConfig, AccountKeys};
pub use address::AddressRange;
pub use demo::Demo;
pub use feed::{FeedClock, FeedConfig, FeedSource, RecordedFile};
pub use http::{HttpConfig, ServerTls, TokenConfig, TokenScope, read_token_file};
pub use market::InstrumentConfig;
pub use mqtt::{Broker, MqttConfig};
pub use secret::Secret;
pub use source::{ENVIRONMENT_PREFIX, FILE_DEFAULT, FileSource, Sources};
pub use strategy::{Route, StrategyConfig, TypeConfig};
pub use tls::{Certificate, Tls};
pub use tradingview::TradingViewConfig;
pub use trust::Authorities;
pub use venue::VenueConfig;

use crate::exchange::paper::PaperSettings;
use crate::model::ids::{StrategyType, Symbol};
use crate::model::time::Timestamp;
use crate::risk::Limits;
use crate::store::storage::EngineKind;
use reader::{Reader, Table};

/// Everything that a daemon is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Names this daemon: its client id at the broker and its ids in discovery. 1 to 32 letters, digits, `_`, `-`.
    pub instance: String,
    /// The bus.
    pub mqtt: MqttConfig,
    /// Where money is remembered.
    pub store: StoreConfig,
    /// The HTTP interface.
    pub http: HttpConfig,
    /// What is logged.
    pub log: LogConfig,
    /// Sources of prices, sorted by id.
    pub feeds: Vec<FeedConfig>,
    /// Figures of pairs that differ from the defaults.
    pub instruments: BTreeMap<Symbol, InstrumentConfig>,
    /// Accounts, sorted by name.
    pub accounts: Vec<AccountConfig>,
    /// What types of strategies share.
    pub types: BTreeMap<StrategyType, TypeConfig>,
    /// Limits of the whole daemon.
    pub limits: Limits,
    /// How paper exchanges fill, unless a strategy says otherwise.
    pub paper: PaperSettings,
    /// Strategies, sorted by id.
    pub strategies: Vec<StrategyConfig>,
    /// Where BloFin is.
    pub blofin: VenueConfig,
}

/// The store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Its directory. Not empty.
    pub path: PathBuf,
    /// What keeps the history that can be asked for.
    pub engine: EngineKind,
    /// Bytes at which a file of the journal is followed by a new one.
    pub journal_file_bytes_max: u64,
    /// Seconds between two samples of equity for charts.
    pub equity_interval_s: u32,
    /// How long those are kept; `None` is for ever.
    pub equity_retention_days: Option<u32>,
    /// How long decided signals can be asked for; `None` is for ever. The journal keeps them.
    pub signal_retention_days: Option<u32>,
    /// Where copies go that are asked for on the bus. Not empty.
    pub backup_dir: PathBuf,
    /// How many of them are kept, the newest: 1 to 1000.
    pub backups_kept: u32,
}

/// Logging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Form of a line.
    pub format: LogFormat,
    /// The least severe level that is logged.
    pub level: tracing::Level,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal, else JSON.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// A configuration, and what is hardly meant about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Sorted by key. The daemon runs with them.
    pub warnings: Vec<Problem>,
}

/// What is wrong with a key, or with a source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {text}")]
pub struct Problem {
    /// The key's full path, such as `strategy.tv1.symbols[0]`, or a file.
    pub path: String,
    /// The value, and what it should be. Never shows a secret.
    pub text: String,
}

impl Problem {
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Problem {
        Problem { path: path.into(), text: text.into() }
    }
}

impl Config {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// All problems at once, sorted by key.
    pub fn load(sources: &Sources) -> Result<Loaded, Vec<Problem>> {
        let mut problems = Vec::new();
        let figment = sources.merged(&mut problems);
        let reader = Reader::new(figment, problems);
        let config = read(&reader.root(schema::ROOT));
        let (problems, warnings) = reader.into_findings();
        if problems.is_empty() { Ok(Loaded { config, warnings }) } else { Err(problems) }
    }

    /// What of our certificates is not valid any more at `now`, or soon will not be.
    #[must_use]
    pub fn certificate_warnings(&self, now: Timestamp) -> Vec<Problem> {
        let mqtt = self.mqtt.tls.as_ref().map(|tls| tls.certificates.as_slice());
        let http = self.http.tls.as_ref().map(|tls| tls.certificates.as_slice());
        tls::warnings(&[mqtt.unwrap_or_default(), http.unwrap_or_default()].concat(), now)
    }
}

impl Default for Config {
    /// What holds when no source says anything: no feeds and no strategies.
    fn default() -> Config {
        let nothing = Sources { file: FileSource::Nothing, environment: Vec::new(), overrides: Vec::new() };
        Config::load(&nothing).expect("the defaults of the schema are valid").config
    }
}

fn read(root: &Table) -> Config {
    let feeds = feed::read_feeds(root);
    let accounts = account::read_accounts(root);
    let types = strategy::read_types(root, &accounts);
    let paper = market::read_paper(&root.table("paper"), None);
    let log = root.table("log");
    let blofin = venue::read_venue(root);
    let mqtt = mqtt::read_mqtt(&root.table("mqtt"));
    let strategies = strategy::read_strategies(root, &feeds, &accounts, &paper);
    account::check_accounts(root, &accounts, &types, &strategies, &feeds, (&mqtt.broker, &blofin));
    Config {
        instance: read_instance(root),
        mqtt,
        store: read_store(&root.table("store")),
        http: http::read_http(&root.table("http")),
        log: LogConfig {
            format: match log.word("format") {
                "human" => LogFormat::Human,
                "json" => LogFormat::Json,
                _ => LogFormat::Auto,
            },
            level: log.word("level").parse().unwrap_or(tracing::Level::INFO),
        },
        instruments: market::read_instruments(root, &feeds),
        limits: market::read_limits(&root.table("limits")),
        strategies,
        feeds,
        accounts,
        types,
        paper,
        blofin,
    }
}

fn read_store(table: &Table) -> StoreConfig {
    let path = table.file_path("path");
    if path.is_none() {
        table.problem("path", "is empty; it must be a directory");
    }
    let name = table.word("engine");
    let engine = EngineKind::named(name);
    if engine.is_none() {
        table.problem(
            "engine",
            format!("{name:?} is not in this build; it needs the cargo feature of this name"),
        );
    }
    let number = |name| u32::try_from(table.integer(name)).unwrap_or(u32::MAX);
    let days = |name| Some(number(name)).filter(|days| *days > 0);
    let path = path.unwrap_or_default();
    StoreConfig {
        backup_dir: table.file_path("backup_dir").unwrap_or_else(|| path.join("backups")),
        backups_kept: number("backups_kept"),
        path,
        engine: engine.unwrap_or(EngineKind::Sled),
        journal_file_bytes_max: u64::from(number("journal_file_kb_max")) * 1024,
        equity_interval_s: number("equity_interval_s"),
        equity_retention_days: days("equity_retention_days"),
        signal_retention_days: days("signal_retention_days"),
    }
}

fn read_instance(root: &Table) -> String {
    let instance = root.text("instance");
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !(1..=32).contains(&instance.len()) || !instance.chars().all(allowed) {
        root.problem("instance", format!("{instance:?} is not 1 to 32 letters, digits, \"_\" or \"-\""));
    }
    instance
}
