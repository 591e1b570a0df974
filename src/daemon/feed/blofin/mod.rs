//! BloFin as a feed: the stream first, polling as the net.
//!
//! A pair counts as confirmed by its own messages and by polls, never by a connection that merely looks alive. While
//! the stream is down, or in `mode = "poll"`, all pairs are asked for in one request every `interval`. While it is up,
//! a pair that says nothing for a part of `stale_after` is asked for, too: a quiet one is confirmed so, and one whose
//! subscription was lost is noticed and subscribed to again.
//!
//! The feed never waits for the engine: see [`queue`] for what is put together and what is kept. It never ends by
//! itself; what keeps it from having prices stands in its status, and it tries again.

pub mod catalog;
mod desk;
mod errand;
pub mod link;
pub mod missed;
pub mod queue;
pub mod rates;
pub mod rest;
mod streams;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_rustls::rustls::ClientConfig;

use super::FeedEnd;
use super::outlet::{Outlet, Stopped};
use crate::config::Authorities;
use crate::daemon::clock::Clock;
use crate::daemon::tls;
use crate::model::ids::{FeedId, Symbol};
use desk::{Desk, Job};
use link::{Gate, Link, LinkEvent};
use rest::Rest;

/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_millis(100);
/// Frames that wait to be read; then the connection does.
const FRAMES_MAX: usize = 256;
/// How long a stop waits for the stream's goodbye.
const FAREWELL_MAX: Duration = Duration::from_millis(500);
/// The longest time without a frame until the venue is asked whether it is there.
const PATIENCE_MAX: Duration = Duration::from_secs(5);

/// BloFin's prices of some pairs.
#[derive(Clone, Debug)]
pub struct BlofinFeed {
    /// 1 to 200 pairs.
    pub symbols: Vec<Symbol>,
    /// Whether REST is asked all the time and no stream is opened.
    pub poll_only: bool,
    /// Whether a second stream is kept, which takes over without a gap. What comes twice is dropped.
    pub standby: bool,
    /// Between two polls.
    pub interval: Duration,
    /// How long the engine takes a price for fresh: what is watched here is watched within this time.
    pub stale_after: Duration,
    /// A file for what is known of the pairs, or none.
    pub catalog: Option<PathBuf>,
    /// The way to the venue.
    pub access: Arc<Access>,
}

/// The way to the venue, shared by all feeds of this process: one address has one budget.
#[derive(Debug)]
pub struct Access {
    rest: Rest,
    ws_url: String,
    tls: Arc<ClientConfig>,
    gate: Arc<Gate>,
}

impl Access {
    /// For these addresses: `http://` or `https://` without a path, and `ws://` or `wss://` with one. With TLS the
    /// venue's certificate must be from one of these authorities, or else of the system's.
    ///
    /// # Errors
    /// When the system has no certificates, or the client cannot be made.
    pub fn new(rest_url: &str, ws_url: &str, authorities: Option<&Authorities>) -> Result<Access, String> {
        let is_secure = rest_url.starts_with("https:") || ws_url.starts_with("wss:");
        let tls = Arc::new(if is_secure { tls::client(authorities) } else { tls::plain() }?);
        let rest = Rest::new(rest_url, &tls)?;
        Ok(Access { rest, ws_url: ws_url.to_owned(), tls, gate: Arc::default() })
    }

    /// The public REST API.
    pub fn rest(&self) -> &Rest {
        &self.rest
    }

    /// TLS towards the venue.
    pub fn tls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.tls)
    }

    /// What spaces out connections.
    pub fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.gate)
    }
}

pub(super) async fn run(
    id: FeedId,
    feed: BlofinFeed,
    clock: Clock,
    outlet: &mut Outlet,
) -> Result<(), FeedEnd> {
    let mut links = JoinSet::new();
    let ended = drive(Desk::new(id, &feed, clock), &feed, outlet, &mut links).await;
    // Nobody takes the events of the streams any more, so they say goodbye and end.
    let _ = timeout(FAREWELL_MAX, async { while links.join_next().await.is_some() {} }).await;
    ended
}

async fn drive(
    mut desk: Desk,
    feed: &BlofinFeed,
    outlet: &mut Outlet,
    links: &mut JoinSet<()>,
) -> Result<(), FeedEnd> {
    let mut streams: Vec<mpsc::Sender<String>> = Vec::new();
    let (events, mut news) = mpsc::channel(FRAMES_MAX);
    // Requests end with this function: what they bring is of no use to anybody else.
    let mut jobs: JoinSet<Job> = JoinSet::new();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop = outlet.stop();
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Err(Stopped.into()),
            // Before the next frame: the engine is to have what is there, and what is newer takes its place meanwhile.
            room = outlet.room(), if !desk.queue.is_empty() => {
                let Some(room) = room else { return Err(Stopped.into()) };
                if let Some(event) = desk.queue.pop() {
                    let time = event.time;
                    room.send(event.into());
                    outlet.count(time);
                }
            }
            Some((index, event)) = news.recv() => desk.news(index, event, Instant::now()),
            Some(done) = jobs.join_next() => {
                if let Ok(job) = done {
                    desk.answered(job, Instant::now());
                }
            }
            _ = ticks.tick() => {
                let now = Instant::now();
                for ask in desk.due(now) {
                    let rest = feed.access.rest.clone();
                    jobs.spawn(async move { Job { answer: rest.get(&ask.path()).await, ask, rest } });
                }
            }
        }
        let wanted = if feed.poll_only || !desk.is_listed() { 0 } else { 1 + usize::from(feed.standby) };
        while streams.len() < wanted {
            streams.push(open(feed, links, streams.len(), events.clone()));
        }
        for (index, stream) in streams.iter().enumerate() {
            for frame in desk.take_frames(index) {
                // A stream that went down meanwhile is told everything when it is back.
                let _ = stream.try_send(frame);
            }
        }
        desk.report(outlet);
    }
}

fn open(
    feed: &BlofinFeed,
    links: &mut JoinSet<()>,
    index: usize,
    events: mpsc::Sender<(usize, LinkEvent)>,
) -> mpsc::Sender<String> {
    let link = Link {
        url: feed.access.ws_url.clone(),
        tls: Arc::clone(&feed.access.tls),
        patience: (feed.stale_after / 3).min(PATIENCE_MAX),
        gate: Arc::clone(&feed.access.gate),
        index,
    };
    let (frames, inbox) = mpsc::channel(FRAMES_MAX);
    links.spawn(link::keep(link, inbox, events));
    frames
}
