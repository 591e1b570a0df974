//! What is allowed.

use serde::{Deserialize, Serialize};

use crate::model::amount::{Money, Ratio};

/// Limits of a strategy, a type, or the whole daemon. `None` means no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The largest notional of one entry, in quote currency.
    pub order_notional_max: Option<Money>,
    /// The largest sum of |quantity x mark| over the positions of the scope, working entries counted.
    pub position_notional_max: Option<Money>,
    /// The largest ratio of that sum to the equity of the scope.
    pub leverage_max: Option<Ratio>,
    /// The most entries within 60 seconds.
    pub orders_per_minute_max: Option<u32>,
    /// The largest mark-to-market loss of a UTC day; reaching it trips `reduce` until the next day.
    pub daily_loss_max: Option<Money>,
    /// The largest fall from the equity's peak, in percent; reaching it trips `on_drawdown`.
    pub drawdown_max_pct: Option<Ratio>,
    /// What `drawdown_max_pct` trips.
    pub on_drawdown: OnDrawdown,
}

/// What a drawdown limit trips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnDrawdown {
    /// Close everything, then only reductions.
    #[default]
    Flatten,
    /// Only reductions.
    Reduce,
}
