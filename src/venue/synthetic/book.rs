//! One symbol of the synthetic market: a hidden mid that walks, and the best bid and ask that were last shown.

use rust_decimal::Decimal;

use super::random::Random;
use super::{DAY_MS, SyntheticSymbol, Weather};
use crate::model::amount::{Price, Quantity, decimal_to_f64};
use crate::model::ids::Symbol;
use crate::model::market::PriceUpdate;
use crate::model::order::Side;

/// Share of a symbol's variance that all symbols have in common: the correlation of any two.
const COMMON_VARIANCE_SHARE: f64 = 0.5;
/// Jumps of one symbol a day, at random times.
const JUMPS_PER_DAY: f64 = 6.0;
/// Standard deviation of a jump, in days of volatility.
const JUMP_SIZE: f64 = 0.15;
/// The share of events that are trades; the others are quotes.
const TRADE_SHARE: f64 = 0.3;
/// How likely a taker goes with the hidden mid when that has left the shown one.
const TAKER_INFORMED_RATIO: f64 = 0.65;
/// Mean size of a usual trade, in quote currency.
const TRADE_NOTIONAL_MEAN: f64 = 1_000.0;
/// One trade in this many is [`TRADE_LARGE_FACTOR`] times as large.
const TRADE_LARGE_EVERY: f64 = 20.0;
const TRADE_LARGE_FACTOR: f64 = 10.0;
/// Mean size at the best bid or ask, in quote currency.
const QUOTE_NOTIONAL_MEAN: f64 = 20_000.0;
/// The mid stays within this factor of the start, so that a market that runs for years keeps sensible prices.
const MID_FACTOR_MAX: f64 = 100.0;
/// The most decimals of a quantity.
const LOT_DECIMALS_MAX: u32 = 8;

#[derive(Clone, Debug)]
pub(super) struct Book {
    pub(super) symbol: Symbol,
    /// When the next event is due, in milliseconds since the market's start.
    pub(super) next_ms: f64,
    interval_ms: f64,
    tick: Decimal,
    tick_size: f64,
    spread_ratio: f64,
    /// Volatility for the square root of a millisecond, without jumps.
    volatility_common: f64,
    volatility_own: f64,
    jump_size: f64,
    mid: f64,
    mid_min: f64,
    mid_max: f64,
    /// The shown best bid and ask in ticks; 0 before the first quote.
    bid: i64,
    ask: i64,
    walked_ms: f64,
    common_seen: f64,
    lot_decimals: u32,
    lots_per_unit: f64,
}

impl Book {
    /// The settings must be in range.
    pub(super) fn new(settings: &SyntheticSymbol) -> Book {
        let mid = decimal_to_f64(settings.price_start.value());
        let jump_variance = JUMPS_PER_DAY * JUMP_SIZE * JUMP_SIZE;
        let walk = settings.volatility_daily_ratio * ((1.0 - jump_variance) / DAY_MS).sqrt();
        // A lot is worth at most one unit of quote currency at the start, unless it is a whole base unit.
        let mut lot_decimals = 0;
        let mut lots_per_unit = 1.0;
        while mid > lots_per_unit && lot_decimals < LOT_DECIMALS_MAX {
            lot_decimals += 1;
            lots_per_unit *= 10.0;
        }
        Book {
            symbol: settings.symbol,
            next_ms: 0.0,
            interval_ms: settings.interval_ms_mean,
            tick: settings.tick_size.value(),
            tick_size: decimal_to_f64(settings.tick_size.value()),
            spread_ratio: settings.spread_bps / 10_000.0,
            volatility_common: walk * COMMON_VARIANCE_SHARE.sqrt(),
            volatility_own: walk * (1.0 - COMMON_VARIANCE_SHARE).sqrt(),
            jump_size: settings.volatility_daily_ratio * JUMP_SIZE,
            mid,
            mid_min: mid / MID_FACTOR_MAX,
            mid_max: mid * MID_FACTOR_MAX,
            bid: 0,
            ask: 0,
            walked_ms: 0.0,
            common_seen: 0.0,
            lot_decimals,
            lots_per_unit,
        }
    }

    /// Walks to the event that is due, and says what it is. The first is a quote.
    pub(super) fn step(&mut self, weather: &Weather, random: &mut Random) -> PriceUpdate {
        self.walk(weather, random);
        self.next_ms += self.interval_ms * random.exponential();
        if self.bid > 0 && random.uniform() < TRADE_SHARE { self.trade(random) } else { self.quote(random) }
    }

    fn walk(&mut self, weather: &Weather, random: &mut Random) {
        let elapsed_ms = self.next_ms - self.walked_ms;
        let common = weather.common - self.common_seen;
        let own = (weather.variance * elapsed_ms).sqrt() * random.normal();
        let mut change = self.volatility_common * common + self.volatility_own * own;
        if random.uniform() < JUMPS_PER_DAY * elapsed_ms / DAY_MS {
            change += self.jump_size * random.normal();
        }
        self.mid = (self.mid * (1.0 + change.clamp(-0.5, 0.5))).clamp(self.mid_min, self.mid_max);
        self.walked_ms = self.next_ms;
        self.common_seen = weather.common;
    }

    fn quote(&mut self, random: &mut Random) -> PriceUpdate {
        let half = self.spread_ratio / 2.0 * (0.5 + random.uniform());
        self.bid = self.ticks(self.mid * (1.0 - half)).max(1);
        self.ask = self.ticks(self.mid * (1.0 + half)).max(self.bid + 1);
        PriceUpdate::Quote {
            bid: self.price(self.bid),
            bid_quantity: self.quantity(QUOTE_NOTIONAL_MEAN * random.exponential()),
            ask: self.price(self.ask),
            ask_quantity: self.quantity(QUOTE_NOTIONAL_MEAN * random.exponential()),
        }
    }

    fn trade(&mut self, random: &mut Random) -> PriceUpdate {
        let shown_mid = (self.bid + self.ask) as f64 / 2.0 * self.tick_size;
        let informed = random.uniform() < TAKER_INFORMED_RATIO;
        let taker = if (self.mid >= shown_mid) == informed { Side::Buy } else { Side::Sell };
        let large = random.uniform() * TRADE_LARGE_EVERY < 1.0;
        let factor = if large { TRADE_LARGE_FACTOR } else { 1.0 };
        PriceUpdate::Trade {
            price: self.price(if taker == Side::Buy { self.ask } else { self.bid }),
            quantity: self.quantity(TRADE_NOTIONAL_MEAN * factor * random.exponential()),
            taker: Some(taker),
        }
    }

    /// The nearest whole number of ticks.
    fn ticks(&self, price: f64) -> i64 {
        (price / self.tick_size + 0.5) as i64
    }

    fn price(&self, ticks: i64) -> Price {
        Price::new((Decimal::from(ticks) * self.tick).normalize())
    }

    /// The quantity that is worth `notional` at the mid: whole lots, at least one.
    fn quantity(&self, notional: f64) -> Quantity {
        let lots = ((notional / self.mid * self.lots_per_unit) as i64).max(1);
        Quantity::new(Decimal::new(lots, self.lot_decimals).normalize())
    }
}
