//! Puts the daemon together, and takes it apart: inbound stops first, the broker last.

use std::fs::File;
use std::io::BufWriter;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle as ThreadHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::accounts;
use super::announcer::Announcer;
use super::backups::Backups;
use super::board::Board;
use super::caller::Command;
use super::clock::Clock;
use super::commit::{CommitContext, Committer, StoreEvent, start as start_committer};
#[cfg(feature = "embedded-broker")]
use super::connect::embedded;
use super::connect::{Client, greet, start_client};
use super::engine_loop::{EngineLoop, Inputs, Memory};
use super::figures::Figures;
use super::gateway::Gateways;
use super::health::HealthReporter;
use super::http::{self, HttpContext, HttpServer};
use super::indexer::{self, IndexContext, IndexThread, Indexer};
use super::mqtt::Bus;
use super::options::{RunError, RunOptions};
use super::outbox::{Outbox, OutboxHandle};
use super::snapshots::Snapshots;
use super::sources;
use super::{GOODBYE, LAST_ANSWER, LAST_HTTP, LAST_INDEX, LAST_WRITE};
use crate::backtest::event_log::{EventLogWriter, LogStart};
use crate::config::{self, Config, FeedClock};
use crate::engine::Engine;
use crate::engine::settings::EngineSettings;
use crate::engine::state::State;
use crate::message::daemon::Health;
use crate::message::topic::Topics;
use crate::model::ids::StoreId;
use crate::model::time::Timestamp;
use crate::store::Ledger;
use crate::store::disk::{Disk, SystemDisk};

/// Commands over HTTP that wait for the engine; then those who sent them wait.
const COMMANDS_MAX: usize = 64;
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
    http: Option<HttpServer>,
    feeds_stop: watch::Sender<bool>,
    gateways: Gateways,
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
        // First, so that a port that is taken is said before anything is touched.
        let listener = listen(config, options)?;
        let (ledger, state) = open_store(config, disk)?;
        let settings = config.engine_settings();
        let clock = clock_of(config)?;
        let log = event_log(options, &settings, &state)?;
        #[cfg(feature = "embedded-broker")]
        let (broker, address) = embedded(config, options).await?;
        #[cfg(not(feature = "embedded-broker"))]
        let address = None;
        greet(options, address, listener.as_ref().and_then(|listener| listener.local_addr().ok()));
        let topics = Topics::new(&config.mqtt.base_topic);
        let board = listener.is_some().then(|| Arc::new(Board::new(&config.mqtt.base_topic)));
        let outbox = Outbox::new(state.published, ledger.last_sequence());
        let outbox = OutboxHandle::new(outbox.shown_on(board.clone()));
        // What a configuration can be wrong about comes before what outlives this function when it fails: threads that
        // hold the store and the port, and a client that would take the session from the one of the next start.
        let mut access = None;
        let (gateways, venues) = accounts::start(config, &clock, &mut access)?;
        let (feeds_stop, feeds_stopped) = watch::channel(false);
        let (markets, statuses, feeds) =
            sources::start(config, &clock, &feeds_stopped, Some(&config.store.path), &mut access)?;
        let (inbound, bus, client) = start_client(config, &topics, address, &outbox, &clock)?;
        let figures = Arc::new(Figures::default());
        let (context, store) = commit_context(ledger, &outbox, &bus, &topics, &gateways, &figures);
        let (committer, commit_thread) = start_committer(context).map_err(system("committing thread"))?;
        let (indexer, index_thread) = start_indexer(config, &state, &committer, &outbox, &topics, &clock)?;
        let refiller = tokio::spawn(refill(outbox.clone(), committer.clone()));
        let (http, commands, asked) = start_http(config, listener.zip(board), &indexer, &figures)?;
        let events = EngineLoop {
            health: HealthReporter::new(statuses, bus.status(), &committer, &outbox, &topics, &indexer),
            engine: Engine::new(settings, state),
            figures,
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
            inputs: Inputs { inbound, commands, asked, markets, venues, store, feeds, stop },
            client,
            store_id_new: new_store_id()?,
            bus,
            commit_thread,
            index_thread,
            http,
            feeds_stop,
            gateways,
            refiller,
            #[cfg(feature = "embedded-broker")]
            broker,
        })
    }

    /// Stops everything: feeds, what waits for the disk, what waits for the broker, the store, the broker. `orderly` is
    /// false after a failure of the engine, whose state is then not to be trusted with a checkpoint. Tells whether the
    /// store is closed and can be opened again.
    pub async fn stop(mut self, orderly: bool) -> bool {
        let _ = self.feeds_stop.send(true);
        let mut written = self.flush().await;
        // What is on disk has left by now; what came of it is asked for by the next start.
        self.gateways.stop(LAST_ANSWER).await;
        // Commands that were not taken by now never are, and are told so.
        self.inputs.close();
        if let Some(http) = self.http.take() {
            http.stop(LAST_HTTP).await;
        }
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
        written
    }

    /// Waits until everything is on disk, but not for a disk that fails; tells whether it is.
    async fn flush(&self) -> bool {
        tokio::time::timeout(LAST_WRITE, self.events.committer.flush()).await.is_ok()
    }
}

fn listen(config: &Config, options: &RunOptions) -> Result<Option<TcpListener>, RunError> {
    let Some(listen) = config.http.listen else { return Ok(None) };
    http::bind(listen, options.any_port).map(Some).map_err(|error| RunError::Http { listen, error })
}

/// The interface, if there is to be one, and what comes from it.
type Interface =
    (Option<HttpServer>, mpsc::Receiver<Command>, mpsc::Receiver<tokio::sync::oneshot::Sender<Health>>);

fn start_http(
    config: &Config,
    door: Option<(TcpListener, Arc<Board>)>,
    indexer: &Indexer,
    figures: &Arc<Figures>,
) -> Result<Interface, RunError> {
    let (command_sender, commands) = mpsc::channel(COMMANDS_MAX);
    let (ask, asked) = mpsc::channel(COMMANDS_MAX);
    let Some((listener, board)) = door else { return Ok((None, commands, asked)) };
    let strategies = config.engine_settings().strategies;
    let context = HttpContext {
        config: config.http.clone(),
        board,
        history: indexer.clone(),
        commands: command_sender,
        ask,
        figures: Arc::clone(figures),
        topics: Topics::new(&config.mqtt.base_topic),
        strategies: strategies.iter().map(|strategy| (strategy.id, strategy.kind)).collect(),
        alerts: config.tradingview(),
        limits: http::Limits::default(),
    };
    let server = HttpServer::start(listener, context).map_err(system("thread of HTTP"))?;
    Ok((Some(server), commands, asked))
}

/// What the committing thread works with, and where it tells of a failing store.
fn commit_context(
    ledger: Ledger,
    outbox: &OutboxHandle,
    bus: &Bus,
    topics: &Topics,
    gateways: &Gateways,
    figures: &Arc<Figures>,
) -> (CommitContext, mpsc::UnboundedReceiver<StoreEvent>) {
    let (events, store) = mpsc::unbounded_channel();
    let context = CommitContext {
        ledger,
        outbox: outbox.clone(),
        bus: bus.clone(),
        topics: topics.clone(),
        events,
        dispatcher: gateways.dispatcher.clone(),
        latency: Arc::clone(figures),
    };
    (context, store)
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
pub(super) fn clock_of(config: &Config) -> Result<Clock, RunError> {
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
