//! Measures an engine of the query store, see docs/STORE.md.
//!
//! Usage: `query_store fill ENGINE DIR COUNT` makes COUNT rows in each of five tables; `query_store read ENGINE DIR`
//! opens it in a fresh process and asks for pages.
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::path::Path;
use std::time::Instant;

use tradebus::engine::record::{Record, SampleRecord, Scope, ScopeSample, SignalRecord, StrategyRecord};
use tradebus::model::amount::{Money, Price, Quantity};
use tradebus::model::ids::{ClientOrderId, SignalId, StoreId, StrategyId, StrategyType, Symbol, VenueId};
use tradebus::model::order::{Order, OrderStatus, OrderType, Side};
use tradebus::model::report::{Fill, FillEvent, Liquidity, Trade};
use tradebus::model::signal::{Outcome, SignalResult};
use tradebus::model::time::Timestamp;
use tradebus::store::index::Index;
use tradebus::store::query::{self, Filter};
use tradebus::store::storage::{AnyStorage, EngineKind, Storage};

const STRATEGIES: u64 = 10;
const BATCH: u64 = 200;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["fill", engine, dir, count] => fill(engine, Path::new(dir), count.parse().expect("a number")),
        ["read", engine, dir] => read(engine, Path::new(dir)),
        _ => eprintln!("usage: query_store fill ENGINE DIR COUNT | read ENGINE DIR"),
    }
}

fn open(engine: &str, dir: &Path) -> AnyStorage {
    let kind = EngineKind::named(engine).expect("an engine of this build");
    AnyStorage::open(kind, dir).expect("it opens")
}

fn fill(engine: &str, dir: &Path, count: u64) {
    let start = Instant::now();
    let storage = open(engine, dir);
    let mut index = Index::load(&storage).expect("an index");
    let mut sequence = 0;
    let mut put = |index: &mut Index, record: &Record| {
        sequence += 1;
        index.apply(sequence, record).expect("a record");
    };
    put(&mut index, &Record::Store { id: StoreId::new(&"ab".repeat(16)).expect("an id"), time: at(0) });
    for n in 0..STRATEGIES {
        put(&mut index, &Record::Strategy(strategy(n)));
    }
    for n in 1..=count {
        let order = order(n);
        put(&mut index, &Record::Order(order.clone()));
        put(&mut index, &Record::Fill(fill_of(&order)));
        put(&mut index, &Record::Trade(trade(n, &order)));
        put(&mut index, &Record::Sample(sample(n, &order)));
        put(&mut index, &Record::Signal(signal(&order)));
        if n.is_multiple_of(BATCH) {
            index.commit(&storage).expect("a commit");
        }
    }
    index.commit(&storage).expect("a commit");
    storage.close().expect("it closes");
    println!(
        "{engine} fill: {count} rows in each of 5 tables, {:.1} s, {}",
        start.elapsed().as_secs_f64(),
        memory()
    );
}

fn read(engine: &str, dir: &Path) {
    let before = memory();
    let start = Instant::now();
    let storage = open(engine, dir);
    Index::load(&storage).expect("an index");
    println!("{engine} open: {:.1} ms, {} (process before: {before})", ms(start), memory());
    let mut times = Vec::new();
    for n in 0..200_u64 {
        let filter = Filter {
            strategy: Some(id(n % STRATEGIES)),
            to: Some(at(2_000 + (n * 7_919) % 18_000)),
            ..Filter::default()
        };
        let start = Instant::now();
        let page = query::trades(&storage, &filter).expect("a page");
        times.push(ms(start));
        assert_eq!(page.rows.len(), 100);
    }
    let first = times[0];
    times.sort_by(f64::total_cmp);
    println!(
        "{engine} page of 100 trades by strategy and time: first {first:.2}, median {:.2}, p99 {:.2}, max {:.2} ms, {}",
        times[100],
        times[197],
        times[199],
        memory()
    );
    let start = Instant::now();
    let page = query::fills(&storage, &Filter::default()).expect("a page");
    println!(
        "{engine} newest {} fills of all strategies: {:.2} ms, {}",
        page.rows.len(),
        ms(start),
        memory()
    );
    storage.close().expect("it closes");
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1_000.0
}

