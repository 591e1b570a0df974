//! What is decided: the single writer.
//!
//! Contract of the loop: one event, [`Engine::handle`] runs to completion, all effects are taken, next event. The
//! engine has no I/O, no clock, no async, no lock, no randomness and no logging, so the same events always give the
//! same effects. Timers that are due at or before an event fire inside `handle`, each at its own time: a driver that
//! wakes late changes nothing.

pub mod admission;
pub mod basis;
pub mod decision;
pub mod desk;
pub mod effect;
pub mod event;
pub mod exchange_control;
pub mod exposure;
pub mod gauge;
pub mod guard;
pub mod kpi;
pub mod level_control;
pub mod live_control;
pub mod live_gate;
pub mod live_record;
pub mod live_snapshot;
pub mod live_state;
pub mod order_manager;
pub mod portfolio;
pub mod price_module;
pub mod publication;
pub mod reconcile;
pub mod reconcile_plan;
pub mod record;
pub mod request_history;
pub mod requests;
pub mod route;
pub mod scope_state;
pub mod settings;
pub mod signal_history;
pub mod signal_rate;
pub mod sizing;
pub mod start;
pub mod state;
pub mod stop_book;
pub mod stop_wish;
pub mod stops;
pub mod strategy_manager;

use desk::Desk;
use effect::{AlertLevel, Effect};
use event::{Event, Level, LevelScope};
use exchange_control::ExchangeControl;
use price_module::PriceModule;
use record::{LevelCause, Record};
use settings::EngineSettings;
use state::State;
use strategy_manager::StrategyManager;

use crate::model::ids::{StrategyId, Symbol};
use crate::model::stop::ProtectiveStop;
use crate::model::time::{DAY_MS, Timestamp};

/// A store that fails this long reduces the daemon, in milliseconds.
pub const STORE_OUTAGE_MS_MAX: i64 = 300_000;
/// A timer that is overdue by more than this fires when the present day began: a box without a clock battery jumps by
/// years, and a publication for each missed day would hold it up for minutes.
const ABSENCE_MS: i64 = 31 * DAY_MS;
/// The most timers that fire within one event: years of missed days, or a burst of paper orders.
const TIMERS_MAX: usize = 20_000;

/// Everything that is decided, owned by value.
#[derive(Debug)]
pub struct Engine {
    settings: EngineSettings,
    state: State,
    prices: PriceModule,
    strategies: StrategyManager,
    exchanges: ExchangeControl,
    now: Timestamp,
    started: bool,
    store_failed_at: Option<Timestamp>,
    /// What [`Engine::next_wakeup`] gives; made anew behind every event.
    wakeup: Option<Timestamp>,
}

impl Engine {
    /// An engine that goes on from a folded state. Give it [`Event::Start`] first.
    pub fn new(settings: EngineSettings, state: State) -> Engine {
        let mut prices = PriceModule::new(&settings);
        for (key, mark) in state.markets.iter().filter_map(|(key, mark)| Some((*key, (*mark)?))) {
            prices.restore_mark(key, mark);
        }
        let exchanges = ExchangeControl::new(&settings, &state, &mut prices);
        let strategies = StrategyManager::new(&settings);
        let now = Timestamp::MIN;
        let (started, store_failed_at, wakeup) = (false, None, None);
        Engine { settings, state, prices, strategies, exchanges, now, started, store_failed_at, wakeup }
    }

    /// The durable state: the fold of all records.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What it was told at its start.
    pub fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// The stop that a strategy's exchange keeps for a symbol.
    pub fn kept_stop(&self, strategy: StrategyId, symbol: Symbol) -> Option<&ProtectiveStop> {
        self.exchanges.kept_stop(self.exchanges.account_of(strategy)?, symbol)
    }

    /// The prices.
    pub fn prices(&self) -> &PriceModule {
        &self.prices
    }

