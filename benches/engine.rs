//! The engine's speed: `cargo bench --bench engine`.
//!
//! `target/release/deps/engine-* --count <situation> <strategies> <ticks>` only runs so many ticks, so that
//! `scripts/instructions` can count the instructions of one.

mod scenario;

use divan::{Bencher, black_box};
use scenario::{Scenario, Situation, settings};
use tradebus::engine::Engine;
use tradebus::engine::effect::{Effect, PriceView, Update};
use tradebus::engine::record::Record;
use tradebus::engine::state::State;
use tradebus::message::topic::Topics;
use tradebus::message::view;
use tradebus::store::record::{decode, decode_state, encode, encode_state};

const STRATEGIES: [usize; 3] = [1, 10, 100];
/// Ticks of a sample: ten intervals of publication, so that their share is in the mean.
const TICKS: u32 = 500;
/// Signals behind the restored state; the last 60,480 of them are remembered.
const SIGNALS: usize = 100_000;
const RECORDS: usize = 100_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().position(|argument| argument == "--count") {
        Some(index) => count(&arguments[index + 1..]),
        None => divan::main(),
    }
}

fn count(arguments: &[String]) {
    let [situation, strategies, ticks] = arguments else {
        panic!("--count <situation> <strategies> <ticks>")
    };
    let number = |text: &String| text.parse::<usize>().expect("a number");
    if situation == "signal" {
        let mut scenario = Scenario::new(number(strategies));
        (0..number(ticks)).for_each(|_| scenario.flip());
        return;
    }
    let situation = Situation::ALL.into_iter().find(|known| known.name() == situation);
    let mut scenario = Scenario::in_situation(number(strategies), situation.expect("a situation"));
    for _ in 0..number(ticks) {
        black_box(scenario.tick());
    }
}

#[divan::bench(args = STRATEGIES, sample_count = 40, sample_size = TICKS)]
fn tick_flat(bencher: Bencher<'_, '_>, strategies: usize) {
    tick(bencher, strategies, Situation::Flat);
}

#[divan::bench(args = STRATEGIES, sample_count = 40, sample_size = TICKS)]
fn tick_open(bencher: Bencher<'_, '_>, strategies: usize) {
    tick(bencher, strategies, Situation::Open);
}

#[divan::bench(args = STRATEGIES, sample_count = 40, sample_size = TICKS)]
fn tick_resting(bencher: Bencher<'_, '_>, strategies: usize) {
    tick(bencher, strategies, Situation::Resting);
}

fn tick(bencher: Bencher<'_, '_>, strategies: usize, situation: Situation) {
    let mut scenario = Scenario::in_situation(strategies, situation);
    bencher.bench_local(|| scenario.tick());
}

/// A signal from its bytes to its effects; it turns the position of one of 10 strategies around.
#[divan::bench(sample_count = 40, sample_size = 100)]
fn signal(bencher: Bencher<'_, '_>) {
    let mut scenario = Scenario::new(10);
    bencher.bench_local(|| scenario.flip());
}

/// From the bytes of a checkpoint to an engine.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn restore_100000_signals(bencher: Bencher<'_, '_>) {
    let mut scenario = Scenario::new(10);
    (0..SIGNALS).for_each(|_| scenario.flip());
    let bytes = encode_state(scenario.engine().state());
    bencher.bench_local(|| Engine::new(settings(10), decode_state(&bytes).expect("a state")));
}

/// From the bytes of frames with 6 records each to a state.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn fold_100000_records(bencher: Bencher<'_, '_>) {
    let mut scenario = Scenario::new(10);
    let mut frames = vec![frame(scenario.started.clone())];
    let mut records = scenario.started.len();
    while records < RECORDS {
        scenario.flip();
        let group: Vec<Record> = scenario.records().cloned().collect();
        records += group.len();
        frames.push(frame(group));
    }
    bencher.bench_local(|| {
        let mut state = State::default();
        for (bytes, count) in &frames {
            let records = decode(1, *count, bytes).expect("records");
            records.iter().for_each(|record| state.apply(record));
        }
        state
    });
}

fn frame(records: Vec<Record>) -> (Vec<u8>, u32) {
    (encode(&records), records.len() as u32)
}

/// A price from the engine's view to topic and payload.
#[divan::bench(sample_count = 40, sample_size = 100)]
fn view_price(bencher: Bencher<'_, '_>) {
    let mut scenario = Scenario::new(1);
    let mut found = None;
    while found.is_none() {
        scenario.tick();
        found = scenario.effects().iter().find_map(published_price);
    }
    let update = Update::Price(found.expect("a price"));
    let topics = Topics::new("tradebus");
    bencher.bench_local(|| view::update(black_box(&topics), black_box(&update)));
}

fn published_price(effect: &Effect) -> Option<PriceView> {
    match effect {
        Effect::Publish(Update::Price(view)) => Some(view.clone()),
        _ => None,
    }
}
