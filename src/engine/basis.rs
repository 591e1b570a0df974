//! Whose money the figures and limits of a type and of the daemon count: that of the live strategies if there are any,
//! else that of those on paper, never both. What is published and what trips a limit are the same figures.
//!
//! Peak and day start are durable, and so is whose they are. When that changes, which only a start does, they begin
//! anew: what play money won or lost is no drawdown of real money, nor the other way round.

use std::collections::BTreeSet;

use super::desk::Desk;
use super::exchange_control::{Dirty, ExchangeControl, ScopeEntry};
use super::gauge::Gauge;
use super::record::{BasisRecord, Record, Scope};
use super::state::State;
use crate::model::amount::Money;
use crate::model::ids::StrategyType;
use crate::risk::Limits;

/// The types that have a strategy on paper, as the store knows it: asked before the configuration is compared with it.
pub fn types_on_paper(state: &State) -> BTreeSet<StrategyType> {
    let paper = state.strategies.values().filter(|strategy| strategy.active && strategy.venue.is_paper());
    paper.map(|strategy| strategy.kind).collect()
}

impl ExchangeControl {
    /// Adds a type, or the portfolio.
    pub(super) fn add_scope(&mut self, scope: Scope, members: Vec<usize>, limits: Limits) {
        let live = members.iter().any(|member| self.accounts[*member].is_live());
        let figured =
            members.iter().copied().filter(|member| self.accounts[*member].is_live() == live).collect();
        let (gauge, dirty, published_at) = (Gauge::default(), Dirty::No, None);
        self.scopes.push(ScopeEntry { scope, members, live, figured, limits, gauge, dirty, published_at });
    }

    /// Writes down whose peak and day start are remembered, where that changed.
    pub(super) fn settle_basis(&mut self, desk: &mut Desk<'_>, paper: &BTreeSet<StrategyType>) {
        for entry in &self.scopes {
            let known = desk.state().scopes.get(&entry.scope).copied().unwrap_or_default();
            if known.live == entry.live {
                continue;
            }
            let had_paper = match entry.scope {
                Scope::Type(kind) => paper.contains(&kind),
                _ => !paper.is_empty(),
            };
            // A store that does not say so yet may have had live strategies alone.
            let same = entry.live && !had_paper && entry.figured.len() == entry.members.len();
            let (peak, day_start) = match same {
                true => (known.peak, known.day_start),
                false => self.anew(desk.state(), entry),
            };
            let (scope, live, time) = (entry.scope, entry.live, desk.at);
            desk.record(Record::Basis(BasisRecord { scope, live, peak, day_start, time }));
        }
    }

    /// A peak without a drawdown, and the equity with which the strategies that count began the day.
    fn anew(&self, state: &State, entry: &ScopeEntry) -> (Money, Money) {
        let ids = || entry.figured.iter().map(|index| self.accounts[*index].settings.id);
        let balance = ids().map(|id| state.strategies[&id].balance()).sum();
        (balance, ids().map(|id| state.scopes[&Scope::Strategy(id)].day_start).sum())
    }
}
