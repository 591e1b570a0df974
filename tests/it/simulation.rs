//! Seeded simulation, see `tests/support/sim`: drop, repeat, delay, reorder, disconnect, clock jumps, a disk that errs,
//! crashes anywhere. After every step nothing acknowledged is lost, nothing is executed twice, the ledger is its fills,
//! limits and levels hold, and queues are bounded. `cargo run --release --example simulate -- --seeds N` runs more.

use tradebus::engine::effect::{Effect, Update};
use tradebus::engine::record::Record;

use crate::chance::{self, Seed, seeds};
use crate::rig;
use crate::support::random::Random;
use crate::support::sim::{self, FAULTS};

#[test]
fn nothing_is_lost_and_nothing_happens_twice() {
    let (first, count) = (seeds(160).start, seeds(160).count() as u64);
    let (done, _, report) = sim::run(first, count, 2, &FAULTS);
    assert_eq!(report, None);
    if std::env::var_os("SEED").is_none() {
        let calm = done.restarts < 500 || done.damages < 20 || done.stale < 50;
        let tame = calm || done.fills < 1_000 || done.stopped < 50;
        assert!(!tame, "too tame: {done:?}");
    }
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let steps = sim::steps(7, &FAULTS);
    let runs = [(); 2].map(|()| sim::play(&steps).expect("a sound run"));
    assert_eq!(runs[0], runs[1]);
}

#[test]
fn effects_that_need_the_disk_stand_behind_their_records() {
    for seed in seeds(20) {
        let _seed = Seed(seed);
        let mut random = Random::new(seed);
        let mut rig = rig::Rig::new(chance::settings(0));
        rig.send(rig::start_event());
        for n in 0..100_u64 {
            rig.now = rig.now.plus_ms(random.below(500) as i64);
            let tick = chance::market(&mut random, rig.now);
            rig.send(tick);
            let (strategy, json) = chance::signal(&mut random, &n.to_string(), rig.now);
            let effects = rig.send(rig::signal_event(n, strategy, &json, false));
            let place = |wanted: fn(&Effect) -> bool| effects.iter().position(wanted);
            let reply = place(|effect| matches!(effect, Effect::Reply { .. })).unwrap();
            let signal = place(|effect| matches!(effect, Effect::Persist(Record::Signal(_))));
            let result = place(|effect| matches!(effect, Effect::Publish(Update::Result(_))));
            assert!(signal.or(result).unwrap() < reply, "answered before it was a fact");
            assert_ne!(signal.is_some(), result.is_some(), "told once, by a record or by a message");
        }
    }
}
