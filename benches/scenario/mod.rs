//! What is measured: an engine among 20 markets, built through its public interface, and the events that it gets.
#![allow(dead_code, reason = "every program that is measured uses a part of this")]

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use tradebus::engine::Engine;
use tradebus::engine::effect::Effect;
use tradebus::engine::event::{Event, SignalMessage, SignalOrigin};
use tradebus::engine::record::Record;
use tradebus::engine::settings::{EngineSettings, MarketSettings, StrategySettings};
use tradebus::engine::state::State;
use tradebus::exchange::paper::PaperSettings;
use tradebus::message::signal;
use tradebus::model::amount::{Money, Price, Quantity, Ratio};
use tradebus::model::ids::{FeedId, StoreId, StrategyId, StrategyType, Symbol, VenueId};
use tradebus::model::instrument::Instrument;
use tradebus::model::market::{MarketEvent, MarketKey, PriceUpdate};
use tradebus::model::time::Timestamp;
use tradebus::risk::Limits;

/// Markets of the engine; the strategies listen to the first.
const MARKETS: usize = 20;
/// Between two ticks of the first market, in milliseconds: 10 ticks a second.
const TICK_MS: i64 = 100;
/// Between two signals, in milliseconds: 60,480 are remembered, so that the history never refuses one.
const SIGNAL_MS: i64 = 10_000;
/// Ticks until the price is where it began.
const PERIOD: i64 = 2_000;

/// What the strategies have while the price moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Situation {
    /// Nothing.
    Flat,
    /// A position each, with limits on daily loss and drawdown; every tick values it anew.
    Open,
    /// A limit order each that the price never reaches.
    Resting,
}

impl Situation {
    /// All of them.
    pub const ALL: [Situation; 3] = [Situation::Flat, Situation::Open, Situation::Resting];

    /// The word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Situation::Flat => "flat",
            Situation::Open => "open",
            Situation::Resting => "resting",
        }
    }
}

/// An engine and the time.
pub struct Scenario {
    engine: Engine,
    effects: Vec<Effect>,
    at: Timestamp,
    count: i64,
    /// The records of the start.
    pub started: Vec<Record>,
}

fn money(value: i64) -> Money {
    Money::new(Decimal::from(value))
}

fn strategy_id(index: usize) -> StrategyId {
    StrategyId::new(&format!("strategy{index}")).expect("an id")
}

fn key(index: usize) -> MarketKey {
    let symbol = if index == 0 { "BTC-USDT".to_owned() } else { format!("COIN{index}-USDT") };
    MarketKey { feed: FeedId::new("synthetic").expect("an id"), symbol: Symbol::new(&symbol).expect("an id") }
}

/// Settings with so many strategies on the first market.
pub fn settings(strategies: usize) -> EngineSettings {
    let ratio = |mantissa, scale| Ratio::new(Decimal::new(mantissa, scale));
    let market = |index| MarketSettings {
        key: key(index),
        instrument: Instrument::plain(key(index).symbol),
        price_stale_after_ms: 1_000_000_000,
    };
    let limits = Limits {
        daily_loss_max: Some(money(5_000)),
        drawdown_max_pct: Some(ratio(50, 0)),
        ..Limits::default()
    };
    let strategy = |index| StrategySettings {
        id: strategy_id(index),
        kind: StrategyType::new("external").expect("an id"),
        markets: BTreeMap::from([(key(0).symbol, key(0))]),
        venue: VenueId::new("paper").expect("an id"),
        account: None,
        ticks: false,
        balance: money(1_000_000),
        default_size: None,
        confidence_min: None,
        price_deviation_max_pct: None,
        signals_per_minute_max: 1_000_000,
        limits: limits.clone(),
        paper: PaperSettings {
            fee_taker_ratio: ratio(6, 4),
            fee_maker_ratio: ratio(2, 4),
            slippage_bps: ratio(2, 0),
            latency_ms: 0,
            leverage: ratio(1, 0),
        },
    };
    EngineSettings {
        markets: (0..MARKETS).map(market).collect(),
        strategies: (0..strategies).map(strategy).collect(),
        accounts: Vec::new(),
        type_limits: BTreeMap::new(),
        limits,
        price_interval_ms: 5_000,
        price_deadband_bps: ratio(1, 0),
    }
}

