//! What survives: the fold of the records, and nothing else.
//!
//! The engine changes this state only by making a record and applying it here, so that a restart, a replay and
//! `tradebus verify` go through the very same lines. Applying never fails and reads no clock.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::event::{Level, LevelScope};
use super::live_state::LiveState;
use super::record::{
    Announced, LevelCause, LevelRecord, Record, SampleRecord, Scope, SignalRecord, StrategyRecord,
};
use super::request_history::RequestHistory;
use super::scope_state::ScopeState;
use super::signal_history::{Decided, SignalHistory};
use super::stop_book::StopBook;
use crate::model::amount::{Money, Price};
use crate::model::ids::{ClientOrderId, SignalId, StoreId, StrategyId, StrategyType, Symbol, VenueId};
use crate::model::kpi::TradeStats;
use crate::model::market::MarketKey;
use crate::model::order::Order;
use crate::model::position::{Execution, Position};
use crate::model::report::Fill;
use crate::model::signal::{Outcome, Reason, Refusal, SignalResult};
use crate::model::time::Timestamp;

/// The folded state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Sequence of the last record.
    pub sequence: u64,
    /// The store's id; `None` before the first record.
    pub store_id: Option<StoreId>,
    /// The daemon's level.
    pub level: LevelState,
    /// Every strategy that ever traded, also those that left the configuration.
    pub strategies: BTreeMap<StrategyId, StrategyState>,
    /// Peak, day start and exposure of every scope.
    pub scopes: BTreeMap<Scope, ScopeState>,
    /// Orders that are not final.
    pub orders: BTreeMap<ClientOrderId, Order>,
    /// Fills so far of each order that is not final.
    pub order_fills: BTreeMap<ClientOrderId, u32>,
    /// Decided signals.
    pub signals: SignalHistory,
    /// Markets with retained topics at the broker, and their last journalled mark.
    pub markets: BTreeMap<MarketKey, Option<Price>>,
    /// Event messages through this sequence were acknowledged by the broker.
    pub published: u64,
    /// The last UTC day with a daily sample.
    pub day: Option<i64>,
    /// Ids of the latest level commands, so that none is taken twice.
    pub level_commands: VecDeque<SignalId>,
    /// What Home Assistant may know of, by discovery topic.
    pub announced: BTreeMap<String, Announced>,
    /// Requests that were carried out lately.
    pub requests: RequestHistory,
    /// Stops of positions, and those that orders bring.
    pub stops: StopBook,
    /// Live trading.
    pub live: LiveState,
}

/// How many level commands are remembered; a repeated one is also refused for its age.
const LEVEL_COMMANDS_MAX: usize = 64;
/// The most days that are filled in when the daemon was away.
const DAYS_FILLED_MAX: usize = 4_000;

/// A latched level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelState {
    /// As set.
    pub level: Level,
    /// The UTC day whose loss reached its limit, if any.
    pub loss_day: Option<i64>,
}

impl LevelState {
    /// The level that counts at `at`.
    pub fn effective(self, at: Timestamp) -> Level {
        match self.loss_day {
            Some(day) if day == at.day() => self.level.max(Level::Reduce),
            _ => self.level,
        }
    }
}

/// A strategy's ledger and what belongs to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StrategyState {
    /// Its type.
    pub kind: StrategyType,
    /// Where its orders go.
    pub venue: VenueId,
    /// Every symbol that it ever had.
    pub symbols: Vec<Symbol>,
    /// When it was first seen.
    pub started: Timestamp,
    /// Starting balance.
    pub balance_start: Money,
    /// Capital added since.
    pub adjustments: Money,
    /// Profit realised, before fees.
    pub realized_pnl: Money,
    /// Fees paid.
    pub fees: Money,
    /// Funding received.
    pub funding: Money,
    /// Open positions.
    pub positions: BTreeMap<Symbol, Position>,
    /// Closed trades, summed up.
    pub trades: TradeStats,
    /// Its level.
    pub level: LevelState,
    /// Time of the last target that was applied, by symbol.
    pub targets: BTreeMap<Symbol, Timestamp>,
    /// The first day with a daily sample.
    pub day_first: Option<i64>,
    /// Daily equity from that day on, without gaps, adjustments taken out.
    pub days: Vec<Money>,
    /// The latest refusal, for people.
    pub last_error: Option<String>,
    /// Whether it is configured.
    pub active: bool,
}

impl StrategyState {
    fn new(record: &StrategyRecord) -> StrategyState {
        StrategyState {
            kind: record.kind,
            venue: record.venue,
            symbols: Vec::new(),
            started: record.time,
            balance_start: record.balance,
            adjustments: Money::ZERO,
            realized_pnl: Money::ZERO,
            fees: Money::ZERO,
            funding: Money::ZERO,
            positions: BTreeMap::new(),
            trades: TradeStats::default(),
            level: LevelState::default(),
            targets: BTreeMap::new(),
            day_first: None,
            days: Vec::new(),
            last_error: None,
            active: false,
        }
    }

