//! The accounts at venues: what they say goes to the exchanges of the strategies that trade them, and what the
//! exchanges ask goes out.
//!
//! An account is asked for everything when the engine starts, when its link comes up, when a fill waits for its proof,
//! and now and then. Only an answer to the last question counts, so an old one that comes late does nothing.

use super::desk::Desk;
use super::effect::{AlertLevel, Effect};
use super::exchange_control::ExchangeControl;
use super::record::{Record, SnapshotRecord};
use super::settings::{AccountSettings, EngineSettings};
use crate::exchange::live::{LiveExchange, sane};
use crate::model::ids::{StrategyId, VenueOrderId};
use crate::model::report::ExecutionReport;
use crate::model::time::Timestamp;
use crate::model::trading::{AccountReport, AccountSnapshot, Dispatch, VenueReport, VenueRequest};

/// An account is asked for everything at least this often, in milliseconds.
pub const SNAPSHOT_MS: i64 = 300_000;
/// How long an answer may take before it is asked for again, in milliseconds.
const SNAPSHOT_ANSWER_MS: i64 = 30_000;
/// How long a fill may wait for its proof before it is asked for, in milliseconds.
const PROOF_MS: i64 = 5_000;
/// Fills are asked for from this long before the first order of an account, in milliseconds.
const SINCE_MS: i64 = 60_000;

/// An account at a venue and who trades it.
#[derive(Debug)]
pub struct VenueAccount {
    pub(super) settings: AccountSettings,
    /// Its strategies, by their places in the list of accounts.
    pub(super) members: Vec<usize>,
    /// Whether the private stream is up.
    pub(super) link: bool,
    /// The snapshot that is waited for, by the time when it was asked for.
    pub(super) asked: Option<Timestamp>,
    /// When the next one is asked for.
    pub(super) due: Option<Timestamp>,
    /// When the last one was taken over.
    pub(super) taken: Option<Timestamp>,
}

impl VenueAccount {
    /// The accounts of the settings.
    pub fn all(settings: &EngineSettings) -> Vec<VenueAccount> {
        let account = |account: &AccountSettings| {
            let trades = |index: &usize| settings.strategies[*index].account == Some(account.id);
            VenueAccount {
                settings: account.clone(),
                members: (0..settings.strategies.len()).filter(trades).collect(),
                link: false,
                asked: None,
                due: None,
                taken: None,
            }
        };
        settings.accounts.iter().map(account).filter(|account| !account.members.is_empty()).collect()
    }
}

impl ExchangeControl {
    /// Asks after every order and every account.
    pub(super) fn start_venues(&mut self, desk: &mut Desk<'_>) {
        for venue in 0..self.venues.len() {
            for index in self.venues[venue].members.clone() {
                self.with_live(desk, index, |live, at, reports| live.start(at, reports));
            }
            self.venues[venue].due = Some(desk.at);
        }
        self.on_venues_due(desk);
    }

    /// Takes what a venue, or the gateway to it, says about an account.
    pub fn on_venue(&mut self, desk: &mut Desk<'_>, report: &AccountReport) {
        let known = self.venues.iter().position(|venue| venue.settings.id == report.account);
        let Some(venue) = known else { return };
        if let Err(what) = sane::check(&report.report) {
            let text = format!("account {}: the venue said something that cannot be: {what}", report.account);
            return desk.alert(AlertLevel::Error, "venue_nonsense", None, text);
        }
        match &report.report {
            VenueReport::Link { up, .. } => {
                self.venues[venue].link = *up;
                if *up {
                    self.venues[venue].asked = None;
                    self.venues[venue].due = Some(desk.at);
                }
            }
            VenueReport::Snapshot(snapshot) => self.on_snapshot(desk, venue, snapshot),
            VenueReport::Check(check) => {
                for index in self.venues[venue].members.clone() {
                    let mode = check.position_mode;
                    self.with_live(desk, index, |live, _, _| live.set_position_mode(mode));
                }
            }
            VenueReport::Skew { .. }
            | VenueReport::Stop(_)
            | VenueReport::Funding(_)
            | VenueReport::Position(_)
            | VenueReport::Balance(_) => {}
            VenueReport::Order(_)
            | VenueReport::Acknowledged { .. }
            | VenueReport::Refused { .. }
            | VenueReport::NotSent { .. }
            | VenueReport::Unanswered { .. }
            | VenueReport::NotFound { .. }
            | VenueReport::CancelRefused { .. }
            | VenueReport::Fills(_) => self.on_order_report(desk, venue, &report.report),
        }
        self.on_venues_due(desk);
    }

    fn on_order_report(&mut self, desk: &mut Desk<'_>, venue: usize, report: &VenueReport) {
        for index in self.venues[venue].members.clone() {
            self.with_live(desk, index, |live, at, reports| {
                live.on_report(at, report, reports);
            });
        }
    }

