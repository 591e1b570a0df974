//! Figures: pure functions of the daily equity and the closed trades, by the formulas at [`Kpis`].
//!
//! They are folded anew each time and never stored; the work grows with the number of days. Differences of equity are
//! taken in decimals, so that constant returns do not vary by the noise of `E_t / E_{t-1} - 1`. No input panics.

use crate::model::amount::Money;
use crate::model::kpi::{DrawdownStats, Kpis, TradeStats, add_saturating, std_sample};

/// `P`: markets never close, so every day counts.
const PERIODS_PER_YEAR: f64 = 365.0;

/// All figures.
///
/// `equity` is `E_0..E_n`: the starting balance, then one value for each finished UTC day, without gaps and with
/// adjustments taken out. `exposure` is in 0..=1; `fees` and `funding` are passed through.
pub fn kpis(
    equity: &[Money],
    trades: &TradeStats,
    exposure: Option<f64>,
    fees: Money,
    funding: Money,
) -> Kpis {
    let DrawdownStats { max_drawdown, max_drawdown_abs, max_drawdown_duration_days } = drawdown(equity);
    let Ratios { sharpe, sortino, volatility } = ratios(equity);
    let cagr = cagr(equity);
    let net = trades.net();
    let (profit, loss, total) = (trades.gross_profit.to_f64(), trades.gross_loss.to_f64(), net.to_f64());
    let (count, wins, losses) = (trades.trades as f64, trades.wins as f64, trades.losses as f64);
    Kpis {
        sharpe,
        sortino,
        volatility,
        cagr,
        calmar: cagr.zip(max_drawdown).and_then(|(growth, fall)| quotient(growth, fall)),
        max_drawdown,
        max_drawdown_abs,
        max_drawdown_duration_days,
        total_return: total_return(equity),
        recovery_factor: (trades.trades > 0).then(|| quotient(total, max_drawdown_abs.to_f64())).flatten(),
        trades: trades.trades,
        wins: trades.wins,
        losses: trades.losses,
        breakeven: trades.breakeven,
        win_rate: quotient(wins, count),
        win_rate_decided: quotient(wins, wins + losses),
        gross_profit: trades.gross_profit,
        gross_loss: trades.gross_loss,
        net,
        profit_factor: quotient(profit, loss),
        avg_win: mean(trades.gross_profit, trades.wins),
        avg_loss: mean(trades.gross_loss, trades.losses),
        payoff_ratio: quotient(profit * losses, loss * wins),
        expectancy: mean(net, trades.trades),
        expectancy_r: quotient(total * losses, loss * count),
        sqn: trades.pnl_std().and_then(|std| quotient(count.sqrt() * trades.pnl_mean(), std)),
        exposure: exposure.filter(|share| share.is_finite()),
        fees,
        funding,
        observations: equity.len().saturating_sub(1) as u64,
    }
}

/// The largest and the longest fall of `E_0..E_n`; the peak starts at `E_0`, so that a loss on the first day counts.
pub fn drawdown(equity: &[Money]) -> DrawdownStats {
    let mut stats = DrawdownStats::default();
    let Some((&start, days)) = equity.split_first() else { return stats };
    let (mut peak, mut peak_number) = (start, start.to_f64());
    let mut days_below = 0;
    for &now in days {
        let mut share = 0.0;
        if now < peak {
            let fall = difference(peak, now);
            // Beyond the whole peak there is nothing more to lose by share.
            share = if now.is_positive() { fall.to_f64() / peak_number } else { 1.0 };
            stats.max_drawdown_abs = stats.max_drawdown_abs.max(fall);
            days_below += 1;
            stats.max_drawdown_duration_days = stats.max_drawdown_duration_days.max(days_below);
        } else {
            (peak, peak_number) = (now, now.to_f64());
            days_below = 0;
        }
        if start.is_positive() {
            stats.max_drawdown = Some(stats.max_drawdown.unwrap_or(0.0).max(share));
        }
    }
    stats
}

/// What is computed from the daily returns.
#[derive(Default)]
struct Ratios {
    sharpe: Option<f64>,
    sortino: Option<f64>,
    volatility: Option<f64>,
}

fn ratios(equity: &[Money]) -> Ratios {
    let Some(returns) = returns(equity) else { return Ratios::default() };
    let count = returns.len() as f64;
    let mean = returns.iter().sum::<f64>() / count;
    let m2 = returns.iter().map(|r| (r - mean).powi(2)).sum();
    let Some(std) = std_sample(returns.len() as u64, mean, m2) else { return Ratios::default() };
    let downside = (returns.iter().map(|r| r.min(0.0).powi(2)).sum::<f64>() / count).sqrt();
    let year = PERIODS_PER_YEAR.sqrt();
    Ratios {
        sharpe: quotient(mean * year, std),
        sortino: quotient(mean * year, downside),
        volatility: finite(std * year),
    }
}

/// `r_1..r_n`, or `None` when one of them has no meaning because the day began with nothing or with debt.
fn returns(equity: &[Money]) -> Option<Vec<f64>> {
    equity.windows(2).map(|pair| change(pair[0], pair[1])).collect()
}

fn total_return(equity: &[Money]) -> Option<f64> {
    let [start, .., end] = equity else { return None };
    change(*start, *end)
}

fn cagr(equity: &[Money]) -> Option<f64> {
    let [start, _, .., end] = equity else { return None };
    if !equity.iter().all(|value| value.is_positive()) {
        return None;
    }
    let days = (equity.len() - 1) as f64;
    finite((end.to_f64() / start.to_f64()).powf(PERIODS_PER_YEAR / days) - 1.0)
}