    /// Starting balance and all that was booked since.
    pub fn balance(&self) -> Money {
        self.balance_start + self.adjustments + self.realized_pnl - self.fees + self.funding
    }
}

impl State {
    /// Folds one record in. The only way in which this state changes.
    pub fn apply(&mut self, record: &Record) {
        self.sequence += 1;
        match record {
            Record::Store { id, .. } => self.store_id = Some(*id),
            Record::Strategy(strategy) => self.apply_strategy(strategy),
            Record::Adjustment { strategy, amount, .. } => self.apply_adjustment(*strategy, *amount),
            Record::Market { key } => {
                self.markets.entry(*key).or_default();
            }
            Record::Retired { strategy, time } => {
                self.count_in_sums(*strategy, false, *time);
                if let Some(state) = self.strategies.get_mut(strategy) {
                    state.active = false;
                }
            }
            Record::Signal(signal) => self.apply_signal(signal),
            Record::Order(order) => self.apply_order(order),
            Record::Fill(fill) => self.apply_fill(fill),
            Record::Trade(trade) => {
                if let Some(state) = self.strategies.get_mut(&trade.strategy) {
                    state.trades.add(trade.pnl);
                }
            }
            Record::Level(level) => self.apply_level(level),
            Record::Sample(sample) => self.apply_sample(sample),
            Record::Published { through } => self.published = self.published.max(*through),
            Record::Poisoned { strategy, id, time } => {
                let result = poisoned_result(*strategy, id, *time);
                self.signals.insert(*time, *strategy, id, &Decided { fingerprint: None, result });
            }
            Record::Announced(device) if device.components.is_empty() => {
                self.announced.remove(&device.topic);
            }
            Record::Announced(device) => {
                self.announced.insert(device.topic.clone(), device.clone());
            }
            Record::Request(request) => self.requests.insert(request),
            Record::Triggers(triggers) => self.stops.apply_triggers(triggers),
            Record::Stop(stop) => self.stops.apply_stop(stop),
            Record::Live(note) => self.apply_note(note),
            Record::Correction(correction) => self.apply_correction(correction),
            Record::Snapshot(snapshot) => self.live.apply_snapshot(snapshot),
            Record::LastFills(record) => self.live.apply_last_fills(record),
            Record::LiveStop(stop) => self.live.apply_stop(stop),
            Record::Drift(drift) => self.live.apply_drift(drift),
            Record::Account(account) => self.live.apply_account(account),
            Record::Route(route) => self.live.apply_route(route),
            Record::Reconcile(reconcile) => self.live.apply_reconcile(reconcile),
            Record::Funding(funding) => self.apply_funding(funding),
            Record::Basis(basis) => self.scopes.entry(basis.scope).or_default().rebase(basis),
        }
    }

    /// The scopes that a strategy counts in.
    pub fn scopes_of(&self, strategy: StrategyId) -> [Scope; 3] {
        let kind = self.strategies.get(&strategy).map(|state| state.kind);
        let kind = kind.expect("a strategy is recorded before anything of it");
        [Scope::Strategy(strategy), Scope::Type(kind), Scope::Portfolio]
    }

    fn apply_strategy(&mut self, record: &StrategyRecord) {
        if self.strategies.contains_key(&record.id) {
            self.count_in_sums(record.id, false, record.time);
        }
        let state = self.strategies.entry(record.id).or_insert_with(|| StrategyState::new(record));
        state.kind = record.kind;
        state.venue = record.venue;
        state.active = true;
        let new: Vec<Symbol> =
            record.symbols.iter().filter(|symbol| !state.symbols.contains(symbol)).copied().collect();
        state.symbols.extend(new);
        let own = Scope::Strategy(record.id);
        self.scopes.entry(own).or_insert_with(|| ScopeState {
            peak: record.balance,
            day_start: record.balance,
            started: record.time,
            ..ScopeState::default()
        });
        self.count_in_sums(record.id, true, record.time);
        self.day = self.day.or(Some(record.time.day() - 1));
    }

    /// Adds a strategy to the sums of its type and of the portfolio, or takes it out, without a jump in their drawdown.
    fn count_in_sums(&mut self, id: StrategyId, add: bool, at: Timestamp) {
        let Some(strategy) = self.strategies.get(&id) else { return };
        if !add && !strategy.active {
            return;
        }
        let (balance, positions) = (strategy.balance(), strategy.positions.len());
        let amount = if add { balance } else { -balance };
        for scope in [Scope::Type(strategy.kind), Scope::Portfolio] {
            let fresh = ScopeState { started: at, ..ScopeState::default() };
            let state = self.scopes.entry(scope).or_insert(fresh);
            if state.counts(strategy.venue) {
                state.peak += amount;
                state.day_start += amount;
            }
            (0..positions).for_each(|_| state.count(!add, add, at));
        }
    }

