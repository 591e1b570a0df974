//! TradingView alerts: the body of a webhook, brought to the bus by a bridge, read as a native signal.
//!
//! - The key is checked before anything is judged, and is never in a refusal, an id or a `Debug` text.
//! - The age counts from `{{timenow}}`; the bar's time is never used, and an alert without a time is refused: it may
//!   have waited anywhere.
//! - `market_position` names the target and wins over the action. A Pine strategy's simulated sizes count only with
//!   `contracts_as_size`.
//! - TradingView repeats an alert after an answer of 5xx with the same body, so a missing id is made of the body: the
//!   same for a repetition, another one for every other alert.
//! - A field that would change the order and is not understood is refused; all others are ignored.

mod body;
mod key;
mod ticker;
mod words;

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use self::body::{Body, Field, malformed};
pub use self::key::AlertKey;
use super::fields::short;
use crate::engine::event::{ReplyToken, SignalMessage, SignalOrigin};
use crate::model::amount::{Money, Price, Quantity, Ratio};
use crate::model::ids::{SignalId, StrategyId, Symbol};
use crate::model::order::OrderType;
use crate::model::signal::{Action, Reason, Refusal, Signal, Size};
use crate::model::time::Timestamp;

/// The largest `max_age_s` or `max_lag`: a day.
const AGE_S_MAX: i64 = 86_400;

/// How the alerts of one strategy are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TradingViewSettings {
    /// The key that its alerts carry.
    pub key: Option<AlertKey>,
    /// Whether an alert without a key is refused. A wrong key always is.
    pub key_required: bool,
    /// TradingView's name of the strategy's venue, such as `BLOFIN`, whose perpetuals it trades. `None` (a recording,
    /// the synthetic market): alerts of every exchange are taken.
    pub exchange: Option<String>,
    /// Other exchanges whose alerts are taken: `BINANCE`, `BINANCE:SPOT` or `BINANCE:PERP`.
    pub accept_from: Vec<String>,
    /// What `1000PEPEUSDT.P` or `BYBIT:1000PEPEUSDT.P` means. With the exchange it is taken from there, too.
    pub overrides: BTreeMap<String, Symbol>,
    /// Whether Pine's simulated sizes are ours: of the order for `buy` and `sell`, of the position for a target.
    pub contracts_as_size: bool,
}

/// Every strategy that takes alerts.
pub type AllSettings = BTreeMap<StrategyId, TradingViewSettings>;

/// An alert, read as far as it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadAlert {
    /// The strategy that the topic or the body names; empty when there is none that could be one.
    pub strategy: String,
    /// Its id, given or made of the body, if it could be read.
    pub id: Option<SignalId>,
    /// The signal, or why there is none.
    pub body: Result<AlertSignal, Refusal>,
}

impl ReadAlert {
    /// The message that the engine gets, as it does from a native signal.
    pub fn into_message(self, token: ReplyToken) -> SignalMessage {
        let price = self.body.as_ref().ok().and_then(|alert| alert.price);
        SignalMessage {
            token,
            strategy: self.strategy,
            id: self.id,
            body: self.body.map(|alert| alert.signal),
            origin: SignalOrigin::TradingView { price },
        }
    }
}

/// A wish, and what else the alert says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertSignal {
    /// The wish.
    pub signal: Signal,
    /// The price at which the alert fired.
    pub price: Option<Price>,
    /// Names of size fields that do not count, for the log.
    pub ignored: Vec<String>,
}

/// Reads an alert. `topic_strategy` is the strategy that the topic names, if any; on the shared topic the body names
/// it. `settings` has every strategy that takes alerts. A retained alert is refused whatever it says.
pub fn read(
    topic_strategy: Option<&str>,
    payload: &[u8],
    retained: bool,
    settings: &AllSettings,
) -> ReadAlert {
    read_with_key(topic_strategy, payload, retained, None, settings)
}

