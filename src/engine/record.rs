//! The facts that the journal keeps: money only. The state is their fold, see [`super::state`].
//!
//! Encoded by postcard, which is not self-describing: variants and fields are only ever appended, and a change of
//! meaning raises the version in `store/record.rs`.

use serde::{Deserialize, Serialize};

use super::event::{Level, LevelScope};
pub use super::live_record::{
    AccountRecord, Correction, Difference, DriftRecord, FundingRecord, LastFillsRecord, ReconcileRecord,
    Route, RouteRecord, SnapshotRecord,
};
use crate::model::amount::{Money, Price};
use crate::model::ids::{ClientOrderId, SignalId, StoreId, StrategyId, StrategyType, Symbol, VenueId};
use crate::model::live::{LiveNote, LiveStop};
use crate::model::market::MarketKey;
use crate::model::order::Order;
use crate::model::report::{Fill, Trade};
use crate::model::signal::SignalResult;
use crate::model::stop::{ProtectiveStop, Triggers};
use crate::model::time::Timestamp;

/// One fact. Every record has a sequence number, counted from 1 without gaps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// The store was made. Always the first record.
    Store {
        /// Its id, part of every order id.
        id: StoreId,
        /// When it was made.
        time: Timestamp,
    },
    /// A strategy was seen for the first time, or with other symbols or another type than before.
    Strategy(StrategyRecord),
    /// Capital was added or taken away by the configuration.
    Adjustment {
        /// The strategy.
        strategy: StrategyId,
        /// Quote money, negative when taken away.
        amount: Money,
        /// When.
        time: Timestamp,
    },
    /// A feed and symbol have retained topics at the broker.
    Market {
        /// Feed and symbol.
        key: MarketKey,
    },
    /// A strategy left the configuration; it counts in no sum until it comes back.
    Retired {
        /// The strategy.
        strategy: StrategyId,
        /// When.
        time: Timestamp,
    },
    /// A signal was decided.
    Signal(SignalRecord),
    /// An order was made or changed.
    Order(Order),
    /// An order was executed, wholly or in part.
    Fill(Fill),
    /// A position was closed.
    Trade(Trade),
    /// A level was set, by a command or by a limit.
    Level(LevelRecord),
    /// Equity samples and marks.
    Sample(SampleRecord),
    /// The broker acknowledged every event message through this sequence.
    Published {
        /// Sequence of a record.
        through: u64,
    },
    /// The process died while it handled this signal; it is not tried again.
    Poisoned {
        /// The strategy.
        strategy: StrategyId,
        /// The signal.
        id: SignalId,
        /// When.
        time: Timestamp,
    },
    /// Home Assistant was told of a device, or it was taken back.
    Announced(Announced),
    /// A request changed something.
    Request(RequestRecord),
    /// A signal named stops.
    Triggers(TriggersRecord),
    /// Another stop protects a position from now on, or none does.
    Stop(StopRecord),
    /// What is remembered of an order at a venue changed.
    Live(Box<LiveNote>),
    /// The venue's last word on a fill differs from what was booked.
    Correction(Correction),
    /// Everything that a venue said about an account was taken over.
    Snapshot(SnapshotRecord),
    /// What is remembered of a stop at a venue changed.
    LiveStop(Box<LiveStop>),
    /// An account turned out to be another's, in another world, or to hold positions otherwise.
    Account(AccountRecord),
    /// A strategy's position is held there from now on.
    Route(RouteRecord),
    /// Venue and ledger differ for a strategy, or do not any more.
    Reconcile(ReconcileRecord),
    /// Money was paid or received for holding a position.
    Funding(FundingRecord),
    /// The paper model has filled what a venue filled.
    Drift(DriftRecord),
    /// A type or the daemon counts other strategies from now on: the live ones, or those on paper.
    Basis(BasisRecord),
    /// Newer executions of an account are taken over.
    LastFills(LastFillsRecord),
}

/// Stops that a signal named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggersRecord {
    /// The strategy.
    pub strategy: StrategyId,
    /// The pair.
    pub symbol: Symbol,
    /// The order that brings them with its first fill; `None`: they are those of the position from now on.
    pub order_id: Option<ClientOrderId>,
    /// What was named; the rest is kept.
    pub triggers: Triggers,
    /// When.
    pub time: Timestamp,
}

/// The stop that an exchange keeps for a position. It goes with the position without a record of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRecord {
    /// The strategy.
    pub strategy: StrategyId,
    /// The pair.
    pub symbol: Symbol,
    /// The stop; `None` when it was touched and became an order.
    pub stop: Option<ProtectiveStop>,
    /// When.
    pub time: Timestamp,
}