impl Scenario {
    /// A started engine that has a price of every market.
    pub fn new(strategies: usize) -> Scenario {
        Scenario::resumed(strategies, State::default())
    }

    /// The same on a state that another one left.
    pub fn resumed(strategies: usize, state: State) -> Scenario {
        let at = Timestamp::parse_rfc3339("2026-01-05T00:00:00Z").expect("a time");
        let engine = Engine::new(settings(strategies), state);
        let mut scenario = Scenario { engine, effects: Vec::new(), at, count: 0, started: Vec::new() };
        let store_id_new = StoreId::new("0123456789abcdef0123456789abcdef").expect("an id");
        scenario.handle(Event::Start { store_id_new });
        scenario.started = scenario.records().cloned().collect();
        for index in 0..MARKETS {
            let event = scenario.price_event(index);
            scenario.handle(event);
        }
        scenario
    }

    /// A started engine in one of the situations.
    pub fn in_situation(strategies: usize, situation: Situation) -> Scenario {
        let mut scenario = Scenario::new(strategies);
        let wish = match situation {
            Situation::Flat => None,
            Situation::Open => Some(r#""action":"long","quantity":"1""#),
            Situation::Resting => {
                Some(r#""action":"long","quantity":"1","order_type":"limit","price":"100""#)
            }
        };
        for index in 0..strategies {
            let Some(wish) = wish else { break };
            scenario.signal(index, wish);
        }
        let state = scenario.engine.state();
        let positions: usize = state.strategies.values().map(|strategy| strategy.positions.len()).sum();
        let expected = match situation {
            Situation::Flat => (0, 0),
            Situation::Open => (strategies, 0),
            Situation::Resting => (0, strategies),
        };
        assert_eq!((positions, state.orders.len()), expected, "the situation is not what it should be");
        scenario
    }

    /// The effects of the latest event.
    pub fn effects(&self) -> &[Effect] {
        &self.effects
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// One tick of the first market, and the question that the loop asks behind it.
    pub fn tick(&mut self) -> Option<Timestamp> {
        self.at = self.at.plus_ms(TICK_MS);
        self.count += 1;
        let event = self.price_event(0);
        self.handle(event);
        self.engine.next_wakeup()
    }

    /// A signal that turns the first strategy's position around at the market; so small that fees reach no limit.
    pub fn flip(&mut self) {
        self.at = self.at.plus_ms(SIGNAL_MS);
        self.count += 1;
        let long = r#""action":"long","quantity":"0.0025""#;
        let short = r#""action":"short","quantity":"0.0025""#;
        self.signal(0, if self.count % 2 == 0 { long } else { short });
    }

    /// The records of the latest event.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.effects.iter().filter_map(|effect| match effect {
            Effect::Persist(record) => Some(record),
            _ => None,
        })
    }

    /// Parses a signal as it comes from the bus, and handles it.
    fn signal(&mut self, index: usize, wish: &str) {
        let strategy = format!("strategy{index}");
        let (count, time) = (self.count, self.at);
        let text = format!(r#"{{"id":"{index}-{count}","time":"{time}","symbol":"BTC-USDT",{wish}}}"#);
        let read = signal::read(&strategy, text.as_bytes(), false);
        let message =
            SignalMessage { token: 1, strategy, id: read.id, body: read.body, origin: SignalOrigin::Native };
        self.handle(Event::Signal(Box::new(message)));
    }

    /// Up and down between 50,000 and 50,100 in steps of 0.1.
    fn price_event(&self, index: usize) -> Event {
        let phase = self.count.rem_euclid(PERIOD);
        let steps = phase.min(PERIOD - phase);
        let price = Price::new(Decimal::new(500_000 + steps, 1));
        let update = PriceUpdate::Trade { price, quantity: Quantity::new(Decimal::ONE), taker: None };
        let MarketKey { feed, symbol } = key_of(index, &self.engine);
        Event::Market(MarketEvent { feed, symbol, time: self.at, update })
    }

    fn handle(&mut self, event: Event) {
        self.effects.clear();
        self.engine.handle(self.at, event, &mut self.effects);
    }
}

fn key_of(index: usize, engine: &Engine) -> MarketKey {
    engine.prices().markets()[index].key()
}
