//! Long and short positions beside each other: the part of a flip that opens waits until the other side is closed.
//!
//! A strategy's ledger has one side of a pair. If the opening part were sent while the closing one fills only in part,
//! the venue would hold both sides. It waits for [`SEND_MS_MAX`] at most, which is as long as any entry may wait.

use super::LiveExchange;
use super::in_flight::{InFlight, NOT_CLOSED, SEND_MS_MAX, Step};
use crate::model::ids::ClientOrderId;
use crate::model::order::{Order, OrderStatus, OrderType, Side};
use crate::model::report::ExecutionReport;
use crate::model::time::Timestamp;
use crate::model::trading::{PositionMode, PositionSide};

impl LiveExchange {
    /// The orders on their way that close the side opposite to what an order opens; none where an account nets.
    pub(super) fn closing_before(&self, order: &Order) -> Vec<ClientOrderId> {
        if self.ground.position_mode == PositionMode::Net || order.reduce_only {
            return Vec::new();
        }
        let closes = |flight: &&InFlight| {
            let other = &flight.order;
            let market = other.reduce_only && other.order_type == OrderType::Market;
            market && (other.symbol, other.side) == (order.symbol, order.side) && flight.note.ended.is_none()
        };
        self.orders.values().filter(closes).map(|flight| flight.order.order_id).collect()
    }

    /// Sends what waited for orders that have ended, or gives it up where one of them did not close what it should.
    pub(super) fn release(&mut self, at: Timestamp, out: &mut Vec<ExecutionReport>) {
        let waits = |flight: &&InFlight| !flight.behind.is_empty() && flight.note.ended.is_none();
        let waiting: Vec<ClientOrderId> =
            self.orders.values().filter(waits).map(|flight| flight.order.order_id).collect();
        for order_id in waiting {
            let ends = |id: &ClientOrderId| self.orders.get(id).map(|flight| flight.ended_as());
            let ends: Vec<_> = self.orders[&order_id].behind.iter().map(ends).collect();
            let flight = self.orders.get_mut(&order_id).expect("it was there just now");
            if ends.iter().all(|end| *end == Some(Some(OrderStatus::Filled))) {
                flight.behind.clear();
                flight.send(at, &self.ground, out);
            } else if !ends.contains(&Some(None)) {
                flight.behind.clear();
                flight.absent(at, NOT_CLOSED, out);
                self.shadow.on_note(at, flight.note(), out);
            }
        }
    }
}

impl InFlight {
    /// Waits until these orders have closed the other side; it is given up when that takes too long.
    pub(super) fn wait_behind(
        &mut self,
        at: Timestamp,
        behind: Vec<ClientOrderId>,
        out: &mut Vec<ExecutionReport>,
    ) {
        self.behind = behind;
        self.note.expires = at.plus_ms(SEND_MS_MAX);
        self.next = Some((self.note.expires, Step::GiveUp));
        out.push(ExecutionReport::Noted(Box::new(self.note.clone())));
    }

    /// How it ended, if it did.
    fn ended_as(&self) -> Option<OrderStatus> {
        self.note.ended.map(|_| self.order.status)
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
