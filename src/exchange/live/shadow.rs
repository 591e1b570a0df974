//! The paper model beside live orders: what it would have made of each order that is sent.
//!
//! It never touches a ledger. Only the price is compared, over what both filled; an order that was on its way when the
//! daemon stopped is not compared, nor one that only one of both fills within an hour.

use std::collections::BTreeMap;

use crate::exchange::paper::{PaperExchange, PaperSettings};
use crate::exchange::{Exchange, MarketView};
use crate::model::amount::Quantity;
use crate::model::ids::{ClientOrderId, Symbol};
use crate::model::live::{Drift, Figures, LiveNote};
use crate::model::market::PriceUpdate;
use crate::model::order::{OrderReason, Side};
use crate::model::report::ExecutionReport;
use crate::model::time::Timestamp;
use crate::risk::RiskApproved;

/// Orders that may wait for one of both exchanges; the oldest gives way.
const ORDERS_MAX: usize = 64;
/// How long an order may wait for one of both exchanges, in milliseconds.
const WAIT_MS_MAX: i64 = 3_600_000;

/// One strategy's orders on paper, as far as they are compared.
#[derive(Debug)]
pub(super) struct Shadow {
    paper: PaperExchange,
    orders: BTreeMap<ClientOrderId, Shadowed>,
    /// What the paper exchange said and nobody has read yet.
    said: Vec<ExecutionReport>,
}

#[derive(Debug)]
struct Shadowed {
    since: Timestamp,
    side: Side,
    quantity: Quantity,
    paper: Figures,
    live: Option<Figures>,
}

impl Shadow {
    pub(super) fn new(settings: PaperSettings) -> Shadow {
        Shadow { paper: PaperExchange::new(settings), orders: BTreeMap::new(), said: Vec::new() }
    }

    /// An order goes to the venue, or a touched stop became one there.
    pub(super) fn submit(&mut self, at: Timestamp, order: RiskApproved, market: &MarketView<'_>) {
        self.make_room(at);
        let (order_id, side, quantity) = (order.order().order_id, order.order().side, order.order().quantity);
        let shadowed = Shadowed { since: at, side, quantity, paper: Figures::default(), live: None };
        self.orders.insert(order_id, shadowed);
        self.paper.submit(at, order, market, &mut self.said);
        self.read();
    }

    pub(super) fn cancel(&mut self, at: Timestamp, order_id: ClientOrderId, reason: OrderReason) {
        self.paper.cancel(at, order_id, reason, &mut self.said);
        self.said.clear();
    }

    pub(super) fn on_price(
        &mut self,
        at: Timestamp,
        symbol: Symbol,
        update: &PriceUpdate,
        market: &MarketView<'_>,
        out: &mut Vec<ExecutionReport>,
    ) {
        if !self.orders.is_empty() {
            self.paper.on_price(at, symbol, update, market, &mut self.said);
            self.compare(out);
        }
    }

    pub(super) fn on_wakeup(
        &mut self,
        at: Timestamp,
        symbol: Symbol,
        market: &MarketView<'_>,
        out: &mut Vec<ExecutionReport>,
    ) {
        self.paper.on_wakeup(at, symbol, market, &mut self.said);
        self.compare(out);
    }

    pub(super) fn next_wakeup(&self) -> Option<(Timestamp, Symbol)> {
        self.paper.next_wakeup()
    }

    /// A live order may have ended, and what filled of it may be proven.
    pub(super) fn on_note(&mut self, at: Timestamp, note: &LiveNote, out: &mut Vec<ExecutionReport>) {
        if note.ended.is_none() || note.booked != note.settled {
            return;
        }
        if note.settled.quantity.is_zero() {
            self.forget(at, note.order_id);
        } else if let Some(shadowed) = self.orders.get_mut(&note.order_id) {
            shadowed.live = Some(note.settled);
            self.compare(out);
        }
    }

    /// Adds up what the paper exchange filled.
    fn read(&mut self) {
        for report in self.said.drain(..) {
            let ExecutionReport::Filled { order_id, price, quantity, fee, .. } = report else { continue };
            if let Some(shadowed) = self.orders.get_mut(&order_id) {
                let notional = price.times(quantity);
                shadowed.paper = shadowed.paper.with(Figures { quantity, notional, fee });
            }
        }
    }

    /// Tells what both exchanges have filled by now.
    fn compare(&mut self, out: &mut Vec<ExecutionReport>) {
        self.read();
        self.orders.retain(|order_id, shadowed| {
            let done = shadowed.drift();
            out.extend(done.map(|drift| ExecutionReport::Drifted { order_id: *order_id, drift }));
            done.is_none()
        });
    }

    /// Forgets what waited too long, and the oldest of too many.
    fn make_room(&mut self, at: Timestamp) {
        let late = self.orders.iter().filter(|(_, shadowed)| at.since_ms(shadowed.since) > WAIT_MS_MAX);
        let mut gone: Vec<ClientOrderId> = late.map(|(id, _)| *id).collect();
        if gone.is_empty() && self.orders.len() >= ORDERS_MAX {
            let oldest = self.orders.iter().min_by_key(|(id, shadowed)| (shadowed.since, **id));
            gone.extend(oldest.map(|(id, _)| *id));
        }
        gone.into_iter().for_each(|id| self.forget(at, id));
    }

    fn forget(&mut self, at: Timestamp, order_id: ClientOrderId) {
        if self.orders.remove(&order_id).is_some() {
            self.cancel(at, order_id, OrderReason::Venue);
        }
    }
}

impl Shadowed {
    /// The comparison, once the paper exchange filled as much as the venue, or all of the order.
    fn drift(&self) -> Option<Drift> {
        let live = self.live?;
        let quantity = live.quantity.min(self.quantity);
        if self.paper.quantity < quantity {
            return None;
        }
        let paper = self.paper.notional.share(quantity, self.paper.quantity);
        let live = live.notional.share(quantity, live.quantity);
        let cost = if self.side == Side::Buy { live - paper } else { paper - live };
        Some(Drift { notional: paper, cost })
    }
}
