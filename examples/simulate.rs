//! Runs seeds of the simulation of `tests/support/sim`.
//!
//! `cargo run --release --example simulate -- --seeds N [--seed S] [--faults clock,disk,...] [--threads T]`. Seeds are S,
//! S+1, ... (S is 0); `--faults` leaves out all others of: senders, clock, disk, link, crash, stop, poison. A seed that
//! fails is told with its step and the fewest steps that still fail, and the exit code is 1.

#![expect(clippy::disallowed_methods, reason = "it measures time")]

#[path = "../tests/support/ledger.rs"]
mod ledger;
#[path = "../tests/support/options.rs"]
mod options;
#[path = "../tests/support/quiet.rs"]
mod quiet;
#[path = "../tests/support/random.rs"]
mod random;
#[path = "../tests/support/sim/mod.rs"]
#[expect(dead_code, reason = "tests use more of it")]
mod sim;
#[path = "../tests/support/stops.rs"]
mod stops;

use std::process::ExitCode;
use std::time::Instant;

use options::Options;
use sim::{Done, FAULTS};

fn main() -> ExitCode {
    let options = Options::read(&["--seeds", "--seed", "--faults", "--threads"]);
    let (count, first) = (options.number("--seeds", 1), options.number("--seed", 0));
    let faults: Vec<&str> =
        options.text("--faults").map_or(FAULTS.to_vec(), |list| list.split(',').collect());
    if let Some(unknown) = faults.iter().find(|fault| !FAULTS.contains(fault)) {
        eprintln!("--faults: {unknown} is none of {FAULTS:?}");
        return ExitCode::from(2);
    }
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let threads = options.number("--threads", cores);
    let begun = Instant::now();
    let (done, seeds, report) = sim::run(first, count, threads, &faults);
    let seconds = begun.elapsed().as_secs_f64();
    let Done { records, fills, restarts, damages, stale, stopped, heard: _ } = done;
    println!(
        "simulate: {seeds} seeds in {seconds:.1} s ({:.0} a minute): {records} records, {fills} fills ({stopped} of stops), \
         {restarts} restarts, {damages} damaged copies refused, {stale} stale signals",
        seeds as f64 * 60.0 / seconds
    );
    match report {
        Some(report) => {
            println!("simulate: violated\n{report}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}
