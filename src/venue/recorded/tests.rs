//! Good and broken lines, as tables.

use super::*;
use crate::model::ids::{FeedId, Symbol};
use crate::model::market::{Arrival, MarketEvent};
use crate::model::order::Side;

const TRADES: &str = "time_ms,price,quantity,taker_side,trade_id";
const QUOTES: &str = "received_ms,bid,bid_quantity,ask,ask_quantity";
const CANDLES: &str = "open_time_ms,open,high,low,close,volume";
const EVENTS: &str = "received_ms,time_ms,event,value_1,value_2,value_3,value_4";

/// Everything that a file says, one price a piece, or the first error.
fn parse(file: &[u8]) -> Result<Vec<String>, LineError> {
    let mut lines = file.split_inclusive(|byte| *byte == b'\n');
    let mut parser = RecordedParser::from_header(lines.next().unwrap_or_default())?;
    for line in lines {
        parser.push(line)?;
    }
    parser.finish()?;
    let prices = std::iter::from_fn(|| parser.pop());
    let shown = |one: Recorded| {
        let seen = if one.at == one.time { String::new() } else { format!("{} ", one.at.as_ms()) };
        format!("{seen}{} {}", one.time.as_ms(), show(one.update))
    };
    Ok(prices.map(shown).collect())
}

fn show(update: PriceUpdate) -> String {
    match update {
        PriceUpdate::Trade { price, quantity, taker } => {
            format!("{price} x {quantity} {}", taker.map_or("?", Side::as_str))
        }
        PriceUpdate::Quote { bid, bid_quantity, ask, ask_quantity } => {
            format!("{bid} x {bid_quantity} / {ask} x {ask_quantity}")
        }
        PriceUpdate::Candle { close } => format!("close {close}"),
        PriceUpdate::Mark { price } => format!("mark {price}"),
        PriceUpdate::Confirmed => "confirmed".into(),
        PriceUpdate::Instrument { tick_size, lot_size, size_min, contract_value } => {
            format!("steps {tick_size} {lot_size} {size_min} {contract_value}")
        }
    }
}

#[test]
fn good_files() {
    let check = |file: &str, expected: &[&str]| {
        assert_eq!(parse(file.as_bytes()).unwrap(), expected, "{file}");
    };
    check(&format!("{TRADES}\n5,10.50,2,sell,1\n5,1e1,3,buy,"), &["5 10.5 x 2 sell", "5 10 x 3 buy"]);
    check(&format!("{TRADES}\n5,10,2,,1\n"), &["5 10 x 2 ?"]);
    check(&format!("\u{feff}{TRADES}\r\n5,10,2,buy,1\r\n\r\n\n"), &["5 10 x 2 buy"]);
    check("taker_side,x,trade_id,quantity,price,time_ms\nbuy,,7,2,10,5", &["5 10 x 2 buy"]);
    check("time_ms, price ,quantity,taker_side,trade_id\n 5,10 ,2,buy,1", &["5 10 x 2 buy"]);
    check(&format!("{QUOTES}\n5,10,1,10,0\n6,9,1,11,2"), &["5 10 x 1 / 10 x 0", "6 9 x 1 / 11 x 2"]);
    // The gap of 180 is not the timeframe, and a candle is stamped at its close.
    check(
        &format!("{CANDLES}\n0,1,2,1,2,0\n180,2,3,2,3,1\n240,3,4,3,4,1"),
        &["60 close 2", "240 close 3", "300 close 4"],
    );
    check(
        &format!("{CANDLES}\n0,1,2,1,2,0\n0,1,2,1,3,1.2867745400000001\n60,1,2,1,4,0"),
        &["60 close 2", "60 close 3", "120 close 4"],
    );
    check(TRADES, &[]);
    check(&format!("{CANDLES}\n\n"), &[]);
}

