//! What an entry is held against: exposure and equity of the strategy, its type and the daemon, and the margin.

use super::desk::Desk;
use super::exchange_control::{ExchangeControl, ScopeEntry};
use super::record::Scope;
use crate::model::amount::{Money, Ratio};
use crate::model::order::Order;
use crate::model::signal::Refusal;
use crate::model::time::Timestamp;
use crate::risk::{Entry, RiskApproved, ScopeCheck, approve_entry};

/// The window of `orders_per_minute_max`, in milliseconds.
const MINUTE_MS: i64 = 60_000;

/// The part of an order that opens or enlarges a position.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// At the price that it may cost.
    pub notional: Money,
    /// At the price that it is held at.
    pub exposure: Money,
    /// Whether the other part of the order closes a position.
    pub flips: bool,
}

impl ExchangeControl {
    /// Holds an entry against the account's margin and every limit.
    ///
    /// # Errors
    /// The limit that it breaks.
    pub fn approve(
        &mut self,
        desk: &Desk<'_>,
        index: usize,
        order: Order,
        opening: Opening,
    ) -> Result<RiskApproved, Refusal> {
        self.forget_entries(desk.at);
        self.check_account(desk.state(), index, &order, opening.notional)?;
        let key = self.market_of(index, order.symbol).expect("the symbol was checked before");
        let account = &self.accounts[index];
        let closed = match account.book.holding(key) {
            Some(holding) if opening.flips => {
                holding.mark.map_or(holding.cost, |mark| mark.times(holding.quantity)).abs()
            }
            _ => Money::ZERO,
        };
        let added = opening.exposure - closed;
        let kind = account.settings.kind;
        let mut checks = vec![ScopeCheck {
            name: format!("strategy {}", account.settings.id),
            limits: &account.settings.limits,
            equity: account.book.equity(),
            exposure: self.exposure(desk, &[index]) + added,
            entries_per_minute: account.entries.len() as u32 + 1,
        }];
        for scope in self.scopes.iter().filter(|scope| scope.members.contains(&index)) {
            let peers = self.peers(index, scope);
            checks.push(ScopeCheck {
                name: if scope.scope == Scope::Portfolio { "daemon".into() } else { format!("type {kind}") },
                limits: &scope.limits,
                equity: peers.iter().map(|peer| self.accounts[*peer].book.equity()).sum(),
                exposure: self.exposure(desk, &peers) + added,
                entries_per_minute: 1 + peers
                    .iter()
                    .map(|peer| self.accounts[*peer].entries.len() as u32)
                    .sum::<u32>(),
            });
        }
        let entry = Entry {
            notional: opening.notional,
            equity: account.book.equity(),
            exposure: checks[0].exposure,
            leverage: self.leverage_of(index),
        };
        approve_entry(order, &entry, &checks)
    }

    /// The strategies beside which an entry counts: play money takes nothing from what real money may do.
    fn peers(&self, index: usize, scope: &ScopeEntry) -> Vec<usize> {
        let live = self.accounts[index].is_live();
        scope.members.iter().copied().filter(|member| self.accounts[*member].is_live() == live).collect()
    }

    /// How far exposure may go beyond equity.
    fn leverage_of(&self, index: usize) -> Ratio {
        let paper = self.accounts[index].settings.paper.leverage;
        self.venue_of(index).map_or(paper, |venue| Ratio::new(venue.settings.leverage.into()))
    }

    /// Exposure of accounts: positions at the mark and what working entries would add.
    fn exposure(&self, desk: &Desk<'_>, members: &[usize]) -> Money {
        let of = |index: usize| {
            let orders = self.open_orders(desk.state(), index).filter(|order| !order.reduce_only);
            let working: Money = orders.map(|order| self.working_notional(desk, index, order)).sum();
            self.accounts[index].book.exposure() + working
        };
        members.iter().map(|index| of(*index)).sum()
    }

    fn working_notional(&self, desk: &Desk<'_>, index: usize, order: &Order) -> Money {
        let market = self.market_of(index, order.symbol).and_then(|key| desk.prices.get(key));
        let price = order.order_type.price().or_else(|| market.and_then(|market| market.mark()));
        price.map_or(Money::ZERO, |price| price.times(order.remaining()))
    }

    fn forget_entries(&mut self, at: Timestamp) {
        for account in &mut self.accounts {
            while account.entries.front().is_some_and(|time| at.since_ms(*time) >= MINUTE_MS) {
                account.entries.pop_front();
            }
        }
    }
}
