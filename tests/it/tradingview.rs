//! TradingView alerts against a golden table: each with the signal it becomes, or the refusal.
//!
//! In `tests/golden/tradingview.txt` a case begins with `@ TOPIC`, the topic's strategy or `-` for the shared topic,
//! and the words `filled` (placeholders are replaced first, as TradingView does) or `retained`. Lines of the body
//! follow behind `> `, and then what becomes of it behind `= `.

use std::collections::BTreeMap;

use tradebus::message::tradingview::{AlertKey, AlertSignal, ReadAlert, TradingViewSettings, read};
use tradebus::model::ids::{StrategyId, Symbol};
use tradebus::model::signal::{Reason, Size};

/// The key of `tv1` and `soft`.
const KEY: &str = "correct-horse-battery-staple";

/// What TradingView puts in place of a placeholder: a strategy at BloFin that reverses from short to long.
const FILLED: &[(&str, &str)] = &[
    ("{{exchange}}", "BLOFIN"),
    ("{{ticker}}", "BTCUSDT.P"),
    ("{{interval}}", "15"),
    ("{{close}}", "97123.4"),
    ("{{volume}}", "12.5"),
    ("{{time}}", "2026-11-20T19:45:00Z"),
    ("{{timenow}}", "2026-11-20T20:00:05Z"),
    ("{{strategy.order.action}}", "buy"),
    ("{{strategy.order.contracts}}", "0.3"),
    ("{{strategy.order.price}}", "97120"),
    ("{{strategy.order.id}}", "Long"),
    ("{{strategy.position_size}}", "0.1"),
    ("{{strategy.market_position}}", "long"),
    ("{{strategy.market_position_size}}", "0.1"),
    ("{{strategy.prev_market_position}}", "short"),
    ("{{strategy.prev_market_position_size}}", "0.2"),
];

/// `tv1`: at BloFin, with a required key. `soft`: the key may be missing. `open`: no key, any exchange, Bybit's PEPE.
/// `sized`: as `open`, and Pine's sizes count.
fn settings() -> BTreeMap<StrategyId, TradingViewSettings> {
    let key = Some(AlertKey::new(KEY));
    let blofin = TradingViewSettings { exchange: Some("BLOFIN".into()), ..TradingViewSettings::default() };
    let pepe = ("1000PEPEUSDT.P".to_string(), Symbol::new("PEPE-USDT").unwrap());
    let open = TradingViewSettings { overrides: [pepe].into(), ..TradingViewSettings::default() };
    let all = [
        ("tv1", TradingViewSettings { key: key.clone(), key_required: true, ..blofin.clone() }),
        ("soft", TradingViewSettings { key, accept_from: vec!["BINANCE:SPOT".into()], ..blofin }),
        ("keyless", TradingViewSettings { key_required: true, ..open.clone() }),
        ("sized", TradingViewSettings { contracts_as_size: true, ..open.clone() }),
        ("open", open),
    ];
    all.into_iter().map(|(id, settings)| (StrategyId::new(id).unwrap(), settings)).collect()
}

pub fn filled(text: &str) -> String {
    FILLED.iter().fold(text.to_string(), |text, (name, value)| text.replace(name, value))
}

fn read_one(head: &str, body: &str) -> ReadAlert {
    let words: Vec<&str> = head.split_whitespace().collect();
    let topic = Some(words[0]).filter(|topic| *topic != "-");
    let body = if words.contains(&"filled") { filled(body) } else { body.to_string() };
    read(topic, body.as_bytes(), words.contains(&"retained"), &settings())
}

fn shown(alert: &ReadAlert) -> String {
    let id = alert.id.as_ref().map_or("no id".into(), |id| id.to_string());
    let strategy = if alert.strategy.is_empty() { "-" } else { &alert.strategy };
    match &alert.body {
        Ok(signal) => format!("{strategy} {} [{id}]", shown_signal(signal)),
        Err(refusal) => format!("{strategy} {}: {} [{id}]", refusal.reason.as_str(), refusal.detail),
    }
}

