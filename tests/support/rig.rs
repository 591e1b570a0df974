//! What the tests of the engine share: settings by words, events, and an engine whose records are kept.

use std::collections::BTreeMap;

use tradebus::engine::Engine;
use tradebus::engine::effect::Effect;
use tradebus::engine::event::{Event, SignalMessage, SignalOrigin};
use tradebus::engine::record::Record;
use tradebus::engine::settings::{AccountSettings, EngineSettings, MarketSettings, StrategySettings};
use tradebus::engine::state::State;
use tradebus::exchange::paper::PaperSettings;
use tradebus::message::signal;
use tradebus::message::tradingview::{self, AlertKey, AllSettings, TradingViewSettings};
use tradebus::model::amount::{Money, Price, Quantity, Ratio, parse_decimal};
use tradebus::model::ids::{AccountId, FeedId, StoreId, StrategyId, StrategyType, Symbol, VenueId};
use tradebus::model::instrument::Instrument;
use tradebus::model::market::{MarketEvent, MarketKey, PriceUpdate};
use tradebus::model::signal::Size;
use tradebus::model::time::Timestamp;
use tradebus::model::trading::{Environment, MarginMode};
use tradebus::risk::{Limits, OnDrawdown};

pub use crate::stops::check_stops;

/// When every test begins.
pub const START: &str = "2026-03-02T12:00:00Z";
/// The only feed.
pub const FEED: &str = "tape";
/// The store of every test.
pub const STORE: &str = "0123456789abcdef0123456789abcdef";

pub fn begin() -> Timestamp {
    Timestamp::parse_rfc3339(START).unwrap()
}

pub fn price(text: &str) -> Price {
    Price::new(parse_decimal(text).unwrap())
}

pub fn quantity(text: &str) -> Quantity {
    Quantity::new(parse_decimal(text).unwrap())
}

pub fn money(text: &str) -> Money {
    Money::new(parse_decimal(text).unwrap())
}

pub fn ratio(text: &str) -> Ratio {
    Ratio::new(parse_decimal(text).unwrap())
}

pub fn key(symbol: &str) -> MarketKey {
    MarketKey { feed: FeedId::new(FEED).unwrap(), symbol: Symbol::new(symbol).unwrap() }
}

/// Nothing configured; prices every 5 s beyond 1 basis point.
pub fn settings() -> EngineSettings {
    EngineSettings {
        markets: Vec::new(),
        strategies: Vec::new(),
        accounts: Vec::new(),
        type_limits: BTreeMap::new(),
        limits: Limits::default(),
        price_interval_ms: 5_000,
        price_deadband_bps: ratio("1"),
    }
}

/// The words `key=value` of a line.
pub fn pairs<'a>(words: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    words.iter().map(|word| word.split_once('=').unwrap_or_else(|| panic!("{word}: no ="))).collect()
}

/// Adds or replaces a market: `SYMBOL tick= lot= min= contract= stale_ms=`.
pub fn market(settings: &mut EngineSettings, words: &[&str]) {
    let (mut tick, mut lot, mut min, mut contract) = ("0.00000001", "0.00000001", "0.00000001", "1");
    let mut stale_ms = 15_000;
    for (name, value) in pairs(&words[1..]) {
        match name {
            "tick" => tick = value,
            "lot" => lot = value,
            "min" => min = value,
            "contract" => contract = value,
            "stale_ms" => stale_ms = value.parse().unwrap(),
            _ => panic!("{name}: no setting of a market"),
        }
    }
    let key = key(words[0]);
    let instrument =
        Instrument::new(key.symbol, price(tick), quantity(lot), quantity(min), quantity(contract)).unwrap();
    settings.markets.retain(|market| market.key != key);
    settings.markets.push(MarketSettings { key, instrument, price_stale_after_ms: stale_ms });
}

