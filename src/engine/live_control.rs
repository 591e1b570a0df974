//! The accounts at venues: what they say goes to the exchanges of the strategies that trade them, and what the
//! exchanges ask goes out.
//!
//! What an account as a whole tells is [`super::live_snapshot`]'s.

use super::desk::Desk;
use super::effect::{AlertLevel, Effect};
use super::exchange_control::ExchangeControl;
use super::live_gate::held;
use super::price_module::PriceModule;
use super::reconcile::Suspects;
use super::record::Difference;
use super::settings::{AccountSettings, EngineSettings};
use super::state::State;
use crate::exchange::live::{LiveExchange, sane};
use crate::model::amount::Quantity;
use crate::model::ids::{ClientOrderId, StrategyId, Symbol};
use crate::model::order::{Order, OrderReason, OrderStatus};
use crate::model::report::ExecutionReport;
use crate::model::time::Timestamp;
use crate::model::trading::{AccountCheck, AccountReport, Dispatch, VenueBalance, VenueReport, VenueRequest};

/// How soon a hint of the venue is followed by a snapshot, in milliseconds.
const HINT_MS: i64 = 10_000;
/// An account at a venue and who trades it.
#[derive(Debug)]
pub struct VenueAccount {
    pub(super) settings: AccountSettings,
    /// Its strategies, by their places in the list of accounts.
    pub(super) members: Vec<usize>,
    /// Since when the private stream is down.
    pub(super) down_since: Option<Timestamp>,
    /// Who the keys belong to, once that was checked.
    pub(super) check: Option<AccountCheck>,
    /// How far the venue's clock is ahead, in milliseconds.
    pub(super) skew_ms: Option<i64>,
    /// Since when that is too far.
    pub(super) skewed_since: Option<Timestamp>,
    /// Whether the dead man's time is up.
    pub(super) dead: bool,
    /// What the venue has free, and when we heard of it.
    pub(super) balance: Option<VenueBalance>,
    pub(super) balance_at: Timestamp,
    /// Whether it was compared with the venue since the link came up.
    pub(super) clean: bool,
    /// Differences that wait for another snapshot.
    pub(super) suspects: Option<Suspects>,
    /// Differences that concern no strategy, as they were told.
    pub(super) foreign: Vec<Difference>,
    /// When an order was last sent or a fill booked.
    pub(super) booked_at: Timestamp,
    /// The snapshot that is waited for, by the time when it was asked for.
    pub(super) asked: Option<Timestamp>,
    /// How many questions before it had no answer in time.
    pub(super) unanswered: u32,
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
                down_since: None,
                check: None,
                skew_ms: None,
                skewed_since: None,
                dead: false,
                balance: None,
                balance_at: Timestamp::MIN,
                clean: false,
                suspects: None,
                foreign: Vec::new(),
                booked_at: Timestamp::MIN,
                asked: None,
                unanswered: 0,
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
        self.tell_blocked(desk);
        for venue in 0..self.venues.len() {
            let name = self.venues[venue].settings.id;
            let mode = desk.state().live.accounts.get(&name).and_then(|account| account.position_mode);
            for index in self.venues[venue].members.clone() {
                self.with_live(desk, index, |live, at, reports| {
                    mode.into_iter().for_each(|mode| live.set_position_mode(mode));
                    live.start(at, reports);
                });
            }
            self.venues[venue].due = Some(desk.at);
            self.venues[venue].down_since = Some(desk.at);
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
            VenueReport::Link { up, .. } => self.on_link(desk.at, venue, *up),
            VenueReport::Snapshot(snapshot) => self.on_snapshot(desk, venue, snapshot),
            VenueReport::Check(check) => self.on_check(desk, venue, check),
            VenueReport::Skew { ms } => self.on_skew(desk.at, venue, *ms),
            VenueReport::Funding(funding) => self.on_funding(desk, venue, funding),
            VenueReport::Balance(balance) => self.on_balance(desk.at, venue, *balance),
            // Only a hint: what changed there is in the snapshot.
            VenueReport::Position(_) => {
                let account = &mut self.venues[venue];
                let soon = desk.at.plus_ms(HINT_MS);
                account.due = Some(account.due.map_or(soon, |due| due.min(soon)));
            }
            VenueReport::Order(_)
            | VenueReport::Stop(_)
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

    fn on_link(&mut self, at: Timestamp, venue: usize, up: bool) {
        let account = &mut self.venues[venue];
        account.down_since = if up { None } else { account.down_since.or(Some(at)) };
        if up {
            (account.asked, account.due, account.unanswered) = (None, Some(at), 0);
            (account.clean, account.suspects) = (false, None);
        }
    }

    pub(super) fn on_balance(&mut self, at: Timestamp, venue: usize, balance: VenueBalance) {
        let account = &mut self.venues[venue];
        if account.balance.is_none_or(|known| known.time <= balance.time) {
            (account.balance, account.balance_at) = (Some(balance), at);
        }
    }

    fn on_order_report(&mut self, desk: &mut Desk<'_>, venue: usize, report: &VenueReport) {
        for index in self.venues[venue].members.clone() {
            self.with_live(desk, index, |live, at, reports| {
                live.on_report(at, report, reports);
            });
        }
    }

    /// When an order or an account wants something.
    pub(super) fn venues_due(&self, state: &State, prices: &PriceModule) -> Option<Timestamp> {
        let orders = self.accounts.iter().filter_map(|account| account.exchange.live()?.next_due());
        let accounts = self.venues.iter().filter_map(|venue| self.snapshot_due(venue));
        orders.chain(accounts).chain(self.dead_man_due(state, prices)).chain(self.exits_due()).min()
    }

    /// Does what is due for orders and accounts.
    pub(super) fn on_venues_due(&mut self, desk: &mut Desk<'_>) {
        if self.venues.is_empty() {
            return;
        }
        (0..self.accounts.len()).for_each(|index| self.retry_stops(desk, index));
        self.woken = desk.at;
        self.on_dead_man(desk);
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
            ExecutionReport::Filled { order_id, quantity, .. } => {
                self.tell_overshot(desk, strategy, *order_id, *quantity);
                self.moved(desk.at, index);
                self.accounts[index].exit_pauses.clear();
            }
            ExecutionReport::Ask(request) => {
                if matches!(**request, VenueRequest::Place(_)) {
                    self.moved(desk.at, index);
                }
                let account = self.accounts[index].settings.account;
                let account = account.expect("only an exchange with an account asks a venue");
                let request = request.as_ref().clone();
                desk.emit(Effect::Send(Box::new(Dispatch { account, request })));
            }
            ExecutionReport::Warned { order_id, code, text } => {
                desk.alert(AlertLevel::Error, code, Some(strategy), format!("order {order_id}: {text}"));
            }
            ExecutionReport::Status { order_id, status, reason } => {
                self.touch(index);
                let order = desk.state().orders.get(order_id).filter(|order| order.reduce_only);
                let failed = *status == OrderStatus::Rejected || *reason == Some(OrderReason::Venue);
                if let Some(symbol) = order.filter(|_| failed).map(|order| order.symbol) {
                    self.pause_exits(desk.at, index, symbol);
                }
            }
            _ => {}
        }
    }

