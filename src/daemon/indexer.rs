//! The thread that keeps the query store: it follows the journal as far as that is on disk, and nobody waits for it.
//!
//! It opens the engine, verifies it, catches up, and makes it anew when it is no good; the daemon starts and trades
//! meanwhile. Whoever has something for it drops it into a bounded queue and goes on; what does not fit is lost, which
//! costs a sample of a chart. A disk that refuses is tried again with growing pauses.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::clock::Clock;
use super::commit::{CommitFigures, send};
use super::outbox::OutboxHandle;
use crate::config::StoreConfig;
use crate::engine::effect::{Alert, AlertLevel, Update};
use crate::engine::record::Scope;
use crate::message::topic::Topics;
use crate::message::view;
use crate::model::amount::Money;
use crate::model::ids::StoreId;
use crate::model::time::Timestamp;
use crate::store::query_store::{FollowError, JournalEnd, Opened, Queries, QueryStore};
use crate::store::row::{LastPrice, SHARED, Table};
use crate::store::storage::StorageError;

/// Snapshots that may wait.
const JOBS_MAX: usize = 64;
/// How often the store may be made anew in one run; then it stays closed.
const REBUILDS_MAX: u32 = 3;
/// Rows that expire at once, every minute.
const EXPIRED_MAX: usize = 10_000;
/// Once woken, it lets this pass, so that its work falls into the quiet behind a signal, and a burst is one batch.
const GATHER: Duration = Duration::from_millis(500);
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How far the thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum QueryState {
    /// The engine is opened and verified.
    Opening,
    /// The journal is taken over.
    CatchingUp,
    /// Questions are answered.
    Ready,
    /// It is closed until the next start.
    Failed,
}

impl QueryState {
    /// The word on the bus.
    pub fn as_str(self) -> &'static str {
        match self {
            QueryState::Opening => "opening",
            QueryState::CatchingUp => "catching_up",
            QueryState::Ready => "ready",
            QueryState::Failed => "failed",
        }
    }
}

/// Something that no journal has.
#[derive(Debug)]
enum Job {
    Prices(Vec<LastPrice>),
    Chart(Timestamp, Vec<(Scope, Money)>),
}

/// How far the thread is, for the health topic.
#[derive(Debug, Default)]
struct Progress {
    applied: AtomicU64,
    state: AtomicU8,
    stop: AtomicBool,
}

/// A hold on the thread.
#[derive(Clone, Debug)]
pub struct Indexer {
    jobs: SyncSender<Job>,
    progress: Arc<Progress>,
    thread: std::thread::Thread,
    /// Answers questions.
    pub queries: Queries,
}

impl Indexer {
    /// A hold on no thread: what it is given is lost.
    pub(super) fn absent() -> Indexer {
        let (jobs, _) = sync_channel(1);
        let (progress, queries) = (Arc::default(), Queries::default());
        Indexer { jobs, progress, thread: std::thread::current(), queries }
    }

    /// Stores last prices; never waits.
    pub fn prices(&self, prices: Vec<LastPrice>) {
        self.give(Job::Prices(prices));
    }

    /// Stores equity for charts; never waits.
    pub fn chart(&self, time: Timestamp, equity: Vec<(Scope, Money)>) {
        self.give(Job::Chart(time, equity));
    }

    /// The last sequence that was taken over.
    pub fn applied(&self) -> u64 {
        self.progress.applied.load(Ordering::Relaxed)
    }

    /// How far it is.
    pub fn state(&self) -> QueryState {
        let states = [QueryState::Opening, QueryState::CatchingUp, QueryState::Ready, QueryState::Failed];
        states[usize::from(self.progress.state.load(Ordering::Relaxed)).min(states.len() - 1)]
    }

    fn give(&self, job: Job) {
        if self.jobs.try_send(job).is_err() {
            tracing::debug!("the query store has no room for a sample");
        }
        self.thread.unpark();
    }
}

/// What the thread works with.
pub struct IndexContext {
    /// Where the store is, its engine and what is kept.
    pub config: StoreConfig,
    /// The journal's id, when it has one already.
    pub store_id: Option<StoreId>,
    /// The committing thread's figures: how far the journal is on disk.
    pub commit: Arc<CommitFigures>,
    /// For alerts.
    pub outbox: OutboxHandle,
    /// How topics are called.
    pub topics: Topics,
    /// The time.
    pub clock: Clock,
}

