//! Everything that waits: sockets, disk, timers and the wall clock. The only folder with tokio.
//!
//! [`run`] wires it: store, broker, outbox, MQTT client, committing thread, feeds, loop; and takes it apart in the
//! opposite order. Its parts meet only through inboxes and the outbox.

mod accounts;
mod announcer;
pub mod backoff;
mod backups;
pub mod board;
#[cfg(feature = "embedded-broker")]
pub mod broker;
pub mod caller;
pub mod clock;
mod commands;
pub mod commit;
pub mod committer;
mod connect;
pub mod engine_loop;
pub mod feed;
pub mod figures;
pub mod gateway;
pub mod health;
pub mod http;
pub mod indexer;
pub mod mqtt;
pub mod onlooker;
pub mod options;
pub mod outbox;
mod report;
mod requests;
mod snapshots;
mod sources;
pub mod stage;
#[cfg(test)]
mod store_tests;
mod supervision;
pub mod tls;
pub mod websocket;
mod wiring;

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::config::Config;
use options::{Hangup, RunError, RunOptions};
use wiring::Running;

/// How long a stop may take for what still waits for the broker; the whole stop stays below 5 s.
const GOODBYE: Duration = Duration::from_secs(2);
/// How long a stop waits for the answers of venues to what is under way.
const LAST_ANSWER: Duration = Duration::from_millis(800);
/// How long a stop waits for the disk, each of up to three times; only a disk that fails takes it.
const LAST_WRITE: Duration = Duration::from_millis(900);
/// How long a stop waits for answers over HTTP.
const LAST_HTTP: Duration = Duration::from_millis(500);
/// How long a stop waits for the query store; what it has not taken over by then, the next start does.
const LAST_INDEX: Duration = Duration::from_secs(1);

/// Runs the daemon until SIGTERM or SIGINT; `hangup` says what SIGHUP leads to. A new configuration means an orderly
/// stop and a start in the same process: there is no second way to take settings over. One that does not start gives
/// way to the one before it.
///
/// # Errors
/// Why it cannot start or go on.
pub fn run(config: &Config, options: RunOptions, hangup: impl Fn() -> Hangup) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| RunError::System { what: "runtime", error })?;
    runtime.block_on(async {
        // Caught from here on, so that a stop while it starts is an orderly one too.
        let mut signals = Signals::catch()?;
        let (mut config, mut former) = (config.clone(), None);
        loop {
            let (stop, stopped) = watch::channel(false);
            let mut running = match (Running::start(&config, &options, stopped).await, former.take()) {
                (Ok(running), _) => running,
                (Err(error), None) => return Err(error),
                (Err(error), Some(before)) => {
                    tracing::error!(
                        "the new configuration does not start, the one before it goes on: {error}"
                    );
                    config = before;
                    continue;
                }
            };
            let (outcome, word) = serve(&mut running, &mut signals, &stop, &hangup).await;
            let restarts = outcome.is_ok() && matches!(word, Some(Word::Restart(_)));
            if !restarts {
                supervision::stopping();
            }
            let released = running.stop(outcome.is_ok()).await;
            match word {
                Some(Word::Restart(_)) if restarts && !released => return Err(RunError::Unreleased),
                Some(Word::Restart(next)) if restarts => former = Some(std::mem::replace(&mut config, *next)),
                _ => return outcome,
            }
        }
    })
}

/// Runs the loop until it fails or is told to stop; what it was told.
async fn serve(
    running: &mut Running,
    signals: &mut Signals,
    stop: &watch::Sender<bool>,
    hangup: &impl Fn() -> Hangup,
) -> (Result<(), RunError>, Option<Word>) {
    let work = async {
        tokio::select! {
            biased;
            outcome = running.events.run(&mut running.inputs, running.store_id_new) => outcome,
            error = ended_by_itself(&mut running.client) => Err(error),
        }
    };
    tokio::pin!(work);
    tokio::select! {
        biased;
        word = signals.next(hangup) => {
            let _ = stop.send(true);
            (work.await, Some(word))
        }
        outcome = &mut work => (outcome, None),
    }
}

/// Waits for the client's end, which only a failure of its own brings.
async fn ended_by_itself(client: &mut connect::Client) -> RunError {
    match client.await {
        Ok(()) => RunError::Broker("the MQTT client ended".into()),
        Err(error) => RunError::Internal(format!("the MQTT client failed: {error}")),
    }
}

/// What a signal asks for.
enum Word {
    Stop,
    Restart(Box<Config>),
}

/// The signals that are caught.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn catch() -> Result<Signals, RunError> {
        let caught = |kind| signal(kind).map_err(|error| RunError::System { what: "signals", error });
        Ok(Signals {
            terminate: caught(SignalKind::terminate())?,
            interrupt: caught(SignalKind::interrupt())?,
            hangup: caught(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal that has an effect.
    async fn next(&mut self, hangup: &impl Fn() -> Hangup) -> Word {
        loop {
            let signal = tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.hangup.recv() => match hangup() {
                    Hangup::Ignored => continue,
                    Hangup::Stop => "SIGHUP",
                    Hangup::Restart(config) => {
                        tracing::info!("SIGHUP: starting again with the configuration as it is now");
                        return Word::Restart(config);
                    }
                },
            };
            tracing::info!(signal, "stopping");
            return Word::Stop;
        }
    }
}
