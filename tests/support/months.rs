//! Months of a daemon in minutes: its own loop, committing thread, outbox, board, journal and query store, driven by
//! the time of events, so that what is kept for 7 days is filled and forgotten several times over. Nothing fails here;
//! that is `sim`'s.
//!
//! In each step every symbol has a price, signals come evenly over the day, one group is written, the broker takes
//! everything, and the query store follows. Every five minutes equity is kept for charts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rust_decimal::Decimal;
use tradebus::config::{Config, Sources};
use tradebus::daemon::board::Board;
use tradebus::daemon::clock::Clock;
use tradebus::daemon::mqtt::Inbound;
use tradebus::daemon::outbox::Outbox;
use tradebus::daemon::stage::Stage;
use tradebus::engine::event::Event;
use tradebus::engine::record::Scope;
use tradebus::model::amount::{Money, Price, Quantity};
use tradebus::model::ids::{FeedId, StoreId, StrategyId, StrategyType, Symbol};
use tradebus::model::market::{MarketEvent, PriceUpdate};
use tradebus::model::time::Timestamp;
use tradebus::store::disk::{Disk, SystemDisk};
use tradebus::store::query_store::{JournalEnd, Queries, QueryStore};
use tradebus::store::record::encode_state;
use tradebus::store::row::LastPrice;
use tradebus::store::storage::EngineKind;

use super::random::Random;

const START: &str = "2026-01-20T00:00:00Z";
const STORE_ID: &str = "00112233445566778899aabbccddeeff";
const MINUTE_MS: i64 = 60_000;
const MINUTES_OF_DAY: u64 = 1_440;
const CHART_MINUTES: u64 = 5;
/// Symbols of each strategy.
const SYMBOLS_EACH: usize = 4;

/// What a day brings.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Evenly over the day, for one strategy after the other.
    pub signals_a_day: u64,
    pub symbols: usize,
    pub strategies: usize,
    /// From one step to the next, a divisor of a day.
    pub step_minutes: u64,
}

/// A disk that never waits: power is not what this is about.
#[derive(Debug)]
struct Unsynced;

impl Disk for Unsynced {
    fn write(&self, file: &std::fs::File, bytes: &[u8], at: u64) -> std::io::Result<()> {
        SystemDisk.write(file, bytes, at)
    }

    fn sync(&self, _: &std::fs::File) -> std::io::Result<()> {
        Ok(())
    }

    fn cut(&self, file: &std::fs::File, length: u64) -> std::io::Result<()> {
        SystemDisk.cut(file, length)
    }
}

/// How large everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Records so far.
    pub records: u64,
    /// Bytes of the journal so far.
    pub journal: u64,
    /// Signals that are remembered.
    pub signals: usize,
    /// Bytes of all that survives a restart, as a checkpoint has it.
    pub state: usize,
    /// Orders that work.
    pub orders: usize,
    /// Events that wait for the broker.
    pub waiting: usize,
    /// Topics with a value.
    pub topics: usize,
}

/// See the module.
pub struct Months {
    load: Load,
    stage: Stage,
    board: Arc<Board>,
    query: Option<QueryStore>,
    clock: Clock,
    now: Timestamp,
    random: Random,
    symbols: Vec<Symbol>,
    /// The last price of each, in hundredths.
    cents: Vec<i64>,
    packet: u16,
    minutes: u64,
    signals: u64,
}

