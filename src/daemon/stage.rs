//! The daemon with its waits in somebody's hand: the engine loop and the committing thread without sockets, threads and
//! a clock of their own, so that a simulation decides what happens when. What is done between two waits is the
//! daemon's own code, and the disk is real behind its seam.
//!
//! Invariant: nothing is decided here. Each call is one turn of the loop or one step of the committing thread.
//!
//! Limits: those of the parts. Without the query store, feeds, HTTP, accounts and the MQTT client. To be called within
//! a tokio runtime that has timers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::announcer::{Announcer, Cause};
use super::backups::Backups;
use super::clock::Clock;
use super::commit::{CommitContext, Job, StoreEvent, Thread};
use super::engine_loop::{COMMITS_WAITING_MAX, EngineLoop, Memory};
use super::figures::Figures;
use super::gateway::Dispatcher;
use super::health::HealthReporter;
use super::indexer::Indexer;
use super::mqtt::{Bus, Inbound, Wire};
use super::options::RunError;
use super::outbox::{Outbox, OutboxHandle};
use super::snapshots::Snapshots;
use super::wiring::open_store;
use crate::config::Config;
use crate::engine::Engine;
use crate::engine::event::Event;
use crate::engine::record::Record;
use crate::message::topic::Topics;
use crate::model::ids::StoreId;
use crate::store::disk::Disk;

/// See the module.
pub struct Stage {
    /// The loop, its engine and its outbox.
    pub events: EngineLoop,
    /// The broker's end of the connection.
    pub wire: Wire,
    thread: Thread,
    jobs: Receiver<Job>,
    /// What the thread does when the group before it is on disk.
    later: Vec<Job>,
    failing: bool,
    store: mpsc::UnboundedReceiver<StoreEvent>,
    store_sender: mpsc::UnboundedSender<StoreEvent>,
    /// The refill that the thread was asked for.
    refill: Option<u64>,
    /// The most events of a refill: few, and a short run has many that follow each other.
    pub refill_events_max: usize,
}

impl EngineLoop {
    /// The first events of a run.
    ///
    /// # Errors
    /// When the engine failed.
    pub(super) async fn begin(&mut self, store_id_new: StoreId) -> Result<(), RunError> {
        self.memory.checkpointed = self.engine.state().sequence;
        self.memory.month = self.clock.now().month();
        self.announcer.say_info(&self.engine, self.clock.now(), &self.topics);
        self.handle(Event::Start { store_id_new }).await?;
        self.announce(Cause::Start).await
    }

    /// Takes word of the store.
    ///
    /// # Errors
    /// When the engine failed.
    pub(super) async fn store_said(&mut self, event: StoreEvent) -> Result<(), RunError> {
        self.memory.store_failing = event == StoreEvent::Failing;
        self.handle(Event::Store { available: event == StoreEvent::Working }).await
    }

    /// Whether the bus may hand over more.
    pub fn has_room(&self) -> bool {
        self.committer.figures.waiting.load(Ordering::Relaxed) < COMMITS_WAITING_MAX
    }
}

