//! The same events give the same effects, byte for byte: in a second engine, in a backtest, and with a driver that
//! wakes late, exactly, or for no reason.

use tradebus::backtest;
use tradebus::engine::Engine;
use tradebus::engine::effect::Effect;
use tradebus::engine::event::Event;
use tradebus::engine::state::State;
use tradebus::model::time::Timestamp;

use crate::chance::{self, Seed, seeds};
use crate::rig;
use crate::support::random::Random;

/// The tick spacing of the recordings, in milliseconds.
const SPACING_MS: i64 = 100;

/// A recording: ticks at a fixed spacing, with pauses, signals and levels between and at the same times.
fn recorded(seed: u64) -> Vec<(Timestamp, Event)> {
    let mut random = Random::new(seed);
    let mut at = rig::begin();
    let mut events = vec![(at, rig::start_event())];
    for n in 0..400 {
        match random.below(60) {
            0 => at = at.plus_ms(20_000 + random.below(100_000) as i64),
            1 => at = at.plus_ms(40_000_000),
            2..=9 => {}
            _ => at = at.plus_ms(SPACING_MS),
        }
        let id = n.to_string();
        let time = at.plus_ms(-(random.below(1_000) as i64));
        events.push(match random.below(20) {
            0..=5 => {
                let (strategy, json) = chance::signal(&mut random, &id, time);
                (at, rig::signal_event(n, strategy, &json, false))
            }
            6 => {
                let (scope, payload) = chance::level(&mut random, &id, time);
                (at, chance::level_event(n, scope, &payload))
            }
            8 if random.one_in(3) => (at, chance::request_event(&mut random, n, &id, time)),
            7 if random.one_in(6) => (at, Event::Store { available: random.one_in(2) }),
            _ => (at, chance::market(&mut random, time)),
        });
    }
    events
}

fn engine(latency_ms: i64) -> Engine {
    Engine::new(chance::settings(latency_ms), State::default())
}

fn text(effects: &[Effect]) -> Vec<String> {
    effects.iter().map(|effect| format!("{effect:?}")).collect()
}

/// How a driver wakes the engine beside its events.
#[derive(Clone, Copy, PartialEq)]
enum Wakes {
    /// Never: timers fire with the next event.
    Late,
    /// At the time that the engine asks for.
    Exactly,
    /// Also when nothing is due.
    TooOften,
}

fn drive(engine: &mut Engine, events: &[(Timestamp, Event)], wakes: Wakes) -> Vec<String> {
    let mut effects = Vec::new();
    let mut now = events[0].0;
    for (at, event) in events {
        if wakes == Wakes::TooOften {
            let middle = now.plus_ms(at.since_ms(now) / 2);
            engine.handle(middle, Event::Wakeup, &mut effects);
            engine.handle(middle, Event::Wakeup, &mut effects);
        }
        let mut wakeups = 0;
        while let Some(due) = engine.next_wakeup().filter(|due| wakes != Wakes::Late && due <= at) {
            engine.handle(due.max(now), Event::Wakeup, &mut effects);
            now = due.max(now);
            wakeups += 1;
            assert!(wakeups < 50_000, "the engine wants to be woken for ever: {due}");
        }
        engine.handle(*at, event.clone(), &mut effects);
        rig::check_stops(engine);
        now = *at;
    }
    text(&effects)
}

#[track_caller]
fn assert_same(a: &[String], b: &[String]) {
    if let Some((a, b)) = a.iter().zip(b).find(|(a, b)| a != b) {
        panic!("the first difference:\n  {a}\n  {b}");
    }
    assert_eq!(a.len(), b.len());
}

/// Latencies of 0, the tick spacing, and above it.
fn check(latency_ms: i64) {
    let (mut filled, mut stopped) = (0, 0);
    for seed in seeds(25) {
        let _seed = Seed(seed);
        let events = recorded(seed);
        let (mut first, mut second, mut third) = (engine(latency_ms), engine(latency_ms), engine(latency_ms));
        let effects = drive(&mut first, &events, Wakes::Late);
        let mut replayed = Vec::new();
        backtest::run(&mut second, events.clone(), |_, effects| replayed.extend(text(effects)));
        assert_same(&effects, &replayed);
        assert_eq!(first.state(), second.state());
        let bytes = postcard::to_allocvec(&events).unwrap();
        let events: Vec<(Timestamp, Event)> = postcard::from_bytes(&bytes).unwrap();
        assert_same(&effects, &drive(&mut third, &events, Wakes::Exactly));
        assert_same(&effects, &drive(&mut engine(latency_ms), &events, Wakes::TooOften));
        filled += effects.iter().filter(|effect| effect.contains("Fill(")).count();
        stopped += effects.iter().filter(|effect| effect.contains("reason: Some(StopLoss)")).count();
    }
    let wild = filled > 100 && stopped > 20;
    assert!(wild || seeds(2).count() == 1, "too tame: {filled} fills, {stopped} changes by stop losses");
}

#[test]
fn without_latency() {
    check(0);
}

#[test]
fn with_a_latency_of_the_tick_spacing() {
    check(SPACING_MS);
}

#[test]
fn with_a_latency_above_the_tick_spacing() {
    check(2 * SPACING_MS + 50);
}