impl Record {
    /// The pair of an order or a fill.
    pub fn symbol(&self) -> Option<Symbol> {
        match self {
            Record::Order(order) => Some(order.symbol),
            Record::Fill(fill) => Some(fill.symbol),
            _ => None,
        }
    }
}

/// A request that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// The strategy.
    pub strategy: StrategyId,
    /// The request's id.
    pub id: SignalId,
    /// The symbol that it named.
    pub symbol: Option<Symbol>,
    /// When the sender made it.
    pub request_time: Timestamp,
    /// What it did.
    pub done: Done,
    /// When.
    pub time: Timestamp,
}

/// What a request did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// These orders were taken back.
    Cancelled(Vec<ClientOrderId>),
    /// These signals were made of it.
    Closed(Vec<SignalResult>),
    /// The venue's truth was booked under these orders.
    Adopted(Vec<ClientOrderId>),
}

/// A device that Home Assistant may know of, remembered so that it can be taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// Its discovery topic.
    pub topic: String,
    /// Key and platform of each of its components; none when it was taken back.
    pub components: Vec<(String, String)>,
}

impl Done {
    /// Whether there was nothing to do.
    pub fn is_nothing(&self) -> bool {
        match self {
            Done::Cancelled(ids) | Done::Adopted(ids) => ids.is_empty(),
            Done::Closed(results) => results.is_empty(),
        }
    }
}

/// A strategy as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrategyRecord {
    /// Its id.
    pub id: StrategyId,
    /// Its type.
    pub kind: StrategyType,
    /// Where its orders go.
    pub venue: VenueId,
    /// Its symbols.
    pub symbols: Vec<Symbol>,
    /// Its starting balance; ignored when the strategy is known.
    pub balance: Money,
    /// When it was seen.
    pub time: Timestamp,
}

/// A decided signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalRecord {
    /// The strategy.
    pub strategy: StrategyId,
    /// The signal's id.
    pub id: SignalId,
    /// What tells it from another signal under the same id.
    pub fingerprint: [u8; 16],
    /// The pair.
    pub symbol: Symbol,
    /// When the sender made it.
    pub signal_time: Timestamp,
    /// Whether it set a target, so that an older one is superseded.
    pub target_applied: bool,
    /// Its answer.
    pub result: SignalResult,
}

/// Why a level changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LevelCause {
    /// A command.
    Command,
    /// The loss of the UTC day reached its limit; lifts itself when this day is over.
    DailyLoss {
        /// Day number.
        day: i64,
    },
    /// The drawdown reached its limit.
    Drawdown,
    /// Equity fell to 0.
    Liquidated,
    /// Everything is closed.
    Flat,
    /// The store failed for too long.
    StoreOutage,
}

/// A level was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelRecord {
    /// Whose.
    pub scope: LevelScope,
    /// The level. For `DailyLoss` the level itself stays, and the day is reduced.
    pub level: Level,
    /// Why.
    pub cause: LevelCause,
    /// The command's id, which is taken only once.
    pub command: Option<SignalId>,
    /// New drawdown peaks, when `run` resets them.
    pub peaks: Vec<(Scope, Money)>,
    /// When.
    pub time: Timestamp,
}

/// Over which strategies figures are summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    /// One strategy.
    Strategy(StrategyId),
    /// All strategies of a type.
    Type(StrategyType),
    /// All strategies.
    Portfolio,
}

/// Whose money the figures and limits of a type or of the daemon count from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BasisRecord {
    /// A type or the portfolio.
    pub scope: Scope,
    /// The live strategies alone; else there is none, and it is those on paper.
    pub live: bool,
    /// From where their drawdown counts.
    pub peak: Money,
    /// Their equity when the UTC day began.
    pub day_start: Money,
    /// When.
    pub time: Timestamp,
}

/// Figures of a scope at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeSample {
    /// Whose.
    pub scope: Scope,
    /// Balance and unrealised profit.
    pub equity: Money,
    /// Highest equity so far.
    pub peak: Money,
    /// Equity when the UTC day began.
    pub day_start: Money,
}

/// Samples taken together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleRecord {
    /// When.
    pub time: Timestamp,
    /// The UTC day that has just ended, when this is its daily sample.
    pub day: Option<i64>,
    /// The figures.
    pub scopes: Vec<ScopeSample>,
    /// The marks behind them, which stand in until a feed speaks after a restart.
    pub marks: Vec<(MarketKey, Price)>,
}
