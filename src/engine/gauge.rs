//! The equity of a strategy, a type or all, in the form that a tick needs.
//!
//! Between two records balances stand still, so the equity moves by unrealised profit alone, and "the equity rose above
//! its peak" and "a limit may trip" are two thresholds of the unrealised profit, known beforehand. A tick is then one
//! addition and two comparisons. The threshold of the limits may lie a little too high, never too low: whether a limit
//! trips is decided by [`trips`] on the exact figures.

use super::record::{Scope, ScopeSample};
use super::scope_state::ScopeState;
use crate::model::amount::Money;
use crate::model::units::Units;
use crate::risk::{Limits, Trip, trip_equity, trips};

/// Equity, its peak, and where to look at its limits.
#[derive(Clone, Debug, Default)]
pub struct Gauge {
    balance: Money,
    unrealized: Units,
    /// The highest equity, unless `high` is above `peak_at`.
    peak: Money,
    /// The unrealised profit at which the equity is `peak`.
    peak_at: Units,
    /// The highest unrealised profit; at least `peak_at`.
    high: Units,
    /// Whether the peak is above the one in the journal, ahead of which it is by at most a minute.
    risen: bool,
    /// Equity when the UTC day began.
    day_start: Money,
    /// No limit trips while the unrealised profit is above this.
    look_at: Units,
    /// Whether the figures must be held against the limits.
    must_look: bool,
}

impl Gauge {
    /// Takes over the durable figures. The peak never falls by this.
    pub fn sync(&mut self, balance: Money, unrealized: Units, state: &ScopeState) {
        let peak = self.peak().max(state.peak);
        self.balance = balance;
        self.unrealized = unrealized;
        self.set_peak(peak);
        self.risen = peak > state.peak;
        self.day_start = state.day_start;
    }

    fn set_peak(&mut self, peak: Money) {
        self.peak = peak;
        self.peak_at = Units::floor(peak - self.balance);
        self.high = self.peak_at;
        self.must_look = true;
        self.look_at = Units::MAX;
    }

    /// A price changed the unrealised profit.
    pub fn change(&mut self, change: Units) {
        self.unrealized += change;
        if self.unrealized > self.high {
            // The equity at which a share of the peak is lost rises by less than the peak.
            self.look_at = self.look_at.saturating_add(self.unrealized - self.high);
            self.high = self.unrealized;
            self.risen = true;
        }
        self.must_look |= self.unrealized <= self.look_at;
    }

    /// Balance without unrealised profit.
    pub fn balance(&self) -> Money {
        self.balance
    }

    /// Profit of the open positions at the mark.
    pub fn unrealized(&self) -> Units {
        self.unrealized
    }

    /// Balance and unrealised profit.
    pub fn equity(&self) -> Money {
        self.balance + self.unrealized.money()
    }

    /// The highest equity.
    pub fn peak(&self) -> Money {
        if self.high > self.peak_at { self.balance + self.high.money() } else { self.peak }
    }

    /// Lets the present equity count for the peak.
    pub fn raise_peak(&mut self) {
        let (peak, equity) = (self.peak(), self.equity());
        if equity > peak {
            self.set_peak(equity);
            self.risen = true;
        }
    }

    /// Makes the present equity the peak, and gives it.
    pub fn reset_peak(&mut self) -> Money {
        self.set_peak(self.equity());
        self.peak
    }

    /// The peak has been journalled.
    pub fn peak_journalled(&mut self) {
        self.risen = false;
    }

    /// Whether the peak is above the journalled one.
    pub fn peak_has_risen(&self) -> bool {
        self.risen
    }

    /// The figures to be journalled.
    pub fn sample(&self, scope: Scope) -> ScopeSample {
        let equity = self.equity();
        ScopeSample { scope, equity, peak: self.peak().max(equity), day_start: self.day_start }
    }

    /// Whether [`Gauge::look`] may find something new.
    pub fn must_look(&self) -> bool {
        self.must_look
    }

    /// The limits that the present figures trip; says from where on it must be asked again.
    pub fn look(&mut self, limits: &Limits) -> Vec<Trip> {
        let (equity, peak) = (self.equity(), self.peak());
        self.must_look = false;
        // One more, because a quotient may have been rounded.
        let look_at = Units::floor(trip_equity(limits, peak, self.day_start) - self.balance);
        self.look_at = look_at.saturating_add(Units::ONE);
        trips(limits, equity, peak, self.day_start).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::amount::{Price, Quantity, Ratio, parse_decimal};

    /// A walk of the unrealised profit beside the plain figures: the same equity and peak, and never a trip unseen.
    #[test]
    fn says_what_plain_figures_say() {
        let money = |text: &str| Money::new(parse_decimal(text).unwrap());
        let check = |balance: &str, daily: &str, drawdown: &str| {
            let limits = Limits {
                daily_loss_max: Some(money(daily)),
                drawdown_max_pct: Some(Ratio::new(parse_decimal(drawdown).unwrap())),
                ..Limits::default()
            };
            let start = money(balance);
            let state = ScopeState { peak: start, day_start: start, ..ScopeState::default() };
            let mut gauge = Gauge::default();
            gauge.sync(start, Units::ZERO, &state);
            let (mut equity, mut peak, mut seed, mut trips_seen, mut looks) = (start, start, 1_u64, 0, 0);
            for _ in 0..5_000 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let step = i64::from((seed >> 40) as u32 % 2_001) - 1_000;
                let step = Price::new(parse_decimal("0.01234567").unwrap())
                    .times(Quantity::new(rust_decimal::Decimal::from(step)));
                gauge.change(Units::floor(step));
                equity += step;
                peak = peak.max(equity);
                assert_eq!((gauge.equity(), gauge.peak()), (equity, peak));
                assert_eq!(gauge.peak_has_risen(), peak > start);
                let expected: Vec<Trip> = trips(&limits, equity, peak, start).collect();
                assert!(gauge.must_look() || expected.is_empty(), "{expected:?} unseen at {equity}");
                if gauge.must_look() {
                    assert_eq!(gauge.look(&limits), expected);
                    looks += 1;
                }
                trips_seen += usize::from(!expected.is_empty());
            }
            assert!(trips_seen > 0 && looks < 5_000, "{trips_seen} trips, {looks} looks");
        };
        check("1000.000000000001", "50", "10");
        check("1000", "400", "33.333333");
        check("700", "900", "20");
    }
}
