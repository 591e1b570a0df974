//! Readers of files: configuration, recordings, the store's journal, checkpoint, records and backups, event logs.
//!
//! What has a checksum is also read with the right one, since chance would never find it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tradebus::backtest::event_log;
use tradebus::backtest::source::RecordingSource;
use tradebus::config::{Config, Sources};
use tradebus::engine::event::Event;
use tradebus::engine::state::State;
use tradebus::message::discovery::{Input, announce};
use tradebus::model::ids::{FeedId, Symbol};
use tradebus::model::time::Timestamp;
use tradebus::store::{self, Journal, Ledger, backup, checkpoint, record};

use crate::support::fuzz::Target;
use crate::support::random::Random;
use crate::support::sim::{self, World, market};

const SEGMENT_HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 21;
const CHECKPOINT_HEADER_BYTES: usize = 32;
/// The most frames that get a right checksum.
const FRAMES_MAX: usize = 1_000;

pub fn targets() -> Vec<Target> {
    let target = |name, cost, read: fn(&Path, &[u8]) -> String| {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        let folder = folder.expect("a folder");
        Target { name, cost, read: Box::new(move |input| read(folder.path(), input)) }
    };
    vec![
        target("configuration", 30, |_, input| read_configuration(input)),
        target("recording", 4, read_recording),
        target("record", 1, |_, input| read_record(input)),
        target("journal", 10, read_journal),
        target("checkpoint", 4, read_checkpoint),
        target("backup", 60, read_backup),
        target("event_log", 2, |_, input| read_event_log(input)),
    ]
}

fn read_configuration(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    let (file, overrides) = text.split_once("\n---\n").unwrap_or((&text, ""));
    let overrides = overrides.lines().map(str::to_owned).collect();
    let sources = Sources { overrides, ..Sources::of_text(file) };
    match Config::load(&sources) {
        Ok(loaded) => {
            let config = loaded.config;
            let again = Config::load(&Sources::of_text(&config.effective_toml()));
            let again =
                again.unwrap_or_else(|problems| panic!("its effective text has problems: {problems:?}"));
            assert_eq!(
                again.config.engine_settings(),
                config.engine_settings(),
                "the effective text differs"
            );
            let settings = config.engine_settings();
            let prefix = config.mqtt.discovery_prefix.as_deref().unwrap_or("homeassistant");
            let (instance, base_topic) = (config.instance.as_str(), config.mqtt.base_topic.as_str());
            let input = Input { instance, base_topic, prefix, version: "0", settings: &settings };
            for message in announce(&input, &[]).messages {
                let payload: Value = serde_json::from_str(&message.payload).expect("JSON");
                assert!(payload["cmps"].is_object(), "{}", message.topic);
                assert!(!message.topic.contains(['+', '#', '\0', ' ']), "{}", message.topic);
            }
            format!("{} strategies, {} feeds", config.strategies.len(), config.feeds.len())
        }
        Err(problems) => {
            let problem = problems.first().expect("a problem");
            assert!(problems.iter().all(|problem| !problem.text.is_empty()), "{problems:?}");
            format!("{} {}", problem.path, problem.text)
        }
    }
}

fn read_recording(folder: &Path, input: &[u8]) -> String {
    let name = if input.starts_with(&[0x1f, 0x8b]) { "a.csv.gz" } else { "a.csv" };
    let path = folder.join(name);
    fs::write(&path, input).expect("a file");
    let (feed, symbol) = (FeedId::new("tape").expect("a feed"), Symbol::new("BTC-USDT").expect("a symbol"));
    let mut last = None;
    match RecordingSource::open(&[(path, symbol)], feed) {
        Ok(source) => {
            let mut count = 0;
            for event in source.take(10_000) {
                match event {
                    Ok(event) => {
                        assert!(last.is_none_or(|last| last <= event.at), "time ran backwards");
                        last = Some(event.at);
                        count += 1;
                    }
                    Err(error) => return error.fault.to_string(),
                }
            }
            if count == 0 { "nothing".into() } else { "events".into() }
        }
        Err(error) => error.fault.to_string(),
    }
}

/// Version, count, and the bytes of records; then the same bytes as a state.
fn read_record(input: &[u8]) -> String {
    let (Some(version), Some(count)) = (input.first(), input.get(1)) else { return String::new() };
    let decoded = record::decode(*version, u32::from(*count), &input[2..]);
    let state = record::decode_state(&input[2..]);
    if let Ok(records) = &decoded {
        let again = record::decode(*version, u32::from(*count), &record::encode(records));
        assert_eq!(again.as_ref().ok(), Some(records), "written and read again");
    }
    let words =
        decoded.map_or_else(|error| error.to_string(), |records| format!("{} records", records.len()));
    words + &state.map_or_else(|error| error.to_string(), |_| "a state".into())
}

