//! The native signal: JSON on `<base>/strategy/<id>/signal`.
//!
//! Nothing is guessed: an unknown field, two sizes, a price on a market order are refused by name. The id is read
//! first, so that a refusal can be answered wherever there is one.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::fields::{Fields, short};
use crate::model::amount::{Money, Price, Quantity, Ratio};
use crate::model::ids::{SignalId, Symbol};
use crate::model::order::OrderType;
use crate::model::signal::{Action, Reason, Refusal, Signal, Size};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

/// Every field of a native signal.
pub const FIELDS: [&str; 16] = [
    "id",
    "time",
    "strategy",
    "symbol",
    "action",
    "quantity",
    "notional",
    "equity_pct",
    "risk_pct",
    "order_type",
    "price",
    "stop_loss",
    "take_profit",
    "max_age_s",
    "confidence",
    "comment",
];

/// The largest `max_age_s`: a day.
const AGE_S_MAX: i64 = 86_400;

/// A message on a signal topic, read as far as it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadSignal {
    /// The id, if one could be read or derived.
    pub id: Option<SignalId>,
    /// The signal, or why it could not be read.
    pub body: Result<Signal, Refusal>,
}

/// Reads a signal for the strategy that the topic names. `retained` is the message's retain flag: a retained signal is
/// refused whatever it says.
pub fn read(strategy: &str, payload: &[u8], retained: bool) -> ReadSignal {
    let fields = match Fields::read(payload) {
        Ok(fields) => fields,
        Err(refusal) => {
            return ReadSignal { id: None, body: Err(refusal_of_retained(retained).unwrap_or(refusal)) };
        }
    };
    let id = match read_id(strategy, payload, &fields) {
        Ok(id) => id,
        Err(refusal) => return ReadSignal { id: None, body: Err(refusal) },
    };
    let body = match refusal_of_retained(retained) {
        Some(refusal) => Err(refusal),
        None => read_fields(strategy, &fields, id.clone()),
    };
    ReadSignal { id: Some(id), body }
}

fn refusal_of_retained(retained: bool) -> Option<Refusal> {
    let detail = "retain flag: a retained signal would be repeated at every start, publish it without";
    retained.then(|| Refusal::new(Reason::Retained, detail))
}

fn read_id(strategy: &str, payload: &[u8], fields: &Fields) -> Result<SignalId, Refusal> {
    let text = match fields.text("id")? {
        Some(text) => text,
        None => {
            let mut hash = Sha256::new();
            hash.update(strategy.as_bytes());
            hash.update([0]);
            hash.update(payload);
            format!("auto-{}", &HEXLOWER.encode(&hash.finalize())[..32])
        }
    };
    SignalId::new(&text).map_err(|error| malformed(format!("id: {error}")))
}

fn read_fields(strategy: &str, fields: &Fields, id: SignalId) -> Result<Signal, Refusal> {
    if let Some(unknown) = fields.unknown(&FIELDS) {
        let score = |field: &str| strsim::jaro_winkler(field, unknown);
        let near = FIELDS.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
        let near = near.filter(|near| score(near) >= 0.8);
        let hint = near.map_or(String::new(), |near| format!(", did you mean {near}?"));
        return Err(malformed(format!("{}: unknown field{hint}", short(unknown))));
    }
    if let Some(named) = fields.text("strategy")?.filter(|named| named != strategy) {
        let detail = format!("strategy: {:?} is not the topic's {strategy:?}", short(&named));
        return Err(malformed(detail));
    }
    let missing = |field: &str| malformed(format!("{field}: missing"));
    let time = fields.time("time")?.ok_or_else(|| missing("time"))?;
    let symbol = fields.text("symbol")?.ok_or_else(|| missing("symbol"))?;
    let symbol = Symbol::new(&symbol).map_err(|error| malformed(format!("symbol: {error}")))?;
    let action = read_action(&fields.text("action")?.ok_or_else(|| missing("action"))?)?;
    let size = read_size(fields)?;
    if size.is_some() && action == Action::Flat {
        return Err(malformed("action: flat closes everything and takes no size".into()));
    }
    let stop_loss = fields.positive("stop_loss")?.map(Price::new);
    let take_profit = fields.positive("take_profit")?.map(Price::new);
    if action == Action::Flat && (stop_loss.is_some() || take_profit.is_some()) {
        let detail = "action: flat closes everything and takes no stop_loss or take_profit";
        return Err(malformed(detail.into()));
    }
    Ok(Signal {
        id,
        time,
        symbol,
        action,
        size,
        order_type: read_order_type(fields)?,
        stop_loss,
        take_profit,
        age_ms_max: read_age(fields)?,
        confidence: read_confidence(fields)?,
    })
}