impl Months {
    /// A daemon that starts on an empty store. With a query store if there is to be one. To be called within a tokio
    /// runtime that has timers, as all of it.
    pub fn new(store: &Path, load: Load, engine: Option<EngineKind>) -> Months {
        let mut config = config(load);
        config.store.path = store.to_path_buf();
        let now = Timestamp::parse_rfc3339(START).expect("a time");
        let clock = Clock::recorded(now);
        let mut stage = Stage::open(&config, Box::new(Unsynced), clock.clone()).expect("the store opens");
        let board = Arc::new(Board::new(&config.mqtt.base_topic));
        let shown = Outbox::new(0, 0).shown_on(Some(Arc::clone(&board)));
        stage.events.outbox.with(|outbox| *outbox = shown);
        let id = StoreId::new(STORE_ID).expect("an id");
        stage.begin(id).expect("the engine starts");
        stage.wire.connect(false);
        stage.events.outbox.with(|outbox| outbox.connection_started());
        let query = engine.map(|engine| {
            let end = JournalEnd { committed: 0, store_id: None };
            let stop = AtomicBool::new(false);
            QueryStore::open(store, engine, end, Queries::default(), &stop).expect("a query store").0
        });
        Months {
            load,
            stage,
            board,
            query,
            clock,
            now,
            random: Random::new(0),
            symbols: (0..load.symbols).map(symbol).collect(),
            cents: vec![10_000; load.symbols],
            packet: 0,
            minutes: 0,
            signals: 0,
        }
    }

    /// One day.
    pub fn day(&mut self) {
        let mut sent = 0;
        for step in 1..=MINUTES_OF_DAY / self.load.step_minutes {
            for index in 0..self.symbols.len() {
                self.price(index);
            }
            let due = step * self.load.step_minutes * self.load.signals_a_day / MINUTES_OF_DAY;
            while sent < due {
                self.signal();
                sent += 1;
            }
            self.settle();
            self.now = self.now.plus_ms(MINUTE_MS * self.load.step_minutes as i64);
            self.clock.advance(self.now);
            self.stage.event(Event::Wakeup).expect("the engine lives");
            self.minutes += self.load.step_minutes;
        }
    }

    pub fn sizes(&self) -> Sizes {
        let state = self.stage.events.engine.state();
        let counters = self.stage.events.outbox.counters();
        Sizes {
            records: state.sequence,
            journal: self.stage.events.committer.figures.bytes_written.load(Ordering::Relaxed),
            signals: state.signals.len(),
            state: encode_state(state).len(),
            orders: state.orders.len(),
            waiting: counters.events_waiting,
            topics: self.board.payloads("", |_| true).len(),
        }
    }

    /// How many signals were answered how.
    pub fn answered(&self) -> Vec<(String, u64)> {
        let counts = self.stage.events.figures.counts().signals;
        let told = counts.into_iter().filter(|(_, _, count)| *count > 0);
        told.map(|(status, reason, count)| (format!("{status} {reason}").trim().into(), count)).collect()
    }

    fn price(&mut self, index: usize) {
        let step = self.random.below(21) as i64 - 10;
        self.cents[index] = (self.cents[index] + step).clamp(8_000, 12_000);
        let price = Price::new(Decimal::new(self.cents[index], 2));
        let update = PriceUpdate::Trade { price, quantity: Quantity::new(Decimal::ONE), taker: None };
        let feed = FeedId::new("tape").expect("a name");
        let event = MarketEvent { feed, symbol: self.symbols[index], time: self.now, update };
        self.stage.event(Event::Market(event)).expect("the engine lives");
    }