/// A store with this journal. `fixed` gives every frame that has one the checksum that it should have.
fn with_journal(folder: &Path, input: &[u8]) -> (PathBuf, Vec<u8>) {
    let (mode, rest) = input.split_first().unwrap_or((&0, &[]));
    let mut bytes = rest.to_vec();
    if mode % 2 == 1 {
        fix_journal(&mut bytes);
    }
    let store = folder.join("store");
    drop(fs::remove_dir_all(&store));
    fs::create_dir_all(store.join("journal")).expect("a folder");
    fs::write(store.join("journal/00000000000000000001.tbj"), &bytes).expect("a file");
    (store, bytes)
}

fn fix_journal(bytes: &mut [u8]) {
    if bytes.len() < SEGMENT_HEADER_BYTES {
        return;
    }
    let crc = crc32fast::hash(&[&bytes[..12], &bytes[16..SEGMENT_HEADER_BYTES]].concat());
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    let mut at = SEGMENT_HEADER_BYTES;
    for _ in 0..FRAMES_MAX {
        let Some(header) = bytes.get(at..at + FRAME_HEADER_BYTES) else { return };
        let length = u32::from_le_bytes(header[..4].try_into().expect("4 bytes")) as usize;
        let end = at + FRAME_HEADER_BYTES + length;
        if end > bytes.len() {
            return;
        }
        let crc = crc32fast::hash(&[&bytes[at + 4..at + 16], &bytes[at + 20..end]].concat());
        bytes[at + 16..at + 20].copy_from_slice(&crc.to_le_bytes());
        at = end;
    }
}

fn read_journal(folder: &Path, input: &[u8]) -> String {
    let (store, bytes) = with_journal(folder, input);
    let path = store.join("journal/00000000000000000001.tbj");
    let inspected = Journal::inspect(&store);
    let opened = Ledger::open(&store);
    match (&inspected, opened) {
        (Ok(inspected), Ok((ledger, opening))) => {
            assert_eq!(opening.state.sequence, inspected.last_sequence);
            drop(ledger);
            let verified =
                store::verify(&store).unwrap_or_else(|error| panic!("it opened, and now: {error}"));
            assert_eq!(verified.records, opening.state.sequence);
            let kept = fs::read(&path).expect("the file");
            assert!(
                bytes.starts_with(&kept) || kept.len() == SEGMENT_HEADER_BYTES,
                "other bytes than before"
            );
            opening.warnings.join(" ").chars().take(20).chain("opened".chars()).collect()
        }
        (_, Err(error)) => {
            // A torn end is cut before the frames are decoded: nothing in it was acknowledged.
            let torn = inspected.as_ref().is_ok_and(|opened| opened.torn.is_some());
            let kept = fs::read(&path).expect("the file");
            assert!(kept == bytes || torn && bytes.starts_with(&kept), "refused, and changed all the same");
            let words = error.to_string();
            words.rsplit("tbj").next().unwrap_or_default().to_owned()
        }
        (Err(error), Ok(_)) => panic!("inspected as damaged ({error}) and opened"),
    }
}

