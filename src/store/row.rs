//! Keys and values of the query store.
//!
//! Every key is `table u8 | owner u16 | time u64 | tail`, big endian, so that one owner's rows of a table are a range
//! in the order of time. The owner is the strategy's number in the table of names; 0 where a row is about several. The
//! tail is the record's sequence, or the order's id, whose row is replaced as the order goes on. Every value is a
//! version byte, a crc32 over key and content (not every engine checks what it reads), and the content in postcard.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::storage::StorageError;
use crate::engine::record::Scope;
use crate::model::amount::{Money, Price};
use crate::model::ids::{ClientOrderId, SignalId, StrategyId, StrategyType, Symbol};
use crate::model::market::MarketKey;
use crate::model::signal::SignalResult;
use crate::model::time::Timestamp;

/// Version of keys and values that is written, and the only one that is read: older ones are made again from the
/// journal. It is raised whenever a row or a model type in it changes.
pub const ROW_VERSION: u8 = 1;

/// A table; the number is the first byte of its keys and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Table {
    /// One entry: what the tables hold, see `index`.
    Meta = 0,
    /// Numbers of scopes.
    Names = 1,
    /// Closed trades, by the time they closed.
    Trades = 2,
    /// Orders as they stand, by the time they were made.
    Orders = 3,
    /// Fills.
    Fills = 4,
    /// Decided signals.
    Signals = 5,
    /// Equity as it was journalled.
    Equity = 6,
    /// Equity for charts, which no journal has.
    Charts = 7,
    /// Last prices, which no journal has. The key is feed and symbol.
    Prices = 8,
}

impl Table {
    /// All tables that are made from the journal.
    pub const JOURNALLED: [Table; 7] = [
        Table::Meta,
        Table::Names,
        Table::Trades,
        Table::Orders,
        Table::Fills,
        Table::Signals,
        Table::Equity,
    ];

    /// Where its keys begin, and where those of the next table do.
    pub fn bounds(self) -> ([u8; 1], [u8; 1]) {
        ([self as u8], [self as u8 + 1])
    }
}

/// Number of an owner.
pub type Owner = u16;
/// The owner of rows that are about several.
pub const SHARED: Owner = 0;
/// Bytes of a key before its place in time.
pub const PREFIX_BYTES: usize = 3;
/// Bytes of an order's id in a key; shorter ids are filled up with zeros.
const ORDER_ID_BYTES: usize = ClientOrderId::LENGTH_MAX;

/// The first bytes of all keys of an owner.
pub fn prefix(table: Table, owner: Owner) -> [u8; PREFIX_BYTES] {
    let [high, low] = owner.to_be_bytes();
    [table as u8, high, low]
}

/// The key of a row whose tail is a sequence.
pub fn key(table: Table, owner: Owner, time: Timestamp, sequence: u64) -> Vec<u8> {
    [prefix(table, owner).as_slice(), &time_bytes(time), &sequence.to_be_bytes()].concat()
}

/// The key of an order.
pub fn order_key(owner: Owner, created: Timestamp, id: ClientOrderId) -> Vec<u8> {
    let mut tail = [0; ORDER_ID_BYTES];
    tail[..id.as_str().len()].copy_from_slice(id.as_str().as_bytes());
    [prefix(Table::Orders, owner).as_slice(), &time_bytes(created), &tail].concat()
}

/// The key of a market's last price.
pub fn price_key(market: MarketKey) -> Vec<u8> {
    let mut key = vec![Table::Prices as u8];
    key.extend_from_slice(format!("{}/{}", market.feed, market.symbol).as_bytes());
    key
}

/// A time in keys; a [`Timestamp`] is never negative.
pub fn time_bytes(time: Timestamp) -> [u8; 8] {
    time.as_ms().unsigned_abs().to_be_bytes()
}

/// A row: the sequence of its record, or 0 where no journal has it, and what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row<T> {
    /// Sequence of the record; of an order, of its latest.
    pub seq: u64,
    /// What it says.
    pub value: T,
}

/// Bytes of a value before its content.
const HEADER_BYTES: usize = 5;

/// The value of a key.
pub fn encode<T: Serialize>(key: &[u8], value: &T) -> Vec<u8> {
    let header = vec![ROW_VERSION, 0, 0, 0, 0];
    let mut bytes = postcard::to_extend(value, header).expect("a row always has a binary form");
    let crc = crc(key, &bytes[HEADER_BYTES..]);
    bytes[1..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// What [`encode`] was given.
///
/// # Errors
/// When the version is another one, or the rest is not what it should be.
pub fn decode<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Result<T, StorageError> {
    let damaged = |what: String| Err(StorageError::Damaged(what));
    let Some((header, content)) = bytes.split_at_checked(HEADER_BYTES) else {
        return damaged("a value that is too short".into());
    };
    match header[0] {
        ROW_VERSION => {}
        found if found > ROW_VERSION => return Err(StorageError::Newer { found, supported: ROW_VERSION }),
        found => return damaged(format!("a value of the old version {found}")),
    }
    if header[1..] != crc(key, content).to_le_bytes() {
        return damaged("a value with a wrong checksum".into());
    }
    match postcard::take_from_bytes(content) {
        Ok((value, [])) => Ok(value),
        Ok(_) => damaged("a value with bytes behind it".into()),
        Err(error) => damaged(format!("a value that cannot be decoded: {error}")),
    }
}

fn crc(key: &[u8], content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(content);
    hasher.finalize()
}

/// What is known of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// Whose number it is.
    pub scope: Scope,
    /// A strategy's type.
    pub kind: Option<StrategyType>,
}

/// A decided signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecidedSignal {
    /// The strategy.
    pub strategy: StrategyId,
    /// The signal's id.
    pub id: SignalId,
    /// The pair; `None` when the process died on it.
    pub symbol: Option<Symbol>,
    /// When the sender made it.
    pub signal_time: Option<Timestamp>,
    /// Its answer.
    pub result: SignalResult,
}

/// Equity of several owners at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EquityRow {
    /// When.
    pub time: Timestamp,
    /// Owner and equity.
    pub equity: Vec<(Owner, Money)>,
}

/// Equity of one scope at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EquitySample {
    /// Whose.
    pub scope: Scope,
    /// When.
    pub time: Timestamp,
    /// Balance and unrealised profit, in quote currency.
    pub equity: Money,
}

/// The last price of a market.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastPrice {
    /// Feed and symbol.
    pub key: MarketKey,
    /// Last trade or candle close.
    pub last: Option<Price>,
    /// Best bid.
    pub bid: Option<Price>,
    /// Best ask.
    pub ask: Option<Price>,
    /// The mark.
    pub mark: Option<Price>,
    /// When the venue last confirmed it.
    pub time: Timestamp,
}
