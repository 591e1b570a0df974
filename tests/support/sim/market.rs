//! What senders and the feed say: prices, signals, alerts, levels, requests and rubbish.

use rust_decimal::Decimal;
use tradebus::model::amount::{Price, Quantity};
use tradebus::model::ids::{FeedId, Symbol};
use tradebus::model::market::{MarketEvent, PriceUpdate};
use tradebus::model::time::Timestamp;

use super::super::random::Random;
use super::broker::Packet;

pub const STRATEGIES: [&str; 3] = ["s1", "s2", "s3"];
const SYMBOLS: [&str; 2] = ["BTC-USDT", "ETH-USDT"];

/// The lowest price of a pair, in hundredths; the highest is a fifth above it.
fn cents_min(symbol: &str) -> u64 {
    if symbol == "BTC-USDT" { 10_000 } else { 1_000 }
}

pub fn price_min(symbol: &str) -> Decimal {
    Decimal::new(cents_min(symbol) as i64, 2)
}

fn cents(random: &mut Random, symbol: &str) -> u64 {
    cents_min(symbol) + random.below(cents_min(symbol) / 5)
}

/// A message of the feed.
pub fn tick(random: &mut Random, time: Timestamp) -> MarketEvent {
    let symbol = random.pick(&SYMBOLS);
    let cents = cents(random, symbol);
    let of = |cents: u64| Price::new(Decimal::new(cents as i64, 2));
    let size = Quantity::new(Decimal::new(1 + random.below(3_000) as i64, 3));
    let update = match random.below(12) {
        0 => PriceUpdate::Candle { close: of(cents) },
        1 => PriceUpdate::Mark { price: of(cents) },
        2 => PriceUpdate::Confirmed,
        3..=5 => {
            // Never above what the lowest price times 1.2 is, so that limits stay exact.
            let ask = (cents + random.below(40)).min(cents_min(symbol) * 6 / 5);
            PriceUpdate::Quote { bid: of(cents), bid_quantity: size, ask: of(ask), ask_quantity: size }
        }
        _ => PriceUpdate::Trade { price: of(cents), quantity: size, taker: None },
    };
    let (feed, symbol) = (FeedId::new("tape").unwrap(), Symbol::new(symbol).unwrap());
    MarketEvent { feed, symbol, time, update }
}

/// A signal as an honest sender makes it.
pub fn signal(random: &mut Random, id: &str, time: Timestamp) -> Packet {
    let strategy = random.pick(&STRATEGIES);
    let symbol = random.pick(&SYMBOLS);
    let action = random.pick(&["long", "short", "flat", "buy", "sell", "buy", "sell"]);
    let mut json =
        format!(r#"{{"id":"{id}","symbol":"{symbol}","action":"{action}","time":{}"#, time.as_ms());
    if action != "flat" && !(strategy == "s3" && random.one_in(2)) {
        let size = 1 + random.below(20_000) as i64;
        json += &format!(r#","quantity":{}"#, Decimal::new(size, 3));
    }
    if random.one_in(4) {
        let price = Decimal::new(cents(random, symbol) as i64, 2);
        json += &format!(r#","order_type":"limit","price":{price}"#);
    }
    if action != "flat" && random.one_in(2) {
        json += &stops(random, symbol, matches!(action, "long" | "buy"));
    }
    if random.one_in(10) {
        json += &format!(r#","max_age_s":{}"#, 1 + random.below(30));
    }
    Packet { topic: format!("tradebus/strategy/{strategy}/signal"), payload: json + "}", retain: false }
}

/// One stop or both, mostly beyond the prices of the market, now and then on the wrong side of them.
fn stops(random: &mut Random, symbol: &str, long: bool) -> String {
    let base = cents_min(symbol);
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

/// A TradingView alert of the strategy that takes some.
pub fn alert(random: &mut Random, time: Timestamp) -> Packet {
    let symbol = random.pick(&["BTCUSDT.P", "ETHUSDT.P"]);
    let action = random.pick(&["buy", "sell"]);
    let size = Decimal::new(1 + random.below(5_000) as i64, 3);
    let payload = format!(
        r#"{{"ticker":"{symbol}","exchange":"TAPE","action":"{action}","quantity":{size},"time":"{time}"}}"#
    );
    Packet { topic: "tradebus/strategy/s2/tradingview".into(), payload, retain: false }
}

/// A level for the daemon or a strategy; most set it to run.
pub fn level(random: &mut Random, id: &str, time: Timestamp) -> Packet {
    let scope = match random.below(4) {
        0 => "daemon".to_owned(),
        _ => format!("strategy/{}", random.pick(&STRATEGIES)),
    };
    let payload = match random.one_in(4) {
        true => random.pick(&["pause", "reduce", "flatten"]).to_owned(),
        false => format!(r#"{{"level":"run","id":"{id}","time":{}}}"#, time.as_ms()),
    };
    Packet { topic: format!("tradebus/{scope}/level/set"), payload, retain: random.one_in(30) }
}

/// A request.
pub fn request(random: &mut Random, id: &str, time: Timestamp) -> Packet {
    let op = random.pick(&["kpis", "positions", "cancel_orders", "close_position", "snapshot"]);
    let strategy = random.pick(&STRATEGIES);
    let payload = format!(r#"{{"id":"{id}","strategy":"{strategy}","time":{}}}"#, time.as_ms());
    Packet { topic: format!("tradebus/daemon/request/{op}"), payload, retain: false }
}

/// What no honest sender makes: cut, doubled, or with a byte changed.
pub fn spoilt(random: &mut Random, packet: &Packet) -> Packet {
    let mut bytes = packet.payload.clone().into_bytes();
    let place = random.below(bytes.len() as u64) as usize;
    match random.below(3) {
        0 => bytes.truncate(place),
        1 => bytes.extend_from_within(..place),
        _ => bytes[place] = random.next() as u8 & 0x7f,
    }
    Packet { payload: String::from_utf8(bytes).expect("ASCII"), ..packet.clone() }
}
