//! What venues and ledgers hold side by side, and what accepting the venue's truth books.
//!
//! Only a difference that two comparisons showed can be accepted, and only by the ledger of a strategy that is named.
//! What was compared is derived: after a restart the records know the differences, and the rest comes with the next
//! comparison. Limit: [`UNKNOWN_MAX`] orders and as many stops of others are kept of an account; the rest is counted.

use std::collections::BTreeSet;

use rust_decimal::Decimal;

use super::desk::Desk;
use super::exchange_control::ExchangeControl;
use super::live_control::VenueAccount;
use super::live_gate::{held, side_of};
use super::reconcile::Fact;
use super::record::{Difference, ReconcileRecord, Record};
use super::state::State;
use crate::model::amount::{AMOUNT_MAX, Money, Price, Quantity};
use crate::model::ids::{AccountId, ClientOrderId, StrategyId, Symbol, VenueId};
use crate::model::order::{OrderReason, Side};
use crate::model::signal::{Reason, Refusal};
use crate::model::time::Timestamp;
use crate::model::trading::{
    AccountSnapshot, OrderState, PositionSide, StopState, VenueOrderStatus, VenueStopStatus,
};

/// How many orders, and how many stops, of others are told of an account.
pub const UNKNOWN_MAX: usize = 100;

/// What accounts and ledgers hold, and what they differ by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconcilePlan {
    /// The differences that stop entries, for each strategy that trades the pair.
    pub differences: Vec<ReconcileView>,
    /// Every account at a venue.
    pub accounts: Vec<AccountPlan>,
}

/// A difference between venue and ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconcileView {
    /// The strategy.
    pub strategy: StrategyId,
    /// The difference.
    pub difference: Difference,
    /// The price at which it would be booked.
    pub price: Option<Price>,
}

/// One account beside the ledgers of its strategies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountPlan {
    /// The account.
    pub account: AccountId,
    /// Its venue.
    pub venue: VenueId,
    /// Whether it was compared since the link came up.
    pub compared: bool,
    /// When it was last compared; not yet in this run without.
    pub compared_at: Option<Timestamp>,
    /// What is held, by pair.
    pub pairs: Vec<PairPlan>,
    /// Open orders that are not ours.
    pub orders: Vec<OrderState>,
    /// Waiting stops that are not ours.
    pub stops: Vec<StopState>,
    /// How many orders and stops of others there are, beyond those that are told too.
    pub unknown: usize,
}

/// One pair of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairPlan {
    /// What both sides hold.
    pub pair: Difference,
    /// What is known about it.
    pub standing: Standing,
    /// The strategies that trade it.
    pub strategies: Vec<StrategyPlan>,
}

/// What is known about a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Venue and ledgers agree.
    Equal,
    /// They differed in the last comparison; the next one confirms it, or what is under way explains it.
    Unconfirmed,
    /// They differ: no entries until it is gone or accepted.
    Differs,
    /// The venue holds what no strategy trades.
    Foreign,
}

/// What one strategy holds of a pair, and would take over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrategyPlan {
    /// The strategy.
    pub strategy: StrategyId,
    /// Signed base units in its ledger now.
    pub quantity: Quantity,
    /// Signed base units that accepting would book to it.
    pub accepts: Quantity,
    /// The price at which; nothing can be booked without.
    pub price: Option<Price>,
}

/// An account beside the ledgers, as last compared.
#[derive(Clone, Debug)]
pub(super) struct Compared {
    at: Timestamp,
    pairs: Vec<Difference>,
    orders: Vec<OrderState>,
    stops: Vec<StopState>,
    unknown: usize,
}

