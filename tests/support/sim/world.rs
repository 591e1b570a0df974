//! One simulated world: the daemon on its stage, a disk and a broker that err, and the reference that watches. A step
//! is a function of itself alone, so that steps can be left out of a run that failed.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;

use tempfile::TempDir;
use tradebus::config::{Config, Sources};
use tradebus::daemon::clock::Clock;
use tradebus::daemon::mqtt::Inbound;
use tradebus::daemon::outbox::{EVENTS_MAX, Outgoing, RETAINED_MAX, TRANSIENT_MAX};
use tradebus::daemon::stage::Stage;
use tradebus::engine::event::Event;
use tradebus::engine::record::Record;
use tradebus::message::signal;
use tradebus::model::ids::{StoreId, StrategyId};
use tradebus::model::time::Timestamp;
use tradebus::store;

use super::super::random::Random;
use super::broker::{Broker, Packet};
use super::disk::{Mood, SimDisk, flip, newest, segments};
use super::market;
use super::reference::Reference;
use super::{Act, Step};
use crate::stops::check_stops;

/// The daemon's limit of exposure, in quote currency.
pub const EXPOSURE_MAX: i64 = 6_000;
/// The strategy whose entries are counted.
pub const LIMITED: &str = "s2";
pub const ENTRIES_PER_MINUTE: usize = 6;
const START: &str = "2026-03-02T12:00:00Z";
/// Small, so that many files follow one another.
const SEGMENT_BYTES: u64 = 16 << 10;
/// Orders that a strategy may have working, and signals that wait for the disk at most in a run of this length.
const ORDERS_MAX: usize = 100;
const WAITING_MAX: usize = 5_000;
/// How wrong a clock may be set; mostly it is put right.
const SKEWS_MS: [i64; 10] = [0, 0, 0, 0, 0, 2_000, 3_600_000, -3_600_000, 90_000_000, -90_000_000];
/// Events that come back from the journal at once: the daemon's hundreds are more than a run has.
const REFILL_EVENTS: usize = 3;
/// Steps between two looks at the whole state.
const LOOK_EVERY: u32 = 16;

/// A venue's private side, for worlds that trade live: it is asked after every step, and its fills are held against
/// the reference's. Worlds without one trade on paper.
pub trait Venue {
    /// One step of the venue, at this time.
    fn step(&mut self, stage: &mut Stage, random: &mut Random, now: Timestamp);
    /// What must hold between the venue and what is on disk.
    fn check(&self, reference: &Reference);
}

/// See the module.
pub struct World {
    config: Config,
    folder: TempDir,
    disk: SimDisk,
    stage: Option<Stage>,
    broker: Broker,
    pub reference: Reference,
    venue: Option<Box<dyn Venue>>,
    now: Timestamp,
    /// How far the daemon's clock is from the others', in milliseconds.
    skew_ms: i64,
    clock: Clock,
    sent: Vec<Packet>,
    pub restarts: u32,
    pub damages: u32,
    /// A checksum of all that the broker got, in order.
    pub heard: u64,
}