/// The running thread.
pub struct IndexThread {
    indexer: Indexer,
    ended: oneshot::Receiver<()>,
    handle: JoinHandle<()>,
}

impl IndexThread {
    /// Takes over what is on disk and closes, but waits no longer than `patience`.
    pub async fn stop(self, patience: Duration) {
        self.indexer.progress.stop.store(true, Ordering::Release);
        self.indexer.thread.unpark();
        if tokio::time::timeout(patience, self.ended).await.is_err() {
            tracing::warn!("the query store is not closed in time; the next start verifies it");
        } else if self.handle.join().is_err() {
            tracing::error!("the thread of the query store failed");
        }
    }
}

/// Starts the thread.
///
/// # Errors
/// When it cannot be made.
pub fn start(context: IndexContext) -> std::io::Result<(Indexer, IndexThread)> {
    let (jobs, receiver) = sync_channel(JOBS_MAX);
    let (end, ended) = oneshot::channel();
    let (progress, queries) = (Arc::new(Progress::default()), Queries::default());
    let commit = Arc::clone(&context.commit);
    let mut follower = Follower {
        context,
        jobs: receiver,
        progress: Arc::clone(&progress),
        queries: queries.clone(),
        rebuilds: 0,
        expired_day: None,
    };
    let handle = std::thread::Builder::new().name("query".into()).spawn(move || {
        follower.run();
        drop(end);
    })?;
    let thread = handle.thread().clone();
    // Set once: there is one thread of this kind.
    let _ = commit.follower.set(thread.clone());
    let indexer = Indexer { jobs, progress, thread, queries };
    Ok((indexer.clone(), IndexThread { indexer, ended, handle }))
}

struct Follower {
    context: IndexContext,
    jobs: Receiver<Job>,
    progress: Arc<Progress>,
    queries: Queries,
    rebuilds: u32,
    expired_day: Option<i64>,
}

