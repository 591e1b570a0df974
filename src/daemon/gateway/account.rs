//! What the tasks of one account share: the way to it, what it may ask, the pairs, and where reports go.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Incoming;
use super::budget::{Budget, Class};
use super::client::{Answer, Client, NoAnswer, Repeat};
use crate::daemon::feed::blofin::rest::Rest;
use crate::daemon::options::RunError;
use crate::model::ids::{AccountId, ClientOrderId, Symbol, VenueOrderId};
use crate::model::trading::{AccountReport, Environment, MarginMode, VenueReport};
use crate::venue::blofin::answer::{self, Fault};
use crate::venue::blofin::instrument::{ContractKind, Listing};
use crate::venue::blofin::private::Instruments;
use crate::venue::blofin::private::request::Request;
use crate::venue::blofin::request::INSTRUMENTS;

/// The least time between two requests for the pairs.
const INSTRUMENTS_EVERY: Duration = Duration::from_secs(60);
/// Venue's ids of orders and stops that are remembered; the oldest is forgotten, and its cancel goes by our id.
const IDS_MAX: usize = 10_000;

/// What an account is, without its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSetup {
    /// Its name in the configuration.
    pub id: AccountId,
    /// Which world.
    pub environment: Environment,
    /// What positions are secured by.
    pub margin_mode: MarginMode,
    /// What the leverage of its pairs is set to.
    pub leverage: u32,
    /// The pairs that its strategies trade, sorted.
    pub symbols: Vec<Symbol>,
    /// The currency of its money.
    pub currency: String,
    /// For keys that are bound to a broker.
    pub broker_id: Option<String>,
}

/// Why a question brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The venue answered, but not with rows.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// No answer.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// An answer that cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

/// An order or stop on its way out, so that a cancel neither overtakes it nor misses it.
#[derive(Debug)]
pub struct Departure {
    /// Turns true when a cancel comes before it left.
    pub withdrawn: watch::Sender<bool>,
    /// It left; turns true when the answer is there, or will not come.
    pub sent: Option<watch::Receiver<bool>>,
}

/// One account.
#[derive(Debug)]
pub struct Account {
    /// What it is.
    pub setup: AccountSetup,
    /// Signs and sends.
    pub client: Client,
    /// What it may ask.
    pub budget: Budget,
    public: Rest,
    instruments: Mutex<(Arc<Instruments>, Option<Instant>)>,
    departures: Mutex<BTreeMap<ClientOrderId, Departure>>,
    ids: Mutex<(BTreeMap<ClientOrderId, VenueOrderId>, std::collections::VecDeque<ClientOrderId>)>,
    reports: mpsc::Sender<Incoming>,
    told_skew_ms: Mutex<Option<i64>>,
}

impl Account {
    /// An account that has done nothing yet.
    pub fn new(
        setup: AccountSetup,
        client: Client,
        public: &Rest,
        reports: mpsc::Sender<Incoming>,
    ) -> Account {
        Account {
            setup,
            client,
            budget: Budget::new(public.rates()),
            public: public.clone(),
            instruments: Mutex::default(),
            departures: Mutex::default(),
            ids: Mutex::default(),
            reports,
            told_skew_ms: Mutex::default(),
        }
    }

    /// Hands a report to the engine; waits while too many wait there.
    pub async fn report(&self, report: VenueReport) {
        if let VenueReport::Order(order) = &report
            && let Some(id) = order.order_id
        {
            self.learn(id, order.venue_order_id);
        }
        if let VenueReport::Stop(stop) = &report
            && let Some(id) = stop.stop_id
        {
            self.learn(id, stop.venue_order_id);
        }
        // An engine that is gone needs no reports: the next start asks anew.
        let _ = self.reports.send(Ok(AccountReport { account: self.setup.id, report })).await;
    }

    /// Ends the daemon.
    pub async fn give_up(&self, error: RunError) {
        let _ = self.reports.send(Err(error)).await;
    }

    /// The same for a state of which a newer one follows by itself; `false` when there is no room for it now.
    pub fn report_state(&self, report: VenueReport) -> bool {
        // The last places are for what cannot be left out.
        if self.reports.capacity() <= self.reports.max_capacity() / 4 {
            return false;
        }
        self.reports.try_send(Ok(AccountReport { account: self.setup.id, report })).is_ok()
    }

