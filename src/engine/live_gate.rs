//! Whether a strategy may trade live now: keys, clock, link, comparison with the venue, others on the same account.
//!
//! Two kinds of no. A strategy whose position is not where its orders would go does not trade at all. Everything else
//! stops entries only; what reduces passes.

use super::desk::Desk;
use super::effect::AlertLevel;
use super::exchange_control::{ExchangeControl, is_sent_exit};
use super::live_control::VenueAccount;
use super::price_module::PriceModule;
use super::record::{AccountRecord, Record, Route, RouteRecord};
use super::state::State;
use crate::model::amount::{Money, Quantity, Ratio};
use crate::model::ids::{StrategyId, Symbol};
use crate::model::order::{Order, OrderReason, OrderStatus, Side};
use crate::model::signal::{Reason, Refusal};
use crate::model::time::{DAY_MS, Timestamp};
use crate::model::trading::{AccountCheck, PositionMode};

/// Keys that end within this are told, in milliseconds.
const EXPIRY_MS: i64 = 14 * DAY_MS;

impl ExchangeControl {
    /// The account at a venue that a strategy trades.
    pub(super) fn venue_of(&self, index: usize) -> Option<&VenueAccount> {
        let account = self.accounts[index].settings.account?;
        self.venues.iter().find(|venue| venue.settings.id == account)
    }

    /// Whether a flip takes two orders.
    pub(super) fn splits_flips(&self, state: &State, index: usize) -> bool {
        let account = self.accounts[index].settings.account;
        let known = account.and_then(|account| state.live.accounts.get(&account)?.position_mode);
        known == Some(PositionMode::LongShort)
    }

    /// Why a strategy does not trade at all, exits included: its position is not where its orders would go.
    pub(super) fn blocked(&self, state: &State, index: usize) -> Option<Refusal> {
        let settings = &self.accounts[index].settings;
        let open = state.strategies.get(&settings.id).is_some_and(|ledger| !ledger.positions.is_empty());
        if !open {
            return None;
        }
        let route = state.live.route(settings.id);
        let refuse = |detail: String| Some(Refusal::new(Reason::NeedsKeys, detail));
        match (route, self.venue_of(index)) {
            (None, None) => None,
            (Some(route), None) => refuse(format!(
                "a position is open at {} (account {}), but the strategy has no keys: give them back, or close it there",
                route.venue, route.uid
            )),
            (None, Some(venue)) => refuse(format!(
                "a paper position is open, but the strategy has the account {}: take the account away and close it first",
                venue.settings.id
            )),
            (Some(route), Some(venue)) => {
                let check = venue.check.as_ref()?;
                let same = (&route.uid, route.environment) == (&check.uid, check.environment)
                    && route.venue == venue.settings.venue;
                let name = venue.settings.id;
                match same {
                    true => None,
                    false => refuse(format!(
                        "a position is open at account {} of {} ({:?}), but the keys of {name} belong to {} ({:?})",
                        route.uid, route.venue, route.environment, check.uid, check.environment
                    )),
                }
            }
        }
    }

    /// Why no entry is taken now; nothing for paper.
    pub(super) fn gate(&self, state: &State, index: usize) -> Option<Refusal> {
        let venue = self.venue_of(index)?;
        let name = venue.settings.id;
        let refuse = |reason, detail: String| Some(Refusal::new(reason, detail));
        let Some(check) = &venue.check else {
            return refuse(
                Reason::NeedsKeys,
                format!("the keys of account {name} have not been checked yet"),
            );
        };
        if check.read_only {
            return refuse(Reason::NeedsKeys, format!("the keys of account {name} may only read"));
        }
        let limit_ms = venue.settings.clock_skew_max_ms;
        match venue.skew_ms {
            None => return refuse(Reason::StalePrice, "the venue's clock is not known yet".into()),
            Some(ms) if ms.saturating_abs() > limit_ms => {
                let detail = format!("the venue's clock differs by {ms} ms, the limit is {limit_ms} ms");
                return refuse(Reason::StalePrice, detail);
            }
            Some(_) => {}
        }
        if venue.dead {
            let detail = format!("the way to account {name} is not healthy: no entries until it is");
            return refuse(Reason::StalePrice, detail);
        }
        let differences = state.live.differences(self.accounts[index].settings.id);
        if let Some(first) = differences.first() {
            let (symbol, at_venue, ledger) = (first.symbol, first.venue, first.ledger);
            let detail =
                format!("{symbol}: the venue has {at_venue}, the ledgers {ledger}; see tradebus reconcile");
            return refuse(Reason::NeedsReconcile, detail);
        }
        if !venue.clean {
            let detail =
                format!("account {name} has not been compared with the venue since the link came up");
            return refuse(Reason::NeedsReconcile, detail);
        }
        None
    }

