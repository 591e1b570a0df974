//! What survives of live trading beyond the ledgers: orders at venues, accounts, and open questions.

use std::collections::{BTreeMap, VecDeque};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::record::{
    AccountRecord, Correction, Difference, DriftRecord, FundingRecord, LastFillsRecord, ReconcileRecord,
    Route, RouteRecord, SnapshotRecord,
};
use super::state::State;
use crate::model::amount::Money;
use crate::model::ids::{AccountId, ClientOrderId, StrategyId, Symbol, VenueOrderId};
use crate::model::live::{Drift, Figures, LiveNote, LiveOrder, LiveStop};
use crate::model::order::{Order, Side};
use crate::model::report::Fill;
use crate::model::time::Timestamp;
use crate::model::trading::{Environment, PositionMode};

/// The folded state of live trading.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LiveState {
    /// Orders at venues, also ended ones whose fills are not proven yet.
    pub orders: BTreeMap<ClientOrderId, LiveOrder>,
    /// Stops at venues.
    pub stops: BTreeMap<ClientOrderId, LiveStop>,
    /// What is known of each account that was ever traded.
    pub accounts: BTreeMap<AccountId, AccountState>,
    /// What is known of each strategy that ever traded live.
    pub strategies: BTreeMap<StrategyId, LiveStrategy>,
}

/// What is remembered of an account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AccountState {
    /// The newest execution of each pair that was taken over: a venue counts those of each pair.
    pub last_fills: BTreeMap<Symbol, VenueOrderId>,
    /// When the last snapshot that was taken over was asked for.
    pub asked: Option<Timestamp>,
    /// When the account first sent an order.
    pub since: Option<Timestamp>,
    /// Its id at the venue, and its world there.
    pub identity: Option<(String, Environment)>,
    /// How it holds positions, as last told.
    pub position_mode: Option<PositionMode>,
    /// The latest funding payments that were booked.
    pub funding: VecDeque<String>,
}

/// What is remembered of a strategy's live trading.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LiveStrategy {
    /// Where its position is, or was last.
    pub route: Option<Route>,
    /// What venue and ledger differ by.
    pub differences: Vec<Difference>,
    /// The latest orders beside the paper model, oldest first.
    pub drifts: VecDeque<Drift>,
}

/// How many funding payments of an account are remembered: a week of hourly ones of 24 pairs, which is as far back as a
/// restart asks.
const FUNDING_MAX: usize = 4_096;
/// Over how many of its latest orders a strategy is held against the paper model.
const DRIFTS_MAX: usize = 100;

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

    /// Where a strategy's position is.
    pub fn route(&self, strategy: StrategyId) -> Option<&Route> {
        self.strategies.get(&strategy)?.route.as_ref()
    }

    /// What venue and ledger differ by for a strategy.
    pub fn differences(&self, strategy: StrategyId) -> &[Difference] {
        self.strategies.get(&strategy).map_or(&[], |live| &live.differences)
    }

    /// How much worse, in basis points of the notional, a strategy's latest orders were filled than the paper model
    /// says; undefined before the first. Negative is better.
    pub fn drift_bps(&self, strategy: StrategyId) -> Option<Decimal> {
        let drifts = &self.strategies.get(&strategy)?.drifts;
        let notional: Money = drifts.iter().map(|drift| drift.notional).sum();
        let cost: Money = drifts.iter().map(|drift| drift.cost).sum();
        let ratio = cost.value().checked_div(notional.value())?;
        Some((ratio * Decimal::from(10_000)).round_dp(4))
    }

    pub(super) fn apply_drift(&mut self, record: &DriftRecord) {
        let drifts = &mut self.strategies.entry(record.strategy).or_default().drifts;
        drifts.push_back(record.drift);
        if drifts.len() > DRIFTS_MAX {
            drifts.pop_front();
        }
    }

    pub(super) fn apply_account(&mut self, record: &AccountRecord) {
        let account = self.accounts.entry(record.account).or_default();
        account.identity = Some((record.uid.clone(), record.environment));
        account.position_mode = Some(record.position_mode);
    }

    pub(super) fn apply_route(&mut self, record: &RouteRecord) {
        self.strategies.entry(record.strategy).or_default().route = Some(record.route.clone());
    }

    pub(super) fn apply_reconcile(&mut self, record: &ReconcileRecord) {
        self.strategies.entry(record.strategy).or_default().differences = record.differences.clone();
    }

    pub(super) fn apply_stop(&mut self, stop: &LiveStop) {
        match stop.gone {
            true => self.stops.remove(&stop.stop.stop_id),
            false => self.stops.insert(stop.stop.stop_id, stop.clone()),
        };
    }

    pub(super) fn apply_last_fills(&mut self, record: &LastFillsRecord) {
        let account = self.accounts.entry(record.account).or_default();
        account.last_fills.extend(record.last_fills.iter().copied());
    }

    /// Forgets what was done before the snapshot ahead of this one: its executions lie behind both.
    pub(super) fn apply_snapshot(&mut self, record: &SnapshotRecord) {
        let account = self.accounts.entry(record.account).or_default();
        let before = account.asked.replace(record.asked);
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

    /// A share of a funding payment; the payment is remembered by its id.
    pub(super) fn apply_funding(&mut self, record: &FundingRecord) {
        let account = self.live.accounts.entry(record.account).or_default();
        if account.funding.back() != Some(&record.id) {
            account.funding.push_back(record.id.clone());
            if account.funding.len() > FUNDING_MAX {
                account.funding.pop_front();
            }
        }
        let Some(strategy) = self.strategies.get_mut(&record.strategy) else { return };
        strategy.funding += record.amount;
        if let Some(position) = strategy.positions.get_mut(&record.symbol) {
            position.funding += record.amount;
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
