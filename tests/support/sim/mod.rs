//! Seeded simulation of the whole daemon but its sockets, threads and clock: the real engine loop, committing thread,
//! outbox and store (`daemon::stage`), on a disk and a broker that err. Everything follows from one seed.
//!
//! A run is a list of steps, each a function of its own chance alone. A run that failed is tried again with steps left
//! out, until none can be spared.

pub mod broker;
pub mod disk;
pub mod market;
pub mod reference;
pub mod world;

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::quiet::quietly;
use super::random::Random;
pub use world::{Venue, World};

/// Steps of a run.
pub const STEPS: u32 = 250;
/// Home Assistant is told in so many of the runs: it costs as much as all else.
const ANNOUNCES_ONE_IN: u64 = 8;
/// Runs that shrinking may take.
const SHRINKS_MAX: u32 = 600;

/// What happens in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Tick,
    Signal,
    Alert,
    Level,
    Request,
    /// Something that was sent before: again, retained, or spoilt.
    Again,
    Deliver,
    Commit,
    Flow,
    Time,
    Skew,
    Disk,
    Link,
    Published,
    Checkpoint,
    Crash,
    Stop,
    Poison,
}

impl Act {
    /// The fault that an act belongs to, for `--faults`; `None` is no fault.
    pub fn fault(self) -> Option<&'static str> {
        match self {
            Act::Again => Some("senders"),
            Act::Skew => Some("clock"),
            Act::Disk => Some("disk"),
            Act::Link => Some("link"),
            Act::Crash => Some("crash"),
            Act::Stop => Some("stop"),
            Act::Poison => Some("poison"),
            _ => None,
        }
    }
}

/// What may go wrong.
pub const FAULTS: [&str; 7] = ["senders", "clock", "disk", "link", "crash", "stop", "poison"];

/// Acts and how often they come.
const ACTS: [(Act, u64); 18] = [
    (Act::Tick, 300),
    (Act::Signal, 150),
    (Act::Alert, 20),
    (Act::Level, 40),
    (Act::Request, 20),
    (Act::Again, 50),
    (Act::Deliver, 120),
    (Act::Commit, 110),
    (Act::Flow, 60),
    (Act::Time, 70),
    (Act::Skew, 4),
    (Act::Disk, 12),
    (Act::Link, 12),
    (Act::Published, 8),
    (Act::Checkpoint, 6),
    (Act::Crash, 14),
    (Act::Stop, 3),
    (Act::Poison, 2),
];

/// One step of a run.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub number: u32,
    pub act: Act,
    pub chance: u64,
}

/// The steps of a seed, without acts that belong to other faults than these.
pub fn steps(seed: u64, faults: &[&str]) -> Vec<Step> {
    let mut random = Random::new(seed);
    let total: u64 = ACTS.iter().map(|(_, weight)| weight).sum();
    let mut step = |number| {
        let mut place = random.below(total);
        let chosen = ACTS.iter().find(|(_, weight)| {
            let here = place < *weight;
            place = place.wrapping_sub(*weight);
            here
        });
        Step { number, act: chosen.expect("a place below the total").0, chance: random.next() }
    };
    let all = (1..=STEPS).map(&mut step).collect::<Vec<_>>();
    all.into_iter().filter(|step| step.act.fault().is_none_or(|fault| faults.contains(&fault))).collect()
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// A checksum of all that the broker got, in order.
    pub heard: u64,
    pub records: u64,
    pub fills: usize,
    pub restarts: u32,
    pub damages: u32,
    pub stale: usize,
    /// Positions that a touched stop closed, wholly or in part.
    pub stopped: usize,
}

impl Done {
    pub fn add(&mut self, other: &Done) {
        self.heard ^= other.heard;
        self.records += other.records;
        self.fills += other.fills;
        self.restarts += other.restarts;
        self.damages += other.damages;
        self.stale += other.stale;
        self.stopped += other.stopped;
    }
}

