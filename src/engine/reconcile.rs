//! Venue and ledgers side by side: what records and fills explain is booked, the rest is a difference.
//!
//! A snapshot is read in several requests, so a difference counts only when the next one shows it too and nothing moved
//! between them. Then the strategies of the account that trade the pair take no entries until a person decides (see
//! `reconcile_plan`), or it is gone. What the venue did itself (liquidation, auto-deleveraging) is booked to those who
//! held the position.

use std::collections::BTreeMap;

use super::desk::Desk;
use super::effect::AlertLevel;
use super::exchange_control::ExchangeControl;
use super::live_gate::{held, side_of};
use super::order_manager::{OrderDraft, order_id};
use super::record::{Difference, FundingRecord, ReconcileRecord, Record};
use super::state::State;
use crate::model::amount::{Money, Price, Quantity};
use crate::model::ids::{ClientOrderId, Symbol};
use crate::model::order::{Order, OrderReason, OrderType, Side};
use crate::model::report::{ExecutionReport, Liquidity};
use crate::model::time::Timestamp;
use crate::model::trading::{
    AccountSnapshot, OrderCategory, OrderState, PositionMode, PositionSide, VenueFill, VenueFunding,
};

/// How soon a snapshot with a difference is followed by another, in milliseconds.
const AGAIN_MS: i64 = 3_000;

/// Differences of a snapshot, which the next one must confirm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suspects {
    pub(super) asked: Timestamp,
    pub(super) differences: Vec<Difference>,
}

/// An execution to be booked without an order that was sent.
pub(super) struct Fact {
    pub(super) symbol: Symbol,
    pub(super) side: Side,
    pub(super) quantity: Quantity,
    pub(super) price: Price,
    pub(super) fee: Money,
    pub(super) reason: OrderReason,
}

impl ExchangeControl {
    /// Compares positions once everything that explains itself is booked.
    pub(super) fn compare(&mut self, desk: &mut Desk<'_>, venue: usize, snapshot: &AccountSnapshot) {
        let pairs = self.side_by_side(desk.state(), venue, snapshot);
        let differences: Vec<Difference> =
            pairs.iter().filter(|pair| pair.venue != pair.ledger).cloned().collect();
        self.note_compared(desk, venue, pairs, snapshot);
        let account = &self.venues[venue];
        let mut lives = account.members.iter().filter_map(|index| self.accounts[*index].exchange.live());
        let moving = lives.any(|live| live.is_moving());
        let suspects = account.suspects.clone();
        if differences.is_empty() {
            self.venues[venue].suspects = None;
            self.venues[venue].clean = true;
            return self.declare(desk, venue, &[]);
        }
        let confirmed = suspects.is_some_and(|before| {
            before.differences == differences && self.venues[venue].booked_at < before.asked
        });
        if confirmed && !moving {
            self.venues[venue].clean = true;
            return self.declare(desk, venue, &differences);
        }
        let account = &mut self.venues[venue];
        account.suspects = (!moving).then_some(Suspects { asked: snapshot.asked, differences });
        account.due = Some(desk.at.plus_ms(AGAIN_MS));
    }

    /// The venue's positions and those of the ledgers, by pair; also where they agree.
    fn side_by_side(&self, state: &State, venue: usize, snapshot: &AccountSnapshot) -> Vec<Difference> {
        let mut sums: BTreeMap<(Symbol, PositionSide), (Quantity, Quantity)> = BTreeMap::new();
        for position in &snapshot.positions {
            sums.entry((position.symbol, position.position_side)).or_default().0 += position.quantity;
        }
        let name = self.venues[venue].settings.id;
        let mode = state.live.accounts.get(&name).and_then(|account| account.position_mode);
        for index in self.venues[venue].members.iter().copied() {
            if self.blocked(state, index).is_some() {
                continue;
            }
            for position in state.strategies[&self.accounts[index].settings.id].positions.values() {
                let position_side = match (mode, position.side()) {
                    (Some(PositionMode::LongShort), Side::Buy) => PositionSide::Long,
                    (Some(PositionMode::LongShort), Side::Sell) => PositionSide::Short,
                    _ => PositionSide::Net,
                };
                sums.entry((position.symbol, position_side)).or_default().1 += position.quantity;
            }
        }
        let pair =
            |((symbol, position_side), (venue, ledger))| Difference { symbol, position_side, venue, ledger };
        let held = |pair: &Difference| !pair.venue.is_zero() || !pair.ledger.is_zero();
        sums.into_iter().map(pair).filter(held).collect()
    }

