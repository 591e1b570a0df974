//! What is stored beside the journal, for charts and for a start without a feed: equity every few minutes, last prices
//! every minute. Copies of what the engine says, handed on without waiting.

use std::collections::BTreeMap;
use std::time::Duration;

use super::indexer::Indexer;
use crate::engine::effect::Update;
use crate::engine::price_module::PriceModule;
use crate::engine::record::Scope;
use crate::model::amount::Money;
use crate::model::time::Timestamp;
use crate::store::row::LastPrice;

/// The latest equity of every scope, and where it goes.
pub struct Snapshots {
    /// How often equity is stored.
    pub chart_interval: Duration,
    indexer: Indexer,
    equity: BTreeMap<Scope, Money>,
}

impl Snapshots {
    /// Nothing seen yet.
    pub fn new(indexer: Indexer, equity_interval_s: u32) -> Snapshots {
        let chart_interval = Duration::from_secs(u64::from(equity_interval_s));
        Snapshots { chart_interval, indexer, equity: BTreeMap::new() }
    }

    /// Remembers the equity that is published.
    pub fn observe(&mut self, update: &Update) {
        match update {
            Update::Strategy(view) => {
                self.equity.insert(Scope::Strategy(view.strategy), view.money.equity);
            }
            Update::Scope(view) => {
                self.equity.insert(view.scope, view.money.equity);
            }
            Update::ClearStrategy { strategy, all: true, .. } => {
                self.equity.remove(&Scope::Strategy(*strategy));
            }
            _ => {}
        }
    }

    /// Stores the equity of every scope.
    pub fn store_chart(&self, now: Timestamp) {
        let equity = self.equity.iter().map(|(scope, equity)| (*scope, *equity));
        self.indexer.chart(now, equity.collect());
    }

    /// Stores the price of every market that a feed spoke of.
    pub fn store_prices(&self, prices: &PriceModule, now: Timestamp) {
        let prices = prices.markets().iter().filter_map(|market| {
            let view = market.view(now);
            Some(LastPrice {
                key: market.key(),
                last: view.last,
                bid: view.bid,
                ask: view.ask,
                mark: market.mark(),
                time: now.plus_ms(-market.age_ms(now)?),
            })
        });
        self.indexer.prices(prices.collect());
    }
}
