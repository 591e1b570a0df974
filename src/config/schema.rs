//! Every key there is, as data: its kind, default and range. Reading, suggestions, `config/default.toml` and
//! `docs/CONFIGURATION.md` are checked against this one table, so none of them can drift from the others.
//!
//! Defaults and limits are texts, because decimals cannot be written as constants; a test reads each of them.

/// One key of a table.
#[derive(Debug)]
pub(super) struct Key {
    pub name: &'static str,
    pub kind: Kind,
    /// The default as it would be typed, without quotes.
    pub default: Option<&'static str>,
}

/// What a key holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Text,
    Path,
    /// A secret itself, which only the environment may carry.
    Secret,
    /// A file with a secret. Its name is not shown either: it may be the secret itself, in the wrong place.
    SecretFile,
    Flag,
    /// A whole number from the first to the second.
    Integer(i64, i64),
    Number(Range),
    /// One of these words.
    Words(&'static [&'static str]),
    Texts,
    /// A table with these keys.
    Table(&'static [Key]),
    /// A list of tables with these keys.
    Tables(&'static [Key]),
    /// A table of tables, whose names are the user's.
    Named(&'static [Key]),
    /// A table of numbers, whose names are the user's.
    Numbers(Range),
    /// A table of texts, whose names are the user's.
    TextTable,
}

/// Where a decimal number must lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    /// The least value, or what the value must be above.
    pub min: &'static str,
    /// Whether `min` itself is out of range.
    pub above: bool,
    /// The largest value.
    pub max: &'static str,
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.above {
            write!(f, "above {}, at most {}", self.min, self.max)
        } else {
            write!(f, "{} to {}", self.min, self.max)
        }
    }
}

const fn key(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, default: None }
}

const fn with(name: &'static str, kind: Kind, default: &'static str) -> Key {
    Key { name, kind, default: Some(default) }
}

const fn number(min: &'static str, max: &'static str) -> Kind {
    Kind::Number(Range { min, above: false, max })
}

const fn above_zero(max: &'static str) -> Kind {
    Kind::Number(PRICE.with_max(max))
}

const PRICE: Range = Range { min: "0", above: true, max: "1000000000" };

impl Range {
    const fn with_max(self, max: &'static str) -> Range {
        Range { max, ..self }
    }
}

/// The broker of a configuration that names none: the embedded one, where it is compiled in.
pub(super) const BROKER_DEFAULT: &str =
    if cfg!(feature = "embedded-broker") { "embedded" } else { "mqtt://localhost:1883" };
/// Where HTTP listens.
pub(super) const HTTP_LISTEN_DEFAULT: &str = "127.0.0.1:8420";
/// The types that a strategy can have.
pub(super) const STRATEGY_TYPES: &[&str] = &["external", "tradingview", "aibot"];
/// The sources that a feed can have in this version.
pub(super) const FEED_SOURCES: &[&str] = &["blofin", "recording", "synthetic"];

pub(super) const ROOT: &[Key] = &[
    with("instance", Kind::Text, "tradebus"),
    key("mqtt", Kind::Table(MQTT)),
    key("store", Kind::Table(STORE)),
    key("log", Kind::Table(LOG)),
    key("http", Kind::Table(HTTP)),
    key("feed", Kind::Named(FEED)),
    key("instrument", Kind::Named(INSTRUMENT)),
    key("venue", Kind::Named(VENUE)),
    key("account", Kind::Named(ACCOUNT)),
    key("type", Kind::Named(TYPE)),
    key("limits", Kind::Table(LIMITS)),
    key("paper", Kind::Table(PAPER)),
    key("strategy", Kind::Named(STRATEGY)),
];

pub(super) const MQTT: &[Key] = &[
    with("broker", Kind::Text, BROKER_DEFAULT),
    with("embedded_listen", Kind::Text, "127.0.0.1:1883"),
    with("username", Kind::Text, ""),
    with("password_file", Kind::SecretFile, ""),
    key("password", Kind::Secret),
    with("ca_file", Kind::Path, ""),
    with("client_certificate_file", Kind::Path, ""),
    with("client_key_file", Kind::SecretFile, ""),
    with("base_topic", Kind::Text, "tradebus"),
    with("discovery_prefix", Kind::Text, "homeassistant"),
    with("birth_topic", Kind::Text, ""),
    with("session_expiry_s", Kind::Integer(60, 604_800), "86400"),
    with("price_interval_ms", Kind::Integer(100, 60_000), "5000"),
    with("price_deadband_bps", number("0", "1000"), "1"),
];

pub(super) const STORE: &[Key] = &[
    with("path", Kind::Path, "/var/lib/tradebus"),
    with("engine", Kind::Words(&["sled", "memory", "redb"]), "sled"),
    with("journal_file_kb_max", Kind::Integer(64, 1_048_576), "65536"),
    with("equity_interval_s", Kind::Integer(60, 86_400), "300"),
    with("equity_retention_days", Kind::Integer(0, 36_500), "365"),
    with("signal_retention_days", Kind::Integer(0, 36_500), "0"),
    with("backup_dir", Kind::Path, ""),
    with("backups_kept", Kind::Integer(1, 1_000), "7"),
];

pub(super) const LOG: &[Key] = &[
    with("format", Kind::Words(&["auto", "human", "json"]), "auto"),
    with("level", Kind::Words(&["error", "warn", "info", "debug", "trace"]), "info"),
];

pub(super) const HTTP: &[Key] = &[
    with("listen", Kind::Text, HTTP_LISTEN_DEFAULT),
    with("token_file", Kind::SecretFile, ""),
    key("hosts", Kind::Texts),
    key("trusted_proxies", Kind::Texts),
    key("webhook_from", Kind::Texts),
    with("certificate_file", Kind::Path, ""),
    with("key_file", Kind::SecretFile, ""),
];

