//! `kill -9` at any moment: nothing that was said is lost, and nothing is done twice.

use std::collections::BTreeMap;
use std::time::Duration;

use super::load::{Load, books, check_executions, check_journal, settle};
use super::{Scene, ready, setting, verify};
use crate::support::mosquitto::Setup;

/// The longest pause between the last signal and the kill.
const MOMENT_US_MAX: u64 = 40_000;

#[tokio::test]
async fn kill_9_at_random_moments_loses_nothing_and_repeats_nothing() {
    let kills = setting("TRADEBUS_KILLS", 5);
    let mut scene = Scene::start(Setup::default(), "").await;
    let mut load = Load::new("k", setting("TRADEBUS_SEED", 2) as u64);
    let mut again = 0;
    for kill in 1..=kills {
        let count = 20 + load.random.below(60) as usize;
        load.publish(&mut scene.bus, count).await;
        // The moment is chance, nothing waits for it.
        tokio::time::sleep(Duration::from_micros(load.random.below(MOMENT_US_MAX))).await;
        scene.program.kill();
        scene.program = scene.site.run();
        scene.bus.drain();
        // The broker delivers them again too; whoever comes first is executed.
        let open = load.unanswered(&scene.bus.heard);
        again += open.len();
        for sent in open {
            load.publish_one(&scene.bus, sent).await;
        }
        scene.bus.until("online again", |heard| heard.online > kill).await;
    }
    let bus = &mut scene.bus;
    bus.until("every result", |heard| load.unanswered(heard).is_empty()).await;
    let (replayed, told) = conclude(scene, &load).await;
    assert!(replayed > 0, "nothing was replayed");
    println!("kill: {kills} kills, {again} sent again, {told}");
}

/// Publishes everything once more and stops: nothing that was said is lost, nothing was done twice. Returns how many
/// events were replayed, and all figures.
pub(super) async fn conclude(mut scene: Scene, load: &Load) -> (usize, String) {
    let bus = &mut scene.bus;
    let before: BTreeMap<_, _> =
        bus.heard.results.iter().map(|(key, results)| (key.clone(), results.len())).collect();
    let stored = load.stored();
    for (number, (key, sent)) in stored.iter().enumerate() {
        load.publish_one(bus, sent).await;
        if number % 20 == 19 || number + 1 == stored.len() {
            bus.until("a repeated result", |heard| heard.results[key].len() > before[key]).await;
        }
    }
    bus.until("the repeated results", |heard| {
        stored.keys().all(|key| heard.results[key].len() > before[key])
    })
    .await;
    settle(bus).await;

    load.check_results(&bus.heard, false);
    for key in stored.keys() {
        let more = &bus.heard.results[key][before[key]..];
        assert!(more.iter().any(|result| result["repeated"] == true), "{key:?}: {more:?}");
    }
    check_executions(&bus.heard);
    let replayed = bus.heard.events.values().filter(|said| said.replayed > 0).count();
    assert!(bus.heard.events.values().all(|said| said.new <= 1), "an event came twice as new");
    let expected = books(&bus.heard);
    assert!(expected.values().all(|books| books.fees > 0.into()));
    let online = bus.heard.online;
    ready(bus, online).await;

    let ended = scene.program.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    check_journal(&scene.site, &scene.bus.heard);
    let records = verify(&scene.site);
    let fills = scene.bus.heard.said("fill").count();
    let signals = load.sent.len();
    let told = format!(
        "{signals} signals, {fills} fills, {replayed} events replayed, {records} records verified, nothing lost, \
         nothing twice"
    );
    (replayed, told)
}
