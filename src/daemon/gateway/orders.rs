//! Carries out what is asked about one order or stop, and says what became of it.
//!
//! An order or stop leaves at most once, ever. What did not leave is [`VenueReport::NotSent`]; what left and has no
//! answer, or one that says nothing, is [`VenueReport::Unanswered`]; only the venue's own words are a refusal. A cancel
//! of what still waits to leave keeps it here, and one of what is under way waits for its answer.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::account::{Account, AskError, Departure};
use super::budget::Class;
use super::client::{NoAnswer, Repeat};
use crate::daemon::backoff::backoff;
use crate::model::ids::{ClientOrderId, Symbol, VenueOrderId};
use crate::model::instrument::Instrument;
use crate::model::time::Timestamp;
use crate::model::trading::{PlaceOrder, PlaceStop, VenueRefusal, VenueReport};
use crate::venue::blofin::answer::Fault;
use crate::venue::blofin::private::answer::{Outcome, is_unknown_order, outcome, refusal};
use crate::venue::blofin::private::request::{self, Request, Unsendable};
use crate::venue::blofin::private::{Instruments, row};
use crate::venue::blofin::{DropReason, Dropped};

/// How often a cancel or a question is tried; whoever asked asks again after that.
const TRIES: u32 = 3;

/// Sends an order, once.
pub async fn place(account: &Account, order: &PlaceOrder) {
    let class = if order.reduce_only { Class::Urgent } else { Class::Entry };
    let request = request::place(order, account.setup.broker_id.as_deref());
    depart(account, order.order_id, &order.instrument, request, class, order.expires).await;
}

/// Puts a protective stop, once.
pub async fn place_stop(account: &Account, stop: &PlaceStop) {
    let request = request::place_stop(stop, account.setup.broker_id.as_deref());
    depart(account, stop.stop_id, &stop.instrument, request, Class::Urgent, stop.expires).await;
}

async fn depart(
    account: &Account,
    order_id: ClientOrderId,
    instrument: &Instrument,
    request: Result<Request, Unsendable>,
    class: Class,
    expires: Timestamp,
) {
    let (withdrawn, withdrawal) = watch::channel(false);
    account.departures().insert(order_id, Departure { withdrawn, sent: None });
    let report = match sendable(account, instrument, request) {
        Err(refusal) => VenueReport::Refused { order_id, expires, refusal },
        Ok(request) => {
            let left_ms = expires.since_ms(account.client.now()).max(0);
            let patience = Duration::from_millis(left_ms.unsigned_abs());
            let permitted = timeout(patience, permit(account, class, withdrawal)).await;
            match permitted.is_ok() && account.client.now() <= expires {
                true => send(account, order_id, expires, &request).await,
                false => {
                    let text = "it waited too long for the venue's rate limits".into();
                    VenueReport::NotSent { order_id, expires, text }
                }
            }
        }
    };
    account.departures().remove(&order_id);
    if let VenueReport::Acknowledged { venue_order_id: Some(id), .. } = &report {
        account.learn(order_id, *id);
    }
    account.report(report).await;
}

/// Refuses what was decided by figures that are not the venue's any more: its contracts would be another quantity.
fn sendable(
    account: &Account,
    decided_by: &Instrument,
    request: Result<Request, Unsendable>,
) -> Result<Request, VenueRefusal> {
    let unsendable = |text: String, transient| VenueRefusal {
        code: "unsendable".into(),
        text,
        duplicate: false,
        transient,
    };
    let request = request.map_err(|error| unsendable(error.to_string(), false))?;
    let symbol = decided_by.symbol();
    match account.instruments().get(&symbol) {
        Some(known) if known.contract_value() != decided_by.contract_value() => {
            let (decided, known) = (decided_by.contract_value(), known.contract_value());
            let text = format!("a contract of {symbol} is {known} base units now, and was {decided}");
            Err(unsendable(text, true))
        }
        _ => Ok(request),
    }
}

/// Waits for a place, or until it is not wanted any more.
async fn permit(account: &Account, class: Class, mut withdrawal: watch::Receiver<bool>) {
    tokio::select! {
        biased;
        _ = withdrawal.wait_for(|withdrawn| *withdrawn) => {}
        () = account.budget.permit(class) => {}
    }
}

async fn send(
    account: &Account,
    order_id: ClientOrderId,
    expires: Timestamp,
    request: &Request,
) -> VenueReport {
    let not_sent = |text: String| VenueReport::NotSent { order_id, expires, text };
    let (answered, answer_awaited) = watch::channel(false);
    // From here on a cancel waits for the answer.
    match account.departures().get_mut(&order_id) {
        Some(departure) if *departure.withdrawn.borrow() => {
            return not_sent("it was cancelled before it left".into());
        }
        Some(departure) => departure.sent = Some(answer_awaited),
        None => {}
    }
    let answer = account.send_once(request).await;
    answered.send_replace(true);
    let answer = match answer {
        Ok(answer) => answer,
        Err(NoAnswer::NotSent(text)) => return not_sent(text),
        Err(NoAnswer::Lost(text)) => {
            tracing::warn!(account = %account.setup.id, %order_id, "blofin: {text}; it is looked up");
            return VenueReport::Unanswered { order_id };
        }
    };
    match outcome(answer.status, &answer.body) {
        Outcome::Taken(venue_order_id) => VenueReport::Acknowledged { order_id, venue_order_id },
        Outcome::Refused(refusal) => {
            VenueReport::Refused { order_id, expires, refusal: scrubbed(account, refusal) }
        }
        Outcome::KeptAway(refusal) => {
            let refusal = scrubbed(account, refusal);
            kept_away(account, &refusal);
            not_sent(format!("{} ({})", refusal.text, refusal.code))
        }
        Outcome::Unclear(text) => {
            let text = account.client.keys().scrub(&text);
            tracing::warn!(account = %account.setup.id, %order_id, "blofin: {text}; it is looked up");
            VenueReport::Unanswered { order_id }
        }
    }
}

