//! Plays months of a daemon with `tests/support/months.rs` and tells what its memory does.
//!
//! `cargo run --release --example months -- [--days N] [--signals A_DAY] [--engine sled|memory|none] [--folder DIR]`
//! (30 days, 1,440 signals, sled, a folder that is removed). One line a day: resident memory that no file backs, what
//! the state holds, the journal, the query store. The slope is that of the days after the first 8, when what is
//! remembered for 7 days is full.

#[path = "../tests/support/months.rs"]
mod months;
#[path = "../tests/support/options.rs"]
mod options;
#[path = "../tests/support/random.rs"]
#[expect(dead_code, reason = "others use more of it")]
mod random;

use std::path::{Path, PathBuf};

use months::{Load, Months};
use options::Options;
use tradebus::store::storage::EngineKind;

/// Days until everything that is kept for 7 days is full, the day of its first turn included.
const FULL_DAYS: usize = 8;
const MB: f64 = 1e6;

fn main() {
    let options = Options::read(&["--days", "--signals", "--engine", "--folder"]);
    let (days, signals_a_day) = (options.number("--days", 30), options.number("--signals", 1_440));
    let engine = options.text("--engine").unwrap_or("sled").to_owned();
    let kind = (engine != "none").then(|| EngineKind::named(&engine).expect("an engine of this build"));
    let (folder, _guard) = match options.text("--folder") {
        None => {
            let guard = tempfile::TempDir::new().expect("a folder");
            (guard.path().to_path_buf(), Some(guard))
        }
        Some(folder) => (PathBuf::from(folder), None),
    };
    let store = folder.join("store");
    let load = Load { signals_a_day, symbols: 20, strategies: 10, step_minutes: 1 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _entered = runtime.enter();
    let mut months = Months::new(&store, load, kind);
    println!("day,memory_mb,signals,orders,state_kb,records,journal_mb,query_mb,topics");
    let mut memory = Vec::new();
    for day in 1..=days {
        months.day();
        let bytes = anonymous_bytes();
        memory.push(bytes);
        let sizes = months.sizes();
        println!(
            "{day},{:.2},{},{},{:.1},{},{:.1},{:.1},{}",
            bytes / MB,
            sizes.signals,
            sizes.orders,
            sizes.state as f64 / 1e3,
            sizes.records,
            sizes.journal as f64 / MB,
            bytes_below(&store.join("query")) as f64 / MB,
            sizes.topics,
        );
    }
    println!(
        "months: {days} days, {signals_a_day} signals a day, {engine}; answered: {:?}",
        months.answered()
    );
    let full = memory.get(FULL_DAYS..).unwrap_or_default();
    println!("months: memory grew by {:.3} MB a day after day {FULL_DAYS}", slope(full) / MB);
}

/// Heap and stacks of this process in bytes.
fn anonymous_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the status of this process");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("its memory");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).expect("a number") * 1024.0
}

/// What the files below a folder take on the disk.
fn bytes_below(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => bytes_below(&entry.path()),
        Ok(data) => data.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

/// The least squares' slope of values that are one apart.
fn slope(values: &[f64]) -> f64 {
    let mean = |of: &mut dyn Iterator<Item = f64>| of.sum::<f64>() / values.len() as f64;
    let (x_mean, y_mean) =
        (mean(&mut (0..values.len()).map(|x| x as f64)), mean(&mut values.iter().copied()));
    let moments = values.iter().enumerate().map(|(x, y)| (x as f64 - x_mean, y - y_mean));
    let (xy, xx) = moments.fold((0.0, 0.0), |(xy, xx), (x, y)| (xy + x * y, xx + x * x));
    xy / xx
}
