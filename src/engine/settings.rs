//! What the engine is told at its start: values only, no files, hosts or passwords. `config.rs` makes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::exchange::paper::PaperSettings;
use crate::model::amount::{Money, Ratio};
use crate::model::ids::{AccountId, StrategyId, StrategyType, Symbol, VenueId};
use crate::model::instrument::Instrument;
use crate::model::market::MarketKey;
use crate::model::signal::Size;
use crate::model::trading::{Environment, MarginMode};
use crate::risk::Limits;

/// Everything the engine goes by. Changing it needs a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EngineSettings {
    /// The markets, one for each feed and symbol.
    pub markets: Vec<MarketSettings>,
    /// The strategies, in the order of the configuration.
    pub strategies: Vec<StrategySettings>,
    /// The accounts that have keys.
    pub accounts: Vec<AccountSettings>,
    /// Limits of a type of strategies.
    pub type_limits: BTreeMap<StrategyType, Limits>,
    /// Limits of the whole daemon.
    pub limits: Limits,
    /// The shortest time between two publications of a price or a state, in milliseconds.
    pub price_interval_ms: i64,
    /// The smallest change of a price that is published, in basis points of the last published one.
    pub price_deadband_bps: Ratio,
}

/// One feed and symbol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketSettings {
    /// Feed and symbol.
    pub key: MarketKey,
    /// Tick, lot, minimum and contract value.
    pub instrument: Instrument,
    /// How long a price is good after the venue's last confirmation, in milliseconds.
    pub price_stale_after_ms: i64,
}

/// One account at a venue, as far as decisions depend on it; the keys stay with the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSettings {
    /// Its name in the configuration.
    pub id: AccountId,
    /// The venue.
    pub venue: VenueId,
    /// Which of the venue's worlds.
    pub environment: Environment,
    /// Cross or isolated.
    pub margin_mode: MarginMode,
    /// Notional may reach what is free x leverage; what the venue has set is checked against it.
    pub leverage: u32,
    /// How long link, clock or prices may be unhealthy before working entries are taken back, in milliseconds.
    pub dead_man_after_ms: i64,
    /// How far the venue's clock may be from ours for an entry, in milliseconds.
    pub clock_skew_max_ms: i64,
}

/// One strategy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StrategySettings {
    /// Its id, the topic level it is addressed by.
    pub id: StrategyId,
    /// Its type.
    pub kind: StrategyType,
    /// The market of each of its symbols: one feed for all.
    pub markets: BTreeMap<Symbol, MarketKey>,
    /// Where its orders go: `paper`, or a venue with keys.
    pub venue: VenueId,
    /// Whose keys sign its orders; one of [`EngineSettings::accounts`]. `None` is paper.
    pub account: Option<AccountId>,
    /// Whether every tick of its symbols is published.
    pub ticks: bool,
    /// Paper money at the start, or the capital that sizes refer to.
    pub balance: Money,
    /// Size of a signal that names none.
    pub default_size: Option<Size>,
    /// Signals with a lower confidence are refused.
    pub confidence_min: Option<Ratio>,
    /// How far the price of an alert that enters may be from ours, in percent of ours.
    pub price_deviation_max_pct: Option<Ratio>,
    /// The most new signals at once, and in each minute after that; what reduces passes beyond it.
    pub signals_per_minute_max: u32,
    /// Its limits.
    pub limits: Limits,
    /// How its paper exchange fills.
    pub paper: PaperSettings,
}
