//! The daemon on a disk that waits or refuses, the time in the test's hand, the test in place of the broker.
//!
//! Time stands still until a test moves it: a task on another thread keeps tokio from leaping to the next timer.

use std::io;
use std::sync::mpsc::{Sender as KeepAwake, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

use super::clock::Clock;
use super::mqtt::{AckToken, Inbound};
use super::options::RunOptions;
use super::outbox::OutboxHandle;
use super::wiring::Running;
use crate::config::{Config, Sources};
use crate::model::market::{Arrival, MarketEvent, PriceUpdate};
use crate::model::time::Timestamp;
use crate::model::{amount, ids};
use crate::store::disk::{Disk, SystemDisk};
use crate::store::{self, Verified};

/// Of the machine's time; only a test that fails takes it.
const PATIENCE: Duration = Duration::from_secs(20);
const START: &str = "2026-03-02T12:00:00Z";
const ENTRY: &str = r#""symbol":"BTC-USDT","action":"buy","quantity":1,"max_age_s":3600"#;
const EXIT: &str = r#""symbol":"BTC-USDT","action":"flat","max_age_s":3600"#;

/// What a disk does with what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    /// A sync waits until the mood changes.
    Slow,
    Refusing(io::ErrorKind),
}

/// A disk whose mood is the test's.
#[derive(Clone, Debug)]
struct MoodyDisk(Arc<(Mutex<Mood>, Condvar)>);

impl MoodyDisk {
    fn new() -> MoodyDisk {
        MoodyDisk(Arc::new((Mutex::new(Mood::Well), Condvar::new())))
    }

    fn is(&self, mood: Mood) {
        *self.0.0.lock().unwrap() = mood;
        self.0.1.notify_all();
    }

    fn asked(&self, waits: bool) -> io::Result<()> {
        let mood = self.0.0.lock().unwrap();
        let mood = self.0.1.wait_while(mood, |mood| waits && *mood == Mood::Slow).unwrap();
        match *mood {
            Mood::Refusing(kind) => Err(kind.into()),
            Mood::Well | Mood::Slow => Ok(()),
        }
    }
}

impl Disk for MoodyDisk {
    fn write(&self, file: &std::fs::File, bytes: &[u8], at: u64) -> io::Result<()> {
        self.asked(false)?;
        SystemDisk.write(file, bytes, at)
    }

    fn sync(&self, file: &std::fs::File) -> io::Result<()> {
        self.asked(true)?;
        SystemDisk.sync(file)
    }

    fn cut(&self, file: &std::fs::File, length: u64) -> io::Result<()> {
        self.asked(false)?;
        SystemDisk.cut(file, length)
    }
}

/// The test's side of a running daemon.
struct Scene {
    disk: MoodyDisk,
    inbound: mpsc::Sender<Inbound>,
    markets: mpsc::Sender<Arrival>,
    outbox: OutboxHandle,
    clock: Clock,
    /// Everything that left, in order: topic below the base, and JSON or a word.
    heard: Vec<(String, Value)>,
    _awake: KeepAwake<()>,
}

impl Scene {
    /// Runs the daemon beside `script`, stops it, and verifies its store.
    async fn play(script: impl AsyncFnOnce(&mut Scene)) -> Verified {
        let folder = TempDir::new().unwrap();
        let (mut running, mut scene, stop) = Scene::start(&folder).await;
        tokio::select! {
            outcome = running.events.run(&mut running.inputs, running.store_id_new) => {
                panic!("the loop ended: {outcome:?}")
            }
            () = script(&mut scene) => {}
        }
        drop((scene, stop));
        // The goodbye waits for a broker that is not there.
        tokio::time::resume();
        running.stop(true).await;
        store::verify(&folder.path().join("store")).unwrap()
    }

