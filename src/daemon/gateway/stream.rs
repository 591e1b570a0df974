//! The private stream of one account: login, subscriptions, and rows that become reports.
//!
//! It is up when the venue took the login and every subscription, and the account was checked after that. Orders and
//! stops are reported as they come, before it is up too. A row that cannot be read is told in the log and costs only
//! itself: the next snapshot has it.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::rustls::ClientConfig;

use super::account::Account;
use super::orders::is_foreign;
use crate::daemon::backoff::backoff;
use crate::daemon::feed::blofin::link::{self, Gate, Link, LinkEvent};
use crate::model::trading::VenueReport;
use crate::venue::blofin::private::login::{Channel, login, subscribe};
use crate::venue::blofin::private::stream::{Frame, read, reports};

/// Frames that wait to be read; then the connection does.
const FRAMES_MAX: usize = 256;
/// Time without a frame until the venue is asked whether it is there, and again until the connection is dead.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long a stop waits for the stream's goodbye.
const FAREWELL_MAX: Duration = Duration::from_millis(500);

/// Where the private stream is.
#[derive(Clone, Debug)]
pub struct PrivateLink {
    /// `ws://` or `wss://`.
    pub url: String,
    /// TLS for the latter.
    pub tls: Arc<ClientConfig>,
    /// Spaces out connections of this process.
    pub gate: Arc<Gate>,
}

/// What the account's task is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing that it has to act on.
    Nothing,
    /// Login and subscriptions are taken: the account is to be checked, and then the link is up.
    Subscribed,
    /// The link is down, and why.
    Down(String),
    /// A row was about a pair that is not known.
    UnknownPair,
}

/// A stream that is kept.
pub struct PrivateStream {
    link: PrivateLink,
    currency: String,
    /// Failed checks in a row.
    pub failures: u32,
    open: Option<Open>,
    /// Channels that are subscribed to on this connection.
    subscribed: Vec<Channel>,
    /// Whether the account is to be checked before the link counts as up.
    awaits_check: bool,
    /// A state that found no room yet, the newest.
    pending: Option<VenueReport>,
    /// Connections in a row on which the venue refused something.
    refusals: u32,
    /// How long the next connection waits for that.
    pause: Duration,
    /// Since when the link is up.
    up_since: Option<Instant>,
}

struct Open {
    frames: mpsc::Sender<String>,
    events: mpsc::Receiver<(usize, LinkEvent)>,
    tasks: JoinSet<()>,
}

impl PrivateStream {
    /// A stream that is not open yet.
    pub fn new(link: PrivateLink, currency: String) -> PrivateStream {
        PrivateStream {
            link,
            currency,
            failures: 0,
            open: None,
            subscribed: Vec::new(),
            awaits_check: false,
            pending: None,
            refusals: 0,
            pause: Duration::ZERO,
            up_since: None,
        }
    }

    /// The account was checked: a link that waited for that is up.
    pub async fn checked(&mut self, account: &Account) {
        self.failures = 0;
        if std::mem::take(&mut self.awaits_check) {
            tracing::info!(account = %account.setup.id, "blofin: private stream is up");
            self.up_since = Some(Instant::now());
            account.report(VenueReport::Link { up: true, text: String::new() }).await;
        }
    }

    /// Opens the stream if it is not, and waits for what it says. Nothing is lost when this is given up meanwhile.
    pub async fn receive(&mut self) -> Option<LinkEvent> {
        let pause = &mut self.pause;
        let open = self.open.get_or_insert_with(|| open(&self.link, std::mem::take(pause)));
        open.events.recv().await.map(|(_, event)| event)
    }

    /// Takes what [`PrivateStream::receive`] gave, and reports what it means.
    pub async fn hear(&mut self, account: &Account, event: Option<LinkEvent>) -> News {
        match event {
            None => {
                self.open = None;
                News::Down("the stream's task ended".into())
            }
            Some(LinkEvent::Up) => {
                self.subscribed.clear();
                let frame = login(account.client.keys(), &account.client.stamp());
                self.send(frame.expose_secret().to_owned());
                News::Nothing
            }
            Some(LinkEvent::Down(error, wait)) => {
                self.awaits_check = false;
                self.subscribed.clear();
                News::Down(format!("{error}; tried again in {} s", wait.as_secs()))
            }
            Some(LinkEvent::Text(text)) => self.frame(account, &text).await,
        }
    }