    /// Takes over all that a snapshot explains: executions first, because they are exact, then where orders stand.
    fn on_snapshot(&mut self, desk: &mut Desk<'_>, venue: usize, snapshot: &AccountSnapshot) {
        if self.venues[venue].asked != Some(snapshot.asked) {
            return;
        }
        let account = &mut self.venues[venue];
        account.asked = None;
        account.taken = Some(desk.at);
        account.due = Some(desk.at.plus_ms(SNAPSHOT_MS));
        let orders = || snapshot.orders.iter().chain(&snapshot.orders_ended);
        let named: Vec<VenueOrderId> = orders().map(|order| order.venue_order_id).collect();
        for index in self.venues[venue].members.clone() {
            self.with_live(desk, index, |live, at, reports| {
                orders().for_each(|state| live.learn(at, state, reports));
                for fill in &snapshot.fills {
                    live.on_fill(at, fill, reports);
                }
                for state in orders() {
                    live.on_order(at, state, reports);
                }
                live.on_stops(at, snapshot.asked, &snapshot.stops, reports);
                live.missing_from(at, snapshot.asked, &named);
            });
        }
        self.note_snapshot(desk, venue, snapshot);
    }

    /// Records how far the account's executions are taken over, and forgets what is done.
    fn note_snapshot(&mut self, desk: &mut Desk<'_>, venue: usize, snapshot: &AccountSnapshot) {
        let account = self.venues[venue].settings.id;
        let known = desk.state().live.accounts.get(&account).cloned().unwrap_or_default();
        let last_fill = snapshot.fills.last().map(|fill| fill.trade_id).or(known.last_fill);
        let mut own = desk.state().live.orders.values().filter(|live| live.note.account == account);
        if last_fill == known.last_fill && !own.any(|live| live.note.is_done_before(snapshot.asked)) {
            return;
        }
        desk.record(Record::Snapshot(SnapshotRecord { account, asked: snapshot.asked, last_fill }));
        for index in self.venues[venue].members.clone() {
            if let (Some(live), Some(before)) = (self.accounts[index].exchange.live_mut(), known.asked) {
                live.forget_before(before);
            }
        }
    }

    /// When an order or an account wants something.
    pub(super) fn venues_due(&self) -> Option<Timestamp> {
        let orders = self.accounts.iter().filter_map(|account| account.exchange.live()?.next_due());
        let accounts = self.venues.iter().filter_map(|venue| self.snapshot_due(venue));
        orders.chain(accounts).min()
    }

    fn snapshot_due(&self, venue: &VenueAccount) -> Option<Timestamp> {
        let waited = venue.asked.map(|asked| asked.plus_ms(SNAPSHOT_ANSWER_MS));
        if waited.is_some() {
            return waited;
        }
        let lives = venue.members.iter().filter_map(|index| self.accounts[*index].exchange.live());
        let unproven = lives.filter_map(LiveExchange::unsettled_since).min();
        // Asked again at growing distance: a venue may take a while to list an execution.
        let proof = unproven.map(|since| {
            let tried_ms = venue.taken.map_or(0, |taken| taken.since_ms(since).max(0));
            since.plus_ms(tried_ms + tried_ms.clamp(PROOF_MS, SNAPSHOT_MS))
        });
        [venue.due, proof].into_iter().flatten().min()
    }

    /// Does what is due for orders and accounts.
    pub(super) fn on_venues_due(&mut self, desk: &mut Desk<'_>) {
        for venue in 0..self.venues.len() {
            for index in self.venues[venue].members.clone() {
                let due = self.accounts[index].exchange.live().and_then(LiveExchange::next_due);
                if due.is_some_and(|due| due <= desk.at) {
                    self.with_live(desk, index, |live, at, reports| live.on_due(at, reports));
                }
            }
            if self.snapshot_due(&self.venues[venue]).is_some_and(|due| due <= desk.at) {
                self.ask_snapshot(desk, venue);
            }
        }
    }

    fn ask_snapshot(&mut self, desk: &mut Desk<'_>, venue: usize) {
        let account = self.venues[venue].settings.id;
        let known = desk.state().live.accounts.get(&account).cloned().unwrap_or_default();
        let since = known.since.unwrap_or(desk.at).plus_ms(-SINCE_MS);
        let request = VenueRequest::Snapshot { asked: desk.at, fills_after: known.last_fill, since };
        self.venues[venue].asked = Some(desk.at);
        desk.emit(Effect::Send(Box::new(Dispatch { account, request })));
    }

    /// Lets a live exchange act, and books what it reports.
    pub(super) fn with_live(
        &mut self,
        desk: &mut Desk<'_>,
        index: usize,
        act: impl FnOnce(&mut LiveExchange, Timestamp, &mut Vec<ExecutionReport>),
    ) {
        let mut reports = std::mem::take(&mut self.reports);
        if let Some(live) = self.accounts[index].exchange.live_mut() {
            act(live, desk.at, &mut reports);
            self.settle(desk, index, &mut reports);
        }
        self.reports = reports;
    }

    /// Sends what an exchange asks, and tells what it warns of.
    pub(super) fn pass_on(&mut self, desk: &mut Desk<'_>, index: usize, report: &ExecutionReport) {
        let strategy: StrategyId = self.accounts[index].settings.id;
        match report {
            ExecutionReport::Ask(request) => {
                let account = self.accounts[index].settings.account;
                let account = account.expect("only an exchange with an account asks a venue");
                let request = request.as_ref().clone();
                desk.emit(Effect::Send(Box::new(Dispatch { account, request })));
            }
            ExecutionReport::Warned { order_id, code, text } => {
                desk.alert(AlertLevel::Error, code, Some(strategy), format!("order {order_id}: {text}"));
            }
            ExecutionReport::Status { .. } => self.touch(index),
            _ => {}
        }
    }
}
