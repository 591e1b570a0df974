//! What an exchange is told of stops and may say of them, at one that is scripted like a venue.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::engine::Engine;
use crate::engine::event::{Event, SignalMessage, SignalOrigin};
use crate::engine::settings::{EngineSettings, MarketSettings, StrategySettings};
use crate::engine::state::State;
use crate::exchange::paper::PaperSettings;
use crate::exchange::{Exchange, MarketView};
use crate::model::amount::{Money, Price, Quantity, Ratio, parse_decimal};
use crate::model::ids::{
    ClientOrderId, FeedId, SignalId, StoreId, StrategyId, StrategyType, Symbol, VenueId,
};
use crate::model::instrument::Instrument;
use crate::model::market::{MarketEvent, MarketKey, PriceUpdate};
use crate::model::order::{Order, OrderReason, OrderType};
use crate::model::report::{ExecutionReport, Liquidity};
use crate::model::signal::{Action, Signal, Size};
use crate::model::stop::{ProtectiveStop, StopCause};
use crate::model::time::Timestamp;
use crate::risk::{Limits, RiskApproved};

fn quantity(text: &str) -> Quantity {
    Quantity::new(parse_decimal(text).unwrap())
}

fn price(text: &str) -> Price {
    Price::new(parse_decimal(text).unwrap())
}

fn ratio(text: &str) -> Ratio {
    Ratio::new(parse_decimal(text).unwrap())
}

fn symbol() -> Symbol {
    Symbol::new("BTC-USDT").unwrap()
}

/// What the engine told the exchange, and what the exchange says with the next price.
#[derive(Debug, Default)]
struct Talk {
    told: Vec<String>,
    stops: Vec<ProtectiveStop>,
    says: Vec<ExecutionReport>,
    /// The order of the touched stop, which the venue has made already.
    closing: Option<Order>,
}

/// Fills whatever is sent to it at once at 100, and keeps stops without touching them on its own.
#[derive(Debug)]
struct Venue {
    talk: Arc<Mutex<Talk>>,
    kept: Option<ProtectiveStop>,
}

fn filled(order: &Order, quantity: Quantity) -> ExecutionReport {
    let (price, fee, liquidity) = (price("100"), Money::ZERO, Liquidity::Taker);
    ExecutionReport::Filled { order_id: order.order_id, price, quantity, fee, liquidity }
}

impl Exchange for Venue {
    fn submit(
        &mut self,
        _: Timestamp,
        order: RiskApproved,
        _: &MarketView<'_>,
        reports: &mut Vec<ExecutionReport>,
    ) {
        reports.push(filled(order.order(), order.order().quantity));
    }

    fn cancel(&mut self, _: Timestamp, _: ClientOrderId, _: OrderReason, _: &mut Vec<ExecutionReport>) {}

    fn on_price(
        &mut self,
        _: Timestamp,
        _: Symbol,
        _: &PriceUpdate,
        _: &MarketView<'_>,
        reports: &mut Vec<ExecutionReport>,
    ) {
        reports.append(&mut self.talk.lock().unwrap().says);
    }

    fn on_wakeup(&mut self, _: Timestamp, _: Symbol, _: &MarketView<'_>, _: &mut Vec<ExecutionReport>) {}

    fn next_wakeup(&self) -> Option<(Timestamp, Symbol)> {
        None
    }

    fn restore(&mut self, _: &Order) {}

    fn protect(
        &mut self,
        _: Timestamp,
        _: Symbol,
        stop: Option<&ProtectiveStop>,
        _: &MarketView<'_>,
        _: &mut Vec<ExecutionReport>,
    ) {
        self.kept = stop.cloned();
        let mut talk = self.talk.lock().unwrap();
        let shown = stop.map_or("none".into(), |stop| {
            let trigger = |price: Option<Price>| price.map_or("-".into(), |price| price.to_string());
            let (loss, profit) = (trigger(stop.stop_loss), trigger(stop.take_profit));
            format!("{} {} {loss} {profit}", stop.side.as_str(), stop.quantity)
        });
        talk.told.push(shown);
        talk.stops.extend(stop.cloned());
    }

    fn close_touched(
        &mut self,
        _: Timestamp,
        order: RiskApproved,
        _: &MarketView<'_>,
        _: &mut Vec<ExecutionReport>,
    ) {
        let mut talk = self.talk.lock().unwrap();
        let order = order.order().clone();
        let by = order.signal_id.as_ref().map_or("-", |id| id.as_str()).to_owned();
        talk.told.push(format!("closes {} by {by}", order.quantity));
        talk.closing = Some(order);
    }

    fn restore_stop(&mut self, _: &ProtectiveStop) {}

    fn stop(&self, _: Symbol) -> Option<&ProtectiveStop> {
        self.kept.as_ref()
    }
}

fn settings(key: MarketKey) -> EngineSettings {
    let paper = PaperSettings {
        fee_taker_ratio: ratio("0"),
        fee_maker_ratio: ratio("0"),
        slippage_bps: ratio("0"),
        latency_ms: 0,
        leverage: ratio("10"),
    };
    EngineSettings {
        markets: vec![MarketSettings {
            key,
            instrument: Instrument::plain(key.symbol),
            price_stale_after_ms: 15_000,
        }],
        strategies: vec![StrategySettings {
            id: StrategyId::new("s1").unwrap(),
            kind: StrategyType::new("external").unwrap(),
            markets: BTreeMap::from([(key.symbol, key)]),
            venue: VenueId::new("blofin").unwrap(),
            ticks: false,
            balance: Money::new(parse_decimal("1000").unwrap()),
            default_size: None,
            confidence_min: None,
            price_deviation_max_pct: None,
            signals_per_minute_max: 1_000,
            limits: Limits::default(),
            paper,
            account: None,
        }],
        type_limits: BTreeMap::new(),
        limits: Limits::default(),
        price_interval_ms: 5_000,
        price_deadband_bps: ratio("1"),
        accounts: Vec::new(),
    }
}

struct Bench {
    engine: Engine,
    talk: Arc<Mutex<Talk>>,
    key: MarketKey,
    signals: u64,
}

impl Bench {
    fn new() -> Bench {
        let key = MarketKey { feed: FeedId::new("tape").unwrap(), symbol: symbol() };
        let talk = Arc::new(Mutex::new(Talk::default()));
        let mut engine = Engine::new(settings(key), State::default());
        engine.exchanges.accounts[0].exchange = Box::new(Venue { talk: talk.clone(), kept: None });
        let mut bench = Bench { engine, talk, key, signals: 0 };
        bench.handle(Event::Start { store_id_new: StoreId::new("0123456789abcdef").unwrap() });
        bench
    }

