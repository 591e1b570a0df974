//! The registry of exchanges: one object for each strategy, and the only way to it.
//!
//! All orders and reports pass through here, every report becomes records, and every strategy's money is known here:
//! by strategy, by type and in total. Valuation and latches are in `guard.rs`, publication in `publication.rs`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::desk::Desk;
use super::gauge::Gauge;
use super::live_control::VenueAccount;
use super::order_manager::{OrderDraft, cut_to_position, order_id, records_of};
use super::portfolio::Book;
use super::price_module::PriceModule;
use super::reconcile_plan::Compared;
use super::record::{Record, Scope, ScopeSample};
use super::route;
use super::settings::{EngineSettings, StrategySettings};
use super::state::State;
use super::stops::Touched;
use crate::exchange::Exchange;
use crate::model::amount::Quantity;
use crate::model::ids::{AccountId, StrategyId, StrategyType, Symbol};
use crate::model::market::{MarketKey, PriceUpdate};
use crate::model::order::{Order, OrderReason, OrderType};
use crate::model::report::ExecutionReport;
use crate::model::time::Timestamp;
use crate::risk::{Limits, RiskApproved, approve_reduction};

/// All exchanges and the money behind them.
#[derive(Debug)]
pub struct ExchangeControl {
    pub(super) accounts: Vec<Account>,
    pub(super) scopes: Vec<ScopeEntry>,
    pub(super) index: BTreeMap<StrategyId, usize>,
    pub(super) interval_ms: i64,
    pub(super) peaks_journalled: Timestamp,
    pub(super) flattening: bool,
    /// The accounts at venues.
    pub(super) venues: Vec<VenueAccount>,
    /// What they and the ledgers held when they were last compared.
    pub(super) compared: BTreeMap<AccountId, Compared>,
    /// When they were last looked at.
    pub(super) woken: Timestamp,
    pub(super) reports: Vec<ExecutionReport>,
}

/// One strategy's exchange and money.
#[derive(Debug)]
pub struct Account {
    pub(super) settings: StrategySettings,
    pub(super) exchange: Box<dyn Exchange>,
    pub(super) book: Book,
    /// Positions of its type and of the portfolio in the list of scopes.
    pub(super) scopes: [usize; 2],
    pub(super) entries: VecDeque<Timestamp>,
    pub(super) dirty: Dirty,
    pub(super) published_at: Option<Timestamp>,
    pub(super) positions_dirty: BTreeSet<Symbol>,
    /// Until when no exit is made anew because the venue refused the last one, and how often it did.
    pub(super) exit_pauses: BTreeMap<Symbol, (Timestamp, u32)>,
}

/// The figures of a type or of all strategies.
#[derive(Debug)]
pub struct ScopeEntry {
    pub(super) scope: Scope,
    pub(super) members: Vec<usize>,
    /// Whether any of them trades at a venue.
    pub(super) live: bool,
    /// Whose money is added up: that of the live ones if there are any, never both.
    pub(super) figured: Vec<usize>,
    pub(super) limits: Limits,
    pub(super) gauge: Gauge,
    pub(super) dirty: Dirty,
    pub(super) published_at: Option<Timestamp>,
}

/// Whether something waits to be published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dirty {
    /// Nothing new.
    #[default]
    No,
    /// When the interval allows.
    Throttled,
    /// With this event.
    Now,
}

