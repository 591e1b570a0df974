//! Payloads of the daemon as people read them.
//!
//! Whoever may publish decides what stands in a payload, so control characters, with which a terminal could be misled,
//! are never printed as they are.

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::message::json::quoted;

/// What stands for `null` and for what is missing.
const UNKNOWN: &str = "-";

/// Reads a payload; a text that is not JSON is a text.
pub fn read(payload: &str) -> Value {
    serde_json::from_str(payload).unwrap_or_else(|_| Value::from(payload))
}

/// A payload as it stands in a JSON output: unchanged if it is JSON itself, else as a text.
pub fn raw(payload: &str) -> String {
    // A line end between the tokens would break an output of one line.
    match serde_json::from_str::<IgnoredAny>(payload) {
        Ok(_) => payload.replace(['\r', '\n'], " "),
        Err(_) => quoted(payload),
    }
}

/// The field of an object in words.
pub fn field(payload: &Value, key: &str) -> String {
    payload.get(key).map_or_else(|| UNKNOWN.to_owned(), words)
}

/// A value in words.
pub fn words(value: &Value) -> String {
    match value {
        Value::Null => UNKNOWN.to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => printable(text),
        Value::Array(values) => values.iter().map(words).collect::<Vec<_>>().join(", "),
        Value::Object(_) => printable(&value.to_string()),
    }
}

/// A text without control characters.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The rows of a table: the fields of each payload.
pub fn rows(payloads: &[Value], keys: &[&str]) -> Vec<Vec<String>> {
    payloads.iter().map(|payload| keys.iter().map(|key| field(payload, key)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_in_words() {
        let check = |payload: &str, expected: &str| assert_eq!(field(&read(payload), "a"), expected);
        check(r#"{"a":0.00000001}"#, "0.00000001");
        check(r#"{"a":123456789012345678.90}"#, "123456789012345678.90");
        check(r#"{"a":null}"#, "-");
        check("{}", "-");
        check("offline", "-");
        check(r#"{"a":true}"#, "yes");
        check(r#"{"a":["x","y"]}"#, "x, y");
        check(r#"{"a":"\u001b[2Jx"}"#, "\u{fffd}[2Jx");
    }

    #[test]
    fn raw_payloads_stay_as_they_are() {
        let check = |payload: &str, expected: &str| assert_eq!(raw(payload), expected);
        check(r#"{"z":1.50,"a":null}"#, r#"{"z":1.50,"a":null}"#);
        check("{\n}", "{ }");
        check("run", "\"run\"");
        check("{", "\"{\"");
    }
}
