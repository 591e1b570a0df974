//! The names that fields have in the field, by what they mean: TradersPost, 3Commas, OKX, TV-Hub, OpenAlgo and others,
//! and TradingView's own. In letters and digits only, see [`super::body`].
//!
//! A Pine strategy's simulated sizes (`contracts` and the like) stand apart from sizes that a person wrote.

use super::body::Field;
use crate::model::signal::{Action, Refusal};
use crate::model::time::Timestamp;

pub(super) const STRATEGY: &[&str] = &["strategy", "strategyid", "datastrategyid"];
/// Never published, logged, or part of an id.
pub(super) const KEY: &[&str] = &[
    "key",
    "secret",
    "token",
    "passphrase",
    "password",
    "apikey",
    "apitoken",
    "apisecret",
    "signaltoken",
    "secretkey",
    "webhooksecret",
    "botuuid",
    "uuid",
    "datakey",
    "datasecret",
    "datatoken",
    "datapassphrase",
    "datapassword",
];
pub(super) const ID: &[&str] = &["id", "alertid", "signalid", "nonce", "dataid"];
/// When the alert fired. `time` is not among them: by TradingView's words it is the bar's.
pub(super) const TIME: &[&str] =
    &["timenow", "timestamp", "ts", "alerttime", "alerttimestamp", "datatimenow", "datatimestamp"];
/// The bar's time, or what may be it.
pub(super) const TIME_OF_BAR: &[&str] = &["time", "bartime", "barts", "signalts", "datatime"];
pub(super) const SYMBOL: &[&str] = &[
    "symbol",
    "ticker",
    "tvsymbol",
    "tvinstrument",
    "instrument",
    "pair",
    "asset",
    "datasymbol",
    "dataticker",
];
pub(super) const EXCHANGE: &[&str] = &["exchange", "tvexchange", "dataexchange"];
/// The position that is wanted.
pub(super) const TARGET: &[&str] = &[
    "target",
    "marketposition",
    "strategymarketposition",
    "strategyinfomarketposition",
    "sentiment",
    "datastrategymarketposition",
    "datamarketposition",
];
pub(super) const ACTION: &[&str] = &[
    "action",
    "side",
    "signal",
    "orderaction",
    "strategyorderaction",
    "direction",
    "event",
    "datastrategyorderaction",
    "dataaction",
    "dataside",
];
pub(super) const QUANTITY: &[&str] = &["quantity", "qty", "q", "dataquantity", "dataqty"];
/// What Pine's simulated account ordered.
pub(super) const CONTRACTS: &[&str] = &[
    "contracts",
    "amount",
    "orderamount",
    "ordercontracts",
    "strategyordercontracts",
    "datastrategyordercontracts",
];
/// What Pine's simulated account holds afterwards.
pub(super) const POSITION_SIZE: &[&str] = &[
    "positionsize",
    "marketpositionsize",
    "strategypositionsize",
    "strategymarketpositionsize",
    "strategyinfomarketpositionsize",
];
/// In what `amount` is counted.
pub(super) const CURRENCY: &[&str] = &["currencytype", "ordercurrencytype", "investmenttype"];
/// The price at which it fired: for the check of the deviation, never for an order.
pub(super) const PRICE: &[&str] = &[
    "orderprice",
    "strategyorderprice",
    "datastrategyorderprice",
    "price",
    "signalprice",
    "triggerprice",
    "close",
    "entry",
];
pub(super) const AGE: &[&str] = &["maxages", "maxlag"];
pub(super) const STOP_LOSS: &[&str] = &["stoploss", "sl"];
pub(super) const TAKE_PROFIT: &[&str] = &["takeprofit", "tp"];
pub(super) const ORDER_TYPE: &[&str] = &["ordertype", "type", "pricetype"];
/// Alerts that are no wish to trade when these are true.
pub(super) const NOT_MEANT: &[&str] = &["test", "heartbeat", "dataheartbeat", "datatest"];

/// Fields that would change the order and are not understood: refused instead of ignored.
pub(super) fn is_unsupported(name: &str) -> bool {
    const NAMES: [&str; 20] = [
        "size",
        "sizeunit",
        "lots",
        "vollots",
        "risk",
        "riskusd",
        "sloffset",
        "tpoffset",
        "slpips",
        "tppips",
        "slpct",
        "tppct",
        "tp1",
        "tp2",
        "tp3",
        "limitprice",
        "stopprice",
        "orderpriceoffset",
        "datasloffset",
        "datatpoffset",
    ];
    let kinds = ["stoploss", "takeprofit", "trail"];
    let plain = STOP_LOSS.contains(&name) || TAKE_PROFIT.contains(&name);
    NAMES.contains(&name) || (!plain && kinds.iter().any(|kind| name.starts_with(kind)))
}

/// The position that a target's word wants.
pub(super) fn target_of(field: &Field) -> Result<Action, Refusal> {
    match letters(&field.text).as_str() {
        "long" | "bullish" => Ok(Action::Long),
        "short" | "bearish" => Ok(Action::Short),
        "flat" => Ok(Action::Flat),
        _ => Err(unknown_word(field, "long, short, flat")),
    }
}

/// What an action's word wants: a target where it names a side, else a delta.
pub(super) fn action_of(field: &Field) -> Result<Action, Refusal> {
    match letters(&field.text).as_str() {
        "buy" => Ok(Action::Buy),
        "sell" => Ok(Action::Sell),
        "long" | "enterlong" | "longentry" | "golong" | "openlong" | "bullish" => Ok(Action::Long),
        "short" | "entershort" | "shortentry" | "goshort" | "openshort" | "bearish" => Ok(Action::Short),
        "flat" | "close" | "exit" | "closeall" | "exitall" => Ok(Action::Flat),
        "exitlong" | "exitshort" | "closelong" | "closeshort" | "longexit" | "shortexit" => {
            // Close and open of a reversal may arrive in either order: closing "any side" would undo the entry.
            Err(field
                .unsupported("which side is closed cannot be said; give market_position, or action flat"))
        }
        "cancel" | "add" | "reverse" => {
            Err(field.unsupported("only buy, sell, long, short and flat are understood"))
        }
        _ => Err(unknown_word(field, "buy, sell, long, short, flat")),
    }
}

fn unknown_word(field: &Field, known: &str) -> Refusal {
    if field.text.is_empty() {
        return field.wrong("empty, so this alert has no value for its placeholder");
    }
    field.wrong(&format!("{} is not one of {known}", field.quoted()))
}

/// When an alert fired: RFC 3339, seconds or milliseconds since 1970, or (TV-Hub) a text that ends with the former.
pub(super) fn time_of(field: &Field) -> Result<Timestamp, Refusal> {
    let text = field.text.as_str();
    if !text.is_empty() && text.len() <= 13 && text.bytes().all(|b| b.is_ascii_digit()) {
        let number: i64 = text.parse().unwrap_or_default();
        // Eleven digits of milliseconds would be before 1974.
        return Ok(Timestamp::from_ms(if text.len() <= 11 { number * 1000 } else { number }));
    }
    const LENGTH: usize = "2026-11-20T20:00:05Z".len();
    let tail = text.len().checked_sub(LENGTH).and_then(|start| text.get(start..)).unwrap_or(text);
    let parsed =
        Timestamp::parse_rfc3339(text).or_else(|error| Timestamp::parse_rfc3339(tail).map_err(|_| error));
    parsed.map_err(|error| field.wrong(&format!("{error}, or seconds or milliseconds since 1970")))
}

/// Letters and digits in lower case.
fn letters(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}
