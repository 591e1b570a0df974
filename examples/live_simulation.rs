//! The seeded simulation of live trading over many seeds: `cargo run --release --example live_simulation -- --seeds 2000`.
//!
//! `--seed N` begins at another one; a failure names its seed, and `SEED=N cargo test --test it live::` repeats it.

#[path = "../tests/support/live_simulation.rs"]
mod live_simulation;
#[path = "../tests/support/model_venue.rs"]
mod model_venue;
#[path = "../tests/support/options.rs"]
#[allow(dead_code, reason = "others use more of it")]
mod options;
#[path = "../tests/support/random.rs"]
#[allow(dead_code)]
mod random;
#[path = "../tests/support/rig.rs"]
#[allow(dead_code)]
mod rig;
#[path = "../tests/support/stops.rs"]
mod stops;
mod support {
    pub(crate) use crate::{model_venue, random};
}

fn main() {
    let options = options::Options::read(&["--seed", "--seeds"]);
    let (first, seeds) = (options.number("--seed", 0), options.number("--seeds", 2_000));
    let mut total = live_simulation::Outcome::default();
    for seed in first..first + seeds {
        let outcome = std::panic::catch_unwind(|| live_simulation::run(seed));
        let Ok(outcome) = outcome else {
            eprintln!("the seed was {seed}");
            std::process::exit(1);
        };
        total.add(&outcome);
    }
    println!("{seeds} seeds: {total}");
}