    /// Holds the opening part of a live order against the others on the account and what the venue has free.
    ///
    /// # Errors
    /// `netting_conflict` and `insufficient_balance`.
    pub(super) fn check_account(
        &self,
        state: &State,
        index: usize,
        order: &Order,
        notional: Money,
    ) -> Result<(), Refusal> {
        let Some(venue) = self.venue_of(index) else { return Ok(()) };
        if self.splits_flips(state, index) {
            if self.would_hold_both(state, index, order) {
                let detail =
                    format!("the strategy has the other side of {} and is not closing it", order.symbol);
                return Err(Refusal::new(Reason::NettingConflict, detail));
            }
        } else {
            let others = venue.members.iter().filter(|member| **member != index);
            if let Some(other) = others.copied().find(|other| self.opposes(state, *other, order)) {
                let (other, symbol) = (self.accounts[other].settings.id, order.symbol);
                let detail = format!("strategy {other} is on the other side of {symbol} on this account");
                return Err(Refusal::new(Reason::NettingConflict, detail));
            }
        }
        // The gate lets nothing pass before a snapshot, which brings this; what is not known is not free.
        let available = venue.balance.map_or(Money::ZERO, |balance| balance.available);
        // Entries that the venue may not have seen yet are not in its figure.
        let underway: Money =
            venue.members.iter().map(|member| self.underway(state, *member, venue.balance_at)).sum();
        let leverage = Ratio::new(venue.settings.leverage.into());
        let free = available.times(leverage) - underway;
        if notional > free {
            let detail = format!(
                "the order opens {notional}, but account {} has {available} free x leverage {leverage}, {underway} underway",
                venue.settings.id
            );
            return Err(Refusal::new(Reason::InsufficientBalance, detail));
        }
        Ok(())
    }

    /// Whether a strategy holds the other side of an order, or has an entry there working.
    fn opposes(&self, state: &State, index: usize, order: &Order) -> bool {
        let held = state.strategies[&self.accounts[index].settings.id].positions.get(&order.symbol);
        let entry =
            |other: &Order| other.symbol == order.symbol && other.side != order.side && !other.reduce_only;
        held.is_some_and(|held| held.side() != order.side) || self.open_orders(state, index).any(entry)
    }

    /// Where long and short positions lie beside each other, a strategy has one of them: its ledger could not tell them
    /// apart. The other side opens only while orders at the market close all that is held.
    fn would_hold_both(&self, state: &State, index: usize, order: &Order) -> bool {
        let held = held(state, self.accounts[index].settings.id, order.symbol);
        let closing = self.working_exits(state, index, order.symbol, held, is_sent_exit);
        let entry =
            |other: &Order| other.symbol == order.symbol && other.side != order.side && !other.reduce_only;
        let holds = side_of(held).is_some_and(|side| side != order.side) && closing < held.abs();
        holds || self.open_orders(state, index).any(entry)
    }

    fn underway(&self, state: &State, index: usize, since: Timestamp) -> Money {
        let entries = self.open_orders(state, index).filter(|order| {
            let unseen = matches!(order.status, OrderStatus::Submitting | OrderStatus::Unknown);
            !order.reduce_only && (unseen || order.created >= since)
        });
        let price = |order: &Order| {
            let book = &self.accounts[index].book;
            let mark = self.market_of(index, order.symbol).and_then(|key| book.holding(key)?.mark);
            order.order_type.price().or(mark)
        };
        entries.filter_map(|order| Some(price(order)?.times(order.remaining()))).sum()
    }

