//! Random steps against a reference ledger that was written from the design's text, not from the engine's code.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use rust_decimal::{Decimal, RoundingStrategy};
use tradebus::engine::Engine;
use tradebus::engine::effect::{Effect, Update};
use tradebus::engine::event::{Event, Level};
use tradebus::engine::record::{Record, SignalRecord};
use tradebus::engine::signal_history::{HISTORY_MAX, HISTORY_MS};
use tradebus::message::level;
use tradebus::model::ids::{ClientOrderId, SignalId, StrategyId, Symbol};
use tradebus::model::market::PriceUpdate;
use tradebus::model::order::{Order, OrderStatus, Side};
use tradebus::model::report::{Fill, FillEvent};
use tradebus::model::signal::{Outcome, Reason, SignalResult};

use crate::rig::{self, Rig};
use guarded::{Guarded, Prices};

mod guarded;

type Checked = Result<(), TestCaseError>;

const STRATEGIES: [&str; 3] = ["s1", "s2", "s3"];
const SYMBOLS: [&str; 2] = ["BTC-USDT", "ETH-USDT"];

/// The ledger by section 3 of the design: signed cost, half-even to 8 decimals at each fill, a full close takes all.
#[derive(Default)]
struct Ledger {
    realized: Decimal,
    fees: Decimal,
    trades: Decimal,
    /// Quantity and cost, both signed.
    held: BTreeMap<Symbol, (Decimal, Decimal)>,
}

fn round8(value: Decimal) -> Decimal {
    value.round_dp_with_strategy(8, RoundingStrategy::MidpointNearestEven)
}

impl Ledger {
    fn book(&mut self, fill: &Fill) {
        let sign = if fill.side == Side::Buy { Decimal::ONE } else { -Decimal::ONE };
        let (size, price) = (fill.quantity.value(), fill.price.value());
        let (quantity, cost) = self.held.entry(fill.symbol).or_default();
        let closing = if *quantity * sign < Decimal::ZERO { size.min(quantity.abs()) } else { Decimal::ZERO };
        if closing > Decimal::ZERO {
            let all = closing == quantity.abs();
            let out = if all { *cost } else { round8(*cost * closing / quantity.abs()) };
            self.realized += round8(price * closing) * -sign - out;
            *quantity += closing * sign;
            *cost -= out;
        }
        if size > closing {
            *quantity += (size - closing) * sign;
            *cost += round8(price * (size - closing)) * sign;
        }
        self.fees += fill.fee.value();
    }

    fn quantity(&self, symbol: Symbol) -> Decimal {
        self.held.get(&symbol).map_or(Decimal::ZERO, |(quantity, _)| *quantity)
    }

    fn balance(&self) -> Decimal {
        Decimal::ONE_THOUSAND + self.realized - self.fees
    }

    fn unrealized(&self, marks: &BTreeMap<Symbol, Decimal>) -> Option<Decimal> {
        let open = self.held.iter().filter(|(_, (quantity, _))| !quantity.is_zero());
        open.map(|(symbol, (quantity, cost))| Some(round8(*marks.get(symbol)? * quantity) - cost)).sum()
    }

    fn exposure(&self, marks: &BTreeMap<Symbol, Decimal>) -> Option<Decimal> {
        let open = self.held.iter().filter(|(_, (quantity, _))| !quantity.is_zero());
        open.map(|(symbol, (quantity, _))| Some(round8(*marks.get(symbol)? * quantity.abs()))).sum()
    }
}

