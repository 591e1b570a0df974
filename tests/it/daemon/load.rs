//! A load of signals, good and bad, and everything that must hold after it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::Value;
use tradebus::engine::record::Record;
use tradebus::message::record_view;
use tradebus::message::topic::Topics;
use tradebus::store::Ledger;

use crate::support::bus::{Bus, Heard};
use crate::support::ledger::{Books, number};
use crate::support::program::{BALANCE, STRATEGIES, SYMBOLS, Site};
use crate::support::random::Random;

/// Signals without a result that may be on their way.
const WINDOW: usize = 40;
/// Between two looks at what has come.
const PACE: Duration = Duration::from_millis(1);

/// A signal that was published.
#[derive(Debug, Clone)]
pub struct Sent {
    pub strategy: String,
    /// If it can be read.
    pub id: Option<String>,
    pub payload: String,
    pub retain: bool,
    /// Whether its result is remembered under its id.
    pub stored: bool,
}

/// Makes signals from a seed.
pub struct Load {
    pub random: Random,
    pub sent: Vec<Sent>,
    name: String,
    /// Every strategy and id that must be answered.
    ids: BTreeSet<(String, String)>,
    /// Positions of those whose result is remembered.
    earlier: Vec<usize>,
}

impl Sent {
    fn key(&self) -> Option<(String, String)> {
        Some((self.strategy.clone(), self.id.clone()?))
    }
}

impl Load {
    pub fn new(name: &str, seed: u64) -> Self {
        println!("load {name:?}, seed {seed}");
        Self {
            random: Random::new(seed),
            sent: Vec::new(),
            name: name.to_owned(),
            ids: BTreeSet::new(),
            earlier: Vec::new(),
        }
    }

    /// Publishes `count` signals, never more than a window ahead of their results.
    pub async fn publish(&mut self, bus: &mut Bus, count: usize) {
        for _ in 0..count {
            self.publish_next(bus).await;
            let ids = self.ids.len();
            bus.until("results of the load", |heard| heard.results.len() + WINDOW >= ids).await;
        }
    }

    /// Publishes until `ended`, never more than a window ahead of the results, which may stop.
    pub async fn publish_until(&mut self, bus: &mut Bus, ended: impl Fn() -> bool) {
        while !ended() {
            bus.drain();
            if bus.heard.results.len() + WINDOW < self.ids.len() {
                tokio::time::sleep(PACE).await;
                continue;
            }
            self.publish_next(bus).await;
        }
    }

    async fn publish_next(&mut self, bus: &Bus) {
        let sent = self.next(&bus.heard);
        self.publish_one(bus, &sent).await;
        self.ids.extend(sent.key());
        self.earlier.extend(sent.stored.then_some(self.sent.len()));
        self.sent.push(sent);
    }

    /// What has no result yet.
    pub fn unanswered(&self, heard: &Heard) -> Vec<&Sent> {
        let open = |sent: &&Sent| sent.key().is_some_and(|key| !heard.results.contains_key(&key));
        self.sent.iter().filter(open).collect()
    }

    /// Publishes one without waiting for its result.
    pub async fn publish_one(&self, bus: &Bus, sent: &Sent) {
        bus.publish(&topic(&sent.strategy), sent.payload.as_bytes(), sent.retain).await;
    }

    /// How many of the published ones must be answered.
    pub fn named(&self) -> usize {
        self.sent.iter().filter(|sent| sent.id.is_some()).count()
    }