impl Stage {
    /// Opens the store and puts the parts together, as a start of the daemon does.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub fn open(config: &Config, disk: Box<dyn Disk>, clock: Clock) -> Result<Stage, RunError> {
        let (ledger, state) = open_store(config, disk)?;
        let topics = Topics::new(&config.mqtt.base_topic);
        let outbox = OutboxHandle::new(Outbox::new(state.published, ledger.last_sequence()));
        let (bus, wire) = Bus::detached();
        let (store_sender, store) = mpsc::unbounded_channel();
        let figures = Arc::new(Figures::default());
        let (thread, committer, jobs) = Thread::new(CommitContext {
            ledger,
            outbox: outbox.clone(),
            bus: bus.clone(),
            topics: topics.clone(),
            events: store_sender.clone(),
            dispatcher: Dispatcher::default(),
            latency: Arc::clone(&figures),
        });
        let indexer = Indexer::absent();
        let events = EngineLoop {
            health: HealthReporter::new(Vec::new(), bus.status(), &committer, &outbox, &topics, &indexer),
            engine: Engine::new(config.engine_settings(), state),
            figures,
            clock,
            committer,
            backups: Backups::new(&config.store),
            announcer: Announcer::new(config, outbox.clone(), bus.status()),
            outbox,
            bus,
            topics,
            alerts: config.tradingview(),
            log: None,
            snapshots: Snapshots::new(indexer, config.store.equity_interval_s),
            memory: Memory::default(),
        };
        Ok(Stage {
            events,
            wire,
            thread,
            jobs,
            later: Vec::new(),
            failing: false,
            store,
            store_sender,
            refill: None,
            refill_events_max: usize::MAX,
        })
    }

    /// The first events of a run.
    ///
    /// # Errors
    /// When the engine failed.
    pub fn begin(&mut self, store_id_new: StoreId) -> Result<(), RunError> {
        ended(self.events.begin(store_id_new))
    }

    /// One event of the loop.
    ///
    /// # Errors
    /// When the engine failed.
    pub fn event(&mut self, event: Event) -> Result<(), RunError> {
        ended(self.events.handle(event))
    }

    /// One message of the bus.
    ///
    /// # Errors
    /// When the engine failed.
    pub fn inbound(&mut self, inbound: Inbound) -> Result<(), RunError> {
        self.events.event_of(inbound).map_or(Ok(()), |event| self.event(event))
    }

    /// Hears what the daemon's own parts have to say: the store, the announcer, the outbox that wants events back.
    ///
    /// # Errors
    /// When the engine failed.
    pub fn hear(&mut self) -> Result<(), RunError> {
        while let Ok(event) = self.store.try_recv() {
            ended(self.events.store_said(event))?;
        }
        if let Some(cause) = self.events.announcer.next().now_or_never() {
            ended(self.events.announce(cause))?;
        }
        let wanted = self.events.outbox.with(|outbox| outbox.refill_wanted());
        if let Some(wanted) = wanted.filter(|wanted| self.refill != Some(wanted.from)) {
            self.refill = Some(wanted.from);
            let limit = wanted.limit.min(self.refill_events_max);
            self.events.committer.give(Job::Refill { from: wanted.from, limit });
        }
        Ok(())
    }

    /// Journals what the broker acknowledged.
    ///
    /// # Errors
    /// When the engine failed.
    pub fn journal_published(&mut self) -> Result<(), RunError> {
        ended(self.events.journal_published())
    }

    /// Journals what the broker had at the end of an orderly stop.
    ///
    /// # Errors
    /// When the engine failed.
    pub fn journal_last(&mut self) -> Result<(), RunError> {
        ended(self.events.journal_last())
    }

    /// The thread takes up to so many jobs and writes the group; tells whether it is on disk. Nothing leaves before
    /// [`Stage::release`].
    pub fn write(&mut self, jobs: usize) -> bool {
        for _ in 0..jobs {
            if !self.failing && !self.later.is_empty() {
                break;
            }
            let Ok(job) = self.jobs.try_recv() else { break };
            let other = if self.failing { self.thread.hold(job) } else { self.thread.take(job) };
            self.later.extend(other);
        }
        let written = self.thread.write().is_ok();
        if !written {
            self.thread.send_safe();
        }
        if written == self.failing {
            self.failing = !written;
            let event = if written { StoreEvent::Working } else { StoreEvent::Failing };
            // The receiver is ours.
            let _ = self.store_sender.send(event);
        }
        written
    }

    /// Releases the group that [`Stage::write`] wrote, and does what waited for it.
    pub fn release(&mut self) {
        self.thread.release();
        for job in std::mem::take(&mut self.later) {
            self.thread.act(job);
        }
    }

    /// Whether the loop knows that the disk fails.
    pub fn fails(&self) -> bool {
        self.events.memory.store_failing
    }

    /// Jobs that wait for the thread, those held while the disk fails included.
    pub fn waiting(&self) -> usize {
        self.events.committer.figures.waiting.load(Ordering::Relaxed)
    }

    /// Up to `limit` records on disk from a sequence on.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Record)>, crate::store::LedgerError> {
        self.thread.ledger().read(from, limit)
    }
}

/// What a future gives that waits for nothing, as all of the loop do but the one that follows a failure.
fn ended(future: impl Future<Output = Result<(), RunError>>) -> Result<(), RunError> {
    let failed = || RunError::Internal("the engine failed, and what is on its way is not awaited".into());
    future.now_or_never().unwrap_or_else(|| Err(failed()))
}