impl ExchangeControl {
    /// Opens an exchange for each strategy of the settings and takes its resting orders back.
    pub fn new(settings: &EngineSettings, state: &State, prices: &mut PriceModule) -> ExchangeControl {
        let mut control = ExchangeControl {
            accounts: Vec::new(),
            scopes: Vec::new(),
            index: BTreeMap::new(),
            interval_ms: settings.price_interval_ms,
            peaks_journalled: Timestamp::MIN,
            flattening: true,
            venues: VenueAccount::all(settings),
            compared: BTreeMap::new(),
            woken: Timestamp::MIN,
            reports: Vec::new(),
        };
        let mut types: BTreeMap<StrategyType, Vec<usize>> = BTreeMap::new();
        for (index, strategy) in settings.strategies.iter().enumerate() {
            let exchange = route::open(settings, strategy, state);
            for key in strategy.markets.values() {
                prices.listen(*key, index, strategy.ticks);
            }
            types.entry(strategy.kind).or_default().push(index);
            control.index.insert(strategy.id, index);
            control.accounts.push(Account::new(strategy.clone(), exchange));
        }
        let portfolio = types.len();
        for (index, (kind, members)) in types.into_iter().enumerate() {
            members.iter().for_each(|member| control.accounts[*member].scopes = [index, portfolio]);
            let limits = settings.type_limits.get(&kind).cloned().unwrap_or_default();
            control.add_scope(Scope::Type(kind), members, limits);
        }
        let all = (0..control.accounts.len()).collect();
        control.add_scope(Scope::Portfolio, all, settings.limits.clone());
        control
    }

    /// The account of a strategy, if it is configured.
    pub fn account_of(&self, strategy: StrategyId) -> Option<usize> {
        self.index.get(&strategy).copied()
    }

    /// The accounts, in the order of the settings.
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// Takes a price to the exchanges of the strategies that listen, and values their positions.
    pub fn on_price(&mut self, desk: &mut Desk<'_>, position: usize, update: &PriceUpdate) {
        let prices = desk.prices;
        let market = &prices.markets()[position];
        let (key, mark, view) = (market.key(), market.mark(), market.view(desk.at));
        for &index in market.listeners() {
            let mut reports = std::mem::take(&mut self.reports);
            self.accounts[index].exchange.on_price(desk.at, key.symbol, update, &view, &mut reports);
            self.settle(desk, index, &mut reports);
            self.reports = reports;
            if let Some(mark) = mark {
                self.value(index, position, mark);
            }
        }
    }

    /// When an exchange wants to be woken next.
    pub fn next_wakeup(&self, state: &State, prices: &PriceModule) -> Option<Timestamp> {
        let wakeups = self.accounts.iter().filter_map(|account| account.exchange.next_wakeup());
        let simulated = wakeups.map(|(due, _)| due).min();
        let venues = if self.venues.is_empty() { None } else { self.venues_due(state, prices) };
        [simulated, venues].into_iter().flatten().min()
    }

    /// Wakes the exchanges whose time has come.
    pub fn on_wakeup(&mut self, desk: &mut Desk<'_>) {
        self.on_venues_due(desk);
        for index in 0..self.accounts.len() {
            while let Some((due, symbol)) = self.accounts[index].exchange.next_wakeup() {
                let market = self.market_of(index, symbol).and_then(|key| desk.prices.get(key));
                let Some(market) = market.filter(|_| due <= desk.at) else { break };
                let mut reports = std::mem::take(&mut self.reports);
                let view = market.view(desk.at);
                self.accounts[index].exchange.on_wakeup(desk.at, symbol, &view, &mut reports);
                self.settle(desk, index, &mut reports);
                self.reports = reports;
            }
        }
    }

    /// Journals an order and hands it to the strategy's exchange.
    pub fn submit(&mut self, desk: &mut Desk<'_>, index: usize, approved: RiskApproved) {
        let order = approved.order().clone();
        assert_eq!(order.strategy, self.accounts[index].settings.id, "an order went to another's exchange");
        let key = self.market_of(index, order.symbol);
        let market = key.and_then(|key| desk.prices.get(key)).expect("an order names a configured market");
        let view = market.view(desk.at);
        if !order.reduce_only {
            self.accounts[index].entries.push_back(desk.at);
            self.note_route(desk, index);
        }
        desk.record(Record::Order(order));
        let mut reports = std::mem::take(&mut self.reports);
        self.accounts[index].exchange.submit(desk.at, approved, &view, &mut reports);
        self.settle(desk, index, &mut reports);
        self.reports = reports;
    }

