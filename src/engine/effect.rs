//! All that the engine can ask for. Effects leave in order; a `Persist` protects everything behind it that waits.

use rust_decimal::Decimal;

use super::event::{Level, ReplyToken};
use super::reconcile_plan::ReconcilePlan;
use super::record::{Difference, Done, Record, Scope};
use crate::model::amount::{Money, Price, Quantity};
use crate::model::ids::{FeedId, StrategyId, StrategyType, Symbol, VenueId};
use crate::model::kpi::Kpis;
use crate::model::market::MarketKey;
use crate::model::order::Side;
use crate::model::signal::{Refusal, SignalResult};
use crate::model::time::Timestamp;
use crate::model::trading::Dispatch;

/// Something for the driver to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Journal this fact. Order, fill, trade and signal records are also published, as event messages.
    Persist(Record),
    /// Ask this of a venue, once everything before it is on disk.
    Send(Box<Dispatch>),
    /// Publish this.
    Publish(Update),
    /// Answer whoever sent the message with this token, and acknowledge it.
    Reply {
        /// The message.
        token: ReplyToken,
        /// The answer to a signal, if it was one that could be answered.
        result: Option<SignalResult>,
        /// Why the message was refused, when it gets no such answer: a level, or a signal without a readable id.
        refusal: Option<Refusal>,
    },
    /// Answer a request.
    Answer {
        /// The request.
        token: ReplyToken,
        /// The answer.
        answer: Box<Answer>,
    },
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What was asked for, or why not.
    pub told: Result<Told, Refusal>,
    /// Whether this request was carried out before, and nothing happened now.
    pub repeated: bool,
    /// When it was given.
    pub time: Timestamp,
}

/// What is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Key figures of one strategy, or of all and their sums.
    Kpis(Vec<KpiView>),
    /// Positions that are not flat.
    Positions(Vec<PositionView>),
    /// What was changed.
    Done(Done),
    /// What venues and ledgers hold, and what they differ by.
    Reconcile(Box<ReconcilePlan>),
}

/// What is published beside the event messages that follow from records.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// The retained price of a market.
    Price(PriceView),
    /// One tick of a market whose strategy asks for ticks.
    Tick(TickView),
    /// Something that a person should know.
    Alert(Alert),
    /// A strategy's money and level.
    Strategy(Box<StrategyView>),
    /// The figures of a type or of all.
    Scope(Box<ScopeView>),
    /// A position, also when it is flat.
    Position(Box<PositionView>),
    /// Key figures.
    Kpi(Box<KpiView>),
    /// The daemon's level.
    Level(Level),
    /// The answer to a signal that is not journalled: repeated, or refused without using up its id.
    Result(SignalResult),
    /// A market left the configuration: its retained topics are to be cleared.
    ClearMarket(MarketKey),
    /// The last market of a feed left the configuration: the feed's retained topic is to be cleared.
    ClearFeed(FeedId),
    /// The last strategy of a type left the configuration: the type's retained topics are to be cleared.
    ClearType(StrategyType),
    /// A strategy or some of its symbols left the configuration: these retained topics are to be cleared.
    ClearStrategy {
        /// The strategy.
        strategy: StrategyId,
        /// Position topics to clear.
        symbols: Vec<Symbol>,
        /// Whether its state and figures go too.
        all: bool,
    },
}

impl Update {
    /// Whether it must wait until everything before it is on disk. Prices, ticks and alerts do not.
    pub fn waits(&self) -> bool {
        !matches!(self, Update::Price(_) | Update::Tick(_) | Update::Alert(_))
    }
}

/// A market's price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceView {
    /// Feed and symbol.
    pub key: MarketKey,
    /// Last trade or candle close.
    pub last: Option<Price>,
    /// Best bid.
    pub bid: Option<Price>,
    /// Best ask.
    pub ask: Option<Price>,
    /// The venue's mark, else the last price, else the middle of bid and ask.
    pub mark: Option<Price>,
    /// Venue time of the latest update.
    pub time: Timestamp,
    /// Whether the venue has not confirmed it for too long.
    pub stale: bool,
}