/// One step. Numbers are turned into prices, sizes and times by `World::step`.
#[derive(Clone, Debug)]
enum Step {
    Trade(usize, i64, i64),
    Quote(usize, i64, i64),
    Candle(usize, i64),
    Mark(usize, i64),
    Signal {
        strategy: usize,
        symbol: usize,
        action: usize,
        size: i64,
        limit: Option<i64>,
        stops: [Option<i64>; 2],
        age_ms: i64,
    },
    Again(usize),
    Level(usize, usize),
    Run(usize),
    Store(bool),
    Wait(i64),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let stop = || prop::option::weighted(0.3, -110..40_i64);
    let limit = prop::option::of(-60..60_i64);
    let signal = (0..3_usize, 0..2_usize, 0..5_usize, 1..400_i64, limit, [stop(), stop()], 0..40_000_i64)
        .prop_map(|(strategy, symbol, action, size, limit, stops, age_ms)| {
            // Most signals are fresh.
            let age_ms = if age_ms > 20_000 { 0 } else { age_ms * 2 };
            Step::Signal { strategy, symbol, action, size, limit, stops, age_ms }
        });
    let step = prop_oneof![
        12 => (0..2_usize, -100..100_i64, 1..500_i64).prop_map(|(s, p, q)| Step::Trade(s, p, q)),
        4 => (0..2_usize, -100..100_i64, 0..30_i64).prop_map(|(s, p, spread)| Step::Quote(s, p, spread)),
        2 => (0..2_usize, -100..100_i64).prop_map(|(s, p)| Step::Candle(s, p)),
        1 => (0..2_usize, -100..100_i64).prop_map(|(s, p)| Step::Mark(s, p)),
        20 => signal,
        3 => (0..1000_usize).prop_map(Step::Again),
        1 => (0..4_usize, 1..4_usize).prop_map(|(scope, level)| Step::Level(scope, level)),
        3 => (0..4_usize).prop_map(Step::Run),
        1 => any::<bool>().prop_map(Step::Store),
        5 => prop_oneof![1..400_i64, 400..70_000_i64].prop_map(Step::Wait),
        2 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..80)
}

struct World {
    rig: Rig,
    ledgers: BTreeMap<StrategyId, Ledger>,
    orders: BTreeMap<ClientOrderId, Order>,
    filled: BTreeMap<ClientOrderId, Decimal>,
    marks: BTreeMap<Symbol, Decimal>,
    venue_marks: BTreeMap<Symbol, Decimal>,
    lasts: BTreeMap<Symbol, Decimal>,
    middles: BTreeMap<Symbol, Decimal>,
    /// What stops were held against before the present step.
    triggering: Prices,
    guarded: Guarded,
    sent: Vec<(String, String, SignalResult)>,
    count: u64,
}

impl World {
    fn new() -> World {
        let mut settings = rig::settings();
        for symbol in SYMBOLS {
            rig::market(&mut settings, &[symbol, "stale_ms=60000"]);
        }
        let words = |text: &'static str| text.split(' ').collect::<Vec<_>>();
        rig::strategy(&mut settings, &words("s1 position_notional_max=2000 fee_taker=0.00061"));
        rig::strategy(&mut settings, &words("s2 latency_ms=250 order_notional_max=900 slippage_bps=3"));
        rig::strategy(
            &mut settings,
            &words("s3 kind=aibot drawdown_max_pct=20 leverage=3 size=equity_pct:50"),
        );
        rig::limit(&mut settings.limits, "position_notional_max", "4000");
        let mut rig = Rig::new(settings);
        rig.send(rig::start_event());
        let ids = STRATEGIES.iter().map(|name| (StrategyId::new(name).unwrap(), Ledger::default()));
        World {
            rig,
            ledgers: ids.collect(),
            orders: BTreeMap::new(),
            filled: BTreeMap::new(),
            marks: BTreeMap::new(),
            venue_marks: BTreeMap::new(),
            lasts: BTreeMap::new(),
            middles: BTreeMap::new(),
            triggering: Prices::new(),
            guarded: Guarded::default(),
            sent: Vec::new(),
            count: 0,
        }
    }

