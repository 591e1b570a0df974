//! Single values: exact numbers, and how problems show a value.
//!
//! Numbers reach `Decimal` through text. TOML keeps `0.0006` as a binary fraction; its shortest decimal text is what
//! was typed as long as that had at most 15 digits, and longer ones are refused (they go in quotes).

use figment::value::{Num, Value};
use rust_decimal::Decimal;

use super::schema::Range;
use crate::model::amount::parse_decimal;

/// The most digits that every binary fraction of TOML keeps.
const DIGITS_MAX: usize = 15;
/// The most characters of a value that a problem shows.
const SHOWN_MAX: usize = 80;

/// The number that a value is, exactly.
pub(super) fn decimal(value: &Value) -> Result<Decimal, String> {
    let text = match value {
        Value::String(_, text) => text.clone(),
        Value::Num(_, Num::F64(number)) => number.to_string(),
        Value::Num(_, number) => match number.to_i128() {
            Some(whole) => whole.to_string(),
            None => return Err(format!("{} is not a number", shown(value))),
        },
        other => return Err(format!("{} is not a number", shown(other))),
    };
    let number = parse_decimal(&text).map_err(|error| error.to_string())?;
    let digits = text.bytes().skip_while(|b| !matches!(b, b'1'..=b'9')).filter(u8::is_ascii_digit).count();
    if matches!(value, Value::Num(_, Num::F64(_))) && digits > DIGITS_MAX {
        return Err(format!(
            "{text} has more than {DIGITS_MAX} digits; write it in quotes, to be taken exactly"
        ));
    }
    Ok(number)
}

/// `number`, when it lies within `range`.
pub(super) fn in_range(number: Decimal, range: Range) -> Result<Decimal, String> {
    let low = if range.above { number <= constant(range.min) } else { number < constant(range.min) };
    if low || number > constant(range.max) {
        return Err(format!("{number} is out of range; it must be {range}"));
    }
    Ok(number)
}

/// A number of the schema.
pub(super) fn constant(text: &str) -> Decimal {
    parse_decimal(text).expect("the schema has numbers only")
}

/// A value as a problem shows it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("{:?}", text.chars().take(SHOWN_MAX).collect::<String>()),
        Value::Bool(_, flag) => flag.to_string(),
        Value::Num(_, Num::F64(number)) => number.to_string(),
        Value::Num(_, number) => number.to_i128().map(|n| n.to_string()).unwrap_or_default(),
        Value::Dict(..) => "a table".to_owned(),
        Value::Array(..) => "a list".to_owned(),
        _ => "this".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_or_refused() {
        let check = |value: Value, expected: &str| {
            let shown = decimal(&value).map_or_else(|why| why, |number| number.to_string());
            assert_eq!(shown, expected);
        };
        check(Value::from(0.0006), "0.0006");
        check(Value::from(0.1), "0.1");
        check(Value::from(-1e-7), "-0.0000001");
        check(Value::from(97_123.456_789_012_3), "97123.4567890123");
        check(Value::from(10_000), "10000");
        check(Value::from("97123.456789012345"), "97123.456789012345");
        check(
            Value::from(97_123.456_789_012_34),
            "97123.45678901234 has more than 15 digits; write it in quotes, to be taken exactly",
        );
        check(Value::from(f64::NAN), "\"NaN\" is not a number");
        check(Value::from(f64::INFINITY), "\"inf\" is not a number");
        check(Value::from(true), "true is not a number");
        check(Value::from("ten"), "\"ten\" is not a number");
        check(Value::from(1e-13), "0.0000000000001 has more than 12 decimals");
    }
}