/// Resident memory now and at its highest.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        let kb: f64 = line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).unwrap_or_default();
        kb / 1_024.0
    };
    format!("resident {:.1} MB, peak {:.1} MB", of("VmRSS"), of("VmHWM"))
}

fn at(n: u64) -> Timestamp {
    Timestamp::from_ms(1_700_000_000_000 + n as i64 * 1_000)
}

fn id(n: u64) -> StrategyId {
    StrategyId::new(&format!("strategy{n}")).expect("an id")
}

fn amount(n: u64) -> rust_decimal::Decimal {
    rust_decimal::Decimal::new((n as i64 * 7_919_123) % 1_000_000_000, 4)
}

fn strategy(n: u64) -> StrategyRecord {
    StrategyRecord {
        id: id(n),
        kind: StrategyType::new("external").expect("a type"),
        venue: VenueId::new("paper").expect("a venue"),
        symbols: vec![Symbol::new("BTC-USDT").expect("a symbol")],
        balance: Money::new(10_000.into()),
        time: at(0),
    }
}

fn order(n: u64) -> Order {
    // Order ids are hashes: spread over the whole range.
    let mut x = n;
    let digits = (0..32).map(|_| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + ((x >> 33) % 26) as u8)
    });
    Order {
        order_id: ClientOrderId::new(&digits.collect::<String>()).expect("an id"),
        strategy: id(n % STRATEGIES),
        symbol: Symbol::new("BTC-USDT").expect("a symbol"),
        venue: VenueId::new("paper").expect("a venue"),
        signal_id: SignalId::new(&format!("2026-11-20T20:00:05Z-{n}")).ok(),
        side: Side::Buy,
        order_type: OrderType::Market,
        quantity: Quantity::new(amount(n)),
        filled_quantity: Quantity::new(amount(n)),
        filled_notional: Money::new(amount(n + 1)),
        reduce_only: false,
        status: OrderStatus::Filled,
        reason: None,
        created: at(n),
        time: at(n),
    }
}

fn fill_of(order: &Order) -> Fill {
    Fill {
        strategy: order.strategy,
        symbol: order.symbol,
        venue: order.venue,
        event_type: FillEvent::Close,
        side: order.side,
        quantity: order.quantity,
        price: Price::new(order.filled_notional.value()),
        fee: order.filled_notional,
        liquidity: Liquidity::Taker,
        realized_pnl: order.filled_notional,
        position_quantity: Quantity::ZERO,
        order_id: order.order_id,
        signal_id: order.signal_id.clone(),
        number: 1,
        time: order.time,
    }
}

fn trade(n: u64, order: &Order) -> Trade {
    Trade {
        id: order.order_id.to_string(),
        strategy: order.strategy,
        symbol: order.symbol,
        venue: order.venue,
        side: order.side,
        open_time: at(n - 1),
        close_time: order.time,
        open_price: Price::new(amount(n)),
        close_price: Price::new(amount(n + 1)),
        quantity: order.quantity,
        pnl: Money::new(amount(n + 2)),
        fees: Money::new(amount(n + 3)),
        funding: Money::ZERO,
    }
}

fn sample(n: u64, order: &Order) -> SampleRecord {
    let kind = StrategyType::new("external").expect("a type");
    let scopes = [Scope::Strategy(order.strategy), Scope::Type(kind), Scope::Portfolio].map(|scope| {
        let equity = Money::new(amount(n));
        ScopeSample { scope, equity, peak: equity, day_start: equity }
    });
    SampleRecord { time: order.time, day: None, scopes: scopes.to_vec(), marks: Vec::new() }
}

fn signal(order: &Order) -> SignalRecord {
    let id = order.signal_id.clone().expect("an id");
    SignalRecord {
        strategy: order.strategy,
        id: id.clone(),
        fingerprint: [0; 16],
        symbol: order.symbol,
        signal_time: order.time,
        target_applied: false,
        result: SignalResult {
            strategy: order.strategy.to_string(),
            id: Some(id),
            outcome: Outcome::Filled,
            note: None,
            orders: vec![order.order_id],
            repeated: false,
            time: order.time,
        },
    }
}