/// The same with a key that came beside the body; it counts before one in the body.
pub fn read_with_key(
    topic_strategy: Option<&str>,
    payload: &[u8],
    retained: bool,
    key: Option<&str>,
    settings: &AllSettings,
) -> ReadAlert {
    let refused =
        |strategy: &str, refusal| ReadAlert { strategy: strategy.into(), id: None, body: Err(refusal) };
    let body = match Body::read(payload) {
        Ok(body) => body.with_key(key, words::KEY),
        Err(refusal) => {
            return refused(
                topic_strategy.unwrap_or_default(),
                refusal_of_retained(retained).unwrap_or(refusal),
            );
        }
    };
    let named = body.any(words::STRATEGY).map(|field| field.text.as_str());
    // A body may name anything, so only a known strategy of its goes on: the answer's topic has the name.
    let strategy = StrategyId::new(topic_strategy.or(named).unwrap_or_default()).ok();
    let Some(strategy) = strategy.filter(|id| topic_strategy.is_some() || settings.contains_key(id)) else {
        return refused("", without_key(unknown_strategy(topic_strategy.or(named)), &body, settings));
    };
    let id = match id_of(strategy.as_str(), &body, settings) {
        Ok(id) => id,
        Err(refusal) => return refused(strategy.as_str(), without_key(refusal, &body, settings)),
    };
    let own = settings.get(&strategy);
    let result = match (refusal_of_retained(retained), own) {
        (Some(refusal), _) => Err(refusal),
        (None, None) => Err(unknown_strategy(Some(strategy.as_str()))),
        (None, Some(own)) => check_key(own, &body)
            .and_then(|()| check_strategy(strategy, &body))
            .and_then(|()| signal_of(own, &body, id.clone())),
    };
    let result = result.map_err(|refusal| without_key(refusal, &body, settings));
    ReadAlert { strategy: strategy.to_string(), id: Some(id), body: result }
}

fn refusal_of_retained(retained: bool) -> Option<Refusal> {
    let detail = "retain flag: a retained alert would be repeated at every start, publish it without";
    retained.then(|| Refusal::new(Reason::Retained, detail))
}

/// The body may repeat the topic's strategy, but not name another one.
fn check_strategy(strategy: StrategyId, body: &Body) -> Result<(), Refusal> {
    match body.only(words::STRATEGY)?.filter(|named| named.text != strategy.as_str()) {
        Some(named) => {
            Err(named.wrong(&format!("{:?} is not the topic's {:?}", short(&named.text), strategy.as_str())))
        }
        None => Ok(()),
    }
}

fn unknown_strategy(strategy: Option<&str>) -> Refusal {
    match strategy {
        Some(strategy) => {
            let detail = format!("strategy: {:?} takes no TradingView alerts", short(strategy));
            Refusal::new(Reason::UnknownStrategy, detail)
        }
        None => malformed("strategy: missing, the topic names none"),
    }
}

fn id_of(strategy: &str, body: &Body, settings: &AllSettings) -> Result<SignalId, Refusal> {
    match body.any(words::ID).filter(|field| !field.text.contains("{{") && !field.text.is_empty()) {
        // It is published with the result.
        Some(field) if long_keys(body, settings).any(|key| field.text.contains(key)) => {
            Err(field.wrong("holds the key"))
        }
        Some(field) => SignalId::new(&field.text).map_err(|error| field.wrong(&error.to_string())),
        None => {
            let text = format!("tv-{}", body.digest(strategy, words::KEY));
            SignalId::new(&text).map_err(|error| malformed(&error.to_string()))
        }
    }
}

fn check_key(settings: &TradingViewSettings, body: &Body) -> Result<(), Refusal> {
    let wrong = |detail: &str| Err(Refusal::new(Reason::WrongKey, detail));
    match (&settings.key, keys(body).next()) {
        (None, _) if settings.key_required => wrong("key: none is configured, and key_required is true"),
        (None, _) => Ok(()),
        (Some(_), None) if settings.key_required => wrong("key: missing"),
        (Some(_), None) => Ok(()),
        (Some(key), Some(given)) if key.matches(given) => Ok(()),
        (Some(_), Some(_)) => wrong("key: it is another one"),
    }
}

