//! Recordings: CSV lines to prices. Trades, quotes, candles, or all events of a feed; the header line says which.
//!
//! Times never go backwards within a file; of events, the times at which they were seen. What [`line`] writes is read
//! back as it was. A candle is one last price at its close: its timeframe is the smallest
//! positive distance between the open times of the first [`TIMEFRAME_LINES_MAX`] lines, because a file may have gaps.
//! A sparse file whose first lines are all further apart than its timeframe gets candles that are late, never early.
//! Every line is at most [`LINE_BYTES_MAX`] long and has at most [`COLUMNS_MAX`] columns; fields are not quoted.

use std::collections::VecDeque;

use arrayvec::ArrayVec;

use crate::model::market::PriceUpdate;
use crate::model::time::Timestamp;
use error::shown;
pub use error::{LineError, LineFault, ValueFault};
use row::Row;

mod error;
pub mod line;
mod row;
#[cfg(test)]
mod tests;

/// The most bytes of a line, without its end.
pub const LINE_BYTES_MAX: usize = 4096;
/// The most columns of a file.
pub const COLUMNS_MAX: usize = 32;
/// How many lines of candles are looked at for the timeframe.
pub const TIMEFRAME_LINES_MAX: usize = 1000;

/// The most columns that any kind needs.
const COLUMNS_NEEDED_MAX: usize = 7;

/// What a file records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingKind {
    /// Trades between others.
    Trades,
    /// Best bid and ask.
    Quotes,
    /// Finished bars.
    Candles,
    /// Everything that a feed says, with the venue's time and the one at which it was seen. What the values are
    /// depends on the event, see [`line`].
    Events,
}

impl RecordingKind {
    /// Every kind, in the order in which a header is compared with them.
    pub const ALL: [RecordingKind; 4] =
        [RecordingKind::Trades, RecordingKind::Quotes, RecordingKind::Candles, RecordingKind::Events];

    /// The columns that a header of this kind must have. The first is the time in milliseconds since 1970, UTC.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            RecordingKind::Trades => &["time_ms", "price", "quantity", "taker_side", "trade_id"],
            RecordingKind::Quotes => &["received_ms", "bid", "bid_quantity", "ask", "ask_quantity"],
            RecordingKind::Candles => &["open_time_ms", "open", "high", "low", "close", "volume"],
            RecordingKind::Events => {
                &["received_ms", "time_ms", "event", "value_1", "value_2", "value_3", "value_4"]
            }
        }
    }
}

/// A price of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// When it was seen, which is what the file is sorted by.
    pub at: Timestamp,
    /// When it happened. The same but for [`RecordingKind::Events`].
    pub time: Timestamp,
    /// What happened.
    pub update: PriceUpdate,
}

/// Lines in, prices out. It holds back candles until their timeframe is known: at most [`TIMEFRAME_LINES_MAX`].
///
/// The driver calls [`RecordedParser::push`] with each line and [`RecordedParser::finish`] at the end, and after each
/// of them [`RecordedParser::pop`] until that gives `None`.
#[derive(Clone, Debug)]
pub struct RecordedParser {
    kind: RecordingKind,
    /// Where each needed column stands in a line, in the order of [`RecordingKind::columns`].
    places: ArrayVec<usize, COLUMNS_NEEDED_MAX>,
    column_count: usize,
    /// Number of the last line; the header is line 1.
    line: u64,
    /// An empty line, which only the end of a file may have.
    line_empty: Option<u64>,
    time_last: Option<Timestamp>,
    /// Added to the time of a line. `None` while it is not known.
    timeframe_ms: Option<i64>,
    /// The smallest positive distance so far.
    distance_ms_min: Option<i64>,
    ready: VecDeque<Recorded>,
}

impl RecordedParser {
    /// A parser for the file with this header line. Columns may stand in any order, among others.
    ///
    /// # Errors
    /// When the line is too long or not text, or has the columns of no kind.
    pub fn from_header(line: &[u8]) -> Result<RecordedParser, LineError> {
        let error = |fault| LineError { line: 1, fault };
        let text = line_text(line).map_err(error)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let names =
            split(text).ok_or_else(|| error(LineFault::Columns { found: text.split(',').count() }))?;
        let found = RecordingKind::ALL.into_iter().find_map(|kind| Some((kind, places(kind, &names)?)));
        let (kind, places) = found.ok_or_else(|| error(LineFault::Header { found: shown(text) }))?;
        Ok(RecordedParser {
            kind,
            places,
            column_count: names.len(),
            line: 1,
            line_empty: None,
            time_last: None,
            timeframe_ms: (kind != RecordingKind::Candles).then_some(0),
            distance_ms_min: None,
            ready: VecDeque::new(),
        })
    }

