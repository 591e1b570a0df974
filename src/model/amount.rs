//! Prices, quantities and money: exact decimals, one type each, so that they cannot be mixed up.
//!
//! Values read from outside lie within ±10^13 and have at most 12 decimals, which keeps every product that the ledger
//! forms inside the 28 digits of `Decimal`. They are stored as mantissa and scale, because `Decimal`'s own serde form
//! is a string that postcard cannot read back.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Decimals to which notional, fee and cost are rounded at each fill (half-even).
pub const MONEY_DECIMALS: u32 = 8;
/// The largest absolute value that is taken from outside.
pub const AMOUNT_MAX: i64 = 10_000_000_000_000;
/// The most decimals that are taken from outside.
pub const AMOUNT_DECIMALS: u32 = 12;

macro_rules! amount {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(Decimal);

        impl $name {
            /// Zero.
            pub const ZERO: $name = $name(Decimal::ZERO);

            /// Wraps a value that is known to be in range.
            pub const fn new(value: Decimal) -> $name {
                $name(value)
            }

            /// The bare number.
            pub const fn value(self) -> Decimal {
                self.0
            }

            /// Whether this is exactly zero.
            pub fn is_zero(self) -> bool {
                self.0.is_zero()
            }

            /// The value without its sign.
            pub fn abs(self) -> $name {
                $name(self.0.abs())
            }

            /// Whether this is above zero.
            pub fn is_positive(self) -> bool {
                self.0.is_sign_positive() && !self.0.is_zero()
            }

            /// Whether this is below zero.
            pub fn is_negative(self) -> bool {
                self.0.is_sign_negative() && !self.0.is_zero()
            }
        }

        impl std::ops::Add for $name {
            type Output = $name;
            fn add(self, other: $name) -> $name {
                $name(self.0 + other.0)
            }
        }

        impl std::ops::Sub for $name {
            type Output = $name;
            fn sub(self, other: $name) -> $name {
                $name(self.0 - other.0)
            }
        }

        impl std::ops::AddAssign for $name {
            fn add_assign(&mut self, other: $name) {
                self.0 += other.0;
            }
        }

        impl std::ops::SubAssign for $name {
            fn sub_assign(&mut self, other: $name) {
                self.0 -= other.0;
            }
        }

        impl std::ops::Neg for $name {
            type Output = $name;
            fn neg(self) -> $name {
                $name(-self.0)
            }
        }

        impl std::iter::Sum for $name {
            fn sum<I: Iterator<Item = $name>>(values: I) -> $name {
                values.fold($name::ZERO, |total, value| total + value)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.normalize().fmt(f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serialize_decimal(&self.0, serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                deserialize_decimal(deserializer).map($name)
            }
        }
    };
}

amount!(
    /// Quote currency per base unit.
    Price
);
amount!(
    /// Base units. Signed where it describes a position (short is negative), else positive.
    Quantity
);
amount!(
    /// Quote currency.
    Money
);
amount!(
    /// A share or factor without a unit: 0.0006 is 6 basis points, 1 is everything.
    Ratio
);

impl Price {
    /// `price x quantity` in quote currency, rounded half-even to [`MONEY_DECIMALS`]; has the sign of the quantity.
    pub fn times(self, quantity: Quantity) -> Money {
        Money(self.0 * quantity.0).rounded()
    }
}

impl Money {
    /// Rounded half-even to [`MONEY_DECIMALS`].
    pub fn rounded(self) -> Money {
        Money(self.0.round_dp_with_strategy(MONEY_DECIMALS, RoundingStrategy::MidpointNearestEven))
    }

    /// `self x ratio`, rounded like every amount of the ledger.
    pub fn times(self, ratio: Ratio) -> Money {
        Money(self.0 * ratio.0).rounded()
    }

    /// The share `part / whole` of this amount, rounded. All of it when `part` is `whole`.
    ///
    /// # Panics
    /// When `whole` is zero.
    pub fn share(self, part: Quantity, whole: Quantity) -> Money {
        assert!(!whole.is_zero(), "a share of nothing was asked for");
        if part == whole {
            return self;
        }
        // Multiplying first is exact; dividing first is only for products beyond 28 digits.
        let value = match self.0.checked_mul(part.0) {
            Some(product) => product / whole.0,
            None => self.0 * (part.0 / whole.0),
        };
        Money(value).rounded()
    }

    /// Nearest `f64`, for ratios such as Sharpe only.
    pub fn to_f64(self) -> f64 {
        decimal_to_f64(self.0)
    }
}

/// The largest integer through which every one is an `f64`.
const EXACT_MAX: i128 = 1 << 53;
/// The powers of ten that are exactly an `f64`, as far as they are needed.
const POWERS_OF_TEN: [f64; 13] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12];

/// Nearest `f64` of a decimal. One division of two exact numbers rounds correctly; where they are not exact, the way
/// leads through the text.
pub fn decimal_to_f64(value: Decimal) -> f64 {
    let mantissa = value.mantissa();
    match POWERS_OF_TEN.get(value.scale() as usize) {
        Some(power) if mantissa.abs() <= EXACT_MAX => mantissa as f64 / power,
        _ => value.to_string().parse().unwrap_or(0.0),
    }
}

