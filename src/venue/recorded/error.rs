//! What can be wrong with a recording, in words for whoever made the file.

use crate::model::amount::Price;

/// The most characters of a value or header that an error shows.
const SHOWN_CHARS_MAX: usize = 200;

/// A line that cannot be. Whoever reads the file adds its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct LineError {
    /// Number of the line; the header is line 1.
    pub line: u64,
    /// What is wrong with it.
    pub fault: LineFault,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// The header has the columns of no kind.
    #[error(
        "the header {found:?} is of no known kind; each column once, in any order: \
         trades time_ms,price,quantity,taker_side,trade_id; \
         quotes received_ms,bid,bid_quantity,ask,ask_quantity; \
         candles open_time_ms,open,high,low,close,volume; \
         events received_ms,time_ms,event,value_1,value_2,value_3,value_4"
    )]
    Header {
        /// The header.
        found: String,
    },
    /// The header has too many columns.
    #[error("the header has {found} columns, the limit is 32")]
    Columns {
        /// How many it has.
        found: usize,
    },
    /// More or fewer fields than the header has.
    #[error("{found} values, but the header has {expected} columns")]
    Fields {
        /// How many the line has.
        found: usize,
        /// How many the header has.
        expected: usize,
    },
    /// One value.
    #[error("column {column}: {value:?} {why}")]
    Value {
        /// The column's name.
        column: &'static str,
        /// The value, cut to 200 characters.
        value: String,
        /// What is wrong with it.
        why: ValueFault,
    },
    /// An empty line that is not at the end.
    #[error("follows line {line}, which is empty; only the end of a file may have empty lines")]
    EmptyLine {
        /// The first empty line.
        line: u64,
    },
    /// Beyond [`super::LINE_BYTES_MAX`].
    #[error("longer than 4096 bytes")]
    TooLong,
    /// Not UTF-8.
    #[error("not UTF-8 text")]
    NotText,
    /// Candles without two different open times.
    #[error("the timeframe is unknown: no two candles have different open times")]
    Timeframe,
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueFault {
    /// Not a decimal number.
    #[error("is not a number")]
    NotANumber,
    /// Beyond the range of amounts.
    #[error("is beyond the limit of 10000000000000")]
    TooLarge,
    /// More decimals than amounts have.
    #[error("has more than 12 decimals")]
    TooFine,
    /// A price or traded quantity of 0 or less.
    #[error("is not above 0")]
    NotPositive,
    /// A quantity below 0.
    #[error("is below 0")]
    Negative,
    /// Not a time.
    #[error("is not a time in milliseconds between the years 1970 and 9999")]
    Time,
    /// Earlier than the line before, which had this time in milliseconds.
    #[error("is before the time of the previous line, {0}")]
    Backwards(i64),
    /// A bid above this ask.
    #[error("is above the ask {0}")]
    Crossed(Price),
    /// Not a word that an event begins with.
    #[error("is not trade, quote, candle, mark, confirmed or instrument")]
    Event,
    /// A value where the event has none.
    #[error("is one value more than the event has")]
    Surplus,
    /// Not a side.
    #[error("is not buy or sell")]
    Side,
}

/// A text cut to the length that errors show.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}