pub(super) const FEED: &[Key] = &[
    key("source", Kind::Text),
    key("symbols", Kind::Texts),
    with("price_stale_after_ms", Kind::Integer(100, 86_400_000), "15000"),
    with("mode", Kind::Words(&["stream", "poll"]), "stream"),
    with("standby", Kind::Flag, "false"),
    key("files", Kind::Tables(FILE)),
    with("speed", number("0", "1000000"), "1"),
    with("clock", Kind::Words(&["wall", "recorded"]), "wall"),
    with("repeat", Kind::Flag, "false"),
    with("seed", Kind::Integer(0, i64::MAX), "1"),
    with("interval_ms", Kind::Integer(10, 3_600_000), "1000"),
    with("volatility_pct", number("0", "100"), "3"),
    with("spread_bps", number("0", "1000"), "2"),
    key("start_prices", Kind::Numbers(PRICE)),
];

pub(super) const FILE: &[Key] = &[key("path", Kind::Path), key("symbol", Kind::Text)];

pub(super) const INSTRUMENT: &[Key] = &[
    with("tick_size", above_zero("1000000"), "0.00000001"),
    with("lot_size", above_zero("1000000"), "0.00000001"),
    key("size_min", above_zero("1000000")),
    with("contract_value", above_zero("1000000"), "1"),
];

pub(super) const VENUE: &[Key] = &[
    with("environment", Kind::Words(&["production", "demo"]), "production"),
    with("rest_url", Kind::Text, ""),
    with("ws_public_url", Kind::Text, ""),
    with("ws_private_url", Kind::Text, ""),
    with("ca_file", Kind::Path, ""),
];

pub(super) const ACCOUNT: &[Key] = &[
    with("venue", Kind::Text, "blofin"),
    with("api_key_file", Kind::SecretFile, ""),
    with("api_secret_file", Kind::SecretFile, ""),
    with("passphrase_file", Kind::SecretFile, ""),
    key("api_key", Kind::Secret),
    key("api_secret", Kind::Secret),
    key("passphrase", Kind::Secret),
    with("margin_mode", Kind::Words(&["cross", "isolated"]), "cross"),
    with("leverage", Kind::Integer(1, 125), "3"),
    with("dead_man_after_s", Kind::Integer(5, 3_600), "30"),
    with("clock_skew_max_ms", Kind::Integer(100, 30_000), "2000"),
    with("broker_id", Kind::Text, ""),
];

pub(super) const TYPE: &[Key] = &[key("account", Kind::Text), key("limits", Kind::Table(LIMITS))];

pub(super) const LIMITS: &[Key] = &[
    key("order_notional_max", above_zero("1000000000000")),
    key("position_notional_max", above_zero("1000000000000")),
    key("leverage_max", above_zero("125")),
    key("orders_per_minute_max", Kind::Integer(1, 10_000)),
    key("daily_loss_max", above_zero("1000000000000")),
    key("drawdown_max_pct", above_zero("100")),
    with("on_drawdown", Kind::Words(&["flatten", "reduce"]), "flatten"),
];

pub(super) const PAPER: &[Key] = &[
    with("fee_taker_ratio", number("0", "0.1"), "0.0006"),
    with("fee_maker_ratio", number("-0.1", "0.1"), "0.0002"),
    with("slippage_bps", number("0", "1000"), "2"),
    with("latency_ms", Kind::Integer(0, 60_000), "0"),
    with("leverage", number("1", "125"), "1"),
];

pub(super) const STRATEGY: &[Key] = &[
    key("type", Kind::Words(STRATEGY_TYPES)),
    key("account", Kind::Text),
    key("feed", Kind::Text),
    key("symbols", Kind::Texts),
    with("ticks", Kind::Flag, "false"),
    with("balance", above_zero("1000000000000"), "10000"),
    key("default_size", Kind::Table(SIZE)),
    key("confidence_min", number("0", "1")),
    key("limits", Kind::Table(LIMITS)),
    key("paper", Kind::Table(PAPER)),
    with("signals_per_minute_max", Kind::Integer(1, 1_000_000), "600"),
    with("key_file", Kind::SecretFile, ""),
    with("key_required", Kind::Flag, "true"),
    key("accept_from", Kind::Texts),
    key("overrides", Kind::TextTable),
    with("contracts_as_size", Kind::Flag, "false"),
    key("price_deviation_max_pct", above_zero("100")),
];

pub(super) const SIZE: &[Key] = &[
    key("quantity", above_zero("1000000000000")),
    key("notional", above_zero("1000000000000")),
    key("equity_pct", above_zero("12500")),
    key("risk_pct", above_zero("100")),
];

/// Prices that a synthetic market starts from when none is given.
pub(super) const START_PRICE_DEFAULT: &str = "100";

/// The candidate that `name` was most likely meant to be, when one is near enough.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |candidate: &str| strsim::jaro_winkler(&name.to_lowercase(), &candidate.to_lowercase());
    let scored = candidates.into_iter().map(|candidate| (likeness(candidate), candidate));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    // 0.8 takes "brokr" and "api_key" (for api_key_file), and leaves words that only share a letter.
    (best.0 >= 0.8).then_some(best.1)
}

/// `; did you mean "nearest"?`, or nothing.
pub(super) fn suggestion<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default()
}

/// `path.name`, quoted where TOML would need quotes.
pub(super) fn join(path: &str, name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let name = if bare { name.to_owned() } else { format!("{name:?}") };
    if path.is_empty() { name } else { format!("{path}.{name}") }
}