    async fn frame(&mut self, account: &Account, text: &str) -> News {
        match read(text) {
            Ok(Frame::LoggedIn) => {
                self.send(subscribe());
                News::Nothing
            }
            Ok(Frame::Subscribed(channel)) => {
                if !self.subscribed.contains(&channel) {
                    self.subscribed.push(channel);
                }
                let is_whole = self.subscribed.len() == Channel::ALL.len() && !self.awaits_check;
                if is_whole {
                    self.awaits_check = true;
                    return News::Subscribed;
                }
                News::Nothing
            }
            Ok(Frame::Error { code, text }) => {
                let text = account.client.keys().scrub(&text);
                let wait_s = self.begin_anew().as_secs();
                News::Down(format!("refused by the venue: {text} ({code}); tried again in {wait_s} s"))
            }
            Ok(Frame::Data { channel, rows }) => {
                let all = reports(channel, &rows, &account.instruments(), &self.currency);
                self.tell(account, all).await
            }
            Ok(Frame::Pong | Frame::Other) => News::Nothing,
            Err(dropped) => {
                tracing::warn!(account = %account.setup.id, "blofin: private stream: {dropped}");
                News::Nothing
            }
        }
    }

    async fn tell(
        &mut self,
        account: &Account,
        all: Vec<Result<VenueReport, crate::venue::blofin::Dropped>>,
    ) -> News {
        let mut news = News::Nothing;
        for report in all {
            match report {
                Ok(report @ VenueReport::Balance(_)) => {
                    self.pending = Some(report);
                }
                // The next push has it anew, and snapshots have the truth.
                Ok(report @ VenueReport::Position(_)) => drop(account.report_state(report)),
                Ok(report) => account.report(report).await,
                Err(dropped) if is_foreign(&dropped) => news = News::UnknownPair,
                Err(dropped) => {
                    tracing::warn!(account = %account.setup.id, "blofin: a row is not taken: {dropped}");
                }
            }
        }
        if let Some(pending) = self.pending.take()
            && !account.report_state(pending.clone())
        {
            self.pending = Some(pending);
        }
        news
    }

    /// Ends a connection on which the venue refused something: it may stay open, but is never whole again. Gives how
    /// long the next one waits.
    fn begin_anew(&mut self) -> Duration {
        let was_good = self.up_since.take().is_some_and(|up| up.elapsed() > backoff(self.refusals, 0));
        self.refusals = if was_good { 0 } else { self.refusals };
        self.pause = backoff(self.refusals, u64::from(self.refusals));
        self.refusals = self.refusals.saturating_add(1);
        (self.open, self.awaits_check) = (None, false);
        self.subscribed.clear();
        self.pause
    }

    fn send(&self, frame: String) {
        // A stream that is down is told everything when it is back.
        let _ = self.open.as_ref().map(|open| open.frames.try_send(frame));
    }

    /// Says goodbye.
    pub async fn close(&mut self) {
        if let Some(Open { events, mut tasks, .. }) = self.open.take() {
            drop(events);
            let _ = timeout(FAREWELL_MAX, tasks.join_next()).await;
        }
    }
}

/// Opens a stream after a pause.
fn open(link: &PrivateLink, pause: Duration) -> Open {
    let (frames, inbox) = mpsc::channel(FRAMES_MAX);
    let (outbox, events) = mpsc::channel(FRAMES_MAX);
    let link = Link {
        url: link.url.clone(),
        tls: Arc::clone(&link.tls),
        patience: PATIENCE,
        gate: Arc::clone(&link.gate),
        index: 0,
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        tokio::select! {
            () = sleep(pause) => link::keep(link, inbox, outbox).await,
            () = outbox.closed() => {}
        }
    });
    Open { frames, events, tasks }
}