/// `to / from - 1`, where `from` is above 0.
fn change(from: Money, to: Money) -> Option<f64> {
    if from.is_positive() { quotient(difference(to, from).to_f64(), from.to_f64()) } else { None }
}

fn difference(a: Money, b: Money) -> Money {
    add_saturating(a, -b)
}

/// `total / count`, rounded like the ledger.
fn mean(total: Money, count: u64) -> Option<Money> {
    total.value().checked_div(count.into()).map(|value| Money::new(value).rounded())
}

/// `a / b`, where that is a number.
fn quotient(a: f64, b: f64) -> Option<f64> {
    finite(a / b)
}

fn finite(value: f64) -> Option<f64> {
    // Adding 0 turns -0 into 0, which readers expect.
    value.is_finite().then_some(value + 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::amount::parse_decimal;

    fn amounts(text: &str) -> Vec<Money> {
        text.split_whitespace().map(|word| Money::new(parse_decimal(word).unwrap())).collect()
    }

    fn figures(equity: &str, pnls: &str) -> Kpis {
        let mut trades = TradeStats::default();
        amounts(pnls).into_iter().for_each(|pnl| trades.add(pnl));
        kpis(&amounts(equity), &trades, None, Money::ZERO, Money::ZERO)
    }

    fn shown(values: &[Option<f64>]) -> String {
        let words = values.iter().map(|value| value.map_or("-".to_owned(), |value| format!("{value:.6}")));
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn figures_of_equity() {
        let check = |equity: &str, expected: &str| {
            let k = figures(equity, "");
            let ratios =
                [k.sharpe, k.sortino, k.volatility, k.cagr, k.calmar, k.max_drawdown, k.total_return];
            let fall = format!("{} {}", k.max_drawdown_abs, k.max_drawdown_duration_days);
            assert_eq!(format!("{} | {fall}", shown(&ratios)), expected, "{equity}");
        };
        // Sharpe, Sortino, volatility, CAGR, Calmar, drawdown, return | drawdown in money, days.
        check("", "- - - - - - - | 0 0");
        check("100", "- - - - - - - | 0 0");
        check("100 90", "- - - - - 0.100000 -0.100000 | 10 1");
        check("100 100 100", "- - 0.000000 0.000000 - 0.000000 0.000000 | 0 0");
        // r = 0.1, -0.1: mean 0, variance 0.02, volatility sqrt(0.02 x 365), CAGR 0.99^182.5 - 1.
        check("100 110 99", "0.000000 0.000000 2.701851 -0.840257 -8.402566 0.100000 -0.010000 | 11 1");
        // Equal losses: no variance, but a downside of 0.1: -sqrt(365).
        check("100 90 81", "- -19.104973 0.000000 -1.000000 -5.263158 0.190000 -0.190000 | 19 2");
        // 1 % a day, rounded to 8 decimals: the noise is no variance.
        let constant = "100 101 102.01 103.0301 104.060401 105.10100501 106.15201506";
        check(constant, "- - 0.000000 36.783434 - 0.000000 0.061520 | 0 0");
        // The day that begins with nothing has no return.
        check("100 0 50", "- - - - - 1.000000 -0.500000 | 100 2");
        check("100 150 -50", "-6.140571 -8.443285 24.766969 - - 1.000000 -1.500000 | 200 1");
        check("0 100 50", "- - - - - - - | 50 1");
        // The largest share (day 1), the largest amount (day 4) and the longest fall are different ones.
        let k = figures("10 5 100 90 80 90 100", "");
        assert_eq!((k.max_drawdown, k.max_drawdown_duration_days), (Some(0.5), 3));
        assert_eq!(k.max_drawdown_abs.to_string(), "20");
        // A year of such days is beyond f64.
        check("0.000001 1 1000000", "- - 0.000000 - - 0.000000 999999999999.000000 | 0 0");
    }

    #[test]
    fn figures_of_trades() {
        let check = |pnls: &str, expected: &str| {
            let k = figures("100 90", pnls);
            let means = [k.avg_win, k.avg_loss, k.expectancy]
                .map(|value| value.map_or("-".to_owned(), |value| value.to_string()))
                .join(" ");
            let ratios = [
                k.win_rate,
                k.win_rate_decided,
                k.profit_factor,
                k.payoff_ratio,
                k.expectancy_r,
                k.sqn,
                k.recovery_factor,
            ];
            assert_eq!(format!("{means} | {}", shown(&ratios)), expected, "{pnls}");
        };
        // Means of win, loss, all | win rates, profit factor, payoff, expectancy in losses, SQN, recovery factor.
        check("", "- - - | - - - - - - -");
        check("0", "- - 0 | 0.000000 - - - - - 0.000000");
        // Variance 18, SQN sqrt(2) x 1 / sqrt(18) = 1/3.
        check("4 -2", "4 2 1 | 0.500000 0.500000 2.000000 2.000000 0.500000 0.333333 0.200000");
        check("4 -2 0 0", "4 2 0.5 | 0.250000 0.500000 2.000000 2.000000 0.250000 0.397360 0.200000");
        check("-1 -1", "- 1 -1 | 0.000000 0.000000 0.000000 - -1.000000 - -0.200000");
        check("1 1 0", "1 - 0.66666667 | 0.666667 1.000000 - - - 2.000000 0.200000");
    }
}
