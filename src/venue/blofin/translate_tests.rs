//! Rows to prices: once, in order, in base units.

use serde_json::value::RawValue;

use super::instrument::Listing;
use super::request::{Bar, Channel};
use super::translate::{Price, TRADES_REMEMBERED, Translator};
use super::{DropReason, Drops};
use crate::model::ids::Symbol;
use crate::model::market::PriceUpdate;
use crate::model::time::Timestamp;

const NOW_MS: i64 = 1_710_328_245_000;

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.into()).unwrap()
}

fn symbol(text: &str) -> Symbol {
    Symbol::new(text).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_ms(NOW_MS)
}

/// A translator for `BTC-USDT` with 0.001 BTC in a contract, and what left it so far.
struct Rig {
    translator: Translator,
    out: Vec<Price>,
}

impl Rig {
    fn new() -> Rig {
        let row = r#"{"instId":"BTC-USDT","contractValue":"0.001","minSize":"0.1","lotSize":"0.1","tickSize":"0.1"}"#;
        let mut translator = Translator::default();
        translator.list(symbol("BTC-USDT.PERP"), &Listing::read(&raw(row)).unwrap());
        Rig { translator, out: Vec::new() }
    }

    /// Feeds a row of a channel; gives what left, and what was dropped, in words.
    fn row(&mut self, channel: Channel, row: &str) -> String {
        let before = self.translator.drops();
        self.translator.rows(now(), (channel, symbol("BTC-USDT")), &[&raw(row)], &mut self.out);
        self.shown(before)
    }

    fn tickers(&mut self, row: &str) -> String {
        let before = self.translator.drops();
        self.translator.tickers(now(), &[&raw(row)], &mut self.out);
        self.shown(before)
    }

    fn shown(&mut self, before: Drops) -> String {
        let after = self.translator.drops();
        let dropped = DropReason::ALL.into_iter().filter(|reason| after.of(*reason) > before.of(*reason));
        let updates = self.out.drain(..).map(|(symbol, _, update)| {
            assert_eq!(symbol.as_str(), "BTC-USDT.PERP");
            match update {
                PriceUpdate::Trade { price, quantity, .. } => format!("{price} x {quantity}"),
                PriceUpdate::Quote { bid, bid_quantity, ask, .. } => {
                    format!("{bid} x {bid_quantity} / {ask}")
                }
                PriceUpdate::Mark { price } => format!("mark {price}"),
                other => format!("{other:?}"),
            }
        });
        let words: Vec<String> = updates.chain(dropped.map(|reason| reason.as_str().to_owned())).collect();
        words.join(", ")
    }
}

fn trade(id: u64, price: &str, after_ms: i64) -> String {
    let ts = NOW_MS + after_ms;
    format!(
        r#"{{"tradeId":"{id}","instId":"BTC-USDT","price":"{price}","size":"30","side":"buy","ts":"{ts}"}}"#
    )
}

fn ticker(last: &str, bid: &str, after_ms: i64) -> String {
    let ts = NOW_MS + after_ms;
    format!(
        r#"{{"instId":"BTC-USDT","last":"{last}","lastSize":"30","askPrice":"105","askSize":"1","bidPrice":"{bid}","bidSize":"2","ts":"{ts}"}}"#
    )
}

#[test]
fn trades_are_taken_once_and_in_order() {
    let mut rig = Rig::new();
    let mut check = |row: &str, expected: &str| assert_eq!(rig.row(Channel::Trades, row), expected, "{row}");
    check(&trade(1, "100", 0), "100 x 0.03");
    check(&trade(1, "100", 0), "repeated");
    check(&trade(2, "100", 0), "100 x 0.03");
    check(&trade(4, "102", 20), "102 x 0.03");
    check(&trade(3, "101", 10), "out_of_order");
    check(&trade(5, "103", 60_001), "time_far_off");
    check(&trade(6, "103", -700_000_000), "time_far_off");
    check(&trade(7, "0", 30), "price_not_positive");
    check(&trade(8, "103", 30).replace("BTC", "ETH"), "unknown_symbol");
    check(&trade(8, "103", 30).replace("\"30\"", "\"1e-12\""), "size_not_positive");
    for id in 10..10 + TRADES_REMEMBERED as u64 {
        check(&trade(id, "103", 40), "103 x 0.03");
    }
    check(&trade(10, "103", 40), "repeated");
    assert_eq!(rig.translator.drops().faults(), 5);
    assert_eq!(
        rig.translator.take_last_fault().as_deref(),
        Some(r#"size_not_positive: size "0.000000000000001""#)
    );
    assert_eq!(rig.translator.take_last_fault(), None);
}

#[test]
fn tickers_trade_only_what_is_new() {
    let mut rig = Rig::new();
    let mut check = |row: &str, expected: &str| assert_eq!(rig.tickers(row), expected, "{row}");
    check(&ticker("100", "99", 0), "99 x 0.002 / 105, 100 x 0.03");
    check(&ticker("100", "99", 10), "Confirmed");
    check(&ticker("100", "98", 20), "98 x 0.002 / 105");
    check(&ticker("101", "98", 15), "out_of_order");
    check(&ticker("101", "98", 30), "101 x 0.03");
    check(&ticker("101", "98", 30).replace("BTC", "ETH"), "");
    check(&ticker("101", "106", 40), "crossed");
    // The stream brings the trade that the ticker told, then an older one, then a new one; the ticker is behind then.
    assert_eq!(rig.row(Channel::Trades, &trade(7, "101", 28)), "repeated");
    assert_eq!(rig.row(Channel::Trades, &trade(6, "100.5", 27)), "out_of_order");
    assert_eq!(rig.row(Channel::Trades, &trade(8, "102", 50)), "102 x 0.03");
    assert_eq!(rig.tickers(&ticker("101", "97", 45)), "97 x 0.002 / 105");
}

#[test]
fn books_and_marks_keep_their_order() {
    let mut rig = Rig::new();
    let book = |bid: &str, after_ms: i64| {
        format!(r#"{{"bids":[[{bid},20]],"asks":[[105,1]],"ts":"{}"}}"#, NOW_MS + after_ms)
    };
    let mut check = |row: &str, expected: &str| assert_eq!(rig.row(Channel::Books5, row), expected, "{row}");
    check(&book("100", 0), "100 x 0.02 / 105");
    check(&book("100", 0), "Confirmed");
    check(&book("101", 10), "101 x 0.02 / 105");
    check(&book("100", 5), "out_of_order");
    check(&book("106", 20), "crossed");
    check(r#"{"bids":[],"asks":[[105,1]],"ts":"1710328245030"}"#, "Confirmed");
    let bar = Channel::MarkCandle(Bar::M1);
    let candle = |open_ms: i64, close: &str| format!(r#"["{open_ms}","1","200","1","{close}","0"]"#);
    let mut check = |row: &str, expected: &str| assert_eq!(rig.row(bar, row), expected, "{row}");
    check(&candle(1_710_328_200_000, "99"), "mark 99");
    check(&candle(1_710_328_200_000, "98"), "mark 98");
    check(&candle(1_710_328_140_000, "97"), "out_of_order");
}
