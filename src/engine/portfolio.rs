//! Positions and money of one strategy, valued at the mark.
//!
//! A [`Book`] mirrors the durable ledger in the form that a tick needs: small, flat, without look-ups. It is rebuilt
//! from the state after every record that touches the strategy, so it can never disagree with the ledger for long.

use super::effect::MoneyView;
use super::gauge::Gauge;
use super::price_module::PriceModule;
use super::record::Scope;
use super::settings::StrategySettings;
use super::state::{State, StrategyState};
use crate::model::amount::{Money, Price, Quantity};
use crate::model::ids::{StrategyId, Symbol};
use crate::model::market::MarketKey;
use crate::model::units::Units;

/// An open position at its mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Where it is priced.
    pub key: MarketKey,
    /// The place of that market in the list of prices.
    market: usize,
    /// Signed base units.
    pub quantity: Quantity,
    /// Signed cost.
    pub cost: Money,
    /// The mark; the entry price until there is one.
    pub mark: Option<Price>,
    /// The cost in units, as a tick needs it.
    cost_units: Units,
    /// Profit at the mark.
    unrealized: Units,
    /// Whether the mark moved since that was last asked.
    moved: bool,
}

/// One strategy's money at the mark.
#[derive(Clone, Debug, Default)]
pub struct Book {
    holdings: Vec<Holding>,
    /// Its equity.
    pub gauge: Gauge,
}

impl Book {
    /// Takes over the ledger and values it.
    pub fn sync(&mut self, id: StrategyId, settings: &StrategySettings, state: &State, prices: &PriceModule) {
        let ledger = &state.strategies[&id];
        self.holdings.clear();
        for (symbol, position) in &ledger.positions {
            // A position in a symbol that left the configuration has no market; it is held at its cost.
            let market = settings.markets.get(symbol).and_then(|key| prices.position(*key));
            let Some(market) = market else { continue };
            let (key, mark) = (prices.markets()[market].key(), prices.markets()[market].mark());
            let (quantity, cost, cost_units) =
                (position.quantity, position.cost, Units::floor(position.cost));
            let unrealized = mark.map_or(Units::ZERO, |mark| Units::product(mark, quantity) - cost_units);
            let moved = false;
            let holding = Holding { key, market, quantity, cost, mark, cost_units, unrealized, moved };
            self.holdings.push(holding);
        }
        let unrealized = self.holdings.iter().map(|holding| holding.unrealized).sum();
        self.gauge.sync(ledger.balance(), unrealized, &state.scopes[&Scope::Strategy(id)]);
    }

    /// Values the holding of one market anew; gives the change of the equity, `None` when there is no holding or its
    /// mark is the same.
    pub fn mark(&mut self, market: usize, mark: Price) -> Option<Units> {
        let holding = self.holdings.iter_mut().find(|holding| holding.market == market)?;
        if holding.mark == Some(mark) {
            return None;
        }
        let unrealized = Units::product(mark, holding.quantity) - holding.cost_units;
        let change = unrealized - holding.unrealized;
        holding.unrealized = unrealized;
        holding.mark = Some(mark);
        holding.moved = true;
        self.gauge.change(change);
        Some(change)
    }

    /// The symbols whose mark moved since the last call.
    pub fn take_moved(&mut self) -> impl Iterator<Item = Symbol> {
        self.holdings
            .iter_mut()
            .filter_map(|holding| std::mem::take(&mut holding.moved).then_some(holding.key.symbol))
    }

    /// Balance and unrealised profit.
    pub fn equity(&self) -> Money {
        self.gauge.equity()
    }

    /// Profit of the open positions at the mark.
    pub fn unrealized_pnl(&self) -> Money {
        self.gauge.unrealized().money()
    }

    /// The open positions.
    pub fn holdings(&self) -> &[Holding] {
        &self.holdings
    }

    /// The holding of one market.
    pub fn holding(&self, key: MarketKey) -> Option<&Holding> {
        self.holdings.iter().find(|holding| holding.key == key)
    }

    /// Sum of |quantity x mark| over the holdings; at cost where there is no mark.
    pub fn exposure(&self) -> Money {
        let value = |holding: &Holding| match holding.mark {
            Some(mark) => mark.times(holding.quantity).abs(),
            None => holding.cost.abs(),
        };
        self.holdings.iter().map(value).sum()
    }
}

/// The money of one strategy.
pub fn money_of(book: &Book, ledger: &StrategyState) -> MoneyView {
    MoneyView {
        balance: ledger.balance(),
        equity: book.equity(),
        unrealized_pnl: book.unrealized_pnl(),
        realized_pnl: ledger.realized_pnl,
        fees: ledger.fees,
        funding: ledger.funding,
        peak: book.gauge.peak(),
        open_positions: ledger.positions.len() as u32,
    }
}

/// The sum of two moneys; the peak is the scope's own and not a sum.
pub fn add_money(total: MoneyView, part: MoneyView) -> MoneyView {
    MoneyView {
        balance: total.balance + part.balance,
        equity: total.equity + part.equity,
        unrealized_pnl: total.unrealized_pnl + part.unrealized_pnl,
        realized_pnl: total.realized_pnl + part.realized_pnl,
        fees: total.fees + part.fees,
        funding: total.funding + part.funding,
        peak: total.peak,
        open_positions: total.open_positions + part.open_positions,
    }
}

/// The daily equity of several strategies added up: the first value is the sum of their starting balances, a strategy
/// counts with its starting balance on days before it began.
pub fn daily_equity<'a>(ledgers: impl Iterator<Item = &'a StrategyState> + Clone) -> Vec<Money> {
    let start: Money = ledgers.clone().map(|ledger| ledger.balance_start).sum();
    let first = ledgers.clone().filter_map(|ledger| ledger.day_first).min();
    let end = ledgers.clone().filter_map(|l| l.day_first.map(|day| day + l.days.len() as i64)).max();
    let (Some(first), Some(end)) = (first, end) else { return vec![start] };
    let mut series = vec![start];
    series
        .extend((first..end).map(|day| ledgers.clone().map(|ledger| equity_on(ledger, day)).sum::<Money>()));
    series
}

/// The daily equity of one strategy, its starting balance before the first sample, its last one after the end.
fn equity_on(ledger: &StrategyState, day: i64) -> Money {
    let offset = ledger.day_first.map_or(-1, |first| day - first);
    match usize::try_from(offset) {
        Ok(offset) => ledger.days.get(offset).or(ledger.days.last()).copied().unwrap_or(ledger.balance_start),
        Err(_) => ledger.balance_start,
    }
}

/// The symbols of a ledger that have a position.
pub fn open_symbols(ledger: &StrategyState) -> impl Iterator<Item = Symbol> + '_ {
    ledger.positions.keys().copied()
}
