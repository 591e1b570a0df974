//! The daemon as its users meet it: the built program, a real mosquitto, real trades, and what breaks in between.

mod alerts;
mod blofin;
#[cfg(feature = "embedded-broker")]
mod demo;
mod disks;
mod edges;
mod fulldisk;
mod homeassistant;
mod kill;
mod kill_at;
mod live;
mod live_disk;
mod live_reconcile;
mod live_secrets;
mod load;
mod parity;
mod reload;
mod requests;
mod restarts;
mod shutdown;
mod signals;
mod stops;
mod store_faults;
mod stores;
mod supervision;
mod ticks;

use std::path::Path;

use crate::support::bus::Bus;
use crate::support::mosquitto::{Mosquitto, Setup};
use crate::support::program::{Program, SYMBOLS, Site};

/// A number from the environment, for the scripts; otherwise `usual`.
fn setting(name: &str, usual: usize) -> usize {
    std::env::var(name)
        .map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: no number")))
}

/// A broker, a daemon at it, and an ear that has heard both symbols' prices.
struct Scene {
    bus: Bus,
    program: Program,
    site: Site,
    broker: Mosquitto,
}

impl Scene {
    async fn start(setup: Setup, more: &str) -> Scene {
        Scene::start_with(setup, more, |_| {}).await
    }

    /// The same after `change` met the site.
    async fn start_with(setup: Setup, more: &str, change: impl FnOnce(&Site)) -> Scene {
        let broker = Mosquitto::start(setup);
        let mut bus = Bus::connect(broker.port, "ear").await;
        let site = Site::with(broker.port, 5, more);
        change(&site);
        let program = site.run();
        ready(&mut bus, 1).await;
        Scene { bus, program, site, broker }
    }
}

/// Waits until `online` was said that often and prices are there.
async fn ready(bus: &mut Bus, online: usize) {
    bus.until("the daemon is online", |heard| heard.online >= online).await;
    let prices = bus.heard.prices;
    bus.until("prices", |heard| {
        let fresh = |symbol| heard.json(&format!("price/tape/{symbol}")).is_some_and(|p| p["stale"] == false);
        heard.prices >= prices + 2 && SYMBOLS.into_iter().all(fresh)
    })
    .await;
}

/// Every file below a folder with its bytes.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut contents = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let path = entry.path();
        match path.is_dir() {
            true => contents.extend(self::contents(&path)),
            // Names its process.
            false if path.ends_with("lock") => {}
            false => contents.push((path.display().to_string(), std::fs::read(&path).expect("a file"))),
        }
    }
    contents.sort();
    contents
}

/// `tradebus verify`: the number of records.
fn verify(site: &Site) -> u64 {
    let store = site.store().display().to_string();
    let log = site.path("verified");
    let _ = std::fs::remove_file(&log);
    let ended = Program::start(&["verify", "--json", "--store", &store], &log).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let told: serde_json::Value = serde_json::from_str(&ended.log).expect("JSON");
    assert_eq!(told["ok"], true, "{told}");
    told["records"].as_u64().expect("a number")
}
