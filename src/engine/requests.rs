//! Requests from the bus: figures to read, orders to take back, positions to close.
//!
//! What changes something is done once for each id: a repetition gets the same answer. Closing makes one `flat` signal
//! of each symbol, with an id derived from the request's, so it is an exit like any other: no level, limit, price or
//! disk holds it up.

use std::collections::BTreeSet;

use super::admission::{AGE_FLAT_MS_MAX, check_time, store_fails};
use super::desk::Desk;
use super::effect::{Answer, Effect, Told};
use super::event::{Query, Request, SignalMessage, SignalOrigin};
use super::exchange_control::{ExchangeControl, is_sent_exit};
use super::record::{Done, Record, RequestRecord, Scope};
use super::request_history::REQUESTS_MAX;
use super::strategy_manager::StrategyManager;
use crate::model::ids::{ClientOrderId, SignalId, StrategyId, Symbol};
use crate::model::order::{Order, OrderReason, OrderType};
use crate::model::signal::{Action, Reason, Refusal, Signal, SignalResult};
use crate::model::time::Timestamp;

/// The most characters of a request's id: with the symbol behind it, it must still be a signal's.
pub const ID_LENGTH_MAX: usize = 96;

/// A request that changes something, complete.
struct Change<'a> {
    query: Query,
    strategy: StrategyId,
    account: usize,
    id: &'a SignalId,
    time: Timestamp,
    symbol: Option<Symbol>,
}

impl StrategyManager {
    /// Carries a request out and answers it.
    pub fn on_request(&mut self, desk: &mut Desk<'_>, exchanges: &mut ExchangeControl, request: &Request) {
        let mut repeated = false;
        let told = match request.query {
            Query::Kpis => {
                of_strategy(exchanges, request).map(|only| Told::Kpis(exchanges.all_kpis(desk, only)))
            }
            Query::Positions => {
                let views = |only| Told::Positions(exchanges.open_positions(desk, only));
                of_strategy(exchanges, request).map(views)
            }
            Query::Reconcile => {
                let plan = |only| Told::Reconcile(Box::new(exchanges.reconcile_plan(desk, only)));
                of_strategy(exchanges, request).map(plan)
            }
            Query::CancelOrders | Query::ClosePosition | Query::ReconcileAccept => {
                self.change(desk, exchanges, request).map(|(done, again)| {
                    repeated = again;
                    Told::Done(done)
                })
            }
        };
        let answer = Box::new(Answer { told, repeated, time: desk.at });
        desk.emit(Effect::Answer { token: request.token, answer });
    }

    /// What a request did, and whether it did it before.
    fn change(
        &mut self,
        desk: &mut Desk<'_>,
        exchanges: &mut ExchangeControl,
        request: &Request,
    ) -> Result<(Done, bool), Refusal> {
        let change = complete(exchanges, request)?;
        if let Some(known) = desk.state().requests.find(desk.at, change.strategy, change.id) {
            return repeat(known, &change).map(|done| (done, true));
        }
        check(desk, exchanges, &change)?;
        let done = match change.query {
            Query::ClosePosition => Done::Closed(self.close(desk, exchanges, &change)),
            Query::ReconcileAccept => {
                Done::Adopted(exchanges.reconcile_accept(desk, change.account, change.symbol)?)
            }
            _ => Done::Cancelled(cancel(desk, exchanges, &change)),
        };
        if done.is_nothing() {
            // Nothing needs to be remembered of it, and so it may be refused.
            self.check_room(desk)?;
        }
        desk.record(Record::Request(RequestRecord {
            strategy: change.strategy,
            id: change.id.clone(),
            symbol: change.symbol,
            request_time: change.time,
            done: done.clone(),
            time: desk.at,
        }));
        exchanges.touch(change.account);
        Ok((done, false))
    }

    /// Whether a request that found nothing to do can be remembered: a loop of them would fill the disk, or stand
    /// before an exit in the broker's window while the disk fails.
    fn check_room(&self, desk: &Desk<'_>) -> Result<(), Refusal> {
        if desk.state().requests.is_full(desk.at) {
            let detail =
                format!("{REQUESTS_MAX} requests of 5 minutes are remembered, and there is nothing to do");
            return Err(Refusal::new(Reason::RateLimited, detail));
        }
        if !self.store_available {
            return Err(store_fails());
        }
        Ok(())
    }

    /// One `flat` for the symbol that is named, or for each that has a position or an order.
    fn close(
        &mut self,
        desk: &mut Desk<'_>,
        exchanges: &mut ExchangeControl,
        change: &Change<'_>,
    ) -> Vec<SignalResult> {
        let symbols: BTreeSet<Symbol> = match change.symbol {
            Some(symbol) => [symbol].into(),
            None => {
                let held = desk.state().strategies[&change.strategy].positions.keys().copied();
                let working = exchanges.open_orders(desk.state(), change.account).map(|order| order.symbol);
                let traded = |symbol: &Symbol| exchanges.market_of(change.account, *symbol).is_some();
                held.chain(working).filter(traded).collect()
            }
        };
        let mut results = Vec::new();
        for symbol in symbols {
            let id = SignalId::new(&format!("close:{}:{symbol}", change.id));
            let signal = Signal {
                id: id.expect("a request's id is short enough"),
                time: change.time,
                symbol,
                action: Action::Flat,
                size: None,
                order_type: OrderType::Market,
                stop_loss: None,
                take_profit: None,
                age_ms_max: None,
                confidence: None,
            };
            let id = Some(signal.id.clone());
            let strategy = change.strategy.to_string();
            let origin = SignalOrigin::Native;
            let message = SignalMessage { token: 0, strategy, id, body: Ok(signal), origin };
            results.extend(self.on_signal(desk, exchanges, &message));
        }
        results
    }
}

