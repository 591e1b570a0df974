//! What the engine is told of the configuration.

use std::collections::BTreeMap;

use super::strategy::StrategyConfig;
use super::{AccountConfig, Config};
use crate::engine::settings::{AccountSettings, EngineSettings, MarketSettings, StrategySettings};
use crate::model::ids::{FeedId, Symbol, VenueId};
use crate::model::instrument::Instrument;
use crate::model::market::MarketKey;
use crate::model::trading::Environment;

/// The venue of strategies without keys.
pub(super) fn paper_venue() -> VenueId {
    VenueId::new("paper").expect("it is a word")
}

impl Config {
    /// The values that the engine goes by: markets sorted by feed, strategies by id.
    ///
    /// # Panics
    /// When the figures of an instrument were changed to zero or below after [`Config::load`].
    pub fn engine_settings(&self) -> EngineSettings {
        EngineSettings {
            markets: self.markets(),
            strategies: self.strategies.iter().map(|strategy| self.strategy_settings(strategy)).collect(),
            accounts: self.accounts_used().map(|account| self.account_settings(account)).collect(),
            type_limits: self.types.iter().map(|(kind, settings)| (*kind, settings.limits.clone())).collect(),
            limits: self.limits.clone(),
            price_interval_ms: self.mqtt.price_interval_ms,
            price_deadband_bps: self.mqtt.price_deadband_bps,
        }
    }

    fn markets(&self) -> Vec<MarketSettings> {
        let mut markets = Vec::new();
        for feed in &self.feeds {
            markets.extend(feed.symbols.iter().map(|symbol| MarketSettings {
                key: MarketKey { feed: feed.id, symbol: *symbol },
                instrument: self.instrument(*symbol),
                price_stale_after_ms: feed.price_stale_after_ms,
            }));
        }
        markets
    }

    fn instrument(&self, symbol: Symbol) -> Instrument {
        let Some(figures) = self.instruments.get(&symbol) else { return Instrument::plain(symbol) };
        let (tick, lot, min) = (figures.tick_size, figures.lot_size, figures.size_min);
        Instrument::new(symbol, tick, lot, min, figures.contract_value)
            .expect("load takes only figures above 0")
    }

    /// The accounts with keys that a strategy trades at.
    pub fn accounts_used(&self) -> impl Iterator<Item = &AccountConfig> {
        let is_used = |account: &&AccountConfig| {
            let trades = |strategy| self.account_of(strategy).is_some_and(|own| own.id == account.id);
            self.strategies.iter().any(trades)
        };
        self.accounts.iter().filter(is_used)
    }

    /// Which of the venue's worlds accounts are in.
    pub fn environment(&self) -> Environment {
        if self.blofin.is_demo { Environment::Demo } else { Environment::Production }
    }

    fn account_settings(&self, account: &AccountConfig) -> AccountSettings {
        AccountSettings {
            id: account.id,
            venue: account.venue,
            environment: self.environment(),
            margin_mode: account.margin_mode,
            leverage: account.leverage,
            dead_man_after_ms: i64::from(account.dead_man_after_s) * 1_000,
            clock_skew_max_ms: account.clock_skew_max_ms,
        }
    }

    fn strategy_settings(&self, strategy: &StrategyConfig) -> StrategySettings {
        let account = self.account_of(strategy);
        let key = |feed: FeedId, symbol: Symbol| (symbol, MarketKey { feed, symbol });
        let markets: BTreeMap<_, _> =
            strategy.symbols.iter().map(|symbol| key(strategy.feed, *symbol)).collect();
        StrategySettings {
            id: strategy.id,
            kind: strategy.kind,
            markets,
            venue: account.map_or_else(paper_venue, |account| account.venue),
            account: account.map(|account| account.id),
            ticks: strategy.ticks,
            balance: strategy.balance,
            default_size: strategy.default_size,
            confidence_min: strategy.confidence_min,
            price_deviation_max_pct: strategy
                .tradingview
                .as_ref()
                .and_then(|alerts| alerts.price_deviation_max_pct),
            signals_per_minute_max: strategy.signals_per_minute_max,
            limits: strategy.limits.clone(),
            paper: strategy.paper.clone(),
        }
    }
}
