//! The way to accounts at venues: carries out what the engine asks of them, and reports what they say.
//!
//! One task for each account owns its private stream; each request is a task of its own, within the account's budget.
//! Requests come from the committing thread, once what they depend on is on disk. Reports go to the engine through one
//! bounded inbox: when it is full, requests and the stream wait; only balances and positions, of which newer ones
//! follow by themselves, are put together.
//!
//! Without accounts nothing here is started, and no private host is ever connected to.
//!
//! Limits: [`REQUESTS_MAX`] requests that wait for a place among [`TASKS_MAX`] that are under way; one beyond is not
//! sent, as in a crash, and its order is looked up like after one.

pub mod account;
pub mod budget;
mod check;
pub mod client;
mod orders;
mod snapshot;
mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::daemon::backoff::backoff;
use crate::daemon::options::RunError;
use crate::model::ids::AccountId;
use crate::model::time::Timestamp;
use crate::model::trading::{AccountReport, Dispatch, VenueReport, VenueRequest};
use crate::venue::blofin::answer::Fault;
use crate::venue::blofin::private::answer::{is_about_keys, refusal};
use account::{Account, AskError};
use check::{CheckError, check};
use orders::Kind;
pub use stream::PrivateLink;
use stream::{News, PrivateStream};

/// Requests of an account that wait for a task.
pub const REQUESTS_MAX: usize = 10_000;
/// Requests of an account that are under way or wait for the rate limits.
const TASKS_MAX: usize = 500;
/// Reports that wait for the engine.
pub const REPORTS_MAX: usize = 1_024;

/// What comes from an account: a report, or why the daemon has to end.
pub type Incoming = Result<AccountReport, RunError>;

/// The committing thread's hold on all accounts. Never waits.
#[derive(Clone, Debug, Default)]
pub struct Dispatcher {
    inboxes: BTreeMap<AccountId, mpsc::Sender<VenueRequest>>,
}

impl Dispatcher {
    /// Hands a request to its account.
    pub fn send(&self, dispatch: Dispatch) {
        let Dispatch { account, request } = dispatch;
        let Some(inbox) = self.inboxes.get(&account) else {
            tracing::error!(%account, "a request for an account without a gateway is not sent");
            return;
        };
        if let Err(error) = inbox.try_send(request) {
            tracing::error!(%account, %error, "a request is not sent: too many wait");
        }
    }
}

/// All accounts, running.
#[derive(Debug)]
pub struct Gateways {
    /// For the committing thread.
    pub dispatcher: Dispatcher,
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Default for Gateways {
    fn default() -> Gateways {
        Gateways { dispatcher: Dispatcher::default(), tasks: JoinSet::new(), stop: watch::Sender::new(false) }
    }
}

impl Gateways {
    /// Starts one. Keys that the venue refuses before it ever took them end the daemon.
    pub fn add(&mut self, account: Account, link: PrivateLink) {
        let (sender, inbox) = mpsc::channel(REQUESTS_MAX);
        self.dispatcher.inboxes.insert(account.setup.id, sender);
        let gateway = Gateway {
            stream: PrivateStream::new(link, account.setup.currency.clone()),
            account: Arc::new(account),
            tasks: JoinSet::new(),
            snapshot: None,
            is_checked: false,
            funding: Funding::default(),
        };
        self.tasks.spawn(gateway.run(inbox, self.stop.subscribe()));
    }

