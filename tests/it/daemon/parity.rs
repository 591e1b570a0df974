//! What a live process was told, told again to a fresh engine, leads to the same records, byte for byte.

use std::fs::File;
use std::io::BufReader;

use tradebus::backtest::{self, event_log};
use tradebus::engine::Engine;
use tradebus::engine::effect::Effect;
use tradebus::store::Ledger;
use tradebus::store::record::encode;

use super::load::{Load, settle};
use super::{Scene, ready, setting};
use crate::support::mosquitto::Setup;

/// Replays a log: the encoded records, and all effects as text.
fn replay(path: &std::path::Path) -> (Vec<Vec<u8>>, Vec<String>) {
    let (start, events) =
        event_log::read(BufReader::new(File::open(path).expect("the log"))).expect("a whole log");
    let mut engine = Engine::new(start.settings, start.state);
    let (mut records, mut effects) = (Vec::new(), Vec::new());
    backtest::run(&mut engine, events, |_, batch| {
        for effect in batch {
            if let Effect::Persist(record) = effect {
                records.push(encode(std::slice::from_ref(record)));
            }
            effects.push(format!("{effect:?}"));
        }
    });
    (records, effects)
}

#[tokio::test]
async fn a_replay_of_a_live_process_gives_its_journal() {
    let mut scene = Scene::start(Setup::default(), "").await;
    // The first run has no log, so that the second one's begins with a state.
    let mut load = Load::new("p", setting("TRADEBUS_SEED", 7) as u64);
    load.publish(&mut scene.bus, 40).await;
    scene.program.terminate();
    let path = scene.site.path("events");
    let first = Ledger::open(&scene.site.store()).expect("the store").0.last_sequence() + 1;
    scene.program = scene.site.run_with(&["--record-events", &path.display().to_string()]);
    ready(&mut scene.bus, 2).await;
    load.publish(&mut scene.bus, 150).await;
    scene.bus.until("every result", |heard| load.unanswered(heard).is_empty()).await;
    settle(&mut scene.bus).await;
    let ended = scene.program.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.log);

    let (ledger, _) = Ledger::open(&scene.site.store()).expect("the store");
    let journal = ledger.read(first, usize::MAX).expect("the journal");
    let (records, effects) = replay(&path);
    for ((sequence, live), replayed) in journal.iter().zip(&records) {
        assert_eq!(&encode(std::slice::from_ref(live)), replayed, "record {sequence}: {live:?}");
    }
    assert_eq!(journal.len(), records.len());
    assert!(records.len() > 300, "only {} records", records.len());
    let (records_again, effects_again) = replay(&path);
    assert!(records == records_again && effects == effects_again, "two replays differ");
    println!("parity: {} records equal, {} effects equal in two replays", records.len(), effects.len());
}
