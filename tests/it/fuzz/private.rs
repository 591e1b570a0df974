//! Readers of what BloFin says about accounts: rows, frames and answers. These bytes decide about money that is real.

use rust_decimal::Decimal;
use serde_json::value::RawValue;
use tradebus::model::amount::{AMOUNT_MAX, Price, Quantity, parse_decimal};
use tradebus::model::ids::Symbol;
use tradebus::model::instrument::Instrument;
use tradebus::model::trading::VenueReport;
use tradebus::venue::blofin::Dropped;
use tradebus::venue::blofin::private::answer::{self, Outcome};
use tradebus::venue::blofin::private::stream::{self, Frame};
use tradebus::venue::blofin::private::{Instruments, account, row};

use crate::support::fuzz::Target;

const DROPPED_BYTES_MAX: usize = 400;
/// Of the venue's words, in characters.
const WORDS_MAX: usize = 200;

pub fn targets() -> Vec<Target> {
    let target = |name, read: fn(&str, &Instruments) -> String| {
        let instruments = instruments();
        let read = move |input: &[u8]| read(&String::from_utf8_lossy(input), &instruments);
        Target { name, cost: 1, read: Box::new(read) }
    };
    vec![
        target("private_row", read_row),
        target("private_frame", read_frame),
        target("private_answer", |text, _| read_answer(text)),
    ]
}

fn instruments() -> Instruments {
    let number = |text| Quantity::new(parse_decimal(text).expect("a number"));
    let tick = Price::new(parse_decimal("0.1").expect("a number"));
    let symbol = Symbol::new("BTC-USDT").expect("a symbol");
    let (lot, contract) = (number("0.1"), number("0.001"));
    [(symbol, Instrument::new(symbol, tick, lot, lot, contract).expect("an instrument"))].into()
}

fn good(value: Decimal) {
    assert!(value.abs() <= AMOUNT_MAX.into() && value.scale() <= 12, "{value}");
}

fn word(dropped: &Dropped) -> String {
    let text = dropped.to_string();
    assert!(text.len() < DROPPED_BYTES_MAX, "{text}");
    text
}

/// What passes is within the limits, and a size or a price that must be positive is.
fn told(report: &VenueReport) -> &'static str {
    match report {
        VenueReport::Order(order) => {
            [order.quantity, order.filled_quantity].iter().for_each(|size| {
                good(size.value());
                assert!(!size.value().is_sign_negative() || size.value().is_zero());
            });
            order.average_price.iter().for_each(|price| good(price.value()));
            assert!(order.average_price.is_none_or(|price| price.is_positive()));
            order.fee.iter().for_each(|fee| good(fee.value()));
            "order"
        }
        VenueReport::Stop(stop) => {
            let prices = [stop.stop_loss, stop.take_profit];
            prices.iter().flatten().for_each(|price| good(price.value()));
            stop.quantity.iter().for_each(|size| good(size.value()));
            "stop"
        }
        VenueReport::Position(position) => {
            good(position.quantity.value());
            let prices = [position.entry_price, position.liquidation_price];
            assert!(prices.iter().flatten().all(|price| price.is_positive()));
            prices.iter().flatten().for_each(|price| good(price.value()));
            "position"
        }
        VenueReport::Balance(balance) => {
            [balance.balance, balance.equity, balance.available].iter().for_each(|money| good(money.value()));
            "balance"
        }
        _ => "other",
    }
}

/// Every reader of rows.
fn read_row(text: &str, instruments: &Instruments) -> String {
    let Ok(raw) = RawValue::from_string(text.to_owned()) else { return "no JSON".into() };
    let of = |read: Result<VenueReport, Dropped>| {
        read.map_or_else(|dropped| word(&dropped), |report| told(&report).to_owned())
    };
    let fill = row::fill(&raw, instruments).map(|fill| {
        assert!(fill.price.is_positive() && fill.quantity.is_positive());
        [fill.price.value(), fill.quantity.value(), fill.fee.value()].into_iter().for_each(good);
    });
    let funding = account::funding(&raw).map(|payment| good(payment.amount.value()));
    let plain = |read: Result<(), Dropped>| read.map_or_else(|dropped| word(&dropped), |()| "good".into());
    [
        of(row::order(&raw, instruments).map(|order| VenueReport::Order(Box::new(order)))),
        of(row::stop(&raw, instruments).map(|stop| VenueReport::Stop(Box::new(stop)))),
        of(account::position(&raw, instruments).map(|position| VenueReport::Position(Box::new(position)))),
        of(account::balance(&raw, "USDT").map(VenueReport::Balance)),
        plain(fill),
        plain(funding),
        plain(account::key_info(&raw).map(drop)),
        plain(account::position_mode(&raw).map(drop)),
        plain(account::leverage(&raw).map(drop)),
        plain(row::page_id(&raw, "orderId").map(drop)),
    ]
    // Of each the first letters, so that the outcome tells which of them it is for.
    .map(|words| words.chars().take(4).collect::<String>())
    .concat()
}

fn read_frame(text: &str, instruments: &Instruments) -> String {
    match stream::read(text) {
        Ok(Frame::Data { channel, rows }) => {
            let reports = stream::reports(channel, &rows, instruments, "USDT");
            assert_eq!(reports.len(), rows.len(), "a row has its report, or its fault");
            let first = reports.iter().map(|report| match report {
                Ok(report) => told(report).to_owned(),
                Err(dropped) => word(dropped),
            });
            format!("{} {}", channel.as_str(), first.collect::<Vec<_>>().join(" "))
        }
        Ok(Frame::Error { code, text }) => {
            assert!(text.chars().count() <= WORDS_MAX, "{code} {text}");
            "error".into()
        }
        Ok(_) => "no data".into(),
        Err(dropped) => word(&dropped),
    }
}

/// The answer to an order, with its status in the first line. Only the venue's own words are a refusal, and only a
/// good status takes it.
fn read_answer(text: &str) -> String {
    let (status, body) = text.split_once('\n').unwrap_or(("200", text));
    let status = status.parse().unwrap_or(200);
    match answer::outcome(status, body) {
        Outcome::Taken(id) => {
            assert!(matches!(status, 200..300), "taken with HTTP {status}");
            format!("taken {}", id.is_some())
        }
        Outcome::Refused(refusal) => {
            assert!(
                refusal.code.chars().count() <= 16 && refusal.text.chars().count() <= WORDS_MAX,
                "{refusal:?}"
            );
            let unknown = answer::is_unknown_order(&refusal.code, &refusal.text);
            format!("refused {} {} {unknown}", refusal.duplicate, refusal.transient)
        }
        Outcome::KeptAway(_) => "kept away".into(),
        Outcome::Unclear(words) => {
            assert!(words.chars().count() <= WORDS_MAX, "{words}");
            "unclear".into()
        }
    }
}