    /// The next signal: a target that turns a position around or closes it, some with a stop.
    fn signal(&mut self) {
        let number = self.signals as usize;
        self.signals += 1;
        let strategy = number % self.load.strategies;
        let turn = number / self.load.strategies;
        let index = (strategy * 2 + turn % SYMBOLS_EACH) % self.load.symbols;
        let action = ["long", "short", "flat"][turn / SYMBOLS_EACH % 3];
        let stop = match (action, turn % 4) {
            ("long", 0) => format!(r#","stop_loss":{}"#, Decimal::new(self.cents[index] * 9 / 10, 2)),
            _ => String::new(),
        };
        let (symbol, time) = (&self.symbols[index], self.now.as_ms());
        let payload = format!(
            r#"{{"id":"a-sender-s-id-{number}","time":{time},"symbol":"{symbol}","action":"{action}"{stop}}}"#
        );
        self.packet = self.packet % u16::MAX + 1;
        let inbound = Inbound {
            topic: format!("tradebus/strategy/s{strategy}/signal"),
            payload: payload.into_bytes(),
            retain: false,
            response_topic: None,
            correlation: None,
            ack: self.stage.wire.issue(self.packet),
        };
        self.stage.inbound(inbound).expect("the engine lives");
        // The broker's window is not what is measured.
        if self.signals.is_multiple_of(64) {
            self.settle();
        }
    }

    /// Everything is written, told, acknowledged, and taken over by the query store.
    fn settle(&mut self) {
        self.stage.hear().expect("the engine lives");
        assert!(self.stage.write(usize::MAX), "the disk fails");
        self.stage.release();
        while self.stage.wire.acknowledged().is_some() {}
        self.stage.events.outbox.with(|outbox| {
            while let Some(message) = outbox.take_next() {
                outbox.acknowledged(&message.ticket);
            }
        });
        self.stage.journal_published().expect("the engine lives");
        let Some(query) = &mut self.query else { return };
        if self.minutes.is_multiple_of(CHART_MINUTES) {
            let equity = scopes(self.load).map(|scope| (scope, money(&mut self.random)));
            query.index().0.chart(self.now, &equity.collect::<Vec<_>>());
        }
        let markets = self.stage.events.engine.prices().markets();
        let prices = markets.iter().map(|market| {
            let view = market.view(self.now);
            let mark = market.mark();
            LastPrice {
                key: market.key(),
                last: view.last,
                bid: view.bid,
                ask: view.ask,
                mark,
                time: self.now,
            }
        });
        query.index().0.prices(&prices.collect::<Vec<_>>());
        let committed = self.stage.events.committer.figures.committed.load(Ordering::Relaxed);
        while !query.follow(committed).expect("the query store follows") {}
        query.flush().expect("the query store is flushed");
    }
}

fn symbol(index: usize) -> Symbol {
    Symbol::new(&format!("S{index:02}-USDT")).expect("a symbol")
}

fn money(random: &mut Random) -> Money {
    Money::new(Decimal::new(99_000_000_000_000 + random.below(2_000_000_000_000) as i64, 8))
}

fn scopes(load: Load) -> impl Iterator<Item = Scope> {
    let strategy = |index: usize| StrategyId::new(&format!("s{index}")).expect("a name");
    let strategies = (0..load.strategies).map(move |index| Scope::Strategy(strategy(index)));
    let kind = StrategyType::new("external").expect("a type");
    strategies.chain([Scope::Type(kind), Scope::Portfolio])
}

fn config(load: Load) -> Config {
    let names = |of: &mut dyn Iterator<Item = usize>| {
        of.map(|index| format!("\"{}\"", symbol(index))).collect::<Vec<_>>().join(",")
    };
    let mut text = format!(
        "[mqtt]\nbroker = \"mqtt://127.0.0.1:1\"\n[feed.tape]\nsource = \"synthetic\"\nsymbols = [{}]\n\
         price_stale_after_ms = 120000\n",
        names(&mut (0..load.symbols))
    );
    for index in 0..load.symbols {
        let symbol = symbol(index);
        text += &format!("[instrument.{symbol}]\ntick_size = 0.01\nlot_size = 0.001\nsize_min = 0.001\n");
    }
    for strategy in 0..load.strategies {
        let symbols = names(&mut (0..SYMBOLS_EACH).map(|n| (strategy * 2 + n) % load.symbols));
        text += &format!(
            "[strategy.s{strategy}]\ntype = \"external\"\nbalance = 1000000\nsymbols = [{symbols}]\n\
             default_size = {{ notional = 100 }}\nlimits = {{ daily_loss_max = 900000, drawdown_max_pct = 90 }}\n"
        );
    }
    Config::load(&Sources::of_text(&text)).unwrap_or_else(|problems| panic!("{problems:?}")).config
}