    /// Writes down which strategies differ from the venue, and tells what is new.
    fn declare(&mut self, desk: &mut Desk<'_>, venue: usize, differences: &[Difference]) {
        let members = self.venues[venue].members.clone();
        for index in members.iter().copied() {
            let strategy = self.accounts[index].settings.id;
            let traded = |difference: &&Difference| self.market_of(index, difference.symbol).is_some();
            let own: Vec<Difference> = differences.iter().filter(traded).cloned().collect();
            if desk.state().live.differences(strategy) == own {
                continue;
            }
            match own.first() {
                Some(_) => {
                    let shown: Vec<String> = own.iter().map(shown).collect();
                    let text = format!(
                        "venue and ledger differ: {}; no entries until it is decided",
                        shown.join(", ")
                    );
                    desk.alert(AlertLevel::Error, "needs_reconcile", Some(strategy), text);
                }
                None => {
                    desk.alert(
                        AlertLevel::Info,
                        "reconciled",
                        Some(strategy),
                        "venue and ledger agree again",
                    );
                }
            }
            desk.record(Record::Reconcile(ReconcileRecord { strategy, differences: own, time: desk.at }));
            self.touch(index);
        }
        let traded = |difference: &Difference| {
            members.iter().any(|index| self.market_of(*index, difference.symbol).is_some())
        };
        let foreign: Vec<Difference> = differences.iter().filter(|d| !traded(d)).cloned().collect();
        if self.venues[venue].foreign != foreign {
            for difference in &foreign {
                let name = self.venues[venue].settings.id;
                let text = format!("account {name}: no strategy trades this: {}", shown(difference));
                desk.alert(AlertLevel::Warning, "foreign_position", None, text);
            }
            self.venues[venue].foreign = foreign;
        }
    }

    /// Books executions of orders that the venue made against us.
    pub(super) fn book_forced(&mut self, desk: &mut Desk<'_>, venue: usize, snapshot: &AccountSnapshot) {
        let lives = || self.venues[venue].members.iter().filter_map(|m| self.accounts[*m].exchange.live());
        let forced = |order: &&OrderState| match order.category {
            OrderCategory::Liquidation | OrderCategory::AutoDeleverage => true,
            // A stop of ours that was touched when its position was gone already took what others hold.
            OrderCategory::StopLoss | OrderCategory::TakeProfit => {
                !lives().any(|live| live.knows(order.venue_order_id))
                    && lives().any(|live| live.made_stop(order))
            }
            OrderCategory::Normal => false,
        };
        let orders: Vec<&OrderState> =
            snapshot.orders.iter().chain(&snapshot.orders_ended).filter(forced).collect();
        for fill in &snapshot.fills {
            let made = orders.iter().find(|order| order.venue_order_id == fill.venue_order_id);
            let Some(made) = made else { continue };
            let what = match made.category {
                OrderCategory::Liquidation => "liquidated",
                OrderCategory::AutoDeleverage => "auto-deleveraged",
                _ => "closed by a stop that was about to go",
            };
            let text = format!(
                "the venue {what} {} of {} at {} on account {}",
                fill.quantity, fill.symbol, fill.price, self.venues[venue].settings.id
            );
            desk.alert(AlertLevel::Error, "forced_close", None, text);
            let (mut fee_left, mut left) = (fill.fee.rounded(), fill.quantity);
            for (index, quantity) in self.shares(desk.state(), venue, fill) {
                let (symbol, side, price) = (fill.symbol, fill.side, fill.price);
                // Of what is left: so the last one has the rest, and the sum is the venue's.
                let fee = fee_left.share(quantity, left);
                (fee_left, left) = (fee_left - fee, left - quantity);
                let Some(index) = index else { continue };
                let reason = OrderReason::Liquidation;
                let fact = Fact { symbol, side, quantity, price, fee, reason };
                let leg = format!("{symbol} {}", fill.trade_id);
                self.book_fact(desk, index, &fact, "forced", &leg);
            }
            for index in self.venues[venue].members.clone() {
                if let Some(live) = self.accounts[index].exchange.live_mut() {
                    live.note_forced(made.venue_order_id);
                }
            }
        }
    }

