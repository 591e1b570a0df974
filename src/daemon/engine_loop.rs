//! The loop: one event, `handle` runs to completion, all effects are taken, next event.
//!
//! Owns the engine. Waits neither for the disk nor for the broker: effects that need them are handed on. When more than
//! [`COMMITS_WAITING_MAX`] batches wait for a failing disk, messages from the bus are left at the broker; prices go on.
//! A panic inside the engine journals the signal that caused it as poisoned and ends the process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::announcer::{Announcer, Cause};
use super::backups::Backups;
use super::caller::{Caller, Command, Reply};
use super::clock::Clock;
use super::commit::{Committer, Item, Job, StoreEvent, send};
use super::figures::Figures;
use super::gateway::Incoming;
use super::health::HealthReporter;
use super::mqtt::{Bus, Inbound};
use super::options::RunError;
use super::outbox::OutboxHandle;
use super::report;
use super::snapshots::Snapshots;
use super::supervision::Supervision;
use crate::backtest::event_log::EventLogWriter;
use crate::engine::Engine;
use crate::engine::effect::{Effect, Update};
use crate::engine::event::{Event, ReplyToken};
use crate::engine::record::Record;
use crate::message::daemon::Health;
use crate::message::topic::Topics;
use crate::message::tradingview::AllSettings;
use crate::message::view;
use crate::model::ids::{SignalId, StoreId, StrategyId};
use crate::model::market::Arrival;
use crate::model::signal::{Refusal, SignalResult};
use crate::store::record::encode_state;

/// Batches that may wait for the disk before the bus has to wait too.
pub(super) const COMMITS_WAITING_MAX: usize = 10_000;
/// A checkpoint is written after this many records.
const CHECKPOINT_RECORDS: u64 = 100_000;
/// How often the broker's acknowledgements are journalled, when there are new ones.
const PUBLISHED_INTERVAL: Duration = Duration::from_secs(10);
/// How long the end of a failed engine waits for the disk.
const FAILURE_FLUSH: Duration = Duration::from_secs(5);
/// How often health is published.
const HEALTH_INTERVAL: Duration = Duration::from_secs(60);

/// Where events come from.
pub struct Inputs {
    /// Messages from the bus.
    pub inbound: mpsc::Receiver<Inbound>,
    /// Commands over HTTP.
    pub commands: mpsc::Receiver<Command>,
    /// Who asks over HTTP how the daemon is.
    pub asked: mpsc::Receiver<oneshot::Sender<Health>>,
    /// Prices.
    pub markets: mpsc::Receiver<Arrival>,
    /// Positions of feeds that connected or ended.
    pub feeds: mpsc::UnboundedReceiver<usize>,
    /// What venues say about accounts.
    pub venues: mpsc::Receiver<Incoming>,
    /// Word of the store.
    pub store: mpsc::UnboundedReceiver<StoreEvent>,
    /// Turns true when the daemon is to stop.
    pub stop: watch::Receiver<bool>,
}

impl Inputs {
    /// Takes no more from HTTP; what was not taken is dropped, which tells those who wait for it.
    pub fn close(&mut self) {
        self.commands.close();
        self.asked.close();
        while self.commands.try_recv().is_ok() || self.asked.try_recv().is_ok() {}
    }
}

/// The engine and its ways out.
pub struct EngineLoop {
    /// The engine.
    pub engine: Engine,
    /// The time.
    pub clock: Clock,
    /// To the disk.
    pub committer: Committer,
    /// To the broker, for what waits for nothing.
    pub outbox: OutboxHandle,
    /// For acknowledgements that need no answer.
    pub bus: Bus,
    /// How topics are called.
    pub topics: Topics,
    /// Copies of the store.
    pub backups: Backups,
    /// The strategies that take TradingView alerts, and how theirs are read.
    pub alerts: AllSettings,
    /// To Home Assistant.
    pub announcer: Announcer,
    /// Health and feeds.
    pub health: HealthReporter,
    /// Counts for the operator.
    pub figures: Arc<Figures>,
    /// What is stored beside the journal.
    pub snapshots: Snapshots,
    /// `--record-events`.
    pub log: Option<EventLogWriter<BufWriter<File>>>,
    /// What only this loop knows.
    pub memory: Memory,
}

/// The loop's own state.
#[derive(Default)]
pub struct Memory {
    waiting: BTreeMap<ReplyToken, Caller>,
    token: ReplyToken,
    effects: Vec<Effect>,
    pub(super) checkpointed: u64,
    pub(super) month: i64,
    pub(super) store_failing: bool,
}

