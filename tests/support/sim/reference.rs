//! What must hold, written from the contract: it sees what is on disk, what the broker got, and what was acknowledged,
//! and knows nothing of how that came about.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rust_decimal::Decimal;
use serde_json::Value;
use tradebus::engine::event::{Level, LevelScope};
use tradebus::engine::record::{LevelCause, LevelRecord, Record, SignalRecord};
use tradebus::engine::state::State;
use tradebus::message::topic::Topics;
use tradebus::message::{record_view, signal, view};
use tradebus::model::ids::{ClientOrderId, SignalId, StrategyId};
use tradebus::model::order::{Order, OrderStatus};
use tradebus::model::signal::{Outcome, Reason};
use tradebus::model::time::Timestamp;

use super::super::ledger::{Books, number};
use super::broker::Packet;
use super::market;
use super::world::{ENTRIES_PER_MINUTE, EXPOSURE_MAX, LIMITED};

/// The ages that the contract allows, in milliseconds.
const ENTRY_AGE_MS: i64 = 30_000;
const EXIT_AGE_MS: i64 = 300_000;

type Key = (String, String);

/// A level and the day of a loss.
type Latch = (Level, Option<i64>);

/// See the module.
#[derive(Default)]
pub struct Reference {
    /// The last sequence on disk.
    pub durable: u64,
    /// What the broker must get of each sequence: topic and payload.
    events: BTreeMap<u64, (String, Value)>,
    heard: BTreeSet<u64>,
    signals: BTreeMap<Key, SignalRecord>,
    poisoned: BTreeSet<Key>,
    orders: BTreeMap<ClientOrderId, (Order, Decimal)>,
    caused: BTreeMap<(StrategyId, SignalId), ClientOrderId>,
    books: BTreeMap<StrategyId, Books>,
    levels: BTreeMap<Option<StrategyId>, Latch>,
    /// When entries were made in this run, where a limit counts them.
    entries: VecDeque<Timestamp>,
    /// Acknowledged signals that are not on disk: a refusal that frees the id must be on its way.
    owed: BTreeSet<Key>,
    /// Signals whose id was freed by a refusal that the broker got.
    freed: BTreeSet<Key>,
    /// Since when the engine knows that the disk fails.
    store_fails_since: Option<Timestamp>,
    /// Whether it knew so in this run.
    store_failed: bool,
    pub fills: usize,
    /// Fills of touched stops.
    pub stopped: usize,
    pub refused: BTreeMap<&'static str, usize>,
}

impl Reference {
    /// A record that is on disk.
    pub fn durable(&mut self, sequence: u64, record: &Record) {
        assert_eq!(sequence, self.durable + 1, "the journal has a gap");
        self.durable = sequence;
        let event = record_view::event(&Topics::new("tradebus"), record, sequence, false);
        let event = event.map(|message| (message.topic, json(message.payload.as_bytes())));
        match record {
            Record::Signal(signal) => self.decided(signal),
            Record::Order(order) => self.order(order),
            Record::Fill(fill) => {
                let (order, filled) = self.orders.get_mut(&fill.order_id).expect("a fill has an order");
                *filled += fill.quantity.value();
                assert!(*filled <= order.quantity.value(), "filled beyond its quantity: {fill:?}");
                assert_eq!((fill.side, fill.strategy), (order.side, order.strategy), "{fill:?}");
                let limit = order.order_type.price();
                let sign = if fill.side.as_str() == "buy" { Decimal::ONE } else { Decimal::NEGATIVE_ONE };
                assert!(
                    limit.is_none_or(|limit| (fill.price.value() - limit.value()) * sign <= Decimal::ZERO)
                );
                let (closes, of_stop) = (order.reduce_only, order.is_of_stop());
                let books = self.books.entry(fill.strategy).or_default();
                let held = |books: &Books| {
                    books.holdings.get(fill.symbol.as_str()).map_or(Decimal::ZERO, |holding| holding.quantity)
                };
                let before = held(books);
                books.fill(&event.as_ref().expect("a fill is told").1);
                let after = held(books);
                assert!(!closes || after.abs() < before.abs(), "a reduce-only order opened: {fill:?}");
                self.fills += 1;
                self.stopped += usize::from(of_stop);
                self.check_exposure();
            }
            Record::Level(level) => self.level(level),
            Record::Poisoned { strategy, id, .. } => {
                self.poisoned.insert((strategy.to_string(), id.to_string()));
            }
            _ => {}
        }
        self.events.extend(event.map(|event| (sequence, event)));
    }