/// What the body has under the names of keys.
fn keys(body: &Body) -> impl Iterator<Item = &str> {
    let named = words::KEY.iter().filter_map(|name| body.any(&[name]));
    named.map(|field| field.text.as_str()).filter(|text| !text.is_empty())
}

/// The same without what is too short to be a key, and stands in other texts by chance; and whatever else is the key
/// of any strategy, under the wrong name.
fn long_keys<'a>(body: &'a Body, settings: &AllSettings) -> impl Iterator<Item = &'a str> {
    let configured: Vec<&AlertKey> = settings.values().filter_map(|settings| settings.key.as_ref()).collect();
    let misplaced = body.others(words::KEY).filter(move |field| {
        field.text.len() >= AlertKey::LENGTH_MIN && AlertKey::new(&field.text).is_among(&configured)
    });
    keys(body).filter(|key| key.len() >= 4).chain(misplaced.map(|field| field.text.as_str()))
}

/// A refusal in which the key does not stand, wherever else the alert repeats it. Where a quotation may show a part of
/// it, nothing is quoted.
fn without_key(mut refusal: Refusal, body: &Body, settings: &AllSettings) -> Refusal {
    for key in long_keys(body, settings) {
        let cut = |text: &str| {
            text.contains(key) && (short(text) != text || format!("{key:?}").len() != key.len() + 2)
        };
        if body.others(words::KEY).any(|field| cut(&field.text) || cut(&field.path)) {
            refusal.detail = "a field repeats the key, so nothing of the alert is shown".into();
        }
        refusal.detail = refusal.detail.replace(key, "***");
    }
    refusal
}

fn signal_of(settings: &TradingViewSettings, body: &Body, id: SignalId) -> Result<AlertSignal, Refusal> {
    if let Some(field) = body.unreplaced(words::KEY) {
        return Err(field.wrong("a placeholder was not replaced, this alert has no value for it"));
    }
    check_meant(body)?;
    let action = read_action(body)?;
    let ticker =
        body.only(words::SYMBOL)?.ok_or_else(|| malformed("symbol: missing, also ticker and instrument"))?;
    let symbol = ticker::symbol_of(settings, ticker, body.only(words::EXCHANGE)?)?;
    let time = read_time(body)?;
    let (size, ignored) = read_size(settings, body, action)?;
    let mut alert = AlertSignal {
        signal: Signal {
            id,
            time,
            symbol,
            action,
            size,
            order_type: OrderType::Market,
            stop_loss: None,
            take_profit: None,
            age_ms_max: body.only(words::AGE)?.map(read_age).transpose()?,
            confidence: body.only(&["confidence"])?.map(read_confidence).transpose()?,
        },
        price: None,
        ignored,
    };
    // Closing everything needs no size, no stop and no price, so none of them can stand in its way.
    if action != Action::Flat {
        check_understood(body)?;
        let price = |names| body.any(names).map(|field| field.positive().map(Price::new)).transpose();
        alert.signal.stop_loss = price(words::STOP_LOSS)?;
        alert.signal.take_profit = price(words::TAKE_PROFIT)?;
        alert.price = price(words::PRICE)?;
    }
    Ok(alert)
}

/// Refuses what is no wish to trade.
fn check_meant(body: &Body) -> Result<(), Refusal> {
    let is_true =
        |field: &&Field| !["false", "0", "no", ""].contains(&field.text.to_ascii_lowercase().as_str());
    match words::NOT_MEANT.iter().filter_map(|name| body.any(&[name])).find(is_true) {
        Some(field) => Err(field.unsupported("an alert for testing is not a signal")),
        None => Ok(()),
    }
}

/// Refuses what asks for more than is understood.
fn check_understood(body: &Body) -> Result<(), Refusal> {
    if let Some(field) = body.find(words::is_unsupported) {
        return Err(field.unsupported("not supported, and not ignored either"));
    }
    match body.only(words::ORDER_TYPE)? {
        Some(field) if !field.text.eq_ignore_ascii_case("market") => {
            Err(field.unsupported(&format!("{:?}, but alerts are market orders", short(&field.text))))
        }
        _ => Ok(()),
    }
}

