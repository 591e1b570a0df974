//! Stores and recordings that cannot be used are refused, named and left as they are.

use std::path::Path;

use tradebus::store::Journal;
use tradebus::store::query_store;
use tradebus::store::record::RECORD_VERSION;
use tradebus::store::row::{ROW_VERSION, Table};
use tradebus::store::storage::{AnyStorage, Batch, EngineKind, Storage};

use super::edges::send;
use super::load::Load;
use super::{Scene, contents, ready, verify};
use crate::support::bus::Heard;
use crate::support::mosquitto::Setup;
use crate::support::program::{Ended, Site};

const LONG: &str = r#""symbol":"BTC-USDT","action":"buy","quantity":0.01"#;

#[tokio::test]
async fn a_second_daemon_leaves_the_store_alone() {
    let mut scene = Scene::start(Setup::default(), "").await;
    let ended = scene.site.run().wait();
    assert_eq!(ended.code, Some(75), "{}", ended.log);
    assert!(ended.log.contains(&scene.site.store().display().to_string()), "{}", ended.log);
    assert!(ended.log.contains(&format!("in use by process {}", scene.program.id())), "{}", ended.log);
    assert_eq!(send(&mut scene.bus, "after", LONG).await["status"], "filled");
    assert_eq!(scene.bus.heard.online, 1, "the second one was never at the broker");
    scene.program.terminate();
    verify(&scene.site);
}

/// A stopped daemon's site with a journal of some size.
async fn stopped() -> Site {
    let mut scene = Scene::start(Setup::default(), "").await;
    let mut load = Load::new("d", 5);
    load.publish(&mut scene.bus, 50).await;
    let ended = scene.program.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    scene.site
}

