//! How long a store with 1,000,000 records takes to open, from its checkpoint and from its journal alone:
//! `cargo run --release --example startup -- <folder> [records]`. With a third word, `keep`, it only makes the store in
//! the folder and leaves it there, for `scripts/startup`.
#![expect(clippy::disallowed_methods, reason = "it measures time")]

#[path = "../benches/scenario/mod.rs"]
mod scenario;

use std::path::Path;
use std::time::Instant;

use scenario::{Scenario, settings};
use tempfile::TempDir;
use tradebus::engine::Engine;
use tradebus::engine::record::Record;
use tradebus::store::Ledger;
use tradebus::store::record::encode_state;

const RECORDS: u64 = 1_000_000;
/// Records behind the last checkpoint: as many as the daemon lets come together.
const TAIL: u64 = 100_000;
const STRATEGIES: usize = 10;
/// Records of one write; the real ones hold 5 or 6, but a million writes would measure the disk.
const GROUP: usize = 600;
const ROUNDS: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = arguments.first().expect("startup <folder> [records [keep]]");
    let records = arguments.get(1).map_or(RECORDS, |text| text.parse().expect("a number"));
    if arguments.get(2).is_some_and(|word| word == "keep") {
        write(Path::new(folder), records);
        return;
    }
    let folder = TempDir::new_in(folder).expect("a folder");
    let bytes = write(folder.path(), records);
    println!("{records} records, {bytes} bytes of journal");
    open(folder.path(), "checkpoint and the last 100,000 records");
    for name in ["checkpoint.tbc", "checkpoint.prev.tbc"] {
        let _ = std::fs::remove_file(folder.path().join(name));
    }
    open(folder.path(), "journal alone");
}

/// Makes the store from the records of an engine whose strategies trade.
fn write(folder: &Path, records: u64) -> u64 {
    let (mut ledger, _) = Ledger::open(folder).expect("a store");
    let mut scenario = Scenario::new(STRATEGIES);
    let mut group: Vec<Record> = scenario.started.clone();
    let mut checkpoint = None;
    while ledger.last_sequence() < records {
        scenario.flip();
        group.extend(scenario.records().cloned());
        if group.len() >= GROUP {
            ledger.append(ledger.last_sequence() + 1, &group).expect("a write");
            group.clear();
        }
        if checkpoint.is_none() && group.is_empty() && ledger.last_sequence() + TAIL >= records {
            let state = scenario.engine().state();
            checkpoint = Some((state.sequence, encode_state(state)));
        }
    }
    let (sequence, state) = checkpoint.expect("a checkpoint");
    println!("checkpoint of {} bytes at {sequence}", state.len());
    ledger.checkpoint(sequence, &state).expect("a checkpoint");
    ledger.bytes_written()
}

/// Opens the store, and makes an engine of what it holds.
fn open(folder: &Path, what: &str) {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let (_ledger, opening) = Ledger::open(folder).expect("a store");
        let engine = Engine::new(settings(STRATEGIES), opening.state);
        times.push(started.elapsed());
        assert!(engine.state().sequence > 0 && opening.warnings.is_empty(), "{:?}", opening.warnings);
    }
    times.sort_unstable();
    println!("{what}: median {:?}, fastest {:?} of {ROUNDS}", times[ROUNDS / 2], times[0]);
}
