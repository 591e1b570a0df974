//! Disks that turn read-only, that are read-only at the start, and that let a flush wait.
//!
//! They need file systems of their own, so these tests are skipped where none can be mounted (without root). The same
//! without root, with the time in the test's hand: `src/daemon/store_tests.rs`.

use std::time::Duration;

use super::edges::send;
use super::load::{check_executions, check_journal, now_ms, settled, signal, topic};
use super::{contents, ready, verify};
use crate::support::bus::Bus;
use crate::support::disk::{Ext4, Tmpfs};
use crate::support::mosquitto::{Mosquitto, Setup};
use crate::support::program::Site;

const LONG: &str = r#""symbol":"BTC-USDT","action":"buy","quantity":0.01,"max_age_s":600"#;
const FLAT: &str = r#""symbol":"BTC-USDT","action":"flat","max_age_s":600"#;
/// A signal that is too old one second later.
const SHORT_LIVED: &str = r#""symbol":"ETH-USDT","action":"buy","quantity":0.01,"max_age_s":1"#;

async fn publish(bus: &Bus, id: &str, body: &str) -> i64 {
    let time = now_ms();
    bus.publish(&topic("alpha"), signal(id, time, body).as_bytes(), false).await;
    time
}

/// Prices come, so the loop waits for nothing.
async fn prices_go_on(bus: &mut Bus) {
    bus.drain();
    let prices = bus.heard.prices;
    bus.until("prices", |heard| heard.prices > prices + 5).await;
}

#[tokio::test]
async fn a_disk_that_turns_read_only_stops_entries_and_a_kill_repeats_nothing() {
    let broker = Mosquitto::start(Setup::default());
    let site = Site::new(broker.port);
    let Some(disk) = Ext4::mount(site.path("image"), site.store()) else {
        println!("skipped: no ext4 can be mounted here (needs root and a loop device)");
        return;
    };
    let mut bus = Bus::connect(broker.port, "ear").await;
    let mut program = site.run();
    ready(&mut bus, 1).await;
    assert_eq!(send(&mut bus, "before", LONG).await["status"], "filled");
    if !disk.break_down() {
        println!("skipped: this kernel cannot break an ext4 down");
        return;
    }
    publish(&bus, "waits", LONG).await;
    program.says("the store fails", 1).await;
    bus.until("an alert", |heard| heard.alerts.iter().any(|alert| alert["code"] == "store_unavailable"))
        .await;
    assert!(program.log().contains("Read-only file system"), "{}", program.log());
    assert_eq!(send(&mut bus, "refused", LONG).await["reason"], "store_unavailable");
    // Refused at once too, under an id that stays free.
    let old = publish(&bus, "old", SHORT_LIVED).await;
    publish(&bus, "exit", FLAT).await;
    prices_go_on(&mut bus).await;
    for id in ["waits", "exit"] {
        assert!(bus.heard.results_of("alpha", id).is_empty(), "{id} was told before it is on disk");
    }

    // What was done since is gone with the process, and nobody was told of it.
    program.kill();
    disk.mend();
    while now_ms() <= old + 1_000 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut program = site.run();
    ready(&mut bus, 2).await;
    for id in ["waits", "exit"] {
        bus.until(id, |heard| !heard.results_of("alpha", id).is_empty()).await;
        let results = bus.heard.results_of("alpha", id);
        // They come with the connection, which may be before the first price: then the exit waits for one.
        let answered = results[0]["status"] == "filled"
            || (id == "waits" && results[0]["reason"] == "no_price")
            || (id == "exit" && results[0]["status"] == "accepted");
        assert!(answered && results.len() == 1, "{results:?}");
    }
    bus.until("old", |heard| heard.results_of("alpha", "old").len() == 2).await;
    let reasons: Vec<_> = bus.heard.results_of("alpha", "old").iter().map(|r| r["reason"].clone()).collect();
    assert_eq!(reasons, ["store_unavailable", "stale"], "it came again and was judged by its age");
    // Remembered: another signal under its id.
    assert_eq!(send(&mut bus, "before", LONG).await["reason"], "duplicate");
    settled(&mut bus).await;
    check_executions(&bus.heard);
    let sold = |fill: &serde_json::Value| fill["side"] == "sell" && fill["symbol"] == "BTC-USDT";
    assert_eq!(bus.heard.said("fill").filter(|(_, fill)| sold(fill)).count(), 1, "the exit passed once");
    let position = bus.heard.json("strategy/alpha/position/BTC-USDT");
    assert_eq!(position.expect("the position")["quantity"], 0);
    let ended = program.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    check_journal(&site, &bus.heard);
    verify(&site);
}