    /// The next signal.
    pub fn next(&mut self, heard: &Heard) -> Sent {
        let id = format!("{}-{}", self.name, self.sent.len());
        let now = now_ms();
        let sent = |id: &str, strategy: &str, payload: String, stored: bool| Sent {
            strategy: strategy.to_owned(),
            id: Some(id.to_owned()),
            payload,
            retain: false,
            stored,
        };
        let strategy = self.random.pick(&STRATEGIES);
        let kind = self.random.below(100);
        let body = self.wish(heard);
        match kind {
            0..6 if !self.earlier.is_empty() => self.sent[self.random.pick(&self.earlier)].clone(),
            6..10 if !self.earlier.is_empty() => {
                let first = self.sent[self.random.pick(&self.earlier)].clone();
                let id = first.id.clone().expect("stored ones have one");
                let payload = signal(&id, now, r#""symbol":"BTC-USDT","action":"buy","quantity":0.777"#);
                Sent { payload, stored: false, ..first }
            }
            10..13 => Sent { retain: true, ..sent(&id, strategy, signal(&id, now, &body), false) },
            13..16 => sent(&id, strategy, signal(&id, now - 8_000_000, &body), true),
            16..18 => sent(&id, strategy, signal(&id, now + 3_600_000, &body), true),
            18..22 => {
                let garbage = self.random.pick(&["", "{", "[1,2]", "buy now", "{\"id\":[1]}", "null"]);
                // An empty payload is nothing at all, so it is not sent.
                let garbage = if garbage.is_empty() { "{\"id\":" } else { garbage };
                Sent { id: None, ..sent(&id, strategy, garbage.to_owned(), false) }
            }
            22..26 => {
                let bad = self.random.pick(&[
                    r#""symbol":"BTC-USDT","action":"hold""#,
                    r#""symbol":"BTC-USDT","action":"long","quantity":-1"#,
                    r#""symbol":"BTC-USDT","action":"long","quantity":1,"notional":5"#,
                    r#""symbol":"BTC-USDT","action":"buy","quantity":"NaN""#,
                    r#""symbol":"BTC-USDT","action":"buy","quantity":1e400"#,
                    r#""symbol":"BTC-USDT","action":"buy","quantty":1"#,
                ]);
                sent(&id, strategy, signal(&id, now, bad), false)
            }
            26..28 => {
                let body = r#""symbol":"DOGE-USDT","action":"long","quantity":1"#;
                sent(&id, strategy, signal(&id, now, body), true)
            }
            28..30 => sent(&id, "ghost", signal(&id, now, &body), false),
            _ => sent(&id, strategy, signal(&id, now, &body), true),
        }
    }

    /// Everything of a good signal but its id and its time.
    fn wish(&mut self, heard: &Heard) -> String {
        let random = &mut self.random;
        let symbol = random.pick(&SYMBOLS);
        let action = random.pick(&["long", "short", "flat", "buy", "sell", "buy", "sell"]);
        let head = format!("\"symbol\":\"{symbol}\",\"action\":\"{action}\",\"max_age_s\":3600");
        if action == "flat" {
            return head;
        }
        let size = match random.below(10) {
            0..4 => format!("\"quantity\":{}", Decimal::new(random.below(150_000) as i64 + 1, 5)),
            4..6 => format!("\"quantity\":\"{}\"", Decimal::new(random.below(1_000_000) as i64 + 1, 7)),
            6..8 => format!("\"notional\":{}", random.below(100_000) + 1),
            8 => format!("\"equity_pct\":{}", Decimal::new(random.below(200) as i64 + 1, 2)),
            _ => "\"comment\":\"the default\"".to_owned(),
        };
        let last = heard.json(&format!("price/tape/{symbol}")).map(|price| number(&price["last"]));
        let Some(last) = last else { return format!("{head},{size}") };
        let mut near = |bps: i64| {
            let share = Decimal::new(bps + random.below(20) as i64, 4);
            (last * (Decimal::ONE + share)).round_dp(2)
        };
        let (limit, below, above) = (near(-20), near(-25), near(3));
        let long = action == "long" || action == "buy";
        let (stop_loss, take_profit) = if long { (below, above) } else { (above, below) };
        match random.below(10) {
            0 => format!("{head},{size},\"order_type\":\"limit\",\"price\":{limit}"),
            1..3 => format!("{head},{size},\"stop_loss\":{stop_loss},\"take_profit\":{take_profit}"),
            3 => format!("{head},{size},\"stop_loss\":{stop_loss}"),
            _ => format!("{head},{size}"),
        }
    }

    /// The ids whose result is remembered, with what was published first under each.
    pub fn stored(&self) -> BTreeMap<(String, String), &Sent> {
        let mut stored = BTreeMap::new();
        for sent in self.sent.iter().filter(|sent| sent.stored) {
            let id = sent.id.clone().expect("stored ones have one");
            stored.entry((sent.strategy.clone(), id)).or_insert(sent);
        }
        stored
    }

    /// Every readable id was answered: with `exactly`, once for each time it was published.
    pub fn check_results(&self, heard: &Heard, exactly: bool) {
        let mut published: BTreeMap<(String, String), usize> = BTreeMap::new();
        for sent in &self.sent {
            if let Some(id) = &sent.id {
                *published.entry((sent.strategy.clone(), id.clone())).or_default() += 1;
            }
        }
        for (key, times) in &published {
            let results = heard.results_of(&key.0, &key.1);
            assert!(!results.is_empty(), "{key:?} has no result");
            assert!(!exactly || results.len() == *times, "{key:?}, {times} times: {results:?}");
        }
        let prefix = format!("{}-", self.name);
        let unknown =
            heard.results.keys().find(|key| key.1.starts_with(&prefix) && !published.contains_key(key));
        assert_eq!(unknown, None, "a result of nothing");
        for key in self.stored().keys() {
            let results = heard.results_of(&key.0, &key.1);
            let own: Vec<&Value> = results.iter().filter(|result| result["reason"] != "duplicate").collect();
            let first: Vec<&&Value> = own.iter().filter(|result| result["repeated"] == false).collect();
            assert!(!exactly || first.len() == 1, "{key:?}: {results:?}");
            for result in &own {
                assert_eq!(without_flag(result), without_flag(own[0]), "{key:?}");
            }
        }
    }
}

/// A signal's JSON.
pub fn signal(id: &str, time_ms: i64, body: &str) -> String {
    format!("{{\"id\":\"{id}\",\"time\":{time_ms},{body}}}")
}

pub fn topic(strategy: &str) -> String {
    format!("tradebus/strategy/{strategy}/signal")
}

pub fn now_ms() -> i64 {
    tradebus::daemon::clock::Clock::wall().now().as_ms()
}

/// A result without `repeated`.
pub fn without_flag(result: &Value) -> Value {
    let mut result = result.clone();
    result.as_object_mut().expect("an object").remove("repeated");
    result
}

/// The books that the published fills make.
pub fn books(heard: &Heard) -> BTreeMap<String, Books> {
    let mut books: BTreeMap<String, Books> =
        STRATEGIES.iter().map(|strategy| ((*strategy).to_owned(), Books::default())).collect();
    for (_, fill) in heard.said("fill") {
        let strategy = fill["strategy"].as_str().expect("a strategy");
        books.get_mut(strategy).expect("a strategy of the test").fill(fill);
    }
    books
}

/// What the published states and positions say otherwise than the books; empty when nothing.
pub fn differences(heard: &Heard, books: &BTreeMap<String, Books>) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: String, published: &Value, expected: Decimal| {
        if published.is_null() || number(published) != expected {
            found.push(format!("{what}: published {published}, the fills make {expected}"));
        }
    };
    let mut total = Books::default();
    for (strategy, books) in books {
        let state = heard.json(&format!("strategy/{strategy}/state")).unwrap_or_default();
        compare(format!("{strategy} realized_pnl"), &state["realized_pnl"], books.realized_pnl);
        compare(format!("{strategy} fees"), &state["fees"], books.fees);
        let balance = Decimal::from(BALANCE) + books.realized_pnl - books.fees;
        compare(format!("{strategy} balance"), &state["balance"], balance);
        if !state.is_null() {
            let equity = number(&state["balance"]) + number(&state["unrealized_pnl"]);
            compare(format!("{strategy} equity"), &state["equity"], equity);
        }
        let open = books.holdings.values().filter(|holding| !holding.quantity.is_zero()).count();
        compare(format!("{strategy} open_positions"), &state["open_positions"], open.into());
        for (symbol, holding) in &books.holdings {
            let what = format!("{strategy} {symbol}");
            let position = heard.json(&format!("strategy/{strategy}/position/{symbol}")).unwrap_or_default();
            compare(format!("{what} quantity"), &position["quantity"], holding.quantity.abs());
            if holding.quantity.is_zero() {
                continue;
            }
            compare(format!("{what} realized_pnl"), &position["realized_pnl"], holding.realized_pnl);
            compare(format!("{what} fees"), &position["fees"], holding.fees);
            let entry = (holding.cost / holding.quantity).round_dp(10);
            compare(format!("{what} entry_price"), &position["entry_price"], entry);
        }
        total.realized_pnl += books.realized_pnl;
        total.fees += books.fees;
    }
    let portfolio = heard.json("portfolio/state").unwrap_or_default();
    compare("portfolio realized_pnl".into(), &portfolio["realized_pnl"], total.realized_pnl);
    compare("portfolio fees".into(), &portfolio["fees"], total.fees);
    found
}