    /// Reports how far the venue's clock is from ours, when that changed by half a second.
    pub async fn report_skew(&self) {
        let Some(ms) = self.client.skew_ms() else { return };
        let is_news = {
            let mut told = lock(&self.told_skew_ms);
            let is_news = told.is_none_or(|told| (told - ms).abs() >= 500);
            if is_news {
                *told = Some(ms);
            }
            is_news
        };
        if is_news {
            self.report(VenueReport::Skew { ms }).await;
        }
    }

    /// Asks something when there is room for it, and gives the rows of the answer to `read`.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn rows<T>(
        &self,
        request: &Request,
        class: Class,
        read: impl FnOnce(Vec<&RawValue>) -> Result<T, String>,
    ) -> Result<T, AskError> {
        self.budget.permit(class).await;
        let answer = self.client.ask(request, Repeat::Harmless).await?;
        self.report_skew().await;
        let rows = answer::rows(answer.status, &answer.body)
            .map_err(|fault| self.scrubbed(fault))
            .inspect_err(|fault| self.serve_penalty(fault))?;
        read(rows).map_err(|text| AskError::Unreadable(self.client.keys().scrub(&text)))
    }

    /// A fault whose words, which are the venue's, have no secret.
    fn scrubbed(&self, mut fault: Fault) -> Fault {
        match &mut fault {
            Fault::RateLimited { text }
            | Fault::Venue { text, .. }
            | Fault::Refused { text, .. }
            | Fault::Unreadable { text, .. } => *text = self.client.keys().scrub(text),
            Fault::Banned => {}
        }
        fault
    }

    /// Stops asking for as long as the venue wants that, if it does.
    pub fn serve_penalty(&self, fault: &Fault) {
        if matches!(fault, Fault::RateLimited { .. } | Fault::Banned) {
            let wait_s = self.budget.refused(*fault == Fault::Banned).as_secs();
            tracing::warn!(account = %self.setup.id, wait_s, "blofin: {fault}; nothing is asked until then");
        }
    }

    /// What is known of the pairs; nothing before the first answer.
    pub fn instruments(&self) -> Arc<Instruments> {
        Arc::clone(&lock(&self.instruments).0)
    }

    /// Asks for the pairs, at most once a minute.
    ///
    /// # Errors
    /// Why they are not known anew.
    pub async fn refresh_instruments(&self) -> Result<(), String> {
        {
            let mut known = lock(&self.instruments);
            if known.1.is_some_and(|at| at.elapsed() < INSTRUMENTS_EVERY) && !known.0.is_empty() {
                return Ok(());
            }
            known.1 = Some(Instant::now());
        }
        let answer = self.public.get(INSTRUMENTS).await.map_err(|error| error.to_string())?;
        let rows = self.public.rows(&answer).map_err(|error| error.to_string())?;
        let listings = rows.iter().filter_map(|row| Listing::read(row).ok());
        let linear = listings.filter(|listing| listing.kind == ContractKind::Linear);
        let all: Instruments = linear.map(|listing| (listing.symbol(), listing.instrument)).collect();
        lock(&self.instruments).0 = Arc::new(all);
        Ok(())
    }

    /// Orders and stops on their way out.
    pub fn departures(&self) -> MutexGuard<'_, BTreeMap<ClientOrderId, Departure>> {
        lock(&self.departures)
    }

    /// Remembers the venue's id of an order or stop.
    pub fn learn(&self, id: ClientOrderId, venue_id: VenueOrderId) {
        let (known, order) = &mut *lock(&self.ids);
        if known.insert(id, venue_id).is_none() {
            order.push_back(id);
            if order.len() > IDS_MAX
                && let Some(oldest) = order.pop_front()
            {
                known.remove(&oldest);
            }
        }
    }

    /// The venue's id of an order or stop, if it was told.
    pub fn venue_id(&self, id: ClientOrderId) -> Option<VenueOrderId> {
        lock(&self.ids).0.get(&id).copied()
    }

    /// Sends what must not be repeated. The place for it must be taken already.
    ///
    /// # Errors
    /// What is known when there is no answer.
    pub async fn send_once(&self, request: &Request) -> Result<Answer, NoAnswer> {
        let answer = self.client.ask(request, Repeat::Never).await;
        self.report_skew().await;
        answer
    }
}

/// What is behind these locks is whole whenever they are free, so a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
