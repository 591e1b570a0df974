//! Figures computed from the ledger and the daily equity.
//!
//! Money is exact and in one quote currency: statistics of different quote currencies must not be merged. Sums that
//! leave the range of `Decimal` stay at its end instead of ending the daemon; the limits of `amount` keep real ledgers
//! far away from it. `None` is "undefined" and never stands for 0 or infinity.
//!
//! In the formulas `E_0..E_n` is the equity at the end of each UTC day with `E_0` the starting balance, `r_t` the
//! return `E_t / E_{t-1} - 1`, `P` 365 days a year, and `p_i` the net profit of closed trade `i` of `N`. They are those
//! of QuantStats 0.0.86 with `periods=365`, wherever that defines a figure.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::amount::Money;

/// A standard deviation below this share of the mean is noise of binary and 8-decimal rounding: values do not vary.
const SPREAD_MIN: f64 = 1e-9;

/// The net profits of closed trades, folded one by one; the trades themselves are not kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TradeStats {
    /// Closed trades: `wins + losses + breakeven`.
    pub trades: u64,
    /// Trades with a net profit above 0.
    pub wins: u64,
    /// Trades with a net profit below 0.
    pub losses: u64,
    /// Trades with a net profit of exactly 0.
    pub breakeven: u64,
    /// Sum of the profits, at least 0.
    pub gross_profit: Money,
    /// Sum of the losses without sign, at least 0.
    pub gross_loss: Money,
    /// Running mean of the profits.
    pnl_mean: f64,
    /// Running sum of the squared distances from the mean.
    pnl_m2: f64,
}

impl TradeStats {
    /// Adds a closed trade by its profit after fees and funding (Welford 1962 for mean and variance).
    pub fn add(&mut self, pnl: Money) {
        self.trades += 1;
        if pnl.is_positive() {
            self.wins += 1;
            self.gross_profit = add_saturating(self.gross_profit, pnl);
        } else if pnl.is_negative() {
            self.losses += 1;
            self.gross_loss = add_saturating(self.gross_loss, pnl.abs());
        } else {
            self.breakeven += 1;
        }
        let value = pnl.to_f64();
        let distance = value - self.pnl_mean;
        self.pnl_mean += distance / self.trades as f64;
        self.pnl_m2 += distance * (value - self.pnl_mean);
    }

    /// Adds all trades of `other`, as for a type or the portfolio (Chan, Golub, LeVeque 1979 for mean and variance).
    pub fn merge(&mut self, other: &TradeStats) {
        if other.trades == 0 {
            return;
        }
        let (ours, theirs) = (self.trades as f64, other.trades as f64);
        let distance = other.pnl_mean - self.pnl_mean;
        self.pnl_mean += distance * (theirs / (ours + theirs));
        self.pnl_m2 += other.pnl_m2 + distance * distance * (ours * (theirs / (ours + theirs)));
        self.trades += other.trades;
        self.wins += other.wins;
        self.losses += other.losses;
        self.breakeven += other.breakeven;
        self.gross_profit = add_saturating(self.gross_profit, other.gross_profit);
        self.gross_loss = add_saturating(self.gross_loss, other.gross_loss);
    }

    /// Net profit of all closed trades.
    pub fn net(&self) -> Money {
        add_saturating(self.gross_profit, -self.gross_loss)
    }

    /// Mean net profit of a trade in quote currency; 0 without trades.
    pub fn pnl_mean(&self) -> f64 {
        self.pnl_mean
    }

    /// Sample deviation (ddof 1) of the net profits in quote currency, 0 where they do not vary; `None` below 2 trades.
    pub fn pnl_std(&self) -> Option<f64> {
        std_sample(self.trades, self.pnl_mean, self.pnl_m2)
    }
}