impl World {
    pub fn new(config: &Config, announces: bool, venue: Option<Box<dyn Venue>>) -> World {
        // Memory, where there is some that looks like a disk.
        let memory = PathBuf::from("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        let folder = folder.expect("a temporary folder");
        let mut config = config.clone();
        config.store.path = folder.path().join("store");
        config.store.journal_file_bytes_max = SEGMENT_BYTES;
        config.mqtt.discovery_prefix = config.mqtt.discovery_prefix.filter(|_| announces);
        let now = Timestamp::parse_rfc3339(START).expect("a time");
        let mut world = World {
            config,
            folder,
            disk: SimDisk::new(),
            stage: None,
            broker: Broker::default(),
            reference: Reference::default(),
            venue,
            now,
            skew_ms: 0,
            clock: Clock::recorded(now),
            sent: Vec::new(),
            restarts: 0,
            damages: 0,
            heard: 0,
        };
        world.start();
        world
    }

    /// Three strategies on two pairs, with limits that are reached now and then.
    pub fn config() -> Config {
        let text = format!(
            r#"
[mqtt]
broker = "mqtt://127.0.0.1:1"
price_interval_ms = 1000
[feed.tape]
source = "synthetic"
symbols = ["BTC-USDT", "ETH-USDT"]
price_stale_after_ms = 30000
[instrument.BTC-USDT]
tick_size = 0.01
lot_size = 0.001
size_min = 0.001
[instrument.ETH-USDT]
tick_size = 0.01
lot_size = 0.001
size_min = 0.001
[limits]
position_notional_max = {EXPOSURE_MAX}
[strategy.s1]
type = "external"
symbols = ["BTC-USDT", "ETH-USDT"]
balance = 1000
ticks = true
limits = {{ daily_loss_max = 60 }}
paper = {{ leverage = 10, latency_ms = 100 }}
[strategy.{LIMITED}]
type = "tradingview"
key_required = false
accept_from = ["TAPE"]
symbols = ["BTC-USDT", "ETH-USDT"]
balance = 1000
limits = {{ drawdown_max_pct = 8, orders_per_minute_max = {ENTRIES_PER_MINUTE} }}
paper = {{ leverage = 10 }}
[strategy.s3]
type = "aibot"
symbols = ["BTC-USDT", "ETH-USDT"]
balance = 1000
default_size = {{ equity_pct = 80 }}
paper = {{ leverage = 20, latency_ms = 50 }}
"#
        );
        let loaded = Config::load(&Sources::of_text(&text));
        loaded.unwrap_or_else(|problems| panic!("{problems:?}")).config
    }

    /// The folder of the store, which nobody uses after this.
    pub fn end(mut self) -> TempDir {
        self.stage = None;
        self.folder
    }

    fn stage(&mut self) -> &mut Stage {
        self.stage.as_mut().expect("the daemon runs")
    }

    /// Starts the daemon on what the disk has. Nothing that was on it may be missing; more may be there.
    fn start(&mut self) {
        self.disk.is(Mood::Well);
        self.clock = Clock::recorded(self.now.plus_ms(self.skew_ms));
        let stage = Stage::open(&self.config, Box::new(self.disk.clone()), self.clock.clone());
        let mut stage = stage.unwrap_or_else(|error| panic!("the store does not open: {error}"));
        stage.refill_events_max = REFILL_EVENTS;
        self.stage = Some(stage);
        self.disk.opened(&self.config.store.path);
        self.learn();
        self.reference.begins();
        let state = self.stage().events.engine.state().clone();
        self.reference.compare(&state);
        let id = StoreId::new("00112233445566778899aabbccddeeff").expect("a store id");
        self.stage().begin(id).expect("the engine starts");
        self.connect(true);
    }

    /// The reference reads what is on disk since it last looked.
    fn learn(&mut self) {
        let from = self.reference.durable + 1;
        let stage = self.stage.as_ref().expect("the daemon runs");
        for (sequence, record) in stage.read(from, usize::MAX).expect("the journal can be read") {
            self.reference.durable(sequence, &record);
        }
    }

    fn connect(&mut self, session: bool) {
        let stage = self.stage.as_mut().expect("the daemon runs");
        let again = self.broker.connect(&stage.wire, &stage.events.outbox, session);
        again.into_iter().for_each(|inbound| self.inbound(inbound));
    }

    fn disconnect(&mut self, random: &mut Random) {
        let arrived = self.broker.disconnect(random);
        self.arrive(&arrived);
    }

    fn arrive(&mut self, messages: &[Outgoing]) {
        for message in messages {
            let told = [message.topic.as_bytes(), &message.payload].concat();
            self.heard = self.heard.rotate_left(1) ^ u64::from(crc32fast::hash(&told));
            self.reference.heard(&message.topic, &message.payload);
        }
    }

    fn inbound(&mut self, inbound: Inbound) {
        self.stage().inbound(inbound).expect("the engine lives");
    }

    fn event(&mut self, event: Event) {
        self.stage().event(event).expect("the engine lives");
    }

    /// One step, and what must hold after it.
    pub fn step(&mut self, step: &Step) {
        let mut random = Random::new(step.chance);
        self.act(step, &mut random);
        if let (Some(venue), Some(stage)) = (&mut self.venue, &mut self.stage) {
            venue.step(stage, &mut random, self.now);
            venue.check(&self.reference);
        }
        self.settle();
        if step.number.is_multiple_of(LOOK_EVERY)
            && self.stage().waiting() == 0
            && self.disk.mood() == Mood::Well
        {
            self.commit(usize::MAX);
            let state = self.stage().events.engine.state().clone();
            self.reference.compare(&state);
        }
    }

    /// The loop hears its own parts, the broker its acknowledgements, and everything is within its limits.
    fn settle(&mut self) {
        self.stage().hear().expect("the engine lives");
        let (now, fails) = (self.clock.now(), self.stage().fails());
        self.reference.store(fails, now);
        let stage = self.stage.as_mut().expect("the daemon runs");
        for packet in self.broker.acknowledged(&stage.wire) {
            self.reference.acknowledged(&packet);
        }
        let stage = self.stage.as_ref().expect("the daemon runs");
        let counters = stage.events.outbox.counters();
        assert!(counters.events_waiting <= EVENTS_MAX, "{counters:?}");
        assert!(counters.retained_topics <= RETAINED_MAX, "{counters:?}");
        assert!(counters.transient_waiting <= 3 * TRANSIENT_MAX, "{counters:?}");
        assert!(stage.waiting() <= WAITING_MAX, "{} jobs wait", stage.waiting());
        let engine = &stage.events.engine;
        check_stops(engine);
        let state = engine.state();
        for strategy in market::STRATEGIES {
            let open = state.orders.values().filter(|order| order.strategy.as_str() == strategy).count();
            assert!(open <= ORDERS_MAX, "{open} orders are open");
        }
    }

    /// One group commit, and its release.
    fn commit(&mut self, jobs: usize) {
        if self.stage().write(jobs) {
            self.learn();
            self.stage().release();
        }
    }

    fn post(&mut self, sender: u64, packet: Packet) {
        self.broker.post(sender as usize, packet);
    }

    fn act(&mut self, step: &Step, random: &mut Random) {
        let id = format!("n{}", step.number);
        // A sender's clock is a little off.
        let time = self.now.plus_ms(random.below(4_000) as i64 - 2_000);
        match step.act {
            Act::Tick => {
                let event = market::tick(random, time);
                self.event(Event::Market(event));
            }
            Act::Signal => self.send(market::signal(random, &id, time), random),
            Act::Alert => self.send(market::alert(random, time), random),
            Act::Level => self.send(market::level(random, &id, time), random),
            Act::Request => self.send(market::request(random, &id, time), random),
            Act::Again if !self.sent.is_empty() => {
                let packet = self.sent[random.below(self.sent.len() as u64) as usize].clone();
                match random.below(4) {
                    0 => self.post(random.next(), market::spoilt(random, &packet)),
                    1 => self.post(random.next(), Packet { retain: true, ..packet }),
                    _ => self.post(random.next(), packet),
                }
            }
            Act::Deliver => self.deliver(random),
            Act::Commit => self.commit(1 + random.below(8) as usize),
            Act::Flow => self.flow(1 + random.below(40), random.below(40), random),
            Act::Time => self.pass(random),
            Act::Skew => self.skew_ms = random.pick(&SKEWS_MS),
            Act::Disk => {
                self.disk.is(random.pick(&[Mood::Well, Mood::Well, Mood::Full, Mood::NoSync, Mood::Stuck]))
            }
            Act::Link => self.relink(random),
            Act::Published => self.stage().journal_published().expect("the engine lives"),
            Act::Checkpoint => self.stage().events.checkpoint(),
            Act::Crash => self.crash(random),
            Act::Stop => self.stop(),
            Act::Poison => self.poison(random),
            _ => {}
        }
    }

    fn send(&mut self, packet: Packet, random: &mut Random) {
        self.sent.push(packet.clone());
        self.post(random.next(), packet);
        if random.one_in(3) {
            self.deliver(random);
        }
    }

    fn deliver(&mut self, random: &mut Random) {
        for _ in 0..1 + random.below(4) {
            let stage = self.stage.as_ref().expect("the daemon runs");
            if !stage.events.has_room() {
                return;
            }
            let Some(inbound) = self.broker.deliver(&stage.wire, random) else { return };
            self.inbound(inbound);
        }
    }

    fn flow(&mut self, sent: u64, arrive: u64, random: &mut Random) {
        let outbox = self.stage().events.outbox.clone();
        if random.one_in(8) {
            outbox.with(|outbox| outbox.retry_refused());
        }
        let arrived = self.broker.flow(&outbox, sent, arrive, random);
        self.arrive(&arrived);
    }

    fn pass(&mut self, random: &mut Random) {
        let long = random.one_in(30);
        let end = if long { 50_000_000 } else { 2_000 };
        self.now = self.now.plus_ms(random.below(end) as i64);
        self.clock.advance(self.now.plus_ms(self.skew_ms));
        self.event(Event::Wakeup);
    }

    fn relink(&mut self, random: &mut Random) {
        if self.broker.connected {
            self.disconnect(random);
        } else {
            self.connect(!random.one_in(4));
        }
    }

    /// The process or the machine dies, perhaps in the middle of a write, and starts again.
    fn crash(&mut self, random: &mut Random) {
        if random.one_in(2) {
            self.disk.is(Mood::Dying(random.below(1_001) as u16));
        }
        let power = random.one_in(2);
        // Written, and not released: it is on disk, and nobody was told.
        self.stage().write(random.below(6) as usize);
        self.disconnect(random);
        self.stage = None;
        if power {
            self.disk.power_cut(&self.config.store.path, random);
        }
        self.reference.crashed();
        let last = store_end(&self.config.store.path);
        if let Some(sequence) = last {
            self.disk.litter(&self.config.store.path, sequence, random);
        }
        if random.one_in(8) {
            self.damage(random);
        }
        let down_ms = if random.one_in(3) { 60_000 } else { 3_000 };
        self.now = self.now.plus_ms(random.below(down_ms) as i64);
        self.restarts += 1;
        self.start();
    }

    /// A copy of the store in which a bit flipped before the last frame: it is refused, and left as it is.
    fn damage(&mut self, random: &mut Random) {
        let store = &self.config.store.path;
        let Some(last_frame) = self.disk.last_frame() else { return };
        let copy = self.folder.path().join("copy");
        std::fs::create_dir_all(copy.join("journal")).expect("a folder");
        for path in segments(store) {
            std::fs::copy(&path, copy.join("journal").join(path.file_name().expect("a name")))
                .expect("a copy");
        }
        let path = newest(&copy).expect("a journal");
        flip(&path, 0, Some(last_frame as usize), random);
        let before = std::fs::read(&path).expect("the file");
        let opened = store::Ledger::open(&copy);
        assert!(
            opened.is_err(),
            "a damaged journal was opened: {:?}",
            opened.map(|(_, opening)| opening.warnings)
        );
        assert_eq!(std::fs::read(&path).expect("the file"), before, "a damaged journal was changed");
        std::fs::remove_dir_all(&copy).expect("the copy goes");
        self.damages += 1;
    }

    /// An orderly stop and a start. What fails to reach the disk is lost with the process, as with a crash.
    fn stop(&mut self) {
        self.event(Event::Shutdown);
        self.commit_all();
        self.flow(1_000, 1_000, &mut Random::new(1));
        self.stage().journal_last().expect("the engine lives");
        if self.commit_all() {
            self.stage().events.checkpoint();
            self.commit_all();
        }
        let well = self.disk.mood() == Mood::Well;
        self.disconnect(&mut Random::new(1));
        self.stage = None;
        if well {
            let verified = store::verify(&self.config.store.path).expect("the store is sound");
            assert_eq!(verified.checkpoint, Some(self.reference.durable), "{verified:?}");
        }
        self.reference.crashed();
        self.restarts += 1;
        self.start();
    }

    fn commit_all(&mut self) -> bool {
        for _ in 0..4 {
            self.commit(usize::MAX);
        }
        self.disk.mood() == Mood::Well
    }

    /// The process dies while it handles a signal that nothing answered yet, and remembers which.
    fn poison(&mut self, random: &mut Random) {
        let Some(packet) = self.sent.last().cloned() else { return };
        let Some(strategy) = packet.topic.strip_suffix("/signal").and_then(|topic| topic.rsplit('/').next())
        else {
            return;
        };
        let Some(id) = signal::read(strategy, packet.payload.as_bytes(), false).id else { return };
        let strategy = StrategyId::new(strategy).expect("a strategy");
        let time = self.clock.now();
        if self.disk.mood() != Mood::Well || !self.commit_all() {
            return;
        }
        if self.stage().events.engine.state().signals.find(time, strategy, &id).is_some() {
            return;
        }
        let record = Record::Poisoned { strategy, id, time };
        self.stage().events.committer.give(tradebus::daemon::commit::Job::Poison(Box::new(record)));
        self.commit(1);
        self.commit(0);
        self.disconnect(random);
        self.stage = None;
        self.reference.crashed();
        self.restarts += 1;
        self.start();
    }

    /// Everything works again, and everything is delivered, committed and told.
    pub fn heal(&mut self) {
        let mut random = Random::new(0);
        self.disk.is(Mood::Well);
        self.skew_ms = 0;
        if self.broker.connected {
            self.disconnect(&mut random);
        }
        self.connect(true);
        self.drain();
        self.stop();
        self.drain();
        assert!(self.broker.is_idle(), "a message was never acknowledged");
        self.reference.settle(&self.broker.retained);
    }

    /// Goes on until nothing waits anywhere, and long enough for every state that waits for its interval.
    fn drain(&mut self) {
        let mut random = Random::new(0);
        let mut quiet = 0;
        for _ in 0..1_000 {
            self.deliver(&mut random);
            self.commit(usize::MAX);
            self.stage().events.outbox.with(|outbox| outbox.retry_refused());
            self.flow(1_000, 1_000, &mut random);
            self.settle();
            self.now = self.now.plus_ms(500);
            self.clock.advance(self.now);
            self.event(Event::Wakeup);
            let counters = self.stage().events.outbox.counters();
            let told =
                counters.events_waiting == 0 && !counters.events_spilled && counters.retained_waiting == 0;
            let idle = self.broker.is_idle() && told && self.stage().waiting() == 0;
            quiet = if idle && counters.transient_waiting == 0 { quiet + 1 } else { 0 };
            if quiet == 4 {
                return;
            }
        }
        panic!("it never comes to rest: {:?}", self.stage().events.outbox.counters());
    }
}

/// The journal's last sequence, looked at by nobody's leave; `None` when its end is not whole.
fn store_end(store: &std::path::Path) -> Option<u64> {
    let found = std::panic::catch_unwind(AssertUnwindSafe(|| store::Journal::inspect(store)));
    let opened = found.ok()?.ok()?;
    opened.torn.is_none().then_some(opened.last_sequence)
}