/// Takes back what works, but not exits at the market that are on their way.
fn cancel(desk: &mut Desk<'_>, exchanges: &mut ExchangeControl, change: &Change<'_>) -> Vec<ClientOrderId> {
    let symbol = change.symbol;
    let which = |order: &Order| !is_sent_exit(order) && symbol.is_none_or(|symbol| order.symbol == symbol);
    let meant = exchanges.open_orders(desk.state(), change.account).filter(|order| which(order));
    let mut ids: Vec<ClientOrderId> = meant.map(|order| order.order_id).collect();
    exchanges.cancel_orders(desk, change.account, OrderReason::Request, which);
    ids.retain(|id| !desk.state().orders.contains_key(id));
    ids
}

/// The strategy that a request is limited to.
fn of_strategy(exchanges: &ExchangeControl, request: &Request) -> Result<Option<usize>, Refusal> {
    let Some(strategy) = request.strategy else { return Ok(None) };
    match exchanges.account_of(strategy) {
        Some(index) => Ok(Some(index)),
        None => {
            let detail = format!("strategy: {:?} is not configured", strategy.as_str());
            Err(Refusal::new(Reason::UnknownStrategy, detail))
        }
    }
}

fn complete<'a>(exchanges: &ExchangeControl, request: &'a Request) -> Result<Change<'a>, Refusal> {
    let missing = |field: &str| Refusal::new(Reason::Malformed, format!("{field}: missing"));
    let id = request.id.as_ref().ok_or_else(|| missing("id"))?;
    if id.as_str().chars().count() > ID_LENGTH_MAX {
        let detail = format!("id: longer than {ID_LENGTH_MAX} characters");
        return Err(Refusal::new(Reason::Malformed, detail));
    }
    let time = request.time.ok_or_else(|| missing("time"))?;
    let strategy = request.strategy.ok_or_else(|| missing("strategy"))?;
    let account = of_strategy(exchanges, request)?.ok_or_else(|| missing("strategy"))?;
    Ok(Change { query: request.query, strategy, account, id, time, symbol: request.symbol })
}

fn repeat(known: &RequestRecord, change: &Change<'_>) -> Result<Done, Refusal> {
    let query = match known.done {
        Done::Cancelled(_) => Query::CancelOrders,
        Done::Closed(_) => Query::ClosePosition,
        Done::Adopted(_) => Query::ReconcileAccept,
    };
    let same = known.symbol == change.symbol && known.request_time == change.time && query == change.query;
    match same {
        true => Ok(known.done.clone()),
        false => {
            let detail = format!("id: {} was used by another request", change.id);
            Err(Refusal::new(Reason::Duplicate, detail))
        }
    }
}

fn check(desk: &Desk<'_>, exchanges: &ExchangeControl, change: &Change<'_>) -> Result<(), Refusal> {
    let refuse = |reason, detail: String| Err(Refusal::new(reason, detail));
    let poisoned = desk.state().signals.find(desk.at, change.strategy, change.id);
    if poisoned.is_some_and(|decided| decided.fingerprint.is_none()) {
        let detail = "the daemon failed while it handled this request; it is not tried again";
        return refuse(Reason::Internal, detail.into());
    }
    if let Some(symbol) = change.symbol
        && exchanges.market_of(change.account, symbol).is_none()
    {
        return refuse(Reason::UnknownSymbol, format!("symbol: {symbol} is not one of {}", change.strategy));
    }
    check_time(desk.at, change.time, AGE_FLAT_MS_MAX)
}

impl ExchangeControl {
    /// Key figures of one strategy, or of all and their sums.
    fn all_kpis(&self, desk: &Desk<'_>, only: Option<usize>) -> Vec<super::effect::KpiView> {
        let id = |index: &usize| self.accounts[*index].settings.id;
        let wanted = (0..self.accounts.len()).filter(|index| only.is_none_or(|only| only == *index));
        let strategies = wanted.map(|index| self.kpi_view(desk, Scope::Strategy(id(&index)), &[id(&index)]));
        let sums = self.scopes.iter().filter(|_| only.is_none()).map(|scope| {
            let members: Vec<StrategyId> = scope.figured.iter().map(id).collect();
            self.kpi_view(desk, scope.scope, &members)
        });
        strategies.chain(sums).collect()
    }

    /// Positions that are not flat, of one strategy or of all.
    fn open_positions(&self, desk: &Desk<'_>, only: Option<usize>) -> Vec<super::effect::PositionView> {
        let wanted = (0..self.accounts.len()).filter(|index| only.is_none_or(|only| only == *index));
        let held = |index: usize| {
            let positions = desk.state().strategies[&self.accounts[index].settings.id].positions.keys();
            positions.map(move |symbol| self.position_view(desk, index, *symbol))
        };
        wanted.flat_map(held).collect()
    }
}
