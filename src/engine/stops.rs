//! Protective stops on their way to the exchange and back: which stop each position needs, and the order that a touched
//! one becomes.
//!
//! Invariant after every event: an exchange keeps at most one stop for a position, for all of it, and none without it.
//! A stop that was touched ends the working entries of its symbol, so that nothing opens again what it closes.

use super::desk::Desk;
use super::exchange_control::{Dirty, ExchangeControl};
use super::order_manager::{OrderDraft, order_id};
use super::record::{Record, StopRecord};
use super::state::State;
use crate::model::amount::Quantity;
use crate::model::ids::{ClientOrderId, StrategyId, Symbol};
use crate::model::market::MarketKey;
use crate::model::order::{Order, OrderReason, OrderType};
use crate::model::position::Position;
use crate::model::report::ExecutionReport;
use crate::model::stop::{ProtectiveStop, StopCause};
use crate::risk::approve_reduction;

/// A touched stop, as [`ExecutionReport::Triggered`] tells it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Touched {
    pub(super) stop_id: ClientOrderId,
    pub(super) symbol: Symbol,
    pub(super) cause: StopCause,
    pub(super) quantity: Option<Quantity>,
}

impl ExchangeControl {
    /// The stop that a strategy's exchange was told to keep for a symbol.
    pub fn kept_stop(&self, index: usize, symbol: Symbol) -> Option<&ProtectiveStop> {
        self.accounts[index].exchange.stop(symbol)
    }

    /// Brings the stop that the exchange keeps for a symbol in line with the position and what was asked for. It is
    /// told of the same one again to `recheck` it, because an order is gone that stood in for a touched one.
    pub(super) fn protect(
        &mut self,
        desk: &mut Desk<'_>,
        index: usize,
        (symbol, recheck): (Symbol, bool),
        reports: &mut Vec<ExecutionReport>,
    ) {
        let Some(key) = self.market_of(index, symbol) else { return };
        let strategy = self.accounts[index].settings.id;
        let wanted = self.wanted_stop(desk.state(), index, symbol);
        let kept = desk.state().stops.of_position(strategy, symbol).and_then(|stops| stops.kept.as_ref());
        let same = match (&wanted, kept) {
            (Some(wanted), Some(kept)) => wanted.equals(kept),
            (None, None) => true,
            _ => false,
        };
        if !same {
            let stop = wanted.clone();
            desk.record(Record::Stop(StopRecord { strategy, symbol, stop, time: desk.at }));
            let account = &mut self.accounts[index];
            account.positions_dirty.insert(symbol);
            account.dirty = Dirty::Now;
        }
        if !same || recheck || (wanted.is_none() && self.accounts[index].exchange.stop(symbol).is_some()) {
            let view = desk.prices.get(key).expect("a strategy's market is configured").view(desk.at);
            let kept = desk.state().stops.of_position(strategy, symbol).and_then(|stops| stops.kept.as_ref());
            self.accounts[index].exchange.protect(desk.at, symbol, kept, &view, reports);
        }
    }

    /// The stop that a position needs now, under the id of one that is new.
    fn wanted_stop(&self, state: &State, index: usize, symbol: Symbol) -> Option<ProtectiveStop> {
        let strategy = self.accounts[index].settings.id;
        let position = state.strategies[&strategy].positions.get(&symbol)?;
        let triggers = &state.stops.of_position(strategy, symbol)?.triggers;
        let closing = |order: &Order| order.symbol == symbol && order.is_of_stop();
        if triggers.is_empty() || self.open_orders(state, index).any(closing) {
            return None;
        }
        Some(ProtectiveStop {
            stop_id: stop_id(state, strategy, position),
            symbol,
            side: position.side().opposite(),
            quantity: position.quantity.abs(),
            stop_loss: triggers.stop_loss.as_ref().map(|trigger| trigger.price),
            take_profit: triggers.take_profit.as_ref().map(|trigger| trigger.price),
        })
    }

