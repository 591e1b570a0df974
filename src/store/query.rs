//! Pages of trades, orders, fills, signals and equity, newest or oldest first.
//!
//! Each owner's rows of a table are in the order of time; a page merges them. A cursor is the place of the last row
//! that was looked at, so it stays right while records are added, and works on another engine and after a rebuild.
//!
//! Limits: 1,000 rows a page ([`LIMIT_MAX`]), and 20,000 rows looked at ([`SCANNED_MAX`]): a page may have fewer rows
//! than were asked for, or none, and still a cursor to go on with.

use std::collections::VecDeque;

use serde::de::DeserializeOwned;

use super::index::Names;
use super::row::{self, DecidedSignal, EquityRow, EquitySample, Owner, PREFIX_BYTES, Row, SHARED, Table};
use super::storage::{Direction, Entry, Storage, StorageError};
use crate::engine::record::Scope;
use crate::model::ids::{StrategyId, StrategyType, Symbol};
use crate::model::order::Order;
use crate::model::report::{Fill, Trade};
use crate::model::time::Timestamp;

/// Rows of a page when nothing is said.
pub const LIMIT_DEFAULT: usize = 100;
/// The most rows of a page.
pub const LIMIT_MAX: usize = 1_000;
/// The most rows that are looked at for a page.
pub const SCANNED_MAX: usize = 20_000;

/// What the first byte of a cursor says.
const CURSOR_VERSION: u8 = 1;
/// Rows that an owner's range reads at once, at least and at most.
const CHUNK_MIN: usize = 8;
const CHUNK_MAX: usize = 250;
/// Words of `status`.
const ORDER_STATUSES: [&str; 9] = [
    "submitting",
    "working",
    "partly_filled",
    "cancelling",
    "filled",
    "cancelled",
    "rejected",
    "expired",
    "unknown",
];
const SIGNAL_STATUSES: [&str; 4] = ["filled", "accepted", "unchanged", "rejected"];

/// What is asked for. Left out means all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// One strategy.
    pub strategy: Option<StrategyId>,
    /// The strategies of a type.
    pub kind: Option<StrategyType>,
    /// One pair. Equity has none.
    pub symbol: Option<Symbol>,
    /// Status of an order, or of a signal's answer. Trades are all `closed`, fills and equity have none.
    pub status: Option<String>,
    /// At this time or later. Trades count when they close, orders when they are made.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
    /// Newest first instead of oldest first.
    pub newest_first: bool,
    /// Rows of the page, 1 to [`LIMIT_MAX`].
    pub limit: usize,
    /// Where an earlier page ended.
    pub cursor: Option<String>,
}

impl Default for Filter {
    fn default() -> Filter {
        Filter {
            strategy: None,
            kind: None,
            symbol: None,
            status: None,
            from: None,
            to: None,
            newest_first: true,
            limit: LIMIT_DEFAULT,
            cursor: None,
        }
    }
}

/// Some of the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows, in the order that was asked for.
    pub rows: Vec<Row<T>>,
    /// Where the next page starts; `None` when there was nothing more.
    pub next: Option<String>,
}

/// Why there is no page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The question cannot be meant.
    #[error("{0}")]
    Invalid(String),
    /// The query store is being opened, caught up or made anew.
    #[error("the query store is not ready yet")]
    Unavailable,
    /// The engine cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Closed trades.
///
/// # Errors
/// When the filter is wrong, or the engine cannot be read.
pub fn trades(storage: &impl Storage, filter: &Filter) -> Result<Page<Trade>, QueryError> {
    check_status(filter, &["closed"])?;
    let wanted = |trade: &Trade| filter.symbol.is_none_or(|symbol| symbol == trade.symbol);
    page(storage, filter, &[Table::Trades], &|trade: Trade, _| Some(trade).filter(wanted))
}

/// Orders as they stand.
///
/// # Errors
/// When the filter is wrong, or the engine cannot be read.
pub fn orders(storage: &impl Storage, filter: &Filter) -> Result<Page<Order>, QueryError> {
    check_status(filter, &ORDER_STATUSES)?;
    let status = filter.status.as_deref();
    let wanted = |order: &Order| {
        filter.symbol.is_none_or(|symbol| symbol == order.symbol)
            && status.is_none_or(|status| status == order.status.as_str())
    };
    page(storage, filter, &[Table::Orders], &|order: Order, _| Some(order).filter(wanted))
}

