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
        let time = self.time_at(0)?;
        match time_last {
            Some(last) if time < last => Err(self.fault(0, ValueFault::Backwards(last.as_ms()))),
            _ => Ok(time),
        }
    }

    pub(super) fn trade(&self) -> Result<PriceUpdate, LineFault> {
        self.trade_from(1)
    }

    pub(super) fn quote(&self) -> Result<PriceUpdate, LineFault> {
        self.quote_from(1)
    }

    /// The venue's time of an event.
    pub(super) fn venue_time(&self) -> Result<Timestamp, LineFault> {
        self.time_at(1)
    }

    /// An event with its values, see `line`. Those that it does not have are empty.
    pub(super) fn event(&self) -> Result<PriceUpdate, LineFault> {
        const WORD: usize = 2;
        const FIRST: usize = WORD + 1;
        const VALUES: usize = 4;
        let (update, values) = match self.field(WORD) {
            "trade" => (self.trade_from(FIRST)?, 3),
            "quote" => (self.quote_from(FIRST)?, 4),
            "candle" => (PriceUpdate::Candle { close: self.price(FIRST)? }, 1),
            "mark" => (PriceUpdate::Mark { price: self.price(FIRST)? }, 1),
            "confirmed" => (PriceUpdate::Confirmed, 0),
            "instrument" => (self.instrument_from(FIRST)?, 4),
            _ => return Err(self.fault(WORD, ValueFault::Event)),
        };
        match (FIRST + values..FIRST + VALUES).find(|column| !self.field(*column).is_empty()) {
            Some(column) => Err(self.fault(column, ValueFault::Surplus)),
            None => Ok(update),
        }
    }

    fn trade_from(&self, first: usize) -> Result<PriceUpdate, LineFault> {
        let quantity = self.size(first + 1)?;
        let taker = match self.field(first + 2) {
            "buy" => Some(Side::Buy),
            "sell" => Some(Side::Sell),
            // Some venues do not tell the side.
            "" => None,
            _ => return Err(self.fault(first + 2, ValueFault::Side)),
        };
        Ok(PriceUpdate::Trade { price: self.price(first)?, quantity, taker })
    }

    fn quote_from(&self, first: usize) -> Result<PriceUpdate, LineFault> {
        let (bid, ask) = (self.price(first)?, self.price(first + 2)?);
        if bid > ask {
            return Err(self.fault(first, ValueFault::Crossed(ask)));
        }
        let (bid_quantity, ask_quantity) = (self.quantity(first + 1)?, self.quantity(first + 3)?);
        Ok(PriceUpdate::Quote { bid, bid_quantity, ask, ask_quantity })
    }

    fn instrument_from(&self, first: usize) -> Result<PriceUpdate, LineFault> {
        Ok(PriceUpdate::Instrument {
            tick_size: self.price(first)?,
            lot_size: self.size(first + 1)?,
            size_min: self.size(first + 2)?,
            contract_value: self.size(first + 3)?,
        })
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

    fn time_at(&self, column: usize) -> Result<Timestamp, LineFault> {
        let range = Timestamp::MIN.as_ms()..=Timestamp::MAX.as_ms();
        let ms = self.field(column).parse::<i64>().ok().filter(|ms| range.contains(ms));
        ms.map(Timestamp::from_ms).ok_or_else(|| self.fault(column, ValueFault::Time))
    }

    /// A quantity above 0.
    fn size(&self, column: usize) -> Result<Quantity, LineFault> {
        let quantity = self.quantity(column)?;
        if quantity.is_zero() { Err(self.fault(column, ValueFault::NotPositive)) } else { Ok(quantity) }
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
