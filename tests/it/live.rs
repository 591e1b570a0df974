//! Live trading without a network: the simulation of faults, and what follows from single reports.

use crate::chance::{Seed, seeds};
use crate::live_simulation::{self, Outcome};

#[test]
fn the_venue_holds_what_was_intended_and_the_ledger_is_its_fills() {
    let mut total = Outcome::default();
    for seed in seeds(200) {
        let _seed = Seed(seed);
        total.add(&live_simulation::run(seed));
    }
    if std::env::var_os("SEED").is_none() {
        let wild = total.orders > 1_000 && total.fills > 1_000 && total.corrections > 100;
        assert!(
            wild && total.rejected > 50 && total.unknown > 100 && total.crashes > 100,
            "too tame: {total}"
        );
    }
}
