//! Many signals of every kind: each has its one result, and the published books are the sum of the published fills.

use super::load::{Load, books, check_executions, check_journal, differences, settle, topic};
use super::{Scene, setting};
use crate::support::bus::Bus;
use crate::support::mosquitto::Setup;
use crate::support::program::STRATEGIES;

#[tokio::test]
async fn signals_have_one_result_each_and_the_books_balance() {
    let count = setting("TRADEBUS_SIGNALS", 300);
    let mut scene = Scene::start(Setup::default(), "").await;
    let bus = &mut scene.bus;
    let mut load = Load::new("s", setting("TRADEBUS_SEED", 1) as u64);
    let begun = tokio::time::Instant::now();
    load.publish(bus, count).await;
    let named = load.named();
    bus.until("every result", |heard| heard.results_count >= named).await;
    let seconds = begun.elapsed().as_secs_f64();
    settle(bus).await;

    load.check_results(&bus.heard, true);
    let others = bus.heard.results.iter().filter(|(key, _)| key.1.starts_with("settle-")).count();
    assert_eq!(bus.heard.results_count - others, named, "one result for each signal");
    check_executions(&bus.heard);
    let fills = bus.heard.said("fill").count();
    assert!(fills * 3 > count, "only {fills} fills");
    assert!(bus.heard.events.values().all(|said| (said.new, said.replayed) == (1, 0)), "an event came twice");

    // Somebody who comes later sees the same books, and no command.
    let mut late = Bus::connect(scene.broker.port, "late").await;
    let expected = books(&bus.heard);
    late.until("the books for a late reader", |heard| differences(heard, &expected).is_empty()).await;
    for strategy in STRATEGIES.iter().copied().chain(["ghost"]) {
        let left = late.heard.newest.get(&topic(strategy));
        assert!(left.is_none_or(|message| message.payload.is_empty()), "retained: {left:?}");
    }
    let ended = scene.program.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    check_journal(&scene.site, &scene.bus.heard);
    let verified = tradebus::store::verify(&scene.site.store()).expect("a sound store");
    println!(
        "signals: {count} published, {named} results, {fills} fills, {} alerts, {} records, books equal to the last \
         digit, {seconds:.1} s, {:.0} signals/s",
        scene.bus.heard.alerts.len(),
        verified.records,
        count as f64 / seconds
    );
}