/// Starts on a store where one file was changed.
fn refused(site: &Site, file: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Ended {
    refused_naming(site, file, file, change)
}

/// The same where the refusal names something else.
fn refused_naming(site: &Site, file: &Path, named: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Ended {
    let sound = std::fs::read(file).expect("the file");
    let mut bytes = sound.clone();
    change(&mut bytes);
    std::fs::write(file, &bytes).expect("the file");
    let before = contents(&site.store());
    let ended = site.run().wait();
    assert!(before == contents(&site.store()), "the store was changed: {}", ended.log);
    assert_eq!(ended.code, Some(65), "{}", ended.log);
    assert!(ended.log.contains(&named.display().to_string()), "not named: {}", ended.log);
    let store = site.store().display().to_string();
    let verified =
        crate::support::program::Program::start(&["verify", "--store", &store], &site.path("verify")).wait();
    assert_eq!(verified.code, Some(65), "{}", verified.log);
    std::fs::write(file, sound).expect("the file");
    ended
}

#[tokio::test]
async fn a_damaged_or_newer_store_is_refused_and_not_touched() {
    let site = stopped().await;
    let journal = site.path("store/journal/00000000000000000001.tbj");
    let ended = refused(&site, &journal, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
    });
    assert!(ended.log.contains("damaged") && ended.log.contains("at byte"), "{}", ended.log);
    // The format's place in the header is the same in every version.
    let ended = refused(&site, &journal, |bytes| bytes[8] += 1);
    assert!(ended.log.contains("format 2"), "{}", ended.log);
    // There never was a format 0, so it is damage.
    let ended = refused(&site, &journal, |bytes| {
        bytes[8] = 0;
        let crc = crc32fast::hash(&[&bytes[..12], &bytes[16..32]].concat());
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    });
    assert!(ended.log.contains("no such format version"), "{}", ended.log);
    // A frame of a newer tradebus in a file of this format.
    let ended = refused_naming(&site, &journal, &site.store(), |bytes| {
        let (mut writer, opened) = Journal::open(&site.store(), u64::MAX).expect("the journal");
        writer.append(opened.last_sequence + 1, 1, RECORD_VERSION + 1, b"newer").expect("a frame");
        *bytes = std::fs::read(&journal).expect("the journal");
    });
    let sequence = ended.log.contains("journal, frame at sequence");
    assert!(sequence && ended.log.contains("records have version 2"), "{}", ended.log);
    // The end is lost that the checkpoint knows.
    refused_end(&site, &journal);
    verify(&site);
}

#[tokio::test]
async fn a_newer_checkpoint_is_refused_and_one_that_cannot_be_read_is_passed_over() {
    let mut scene = Scene::start(Setup::default(), "").await;
    assert_eq!(send(&mut scene.bus, "one", LONG).await["status"], "filled");
    assert_eq!(scene.program.terminate().code, Some(0));
    let site = &scene.site;
    let checkpoint = site.path("store/checkpoint.tbc");
    let ended = refused(site, &checkpoint, |bytes| bytes[8] += 1);
    assert!(ended.log.contains("checkpoint format 2"), "{}", ended.log);
    let ended = refused(site, &checkpoint, |bytes| {
        // The version of the state, the first byte behind the header.
        bytes[32] += 1;
        let crc = crc32fast::hash(&bytes[16..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    });
    assert!(ended.log.contains("records have version 3"), "{}", ended.log);

    // There never was a format 0, so it is damage, which a checkpoint may have: the journal has everything.
    let mut bytes = std::fs::read(&checkpoint).expect("the checkpoint");
    bytes[8] = 0;
    std::fs::write(&checkpoint, bytes).expect("the checkpoint");
    scene.program = site.run();
    ready(&mut scene.bus, 2).await;
    assert!(scene.program.log().contains("no such format version"), "{}", scene.program.log());
    // Remembered: another signal under its id.
    assert_eq!(send(&mut scene.bus, "one", LONG).await["reason"], "duplicate");
    assert_eq!(scene.program.terminate().code, Some(0));
    verify(&scene.site);
}

#[tokio::test]
async fn a_query_store_of_another_version_is_made_anew_from_the_journal() {
    let mut scene = Scene::start(Setup::default(), "").await;
    assert_eq!(send(&mut scene.bus, "one", LONG).await["status"], "filled");
    for (round, version) in [ROW_VERSION - 1, ROW_VERSION + 1].into_iter().enumerate() {
        assert_eq!(scene.program.terminate().code, Some(0));
        let kind = EngineKind::Sled;
        let storage = AnyStorage::open(kind, &query_store::dir(&scene.site.store(), kind)).expect("sled");
        let key = vec![Table::Meta as u8];
        let mut value = storage.get(&key).expect("sled").expect("what it says of itself");
        value[0] = version;
        let mut batch = Batch::default();
        batch.put(key, value);
        storage.commit(batch).expect("sled");
        storage.close().expect("sled");
        let ready_before = scene.program.log().matches("the query store is ready").count();
        scene.program = scene.site.run();
        let rebuilt = |heard: &Heard| {
            heard.alerts.iter().filter(|alert| alert["code"] == "query_store_rebuilt").count() > round
        };
        scene.bus.until("an alert", rebuilt).await;
        scene.program.says("the query store is ready", ready_before + 1).await;
        // Remembered: another signal under its id.
        assert_eq!(send(&mut scene.bus, "one", LONG).await["reason"], "duplicate");
    }
    assert_eq!(scene.program.terminate().code, Some(0));
    verify(&scene.site);
}

/// A journal that ends before its checkpoint.
fn refused_end(site: &Site, journal: &Path) {
    let sound = std::fs::read(journal).expect("the journal");
    std::fs::write(journal, &sound[..sound.len() / 3]).expect("the journal");
    let ended = site.run().wait();
    assert_eq!(ended.code, Some(65), "{}", ended.log);
    std::fs::write(journal, sound).expect("the journal");
}

#[tokio::test]
async fn a_broken_recording_is_told_with_file_and_line() {
    let site = Site::new(1);
    let mut lines = String::from("time_ms,price,quantity,taker_side,trade_id\n");
    for line in 0..5 {
        lines.push_str(&format!("17231612553{line}0,61837.6,0.02,sell,{line}\n"));
    }
    lines.push_str("oops\n");
    std::fs::write(site.path("broken.csv"), lines).expect("the recording");
    let text = site.text();
    let feed = text.find("[feed.tape]").expect("the feed");
    let instruments = text.find("[instrument").expect("the instruments");
    let feed_text = "[feed.tape]\nsource = \"recording\"\nsymbols = [\"BTC-USDT\", \"ETH-USDT\"]\nfiles = [\
                     { path = \"broken.csv\", symbol = \"BTC-USDT\" }, { path = \"broken.csv\", symbol = \"ETH-USDT\" }]\n";
    site.write(&format!("{}{feed_text}{}", &text[..feed], &text[instruments..]));
    let mut program = site.run();
    // It plays up to there, so the daemon lives and says it.
    program.says("broken.csv", 1).await;
    let log = program.log();
    assert!(log.contains("line 7"), "{log}");
}