    async fn start(folder: &TempDir) -> (Running, Scene, watch::Sender<bool>) {
        let text = format!(
            "[mqtt]\nbroker = \"mqtt://127.0.0.1:1\"\nprice_interval_ms = 100\n\
             [http]\nlisten = \"\"\n[store]\npath = {:?}\nengine = \"memory\"\n\
             [feed.tape]\nsource = \"synthetic\"\nsymbols = [\"BTC-USDT\"]\n\
             [strategy.s]\ntype = \"external\"\nsymbols = [\"BTC-USDT\"]\nbalance = 100000\n\
             default_size = {{ quantity = 1 }}\n",
            folder.path().join("store")
        );
        let config = Config::load(&Sources::of_text(&text)).expect("a configuration").config;
        tokio::time::pause();
        let (awake, sleeper) = channel::<()>();
        tokio::task::spawn_blocking(move || sleeper.recv_timeout(PATIENCE));
        let disk = MoodyDisk::new();
        let (stop, stopped) = watch::channel(false);
        let options = RunOptions::default();
        let mut running =
            Running::start_on(&config, &options, stopped, Box::new(disk.clone())).await.unwrap();
        let clock = Clock::steady(Timestamp::parse_rfc3339(START).unwrap());
        running.events.clock = clock.clone();
        let (inbound, inbound_seen) = mpsc::channel(64);
        let (markets, markets_seen) = mpsc::channel(64);
        (running.inputs.inbound, running.inputs.markets) = (inbound_seen, markets_seen);
        let outbox = running.events.outbox.clone();
        let scene = Scene { disk, inbound, markets, outbox, clock, heard: Vec::new(), _awake: awake };
        (running, scene, stop)
    }

    /// Takes what leaves until `wanted`.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Scene) -> bool) {
        // Of the test's time, which goes on by itself only when the patience with the machine's has ended.
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            while let Some(message) = self.outbox.with(|outbox| outbox.take_next()) {
                self.outbox.with(|outbox| outbox.acknowledged(&message.ticket));
                let topic = message.topic.strip_prefix("tradebus/").unwrap_or(&message.topic).to_owned();
                let text = String::from_utf8(message.payload).unwrap();
                self.heard.push((topic, serde_json::from_str(&text).unwrap_or(Value::String(text))));
            }
            if wanted(self) {
                return;
            }
            let added = tokio::time::timeout_at(deadline, self.outbox.added()).await;
            assert!(added.is_ok(), "never came: {what}; heard {:#?}", self.heard);
        }
    }

    /// Moves the time.
    async fn pass(&self, seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    /// A trade, and waits until its price is published: that never waits for the disk.
    async fn price(&mut self, text: &str) {
        self.pass(1).await;
        let expected: Value = serde_json::from_str(text).unwrap();
        let price = amount::Price::new(amount::parse_decimal(text).unwrap());
        let quantity = amount::Quantity::new(amount::parse_decimal("1").unwrap());
        let update = PriceUpdate::Trade { price, quantity, taker: None };
        let (feed, symbol) = (ids::FeedId::new("tape").unwrap(), ids::Symbol::new("BTC-USDT").unwrap());
        let event = MarketEvent { feed, symbol, time: self.clock.now(), update };
        self.markets.send(event.into()).await.unwrap();
        self.until("the price", |scene| {
            let last = scene.said("price/tape/BTC-USDT").last();
            last.is_some_and(|price| price["last"] == expected)
        })
        .await;
    }

    /// Publishes a signal that wants a response.
    async fn signal(&self, id: &str, body: &str) {
        let time = self.clock.now().as_ms();
        let inbound = Inbound {
            topic: "tradebus/strategy/s/signal".into(),
            payload: format!("{{\"id\":\"{id}\",\"time\":{time},{body}}}").into_bytes(),
            retain: false,
            response_topic: Some(format!("reply/{id}")),
            correlation: None,
            ack: AckToken::none(),
        };
        self.inbound.send(inbound).await.unwrap();
    }

    /// Waits for the response, which is released together with the acknowledgement.
    async fn answered(&mut self, id: &str) -> Value {
        let topic = format!("reply/{id}");
        self.until(&topic, |scene| scene.said(&topic).next().is_some()).await;
        assert_eq!(self.results(id).len(), 1, "{id}");
        let responses: Vec<&Value> = self.said(&topic).collect();
        assert_eq!(responses.len(), 1, "{id}: {responses:?}");
        responses[0].clone()
    }

    fn said<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a Value> + 'a {
        self.heard.iter().filter(move |(heard, _)| heard == topic).map(|(_, value)| value)
    }

    fn results(&self, id: &str) -> Vec<&Value> {
        self.said("strategy/s/signal/result").filter(|result| result["id"] == id).collect()
    }

    fn alerts(&self, code: &str) -> usize {
        self.said("daemon/alert").filter(|alert| alert["code"] == code).count()
    }

    /// What is journalled before it leaves, of all kinds.
    fn durable(&self) -> usize {
        let kinds = ["order", "fill", "trade", "signal/result", "state", "position/BTC-USDT"];
        kinds.iter().map(|kind| self.said(&format!("strategy/s/{kind}")).count()).sum()
    }

    /// The quantities of all fills, each of which came once.
    fn fills(&self) -> Vec<String> {
        let fills: Vec<&Value> = self.said("strategy/s/fill").collect();
        let mut sequences: Vec<u64> = fills.iter().map(|fill| fill["seq"].as_u64().unwrap()).collect();
        sequences.dedup();
        assert_eq!(sequences.len(), fills.len(), "{fills:?}");
        fills.iter().map(|fill| format!("{} {}", fill["side"].as_str().unwrap(), fill["quantity"])).collect()
    }
}