/// Adds or changes a strategy: `ID kind= symbols= balance= size=quantity:1 ...` and the names of limits.
pub fn strategy(settings: &mut EngineSettings, words: &[&str]) {
    let id = StrategyId::new(words[0]).unwrap();
    if !settings.strategies.iter().any(|strategy| strategy.id == id) {
        let markets = settings.markets.iter().map(|market| (market.key.symbol, market.key)).collect();
        settings.strategies.push(plain_strategy(id, markets));
    }
    let strategy = settings.strategies.iter_mut().find(|strategy| strategy.id == id).unwrap();
    for (name, value) in pairs(&words[1..]) {
        match name {
            "account" if value == "-" => {
                strategy.account = None;
                strategy.venue = VenueId::new("paper").unwrap();
            }
            "account" => {
                strategy.account = Some(AccountId::new(value).unwrap());
                strategy.venue = VenueId::new("blofin").unwrap();
            }
            "kind" => strategy.kind = StrategyType::new(value).unwrap(),
            "symbols" => {
                strategy.markets = value.split(',').map(|name| (key(name).symbol, key(name))).collect()
            }
            "balance" => strategy.balance = money(value),
            "size" => strategy.default_size = Some(size(value)),
            "ticks" => strategy.ticks = value == "true",
            "confidence_min" => strategy.confidence_min = Some(ratio(value)),
            "price_deviation_max_pct" => strategy.price_deviation_max_pct = Some(ratio(value)),
            "signals_per_minute_max" => strategy.signals_per_minute_max = value.parse().unwrap(),
            "latency_ms" => strategy.paper.latency_ms = value.parse().unwrap(),
            "leverage" => strategy.paper.leverage = ratio(value),
            "fee_taker" => strategy.paper.fee_taker_ratio = ratio(value),
            "fee_maker" => strategy.paper.fee_maker_ratio = ratio(value),
            "slippage_bps" => strategy.paper.slippage_bps = ratio(value),
            _ => limit(&mut strategy.limits, name, value),
        }
    }
}

/// Adds or changes an account with keys: `ID leverage= dead_man_ms= skew_ms=`.
pub fn account(settings: &mut EngineSettings, words: &[&str]) {
    let id = AccountId::new(words[0]).unwrap();
    settings.accounts.retain(|account| account.id != id);
    let mut account = AccountSettings {
        id,
        venue: VenueId::new("blofin").unwrap(),
        environment: Environment::Demo,
        margin_mode: MarginMode::Cross,
        leverage: 3,
        dead_man_after_ms: 30_000,
        clock_skew_max_ms: 5_000,
    };
    for (name, value) in pairs(&words[1..]) {
        match name {
            "leverage" => account.leverage = value.parse().unwrap(),
            "dead_man_ms" => account.dead_man_after_ms = value.parse().unwrap(),
            "skew_ms" => account.clock_skew_max_ms = value.parse().unwrap(),
            "environment" if value == "production" => account.environment = Environment::Production,
            _ => panic!("{name}: no setting of an account"),
        }
    }
    settings.accounts.push(account);
}

fn plain_strategy(id: StrategyId, markets: BTreeMap<Symbol, MarketKey>) -> StrategySettings {
    StrategySettings {
        id,
        kind: StrategyType::new("external").unwrap(),
        markets,
        venue: VenueId::new("paper").unwrap(),
        account: None,
        ticks: false,
        balance: money("1000"),
        default_size: None,
        confidence_min: None,
        price_deviation_max_pct: None,
        signals_per_minute_max: 1_000_000,
        limits: Limits::default(),
        paper: PaperSettings {
            fee_taker_ratio: ratio("0.001"),
            fee_maker_ratio: ratio("0.0005"),
            slippage_bps: ratio("0"),
            latency_ms: 0,
            leverage: ratio("10"),
        },
    }
}

fn size(text: &str) -> Size {
    let (name, value) = text.split_once(':').unwrap();
    match name {
        "quantity" => Size::Quantity(quantity(value)),
        "notional" => Size::Notional(money(value)),
        "equity_pct" => Size::EquityPct(ratio(value)),
        "risk_pct" => Size::RiskPct(ratio(value)),
        _ => panic!("{name}: no size"),
    }
}

