//! Stops at the paper exchange: which update touches them, and the price that their order gets.

use super::*;
use crate::model::amount::{Money, parse_decimal};
use crate::model::ids::{StrategyId, VenueId};
use crate::model::instrument::Instrument;
use crate::model::order::OrderStatus;
use crate::model::stop::StopCause;
use crate::risk::approve_reduction;

fn price(text: &str) -> Price {
    Price::new(parse_decimal(text).unwrap())
}

fn quantity(text: &str) -> Quantity {
    Quantity::new(parse_decimal(text).unwrap())
}

/// The order that a touched stop becomes, as the engine makes it.
fn order_of(stop: &ProtectiveStop, cause: StopCause) -> RiskApproved {
    approve_reduction(Order {
        order_id: ClientOrderId::new("x").unwrap(),
        strategy: StrategyId::new("s1").unwrap(),
        symbol: stop.symbol,
        venue: VenueId::new("paper").unwrap(),
        signal_id: None,
        side: stop.side,
        order_type: OrderType::Market,
        quantity: stop.quantity,
        filled_quantity: Quantity::ZERO,
        filled_notional: Money::ZERO,
        reduce_only: true,
        status: OrderStatus::Submitting,
        reason: Some(OrderReason::of_stop(cause)),
        created: Timestamp::MIN,
        time: Timestamp::MIN,
    })
}

/// A paper exchange, what its market shows, and what the engine does with its reports.
struct Bench {
    exchange: PaperExchange,
    instrument: Instrument,
    last: Option<Price>,
    quote: Option<(Price, Price)>,
    updates: u64,
    from_candle: bool,
    now: Timestamp,
    shown: Vec<String>,
}

impl Bench {
    fn new(latency_ms: i64) -> Bench {
        let ratio = |text: &str| Ratio::new(parse_decimal(text).unwrap());
        let settings = PaperSettings {
            fee_taker_ratio: ratio("0.001"),
            fee_maker_ratio: ratio("0"),
            slippage_bps: ratio("100"),
            latency_ms,
            leverage: ratio("1"),
        };
        Bench {
            exchange: PaperExchange::new(settings),
            instrument: Instrument::plain(Symbol::new("BTC-USDT").unwrap()),
            last: None,
            quote: None,
            updates: 0,
            from_candle: false,
            now: Timestamp::from_ms(1_000_000),
            shown: Vec::new(),
        }
    }

