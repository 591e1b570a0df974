//! Puts the daemon together, and takes it apart: inbound stops first, the broker last.

use std::fs::File;
use std::io::BufWriter;
use std::thread::JoinHandle as ThreadHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::announcer::Announcer;
use super::backups::Backups;
use super::clock::Clock;
use super::commit::{CommitContext, Committer, start as start_committer};
#[cfg(feature = "embedded-broker")]
use super::connect::embedded;
use super::connect::{Client, greet, start_client};
use super::engine_loop::{EngineLoop, Inputs, Memory};
use super::health::HealthReporter;
use super::indexer::{self, IndexContext, IndexThread, Indexer};
use super::mqtt::Bus;
use super::options::{RunError, RunOptions};
use super::outbox::{Outbox, OutboxHandle};
use super::snapshots::Snapshots;
use super::sources;
use super::{GOODBYE, LAST_INDEX, LAST_WRITE};
use crate::backtest::event_log::{EventLogWriter, LogStart};
use crate::config::{self, Config, FeedClock};
use crate::engine::Engine;
use crate::engine::settings::EngineSettings;
use crate::engine::state::State;
use crate::message::topic::Topics;
use crate::model::ids::StoreId;
use crate::model::time::Timestamp;
use crate::store::Ledger;
use crate::store::disk::{Disk, SystemDisk};

/// How long a refill waits after one that brought nothing.
const REFILL_PAUSE: std::time::Duration = std::time::Duration::from_secs(5);

/// A running daemon.
pub struct Running {
    /// The loop.
    pub events: EngineLoop,
    /// What it listens to.
    pub inputs: Inputs,
    /// The client.
    pub client: Client,
    /// The id that a new store gets.
    pub store_id_new: StoreId,
    bus: Bus,
    commit_thread: ThreadHandle<()>,
    index_thread: IndexThread,
    feeds_stop: watch::Sender<bool>,
    refiller: JoinHandle<()>,
    #[cfg(feature = "embedded-broker")]
    broker: Option<super::broker::EmbeddedBroker>,
}

impl Running {
    /// Starts everything but the loop.
    ///
    /// # Errors
    /// What cannot start.
    pub async fn start(
        config: &Config,
        options: &RunOptions,
        stop: watch::Receiver<bool>,
    ) -> Result<Running, RunError> {
        Running::start_on(config, options, stop, Box::new(SystemDisk)).await
    }

    /// The same on another disk.
    ///
    /// # Errors
    /// What cannot start.
    pub async fn start_on(
        config: &Config,
        options: &RunOptions,
        stop: watch::Receiver<bool>,
        disk: Box<dyn Disk>,
    ) -> Result<Running, RunError> {
        let (ledger, state) = open_store(config, disk)?;
        let settings = config.engine_settings();
        let clock = clock_of(config)?;
        let log = event_log(options, &settings, &state)?;
        #[cfg(feature = "embedded-broker")]
        let (broker, address) = embedded(config, options).await?;
        #[cfg(not(feature = "embedded-broker"))]
        let address = None;
        greet(options, address);
        let topics = Topics::new(&config.mqtt.base_topic);
        let outbox = OutboxHandle::new(Outbox::new(state.published, ledger.last_sequence()));
        let (inbound, bus, client) = start_client(config, &topics, address, &outbox, &clock)?;
        let (store_sender, store) = mpsc::unbounded_channel();
        let context = CommitContext {
            ledger,
            outbox: outbox.clone(),
            bus: bus.clone(),
            topics: topics.clone(),
            events: store_sender,
        };
        let (committer, commit_thread) = start_committer(context).map_err(system("committing thread"))?;
        let (indexer, index_thread) = start_indexer(config, &state, &committer, &outbox, &topics, &clock)?;
        let refiller = tokio::spawn(refill(outbox.clone(), committer.clone()));
        let (feeds_stop, feeds_stopped) = watch::channel(false);
        let (markets, statuses, feeds) = sources::start(config, &clock, &feeds_stopped)?;
        let events = EngineLoop {
            health: HealthReporter::new(statuses, bus.status(), &committer, &outbox, &topics, &indexer),
            engine: Engine::new(settings, state),
            clock,
            committer,
            backups: Backups::new(&config.store),
            announcer: Announcer::new(config, outbox.clone(), bus.status()),
            outbox,
            bus: bus.clone(),
            topics,
            alerts: config.tradingview(),
            log,
            snapshots: Snapshots::new(indexer, config.store.equity_interval_s),
            memory: Memory::default(),
        };
        Ok(Running {
            events,
            inputs: Inputs { inbound, markets, store, feeds, stop },
            client,
            store_id_new: new_store_id()?,
            bus,
            commit_thread,
            index_thread,
            feeds_stop,
            refiller,
            #[cfg(feature = "embedded-broker")]
            broker,
        })
    }

