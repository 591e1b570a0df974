//! The list of payloads: every file of `../shared/fixtures/blofin`, and every public example of the documentation, has
//! its place in a test. What is only of accounts and orders is the private side's.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use tradebus::venue::blofin::answer;
use tradebus::venue::blofin::request;
use tradebus::venue::blofin::stream::{self, Frame};

use super::{documented, folder, json};

/// Files with values in `blofin.rs`; those below `jkorf` are listed by its folders.
const FILES: [&str; 7] = [
    "ccxt_static_markets_info_blofin.json",
    "ccxt_static_request_blofin.json",
    "ccxt_static_response_blofin.json",
    "official_docs_examples.json",
    "recorded/market_candles_XRP-USDT_15m_2023-11.json",
    "recorded/market_candles_XRP-USDT_15m_2025-12_first200.json",
    "recorded/market_instruments_prod_2025-02.json",
];

/// Answers to public requests, each compared with its values in `blofin.rs` but the last, which nothing asks for.
const ANSWERS: [&str; 11] = [
    "GET Instruments",
    "GET Tickers",
    "GET Order Book",
    "GET Trades",
    "GET Mark Price",
    "GET Funding Rate",
    "GET Funding Rate History",
    "GET Candlesticks",
    "GET Index Candlesticks",
    "GET Mark Price Candlesticks",
    "GET Position Tiers",
];

/// Channels with what becomes of their first example: the topic that is subscribed to, or nothing for channels that are
/// not asked for. Pushes of the former are compared with their values in `blofin.rs`.
const CHANNELS: [(&str, &str, &[&str]); 7] = [
    ("WS Trades Channel", "trades ETH-USDT", &["Push Data Example"]),
    ("WS Candlesticks Channel", "candle1D BTC-USDT", &["Push Data Example"]),
    ("WS Index candlesticks Channel", "", &["Push Data Example"]),
    ("WS Mark price candlesticks Channel", "mark-price-candle1D BTC-USDT", &["Push Data Example"]),
    ("WS Order Book Channel", "", &["Push Data Example:Full Snapshot", "Push Data Example:Incremental Data"]),
    ("WS Tickers Channel", "tickers BTC-USDT", &["Push Data Example"]),
    ("WS Funding Rate Channel", "funding-rate BTC-USDT", &["Push Data Example"]),
];

fn files(folder: &Path, below: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder.join(below)).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        match entry.path().is_dir() {
            true if name == "jkorf" => {}
            true => found.extend(files(folder, &format!("{name}/"))),
            false => drop(found.insert(name)),
        }
    }
    found
}

#[test]
fn every_file_has_a_test() {
    let Some(folder) = folder() else { return };
    assert_eq!(files(&folder, ""), FILES.map(String::from).into());
    let public: Vec<String> = files(&folder, "jkorf/rest/Futures/ExchangeData/").into_iter().collect();
    assert_eq!(public.len(), 8, "{public:?}");
}

#[test]
fn every_public_example_is_understood() {
    let Some(folder) = folder() else { return };
    let topic = |(channel, pair): request::Topic| format!("{} {pair}", channel.name());
    let mut seen = 0;
    for section in ANSWERS {
        let body = documented(&folder, section, "Response Example");
        assert!(!answer::rows(200, &body).unwrap().is_empty(), "{section}");
        seen += 1;
    }
    for (section, subscribed, pushes) in CHANNELS {
        let example = |caption: &str| documented(&folder, section, caption);
        let answered = match stream::read(&example("Response Example")) {
            Ok(Frame::Subscribed(on)) => {
                // What is asked for is what is documented.
                let asked: Value = serde_json::from_str(&request::subscribe(&[on])[0]).unwrap();
                assert_eq!(asked, serde_json::from_str::<Value>(&example("Request Example")).unwrap());
                topic(on)
            }
            Ok(Frame::Other) => String::new(),
            other => panic!("{section}: {other:?}"),
        };
        assert_eq!(answered, subscribed, "{section}");
        let refused = example("Failure Response Example");
        assert!(matches!(stream::read(&refused), Ok(Frame::Error { code, .. }) if code == "60012"));
        for caption in pushes {
            let pushed = example(caption);
            match stream::read(&pushed) {
                Ok(Frame::Data { topic: on, rows }) => {
                    assert!(topic(on) == subscribed && !rows.is_empty(), "{section}: {}", topic(on));
                }
                Ok(Frame::Other) => assert!(subscribed.is_empty(), "{section}"),
                other => panic!("{section}: {other:?}"),
            }
        }
        seen += 3 + pushes.len();
    }
    let all = json(&folder, "official_docs_examples.json");
    let public = all.as_array().unwrap().iter().filter(|example| example["part"] == "Public Data");
    assert_eq!(seen, public.count());
}