/// Which of the two kinds of orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An order.
    Order,
    /// A protective stop.
    Stop,
}

/// Takes an order or a stop back.
pub async fn cancel(
    account: &Account,
    kind: Kind,
    order_id: ClientOrderId,
    venue_order_id: Option<VenueOrderId>,
    symbol: Symbol,
) {
    if !may_cancel(account, order_id).await {
        return;
    }
    let venue_order_id = venue_order_id.or_else(|| account.venue_id(order_id));
    let request = match kind {
        Kind::Order => request::cancel(order_id, venue_order_id, symbol),
        Kind::Stop => request::cancel_stop(order_id, venue_order_id, symbol),
    };
    let mut last = refusal("no_answer", "the venue did not answer");
    last.transient = true;
    for attempt in 0..TRIES {
        if attempt > 0 {
            sleep(backoff(attempt - 1, u64::from(attempt))).await;
        }
        account.budget.permit(Class::Urgent).await;
        let Ok(answer) = account.client.ask(&request, Repeat::Harmless).await else { continue };
        match outcome(answer.status, &answer.body) {
            Outcome::Taken(_) => return,
            Outcome::Refused(refusal) => {
                last = scrubbed(account, refusal);
                if !last.transient || is_unknown_order(&last.code, &last.text) {
                    break;
                }
            }
            Outcome::KeptAway(refusal) => {
                last = scrubbed(account, refusal);
                kept_away(account, &last);
            }
            Outcome::Unclear(_) => {}
        }
    }
    account.report(VenueReport::CancelRefused { order_id, refusal: last }).await;
}

/// Keeps back what has not left, and waits for the answer of what is under way. `false` when nothing is to be asked.
async fn may_cancel(account: &Account, order_id: ClientOrderId) -> bool {
    let awaited = match account.departures().get_mut(&order_id) {
        None => return true,
        Some(Departure { sent: Some(awaited), .. }) => awaited.clone(),
        Some(departure) => {
            departure.withdrawn.send_replace(true);
            return false;
        }
    };
    let mut awaited = awaited;
    // An error means that the answer is there: its task is over.
    let _ = awaited.wait_for(|answered| *answered).await;
    true
}

/// Asks where an order or stop stands.
pub async fn look_up(
    account: &Account,
    kind: Kind,
    order_id: ClientOrderId,
    symbol: Symbol,
    asked: Timestamp,
) {
    let request = match kind {
        Kind::Order => request::order(order_id, symbol),
        Kind::Stop => request::stop(order_id, symbol),
    };
    for attempt in 0..TRIES {
        if attempt > 0 {
            sleep(backoff(attempt - 1, u64::from(attempt))).await;
        }
        match find(account, kind, &request).await {
            Ok(Some(report)) => return account.report(report).await,
            Ok(None) => return account.report(VenueReport::NotFound { order_id, asked }).await,
            Err(AskError::Fault(Fault::Refused { code, text })) if is_unknown_order(&code, &text) => {
                return account.report(VenueReport::NotFound { order_id, asked }).await;
            }
            Err(error) => {
                let error = account.client.keys().scrub(&error.to_string());
                tracing::warn!(account = %account.setup.id, %order_id, "blofin: lookup: {error}");
            }
        }
    }
}

/// Where one order or stop stands; `None` when the venue knows none.
async fn find(account: &Account, kind: Kind, request: &Request) -> Result<Option<VenueReport>, AskError> {
    known_pairs(account).await?;
    account
        .rows(request, Class::Query, |rows| {
            // A venue without the order may answer with an object without anything in it.
            let Some(row) = rows.first().filter(|row| row.get().contains("Id\"")) else { return Ok(None) };
            let read = |all: &Instruments| match kind {
                Kind::Order => row::order(row, all).map(|order| VenueReport::Order(Box::new(order))),
                Kind::Stop => row::stop(row, all).map(|stop| VenueReport::Stop(Box::new(stop))),
            };
            read(&account.instruments()).map(Some).map_err(|dropped| dropped.to_string())
        })
        .await
}

/// Makes sure that there are pairs to read contracts by.
///
/// # Errors
/// When there are none.
pub async fn known_pairs(account: &Account) -> Result<(), AskError> {
    match account.instruments().is_empty() {
        false => Ok(()),
        true => account.refresh_instruments().await.map_err(AskError::Unreadable),
    }
}

/// Whether a row is about a pair that we cannot have traded: an inverse contract, or one that is newer than the list.
pub fn is_foreign(dropped: &Dropped) -> bool {
    dropped.reason == DropReason::UnknownSymbol
}

fn kept_away(account: &Account, refusal: &VenueRefusal) {
    let fault = match &*refusal.code {
        "403" => Fault::Banned,
        _ => Fault::RateLimited { text: refusal.text.clone() },
    };
    account.serve_penalty(&fault);
}

fn scrubbed(account: &Account, refusal: VenueRefusal) -> VenueRefusal {
    VenueRefusal { text: account.client.keys().scrub(&refusal.text), ..refusal }
}