    /// Stops everything: feeds, what waits for the disk, what waits for the broker, the store, the broker. `orderly` is
    /// false after a failure of the engine, whose state is then not to be trusted with a checkpoint.
    pub async fn stop(mut self, orderly: bool) {
        let _ = self.feeds_stop.send(true);
        let mut written = self.flush().await;
        self.bus.shutdown(GOODBYE).await;
        if orderly && written && self.events.journal_last().await.is_ok() {
            written = self.flush().await;
            if written {
                self.events.checkpoint();
                written = self.flush().await;
            }
        }
        self.refiller.abort();
        let _ = self.refiller.await;
        self.events.store_prices();
        drop(self.events);
        if !written {
            // The thread goes on trying until the process is gone. Nothing of what waits was acknowledged.
            tracing::error!("stopping while the store fails: what waits for it is not written");
        } else if self.commit_thread.join().is_err() {
            // The thread has nothing left to do and ends with its last sender.
            tracing::error!("the committing thread failed");
        }
        self.index_thread.stop(if written { LAST_INDEX } else { Duration::ZERO }).await;
        #[cfg(feature = "embedded-broker")]
        if let Some(broker) = self.broker.take() {
            broker.stop().await;
        }
        tracing::info!("stopped");
    }

    /// Waits until everything is on disk, but not for a disk that fails; tells whether it is.
    async fn flush(&self) -> bool {
        tokio::time::timeout(LAST_WRITE, self.events.committer.flush()).await.is_ok()
    }
}

fn start_indexer(
    config: &Config,
    state: &State,
    committer: &Committer,
    outbox: &OutboxHandle,
    topics: &Topics,
    clock: &Clock,
) -> Result<(Indexer, IndexThread), RunError> {
    let context = IndexContext {
        config: config.store.clone(),
        store_id: state.store_id,
        commit: committer.figures.clone(),
        outbox: outbox.clone(),
        topics: topics.clone(),
        clock: clock.clone(),
    };
    indexer::start(context).map_err(system("thread of the query store"))
}

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> RunError {
    move |error| RunError::System { what, error }
}

pub(super) fn open_store(config: &Config, disk: Box<dyn Disk>) -> Result<(Ledger, State), RunError> {
    let dir = &config.store.path;
    let (ledger, opening) = Ledger::open_on(dir, config.store.journal_file_bytes_max, disk)
        .map_err(|error| RunError::Store { dir: dir.clone(), error })?;
    for warning in &opening.warnings {
        tracing::warn!("store: {warning}");
    }
    let sequence = opening.state.sequence;
    tracing::info!(path = %dir.display(), records = sequence, beyond_checkpoint = opening.records, "store opened");
    Ok((ledger, opening.state))
}

/// The wall clock, or the recording's own time.
fn clock_of(config: &Config) -> Result<Clock, RunError> {
    let Some(feed) = config.feeds.iter().find(|feed| feed.clock() == FeedClock::Recorded) else {
        return Ok(Clock::wall());
    };
    let config::FeedSource::Recording { files, .. } = &feed.source else { return Ok(Clock::wall()) };
    let source = sources::open_recording(feed, files)?;
    Ok(Clock::recorded(source.first_time().unwrap_or(Timestamp::MIN)))
}

fn event_log(
    options: &RunOptions,
    settings: &EngineSettings,
    state: &State,
) -> Result<Option<EventLogWriter<BufWriter<File>>>, RunError> {
    let Some(path) = &options.record_events else { return Ok(None) };
    let start = LogStart { settings: settings.clone(), state: state.clone() };
    let log = File::create(path).and_then(|file| EventLogWriter::begin(BufWriter::new(file), &start));
    log.map(Some).map_err(|error| RunError::System { what: "--record-events", error })
}

/// Brings events back from the journal whenever the outbox has room.
async fn refill(outbox: OutboxHandle, committer: super::commit::Committer) {
    loop {
        let wanted = outbox.wait_refill().await;
        committer.give(super::commit::Job::Refill { from: wanted.from, limit: wanted.limit });
        committer.flush().await;
        if outbox.with(|outbox| outbox.refill_wanted()).is_some_and(|next| next.from == wanted.from) {
            // The journal could not be read; asking again at once would not help.
            tokio::time::sleep(REFILL_PAUSE).await;
        }
    }
}

fn new_store_id() -> Result<StoreId, RunError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| RunError::System { what: "random numbers", error: std::io::Error::other(error) })?;
    let text = data_encoding::HEXLOWER.encode(&bytes);
    Ok(StoreId::new(&text).expect("32 hex digits are a store id"))
}