/// Fills.
///
/// # Errors
/// When the filter is wrong, or the engine cannot be read.
pub fn fills(storage: &impl Storage, filter: &Filter) -> Result<Page<Fill>, QueryError> {
    check_status(filter, &[])?;
    let wanted = |fill: &Fill| filter.symbol.is_none_or(|symbol| symbol == fill.symbol);
    page(storage, filter, &[Table::Fills], &|fill: Fill, _| Some(fill).filter(wanted))
}

/// Decided signals with their answers.
///
/// # Errors
/// When the filter is wrong, or the engine cannot be read.
pub fn signals(storage: &impl Storage, filter: &Filter) -> Result<Page<DecidedSignal>, QueryError> {
    check_status(filter, &SIGNAL_STATUSES)?;
    let status = filter.status.as_deref();
    let wanted = |signal: &DecidedSignal| {
        filter.symbol.is_none_or(|symbol| signal.symbol == Some(symbol))
            && status.is_none_or(|status| status == signal.result.outcome.as_str())
    };
    page(storage, filter, &[Table::Signals], &|signal: DecidedSignal, _| Some(signal).filter(wanted))
}

/// Equity of one scope: as journalled, and as sampled for charts (`seq` 0).
///
/// # Errors
/// When the filter is wrong (it must not name a strategy, type, symbol or status), or the engine cannot be read.
pub fn equity(
    storage: &impl Storage,
    scope: Scope,
    filter: &Filter,
) -> Result<Page<EquitySample>, QueryError> {
    check_status(filter, &[])?;
    if filter.symbol.is_some() || filter.strategy.is_some() || filter.kind.is_some() {
        return Err(QueryError::Invalid("equity is asked for by its scope".into()));
    }
    let names = Names::load(storage)?;
    let Some((owner, _)) = names.number(scope) else { return Ok(Page { rows: Vec::new(), next: None }) };
    page(storage, filter, &[Table::Equity, Table::Charts], &|row: EquityRow, _| {
        let (_, equity) = row.equity.iter().find(|(number, _)| *number == owner)?;
        Some(EquitySample { scope, time: row.time, equity: *equity })
    })
}

fn check_status(filter: &Filter, words: &[&str]) -> Result<(), QueryError> {
    match filter.status.as_deref() {
        Some(status) if words.is_empty() => {
            Err(QueryError::Invalid(format!("status {status:?}: these rows have none")))
        }
        Some(status) if !words.contains(&status) => {
            Err(QueryError::Invalid(format!("status {status:?} is not one of {}", words.join(", "))))
        }
        _ => Ok(()),
    }
}

/// Merges the rows of all owners that the filter wants.
fn page<T: DeserializeOwned, U>(
    storage: &impl Storage,
    filter: &Filter,
    tables: &[Table],
    take: &dyn Fn(T, Owner) -> Option<U>,
) -> Result<Page<U>, QueryError> {
    if !(1..=LIMIT_MAX).contains(&filter.limit) {
        return Err(QueryError::Invalid(format!("limit {} is not 1 to {LIMIT_MAX}", filter.limit)));
    }
    let direction = if filter.newest_first { Direction::Backward } else { Direction::Forward };
    let behind = match &filter.cursor {
        Some(cursor) => Some(read_cursor(cursor, tables[0], direction)?),
        None => None,
    };
    let owners = owners(storage, filter, tables[0])?;
    let chunk = (filter.limit / owners.len().max(1) + 1).clamp(CHUNK_MIN, CHUNK_MAX);
    let mut streams = Vec::new();
    for &table in tables {
        for &owner in &owners {
            let prefix = row::prefix(table, owner);
            let mut stream = Stream::new(prefix, filter, behind.as_deref(), direction, chunk);
            stream.fill(storage)?;
            streams.push(stream);
        }
    }
    let mut page = Page { rows: Vec::new(), next: None };
    let mut last = None;
    for _ in 0..SCANNED_MAX {
        let Some(index) = first(&streams, direction) else { return Ok(page) };
        if page.rows.len() == filter.limit {
            page.next = last.map(|place: Vec<u8>| write_cursor(tables[0], direction, &place));
            return Ok(page);
        }
        let stream = &mut streams[index];
        let Some((key, value)) = stream.entries.pop_front() else { continue };
        if stream.entries.is_empty() {
            stream.fill(storage)?;
        }
        let Row { seq, value } = row::decode::<Row<T>>(&key, &value)?;
        let owner = Owner::from_be_bytes([key[1], key[2]]);
        page.rows.extend(take(value, owner).map(|value| Row { seq, value }));
        last = Some(key[PREFIX_BYTES..].to_vec());
    }
    page.next = last.map(|place| write_cursor(tables[0], direction, &place));
    Ok(page)
}