    fn step(&mut self, step: &Step) -> Checked {
        let now = self.rig.now;
        self.triggering = self.prices();
        match step {
            Step::Trade(symbol, p, q) => {
                let (price, quantity) = (price_of(*symbol, *p), size_of(*q));
                self.lasts.insert(rig::key(SYMBOLS[*symbol]).symbol, price.parse().unwrap());
                let event = rig::trade(now, SYMBOLS[*symbol], rig::price(&price), rig::quantity(&quantity));
                self.send(event, None)
            }
            Step::Quote(symbol, p, spread) => {
                let (bid, ask) = (price_of(*symbol, *p), price_of(*symbol, *p + spread));
                let middle =
                    (bid.parse::<Decimal>().unwrap() + ask.parse::<Decimal>().unwrap()) / Decimal::TWO;
                self.middles.insert(rig::key(SYMBOLS[*symbol]).symbol, middle);
                let (bid, ask, size) = (rig::price(&bid), rig::price(&ask), rig::quantity("1.5"));
                let update = PriceUpdate::Quote { bid, ask, bid_quantity: size, ask_quantity: size };
                self.send(rig::market_event(now, SYMBOLS[*symbol], update), None)
            }
            Step::Candle(symbol, p) => {
                let close = price_of(*symbol, *p);
                self.lasts.insert(rig::key(SYMBOLS[*symbol]).symbol, close.parse().unwrap());
                let update = PriceUpdate::Candle { close: rig::price(&close) };
                self.send(rig::market_event(now, SYMBOLS[*symbol], update), None)
            }
            Step::Mark(symbol, p) => {
                let mark = price_of(*symbol, *p);
                self.venue_marks.insert(rig::key(SYMBOLS[*symbol]).symbol, mark.parse().unwrap());
                let update = PriceUpdate::Mark { price: rig::price(&mark) };
                self.send(rig::market_event(now, SYMBOLS[*symbol], update), None)
            }
            Step::Signal { .. } => self.signal(step),
            Step::Again(index) => self.again(*index),
            Step::Level(scope, level) => self.level(*scope, Level::ALL[*level].as_str()),
            Step::Run(scope) => {
                self.count += 1;
                let (id, time) = (self.count, now.as_ms());
                self.level(*scope, &format!(r#"{{"level":"run","id":"l{id}","time":{time}}}"#))
            }
            Step::Store(available) => self.send(Event::Store { available: *available }, None),
            Step::Wait(ms) => {
                self.rig.now = now.plus_ms(*ms);
                self.send(Event::Wakeup, None)
            }
            Step::Restart => {
                let effects = self.rig.restart();
                self.marks.clear();
                self.lasts.clear();
                self.middles.clear();
                self.venue_marks.clear();
                self.take(&effects)?;
                self.compare()
            }
        }
    }

    /// What stops are held against: the last price, or the middle where there is none.
    fn prices(&self) -> Prices {
        let mut prices = self.middles.clone();
        prices.extend(self.lasts.iter().map(|(symbol, price)| (*symbol, *price)));
        prices
    }

    fn level(&mut self, scope: usize, payload: &str) -> Checked {
        let command = level::read(0, STRATEGIES.get(scope).copied(), payload.as_bytes(), false);
        self.send(Event::Level(command), None)
    }

    fn signal(&mut self, step: &Step) -> Checked {
        let Step::Signal { strategy, symbol, action, size, limit, stops, age_ms } = step else {
            return Ok(());
        };
        self.count += 1;
        let action = ["long", "short", "flat", "buy", "sell"][*action];
        let mut json = format!(r#"{{"id":"n{}","symbol":"{}""#, self.count, SYMBOLS[*symbol]);
        json += &format!(r#","time":{},"action":"{action}""#, self.rig.now.as_ms() - age_ms);
        if action != "flat" {
            json += &match size % 4 {
                0 => format!(r#","notional":{size}.7"#),
                1 if STRATEGIES[*strategy] == "s3" => String::new(),
                _ => format!(r#","quantity":{}"#, size_of(*size)),
            };
        }
        if let Some(offset) = limit {
            json += &format!(r#","order_type":"limit","price":{}"#, price_of(*symbol, *offset));
        }
        let below = matches!(action, "long" | "buy");
        // Mostly beyond the price, which is about 0 here.
        let offsets = [if below { 1 } else { -1 }, if below { -1 } else { 1 }];
        let mut named = [None; 2];
        for (index, name) in ["stop_loss", "take_profit"].into_iter().enumerate() {
            let Some(offset) = stops[index].filter(|_| action != "flat") else { continue };
            let price = price_of(*symbol, offset * offsets[index]);
            json += &format!(r#","{name}":{price}"#);
            named[index] = Some(price.parse().unwrap());
        }
        self.guarded.ask(self.count, named);
        json.push('}');
        self.deliver(STRATEGIES[*strategy], &json).map(|_| ())
    }

    /// A signal that was sent before gets the same answer, unless its refusal left the id free.
    fn again(&mut self, index: usize) -> Checked {
        if self.sent.is_empty() {
            return Ok(());
        }
        let (strategy, json, before) = self.sent[index % self.sent.len()].clone();
        let freed = before.outcome.refusal().is_some_and(|refusal| refusal.reason.frees_id());
        let orders = self.orders.len();
        let after = self.deliver(&strategy, &json)?;
        if !freed && !after.outcome.refusal().is_some_and(|refusal| refusal.reason.frees_id()) {
            prop_assert_eq!(&after, &SignalResult { repeated: true, ..before });
            prop_assert_eq!(orders, self.orders.len(), "a repeated signal made an order");
        }
        Ok(())
    }

    fn deliver(&mut self, strategy: &str, json: &str) -> Result<SignalResult, TestCaseError> {
        self.count += 1;
        let event = rig::signal_event(self.count, strategy, json, false);
        let mut result = None;
        self.send(event, Some(&mut result))?;
        let result = result.unwrap();
        if !self.sent.iter().any(|(_, sent, before)| sent == json && before.id == result.id) {
            self.sent.push((strategy.to_string(), json.to_string(), result.clone()));
        } else if !result.repeated {
            self.sent.iter_mut().filter(|(_, sent, _)| sent == json).for_each(|sent| sent.2 = result.clone());
        }
        let refused = result.outcome.refusal().map(|refusal| refusal.reason);
        if json.contains("flat") && refused.is_some() {
            prop_assert!(matches!(refused, Some(Reason::Superseded)), "an exit was refused: {:?}", result);
        }
        Ok(result)
    }

    fn send(&mut self, event: Event, answer: Option<&mut Option<SignalResult>>) -> Checked {
        let marks = self.marks.clone();
        let level = self.levels();
        self.remark();
        let equities = self.equities();
        let effects = self.rig.send(event);
        self.check_views(&effects, &marks)?;
        self.take(&effects)?;
        self.check_entries(&effects, &equities, &level)?;
        self.compare()?;
        let answers: Vec<&SignalResult> = effects
            .iter()
            .filter_map(|e| if let Effect::Reply { result, .. } = e { result.as_ref() } else { None })
            .collect();
        prop_assert_eq!(answers.len(), usize::from(answer.is_some()));
        if let Some(answer) = answer {
            let told = effects.iter().filter(|effect| match effect {
                Effect::Persist(Record::Signal(signal)) => signal.result == *answers[0],
                Effect::Publish(Update::Result(result)) => result == answers[0],
                _ => false,
            });
            prop_assert_eq!(told.count(), 1, "a result is told once");
            *answer = Some(answers[0].clone());
        }
        Ok(())
    }

    /// The venue's mark, else the last trade, else the middle.
    fn remark(&mut self) {
        for source in [&self.middles, &self.lasts, &self.venue_marks] {
            self.marks.extend(source.iter().map(|(symbol, price)| (*symbol, *price)));
        }
    }

    fn equities(&self) -> BTreeMap<StrategyId, Option<Decimal>> {
        let equity = |ledger: &Ledger| Some(ledger.balance() + ledger.unrealized(&self.marks)?);
        self.ledgers.iter().map(|(id, ledger)| (*id, equity(ledger))).collect()
    }

    fn levels(&self) -> BTreeMap<StrategyId, Level> {
        let (state, now) = (self.rig.engine.state(), self.rig.now);
        let daemon = state.level.effective(now);
        state.strategies.iter().map(|(id, s)| (*id, s.level.effective(now).max(daemon))).collect()
    }

    /// Books the records and checks each on its own.
    fn take(&mut self, effects: &[Effect]) -> Checked {
        for effect in effects {
            match effect {
                Effect::Persist(Record::Triggers(named)) => self.guarded.take(named),
                Effect::Persist(Record::Fill(fill)) => {
                    let order = &self.orders[&fill.order_id];
                    *self.filled.entry(fill.order_id).or_default() += fill.quantity.value();
                    prop_assert!(self.filled[&fill.order_id] <= order.quantity.value());
                    let reduces = matches!(fill.event_type, FillEvent::Reduce | FillEvent::Close);
                    prop_assert!(reduces || !order.reduce_only, "a reduce-only order opened: {:?}", fill);
                    if let Some(limit) = order.order_type.price() {
                        let better =
                            if fill.side == Side::Buy { fill.price <= limit } else { fill.price >= limit };
                        prop_assert!(better, "worse than its limit: {:?}", fill);
                    }
                    if order.is_of_stop() {
                        let lasts = [self.triggering.get(&fill.symbol), self.prices().get(&fill.symbol)]
                            .map(|last| last.copied());
                        let sells = fill.side == Side::Sell;
                        let worse = |last: Decimal| {
                            if sells { fill.price.value() <= last } else { fill.price.value() >= last }
                        };
                        let known = lasts.iter().any(|last| last.is_some());
                        prop_assert!(!known || lasts.into_iter().flatten().any(worse), "{:?}", fill);
                    }
                    let ledger = self.ledgers.get_mut(&fill.strategy).unwrap();
                    let before = ledger.quantity(fill.symbol);
                    ledger.book(fill);
                    let sizes = (before, ledger.quantity(fill.symbol));
                    self.guarded.fill((fill.strategy, fill.symbol), fill.order_id, sizes);
                }
                Effect::Persist(Record::Order(order)) => {
                    let before = self.orders.insert(order.order_id, order.clone());
                    let new = before.is_none();
                    let again = before.is_some_and(|before| before.status.is_final());
                    prop_assert!(!again, "an order that was final changed: {:?}", order);
                    if new && order.is_of_stop() {
                        let checked = self.guarded.check_order(order, [&self.triggering, &self.prices()]);
                        prop_assert!(checked.is_ok(), "{}", checked.unwrap_err());
                        let left = guarded::entries_left(order, self.rig.engine.state());
                        prop_assert!(left.is_empty(), "entries outlived a touched stop: {:?}", left);
                    }
                    if order.status.is_final() {
                        self.guarded.end(order.order_id);
                    }
                    let filled = self.filled.get(&order.order_id).copied().unwrap_or_default();
                    prop_assert_eq!(order.filled_quantity.value(), filled);
                }
                Effect::Persist(Record::Trade(trade)) => {
                    self.ledgers.get_mut(&trade.strategy).unwrap().trades += trade.pnl.value();
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What states show is the ledger at the mark before or after the event.
    fn check_views(&self, effects: &[Effect], before: &BTreeMap<Symbol, Decimal>) -> Checked {
        let traded = effects.iter().any(|effect| matches!(effect, Effect::Persist(Record::Fill(_))));
        for effect in effects {
            let Effect::Publish(Update::Strategy(view)) = effect else { continue };
            let money = &view.money;
            prop_assert_eq!(money.equity, money.balance + money.unrealized_pnl);
            let ledger = &self.ledgers[&view.strategy];
            let (old, new) = (ledger.unrealized(before), ledger.unrealized(&self.marks));
            if let (false, Some(old), Some(new)) = (traded, old, new) {
                let shown = money.unrealized_pnl.value();
                prop_assert!(shown == old || shown == new, "{} is not {} or {}", shown, old, new);
                prop_assert_eq!(money.balance.value(), ledger.balance());
            }
        }
        Ok(())
    }

    /// At the moment of an entry's approval no exposure is above a limit, and the level lets entries pass.
    fn check_entries(
        &self,
        effects: &[Effect],
        equities: &BTreeMap<StrategyId, Option<Decimal>>,
        levels: &BTreeMap<StrategyId, Level>,
    ) -> Checked {
        let entries = effects.iter().filter_map(|effect| match effect {
            Effect::Persist(Record::Order(order)) if order.status == OrderStatus::Submitting => Some(order),
            _ => None,
        });
        for order in entries.filter(|order| !order.reduce_only) {
            prop_assert_eq!(levels[&order.strategy], Level::Run, "an entry under a level: {:?}", order);
            let exposures: Vec<Option<Decimal>> =
                self.ledgers.values().map(|ledger| ledger.exposure(&self.marks)).collect();
            let Some(total) = exposures.into_iter().sum::<Option<Decimal>>() else { continue };
            prop_assert!(total <= Decimal::from(4000), "the daemon's exposure is {}", total);
            let own = self.ledgers[&order.strategy].exposure(&self.marks).unwrap();
            let (limit, leverage) = match order.strategy.as_str() {
                "s1" => (Decimal::from(2000), 10),
                "s2" => (Decimal::MAX, 10),
                _ => (Decimal::MAX, 3),
            };
            prop_assert!(own <= limit, "the exposure is {}", own);
            if let Some(equity) = equities[&order.strategy] {
                prop_assert!(own <= equity * Decimal::from(leverage), "{} of {}", own, equity);
            }
        }
        Ok(())
    }

    /// The engine's ledger is the reference's, to the last digit.
    fn compare(&self) -> Checked {
        for (id, ledger) in &self.ledgers {
            let state = &self.rig.engine.state().strategies[id];
            prop_assert_eq!(state.balance().value(), ledger.balance());
            prop_assert_eq!(state.realized_pnl.value(), ledger.realized);
            let mut open = Decimal::ZERO;
            for (symbol, (quantity, cost)) in &ledger.held {
                let position = state.positions.get(symbol);
                let known =
                    position.map_or((Decimal::ZERO, Decimal::ZERO), |p| (p.quantity.value(), p.cost.value()));
                prop_assert_eq!(known, (*quantity, *cost), "{} {}", id, symbol);
                prop_assert_eq!(position.is_none(), quantity.is_zero(), "a closed position remains");
                open += position.map_or(Decimal::ZERO, |p| (p.realized_pnl - p.fees).value());
            }
            prop_assert_eq!(ledger.trades + open, ledger.realized - ledger.fees, "trades do not add up");
        }
        let compared = self.guarded.compare(self.rig.engine.state(), &self.prices());
        prop_assert!(compared.is_ok(), "{}", compared.unwrap_err());
        Ok(())
    }
}

/// Odd prices, so that rounding matters: about 100, and about 0.003.
fn price_of(symbol: usize, offset: i64) -> String {
    let number = match symbol {
        0 => Decimal::from(100) + Decimal::new(offset * 20_123_457, 8),
        _ => Decimal::new(300_000 + offset * 601, 8),
    };
    number.normalize().to_string()
}

fn size_of(number: i64) -> String {
    Decimal::new(number * 3_456_789, 8).normalize().to_string()
}

/// 100,000 signals of 7 days are remembered; beyond them nothing but exits is taken, until the oldest are forgotten.
#[test]
fn a_full_history_lets_exits_pass() {
    let mut rig = Rig::new(World::new().rig.settings);
    rig.send(rig::start_event());
    let tick = |rig: &Rig| rig::trade(rig.now, "BTC-USDT", rig::price("100"), rig::quantity("1"));
    let mut count = 0;
    let mut send = |rig: &mut Rig, wish: &str| {
        count += 1;
        let time = rig.now.as_ms();
        let json = format!(r#"{{"id":"n{count}","symbol":"BTC-USDT","time":{time},{wish}}}"#);
        let effects = rig.send(rig::signal_event(count, "s1", &json, false));
        let answer = effects
            .into_iter()
            .find_map(|e| if let Effect::Reply { result, .. } = e { result } else { None });
        let outcome = answer.unwrap().outcome;
        outcome.refusal().map_or(outcome.as_str(), |refusal| refusal.reason.as_str())
    };
    rig.send(tick(&rig));
    assert_eq!(send(&mut rig, r#""action":"buy","quantity":2"#), "filled");
    let record =
        rig.records.iter().rev().find_map(|r| if let Record::Signal(s) = r { Some(s.clone()) } else { None });
    for n in 1..HISTORY_MAX {
        let id = SignalId::new(&n.to_string()).unwrap();
        rig.records.push(Record::Signal(SignalRecord { id, ..record.clone().unwrap() }));
    }
    let state = rig::fold(&rig.records);
    rig.engine = Engine::new(rig.settings.clone(), state);
    rig.send(rig::start_event());
    rig.send(tick(&rig));
    assert_eq!(send(&mut rig, r#""action":"buy","quantity":1"#), "rate_limited");
    assert_eq!(send(&mut rig, r#""action":"long","quantity":2"#), "rate_limited");
    assert_eq!(send(&mut rig, r#""action":"short","quantity":1"#), "rate_limited");
    assert_eq!(send(&mut rig, r#""action":"buy","quantity":1,"take_profit":1"#), "rate_limited");
    assert_eq!(send(&mut rig, r#""action":"long","quantity":2,"stop_loss":90"#), "rate_limited");
    assert_eq!(send(&mut rig, r#""action":"sell","quantity":1"#), "filled");
    assert_eq!(send(&mut rig, r#""action":"flat""#), "filled");
    rig.now = rig.now.plus_ms(HISTORY_MS + 1);
    rig.send(tick(&rig));
    assert_eq!(send(&mut rig, r#""action":"buy","quantity":1"#), "filled");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_is_conserved(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step)?;
        }
        world.step(&Step::Restart)?;
    }

    #[test]
    fn opening_and_closing_leaves_nothing(
        sizes in prop::collection::vec((1..2_000_i64, -99..100_i64), 1..20),
    ) {
        let mut world = World::new();
        let s1 = StrategyId::new("s1").unwrap();
        let signal = |action, size: i64| {
            let stops = [(size % 3 == 0).then_some(-size % 90 - 100), None];
            Step::Signal { strategy: 0, symbol: 0, action, size, limit: None, stops, age_ms: 0 }
        };
        let mut flat = 0;
        for (index, (size, offset)) in sizes.iter().enumerate() {
            world.step(&Step::Trade(0, *offset, 1))?;
            let action = if index % 3 == 2 { 4 } else { 3 };
            world.step(&signal(action, *size))?;
            if index % 5 == 4 {
                world.step(&signal(2, 1))?;
                flat += 1;
                prop_assert!(world.rig.engine.state().strategies[&s1].positions.is_empty());
            }
        }
        let flats = world.sent.iter().filter(|(_, json, _)| json.contains("flat"));
        let closed = flats.filter(|(_, _, result)| !matches!(result.outcome, Outcome::Rejected(_)));
        prop_assert_eq!(closed.count(), flat);
    }
}
