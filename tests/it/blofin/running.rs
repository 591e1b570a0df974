//! A feed that runs against the fake, for tests to look at.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tradebus::daemon::clock::Clock;
use tradebus::daemon::feed::blofin::Access;
use tradebus::daemon::feed::{BlofinFeed, FeedSource, FeedStatus, FeedTask, run};
use tradebus::model::ids::{FeedId, Symbol};
use tradebus::model::market::{Arrival, PriceUpdate};

use crate::support::fake_blofin::FakeBlofin;

/// The whole test gives up after this.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running feed.
pub struct Running {
    pub events: mpsc::Receiver<Arrival>,
    pub status: watch::Receiver<FeedStatus>,
    pub stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What differs between tests.
pub struct Wish<'a> {
    pub symbols: &'a [&'a str],
    pub poll_only: bool,
    pub stale_after: Duration,
    pub catalog: Option<PathBuf>,
    pub room: usize,
    /// The way to the venue, when it is not the fake's own address.
    pub access: Option<Access>,
}

impl Default for Wish<'_> {
    fn default() -> Self {
        let stale_after = Duration::from_secs(60);
        Wish {
            symbols: &["BTC-USDT"],
            poll_only: false,
            stale_after,
            catalog: None,
            room: 1_024,
            access: None,
        }
    }
}

impl Running {
    pub fn start(fake: &FakeBlofin, wish: Wish<'_>) -> Running {
        let access = wish.access.map_or_else(|| Access::new(&fake.rest_url(), &fake.ws_url(), None), Ok);
        let feed = BlofinFeed {
            symbols: wish.symbols.iter().map(|symbol| Symbol::new(symbol).unwrap()).collect(),
            poll_only: wish.poll_only,
            interval: Duration::from_millis(250),
            stale_after: wish.stale_after,
            catalog: wish.catalog,
            access: Arc::new(access.unwrap()),
        };
        let (out, events) = mpsc::channel(wish.room);
        let (status_in, status) = watch::channel(FeedStatus::default());
        let (stop, stopped) = watch::channel(false);
        let id = FeedId::new("blofin").unwrap();
        let task = FeedTask { id, clock: Clock::wall(), source: FeedSource::Blofin(feed) };
        let task = tokio::spawn(run(task, out, status_in, stopped));
        Running { events, status, stop, task }
    }

    /// The next event in words: confirmations and steps are passed over.
    pub async fn next(&mut self) -> String {
        loop {
            let Arrival { event, .. } = self.events.recv().await.expect("the feed goes on");
            match event.update {
                PriceUpdate::Trade { price, quantity, .. } => {
                    return format!("{} {price} x {quantity}", event.symbol);
                }
                PriceUpdate::Quote { bid, ask, ask_quantity, .. } => {
                    return format!("{} {bid} / {ask} x {ask_quantity}", event.symbol);
                }
                PriceUpdate::Mark { price } => return format!("{} mark {price}", event.symbol),
                _ => {}
            }
        }
    }

    /// Passes over events until one is this.
    pub async fn until(&mut self, wanted: &str) {
        while self.next().await != wanted {}
    }

    /// Waits for a status, while events are taken.
    pub async fn status(&mut self, mut wanted: impl FnMut(&FeedStatus) -> bool) -> FeedStatus {
        loop {
            if let Some(status) = Some(self.status.borrow_and_update().clone()).filter(&mut wanted) {
                return status;
            }
            tokio::select! {
                changed = self.status.changed() => changed.expect("the feed goes on"),
                event = self.events.recv() => drop(event.expect("the feed goes on")),
            }
        }
    }

    pub async fn source(&mut self, wanted: &str) -> FeedStatus {
        self.status(|status| status.quality.is_some_and(|quality| quality.source == wanted)).await
    }

    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }
}

/// Runs a test, which must not take for ever.
pub fn timed(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("it ends") });
}

pub fn assert_lawful(fake: &FakeBlofin) {
    let violations = fake.stats().violations;
    assert!(violations.is_empty(), "{violations:?}");
}
