//! A journal to index: round trips of three strategies on two symbols.

use crate::engine::record::{Record, SampleRecord, Scope, ScopeSample, SignalRecord, StrategyRecord};
use crate::model::amount::{Money, Price, Quantity};
use crate::model::ids::{ClientOrderId, SignalId, StoreId, StrategyId, StrategyType, Symbol, VenueId};
use crate::model::order::{Order, OrderStatus, OrderType, Side};
use crate::model::report::{Fill, FillEvent, Liquidity, Trade};
use crate::model::signal::{Outcome, SignalResult};
use crate::model::time::Timestamp;

const STRATEGIES: [(&str, &str); 3] = [("s1", "external"), ("s2", "tradingview"), ("s3", "external")];
const SYMBOLS: [&str; 2] = ["BTC-USDT", "ETH-USDT"];

pub(super) fn money(value: i64) -> Money {
    Money::new(value.into())
}

fn quantity(value: i64) -> Quantity {
    Quantity::new(value.into())
}

pub(super) fn price(value: i64) -> Price {
    Price::new(value.into())
}

/// A journal: the store, three strategies, then round trips of signal, order (twice), fill, sample and trade.
pub(super) fn records(round_trips: u32) -> Vec<Record> {
    let mut records = vec![Record::Store { id: StoreId::new(&"ab".repeat(16)).unwrap(), time: at(0) }];
    for (id, kind) in STRATEGIES {
        records.push(Record::Strategy(StrategyRecord {
            id: StrategyId::new(id).unwrap(),
            kind: StrategyType::new(kind).unwrap(),
            venue: venue(),
            symbols: SYMBOLS.map(|symbol| Symbol::new(symbol).unwrap()).to_vec(),
            balance: money(10_000),
            time: at(0),
        }));
    }
    for n in 1..=round_trips {
        let mut order = order(n);
        records.push(Record::Order(order.clone()));
        records.push(Record::Fill(fill(&order)));
        records.push(Record::Trade(trade(n, &order)));
        // Every fourth order stays open.
        if n % 4 != 0 {
            order.status = OrderStatus::Filled;
            order.filled_quantity = quantity(1);
            order.filled_notional = money(100);
            records.push(Record::Order(order.clone()));
        }
        records.push(Record::Sample(SampleRecord {
            time: at(n),
            day: None,
            scopes: [Scope::Strategy(order.strategy), Scope::Portfolio]
                .map(|scope| ScopeSample {
                    scope,
                    equity: money(10_000 + i64::from(n)),
                    peak: money(20_000),
                    day_start: money(10_000),
                })
                .to_vec(),
            marks: Vec::new(),
        }));
        records.push(Record::Signal(signal(n, &order)));
    }
    records
}

fn at(n: u32) -> Timestamp {
    Timestamp::from_ms(1_700_000_000_000 + i64::from(n) * 1_000)
}

fn venue() -> VenueId {
    VenueId::new("paper").unwrap()
}

fn order(n: u32) -> Order {
    let digits: String = format!("{n:08}").bytes().map(|b| char::from(b - b'0' + b'a')).collect();
    Order {
        order_id: ClientOrderId::new(&digits).unwrap(),
        strategy: StrategyId::new(STRATEGIES[n as usize % 3].0).unwrap(),
        symbol: Symbol::new(SYMBOLS[n as usize % 2]).unwrap(),
        venue: venue(),
        signal_id: SignalId::new(&format!("signal {n}")).ok(),
        side: Side::Buy,
        order_type: OrderType::Market,
        quantity: quantity(1),
        filled_quantity: quantity(0),
        filled_notional: money(0),
        reduce_only: false,
        status: OrderStatus::Submitting,
        reason: None,
        created: at(n),
        time: at(n),
    }
}

fn fill(order: &Order) -> Fill {
    Fill {
        strategy: order.strategy,
        symbol: order.symbol,
        venue: order.venue,
        event_type: FillEvent::Close,
        side: Side::Buy,
        quantity: quantity(1),
        price: price(100),
        fee: money(1),
        liquidity: Liquidity::Taker,
        realized_pnl: money(5),
        position_quantity: quantity(0),
        order_id: order.order_id,
        signal_id: order.signal_id.clone(),
        number: 1,
        time: order.time,
    }
}

fn trade(n: u32, order: &Order) -> Trade {
    Trade {
        id: order.order_id.to_string(),
        strategy: order.strategy,
        symbol: order.symbol,
        venue: order.venue,
        side: Side::Buy,
        open_time: at(n - 1),
        close_time: at(n),
        open_price: price(95),
        close_price: price(100),
        quantity: quantity(1),
        pnl: money(i64::from(n)),
        fees: money(1),
        funding: money(0),
    }
}

fn signal(n: u32, order: &Order) -> SignalRecord {
    let signal_id = order.signal_id.clone().unwrap();
    SignalRecord {
        strategy: order.strategy,
        id: signal_id.clone(),
        fingerprint: [0; 16],
        symbol: order.symbol,
        signal_time: at(n),
        target_applied: false,
        result: SignalResult {
            strategy: order.strategy.to_string(),
            id: Some(signal_id),
            outcome: if n.is_multiple_of(5) { Outcome::Unchanged } else { Outcome::Filled },
            note: None,
            orders: vec![order.order_id],
            repeated: false,
            time: at(n),
        },
    }
}