    /// Before anything opens a live position: writes down where it will be.
    pub(super) fn note_route(&self, desk: &mut Desk<'_>, index: usize) {
        let Some(venue) = self.venue_of(index) else { return };
        let known = desk.state().live.accounts.get(&venue.settings.id);
        let Some((uid, environment)) = known.and_then(|account| account.identity.clone()) else { return };
        let strategy = self.accounts[index].settings.id;
        let route = Route { venue: venue.settings.venue, environment, uid };
        if desk.state().live.route(strategy) != Some(&route) {
            desk.record(Record::Route(RouteRecord { strategy, route, time: desk.at }));
        }
    }

    /// Takes over who the keys belong to, and tells what is not as it should be.
    pub(super) fn on_check(&mut self, desk: &mut Desk<'_>, venue: usize, check: &AccountCheck) {
        let settings = self.venues[venue].settings.clone();
        let name = settings.id;
        let known = self.venues[venue].check.replace(check.clone());
        let remembered = desk.state().live.accounts.get(&name);
        let identity = Some((check.uid.clone(), check.environment));
        let mode = Some(check.position_mode);
        if remembered.is_none_or(|account| account.identity != identity || account.position_mode != mode) {
            let (uid, environment, position_mode) =
                (check.uid.clone(), check.environment, check.position_mode);
            let time = desk.at;
            let record = AccountRecord { account: name, uid, environment, position_mode, time };
            desk.record(Record::Account(record));
        }
        for index in self.venues[venue].members.clone() {
            let mode = check.position_mode;
            self.with_live(desk, index, |live, _, _| live.set_position_mode(mode));
        }
        if known.as_ref() == Some(check) {
            return;
        }
        self.tell_blocked(desk);
        if check.read_only {
            let text = format!("account {name}: the keys may only read, so there are no entries");
            desk.alert(AlertLevel::Error, "needs_keys", None, text);
        }
        if let Some(expires) = check.expires.filter(|expires| expires.since_ms(desk.at) < EXPIRY_MS) {
            desk.alert(
                AlertLevel::Warning,
                "keys_expire",
                None,
                format!("account {name}: the keys end {expires}"),
            );
        }
        if !check.ip_bound {
            let text = format!(
                "account {name}: the keys are bound to no address: whoever has them can use them, and the venue ends them after 90 days"
            );
            desk.alert(AlertLevel::Warning, "keys_unbound", None, text);
        }
        for (symbol, leverage) in check.leverages.iter().filter(|(_, there)| *there != settings.leverage) {
            let text = format!(
                "account {name}: the venue has leverage {leverage} for {symbol}, the configuration {}; that of the venue is in force",
                settings.leverage
            );
            desk.alert(AlertLevel::Warning, "leverage_differs", None, text);
        }
    }

    /// Tells which strategies do not trade at all.
    pub(super) fn tell_blocked(&self, desk: &mut Desk<'_>) {
        for (index, account) in self.accounts.iter().enumerate() {
            if let Some(refusal) = self.blocked(desk.state(), index) {
                desk.alert(AlertLevel::Error, "needs_keys", Some(account.settings.id), refusal.detail);
            }
        }
    }

    /// Since when an account is not healthy, if it is not.
    fn unhealthy_since(venue: &VenueAccount) -> Option<Timestamp> {
        [venue.down_since, venue.skewed_since].into_iter().flatten().min()
    }

    /// When the dead man's time is up for an account, or for the prices of a working entry.
    pub(super) fn dead_man_due(&self, state: &State, prices: &PriceModule) -> Option<Timestamp> {
        let accounts = self.venues.iter().filter(|venue| !venue.dead).filter_map(|venue| {
            Some(Self::unhealthy_since(venue)?.plus_ms(venue.settings.dead_man_after_ms))
        });
        let of_entry = |(index, order): (usize, &Order)| self.price_death(prices, index, order.symbol);
        accounts.chain(self.live_entries(state).filter_map(of_entry)).min()
    }

