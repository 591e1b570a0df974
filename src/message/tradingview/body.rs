//! An alert's body as a flat list of names and texts, from JSON or from one line of words.
//!
//! Nested objects become `outer.inner`. Names are compared by their letters and digits alone, so `marketPosition`,
//! `market_position` and `market-position` are one. Nothing here shows a value that may be the key.

use data_encoding::HEXLOWER;
use rust_decimal::Decimal;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::fields::{Fields, PAYLOAD_BYTES_MAX, short};
use crate::model::amount::parse_decimal;
use crate::model::signal::{Reason, Refusal};

/// How deep objects may be nested.
const DEPTH_MAX: usize = 4;
/// The most fields of an alert.
const FIELDS_MAX: usize = 200;

const NEITHER: &str =
    "body: neither a JSON object nor one line such as: buy BTCUSDT qty=0.1 timenow=2026-11-20T20:00:05Z";

/// One value of an alert.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// As it was written, with dots between levels.
    pub path: String,
    /// Its letters and digits in lower case.
    name: String,
    pub text: String,
    /// Whether it may be shown. The words of a text without names may be anything, also a key.
    quotable: bool,
}

/// All values of an alert. `null` counts as absent.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Body(Vec<Field>);

impl Body {
    /// Reads a body: JSON when it begins with a brace, else words.
    pub fn read(payload: &[u8]) -> Result<Body, Refusal> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            let detail = format!("body of {} bytes, the limit is {PAYLOAD_BYTES_MAX}", payload.len());
            return Err(Refusal::new(Reason::TooLarge, detail));
        }
        let Ok(text) = std::str::from_utf8(payload) else {
            return Err(malformed("body: not UTF-8"));
        };
        let mut body = Body(Vec::new());
        if text.trim_start().starts_with('{') && !text.trim_start().starts_with("{{") {
            let fields = Fields::read(payload).map_err(|refusal| unless_placeholder(text, refusal))?;
            for (key, value) in fields.iter() {
                body.add_value(key.to_string(), value, 1)?;
            }
        } else {
            body.add_words(text)?;
        }
        Ok(body)
    }

    /// With a key that came beside it, before any of its own; `names` are those of keys.
    pub fn with_key(mut self, key: Option<&str>, names: &[&str]) -> Body {
        if let (Some(key), Some(name)) = (key, names.first()) {
            let (path, name, text) = ((*name).to_string(), (*name).to_string(), key.to_string());
            self.0.insert(0, Field { path, name, text, quotable: false });
        }
        self
    }

    /// The first field of any of `names`, which are in letters and digits. Another one that says otherwise is refused:
    /// which of two symbols was meant is nobody's guess.
    pub fn only(&self, names: &[&str]) -> Result<Option<&Field>, Refusal> {
        let Some(first) = self.any(names) else { return Ok(None) };
        let other =
            self.0.iter().find(|field| names.contains(&field.name.as_str()) && field.text != first.text);
        match other {
            Some(other) => Err(malformed(&format!(
                "{}: says something else than {}",
                short(&other.path),
                short(&first.path)
            ))),
            None => Ok(Some(first)),
        }
    }

    /// The first field of any of `names`, in the order of `names`.
    pub fn any(&self, names: &[&str]) -> Option<&Field> {
        names.iter().find_map(|name| self.0.iter().find(|field| field.name == *name))
    }

    /// The first field that `wanted` says yes to.
    pub fn find(&self, wanted: impl Fn(&str) -> bool) -> Option<&Field> {
        self.0.iter().find(|field| wanted(&field.name))
    }

    /// All fields but those of these names.
    pub fn others(&self, names: &[&str]) -> impl Iterator<Item = &Field> {
        self.0.iter().filter(move |field| !names.contains(&field.name.as_str()))
    }

    /// A placeholder that TradingView did not replace, such as a strategy's in the alert of an indicator.
    pub fn unreplaced(&self, secret: &[&str]) -> Option<&Field> {
        self.0.iter().find(|field| field.text.contains("{{") && !secret.contains(&field.name.as_str()))
    }

    /// 32 hex digits that are the same for the same alert, whatever the order of its fields, and without its key.
    pub fn digest(&self, strategy: &str, secret: &[&str]) -> String {
        let mut fields: Vec<&Field> =
            self.0.iter().filter(|field| !secret.contains(&field.name.as_str())).collect();
        fields.sort_by(|a, b| (&a.path, &a.text).cmp(&(&b.path, &b.text)));
        let mut hash = Sha256::new();
        hash.update(strategy.as_bytes());
        for text in fields.iter().flat_map(|field| [&field.path, &field.text]) {
            hash.update([0]);
            hash.update(text.as_bytes());
        }
        HEXLOWER.encode(&hash.finalize())[..32].to_string()
    }

    fn add_value(&mut self, path: String, value: &Value, depth: usize) -> Result<(), Refusal> {
        let text = match value {
            Value::Null => return Ok(()),
            Value::Object(_) if depth >= DEPTH_MAX => {
                return Err(malformed(&format!("{}: nested too deep", short(&path))));
            }
            Value::Object(inner) => {
                for (key, value) in inner {
                    self.add_value(format!("{path}.{key}"), value, depth + 1)?;
                }
                return Ok(());
            }
            Value::String(text) => text.trim().to_string(),
            other => other.to_string(),
        };
        self.add(path, text, true)
    }

    /// `[key] action symbol name=value ...`: the key, if any, is a line of its own in front.
    fn add_words(&mut self, text: &str) -> Result<(), Refusal> {
        let mut lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.len() == 2 && lines[0].split_whitespace().count() == 1 {
            self.add("key".into(), lines.remove(0).to_string(), false)?;
        }
        let [line] = lines[..] else { return Err(malformed(NEITHER)) };
        if line.starts_with(['[', '"']) || line.split_whitespace().count() < 2 {
            return Err(malformed(NEITHER));
        }
        for (index, word) in line.split_whitespace().enumerate() {
            let (name, value) = match (index, word.split_once('=')) {
                (0, None) => ("action", word),
                (1, None) => ("symbol", word),
                (2.., Some((name, value))) if !name.is_empty() => (name, value),
                _ => {
                    let wanted = "not like: buy BTCUSDT qty=0.1 timenow=2026-11-20T20:00:05Z";
                    let left = if text.contains("{{") { ", and a placeholder was not replaced" } else { "" };
                    return Err(malformed(&format!("body: word {} is {wanted}{left}", index + 1)));
                }
            };
            self.add(name.to_string(), value.to_string(), index >= 2)?;
        }
        Ok(())
    }

    fn add(&mut self, path: String, text: String, quotable: bool) -> Result<(), Refusal> {
        if self.0.len() >= FIELDS_MAX {
            return Err(malformed(&format!("body: more than {FIELDS_MAX} fields")));
        }
        if self.0.iter().any(|field| field.path == path) {
            return Err(malformed(&format!("{}: the field comes twice", short(&path))));
        }
        let letters = path.chars().filter(char::is_ascii_alphanumeric);
        let name = letters.map(|c| c.to_ascii_lowercase()).collect();
        self.0.push(Field { path, name, text, quotable });
        Ok(())
    }
}

