//! The facts of live trading, see [`super::record`].

use serde::{Deserialize, Serialize};

use crate::model::amount::{Money, Quantity};
use crate::model::ids::{AccountId, ClientOrderId, StrategyId, Symbol, VenueId, VenueOrderId};
use crate::model::live::Drift;
use crate::model::order::Side;
use crate::model::time::Timestamp;
use crate::model::trading::{Environment, PositionMode, PositionSide};

/// Money that the venue's last word on price and fee adds to what was booked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correction {
    /// The strategy.
    pub strategy: StrategyId,
    /// The pair.
    pub symbol: Symbol,
    /// The order whose fills it is about.
    pub order_id: ClientOrderId,
    /// The order's side.
    pub side: Side,
    /// Notional to be added; negative when less was paid or received.
    pub notional: Money,
    /// Fee to be added; negative when less was paid.
    pub fee: Money,
    /// When.
    pub time: Timestamp,
}

/// What the paper model would have made of a live order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftRecord {
    /// The strategy.
    pub strategy: StrategyId,
    /// The order.
    pub order_id: ClientOrderId,
    /// The comparison.
    pub drift: Drift,
    /// When.
    pub time: Timestamp,
}

/// How far an account's executions are taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// The account.
    pub account: AccountId,
    /// When the snapshot was asked for.
    pub asked: Timestamp,
    /// The last execution that was told, of whatever pair. See [`LastFillsRecord`].
    pub last_fill: Option<VenueOrderId>,
}

/// The newest executions of an account that are taken over: a venue counts those of each pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFillsRecord {
    /// The account.
    pub account: AccountId,
    /// Of each pair where that changed.
    pub last_fills: Vec<(Symbol, VenueOrderId)>,
    /// When.
    pub time: Timestamp,
}

/// Who an account is at its venue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRecord {
    /// The account.
    pub account: AccountId,
    /// Its id at the venue.
    pub uid: String,
    /// Which of the venue's worlds.
    pub environment: Environment,
    /// How positions are held.
    pub position_mode: PositionMode,
    /// When.
    pub time: Timestamp,
}

/// Where a strategy's position is held; written before its first entry there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRecord {
    /// The strategy.
    pub strategy: StrategyId,
    /// Where.
    pub route: Route,
    /// When.
    pub time: Timestamp,
}

/// An account as a position remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The venue.
    pub venue: VenueId,
    /// Which of its worlds.
    pub environment: Environment,
    /// The account's id at the venue.
    pub uid: String,
}

/// What venue and ledger differ by in one pair.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Difference {
    /// The pair.
    pub symbol: Symbol,
    /// Which position.
    pub position_side: PositionSide,
    /// Signed base units at the venue.
    pub venue: Quantity,
    /// Signed base units in the ledgers of the account's strategies.
    pub ledger: Quantity,
}

/// Differences that nothing explains; none when they are gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcileRecord {
    /// The strategy.
    pub strategy: StrategyId,
    /// The differences.
    pub differences: Vec<Difference>,
    /// When.
    pub time: Timestamp,
}

/// A strategy's share of a funding payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FundingRecord {
    /// The strategy.
    pub strategy: StrategyId,
    /// The account.
    pub account: AccountId,
    /// What tells the payment from others.
    pub id: String,
    /// The pair.
    pub symbol: Symbol,
    /// Quote money; negative is paid.
    pub amount: Money,
    /// When.
    pub time: Timestamp,
}
