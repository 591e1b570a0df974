//! A made-up market that looks like one, for trying out and for tests: quotes and trades of several symbols.
//!
//! The same seed, settings and start give the same events on every platform (see `random.rs`), for ever. Prices walk
//! at random with a common factor (any two symbols are correlated by one half), volatility that clusters, and rare
//! jumps. A bid is below its ask, a trade prints at the shown bid or ask, every price is on the tick grid, above 0
//! and within a factor of about 100 of its start. Nothing here says how a real market would move.

use crate::model::amount::Price;
use crate::model::ids::{FeedId, Symbol};
use crate::model::market::MarketEvent;
use crate::model::time::Timestamp;
use book::Book;
use random::Random;

mod book;
mod random;
#[cfg(test)]
mod tests;

/// The most symbols of one market.
pub const SYMBOLS_MAX: usize = 64;
/// The highest start price, in quote currency.
pub const PRICE_START_MAX: i64 = 1_000_000_000;
/// The most ticks that a start price may have.
pub const TICKS_MAX: i64 = 1_000_000_000_000;

const DAY_MS: f64 = crate::model::time::DAY_MS as f64;
/// How fast calm and stormy hours pass.
const VARIANCE_TIME_MS: f64 = 30.0 * 60_000.0;
/// How much the variance itself varies; its standard deviation is this over the square root of 2.
const VARIANCE_SPREAD: f64 = 0.9;
const VARIANCE_MIN: f64 = 0.1;
const VARIANCE_MAX: f64 = 6.0;

/// One symbol of a synthetic market.
#[derive(Clone, Debug, PartialEq)]
pub struct SyntheticSymbol {
    /// The pair.
    pub symbol: Symbol,
    /// Mid at the start, above 0, at most [`PRICE_START_MAX`].
    pub price_start: Price,
    /// Standard deviation of a day's return, 0 to 1: 0.03 is 3 % a day.
    pub volatility_daily_ratio: f64,
    /// Mean distance of bid and ask in basis points of the mid, 0 to 1000; at least one tick.
    pub spread_bps: f64,
    /// Mean time between two events in milliseconds, 1 to a day. The times are exponential.
    pub interval_ms_mean: f64,
    /// The step of prices, above 0; at most the start price, at least a [`TICKS_MAX`]th of it.
    pub tick_size: Price,
}

impl SyntheticSymbol {
    /// Looks at the ranges.
    ///
    /// # Errors
    /// Names the first setting that is out of its range.
    pub fn check(&self) -> Result<(), SyntheticError> {
        let (price, tick) = (self.price_start.value(), self.tick_size.value());
        let range = |value: f64, least: f64, most: f64| (least..=most).contains(&value);
        let wrong = if !self.price_start.is_positive() || price > PRICE_START_MAX.into() {
            "price_start must be above 0, at most 1000000000"
        } else if !self.tick_size.is_positive() || tick > price || price / tick > TICKS_MAX.into() {
            "tick_size must be above 0, at most price_start, at least price_start / 1000000000000"
        } else if !range(self.volatility_daily_ratio, 0.0, 1.0) {
            "volatility_daily_ratio must be 0 to 1"
        } else if !range(self.spread_bps, 0.0, 1_000.0) {
            "spread_bps must be 0 to 1000"
        } else if !range(self.interval_ms_mean, 1.0, DAY_MS) {
            "interval_ms_mean must be 1 to 86400000"
        } else {
            return Ok(());
        };
        Err(SyntheticError::Symbol { symbol: self.symbol, wrong })
    }
}

/// An endless iterator of events in time order. The first events are a quote of each symbol at the start.
#[derive(Clone, Debug)]
pub struct SyntheticMarket {
    feed: FeedId,
    start: Timestamp,
    random: Random,
    weather: Weather,
    books: Vec<Book>,
}

impl SyntheticMarket {
    /// A market whose events bear the name of `feed`.
    ///
    /// # Errors
    /// When there is no symbol, more than [`SYMBOLS_MAX`], one twice, or one with a setting out of its range.
    pub fn new(
        feed: FeedId,
        seed: u64,
        symbols: &[SyntheticSymbol],
        start: Timestamp,
    ) -> Result<SyntheticMarket, SyntheticError> {
        if symbols.is_empty() || symbols.len() > SYMBOLS_MAX {
            return Err(SyntheticError::SymbolCount { found: symbols.len() });
        }
        for (place, settings) in symbols.iter().enumerate() {
            settings.check()?;
            if symbols[..place].iter().any(|other| other.symbol == settings.symbol) {
                return Err(SyntheticError::Symbol { symbol: settings.symbol, wrong: "is there twice" });
            }
        }
        Ok(SyntheticMarket {
            feed,
            start,
            random: Random::new(seed),
            weather: Weather { time_ms: 0.0, variance: 1.0, common: 0.0 },
            books: symbols.iter().map(Book::new).collect(),
        })
    }
}

impl Iterator for SyntheticMarket {
    type Item = MarketEvent;

    /// Always an event.
    fn next(&mut self) -> Option<MarketEvent> {
        let book = self.books.iter_mut().min_by(|a, b| a.next_ms.total_cmp(&b.next_ms))?;
        let due_ms = book.next_ms;
        self.weather.advance(due_ms, &mut self.random);
        let update = book.step(&self.weather, &mut self.random);
        Some(MarketEvent {
            feed: self.feed,
            symbol: book.symbol,
            time: self.start.plus_ms(due_ms as i64),
            update,
        })
    }
}

/// What all symbols share: how stormy it is, and where the common factor stands.
#[derive(Clone, Debug)]
struct Weather {
    time_ms: f64,
    /// Around 1, within [`VARIANCE_MIN`] and [`VARIANCE_MAX`].
    variance: f64,
    /// A random walk of this variance per millisecond.
    common: f64,
}

impl Weather {
    /// The variance returns to 1 and varies with its own root, as in Cox, Ingersoll and Ross (1985).
    fn advance(&mut self, time_ms: f64, random: &mut Random) {
        let elapsed_ms = time_ms - self.time_ms;
        let share = (elapsed_ms / VARIANCE_TIME_MS).min(1.0);
        let noise = VARIANCE_SPREAD * (self.variance * share).sqrt() * random.normal();
        let variance = self.variance + share * (1.0 - self.variance) + noise;
        self.variance = variance.clamp(VARIANCE_MIN, VARIANCE_MAX);
        self.common += (self.variance * elapsed_ms).sqrt() * random.normal();
        self.time_ms = time_ms;
    }
}

/// Settings that no market can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntheticError {
    /// None, or more than [`SYMBOLS_MAX`].
    #[error("a synthetic market has 1 to 64 symbols, not {found}")]
    SymbolCount {
        /// How many there are.
        found: usize,
    },
    /// A setting of a symbol.
    #[error("synthetic market, {symbol}: {wrong}")]
    Symbol {
        /// The symbol.
        symbol: Symbol,
        /// Which setting, and its range.
        wrong: &'static str,
    },
}