#[tokio::test]
async fn a_slow_flush_holds_back_what_it_protects_and_nothing_else() {
    let verified = Scene::play(async |scene: &mut Scene| {
        scene.price("100").await;
        scene.signal("in", ENTRY).await;
        assert_eq!(scene.answered("in").await["status"], "filled");

        scene.disk.is(Mood::Slow);
        scene.signal("more", ENTRY).await;
        scene.price("101").await;
        let durable = scene.durable();
        scene.signal("out", EXIT).await;
        // The loop takes the next price when it has done with the signal before it.
        scene.price("102").await;
        scene.price("103").await;
        assert_eq!(scene.durable(), durable, "something left before it was on disk: {:#?}", scene.heard);
        assert!(scene.results("more").is_empty() && scene.results("out").is_empty());
        assert_eq!(scene.alerts("store_unavailable"), 0, "waiting is not failing");

        scene.disk.is(Mood::Well);
        assert_eq!(scene.answered("more").await["status"], "filled");
        assert_eq!(scene.answered("out").await["status"], "filled");
        assert_eq!(scene.fills(), ["buy 1", "buy 1", "sell 2"]);
    })
    .await;
    assert!(verified.checkpoint.is_some(), "{verified:?}");
}

#[tokio::test]
async fn while_every_write_fails_entries_are_refused_and_exits_pass() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::ReadOnlyFilesystem] {
        Scene::play(async |scene: &mut Scene| outage(scene, kind).await).await;
    }
}

async fn outage(scene: &mut Scene, kind: io::ErrorKind) {
    scene.price("100").await;
    scene.signal("in", ENTRY).await;
    assert_eq!(scene.answered("in").await["status"], "filled");

    scene.disk.is(Mood::Refusing(kind));
    // Its order is done before anybody knows that the disk fails.
    scene.signal("waits", ENTRY).await;
    scene.until("an alert", |scene| scene.alerts("store_unavailable") == 1).await;
    scene.signal("refused", ENTRY).await;
    assert_eq!(scene.answered("refused").await["reason"], "store_unavailable");
    let durable = scene.durable();
    scene.signal("out", EXIT).await;
    scene.price("101").await;

    // The alert comes again with every health, once a minute, and at 300 s the other one.
    for minute in 1..=6 {
        scene.pass(60).await;
        scene.price(&(200 + minute).to_string()).await;
        scene.until("health", |scene| scene.said("daemon/health").count() == minute).await;
        scene.until("an alert", |scene| scene.alerts("store_unavailable") == 1 + minute).await;
        let outage = usize::from(minute >= 5);
        assert_eq!(scene.alerts("store_outage"), outage, "after {minute} minutes");
    }
    scene.signal("still", ENTRY).await;
    assert_eq!(scene.answered("still").await["reason"], "store_unavailable");
    // The two refusals, and nothing else, of what waits for the disk elsewise.
    assert_eq!(scene.durable(), durable + 1, "{:#?}", scene.heard);
    assert!(scene.results("waits").is_empty() && scene.results("out").is_empty());
    assert_eq!(scene.said("daemon/level").last().unwrap(), "run", "a level is durable before it is told");

    scene.disk.is(Mood::Well);
    assert_eq!(scene.answered("waits").await["status"], "filled");
    let out = scene.answered("out").await;
    assert_eq!(out["status"], "filled");
    scene.until("the level", |scene| scene.said("daemon/level").last().unwrap() == "reduce").await;
    assert_eq!(scene.fills(), ["buy 1", "buy 1", "sell 2"]);
    let times: Vec<&Value> = scene.said("strategy/s/fill").map(|fill| &fill["time"]).collect();
    let first_minute = START.split_at(16).0;
    assert!(times.iter().all(|time| time.as_str().unwrap().starts_with(first_minute)), "{times:?}");
    scene.until("the all-clear", |scene| scene.alerts("store_available") == 1).await;
    // The level stays until a person lifts it.
    scene.signal("later", ENTRY).await;
    assert_eq!(scene.answered("later").await["status"], "rejected");
}
