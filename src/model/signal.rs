//! What a strategy wishes, and the answer it gets.

use serde::{Deserialize, Serialize};

use super::amount::{Money, Price, Quantity, Ratio};
use super::ids::{ClientOrderId, SignalId, Symbol};
use super::order::{OrderType, Side};
use super::time::Timestamp;

/// What is wished: a target that the position should have, or a delta to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Target: a long position.
    Long,
    /// Target: a short position.
    Short,
    /// Target: no position.
    Flat,
    /// Delta: add base units.
    Buy,
    /// Delta: take base units away.
    Sell,
}

impl Action {
    /// Whether it names a state rather than a change.
    pub fn is_target(self) -> bool {
        matches!(self, Action::Long | Action::Short | Action::Flat)
    }

    /// The side of the order that it asks for when nothing is held, and so of the position that its stops protect.
    pub fn side(self) -> Side {
        match self {
            Action::Long | Action::Buy => Side::Buy,
            Action::Short | Action::Sell | Action::Flat => Side::Sell,
        }
    }

    /// The word on the bus.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Long => "long",
            Action::Short => "short",
            Action::Flat => "flat",
            Action::Buy => "buy",
            Action::Sell => "sell",
        }
    }
}

/// How much. All are above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Size {
    /// Base units.
    Quantity(Quantity),
    /// Quote money.
    Notional(Money),
    /// Percent of the strategy's equity as notional, without leverage.
    EquityPct(Ratio),
    /// Percent of the strategy's equity that is lost when the stop is hit.
    RiskPct(Ratio),
}

impl Size {
    /// Whether it depends on the equity, so that it cannot be repeated exactly.
    pub fn is_relative(self) -> bool {
        matches!(self, Size::EquityPct(_) | Size::RiskPct(_))
    }
}

/// A wish of a strategy, parsed and complete, not yet judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The sender's id: the idempotency key.
    pub id: SignalId,
    /// When the sender made it.
    pub time: Timestamp,
    /// The pair.
    pub symbol: Symbol,
    /// What is wished.
    pub action: Action,
    /// How much; `None` means the strategy's default.
    pub size: Option<Size>,
    /// Market or limit.
    pub order_type: OrderType,
    /// Where a loss is cut; it also sizes `risk_pct`.
    pub stop_loss: Option<Price>,
    /// Where a profit is taken.
    pub take_profit: Option<Price>,
    /// How old it may be when it arrives; `None` means the default.
    pub age_ms_max: Option<i64>,
    /// The sender's confidence, 0 to 1.
    pub confidence: Option<Ratio>,
}

/// Why a signal was refused. The list is a contract: a new reason changes `docs/MQTT.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the words are explained in docs/MQTT.md, where a test looks for each")]
pub enum Reason {
    Malformed,
    TooLarge,
    UnknownStrategy,
    UnknownSymbol,
    Retained,
    Stale,
    FromFuture,
    Superseded,
    Duplicate,
    Unsupported,
    LowConfidence,
    NoPrice,
    StalePrice,
    Paused,
    ReduceOnly,
    BelowMinimum,
    InsufficientBalance,
    LimitExceeded,
    NettingConflict,
    RateLimited,
    NeedsReconcile,
    NeedsKeys,
    StoreUnavailable,
    VenueRejected,
    WrongKey,
    PriceDeviation,
    Internal,
}

impl Reason {
    /// Every reason, in the order of the contract.
    pub const ALL: [Reason; 27] = [
        Reason::Malformed,
        Reason::TooLarge,
        Reason::UnknownStrategy,
        Reason::UnknownSymbol,
        Reason::Retained,
        Reason::Stale,
        Reason::FromFuture,
        Reason::Superseded,
        Reason::Duplicate,
        Reason::Unsupported,
        Reason::LowConfidence,
        Reason::NoPrice,
        Reason::StalePrice,
        Reason::Paused,
        Reason::ReduceOnly,
        Reason::BelowMinimum,
        Reason::InsufficientBalance,
        Reason::LimitExceeded,
        Reason::NettingConflict,
        Reason::RateLimited,
        Reason::NeedsReconcile,
        Reason::NeedsKeys,
        Reason::StoreUnavailable,
        Reason::VenueRejected,
        Reason::WrongKey,
        Reason::PriceDeviation,
        Reason::Internal,
    ];

    /// The word on the bus.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Malformed => "malformed",
            Reason::TooLarge => "too_large",
            Reason::UnknownStrategy => "unknown_strategy",
            Reason::UnknownSymbol => "unknown_symbol",
            Reason::Retained => "retained",
            Reason::Stale => "stale",
            Reason::FromFuture => "from_future",
            Reason::Superseded => "superseded",
            Reason::Duplicate => "duplicate",
            Reason::Unsupported => "unsupported",
            Reason::LowConfidence => "low_confidence",
            Reason::NoPrice => "no_price",
            Reason::StalePrice => "stale_price",
            Reason::Paused => "paused",
            Reason::ReduceOnly => "reduce_only",
            Reason::BelowMinimum => "below_minimum",
            Reason::InsufficientBalance => "insufficient_balance",
            Reason::LimitExceeded => "limit_exceeded",
            Reason::NettingConflict => "netting_conflict",
            Reason::RateLimited => "rate_limited",
            Reason::NeedsReconcile => "needs_reconcile",
            Reason::NeedsKeys => "needs_keys",
            Reason::StoreUnavailable => "store_unavailable",
            Reason::VenueRejected => "venue_rejected",
            Reason::WrongKey => "wrong_key",
            Reason::PriceDeviation => "price_deviation",
            Reason::Internal => "internal",
        }
    }

    /// Whether a refusal for this reason leaves the signal's id free and is not stored.
    pub fn frees_id(self) -> bool {
        matches!(
            self,
            Reason::Malformed
                | Reason::TooLarge
                | Reason::UnknownStrategy
                | Reason::Retained
                | Reason::RateLimited
                | Reason::StoreUnavailable
                | Reason::WrongKey
        )
    }
}

/// A refusal: the reason and a sentence that names field, value and limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The word of the contract.
    pub reason: Reason,
    /// What exactly, for a human.
    pub detail: String,
}

impl Refusal {
    /// A refusal with its explanation.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Refusal {
        Refusal { reason, detail: detail.into() }
    }
}

/// How a signal ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// All its orders filled at once.
    Filled,
    /// Its orders are on their way; the rest comes on `order` and `fill`.
    Accepted,
    /// The target was already reached.
    Unchanged,
    /// Nothing was done.
    Rejected(Refusal),
}

impl Outcome {
    /// The word on the bus.
    pub fn as_str(&self) -> &'static str {
        match self {
            Outcome::Filled => "filled",
            Outcome::Accepted => "accepted",
            Outcome::Unchanged => "unchanged",
            Outcome::Rejected(_) => "rejected",
        }
    }

    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Outcome::Rejected(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// The one answer to a signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalResult {
    /// The strategy as it was addressed (it may be unknown).
    pub strategy: String,
    /// The signal's id, as far as it could be read.
    pub id: Option<SignalId>,
    /// How it ended.
    pub outcome: Outcome,
    /// What is worth knowing though nothing was refused, such as a flip that only closed.
    pub note: Option<String>,
    /// The orders that it caused.
    pub orders: Vec<ClientOrderId>,
    /// Whether this is the answer of an earlier delivery.
    pub repeated: bool,
    /// When it was decided.
    pub time: Timestamp,
}
