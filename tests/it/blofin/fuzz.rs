//! Anything may come: no parser panics, and what passes is within the limits. `scripts/fuzz` runs ten million cases.

use proptest::prelude::*;
use serde_json::value::RawValue;
use tradebus::model::amount::AMOUNT_MAX;
use tradebus::model::ids::Symbol;
use tradebus::model::market::PriceUpdate;
use tradebus::model::time::Timestamp;
use tradebus::venue::blofin::instrument::Listing;
use tradebus::venue::blofin::market::{Book, Candle, FundingRate, MarkPrice, Ticker, Trade};
use tradebus::venue::blofin::request::{Bar, Channel};
use tradebus::venue::blofin::stream::{self, Frame};
use tradebus::venue::blofin::translate::Translator;
use tradebus::venue::blofin::{Dropped, answer};

const NOW_MS: i64 = 1_710_328_245_000;

/// Rows in the documented shapes, which the cases are made of.
const ROWS: [&str; 9] = [
    r#"{"instId":"BTC-USDT","last":"73355.3","lastSize":"4","askPrice":"73355.5","askSize":"486","bidPrice":"73355.3","bidSize":"7304","ts":"1710328244013"}"#,
    r#"{"tradeId":"3263954569","instId":"BTC-USDT","price":"67.88","size":"3","side":"buy","ts":"1710328244013"}"#,
    r#"{"instId":"BTC-USDT","indexPrice":"1620.78","markPrice":"1620.58","ts":"1710328244013"}"#,
    r#"{"instId":"BTC-USDT","fundingRate":"0.00007873240488719234","fundingTime":"1771430400000"}"#,
    r#"["1710328200000","0.6441","0.647","0.6441","0.6448","24719","2471900","1595715.24","1"]"#,
    r#"["1710328200000","3781.07","3784.12","3781.07","3783.98","0"]"#,
    r#"{"asks":[[1639.75,392],[1639.95,541]],"bids":[[1639.7,6817],[1639.65,4744]],"ts":"1710328244013","seqId":"1"}"#,
    r#"{"instId":"BTC-USDT","contractValue":"0.001","maxLeverage":"150","minSize":"0.1","lotSize":"0.1","tickSize":"0.1","contractType":"linear","state":"live"}"#,
    r#"{"code":"0","msg":"success","data":[{},[]]}"#,
];

/// Pieces that are put in.
const PIECES: [&str; 24] = [
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "true",
    "-",
    "0",
    "1e999",
    "-1",
    "1e-28",
    "NaN",
    "\\u0000",
    "\\ud800",
    "99999999999999999999999999999",
    "0.0000000000000000000000000001",
    "9223372036854775807",
    "\"\"",
    "é",
    "{{",
    "\u{0}",
];

/// One change of a text: cut a range out, repeat it, or put a piece in its place.
#[derive(Clone, Debug)]
enum Change {
    Cut(usize, usize),
    Repeat(usize, usize),
    Put(usize, usize, usize),
}