impl Follower {
    fn run(&mut self) {
        let mut query: Option<QueryStore> = None;
        let mut pause = PAUSE_FIRST;
        loop {
            let stopping = self.progress.stop.load(Ordering::Acquire);
            let step = self.step(&mut query);
            match step {
                Ok(reached) => {
                    pause = PAUSE_FIRST;
                    if stopping {
                        break;
                    }
                    if reached {
                        std::thread::park_timeout(PAUSE_MAX);
                        self.gather();
                    }
                }
                Err(FollowError::Storage(StorageError::Damaged(_) | StorageError::Newer { .. }))
                    if stopping =>
                {
                    break;
                }
                Err(FollowError::Storage(
                    error @ (StorageError::Damaged(_) | StorageError::Newer { .. }),
                )) => {
                    query = self.rebuild(query.take(), &error);
                    if self.rebuilds > REBUILDS_MAX {
                        return;
                    }
                }
                Err(FollowError::Stopped) => return,
                Err(error) => {
                    tracing::warn!(%error, ?pause, "the query store goes on after a pause");
                    if stopping {
                        break;
                    }
                    std::thread::park_timeout(pause);
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
        if let Some(Err(error)) = query.map(QueryStore::close) {
            tracing::warn!(%error, "the query store did not close; the next start verifies it");
        }
    }

    /// Lets [`GATHER`] pass, unless the daemon stops: more wakeups are no reason to hurry.
    fn gather(&self) {
        let until = Instant::now() + GATHER;
        while !self.progress.stop.load(Ordering::Acquire) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::park_timeout(left);
        }
    }

    /// Opens what is not open, or takes over a batch; tells whether there is nothing more to do now.
    fn step(&mut self, query: &mut Option<QueryStore>) -> Result<bool, FollowError> {
        let committed = self.context.commit.committed.load(Ordering::Acquire);
        let Some(store) = query else {
            *query = Some(self.open(committed)?);
            return Ok(false);
        };
        if self.queries.take_damaged() {
            return Err(StorageError::Damaged("a question met rows that cannot be read".into()).into());
        }
        self.take_jobs(store)?;
        let reached = store.follow(committed)?;
        self.progress.applied.store(store.applied(), Ordering::Relaxed);
        if reached
            && self.progress.state.swap(QueryState::Ready as u8, Ordering::Relaxed) != QueryState::Ready as u8
        {
            store.flush()?;
            tracing::info!(records = committed, "the query store is ready");
        }
        Ok(reached)
    }

    fn open(&mut self, committed: u64) -> Result<QueryStore, FollowError> {
        let (config, stop) = (&self.context.config, &self.progress.stop);
        let end = JournalEnd { committed, store_id: self.context.store_id };
        let (store, opened) = QueryStore::open(&config.path, config.engine, end, self.queries.clone(), stop)?;
        self.progress.state.store(QueryState::CatchingUp as u8, Ordering::Relaxed);
        self.progress.applied.store(store.applied(), Ordering::Relaxed);
        match opened {
            Opened::New => tracing::info!(engine = config.engine.as_str(), "a new query store"),
            Opened::Continued(applied) => {
                tracing::info!(engine = config.engine.as_str(), applied, "query store opened");
            }
            Opened::Rebuilding { why, aside } => self.tell_rebuilt(&why, aside),
        }
        Ok(store)
    }

    fn rebuild(&mut self, query: Option<QueryStore>, error: &StorageError) -> Option<QueryStore> {
        self.rebuilds += 1;
        if self.rebuilds > REBUILDS_MAX {
            self.progress.state.store(QueryState::Failed as u8, Ordering::Relaxed);
            let text = format!(
                "{error}; it was made anew {REBUILDS_MAX} times and stays closed until the next start"
            );
            self.alert(AlertLevel::Error, "query_store_failed", text);
            return None;
        }
        self.progress.state.store(QueryState::CatchingUp as u8, Ordering::Relaxed);
        let committed = self.context.commit.committed.load(Ordering::Acquire);
        let (store, aside) = match query.map(|query| query.rebuild(committed)) {
            Some(Ok((store, aside))) => (Some(store), aside),
            Some(Err(failed)) => {
                tracing::warn!(error = %failed, "the query store cannot be made anew now");
                (None, None)
            }
            None => (None, None),
        };
        self.tell_rebuilt(&error.to_string(), aside);
        store
    }

    fn tell_rebuilt(&self, why: &str, aside: Option<PathBuf>) {
        let moved =
            aside.map(|aside| format!("; what was there is in {}", aside.display())).unwrap_or_default();
        let text = format!("{why}; the query store is made anew from the journal{moved}");
        self.alert(AlertLevel::Warning, "query_store_rebuilt", text);
    }

    fn take_jobs(&mut self, store: &mut QueryStore) -> Result<(), StorageError> {
        while let Ok(job) = self.jobs.try_recv() {
            match job {
                Job::Chart(time, equity) => store.index().0.chart(time, &equity),
                Job::Prices(prices) => {
                    store.index().0.prices(&prices);
                    self.expire(store)?;
                    store.commit()?;
                    // Once a minute: a young database whose files were not synced may not open after a power cut.
                    store.flush()?;
                }
            }
        }
        Ok(())
    }

    /// Removes what is older than it should be, once a day, a part every minute.
    fn expire(&mut self, store: &mut QueryStore) -> Result<(), StorageError> {
        let now = self.context.clock.now();
        if self.expired_day == Some(now.day()) {
            return Ok(());
        }
        let config = &self.context.config;
        let (index, storage) = store.index();
        let mut ranges = Vec::new();
        ranges.extend(config.equity_retention_days.map(|days| (Table::Charts, SHARED, days)));
        if let Some(days) = config.signal_retention_days {
            ranges.extend(index.strategies().map(|owner| (Table::Signals, owner, days)));
        }
        let mut removed = 0;
        for (table, owner, days) in ranges {
            removed += index.expire(storage, (table, owner), (now, days), EXPIRED_MAX - removed)?;
            if removed == EXPIRED_MAX {
                return Ok(());
            }
        }
        self.expired_day = Some(now.day());
        Ok(())
    }

    fn alert(&self, level: AlertLevel, code: &'static str, text: String) {
        match level {
            AlertLevel::Error => tracing::error!(code, "{text}"),
            _ => tracing::warn!(code, "{text}"),
        }
        let alert = Alert { level, code, text, strategy: None, time: self.context.clock.now() };
        for message in view::update(&self.context.topics, &Update::Alert(alert)) {
            send(&self.context.outbox, message);
        }
    }
}
