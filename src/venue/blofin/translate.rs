//! From rows to prices of our symbols: contracts become base units, times are held against our clock, repetitions and
//! older rows are dropped.
//!
//! Invariant: what leaves here is in order for each symbol and kind, so the newest price is never replaced by an older
//! one, whatever a link repeats or delays. A last price that a ticker tells is passed on as a trade only when it is not
//! the one that the symbol has already; otherwise the venue only confirms.
//!
//! Limits: the ids of the last [`TRADES_REMEMBERED`] trades of each symbol are remembered.

use std::collections::{BTreeMap, VecDeque};

use rust_decimal::RoundingStrategy;
use serde_json::value::RawValue;

use super::dropped::{DropReason, Dropped, Drops};
use super::instrument::Listing;
use super::market::{Best, Book, Candle, Level, MarkPrice, Ticker, Trade};
use super::request::{Channel, Topic};
use crate::model::amount::{AMOUNT_DECIMALS, AMOUNT_MAX, Quantity};
use crate::model::ids::Symbol;
use crate::model::instrument::Instrument;
use crate::model::market::PriceUpdate;
use crate::model::time::{DAY_MS, Timestamp};

/// How far ahead of our clock a venue's time may be.
pub const FUTURE_MS_MAX: i64 = 60_000;
/// How far behind our clock a venue's time may be: the last trade of a quiet pair is hours old.
pub const PAST_MS_MAX: i64 = 7 * DAY_MS;
/// How many trades of a symbol are known by their ids. A snapshot has 100.
pub const TRADES_REMEMBERED: usize = 256;

/// A price of a symbol with the venue's time.
pub type Price = (Symbol, Timestamp, PriceUpdate);

/// What is known of a symbol.
#[derive(Debug)]
struct Market {
    /// Our name for it, which may have `.PERP` behind the venue's.
    symbol: Symbol,
    instrument: Instrument,
    trades: VecDeque<String>,
    /// Time of the newest trade.
    traded: Timestamp,
    /// The last trade, from whichever source.
    last: Option<Level>,
    /// A trade that only a ticker told: it has no id, and the stream may still bring it with one.
    told: Option<Level>,
    /// Time and value of the newest quote.
    quoted: Timestamp,
    best: Option<Best>,
    /// Time of the newest mark.
    marked: Timestamp,
}

/// Turns rows into prices. It owns what is known of each symbol; a new one is only needed for new instruments.
#[derive(Debug, Default)]
pub struct Translator {
    /// By the venue's name.
    markets: BTreeMap<Symbol, Market>,
    drops: Drops,
    /// The last fault, for people.
    last_fault: Option<String>,
}

impl Translator {
    /// Lets prices of a pair through under our name for it. A listing that is there already takes over its steps.
    pub fn list(&mut self, symbol: Symbol, listing: &Listing) {
        let instrument = listing.instrument.clone();
        let market = self.markets.entry(listing.symbol()).or_insert_with(|| Market {
            symbol,
            instrument: instrument.clone(),
            trades: VecDeque::new(),
            traded: Timestamp::MIN,
            last: None,
            told: None,
            quoted: Timestamp::MIN,
            best: None,
            marked: Timestamp::MIN,
        });
        market.instrument = instrument;
    }

    /// The venue's names of the pairs that have traded, the last one first.
    pub fn traded(&self) -> Vec<Symbol> {
        let traded = self.markets.iter().filter(|(_, market)| market.traded > Timestamp::MIN);
        let mut pairs: Vec<(Timestamp, Symbol)> =
            traded.map(|(name, market)| (market.traded, *name)).collect();
        pairs.sort_unstable_by(|a, b| b.cmp(a));
        pairs.into_iter().map(|(_, name)| name).collect()
    }

    /// How much was dropped, and why.
    pub fn drops(&self) -> Drops {
        self.drops
    }

    /// The last row that was wrong, once.
    pub fn take_last_fault(&mut self) -> Option<String> {
        self.last_fault.take()
    }

    /// Counts what was dropped elsewhere, such as a frame that cannot be read.
    pub fn drop_row(&mut self, dropped: &Dropped) {
        self.drops.count(dropped.reason);
        if dropped.reason.is_fault() {
            self.last_fault = Some(dropped.to_string());
        }
    }