fn read_time(body: &Body) -> Result<Timestamp, Refusal> {
    match (body.only(words::TIME)?, body.any(words::TIME_OF_BAR)) {
        (Some(field), _) => words::time_of(field),
        (None, Some(bar)) => {
            let detail = "may be the time of the bar and is not used; add \"timenow\": \"{{timenow}}\"";
            Err(bar.wrong(detail))
        }
        (None, None) => Err(malformed("timenow: missing; add \"timenow\": \"{{timenow}}\"")),
    }
}

fn read_action(body: &Body) -> Result<Action, Refusal> {
    if let Some(target) = body.only(words::TARGET)? {
        return words::target_of(target);
    }
    match body.only(words::ACTION)? {
        Some(action) => words::action_of(action),
        None => Err(malformed("action: missing, also market_position")),
    }
}

/// The size, and the names of sizes that do not count: those of Pine's account, and all of `flat`.
fn read_size(
    settings: &TradingViewSettings,
    body: &Body,
    action: Action,
) -> Result<(Option<Size>, Vec<String>), Refusal> {
    let given = [
        (body.only(words::QUANTITY)?, (|value| Size::Quantity(Quantity::new(value))) as fn(Decimal) -> Size),
        (body.only(&["notional"])?, |value| Size::Notional(Money::new(value))),
        (body.only(&["equitypct"])?, |value| Size::EquityPct(Ratio::new(value))),
        (body.only(&["riskpct"])?, |value| Size::RiskPct(Ratio::new(value))),
    ];
    let simulated = [body.any(words::POSITION_SIZE), body.any(words::CONTRACTS)];
    let explicit: Vec<_> = given.into_iter().filter_map(|(field, size)| Some((field?, size))).collect();
    let names = |fields: &[Option<&Field>]| fields.iter().flatten().map(|field| short(&field.path)).collect();
    match explicit[..] {
        _ if action == Action::Flat => {
            let mut all = simulated.to_vec();
            all.extend(explicit.iter().map(|(field, _)| Some(*field)));
            Ok((None, names(&all)))
        }
        [] if settings.contracts_as_size => Ok((contracts(body, action)?, Vec::new())),
        [] => Ok((None, names(&simulated))),
        [(field, size)] => Ok((Some(size(field.positive()?)), names(&simulated))),
        [..] => Err(malformed("quantity, notional, equity_pct, risk_pct: give at most one")),
    }
}

/// Pine's own size. A reversal orders the old and the new position in one, so a target takes the position's size.
fn contracts(body: &Body, action: Action) -> Result<Option<Size>, Refusal> {
    let field = body.any(if action.is_target() { words::POSITION_SIZE } else { words::CONTRACTS });
    if let Some(unit) = body.any(words::CURRENCY).filter(|unit| !unit.text.eq_ignore_ascii_case("base")) {
        return Err(unit.unsupported(&format!("{:?}: sizes are in base currency", short(&unit.text))));
    }
    let Some(field) = field else { return Ok(None) };
    let quantity = field.decimal()?.abs();
    if quantity.is_zero() {
        return Err(field.wrong("0 is no size"));
    }
    Ok(Some(Size::Quantity(Quantity::new(quantity))))
}

fn read_age(field: &Field) -> Result<i64, Refusal> {
    let seconds = field.positive()?;
    if seconds > Decimal::from(AGE_S_MAX) {
        return Err(field.wrong(&format!("{seconds} is beyond the limit of {AGE_S_MAX}")));
    }
    (seconds * Decimal::ONE_THOUSAND).to_i64().ok_or_else(|| field.wrong("is no number of seconds"))
}

fn read_confidence(field: &Field) -> Result<Ratio, Refusal> {
    match field.decimal()? {
        value if value < Decimal::ZERO || value > Decimal::ONE => {
            Err(field.wrong(&format!("{value} is not between 0 and 1")))
        }
        value => Ok(Ratio::new(value)),
    }
}
