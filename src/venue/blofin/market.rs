//! Rows of market data, one type each, as REST and the stream send them. Sizes are contracts.

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::dropped::{DropReason, Dropped};
use super::wire::{self, Raw};
use crate::model::amount::{Price, Quantity, Ratio};
use crate::model::ids::Symbol;
use crate::model::order::Side;
use crate::model::time::Timestamp;

/// The most levels of a side of a book that are read.
pub const LEVELS_MAX: usize = 400;

/// A price and the contracts that stand there or were traded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Above zero.
    pub price: Price,
    /// Contracts, above zero.
    pub size: Quantity,
}

/// The best bid and ask. The bid is not above the ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Best {
    /// Best bid.
    pub bid: Level,
    /// Best ask.
    pub ask: Level,
}

impl Best {
    fn new(bid: Level, ask: Level) -> Result<Best, Dropped> {
        if bid.price > ask.price {
            let shown = format!("{} above the ask {}", bid.price, ask.price);
            return Err(Dropped::new(DropReason::Crossed, "bid", &shown));
        }
        Ok(Best { bid, ask })
    }
}

/// `market/tickers` and the channel `tickers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticker {
    /// The pair.
    pub symbol: Symbol,
    /// The last trade, its time unknown.
    pub last: Level,
    /// Best bid and ask; `None` when a side of the book is empty.
    pub best: Option<Best>,
    /// When the venue said so.
    pub time: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TickerRow<'a> {
    #[serde(borrow)]
    inst_id: Raw<'a>,
    #[serde(borrow)]
    last: Raw<'a>,
    #[serde(borrow)]
    last_size: Raw<'a>,
    #[serde(borrow)]
    ask_price: Raw<'a>,
    #[serde(borrow)]
    ask_size: Raw<'a>,
    #[serde(borrow)]
    bid_price: Raw<'a>,
    #[serde(borrow)]
    bid_size: Raw<'a>,
    #[serde(borrow)]
    ts: Raw<'a>,
}

impl Ticker {
    /// Reads a row.
    ///
    /// # Errors
    /// Why it is dropped.
    pub fn read(row: &RawValue) -> Result<Ticker, Dropped> {
        let row: TickerRow = wire::row("ticker", row)?;
        let level = |names: [&str; 2], price: Raw<'_>, size: Raw<'_>| {
            Ok(Level { price: wire::price(names[0], price)?, size: wire::contracts(names[1], size)? })
        };
        let empty = wire::text(row.bid_price).is_none() || wire::text(row.ask_price).is_none();
        let best = match empty {
            true => None,
            false => Some(Best::new(
                level(["bidPrice", "bidSize"], row.bid_price, row.bid_size)?,
                level(["askPrice", "askSize"], row.ask_price, row.ask_size)?,
            )?),
        };
        Ok(Ticker {
            symbol: wire::symbol("instId", row.inst_id)?,
            last: level(["last", "lastSize"], row.last, row.last_size)?,
            best,
            time: wire::time("ts", row.ts)?,
        })
    }
}

/// `market/trades` and the channel `trades`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trade {
    /// The pair.
    pub symbol: Symbol,
    /// The venue's id.
    pub id: String,
    /// Price and contracts.
    pub level: Level,
    /// The side that took, when the venue tells.
    pub taker: Option<Side>,
    /// When it happened.
    pub time: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TradeRow<'a> {
    #[serde(borrow)]
    inst_id: Raw<'a>,
    #[serde(borrow)]
    trade_id: Raw<'a>,
    #[serde(borrow)]
    price: Raw<'a>,
    #[serde(borrow)]
    size: Raw<'a>,
    #[serde(borrow)]
    side: Raw<'a>,
    #[serde(borrow)]
    ts: Raw<'a>,
}

