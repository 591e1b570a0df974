//! Readers of texts, one by one.

use tradebus::message::topic::Topics;
use tradebus::message::tradingview::{self, AllSettings};
use tradebus::message::{level, request, signal};
use tradebus::model::amount::{AMOUNT_MAX, parse_decimal};
use tradebus::model::ids::{FeedId, SignalId, StrategyId, StrategyType, Symbol, VenueId};
use tradebus::model::signal::{Refusal, Signal};
use tradebus::model::time::Timestamp;

use crate::rig;
use crate::support::fuzz::Target;

/// A refusal is for people: it is short, whatever came.
const DETAIL_BYTES_MAX: usize = 600;

pub fn targets() -> Vec<Target> {
    let mut alerts = AllSettings::default();
    rig::alerts(
        &mut alerts,
        &["s1", "key_required=false", "accept_from=BINANCE:PERP", "contracts_as_size=true"],
    );
    rig::alerts(&mut alerts, &["s2", "key=0123456789abcdef", "key_required=true"]);
    let target = |name, read| Target { name, cost: 1, read };
    vec![
        target("signal", Box::new(read_signal)),
        target("alert", Box::new(move |input| read_alert(input, &alerts))),
        target("level", Box::new(read_level)),
        target("request", Box::new(read_request)),
        target("word", Box::new(read_word)),
    ]
}

fn judged(body: &Result<Signal, Refusal>) -> String {
    match body {
        Ok(signal) => {
            let good = |value: rust_decimal::Decimal| value.abs() <= AMOUNT_MAX.into() && value.scale() <= 12;
            let prices = [signal.order_type.price(), signal.stop_loss, signal.take_profit];
            assert!(prices.into_iter().flatten().all(|price| price.is_positive() && good(price.value())));
            format!("{:?} {:?}", signal.action, signal.order_type.as_str())
        }
        Err(refusal) => refused(refusal),
    }
}

fn refused(refusal: &Refusal) -> String {
    assert!(refusal.detail.len() <= DETAIL_BYTES_MAX, "{} bytes: {refusal:?}", refusal.detail.len());
    assert!(!refusal.detail.chars().any(char::is_control), "{refusal:?}");
    format!("{} {}", refusal.reason.as_str(), refusal.detail)
}

fn read_signal(input: &[u8]) -> String {
    let read = signal::read("s1", input, false);
    judged(&read.body)
}

fn read_alert(input: &[u8], settings: &AllSettings) -> String {
    let of_topic = tradingview::read(Some("s1"), input, false, settings);
    let shared = tradingview::read(None, input, false, settings);
    let message = shared.into_message(1);
    // The answer's topic is named after it.
    assert!(message.strategy.is_empty() || settings.keys().any(|id| id.as_str() == message.strategy));
    let key = "0123456789abcdef";
    let told = message.body.as_ref().err().map(|refusal| refusal.detail.clone()).unwrap_or_default();
    assert!(!told.contains(key), "a key was told: {told}");
    judged(&of_topic.into_message(2).body) + &judged(&message.body)
}

fn read_level(input: &[u8]) -> String {
    let command = level::read(1, Some("s1"), input, false);
    match &command.level {
        Ok(level) => level.as_str().to_owned(),
        Err(refusal) => refused(refusal),
    }
}

fn read_request(input: &[u8]) -> String {
    let (op, body) = split(input);
    let asked = request::read(&String::from_utf8_lossy(op), body, false);
    assert!(
        asked.op.len() <= 32 && asked.op.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    );
    match &asked.wish {
        Ok(_) => asked.op,
        Err(refusal) => refused(refusal),
    }
}

/// The first line and the rest.
pub fn split(input: &[u8]) -> (&[u8], &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    (&input[..end], input.get(end + 1..).unwrap_or_default())
}

/// Names, numbers, times and topics.
fn read_word(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    let topics = Topics::new("tradebus");
    let mut outcome = format!("{:?}", topics.inbound(&text).map(|_| ()));
    outcome += &format!("{:?}", topics.kind_of(&text));
    let amount = parse_decimal(&text);
    assert!(amount.as_ref().is_ok_and(|value| value.abs() <= AMOUNT_MAX.into()) || amount.is_err());
    outcome += &amount.map_or_else(|error| error.to_string(), |_| "amount".into());
    if let Ok(time) = Timestamp::parse_rfc3339(&text) {
        let again = Timestamp::parse_rfc3339(&time.to_string());
        assert_eq!(again.ok(), Some(time), "{text:?} is {time}");
        outcome += "time";
    }
    for plain in [
        StrategyId::new(&text).map(|id| id.to_string()),
        FeedId::new(&text).map(|id| id.to_string()),
        VenueId::new(&text).map(|id| id.to_string()),
        StrategyType::new(&text).map(|id| id.to_string()),
        Symbol::new(&text).map(|id| id.to_string()),
    ] {
        // A level of a topic, and a part of an entity's id.
        let plain =
            plain.map(|id| assert!(!id.is_empty() && !id.contains(['/', '+', '#', '"', ' ']), "{id:?}"));
        outcome += &plain.map_or_else(|error| error.to_string(), |()| "id".into());
    }
    let id = SignalId::new(&text).map(|id| assert!(!id.as_str().chars().any(char::is_control)));
    outcome + &id.map_or_else(|error| error.to_string(), |()| "id".into())
}