fn owners(storage: &impl Storage, filter: &Filter, table: Table) -> Result<Vec<Owner>, StorageError> {
    if table == Table::Equity {
        return Ok(vec![SHARED]);
    }
    let names = Names::load(storage)?;
    let wanted = names.entries().filter(|(_, name)| match name.scope {
        Scope::Strategy(id) => {
            filter.strategy.is_none_or(|wanted| wanted == id)
                && (filter.kind.is_none() || filter.kind == name.kind)
        }
        Scope::Type(_) | Scope::Portfolio => false,
    });
    Ok(wanted.map(|(owner, _)| owner).collect())
}

/// The stream whose next row comes first.
fn first(streams: &[Stream], direction: Direction) -> Option<usize> {
    let heads = streams.iter().enumerate().filter_map(|(index, stream)| {
        let (key, _) = stream.entries.front()?;
        Some((&key[PREFIX_BYTES..], index))
    });
    let found = match direction {
        Direction::Forward => heads.min(),
        Direction::Backward => heads.max(),
    };
    found.map(|(_, index)| index)
}

/// One owner's rows of a table, read in chunks.
struct Stream {
    start: Vec<u8>,
    end: Vec<u8>,
    direction: Direction,
    chunk: usize,
    entries: VecDeque<Entry>,
    ended: bool,
}

impl Stream {
    /// `behind` is the place of the last row that an earlier page looked at.
    fn new(
        prefix: [u8; PREFIX_BYTES],
        filter: &Filter,
        behind: Option<&[u8]>,
        direction: Direction,
        chunk: usize,
    ) -> Stream {
        let at = |place: &[u8]| [prefix.as_slice(), place].concat();
        let mut start = at(&row::time_bytes(filter.from.unwrap_or(Timestamp::MIN)));
        // Times are below 2^63, so all keys of the prefix are below this.
        let mut end = at(&filter.to.map_or([0xff; 8], row::time_bytes));
        match (behind, direction) {
            (Some(place), Direction::Forward) => start = start.max([at(place).as_slice(), &[0]].concat()),
            (Some(place), Direction::Backward) => end = end.min(at(place)),
            (None, _) => {}
        }
        Stream { start, end, direction, chunk, entries: VecDeque::new(), ended: false }
    }

    fn fill(&mut self, storage: &impl Storage) -> Result<(), StorageError> {
        if self.ended {
            return Ok(());
        }
        let entries = storage.range(&self.start, &self.end, self.direction, self.chunk)?;
        self.ended = entries.len() < self.chunk;
        if let Some((key, _)) = entries.last() {
            match self.direction {
                Direction::Forward => self.start = [key.as_slice(), &[0]].concat(),
                Direction::Backward => self.end = key.clone(),
            }
        }
        if entries.iter().any(|(key, _)| key.len() <= PREFIX_BYTES) {
            return Err(StorageError::Damaged("a key that is too short".into()));
        }
        self.entries = entries.into();
        Ok(())
    }
}

fn write_cursor(table: Table, direction: Direction, place: &[u8]) -> String {
    let way = u8::from(direction == Direction::Backward);
    data_encoding::BASE64URL_NOPAD.encode(&[&[CURSOR_VERSION, table as u8, way], place].concat())
}

fn read_cursor(cursor: &str, table: Table, direction: Direction) -> Result<Vec<u8>, QueryError> {
    let way = u8::from(direction == Direction::Backward);
    let bytes = data_encoding::BASE64URL_NOPAD.decode(cursor.as_bytes()).unwrap_or_default();
    match bytes.split_at_checked(3) {
        Some((head, place)) if head == [CURSOR_VERSION, table as u8, way] && place.len() <= 64 => {
            Ok(place.to_vec())
        }
        _ => Err(QueryError::Invalid("the cursor is not one of this table and order".into())),
    }
}
