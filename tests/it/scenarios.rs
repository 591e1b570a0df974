//! Scripts in `tests/golden/*.scenario` and the transcripts that a person judged: `UPDATE_GOLDEN=1` rewrites them.

use std::path::{Path, PathBuf};

use crate::scenario;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Runs a script and compares its transcript, showing the first line that differs.
fn check(name: &str) {
    let script = std::fs::read_to_string(folder().join(format!("{name}.scenario"))).unwrap();
    let transcript = scenario::run(&script);
    let path = folder().join(format!("{name}.expected"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &transcript).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let mut pairs = transcript.lines().zip(expected.lines().chain(std::iter::repeat("")));
    if let Some((got, wanted)) = pairs.find(|(got, wanted)| got != wanted) {
        panic!("{name}\n  wanted: {wanted}\n  got:    {got}\n\n{transcript}");
    }
    assert_eq!(transcript.lines().count(), expected.lines().count(), "{name}: lines are missing at the end");
}

macro_rules! scenarios {
    ($($name:ident)*) => {
        $(#[test] fn $name() { check(stringify!($name)); })*
        const ALL: &[&str] = &[$(stringify!($name)),*];
    };
}

scenarios! {
    positions reduce_only targets duplicates reasons age limit_orders latency candles slippage
    levels flatten exits_pass margin liquidation limits daily_loss daily_loss_fees drawdown prices
    stale throttle day_roll kpis configuration restart ticks store resting_flips resting_exits exit_fees
    live_accounts live_drift live_orders live_reconcile live_reconcile_accounts live_exits live_exit_waits
    live_stops live_stops_gone live_stops_lost live_sides live_forced limits_basis
    alerts price_deviation signal_rate requests stops stops_resting stops_late
}

#[test]
fn every_script_is_run() {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let scripts = files.filter(|path| path.extension().is_some_and(|ext| ext == "scenario"));
    let mut names: Vec<String> =
        scripts.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    let mut listed: Vec<&str> = ALL.to_vec();
    listed.sort();
    assert_eq!(names, listed);
}