fn read_action(word: &str) -> Result<Action, Refusal> {
    match word {
        "long" => Ok(Action::Long),
        "short" => Ok(Action::Short),
        "flat" | "close" | "exit" => Ok(Action::Flat),
        "buy" => Ok(Action::Buy),
        "sell" => Ok(Action::Sell),
        other => {
            let detail = format!("action: {:?} is not one of long, short, flat, buy, sell", short(other));
            Err(malformed(detail))
        }
    }
}

fn read_size(fields: &Fields) -> Result<Option<Size>, Refusal> {
    let sizes = [
        fields.positive("quantity")?.map(|value| Size::Quantity(Quantity::new(value))),
        fields.positive("notional")?.map(|value| Size::Notional(Money::new(value))),
        fields.positive("equity_pct")?.map(|value| Size::EquityPct(Ratio::new(value))),
        fields.positive("risk_pct")?.map(|value| Size::RiskPct(Ratio::new(value))),
    ];
    let mut given = sizes.into_iter().flatten();
    let size = given.next();
    if given.next().is_some() {
        return Err(malformed("quantity, notional, equity_pct, risk_pct: give exactly one".into()));
    }
    Ok(size)
}

fn read_order_type(fields: &Fields) -> Result<OrderType, Refusal> {
    let price = fields.positive("price")?.map(Price::new);
    match (fields.text("order_type")?.as_deref(), price) {
        (None | Some("market"), None) => Ok(OrderType::Market),
        (None | Some("market"), Some(price)) => {
            Err(malformed(format!("price: {price} needs order_type limit; a market order takes no price")))
        }
        (Some("limit"), Some(price)) => Ok(OrderType::Limit { price }),
        (Some("limit"), None) => Err(malformed("price: missing, a limit order needs it".into())),
        (Some(other), _) => {
            Err(malformed(format!("order_type: {:?} is not one of market, limit", short(other))))
        }
    }
}

fn read_age(fields: &Fields) -> Result<Option<i64>, Refusal> {
    let Some(seconds) = fields.positive("max_age_s")? else { return Ok(None) };
    if seconds > Decimal::from(AGE_S_MAX) {
        return Err(malformed(format!("max_age_s: {seconds} is beyond the limit of {AGE_S_MAX}")));
    }
    Ok((seconds * Decimal::ONE_THOUSAND).to_i64())
}

fn read_confidence(fields: &Fields) -> Result<Option<Ratio>, Refusal> {
    match fields.decimal("confidence")? {
        Some(value) if value < Decimal::ZERO || value > Decimal::ONE => {
            Err(malformed(format!("confidence: {value} is not between 0 and 1")))
        }
        value => Ok(value.map(Ratio::new)),
    }
}