    fn apply_adjustment(&mut self, strategy: StrategyId, amount: Money) {
        let Some(state) = self.strategies.get_mut(&strategy) else { return };
        state.adjustments += amount;
        let venue = state.venue;
        for scope in self.scopes_of(strategy) {
            let state = self.scopes.entry(scope).or_default();
            if !state.counts(venue) {
                continue;
            }
            state.peak += amount;
            state.day_start += amount;
        }
    }

    fn apply_signal(&mut self, record: &SignalRecord) {
        let Some(state) = self.strategies.get_mut(&record.strategy) else { return };
        if record.target_applied {
            let time = state.targets.entry(record.symbol).or_insert(record.signal_time);
            *time = (*time).max(record.signal_time);
        }
        if let Some(refusal) = record.result.outcome.refusal() {
            state.last_error = Some(format!("{}: {}", refusal.reason.as_str(), refusal.detail));
        }
        let decided = Decided { fingerprint: Some(record.fingerprint), result: record.result.clone() };
        self.signals.insert(record.result.time, record.strategy, &record.id, &decided);
    }

    fn apply_order(&mut self, order: &Order) {
        self.live.apply_order(order);
        if order.status.is_final() {
            self.orders.remove(&order.order_id);
            self.order_fills.remove(&order.order_id);
            self.stops.forget_order(order.order_id);
        } else {
            self.orders.insert(order.order_id, order.clone());
        }
    }

    fn apply_fill(&mut self, fill: &Fill) {
        let execution = Execution::of(fill);
        let Some(state) = self.strategies.get_mut(&fill.strategy) else { return };
        let before = state.positions.get(&fill.symbol);
        let (held, cost) = (before.is_some(), before.map_or(Money::ZERO, |position| position.cost));
        let result = Position::after(before, &execution);
        let cost_after = result.position.as_ref().map_or(Money::ZERO, |position| position.cost);
        let spent = cost_after - cost - result.realized_pnl;
        state.realized_pnl += result.realized_pnl;
        state.fees += fill.fee;
        let holds = result.position.is_some();
        match result.position {
            Some(position) => state.positions.insert(fill.symbol, position),
            None => state.positions.remove(&fill.symbol),
        };
        self.order_fills.insert(fill.order_id, fill.number);
        self.stops.apply_fill(fill);
        self.live.apply_fill(fill, spent);
        for scope in self.scopes_of(fill.strategy) {
            self.scopes.entry(scope).or_default().count(held, holds, fill.time);
        }
    }

    fn apply_level(&mut self, record: &LevelRecord) {
        let state = match record.scope {
            LevelScope::Daemon => Some(&mut self.level),
            LevelScope::Strategy(id) => self.strategies.get_mut(&id).map(|state| &mut state.level),
        };
        let Some(state) = state else { return };
        state.level = record.level;
        if let LevelCause::DailyLoss { day } = record.cause {
            state.loss_day = Some(day);
        }
        if let Some(id) = &record.command {
            self.level_commands.push_back(id.clone());
            if self.level_commands.len() > LEVEL_COMMANDS_MAX {
                self.level_commands.pop_front();
            }
        }
        for (scope, peak) in &record.peaks {
            self.scopes.entry(*scope).or_default().peak = *peak;
        }
    }

    fn apply_sample(&mut self, record: &SampleRecord) {
        for sample in &record.scopes {
            let state = self.scopes.entry(sample.scope).or_default();
            state.peak = sample.peak;
            state.day_start = sample.day_start;
            let (Scope::Strategy(id), Some(day)) = (sample.scope, record.day) else { continue };
            if let Some(strategy) = self.strategies.get_mut(&id) {
                let first = *strategy.day_first.get_or_insert(day);
                let missing = (day - first) as usize - strategy.days.len().min((day - first) as usize);
                let last = strategy.days.last().copied().unwrap_or(strategy.balance_start);
                strategy.days.extend(std::iter::repeat_n(last, missing.min(DAYS_FILLED_MAX)));
                strategy.days.push(sample.equity - strategy.adjustments);
            }
        }
        for (key, price) in &record.marks {
            self.markets.insert(*key, Some(*price));
        }
        self.day = record.day.or(self.day);
    }
}

/// The answer to a signal on which the process died.
pub fn poisoned_result(strategy: StrategyId, id: &SignalId, time: Timestamp) -> SignalResult {
    let detail = "the daemon failed while it handled this signal; it is not tried again";
    SignalResult {
        strategy: strategy.to_string(),
        id: Some(id.clone()),
        outcome: Outcome::Rejected(Refusal::new(Reason::Internal, detail)),
        note: None,
        orders: Vec::new(),
        repeated: false,
        time,
    }
}
