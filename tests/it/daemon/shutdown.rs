//! The two ways to end: SIGTERM says goodbye and leaves a checkpoint, `kill -9` leaves it to the last will.

use std::time::Duration;

use super::load::{Load, books, check_journal, differences, settle};
use super::{Scene, ready, verify};
use crate::support::bus::{Bus, Heard};
use crate::support::mosquitto::{Mosquitto, Setup};
use crate::support::program::{STRATEGIES, Site};
use crate::support::proxy::{Link, Proxy};

const STOP_WITHIN: Duration = Duration::from_secs(5);

/// What does not depend on prices and time.
fn lasting(heard: &Heard) -> Vec<String> {
    let mut lasting = Vec::new();
    for strategy in STRATEGIES {
        let state = heard.json(&format!("strategy/{strategy}/state")).unwrap_or_default();
        let keys = ["balance", "realized_pnl", "fees", "level", "open_positions", "symbols", "mode", "type"];
        lasting.extend(keys.map(|key| format!("{strategy} {key} {}", state[key])));
        for (topic, message) in &heard.newest {
            if topic.starts_with(&format!("tradebus/strategy/{strategy}/position/")) {
                let position: serde_json::Value = serde_json::from_str(message.text()).expect("JSON");
                let keys = ["side", "quantity", "entry_price", "realized_pnl", "fees", "opened_at"];
                lasting.extend(keys.map(|key| format!("{topic} {key} {}", position[key])));
            }
        }
    }
    lasting.push(format!("level {:?}", heard.word("daemon/level")));
    lasting
}

#[tokio::test]
async fn sigterm_ends_within_5_s_and_the_next_start_goes_on_from_the_checkpoint() {
    let mut scene = Scene::start(Setup::default(), "").await;
    let mut load = Load::new("t", 4);
    load.publish(&mut scene.bus, 80).await;
    scene.bus.until("every result", |heard| load.unanswered(heard).is_empty()).await;
    settle(&mut scene.bus).await;
    let before = lasting(&scene.bus.heard);

    let ended = scene.program.terminate();
    assert!(ended.code == Some(0) && ended.after < STOP_WITHIN, "{ended:?}");
    scene.bus.until("offline", |heard| heard.word("daemon/state") == Some("offline")).await;
    let mut late = Bus::connect(scene.broker.port, "late").await;
    late.until("offline retained", |heard| heard.word("daemon/state") == Some("offline")).await;
    late.close().await;
    assert!(scene.site.path("store/checkpoint.tbc").exists());
    verify(&scene.site);
    check_journal(&scene.site, &scene.bus.heard);

    std::fs::remove_file(scene.site.path("log")).expect("the log");
    scene.program = scene.site.run();
    ready(&mut scene.bus, 2).await;
    let log = scene.program.log();
    assert!(log.contains("beyond_checkpoint=0"), "the whole state is in the checkpoint: {log}");
    // A new ear, so that nothing of the first run counts.
    let mut fresh = Bus::connect(scene.broker.port, "fresh").await;
    let complete =
        |lines: &[String]| lines.len() == before.len() && !lines.iter().any(|l| l.ends_with("balance null"));
    fresh.until("the state", |heard| complete(&lasting(heard))).await;
    assert_eq!(lasting(&fresh.heard), before);
    assert!(fresh.heard.events.is_empty(), "acknowledged events came again");
    assert_eq!(differences(&scene.bus.heard, &books(&scene.bus.heard)), Vec::<String>::new());
    // SIGTERM at once, SIGTERM twice.
    scene.program.ask_to_stop();
    let ended = scene.program.terminate();
    assert!(ended.code == Some(0) && ended.after < STOP_WITHIN, "{ended:?}");
}

#[tokio::test]
async fn kill_9_leaves_offline_to_the_last_will() {
    let mut scene = Scene::start(Setup::default(), "").await;
    scene.program.kill();
    scene.bus.until("offline", |heard| heard.word("daemon/state") == Some("offline")).await;
    scene.program = scene.site.run();
    ready(&mut scene.bus, 2).await;
    assert_eq!(scene.bus.heard.word("daemon/state"), Some("online"));
}

#[tokio::test]
async fn sigterm_ends_within_5_s_without_a_broker_too() {
    let mut broker = Mosquitto::start(Setup::default());
    let proxy = Proxy::start(broker.port).await;
    let mut bus = Bus::connect(broker.port, "ear").await;
    let site = Site::new(proxy.port);
    let mut program = site.run();
    ready(&mut bus, 1).await;
    proxy.set(Link::Frozen);
    bus.publish("tradebus/strategy/alpha/signal", b"{}", false).await;
    let ended = tokio::task::spawn_blocking(move || program.terminate()).await.expect("the wait");
    assert!(ended.code == Some(0) && ended.after < STOP_WITHIN, "{ended:?}");
    broker.stop();
    let mut program = site.run();
    program.says("mqtt not connected", 1).await;
    let ended = tokio::task::spawn_blocking(move || program.terminate()).await.expect("the wait");
    assert!(ended.code == Some(0) && ended.after < STOP_WITHIN, "{ended:?}");
    verify(&site);
}
