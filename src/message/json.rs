//! Writes one JSON object with its keys in the given order.
//!
//! Decimals leave as plain literals, never with an exponent and never as `NaN`; what is unknown is `null`. An exact
//! decimal never passes through `f64`.

use rust_decimal::Decimal;

/// An object that is being written.
#[derive(Clone, Debug)]
pub struct Object {
    text: String,
}

impl Object {
    /// An object without keys.
    pub fn new() -> Object {
        Object { text: String::from("{") }
    }

    /// Adds a text.
    pub fn text(self, key: &str, value: &str) -> Object {
        self.raw(key, &quoted(value))
    }

    /// Adds a text or `null`.
    pub fn text_or_null(self, key: &str, value: Option<&str>) -> Object {
        match value {
            Some(value) => self.text(key, value),
            None => self.null(key),
        }
    }

    /// Adds anything that prints as a text, such as a time.
    pub fn shown(self, key: &str, value: impl std::fmt::Display) -> Object {
        self.text(key, &value.to_string())
    }

    /// Adds an exact number without trailing zeros.
    pub fn decimal(self, key: &str, value: Decimal) -> Object {
        self.raw(key, &value.normalize().to_string())
    }

    /// Adds an exact number or `null`.
    pub fn decimal_or_null(self, key: &str, value: Option<Decimal>) -> Object {
        match value {
            Some(value) => self.decimal(key, value),
            None => self.null(key),
        }
    }

    /// Adds a ratio; `null` when it is undefined or not finite.
    pub fn float_or_null(self, key: &str, value: Option<f64>) -> Object {
        match value.filter(|value| value.is_finite()) {
            // `Display` of a float never has an exponent, unlike serde_json.
            Some(value) => self.raw(key, &value.to_string()),
            None => self.null(key),
        }
    }

    /// Adds a whole number.
    pub fn integer(self, key: &str, value: impl Into<i128>) -> Object {
        let value: i128 = value.into();
        self.raw(key, &value.to_string())
    }

    /// Adds a whole number or `null`.
    pub fn integer_or_null(self, key: &str, value: Option<i64>) -> Object {
        match value {
            Some(value) => self.integer(key, value),
            None => self.null(key),
        }
    }

    /// Adds `true` or `false`.
    pub fn flag(self, key: &str, value: bool) -> Object {
        self.raw(key, if value { "true" } else { "false" })
    }

    /// Adds `null`.
    pub fn null(self, key: &str) -> Object {
        self.raw(key, "null")
    }

    /// Adds a list of texts.
    pub fn texts(self, key: &str, values: impl Iterator<Item = impl std::fmt::Display>) -> Object {
        let quoted: Vec<String> = values.map(|value| quoted(&value.to_string())).collect();
        self.raw(key, &format!("[{}]", quoted.join(",")))
    }

    /// Adds objects or other values that are JSON already.
    pub fn values(self, key: &str, values: impl Iterator<Item = String>) -> Object {
        let values: Vec<String> = values.collect();
        self.raw(key, &format!("[{}]", values.join(",")))
    }

    /// Adds a value that is JSON already.
    pub fn raw(mut self, key: &str, value: &str) -> Object {
        if self.text.len() > 1 {
            self.text.push(',');
        }
        self.text.push_str(&quoted(key));
        self.text.push(':');
        self.text.push_str(value);
        self
    }

    /// The finished object.
    pub fn finish(mut self) -> String {
        self.text.push('}');
        self.text
    }
}

impl Default for Object {
    fn default() -> Self {
        Object::new()
    }
}

/// A JSON string with everything escaped that must be.
pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text always has a JSON form")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_exact_literals() {
        let text = Object::new()
            .text("a\"b", "line\nbreak")
            .decimal("small", Decimal::new(908, 8))
            .decimal("padded", Decimal::new(150, 2))
            .float_or_null("large", Some(1e21))
            .float_or_null("nan", Some(f64::NAN))
            .integer("count", 3u32)
            .flag("yes", true)
            .texts("list", ["x"].iter())
            .finish();
        assert_eq!(
            text,
            "{\"a\\\"b\":\"line\\nbreak\",\"small\":0.00000908,\"padded\":1.5,\
             \"large\":1000000000000000000000,\"nan\":null,\"count\":3,\"yes\":true,\"list\":[\"x\"]}"
        );
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }
}
