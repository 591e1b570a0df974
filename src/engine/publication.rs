//! When states, positions and key figures are published: at once on a fill, an order or a level, otherwise at most once
//! in `price_interval_ms`, by event time. Key figures: at the start, at each closed trade, at the day roll.

use super::desk::Desk;
use super::effect::{KpiView, MoneyView, PositionView, ScopeView, StrategyView, Update};
use super::exchange_control::{Dirty, ExchangeControl};
use super::kpi::kpis;
use super::portfolio::{add_money, daily_equity, money_of};
use super::record::Scope;
use super::state::StrategyState;
use crate::model::amount::{Money, Quantity};
use crate::model::ids::{StrategyId, Symbol};
use crate::model::kpi::{Kpis, TradeStats};
use crate::model::stop::StopCause;
use crate::model::time::Timestamp;

impl ExchangeControl {
    /// When the next throttled publication is due.
    pub fn publication_due(&self) -> Option<Timestamp> {
        let due = |dirty: Dirty, published_at: Option<Timestamp>| match dirty {
            Dirty::No => None,
            Dirty::Throttled | Dirty::Now => {
                Some(published_at.map_or(Timestamp::MIN, |at| at.plus_ms(self.interval_ms)))
            }
        };
        let accounts = self.accounts.iter().map(|account| due(account.dirty, account.published_at));
        let scopes = self.scopes.iter().map(|scope| due(scope.dirty, scope.published_at));
        accounts.chain(scopes).flatten().min()
    }

    /// Publishes what is marked `Now`, and what is due.
    pub fn publish_due(&mut self, desk: &mut Desk<'_>) {
        let interval_ms = self.interval_ms;
        let ready = |dirty: Dirty, published_at: Option<Timestamp>| match dirty {
            Dirty::No => false,
            Dirty::Now => true,
            Dirty::Throttled => published_at.is_none_or(|at| desk.at.since_ms(at) >= interval_ms),
        };
        let accounts: Vec<usize> = (0..self.accounts.len())
            .filter(|index| ready(self.accounts[*index].dirty, self.accounts[*index].published_at))
            .collect();
        let scopes: Vec<usize> = (0..self.scopes.len())
            .filter(|index| ready(self.scopes[*index].dirty, self.scopes[*index].published_at))
            .collect();
        for index in accounts {
            let symbols = self.accounts[index].take_positions();
            for symbol in symbols {
                desk.publish(Update::Position(Box::new(self.position_view(desk, index, symbol))));
            }
            desk.publish(Update::Strategy(Box::new(self.strategy_view(desk, index))));
            self.accounts[index].dirty = Dirty::No;
            self.accounts[index].published_at = Some(desk.at);
        }
        for index in scopes {
            let money = self.scope_money(desk, index);
            let live = self.scopes[index].live;
            let view = ScopeView { scope: self.scopes[index].scope, live, money, time: desk.at };
            desk.publish(Update::Scope(Box::new(view)));
            self.scopes[index].dirty = Dirty::No;
            self.scopes[index].published_at = Some(desk.at);
        }
    }

    /// Marks a strategy for publication with this event: an order or a refusal changed what it shows.
    pub fn touch(&mut self, index: usize) {
        self.accounts[index].dirty = Dirty::Now;
    }

    /// Publishes key figures: of one strategy and the scopes above it, or of all.
    pub fn publish_kpis(&self, desk: &mut Desk<'_>, only: Option<usize>) {
        for (index, account) in self.accounts.iter().enumerate() {
            if only.is_none_or(|wanted| wanted == index) {
                let scope = Scope::Strategy(account.settings.id);
                let view = self.kpi_view(desk, scope, &[account.settings.id]);
                desk.publish(Update::Kpi(Box::new(view)));
            }
        }
        for scope in &self.scopes {
            if only.is_none_or(|wanted| scope.members.contains(&wanted)) {
                let ids: Vec<StrategyId> =
                    scope.figured.iter().map(|index| self.accounts[*index].settings.id).collect();
                let view = self.kpi_view(desk, scope.scope, &ids);
                desk.publish(Update::Kpi(Box::new(view)));
            }
        }
    }

