//! The bound on new signals by chance: nothing that reduces is held up, what is held up leaves no trace, and no more
//! than the bucket passes.

use rust_decimal::Decimal;
use tradebus::engine::effect::Effect;
use tradebus::model::ids::{SignalId, StrategyId};
use tradebus::model::signal::{Outcome, Reason};

use crate::chance::{Seed, seeds};
use crate::rig::{self, Rig};
use crate::support::random::Random;

const STEPS: u64 = 300;
const PER_MINUTE: i64 = 6;

/// Whether a signal only makes the position smaller. No order is ever working here.
fn reduces(position: Decimal, action: &str, size: Decimal) -> bool {
    let long = position > Decimal::ZERO;
    match action {
        "flat" => !position.is_zero(),
        "buy" => position < Decimal::ZERO && size <= -position,
        "sell" => long && size <= position,
        "long" => long && size < position,
        "short" => position < Decimal::ZERO && size < -position,
        other => panic!("{other}"),
    }
}

#[test]
fn what_reduces_is_never_held_up() {
    let (mut held_up, mut exits_beyond) = (0, 0);
    for seed in seeds(40) {
        let _seed = Seed(seed);
        let mut random = Random::new(seed);
        let mut settings = rig::settings();
        rig::market(&mut settings, &["BTC-USDT", "stale_ms=86400000"]);
        let rate = format!("signals_per_minute_max={PER_MINUTE}");
        rig::strategy(&mut settings, &["s1", &rate, "balance=1000000", "fee_taker=0"]);
        let strategy = StrategyId::new("s1").unwrap();
        let mut rig = Rig::new(settings);
        rig.send(rig::start_event());
        rig.send(rig::trade(rig.now, "BTC-USDT", rig::price("100"), rig::quantity("1")));
        let (mut position, mut counted, mut decided) = (Decimal::ZERO, 0_i64, 0);
        let begin = rig.now;
        for step in 0..STEPS {
            rig.now = rig.now.plus_ms(random.below(8_000) as i64);
            let action = random.pick(&["buy", "sell", "long", "short", "flat"]);
            let size = Decimal::from(1 + random.below(9));
            let (id, time) = (format!("n{step}"), rig.now.as_ms());
            let quantity = if action == "flat" { String::new() } else { format!(r#","quantity":{size}"#) };
            let json =
                format!(r#"{{"id":"{id}","time":{time},"symbol":"BTC-USDT","action":"{action}"{quantity}}}"#);
            let effects = rig.send(rig::signal_event(step + 1, "s1", &json, false));
            let result = effects.iter().find_map(|effect| match effect {
                Effect::Reply { result, .. } => result.clone(),
                _ => None,
            });
            let only_reduces = reduces(position, action, size);
            let remembered =
                rig.engine.state().signals.find(rig.now, strategy, &SignalId::new(&id).unwrap()).is_some();
            match result.expect("one result").outcome {
                Outcome::Rejected(refusal) => {
                    assert_eq!(refusal.reason, Reason::RateLimited, "{json}");
                    assert!(!only_reduces && !remembered, "{json} at {position}");
                    held_up += 1;
                }
                Outcome::Filled | Outcome::Unchanged => {
                    assert!(remembered, "{json}");
                    counted += i64::from(!only_reduces);
                    decided += 1;
                }
                Outcome::Accepted => panic!("{json}: nothing waits here"),
            }
            let most = PER_MINUTE * (60_000 + rig.now.since_ms(begin)) / 60_000;
            assert!(counted <= most, "{counted} of {most}");
            exits_beyond += i64::from(decided > most);
            let held = rig.engine.state().strategies[&strategy].positions.values().next();
            position = held.map_or(Decimal::ZERO, |held| held.quantity.value());
        }
        assert_eq!(rig.engine.state().signals.len(), usize::try_from(decided).unwrap());
        rig.restart();
    }
    assert!(held_up > 1_000 && exits_beyond > 0, "{held_up} held up, {exits_beyond} exits beyond the bound");
}
