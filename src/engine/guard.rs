//! Valuation at every tick, and the latches that losses trip.
//!
//! Levels are durable: each change is a record. A latch trips once; what trips it again after `run` is a new loss.

use super::desk::Desk;
use super::effect::{AlertLevel, Update};
use super::event::{Level, LevelScope};
use super::exchange_control::{Account, Dirty, ExchangeControl, is_sent_exit};
use super::gauge::Gauge;
use super::record::{LevelCause, LevelRecord, Record, SampleRecord, Scope, ScopeSample};
use super::state::State;
use crate::model::amount::{Money, Price};
use crate::model::ids::{SignalId, StrategyId, Symbol};
use crate::model::market::MarketKey;
use crate::model::order::OrderReason;
use crate::model::time::{DAY_MS, Timestamp};
use crate::risk::{OnDrawdown, Trip};

/// A risen peak is journalled at most this often, in milliseconds.
pub const PEAK_JOURNAL_MS: i64 = 60_000;
/// The most times that the latches are looked at within one event; each trips once, so few are enough.
const GUARD_ROUNDS_MAX: usize = 8;
/// The most days that are sampled after an absence.
const DAYS_SAMPLED_MAX: i64 = 4_000;

impl ExchangeControl {
    /// Values the position of one account in one market.
    pub(super) fn value(&mut self, index: usize, market: usize, mark: Price) {
        let account = &mut self.accounts[index];
        let Some(change) = account.book.mark(market, mark) else { return };
        account.dirty = account.dirty.max(Dirty::Throttled);
        let live = account.is_live();
        for scope in account.scopes {
            let scope = &mut self.scopes[scope];
            if scope.live == live {
                scope.gauge.change(change);
                scope.dirty = scope.dirty.max(Dirty::Throttled);
            }
        }
    }

    /// Takes the durable figures over into every book and scope, and marks everything for publication.
    pub fn sync_all(&mut self, desk: &Desk<'_>) {
        for index in 0..self.accounts.len() {
            self.sync(desk, index);
            let account = &mut self.accounts[index];
            account.dirty = Dirty::Now;
            account.positions_dirty.extend(account.settings.markets.keys().copied());
        }
        self.scopes.iter_mut().for_each(|scope| scope.dirty = Dirty::Now);
    }

    pub(super) fn sync(&mut self, desk: &Desk<'_>, index: usize) {
        let account = &mut self.accounts[index];
        account.positions_dirty.extend(account.book.take_moved());
        account.book.sync(account.settings.id, &account.settings, desk.state(), desk.prices);
        for scope in &mut self.scopes {
            let gauges = scope.figured.iter().map(|index| &self.accounts[*index].book.gauge);
            let state = desk.state().scopes.get(&scope.scope).copied().unwrap_or_default();
            let balance = gauges.clone().map(Gauge::balance).sum();
            scope.gauge.sync(balance, gauges.map(Gauge::unrealized).sum(), &state);
            scope.gauge.raise_peak();
        }
    }

    /// Books a fill: journals the figures behind it and marks them for publication.
    pub(super) fn after_fill(&mut self, desk: &mut Desk<'_>, index: usize, symbol: Symbol, closed: bool) {
        self.sync(desk, index);
        let account = &mut self.accounts[index];
        account.dirty = Dirty::Now;
        account.positions_dirty.insert(symbol);
        account.book.gauge.raise_peak();
        account.book.gauge.peak_journalled();
        let mut scopes = vec![account.sample()];
        let (live, above) = (self.accounts[index].is_live(), self.accounts[index].scopes);
        for scope in above {
            let scope = &mut self.scopes[scope];
            if scope.live != live {
                continue;
            }
            scope.dirty = Dirty::Now;
            scope.gauge.peak_journalled();
            scopes.push(scope.gauge.sample(scope.scope));
        }
        let key = self.accounts[index].settings.markets.get(&symbol);
        let mark = key.and_then(|key| Some((*key, desk.prices.get(*key)?.mark()?)));
        desk.record(Record::Sample(SampleRecord {
            time: desk.at,
            day: None,
            scopes,
            marks: mark.into_iter().collect(),
        }));
        if closed {
            self.publish_kpis(desk, Some(index));
        }
    }

    /// Journals all figures: at the end of a UTC day, at shutdown, and when a peak rose.
    pub fn sample(&mut self, desk: &mut Desk<'_>, day: Option<i64>) {
        let mut scopes: Vec<ScopeSample> = self.accounts.iter().map(Account::sample).collect();
        scopes.extend(self.scopes.iter().map(|scope| scope.gauge.sample(scope.scope)));
        if day.is_some() {
            scopes.iter_mut().for_each(|sample| sample.day_start = sample.equity);
        }
        let held = self.accounts.iter().flat_map(|account| account.book.holdings());
        let mut marks: Vec<(MarketKey, Price)> = held.filter_map(|h| Some((h.key, h.mark?))).collect();
        marks.sort();
        marks.dedup();
        self.peaks_journalled = desk.at;
        self.accounts.iter_mut().for_each(|account| account.book.gauge.peak_journalled());
        self.scopes.iter_mut().for_each(|scope| scope.gauge.peak_journalled());
        desk.record(Record::Sample(SampleRecord { time: desk.at, day, scopes, marks }));
    }

