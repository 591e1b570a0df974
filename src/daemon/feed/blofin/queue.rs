//! What waits for the engine: newest quote, mark and confirmation of each symbol, and every trade.
//!
//! Invariant: a symbol has at most one quote, one mark and one confirmation here; a newer one takes the place of the
//! older one, so a busy engine sees the newest price and not a history of them. Trades are never put together: beyond
//! [`TRADES_MAX`] the oldest is dropped and counted.

use std::collections::{BTreeMap, VecDeque};

use crate::model::ids::Symbol;
use crate::model::market::{MarketEvent, PriceUpdate};

/// The most trades that wait.
pub const TRADES_MAX: usize = 10_000;

/// What replaces its older self.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Instrument,
    Quote,
    Mark,
    Confirmed,
}

#[derive(Debug)]
enum Slot {
    Trade(MarketEvent),
    Newest(Symbol, Kind),
}

/// Events in the order in which their places were taken.
#[derive(Debug, Default)]
pub struct Queue {
    slots: VecDeque<Slot>,
    newest: BTreeMap<(Symbol, Kind), MarketEvent>,
    trades: usize,
    /// Quotes, marks and confirmations that a newer one replaced.
    pub conflated: u64,
    /// Trades that were dropped.
    pub overflowed: u64,
}

impl Queue {
    /// Takes an event in.
    pub fn push(&mut self, event: MarketEvent) {
        let kind = match event.update {
            PriceUpdate::Trade { .. } | PriceUpdate::Candle { .. } => return self.push_trade(event),
            PriceUpdate::Quote { .. } => Kind::Quote,
            PriceUpdate::Mark { .. } => Kind::Mark,
            PriceUpdate::Confirmed => Kind::Confirmed,
            PriceUpdate::Instrument { .. } => Kind::Instrument,
        };
        let symbol = event.symbol;
        match self.newest.insert((symbol, kind), event) {
            Some(_) => self.conflated += 1,
            None => self.slots.push_back(Slot::Newest(symbol, kind)),
        }
    }

    fn push_trade(&mut self, event: MarketEvent) {
        if self.trades == TRADES_MAX
            && let Some(oldest) = self.slots.iter().position(|slot| matches!(slot, Slot::Trade(_)))
        {
            self.slots.remove(oldest);
            self.trades -= 1;
            self.overflowed += 1;
        }
        self.trades += 1;
        self.slots.push_back(Slot::Trade(event));
    }

    /// The next event.
    pub fn pop(&mut self) -> Option<MarketEvent> {
        match self.slots.pop_front()? {
            Slot::Trade(event) => {
                self.trades -= 1;
                Some(event)
            }
            Slot::Newest(symbol, kind) => self.newest.remove(&(symbol, kind)),
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::amount::{Price, Quantity};
    use crate::model::ids::FeedId;
    use crate::model::time::Timestamp;

    fn event(symbol: &str, time: i64, update: PriceUpdate) -> MarketEvent {
        let (feed, symbol) = (FeedId::new("blofin").unwrap(), Symbol::new(symbol).unwrap());
        MarketEvent { feed, symbol, time: Timestamp::from_ms(time), update }
    }

    fn trade(time: i64) -> MarketEvent {
        let (price, quantity) = (Price::new(1.into()), Quantity::new(1.into()));
        event("A-B", time, PriceUpdate::Trade { price, quantity, taker: None })
    }

    fn mark(symbol: &str, time: i64) -> MarketEvent {
        event(symbol, time, PriceUpdate::Mark { price: Price::new(1.into()) })
    }

    #[test]
    fn newer_ones_replace_older_ones_and_trades_stay() {
        let mut queue = Queue::default();
        for event in [mark("A-B", 1), trade(2), mark("C-B", 3), mark("A-B", 4), trade(5), mark("A-B", 6)] {
            queue.push(event);
        }
        queue.push(event("A-B", 7, PriceUpdate::Confirmed));
        let times: Vec<i64> = std::iter::from_fn(|| queue.pop()).map(|event| event.time.as_ms()).collect();
        assert_eq!(times, [6, 2, 3, 5, 7]);
        assert_eq!((queue.conflated, queue.overflowed, queue.is_empty()), (2, 0, true));
    }

    #[test]
    fn too_many_trades_lose_the_oldest() {
        let mut queue = Queue::default();
        queue.push(mark("A-B", 0));
        (1..=TRADES_MAX as i64 + 3).for_each(|time| queue.push(trade(time)));
        assert_eq!(queue.overflowed, 3);
        let times: Vec<i64> = std::iter::from_fn(|| queue.pop()).map(|event| event.time.as_ms()).collect();
        assert_eq!((times[0], times[1], times.len()), (0, 4, TRADES_MAX + 1));
    }
}