/// Nothing was executed twice, without being asked, or beyond its order.
pub fn check_executions(heard: &Heard) {
    let mut fill_ids = BTreeSet::new();
    let mut filled: BTreeMap<&str, Decimal> = BTreeMap::new();
    let mut orders: BTreeMap<&str, &Value> = BTreeMap::new();
    let mut of_signal: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    // What touched stops became carries the signal that set them, too.
    let mut of_stops: BTreeSet<&str> = BTreeSet::new();
    let text = |value: &'static str, event: &'_ Value| event[value].as_str().map(str::to_owned);
    for (_, order) in heard.said("order") {
        let id = order["order_id"].as_str().expect("an order id");
        orders.insert(id, order);
        if order["status"] == "submitting" && !order["reason"].is_null() {
            of_stops.insert(id);
        }
        if let (Some(strategy), Some(signal)) = (order["strategy"].as_str(), order["signal_id"].as_str()) {
            of_signal.entry((strategy, signal)).or_default().insert(id);
        }
    }
    for (_, fill) in heard.said("fill") {
        assert!(fill_ids.insert(text("fill_id", fill)), "a second {fill}");
        let order = fill["order_id"].as_str().expect("an order id");
        *filled.entry(order).or_default() += number(&fill["quantity"]);
        assert_eq!(fill["signal_id"], orders[order]["signal_id"], "{fill}");
    }
    for (id, order) in &orders {
        let executed = filled.remove(id).unwrap_or_default();
        assert_eq!(executed, number(&order["filled_quantity"]), "{order}");
        assert_eq!(order["status"] == "filled", executed == number(&order["quantity"]), "{order}");
    }
    assert!(filled.is_empty(), "fills without an order: {filled:?}");
    for ((strategy, id), orders) in &of_signal {
        let results = heard.results_of(strategy, id);
        // An id that was refused while the store failed may be used again.
        let executed = results.iter().find(|result| result["status"] != "rejected");
        let executed = executed.unwrap_or_else(|| panic!("{strategy} {id} was executed without a result"));
        assert!(
            executed["status"] == "filled" || executed["status"] == "accepted",
            "{executed} has {orders:?}"
        );
        let asked: BTreeSet<&str> = orders.difference(&of_stops).copied().collect();
        let one = asked.len() == 1 || (asked.len() < orders.len() && asked.is_empty());
        assert!(one && executed["orders"] == serde_json::json!(asked), "{executed}: {orders:?}");
    }
    for result in heard.results.values().flatten() {
        let executes = result["status"] == "filled" || result["status"] == "accepted";
        let orders_named = result["orders"].as_array().expect("orders").len();
        // A `flat` that only cancels has no order of its own.
        assert!(executes || orders_named == 0, "{result}");
    }
}

