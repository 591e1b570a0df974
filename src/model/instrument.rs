//! One tradable pair at one venue. The only place where contracts become base units and money, and where rounding to
//! lot and tick happens.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

use super::amount::{AMOUNT_DECIMALS, AMOUNT_MAX, Money, Price, Quantity};
use super::ids::Symbol;
use super::order::Side;

/// The smallest tick and lot that an instrument without settings of its own has: 0.00000001.
pub const STEP_DEFAULT: Decimal = Decimal::from_parts(1, 0, 0, false, 8);

/// What a venue says about a pair. Lot and minimum are in contracts, as venues give them; everything that leaves this
/// type is in base units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instrument {
    symbol: Symbol,
    tick_size: Price,
    lot_size: Quantity,
    size_min: Quantity,
    contract_value: Quantity,
}

impl Instrument {
    /// An instrument from the venue's figures: tick in quote currency, lot and minimum in contracts, base units in a
    /// contract.
    ///
    /// # Errors
    /// Names the figure that is not above zero.
    pub fn new(
        symbol: Symbol,
        tick_size: Price,
        lot_size: Quantity,
        size_min: Quantity,
        contract_value: Quantity,
    ) -> Result<Instrument, InstrumentError> {
        let figures = [
            ("tick_size", tick_size.value()),
            ("lot_size", lot_size.value()),
            ("size_min", size_min.value()),
            ("contract_value", contract_value.value()),
        ];
        match figures.into_iter().find(|(_, value)| *value <= Decimal::ZERO) {
            Some((field, value)) => Err(InstrumentError { symbol, field, value }),
            None => Ok(Instrument { symbol, tick_size, lot_size, size_min, contract_value }),
        }
    }

    /// The instrument of a recorded or synthetic market without settings: tick, lot and minimum 0.00000001, one base
    /// unit in a contract.
    pub fn plain(symbol: Symbol) -> Instrument {
        Instrument {
            symbol,
            tick_size: Price::new(STEP_DEFAULT),
            lot_size: Quantity::new(STEP_DEFAULT),
            size_min: Quantity::new(STEP_DEFAULT),
            contract_value: Quantity::new(Decimal::ONE),
        }
    }

    /// The pair.
    pub fn symbol(&self) -> Symbol {
        self.symbol
    }

    /// The smallest step of a price.
    pub fn tick_size(&self) -> Price {
        self.tick_size
    }

    /// The smallest step of a size, in contracts.
    pub fn lot_size(&self) -> Quantity {
        self.lot_size
    }

    /// The smallest order, in contracts.
    pub fn size_min(&self) -> Quantity {
        self.size_min
    }

    /// Base units in a contract.
    pub fn contract_value(&self) -> Quantity {
        self.contract_value
    }

    /// Whether the lot in base units has no more decimals than amounts keep.
    pub fn keeps_lot(&self) -> bool {
        self.lot().value().scale() <= AMOUNT_DECIMALS
    }

    /// The base units in a number of contracts, exact as far as 28 digits go.
    pub fn base_units(&self, contracts: Quantity) -> Quantity {
        Quantity::new((contracts.value() * self.contract_value.value()).normalize())
    }

    /// The contracts in a quantity of base units; `None` when it is not whole lots.
    pub fn contracts(&self, quantity: Quantity) -> Option<Quantity> {
        let contracts = quantity.value().checked_div(self.contract_value.value())?.normalize();
        let is_exact = contracts.checked_mul(self.contract_value.value()) == Some(quantity.value());
        let is_whole = (contracts % self.lot_size.value()).is_zero();
        (is_exact && is_whole).then_some(Quantity::new(contracts))
    }

    /// Whether a price is whole ticks.
    pub fn is_on_tick(&self, price: Price) -> bool {
        (price.value() % self.tick_size.value()).is_zero()
    }

    /// The smallest step of a quantity, in base units.
    pub fn lot(&self) -> Quantity {
        Quantity::new((self.lot_size.value() * self.contract_value.value()).normalize())
    }

    /// The smallest order, in base units.
    pub fn quantity_min(&self) -> Quantity {
        Quantity::new((self.size_min.value() * self.contract_value.value()).normalize())
    }

    /// Money that `quantity` (base units, signed) is worth at `price`, rounded like the ledger.
    pub fn notional(&self, price: Price, quantity: Quantity) -> Money {
        price.times(quantity)
    }

    /// The quantity rounded towards zero to whole lots, in base units.
    pub fn round_quantity(&self, quantity: Quantity) -> Quantity {
        let lot = self.lot().value();
        // Quantities are bounded by 10^13 and lots by 10^-12, so the quotient stays within 25 digits.
        Quantity::new(((quantity.value() / lot).trunc() * lot).normalize())
    }