impl Trade {
    /// Reads a row.
    ///
    /// # Errors
    /// Why it is dropped. An id longer than 40 characters is none.
    pub fn read(row: &RawValue) -> Result<Trade, Dropped> {
        let row: TradeRow = wire::row("trade", row)?;
        let id = wire::required("tradeId", row.trade_id)?;
        if id.len() > 40 {
            return Err(Dropped::new(DropReason::Malformed, "tradeId", &id));
        }
        let taker = match wire::text(row.side).as_deref() {
            Some("buy") => Some(Side::Buy),
            Some("sell") => Some(Side::Sell),
            None => None,
            Some(other) => return Err(Dropped::new(DropReason::Malformed, "side", other)),
        };
        Ok(Trade {
            symbol: wire::symbol("instId", row.inst_id)?,
            level: Level {
                price: wire::price("price", row.price)?,
                size: wire::contracts("size", row.size)?,
            },
            id: id.into_owned(),
            taker,
            time: wire::time("ts", row.ts)?,
        })
    }
}

/// `market/mark-price`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkPrice {
    /// The pair.
    pub symbol: Symbol,
    /// What margin and unrealised profit go by.
    pub mark: Price,
    /// The index, when it is told.
    pub index: Option<Price>,
    /// When the venue said so.
    pub time: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MarkRow<'a> {
    #[serde(borrow)]
    inst_id: Raw<'a>,
    #[serde(borrow)]
    mark_price: Raw<'a>,
    #[serde(borrow)]
    index_price: Raw<'a>,
    #[serde(borrow)]
    ts: Raw<'a>,
}

impl MarkPrice {
    /// Reads a row. The index is left out when it is of no use, because nothing goes by it.
    ///
    /// # Errors
    /// Why it is dropped.
    pub fn read(row: &RawValue) -> Result<MarkPrice, Dropped> {
        let row: MarkRow = wire::row("mark price", row)?;
        Ok(MarkPrice {
            symbol: wire::symbol("instId", row.inst_id)?,
            mark: wire::price("markPrice", row.mark_price)?,
            index: wire::price("indexPrice", row.index_price).ok(),
            time: wire::time("ts", row.ts)?,
        })
    }
}

/// `market/funding-rate`, its history, and the channel `funding-rate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FundingRate {
    /// The pair.
    pub symbol: Symbol,
    /// Share of the notional that longs pay to shorts, -1 to 1, with all the venue's digits (up to 20 decimals): round
    /// what is multiplied by it.
    pub rate: Ratio,
    /// The next settlement; in a history, the settlement.
    pub time: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FundingRow<'a> {
    #[serde(borrow)]
    inst_id: Raw<'a>,
    #[serde(borrow)]
    funding_rate: Raw<'a>,
    #[serde(borrow)]
    funding_time: Raw<'a>,
}

impl FundingRate {
    /// Reads a row.
    ///
    /// # Errors
    /// Why it is dropped.
    pub fn read(row: &RawValue) -> Result<FundingRate, Dropped> {
        let row: FundingRow = wire::row("funding rate", row)?;
        let text = wire::required("fundingRate", row.funding_rate)?;
        let rate = Decimal::from_str_exact(&text).or_else(|_| Decimal::from_scientific(&text));
        match rate {
            Ok(rate) if rate.abs() <= Decimal::ONE => Ok(FundingRate {
                symbol: wire::symbol("instId", row.inst_id)?,
                rate: Ratio::new(rate.normalize()),
                time: wire::time("fundingTime", row.funding_time)?,
            }),
            _ => Err(Dropped::new(DropReason::Malformed, "fundingRate", &text)),
        }
    }
}

/// A bar of `market/candles`, or of the index or mark price, which have no volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candle {
    /// When the bar began.
    pub open_time: Timestamp,
    /// First price.
    pub open: Price,
    /// Highest price.
    pub high: Price,
    /// Lowest price.
    pub low: Price,
    /// Last price.
    pub close: Price,
    /// Contracts; `None` for index and mark price.
    pub volume: Option<Quantity>,
    /// Whether the bar is finished.
    pub finished: bool,
}