    /// How a forced execution falls on those who held the position: by their sizes, in whole lots, what remains on the
    /// largest. Who traded on before we heard of it holds something else by now, or nothing. What is known to be held
    /// by nobody here has its part, too (`None`).
    fn shares(&self, state: &State, venue: usize, fill: &VenueFill) -> Vec<(Option<usize>, Quantity)> {
        let trades = |index: &usize| {
            self.blocked(state, *index).is_none() && self.market_of(*index, fill.symbol).is_some()
        };
        let members = self.venues[venue].members.iter().copied().filter(trades);
        let all: Vec<(Option<usize>, Quantity)> = members
            .map(|index| (Some(index), held(state, self.accounts[index].settings.id, fill.symbol)))
            .collect();
        let opposed = |held: Quantity| side_of(held).is_some_and(|side| side != fill.side);
        let foreign = self.foreign_quantity(state, venue, fill.symbol);
        let mut holders: Vec<(Option<usize>, Quantity)> = all
            .iter()
            .chain(&[(None, foreign)])
            .filter(|(_, held)| opposed(*held))
            .map(|(index, held)| (*index, held.abs()))
            .collect();
        if holders.is_empty() {
            holders = all.iter().map(|(index, held)| (*index, held.abs())).collect();
            holders.retain(|(_, held)| held.is_positive());
        }
        let total: Quantity = holders.iter().map(|(_, held)| *held).sum();
        let Some(largest) = holders.iter().max_by_key(|(_, held)| *held).map(|(index, _)| *index) else {
            return all.first().map(|(index, _)| (*index, fill.quantity)).into_iter().collect();
        };
        let lots = self.lots(fill.symbol);
        let part = |held: Quantity| {
            let product = fill.quantity.value().checked_mul(held.value()).unwrap_or_default();
            lots(Quantity::new(product / total.value()))
        };
        let mut shares: Vec<(Option<usize>, Quantity)> =
            holders.iter().map(|(index, held)| (*index, part(*held))).collect();
        let rest = fill.quantity - shares.iter().map(|(_, share)| *share).sum();
        shares.iter_mut().filter(|(index, _)| *index == largest).for_each(|(_, share)| *share += rest);
        shares.retain(|(_, share)| share.is_positive());
        shares
    }

    /// What the venue was last known to hold beyond the ledgers, signed.
    fn foreign_quantity(&self, state: &State, venue: usize, symbol: Symbol) -> Quantity {
        let members = self.venues[venue].members.iter();
        let told = members.map(|index| state.live.differences(self.accounts[*index].settings.id));
        let of_pair = |differences: &[Difference]| -> Quantity {
            let own = differences.iter().filter(|difference| difference.symbol == symbol);
            own.map(|difference| difference.venue - difference.ledger).sum()
        };
        told.map(of_pair).find(|quantity| !quantity.is_zero()).unwrap_or(Quantity::ZERO)
    }

