//! Seeded simulation of everything around the engine: a broker that drops, repeats, delays and reorders, a journal that
//! loses what was not committed, and crashes between any two steps.
//!
//! Whatever happens: nothing is executed twice, and nothing that was acknowledged is missing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tradebus::engine::Engine;
use tradebus::engine::effect::{Effect, Update};
use tradebus::engine::event::Event;
use tradebus::engine::record::{Record, SignalRecord};
use tradebus::model::amount::Quantity;
use tradebus::model::ids::{ClientOrderId, SignalId, StrategyId};
use tradebus::model::order::{Order, OrderStatus};
use tradebus::model::signal::{Outcome, Reason, SignalResult};
use tradebus::model::time::Timestamp;

use crate::chance::{self, Seed, seeds};
use crate::rig;
use crate::support::random::Random;

/// What waits at the broker for its acknowledgement.
#[derive(Clone)]
enum Message {
    Signal(&'static str, String),
    Level(Option<&'static str>, String),
}

struct Simulation {
    random: Random,
    engine: Engine,
    now: Timestamp,
    /// What is on disk.
    journal: Vec<Record>,
    /// Handled and not yet committed, batch by batch.
    waiting: VecDeque<Vec<Effect>>,
    store_works: bool,
    /// By packet: what the broker delivers again after every reconnect.
    unacknowledged: BTreeMap<u64, Message>,
    /// Sent, but not yet delivered for the first time.
    delayed: Vec<u64>,
    /// Every signal that the senders made.
    sent: Vec<(&'static str, String)>,
    /// The first released answer of each signal, where it counts.
    answers: BTreeMap<(String, SignalId), SignalResult>,
    /// Signals whose handling ended in a panic that was journalled.
    poisoned: BTreeSet<(String, SignalId)>,
    count: u64,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let mut random = Random::new(seed);
        let latency_ms = [0, 100, 700][random.below(3) as usize];
        let engine = Engine::new(chance::settings(latency_ms), Default::default());
        let mut simulation = Simulation {
            random,
            engine,
            now: rig::begin(),
            journal: Vec::new(),
            waiting: VecDeque::new(),
            store_works: true,
            unacknowledged: BTreeMap::new(),
            delayed: Vec::new(),
            sent: Vec::new(),
            answers: BTreeMap::new(),
            poisoned: BTreeSet::new(),
            count: 0,
        };
        simulation.handle(rig::start_event());
        simulation.crash(latency_ms);
        for _ in 0..250 {
            simulation.step(latency_ms);
        }
        simulation.heal();
        simulation
    }

    fn step(&mut self, latency_ms: i64) {
        match self.random.below(100) {
            0..=39 => {
                // A tick, dropped or repeated now and then; its venue time may lie in the past.
                let time = self.now.plus_ms(-(self.random.below(3_000) as i64));
                let event = chance::market(&mut self.random, time);
                let times = [0, 1, 1, 1, 1, 2][self.random.below(6) as usize];
                (0..times).for_each(|_| self.handle(event.clone()));
            }
            40..=59 => self.send_signal(),
            60..=63 => {
                self.count += 1;
                let id = format!("l{}", self.count);
                let (scope, payload) = chance::level(&mut self.random, &id, self.now);
                self.post(Message::Level(scope, payload));
            }
            64..=74 => self.deliver_delayed(),
            75..=84 => {
                let groups = 1 + self.random.below(4);
                self.commit(groups, usize::MAX);
            }
            85..=93 => {
                let long = self.random.one_in(40);
                let end = if long { 50_000_000 } else { 2_000 };
                self.now = self.now.plus_ms(self.random.below(end) as i64);
                self.handle(Event::Wakeup);
            }
            94 => {
                self.store_works = !self.store_works;
                self.handle(Event::Store { available: self.store_works });
            }
            95 if self.random.one_in(3) => self.poison(latency_ms),
            96 => self.crash(latency_ms),
            97 => {
                let released = self.random.below(6) as usize;
                self.commit(1, released);
                self.crash(latency_ms);
            }
            _ => self.reconnect(),
        }
        if self.random.one_in(8) {
            self.check_fold();
        }
    }

    fn handle(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.engine.handle(self.now, event, &mut effects);
        self.waiting.push_back(effects);
    }

    fn send_signal(&mut self) {
        self.count += 1;
        let (strategy, json) = chance::signal(&mut self.random, &format!("n{}", self.count), self.now);
        self.sent.push((strategy, json.clone()));
        self.post(Message::Signal(strategy, json.clone()));
        // The sender is not sure and sends the same again.
        if self.random.one_in(5) {
            self.post(Message::Signal(strategy, json));
        }
    }

    /// The broker keeps a message until it is acknowledged, and delivers it at once or later.
    fn post(&mut self, message: Message) {
        self.count += 1;
        self.unacknowledged.insert(self.count, message);
        match self.random.below(3) {
            0 => self.delayed.push(self.count),
            _ => self.deliver(self.count),
        }
    }

    fn deliver(&mut self, packet: u64) {
        match self.unacknowledged.get(&packet).cloned() {
            Some(Message::Signal(strategy, json)) => {
                self.handle(rig::signal_event(packet, strategy, &json, false));
            }
            Some(Message::Level(scope, payload)) => {
                self.handle(chance::level_event(packet, scope, &payload));
            }
            None => {}
        }
    }

    fn deliver_delayed(&mut self) {
        if !self.delayed.is_empty() {
            let index = self.random.below(self.delayed.len() as u64) as usize;
            let packet = self.delayed.swap_remove(index);
            self.deliver(packet);
        }
    }

    /// A lost connection: everything without an acknowledgement comes again, in order.
    fn reconnect(&mut self) {
        self.delayed.clear();
        let packets: Vec<u64> = self.unacknowledged.keys().copied().collect();
        packets.into_iter().for_each(|packet| self.deliver(packet));
    }

    /// One group commit: the batches reach the disk together, then at most `released` of their effects leave.
    fn commit(&mut self, groups: u64, released: usize) {
        if !self.store_works {
            return;
        }
        let count = (groups as usize).min(self.waiting.len());
        let effects: Vec<Effect> = self.waiting.drain(..count).flatten().collect();
        self.journal.extend(effects.iter().filter_map(|effect| match effect {
            Effect::Persist(record) => Some(record.clone()),
            _ => None,
        }));
        for effect in effects.into_iter().take(released) {
            if let Effect::Reply { token, result, .. } = effect {
                self.unacknowledged.remove(&token);
                result.into_iter().for_each(|result| self.answered(result));
            }
        }
    }

    /// Every released answer to one signal is the same, apart from the mark that it is repeated.
    fn answered(&mut self, result: SignalResult) {
        let Some(id) = result.id.clone() else { return };
        let reason = result.outcome.refusal().map(|refusal| refusal.reason);
        if reason.is_some_and(|reason| reason.frees_id()) {
            return;
        }
        assert_ne!(reason, Some(Reason::Duplicate), "the same signal was taken for another: {result:?}");
        let key = (result.strategy.clone(), id);
        if self.poisoned.contains(&key) {
            assert_eq!(reason, Some(Reason::Internal), "a poisoned signal was tried again");
        }
        let plain = SignalResult { repeated: false, ..result };
        let first = self.answers.entry(key).or_insert_with(|| plain.clone());
        assert_eq!(*first, plain, "two answers to one signal");
    }

    /// Only what was committed survives; time passes; the broker delivers again.
    fn crash(&mut self, latency_ms: i64) {
        self.waiting.clear();
        self.store_works = true;
        let down_ms = if self.random.one_in(3) { 60_000 } else { 3_000 };
        self.now = self.now.plus_ms(self.random.below(down_ms) as i64);
        self.engine = Engine::new(chance::settings(latency_ms), rig::fold(&self.journal));
        self.handle(rig::start_event());
        self.reconnect();
    }

    /// The process dies while it handles a signal that nothing answered yet, and remembers which.
    fn poison(&mut self, latency_ms: i64) {
        let Some(Message::Signal(strategy, json)) = self.unacknowledged.values().last().cloned() else {
            return;
        };
        let id = tradebus::message::signal::read(strategy, json.as_bytes(), false).id.unwrap();
        let strategy = StrategyId::new(strategy).unwrap();
        self.commit(u64::MAX, usize::MAX);
        let known = self.engine.state().signals.find(self.now, strategy, &id).is_some();
        if known || !self.store_works || self.journal.is_empty() {
            return;
        }
        self.journal.push(Record::Poisoned { strategy, id: id.clone(), time: self.now });
        self.poisoned.insert((strategy.to_string(), id));
        self.crash(latency_ms);
    }

    /// Everything works again, and everything is delivered and committed.
    fn heal(&mut self) {
        self.store_works = true;
        self.handle(Event::Store { available: true });
        self.reconnect();
        self.commit(u64::MAX, usize::MAX);
        assert!(self.unacknowledged.is_empty(), "a message was never acknowledged");
        self.check_fold();
    }

    fn check_fold(&self) {
        let mut state = rig::fold(&self.journal);
        for effect in self.waiting.iter().flatten() {
            if let Effect::Persist(record) = effect {
                state.apply(record);
            }
        }
        assert_eq!(&state, self.engine.state(), "the fold differs from the living state");
    }

    /// What the journal must say in the end.
    fn check_journal(&self) {
        let mut signals: BTreeMap<(String, SignalId), &SignalRecord> = BTreeMap::new();
        let mut orders: BTreeMap<ClientOrderId, &Order> = BTreeMap::new();
        let mut caused: BTreeMap<(StrategyId, SignalId), ClientOrderId> = BTreeMap::new();
        let mut filled: BTreeMap<ClientOrderId, Quantity> = BTreeMap::new();
        for record in &self.journal {
            match record {
                Record::Signal(signal) => {
                    let key = (signal.strategy.to_string(), signal.id.clone());
                    assert!(signals.insert(key, signal).is_none(), "decided twice: {signal:?}");
                }
                Record::Order(order) => {
                    let before = orders.insert(order.order_id, order);
                    let made = order.status == OrderStatus::Submitting;
                    assert_eq!(made, before.is_none(), "an order was made twice: {order:?}");
                    let cause = order.signal_id.clone().map(|id| (order.strategy, id)).filter(|_| made);
                    let twice = cause.and_then(|cause| caused.insert(cause, order.order_id));
                    assert!(twice.is_none(), "a signal made two orders: {order:?}");
                }
                Record::Fill(fill) => {
                    *filled.entry(fill.order_id).or_default() += fill.quantity;
                    assert!(filled[&fill.order_id] <= orders[&fill.order_id].quantity, "{fill:?}");
                }
                _ => {}
            }
        }
        for (key, answer) in &self.answers {
            if self.poisoned.contains(key) {
                continue;
            }
            assert_eq!(signals.get(key).map(|signal| &signal.result), Some(answer), "acknowledged and lost");
            for order in &answer.orders {
                assert!(orders.contains_key(order), "an acknowledged order is missing");
            }
        }
        for signal in signals.values() {
            check_age(signal, &orders);
        }
    }
}

/// Nothing that waited too long was executed late.
fn check_age(signal: &SignalRecord, orders: &BTreeMap<ClientOrderId, &Order>) {
    if matches!(signal.result.outcome, Outcome::Rejected(_)) {
        assert!(signal.result.orders.is_empty());
    }
    for order in &signal.result.orders {
        let age_ms = orders[order].created.since_ms(signal.signal_time);
        assert!(age_ms <= 300_000, "executed after {age_ms} ms");
        assert!(age_ms <= 30_000 || orders[order].reduce_only, "entered after {age_ms} ms");
    }
}

#[test]
fn nothing_is_lost_and_nothing_happens_twice() {
    let (mut filled, mut stale, mut poisoned) = (0, 0, 0);
    for seed in seeds(300) {
        let _seed = Seed(seed);
        let simulation = Simulation::new(seed);
        simulation.check_journal();
        let results = simulation.answers.values();
        let reasons = results.filter_map(|result| result.outcome.refusal()).map(|refusal| refusal.reason);
        stale += reasons.filter(|reason| *reason == Reason::Stale).count();
        filled += simulation.journal.iter().filter(|record| matches!(record, Record::Fill(_))).count();
        poisoned += simulation.poisoned.len();
    }
    if std::env::var_os("SEED").is_none() {
        assert!(filled > 1_000 && stale > 100 && poisoned > 10, "too tame: {filled} {stale} {poisoned}");
    }
}

#[test]
fn effects_that_need_the_disk_stand_behind_their_records() {
    for seed in seeds(20) {
        let _seed = Seed(seed);
        let mut random = Random::new(seed);
        let mut rig = rig::Rig::new(chance::settings(0));
        rig.send(rig::start_event());
        for n in 0..100_u64 {
            rig.now = rig.now.plus_ms(random.below(500) as i64);
            let tick = chance::market(&mut random, rig.now);
            rig.send(tick);
            let (strategy, json) = chance::signal(&mut random, &n.to_string(), rig.now);
            let effects = rig.send(rig::signal_event(n, strategy, &json, false));
            let place = |wanted: fn(&Effect) -> bool| effects.iter().position(wanted);
            let reply = place(|effect| matches!(effect, Effect::Reply { .. })).unwrap();
            let signal = place(|effect| matches!(effect, Effect::Persist(Record::Signal(_))));
            let result = place(|effect| matches!(effect, Effect::Publish(Update::Result(_))));
            assert!(signal.or(result).unwrap() < reply, "answered before it was a fact");
            assert_ne!(signal.is_some(), result.is_some(), "told once, by a record or by a message");
        }
    }
}