/// The fall of the daily equity from its highest point so far, which is `E_0` at first.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DrawdownStats {
    /// See [`Kpis::max_drawdown`].
    pub max_drawdown: Option<f64>,
    /// See [`Kpis::max_drawdown_abs`].
    pub max_drawdown_abs: Money,
    /// See [`Kpis::max_drawdown_duration_days`].
    pub max_drawdown_duration_days: u64,
}

/// The figures of a strategy, a type or the portfolio; the names are the keys of the `kpi` message.
///
/// Every `f64` is finite: a figure beyond its range is `None` too. Days without a change count as returns of 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kpis {
    /// `mean(r) / std(r, ddof 1) * sqrt(P)`, risk-free rate 0. `None` below 2 returns, when they do not vary, or after
    /// a day that began with equity at or below 0.
    pub sharpe: Option<f64>,
    /// `mean(r) / sqrt(sum(min(r, 0)^2) / n) * sqrt(P)`, wanted return 0. `None` below 2 returns, without a negative
    /// one, or after a day that began with equity at or below 0.
    pub sortino: Option<f64>,
    /// `std(r, ddof 1) * sqrt(P)`, at least 0, 1 is 100 % a year. `None` below 2 returns, or after a day that began
    /// with equity at or below 0.
    pub volatility: Option<f64>,
    /// `(E_n / E_0)^(P / n) - 1`, 1 is 100 % a year. `None` below 2 returns, or once equity was at or below 0.
    pub cagr: Option<f64>,
    /// `cagr / max_drawdown`. `None` where `cagr` is, and without a drawdown.
    pub calmar: Option<f64>,
    /// Maximum of `(peak_t - E_t) / peak_t`, in 0..=1; 1 once equity was at or below 0. `None` without a return, or
    /// when `E_0` is not above 0.
    pub max_drawdown: Option<f64>,
    /// Maximum of `peak_t - E_t` in quote currency, at least 0. It need not be the fall with the largest share.
    pub max_drawdown_abs: Money,
    /// Longest run of days that ended below the peak, also one that still lasts. It need not be the deepest one.
    pub max_drawdown_duration_days: u64,
    /// `E_n / E_0 - 1`, 1 is 100 %. `None` without a return, or when `E_0` is not above 0.
    pub total_return: Option<f64>,
    /// `net / max_drawdown_abs`. `None` before the first closed trade, and without a drawdown.
    pub recovery_factor: Option<f64>,
    /// Closed trades `N`.
    pub trades: u64,
    /// Trades with `p > 0`.
    pub wins: u64,
    /// Trades with `p < 0`.
    pub losses: u64,
    /// Trades with `p = 0`.
    pub breakeven: u64,
    /// `wins / N`, in 0..=1.
    pub win_rate: Option<f64>,
    /// `wins / (wins + losses)`, in 0..=1.
    pub win_rate_decided: Option<f64>,
    /// `sum(p > 0)` in quote currency.
    pub gross_profit: Money,
    /// `-sum(p < 0)` in quote currency, at least 0.
    pub gross_loss: Money,
    /// `gross_profit - gross_loss` in quote currency.
    pub net: Money,
    /// `gross_profit / gross_loss`, at least 0. `None` without a loss.
    pub profit_factor: Option<f64>,
    /// `gross_profit / wins` in quote currency, rounded like the ledger.
    pub avg_win: Option<Money>,
    /// `gross_loss / losses` in quote currency, at least 0, rounded like the ledger.
    pub avg_loss: Option<Money>,
    /// `avg_win / avg_loss`, from the unrounded means. `None` without a win or without a loss.
    pub payoff_ratio: Option<f64>,
    /// `net / N` in quote currency, rounded like the ledger.
    pub expectancy: Option<Money>,
    /// `expectancy / avg_loss`, from the unrounded means. `None` without a loss.
    pub expectancy_r: Option<f64>,
    /// `sqrt(N) * mean(p) / std(p, ddof 1)` on quote currency, not capped (Van Tharp uses multiples of the risk).
    /// `None` below 2 trades, or when they do not vary.
    pub sqn: Option<f64>,
    /// Share of the time with an open position, in 0..=1.
    pub exposure: Option<f64>,
    /// Fees paid in quote currency; negative is a rebate.
    pub fees: Money,
    /// Funding received in quote currency; paid is negative.
    pub funding: Money,
    /// Daily returns `n`.
    pub observations: u64,
}

