//! Reading the venue's JSON leniently: a field may be a number or a text, absent or `null`; a list may be an object.
//!
//! Fields are kept as they stand in the text until one is needed, so that amounts never pass through `f64` and a field
//! that nobody reads can be anything.

use std::borrow::Cow;

use rust_decimal::Decimal;
use serde_json::value::RawValue;

use super::ROWS_MAX;
use super::dropped::{DropReason, Dropped};
use crate::model::amount::{Price, Quantity, parse_decimal};
use crate::model::ids::Symbol;
use crate::model::time::Timestamp;

/// A field as it stands in the text.
pub(super) type Raw<'a> = Option<&'a RawValue>;

/// The text of a field: that of a JSON string, or a number as it was written. `None` when absent, `null` or empty.
pub(super) fn text(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    let raw = raw?.get();
    let text = match raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) if !inner.contains('\\') => Cow::Borrowed(inner),
        Some(_) => Cow::Owned(serde_json::from_str(raw).ok()?),
        None if raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => Cow::Borrowed(raw),
        None => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// A text that must be there.
pub(super) fn required<'a>(field: &str, raw: Raw<'a>) -> Result<Cow<'a, str>, Dropped> {
    text(raw)
        .ok_or_else(|| Dropped::new(DropReason::Malformed, field, raw.map_or("missing", |raw| raw.get())))
}

/// A number that must be there.
pub(super) fn decimal(field: &str, raw: Raw<'_>) -> Result<Decimal, Dropped> {
    let text = required(field, raw)?;
    parse_decimal(&text).map_err(|_| Dropped::new(DropReason::Malformed, field, &text))
}

/// A price above zero.
pub(super) fn price(field: &str, raw: Raw<'_>) -> Result<Price, Dropped> {
    let price = Price::new(decimal(field, raw)?);
    match price.is_positive() {
        true => Ok(price),
        false => Err(Dropped::new(DropReason::PriceNotPositive, field, &price.to_string())),
    }
}

/// A number of contracts above zero.
pub(super) fn contracts(field: &str, raw: Raw<'_>) -> Result<Quantity, Dropped> {
    let size = Quantity::new(decimal(field, raw)?);
    match size.is_positive() {
        true => Ok(size),
        false => Err(Dropped::new(DropReason::SizeNotPositive, field, &size.to_string())),
    }
}

/// Milliseconds since 1970. Whether that is far off is not looked at here.
pub(super) fn time(field: &str, raw: Raw<'_>) -> Result<Timestamp, Dropped> {
    let text = required(field, raw)?;
    let far = |value: &str| Dropped::new(DropReason::TimeFarOff, field, value);
    match text.parse::<i64>() {
        Ok(ms) if (Timestamp::MIN.as_ms()..=Timestamp::MAX.as_ms()).contains(&ms) => {
            Ok(Timestamp::from_ms(ms))
        }
        Ok(_) => Err(far(&text)),
        Err(_) => Err(Dropped::new(DropReason::Malformed, field, &text)),
    }
}

/// The name of a pair, which is the venue's `instId` as it stands.
pub(super) fn symbol(field: &str, raw: Raw<'_>) -> Result<Symbol, Dropped> {
    let text = required(field, raw)?;
    Symbol::new(&text).map_err(|_| Dropped::new(DropReason::Malformed, field, &text))
}

/// The rows of `data`: those of a list, or the one object. At most [`ROWS_MAX`]; none when it is absent or `null`.
pub(super) fn rows(data: Raw<'_>) -> Result<Vec<&RawValue>, Dropped> {
    let Some(data) = data else { return Ok(Vec::new()) };
    let malformed = || Dropped::new(DropReason::Malformed, "data", data.get());
    match data.get().as_bytes().first() {
        Some(b'[') => {
            let mut rows: Vec<&RawValue> = serde_json::from_str(data.get()).map_err(|_| malformed())?;
            rows.truncate(ROWS_MAX);
            Ok(rows)
        }
        Some(b'{') => Ok(vec![data]),
        Some(b'n') => Ok(Vec::new()),
        _ => Err(malformed()),
    }
}

/// Reads one row of a shape. A key that comes twice is refused: which of two prices was meant is nobody's guess.
pub(super) fn row<'a, T: serde::Deserialize<'a>>(what: &str, raw: &'a RawValue) -> Result<T, Dropped> {
    serde_json::from_str(raw.get()).map_err(|_| Dropped::new(DropReason::Malformed, what, raw.get()))
}
