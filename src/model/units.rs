//! Money as whole numbers of 10^-8, the last digit of the ledger: what a tick adds and compares.
//!
//! A `Decimal` carries its scale, which each addition and comparison has to settle first. Every amount of the ledger
//! has at most [`MONEY_DECIMALS`], so units are exact, and they reach further than `Decimal` does: a sum that overflows
//! here would have overflowed there. They never leave the engine; what is shown or stored is a [`Money`].

use rust_decimal::Decimal;

use super::amount::{MONEY_DECIMALS, Money, Price, Quantity};

/// Units of a whole.
const WHOLE: i128 = 10_i128.pow(MONEY_DECIMALS);
/// The powers of ten between a product's scale and that of units.
const POWERS_OF_TEN: [i128; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, WHOLE];
/// The first mantissa that a `Decimal` cannot hold: beyond it a `Decimal` product is rounded.
const MANTISSA_END: u128 = 1 << 96;

/// So many 10^-8 of the quote currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Units(i128);

impl Units {
    /// Nothing.
    pub const ZERO: Units = Units(0);
    /// The smallest amount above nothing.
    pub const ONE: Units = Units(1);
    /// Above every amount.
    pub const MAX: Units = Units(i128::MAX);

    /// The largest number of units that is not above an amount; the amount itself when it has at most 8 decimals.
    pub fn floor(amount: Money) -> Units {
        let (mantissa, scale) = (amount.value().mantissa(), amount.value().scale());
        Units(match MONEY_DECIMALS.checked_sub(scale) {
            // 96 bits and 8 digits more fit into 127 bits.
            Some(missing) => mantissa * 10_i128.pow(missing),
            None => mantissa.div_euclid(10_i128.pow(scale - MONEY_DECIMALS)),
        })
    }

    /// What [`Price::times`] gives, to the last digit.
    pub fn product(price: Price, quantity: Quantity) -> Units {
        Units::small_product(price.value(), quantity.value())
            .unwrap_or_else(|| Units::floor(price.times(quantity)))
    }

    /// The same for factors of up to 18 digits whose product `Decimal` does not round.
    fn small_product(price: Decimal, quantity: Decimal) -> Option<Units> {
        let price_mantissa = i128::from(i64::try_from(price.mantissa()).ok()?);
        let product = price_mantissa * i128::from(i64::try_from(quantity.mantissa()).ok()?);
        let scale = price.scale() + quantity.scale();
        if product.unsigned_abs() >= MANTISSA_END || scale > 2 * MONEY_DECIMALS {
            return None;
        }
        Some(Units(match MONEY_DECIMALS.checked_sub(scale) {
            Some(missing) => product * POWERS_OF_TEN[missing as usize],
            None => half_even(product, POWERS_OF_TEN[(scale - MONEY_DECIMALS) as usize]),
        }))
    }

    /// The sum, at the end of the range where it lies beyond.
    pub fn saturating_add(self, other: Units) -> Units {
        Units(self.0.saturating_add(other.0))
    }

    /// The amount, without trailing zeros.
    ///
    /// # Panics
    /// Where a sum of `Decimal` would: beyond 7.9 x 10^28.
    pub fn money(self) -> Money {
        // Above 7.9 x 10^20 a `Decimal` has no room for 8 decimals, and holds as many as it can.
        let value = (0..=MONEY_DECIMALS).rev().find_map(|scale| {
            let mantissa = half_even(self.0, POWERS_OF_TEN[(MONEY_DECIMALS - scale) as usize]);
            Decimal::try_from_i128_with_scale(mantissa, scale).ok()
        });
        Money::new(value.expect("an amount is below 7.9 x 10^28").normalize())
    }
}

impl std::ops::Add for Units {
    type Output = Units;
    fn add(self, other: Units) -> Units {
        Units(self.0 + other.0)
    }
}

impl std::ops::Sub for Units {
    type Output = Units;
    fn sub(self, other: Units) -> Units {
        Units(self.0 - other.0)
    }
}

impl std::ops::AddAssign for Units {
    fn add_assign(&mut self, other: Units) {
        self.0 += other.0;
    }
}

impl std::iter::Sum for Units {
    fn sum<I: Iterator<Item = Units>>(values: I) -> Units {
        values.fold(Units::ZERO, |total, value| total + value)
    }
}

/// A quotient rounded half-even; the divisor is above 0.
fn half_even(value: i128, divisor: i128) -> i128 {
    let quotient = value / divisor;
    let twice = (value % divisor).abs() * 2;
    let up = twice > divisor || (twice == divisor && quotient % 2 != 0);
    if up { quotient + value.signum() } else { quotient }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::amount::parse_decimal;

    fn decimal(text: &str) -> Decimal {
        parse_decimal(text).unwrap()
    }

    #[test]
    fn products_are_those_of_decimals() {
        let check = |price: &str, quantity: &str| {
            for sign in [Decimal::ONE, Decimal::NEGATIVE_ONE] {
                let (price, quantity) = (Price::new(decimal(price)), Quantity::new(decimal(quantity) * sign));
                assert_eq!(
                    Units::product(price, quantity).money(),
                    price.times(quantity),
                    "{price} {quantity}"
                );
            }
        };
        check("50000.1", "1");
        check("0", "3");
        // Halves go to the even neighbour.
        check("0.00001", "0.0005");
        check("0.00001", "0.0015");
        check("0.00001", "0.0025");
        check("0.00001", "0.00150001");
        check("0.000000000001", "0.000000000001");
        check("97123.123456789012", "0.123456789012");
        check("9999999999999", "9999999.999999999");
        check("9999999999999.123456789012", "1000000");
        let mut seed: u64 = 1;
        for step in 0..20_000_u32 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mantissa = (seed >> (11 + step % 50)) as i64;
            let price = Price::new(Decimal::new(mantissa, step % 13));
            let quantity = Quantity::new(Decimal::new(seed as u32 as i32 as i64, step / 13 % 13));
            if price.value().checked_mul(quantity.value()).is_some() {
                assert_eq!(
                    Units::product(price, quantity).money(),
                    price.times(quantity),
                    "{price} {quantity}"
                );
            }
        }
    }

    #[test]
    fn floors_are_not_above() {
        let check = |amount: &str, units: i128| {
            assert_eq!(Units::floor(Money::new(decimal(amount))), Units(units), "{amount}");
        };
        check("1", 100_000_000);
        check("-1.5", -150_000_000);
        check("0.000000019999", 1);
        check("-0.000000010001", -2);
        check("9999999999999.999999999999", 999_999_999_999_999_999_999);
    }

    #[test]
    fn amounts_come_back() {
        let check = |units: i128, amount: &str| assert_eq!(Units(units).money().to_string(), amount);
        check(0, "0");
        check(-150_000_000, "-1.5");
        check(1, "0.00000001");
        // More than a `Decimal` with 8 decimals can hold.
        check(100_000_000_000_000_000_000_000_000_000, "1000000000000000000000");
    }
}