    /// Takes rows of the stream.
    pub fn rows(&mut self, now: Timestamp, topic: Topic, rows: &[&RawValue], out: &mut Vec<Price>) {
        for row in rows {
            let taken = match topic.0 {
                Channel::Trades => self.trade(now, row),
                Channel::Tickers => self.ticker(now, row, out).map(|()| None),
                Channel::Books5 => self.book(now, topic.1, row),
                Channel::MarkCandle(_) => self.mark_candle(now, topic.1, row),
                // Bars and funding are parsed for history and live accounts; as prices they say nothing new.
                Channel::Candle(_) | Channel::FundingRate => Ok(None),
            };
            self.take(taken, out);
        }
    }

    /// Takes rows of `market/tickers`; pairs that were not asked for are passed over.
    pub fn tickers(&mut self, now: Timestamp, rows: &[&RawValue], out: &mut Vec<Price>) {
        for row in rows {
            match self.ticker(now, row, out) {
                Err(dropped) if dropped.reason == DropReason::UnknownSymbol => {}
                taken => self.take(taken.map(|()| None), out),
            }
        }
    }

    /// Takes rows of `market/trades`, which come newest first.
    pub fn trades(&mut self, now: Timestamp, rows: &[&RawValue], out: &mut Vec<Price>) {
        for row in rows.iter().rev() {
            let taken = self.trade(now, row);
            self.take(taken, out);
        }
    }

    /// Takes rows of `market/mark-price`; pairs that were not asked for are passed over.
    pub fn mark_prices(&mut self, now: Timestamp, rows: &[&RawValue], out: &mut Vec<Price>) {
        for row in rows {
            match self.mark_price(now, row) {
                Err(dropped) if dropped.reason == DropReason::UnknownSymbol => {}
                taken => self.take(taken, out),
            }
        }
    }

    fn take(&mut self, taken: Result<Option<Price>, Dropped>, out: &mut Vec<Price>) {
        match taken {
            Ok(price) => out.extend(price),
            Err(dropped) => self.drop_row(&dropped),
        }
    }

    fn market(&mut self, name: Symbol) -> Result<&mut Market, Dropped> {
        let unknown = || Dropped::new(DropReason::UnknownSymbol, "instId", name.as_str());
        self.markets.get_mut(&name).ok_or_else(unknown)
    }

    fn trade(&mut self, now: Timestamp, row: &RawValue) -> Result<Option<Price>, Dropped> {
        let trade = Trade::read(row)?;
        let market = self.market(trade.symbol)?;
        near(now, trade.time)?;
        if market.trades.contains(&trade.id) {
            return Err(Dropped::new(DropReason::Repeated, "tradeId", &trade.id));
        }
        if trade.time <= market.traded && market.told == Some(trade.level) {
            market.told = None;
            market.remember(trade.id.clone());
            return Err(Dropped::new(DropReason::Repeated, "tradeId", &trade.id));
        }
        if trade.time < market.traded {
            return Err(Dropped::new(DropReason::OutOfOrder, "tradeId", &trade.id));
        }
        let quantity = base_units(&market.instrument, trade.level.size)?;
        market.remember(trade.id);
        market.traded = trade.time;
        market.last = Some(trade.level);
        market.told = None;
        let update = PriceUpdate::Trade { price: trade.level.price, quantity, taker: trade.taker };
        Ok(Some((market.symbol, trade.time, update)))
    }

    fn ticker(&mut self, now: Timestamp, row: &RawValue, out: &mut Vec<Price>) -> Result<(), Dropped> {
        let ticker = Ticker::read(row)?;
        let market = self.market(ticker.symbol)?;
        near(now, ticker.time)?;
        if ticker.time < market.quoted {
            return Err(Dropped::new(DropReason::OutOfOrder, "ts", &ticker.time.to_string()));
        }
        // A trade of the stream may be newer than a ticker that was on its way.
        let is_new = market.last != Some(ticker.last) && ticker.time >= market.traded;
        let last = match is_new {
            true => Some(base_units(&market.instrument, ticker.last.size)?),
            false => None,
        };
        let before = out.len();
        out.extend(market.quote(ticker.time, ticker.best)?);
        if let Some(quantity) = last {
            market.last = Some(ticker.last);
            market.told = market.last;
            market.traded = ticker.time;
            let update = PriceUpdate::Trade { price: ticker.last.price, quantity, taker: None };
            out.push((market.symbol, ticker.time, update));
        }
        if out.len() == before {
            out.push((market.symbol, ticker.time, PriceUpdate::Confirmed));
        }
        Ok(())
    }