impl Candle {
    /// Reads a row: 9 columns, or 6 without volumes. Columns that come behind them later are not looked at.
    ///
    /// # Errors
    /// Why it is dropped; `crossed` when open or close lie outside low and high.
    pub fn read(row: &RawValue) -> Result<Candle, Dropped> {
        let columns: Vec<&RawValue> = wire::row("candle", row)?;
        let (volume, confirm) = match columns.len() {
            6..=8 => (None, 5),
            9.. => (Some(5), 8),
            _ => return Err(Dropped::new(DropReason::Malformed, "candle", row.get())),
        };
        let column = |index: usize| columns.get(index).copied();
        let volume = match volume {
            None => None,
            // A bar without a trade has the volume 0.
            Some(index) => Some(Quantity::new(wire::decimal("volume", column(index))?)),
        };
        let candle = Candle {
            open_time: wire::time("open time", column(0))?,
            open: wire::price("open", column(1))?,
            high: wire::price("high", column(2))?,
            low: wire::price("low", column(3))?,
            close: wire::price("close", column(4))?,
            volume,
            finished: match wire::text(column(confirm)).as_deref() {
                Some("1") => true,
                Some("0") => false,
                other => {
                    return Err(Dropped::new(DropReason::Malformed, "confirm", other.unwrap_or("missing")));
                }
            },
        };
        let range = candle.low..=candle.high;
        if volume.is_some_and(Quantity::is_negative) {
            return Err(Dropped::new(DropReason::SizeNotPositive, "volume", row.get()));
        }
        match range.contains(&candle.open) && range.contains(&candle.close) {
            true => Ok(candle),
            false => Err(Dropped::new(DropReason::Crossed, "candle", row.get())),
        }
    }
}

/// `market/books` and the channel `books5`: the whole book as far as it is sent, best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book {
    /// Bids, best first; at most [`LEVELS_MAX`].
    pub bids: Vec<Level>,
    /// Asks, best first; at most [`LEVELS_MAX`].
    pub asks: Vec<Level>,
    /// When the venue said so.
    pub time: Timestamp,
}

#[derive(Deserialize)]
struct BookRow<'a> {
    #[serde(borrow, default)]
    bids: Vec<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    asks: Vec<Vec<&'a RawValue>>,
    #[serde(borrow)]
    ts: Raw<'a>,
}

impl Book {
    /// Reads a row. It names no pair: the stream's frame and the request do.
    ///
    /// # Errors
    /// Why it is dropped; `crossed` also when a side is not sorted.
    pub fn read(row: &RawValue) -> Result<Book, Dropped> {
        let row: BookRow = wire::row("book", row)?;
        let side = |name: &str, levels: &[Vec<&RawValue>]| {
            let levels = levels.iter().take(LEVELS_MAX).map(|level| {
                let (price, size) = (level.first().copied(), level.get(1).copied());
                Ok(Level { price: wire::price(name, price)?, size: wire::contracts(name, size)? })
            });
            levels.collect::<Result<Vec<Level>, Dropped>>()
        };
        let book = Book {
            bids: side("bids", &row.bids)?,
            asks: side("asks", &row.asks)?,
            time: wire::time("ts", row.ts)?,
        };
        let falls = book.bids.windows(2).all(|pair| pair[0].price > pair[1].price);
        let rises = book.asks.windows(2).all(|pair| pair[0].price < pair[1].price);
        if !falls || !rises {
            let name = if falls { "asks" } else { "bids" };
            return Err(Dropped::new(DropReason::Crossed, name, "not sorted by price"));
        }
        book.best()?;
        Ok(book)
    }

    /// The best bid and ask; `None` when a side is empty.
    ///
    /// # Errors
    /// When they are crossed.
    pub fn best(&self) -> Result<Option<Best>, Dropped> {
        match (self.bids.first(), self.asks.first()) {
            (Some(bid), Some(ask)) => Best::new(*bid, *ask).map(Some),
            _ => Ok(None),
        }
    }
}