    pub(super) fn kpi_view(&self, desk: &Desk<'_>, scope: Scope, members: &[StrategyId]) -> KpiView {
        let ledgers: Vec<&StrategyState> = members.iter().map(|id| &desk.state().strategies[id]).collect();
        let mut trades = TradeStats::default();
        ledgers.iter().for_each(|ledger| trades.merge(&ledger.trades));
        let fees: Money = ledgers.iter().map(|ledger| ledger.fees).sum();
        let funding: Money = ledgers.iter().map(|ledger| ledger.funding).sum();
        let equity = daily_equity(ledgers.iter().copied());
        let state = desk.state().scopes.get(&scope).copied().unwrap_or_default();
        let mut kpis = kpis(&equity, &trades, state.exposure(desk.at), fees, funding);
        if trades.trades == 0 && state.held_since.is_none() && state.held_ms == 0 {
            // Days without any position say nothing about a strategy.
            kpis = Kpis { observations: kpis.observations, ..Kpis::default() };
        }
        let live = members.iter().any(|id| {
            let index = self.account_of(*id);
            index.is_some_and(|index| self.accounts[index].settings.account.is_some())
        });
        KpiView { scope, live, from: state.started, to: desk.at, kpis }
    }

    fn scope_money(&self, desk: &Desk<'_>, index: usize) -> MoneyView {
        let scope = &self.scopes[index];
        let start = MoneyView { peak: scope.gauge.peak(), ..MoneyView::default() };
        scope.figured.iter().fold(start, |total, member| {
            let account = &self.accounts[*member];
            add_money(total, money_of(&account.book, &desk.state().strategies[&account.settings.id]))
        })
    }

    fn strategy_view(&self, desk: &Desk<'_>, index: usize) -> StrategyView {
        let account = &self.accounts[index];
        let ledger = &desk.state().strategies[&account.settings.id];
        let daemon = desk.state().level.effective(desk.at);
        StrategyView {
            strategy: account.settings.id,
            kind: account.settings.kind,
            feed: account.settings.markets.values().next().map(|key| key.feed),
            live: account.settings.account.is_some(),
            venue: account.settings.venue,
            level: ledger.level.level,
            level_effective: ledger.level.effective(desk.at).max(daemon),
            reconcile: desk.state().live.differences(account.settings.id).to_vec(),
            drift_bps: desk.state().live.drift_bps(account.settings.id),
            symbols: account.settings.markets.keys().copied().collect(),
            money: money_of(&account.book, ledger),
            last_error: ledger.last_error.clone(),
            time: desk.at,
        }
    }

    pub(super) fn position_view(&self, desk: &Desk<'_>, index: usize, symbol: Symbol) -> PositionView {
        let account = &self.accounts[index];
        let position = desk.state().strategies[&account.settings.id].positions.get(&symbol);
        let key = account.settings.markets.get(&symbol);
        let mark = key.and_then(|key| desk.prices.get(*key)?.mark());
        let stops = desk.state().stops.of_position(account.settings.id, symbol);
        let trigger = |cause| Some(stops?.triggers.get(cause)?.price);
        PositionView {
            strategy: account.settings.id,
            symbol,
            venue: account.settings.venue,
            quantity: position.map_or(Quantity::ZERO, |p| p.quantity),
            entry_price: position.and_then(|p| p.entry_price()),
            mark_price: mark,
            unrealized_pnl: position.zip(mark).map_or(Money::ZERO, |(p, mark)| p.unrealized_pnl(mark)),
            realized_pnl: position.map_or(Money::ZERO, |p| p.realized_pnl),
            fees: position.map_or(Money::ZERO, |p| p.fees),
            stop_loss: trigger(StopCause::StopLoss),
            take_profit: trigger(StopCause::TakeProfit),
            opened_at: position.map(|p| p.opened_at),
            time: desk.at,
        }
    }
}
