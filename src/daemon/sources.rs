//! From the configuration to running feeds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::clock::Clock;
use super::feed::blofin::Access;
use super::feed::{
    self, BlofinFeed, FeedSource, FeedStatus, FeedTask, RecordingClock, RecordingFeed, SyntheticFeed,
};
use super::options::RunError;
use crate::backtest::source::RecordingSource;
use crate::config::{self, Config, FeedClock, FeedConfig};
use crate::model::market::Arrival;
use crate::venue::synthetic::SyntheticSymbol;

/// Prices that wait for the engine; then feeds wait.
const MARKETS_MAX: usize = 1_024;

/// Prices, the feeds' states, and positions of those whose state changed.
pub type Feeds = (
    mpsc::Receiver<Arrival>,
    Vec<(crate::model::ids::FeedId, watch::Receiver<FeedStatus>)>,
    mpsc::UnboundedReceiver<usize>,
);

/// Starts every feed of a configuration. What is known of a venue's pairs is kept in this folder, if there is one.
///
/// # Errors
/// The first feed that cannot be started.
pub fn start(
    config: &Config,
    clock: &Clock,
    stop: &watch::Receiver<bool>,
    folder: Option<&Path>,
    access: &mut Option<Arc<Access>>,
) -> Result<Feeds, RunError> {
    let (sender, markets) = mpsc::channel(MARKETS_MAX);
    let (changes, changed) = mpsc::unbounded_channel();
    let mut statuses = Vec::new();
    // All of them before the first one runs.
    let mut sources = Vec::new();
    for feed in &config.feeds {
        sources.push((feed, source_of(config, feed, folder, access)?));
    }
    for (index, (feed, source)) in sources.into_iter().enumerate() {
        let task = FeedTask { id: feed.id, clock: clock.clone(), source };
        let (status_sender, status) = watch::channel(FeedStatus::default());
        tokio::spawn(feed::run(task, sender.clone(), status_sender, stop.clone()));
        tokio::spawn(tell_changes(index, status.clone(), changes.clone()));
        statuses.push((feed.id, status));
    }
    Ok((markets, statuses, changed))
}

async fn tell_changes(
    index: usize,
    mut status: watch::Receiver<FeedStatus>,
    changes: mpsc::UnboundedSender<usize>,
) {
    while status.changed().await.is_ok() && changes.send(index).is_ok() {}
}

fn source_of(
    config: &Config,
    feed: &FeedConfig,
    folder: Option<&Path>,
    access: &mut Option<Arc<Access>>,
) -> Result<FeedSource, RunError> {
    let wrong = |error: String| RunError::Feed { feed: feed.id.to_string(), error };
    let float = |ratio: crate::model::amount::Ratio| crate::model::amount::decimal_to_f64(ratio.value());
    match &feed.source {
        config::FeedSource::Recording { files, speed, clock, repeat } => {
            open_recording(feed, files)?;
            let recording = RecordingFeed {
                files: files.iter().map(|file| (file.path.clone(), file.symbol)).collect(),
                speed: float(*speed),
                clock: match clock {
                    FeedClock::Wall => RecordingClock::Wall,
                    FeedClock::Recorded => RecordingClock::Recorded,
                },
                repeat: *repeat,
            };
            recording.check().map_err(|error| wrong(error.to_string()))?;
            Ok(FeedSource::Recording(recording))
        }
        config::FeedSource::Synthetic { seed, interval_ms, volatility_pct, spread_bps, start_prices } => {
            let instruments = config.engine_settings().markets;
            let symbols = feed.symbols.iter().map(|symbol| {
                let market = instruments.iter().find(|market| market.key.symbol == *symbol);
                SyntheticSymbol {
                    symbol: *symbol,
                    price_start: start_prices[symbol],
                    volatility_daily_ratio: float(*volatility_pct) / 100.0,
                    spread_bps: float(*spread_bps),
                    interval_ms_mean: *interval_ms as f64,
                    tick_size: market.expect("every symbol has a market").instrument.tick_size(),
                }
            });
            let symbols: Vec<SyntheticSymbol> = symbols.collect();
            symbols.iter().try_for_each(|symbol| symbol.check().map_err(|error| wrong(error.to_string())))?;
            Ok(FeedSource::Synthetic(SyntheticFeed { seed: *seed, symbols }))
        }
        config::FeedSource::Blofin { poll_only, standby, interval_ms } => {
            let access = access_of(config, access).map_err(wrong)?;
            Ok(FeedSource::Blofin(BlofinFeed {
                symbols: feed.symbols.clone(),
                poll_only: *poll_only,
                standby: *standby,
                interval: Duration::from_millis(interval_ms.unsigned_abs()),
                stale_after: Duration::from_millis(feed.price_stale_after_ms.unsigned_abs()),
                catalog: folder.map(|folder| folder.join(format!("instruments-{}.json", feed.id))),
                access,
            }))
        }
    }
}

/// The way to BloFin, made once: the venue's limits are those of this address, for all feeds and accounts together.
///
/// # Errors
/// Why there is none.
pub fn access_of(config: &Config, known: &mut Option<Arc<Access>>) -> Result<Arc<Access>, String> {
    if let Some(access) = known {
        return Ok(Arc::clone(access));
    }
    let venue = &config.blofin;
    let made = Access::new(venue.rest_url(), venue.ws_public_url(), venue.authorities.as_ref())?;
    Ok(Arc::clone(known.insert(Arc::new(made))))
}

/// Opens the files of a recording.
///
/// # Errors
/// The file and line that cannot be.
pub fn open_recording(
    feed: &FeedConfig,
    files: &[config::RecordedFile],
) -> Result<RecordingSource, RunError> {
    let files: Vec<_> = files.iter().map(|file| (file.path.clone(), file.symbol)).collect();
    RecordingSource::open(&files, feed.id)
        .map_err(|error| RunError::Feed { feed: feed.id.to_string(), error: error.to_string() })
}