    /// Ends all, once what is under way has its answer, or after `within`.
    pub async fn stop(&mut self, within: Duration) {
        self.stop.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(within, all).await.is_err() {
            tracing::warn!("a venue did not answer in time; what is open is looked up at the next start");
        }
    }
}

/// What is known of funding payments.
#[derive(Clone, Copy, Debug, Default)]
struct Funding {
    /// The latest that was told.
    last: Option<Timestamp>,
    /// The venue has no such list.
    is_refused: bool,
}

/// What a task brought.
#[derive(Debug)]
enum Done {
    Request,
    Check(Result<(), CheckError>),
    Funding(Funding),
}

struct Gateway {
    account: Arc<Account>,
    stream: PrivateStream,
    tasks: JoinSet<Done>,
    snapshot: Option<AbortHandle>,
    is_checked: bool,
    funding: Funding,
}

impl Gateway {
    async fn run(mut self, mut inbox: mpsc::Receiver<VenueRequest>, mut stop: watch::Receiver<bool>) {
        self.spawn_check(Duration::ZERO);
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(request) = inbox.recv(), if self.tasks.len() < TASKS_MAX => self.start(request),
                Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => match done {
                    Ok(done) => self.finished(done).await,
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => tracing::error!(%error, "a request to the venue failed inside"),
                },
                event = self.stream.receive(), if self.is_checked => {
                    let news = self.stream.hear(&self.account, event).await;
                    self.hear(news).await;
                }
            }
        }
        self.stream.close().await;
        // What left is to have its answer; the engine takes no more reports, but the log tells.
        inbox.close();
        while let Ok(request) = inbox.try_recv() {
            self.start(request);
        }
        if let Some(snapshot) = self.snapshot.take() {
            snapshot.abort();
        }
        while self.tasks.join_next().await.is_some() {}
    }

    fn start(&mut self, request: VenueRequest) {
        let account = Arc::clone(&self.account);
        if let VenueRequest::Snapshot { asked, since, .. } = &request {
            // Only the answer to the last question counts.
            if let Some(older) = self.snapshot.take() {
                older.abort();
            }
            if !self.funding.is_refused {
                let from = self.funding.last.map_or(*since, |last| last.plus_ms(1));
                let (account, funding) = (Arc::clone(&account), self.funding);
                self.tasks.spawn(async move { Done::Funding(tell_funding(&account, from, funding).await) });
            }
            tracing::debug!(account = %account.setup.id, asked = asked.as_ms(), "blofin: a snapshot is taken");
        }
        let is_snapshot = matches!(request, VenueRequest::Snapshot { .. });
        let task = self.tasks.spawn(async move {
            carry_out(&account, request).await;
            Done::Request
        });
        if is_snapshot {
            self.snapshot = Some(task);
        }
    }

    fn spawn_check(&mut self, after: Duration) {
        let account = Arc::clone(&self.account);
        self.tasks.spawn(async move {
            sleep(after).await;
            let checked = check(&account).await;
            let told = match checked {
                Ok(check) => {
                    account.report_skew().await;
                    account.report(VenueReport::Check(Box::new(check))).await;
                    Ok(())
                }
                Err(error) => Err(error),
            };
            Done::Check(told)
        });
    }

    async fn finished(&mut self, done: Done) {
        let id = self.account.setup.id;
        match done {
            Done::Request => {}
            Done::Funding(funding) => self.funding = funding,
            Done::Check(Ok(())) => {
                self.stream.checked(&self.account).await;
                self.is_checked = true;
            }
            Done::Check(Err(error @ CheckError::KeysRefused { .. })) if !self.is_checked => {
                let (account, error) = (id.to_string(), error.to_string());
                self.account.give_up(RunError::Account { account, error }).await;
            }
            Done::Check(Err(error)) => {
                let wait = backoff(self.stream.failures, u64::from(self.stream.failures));
                self.stream.failures = self.stream.failures.saturating_add(1);
                tracing::warn!(account = %id, wait_s = wait.as_secs(), "blofin: the account is not checked: {error}");
                let text = error.to_string();
                self.account.report(VenueReport::Link { up: false, text }).await;
                self.spawn_check(wait);
            }
        }
    }

    async fn hear(&mut self, news: News) {
        match news {
            News::Nothing => {}
            News::Subscribed => self.spawn_check(Duration::ZERO),
            News::Down(text) => {
                tracing::warn!(account = %self.account.setup.id, "blofin: private stream: {text}");
                self.account.report(VenueReport::Link { up: false, text }).await;
            }
            News::UnknownPair => {
                let account = Arc::clone(&self.account);
                self.tasks.spawn(async move {
                    if let Err(error) = account.refresh_instruments().await {
                        tracing::warn!(account = %account.setup.id, "blofin: the pairs are not known anew: {error}");
                    }
                    Done::Request
                });
            }
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone means the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn carry_out(account: &Account, request: VenueRequest) {
    match request {
        VenueRequest::Place(order) => orders::place(account, &order).await,
        VenueRequest::PlaceStop(stop) => orders::place_stop(account, &stop).await,
        VenueRequest::Cancel { order_id, venue_order_id, symbol } => {
            orders::cancel(account, Kind::Order, order_id, venue_order_id, symbol).await;
        }
        VenueRequest::CancelStop { stop_id, venue_order_id, symbol } => {
            orders::cancel(account, Kind::Stop, stop_id, venue_order_id, symbol).await;
        }
        VenueRequest::Lookup { order_id, symbol, asked } => {
            orders::look_up(account, Kind::Order, order_id, symbol, asked).await;
        }
        VenueRequest::LookupStop { stop_id, symbol, asked } => {
            orders::look_up(account, Kind::Stop, stop_id, symbol, asked).await;
        }
        VenueRequest::Snapshot { asked, fills_after, since } => {
            for attempt in 0.. {
                match snapshot::take(account, asked, &fills_after, since).await {
                    Ok(snapshot) => {
                        account.report(VenueReport::Snapshot(Box::new(snapshot))).await;
                        return tracing::debug!(account = %account.setup.id, "blofin: snapshot told");
                    }
                    Err(error) => {
                        let error = account.client.keys().scrub(&error.to_string());
                        tracing::warn!(account = %account.setup.id, "blofin: no snapshot yet: {error}");
                    }
                }
                sleep(backoff(attempt, u64::from(attempt))).await;
            }
        }
    }
}

/// Whether a refusal says that there is no such list. One of keys, clock or nonce may end.
fn is_for_good(fault: &Fault) -> bool {
    match fault {
        Fault::Refused { code, text } => !is_about_keys(code) && !refusal(code, text).transient,
        Fault::Unreadable { status, .. } => *status == 404,
        Fault::RateLimited { .. } | Fault::Banned | Fault::Venue { .. } => false,
    }
}

/// Tells the funding payments since a time; gives what is known of them then.
async fn tell_funding(account: &Account, from: Timestamp, known: Funding) -> Funding {
    match snapshot::funding(account, from).await {
        Ok(payments) => {
            let last = payments.last().map(|payment| payment.time).or(known.last);
            for payment in payments {
                account.report(VenueReport::Funding(payment)).await;
            }
            Funding { last, ..known }
        }
        Err(AskError::Fault(fault)) if is_for_good(&fault) => {
            tracing::warn!(account = %account.setup.id, "blofin: funding payments cannot be asked for: {fault}");
            Funding { is_refused: true, ..known }
        }
        Err(error) => {
            let error = account.client.keys().scrub(&error.to_string());
            tracing::warn!(account = %account.setup.id, "blofin: no funding payments yet: {error}");
            known
        }
    }
}
