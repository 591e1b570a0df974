//! What is allowed: limits, and the proof that an order was held against them.
//!
//! [`RiskApproved`] can be built only here, and an exchange takes nothing else, so an unchecked order cannot be sent.
//! State that a check needs, such as the present exposure, is passed in as values. An order that only reduces is never
//! refused.

use serde::{Deserialize, Serialize};

use crate::model::amount::{Money, Ratio};
use crate::model::order::Order;
use crate::model::signal::{Reason, Refusal};

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

/// An order that may be given to an exchange. Only this module makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RiskApproved(Order);

impl RiskApproved {
    /// The order.
    pub fn order(&self) -> &Order {
        &self.0
    }
}

/// An entry, as the checks see it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Notional of the part that opens, in quote currency.
    pub notional: Money,
    /// Equity of the strategy before the order.
    pub equity: Money,
    /// Sum of |quantity x mark| of the strategy after the order, working entries counted.
    pub exposure: Money,
    /// Leverage of the account: exposure may reach equity x leverage.
    pub leverage: Ratio,
}

/// A scope whose limits an entry must respect, with its figures after the order.
#[derive(Clone, Debug)]
pub struct ScopeCheck<'a> {
    /// How the scope is called in a refusal: `strategy tv1`, `type aibot`, `daemon`.
    pub name: String,
    /// Its limits.
    pub limits: &'a Limits,
    /// Its equity.
    pub equity: Money,
    /// Its exposure after the order, working entries counted.
    pub exposure: Money,
    /// Its entries of the last 60 seconds, this one included.
    pub entries_per_minute: u32,
}

/// Approves an order that only makes a position smaller.
///
/// # Panics
/// When the order is not marked as reduce-only: the caller mistook an entry for an exit.
pub fn approve_reduction(order: Order) -> RiskApproved {
    assert!(order.reduce_only, "an order that is not reduce-only was approved as a reduction");
    RiskApproved(order)
}

/// Approves an order that opens or enlarges a position, or says which limit it breaks.
///
/// # Errors
/// `insufficient_balance` for the account's margin, `rate_limited` for entries per minute, `limit_exceeded` for the
/// rest; the detail names scope, value and limit.
pub fn approve_entry(
    order: Order,
    entry: &Entry,
    scopes: &[ScopeCheck<'_>],
) -> Result<RiskApproved, Refusal> {
    for scope in scopes {
        check_scope(entry, scope)?;
    }
    let margin_max = entry.equity.times(entry.leverage);
    if entry.exposure > margin_max {
        let detail = format!(
            "exposure of {} after the order is above equity {} x leverage {} = {margin_max}",
            entry.exposure, entry.equity, entry.leverage
        );
        return Err(Refusal::new(Reason::InsufficientBalance, detail));
    }
    Ok(RiskApproved(order))
}

fn check_scope(entry: &Entry, scope: &ScopeCheck<'_>) -> Result<(), Refusal> {
    let over = |key: &str, value: String, limit: String| {
        let detail = format!("{}: {key} is {limit}, the order would make it {value}", scope.name);
        Err(Refusal::new(Reason::LimitExceeded, detail))
    };
    if let Some(limit) = scope.limits.orders_per_minute_max
        && scope.entries_per_minute > limit
    {
        let detail = format!("{}: orders_per_minute_max is {limit}", scope.name);
        return Err(Refusal::new(Reason::RateLimited, detail));
    }
    if let Some(limit) = scope.limits.order_notional_max
        && entry.notional > limit
    {
        return over("order_notional_max", entry.notional.to_string(), limit.to_string());
    }
    if let Some(limit) = scope.limits.position_notional_max
        && scope.exposure > limit
    {
        return over("position_notional_max", scope.exposure.to_string(), limit.to_string());
    }
    if let Some(limit) = scope.limits.leverage_max
        && scope.exposure > scope.equity.times(limit)
    {
        let value = format!("{} / equity {}", scope.exposure, scope.equity);
        return over("leverage_max", value, limit.to_string());
    }
    Ok(())
}

/// Which latch a loss trips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trip {
    /// `daily_loss_max` was reached.
    DailyLoss,
    /// `drawdown_max_pct` was reached.
    Drawdown(OnDrawdown),
}

/// The latches that these figures trip, the day's first.
///
/// `peak` and `day_start` are equities; a loss equal to its limit trips.
pub fn trips(limits: &Limits, equity: Money, peak: Money, day_start: Money) -> impl Iterator<Item = Trip> {
    let daily = limits.daily_loss_max.filter(|limit| day_start - equity >= *limit).map(|_| Trip::DailyLoss);
    let drawdown = limits
        .drawdown_max_pct
        .filter(|limit| {
            peak.is_positive() && (peak - equity).value() * hundred() >= limit.value() * peak.value()
        })
        .map(|_| Trip::Drawdown(limits.on_drawdown));
    daily.into_iter().chain(drawdown)
}

/// The highest equity at which [`trips`] may say anything, or at which nothing is left (0); rounded like any quotient.
pub fn trip_equity(limits: &Limits, peak: Money, day_start: Money) -> Money {
    let daily = limits.daily_loss_max.map(|limit| day_start - limit);
    let drawdown = limits
        .drawdown_max_pct
        .filter(|_| peak.is_positive())
        .map(|limit| peak - Money::new(limit.value() * peak.value() / hundred()));
    [daily, drawdown].into_iter().flatten().fold(Money::ZERO, Money::max)
}

fn hundred() -> rust_decimal::Decimal {
    rust_decimal::Decimal::ONE_HUNDRED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::amount::parse_decimal;

    fn money(text: &str) -> Money {
        Money::new(parse_decimal(text).unwrap())
    }

    #[test]
    fn losses_trip_at_their_limit() {
        let limits = Limits {
            daily_loss_max: Some(money("50")),
            drawdown_max_pct: Some(Ratio::new(parse_decimal("10").unwrap())),
            ..Limits::default()
        };
        let check = |equity: &str, peak: &str, day_start: &str, expected: &[Trip]| {
            let tripped: Vec<Trip> = trips(&limits, money(equity), money(peak), money(day_start)).collect();
            assert_eq!(tripped, expected, "{equity}");
            let threshold = trip_equity(&limits, money(peak), money(day_start));
            assert!(tripped.is_empty() || money(equity) <= threshold, "{equity} above {threshold}");
        };
        check("960", "1000", "1000", &[]);
        check("950", "1000", "1000", &[Trip::DailyLoss]);
        check("900", "1000", "900", &[Trip::Drawdown(OnDrawdown::Flatten)]);
        check("900", "1000", "950", &[Trip::DailyLoss, Trip::Drawdown(OnDrawdown::Flatten)]);
        check("-1", "0", "0", &[]);
    }
}
