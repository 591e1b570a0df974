//! How many requests are remembered: one that finds nothing to do may not push another one out, one that takes risk
//! away always passes.

use tradebus::engine::effect::Effect;
use tradebus::engine::event::Event;
use tradebus::message::request::{self, Op};

use crate::rig::{self, Rig};

/// What is remembered, and for how long in milliseconds.
const MEMORY: (usize, i64) = (256, 305_000);

/// Asks something of `s1` now, and holds the answer against `done`, `repeated` or the name of a reason.
fn check(rig: &mut Rig, (op, id): (&str, &str), age_ms: i64, expected: &str) {
    let time = rig.now.plus_ms(-age_ms).as_ms();
    let json = format!(r#"{{"id":"{id}","time":{time},"strategy":"s1"}}"#);
    let asked = request::read(op, json.as_bytes(), false);
    let wish = asked.wish.expect("a request that can be read");
    let Op::Engine(query) = wish.op else { panic!("{op}: not the engine's") };
    let effects = rig.send(Event::Request(Box::new(wish.request(1, query, asked.id))));
    let answer = effects.iter().find_map(|effect| match effect {
        Effect::Answer { answer, .. } => Some(answer),
        _ => None,
    });
    let answer = answer.expect("an answer");
    let got = match (&answer.told, answer.repeated) {
        (Ok(_), true) => "repeated",
        (Ok(_), false) => "done",
        (Err(refusal), _) => refusal.reason.as_str(),
    };
    assert_eq!(got, expected, "{op} {id}: {:?}", answer.told);
}

#[test]
fn two_hundred_and_fifty_six_are_remembered() {
    let (most, memory_ms) = MEMORY;
    let mut settings = rig::settings();
    rig::market(&mut settings, &["BTC-USDT", "stale_ms=86400000"]);
    rig::strategy(&mut settings, &["s1"]);
    let mut rig = Rig::new(settings);
    rig.send(rig::start_event());
    rig.send(rig::trade(rig.now, "BTC-USDT", rig::price("100"), rig::quantity("1")));
    let begin = rig.now;
    for count in 0..most {
        check(&mut rig, ("cancel_orders", &format!("n{count}")), 0, "done");
    }
    check(&mut rig, ("cancel_orders", "more"), 0, "rate_limited");
    check(&mut rig, ("close_position", "nothing"), 0, "rate_limited");
    check(&mut rig, ("cancel_orders", "n0"), 0, "repeated");
    // A restart remembers as many.
    rig.restart();
    rig.send(rig::trade(rig.now, "BTC-USDT", rig::price("100"), rig::quantity("1")));
    check(&mut rig, ("cancel_orders", "more"), 0, "rate_limited");
    // What closes a position passes, and is remembered in the place of the oldest.
    let time = rig.now.as_ms();
    let long = format!(r#"{{"id":"a","time":{time},"symbol":"BTC-USDT","action":"long","quantity":1}}"#);
    rig.send(rig::signal_event(1, "s1", &long, false));
    assert_eq!(rig.engine.state().strategies.values().next().unwrap().positions.len(), 1);
    rig.now = rig.now.plus_ms(1);
    check(&mut rig, ("close_position", "close"), 0, "done");
    assert!(rig.engine.state().strategies.values().next().unwrap().positions.is_empty());
    check(&mut rig, ("close_position", "close"), 0, "repeated");
    check(&mut rig, ("cancel_orders", "n1"), 1, "repeated");
    check(&mut rig, ("cancel_orders", "n0"), 1, "rate_limited");
    // There is room again when the oldest could not be fresh any more.
    rig.now = begin.plus_ms(memory_ms);
    check(&mut rig, ("cancel_orders", "later"), 0, "rate_limited");
    rig.now = begin.plus_ms(memory_ms + 1);
    check(&mut rig, ("cancel_orders", "later"), 0, "done");
}