impl Field {
    /// An exact number, written as a number or as a text.
    pub fn decimal(&self) -> Result<Decimal, Refusal> {
        parse_decimal(&self.text).map_err(|error| self.wrong(&error.to_string()))
    }

    /// A number above zero.
    pub fn positive(&self) -> Result<Decimal, Refusal> {
        match self.decimal()? {
            value if value <= Decimal::ZERO => Err(self.wrong(&format!("{value} must be above 0"))),
            value => Ok(value),
        }
    }

    /// What it says, for a refusal.
    pub fn quoted(&self) -> String {
        if self.quotable { format!("{:?}", short(&self.text)) } else { "the word".into() }
    }

    /// `malformed` with the field's name in front.
    pub fn wrong(&self, why: &str) -> Refusal {
        malformed(&format!("{}: {why}", short(&self.path)))
    }

    /// `unsupported` with the field's name in front.
    pub fn unsupported(&self, why: &str) -> Refusal {
        Refusal::new(Reason::Unsupported, format!("{}: {why}", short(&self.path)))
    }
}

/// The usual cause of JSON that is none, by name. The parser's own words may repeat what it read, so they are left out.
fn unless_placeholder(text: &str, refusal: Refusal) -> Refusal {
    if refusal.reason != Reason::Malformed || refusal.detail.ends_with("the field comes twice") {
        return refusal;
    }
    let hint = if text.contains("{{") { ", a placeholder without quotes was not replaced" } else { "" };
    malformed(&format!("body: begins like JSON and is none{hint}"))
}

pub(super) fn malformed(detail: &str) -> Refusal {
    Refusal::new(Reason::Malformed, detail)
}