impl ExchangeControl {
    /// Keeps what was compared, for whoever asks.
    pub(super) fn note_compared(
        &mut self,
        desk: &Desk<'_>,
        venue: usize,
        pairs: Vec<Difference>,
        snapshot: &AccountSnapshot,
    ) {
        let lives = || {
            let members = self.venues[venue].members.iter();
            members.filter_map(|index| self.accounts[*index].exchange.live())
        };
        let open = |order: &&OrderState| {
            matches!(order.status, VenueOrderStatus::Live | VenueOrderStatus::PartlyFilled)
                && !lives().any(|live| live.knows(order.venue_order_id) || live.made_stop(order))
        };
        let waits = |stop: &&StopState| {
            let ours = |known: &crate::model::live::LiveStop| {
                stop.stop_id == Some(known.stop.stop_id) || known.venue_order_id == Some(stop.venue_order_id)
            };
            stop.status == VenueStopStatus::Live && !desk.state().live.stops.values().any(ours)
        };
        let (orders, stops) = (snapshot.orders.iter().filter(open), snapshot.stops.iter().filter(waits));
        let compared = Compared {
            at: desk.at,
            pairs,
            unknown: orders.clone().count() + stops.clone().count(),
            orders: orders.take(UNKNOWN_MAX).cloned().collect(),
            stops: stops.take(UNKNOWN_MAX).cloned().collect(),
        };
        self.compared.insert(self.venues[venue].settings.id, compared);
    }

    /// What accounts and ledgers hold; of every account, or of that of one strategy.
    pub(super) fn reconcile_plan(&self, desk: &Desk<'_>, only: Option<usize>) -> ReconcilePlan {
        let wanted = (0..self.accounts.len()).filter(|index| only.is_none_or(|only| only == *index));
        let meant = |venue: &&VenueAccount| only.is_none_or(|only| venue.members.contains(&only));
        ReconcilePlan {
            differences: wanted.flat_map(|index| self.differences_of(desk, index)).collect(),
            accounts: self.venues.iter().filter(meant).map(|venue| self.account_plan(desk, venue)).collect(),
        }
    }

    fn differences_of(&self, desk: &Desk<'_>, index: usize) -> Vec<ReconcileView> {
        let strategy = self.accounts[index].settings.id;
        let view = |difference: &Difference| {
            let price = self.mark_of(desk, index, difference.symbol);
            ReconcileView { strategy, difference: difference.clone(), price }
        };
        desk.state().live.differences(strategy).iter().map(view).collect()
    }

    fn mark_of(&self, desk: &Desk<'_>, index: usize, symbol: Symbol) -> Option<Price> {
        desk.prices.get(self.market_of(index, symbol)?)?.mark()
    }

    fn account_plan(&self, desk: &Desk<'_>, venue: &VenueAccount) -> AccountPlan {
        let account = venue.settings.id;
        let known = self.compared.get(&account);
        let confirmed: BTreeSet<&Difference> = venue
            .members
            .iter()
            .flat_map(|index| desk.state().live.differences(self.accounts[*index].settings.id))
            .collect();
        let same =
            |a: &Difference, b: &Difference| (a.symbol, a.position_side) == (b.symbol, b.position_side);
        let mut pairs: Vec<Difference> = known.map_or(Vec::new(), |known| known.pairs.clone());
        pairs.retain(|pair| !confirmed.iter().any(|difference| same(difference, pair)));
        pairs.extend(confirmed.iter().copied().cloned());
        pairs.sort();
        let standing = |pair: &Difference| match pair {
            _ if confirmed.contains(pair) => Standing::Differs,
            _ if pair.venue == pair.ledger => Standing::Equal,
            _ if venue.foreign.iter().any(|foreign| same(foreign, pair)) => Standing::Foreign,
            _ => Standing::Unconfirmed,
        };
        let plan = |pair: Difference| {
            let standing = standing(&pair);
            let strategies = self.strategy_plans(desk, venue, &pair, standing);
            PairPlan { pair, standing, strategies }
        };
        AccountPlan {
            account,
            venue: venue.settings.venue,
            compared: venue.clean,
            compared_at: known.map(|known| known.at),
            pairs: pairs.into_iter().map(plan).collect(),
            orders: known.map_or(Vec::new(), |known| known.orders.clone()),
            stops: known.map_or(Vec::new(), |known| known.stops.clone()),
            unknown: known.map_or(0, |known| known.unknown),
        }
    }

    fn strategy_plans(
        &self,
        desk: &Desk<'_>,
        venue: &VenueAccount,
        pair: &Difference,
        standing: Standing,
    ) -> Vec<StrategyPlan> {
        let trades = |index: &usize| {
            self.market_of(*index, pair.symbol).is_some() && self.blocked(desk.state(), *index).is_none()
        };
        let plan = |index: usize| {
            let missing = match standing {
                Standing::Differs => self.missing(desk.state(), index, pair),
                _ => Quantity::ZERO,
            };
            let strategy = self.accounts[index].settings.id;
            let (quantity, price) =
                (held(desk.state(), strategy, pair.symbol), self.mark_of(desk, index, pair.symbol));
            StrategyPlan { strategy, quantity, accepts: missing, price }
        };
        venue.members.iter().copied().filter(trades).map(plan).collect()
    }