fn read_checkpoint(folder: &Path, input: &[u8]) -> String {
    let (mode, rest) = input.split_first().unwrap_or((&0, &[]));
    let mut bytes = rest.to_vec();
    if mode % 2 == 1 && bytes.len() >= CHECKPOINT_HEADER_BYTES {
        let length = (bytes.len() - CHECKPOINT_HEADER_BYTES) as u64;
        bytes[24..32].copy_from_slice(&length.to_le_bytes());
        let crc = crc32fast::hash(&bytes[16..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    }
    fs::write(folder.join("checkpoint.tbc"), &bytes).expect("a file");
    match checkpoint::read(folder) {
        Ok(loaded) => {
            let state = loaded.checkpoint.map(|checkpoint| record::decode_state(&checkpoint.payload));
            let state = state.map(|state| state.map_or_else(|error| error.to_string(), |_| "a state".into()));
            let warnings = loaded.warnings.join(" ");
            state.unwrap_or_default() + warnings.rsplit("tbc").next().unwrap_or_default()
        }
        Err(error) => error.to_string().rsplit("tbc").next().unwrap_or_default().to_owned(),
    }
}

/// A journal from elsewhere, copied and put back.
fn read_backup(folder: &Path, input: &[u8]) -> String {
    let (store, _) = with_journal(folder, input);
    let (copy, restored) = (folder.join("copy"), folder.join("restored"));
    for path in [&copy, &restored] {
        for name in [path.clone(), path.with_extension("partial")] {
            drop(fs::remove_dir_all(name));
        }
    }
    let copied = backup::backup(&store, &copy, |_, _| {});
    let put_back = backup::restore(&store, &restored, None, |_, _| {});
    if let (Ok(copied), Ok(put_back)) = (&copied, &put_back) {
        assert_eq!(copied.records, put_back.records);
        assert_eq!(store::verify(&restored).expect("what was put back is sound").records, copied.records);
    }
    let words =
        |error: &backup::BackupError| error.to_string().rsplit("tbj").next().unwrap_or_default().to_owned();
    copied.as_ref().map_or_else(words, |_| "copied".into())
        + &put_back.as_ref().map_or_else(words, |_| "put back".into())
}

fn read_event_log(input: &[u8]) -> String {
    match event_log::read(input) {
        Ok((_, events)) => format!("{} events", events.len().min(3)),
        Err(error) => error.to_string(),
    }
}

/// The corpus of what is not text, from a simulated run. `UPDATE_CORPUS=1` writes it anew; otherwise what is there must
/// still be read, because a store of an older tradebus must be.
#[test]
fn a_store_of_an_older_version_is_still_read() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    if std::env::var_os("UPDATE_CORPUS").is_some() {
        write_corpus(&corpus);
    }
    let folder = TempDir::new().expect("a folder");
    let input = fs::read(corpus.join("journal/run")).expect("a journal");
    let (store, _) = with_journal(folder.path(), &input);
    let (_, opening) = Ledger::open(&store).expect("a journal of version 1");
    assert!(opening.warnings.is_empty() && opening.state.sequence > 10, "{:?}", opening.warnings);
}

fn write_corpus(corpus: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let _within = runtime.enter();
    let mut world = World::new(&World::config(), false, None);
    for step in sim::steps(3, &[]).iter().take(100) {
        world.step(step);
    }
    world.heal();
    let folder = world.end();
    let store = folder.path().join("store");
    let put = |name: &str, bytes: &[u8]| {
        let path = corpus.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file of the corpus");
    };
    let segment = fs::read(store.join("journal/00000000000000000001.tbj")).expect("a segment");
    let (mut at, mut ends) = (SEGMENT_HEADER_BYTES, Vec::new());
    while let Some(header) = segment.get(at..at + FRAME_HEADER_BYTES) {
        let length = u32::from_le_bytes(header[..4].try_into().expect("4 bytes")) as usize;
        let count = u8::try_from(u32::from_le_bytes(header[12..16].try_into().expect("4 bytes")));
        let frame = &segment[at + FRAME_HEADER_BYTES..at + FRAME_HEADER_BYTES + length];
        if let (Ok(count), true) = (count, ends.len() < 6) {
            put(&format!("record/frame{}", ends.len()), &[&[header[20], count], frame].concat());
        }
        at += FRAME_HEADER_BYTES + length;
        ends.push(at);
    }
    let part = &segment[..*ends.iter().rfind(|end| **end < 8_000).expect("a small frame")];
    for (name, mode) in [("run", 0), ("fixed", 1)] {
        put(&format!("journal/{name}"), &[&[mode], part].concat());
        put(&format!("backup/{name}"), &[&[mode], part].concat());
    }
    let checkpoint = fs::read(store.join("checkpoint.tbc")).expect("a checkpoint");
    put("checkpoint/run", &[&[0], &checkpoint[..]].concat());
    put("checkpoint/fixed", &[&[1], &checkpoint[..]].concat());
    put("record/state", &[&[1, 1], &checkpoint[CHECKPOINT_HEADER_BYTES..]].concat());
    let settings = World::config().engine_settings();
    let start = event_log::LogStart { settings, state: State::default() };
    let mut random = Random::new(1);
    let now = Timestamp::from_ms(1_772_452_800_000);
    let ticks = (0..5).map(|_| Event::Market(market::tick(&mut random, now)));
    put("event_log/run", &event_log_of(&start, now, ticks));
}

fn event_log_of(start: &event_log::LogStart, at: Timestamp, events: impl Iterator<Item = Event>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut log = event_log::EventLogWriter::begin(&mut bytes, start).expect("a log");
    events.for_each(|event| log.event(at, &event).expect("an event"));
    bytes
}