impl EngineLoop {
    /// Runs until `stop`, then journals what only memory holds.
    ///
    /// # Errors
    /// When the engine failed.
    pub async fn run(&mut self, inputs: &mut Inputs, store_id_new: StoreId) -> Result<(), RunError> {
        self.begin(store_id_new).await?;
        let mut supervision = Supervision::begin(self.committer.clone(), self.bus.status());
        let mut published = ticking(PUBLISHED_INTERVAL);
        let mut health = ticking(HEALTH_INTERVAL);
        let mut charts = ticking(self.snapshots.chart_interval);
        loop {
            let wakeup = self.until_wakeup();
            let room = self.has_room();
            tokio::select! {
                biased;
                _ = inputs.stop.wait_for(|stop| *stop) => break,
                () = supervision.speak() => {}
                Some(event) = inputs.store.recv() => self.store_said(event).await?,
                Some(report) = inputs.venues.recv() => self.handle(Event::Venue(Box::new(report?))).await?,
                Some(inbound) = inputs.inbound.recv(), if room => {
                    if let Some(event) = self.event_of(inbound) {
                        self.handle(event).await?;
                    }
                }
                Some(command) = inputs.commands.recv(), if room => {
                    if let Some(event) = self.event_of_http(command) {
                        self.handle(event).await?;
                    }
                }
                Some(answer) = inputs.asked.recv() => {
                    // Who asked may be gone.
                    let _ = answer.send(self.health.figures(self.engine.state(), self.clock.now()));
                }
                () = tokio::time::sleep(wakeup.unwrap_or_default()), if wakeup.is_some() => {
                    self.handle(Event::Wakeup).await?;
                }
                copy = self.backups.finished() => self.backup_finished(copy),
                cause = self.announcer.next() => self.announce(cause).await?,
                _ = published.tick() => self.journal_published().await?,
                _ = health.tick() => {
                    self.health.publish(self.engine.state(), self.clock.now());
                    self.store_prices();
                    if self.memory.store_failing {
                        // The alert comes again until the store works.
                        self.handle(Event::Store { available: false }).await?;
                    }
                }
                _ = charts.tick() => self.snapshots.store_chart(self.clock.now()),
                Some(feed) = inputs.feeds.recv() => self.health.publish_feed(feed, self.clock.now()),
                Some(Arrival { at, event }) = inputs.markets.recv() => {
                    self.clock.advance(at);
                    self.handle(Event::Market(event)).await?;
                }
            }
        }
        self.handle(Event::Shutdown).await
    }

    /// Journals through which event the broker acknowledged, so that a restart repeats only the rest.
    ///
    /// # Errors
    /// When the engine failed.
    pub async fn journal_published(&mut self) -> Result<(), RunError> {
        let through = self.outbox.acknowledged_through();
        if through > self.engine.state().published {
            self.handle(Event::Published { through }).await?;
        }
        Ok(())
    }

    /// Journals what the broker had at the end.
    ///
    /// # Errors
    /// When the engine failed.
    pub async fn journal_last(&mut self) -> Result<(), RunError> {
        let taken = self.announcer.taken();
        if !taken.is_empty() {
            self.handle(Event::Announced(taken)).await?;
        }
        self.journal_published().await
    }

    /// Tells Home Assistant what there is, once that is on disk.
    pub(super) async fn announce(&mut self, cause: Cause) -> Result<(), RunError> {
        let taken = self.announcer.note(cause);
        if !taken.is_empty() {
            self.handle(Event::Announced(taken)).await?;
        }
        if let Some(announcement) = self.announcer.announcement(&self.engine) {
            self.handle(Event::Announced(announcement.pending.clone())).await?;
            self.announcer.send(announcement, &self.committer);
        }
        Ok(())
    }

    /// Hands the last prices to the query store.
    pub fn store_prices(&self) {
        self.snapshots.store_prices(self.engine.prices(), self.clock.now());
    }

    /// Hands a checkpoint of the present state to the committing thread.
    pub fn checkpoint(&mut self) {
        let state = self.engine.state();
        self.memory.checkpointed = state.sequence;
        self.committer.give(Job::Checkpoint { sequence: state.sequence, state: encode_state(state) });
        if let Some(log) = &mut self.log
            && let Err(error) = log.flush()
        {
            tracing::warn!(%error, "the event log is not complete");
        }
    }

