//! The first event of every run: the configuration meets what the store remembers.

use std::collections::BTreeSet;

use super::desk::Desk;
use super::effect::{AlertLevel, Effect, Update};
use super::exchange_control::ExchangeControl;
use super::order_manager::with_status;
use super::price_module::PriceModule;
use super::record::{Announced, Record, StrategyRecord};
use super::settings::{EngineSettings, StrategySettings};
use super::state::State;
use crate::model::ids::{FeedId, StoreId, StrategyId, StrategyType, Symbol};
use crate::model::market::MarketKey;
use crate::model::order::{Order, OrderReason, OrderStatus};
use crate::model::time::Timestamp;

/// Records what is new in the configuration, clears what is gone, and takes back orders that the stop interrupted.
pub fn start(
    settings: &EngineSettings,
    state: &mut State,
    prices: &PriceModule,
    store_id_new: StoreId,
    at: Timestamp,
    effects: &mut Vec<Effect>,
) {
    let mut desk = Desk::new(at, state, prices, effects);
    if desk.state().store_id.is_none() {
        desk.record(Record::Store { id: store_id_new, time: at });
    }
    for strategy in &settings.strategies {
        register(&mut desk, strategy);
    }
    retire_strategies(&mut desk, settings);
    for market in &settings.markets {
        if !desk.state().markets.contains_key(&market.key) {
            desk.record(Record::Market { key: market.key });
        }
    }
    let configured = |key: &MarketKey| settings.markets.iter().any(|market| market.key == *key);
    let gone: Vec<MarketKey> = desk.state().markets.keys().copied().filter(|key| !configured(key)).collect();
    let feeds: BTreeSet<FeedId> = settings.markets.iter().map(|market| market.key.feed).collect();
    let feeds_gone: BTreeSet<FeedId> =
        gone.iter().map(|key| key.feed).filter(|feed| !feeds.contains(feed)).collect();
    gone.into_iter().for_each(|key| desk.publish(Update::ClearMarket(key)));
    feeds_gone.into_iter().for_each(|feed| desk.publish(Update::ClearFeed(feed)));
    cancel_interrupted(&mut desk, settings);
    let level = desk.state().level.level;
    desk.publish(Update::Level(level));
}

/// Makes a strategy known, or its new type or symbols, and books a changed balance as an adjustment.
fn register(desk: &mut Desk<'_>, settings: &StrategySettings) {
    let symbols: Vec<Symbol> = settings.markets.keys().copied().collect();
    let known = desk.state().strategies.get(&settings.id).is_some_and(|state| {
        let same = state.kind == settings.kind && state.venue == settings.venue && state.active;
        same && symbols.iter().all(|symbol| state.symbols.contains(symbol))
    });
    if !known {
        desk.record(Record::Strategy(StrategyRecord {
            id: settings.id,
            kind: settings.kind,
            venue: settings.venue,
            symbols: symbols.clone(),
            balance: settings.balance,
            time: desk.at,
        }));
    }
    let state = &desk.state().strategies[&settings.id];
    let amount = settings.balance - (state.balance_start + state.adjustments);
    let left = |symbol: &Symbol| !symbols.contains(symbol) && !state.positions.contains_key(symbol);
    let gone: Vec<Symbol> = state.symbols.iter().copied().filter(left).collect();
    if !amount.is_zero() {
        desk.record(Record::Adjustment { strategy: settings.id, amount, time: desk.at });
    }
    if !gone.is_empty() {
        desk.publish(Update::ClearStrategy { strategy: settings.id, symbols: gone, all: false });
    }
}

/// Journals which devices Home Assistant may know of from now on; nothing for those that it knows already.
pub fn announced(desk: &mut Desk<'_>, devices: Vec<Announced>) {
    for device in devices {
        let known = desk.state().announced.get(&device.topic);
        let same = known.map_or(device.components.is_empty(), |known| *known == device);
        if !same {
            desk.record(Record::Announced(device));
        }
    }
}

/// Takes strategies that left the configuration out of the sums and off the bus; their ledger stays.
fn retire_strategies(desk: &mut Desk<'_>, settings: &EngineSettings) {
    let configured = |id: &StrategyId| settings.strategies.iter().any(|strategy| strategy.id == *id);
    let gone: Vec<StrategyId> =
        desk.state().strategies.keys().copied().filter(|id| !configured(id)).collect();
    for id in gone {
        let state = &desk.state().strategies[&id];
        let (active, open, symbols) = (state.active, state.positions.len(), state.symbols.clone());
        if active {
            desk.record(Record::Retired { strategy: id, time: desk.at });
        }
        if open > 0 {
            let text = format!("{id} is not configured any more, but {open} positions of it are open");
            desk.alert(AlertLevel::Warning, "strategy_missing", Some(id), text);
        }
        desk.publish(Update::ClearStrategy { strategy: id, symbols, all: true });
    }
    let configured: BTreeSet<StrategyType> = settings.strategies.iter().map(|s| s.kind).collect();
    let known: BTreeSet<StrategyType> = desk.state().strategies.values().map(|s| s.kind).collect();
    known.difference(&configured).for_each(|kind| desk.publish(Update::ClearType(*kind)));
}

/// Cancels orders that were in their paper latency, and those whose strategy or symbol is gone. What a touched stop
/// became goes on: its position is to be closed.
fn cancel_interrupted(desk: &mut Desk<'_>, settings: &EngineSettings) {
    let rests = |order: &&Order| {
        let strategy = settings.strategies.iter().find(|strategy| strategy.id == order.strategy);
        let traded = strategy.is_some_and(|strategy| strategy.markets.contains_key(&order.symbol));
        traded && (order.status != OrderStatus::Submitting || order.is_of_stop())
    };
    // An order at a venue is there until the venue says otherwise.
    let live = |order: &&Order| desk.state().live.orders.contains_key(&order.order_id);
    let orders = desk.state().orders.values().filter(|order| !rests(order) && !live(order));
    let orders: Vec<Order> = orders.cloned().collect();
    for order in orders {
        let cancelled = with_status(&order, OrderStatus::Cancelled, Some(OrderReason::Restart), desk.at);
        desk.record(Record::Order(cancelled));
    }
}

impl ExchangeControl {
    /// Takes over what the store remembers, and publishes everything once. `paper`: see [`types_on_paper`].
    ///
    /// [`types_on_paper`]: super::basis::types_on_paper
    pub fn start(&mut self, desk: &mut Desk<'_>, paper: &BTreeSet<StrategyType>) {
        self.settle_basis(desk, paper);
        self.peaks_journalled = desk.at;
        self.sync_all(desk);
        self.protect_all(desk);
        self.start_venues(desk);
        // Days that ended while nothing ran: their loss must not count as one of today.
        match self.day_due(desk.state()) {
            Some(due) if due <= desk.at => self.on_day_end(desk),
            _ => self.publish_kpis(desk, None),
        }
        for account in &self.accounts {
            let state = &desk.state().strategies[&account.settings.id];
            let untraded =
                state.positions.keys().find(|symbol| !account.settings.markets.contains_key(symbol));
            if let Some(symbol) = untraded.copied() {
                let text =
                    format!("a position in {symbol} is open, but the symbol is not configured any more");
                desk.alert(AlertLevel::Warning, "symbol_missing", Some(account.settings.id), text);
            }
        }
    }
}
