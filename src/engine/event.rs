//! All that can wake the engine.

use serde::{Deserialize, Serialize};

use super::record::Announced;
use crate::model::amount::Price;
use crate::model::ids::{SignalId, StoreId, StrategyId, Symbol};
use crate::model::market::MarketEvent;
use crate::model::signal::{Refusal, Signal};
use crate::model::time::Timestamp;
use crate::model::trading::AccountReport;

/// Names the message that waits for an answer; the driver knows what it stands for.
pub type ReplyToken = u64;

/// A closed list: nothing else changes the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The daemon has started; the first event of every run.
    Start {
        /// The id that the store gets if it has none yet; chance comes from outside.
        store_id_new: StoreId,
    },
    /// A feed says something.
    Market(MarketEvent),
    /// A strategy wishes something, or a message on its topic could not be read.
    Signal(Box<SignalMessage>),
    /// Somebody changes a level.
    Level(LevelCommand),
    /// Somebody asks for something on the bus.
    Request(Box<Request>),
    /// A venue says something about an account.
    Venue(Box<AccountReport>),
    /// The broker has acknowledged every event message through this sequence.
    Published {
        /// Sequence of the last record whose message was acknowledged.
        through: u64,
    },
    /// The store began to fail (`false`) or works again (`true`).
    Store {
        /// Whether records reach the disk.
        available: bool,
    },
    /// Home Assistant is about to be told of these devices; those without components are gone from the broker.
    Announced(Vec<Announced>),
    /// The time that `next_wakeup` asked for has come.
    Wakeup,
    /// The daemon stops: what only memory holds is recorded.
    Shutdown,
}

/// A message on a strategy's signal topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalMessage {
    /// Who waits for the answer.
    pub token: ReplyToken,
    /// The strategy as the topic names it.
    pub strategy: String,
    /// The signal's id, as far as it could be read.
    pub id: Option<SignalId>,
    /// The wish, or why it could not be read.
    pub body: Result<Signal, Refusal>,
    /// Who speaks.
    pub origin: SignalOrigin,
}

/// Who speaks on a signal topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignalOrigin {
    /// A strategy, in our own words.
    #[default]
    Native,
    /// A chart. Its price may be one that was never traded, so entries are held against ours.
    TradingView {
        /// The price at which the alert fired, if it says so.
        price: Option<Price>,
    },
}

/// How much is allowed, from everything to nothing. Later is stricter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// Everything.
    #[default]
    Run,
    /// No entries.
    Pause,
    /// Only orders that reduce; a flip only closes.
    Reduce,
    /// Everything is being closed; becomes `Reduce` when confirmed flat.
    Flatten,
}

impl Level {
    /// Every level, loosest first.
    pub const ALL: [Level; 4] = [Level::Run, Level::Pause, Level::Reduce, Level::Flatten];

    /// The word on the bus.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Run => "run",
            Level::Pause => "pause",
            Level::Reduce => "reduce",
            Level::Flatten => "flatten",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.as_str() == word)
    }
}

/// Whose level: the daemon's or a strategy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LevelScope {
    /// The whole daemon.
    Daemon,
    /// One strategy.
    Strategy(StrategyId),
}

/// A message on a `level/set` topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelCommand {
    /// Who waits for the answer.
    pub token: ReplyToken,
    /// Whose level; the topic's strategy may be unknown.
    pub scope: Result<LevelScope, Refusal>,
    /// The wanted level, or why it could not be read.
    pub level: Result<Level, Refusal>,
    /// Time of the command; loosening needs one, and a fresh one.
    pub time: Option<Timestamp>,
    /// Id of the command; loosening needs one.
    pub id: Option<SignalId>,
}

/// What can be asked of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// Key figures.
    Kpis,
    /// Open positions.
    Positions,
    /// Take the working orders of a strategy back.
    CancelOrders,
    /// Close the positions of a strategy.
    ClosePosition,
    /// What venue and ledger differ by.
    Reconcile,
    /// Book the venue's truth for a strategy.
    ReconcileAccept,
}

/// A message on a request topic that could be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who waits for the answer.
    pub token: ReplyToken,
    /// What is asked.
    pub query: Query,
    /// Its id; what changes something needs one.
    pub id: Option<SignalId>,
    /// When the sender made it; what changes something needs one.
    pub time: Option<Timestamp>,
    /// Whose; what changes something needs one.
    pub strategy: Option<StrategyId>,
    /// Which of its symbols; `None` is all.
    pub symbol: Option<Symbol>,
}
