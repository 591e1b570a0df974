//! BloFin's public market data against real and documented payloads, where they are present, and against anything.

mod bad_input;
mod documented;
mod faults;
mod feed;
mod private;
mod record;
mod running;
mod streams;
mod tls;

use std::path::{Path, PathBuf};

use serde_json::Value;
use serde_json::value::RawValue;
use tradebus::model::instrument::Instrument;
use tradebus::venue::blofin::instrument::{ContractKind, Listing, State};
use tradebus::venue::blofin::market::{Book, Candle, FundingRate, Level, MarkPrice, Ticker, Trade};
use tradebus::venue::blofin::request::{self, Bar, Channel};
use tradebus::venue::blofin::stream::{self, Frame};
use tradebus::venue::blofin::{Dropped, answer};

/// The folder of payloads, if it is there.
fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures/blofin");
    if !folder.is_dir() {
        println!("skipped: ../shared/fixtures/blofin is absent");
        return None;
    }
    Some(folder)
}

fn json(folder: &Path, name: &str) -> Value {
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// The documented payload of a section, by its caption.
fn documented(folder: &Path, section: &str, caption: &str) -> String {
    let all = json(folder, "official_docs_examples.json");
    let found = all.as_array().unwrap().iter().find(|e| e["section"] == section && e["caption"] == caption);
    found.unwrap_or_else(|| panic!("{section}, {caption}"))["json"].to_string()
}

/// What the venue answered to a call that ccxt recorded.
fn recorded(folder: &Path, call: &str) -> String {
    let all = json(folder, "ccxt_static_response_blofin.json");
    let found = all.as_array().unwrap().iter().find(|e| e["call"] == call);
    found.unwrap_or_else(|| panic!("{call}"))["httpResponse"].to_string()
}

fn rest(folder: &Path, name: &str) -> String {
    json(folder, &format!("jkorf/rest/Futures/ExchangeData/{name}.json"))["response"].to_string()
}

/// The frames that the server sends in a recorded session.
fn pushed(folder: &Path, name: &str) -> Vec<String> {
    let frames = json(folder, &format!("jkorf/ws/Futures/{name}.json"));
    let server = frames.as_array().unwrap().iter().filter(|frame| frame["dir"] != "client_send");
    server.map(|frame| frame["frame"].to_string()).collect()
}

/// Reads the rows of an answer and shows each.
fn rows<T>(body: &str, read: fn(&RawValue) -> Result<T, Dropped>, show: fn(&T) -> String) -> Vec<String> {
    let rows = answer::rows(200, body).unwrap_or_else(|fault| panic!("{fault}: {body}"));
    let shown = |row: &&RawValue| read(row).map_or_else(|dropped| dropped.to_string(), |row| show(&row));
    rows.iter().map(shown).collect()
}

/// Reads the only row of a pushed frame and shows it with its topic.
fn push<T>(frame: &str, read: fn(&RawValue) -> Result<T, Dropped>, show: fn(&T) -> String) -> String {
    let Ok(Frame::Data { topic: (channel, pair), rows }) = stream::read(frame) else { panic!("{frame}") };
    let [row] = rows.as_slice() else { panic!("{frame}") };
    let shown = read(row).map_or_else(|dropped| dropped.to_string(), |row| show(&row));
    format!("{} {pair}: {shown}", channel.name())
}

fn level(level: &Level) -> String {
    format!("{} x {}", level.price, level.size)
}

fn ticker(t: &Ticker) -> String {
    let best = t.best.map_or("-".into(), |best| format!("{} / {}", level(&best.bid), level(&best.ask)));
    format!("{} {} [{best}] {}", t.symbol, level(&t.last), t.time.as_ms())
}

fn trade(t: &Trade) -> String {
    let side = t.taker.map_or("?", |side| side.as_str());
    format!("{} {} {} {side} {}", t.symbol, t.id, level(&t.level), t.time.as_ms())
}

fn mark(m: &MarkPrice) -> String {
    let index = m.index.map_or("-".into(), |index| index.to_string());
    format!("{} {} index {index} {}", m.symbol, m.mark, m.time.as_ms())
}

fn funding(f: &FundingRate) -> String {
    format!("{} {} {}", f.symbol, f.rate, f.time.as_ms())
}

fn candle(c: &Candle) -> String {
    let volume = c.volume.map_or("-".into(), |volume| volume.to_string());
    format!("{} {} {} {} {} {volume} {}", c.open_time.as_ms(), c.open, c.high, c.low, c.close, c.finished)
}

fn book(b: &Book) -> String {
    let side = |levels: &[Level]| levels.iter().map(level).collect::<Vec<_>>().join(", ");
    format!("{} / {} {}", side(&b.bids), side(&b.asks), b.time.as_ms())
}

fn listing(l: &Listing) -> String {
    let i: &Instrument = &l.instrument;
    let figures = [i.lot_size(), i.size_min(), i.contract_value()].map(|figure| figure.to_string()).join(" ");
    format!("{} {} {figures} {:?} {:?} {:?}", l.symbol(), i.tick_size(), l.kind, l.state, l.leverage_max)
}

#[test]
fn documented_answers_have_the_documented_values() {
    let Some(folder) = folder() else { return };
    const RESPONSE: &str = "Response Example";
    let doc = |section: &str| documented(&folder, section, RESPONSE);
    let same = |bodies: [String; 2], read, show: fn(&Ticker) -> String, expected: &str| {
        bodies.iter().for_each(|body| assert_eq!(rows(body, read, show), [expected], "{body}"));
    };
    let expected = "BTC-USDT 27187 x 1 [27187 x 2 / 27187.5 x 20] 1695261862487";
    same([doc("GET Tickers"), rest(&folder, "GetTickers")], Ticker::read, ticker, expected);
    for body in [doc("GET Instruments"), rest(&folder, "GetSymbols")] {
        assert_eq!(rows(&body, Listing::read, listing), ["BTC-USDT 0.5 0.1 0.1 0.001 Linear Live Some(125)"]);
    }
    let levels = "1619.99 x 49, 1619.98 x 1905, 1619.97 x 397 / 1620 x 72, 1620.01 x 317, 1620.03 x 56";
    for body in [doc("GET Order Book"), rest(&folder, "GetOrderBook")] {
        assert_eq!(rows(&body, Book::read, book), [format!("{levels} 1695262080136")]);
    }
    for body in [doc("GET Trades"), rest(&folder, "GetRecentTrades")] {
        assert_eq!(rows(&body, Trade::read, trade), ["ETH-USDT 124892894 1620.11 x 34 sell 1695262343171"]);
    }
    for body in [doc("GET Mark Price"), rest(&folder, "GetIndexMarkPrice")] {
        assert_eq!(rows(&body, MarkPrice::read, mark), ["ETH-USDT 1620.58 index 1620.78 1695262570838"]);
    }
    for (body, rate) in [
        (doc("GET Funding Rate"), "0.000332"),
        (doc("GET Funding Rate History"), "0.000335"),
        (rest(&folder, "GetFundingRate"), "0.000330372404346635"),
        (rest(&folder, "GetFundingRateHistory"), "0.000330372404346635"),
    ] {
        assert_eq!(rows(&body, FundingRate::read, funding), [format!("BTC-USDT {rate} 1703462400000")]);
    }
    let bar = "1703484240000 2283.45 2283.45 2282.8 2282.8";
    for (body, volume) in [
        (doc("GET Candlesticks"), "835"),
        (rest(&folder, "GetKlines"), "835"),
        (doc("GET Index Candlesticks"), "-"),
        (doc("GET Mark Price Candlesticks"), "-"),
    ] {
        assert_eq!(rows(&body, Candle::read, candle), [format!("{bar} {volume} true")]);
    }
}

#[test]
fn recorded_answers_have_the_recorded_values() {
    let Some(folder) = folder() else { return };
    let body = recorded(&folder, "GET market/tickers");
    let expected = "BTC-USDT 73355.3 x 4 [73355.3 x 7304 / 73355.5 x 486] 1710328244013";
    assert_eq!(rows(&body, Ticker::read, ticker), [expected]);
    let body = recorded(&folder, "GET market/books?size=1");
    assert_eq!(rows(&body, Book::read, book), ["42973 x 616 / 42973.1 x 1274 1707231904444"]);
    let body = recorded(&folder, "GET market/trades");
    assert_eq!(rows(&body, Trade::read, trade), ["LTC-USDT 3263954569 67.88 x 3 buy 1707232231298"]);
    let body = recorded(&folder, "GET market/candles?bar=1D");
    let expected = "1707177600000 42694.4 43136.8 42558.2 42981.1 13302089 false";
    assert_eq!(rows(&body, Candle::read, candle), [expected]);
    let body = recorded(&folder, "any GET (bad parameter; from ccxt comments)");
    let refused = answer::rows(200, &body);
    assert_eq!(refused.unwrap_err().to_string(), "refused with code 152002: Parameter bar error.");
    let body = recorded(&folder, "any (server error; from ccxt comments)");
    let failed = answer::rows(200, &body);
    assert_eq!(failed.unwrap_err().to_string(), "the venue failed with code 500: Internal Server Error");
    let frame = recorded(&folder, "WS funding-rate push (ccxt pro comment, 2026-02)");
    let expected = "funding-rate BTC-USDT: BTC-USDT 0.00007873240488719234 1771430400000";
    assert_eq!(push(&frame, FundingRate::read, funding), expected);
}

#[test]
fn recorded_instruments_and_bars_are_all_good() {
    let Some(folder) = folder() else { return };
    let body = json(&folder, "recorded/market_instruments_prod_2025-02.json").to_string();
    let read = |body: &str| -> Vec<Listing> {
        let rows = answer::rows(200, body).unwrap();
        rows.iter().map(|row| Listing::read(row).unwrap_or_else(|dropped| panic!("{dropped}"))).collect()
    };
    // The price step of one of the 439 has 13 decimals, and amounts keep 12: that pair cannot be had.
    let finest = r#"malformed: tickSize "0.0000000000001""#;
    let all = rows(&body, Listing::read, listing);
    assert_eq!(all.iter().filter(|row| *row == finest).count(), 1);
    let listings = read(&body.replace("0.0000000000001", "0.000000000001"));
    assert_eq!(listings.len(), 439);
    assert!(listings.iter().all(|listing| listing.refusal().is_none()));
    assert_eq!(listing(&listings[0]), "BTC-USDT 0.1 0.1 0.1 0.001 Linear Live Some(150)");
    assert!(listings.iter().all(|listing| listing.kind == ContractKind::Linear));
    assert!(listings.iter().all(|listing| listing.state == State::Live));
    let markets = json(&folder, "ccxt_static_markets_info_blofin.json");
    let listings = read(&format!("{{\"code\":\"0\",\"data\":{markets}}}"));
    let shown: Vec<String> = listings.iter().map(listing).collect();
    let expected = [
        "LTC-USDT 0.01 0.01 0.01 1 Linear Live Some(50)",
        "BTC-USDT 0.1 1 1 0.001 Linear Live Some(150)",
        "ADA-USDT 0.0001 1 1 100 Linear Live Some(50)",
        "ETH-USDT 0.01 0.1 0.1 0.01 Linear Live Some(150)",
    ];
    assert_eq!(shown, expected);
    for (name, count) in [("2023-11", 5), ("2025-12_first200", 200)] {
        let body = json(&folder, &format!("recorded/market_candles_XRP-USDT_15m_{name}.json")).to_string();
        let rows = answer::rows(200, &body).unwrap();
        let bars: Vec<Candle> = rows.iter().map(|row| Candle::read(row).unwrap()).collect();
        assert_eq!(bars.len(), count, "{name}");
        let gap = |pair: &[Candle]| pair[0].open_time.since_ms(pair[1].open_time);
        assert!(bars.windows(2).all(|pair| gap(pair) >= Bar::M15.length_ms()), "{name}: newest first");
    }
}

#[test]
fn documented_frames_have_the_documented_values() {
    let Some(folder) = folder() else { return };
    let doc = |section: &str, caption: &str| documented(&folder, section, caption);
    let data = |name: &str| pushed(&folder, name).pop().unwrap();
    let example = "Push Data Example";
    for frame in [doc("WS Trades Channel", example), data("Trades")] {
        let expected = "trades ETH-USDT: ETH-USDT 106074994 1640.4 x 1 sell 1696646190511";
        assert_eq!(push(&frame, Trade::read, trade), expected);
    }
    let expected = "BTC-USDT 9999.99 x 0.1 [8888.88 x 5 / 9999.99 x 11] 1597026383085";
    for (frame, pair) in [(doc("WS Tickers Channel", example), "BTC"), (data("Ticker"), "ETH")] {
        assert_eq!(push(&frame, Ticker::read, ticker), format!("tickers {pair}-USDT: {expected}"));
    }
    let expected = "1696636800000 27491.5 27495 27483 27489.5 95359 false";
    for (frame, pair) in [(doc("WS Candlesticks Channel", example), "BTC"), (data("Klines"), "ETH")] {
        assert_eq!(push(&frame, Candle::read, candle), format!("candle1D {pair}-USDT: {expected}"));
    }
    let expected = "1753151760000 3781.07 3784.12 3781.07 3783.98 - false";
    for (frame, pair) in
        [(doc("WS Mark price candlesticks Channel", example), "BTC"), (data("MarkKlines"), "ETH")]
    {
        assert_eq!(
            push(&frame, Candle::read, candle),
            format!("mark-price-candle1D {pair}-USDT: {expected}")
        );
    }
    let levels = "1639.7 x 6817, 1639.65 x 4744 / 1639.75 x 392, 1639.95 x 541 1696670727520";
    assert_eq!(push(&data("OrderBook"), Book::read, book), format!("books5 ETH-USDT: {levels}"));
    for (frame, pair) in [(doc("WS Funding Rate Channel", example), "BTC"), (data("FundingRate"), "ETH")] {
        let expected = format!("funding-rate {pair}-USDT: BTC-USDT 0.0001875391284828 1700726400000");
        assert_eq!(push(&frame, FundingRate::read, funding), expected);
    }
    // One column of nine: no bar, and no crash.
    let cut = pushed(&folder, "Concurrent").into_iter().filter(|frame| frame.contains("data"));
    for frame in cut {
        assert!(push(&frame, Candle::read, candle).contains("malformed: candle"), "{frame}");
    }
    let failed = doc("WebSocket Authentication", "Failure Response Example");
    assert!(matches!(stream::read(&failed), Ok(Frame::Error { code, .. }) if code == "60009"));
    let refused = doc("WS Trades Channel", "Failure Response Example");
    assert!(matches!(stream::read(&refused), Ok(Frame::Error { code, text })
        if code == "60012" && text.starts_with("Invalid request: ")));
    let subscribed = doc("Subscribe", "Response Example");
    assert!(matches!(stream::read(&subscribed), Ok(Frame::Subscribed((Channel::Books5, _)))));
    let unsubscribed = doc("Unsubscribe", "Response Example");
    assert!(matches!(stream::read(&unsubscribed), Ok(Frame::Unsubscribed((Channel::Books5, _)))));
}

#[test]
fn requests_are_the_documented_ones() {
    let Some(folder) = folder() else { return };
    let pair = |name: &str| tradebus::model::ids::Symbol::new(name).unwrap();
    let btc = pair("BTC-USDT");
    let topics = [(Channel::Books5, btc), (Channel::Candle(Bar::M1), btc)];
    for (section, frames) in
        [("Subscribe", request::subscribe(&topics)), ("Unsubscribe", request::unsubscribe(&topics))]
    {
        let [frame] = frames.as_slice() else { panic!("{frames:?}") };
        let documented = documented(&folder, section, "Request Example");
        assert_eq!(
            serde_json::from_str::<Value>(frame).unwrap(),
            serde_json::from_str::<Value>(&documented).unwrap()
        );
    }
    let all = json(&folder, "ccxt_static_request_blofin.json");
    let urls: Vec<&str> = all.as_array().unwrap().iter().filter_map(|e| e["url"].as_str()).collect();
    let known = [
        request::trades(btc, 5),
        request::book(btc, 50),
        request::candles(btc, Bar::D1, None, 5),
        request::TICKERS.to_owned(),
    ];
    for path in known {
        let url = format!("{}{path}", request::REST_URL);
        assert!(urls.contains(&url.as_str()), "{url}");
    }
}

#[test]
fn every_answer_and_frame_is_understood() {
    let Some(folder) = folder() else { return };
    let mut seen = 0;
    for kind in ["rest", "ws"] {
        let mut folders = vec![folder.join("jkorf").join(kind)];
        while let Some(path) = folders.pop() {
            if path.is_dir() {
                folders.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let payload: Value = serde_json::from_str(&text).unwrap();
            if kind == "rest" {
                let body = payload["response"].to_string();
                assert!(answer::rows(200, &body).is_ok(), "{}", path.display());
            } else {
                let server = payload.as_array().unwrap().iter().filter(|frame| frame["dir"] != "client_send");
                server
                    .for_each(|frame| assert!(stream::read(&frame["frame"].to_string()).is_ok(), "{frame}"));
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 56);
}
