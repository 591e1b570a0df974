//! A full disk with an account: entries stay here, an exit reaches the venue first and is journalled later.
//!
//! Needs a small file system of its own, so it is skipped where none can be mounted (without root).

use std::time::Duration;

use super::edges::send;
use super::live::{KEY, PAIR, Scene};
use super::load::{now_ms, signal, topic};
use super::verify;
use crate::support::disk::Tmpfs;

/// Between two looks at the daemon's log.
const PACE: Duration = Duration::from_millis(20);

#[tokio::test]
async fn with_a_full_disk_exits_reach_the_venue_and_entries_do_not() {
    let mut disk = None;
    let mut scene = Scene::start_with(true, |site| disk = Tmpfs::mount(site.store())).await;
    let Some(disk) = disk else {
        println!("skipped: no tmpfs can be mounted here (needs root)");
        return;
    };
    let entry = format!(r#""symbol":"{PAIR}","action":"buy","quantity":0.01"#);
    assert_eq!(send(&mut scene.bus, "before", &entry).await["status"], "accepted");
    scene.agrees().await;
    disk.fill();
    // Frames that still fit into the last page are written; then one is not.
    let mut sent = 0;
    while !scene.program.log().contains("the store fails") {
        sent += 1;
        let payload = signal(&format!("waits-{sent}"), now_ms(), &entry);
        scene.bus.publish(&topic("alpha"), payload.as_bytes(), false).await;
        assert!(sent < 500, "{}", scene.program.log());
        tokio::time::sleep(PACE).await;
    }
    let refused = send(&mut scene.bus, "entry", &entry).await;
    assert_eq!(refused["reason"], "store_unavailable", "{refused}");
    let exit = format!(r#""symbol":"{PAIR}","action":"flat""#);
    scene.bus.publish(&topic("alpha"), signal("exit", now_ms(), &exit).as_bytes(), false).await;
    scene.fake.until(|stats| stats.sells >= 1).await;
    assert!(scene.bus.heard.results_of("alpha", "exit").is_empty(), "told before it is on disk");
    disk.free();
    scene.bus.until("the exit", |heard| !heard.results_of("alpha", "exit").is_empty()).await;
    assert_ne!(scene.bus.heard.results_of("alpha", "exit")[0]["status"], "rejected");
    for number in 1..=sent {
        let id = format!("waits-{number}");
        scene.bus.until(&id, |heard| !heard.results_of("alpha", &id).is_empty()).await;
    }
    // What waited for the disk may have entered after the exit; in the end both sides say the same.
    scene.agrees().await;
    let wanted = scene.fake.account(KEY).wanted;
    let mut once = wanted.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), wanted.len(), "{wanted:?}");
    assert!(scene.fake.stats().violations.is_empty(), "{:?}", scene.fake.stats().violations);
    assert_eq!(scene.program.terminate().code, Some(0));
    assert!(verify(&scene.site) > 0);
}