/// Sets one limit.
pub fn limit(limits: &mut Limits, name: &str, value: &str) {
    match name {
        "order_notional_max" => limits.order_notional_max = Some(money(value)),
        "position_notional_max" => limits.position_notional_max = Some(money(value)),
        "leverage_max" => limits.leverage_max = Some(ratio(value)),
        "orders_per_minute_max" => limits.orders_per_minute_max = Some(value.parse().unwrap()),
        "daily_loss_max" => limits.daily_loss_max = Some(money(value)),
        "drawdown_max_pct" => limits.drawdown_max_pct = Some(ratio(value)),
        "on_drawdown" if value == "reduce" => limits.on_drawdown = OnDrawdown::Reduce,
        "on_drawdown" if value == "flatten" => limits.on_drawdown = OnDrawdown::Flatten,
        _ => panic!("{name}: no setting"),
    }
}

/// A feed's message at a time.
pub fn market_event(at: Timestamp, symbol: &str, update: PriceUpdate) -> Event {
    let key = key(symbol);
    Event::Market(MarketEvent { feed: key.feed, symbol: key.symbol, time: at, update })
}

/// A trade between others.
pub fn trade(at: Timestamp, symbol: &str, at_price: Price, size: Quantity) -> Event {
    market_event(at, symbol, PriceUpdate::Trade { price: at_price, quantity: size, taker: None })
}

/// A signal as it comes from a topic.
pub fn signal_event(token: u64, strategy: &str, json: &str, retained: bool) -> Event {
    let read = signal::read(strategy, json.as_bytes(), retained);
    let strategy = strategy.to_string();
    Event::Signal(Box::new(SignalMessage {
        token,
        strategy,
        id: read.id,
        body: read.body,
        origin: SignalOrigin::Native,
    }))
}

/// A TradingView alert as it comes from a topic: the strategy's, or the shared one (`-`).
pub fn alert_event(token: u64, topic: &str, body: &str, retained: bool, settings: &AllSettings) -> Event {
    let topic = Some(topic).filter(|topic| *topic != "-");
    Event::Signal(Box::new(tradingview::read(topic, body.as_bytes(), retained, settings).into_message(token)))
}

/// How a strategy's alerts are read: `key= key_required= exchange= accept_from= contracts_as_size=`.
pub fn alerts(settings: &mut AllSettings, words: &[&str]) {
    let mut read = TradingViewSettings::default();
    for (name, value) in pairs(&words[1..]) {
        match name {
            "key" => read.key = Some(AlertKey::new(value)),
            "key_required" => read.key_required = value == "true",
            "exchange" => read.exchange = Some(value.to_string()),
            "accept_from" => read.accept_from = value.split(',').map(str::to_string).collect(),
            "contracts_as_size" => read.contracts_as_size = value == "true",
            _ => panic!("{name}: no setting of alerts"),
        }
    }
    settings.insert(StrategyId::new(words[0]).unwrap(), read);
}

/// The first event of a run.
pub fn start_event() -> Event {
    Event::Start { store_id_new: StoreId::new(STORE).unwrap() }
}

/// The fold of records after they went through their binary form, as a restart reads them.
pub fn fold(records: &[Record]) -> State {
    let mut state = State::default();
    for record in records {
        let bytes = postcard::to_allocvec(record).unwrap();
        state.apply(&postcard::from_bytes(&bytes).unwrap());
    }
    state
}

/// An engine and the records that it persisted.
pub struct Rig {
    pub settings: EngineSettings,
    pub engine: Engine,
    pub records: Vec<Record>,
    pub now: Timestamp,
}

impl Rig {
    /// Not started yet.
    pub fn new(settings: EngineSettings) -> Rig {
        let engine = Engine::new(settings.clone(), State::default());
        Rig { settings, engine, records: Vec::new(), now: begin() }
    }

    /// Handles an event at the present time.
    pub fn send(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.engine.handle(self.now, event, &mut effects);
        self.keep(&effects);
        check_stops(&self.engine);
        effects
    }

    /// Keeps the records of effects, whose sequence numbers must have no gap.
    pub fn keep(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Persist(record) = effect {
                self.records.push(record.clone());
            }
        }
        assert_eq!(self.engine.state().sequence, self.records.len() as u64, "a sequence number is missing");
    }

    /// Folds the records into a new engine, which must know what the old one knew.
    pub fn restart(&mut self) -> Vec<Effect> {
        let state = fold(&self.records);
        assert_eq!(&state, self.engine.state(), "the fold of the records differs from the living state");
        self.engine = Engine::new(self.settings.clone(), state);
        self.send(start_event())
    }
}