#[tokio::test]
async fn a_flush_that_waits_holds_back_what_it_protects_and_nothing_else() {
    let broker = Mosquitto::start(Setup::default());
    let site = Site::new(broker.port);
    let Some(disk) = Ext4::mount(site.path("image"), site.store()) else {
        println!("skipped: no ext4 can be mounted here (needs root and a loop device)");
        return;
    };
    let mut bus = Bus::connect(broker.port, "ear").await;
    let mut program = site.run();
    ready(&mut bus, 1).await;
    assert_eq!(send(&mut bus, "before", LONG).await["status"], "filled");
    let Some(frozen) = disk.freeze() else {
        println!("skipped: this file system cannot be frozen");
        return;
    };
    publish(&bus, "waits", LONG).await;
    publish(&bus, "exit", FLAT).await;
    prices_go_on(&mut bus).await;
    prices_go_on(&mut bus).await;
    for id in ["waits", "exit"] {
        assert!(bus.heard.results_of("alpha", id).is_empty(), "{id} was told before it is on disk");
    }
    assert_eq!(bus.heard.said("fill").count(), 1, "only the one before");
    let thawed = now_ms();
    drop(frozen);
    for id in ["waits", "exit"] {
        bus.until(id, |heard| !heard.results_of("alpha", id).is_empty()).await;
        let result = &bus.heard.results_of("alpha", id)[0];
        assert_eq!(result["status"], "filled", "{result}");
        assert!(time_ms(result) < thawed, "it waited for the disk: {result}");
    }
    settled(&mut bus).await;
    check_executions(&bus.heard);
    let ended = program.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    check_journal(&site, &bus.heard);
    verify(&site);
}

/// When something was done, in milliseconds.
pub(super) fn time_ms(said: &serde_json::Value) -> i64 {
    let text = said["time"].as_str().expect("a time");
    tradebus::model::time::Timestamp::parse_rfc3339(text).expect("a time").as_ms()
}

#[tokio::test]
async fn a_store_that_is_read_only_at_the_start_is_refused_and_left_alone() {
    let broker = Mosquitto::start(Setup::default());
    let site = Site::new(broker.port);
    let Some(disk) = Tmpfs::mount(site.store()) else {
        println!("skipped: no tmpfs can be mounted here (needs root)");
        return;
    };
    let mut bus = Bus::connect(broker.port, "ear").await;
    let mut program = site.run();
    ready(&mut bus, 1).await;
    assert_eq!(send(&mut bus, "before", LONG).await["status"], "filled");
    assert_eq!(program.terminate().code, Some(0));
    let before = contents(&site.store());
    disk.read_only(true);
    let ended = site.run().wait();
    assert_eq!(ended.code, Some(74), "{}", ended.log);
    let lock = site.store().join("lock").display().to_string();
    assert!(ended.log.contains(&format!("could not open {lock}: Read-only file system")), "{}", ended.log);
    disk.read_only(false);
    assert!(before == contents(&site.store()), "the store was changed");
    let mut program = site.run();
    ready(&mut bus, 2).await;
    assert_eq!(send(&mut bus, "after", FLAT).await["status"], "filled");
    assert_eq!(program.terminate().code, Some(0));
    check_journal(&site, &bus.heard);
    verify(&site);
}