    /// Working entries at venues that nobody takes back yet.
    fn live_entries<'s>(&self, state: &'s State) -> impl Iterator<Item = (usize, &'s Order)> + use<'s, '_> {
        let live = (0..self.accounts.len()).filter(|index| self.accounts[*index].settings.account.is_some());
        live.flat_map(|index| {
            let entries = self.open_orders(state, index);
            entries
                .filter(|order| !order.reduce_only && order.reason.is_none())
                .map(move |order| (index, order))
        })
    }

    /// When the price of a symbol has been unconfirmed for too long.
    fn price_death(&self, prices: &PriceModule, index: usize, symbol: Symbol) -> Option<Timestamp> {
        let after_ms = self.venue_of(index)?.settings.dead_man_after_ms;
        let market = self.market_of(index, symbol).and_then(|key| prices.get(key))?;
        Some(market.confirmed_at()?.plus_ms(after_ms.max(market.stale_after_ms()) + 1))
    }

    /// Takes working entries back where link, clock or prices were unhealthy for too long; stops stay.
    pub(super) fn on_dead_man(&mut self, desk: &mut Desk<'_>) {
        for venue in 0..self.venues.len() {
            let account = &mut self.venues[venue];
            let since = Self::unhealthy_since(account);
            let up = since.map(|since| since.plus_ms(account.settings.dead_man_after_ms));
            let dead = up.is_some_and(|up| up <= desk.at);
            let name = account.settings.id;
            if dead && !account.dead {
                account.dead = true;
                let text = format!(
                    "account {name}: link or clock are not healthy: no entries, working ones are taken back, stops stay"
                );
                desk.alert(AlertLevel::Error, "dead_man", None, text);
                for index in self.venues[venue].members.clone() {
                    let entry = |order: &Order| !order.reduce_only;
                    self.cancel_orders(desk, index, OrderReason::DeadMan, entry);
                }
            } else if account.dead && since.is_none() {
                account.dead = false;
                let text = format!("account {name}: link and clock are healthy again");
                desk.alert(AlertLevel::Info, "dead_man_over", None, text);
            }
        }
        let dead = |(index, order): (usize, &Order)| {
            let due = self.price_death(desk.prices, index, order.symbol)?;
            (due <= desk.at).then_some((index, order.symbol))
        };
        let stale: Vec<(usize, Symbol)> = self.live_entries(desk.state()).filter_map(dead).collect();
        for (index, symbol) in stale {
            let strategy = self.accounts[index].settings.id;
            let text = format!("no price of {symbol} for too long: working entries are taken back");
            desk.alert(AlertLevel::Error, "dead_man", Some(strategy), text);
            let entry = |order: &Order| !order.reduce_only && order.symbol == symbol;
            self.cancel_orders(desk, index, OrderReason::DeadMan, entry);
        }
    }

    /// Takes over how far the venue's clock is off.
    pub(super) fn on_skew(&mut self, at: Timestamp, venue: usize, ms: i64) {
        let account = &mut self.venues[venue];
        account.skew_ms = Some(ms);
        let bad = ms.saturating_abs() > account.settings.clock_skew_max_ms;
        account.skewed_since = if bad { account.skewed_since.or(Some(at)) } else { None };
    }
}

/// The position of a strategy in a symbol, signed.
pub(super) fn held(state: &State, strategy: StrategyId, symbol: Symbol) -> Quantity {
    let position = state.strategies.get(&strategy).and_then(|ledger| ledger.positions.get(&symbol));
    position.map_or(Quantity::ZERO, |position| position.quantity)
}

/// Which side a signed quantity is on, if any.
pub(super) fn side_of(quantity: Quantity) -> Option<Side> {
    (!quantity.is_zero()).then(|| Side::of(quantity))
}
