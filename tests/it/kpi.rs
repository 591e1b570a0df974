//! The figures against the golden vectors of `../shared`, where present, and against any input at all.

use std::path::Path;

use proptest::prelude::*;
use rust_decimal::Decimal;
use serde_json::Value;
use tradebus::engine::kpi::kpis;
use tradebus::model::amount::{Money, parse_decimal};
use tradebus::model::kpi::{Kpis, TradeStats};

/// Keys of the vectors that are not published.
const KEYS_SKIPPED: [&str; 2] = ["expectancy_ratio_freqtrade", "sqn_capped100"];

/// Relative.
const TOLERANCE: f64 = 1e-9;

/// Every figure under its key. A new field does not compile until it is listed.
#[rustfmt::skip]
fn figures(k: &Kpis) -> Vec<(&'static str, Option<f64>)> {
    let Kpis {
        sharpe, sortino, volatility, cagr, calmar, max_drawdown, max_drawdown_abs, max_drawdown_duration_days,
        total_return, recovery_factor, trades, wins, losses, breakeven, win_rate, win_rate_decided,
        gross_profit, gross_loss, net, profit_factor, avg_win, avg_loss, payoff_ratio, expectancy,
        expectancy_r, sqn, exposure, fees, funding, observations,
    } = k;
    macro_rules! ratios { ($($name:ident)*) => { [$((stringify!($name), *$name)),*] } }
    macro_rules! counts { ($($name:ident)*) => { [$((stringify!($name), Some(*$name as f64))),*] } }
    macro_rules! money { ($($name:ident)*) => { [$((stringify!($name), Some($name.to_f64()))),*] } }
    macro_rules! means { ($($name:ident)*) => { [$((stringify!($name), $name.map(Money::to_f64))),*] } }
    let mut all = Vec::new();
    all.extend(ratios!(sharpe sortino volatility cagr calmar max_drawdown total_return recovery_factor));
    all.extend(ratios!(win_rate win_rate_decided profit_factor payoff_ratio expectancy_r sqn exposure));
    all.extend(counts!(max_drawdown_duration_days trades wins losses breakeven observations));
    all.extend(money!(max_drawdown_abs gross_profit gross_loss net fees funding));
    all.extend(means!(avg_win avg_loss expectancy));
    all
}

fn amounts(list: &Value) -> Vec<Money> {
    let amount = |value: &Value| Money::new(parse_decimal(&value.to_string()).unwrap());
    list.as_array().unwrap().iter().map(amount).collect()
}

fn stats(pnls: &[Money]) -> TradeStats {
    let mut stats = TradeStats::default();
    pnls.iter().for_each(|&pnl| stats.add(pnl));
    stats
}

fn agree(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= TOLERANCE * b.abs(),
        _ => a == b,
    }
}

#[test]
fn golden_vectors_agree() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/oracles/kpi_vectors.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: no {}", path.display());
        return;
    };
    let file: Value = serde_json::from_str(&text).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert!(!vectors.is_empty());
    for vector in vectors {
        let name = &vector["name"];
        let equity = amounts(&vector["equity"]);
        let trades = stats(&amounts(&vector["trades"]));
        let ours = figures(&kpis(&equity, &trades, None, Money::ZERO, Money::ZERO));
        for (key, expected) in vector["expect"].as_object().unwrap() {
            if KEYS_SKIPPED.contains(&key.as_str()) {
                continue;
            }
            let found = ours.iter().find(|(name, _)| name == key);
            let (_, value) = found.unwrap_or_else(|| panic!("{name}: unknown key {key}"));
            assert!(expected.is_null() || expected.is_number(), "{name}: {key} is {expected}");
            assert!(agree(*value, expected.as_f64()), "{name}: {key} is {value:?}, expected {expected}");
        }
    }
}

/// Ordinary money, nothing, and everything that fits into a `Decimal`.
fn money() -> impl Strategy<Value = Money> {
    prop_oneof![
        4 => (-1_000_000_i64..100_000_000).prop_map(|cents| Decimal::new(cents, 2)),
        1 => Just(Decimal::ZERO),
        1 => prop_oneof![Just(Decimal::MAX), Just(Decimal::MIN), Just(Decimal::new(1, 28))],
        2 => (any::<i128>(), 0_u32..=28).prop_map(|(n, scale)| Decimal::from_i128_with_scale(n >> 31, scale)),
    ]
    .prop_map(Money::new)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_figure_is_finite(
        equity in prop::collection::vec(money(), 0..20),
        pnls in prop::collection::vec(money(), 0..20),
        exposure in prop::option::of(any::<f64>()),
    ) {
        let k = kpis(&equity, &stats(&pnls), exposure, Money::ZERO, Money::ZERO);
        for (key, value) in figures(&k) {
            prop_assert!(value.is_none_or(f64::is_finite), "{} is {:?}", key, value);
        }
        for share in [k.max_drawdown, k.win_rate, k.win_rate_decided].into_iter().flatten() {
            prop_assert!((0.0..=1.0).contains(&share));
        }
        prop_assert_eq!(k.trades, k.wins + k.losses + k.breakeven);
        prop_assert!(!k.max_drawdown_abs.is_negative() && !k.gross_loss.is_negative());
    }

    #[test]
    fn merging_is_adding_all(
        cents in prop::collection::vec(-1_000_000_i64..1_000_000, 0..40),
        cut in 0_usize..40,
    ) {
        let pnls: Vec<Money> = cents.iter().map(|&cents| Money::new(Decimal::new(cents, 2))).collect();
        let (first, second) = pnls.split_at(cut.min(pnls.len()));
        let mut merged = stats(first);
        merged.merge(&stats(second));
        let figures_of = |trades: &TradeStats| figures(&kpis(&[], trades, None, Money::ZERO, Money::ZERO));
        for ((key, value), (_, expected)) in figures_of(&merged).into_iter().zip(figures_of(&stats(&pnls))) {
            // A mean near 0 is a difference of large numbers: its noise is relative to them.
            let noise = key == "sqn" && agree(value.map(|sqn| sqn + 1.0), expected.map(|sqn| sqn + 1.0));
            prop_assert!(noise || agree(value, expected), "{} is {:?}, expected {:?}", key, value, expected);
        }
    }
}