    /// Takes back the working orders of a strategy that `which` names.
    pub fn cancel_orders(
        &mut self,
        desk: &mut Desk<'_>,
        index: usize,
        reason: OrderReason,
        which: impl Fn(&Order) -> bool,
    ) {
        let ids = self.open_orders(desk.state(), index).filter(|order| which(order)).map(|o| o.order_id);
        let ids: Vec<_> = ids.collect();
        let mut reports = std::mem::take(&mut self.reports);
        for order_id in ids {
            self.accounts[index].exchange.cancel(desk.at, order_id, reason, &mut reports);
        }
        self.settle(desk, index, &mut reports);
        self.reports = reports;
    }

    /// Sends what is missing to close every position of a strategy at the market. `cause` makes the order ids.
    pub fn close_positions(&mut self, desk: &mut Desk<'_>, index: usize, cause: &str) {
        if self.blocked(desk.state(), index).is_some() {
            return;
        }
        let strategy = self.accounts[index].settings.id;
        let positions: Vec<(Symbol, Quantity)> =
            desk.state().strategies[&strategy].positions.values().map(|p| (p.symbol, p.quantity)).collect();
        for (symbol, quantity) in positions {
            if self.is_exit_paused(desk.at, index, symbol) {
                continue;
            }
            let missing =
                quantity.abs() - self.working_exits(desk.state(), index, symbol, quantity, is_sent_exit);
            if !missing.is_positive() || self.market_of(index, symbol).is_none() {
                continue;
            }
            let draft = OrderDraft {
                strategy,
                symbol,
                venue: self.accounts[index].settings.venue,
                signal_id: None,
                quantity_signed: if quantity.is_negative() { missing } else { -missing },
                order_type: OrderType::Market,
                reduce_only: true,
            };
            let store = desk.state().store_id.expect("the store has an id since its first record");
            // The sequence keeps two closings within one millisecond apart.
            let leg = format!("{symbol}-{}", desk.state().sequence);
            let id = order_id(store, strategy, cause, desk.at, &leg);
            let approved = approve_reduction(draft.order(id, desk.at));
            self.submit(desk, index, approved);
        }
    }

    /// The market in which a strategy trades a symbol.
    pub fn market_of(&self, index: usize, symbol: Symbol) -> Option<MarketKey> {
        self.accounts[index].settings.markets.get(&symbol).copied()
    }