    pub(super) async fn handle(&mut self, event: Event) -> Result<(), RunError> {
        let at = self.clock.now();
        if let Some(log) = &mut self.log
            && let Err(error) = log.event(at, &event)
        {
            tracing::error!(%error, "the event log ends here");
            self.log = None;
        }
        let poison = poison_of(&event);
        let engine = &mut self.engine;
        let effects = &mut self.memory.effects;
        let begun = Instant::now();
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| engine.handle(at, event, effects)));
        self.figures.handled.add(begun.elapsed());
        if let Err(panic) = outcome {
            if let Some((strategy, id)) = poison {
                self.committer.give(Job::Poison(Box::new(Record::Poisoned { strategy, id, time: at })));
            }
            self.committer.flush_within(FAILURE_FLUSH).await;
            return Err(RunError::Internal(report::text_of(panic.as_ref())));
        }
        self.dispatch();
        if self.committer.has_ended() {
            return Err(RunError::Internal("the committing thread has ended".into()));
        }
        if self.engine.state().sequence - self.memory.checkpointed >= CHECKPOINT_RECORDS {
            self.checkpoint();
        }
        if at.month() != self.memory.month {
            self.memory.month = at.month();
            self.committer.give(Job::Rotate);
        }
        Ok(())
    }

    /// Sends every effect on its way: what waits for the disk to the committing thread, the rest to the outbox. The
    /// records go first, so that they are written while the messages behind them are made.
    fn dispatch(&mut self) {
        let (mut records, mut updates, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for effect in self.memory.effects.drain(..) {
            report::log(&effect);
            self.figures.count(&effect);
            match effect {
                Effect::Persist(record) => records.push(Item::Record(Box::new(record))),
                Effect::Publish(update) => updates.push(update),
                Effect::Send(dispatch) => records.push(Item::Dispatch(dispatch)),
                Effect::Reply { token, result, refusal } => answers.push((token, Ok((result, refusal)))),
                Effect::Answer { token, answer } => answers.push((token, Err(answer))),
            }
        }
        self.give(records);
        let mut items = Vec::new();
        for update in updates {
            self.snapshots.observe(&update);
            let waits = update.waits() && !is_free(&update);
            for message in view::update(&self.topics, &update) {
                if waits {
                    items.push(Item::Message(message));
                } else {
                    send(&self.outbox, message);
                }
            }
        }
        for (token, answer) in answers {
            let Some(caller) = self.memory.waiting.remove(&token) else { continue };
            match answer {
                Ok((result, refusal)) => self.reply(caller, result.as_ref(), refusal, &mut items),
                Err(answer) => self.answer(caller, &answer, &mut items),
            }
        }
        self.give(items);
    }

    fn reply(
        &self,
        caller: Caller,
        result: Option<&SignalResult>,
        refusal: Option<Refusal>,
        items: &mut Vec<Item>,
    ) {
        let refusal = refusal.or_else(|| result?.outcome.refusal().cloned());
        let reply = self.reply_to(caller, result.map(view::signal_result), refusal);
        if result.is_some_and(protects_nothing) {
            reply.release(&self.outbox, &self.bus);
        } else {
            items.push(Item::Reply(reply));
        }
    }

    pub(super) fn reply_to(
        &self,
        caller: Caller,
        payload: Option<String>,
        refusal: Option<Refusal>,
    ) -> Reply {
        Reply { caller, payload, refusal, figures: Arc::clone(&self.figures) }
    }

    /// Remembers who waits, under a new token.
    pub(super) fn wait_for(&mut self, caller: Caller) -> ReplyToken {
        self.memory.token += 1;
        self.memory.waiting.insert(self.memory.token, caller);
        self.memory.token
    }

    fn give(&self, items: Vec<Item>) {
        if !items.is_empty() {
            self.committer.give(Job::Batch(items));
        }
    }

    /// How long until the engine wants to be woken. A recorded clock wakes nobody: only its events move it.
    fn until_wakeup(&self) -> Option<Duration> {
        let due = self.engine.next_wakeup().filter(|_| self.clock.flows())?;
        let ms = due.since_ms(self.clock.now()).max(0);
        Some(Duration::from_millis(ms.unsigned_abs()))
    }
}

fn ticking(interval: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Whether an update is a result that protects nothing.
fn is_free(update: &Update) -> bool {
    matches!(update, Update::Result(result) if protects_nothing(result))
}

/// A refusal that is not stored needs no disk; waiting for a failing one, it would keep exits at the broker.
fn protects_nothing(result: &SignalResult) -> bool {
    result.outcome.refusal().is_some_and(|refusal| refusal.reason.frees_id())
}

/// The signal or request that is to blame if the engine fails on this event.
fn poison_of(event: &Event) -> Option<(StrategyId, SignalId)> {
    match event {
        Event::Signal(message) => Some((StrategyId::new(&message.strategy).ok()?, message.id.clone()?)),
        Event::Request(request) => Some((request.strategy?, request.id.clone()?)),
        _ => None,
    }
}