/// Why a run failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The step, or `None` when it was the end.
    pub step: Option<Step>,
    pub what: String,
}

/// Plays steps and the healing at the end.
///
/// # Errors
/// What did not hold.
pub fn play(steps: &[Step]) -> Result<Done, Failure> {
    // By the steps, so that leaving some out keeps it.
    let announces = steps.last().is_some_and(|step| step.chance.is_multiple_of(ANNOUNCES_ONE_IN));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let _within = runtime.enter();
    let config = config();
    let current = Cell::new(None);
    let outcome = quietly(|| {
        let mut world = World::new(&config, announces, None);
        for step in steps {
            current.set(Some(*step));
            world.step(step);
        }
        current.set(None);
        world.heal();
        Done {
            heard: world.heard,
            records: world.reference.durable,
            fills: world.reference.fills,
            restarts: world.restarts,
            damages: world.damages,
            stale: world.reference.refused.get("stale").copied().unwrap_or_default(),
            stopped: world.reference.stopped,
        }
    });
    outcome.map_err(|what| Failure { step: current.get(), what })
}

/// Plays `count` seeds from `first` on, on so many threads, until one fails: what was done, in how many seeds, and the
/// report of the failure.
pub fn run(first: u64, count: u64, threads: u64, faults: &[&str]) -> (Done, u64, Option<String>) {
    let next = AtomicU64::new(first);
    let total = Mutex::new((Done::default(), 0_u64, None));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || total.lock().expect("a lock").2.is_some() {
                        return;
                    }
                    let steps = steps(seed, faults);
                    let outcome = play(&steps).map_err(|failure| report(seed, &steps, &failure));
                    let mut total = total.lock().expect("a lock");
                    match outcome {
                        Ok(done) => {
                            total.0.add(&done);
                            total.1 += 1;
                        }
                        Err(report) => total.2 = total.2.take().or(Some(report)),
                    }
                }
            });
        }
    });
    total.into_inner().expect("a lock")
}

/// Read once: it is the same for all.
fn config() -> tradebus::config::Config {
    static CONFIG: std::sync::OnceLock<tradebus::config::Config> = std::sync::OnceLock::new();
    CONFIG.get_or_init(World::config).clone()
}

/// Leaves steps out of a run that fails, as long as it fails.
pub fn shrink(steps: &[Step], failure: &Failure) -> (Vec<Step>, Failure) {
    let end = failure.step.and_then(|last| steps.iter().position(|step| step.number == last.number));
    let mut kept = steps[..end.map_or(steps.len(), |end| end + 1)].to_vec();
    let mut failure = failure.clone();
    let (mut part, mut runs) = ((kept.len() / 2).max(1), 0);
    while runs < SHRINKS_MAX {
        let mut start = 0;
        let before = kept.len();
        while start < kept.len() && runs < SHRINKS_MAX {
            let mut fewer = kept.clone();
            fewer.drain(start..(start + part).min(kept.len()));
            runs += 1;
            match play(&fewer) {
                Err(again) => (kept, failure) = (fewer, again),
                Ok(_) => start += part,
            }
        }
        if part == 1 && kept.len() == before {
            break;
        }
        part = (part / 2).max(1);
    }
    (kept, failure)
}

/// A failure as a person wants it: the seed, the step, and the fewest steps that still fail.
pub fn report(seed: u64, steps: &[Step], failure: &Failure) -> String {
    let (kept, shrunken) = shrink(steps, failure);
    let place = |failure: &Failure| match failure.step {
        Some(step) => format!("step {} ({:?})", step.number, step.act),
        None => "the end".to_owned(),
    };
    let trace: Vec<String> = kept.iter().map(|step| format!("{} {:?}", step.number, step.act)).collect();
    format!(
        "seed {seed} fails at {}: {}\n{} of {} steps are enough, failing at {}: {}\n  {}",
        place(failure),
        failure.what,
        kept.len(),
        steps.len(),
        place(&shrunken),
        shrunken.what,
        trace.join(", ")
    )
}