    /// How quantities of a symbol are rounded to lots.
    fn lots(&self, symbol: Symbol) -> impl Fn(Quantity) -> Quantity + use<> {
        let lot = self.accounts.iter().find_map(|account| {
            let live = account.exchange.live()?;
            live.notes().find(|note| note.instrument.symbol() == symbol).map(|note| note.instrument.clone())
        });
        move |quantity| lot.as_ref().map_or(quantity, |instrument| instrument.round_quantity(quantity))
    }

    /// Books an execution under an order of its own, which was never sent.
    pub(super) fn book_fact(
        &mut self,
        desk: &mut Desk<'_>,
        index: usize,
        fact: &Fact,
        cause: &str,
        leg: &str,
    ) -> ClientOrderId {
        let strategy = self.accounts[index].settings.id;
        let store = desk.state().store_id.expect("the store has an id since its first record");
        let id = order_id(store, strategy, cause, Timestamp::MIN, leg);
        let draft = OrderDraft {
            strategy,
            symbol: fact.symbol,
            venue: self.accounts[index].settings.venue,
            signal_id: None,
            quantity_signed: fact.side.signed(fact.quantity),
            order_type: OrderType::Market,
            reduce_only: false,
        };
        self.note_route(desk, index);
        desk.record(Record::Order(Order { reason: Some(fact.reason), ..draft.order(id, desk.at) }));
        let (price, quantity, fee) = (fact.price, fact.quantity, fact.fee);
        let liquidity = Liquidity::Taker;
        let filled = ExecutionReport::Filled { order_id: id, price, quantity, fee, liquidity };
        self.with_reports(desk, index, |_, _, reports| reports.push(filled));
        id
    }

    /// Books a funding payment to those who hold the position, once.
    pub(super) fn on_funding(&mut self, desk: &mut Desk<'_>, venue: usize, funding: &VenueFunding) {
        let account = self.venues[venue].settings.id;
        let known = desk.state().live.accounts.get(&account);
        if known.is_some_and(|known| known.funding.contains(&funding.id)) {
            return;
        }
        let mut holders: Vec<(usize, Quantity)> = Vec::new();
        for index in self.venues[venue].members.iter().copied() {
            let quantity = held(desk.state(), self.accounts[index].settings.id, funding.symbol).abs();
            if quantity.is_positive() && self.blocked(desk.state(), index).is_none() {
                holders.push((index, quantity));
            }
        }
        let total: Quantity = holders.iter().map(|(_, quantity)| *quantity).sum();
        let mut left = funding.amount.rounded();
        if holders.is_empty() {
            let text =
                format!("account {account}: funding of {left} for {} belongs to no strategy", funding.symbol);
            desk.alert(AlertLevel::Warning, "funding_unassigned", None, text);
            // Nothing is booked, but it is known from now on: who holds the pair when it comes again did not earn it.
            if let Some(index) = self.venues[venue].members.first() {
                let (strategy, amount, id) =
                    (self.accounts[*index].settings.id, Money::ZERO, funding.id.clone());
                let (symbol, time) = (funding.symbol, desk.at);
                desk.record(Record::Funding(FundingRecord { strategy, account, id, symbol, amount, time }));
            }
            return;
        }
        let last = holders.len() - 1;
        for (place, (index, quantity)) in holders.into_iter().enumerate() {
            let share = funding.amount.rounded().share(quantity, total);
            let amount = if place == last { left } else { share };
            left -= amount;
            let (strategy, id) = (self.accounts[index].settings.id, funding.id.clone());
            let (symbol, time) = (funding.symbol, desk.at);
            desk.record(Record::Funding(FundingRecord { strategy, account, id, symbol, amount, time }));
            self.after_fill(desk, index, symbol, false);
        }
    }
}

fn shown(difference: &Difference) -> String {
    let Difference { symbol, venue, ledger, .. } = difference;
    format!("{symbol}: the venue has {venue}, the ledgers {ledger}")
}