    /// Handles one event; time never runs backwards. Effects are appended.
    pub fn handle(&mut self, at: Timestamp, event: Event, effects: &mut Vec<Effect>) {
        let at = at.max(self.now);
        self.fire_timers(at, effects);
        self.now = at;
        match event {
            Event::Start { store_id_new } => {
                self.started = true;
                let paper = basis::types_on_paper(&self.state);
                start::start(&self.settings, &mut self.state, &self.prices, store_id_new, at, effects);
                let mut desk = Desk::new(at, &mut self.state, &self.prices, effects);
                self.exchanges.start(&mut desk, &paper);
            }
            Event::Market(market) => {
                if let Some(index) = self.prices.on_event(at, &market, effects) {
                    let mut desk = Desk::new(at, &mut self.state, &self.prices, effects);
                    self.exchanges.on_price(&mut desk, index, &market.update);
                }
            }
            Event::Signal(message) => {
                let mut desk = Desk::new(at, &mut self.state, &self.prices, effects);
                let result = self.strategies.on_signal(&mut desk, &mut self.exchanges, &message);
                let unread = message.body.as_ref().err().filter(|_| result.is_none()).cloned();
                desk.emit(Effect::Reply { token: message.token, result, refusal: unread });
            }
            Event::Level(command) => {
                let mut desk = Desk::new(at, &mut self.state, &self.prices, effects);
                self.strategies.on_level(&mut desk, &mut self.exchanges, &command);
            }
            Event::Request(request) => {
                let mut desk = Desk::new(at, &mut self.state, &self.prices, effects);
                self.strategies.on_request(&mut desk, &mut self.exchanges, &request);
            }
            Event::Published { through } => {
                let through = through.min(self.state.sequence);
                if through > self.state.published {
                    let mut desk = Desk::new(at, &mut self.state, &self.prices, effects);
                    desk.record(Record::Published { through });
                }
            }
            Event::Announced(devices) => {
                let mut desk = Desk::new(at, &mut self.state, &self.prices, effects);
                start::announced(&mut desk, devices);
            }
            Event::Store { available } => self.on_store(at, available, effects),
            Event::Venue(report) => {
                let mut desk = Desk::new(at, &mut self.state, &self.prices, effects);
                self.exchanges.on_venue(&mut desk, &report);
            }
            Event::Wakeup => {}
            Event::Shutdown => {
                let mut desk = Desk::new(at, &mut self.state, &self.prices, effects);
                self.exchanges.sample(&mut desk, None);
            }
        }
        self.finish(at, effects);
    }

    /// When the engine wants [`Event::Wakeup`]; `None` when nothing waits.
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        self.wakeup
    }

    fn first_due(&self) -> Option<Timestamp> {
        let outage = self.store_failed_at.map(|failed| failed.plus_ms(STORE_OUTAGE_MS_MAX));
        [
            self.prices.next_wakeup(),
            self.exchanges.next_wakeup(&self.state, &self.prices),
            self.exchanges.publication_due(),
            self.exchanges.peak_due(),
            self.exchanges.day_due(&self.state),
            outage.filter(|_| self.state.level.level < Level::Reduce),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Fires what is due at or before `at`, each at its own time.
    fn fire_timers(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        for _ in 0..TIMERS_MAX {
            let Some(due) = self.wakeup.filter(|due| *due <= at) else { return };
            let late = at.since_ms(due) > ABSENCE_MS;
            let due = if late { Timestamp::day_start(at.day()) } else { due };
            self.now = due.max(self.now);
            self.fire(self.now, effects);
        }
    }

    fn fire(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        self.prices.on_wakeup(at, effects);
        let mut desk = Desk::new(at, &mut self.state, &self.prices, effects);
        self.exchanges.on_wakeup(&mut desk);
        if self.exchanges.day_due(desk.state()).is_some_and(|due| due <= at) {
            self.exchanges.on_day_end(&mut desk);
        }
        if self.exchanges.peak_due().is_some_and(|due| due <= at) {
            self.exchanges.sample(&mut desk, None);
        }
        let outage = self.store_failed_at.map(|failed| failed.plus_ms(STORE_OUTAGE_MS_MAX));
        if outage.is_some_and(|due| due <= at) && desk.state().level.level < Level::Reduce {
            let text = "the store has failed for 300 s: only orders that reduce are taken";
            desk.alert(AlertLevel::Error, "store_outage", None, text);
            let (scope, cause) = (LevelScope::Daemon, LevelCause::StoreOutage);
            self.exchanges.set_level(&mut desk, scope, Level::Reduce, cause, None);
        }
        self.finish(at, effects);
    }

    /// What follows from any event: latches, then publications, then the next wakeup.
    fn finish(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        if !self.started {
            return;
        }
        let mut desk = Desk::new(at, &mut self.state, &self.prices, effects);
        self.exchanges.guard(&mut desk);
        self.exchanges.publish_due(&mut desk);
        self.wakeup = self.first_due();
    }

    fn on_store(&mut self, at: Timestamp, available: bool, effects: &mut Vec<Effect>) {
        self.strategies.store_available = available;
        self.store_failed_at = match (available, self.store_failed_at) {
            (true, _) => None,
            (false, before) => before.or(Some(at)),
        };
        let mut desk = Desk::new(at, &mut self.state, &self.prices, effects);
        if available {
            desk.alert(AlertLevel::Info, "store_available", None, "the store works again");
        } else {
            let text = "the store fails: no new entries, exits still pass, writes are retried";
            desk.alert(AlertLevel::Error, "store_unavailable", None, text);
        }
    }
}