/// Reads a number from outside: `12`, `-0.5`, `1e-3`.
///
/// # Errors
/// When the text is not a number (also `NaN`, `inf`, `{{close}}`), is beyond ±[`AMOUNT_MAX`], or has more than
/// [`AMOUNT_DECIMALS`] decimals.
pub fn parse_decimal(text: &str) -> Result<Decimal, AmountError> {
    let shown = || text.chars().take(40).collect::<String>();
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
    if text.is_empty() || text.len() > 64 || !plain || !text.bytes().any(|b| b.is_ascii_digit()) {
        return Err(AmountError::NotANumber(shown()));
    }
    let exponent = text.bytes().any(|b| matches!(b, b'e' | b'E'));
    let parsed = if exponent { Decimal::from_scientific(text) } else { Decimal::from_str_exact(text) };
    let value = match parsed {
        Ok(value) => value.normalize(),
        Err(_) => return Err(AmountError::of_unreadable(text, shown())),
    };
    if value.abs() > Decimal::from(AMOUNT_MAX) {
        return Err(AmountError::TooLarge(shown()));
    }
    if value.scale() > AMOUNT_DECIMALS {
        return Err(AmountError::TooFine(shown()));
    }
    Ok(value)
}

/// Why a text is not taken as a number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not a decimal number at all.
    #[error("{0:?} is not a number")]
    NotANumber(String),
    /// Beyond the range.
    #[error("{0} is beyond the limit of 10000000000000")]
    TooLarge(String),
    /// More decimals than are kept.
    #[error("{0} has more than 12 decimals")]
    TooFine(String),
}

impl AmountError {
    /// Names the likely reason for a text that looks like a number but does not fit into a `Decimal`.
    fn of_unreadable(text: &str, shown: String) -> AmountError {
        match text.parse::<f64>() {
            Ok(value) if value.abs() > AMOUNT_MAX as f64 => AmountError::TooLarge(shown),
            Ok(_) => AmountError::TooFine(shown),
            Err(_) => AmountError::NotANumber(shown),
        }
    }
}

fn serialize_decimal<S: Serializer>(value: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    (value.mantissa(), value.scale()).serialize(serializer)
}

fn deserialize_decimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    let (mantissa, scale) = <(i128, u32)>::deserialize(deserializer)?;
    Decimal::try_from_i128_with_scale(mantissa, scale).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(text: &str) -> Money {
        Money::new(parse_decimal(text).unwrap())
    }

    #[test]
    fn reads_numbers_and_refuses_the_rest() {
        let check = |text: &str, expected: &str| {
            let shown = match parse_decimal(text) {
                Ok(value) => value.to_string(),
                Err(error) => error.to_string(),
            };
            assert_eq!(shown, expected, "{text}");
        };
        check("0.01", "0.01");
        check("1.500", "1.5");
        check("-3", "-3");
        check("1e-3", "0.001");
        check("2.5E2", "250");
        check("NaN", "\"NaN\" is not a number");
        check("{{close}}", "\"{{close}}\" is not a number");
        check("", "\"\" is not a number");
        check("-", "\"-\" is not a number");
        check("1.2.3", "\"1.2.3\" is not a number");
        check("0x10", "\"0x10\" is not a number");
        check("1e400", "1e400 is beyond the limit of 10000000000000");
        check("10000000000001", "10000000000001 is beyond the limit of 10000000000000");
        check("0.0000000000001", "0.0000000000001 has more than 12 decimals");
        check("1e-40", "1e-40 has more than 12 decimals");
    }

    #[test]
    fn shares_round_half_even_and_the_whole_is_exact() {
        let check = |amount: &str, part: &str, whole: &str, expected: &str| {
            let q = |text| Quantity::new(parse_decimal(text).unwrap());
            assert_eq!(
                money(amount).share(q(part), q(whole)).to_string(),
                expected,
                "{amount} {part}/{whole}"
            );
        };
        check("100", "1", "3", "33.33333333");
        check("0.00000001", "1", "2", "0");
        check("0.00000003", "1", "2", "0.00000002");
        check("9999999999999", "9999999999999", "9999999999999", "9999999999999");
        check("9999999999999", "5000000000000", "10000000000000", "4999999999999.5");
    }

    #[test]
    fn floats_are_those_of_the_text() {
        let mut mantissa: i64 = 1;
        for step in 0..3_000_i64 {
            mantissa = mantissa.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step);
            let value = Decimal::new(mantissa >> (step % 60), u32::try_from(step % 20).unwrap());
            let text: f64 = value.to_string().parse().unwrap();
            assert_eq!(decimal_to_f64(value).to_bits(), (text + 0.0).to_bits(), "{value}");
        }
    }

    #[test]
    fn survives_postcard() {
        for text in ["0", "-0.000000000001", "9999999999999.999999999999", "1.50"] {
            let amount = money(text);
            let bytes = postcard::to_allocvec(&amount).unwrap();
            assert_eq!(postcard::from_bytes::<Money>(&bytes).unwrap(), amount, "{text}");
        }
    }
}