    /// When a risen peak may be journalled next.
    pub fn peak_due(&self) -> Option<Timestamp> {
        let mut accounts = self.accounts.iter();
        let risen = accounts.any(|account| account.book.gauge.peak_has_risen())
            || self.scopes.iter().any(|scope| scope.gauge.peak_has_risen());
        risen.then(|| self.peaks_journalled.plus_ms(PEAK_JOURNAL_MS))
    }

    /// When the present UTC day ends, once there is a strategy.
    pub fn day_due(&self, state: &State) -> Option<Timestamp> {
        state.day.map(|day| Timestamp::day_start(day + 2))
    }

    /// The daily samples of the days that ended before `at`: one, or several after an absence.
    pub fn on_day_end(&mut self, desk: &mut Desk<'_>) {
        let ended = (desk.at.as_ms() - 1).div_euclid(DAY_MS);
        let first = desk.state().day.map_or(ended, |day| day + 1);
        for day in first.max(ended - DAYS_SAMPLED_MAX)..=ended {
            self.sample(desk, Some(day));
        }
        self.sync_all(desk);
        self.publish_kpis(desk, None);
    }

    /// Trips what the present figures trip, unless they are those of the last call, and drives every flattening on.
    /// Called after each event.
    pub fn guard(&mut self, desk: &mut Desk<'_>) {
        for _ in 0..GUARD_ROUNDS_MAX {
            let before = desk.state().sequence;
            self.guard_once(desk);
            // What a trip closes costs fees, which may trip more.
            if desk.state().sequence == before {
                return;
            }
        }
    }

    fn guard_once(&mut self, desk: &mut Desk<'_>) {
        for index in 0..self.accounts.len() {
            let account = &mut self.accounts[index];
            if !account.book.gauge.must_look() || account.dirty == Dirty::No {
                continue;
            }
            let strategy = account.settings.id;
            let equity = account.book.equity();
            let tripped = account.book.gauge.look(&account.settings.limits);
            // A venue liquidates by itself, by its own figures.
            let simulated = account.settings.account.is_none();
            if simulated && !equity.is_positive() && !account.book.holdings().is_empty() {
                self.liquidate(desk, index);
            }
            for trip in tripped {
                self.trip(desk, LevelScope::Strategy(strategy), trip, equity);
            }
        }
        for index in 0..self.scopes.len() {
            let scope = &mut self.scopes[index];
            if !scope.gauge.must_look() || scope.dirty == Dirty::No {
                continue;
            }
            let equity = scope.gauge.equity();
            for trip in scope.gauge.look(&scope.limits) {
                for target in self.level_scopes(index) {
                    self.trip(desk, target, trip, equity);
                }
            }
        }
        if self.flattening {
            self.flatten(desk);
        }
    }

    /// Whose levels a scope's limits act on: the daemon's, or those of a type's strategies.
    fn level_scopes(&self, scope: usize) -> Vec<LevelScope> {
        match self.scopes[scope].scope {
            Scope::Portfolio => vec![LevelScope::Daemon],
            _ => {
                let strategy = |index: &usize| LevelScope::Strategy(self.accounts[*index].settings.id);
                self.scopes[scope].members.iter().map(strategy).collect()
            }
        }
    }

    fn trip(&mut self, desk: &mut Desk<'_>, scope: LevelScope, trip: Trip, equity: Money) {
        let state = match scope {
            LevelScope::Daemon => desk.state().level,
            LevelScope::Strategy(id) => desk.state().strategies[&id].level,
        };
        let today = desk.at.day();
        let (level, cause, code) = match trip {
            Trip::DailyLoss if state.loss_day == Some(today) => return,
            Trip::DailyLoss => (state.level, LevelCause::DailyLoss { day: today }, "daily_loss"),
            Trip::Drawdown(OnDrawdown::Flatten) => (Level::Flatten, LevelCause::Drawdown, "drawdown"),
            Trip::Drawdown(OnDrawdown::Reduce) => (Level::Reduce, LevelCause::Drawdown, "drawdown"),
        };
        // Once flat, a tripped flatten has become reduce: it does not trip again.
        let done = level == Level::Flatten && state.level == Level::Reduce && !self.holds(scope);
        if matches!(trip, Trip::Drawdown(_)) && (state.level >= level || done) {
            return;
        }
        let strategy = strategy_of(scope);
        let text = format!("the {code} limit was reached at an equity of {equity}");
        desk.alert(AlertLevel::Error, code, strategy, text);
        self.set_level(desk, scope, level, cause, None);
    }

