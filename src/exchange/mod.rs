//! How orders become fills: one exchange object for each strategy, behind one trait.
//!
//! An exchange never sees an order that [`crate::risk`] did not approve, never reads a clock, and answers only through
//! reports. It knows neither strategies nor ledgers.

pub mod live;
pub mod matching;
pub mod paper;

use rust_decimal::Decimal;

use self::live::LiveExchange;
use crate::model::amount::{Price, Quantity};
use crate::model::ids::{ClientOrderId, Symbol};
use crate::model::instrument::Instrument;
use crate::model::market::PriceUpdate;
use crate::model::order::{Order, OrderReason};
use crate::model::report::ExecutionReport;
use crate::model::stop::ProtectiveStop;
use crate::model::time::Timestamp;
use crate::risk::RiskApproved;

/// What an exchange may know of a market at the moment it acts.
#[derive(Clone, Copy, Debug)]
pub struct MarketView<'a> {
    /// Rounding and sizes.
    pub instrument: &'a Instrument,
    /// The latest trade or candle close.
    pub last: Option<Price>,
    /// Best bid, when it is known and fresh.
    pub bid: Option<Price>,
    /// Best ask, when it is known and fresh.
    pub ask: Option<Price>,
    /// How many updates with a price to fill at the market has seen; tells a new price from the one before.
    pub updates: u64,
    /// Whether the latest price is a candle's close, which nothing may fill at.
    pub from_candle: bool,
}

impl MarketView<'_> {
    /// The price that stops are held against: the last one, or the middle of bid and ask where no feed tells it.
    pub fn trigger(&self) -> Option<Price> {
        let middle = || Some(Price::new((self.bid?.value() + self.ask?.value()) / Decimal::TWO));
        self.last.or_else(middle)
    }
}

/// What fills a strategy's orders.
pub trait Exchange: std::fmt::Debug + Send {
    /// Takes an order. Its reports may come at once or from a later call.
    fn submit(
        &mut self,
        at: Timestamp,
        order: RiskApproved,
        market: &MarketView<'_>,
        reports: &mut Vec<ExecutionReport>,
    );

    /// Takes an order back; silent when the order is not there.
    fn cancel(
        &mut self,
        at: Timestamp,
        order_id: ClientOrderId,
        reason: OrderReason,
        reports: &mut Vec<ExecutionReport>,
    );

    /// Sees a price of a symbol that it may have orders on.
    fn on_price(
        &mut self,
        at: Timestamp,
        symbol: Symbol,
        update: &PriceUpdate,
        market: &MarketView<'_>,
        reports: &mut Vec<ExecutionReport>,
    );

    /// Acts on what is due at or before `at` for one symbol.
    fn on_wakeup(
        &mut self,
        at: Timestamp,
        symbol: Symbol,
        market: &MarketView<'_>,
        reports: &mut Vec<ExecutionReport>,
    );

    /// When, and for which symbol, it wants to be woken next.
    fn next_wakeup(&self) -> Option<(Timestamp, Symbol)>;

    /// Takes back a resting order after a restart, and one that a touched stop became.
    fn restore(&mut self, order: &Order);

    /// Keeps this stop for the position in `symbol` from now on, instead of the one before. `None`: keeps none, because
    /// the position is gone or its stop became an order. When the last price is beyond a trigger already, it is touched
    /// at once. It may be told of the same stop again. What it keeps is at most one stop for each symbol, and never for
    /// more than is held.
    fn protect(
        &mut self,
        at: Timestamp,
        symbol: Symbol,
        stop: Option<&ProtectiveStop>,
        market: &MarketView<'_>,
        reports: &mut Vec<ExecutionReport>,
    );

    /// Takes the order that a touched stop became, asked for by [`ExecutionReport::Triggered`]: a simulated exchange
    /// fills it like a market order, a venue has made it already.
    fn close_touched(
        &mut self,
        at: Timestamp,
        order: RiskApproved,
        market: &MarketView<'_>,
        reports: &mut Vec<ExecutionReport>,
    );

    /// Takes back the stop of a position after a restart.
    fn restore_stop(&mut self, stop: &ProtectiveStop);

    /// The stop that it was told to keep for a symbol.
    fn stop(&self, symbol: Symbol) -> Option<&ProtectiveStop>;

    /// The live exchange, if it is one: what a venue says goes to it.
    fn live(&self) -> Option<&LiveExchange> {
        None
    }

    /// The same to be told something.
    fn live_mut(&mut self) -> Option<&mut LiveExchange> {
        None
    }
}

/// Base units that are available at a price, for one fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Available {
    /// The price that the market shows.
    pub price: Price,
    /// Base units at it; `None` when the market does not tell.
    pub quantity: Option<Quantity>,
}
