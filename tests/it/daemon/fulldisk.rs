//! A full disk: entries are refused, exits and prices go on, and afterwards everything is as if nothing had been.
//!
//! Needs a small file system of its own, so it is skipped where none can be mounted (without root).

use std::time::Duration;

use super::disks::time_ms;
use super::edges::send;
use super::load::{check_executions, check_journal, now_ms, settled, signal, topic};
use super::{ready, verify};
use crate::support::bus::Bus;
use crate::support::disk::Tmpfs;
use crate::support::mosquitto::{Mosquitto, Setup};
use crate::support::program::{Program, Site};

const LONG: &str = r#""symbol":"BTC-USDT","action":"buy","quantity":0.01"#;
const FLAT: &str = r#""symbol":"BTC-USDT","action":"flat""#;

/// Between two looks at the daemon's log.
const PACE: Duration = Duration::from_millis(20);

#[tokio::test]
async fn a_full_disk_stops_entries_only() {
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

    disk.fill();
    // Frames that still fit into the last page are written; then one is not.
    let mut sent = 0;
    while !program.log().contains("the store fails") {
        sent += 1;
        let payload = signal(&format!("waits-{sent}"), now_ms(), LONG);
        bus.publish(&topic("alpha"), payload.as_bytes(), false).await;
        assert!(sent < 500, "{}", program.log());
        tokio::time::sleep(PACE).await;
    }
    let refused = send(&mut bus, "entry", LONG).await;
    assert_eq!(refused["reason"], "store_unavailable", "{refused}");
    bus.until("an alert", |heard| heard.alerts.iter().any(|alert| alert["code"] == "store_unavailable"))
        .await;
    // Refused entries are answered at once; acknowledgements stay in order, so the broker's window is the limit.
    for number in 0..10 {
        let payload = signal(&format!("refused-{number}"), now_ms(), LONG);
        bus.publish(&topic("alpha"), payload.as_bytes(), false).await;
    }
    // The exit is executed at once; its result waits for the disk.
    bus.publish(&topic("alpha"), signal("exit", now_ms(), FLAT).as_bytes(), false).await;
    let prices = bus.heard.prices;
    bus.until("prices", |heard| heard.prices > prices + 5).await;
    assert!(bus.heard.results_of("alpha", "exit").is_empty(), "told before it is on disk");
    bus.until("10 refusals", |heard| !heard.results_of("alpha", "refused-9").is_empty()).await;

    let freed = now_ms();
    disk.free();
    bus.until("the exit", |heard| !heard.results_of("alpha", "exit").is_empty()).await;
    let exit = &bus.heard.results_of("alpha", "exit")[0];
    assert_eq!(exit["status"], "filled");
    let fill =
        bus.heard.said("fill").find(|(_, fill)| fill["order_id"] == exit["orders"][0]).expect("its fill").1;
    assert!(time_ms(fill) < freed, "the exit waited for the disk: {fill}");
    for number in 1..=sent {
        let id = format!("waits-{number}");
        bus.until(&id, |heard| !heard.results_of("alpha", &id).is_empty()).await;
    }
    assert_eq!(send(&mut bus, "entry", LONG).await["status"], "filled");
    settled(&mut bus).await;
    check_executions(&bus.heard);

    stop_while_full(&disk, &mut bus, &mut program, &site).await;
    check_journal(&site, &bus.heard);
    verify(&site);
    println!(
        "full disk: {sent} entries waited, all answered, the exit passed, {} fills",
        bus.heard.said("fill").count()
    );
}

/// SIGTERM while the disk is full ends within 5 s, and what was not acknowledged is executed once after the restart.
async fn stop_while_full(disk: &Tmpfs, bus: &mut Bus, program: &mut Program, site: &Site) {
    disk.fill();
    let mut number = 0;
    let failures = program.log().matches("the store fails").count();
    while program.log().matches("the store fails").count() == failures {
        number += 1;
        assert!(number < 500, "{}", program.log());
        let payload = signal(&format!("late-{number}"), now_ms(), &format!("{LONG},\"max_age_s\":600"));
        bus.publish(&topic("alpha"), payload.as_bytes(), false).await;
        tokio::time::sleep(PACE).await;
    }
    let ended = program.terminate();
    assert!(ended.code == Some(0) && ended.after.as_secs() < 5, "{ended:?}");
    disk.free();
    let online = bus.heard.online;
    *program = site.run();
    ready(bus, online + 1).await;
    assert!(number > 0, "no entry waited at the stop");
    for number in 1..=number {
        let id = format!("late-{number}");
        bus.until(&id, |heard| !heard.results_of("alpha", &id).is_empty()).await;
    }
    settled(bus).await;
    check_executions(&bus.heard);
    let ended = program.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
}