    /// The base units that `money` buys at `price`, before rounding to the lot; at most [`AMOUNT_MAX`].
    pub fn quantity_for(&self, money: Money, price: Price) -> Quantity {
        assert!(price.is_positive(), "a size was computed from a price that is not positive");
        let most = Decimal::from(AMOUNT_MAX);
        Quantity::new(money.value().checked_div(price.value()).unwrap_or(most).min(most))
    }

    /// A limit rounded to a tick on the side that is not worse than asked: down for a buy, up for a sell.
    pub fn round_limit(&self, price: Price, side: Side) -> Price {
        self.round_price_against(price, side.opposite())
    }

    /// Whether a limit is so low that it could only be rounded up to the first tick.
    pub fn is_below_tick(&self, price: Price) -> bool {
        price < self.tick_size
    }

    /// The price rounded to a tick on the side that is worse for the taker: up for a buy, down for a sell.
    pub fn round_price_against(&self, price: Price, side: Side) -> Price {
        let tick = self.tick_size.value();
        let strategy = match side {
            Side::Buy => RoundingStrategy::ToPositiveInfinity,
            Side::Sell => RoundingStrategy::ToNegativeInfinity,
        };
        let rounded = (price.value() / tick).round_dp_with_strategy(0, strategy) * tick;
        Price::new(rounded.max(tick).normalize())
    }
}

/// A figure of an instrument that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instrument {symbol}: {field} is {value}, it must be above 0")]
pub struct InstrumentError {
    symbol: Symbol,
    field: &'static str,
    value: Decimal,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::amount::parse_decimal;

    fn instrument() -> Instrument {
        let d = |text| parse_decimal(text).unwrap();
        Instrument::new(
            Symbol::new("BTC-USDT").unwrap(),
            Price::new(d("0.1")),
            Quantity::new(d("0.1")),
            Quantity::new(d("0.1")),
            Quantity::new(d("0.001")),
        )
        .unwrap()
    }

    #[test]
    fn contracts_become_base_units() {
        assert_eq!(instrument().lot().to_string(), "0.0001");
        assert_eq!(instrument().quantity_min().to_string(), "0.0001");
        let contracts = Quantity::new(parse_decimal("7304").unwrap());
        assert_eq!(instrument().base_units(contracts).to_string(), "7.304");
        for (quantity, expected) in [("7.304", Some("7304")), ("0.0001", Some("0.1")), ("0.00015", None)] {
            let contracts = instrument().contracts(Quantity::new(parse_decimal(quantity).unwrap()));
            assert_eq!(contracts.map(|contracts| contracts.to_string()).as_deref(), expected, "{quantity}");
        }
    }

    #[test]
    fn sizes_round_down_and_prices_to_the_tick() {
        let check = |quantity: &str, expected: &str| {
            let rounded = instrument().round_quantity(Quantity::new(parse_decimal(quantity).unwrap()));
            assert_eq!(rounded.to_string(), expected, "{quantity}");
        };
        check("0.00019", "0.0001");
        check("-0.00019", "-0.0001");
        check("0.00009", "0");
        check("1", "1");
        let price = |text| Price::new(parse_decimal(text).unwrap());
        assert_eq!(instrument().round_limit(price("100.06"), Side::Buy).to_string(), "100");
        assert_eq!(instrument().round_limit(price("100.04"), Side::Sell).to_string(), "100.1");
        assert_eq!(instrument().round_limit(price("100.1"), Side::Sell).to_string(), "100.1");
        assert_eq!(instrument().round_price_against(price("100.11"), Side::Buy).to_string(), "100.2");
        assert_eq!(instrument().round_price_against(price("100.19"), Side::Sell).to_string(), "100.1");
        assert_eq!(instrument().round_price_against(price("0.01"), Side::Sell).to_string(), "0.1");
    }

    #[test]
    fn absurd_sizes_are_cut_down() {
        let d = |text| parse_decimal(text).unwrap();
        let plain = Instrument::plain(Symbol::new("X-USDT").unwrap());
        for price in ["0.000000000001", "0.00000001", "1"] {
            let quantity = plain.quantity_for(Money::new(d("10000000000000")), Price::new(d(price)));
            assert_eq!(plain.round_quantity(quantity).to_string(), "10000000000000");
        }
    }

    #[test]
    fn zero_figures_are_named() {
        let error = Instrument::new(
            Symbol::new("BTC-USDT").unwrap(),
            Price::ZERO,
            Quantity::new(Decimal::ONE),
            Quantity::new(Decimal::ONE),
            Quantity::new(Decimal::ONE),
        );
        assert_eq!(error.unwrap_err().to_string(), "instrument BTC-USDT: tick_size is 0, it must be above 0");
    }
}