    /// Makes the order that a touched stop becomes, and takes back the entries that work on its symbol.
    pub(super) fn on_touched(
        &mut self,
        desk: &mut Desk<'_>,
        index: usize,
        touched: Touched,
        reports: &mut Vec<ExecutionReport>,
    ) {
        if self.blocked(desk.state(), index).is_some() {
            return;
        }
        // What the venue made is a fact; an order of our own waits after one that was refused.
        if touched.quantity.is_none() && self.is_exit_paused(desk.at, index, touched.symbol) {
            return;
        }
        let Some((key, order)) = self.stop_order(desk, index, &touched) else { return };
        let symbol = touched.symbol;
        let closing = order.side;
        desk.record(Record::Order(order.clone()));
        // Orders at the market against the position close it themselves, a flip among them.
        let entry = |order: &&Order| {
            let closes = order.order_type == OrderType::Market && order.side == closing;
            order.symbol == symbol && !order.reduce_only && !closes
        };
        let entries: Vec<ClientOrderId> =
            self.open_orders(desk.state(), index).filter(entry).map(|order| order.order_id).collect();
        for order_id in entries {
            let reason = OrderReason::of_stop(touched.cause);
            self.accounts[index].exchange.cancel(desk.at, order_id, reason, reports);
        }
        self.protect(desk, index, (symbol, false), reports);
        let view = desk.prices.get(key).expect("a strategy's market is configured").view(desk.at);
        let approved = approve_reduction(order);
        self.accounts[index].exchange.close_touched(desk.at, approved, &view, reports);
    }

    /// The order of a touched stop, unless everything is being closed already.
    fn stop_order(&self, desk: &Desk<'_>, index: usize, touched: &Touched) -> Option<(MarketKey, Order)> {
        let (state, symbol) = (desk.state(), touched.symbol);
        let key = self.market_of(index, symbol)?;
        let settings = &self.accounts[index].settings;
        let position = state.strategies[&settings.id].positions.get(&symbol)?;
        let stops = state.stops.of_position(settings.id, symbol)?;
        // One that was replaced meanwhile may be that of a position before a flip; what a venue closes is a fact.
        let is_kept = stops.kept.as_ref().is_some_and(|kept| kept.stop_id == touched.stop_id);
        let known = is_kept || touched.quantity.is_some();
        // What a venue made of a stop belongs to the side that it protected, which may be gone by now.
        let put = state.live.stops.get(&touched.stop_id);
        if put.is_some_and(|live| live.stop.side == position.side()) {
            return None;
        }
        let held = position.quantity.abs();
        let at_market = |order: &Order| order.order_type == OrderType::Market;
        let closed = || self.working_exits(state, index, symbol, position.quantity, at_market);
        let quantity = touched.quantity.map_or_else(|| held - closed(), |quantity| quantity.min(held));
        if !known || !quantity.is_positive() {
            return None;
        }
        let draft = OrderDraft {
            strategy: settings.id,
            symbol,
            venue: settings.venue,
            signal_id: stops.triggers.get(touched.cause).map(|trigger| trigger.signal_id.clone()),
            quantity_signed: position.side().opposite().signed(quantity),
            order_type: OrderType::Market,
            reduce_only: true,
        };
        let store = state.store_id.expect("the store has an id since its first record");
        let (cause, leg) = (touched.cause.as_str(), touched.stop_id.as_str());
        let first = order_id(store, settings.id, cause, position.opened_at, leg);
        // A venue may make more than one order of a stop; each is one of its own here.
        let known = state.orders.contains_key(&first) || state.live.orders.contains_key(&first);
        let again = || format!("{leg}-{}", state.sequence);
        let id = match known {
            true => order_id(store, settings.id, cause, position.opened_at, &again()),
            false => first,
        };
        let reason = Some(OrderReason::of_stop(touched.cause));
        Some((key, Order { reason, ..draft.order(id, desk.at) }))
    }

    /// Lets `act` collect reports of an exchange, and settles them.
    pub(super) fn with_reports(
        &mut self,
        desk: &mut Desk<'_>,
        index: usize,
        act: impl FnOnce(&mut ExchangeControl, &mut Desk<'_>, &mut Vec<ExecutionReport>),
    ) {
        let mut reports = std::mem::take(&mut self.reports);
        act(self, desk, &mut reports);
        self.settle(desk, index, &mut reports);
        self.reports = reports;
    }

    /// After a restart: a position whose symbol came back into the configuration is protected again.
    pub(super) fn protect_all(&mut self, desk: &mut Desk<'_>) {
        let stops = desk.state().stops.positions();
        let held: Vec<(StrategyId, Symbol)> = stops.map(|(strategy, symbol, _)| (strategy, symbol)).collect();
        for (strategy, symbol) in held {
            if let Some(index) = self.account_of(strategy) {
                self.with_reports(desk, index, |control, desk, reports| {
                    control.protect(desk, index, (symbol, false), reports);
                });
            }
        }
    }
}

/// The id of a stop: like an order's, of the position's opening and of a count that never comes again.
fn stop_id(state: &State, strategy: StrategyId, position: &Position) -> ClientOrderId {
    let store = state.store_id.expect("the store has an id since its first record");
    let leg = format!("{}-{}-{}", position.symbol, position.opened_by, state.sequence);
    order_id(store, strategy, "stop", position.opened_at, &leg)
}

#[cfg(test)]
#[path = "stops_tests.rs"]
mod tests;