    /// The orders of a strategy that are not final.
    pub fn open_orders<'s>(
        &self,
        state: &'s State,
        index: usize,
    ) -> impl Iterator<Item = &'s Order> + use<'s> {
        let strategy = self.accounts[index].settings.id;
        state.orders.values().filter(move |order| order.strategy == strategy)
    }

    /// Base units, without sign, that the working orders of `which` would still take off a position.
    pub fn working_exits(
        &self,
        state: &State,
        index: usize,
        symbol: Symbol,
        position: Quantity,
        which: fn(&Order) -> bool,
    ) -> Quantity {
        let opposes = |order: &Order| order.remaining_signed().is_negative() != position.is_negative();
        let exits = self
            .open_orders(state, index)
            .filter(|order| order.symbol == symbol && opposes(order) && which(order));
        exits.map(|order| order.remaining()).sum()
    }

    /// Turns reports into records, values the books anew, and takes back what can no longer reduce.
    pub(super) fn settle(&mut self, desk: &mut Desk<'_>, index: usize, reports: &mut Vec<ExecutionReport>) {
        let simulated = self.accounts[index].settings.account.is_none();
        let mut next = 0;
        while next < reports.len() {
            let report = match simulated {
                true => cut_to_position(desk.state(), &self.accounts[index].settings.paper, &reports[next]),
                false => reports[next].clone(),
            };
            self.pass_on(desk, index, &report);
            next += 1;
            if let ExecutionReport::Triggered { stop_id, symbol, cause, quantity } = report {
                self.on_touched(desk, index, Touched { stop_id, symbol, cause, quantity }, reports);
                continue;
            }
            let records = records_of(desk.state(), desk.at, &report);
            let symbol = records.first().and_then(Record::symbol);
            let fill = records.iter().find_map(|record| match record {
                Record::Fill(fill) => Some(fill.symbol),
                Record::Correction(correction) => Some(correction.symbol),
                _ => None,
            });
            let closed = records.iter().any(|record| matches!(record, Record::Trade(_)));
            records.into_iter().for_each(|record| desk.record(record));
            if let Some(symbol) = fill {
                self.after_fill(desk, index, symbol, closed);
                self.cancel_excess(desk, index, symbol, reports);
            }
            if let Some(symbol) = symbol {
                let recheck = matches!(report, ExecutionReport::Cancelled { .. });
                self.protect(desk, index, (symbol, recheck), reports);
            }
        }
        reports.clear();
    }

    /// Cancels the reduce-only orders of a symbol that would do more than close its position: resting ones before
    /// those on their way, newer ones before older. One that waits to be sent is cut instead.
    fn cancel_excess(
        &mut self,
        desk: &Desk<'_>,
        index: usize,
        symbol: Symbol,
        reports: &mut Vec<ExecutionReport>,
    ) {
        let strategy = &desk.state().strategies[&self.accounts[index].settings.id];
        let position = strategy.positions.get(&symbol).map_or(Quantity::ZERO, |p| p.quantity);
        // Beside each other, a closed side is the venue's to know: what was sent to close it closes nothing else.
        let beside = self.splits_flips(desk.state(), index);
        let mut exits: Vec<&Order> = self
            .open_orders(desk.state(), index)
            .filter(|order| order.symbol == symbol && order.reduce_only)
            .filter(|order| !(beside && is_sent_exit(order)) || self.waits_behind(index, order))
            .collect();
        exits.sort_by_key(|order| (!is_sent_exit(order), order.created, order.order_id));
        let mut left = position.abs();
        for order in exits {
            let opposes = order.remaining_signed().is_negative() != position.is_negative();
            if opposes && order.remaining() <= left {
                left -= order.remaining();
            } else if opposes && left.is_positive() && self.waits_behind(index, order) {
                let live = self.accounts[index].exchange.live_mut();
                live.into_iter().for_each(|live| live.cut_waiting(order.order_id, left, reports));
                left = Quantity::ZERO;
            } else {
                let (order_id, reason) = (order.order_id, OrderReason::ReduceOnly);
                self.accounts[index].exchange.cancel(desk.at, order_id, reason, reports);
                if self.accounts[index].settings.account.is_none() {
                    // Paper may have filled it with the same print and forgotten it.
                    reports.push(ExecutionReport::Cancelled { order_id, reason });
                }
            }
        }
    }
}

impl Account {
    fn new(settings: StrategySettings, exchange: Box<dyn Exchange>) -> Account {
        Account {
            settings,
            exchange,
            book: Book::default(),
            scopes: [0; 2],
            entries: VecDeque::new(),
            dirty: Dirty::No,
            published_at: None,
            positions_dirty: BTreeSet::new(),
            exit_pauses: BTreeMap::new(),
        }
    }

    /// Whether it trades at a venue.
    pub(super) fn is_live(&self) -> bool {
        self.settings.account.is_some()
    }

    /// The strategy's settings.
    pub fn settings(&self) -> &StrategySettings {
        &self.settings
    }

    /// Its figures to be journalled.
    pub(super) fn sample(&self) -> ScopeSample {
        self.book.gauge.sample(Scope::Strategy(self.settings.id))
    }

    /// The symbols whose positions wait to be published, which then wait no more.
    pub(super) fn take_positions(&mut self) -> BTreeSet<Symbol> {
        self.positions_dirty.extend(self.book.take_moved());
        std::mem::take(&mut self.positions_dirty)
    }

    /// The strategy's money at the mark.
    pub fn book(&self) -> &Book {
        &self.book
    }
}

/// Whether an order is an exit that surely fills: at the market, and only reducing.
pub fn is_sent_exit(order: &Order) -> bool {
    order.reduce_only && order.order_type == OrderType::Market
}