    /// Whether a strategy, or any, holds a position that it can close.
    fn holds(&self, scope: LevelScope) -> bool {
        let mut accounts = self.accounts.iter();
        accounts.any(|account| {
            let meant = scope == LevelScope::Daemon || scope == LevelScope::Strategy(account.settings.id);
            meant && !account.book.holdings().is_empty()
        })
    }

    fn liquidate(&mut self, desk: &mut Desk<'_>, index: usize) {
        let strategy = self.accounts[index].settings.id;
        let equity = self.accounts[index].book.equity();
        let before = desk.state().sequence;
        self.cancel_orders(desk, index, OrderReason::Liquidation, |order| !is_sent_exit(order));
        if desk.state().strategies[&strategy].level.level < Level::Reduce {
            let scope = LevelScope::Strategy(strategy);
            self.set_level(desk, scope, Level::Reduce, LevelCause::Liquidated, None);
        }
        self.close_positions(desk, index, "liquidation");
        // Without a price the closing waits; it is told only once.
        if desk.state().sequence > before {
            let text = format!("equity fell to {equity}: everything is closed");
            desk.alert(AlertLevel::Error, "paper_liquidated", Some(strategy), text);
        }
    }

    /// Sets a level: journals it, takes working entries back when it tightens, and publishes.
    pub fn set_level(
        &mut self,
        desk: &mut Desk<'_>,
        scope: LevelScope,
        level: Level,
        cause: LevelCause,
        command: Option<SignalId>,
    ) {
        let peaks =
            if level == Level::Run && command.is_some() { self.reset_peaks(scope) } else { Vec::new() };
        let lifted = matches!(cause, LevelCause::DailyLoss { .. });
        let counts_anew = !peaks.is_empty();
        desk.record(Record::Level(LevelRecord { scope, level, cause, command, peaks, time: desk.at }));
        self.flattening = true;
        for index in 0..self.accounts.len() {
            let own = LevelScope::Strategy(self.accounts[index].settings.id);
            if scope != LevelScope::Daemon && scope != own {
                continue;
            }
            self.sync(desk, index);
            self.accounts[index].dirty = Dirty::Now;
            if level >= Level::Pause || lifted {
                self.cancel_orders(desk, index, OrderReason::Level, |order| !order.reduce_only);
            }
        }
        self.scopes.iter_mut().for_each(|scope| scope.dirty = Dirty::Now);
        if counts_anew {
            // After a crash the marks of now must stand in: with older ones the peak might rise above the equity.
            self.sample(desk, None);
        }
        if scope == LevelScope::Daemon {
            desk.publish(Update::Level(level));
        }
    }

    /// After `run` the drawdown counts from the present equity, for the scope and, if its money counts there, its type.
    fn reset_peaks(&mut self, scope: LevelScope) -> Vec<(Scope, Money)> {
        let mut peaks = Vec::new();
        if let Some(index) = strategy_of(scope).and_then(|id| self.account_of(id)) {
            let account = &mut self.accounts[index];
            let peak = account.book.gauge.reset_peak();
            peaks.push((Scope::Strategy(account.settings.id), peak));
        }
        let index = strategy_of(scope).and_then(|id| self.account_of(id));
        for entry in &mut self.scopes {
            let above = match (entry.scope, index) {
                (Scope::Portfolio, None) => true,
                (Scope::Type(_), Some(index)) => entry.figured.contains(&index),
                _ => false,
            };
            if above {
                peaks.push((entry.scope, entry.gauge.reset_peak()));
            }
        }
        peaks
    }

    /// Closes what a `flatten` asks for; once everything is flat the level becomes `reduce`.
    fn flatten(&mut self, desk: &mut Desk<'_>) {
        let daemon = desk.state().level.level == Level::Flatten;
        let mut all_flat = true;
        self.flattening = daemon;
        for index in 0..self.accounts.len() {
            let strategy = self.accounts[index].settings.id;
            let own = desk.state().strategies[&strategy].level.level == Level::Flatten;
            if !own && !daemon {
                continue;
            }
            self.cancel_orders(desk, index, OrderReason::Level, |order| !is_sent_exit(order));
            self.close_positions(desk, index, "flatten");
            // An entry whose fate is open may still fill.
            let entries = self.open_orders(desk.state(), index).any(|order| !order.reduce_only);
            let flat = desk.state().strategies[&strategy].positions.is_empty() && !entries;
            all_flat &= flat;
            if own && flat {
                let scope = LevelScope::Strategy(strategy);
                self.set_level(desk, scope, Level::Reduce, LevelCause::Flat, None);
            }
            self.flattening = daemon || (own && !flat) || self.flattening;
        }
        if daemon && all_flat {
            self.set_level(desk, LevelScope::Daemon, Level::Reduce, LevelCause::Flat, None);
        }
    }
}

fn strategy_of(scope: LevelScope) -> Option<StrategyId> {
    match scope {
        LevelScope::Daemon => None,
        LevelScope::Strategy(id) => Some(id),
    }
}