/// Every order, fill, trade and result of the journal was published, and nothing else. For a store that nobody uses.
pub fn check_journal(site: &Site, heard: &Heard) {
    let (ledger, _) = Ledger::open(&site.store()).expect("the store");
    let topics = Topics::new("tradebus");
    let mut missing: BTreeSet<u64> = heard.events.keys().copied().collect();
    for (seq, record) in ledger.read(1, usize::MAX).expect("the journal") {
        let Some(message) = record_view::event(&topics, &record, seq, false) else { continue };
        let mut body: Value = serde_json::from_str(&message.payload).expect("JSON");
        if let Record::Signal(signal) = &record {
            let results = heard.results_of(signal.strategy.as_str(), signal.id.as_str());
            assert!(results.contains(&body), "not published: {body}, but {results:?}");
            continue;
        }
        body.as_object_mut().expect("an object").remove("replayed");
        let said = heard.events.get(&seq).unwrap_or_else(|| panic!("not published: {body}"));
        assert_eq!(said.body, body);
        missing.remove(&seq);
    }
    assert!(missing.is_empty(), "published, but not in the journal: {missing:?}");
}

/// Stops entries, cancels what rests, and waits until nothing is under way and the published books are right.
pub async fn settle(bus: &mut Bus) {
    bus.publish("tradebus/daemon/level/set", b"pause", false).await;
    bus.until("pause", |heard| heard.word("daemon/level") == Some("pause")).await;
    // What reduces goes on resting.
    let text = |order: &Value, key: &str| order[key].as_str().expect("a text").to_owned();
    let resting = under_way(&bus.heard).into_iter().filter(|order| order["order_type"] == "limit");
    let mut moving: BTreeSet<_> =
        resting.map(|order| (text(order, "strategy"), text(order, "symbol"))).collect();
    // A position with a stop may be closed at any time.
    let positions = STRATEGIES.iter().flat_map(|strategy| SYMBOLS.map(|symbol| (*strategy, symbol)));
    for (strategy, symbol) in positions {
        let position = bus.heard.json(&format!("strategy/{strategy}/position/{symbol}")).unwrap_or_default();
        if !position["stop_loss"].is_null() || !position["take_profit"].is_null() {
            moving.insert((strategy.to_owned(), symbol.to_owned()));
        }
    }
    for (strategy, symbol) in moving {
        let (now, body) = (now_ms(), format!("\"symbol\":\"{symbol}\",\"action\":\"flat\""));
        let id = format!("settle-{symbol}-{now}");
        bus.publish(&topic(&strategy), signal(&id, now, &body).as_bytes(), false).await;
        bus.until("the result of settling", |heard| !heard.results_of(&strategy, &id).is_empty()).await;
    }
    settled(bus).await;
}

/// The newest words on orders that are not finished.
fn under_way(heard: &Heard) -> Vec<&Value> {
    let mut newest = BTreeMap::new();
    for (_, order) in heard.said("order") {
        newest.insert(order["order_id"].as_str(), order);
    }
    let open = ["submitting", "working", "partly_filled", "cancelling"];
    newest.into_values().filter(|order| order["status"].as_str().is_some_and(|s| open.contains(&s))).collect()
}

/// Waits until no order is under way and the published books are right.
pub async fn settled(bus: &mut Bus) {
    bus.until("the last order", |heard| under_way(heard).is_empty()).await;
    bus.until("the published books", |heard| differences(heard, &books(heard)).is_empty()).await;
}
