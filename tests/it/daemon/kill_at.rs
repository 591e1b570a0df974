//! `kill -9` aimed at a moment: while the journal begins a new file, and while a stop writes its checkpoint.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use super::kill::conclude;
use super::load::Load;
use super::{Scene, setting};
use crate::support::mosquitto::Setup;
use crate::support::program::{Program, Site};

/// The longest pause between the sight of a new file and the kill; a sync takes about that long.
const MOMENT_US_MAX: u64 = 3_000;
/// Bytes of a journal file's header.
const HEADER_BYTES: u64 = 32;

/// A thread that kills the program as soon as it sees `moment` and a pause has passed; the moment may also be missed.
fn kill_at(
    mut program: Program,
    pause: Duration,
    moment: impl Fn() -> bool + Send + 'static,
) -> JoinHandle<Program> {
    std::thread::spawn(move || {
        while !moment() && program.running() {}
        std::thread::sleep(pause);
        program.kill();
        program
    })
}

/// The files of the journal.
fn segments(store: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(store.join("journal")).expect("the journal");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

/// A scene whose journal begins a new file every 64 KiB.
async fn scene() -> Scene {
    let small = |site: &Site| {
        let text = site.text();
        assert!(text.contains("path = \"store\"\n"), "{text}");
        site.write(&text.replace("path = \"store\"\n", "path = \"store\"\njournal_file_kb_max = 64\n"));
    };
    Scene::start_with(Setup::default(), "", small).await
}

/// Starts the killed daemon again and publishes what was not answered.
async fn again(scene: &mut Scene, load: &Load) {
    scene.bus.drain();
    let online = scene.bus.heard.online;
    scene.program = scene.site.run();
    let open: Vec<_> = load.unanswered(&scene.bus.heard).into_iter().cloned().collect();
    for sent in &open {
        load.publish_one(&scene.bus, sent).await;
    }
    scene.bus.until("online again", |heard| heard.online > online).await;
    scene.bus.until("every result", |heard| load.unanswered(heard).is_empty()).await;
}

#[tokio::test]
async fn kill_9_while_the_journal_begins_a_new_file_loses_nothing() {
    let kills = setting("TRADEBUS_KILLS", 5);
    let mut scene = scene().await;
    let mut load = Load::new("r", setting("TRADEBUS_SEED", 6) as u64);
    let (mut empty, mut torn) = (0, 0);
    for _ in 1..=kills {
        let store = scene.site.store();
        let before = segments(&store).len();
        let pause = Duration::from_micros(load.random.below(MOMENT_US_MAX));
        let watched = store.clone();
        let killer = kill_at(scene.program, pause, move || segments(&watched).len() > before);
        load.publish_until(&mut scene.bus, || killer.is_finished()).await;
        scene.program = killer.join().expect("it watches");
        let last = segments(&store).pop().expect("a file");
        let bytes = last.metadata().expect("its size").len();
        empty += u32::from(bytes == HEADER_BYTES);
        torn += u32::from(bytes < HEADER_BYTES);
        again(&mut scene, &load).await;
    }
    let files = segments(&scene.site.store()).len();
    assert!(files > kills, "{files} files after {kills} kills");
    let (replayed, told) = conclude(scene, &load).await;
    assert!(replayed > 0, "nothing was replayed");
    println!(
        "kill: {kills} kills at a new file of the journal ({torn} torn headers, {empty} without a frame), {files} files, {told}"
    );
}

#[tokio::test]
async fn kill_9_while_a_stop_writes_its_checkpoint_loses_nothing() {
    let kills = setting("TRADEBUS_KILLS", 5);
    let mut scene = scene().await;
    let mut load = Load::new("c", setting("TRADEBUS_SEED", 7) as u64);
    let (mut unfinished, mut between, mut ended) = (0, 0, 0);
    for _ in 1..=kills {
        load.publish(&mut scene.bus, 20).await;
        let store = scene.site.store();
        let pause = Duration::from_micros(load.random.below(MOMENT_US_MAX));
        let temporary = store.join("checkpoint.tmp");
        let _ = fs::remove_file(&temporary);
        scene.program.ask_to_stop();
        let seen = temporary.clone();
        let killer = kill_at(scene.program, pause, move || seen.exists());
        while !killer.is_finished() {
            scene.bus.drain();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        scene.program = killer.join().expect("it watches");
        let newest = store.join("checkpoint.tbc").exists();
        unfinished += u32::from(temporary.exists());
        between += u32::from(!newest);
        ended += u32::from(newest && !temporary.exists());
        again(&mut scene, &load).await;
    }
    // A stop has already journalled what was published, so nothing need be replayed.
    let (_, told) = conclude(scene, &load).await;
    println!(
        "kill: {kills} kills at a checkpoint ({unfinished} left unfinished, {between} without a newest, {ended} complete), \
         {told}"
    );
}