    fn book(&mut self, now: Timestamp, name: Symbol, row: &RawValue) -> Result<Option<Price>, Dropped> {
        let book = Book::read(row)?;
        let market = self.market(name)?;
        near(now, book.time)?;
        if book.time < market.quoted {
            return Err(Dropped::new(DropReason::OutOfOrder, "ts", &book.time.to_string()));
        }
        let confirmed = (market.symbol, book.time, PriceUpdate::Confirmed);
        Ok(market.quote(book.time, book.best()?)?.or(Some(confirmed)))
    }

    fn mark_candle(
        &mut self,
        now: Timestamp,
        name: Symbol,
        row: &RawValue,
    ) -> Result<Option<Price>, Dropped> {
        let candle = Candle::read(row)?;
        let market = self.market(name)?;
        near(now, candle.open_time)?;
        // Pushes of the forming bar have its opening time: only an older bar is out of order.
        if candle.open_time < market.marked {
            return Err(Dropped::new(DropReason::OutOfOrder, "open time", &candle.open_time.to_string()));
        }
        market.marked = candle.open_time;
        Ok(Some((market.symbol, now, PriceUpdate::Mark { price: candle.close })))
    }

    fn mark_price(&mut self, now: Timestamp, row: &RawValue) -> Result<Option<Price>, Dropped> {
        let price = MarkPrice::read(row)?;
        let market = self.market(price.symbol)?;
        near(now, price.time)?;
        if price.time < market.marked {
            return Err(Dropped::new(DropReason::OutOfOrder, "ts", &price.time.to_string()));
        }
        // The next bar of the stream opens at a full minute, which this time must not be ahead of.
        market.marked = Timestamp::from_ms(price.time.as_ms() / 60_000 * 60_000);
        Ok(Some((market.symbol, price.time, PriceUpdate::Mark { price: price.mark })))
    }
}

impl Market {
    fn remember(&mut self, trade_id: String) {
        if self.trades.len() == TRADES_REMEMBERED {
            self.trades.pop_front();
        }
        self.trades.push_back(trade_id);
    }

    /// The quote of a book that is not older than the last one; `None` when it is the same or a side is empty.
    fn quote(&mut self, time: Timestamp, best: Option<Best>) -> Result<Option<Price>, Dropped> {
        let Some(best) = best.filter(|best| self.best != Some(*best)) else {
            self.quoted = time;
            return Ok(None);
        };
        let update = PriceUpdate::Quote {
            bid: best.bid.price,
            bid_quantity: base_units(&self.instrument, best.bid.size)?,
            ask: best.ask.price,
            ask_quantity: base_units(&self.instrument, best.ask.size)?,
        };
        self.quoted = time;
        self.best = Some(best);
        Ok(Some((self.symbol, time, update)))
    }
}

/// Base units of a number of contracts, cut to the decimals that amounts keep.
fn base_units(instrument: &Instrument, contracts: Quantity) -> Result<Quantity, Dropped> {
    let exact = instrument.base_units(contracts).value();
    let kept = exact.round_dp_with_strategy(AMOUNT_DECIMALS, RoundingStrategy::ToZero);
    let shown = || exact.to_string();
    match kept {
        kept if kept.is_zero() => Err(Dropped::new(DropReason::SizeNotPositive, "size", &shown())),
        kept if kept > AMOUNT_MAX.into() => Err(Dropped::new(DropReason::Malformed, "size", &shown())),
        kept => Ok(Quantity::new(kept.normalize())),
    }
}

/// Refuses a time that is far off our clock.
fn near(now: Timestamp, time: Timestamp) -> Result<(), Dropped> {
    match (-PAST_MS_MAX..=FUTURE_MS_MAX).contains(&time.since_ms(now)) {
        true => Ok(()),
        false => Err(Dropped::new(DropReason::TimeFarOff, "ts", &time.to_string())),
    }
}
