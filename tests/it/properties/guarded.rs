//! Stops by the contract's text: they come into force with the first fill of their order that opens or enlarges, of two
//! signals the later counts, they go with the position, and a touched one closes all of it.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use tradebus::engine::record::TriggersRecord;
use tradebus::engine::state::State;
use tradebus::model::ids::{ClientOrderId, StrategyId, Symbol};
use tradebus::model::order::{Order, OrderReason, OrderType, Side};
use tradebus::model::stop::{StopCause, Triggers};

const CAUSES: [StopCause; 2] = [StopCause::StopLoss, StopCause::TakeProfit];

/// Stop loss and take profit, each with the number of the signal that named it.
type Named = [Option<(Decimal, u64)>; 2];

/// A position.
type Key = (StrategyId, Symbol);

/// All stops.
#[derive(Default)]
pub struct Guarded {
    /// What signals asked for, by their number.
    asked: BTreeMap<u64, [Option<Decimal>; 2]>,
    orders: BTreeMap<ClientOrderId, Named>,
    positions: BTreeMap<Key, Named>,
}

/// A last price, or the middle of bid and ask where there is none.
pub type Prices = BTreeMap<Symbol, Decimal>;

impl Guarded {
    /// A signal `n<number>` is sent.
    pub fn ask(&mut self, number: u64, stops: [Option<Decimal>; 2]) {
        self.asked.insert(number, stops);
    }

    /// The engine says that a signal's stops count for an order or a position: they are those that it named.
    pub fn take(&mut self, record: &TriggersRecord) {
        let triggers = CAUSES.map(|cause| record.triggers.get(cause));
        let id = triggers.iter().flatten().next().expect("a stop").signal_id.as_str();
        let number: u64 = id[1..].parse().unwrap();
        let prices = triggers.map(|trigger| trigger.map(|trigger| trigger.price.value()));
        assert_eq!(prices, self.asked[&number], "other stops than those of signal {id}");
        let there = match record.order_id {
            Some(order_id) => self.orders.entry(order_id).or_default(),
            None => self.positions.entry((record.strategy, record.symbol)).or_default(),
        };
        merge(there, &prices.map(|price| price.map(|price| (price, number))));
    }

    /// A fill took a position from one signed size to another.
    pub fn fill(&mut self, key: Key, order_id: ClientOrderId, (before, after): (Decimal, Decimal)) {
        let opens = before * after <= Decimal::ZERO;
        if opens {
            self.positions.remove(&key);
        }
        let enlarges = after.abs() > before.abs() || (opens && !after.is_zero());
        if let Some(named) = self.orders.get(&order_id).filter(|_| enlarges) {
            merge(self.positions.entry(key).or_default(), named);
        }
    }

    /// An order is final.
    pub fn end(&mut self, order_id: ClientOrderId) {
        self.orders.remove(&order_id);
    }

    /// A stop became this order: its trigger is touched by one of these prices.
    pub fn check_order(&self, order: &Order, prices: [&Prices; 2]) -> Result<(), String> {
        let key = (order.strategy, order.symbol);
        let index = usize::from(order.reason == Some(OrderReason::TakeProfit));
        let named = self.positions.get(&key).and_then(|named| named[index]);
        let Some((trigger, number)) = named else { return Err(format!("no such stop: {order:?}")) };
        if order.signal_id.as_ref().map(|id| id.as_str()) != Some(&format!("n{number}")) {
            return Err(format!("the signal was n{number}: {order:?}"));
        }
        let falls = (index == 0) == (order.side == Side::Sell);
        let touches = |price: &Decimal| if falls { *price <= trigger } else { *price >= trigger };
        match prices.iter().filter_map(|prices| prices.get(&order.symbol)).any(touches) {
            true => Ok(()),
            false => Err(format!("{trigger} was not touched: {order:?}")),
        }
    }

    /// The engine knows the same stops, and whatever the last price is beyond is being closed.
    pub fn compare(&self, state: &State, prices: &Prices) -> Result<(), String> {
        let known: BTreeMap<Key, Named> = state
            .stops
            .positions()
            .map(|(id, symbol, stops)| ((id, symbol), shown(&stops.triggers)))
            .collect();
        if without_numbers(&known) != without_numbers(&self.positions) {
            return Err(format!("{known:?} instead of {:?}", self.positions));
        }
        for ((strategy, symbol), [stop_loss, take_profit]) in &self.positions {
            let Some(price) = prices.get(symbol) else { continue };
            let quantity = state.strategies[strategy].positions[symbol].quantity.value();
            let long = quantity.is_sign_positive();
            let below = |trigger: &Option<(Decimal, u64)>| trigger.is_some_and(|(at, _)| *price <= at);
            let above = |trigger: &Option<(Decimal, u64)>| trigger.is_some_and(|(at, _)| *price >= at);
            let touched = match long {
                true => below(stop_loss) || above(take_profit),
                false => above(stop_loss) || below(take_profit),
            };
            let closing: Decimal = state
                .orders
                .values()
                .filter(|order| (order.strategy, order.symbol) == (*strategy, *symbol))
                .filter(|order| order.order_type == OrderType::Market && (order.side == Side::Sell) == long)
                .map(|order| order.remaining().value())
                .sum();
            if touched && closing < quantity.abs() {
                return Err(format!("{strategy} {symbol}: {quantity} at {price} is not being closed"));
            }
        }
        Ok(())
    }
}

/// What still works after the event in which a stop became this order, though it could open again what that closes.
pub fn entries_left<'s>(of_stop: &Order, state: &'s State) -> Vec<&'s Order> {
    let closes = |order: &Order| order.order_type == OrderType::Market && order.side == of_stop.side;
    let same = |order: &&Order| order.strategy == of_stop.strategy && order.symbol == of_stop.symbol;
    state.orders.values().filter(same).filter(|order| !order.reduce_only && !closes(order)).collect()
}

fn merge(there: &mut Named, named: &Named) {
    for (mine, theirs) in there.iter_mut().zip(named) {
        let later = theirs.filter(|(_, number)| mine.is_none_or(|(_, before)| before <= *number));
        *mine = later.or(*mine);
    }
}

fn shown(triggers: &Triggers) -> Named {
    CAUSES.map(|cause| triggers.get(cause).map(|trigger| (trigger.price.value(), 0)))
}

fn without_numbers(all: &BTreeMap<Key, Named>) -> Vec<(Key, [Option<Decimal>; 2])> {
    let prices = |named: &Named| named.map(|trigger| trigger.map(|(price, _)| price));
    all.iter().map(|(key, named)| (*key, prices(named))).collect()
}
