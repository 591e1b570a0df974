//! One line by its columns: every value is looked at before a price is made of it.

use rust_decimal::Decimal;

use super::RecordingKind;
use super::error::{LineFault, ValueFault, shown};
use crate::model::amount::{AmountError, Price, Quantity, parse_decimal};
use crate::model::market::PriceUpdate;
use crate::model::order::Side;
use crate::model::time::Timestamp;

/// The fields of one line, by the columns of its kind.
pub(super) struct Row<'a> {
    pub(super) kind: RecordingKind,
    pub(super) places: &'a [usize],
    pub(super) fields: &'a [&'a str],
}

impl Row<'_> {
    pub(super) fn time(&self, time_last: Option<Timestamp>) -> Result<Timestamp, LineFault> {
        let range = Timestamp::MIN.as_ms()..=Timestamp::MAX.as_ms();
        let ms = self.field(0).parse::<i64>().ok().filter(|ms| range.contains(ms));
        let time = Timestamp::from_ms(ms.ok_or_else(|| self.fault(0, ValueFault::Time))?);
        match time_last {
            Some(last) if time < last => Err(self.fault(0, ValueFault::Backwards(last.as_ms()))),
            _ => Ok(time),
        }
    }

    pub(super) fn trade(&self) -> Result<PriceUpdate, LineFault> {
        let quantity = self.quantity(2)?;
        if quantity.is_zero() {
            return Err(self.fault(2, ValueFault::NotPositive));
        }
        let taker = match self.field(3) {
            "buy" => Some(Side::Buy),
            "sell" => Some(Side::Sell),
            // Some venues do not tell the side.
            "" => None,
            _ => return Err(self.fault(3, ValueFault::Side)),
        };
        Ok(PriceUpdate::Trade { price: self.price(1)?, quantity, taker })
    }

    pub(super) fn quote(&self) -> Result<PriceUpdate, LineFault> {
        let (bid, ask) = (self.price(1)?, self.price(3)?);
        if bid > ask {
            return Err(self.fault(1, ValueFault::Crossed(ask)));
        }
        Ok(PriceUpdate::Quote { bid, bid_quantity: self.quantity(2)?, ask, ask_quantity: self.quantity(4)? })
    }

    /// All columns are looked at, so that a shifted one is noticed although only the close is used.
    pub(super) fn candle(&self) -> Result<PriceUpdate, LineFault> {
        for column in 1..=3 {
            self.price(column)?;
        }
        self.volume(5)?;
        Ok(PriceUpdate::Candle { close: self.price(4)? })
    }

    /// A volume is not kept, and often has the 17 digits of a binary sum: it only has to be a number.
    fn volume(&self, column: usize) -> Result<(), LineFault> {
        match self.field(column).parse::<f64>() {
            Ok(volume) if volume.is_finite() && volume < 0.0 => Err(self.fault(column, ValueFault::Negative)),
            Ok(volume) if volume.is_finite() => Ok(()),
            _ => Err(self.fault(column, ValueFault::NotANumber)),
        }
    }

    fn price(&self, column: usize) -> Result<Price, LineFault> {
        let price = self.number(column).map(Price::new)?;
        if price.is_positive() { Ok(price) } else { Err(self.fault(column, ValueFault::NotPositive)) }
    }

    fn quantity(&self, column: usize) -> Result<Quantity, LineFault> {
        let quantity = self.number(column).map(Quantity::new)?;
        if quantity.is_negative() { Err(self.fault(column, ValueFault::Negative)) } else { Ok(quantity) }
    }

    fn number(&self, column: usize) -> Result<Decimal, LineFault> {
        parse_decimal(self.field(column)).map_err(|error| {
            self.fault(
                column,
                match error {
                    AmountError::NotANumber(_) => ValueFault::NotANumber,
                    AmountError::TooLarge(_) => ValueFault::TooLarge,
                    AmountError::TooFine(_) => ValueFault::TooFine,
                },
            )
        })
    }

    fn field(&self, column: usize) -> &str {
        self.fields[self.places[column]]
    }

    fn fault(&self, column: usize, why: ValueFault) -> LineFault {
        LineFault::Value { column: self.kind.columns()[column], value: shown(self.field(column)), why }
    }
}
