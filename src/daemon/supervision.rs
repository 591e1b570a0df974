//! Word to systemd (`Type=notify`), and nothing where `NOTIFY_SOCKET` is not set.
//!
//! Invariants: `READY=1` is said once, when the start is on disk and the broker has our subscriptions. A disk or a
//! broker that fails does not keep it back, because a restart would heal neither and exits pass meanwhile; `STATUS=`
//! says what is missing. `WATCHDOG=1` is said only from [`EngineLoop`](super::engine_loop::EngineLoop), so a loop that
//! hangs is silent. A word is one datagram to a socket that systemd always reads; a failing one is a warning.

use std::pin::Pin;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::commit::Committer;
use super::mqtt::BusStatus;

/// How long the first records may take to be on disk until we say that they are not.
const DISK_WAIT: Duration = Duration::from_secs(10);

/// What the loop owes to systemd.
pub struct Supervision {
    starting: Option<Pin<Box<dyn Future<Output = &'static str> + Send>>>,
    watchdog: Option<Interval>,
}

impl Supervision {
    /// Begins to wait for the end of the start; the first records must be with `committer` by now.
    pub fn begin(committer: Committer, bus: watch::Receiver<BusStatus>) -> Supervision {
        // Twice within the time that systemd gives, as its documentation wants.
        let watchdog = sd_notify::watchdog_enabled().map(|bound| {
            let mut ticks = interval((bound / 2).max(Duration::from_millis(1)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        Supervision { starting: Some(Box::pin(started(committer, bus))), watchdog }
    }

    /// Waits until something is to be said, and says it. May be dropped while it waits.
    pub async fn speak(&mut self) {
        let status = async {
            match &mut self.starting {
                Some(starting) => starting.await,
                None => std::future::pending().await,
            }
        };
        let tick = async {
            match &mut self.watchdog {
                Some(watchdog) => watchdog.tick().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            status = status => {
                self.starting = None;
                say(&[NotifyState::Ready, NotifyState::Status(status)]);
            }
            _ = tick => say(&[NotifyState::Watchdog]),
        }
    }
}

/// Says that the daemon stops, for whatever reason.
pub fn stopping() {
    say(&[NotifyState::Stopping]);
}

/// Ends when trading can begin, or when it shows what is in its way.
async fn started(committer: Committer, mut bus: watch::Receiver<BusStatus>) -> &'static str {
    let written = committer.flush_within(DISK_WAIT).await;
    drop(committer);
    let met = bus.wait_for(|status| status.connected || status.stopped || status.last_error.is_some()).await;
    match (written, met.is_ok_and(|status| status.connected)) {
        (true, true) => "trading",
        (true, false) => "trading; the broker cannot be reached yet",
        (false, true) => "only exits pass; the store cannot be written yet",
        (false, false) => "neither the store can be written nor the broker be reached yet",
    }
}

fn say(words: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(words) {
        tracing::warn!(%error, "systemd cannot be told how the daemon is");
    }
}
