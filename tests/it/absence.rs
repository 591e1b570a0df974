//! A clock that jumps by decades, as on a box without a battery for it: a bounded piece of work, and right figures.

use tradebus::engine::effect::{Effect, Update};
use tradebus::engine::event::Event;
use tradebus::engine::record::Record;
use tradebus::model::time::{DAY_MS, Timestamp};

use crate::rig::{Rig, market, settings, start_event, strategy};

#[test]
fn years_of_missed_days_are_sampled_and_published_once() {
    let mut settings = settings();
    market(&mut settings, &["BTC-USDT"]);
    strategy(&mut settings, &["s1", "symbols=BTC-USDT"]);
    let mut rig = Rig::new(settings);
    rig.now = Timestamp::from_ms(1_000);
    rig.send(start_event());
    rig.now = Timestamp::from_ms(20_000 * DAY_MS + 5);
    let effects = rig.send(Event::Wakeup);
    let days = effects.iter().filter(|effect| match effect {
        Effect::Persist(Record::Sample(sample)) => sample.day.is_some(),
        _ => false,
    });
    let kpis = effects.iter().filter(|effect| matches!(effect, Effect::Publish(Update::Kpi(_))));
    assert_eq!((days.count(), kpis.count()), (4_001, 3));
    assert_eq!(rig.engine.state().day, Some(19_999));
}
