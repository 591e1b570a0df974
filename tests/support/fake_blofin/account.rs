//! What the fake knows of an account: keys, money, positions, orders, stops and fills, and how they come about.
//!
//! A market order fills at the touch, a limit rests and fills when the market trades through it, a stop is triggered by
//! the last price. Taker 0.06 %, maker 0.02 %. Sizes are contracts. Every change is also a row for the stream.

use std::collections::{BTreeMap, VecDeque};

use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::now_ms;
use super::record::{FakeFill, FakeOrder, FakeStop, long};

/// A figure that a test wrote.
pub fn number(text: &str) -> Decimal {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is not a number"))
}

/// 1, 0 or -1.
fn sign(value: Decimal) -> Decimal {
    match (value.is_zero(), value.is_sign_negative()) {
        (true, _) => Decimal::ZERO,
        (_, true) => Decimal::NEGATIVE_ONE,
        _ => Decimal::ONE,
    }
}

/// The market as an order sees it.
#[derive(Clone, Copy, Debug)]
pub struct Touch {
    pub bid: Decimal,
    pub ask: Decimal,
    pub last: Decimal,
}

/// The steps of a pair.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    pub contract: Decimal,
    pub lot: Decimal,
    pub least: Decimal,
    pub tick: Decimal,
}

/// Contracts that are held, negative for short, at a mean price.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Held {
    pub contracts: Decimal,
    pub average: Decimal,
}

/// An account.
#[derive(Clone, Debug)]
pub struct FakeAccount {
    pub api_key: String,
    pub secret: String,
    /// The secret that it was opened with.
    pub first_secret: String,
    pub passphrase: String,
    pub uid: String,
    pub read_only: bool,
    /// What the key is bound to.
    pub ips: Vec<&'static str>,
    pub expires_ms: i64,
    pub position_mode: &'static str,
    pub leverages: BTreeMap<(String, String), u32>,
    pub balance: Decimal,
    pub positions: BTreeMap<(String, String), Held>,
    pub orders: BTreeMap<u64, FakeOrder>,
    pub stops: BTreeMap<u64, FakeStop>,
    pub fills: Vec<FakeFill>,
    pub funding: Vec<Value>,
    /// Contracts that the next order fills at once; the rest rests, or is cancelled at the market.
    pub next_fill: Option<Decimal>,
    /// Every page of a list is the first one.
    pub repeats_pages: bool,
    /// The code by which the next order or stop is refused.
    pub next_refusal: Option<&'static str>,
    /// Whether refusals repeat all keys.
    pub gossips: bool,
    pub nonces: BTreeMap<String, Instant>,
    pub asked: VecDeque<Instant>,
    /// Client ids of all requests for an order or a stop that came in, taken or not.
    pub wanted: Vec<String>,
    /// What the stream has to say: channel and rows.
    pub news: Vec<(&'static str, Value)>,
    pub last_id: u64,
}

impl FakeAccount {
    /// 100,000 USDT, one position for each pair.
    pub fn new(api_key: &str, secret: &str, passphrase: &str) -> FakeAccount {
        FakeAccount {
            api_key: api_key.into(),
            secret: secret.into(),
            first_secret: secret.into(),
            passphrase: passphrase.into(),
            uid: format!("uid{}", api_key.len()),
            read_only: false,
            ips: vec!["127.0.0.1"],
            expires_ms: 2_521_900_800_000,
            position_mode: "net_mode",
            leverages: BTreeMap::new(),
            balance: number("100000"),
            positions: BTreeMap::new(),
            orders: BTreeMap::new(),
            stops: BTreeMap::new(),
            fills: Vec::new(),
            funding: Vec::new(),
            next_fill: None,
            repeats_pages: false,
            next_refusal: None,
            gossips: false,
            nonces: BTreeMap::new(),
            asked: VecDeque::new(),
            wanted: Vec::new(),
            news: Vec::new(),
            last_id: 1_000_000_000,
        }
    }

    pub fn id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub fn leverage(&self, pair: &str, mode: &str) -> u32 {
        self.leverages.get(&(pair.to_owned(), mode.to_owned())).copied().unwrap_or(3)
    }