    /// Books the venue's truth to a strategy, at the mark and without a fee.
    ///
    /// # Errors
    /// `no_price` when there is no mark and `needs_keys` when the strategy's position is elsewhere; nothing is booked
    /// then.
    pub(super) fn reconcile_accept(
        &mut self,
        desk: &mut Desk<'_>,
        index: usize,
        symbol: Option<Symbol>,
    ) -> Result<Vec<ClientOrderId>, Refusal> {
        let mut facts = Vec::new();
        for ReconcileView { difference, price, .. } in self.differences_of(desk, index) {
            if symbol.is_some_and(|symbol| symbol != difference.symbol) {
                continue;
            }
            if let Some(refusal) = self.blocked(desk.state(), index) {
                return Err(refusal);
            }
            let Some(price) = price else {
                let detail = format!("{}: there is no price to book the difference at", difference.symbol);
                return Err(Refusal::new(Reason::NoPrice, detail));
            };
            let missing = self.missing(desk.state(), index, &difference);
            if missing.is_zero() {
                continue;
            }
            let (symbol, side, quantity) = (difference.symbol, Side::of(missing), missing.abs());
            let (fee, reason) = (Money::ZERO, OrderReason::Request);
            facts.push((difference.position_side, Fact { symbol, side, quantity, price, fee, reason }));
        }
        let mut orders = Vec::new();
        for (position_side, fact) in facts {
            let leg = format!("{}-{}", fact.symbol, desk.state().sequence);
            orders.push(self.book_fact(desk, index, &fact, "reconcile", &leg));
            let booked = fact.side.signed(fact.quantity);
            self.lessen_difference(desk, index, (fact.symbol, position_side), booked);
        }
        Ok(orders)
    }

    /// What a strategy would take over of a difference, signed: what closes it at most, while others trade the pair
    /// and may own the rest.
    fn missing(&self, state: &State, index: usize, difference: &Difference) -> Quantity {
        let missing = difference.venue - difference.ledger;
        let side = Side::of(missing);
        let all = Quantity::new(Decimal::from(AMOUNT_MAX));
        let held = held(state, self.accounts[index].settings.id, difference.symbol);
        let members = self.venue_of(index).map_or(&[][..], |venue| &venue.members);
        let mut others = members.iter().filter(|member| **member != index);
        let shared = others.any(|other| self.market_of(*other, difference.symbol).is_some());
        let most = if shared && side_of(held).is_some_and(|own| own != side) { held.abs() } else { all };
        side.signed(missing.abs().min(most))
    }

    /// Takes what was booked off the difference of every strategy of the account that has it.
    fn lessen_difference(
        &mut self,
        desk: &mut Desk<'_>,
        index: usize,
        (symbol, position_side): (Symbol, PositionSide),
        booked: Quantity,
    ) {
        let same = |pair: &Difference| (pair.symbol, pair.position_side) == (symbol, position_side);
        let Some(account) = self.accounts[index].settings.account else { return };
        let Some(venue) = self.venues.iter().position(|venue| venue.settings.id == account) else { return };
        for index in self.venues[venue].members.clone() {
            let strategy: StrategyId = self.accounts[index].settings.id;
            let mut differences = desk.state().live.differences(strategy).to_vec();
            let own = differences.iter_mut().filter(|difference| same(difference));
            let count = own.map(|difference| difference.ledger += booked).count();
            differences.retain(|difference| difference.venue != difference.ledger);
            if count > 0 {
                desk.record(Record::Reconcile(ReconcileRecord { strategy, differences, time: desk.at }));
                self.touch(index);
            }
        }
        let pairs = self.compared.get_mut(&account).into_iter().flat_map(|compared| &mut compared.pairs);
        pairs.filter(|pair| same(pair)).for_each(|pair| pair.ledger += booked);
        let venue = &mut self.venues[venue];
        (venue.due, venue.suspects) = (Some(desk.at), None);
    }
}
