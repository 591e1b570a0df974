//! Topic and payload through the daemon itself, from the broker to the disk and back: whatever comes is acknowledged,
//! and what leaves is JSON on a topic of ours.

use serde_json::Value;
use tempfile::TempDir;
use tradebus::daemon::clock::Clock;
use tradebus::daemon::mqtt::Inbound;
use tradebus::daemon::outbox::PAYLOAD_BYTES_MAX;
use tradebus::daemon::stage::Stage;
use tradebus::engine::event::Event;
use tradebus::model::ids::StoreId;
use tradebus::model::time::Timestamp;
use tradebus::store::disk::SystemDisk;

use super::words::split;
use crate::support::fuzz::Target;
use crate::support::random::Random;
use crate::support::sim::{World, market};

/// Inputs of one store, so that a run does not get slower.
const INPUTS_PER_STORE: u32 = 400;
/// The time of the corpus.
const NOW: &str = "2026-03-02T12:00:00Z";
/// Words instead of JSON.
const WORDS: [&str; 6] = ["daemon/level", "daemon/state", "online", "offline", "run", "pause"];

pub fn targets() -> Vec<Target> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut daemon: Option<Daemon> = None;
    let read = Box::new(move |input: &[u8]| {
        let _within = runtime.enter();
        let mut current =
            daemon.take().filter(|daemon| daemon.inputs < INPUTS_PER_STORE).unwrap_or_else(Daemon::new);
        let outcome = current.read(input);
        daemon = Some(current);
        outcome
    });
    vec![Target { name: "bus", cost: 10, read }]
}

struct Daemon {
    stage: Stage,
    random: Random,
    inputs: u32,
    _folder: TempDir,
}

impl Daemon {
    fn new() -> Daemon {
        let memory = std::path::Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        let folder = folder.expect("a folder");
        let mut config = World::config();
        config.store.path = folder.path().join("store");
        config.mqtt.discovery_prefix = None;
        let now = Timestamp::parse_rfc3339(NOW).expect("a time");
        let mut stage = Stage::open(&config, Box::new(SystemDisk), Clock::recorded(now)).expect("a store");
        stage.begin(StoreId::new("00").expect("an id")).expect("the engine starts");
        stage.wire.connect(true);
        let mut daemon = Daemon { stage, random: Random::new(1), inputs: 0, _folder: folder };
        (0..20).for_each(|_| daemon.tick());
        daemon
    }

    fn tick(&mut self) {
        let now = self.stage.events.clock.now();
        let event = market::tick(&mut self.random, now);
        self.stage.event(Event::Market(event)).expect("the engine lives");
    }

    fn read(&mut self, input: &[u8]) -> String {
        self.inputs += 1;
        self.tick();
        let (topic, payload) = split(input);
        let (retain, topic) = topic.strip_prefix(b"!").map_or((false, topic), |topic| (true, topic));
        let inbound = Inbound {
            topic: String::from_utf8_lossy(topic).into_owned(),
            payload: payload.to_vec(),
            retain,
            response_topic: payload
                .is_ascii()
                .then(|| String::from_utf8_lossy(topic).replace("tradebus", "reply")),
            correlation: None,
            ack: self.stage.wire.issue(1),
        };
        self.stage.inbound(inbound).expect("the engine lives");
        self.stage.hear().expect("the engine lives");
        assert!(self.stage.write(usize::MAX), "the disk is well");
        self.stage.release();
        assert_eq!(self.stage.wire.acknowledged(), Some(1), "not acknowledged");
        let mut outcome = String::new();
        while let Some(message) = self.stage.events.outbox.with(|outbox| outbox.take_next()) {
            self.stage.events.outbox.with(|outbox| outbox.acknowledged(&message.ticket));
            assert!(message.topic.len() + message.payload.len() <= PAYLOAD_BYTES_MAX);
            let text = std::str::from_utf8(&message.payload).expect("UTF-8");
            let json: Option<Value> = serde_json::from_str(text).ok();
            let word =
                text.is_empty() || WORDS.iter().any(|word| text == *word || message.topic.ends_with(word));
            assert!(json.is_some() || word, "{}: {text}", message.topic);
            assert!(!message.topic.contains(['+', '#', '\0']), "{:?}", message.topic);
            let json = json.unwrap_or_default();
            if let Some(reason) = json["reason"].as_str() {
                outcome += &format!("{reason} {} ", json["detail"].as_str().unwrap_or_default());
            } else if !message.topic.contains("/price/") {
                outcome += message.topic.rsplit('/').next().unwrap_or_default();
            }
        }
        outcome
    }
}