    pub fn held(&self, pair: &str, side: &str) -> Held {
        self.positions.get(&(pair.to_owned(), side.to_owned())).copied().unwrap_or_default()
    }

    /// Takes a checked order in, fills what fills, and tells the stream.
    pub fn enter(&mut self, mut order: FakeOrder, touch: Touch, steps: Steps) -> u64 {
        let id = order.id;
        order.created_ms = now_ms();
        order.updated_ms = order.created_ms;
        self.orders.insert(id, order.clone());
        self.news.push(("orders", order.row()));
        let touched = if order.side == "buy" { touch.ask } else { touch.bid };
        let crosses = match order.order_type.as_str() {
            "market" => true,
            _ if order.side == "buy" => order.price >= touched,
            _ => order.price <= touched,
        };
        let at_once = self.next_fill.take().map_or(order.size, |size| size.min(order.size));
        if crosses && !at_once.is_zero() {
            self.fill(id, at_once, touched, number("0.0006"), steps);
        }
        if order.order_type == "market" && self.orders[&id].is_open() {
            self.end(id);
        }
        id
    }

    /// Fills a part of an order.
    pub fn fill(&mut self, id: u64, contracts: Decimal, price: Decimal, fee_ratio: Decimal, steps: Steps) {
        let order = self.orders.get_mut(&id).expect("an order of the fake");
        assert!(contracts <= order.size - order.filled, "the fake fills more than is wanted");
        let fee = (contracts * steps.contract * price * fee_ratio).normalize();
        order.filled += contracts;
        order.notional += contracts * price;
        order.fee += fee;
        order.state = if order.filled == order.size { "filled" } else { "partially_filled" };
        order.updated_ms = now_ms().max(order.updated_ms + 1);
        let (order, signed) = (order.clone(), contracts * order.sign());
        let held = self.positions.entry((order.pair.clone(), order.position_side.clone())).or_default();
        let before = *held;
        held.contracts += signed;
        let grows = before.contracts.is_zero() || sign(before.contracts) == sign(signed);
        let mut profit = Decimal::ZERO;
        if grows {
            held.average =
                (before.average * before.contracts.abs() + price * contracts) / held.contracts.abs();
        } else {
            let closed = contracts.min(before.contracts.abs());
            profit = (price - before.average) * closed * sign(before.contracts) * steps.contract;
            if sign(held.contracts) != sign(before.contracts) {
                held.average = if held.contracts.is_zero() { Decimal::ZERO } else { price };
            }
        }
        self.balance += profit - fee;
        // Each pair has its own count.
        let count = self.fills.iter().filter(|fill| fill.pair == order.pair).count();
        self.fills.push(FakeFill {
            id: count as u64 + 1,
            order_id: id,
            client_id: order.client_id.clone(),
            pair: order.pair.clone(),
            side: order.side.clone(),
            position_side: order.position_side.clone(),
            price,
            size: contracts,
            fee,
            time_ms: now_ms(),
        });
        self.news.push(("orders", order.row()));
        self.news.push(("positions", self.position_row(&order.pair, &order.position_side)));
        self.news.push(("account", self.balance_row()));
    }

    /// Cancels what is left of an order.
    pub fn end(&mut self, id: u64) {
        let order = self.orders.get_mut(&id).expect("an order of the fake");
        order.state = if order.filled.is_zero() { "canceled" } else { "partially_canceled" };
        order.updated_ms = now_ms().max(order.updated_ms + 1);
        self.news.push(("orders", order.row()));
    }

