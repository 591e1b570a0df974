//! The stops of positions and of working orders, as the fold of records knows them.
//!
//! A position has at most one entry, which goes with it in the very record that closes or flips it. An order keeps what
//! its signal named until it is final: that comes into force with the first fill that opens or enlarges, and again
//! should a later fill of the order open anew.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::record::{StopRecord, TriggersRecord};
use crate::model::ids::{ClientOrderId, StrategyId, Symbol};
use crate::model::report::{Fill, FillEvent};
use crate::model::stop::{ProtectiveStop, Triggers};

/// What protects one position.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionStops {
    /// What was asked for.
    pub triggers: Triggers,
    /// The stop that the exchange keeps; `None` while the order of a touched one is working.
    pub kept: Option<ProtectiveStop>,
}

/// All stops.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopBook {
    positions: BTreeMap<(StrategyId, Symbol), PositionStops>,
    /// What orders that are not final bring with them.
    orders: BTreeMap<ClientOrderId, Triggers>,
}

impl StopBook {
    /// What protects a position.
    pub fn of_position(&self, strategy: StrategyId, symbol: Symbol) -> Option<&PositionStops> {
        self.positions.get(&(strategy, symbol))
    }

    /// What an order brings with it.
    pub fn of_order(&self, order_id: ClientOrderId) -> Option<&Triggers> {
        self.orders.get(&order_id)
    }

    /// Everything that protects a position.
    pub fn positions(&self) -> impl Iterator<Item = (StrategyId, Symbol, &PositionStops)> {
        self.positions.iter().map(|((strategy, symbol), stops)| (*strategy, *symbol, stops))
    }

    /// The orders that bring stops with them.
    pub fn orders(&self) -> impl Iterator<Item = (ClientOrderId, &Triggers)> {
        self.orders.iter().map(|(id, triggers)| (*id, triggers))
    }

    pub(super) fn apply_triggers(&mut self, record: &TriggersRecord) {
        let triggers = match record.order_id {
            Some(order_id) => self.orders.entry(order_id).or_default(),
            None => &mut self.positions.entry((record.strategy, record.symbol)).or_default().triggers,
        };
        triggers.merge(&record.triggers);
    }

    pub(super) fn apply_stop(&mut self, record: &StopRecord) {
        if let Some(stops) = self.positions.get_mut(&(record.strategy, record.symbol)) {
            stops.kept = record.stop.clone();
        }
    }

    pub(super) fn apply_fill(&mut self, fill: &Fill) {
        let key = (fill.strategy, fill.symbol);
        let opens = match fill.event_type {
            FillEvent::Reduce => return,
            FillEvent::Increase => true,
            FillEvent::Open | FillEvent::Flip | FillEvent::Close => {
                self.positions.remove(&key);
                fill.event_type != FillEvent::Close
            }
        };
        if let Some(named) = self.orders.get(&fill.order_id).filter(|_| opens) {
            self.positions.entry(key).or_default().triggers.merge(named);
        }
    }

    pub(super) fn forget_order(&mut self, order_id: ClientOrderId) {
        self.orders.remove(&order_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::amount::{Money, Price, Quantity, parse_decimal};
    use crate::model::ids::{SignalId, VenueId};
    use crate::model::order::Side;
    use crate::model::report::Liquidity;
    use crate::model::stop::{StopCause, Trigger};
    use crate::model::time::Timestamp;

    fn triggers(text: &str, number: u64) -> Triggers {
        let trigger = |text: &str| Trigger {
            price: Price::new(parse_decimal(text).unwrap()),
            signal_id: SignalId::new("s").unwrap(),
            number,
        };
        let (stop_loss, take_profit) = text.split_once('/').unwrap();
        let named = |text: &str| (!text.is_empty()).then(|| trigger(text));
        Triggers { stop_loss: named(stop_loss), take_profit: named(take_profit) }
    }

    fn event_of(word: &str) -> FillEvent {
        let all =
            [FillEvent::Open, FillEvent::Increase, FillEvent::Reduce, FillEvent::Close, FillEvent::Flip];
        all.into_iter().find(|event| event.as_str() == word).unwrap()
    }

    /// Steps `order A 90/110`, `position 95/`, `fill A open`, `final A`, and what the position then has.
    fn check(steps: &str, expected: &str) {
        let mut book = StopBook::default();
        let strategy = StrategyId::new("s1").unwrap();
        let symbol = Symbol::new("BTC-USDT").unwrap();
        let time = Timestamp::MIN;
        for (number, step) in (1..).zip(steps.split(';')) {
            let words: Vec<&str> = step.split_whitespace().collect();
            let order_id = ClientOrderId::new(words.get(1).unwrap_or(&"a")).ok();
            match words[0] {
                "order" => {
                    let triggers = triggers(words[2], number);
                    book.apply_triggers(&TriggersRecord { strategy, symbol, order_id, triggers, time });
                }
                "position" => {
                    let triggers = triggers(words[1], number);
                    let order_id = None;
                    book.apply_triggers(&TriggersRecord { strategy, symbol, order_id, triggers, time });
                }
                "fill" => book.apply_fill(&Fill {
                    strategy,
                    symbol,
                    venue: VenueId::new("paper").unwrap(),
                    event_type: event_of(words[2]),
                    side: Side::Buy,
                    quantity: Quantity::ZERO,
                    price: Price::ZERO,
                    fee: Money::ZERO,
                    liquidity: Liquidity::Taker,
                    realized_pnl: Money::ZERO,
                    position_quantity: Quantity::ZERO,
                    order_id: order_id.unwrap(),
                    signal_id: None,
                    number: 1,
                    time,
                }),
                _ => book.forget_order(order_id.unwrap()),
            }
        }
        let shown = book.of_position(strategy, symbol).map_or("none".into(), |stops| {
            let price = |cause| stops.triggers.get(cause).map_or(String::new(), |t| t.price.to_string());
            format!("{}/{}", price(StopCause::StopLoss), price(StopCause::TakeProfit))
        });
        assert_eq!(shown, expected, "{steps}");
    }

    #[test]
    fn stops_come_with_a_fill_and_go_with_the_position() {
        check("order a 90/110", "none");
        check("order a 90/110; fill a open; final a", "90/110");
        check("fill b open", "none");
        check("order a 90/110; fill a open; fill b increase; fill b reduce", "90/110");
        check("order a 90/110; fill a open; order b 95/; fill b increase", "95/110");
        check("order a 90/110; fill a open; fill b close", "none");
        check("order a 90/110; fill a open; fill b flip", "none");
        check("order a 90/110; fill a open; order b /80; fill b flip", "/80");
        // An order that only reduced so far brings its stops with the fill that opens.
        check("fill b open; order a 110/; fill a reduce", "none");
        check("fill b open; order a 110/; fill a reduce; fill a flip", "110/");
    }

    #[test]
    fn a_resting_order_never_undoes_a_later_signal() {
        check("order a 90/; order b 97/; fill b open; fill a increase", "97/");
        check("order a 90/; fill a open; position 97/; fill a increase", "97/");
        // Should the rest of it open anew, what it was sent with is there again.
        check("order a 90/; fill a open; fill b close; fill a open", "90/");
    }
}
