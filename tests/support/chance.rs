//! Events by chance: the same seed gives the same run on every machine.

use rust_decimal::Decimal;
use tradebus::engine::event::Event;
use tradebus::engine::settings::EngineSettings;
use tradebus::message::level;
use tradebus::message::request::{self, Op};
use tradebus::model::market::PriceUpdate;
use tradebus::model::time::Timestamp;

use crate::rig;
use crate::support::random::Random;

pub const STRATEGIES: [&str; 3] = ["s1", "s2", "s3"];
pub const SYMBOLS: [&str; 2] = ["BTC-USDT", "ETH-USDT"];

/// Says which seed it was when a test fails.
pub struct Seed(pub u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed was {}: set SEED={} to run only this one", self.0, self.0);
        }
    }
}

/// The seeds of a test: `count` of them or as many as `SEEDS` says, or the one that `SEED` names.
pub fn seeds(count: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(count),
    }
}

/// Three strategies on two markets, with limits that are reached now and then.
pub fn settings(latency_ms: i64) -> EngineSettings {
    let mut settings = rig::settings();
    for symbol in SYMBOLS {
        rig::market(&mut settings, &[symbol, "tick=0.01", "lot=0.001", "min=0.001", "stale_ms=30000"]);
    }
    let latency = format!("latency_ms={latency_ms}");
    rig::strategy(&mut settings, &["s1", &latency, "daily_loss_max=60", "ticks=true"]);
    rig::strategy(&mut settings, &["s2", &latency, "drawdown_max_pct=8", "orders_per_minute_max=6"]);
    let last = ["s3", "latency_ms=50", "kind=aibot", "leverage=20", "size=equity_pct:80", "slippage_bps=2"];
    rig::strategy(&mut settings, &last);
    rig::limit(&mut settings.limits, "position_notional_max", "9000");
    settings
}

/// A message of the feed.
pub fn market(random: &mut Random, at: Timestamp) -> Event {
    let symbol = random.pick(&SYMBOLS);
    let base = if symbol == "BTC-USDT" { 10_000 } else { 1_000 };
    let cents = base + random.below(base / 5) as i64 as u64;
    let price = rig::price(&Decimal::new(cents as i64, 2).to_string());
    let size = rig::quantity(&Decimal::new(1 + random.below(3_000) as i64, 3).to_string());
    let update = match random.below(12) {
        0 => PriceUpdate::Candle { close: price },
        1 => PriceUpdate::Mark { price },
        2 => PriceUpdate::Confirmed,
        3..=5 => {
            let ask = rig::price(&Decimal::new((cents + random.below(40)) as i64, 2).to_string());
            PriceUpdate::Quote { bid: price, ask, bid_quantity: size, ask_quantity: size }
        }
        _ => PriceUpdate::Trade { price, quantity: size, taker: None },
    };
    rig::market_event(at, symbol, update)
}

/// A strategy and the JSON of a signal.
pub fn signal(random: &mut Random, id: &str, time: Timestamp) -> (&'static str, String) {
    let strategy = random.pick(&STRATEGIES);
    let symbol = random.pick(&SYMBOLS);
    let action = random.pick(&["long", "short", "flat", "buy", "sell", "buy", "sell"]);
    let size = 1 + random.below(20_000);
    let mut json =
        format!(r#"{{"id":"{id}","symbol":"{symbol}","action":"{action}","time":{}"#, time.as_ms());
    if action != "flat" && !(strategy == "s3" && random.one_in(2)) {
        json += &format!(r#","quantity":{}"#, Decimal::new(size as i64, 3));
    }
    if random.one_in(4) {
        let base = if symbol == "BTC-USDT" { 10_000 } else { 1_000 };
        let price = Decimal::new((base + random.below(base / 5)) as i64, 2);
        json += &format!(r#","order_type":"limit","price":{price}"#);
    }
    if action != "flat" && random.one_in(3) {
        json += &stops(random, symbol, matches!(action, "long" | "buy"));
    }
    (strategy, json + "}")
}

/// One stop or both, mostly beyond the prices of the market, now and then on the wrong side of them.
fn stops(random: &mut Random, symbol: &str, long: bool) -> String {
    let base = if symbol == "BTC-USDT" { 10_000 } else { 1_000 };
    let mut price = |below: bool| {
        let offset = random.below(base / 16);
        let cents = if below { base * 99 / 100 + offset } else { base * 121 / 100 - offset };
        Decimal::new(cents as i64, 2)
    };
    let (stop_loss, take_profit) = (price(long), price(!long));
    match random.below(3) {
        0 => format!(r#","stop_loss":{stop_loss}"#),
        1 => format!(r#","take_profit":{take_profit}"#),
        _ => format!(r#","stop_loss":{stop_loss},"take_profit":{take_profit}"#),
    }
}

/// A scope (`None` is the daemon) and the payload of a level command; most set it to run.
pub fn level(random: &mut Random, id: &str, time: Timestamp) -> (Option<&'static str>, String) {
    let scope = (!random.one_in(4)).then(|| random.pick(&STRATEGIES));
    if random.one_in(4) {
        return (scope, random.pick(&["pause", "reduce", "flatten"]).to_string());
    }
    (scope, format!(r#"{{"level":"run","id":"{id}","time":{}}}"#, time.as_ms()))
}

/// The event of a level command.
pub fn level_event(token: u64, scope: Option<&str>, payload: &str) -> Event {
    Event::Level(level::read(token, scope, payload.as_bytes(), false))
}

/// A request of the engine; half of those that change something repeat an id.
pub fn request_event(random: &mut Random, token: u64, id: &str, time: Timestamp) -> Event {
    let op = random.pick(&["kpis", "positions", "cancel_orders", "close_position"]);
    let query = Op::ALL.into_iter().find(|known| known.as_str() == op).expect("an operation");
    let Op::Engine(query) = query else { panic!("{op}: not the engine's") };
    let id = if random.one_in(2) { "again" } else { id };
    let strategy = random.pick(&STRATEGIES);
    let json = format!(r#"{{"id":"{id}","strategy":"{strategy}","time":{}}}"#, time.as_ms());
    let asked = request::read(op, json.as_bytes(), false);
    let wish = asked.wish.expect("a request that can be read");
    Event::Request(Box::new(wish.request(token, query, asked.id)))
}