    /// A price was traded: limits that it went through fill, stops that it touches trigger.
    pub fn traded(&mut self, pair: &str, touch: Touch, steps: Steps) {
        let through = |order: &&FakeOrder| {
            let goes = if order.side == "buy" { touch.last < order.price } else { touch.last > order.price };
            order.pair == pair && order.is_open() && order.order_type != "market" && goes
        };
        let filled: Vec<FakeOrder> = self.orders.values().filter(through).cloned().collect();
        for order in filled {
            let mut rest = order.size - order.filled;
            if order.reduce_only {
                let held = self.held(pair, &order.position_side).contracts;
                rest = rest.min((-held * order.sign()).max(Decimal::ZERO));
            }
            match rest.is_zero() {
                true => self.end(order.id),
                false => self.fill(order.id, rest, order.price, number("0.0002"), steps),
            }
        }
        let touched: Vec<(u64, &'static str)> = self
            .stops
            .values()
            .filter(|stop| stop.pair == pair && stop.state == "live")
            .filter_map(|stop| Some((stop.id, stop.touched(touch.last)?)))
            .collect();
        for (id, category) in touched {
            self.trigger(id, category, touch, steps);
        }
    }

    fn trigger(&mut self, id: u64, category: &'static str, touch: Touch, steps: Steps) {
        let order_id = self.id();
        let stop = self.stops.get_mut(&id).expect("a stop of the fake");
        let held = self
            .positions
            .get(&(stop.pair.clone(), stop.position_side.clone()))
            .map_or(Decimal::ZERO, |held| held.contracts);
        let closes = if stop.side == "sell" { held > Decimal::ZERO } else { held < Decimal::ZERO };
        stop.state = if closes { "effective" } else { "order_failed" };
        let stop = stop.clone();
        self.news.push(("orders-algo", stop.row()));
        if closes {
            let size = stop.size.min(held.abs());
            self.enter(
                FakeOrder {
                    category,
                    algo_client_id: stop.client_id,
                    algo_id: id.to_string(),
                    ..forced(order_id, &stop.pair, &stop.side, &stop.position_side, size)
                },
                touch,
                steps,
            );
        }
    }

    /// An order that the client did not send.
    pub fn foreign(
        &mut self,
        pair: &str,
        side: &str,
        contracts: Decimal,
        category: &'static str,
    ) -> FakeOrder {
        let id = self.id();
        FakeOrder { category, ..forced(id, pair, side, "net", contracts) }
    }

    /// An order that somebody placed and that filled in so many parts, of which nothing was pushed.
    pub fn filled_in_parts(&mut self, pair: &str, count: u64) {
        let mut order = self.foreign(pair, "buy", Decimal::from(count), "normal");
        (order.state, order.filled) = ("filled", order.size);
        self.fills.extend((1..=count).map(|id| FakeFill {
            id,
            order_id: order.id,
            client_id: String::new(),
            pair: pair.into(),
            side: "buy".into(),
            position_side: "net".into(),
            price: Decimal::ONE,
            size: Decimal::ONE,
            fee: Decimal::ZERO,
            time_ms: now_ms(),
        }));
        self.orders.insert(order.id, order);
    }

    pub fn position_row(&self, pair: &str, side: &str) -> Value {
        let held = self.held(pair, side);
        let shown = if side == "net" { held.contracts } else { held.contracts.abs() };
        json!({
            "instType": "SWAP", "instId": pair, "marginMode": "cross", "positionId": "1", "positionSide": side,
            "positions": shown.normalize().to_string(), "availablePositions": shown.normalize().to_string(),
            "averagePrice": long(held.average), "liquidationPrice": "", "markPrice": "1", "leverage": "3", "margin": "",
            "createTime": "1770107493329", "updateTime": now_ms().to_string(),
        })
    }

    pub fn balance_row(&self) -> Value {
        let shown = long(self.balance);
        json!({
            "ts": now_ms().to_string(), "totalEquity": shown, "isolatedEquity": "0",
            "details": [{"currency": "USDT", "equity": shown, "balance": shown, "ts": now_ms().to_string(),
                "isolatedEquity": "0", "available": shown, "availableEquity": shown, "frozen": "0", "orderFrozen": "0"}],
        })
    }
}

fn forced(id: u64, pair: &str, side: &str, position_side: &str, size: Decimal) -> FakeOrder {
    FakeOrder {
        id,
        client_id: String::new(),
        pair: pair.into(),
        side: side.into(),
        position_side: position_side.into(),
        margin_mode: "cross".into(),
        order_type: "market".into(),
        price: Decimal::ZERO,
        size,
        filled: Decimal::ZERO,
        notional: Decimal::ZERO,
        fee: Decimal::ZERO,
        reduce_only: true,
        state: "live",
        category: "normal",
        algo_id: String::new(),
        algo_client_id: String::new(),
        created_ms: 0,
        updated_ms: 0,
    }
}
