//! Readers of BloFin's market data: rows, frames and answers.

use serde_json::value::RawValue;
use tradebus::model::amount::AMOUNT_MAX;
use tradebus::model::ids::Symbol;
use tradebus::model::market::PriceUpdate;
use tradebus::model::time::Timestamp;
use tradebus::venue::blofin::instrument::Listing;
use tradebus::venue::blofin::market::{Book, Candle, FundingRate, MarkPrice, Ticker, Trade};
use tradebus::venue::blofin::stream::{self, Frame};
use tradebus::venue::blofin::translate::Translator;
use tradebus::venue::blofin::{Dropped, answer};

use crate::support::fuzz::Target;

const NOW_MS: i64 = 1_710_328_245_000;
/// The pair that the translator knows.
const LISTING: &str = r#"{"instId":"BTC-USDT","contractValue":"0.001","maxLeverage":"150","minSize":"0.1","lotSize":"0.1","tickSize":"0.1","contractType":"linear","state":"live"}"#;
const DROPPED_BYTES_MAX: usize = 400;

pub fn targets() -> Vec<Target> {
    let target = |name, read: fn(&str) -> String| Target {
        name,
        cost: 1,
        read: Box::new(move |input| read(&String::from_utf8_lossy(input))),
    };
    vec![
        target("blofin_row", read_row),
        target("blofin_frame", read_frame),
        target("blofin_answer", read_answer),
    ]
}

fn word(dropped: &Dropped) -> String {
    let text = dropped.to_string();
    assert!(text.len() < DROPPED_BYTES_MAX, "{text}");
    text
}

/// Every reader of rows.
fn read_row(text: &str) -> String {
    let Ok(row) = RawValue::from_string(text.to_owned()) else { return "no JSON".into() };
    let good = |read: Result<(), Dropped>| read.map_or_else(|dropped| word(&dropped), |()| "good".into());
    if let Ok(listing) = Listing::read(&row) {
        assert!(listing.instrument.lot().is_positive() && listing.instrument.tick_size().is_positive());
    }
    let best = |book: &Book| book.best().map(drop);
    [
        good(Ticker::read(&row).map(drop)),
        good(Trade::read(&row).map(drop)),
        good(MarkPrice::read(&row).map(drop)),
        good(FundingRate::read(&row).map(drop)),
        good(Candle::read(&row).map(drop)),
        good(Book::read(&row).and_then(|book| best(&book))),
        good(Listing::read(&row).map(drop)),
    ]
    // Of each the first word, so that the outcome tells which of them it is for.
    .map(|words| words.chars().take(8).collect::<String>())
    .concat()
}

fn read_frame(text: &str) -> String {
    match stream::read(text) {
        Ok(Frame::Data { topic, rows }) => {
            let (mut translator, mut out) = (translator(), Vec::new());
            translator.rows(now(), topic, &rows, &mut out);
            translator.rows(now(), topic, &rows, &mut out);
            let count = out.len();
            out.into_iter().for_each(|(_, _, update)| assert_good(update));
            format!("{} {} {}", topic.0.name(), count > 0, translator.take_last_fault().unwrap_or_default())
        }
        Ok(_) => "no data".into(),
        Err(dropped) => word(&dropped),
    }
}

/// Answers of REST, with the status that fits.
fn read_answer(text: &str) -> String {
    let (status, body) = text.split_once('\n').unwrap_or(("200", text));
    let rows = match answer::rows(status.parse().unwrap_or(200), body) {
        Ok(rows) => rows,
        Err(fault) => return format!("{fault:?}"),
    };
    let (mut translator, mut out) = (translator(), Vec::new());
    translator.tickers(now(), &rows, &mut out);
    translator.trades(now(), &rows, &mut out);
    translator.mark_prices(now(), &rows, &mut out);
    let count = out.len();
    out.into_iter().for_each(|(symbol, _, update)| {
        assert_eq!(symbol, Symbol::new("BTC-USDT").expect("a symbol"));
        assert_good(update);
    });
    format!("{} {}", count > 0, translator.take_last_fault().unwrap_or_default())
}

fn now() -> Timestamp {
    Timestamp::from_ms(NOW_MS)
}

/// A translator that knows one pair.
fn translator() -> Translator {
    let mut translator = Translator::default();
    let row = RawValue::from_string(LISTING.to_owned()).expect("JSON");
    let listing = Listing::read(&row).expect("a listing");
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
