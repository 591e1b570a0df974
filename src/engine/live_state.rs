//! What survives of live trading beyond the ledgers: orders at venues, accounts, and open questions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::record::{Correction, SnapshotRecord};
use super::state::State;
use crate::model::amount::Money;
use crate::model::ids::{AccountId, ClientOrderId, VenueOrderId};
use crate::model::live::{Figures, LiveNote, LiveOrder, LiveStop};
use crate::model::order::{Order, Side};
use crate::model::report::Fill;
use crate::model::time::Timestamp;

/// The folded state of live trading.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LiveState {
    /// Orders at venues, also ended ones whose fills are not proven yet.
    pub orders: BTreeMap<ClientOrderId, LiveOrder>,
    /// Stops at venues.
    pub stops: BTreeMap<ClientOrderId, LiveStop>,
    /// What is known of each account that was ever traded.
    pub accounts: BTreeMap<AccountId, AccountState>,
}

/// What is remembered of an account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AccountState {
    /// The last execution of the last snapshot that was taken over.
    pub last_fill: Option<VenueOrderId>,
    /// When that snapshot was asked for.
    pub asked: Option<Timestamp>,
    /// When the account first sent an order.
    pub since: Option<Timestamp>,
}

impl LiveState {
    /// The order behind an id, also if it ended.
    pub fn order(&self, order_id: ClientOrderId) -> Option<&Order> {
        self.orders.get(&order_id).map(|live| &live.order)
    }

    /// Keeps the copy of an order current.
    pub(super) fn apply_order(&mut self, order: &Order) {
        if let Some(live) = self.orders.get_mut(&order.order_id) {
            live.order = order.clone();
        }
    }

    /// Counts a fill; `spent` is what it changed cost minus profit by.
    pub(super) fn apply_fill(&mut self, fill: &Fill, spent: Money) {
        if let Some(live) = self.orders.get_mut(&fill.order_id) {
            live.fills = fill.number;
            let notional = if fill.side == Side::Buy { spent } else { -spent };
            live.ledger = live.ledger.with(Figures { quantity: fill.quantity, notional, fee: fill.fee });
        }
    }

    pub(super) fn apply_stop(&mut self, stop: &LiveStop) {
        match stop.gone {
            true => self.stops.remove(&stop.stop.stop_id),
            false => self.stops.insert(stop.stop.stop_id, stop.clone()),
        };
    }

    /// Forgets what was done before the snapshot ahead of this one: its executions lie behind both.
    pub(super) fn apply_snapshot(&mut self, record: &SnapshotRecord) {
        let account = self.accounts.entry(record.account).or_default();
        let before = account.asked.replace(record.asked);
        account.last_fill = record.last_fill;
        if let Some(before) = before {
            self.orders
                .retain(|_, live| live.note.account != record.account || !live.note.is_done_before(before));
        }
    }
}

impl State {
    pub(super) fn apply_note(&mut self, note: &LiveNote) {
        let account = self.live.accounts.entry(note.account).or_default();
        account.since = account.since.or(Some(note.expires));
        if let Some(live) = self.live.orders.get_mut(&note.order_id) {
            live.note = note.clone();
        } else if let Some(order) = self.orders.get(&note.order_id) {
            let live =
                LiveOrder { order: order.clone(), fills: 0, ledger: Figures::default(), note: note.clone() };
            self.live.orders.insert(note.order_id, live);
        }
    }

    /// Money that the venue's last word adds or takes away. It belongs to what is held if the order made that larger,
    /// else it was realised.
    pub(super) fn apply_correction(&mut self, record: &Correction) {
        if let Some(live) = self.live.orders.get_mut(&record.order_id) {
            live.ledger.notional += record.notional;
            live.ledger.fee += record.fee;
        }
        let Some(strategy) = self.strategies.get_mut(&record.strategy) else { return };
        let notional = record.notional;
        let cost = if record.side == Side::Buy { notional } else { -notional };
        strategy.fees += record.fee;
        match strategy.positions.get_mut(&record.symbol) {
            Some(position) if position.side() == record.side => {
                position.cost += cost;
                position.entered_notional += notional;
                position.fees += record.fee;
            }
            Some(position) => {
                strategy.realized_pnl -= cost;
                position.realized_pnl -= cost;
                position.left_notional += notional;
                position.fees += record.fee;
            }
            None => strategy.realized_pnl -= cost,
        }
    }
}
