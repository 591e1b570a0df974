//! What a feed says about an instrument.

use serde::{Deserialize, Serialize};

use super::amount::{Price, Quantity};
use super::ids::{FeedId, Symbol};
use super::order::Side;
use super::time::Timestamp;

/// One message of a feed about one symbol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketEvent {
    /// The feed that says so.
    pub feed: FeedId,
    /// The pair.
    pub symbol: Symbol,
    /// When it happened, by the venue's clock (a recording's times may be shifted to now).
    pub time: Timestamp,
    /// What happened.
    pub update: PriceUpdate,
}

/// A message of a feed, and when it was seen: by our clock, or by that of whoever recorded it. The order of messages is
/// that of `at`; the venue's times may go back between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When it was seen.
    pub at: Timestamp,
    /// The message.
    pub event: MarketEvent,
}

impl From<MarketEvent> for Arrival {
    /// Seen when it happened.
    fn from(event: MarketEvent) -> Arrival {
        Arrival { at: event.time, event }
    }
}

/// What a feed can say. Prices are above zero; the parser drops the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PriceUpdate {
    /// A trade between others: price, base units, and the side that took.
    Trade {
        /// Price of the trade.
        price: Price,
        /// Base units.
        quantity: Quantity,
        /// The side of the taker, when the venue tells.
        taker: Option<Side>,
    },
    /// Best bid and ask with the base units that stand there. The bid is below the ask or equal to it.
    Quote {
        /// Best bid.
        bid: Price,
        /// Base units at the best bid.
        bid_quantity: Quantity,
        /// Best ask.
        ask: Price,
        /// Base units at the best ask.
        ask_quantity: Quantity,
    },
    /// A finished candle, as one last price at its close. Nothing fills at the price of the bar that caused it.
    Candle {
        /// Last price of the bar.
        close: Price,
    },
    /// The venue's mark price, which margin and unrealised profit go by.
    Mark {
        /// Mark price.
        price: Price,
    },
    /// The venue confirmed that its last price still stands: a heartbeat or an unchanged poll.
    Confirmed,
    /// The steps of the pair, as far as the venue tells them: before its first price, and when they change.
    Instrument {
        /// The smallest step of a price, in quote currency.
        tick_size: Price,
        /// The smallest step of a size, in contracts.
        lot_size: Quantity,
        /// The smallest order, in contracts.
        size_min: Quantity,
        /// Base units in a contract.
        contract_value: Quantity,
    },
}

/// A feed and a symbol: together they name an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MarketKey {
    /// The feed.
    pub feed: FeedId,
    /// The pair.
    pub symbol: Symbol,
}
