//! Payloads in the documented shape, good and bad, as tables.

use serde_json::value::RawValue;

use super::answer::{self, Fault};
use super::instrument::{Listing, changes, inst_id, unknown};
use super::market::{Book, Candle, FundingRate, MarkPrice, Ticker, Trade};
use super::request::{self, Bar, Channel, Topic};
use super::stream::{self, Frame};
use super::{DropReason, Dropped, SUBSCRIBE_BYTES_MAX};
use crate::model::ids::Symbol;

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.into()).unwrap()
}

fn symbol(text: &str) -> Symbol {
    Symbol::new(text).unwrap()
}

/// A row as it is shown, or why it is dropped.
#[track_caller]
fn check<T>(read: fn(&RawValue) -> Result<T, Dropped>, show: fn(&T) -> String, row: &str, expected: &str) {
    let shown = read(&raw(row)).map_or_else(|dropped| dropped.to_string(), |row| show(&row));
    assert_eq!(shown, expected, "{row}");
}

#[test]
fn tickers() {
    let show = |t: &Ticker| {
        let best = t.best.map(|best| {
            format!("{} x {} / {} x {}", best.bid.price, best.bid.size, best.ask.price, best.ask.size)
        });
        format!("{} {} x {} [{}]", t.symbol, t.last.price, t.last.size, best.unwrap_or_default())
    };
    let check = |row: &str, expected: &str| check(Ticker::read, show, row, expected);
    let full = r#"{"instId":"BTC-USDT","last":"73355.3","lastSize":"4","askPrice":"73355.5","askSize":"486",
        "bidPrice":"73355.3","bidSize":"7304","high24h":"x","ts":"1710328244013"}"#;
    let good = "BTC-USDT 73355.3 x 4 [73355.3 x 7304 / 73355.5 x 486]";
    check(full, good);
    // Numbers for texts, a time that is a number, an unknown field, a field without use that is missing.
    let numbers = full.replace("\"73355.5\"", "73355.5").replace("\"1710328244013\"", "1710328244013");
    check(&numbers, good);
    check(&full.replace("\"high24h\":\"x\"", "\"new\":[{}]"), good);
    check(&full.replace("\"73355.5\"", "\"\""), "BTC-USDT 73355.3 x 4 []");
    check(&full.replace("\"73355.5\"", "null"), "BTC-USDT 73355.3 x 4 []");
    check(&full.replace("\"73355.5\"", "\"73355.2\""), r#"crossed: bid "73355.3 above the ask 73355.2""#);
    check(&full.replace("\"73355.5\"", "\"0\""), r#"price_not_positive: askPrice "0""#);
    check(&full.replace("\"73355.5\"", "-1"), r#"price_not_positive: askPrice "-1""#);
    check(&full.replace("\"4\"", "\"0\""), r#"size_not_positive: lastSize "0""#);
    check(&full.replace("\"486\"", "\"0.0\""), r#"size_not_positive: askSize "0""#);
    check(&full.replace("\"4\"", "true"), r#"malformed: lastSize "true""#);
    check(&full.replace("\"4\"", "\"NaN\""), r#"malformed: lastSize "NaN""#);
    check(&full.replace("\"4\"", "1e400"), r#"malformed: lastSize "1e400""#);
    check(&full.replace("\"1710328244013\"", "\"soon\""), r#"malformed: ts "soon""#);
    check(&full.replace("\"1710328244013\"", "-5"), r#"time_far_off: ts "-5""#);
    check(&full.replace("BTC-USDT", "btc/usdt"), r#"malformed: instId "btc/usdt""#);
    check(
        &full.replace("\"lastSize\"", "\"last\""),
        &Dropped::new(DropReason::Malformed, "ticker", &full.replace("\"lastSize\"", "\"last\"")).to_string(),
    );
    check("[1]", r#"malformed: ticker "[1]""#);
}

#[test]
fn trades_marks_and_funding() {
    let show = |t: &Trade| {
        let side = t.taker.map_or("?", |side| side.as_str());
        format!("{} {} {} x {} {side} {}", t.symbol, t.id, t.level.price, t.level.size, t.time.as_ms())
    };
    let row = r#"{"tradeId":"3263954569","instId":"LTC-USDT","price":"67.88","size":"3","side":"buy","ts":"1707232231298"}"#;
    let good = "LTC-USDT 3263954569 67.88 x 3 buy 1707232231298";
    let check_trade = |row: &str, expected: &str| check(Trade::read, show, row, expected);
    check_trade(row, good);
    check_trade(&row.replace("\"3263954569\"", "3263954569"), good);
    check_trade(&row.replace("\"buy\"", "null"), &good.replace("buy", "?"));
    check_trade(&row.replace("\"buy\"", "\"hold\""), r#"malformed: side "hold""#);
    check_trade(&row.replace("\"3\"", "\"0\""), r#"size_not_positive: size "0""#);
    check_trade(&row.replace("\"67.88\"", "\"0.000\""), r#"price_not_positive: price "0""#);
    check_trade(&row.replace("\"tradeId\"", "\"id\""), r#"malformed: tradeId "missing""#);
    let show =
        |m: &MarkPrice| format!("{} {} {:?}", m.symbol, m.mark, m.index.map(|index| index.to_string()));
    let row = r#"{"instId":"ETH-USDT","indexPrice":"1620.78","markPrice":"1620.58","ts":"1695262570838"}"#;
    check(MarkPrice::read, show, row, "ETH-USDT 1620.58 Some(\"1620.78\")");
    check(MarkPrice::read, show, &row.replace("\"1620.78\"", "\"\""), "ETH-USDT 1620.58 None");
    check(MarkPrice::read, show, &row.replace("\"1620.58\"", "0"), r#"price_not_positive: markPrice "0""#);
    let show = |f: &FundingRate| format!("{} {} {}", f.symbol, f.rate, f.time.as_ms());
    let row = r#"{"instId":"BTC-USDT","fundingRate":"0.00007873240488719234","fundingTime":"1771430400000"}"#;
    check(FundingRate::read, show, row, "BTC-USDT 0.00007873240488719234 1771430400000");
    let negative = row.replace("\"0.00007873240488719234\"", "-1e-5");
    check(FundingRate::read, show, &negative, "BTC-USDT -0.00001 1771430400000");
    check(
        FundingRate::read,
        show,
        &row.replace("0.0000", "7.0000"),
        r#"malformed: fundingRate "7.00007873240488719234""#,
    );
}

#[test]
fn candles_and_books() {
    let show = |c: &Candle| {
        let volume = c.volume.map_or("-".into(), |volume| volume.to_string());
        format!("{} {} {} {} {} {volume} {}", c.open_time.as_ms(), c.open, c.high, c.low, c.close, c.finished)
    };
    let row = r#"["1699200000000","0.6441","0.647","0.6441","0.6448","24719","2471900","1595715.24","1"]"#;
    let check_candle = |row: &str, expected: &str| check(Candle::read, show, row, expected);
    check_candle(row, "1699200000000 0.6441 0.647 0.6441 0.6448 24719 true");
    let mark = r#"[1753151760000,3781.07,3784.12,3781.07,3783.98,"0"]"#;
    check_candle(mark, "1753151760000 3781.07 3784.12 3781.07 3783.98 - false");
    check_candle(r#"["1696636800000"]"#, r#"malformed: candle "[\"1696636800000\"]""#);
    check_candle(
        &mark.replace("3783.98", "3784.13"),
        &format!("crossed: candle {:?}", mark.replace("3783.98", "3784.13")),
    );
    check_candle(&mark.replace("\"0\"", "\"2\""), r#"malformed: confirm "2""#);
    check_candle(&mark.replace("3784.12", "0"), r#"price_not_positive: high "0""#);
    check_candle(
        &row.replace("24719", "-1"),
        &format!("size_not_positive: volume {:?}", &row.replace("24719", "-1")[..60]),
    );
    let show = |b: &Book| {
        let side = |levels: &[super::market::Level]| {
            let levels: Vec<String> =
                levels.iter().map(|level| format!("{} x {}", level.price, level.size)).collect();
            levels.join(", ")
        };
        format!("{} / {}", side(&b.bids), side(&b.asks))
    };
    let check_book = |row: &str, expected: &str| check(Book::read, show, row, expected);
    let row = r#"{"asks":[[1639.75,392],["1639.95","541"]],"bids":[[1639.7,6817]],"ts":"1696670727520","seqId":"1"}"#;
    check_book(row, "1639.7 x 6817 / 1639.75 x 392, 1639.95 x 541");
    check_book(&row.replace("[[1639.7,6817]]", "[]"), " / 1639.75 x 392, 1639.95 x 541");
    check_book(&row.replace("1639.7,", "1639.8,"), r#"crossed: bid "1639.8 above the ask 1639.75""#);
    check_book(&row.replace("1639.95", "1639.5"), r#"crossed: asks "not sorted by price""#);
    check_book(&row.replace("6817", "0"), r#"size_not_positive: bids "0""#);
    check_book(&row.replace("[1639.7,6817]", "[1639.7]"), r#"malformed: bids "missing""#);
}

#[test]
fn instruments() {
    let show = |l: &Listing| {
        let i = &l.instrument;
        let refusal = l.refusal().unwrap_or_default();
        format!("{} tick {} lot {} min {} {refusal}", l.symbol(), i.tick_size(), i.lot(), i.quantity_min())
    };
    let row = r#"{"instId":"BTC-USDT","contractValue":"0.001","maxLeverage":"150","minSize":"0.1","lotSize":"0.1","tickSize":"0.1",
        "contractType":"linear","expireTime":"2521900800000","state":"live","thresholdX":null}"#;
    let check = |row: &str, expected: &str| check(Listing::read, show, row, expected);
    check(row, "BTC-USDT tick 0.1 lot 0.0001 min 0.0001 ");
    check(&row.replace("\"state\":\"live\",", ""), "BTC-USDT tick 0.1 lot 0.0001 min 0.0001 ");
    let suspended =
        "BTC-USDT tick 0.1 lot 0.0001 min 0.0001 BTC-USDT is \"suspend\" at the venue; it must be \"live\"";
    check(&row.replace("\"live\"", "\"suspend\""), suspended);
    let inverse = "BTC-USDT tick 0.1 lot 0.0001 min 0.0001 BTC-USDT is an inverse contract; only linear ones are available";
    check(&row.replace("\"linear\"", "\"inverse\""), inverse);
    check(&row.replace("\"linear\"", "\"option\""), r#"malformed: contractType "option""#);
    check(&row.replace("\"0.001\"", "\"0\""), r#"size_not_positive: contractValue "0""#);
    check(
        &row.replace("\"0.001\"", "1e-12"),
        r#"malformed: lotSize x contractValue "more than 12 decimals""#,
    );
    let listing = |row: &str| Listing::read(&raw(row)).unwrap();
    let after = listing(&row.replace("\"0.001\"", "\"0.01\"").replace("\"live\"", "\"suspend\""));
    let expected = ["contract value 0.001 became 0.01", "state live became suspend"];
    assert_eq!(changes(&listing(row), &after), expected);
    assert!(changes(&listing(row), &listing(&row.replace("150", "100"))).is_empty());
}

#[test]
fn unknown_pairs_name_the_nearest() {
    let row = r#"{"instId":"NAME","contractValue":"1","minSize":"1","lotSize":"1","tickSize":"1"}"#;
    let names = ["ETH-USDT", "BTC-USD", "BTC-USDC", "SOL-USDT", "BTC-USDT"];
    let listings = names.map(|name| Listing::read(&raw(&row.replace("NAME", name))).unwrap());
    let check = |name: &str, expected: &str| assert_eq!(unknown(symbol(name), &listings), expected);
    check(
        "BTC-UST",
        r#""BTC-UST" is not a pair of the venue; the nearest are "BTC-USD", "BTC-USDT", "BTC-USDC""#,
    );
    assert_eq!(unknown(symbol("A-B"), &[]), "\"A-B\" is not a pair of the venue");
    let ids = ["BTC-USDT", "BTC-USDT.PERP", "BTC-USDT.SPOT"]
        .map(|name| inst_id(symbol(name)).map(|id| id.to_string()));
    assert_eq!(ids, [Some("BTC-USDT".into()), Some("BTC-USDT".into()), None]);
}

#[test]
fn answers() {
    let check = |status: u16, body: &str, expected: &str| {
        let shown = answer::rows(status, body)
            .map_or_else(|fault| fault.to_string(), |rows| format!("{} rows", rows.len()));
        assert_eq!(shown, expected, "{status} {body}");
    };
    check(200, r#"{"code":"0","msg":"success","data":[{},{}]}"#, "2 rows");
    check(200, r#"{"code":0,"msg":"","data":{}}"#, "1 rows");
    check(200, r#"{"code":"200","data":null}"#, "0 rows");
    check(200, r#"{"code":"0"}"#, "0 rows");
    check(
        200,
        r#"{"code":"152002","msg":"Parameter bar error."}"#,
        "refused with code 152002: Parameter bar error.",
    );
    check(200, r#"{"code":"429","msg":"x"}"#, "too many requests (429): x");
    check(429, "slow down", "too many requests (429): ");
    check(403, "<html>", "refused by the venue's firewall (403)");
    let gateway = r#"{"code":500,"data":{},"detailMsg":"","error_code":"500","msg":"Internal Server Error"}"#;
    check(200, gateway, "the venue failed with code 500: Internal Server Error");
    check(502, r#"{"code":"0"}"#, "the venue failed with code 0: ");
    check(502, "<html>bad gateway", "an answer that cannot be read (HTTP 502): <html>bad gateway");
    check(
        200,
        r#"{"code":"0","data":7}"#,
        r#"an answer that cannot be read (HTTP 200): {"code":"0","data":7}"#,
    );
    check(200, "[]", "an answer that cannot be read (HTTP 200): []");
    assert!(!Fault::Refused { code: String::new(), text: String::new() }.is_worth_retrying());
    assert!(Fault::Banned.is_worth_retrying());
}

#[test]
fn frames() {
    let check = |frame: &str, expected: &str| {
        let topic = |(channel, pair): Topic| format!("{} {pair}", channel.name());
        let shown = match stream::read(frame) {
            Ok(Frame::Pong) => "pong".into(),
            Ok(Frame::Subscribed(on)) => format!("subscribed {}", topic(on)),
            Ok(Frame::Unsubscribed(on)) => format!("unsubscribed {}", topic(on)),
            Ok(Frame::Error { code, text }) => format!("error {code} {text}"),
            Ok(Frame::Data { topic: on, rows }) => format!("{} rows of {}", rows.len(), topic(on)),
            Ok(Frame::Other) => "other".into(),
            Err(dropped) => dropped.to_string(),
        };
        assert_eq!(shown, expected, "{frame}");
    };
    check("pong", "pong");
    check(
        r#"{"event":"subscribe","arg":{"channel":"books5","instId":"BTC-USDT"}}"#,
        "subscribed books5 BTC-USDT",
    );
    check(r#"{"event":"unsubscribe","arg":{"channel":"trades","instId":"A-B"}}"#, "unsubscribed trades A-B");
    check(
        r#"{"event":"error","code":60012,"msg":"Invalid request: {\"op\": 1}"}"#,
        r#"error 60012 Invalid request: {"op": 1}"#,
    );
    check(
        r#"{"arg":{"channel":"trades","instId":"A-B"},"action":"snapshot","data":[{},{}]}"#,
        "2 rows of trades A-B",
    );
    check(r#"{"arg":{"channel":"books5","instId":"A-B"},"data":{}}"#, "1 rows of books5 A-B");
    check(
        r#"{"arg":{"channel":"mark-price-candle1m","instId":"A-B"},"data":[]}"#,
        "0 rows of mark-price-candle1m A-B",
    );
    check(r#"{"arg":{"channel":"index-candle1m","instId":"A-B"},"data":[]}"#, "other");
    check(r#"{"event":"login","code":"0","msg":""}"#, "other");
    check(r#"{"arg":{"channel":"trades"},"data":[]}"#, r#"malformed: instId "missing""#);
    check(r#"{"arg":{"channel":"trades","instId":"A-B"},"data":"x"}"#, r#"malformed: data "\"x\"""#);
    check("pong ", r#"malformed: frame "pong ""#);
    check("", r#"malformed: frame """#);
    check("[[[[", r#"malformed: frame "[[[[""#);
}

#[test]
fn requests() {
    let btc = symbol("BTC-USDT");
    assert_eq!(request::trades(btc, 500), "/api/v1/market/trades?instId=BTC-USDT&limit=100");
    assert_eq!(request::book(btc, 50), "/api/v1/market/books?instId=BTC-USDT&size=50");
    let candles = request::candles(btc, Bar::D1, Some(5), 5);
    assert_eq!(candles, "/api/v1/market/candles?instId=BTC-USDT&bar=1D&after=5&limit=5");
    let frames = request::subscribe(&[(Channel::Books5, btc), (Channel::Candle(Bar::M1), btc)]);
    let expected = r#"{"op":"subscribe","args":[{"channel":"books5","instId":"BTC-USDT"},{"channel":"candle1m","instId":"BTC-USDT"}]}"#;
    assert_eq!(frames, [expected]);
    assert!(request::unsubscribe(&[]).is_empty());
    // The most symbols that a feed may have, three channels each: every frame fits, and none is lost.
    let pairs = (0..200).map(|n| symbol(&format!("LONGNAME{n}-USDT")));
    let channels = [Channel::Trades, Channel::Books5, Channel::MarkCandle(Bar::M1)];
    let topics: Vec<Topic> = pairs.flat_map(|pair| channels.map(|channel| (channel, pair))).collect();
    let frames = request::subscribe(&topics);
    assert!(frames.iter().all(|frame| frame.len() <= SUBSCRIBE_BYTES_MAX));
    assert_eq!(frames.iter().map(|frame| frame.matches("instId").count()).sum::<usize>(), topics.len());
    assert!(frames.iter().all(|frame| serde_json::from_str::<serde_json::Value>(frame).is_ok()));
    for channel in channels
        .into_iter()
        .chain(Bar::ALL.map(Channel::Candle))
        .chain([Channel::Tickers, Channel::FundingRate])
    {
        assert_eq!(Channel::parse(&channel.name()), Some(channel));
    }
}
