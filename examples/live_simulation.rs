//! The seeded simulation of live trading over many seeds: `cargo run --release --example live_simulation -- --seeds 2000`.
//!
//! `--first N` begins at another seed; a failure names its seed, and `SEED=N cargo test --test it live::` repeats it.

#[path = "../tests/support/live_simulation.rs"]
mod live_simulation;
#[path = "../tests/support/model_venue.rs"]
mod model_venue;
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
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: u64| {
        let place = arguments.iter().position(|argument| argument == name);
        let value = place.and_then(|place| arguments.get(place + 1));
        value
            .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text} is not a number")))
    };
    let (first, seeds) = (number("--first", 0), number("--seeds", 2_000));
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