impl Change {
    fn apply(&self, text: &mut String) {
        let (Change::Cut(at, length) | Change::Repeat(at, length) | Change::Put(at, length, _)) = *self;
        let boundary = |index: usize| (index..).find(|index| text.is_char_boundary(*index)).unwrap_or(0);
        let start = boundary(at % (text.len() + 1));
        let end = boundary((start + length).min(text.len()));
        let range: String = text[start..end].to_owned();
        match self {
            Change::Cut(..) => text.replace_range(start..end, ""),
            Change::Repeat(..) => text.insert_str(end, &range),
            Change::Put(_, _, piece) => text.replace_range(start..end, PIECES[piece % PIECES.len()]),
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let place = || (0..400_usize, 0..30_usize);
    prop_oneof![
        place().prop_map(|(at, length)| Change::Cut(at, length)),
        place().prop_map(|(at, length)| Change::Repeat(at, length)),
        (0..400_usize, 0..12_usize, 0..PIECES.len())
            .prop_map(|(at, length, piece)| Change::Put(at, length, piece)),
    ]
}

/// A changed row, or any text at all.
fn text() -> impl Strategy<Value = String> {
    let row = (0..ROWS.len(), prop::collection::vec(change(), 0..6)).prop_map(|(row, changes)| {
        let mut text = ROWS[row].to_owned();
        changes.iter().for_each(|change| change.apply(&mut text));
        text
    });
    prop_oneof![9 => row, 1 => any::<String>()]
}

fn now() -> Timestamp {
    Timestamp::from_ms(NOW_MS)
}

/// A translator that knows one pair.
fn translator() -> Translator {
    let mut translator = Translator::default();
    let row = RawValue::from_string(ROWS[7].to_owned()).unwrap();
    let listing = Listing::read(&row).unwrap();
    translator.list(listing.symbol(), &listing);
    translator
}

/// What passes must be what the engine may see.
fn assert_good(update: PriceUpdate) {
    let price = |price: tradebus::model::amount::Price| {
        assert!(price.is_positive() && price.value() <= AMOUNT_MAX.into() && price.value().scale() <= 12);
    };
    let quantity = |quantity: tradebus::model::amount::Quantity| {
        assert!(
            quantity.is_positive() && quantity.value() <= AMOUNT_MAX.into() && quantity.value().scale() <= 12
        );
    };
    match update {
        PriceUpdate::Trade { price: at, quantity: size, .. } => {
            price(at);
            quantity(size);
        }
        PriceUpdate::Quote { bid, bid_quantity, ask, ask_quantity } => {
            [bid, ask].into_iter().for_each(price);
            [bid_quantity, ask_quantity].into_iter().for_each(quantity);
            assert!(bid <= ask);
        }
        PriceUpdate::Mark { price: at } | PriceUpdate::Candle { close: at } => price(at),
        PriceUpdate::Confirmed | PriceUpdate::Instrument { .. } => {}
    }
}

/// Lets every reader of rows read a text, when it is JSON.
fn read_row(text: &str) {
    let Ok(row) = RawValue::from_string(text.to_owned()) else { return };
    let words = |dropped: Dropped| assert!(dropped.to_string().len() < 400);
    let _ = Ticker::read(&row).map(drop).map_err(words);
    let _ = Trade::read(&row).map(drop).map_err(words);
    let _ = MarkPrice::read(&row).map(drop).map_err(words);
    let _ = FundingRate::read(&row).map(drop).map_err(words);
    let _ = Candle::read(&row).map(drop).map_err(words);
    let _ = Book::read(&row).map(drop).map_err(words);
    if let Ok(listing) = Listing::read(&row) {
        assert!(listing.instrument.lot().is_positive() && listing.instrument.tick_size().is_positive());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_never_panic(text in text()) {
        read_row(&text);
    }

    #[test]
    fn answers_never_panic(text in text(), status in 100..600_u16) {
        let _ = answer::rows(status, &text);
        let _ = answer::rows(status, &format!("{{\"code\":\"0\",\"data\":[{text}]}}"));
    }

    #[test]
    fn frames_never_panic(text in text(), channel in 0..6_usize) {
        let _ = stream::read(&text);
        let bar = Channel::Candle(Bar::M1);
        let mark = Channel::MarkCandle(Bar::M1);
        let channels = [Channel::Trades, Channel::Tickers, Channel::Books5, bar, mark, Channel::FundingRate];
        let name = channels[channel].name();
        let frame = format!(r#"{{"arg":{{"channel":"{name}","instId":"BTC-USDT"}},"data":[{text},{}]}}"#, ROWS[1]);
        if let Ok(Frame::Data { topic, rows }) = stream::read(&frame) {
            let (mut translator, mut out) = (translator(), Vec::new());
            translator.rows(now(), topic, &rows, &mut out);
            translator.rows(now(), topic, &rows, &mut out);
            out.into_iter().for_each(|(_, _, update)| assert_good(update));
        }
    }

    #[test]
    fn snapshots_never_panic(texts in prop::collection::vec(text(), 0..4)) {
        let body = format!("{{\"code\":\"0\",\"data\":[{}]}}", texts.join(","));
        let Ok(rows) = answer::rows(200, &body) else { return Ok(()) };
        let (mut translator, mut out) = (translator(), Vec::new());
        translator.tickers(now(), &rows, &mut out);
        translator.trades(now(), &rows, &mut out);
        translator.mark_prices(now(), &rows, &mut out);
        out.into_iter().for_each(|(symbol, _, update)| {
            assert_eq!(symbol, Symbol::new("BTC-USDT").unwrap());
            assert_good(update);
        });
    }
}