/// A price and the trade behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TickView {
    /// The price after the tick.
    pub price: PriceView,
    /// Base units of the trade, if it was one.
    pub quantity: Option<Quantity>,
    /// Side of the taker, if known.
    pub side: Option<Side>,
}

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertLevel {
    /// Good to know.
    Info,
    /// Should be looked at.
    Warning,
    /// Needs somebody.
    Error,
}

impl AlertLevel {
    /// The word on the bus.
    pub fn as_str(self) -> &'static str {
        match self {
            AlertLevel::Info => "info",
            AlertLevel::Warning => "warning",
            AlertLevel::Error => "error",
        }
    }
}

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// How urgent.
    pub level: AlertLevel,
    /// A stable word for programs.
    pub code: &'static str,
    /// A sentence for people, without secrets.
    pub text: String,
    /// The strategy that it is about.
    pub strategy: Option<StrategyId>,
    /// When.
    pub time: Timestamp,
}

/// The money of a scope, in quote currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MoneyView {
    /// Start, adjustments and all that was booked.
    pub balance: Money,
    /// Balance and unrealised profit.
    pub equity: Money,
    /// Profit of open positions at the mark.
    pub unrealized_pnl: Money,
    /// Lifetime profit before fees.
    pub realized_pnl: Money,
    /// Lifetime fees.
    pub fees: Money,
    /// Lifetime funding received.
    pub funding: Money,
    /// Highest equity.
    pub peak: Money,
    /// Positions that are not flat.
    pub open_positions: u32,
}

/// A strategy as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrategyView {
    /// Its id.
    pub strategy: StrategyId,
    /// Its type.
    pub kind: StrategyType,
    /// Its feed.
    pub feed: Option<FeedId>,
    /// Whether it trades at a venue.
    pub live: bool,
    /// Where its orders go.
    pub venue: VenueId,
    /// Its level as set.
    pub level: Level,
    /// The stricter of its and the daemon's level.
    pub level_effective: Level,
    /// What venue and ledger differ by.
    pub reconcile: Vec<Difference>,
    /// How much worse than the paper model its latest live orders were filled, in basis points.
    pub drift_bps: Option<Decimal>,
    /// Its symbols.
    pub symbols: Vec<Symbol>,
    /// Its money.
    pub money: MoneyView,
    /// The latest refusal.
    pub last_error: Option<String>,
    /// When.
    pub time: Timestamp,
}

/// A type or the portfolio as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeView {
    /// Which.
    pub scope: Scope,
    /// Whether the figures are those of live strategies: of these alone, if there are any.
    pub live: bool,
    /// Its money.
    pub money: MoneyView,
    /// When.
    pub time: Timestamp,
}

/// A position as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionView {
    /// The strategy.
    pub strategy: StrategyId,
    /// The pair.
    pub symbol: Symbol,
    /// Where it is held.
    pub venue: VenueId,
    /// Signed base units, 0 when flat.
    pub quantity: Quantity,
    /// Mean price of what is held.
    pub entry_price: Option<Price>,
    /// The mark.
    pub mark_price: Option<Price>,
    /// Profit at the mark.
    pub unrealized_pnl: Money,
    /// Profit realised since it opened, before fees.
    pub realized_pnl: Money,
    /// Fees since it opened.
    pub fees: Money,
    /// Where a loss is cut.
    pub stop_loss: Option<Price>,
    /// Where a profit is taken.
    pub take_profit: Option<Price>,
    /// When it left flat.
    pub opened_at: Option<Timestamp>,
    /// When.
    pub time: Timestamp,
}

/// Key figures of a scope.
#[derive(Clone, Debug, PartialEq)]
pub struct KpiView {
    /// Whose.
    pub scope: Scope,
    /// Whether the figures are those of live strategies: of these alone, if there are any.
    pub live: bool,
    /// When the scope began.
    pub from: Timestamp,
    /// When the figures were computed.
    pub to: Timestamp,
    /// The figures.
    pub kpis: Kpis,
}
