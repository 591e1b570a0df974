//! What one order asks of the venue: to be placed, taken back, or looked up.

use super::behind::position_side;
use super::in_flight::{ANSWER_MS_MAX, Ground, InFlight, SEND_MS_MAX, SETTLE_MS, Step};
use crate::model::order::{OrderReason, OrderStatus};
use crate::model::report::ExecutionReport;
use crate::model::time::Timestamp;
use crate::model::trading::{PlaceOrder, VenueRequest};

impl InFlight {
    /// Sends it, for the first time or again after it provably never arrived.
    pub fn send(&mut self, at: Timestamp, ground: &Ground, out: &mut Vec<ExecutionReport>) {
        self.note.expires = at.plus_ms(SEND_MS_MAX);
        out.push(ExecutionReport::Noted(Box::new(self.note.clone())));
        let order = &self.order;
        out.push(ExecutionReport::Ask(Box::new(VenueRequest::Place(Box::new(PlaceOrder {
            order_id: order.order_id,
            instrument: self.note.instrument.clone(),
            side: order.side,
            order_type: order.order_type,
            quantity: order.quantity,
            reduce_only: order.reduce_only,
            margin_mode: ground.settings.margin_mode,
            position_side: position_side(ground.position_mode, order.side, order.reduce_only),
            expires: self.note.expires,
        })))));
        self.next = Some((self.note.expires.plus_ms(ANSWER_MS_MAX), Step::LookUp));
    }

    /// Takes it back: on its way, too, because it may not have left yet. One whose fate is unknown waits for its
    /// lookup; the wish is kept with its reason.
    pub fn cancel(&mut self, at: Timestamp, reason: OrderReason, out: &mut Vec<ExecutionReport>) {
        if self.note.ended.is_some() || self.cancel_wanted().is_some() {
            return;
        }
        if self.waits_to_send() {
            return self.end(at, OrderStatus::Cancelled, Some(reason), out);
        }
        if self.note.venue_order_id.is_none() || self.order.status == OrderStatus::Unknown {
            self.stand(self.order.status, Some(reason), out);
            if self.order.status == OrderStatus::Submitting {
                out.push(self.cancel_request());
            }
            return;
        }
        self.stand(OrderStatus::Cancelling, Some(reason), out);
        self.ask_cancel(at, out);
    }

    pub(super) fn ask_cancel(&mut self, at: Timestamp, out: &mut Vec<ExecutionReport>) {
        out.push(self.cancel_request());
        self.tries += 1;
        self.next = Some((at.plus_ms(SETTLE_MS.max(self.pause_ms())), Step::LookUp));
    }

    pub(super) fn cancel_request(&self) -> ExecutionReport {
        ExecutionReport::Ask(Box::new(VenueRequest::Cancel {
            order_id: self.order.order_id,
            venue_order_id: self.note.venue_order_id,
            symbol: self.order.symbol,
        }))
    }

    pub(super) fn look_up(&mut self, at: Timestamp, out: &mut Vec<ExecutionReport>) {
        let (order_id, symbol) = (self.order.order_id, self.order.symbol);
        out.push(ExecutionReport::Ask(Box::new(VenueRequest::Lookup { order_id, symbol, asked: at })));
        self.tries += 1;
        self.next = Some((at.plus_ms(self.pause_ms()), Step::LookUp));
    }
}