    fn handle(&mut self, event: Event) {
        self.engine.handle(Timestamp::from_ms(1_000_000), event, &mut Vec::new());
    }

    /// A price, with which the exchange says what it has to say.
    fn says(&mut self, reports: Vec<ExecutionReport>) {
        self.talk.lock().unwrap().says = reports;
        let update = PriceUpdate::Trade { price: price("100"), quantity: quantity("1"), taker: None };
        let (feed, symbol, time) = (self.key.feed, self.key.symbol, Timestamp::from_ms(1_000_000));
        self.handle(Event::Market(MarketEvent { feed, symbol, time, update }));
    }

    fn signal(&mut self, action: Action, size: &str, stops: [&str; 2]) {
        self.signals += 1;
        let id = SignalId::new(&format!("n{}", self.signals)).unwrap();
        let [stop_loss, take_profit] = stops.map(|text| (text != "-").then(|| price(text)));
        let signal = Signal {
            id: id.clone(),
            time: Timestamp::from_ms(1_000_000),
            symbol: symbol(),
            action,
            size: (action != Action::Flat).then(|| Size::Quantity(quantity(size))),
            order_type: OrderType::Market,
            stop_loss,
            take_profit,
            age_ms_max: None,
            confidence: None,
        };
        let (strategy, origin) = ("s1".to_owned(), SignalOrigin::Native);
        let message = SignalMessage { token: 1, strategy, id: Some(id), body: Ok(signal), origin };
        self.handle(Event::Signal(Box::new(message)));
    }

    /// The venue says that one of the stops it was told was touched, `number` counted from 0.
    fn touched(&self, number: usize, closes: Option<&str>) -> ExecutionReport {
        ExecutionReport::Triggered {
            stop_id: self.talk.lock().unwrap().stops[number].stop_id,
            symbol: symbol(),
            cause: StopCause::StopLoss,
            quantity: closes.map(quantity),
        }
    }

    #[track_caller]
    fn check(&mut self, expected: &[&str]) {
        assert_eq!(std::mem::take(&mut self.talk.lock().unwrap().told), expected);
    }
}

#[test]
fn an_exchange_is_told_each_change_once_under_another_id() {
    let mut bench = Bench::new();
    bench.says(vec![]);
    bench.signal(Action::Long, "2", ["90", "110"]);
    bench.check(&["sell 2 90 110"]);
    bench.signal(Action::Buy, "1", ["-", "-"]);
    bench.signal(Action::Sell, "0.5", ["-", "-"]);
    bench.check(&["sell 3 90 110", "sell 2.5 90 110"]);
    bench.signal(Action::Long, "2.5", ["95", "-"]);
    bench.signal(Action::Long, "2.5", ["95", "110"]);
    bench.says(vec![]);
    bench.check(&["sell 2.5 95 110"]);
    bench.signal(Action::Short, "1", ["105", "-"]);
    bench.check(&["buy 1 105 -"]);
    let talk = bench.talk.lock().unwrap();
    let ids: std::collections::BTreeSet<&str> = talk.stops.iter().map(|stop| stop.stop_id.as_str()).collect();
    assert_eq!(ids.len(), talk.stops.len(), "two stops under one id");
}

#[test]
fn a_venue_closes_what_it_says_and_the_rest_is_protected_again() {
    let mut bench = Bench::new();
    bench.says(vec![]);
    bench.signal(Action::Long, "1", ["90", "-"]);
    bench.signal(Action::Buy, "1", ["-", "-"]);
    bench.check(&["sell 1 90 -", "sell 2 90 -"]);
    // The first stop was touched while the second one was on its way there.
    let first = bench.touched(0, Some("1"));
    bench.says(vec![first]);
    bench.check(&["none", "closes 1 by n1"]);
    let order = bench.talk.lock().unwrap().closing.take().unwrap();
    bench.says(vec![filled(&order, quantity("0.4"))]);
    bench.check(&[]);
    bench.says(vec![filled(&order, quantity("0.6"))]);
    bench.check(&["sell 1 90 -"]);
    assert_eq!(bench.engine.state().orders.len(), 0);
}

#[test]
fn a_stop_that_is_not_kept_touches_nothing() {
    let mut bench = Bench::new();
    bench.says(vec![]);
    bench.signal(Action::Long, "1", ["90", "-"]);
    bench.signal(Action::Short, "1", ["105", "-"]);
    bench.check(&["sell 1 90 -", "buy 1 105 -"]);
    // Of the position before the flip, and told by a simulation, which may be late.
    let late = bench.touched(0, None);
    bench.says(vec![late]);
    bench.check(&[]);
    let known = bench.touched(1, None);
    bench.signal(Action::Flat, "", ["-", "-"]);
    bench.check(&["none"]);
    bench.says(vec![known]);
    bench.check(&[]);
    assert!(bench.engine.state().orders.is_empty());
}