#[test]
fn broken_lines() {
    let check = |header: &str, lines: &str, expected: &str| {
        let file = format!("{header}\n5,10,1,11,2\n{lines}");
        let error = parse(file.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expected, "{lines}");
    };
    check(QUOTES, "6,x,1,11,1", r#"line 3: column bid: "x" is not a number"#);
    check(QUOTES, "6,,1,11,1", r#"line 3: column bid: "" is not a number"#);
    check(QUOTES, "6,NaN,1,11,1", r#"line 3: column bid: "NaN" is not a number"#);
    check(QUOTES, "6,0,1,11,1", r#"line 3: column bid: "0" is not above 0"#);
    check(QUOTES, "6,10,-1,11,1", r#"line 3: column bid_quantity: "-1" is below 0"#);
    check(QUOTES, "6,10,1,-11,1", r#"line 3: column ask: "-11" is not above 0"#);
    check(QUOTES, "6,10,1,11,", r#"line 3: column ask_quantity: "" is not a number"#);
    check(QUOTES, "6,11.5,1,11,1", r#"line 3: column bid: "11.5" is above the ask 11"#);
    check(
        QUOTES,
        "4,10,1,11,1",
        r#"line 3: column received_ms: "4" is before the time of the previous line, 5"#,
    );
    check(QUOTES, "6,1e14,1,11,1", r#"line 3: column bid: "1e14" is beyond the limit of 10000000000000"#);
    check(QUOTES, "6,1e-13,1,11,1", r#"line 3: column bid: "1e-13" has more than 12 decimals"#);
    check(QUOTES, "6,10,1,11", "line 3: 4 values, but the header has 5 columns");
    check(QUOTES, "6,10,1,11,1,1", "line 3: 6 values, but the header has 5 columns");
    check(
        QUOTES,
        "\n6,10,1,11,1",
        "line 4: follows line 3, which is empty; only the end of a file may have empty lines",
    );
    let time = "is not a time in milliseconds between the years 1970 and 9999";
    for value in ["", "-1", "5.5", "1723161255342000", "now"] {
        let expected = format!("line 3: column received_ms: {value:?} {time}");
        check(QUOTES, &format!("{value},10,1,11,1"), &expected);
    }
    let long = format!("6,10,1,11,{}", "1".repeat(LINE_BYTES_MAX));
    check(QUOTES, &long, "line 3: longer than 4096 bytes");
}

#[test]
fn broken_trades_and_candles() {
    let check = |header: &str, line: &str, expected: &str| {
        let error = parse(format!("{header}\n{line}").as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expected, "{line}");
    };
    check(TRADES, "5,10,0,buy,1", r#"line 2: column quantity: "0" is not above 0"#);
    check(TRADES, "5,10,,buy,1", r#"line 2: column quantity: "" is not a number"#);
    check(TRADES, "5,10,-2,buy,1", r#"line 2: column quantity: "-2" is below 0"#);
    check(TRADES, "5,0.0,1,buy,1", r#"line 2: column price: "0.0" is not above 0"#);
    check(TRADES, "5,10,1,BUY,1", r#"line 2: column taker_side: "BUY" is not buy or sell"#);
    check(CANDLES, "5,1,1,0,1,1", r#"line 2: column low: "0" is not above 0"#);
    check(CANDLES, "5,1,1,1,x,1", r#"line 2: column close: "x" is not a number"#);
    check(CANDLES, "5,1,1,1,1,inf", r#"line 2: column volume: "inf" is not a number"#);
    check(CANDLES, "5,1,1,1,1,", r#"line 2: column volume: "" is not a number"#);
    check(CANDLES, "5,1,1,1,1,-1", r#"line 2: column volume: "-1" is below 0"#);
    let unknown = "the timeframe is unknown: no two candles have different open times";
    check(CANDLES, "5,1,1,1,1,1", &format!("line 2: {unknown}"));
    check(CANDLES, "5,1,1,1,1,1\n5,1,1,1,1,1\n", &format!("line 3: {unknown}"));
}

#[test]
fn events_are_read_and_written() {
    let lines = "9,5,instrument,0.1,0.1,0.2,0.001\n9,4,trade,97000.5,0.002,sell,\n9,4,trade,97000.5,0.002,,\n\
        10,7,quote,97000,1,97000.5,2.5\n12,12,mark,97001,,,\n13,11,confirmed,,,,\n14,14,candle,5,,,\n";
    let file = format!("{EVENTS}\n{lines}");
    let expected = [
        "9 5 steps 0.1 0.1 0.2 0.001",
        "9 4 97000.5 x 0.002 sell",
        "9 4 97000.5 x 0.002 ?",
        "10 7 97000 x 1 / 97000.5 x 2.5",
        "12 mark 97001",
        "13 11 confirmed",
        "14 close 5",
    ];
    assert_eq!(parse(file.as_bytes()).unwrap(), expected);
    // What was read is written as it was.
    let mut parser = RecordedParser::from_header(line::header().as_bytes()).unwrap();
    let mut written = String::new();
    for text in lines.lines() {
        parser.push(text.as_bytes()).unwrap();
        let Recorded { at, time, update } = parser.pop().unwrap();
        let (feed, symbol) = (FeedId::new("f").unwrap(), Symbol::new("A-B").unwrap());
        written += &line::line(&Arrival { at, event: MarketEvent { feed, symbol, time, update } });
    }
    assert_eq!(written, lines);
}

#[test]
fn broken_events() {
    let check = |line: &str, expected: &str| {
        let error = parse(format!("{EVENTS}\n5,5,confirmed,,,,\n{line}").as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expected, "{line}");
    };
    check(
        "4,5,confirmed,,,,",
        r#"line 3: column received_ms: "4" is before the time of the previous line, 5"#,
    );
    let time = "is not a time in milliseconds between the years 1970 and 9999";
    check("6,x,confirmed,,,,", &format!("line 3: column time_ms: \"x\" {time}"));
    let words = "is not trade, quote, candle, mark, confirmed or instrument";
    check("6,6,Trade,1,1,buy,", &format!("line 3: column event: \"Trade\" {words}"));
    check("6,6,trade,0,1,buy,", r#"line 3: column value_1: "0" is not above 0"#);
    check("6,6,trade,1,0,buy,", r#"line 3: column value_2: "0" is not above 0"#);
    check("6,6,trade,1,1,x,", r#"line 3: column value_3: "x" is not buy or sell"#);
    check("6,6,trade,1,1,buy,1", r#"line 3: column value_4: "1" is one value more than the event has"#);
    check("6,6,quote,2,1,1,1", r#"line 3: column value_1: "2" is above the ask 1"#);
    check("6,6,mark,,,,", r#"line 3: column value_1: "" is not a number"#);
    check("6,6,confirmed,1,,,", r#"line 3: column value_1: "1" is one value more than the event has"#);
    check("6,6,instrument,1,1,1,0", r#"line 3: column value_4: "0" is not above 0"#);
}

#[test]
fn broken_headers() {
    let check = |header: &[u8], expected: &str| {
        let shown = parse(header).unwrap_err().to_string();
        assert!(shown.starts_with(expected), "{shown}");
        shown
    };
    let shown = check(b"time,price\n", r#"line 1: the header "time,price" is of no known kind"#);
    for columns in [TRADES, QUOTES, CANDLES, EVENTS] {
        assert!(shown.contains(columns), "{shown}");
    }
    check(b"", r#"line 1: the header "" is of no known kind"#);
    check(format!("{TRADES},price").as_bytes(), "line 1: the header");
    check(
        format!("{TRADES}{}", ",x".repeat(28)).as_bytes(),
        "line 1: the header has 33 columns, the limit is 32",
    );
    check(&[0xff, 0xfe], "line 1: not UTF-8 text");
    check(&[b'x'; LINE_BYTES_MAX + 1], "line 1: longer than 4096 bytes");
}

#[test]
fn known_columns_are_those_of_the_error() {
    let check = |kind: RecordingKind, header: &str| {
        assert_eq!(kind.columns().join(","), header);
        assert_eq!(RecordedParser::from_header(header.as_bytes()).unwrap().kind(), kind);
    };
    check(RecordingKind::Trades, TRADES);
    check(RecordingKind::Quotes, QUOTES);
    check(RecordingKind::Candles, CANDLES);
    check(RecordingKind::Events, EVENTS);
}

#[test]
fn only_the_first_lines_tell_the_timeframe() {
    let mut parser = RecordedParser::from_header(CANDLES.as_bytes()).unwrap();
    let mut push = |open_ms: usize| {
        parser.push(format!("{open_ms},1,1,1,1,1").as_bytes()).unwrap();
        parser.pop().map(|one| one.at.as_ms())
    };
    for line in 0..TIMEFRAME_LINES_MAX - 1 {
        assert_eq!(push(line * 60), None);
    }
    assert_eq!(push((TIMEFRAME_LINES_MAX - 1) * 60), Some(60));
    // A nearer line afterwards changes nothing; the queue is only as long as the lines that were looked at.
    assert_eq!(push((TIMEFRAME_LINES_MAX - 1) * 60 + 1), Some(120));
    assert_eq!(parser.ready.len(), TIMEFRAME_LINES_MAX - 1);
}