    /// Tells of an exit at a venue that fills more than the strategy holds: another strategy's part of the position.
    fn tell_overshot(
        &self,
        desk: &mut Desk<'_>,
        strategy: StrategyId,
        order_id: ClientOrderId,
        quantity: Quantity,
    ) {
        let state = desk.state();
        let Some(order) = state.live.order(order_id).filter(|order| order.reduce_only) else { return };
        let (symbol, held) = (order.symbol, held(state, strategy, order.symbol));
        let left = held + order.side.signed(quantity);
        if left.is_zero() || left.is_negative() == held.is_negative() && !held.is_zero() {
            return;
        }
        let text = format!(
            "order {order_id}: an exit filled more than the strategy held: it has {left} of {symbol} now, and \
             another strategy of the account the other side; stop both, and close what the venue holds by hand"
        );
        desk.alert(AlertLevel::Error, "exit_overshot", Some(strategy), text);
    }

    /// Whether an order waits for others at its exchange.
    pub(super) fn waits_behind(&self, index: usize, order: &Order) -> bool {
        self.accounts[index].exchange.live().is_some_and(|live| live.waits_behind(order.order_id))
    }

    /// After a refused exit the next one waits, longer each time, up to a minute.
    fn pause_exits(&mut self, at: Timestamp, index: usize, symbol: Symbol) {
        let (until, tries) = self.accounts[index].exit_pauses.entry(symbol).or_insert((at, 0));
        *until = at.plus_ms((1_000 << (*tries).min(6)).min(60_000));
        *tries += 1;
    }

    pub(super) fn is_exit_paused(&self, at: Timestamp, index: usize, symbol: Symbol) -> bool {
        self.accounts[index].exit_pauses.get(&symbol).is_some_and(|(until, _)| at < *until)
    }

    /// When a flattening or a touched stop that waits may try again.
    fn exits_due(&self) -> Option<Timestamp> {
        let pauses = self.accounts.iter().flat_map(|account| account.exit_pauses.values());
        pauses.map(|(until, _)| *until).filter(|until| *until > self.woken).min()
    }

    /// Tries the stops again whose pauses ended since the last time; the price may have stood still meanwhile.
    fn retry_stops(&mut self, desk: &mut Desk<'_>, index: usize) {
        let ended = |until: Timestamp| until > self.woken && until <= desk.at;
        let pauses = self.accounts[index].exit_pauses.iter().filter(|(_, (until, _))| ended(*until));
        let symbols: Vec<Symbol> = pauses.map(|(symbol, _)| *symbol).collect();
        for symbol in symbols {
            let market = self.market_of(index, symbol).and_then(|key| desk.prices.get(key));
            let last = market.and_then(|market| market.view(desk.at).trigger());
            self.with_live(desk, index, |live, _, reports| live.watch(symbol, last, reports));
        }
    }

    fn moved(&mut self, at: Timestamp, index: usize) {
        let account = self.accounts[index].settings.account;
        let venue = self.venues.iter_mut().find(|venue| Some(venue.settings.id) == account);
        venue.into_iter().for_each(|venue| venue.booked_at = at);
    }
}
