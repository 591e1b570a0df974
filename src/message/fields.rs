//! Reads one flat JSON object from outside, field by field, with errors that name the field, the value and the limit.
//!
//! A key that comes twice is refused: which of two sizes was meant is nobody's guess.

use rust_decimal::Decimal;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::model::amount::parse_decimal;
use crate::model::signal::{Reason, Refusal};
use crate::model::time::Timestamp;

/// The largest payload that is read, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 16 * 1024;
/// Letters of what is wrong with a text that is not JSON.
const ERROR_LETTERS_MAX: usize = 120;

/// The fields of an object, in their order. A `null` counts as absent.
#[derive(Debug)]
pub struct Fields(Vec<(String, Value)>);

impl Fields {
    /// Reads a payload.
    ///
    /// # Errors
    /// `too_large` beyond [`PAYLOAD_BYTES_MAX`]; `malformed` when it is not UTF-8, not JSON, not an object, too deep,
    /// or has a key twice.
    pub fn read(payload: &[u8]) -> Result<Fields, Refusal> {
        let malformed = |detail: String| Err(Refusal::new(Reason::Malformed, detail));
        if payload.len() > PAYLOAD_BYTES_MAX {
            let detail = format!("payload of {} bytes, the limit is {PAYLOAD_BYTES_MAX}", payload.len());
            return Err(Refusal::new(Reason::TooLarge, detail));
        }
        let Ok(text) = std::str::from_utf8(payload) else {
            return malformed("payload is not UTF-8".into());
        };
        let fields: Fields = match serde_json::from_str(text) {
            Ok(fields) => fields,
            Err(error) => {
                // Of a text in place of an object serde tells all.
                let told: String = error.to_string().chars().take(ERROR_LETTERS_MAX).collect();
                return malformed(format!("payload is not a JSON object: {told}"));
            }
        };
        let keys = fields.0.iter().map(|(key, _)| key);
        let twice =
            keys.clone().enumerate().find(|(index, key)| keys.clone().take(*index).any(|k| k == *key));
        match twice {
            Some((_, key)) => malformed(format!("{}: the field comes twice", short(key))),
            None => Ok(fields),
        }
    }

    /// Every field, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The value of a field that is there and not `null`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let found = self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value);
        found.filter(|value| !value.is_null())
    }

    /// A text, or a number as it was written.
    ///
    /// # Errors
    /// `malformed` when it is neither.
    pub fn text(&self, key: &str) -> Result<Option<String>, Refusal> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(other) => Err(wrong(key, other, "a text")),
        }
    }

    /// An exact number, given as a number or as a text.
    ///
    /// # Errors
    /// `malformed` when it is not a number, too large or too fine.
    pub fn decimal(&self, key: &str) -> Result<Option<Decimal>, Refusal> {
        let text = match self.get(key) {
            None => return Ok(None),
            Some(Value::String(text)) => text.trim().to_string(),
            Some(Value::Number(number)) => number.to_string(),
            Some(other) => return Err(wrong(key, other, "a number")),
        };
        match parse_decimal(&text) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(Refusal::new(Reason::Malformed, format!("{key}: {error}"))),
        }
    }

    /// A number above zero.
    ///
    /// # Errors
    /// `malformed`, also for 0 and below.
    pub fn positive(&self, key: &str) -> Result<Option<Decimal>, Refusal> {
        match self.decimal(key)? {
            Some(value) if value <= Decimal::ZERO => {
                Err(Refusal::new(Reason::Malformed, format!("{key}: {value} must be above 0")))
            }
            value => Ok(value),
        }
    }

    /// A time: RFC 3339 with a zone, or milliseconds since the epoch.
    ///
    /// # Errors
    /// `malformed` when it is neither.
    pub fn time(&self, key: &str) -> Result<Option<Timestamp>, Refusal> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let parsed = match text.parse::<i64>() {
            Ok(ms) if digits && Timestamp::from_ms(ms).as_ms() == ms => Ok(Timestamp::from_ms(ms)),
            _ => Timestamp::parse_rfc3339(&text),
        };
        match parsed {
            Ok(time) => Ok(Some(time)),
            Err(error) => {
                let detail = format!("{key}: {error}, or milliseconds since 1970");
                Err(Refusal::new(Reason::Malformed, detail))
            }
        }
    }

    /// The first field that is none of `known`.
    pub fn unknown(&self, known: &[&str]) -> Option<&str> {
        self.0.iter().map(|(key, _)| key.as_str()).find(|key| !known.contains(key))
    }
}

/// A value cut down so that it can stand in a message, or in one line of the log.
pub fn short(text: &str) -> String {
    text.chars().take(40).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn wrong(key: &str, value: &Value, wanted: &str) -> Refusal {
    let detail = format!("{key}: {} is not {wanted}", short(&value.to_string()));
    Refusal::new(Reason::Malformed, detail)
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields, M::Error> {
                let mut fields = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    fields.push(entry);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}
