//! Stores and recordings that cannot be used are refused, named and left as they are.

use std::path::Path;

use super::edges::send;
use super::load::Load;
use super::{Scene, verify};
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

/// Starts on a store where one file was changed.
fn refused(site: &Site, file: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Ended {
    let sound = std::fs::read(file).expect("the file");
    let mut bytes = sound.clone();
    change(&mut bytes);
    std::fs::write(file, &bytes).expect("the file");
    let before = contents(&site.store());
    let ended = site.run().wait();
    assert!(before == contents(&site.store()), "the store was changed: {}", ended.log);
    assert_eq!(ended.code, Some(65), "{}", ended.log);
    assert!(ended.log.contains(&file.display().to_string()), "no name of the file: {}", ended.log);
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
    // The end is lost that the checkpoint knows.
    refused_end(&site, &journal);
    verify(&site);
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