    /// Calls the exchange with the market as it is shown now, and does with its reports what the engine does.
    fn call(
        &mut self,
        act: impl FnOnce(&mut PaperExchange, Timestamp, &MarketView<'_>, &mut Vec<ExecutionReport>),
    ) {
        let market = MarketView {
            instrument: &self.instrument,
            last: self.last,
            bid: self.quote.map(|(bid, _)| bid),
            ask: self.quote.map(|(_, ask)| ask),
            updates: self.updates,
            from_candle: self.from_candle,
        };
        let mut reports = Vec::new();
        act(&mut self.exchange, self.now, &market, &mut reports);
        let mut next = 0;
        while next < reports.len() {
            match reports[next].clone() {
                ExecutionReport::Triggered { symbol, cause, .. } => {
                    self.shown.push(cause.as_str().into());
                    let stop = self.exchange.stop(symbol).unwrap().clone();
                    self.exchange.protect(self.now, symbol, None, &market, &mut reports);
                    let order = order_of(&stop, cause);
                    self.exchange.close_touched(self.now, order, &market, &mut reports);
                }
                ExecutionReport::Filled { price, quantity, .. } => {
                    self.shown.push(format!("{quantity} @ {price}"));
                }
                other => self.shown.push(format!("{other:?}")),
            }
            next += 1;
        }
    }

    fn update(&mut self, update: PriceUpdate) {
        let symbol = self.instrument.symbol();
        if !matches!(update, PriceUpdate::Mark { .. }) {
            self.updates += 1;
            self.from_candle = matches!(update, PriceUpdate::Candle { .. });
        }
        match update {
            PriceUpdate::Trade { price, .. } | PriceUpdate::Candle { close: price } => {
                self.last = Some(price)
            }
            PriceUpdate::Quote { bid, ask, .. } => self.quote = Some((bid, ask)),
            _ => {}
        }
        self.call(|exchange, at, market, reports| exchange.on_price(at, symbol, &update, market, reports));
    }

    fn step(&mut self, words: &[&str]) {
        let symbol = self.instrument.symbol();
        match words[0] {
            "wait" => {
                self.now = self.now.plus_ms(words[1].parse().unwrap());
                self.call(|exchange, at, market, reports| exchange.on_wakeup(at, symbol, market, reports));
            }
            "trade" => {
                let (price, quantity) = (price(words[1]), quantity("1"));
                self.update(PriceUpdate::Trade { price, quantity, taker: None });
            }
            "candle" => self.update(PriceUpdate::Candle { close: price(words[1]) }),
            "mark" => self.update(PriceUpdate::Mark { price: price(words[1]) }),
            "quote" => {
                let (bid, ask) = (price(words[1]), price(words[2]));
                let (bid_quantity, ask_quantity) = (quantity("1"), quantity("1"));
                self.update(PriceUpdate::Quote { bid, bid_quantity, ask, ask_quantity });
            }
            "gone" => {
                self.call(|exchange, at, market, reports| {
                    exchange.protect(at, symbol, None, market, reports);
                });
            }
            side => {
                let trigger = |text: &str| (text != "-").then(|| price(text));
                let stop = ProtectiveStop {
                    stop_id: ClientOrderId::new("a").unwrap(),
                    symbol,
                    side: if side == "sell" { Side::Sell } else { Side::Buy },
                    quantity: quantity("2"),
                    stop_loss: trigger(words[1]),
                    take_profit: trigger(words[2]),
                };
                self.call(|exchange, at, market, reports| {
                    exchange.protect(at, symbol, Some(&stop), market, reports);
                });
            }
        }
    }
}

/// Runs steps (`sell 95 110` is a stop of a long position of 2) and shows what was touched and filled. Slippage is 1 %.
fn check(latency_ms: i64, steps: &str, expected: &str) {
    let mut bench = Bench::new(latency_ms);
    for step in steps.split(';') {
        bench.step(&step.split_whitespace().collect::<Vec<_>>());
    }
    assert_eq!(bench.shown.join(", "), expected, "{steps}");
}

#[test]
fn the_last_price_touches() {
    check(0, "trade 100; sell 95 110; trade 95.01; trade 109.99", "");
    check(0, "trade 100; sell 95 110; trade 95", "stop_loss, 2 @ 94.05");
    check(0, "trade 100; sell 95 110; trade 110", "take_profit, 2 @ 108.9");
    check(0, "trade 100; buy 105 90; trade 105", "stop_loss, 2 @ 106.05");
    check(0, "trade 100; buy 105 90; trade 90", "take_profit, 2 @ 90.9");
    check(0, "trade 100; sell - 110; trade 1", "");
    check(0, "trade 100; sell 95 -; trade 1000", "");
    // Neither a quote nor a mark does, once there is a last price.
    check(0, "trade 100; sell 95 110; quote 90 91; mark 80", "");
    // Another stop replaces it, and it goes with the position.
    check(0, "trade 100; sell 95 110; sell 90 110; trade 94; trade 90", "stop_loss, 2 @ 89.1");
    check(0, "trade 100; sell 95 110; gone; trade 90", "");
    // Once.
    check(0, "trade 100; sell 95 110; trade 94; trade 93", "stop_loss, 2 @ 93.06");
    // The loss first, when both are touched.
    check(0, "trade 95; sell 99 90", "stop_loss, 2 @ 94.05");
}

#[test]
fn its_order_gets_the_worse_of_quote_and_last_price() {
    check(0, "quote 99 101; trade 100; sell 95 110; quote 94 96; trade 95", "stop_loss, 2 @ 94");
    // A gap: far beyond the trigger.
    check(0, "quote 99 101; trade 100; sell 95 110; quote 79 81; trade 80", "stop_loss, 2 @ 79");
    // The quote is of before the fall.
    check(0, "quote 99 101; trade 100; sell 95 110; trade 80", "stop_loss, 2 @ 80");
    check(0, "quote 99 101; trade 100; buy 105 90; trade 120", "stop_loss, 2 @ 120");
    check(0, "quote 99 101; trade 100; buy 105 90; quote 88 89; trade 88.5", "take_profit, 2 @ 89");
    check(0, "quote 99 101; trade 100; sell 95 110; quote 110 111; trade 115", "take_profit, 2 @ 110");
}

#[test]
fn a_stop_that_is_beyond_the_price_already_is_touched_at_once() {
    check(0, "trade 94; sell 95 110", "stop_loss, 2 @ 93.06");
    check(0, "trade 95; sell 95 110", "stop_loss, 2 @ 94.05");
    check(0, "sell 95 110; trade 94", "stop_loss, 2 @ 93.06");
}

#[test]
fn latency_counts() {
    check(250, "trade 100; sell 95 110; trade 95; wait 249", "stop_loss");
    check(250, "trade 100; sell 95 110; trade 95; trade 90; wait 250", "stop_loss, 2 @ 89.1");
    check(250, "trade 100; sell 95 110; trade 95; trade 99; wait 250", "stop_loss, 2 @ 98.01");
}

#[test]
fn a_candle_touches_and_the_next_price_fills() {
    check(0, "candle 100; sell 95 110; candle 95", "stop_loss");
    check(0, "candle 100; sell 95 110; candle 95; mark 80", "stop_loss");
    check(0, "candle 100; sell 95 110; candle 95; candle 90", "stop_loss, 2 @ 89.1");
    check(0, "candle 100; sell 95 110; candle 95; trade 97", "stop_loss, 2 @ 96.03");
    check(250, "candle 100; sell 95 110; candle 95; wait 250; candle 90", "stop_loss, 2 @ 89.1");
}

#[test]
fn the_middle_touches_where_there_is_no_last_price() {
    check(0, "quote 99 101; sell 95 110; quote 95 97", "");
    check(0, "quote 99 101; sell 95 110; quote 94 96", "stop_loss, 2 @ 94");
    check(0, "quote 94 96; sell 95 110", "stop_loss, 2 @ 94");
}