fn shown_signal(alert: &AlertSignal) -> String {
    let signal = &alert.signal;
    let mut words = vec![signal.action.as_str().to_string(), signal.symbol.to_string()];
    words.extend(signal.size.map(|size| match size {
        Size::Quantity(value) => format!("quantity={value}"),
        Size::Notional(value) => format!("notional={value}"),
        Size::EquityPct(value) => format!("equity_pct={value}"),
        Size::RiskPct(value) => format!("risk_pct={value}"),
    }));
    words.push(format!("at {}", signal.time));
    words.extend(alert.price.map(|price| format!("price={price}")));
    words.extend(signal.stop_loss.map(|price| format!("stop_loss={price}")));
    words.extend(signal.take_profit.map(|price| format!("take_profit={price}")));
    words.extend(signal.age_ms_max.map(|age| format!("age_ms={age}")));
    words.extend(signal.confidence.map(|confidence| format!("confidence={confidence}")));
    if !alert.ignored.is_empty() {
        words.push(format!("ignored={}", alert.ignored.join(",")));
    }
    words.join(" ")
}

/// The golden text, with what becomes of each case put in anew.
fn transcript(golden: &str) -> (String, usize) {
    let (mut out, mut head, mut body, mut cases) = (String::new(), String::new(), Vec::new(), 0);
    let mut finish = |out: &mut String, head: &str, body: &mut Vec<&str>| {
        if !head.is_empty() {
            out.push_str(&format!("= {}\n", shown(&read_one(head, &body.join("\n")))));
            cases += 1;
        }
        body.clear();
    };
    for line in golden.lines().filter(|line| !line.starts_with("= ")) {
        if let Some(text) = line.strip_prefix('>') {
            body.push(text.strip_prefix(' ').unwrap_or(text));
        } else if line.is_empty() {
            finish(&mut out, &head, &mut body);
            head.clear();
        } else if let Some(text) = line.strip_prefix("@ ") {
            head = text.to_string();
        } else {
            assert!(line.starts_with('#'), "{line}");
        }
        out.push_str(line);
        out.push('\n');
    }
    finish(&mut out, &head, &mut body);
    (out, cases)
}

#[test]
fn alerts_become_signals_or_named_refusals() {
    let golden = include_str!("../golden/tradingview.txt");
    let (got, cases) = transcript(golden);
    if let Some((got, wanted)) = got.lines().zip(golden.lines()).find(|(got, wanted)| got != wanted) {
        panic!("got     {got}\nwanted  {wanted}\nin all:\n{}", transcript(golden).0);
    }
    assert_eq!(got.lines().count(), golden.lines().count(), "{got}");
    assert!(cases >= 60, "{cases}");
    assert!(!golden.lines().any(|line| line.starts_with("= ") && line.contains(KEY)), "the key is shown");
}

/// The bodies of the payloads that others published, read in place; `None` where they are not.
pub fn published() -> Option<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/tradingview_alerts.jsonl");
    let Ok(text) = std::fs::read_to_string(path) else {
        println!("skipped: ../shared/data is not here");
        return None;
    };
    let body = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["body"].as_str().unwrap().to_string()
    };
    Some(text.lines().map(body).collect())
}

/// What becomes of each published payload when its placeholders are replaced.
#[test]
fn published_alerts() {
    let Some(bodies) = published() else { return };
    let expected = [
        "malformed timenow",
        "malformed action",
        "malformed data.strategy-id",
        "malformed data.strategy-id",
        "unknown_symbol asset",
        "long BTC-USDT",
        "malformed symbol",
        "malformed symbol",
        "malformed strategy",
        "malformed time",
        "malformed time",
        "malformed strategy",
        "malformed body",
        "malformed timenow",
        "malformed timenow",
        "malformed timenow",
        "malformed body",
        "malformed strategy",
        "malformed timenow",
        "long BTC-USDT",
        "unsupported orderPriceOffset",
    ];
    let mut got = Vec::new();
    for body in bodies {
        let raw = read(Some("open"), body.as_bytes(), false, &settings());
        if body.contains("{{") {
            let refusal = raw.body.expect_err("placeholders were not replaced");
            assert_eq!(refusal.reason, Reason::Malformed, "{body}");
        }
        let alert = read(Some("open"), filled(&body).as_bytes(), false, &settings());
        println!("{}", shown(&alert));
        got.push(match &alert.body {
            Ok(signal) => format!("{} {}", signal.signal.action.as_str(), signal.signal.symbol),
            Err(refusal) => {
                let name = refusal.detail.split(':').next().unwrap_or_default();
                format!("{} {name}", refusal.reason.as_str())
            }
        });
    }
    assert_eq!(got, expected);
}

