//! Faults at the store's edge: torn tails, a query store that is damaged or gone, kills while it is made anew and while
//! a stop writes its checkpoint, and copies of a store that is in use. Nothing that was answered is lost.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::edges::send;
use super::{Scene, ready, setting, verify};
use crate::support::mosquitto::Setup;
use crate::support::program::{Program, Site};
use crate::support::random::Random;

const LONG: &str = r#""symbol":"BTC-USDT","action":"buy","quantity":0.01"#;
const CONNECTED: &str = "mqtt connected";
const READY: &str = "the query store is ready";
/// The longest pause before a kill.
const MOMENT_US_MAX: u64 = 40_000;

/// `tradebus` with these arguments: its exit code and what it wrote.
fn command(site: &Site, arguments: &[&str]) -> (Option<i32>, String) {
    let log = site.path("command");
    let _ = fs::remove_file(&log);
    let ended = Program::start(arguments, &log).wait();
    (ended.code, ended.log)
}

/// The rows of a table of a store that nobody uses.
fn exported(site: &Site, store: &Path, table: &str) -> Vec<Value> {
    let store = store.display().to_string();
    let (code, text) = command(site, &["export", table, "--format", "jsonl", "--store", &store]);
    assert_eq!(code, Some(0), "{text}");
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect()
}

/// The last file of the journal.
fn last_segment(site: &Site) -> PathBuf {
    let entries = fs::read_dir(site.store().join("journal")).expect("the journal");
    entries.map(|entry| entry.expect("an entry").path()).max().expect("a segment")
}

/// Leaves bytes of a write that was not finished.
fn tear(site: &Site, random: &mut Random) {
    let bytes: Vec<u8> = (0..1 + random.below(60)).map(|_| random.below(256) as u8).collect();
    let mut file = File::options().append(true).open(last_segment(site)).expect("the segment");
    file.write_all(&bytes).expect("it is written");
}

/// Does something bad to the query store's files.
fn damage(site: &Site, random: &mut Random) {
    let folder = site.store().join("query/sled");
    match random.below(4) {
        0 => fs::remove_dir_all(&folder).expect("it is there"),
        1 => fs::write(folder.join("db"), vec![0; 100_000]).expect("it is written"),
        2 => {
            let bytes = fs::read(folder.join("db")).expect("it is there");
            // Nothing is in it yet when the kill came before the first write.
            let kept = random.below(bytes.len() as u64 + 1) as usize;
            fs::write(folder.join("db"), &bytes[..kept]).expect("it is written");
        }
        _ => fs::write(folder.join("conf"), b"nonsense").expect("it is written"),
    }
}

#[tokio::test]
async fn torn_tails_kills_and_a_damaged_query_store_lose_nothing() {
    let rounds = setting("TRADEBUS_TORN", 10);
    let mut random = Random::new(setting("TRADEBUS_SEED", 3) as u64);
    let mut scene = Scene::start(Setup::default(), "").await;
    let mut answered = Vec::new();
    for round in 1..=rounds {
        let id = format!("torn {round}");
        let result = send(&mut scene.bus, &id, LONG).await;
        assert_eq!(result["status"], "filled", "{result}");
        if round % 3 == 0 {
            // Into the checkpoint that a stop writes, wherever it is.
            scene.program.ask_to_stop();
        }
        // The moment is chance, nothing waits for it.
        tokio::time::sleep(Duration::from_micros(random.below(MOMENT_US_MAX))).await;
        scene.program.kill();
        tear(&scene.site, &mut random);
        if round % 2 == 0 && scene.site.store().join("query/sled/conf").exists() {
            damage(&scene.site, &mut random);
            // Once more while it is made anew.
            let mut killed = scene.site.run();
            tokio::time::sleep(Duration::from_micros(random.below(4 * MOMENT_US_MAX))).await;
            killed.kill();
        }
        // From here on only the new process can have said it: it took the client id over.
        let connections = scene.program.log().matches(CONNECTED).count();
        scene.program = scene.site.run();
        scene.program.says(CONNECTED, connections + 1).await;
        scene.bus.publish("tradebus/barrier", id.as_bytes(), false).await;
        scene.bus.until("the barrier", |heard| heard.word("barrier") == Some(&*id)).await;
        ready(&mut scene.bus, 1).await;
        answered.push(id);
    }
    let said = scene.program.log().matches(READY).count();
    scene.program.says(READY, said.max(1)).await;
    let ended = scene.program.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let records = verify(&scene.site);
    let signals = exported(&scene.site, &scene.site.store(), "signals");
    for id in &answered {
        assert!(signals.iter().any(|signal| signal["id"] == **id), "{id} is lost");
    }
    let fills = exported(&scene.site, &scene.site.store(), "fills");
    assert_eq!(fills.len(), answered.len(), "a signal was executed twice");
    println!("torn: {rounds} torn tails and kills, {} signals, {records} records verified", answered.len());
}

#[tokio::test]
async fn a_query_store_that_is_no_good_is_made_anew_and_told() {
    let mut scene = Scene::start(Setup::default(), "").await;
    for round in 0..3 {
        assert_eq!(send(&mut scene.bus, &format!("a {round}"), LONG).await["status"], "filled");
    }
    scene.program.terminate();
    let db = scene.site.store().join("query/sled/db");
    // The first pages are gone, the table of them in the snapshot is not.
    let mut bytes = fs::read(&db).expect("it is there");
    let half = bytes.len() / 2;
    bytes[..half].fill(0xa5);
    fs::write(&db, bytes).expect("it is written");
    let log = scene.program.log().matches(READY).count();
    scene.program = scene.site.run();
    scene.program.says(READY, log + 1).await;
    ready(&mut scene.bus, 2).await;
    assert_eq!(send(&mut scene.bus, "after", LONG).await["status"], "filled");
    let ended = scene.program.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    verify(&scene.site);
}

#[tokio::test]
async fn a_store_in_use_is_copied_and_put_back() {
    let mut scene = Scene::start(Setup::default(), "").await;
    assert_eq!(send(&mut scene.bus, "one", LONG).await["status"], "filled");
    let store = scene.site.store().display().to_string();
    let (code, text) = command(&scene.site, &["export", "fills", "--store", &store]);
    assert_eq!(code, Some(75), "{text}");
    assert!(text.contains("in use by process") && text.contains("tradebus backup"), "{text}");

    let copy = scene.site.path("copy");
    let copied = copy.display().to_string();
    let (code, text) = command(&scene.site, &["backup", &copied, "--store", &store]);
    assert_eq!(code, Some(0), "{text}");
    let fills = exported(&scene.site, &copy, "fills");
    assert_eq!(fills.len(), 1);
    let until = fills[0]["time"].as_str().expect("a time").to_owned();
    assert_eq!(send(&mut scene.bus, "two", LONG).await["status"], "filled");
    let later = scene.site.path("later").display().to_string();
    assert_eq!(command(&scene.site, &["backup", &later, "--store", &store]).0, Some(0));

    let restored = scene.site.path("restored");
    let target = restored.display().to_string();
    let (code, text) = command(&scene.site, &["restore", &later, &target, "--until", &until]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(exported(&scene.site, &restored, "fills"), fills);
    let (code, text) = command(&scene.site, &["restore", &later, &target]);
    assert_eq!((code, text.contains("exists already")), (Some(64), true), "{text}");
    for (table, rows) in [("signals", 1), ("orders", 1), ("trades", 0)] {
        assert_eq!(exported(&scene.site, &restored, table).len(), rows, "{table}");
    }
    assert!(!exported(&scene.site, &restored, "equity").is_empty());
}
