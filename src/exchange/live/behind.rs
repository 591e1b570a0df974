//! Orders that wait for others of their strategy before they are sent.
//!
//! Where long and short positions lie beside each other, the part of a flip that opens waits until the other side is
//! closed: a ledger has one side of a pair, so the venue must not hold both. It is given up after [`SEND_MS_MAX`], as
//! any entry. Where several strategies share an account, an exit at the market waits until resting exits that are being
//! taken back have ended, and is cut by what they filled meanwhile: reduce-only protects the account's position, not
//! the part of it that is another strategy's. It is sent in any case after [`BEHIND_MS_MAX`].

use super::LiveExchange;
use super::in_flight::{InFlight, SEND_MS_MAX, Step};
use crate::model::amount::Quantity;
use crate::model::ids::ClientOrderId;
use crate::model::order::{Order, OrderReason, OrderStatus, OrderType, Side};
use crate::model::report::ExecutionReport;
use crate::model::time::Timestamp;
use crate::model::trading::{PositionMode, PositionSide};

/// How long an exit may wait for another one that is being taken back, in milliseconds. A venue that answers tells its
/// fate within seconds, and one that does not would not take the exit either.
const BEHIND_MS_MAX: i64 = 60_000;
/// Why an entry was not sent.
const NOT_CLOSED: &str = "the other side of the position was not closed";

impl LiveExchange {
    /// What an order must wait for, and what of it is filled now.
    pub(super) fn before(&self, order: &Order) -> Vec<(ClientOrderId, Quantity)> {
        let is_before = |flight: &&InFlight| {
            let other = &flight.order;
            let exit = (other.symbol, other.side) == (order.symbol, order.side) && other.reduce_only;
            let market = other.order_type == OrderType::Market;
            let waits = match order.reduce_only {
                false => market && self.ground.position_mode == PositionMode::LongShort,
                true => !market && self.ground.settings.shared && flight.cancel_wanted().is_some(),
            };
            exit && waits && flight.note.ended.is_none()
        };
        let before = self.orders.values().filter(is_before);
        before.map(|flight| (flight.order.order_id, flight.note.booked.quantity)).collect()
    }

    /// Makes due what waited for orders that have ended by now. It is not sent at once, because what they filled must
    /// be booked first.
    pub(super) fn wake_behind(&mut self, at: Timestamp) {
        let ended = |id: &ClientOrderId| self.orders.get(id).is_none_or(|other| other.note.ended.is_some());
        let over =
            |flight: &&InFlight| !flight.behind.is_empty() && flight.behind.iter().all(|(id, _)| ended(id));
        let over: Vec<ClientOrderId> =
            self.orders.values().filter(over).map(|flight| flight.order.order_id).collect();
        for order_id in over {
            let flight = self.orders.get_mut(&order_id).expect("it was there just now");
            flight.next = flight.next.map(|(_, step)| (at, step));
        }
    }

    /// Sends or gives up what has waited long enough, or for orders that have ended.
    pub(super) fn release(&mut self, at: Timestamp, out: &mut Vec<ExecutionReport>) {
        let due = |flight: &&InFlight| !flight.behind.is_empty() && flight.due().is_some_and(|due| due <= at);
        let due: Vec<ClientOrderId> =
            self.orders.values().filter(due).map(|flight| flight.order.order_id).collect();
        for order_id in due {
            let (mut meanwhile, mut closed) = (Quantity::ZERO, true);
            for (id, before) in &self.orders[&order_id].behind {
                let Some(other) = self.orders.get(id) else {
                    closed = false;
                    continue;
                };
                meanwhile += other.note.booked.quantity - *before;
                closed &= other.note.ended.is_some() && other.order.status == OrderStatus::Filled;
            }
            let flight = self.orders.get_mut(&order_id).expect("it was there just now");
            flight.behind.clear();
            if !flight.order.reduce_only && !closed {
                flight.absent(at, NOT_CLOSED, out);
            } else if !flight.order.reduce_only || flight.cut(at, meanwhile, out) {
                flight.send(at, &self.ground, out);
            }
            self.shadow.on_note(at, flight.note(), out);
        }
    }
}

impl InFlight {
    /// Waits until these orders have ended.
    pub(super) fn wait_behind(
        &mut self,
        at: Timestamp,
        behind: Vec<(ClientOrderId, Quantity)>,
        out: &mut Vec<ExecutionReport>,
    ) {
        self.behind = behind;
        let wait_ms = if self.order.reduce_only { BEHIND_MS_MAX } else { SEND_MS_MAX };
        self.next = Some((at.plus_ms(wait_ms), Step::Release));
        out.push(ExecutionReport::Noted(Box::new(self.note.clone())));
    }

    /// Takes off what others closed of it; `false` when nothing is left.
    fn cut(&mut self, at: Timestamp, closed: Quantity, out: &mut Vec<ExecutionReport>) -> bool {
        if !closed.is_positive() {
            return true;
        }
        let left = self.order.quantity - closed;
        if !left.is_positive() {
            self.end(at, OrderStatus::Cancelled, Some(OrderReason::ReduceOnly), out);
            return false;
        }
        self.order.quantity = left;
        out.push(ExecutionReport::Cut { order_id: self.order.order_id, quantity: left });
        true
    }
}

/// Which position an order acts on.
pub(super) fn position_side(mode: PositionMode, side: Side, reduce_only: bool) -> PositionSide {
    match (mode, side, reduce_only) {
        (PositionMode::Net, ..) => PositionSide::Net,
        (PositionMode::LongShort, Side::Buy, false) | (PositionMode::LongShort, Side::Sell, true) => {
            PositionSide::Long
        }
        (PositionMode::LongShort, ..) => PositionSide::Short,
    }
}
