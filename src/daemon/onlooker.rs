//! Feeds without a daemon: for whoever only looks at prices, or writes them down.
//!
//! The feeds are those of the daemon, so what is seen here is what the engine would be told, at the same times. Nothing
//! is kept on disk. It ends by SIGTERM, SIGINT, after a time, or with its feeds; what has come by then is handed over.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at};

use super::feed::FeedStatus;
use super::options::{Hangup, RunError};
use super::{Signals, sources, wiring};
use crate::config::Config;
use crate::model::ids::FeedId;
use crate::model::market::Arrival;
use crate::model::time::Timestamp;

/// Between two [`Seen::Tick`].
pub const TICK: Duration = Duration::from_millis(250);

/// How long the end waits for the feeds' goodbyes.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// What is seen.
#[derive(Debug)]
pub enum Seen<'a> {
    /// What a feed says.
    Price(&'a Arrival),
    /// How a feed is, when that has changed.
    Feed(FeedId, &'a FeedStatus),
    /// Time goes by.
    Tick,
}

/// Runs the feeds of a configuration until `look` breaks, or one of the ends above. `look` is told what is seen, and
/// when.
///
/// # Errors
/// A feed that cannot be started, one that failed when all have ended, or what `look` fails with.
pub fn run<E: From<RunError>>(
    config: &Config,
    lasts: Option<Duration>,
    look: impl FnMut(Timestamp, Seen) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| RunError::System { what: "runtime", error })?;
    let ran = runtime.block_on(watch(config, lasts, look));
    // A name that is still being looked up is not worth waiting for.
    runtime.shutdown_background();
    ran
}

async fn watch<E: From<RunError>>(
    config: &Config,
    lasts: Option<Duration>,
    mut look: impl FnMut(Timestamp, Seen) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    let mut signals = Signals::catch()?;
    let clock = wiring::clock_of(config)?;
    let (stop, stopped) = watch::channel(false);
    let (mut markets, mut feeds, mut changed) = sources::start(config, &clock, &stopped, None, &mut None)?;
    let end = lasts.map(|lasts| Instant::now() + lasts);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ended_alone = false;
    loop {
        let flow = tokio::select! {
            biased;
            _ = signals.next(&|| Hangup::Stop) => ControlFlow::Break(()),
            () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => ControlFlow::Break(()),
            Some(index) = changed.recv() => {
                let (id, status) = &mut feeds[index];
                let status = status.borrow_and_update().clone();
                look(clock.now(), Seen::Feed(*id, &status))?
            }
            arrival = markets.recv() => match arrival {
                Some(arrival) => {
                    clock.advance(arrival.at);
                    look(clock.now(), Seen::Price(&arrival))?
                }
                None => {
                    ended_alone = true;
                    ControlFlow::Break(())
                }
            },
            _ = ticks.tick() => look(clock.now(), Seen::Tick)?,
        };
        if flow.is_break() {
            break;
        }
    }
    // What the feeds had handed over still counts; they end when they have said goodbye.
    let _ = stop.send(true);
    let farewell = Instant::now() + FAREWELL_MAX;
    while let Ok(Some(arrival)) = timeout_at(farewell, markets.recv()).await {
        clock.advance(arrival.at);
        let _ = look(clock.now(), Seen::Price(&arrival))?;
    }
    for (id, status) in feeds.iter().filter(|_| ended_alone) {
        if let Some(error) = status.borrow().error.clone() {
            return Err(RunError::Feed { feed: id.to_string(), error }.into());
        }
    }
    Ok(())
}
