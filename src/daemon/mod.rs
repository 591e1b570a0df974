//! Everything that waits: sockets, disk, timers and the wall clock. The only folder with tokio.
//!
//! [`run`] wires it: store, broker, outbox, MQTT client, committing thread, feeds, loop; and takes it apart in the
//! opposite order. Its parts meet only through inboxes and the outbox.

mod announcer;
mod backups;
#[cfg(feature = "embedded-broker")]
pub mod broker;
pub mod clock;
pub mod commit;
pub mod committer;
mod connect;
pub mod engine_loop;
pub mod feed;
pub mod health;
pub mod indexer;
pub mod mqtt;
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
mod tls;
pub mod websocket;
mod wiring;

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::Config;
use options::{RunError, RunOptions};
use wiring::Running;

/// How long a stop may take for what still waits for the broker; the whole stop stays below 5 s.
const GOODBYE: Duration = Duration::from_secs(2);
/// How long a stop waits for the disk, each of up to three times; only a disk that fails takes it.
const LAST_WRITE: Duration = Duration::from_millis(900);
/// How long a stop waits for the query store; what it has not taken over by then, the next start does.
const LAST_INDEX: Duration = Duration::from_secs(1);

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// Why it cannot start or go on.
pub fn run(config: &Config, options: RunOptions) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| RunError::System { what: "runtime", error })?;
    runtime.block_on(async {
        let (stop, stopped) = watch::channel(false);
        // Caught from here on, so that a stop while it starts is an orderly one too.
        let signalled = stop_signal();
        tokio::spawn(async move {
            let signal = signalled.await;
            tracing::info!(signal, "stopping");
            let _ = stop.send(true);
        });
        let mut running = Running::start(config, &options, stopped).await?;
        let outcome = tokio::select! {
            biased;
            outcome = running.events.run(&mut running.inputs, running.store_id_new) => outcome,
            error = ended_by_itself(&mut running.client) => Err(error),
        };
        supervision::stopping();
        running.stop(outcome.is_ok()).await;
        outcome
    })
}

/// Waits for the client's end, which only a failure of its own brings.
async fn ended_by_itself(client: &mut connect::Client) -> RunError {
    match client.await {
        Ok(()) => RunError::Broker("the MQTT client ended".into()),
        Err(error) => RunError::Internal(format!("the MQTT client failed: {error}")),
    }
}

/// Catches SIGTERM and SIGINT from now on; the future waits for one and names it.
fn stop_signal() -> impl Future<Output = &'static str> {
    let streams =
        signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
    async {
        match streams {
            Ok((mut term, mut interrupt)) => tokio::select! {
                _ = term.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            },
            Err(error) => {
                tracing::error!(%error, "signals cannot be caught; only SIGKILL stops this process");
                std::future::pending().await
            }
        }
    }
}
