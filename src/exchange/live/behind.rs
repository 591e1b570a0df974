//! Orders that wait for others of their strategy before they are sent.
//!
//! Where long and short positions lie beside each other, the part of a flip that opens waits until the other side is
//! closed: a ledger has one side of a pair, so the venue must not hold both. It is given up after [`SEND_MS_MAX`], as
//! any entry. Where several strategies share an account, an exit at the market waits until resting exits that are being
//! taken back have ended: reduce-only protects the account's position, not the part of it that is another strategy's.
//! Whoever knows the position cuts it meanwhile ([`LiveExchange::cut_waiting`]). It is sent in any case after
//! [`BEHIND_MS_MAX`].

use super::LiveExchange;
use super::in_flight::{InFlight, SEND_MS_MAX, Step};
use crate::model::amount::Quantity;
use crate::model::ids::ClientOrderId;
use crate::model::order::{Order, OrderStatus, OrderType, Side};
use crate::model::report::ExecutionReport;
use crate::model::time::Timestamp;
use crate::model::trading::{PositionMode, PositionSide};

/// How long an exit may wait for another one that is being taken back, in milliseconds. A venue that answers tells its
/// fate within seconds, and one that does not would not take the exit either.
const BEHIND_MS_MAX: i64 = 60_000;
/// Why an entry was not sent.
const NOT_CLOSED: &str = "the other side of the position was not closed";

impl LiveExchange {
    /// What an order must wait for.
    pub(super) fn before(&self, order: &Order) -> Vec<ClientOrderId> {
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
        self.orders.values().filter(is_before).map(|flight| flight.order.order_id).collect()
    }

    /// Whether an order waits for others, so that it can be cut.
    pub fn waits_behind(&self, order_id: ClientOrderId) -> bool {
        self.orders.get(&order_id).is_some_and(|flight| !flight.behind.is_empty())
    }

    /// Makes an order that waits one for less: `left`, which is positive, is all that there is to close.
    pub fn cut_waiting(&mut self, order_id: ClientOrderId, left: Quantity, out: &mut Vec<ExecutionReport>) {
        if let Some(flight) = self.orders.get_mut(&order_id).filter(|flight| !flight.behind.is_empty()) {
            flight.order.quantity = left;
            out.push(ExecutionReport::Cut { order_id, quantity: left });
        }
    }

    /// Makes due what waited for orders that have ended by now. It is not sent at once, because what they filled must
    /// be booked first.
    pub(super) fn wake_behind(&mut self, at: Timestamp) {
        let ended = |id: &ClientOrderId| self.orders.get(id).is_none_or(|other| other.note.ended.is_some());
        let over = |flight: &&InFlight| !flight.behind.is_empty() && flight.behind.iter().all(ended);
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
            let filled = |id: &ClientOrderId| {
                let before = self.orders.get(id);
                before.is_some_and(|before| before.order.status == OrderStatus::Filled)
            };
            let closed = self.orders[&order_id].behind.iter().all(filled);
            let flight = self.orders.get_mut(&order_id).expect("it was there just now");
            flight.behind.clear();
            match flight.order.reduce_only || closed {
                true => flight.send(at, &self.ground, out),
                false => flight.absent(at, NOT_CLOSED, out),
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
        behind: Vec<ClientOrderId>,
        out: &mut Vec<ExecutionReport>,
    ) {
        self.behind = behind;
        let wait_ms = if self.order.reduce_only { BEHIND_MS_MAX } else { SEND_MS_MAX };
        self.next = Some((at.plus_ms(wait_ms), Step::Release));
        out.push(ExecutionReport::Noted(Box::new(self.note.clone())));
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