    fn decided(&mut self, signal: &SignalRecord) {
        let key = (signal.strategy.to_string(), signal.id.to_string());
        if let Outcome::Rejected(refusal) = &signal.result.outcome {
            assert!(!refusal.reason.frees_id() && signal.result.orders.is_empty(), "{signal:?}");
            *self.refused.entry(refusal.reason.as_str()).or_default() += 1;
        }
        for id in &signal.result.orders {
            let (order, _) = &self.orders[id];
            let age_ms = order.created.since_ms(signal.signal_time);
            assert!(age_ms <= EXIT_AGE_MS, "executed after {age_ms} ms: {signal:?}");
            assert!(age_ms <= ENTRY_AGE_MS || order.reduce_only, "entered after {age_ms} ms: {signal:?}");
        }
        let poisoned = self.poisoned.contains(&key);
        let internal =
            signal.result.outcome.refusal().is_some_and(|refusal| refusal.reason == Reason::Internal);
        assert!(!poisoned || internal, "a poisoned signal was tried again: {signal:?}");
        let before = self.signals.insert(key, signal.clone());
        assert!(before.is_none(), "decided twice: {signal:?}");
    }

    fn order(&mut self, order: &Order) {
        let known = self.orders.get(&order.order_id);
        if order.status != OrderStatus::Submitting {
            let (before, filled) = known.expect("an order begins with its submission");
            assert!(!before.status.is_final(), "a final order changed: {order:?}");
            assert_eq!(order.filled_quantity.value(), *filled, "{order:?}");
            let filled = *filled;
            self.orders.insert(order.order_id, (order.clone(), filled));
            return;
        }
        assert!(known.is_none(), "an order was made twice: {order:?}");
        // The order of a touched stop carries the signal that set it.
        let of_stop = order.is_of_stop();
        if let Some(signal) = order.signal_id.clone().filter(|_| !of_stop) {
            let twice = self.caused.insert((order.strategy, signal), order.order_id);
            assert!(twice.is_none(), "a signal made two orders: {order:?}");
        }
        if !order.reduce_only {
            for scope in [None, Some(order.strategy)] {
                let (level, loss_day) = self.levels.get(&scope).copied().unwrap_or_default();
                let runs = level == Level::Run && loss_day != Some(order.created.day());
                assert!(runs, "an entry under the level {level:?} {loss_day:?} of {scope:?}: {order:?}");
            }
            let blind = self.store_fails_since.is_some_and(|since| order.created > since);
            assert!(!blind, "an entry while the disk failed: {order:?}");
            if order.strategy.as_str() == LIMITED {
                self.entries.push_back(order.created);
                self.entries.retain(|time| order.created.since_ms(*time) < 60_000);
                assert!(self.entries.len() <= ENTRIES_PER_MINUTE, "too many entries: {order:?}");
            }
        }
        self.orders.insert(order.order_id, (order.clone(), Decimal::ZERO));
        self.check_exposure();
    }

    fn level(&mut self, record: &LevelRecord) {
        let scope = match record.scope {
            LevelScope::Daemon => None,
            LevelScope::Strategy(id) => Some(id),
        };
        let latch = self.levels.entry(scope).or_default();
        let loosened = record.level < latch.0;
        let by_person = matches!(record.cause, LevelCause::Command | LevelCause::Flat);
        assert!(!loosened || by_person, "a latch was loosened by itself: {record:?}");
        latch.0 = record.level;
        if let LevelCause::DailyLoss { day } = record.cause {
            latch.1 = Some(day);
        }
    }

    /// Valued at the lowest price there ever is, and when all entries that work are filled, no exposure is above the
    /// limit that they were approved under.
    fn check_exposure(&self) {
        let mut held: BTreeMap<(&str, &str), Decimal> = BTreeMap::new();
        for (id, books) in &self.books {
            for (symbol, holding) in &books.holdings {
                *held.entry((id.as_str(), symbol)).or_default() += holding.quantity;
            }
        }
        let working =
            self.orders.values().filter(|(order, _)| !order.status.is_final() && !order.reduce_only);
        for (order, filled) in working {
            let sign = if order.side.as_str() == "buy" { Decimal::ONE } else { Decimal::NEGATIVE_ONE };
            let remaining = (order.quantity.value() - filled) * sign;
            *held.entry((order.strategy.as_str(), order.symbol.as_str())).or_default() += remaining;
        }
        let exposure: Decimal =
            held.iter().map(|((_, symbol), quantity)| quantity.abs() * market::price_min(symbol)).sum();
        assert!(exposure <= Decimal::from(EXPOSURE_MAX), "an exposure of {exposure}");
    }

    /// A message that reached the broker.
    pub fn heard(&mut self, topic: &str, payload: &[u8]) {
        let levels: Vec<&str> = topic.split('/').collect();
        match levels.as_slice() {
            [_, "strategy", _, "order" | "fill" | "trade"] => {
                let mut body = json(payload);
                let sequence = body["seq"].as_u64().expect("a sequence");
                body["replayed"] = Value::Bool(false);
                let known = self.events.get(&sequence);
                assert_eq!(
                    known,
                    Some(&(topic.to_owned(), body)),
                    "told before it was on disk, or otherwise"
                );
                self.heard.insert(sequence);
            }
            [_, "strategy", id, "signal", "result"] => self.heard_result(id, &json(payload)),
            _ => {}
        }
    }