    /// What the file records.
    pub fn kind(&self) -> RecordingKind {
        self.kind
    }

    /// Number of the line that was read last; the header is line 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Takes the next line, with or without its line end.
    ///
    /// # Errors
    /// Names the line, column and value that cannot be. The parser is of no use afterwards.
    pub fn push(&mut self, line: &[u8]) -> Result<(), LineError> {
        self.line += 1;
        self.push_line(line).map_err(|fault| LineError { line: self.line, fault })
    }

    /// Says that there are no more lines.
    ///
    /// # Errors
    /// When there are candles, but no two with different open times: their timeframe is unknown.
    pub fn finish(&mut self) -> Result<(), LineError> {
        match self.timeframe_ms {
            None if !self.ready.is_empty() => self.settle_timeframe(),
            _ => Ok(()),
        }
        .map_err(|fault| LineError { line: self.line, fault })
    }

    /// The next price, when there is one.
    pub fn pop(&mut self) -> Option<Recorded> {
        let timeframe_ms = self.timeframe_ms?;
        let Recorded { at, time, update } = self.ready.pop_front()?;
        Some(Recorded { at: at.plus_ms(timeframe_ms), time: time.plus_ms(timeframe_ms), update })
    }

    fn push_line(&mut self, line: &[u8]) -> Result<(), LineFault> {
        let text = line_text(line)?;
        if text.is_empty() {
            self.line_empty.get_or_insert(self.line);
            return Ok(());
        }
        if let Some(line) = self.line_empty {
            return Err(LineFault::EmptyLine { line });
        }
        let fields = split(text).filter(|fields| fields.len() == self.column_count);
        let fields = fields.ok_or_else(|| LineFault::Fields {
            found: text.split(',').count(),
            expected: self.column_count,
        })?;
        let row = Row { kind: self.kind, places: &self.places, fields: &fields };
        let at = row.time(self.time_last)?;
        let mut time = at;
        let update = match self.kind {
            RecordingKind::Trades => row.trade()?,
            RecordingKind::Quotes => row.quote()?,
            RecordingKind::Candles => row.candle()?,
            RecordingKind::Events => {
                time = row.venue_time()?;
                row.event()?
            }
        };
        self.ready.push_back(Recorded { at, time, update });
        let distance_ms = self.time_last.map_or(0, |last| at.since_ms(last));
        self.time_last = Some(at);
        if self.timeframe_ms.is_none() {
            if distance_ms > 0 {
                self.distance_ms_min = Some(self.distance_ms_min.unwrap_or(distance_ms).min(distance_ms));
            }
            if self.ready.len() >= TIMEFRAME_LINES_MAX {
                self.settle_timeframe()?;
            }
        }
        Ok(())
    }

    fn settle_timeframe(&mut self) -> Result<(), LineFault> {
        self.timeframe_ms = Some(self.distance_ms_min.ok_or(LineFault::Timeframe)?);
        Ok(())
    }
}

/// A line as text, without its end.
fn line_text(line: &[u8]) -> Result<&str, LineFault> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > LINE_BYTES_MAX {
        return Err(LineFault::TooLong);
    }
    std::str::from_utf8(line).map_err(|_| LineFault::NotText)
}

/// The fields of a line without the blanks around them; `None` when there are too many.
fn split(text: &str) -> Option<ArrayVec<&str, COLUMNS_MAX>> {
    let mut fields = ArrayVec::new();
    for field in text.split(',') {
        fields.try_push(field.trim()).ok()?;
    }
    Some(fields)
}

/// Where the columns of a kind stand; `None` when one is absent or there twice.
fn places(kind: RecordingKind, names: &[&str]) -> Option<ArrayVec<usize, COLUMNS_NEEDED_MAX>> {
    let place = |column: &&str| {
        let mut found = names.iter().enumerate().filter(|(_, name)| *name == column);
        let (place, _) = found.next()?;
        found.next().is_none().then_some(place)
    };
    kind.columns().iter().map(place).collect()
}