#[test]
fn a_repeated_alert_keeps_its_id_and_another_gets_its_own() {
    let id = |body: &str| read(Some("open"), body.as_bytes(), false, &settings()).id.unwrap().to_string();
    let alert = |rest: &str| format!(r#"{{"timenow":"2026-11-20T20:00:05Z","ticker":"BTCUSDT",{rest}}}"#);
    let first = id(&alert(r#""market_position":"flat""#));
    assert_eq!(first, id(&alert(r#""market_position":"flat""#)));
    assert!(first.starts_with("tv-") && first.len() == 35, "{first}");
    assert_ne!(
        first,
        id(&alert(r#""market_position":"long""#)),
        "close and open of a reversal, in one second"
    );
    assert_ne!(first, id(&alert(r#""market_position":"flat","note":"x""#)));
    // A bridge may write the object anew, and the key is no part of what is published.
    let anew = r#"{ "market_position": "flat", "ticker": "BTCUSDT", "timenow": "2026-11-20T20:00:05Z" }"#;
    assert_eq!(first, id(anew));
    assert_eq!(first, id(&alert(r#""market_position":"flat","key":"one""#)));
    let text = "flat BTCUSDT timenow=2026-11-20T20:00:05Z";
    assert_eq!(id(text), id(&format!("one\n{text}")));
    assert_ne!(id(text), read(Some("sized"), text.as_bytes(), false, &settings()).id.unwrap().to_string());
}

/// A key reaches no refusal, no id and no `Debug` text, wherever the alert repeats it.
#[test]
fn the_key_is_shown_nowhere() {
    let check = |topic: Option<&str>, body: &str| {
        let alert = read(topic, body.as_bytes(), false, &settings());
        let shown = format!("{alert:?}");
        assert!(!shown.contains(KEY) && !shown.contains("hunter2-hunter2"), "{shown}");
    };
    for key in [KEY, "hunter2-hunter2"] {
        for name in ["key", "secret", "token", "passphrase", "apikey", "Password"] {
            check(
                Some("tv1"),
                &format!(r#"{{"{name}":"{key}","id":"{key}","ticker":"{key}","action":"{key}"}}"#),
            );
            check(
                Some("tv1"),
                &format!(r#"{{"{name}":"{key}","id":"a","ticker":"BTCUSDT.P","action":"{key}"}}"#),
            );
            check(None, &format!(r#"{{"{name}":"{key}","strategy":"{key}"}}"#));
            check(Some("tv1"), &format!(r#"{{"{name}":"{key}","strategy":"{key}"}}"#));
            check(Some("tv1"), &format!(r#"{{"{name}":"{key}","id":"{}"}}"#, key.repeat(9)));
            check(Some("tv1"), &format!(r#"{{"{name}":{key}}}"#));
        }
        for body in [
            key.to_string(),
            format!("\"{key}\""),
            format!("{key} long BTCUSDT"),
            format!("{key}\nlong BTCUSDT"),
            format!("{key}\nlong BTCUSDT {key}"),
            format!("{key}\n{key} {key}"),
            format!("{key}\nlong\nBTCUSDT"),
            format!("long BTCUSDT key={key} action={key}"),
            format!("long {key} key={key} x=1"),
        ] {
            check(Some("tv1"), &body);
        }
    }
    assert!(!format!("{:?}", settings()).contains(KEY));
}

#[test]
fn bad_bodies_are_refused_by_a_limit() {
    let check = |body: &[u8], expected: &str| {
        assert_eq!(shown(&read(Some("open"), body, false, &settings())), format!("open {expected} [no id]"));
    };
    check(&[b' '; 16_385], "too_large: body of 16385 bytes, the limit is 16384");
    check(b"\xff\xfe", "malformed: body: not UTF-8");
    let deep = format!(r#"{{"a":{}1{}}}"#, r#"{"b":"#.repeat(6), "}".repeat(6));
    check(deep.as_bytes(), "malformed: a.b.b.b: nested too deep");
    let very_deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(5000), "]".repeat(5000));
    check(very_deep.as_bytes(), "malformed: body: begins like JSON and is none");
    let many: Vec<String> = (0..201).map(|number| format!(r#""f{number}":1"#)).collect();
    check(format!("{{{}}}", many.join(",")).as_bytes(), "malformed: body: more than 200 fields");
}