fn malformed(detail: String) -> Refusal {
    Refusal::new(Reason::Malformed, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#""id":"a","time":"2026-11-20T20:00:05Z","symbol":"BTC-USDT""#;

    /// Reads `{HEAD, rest}` and compares the refusal, or `ok`.
    fn check(rest: &str, expected: &str) {
        let payload = format!("{{{HEAD},{rest}}}");
        let shown = match read("s1", payload.as_bytes(), false).body {
            Ok(_) => "ok".into(),
            Err(refusal) => format!("{}: {}", refusal.reason.as_str(), refusal.detail),
        };
        assert_eq!(shown, expected, "{rest}");
    }

    #[test]
    fn the_example_of_the_contract_is_read() {
        let payload =
            br#"{"id": "2026-11-20T20:00:05Z-42", "time": "2026-11-20T20:00:05Z", "symbol": "BTC-USDT",
            "action": "long", "quantity": 0.01, "stop_loss": 95000, "take_profit": 99000, "max_age_s": 30,
            "confidence": 0.82, "comment": "breakout"}"#;
        let signal = read("s1", payload, false).body.unwrap();
        assert_eq!(signal.size, Some(Size::Quantity(Quantity::new(Decimal::new(1, 2)))));
        assert_eq!(signal.age_ms_max, Some(30_000));
        assert_eq!(signal.confidence, Some(Ratio::new(Decimal::new(82, 2))));
        assert_eq!(signal.stop_loss.unwrap().to_string(), "95000");
    }

    #[test]
    fn good_and_bad_fields() {
        check(r#""action":"long","quantity":"0.01""#, "ok");
        check(r#""action":"exit""#, "ok");
        check(r#""action":"flat","strategy":"s1","comment":null"#, "ok");
        check(r#""action":"flat","strategy":"s2""#, "malformed: strategy: \"s2\" is not the topic's \"s1\"");
        check(r#""action":"buy","order_type":"limit","price":100,"notional":5"#, "ok");
        check(r#""action":"LONG""#, "malformed: action: \"LONG\" is not one of long, short, flat, buy, sell");
        check(r#""quantity":1"#, "malformed: action: missing");
        check(r#""action":"long","quantty":1"#, "malformed: quantty: unknown field, did you mean quantity?");
        check(r#""action":"long","leverage":1"#, "malformed: leverage: unknown field");
        // Nobody writes lines of ours into the log.
        check(r#""action":"long","x\n\u001b[2J":1"#, "malformed: x\u{fffd}\u{fffd}[2J: unknown field");
        check(r#""action":"long","quantity":-1"#, "malformed: quantity: -1 must be above 0");
        check(r#""action":"long","quantity":0"#, "malformed: quantity: 0 must be above 0");
        check(
            r#""action":"long","quantity":1e400"#,
            "malformed: quantity: 1e+400 is beyond the limit of 10000000000000",
        );
        check(r#""action":"long","quantity":"NaN""#, "malformed: quantity: \"NaN\" is not a number");
        check(
            r#""action":"long","quantity":"{{close}}""#,
            "malformed: quantity: \"{{close}}\" is not a number",
        );
        check(r#""action":"long","quantity":true"#, "malformed: quantity: true is not a number");
        check(
            r#""action":"long","quantity":1,"notional":5"#,
            "malformed: quantity, notional, equity_pct, risk_pct: give exactly one",
        );
        check(
            r#""action":"flat","quantity":1"#,
            "malformed: action: flat closes everything and takes no size",
        );
        check(
            r#""action":"long","price":5"#,
            "malformed: price: 5 needs order_type limit; a market order takes no price",
        );
        check(r#""action":"long","order_type":"limit""#, "malformed: price: missing, a limit order needs it");
        check(
            r#""action":"long","order_type":"stop""#,
            "malformed: order_type: \"stop\" is not one of market, limit",
        );
        check(r#""action":"long","confidence":1.5"#, "malformed: confidence: 1.5 is not between 0 and 1");
        check(
            r#""action":"long","max_age_s":90000"#,
            "malformed: max_age_s: 90000 is beyond the limit of 86400",
        );
        check(r#""action":"long","action":"short""#, "malformed: action: the field comes twice");
    }

    #[test]
    fn ids_are_read_before_all_else() {
        let id = |payload: &[u8]| read("s1", payload, false).id.map(|id| id.to_string());
        assert_eq!(id(br#"{"id":"x"}"#).as_deref(), Some("x"));
        assert_eq!(id(br#"{"id":7}"#).as_deref(), Some("7"));
        assert_eq!(id(b"not json"), None);
        assert_eq!(id(b"\xff\xfe"), None);
        assert_eq!(id(b"[1]"), None);
        assert_eq!(id(format!("{{\"id\":{:?}}}", "x".repeat(129)).as_bytes()), None);
        let derived = id(br#"{"action":"flat"}"#).unwrap();
        assert!(derived.starts_with("auto-") && derived.len() == 37, "{derived}");
        let deep = format!("{{\"id\":\"x\",\"comment\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(id(deep.as_bytes()), None);
        assert_eq!(read("s1", &[b' '; 20_000], false).body.unwrap_err().reason, Reason::TooLarge);
        assert_eq!(read("s1", br#"{"id":"x"}"#, true).body.unwrap_err().reason, Reason::Retained);
    }
}