    fn heard_result(&mut self, strategy: &str, result: &Value) {
        let Some(id) = result["id"].as_str() else { return };
        let key = (strategy.to_owned(), id.to_owned());
        let reason = result["reason"].as_str();
        let free = Reason::ALL.into_iter().filter(|reason| reason.frees_id());
        if free.into_iter().any(|free| reason == Some(free.as_str())) {
            self.owed.remove(&key);
            self.freed.insert(key);
            return;
        }
        let poisoned = reason == Some(Reason::Internal.as_str()) && self.poisoned.contains(&key);
        // An alert whose ticker is no pair has no symbol under which it could be stored.
        let unread = reason == Some(Reason::UnknownSymbol.as_str()) && !self.signals.contains_key(&key);
        if poisoned || unread || reason == Some(Reason::Duplicate.as_str()) {
            self.owed.remove(&key);
            return;
        }
        let decided = self.signals.get(&key);
        let decided = decided.unwrap_or_else(|| panic!("told before it was on disk: {result}"));
        let mut expected = json(view::signal_result(&decided.result).as_bytes());
        expected["repeated"] = result["repeated"].clone();
        assert_eq!(*result, expected, "two answers to one signal");
        let sequences = self.events.iter().filter(|(_, (topic, _))| topic.ends_with("signal/result"));
        let told = sequences.rev().find(|(_, (topic, body))| body["id"] == id && topic.contains(strategy));
        self.heard.extend(told.map(|(sequence, _)| *sequence));
    }

    /// A message that the daemon is done with.
    pub fn acknowledged(&mut self, packet: &Packet) {
        let levels: Vec<&str> = packet.topic.split('/').collect();
        let [_, "strategy", strategy, "signal"] = levels.as_slice() else { return };
        let Some(id) = signal::read(strategy, packet.payload.as_bytes(), packet.retain).id else { return };
        let key = ((*strategy).to_owned(), id.to_string());
        if packet.retain || self.signals.contains_key(&key) || self.freed.contains(&key) {
            return;
        }
        // Refusals that free the id are not stored. In these runs there are no others than for these reasons.
        let unread = signal::read(strategy, packet.payload.as_bytes(), false).body.is_err();
        let excused = unread || *strategy == LIMITED || self.store_failed || self.poisoned.contains(&key);
        assert!(excused, "acknowledged, and not on disk: {packet:?}");
        self.owed.insert(key);
    }

    /// The process ended: what only memory had is gone, and refusals of what was not stored with it.
    pub fn crashed(&mut self) {
        self.owed.clear();
        self.store_fails_since = None;
    }

    /// A run begins with what is on disk. The entries of the last minute are counted anew in each run.
    pub fn begins(&mut self) {
        self.entries.clear();
        self.store_failed = false;
    }

    /// Whether the engine knows at this time that the disk fails.
    pub fn store(&mut self, fails: bool, now: Timestamp) {
        self.store_fails_since = fails.then(|| self.store_fails_since.unwrap_or(now));
        self.store_failed |= fails;
    }

    /// The engine knows what is on disk, and nothing else, when nothing waits.
    pub fn compare(&self, state: &State) {
        assert_eq!(state.sequence, self.durable, "the engine's sequence");
        for (id, strategy) in &state.strategies {
            let none = Books::default();
            let books = self.books.get(id).unwrap_or(&none);
            assert_eq!(strategy.realized_pnl.value(), books.realized_pnl, "{id}");
            assert_eq!(strategy.fees.value(), books.fees, "{id}");
            for (symbol, holding) in &books.holdings {
                let position = strategy.positions.iter().find(|(known, _)| known.as_str() == symbol);
                let held = position.map_or((Decimal::ZERO, Decimal::ZERO), |(_, position)| {
                    (position.quantity.value(), position.cost.value())
                });
                assert_eq!(held, (holding.quantity, holding.cost), "{id} {symbol}");
                assert_eq!(position.is_none(), holding.quantity.is_zero(), "a closed position remains");
            }
        }
        let open: Vec<_> = self.orders.values().filter(|(order, _)| !order.status.is_final()).collect();
        assert_eq!(open.len(), state.orders.len(), "orders that are not final");
    }

    /// What the broker must have in the end, when everything arrived.
    pub fn settle(&self, retained: &BTreeMap<String, Vec<u8>>) {
        assert_eq!(self.owed, BTreeSet::new(), "acknowledged, and neither stored nor refused");
        let missing: Vec<_> =
            self.events.iter().filter(|(sequence, _)| !self.heard.contains(sequence)).collect();
        assert!(missing.is_empty(), "never told: {missing:?}");
        for (id, books) in &self.books {
            for (symbol, holding) in &books.holdings {
                let topic = format!("tradebus/strategy/{id}/position/{symbol}");
                let position = json(retained.get(&topic).expect("a position is retained"));
                let sign = if position["side"] == "short" { Decimal::NEGATIVE_ONE } else { Decimal::ONE };
                assert_eq!(number(&position["quantity"]) * sign, holding.quantity, "{topic}");
            }
            let state = json(&retained[&format!("tradebus/strategy/{id}/state")]);
            assert_eq!(number(&state["realized_pnl"]), books.realized_pnl, "{id}");
            assert_eq!(number(&state["fees"]), books.fees, "{id}");
        }
    }
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}