/// The sum, or the end of `Decimal`'s range that it passed.
pub(crate) fn add_saturating(a: Money, b: Money) -> Money {
    // Only numbers of the same sign can overflow.
    let end = if a.is_negative() { Decimal::MIN } else { Decimal::MAX };
    Money::new(a.value().checked_add(b.value()).unwrap_or(end))
}

/// `sqrt(m2 / (count - 1))`, where `m2` is the sum of the squared distances from `mean`; exactly 0 where that is only
/// rounding noise. `None` below 2 values.
pub(crate) fn std_sample(count: u64, mean: f64, m2: f64) -> Option<f64> {
    if count < 2 {
        return None;
    }
    let std = (m2 / (count - 1) as f64).sqrt();
    Some(if std <= SPREAD_MIN * mean.abs() { 0.0 } else { std })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::amount::parse_decimal;

    fn stats(pnls: &str) -> TradeStats {
        let mut stats = TradeStats::default();
        for text in pnls.split_whitespace() {
            stats.add(Money::new(parse_decimal(text).unwrap()));
        }
        stats
    }

    #[test]
    fn trades_are_counted_and_summed() {
        let check = |pnls: &str, counts: [u64; 4], net: &str, mean: f64, std: Option<f64>| {
            let stats = stats(pnls);
            assert_eq!([stats.trades, stats.wins, stats.losses, stats.breakeven], counts, "{pnls}");
            assert_eq!(stats.net().to_string(), net, "{pnls}");
            assert_eq!((stats.pnl_mean(), stats.pnl_std()), (mean, std), "{pnls}");
        };
        check("", [0, 0, 0, 0], "0", 0.0, None);
        check("-0", [1, 0, 0, 1], "0", 0.0, None);
        check("4 -2", [2, 1, 1, 0], "2", 1.0, Some(18f64.sqrt()));
        check("0.1 0.1 0.1", [3, 3, 0, 0], "0.3", 0.1, Some(0.0));
        check("1 0 -1", [3, 1, 1, 1], "0", 0.0, Some(1.0));
    }

    #[test]
    fn merging_is_adding_all() {
        let check = |first: &str, second: &str| {
            let mut merged = stats(first);
            merged.merge(&stats(second));
            let all = stats(&format!("{first} {second}"));
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-12 * b.abs();
            assert!(close(merged.pnl_mean, all.pnl_mean), "{first} + {second}: {merged:?}");
            assert!(close(merged.pnl_m2, all.pnl_m2), "{first} + {second}: {merged:?}");
            let exact = TradeStats { pnl_mean: all.pnl_mean, pnl_m2: all.pnl_m2, ..merged };
            assert_eq!(exact, all, "{first} + {second}");
        };
        check("", "");
        check("", "5 -3");
        check("5 -3", "");
        check("5 -3 0", "-7.5 100 0.00000001");
        check("-5000", "-5000");
    }

    #[test]
    fn survives_postcard() {
        let stats = stats("5 -3.25 0 0.1");
        let bytes = postcard::to_allocvec(&stats).unwrap();
        assert_eq!(postcard::from_bytes::<TradeStats>(&bytes).unwrap(), stats);
    }

    #[test]
    fn sums_stay_at_the_end_of_the_range() {
        let mut stats = TradeStats::default();
        for value in [Decimal::MAX, Decimal::MAX, Decimal::MIN] {
            stats.add(Money::new(value));
        }
        stats.merge(&stats.clone());
        assert_eq!((stats.gross_profit.value(), stats.gross_loss.value()), (Decimal::MAX, Decimal::MAX));
        assert!(stats.net().is_zero() && stats.pnl_std().unwrap().is_finite());
    }
}
