//! Seeded simulation of live trading: a model venue behind a network that drops, delays, repeats and reorders, a
//! process that dies between any two steps, and a journal that keeps only what was committed.
//!
//! Whatever happens: the venue holds exactly the intended orders, and in the end the ledger is the venue's fills to the
//! last digit. What could not be so is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rust_decimal::Decimal;
use tradebus::engine::Engine;
use tradebus::engine::effect::{Effect, Update};
use tradebus::engine::event::Event;
use tradebus::engine::record::Record;
use tradebus::engine::settings::EngineSettings;
use tradebus::message::request::{self, Op};
use tradebus::model::amount::{Money, Quantity};
use tradebus::model::ids::{AccountId, ClientOrderId, StrategyId, Symbol};
use tradebus::model::order::{Order, OrderReason, OrderStatus, Side};
use tradebus::model::time::Timestamp;
use tradebus::model::trading::{
    AccountCheck, AccountReport, Dispatch, Environment, PositionMode, VenueOrderStatus, VenueReport,
    VenueRequest, VenueStopStatus,
};

use crate::rig;
use crate::support::model_venue::{ModelVenue, is_open};
use crate::support::random::Random;

/// The strategies and the pair that each trades.
pub const STRATEGIES: [(&str, &str); 3] = [("a", "BTC-USDT"), ("b", "ETH-USDT"), ("c", "BTC-USDT")];
const SYMBOLS: [&str; 2] = ["BTC-USDT", "ETH-USDT"];
const ACCOUNT: &str = "main";
const STEPS: usize = 120;

/// What is on its way through the network.
#[derive(Clone, Debug)]
enum Transit {
    ToVenue(VenueRequest),
    ToEngine(VenueReport),
}

/// What a run showed.
#[derive(Debug, Default)]
pub struct Outcome {
    pub orders: usize,
    pub fills: usize,
    pub corrections: usize,
    pub rejected: usize,
    pub crashes: usize,
    pub unknown: usize,
}

impl Outcome {
    pub fn add(&mut self, other: &Outcome) {
        self.orders += other.orders;
        self.fills += other.fills;
        self.corrections += other.corrections;
        self.rejected += other.rejected;
        self.crashes += other.crashes;
        self.unknown += other.unknown;
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Outcome { orders, fills, corrections, rejected, crashes, unknown } = self;
        write!(
            f,
            "{orders} orders, {unknown} times unknown, {rejected} given up, {fills} fills, \
             {corrections} corrections, {crashes} crashes"
        )
    }
}

struct Simulation {
    random: Random,
    engine: Engine,
    venue: ModelVenue,
    now: Timestamp,
    journal: Vec<Record>,
    waiting: VecDeque<Vec<Effect>>,
    transit: BTreeMap<(Timestamp, u64), Transit>,
    link: bool,
    faults: bool,
    count: u64,
    alerts: BTreeSet<String>,
    outcome: Outcome,
}

fn settings() -> EngineSettings {
    let mut settings = rig::settings();
    rig::account(&mut settings, &[ACCOUNT, "leverage=10"]);
    for (id, symbol) in STRATEGIES {
        rig::market(&mut settings, &[symbol, "tick=0.1", "lot=0.001", "min=0.001", "stale_ms=60000"]);
        let symbols = format!("symbols={symbol}");
        rig::strategy(&mut settings, &[id, &symbols, "account=main", "balance=100000", "leverage=100"]);
    }
    settings
}

/// Runs a seed and checks all that must hold.
pub fn run(seed: u64) -> Outcome {
    let engine = Engine::new(settings(), Default::default());
    let mut venue = ModelVenue::default();
    venue.moody = true;
    let mut simulation = Simulation {
        random: Random::new(seed),
        engine,
        venue,
        now: rig::begin(),
        journal: Vec::new(),
        waiting: VecDeque::new(),
        transit: BTreeMap::new(),
        link: false,
        faults: true,
        count: 0,
        alerts: BTreeSet::new(),
        outcome: Outcome::default(),
    };
    simulation.move_prices();
    simulation.begin();
    for _ in 0..STEPS {
        simulation.step();
    }
    simulation.heal();
    if std::env::var_os("TRACE").is_some() {
        simulation.show();
    }
    simulation.check();
    simulation.outcome
}

impl Simulation {
    fn step(&mut self) {
        match self.random.below(100) {
            0..=24 => self.move_prices(),
            25..=44 => self.signal(),
            45..=50 => self.cancel(),
            51..=62 => self.commit(),
            63..=86 => {
                let ms = self.random.below(3_000) as i64;
                self.advance(ms);
            }
            87..=90 => {
                let ms = self.random.below(120_000) as i64;
                self.advance(ms);
            }
            91..=93 => self.crash(),
            94 => {
                let symbol = Symbol::new(self.random.pick(&SYMBOLS)).unwrap();
                let lot = Decimal::new(1 + self.random.below(900) as i64, 3);
                self.venue.liquidate(self.now, symbol, Quantity::new(lot));
                self.push();
            }
            _ => {
                let up = !self.link || self.random.one_in(2);
                self.set_link(up);
            }
        }
        if self.random.one_in(16) {
            self.check_fold();
        }
    }

    fn handle(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.engine.handle(self.now, event, &mut effects);
        self.waiting.push_back(effects);
        // Most often the disk is fast.
        if !self.faults || !self.random.one_in(4) {
            self.commit();
        }
    }

    /// All batches reach the disk; then what they protect leaves.
    fn commit(&mut self) {
        let effects: Vec<Effect> = self.waiting.drain(..).flatten().collect();
        self.keep(&effects);
        for effect in effects {
            if let Effect::Send(dispatch) = effect {
                self.send(*dispatch);
            }
        }
    }

    fn keep(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Publish(Update::Alert(alert)) = effect {
                self.alerts.insert(alert.text.clone());
            }
        }
        self.journal.extend(effects.iter().filter_map(|effect| match effect {
            Effect::Persist(record) => Some(record.clone()),
            _ => None,
        }));
    }

    /// The gateway takes a request; the network does what it likes with it.
    fn send(&mut self, dispatch: Dispatch) {
        let request = dispatch.request;
        let placed = match &request {
            VenueRequest::Place(place) => Some((place.order_id, place.expires)),
            _ => None,
        };
        let fate = if self.faults { self.random.below(12) } else { 11 };
        match (placed, fate) {
            (Some((order_id, expires)), _) if self.now > expires => {
                self.report(VenueReport::NotSent { order_id, expires, text: "expired".into() });
            }
            (Some((order_id, expires)), 0) => {
                self.report(VenueReport::NotSent { order_id, expires, text: "no connection".into() });
            }
            (Some((order_id, _)), 1) => {
                self.report(VenueReport::Unanswered { order_id });
            }
            (Some((order_id, _)), 2) => {
                // It hangs in the network and may arrive as long as its signature is good, and beyond.
                let late = self.now.plus_ms(self.random.below(80_000) as i64);
                self.put(late, Transit::ToVenue(request));
                self.report(VenueReport::Unanswered { order_id });
            }
            (None, 0) => {}
            _ => {
                let delay = if self.faults { self.random.below(400) as i64 } else { 20 };
                self.put(self.now.plus_ms(delay), Transit::ToVenue(request));
            }
        }
    }

    fn put(&mut self, at: Timestamp, transit: Transit) {
        self.count += 1;
        self.transit.insert((at, self.count), transit);
    }

    /// Something the gateway itself says: it is not lost, but it may be slow.
    fn report(&mut self, report: VenueReport) {
        let delay = 10 + self.random.below(if self.faults { 4_000 } else { 1 }) as i64;
        self.put(self.now.plus_ms(delay), Transit::ToEngine(report));
    }

    fn arrive(&mut self, transit: Transit) {
        match transit {
            Transit::ToEngine(report) => self.tell(report),
            Transit::ToVenue(request) => {
                let answer = self.venue.request(self.now, &request, &mut self.random);
                let lost = self.faults && self.random.one_in(8);
                match (answer, &request) {
                    (Some(_), VenueRequest::Place(place)) if lost => {
                        self.report(VenueReport::Unanswered { order_id: place.order_id });
                    }
                    (Some(answer), _) if !lost => self.deliver(answer),
                    _ => {}
                }
                self.push();
            }
        }
    }

    /// What the venue pushes reaches us while the link is up, mostly.
    fn push(&mut self) {
        for report in std::mem::take(&mut self.venue.pushed) {
            let lost = !self.link || (self.faults && self.random.one_in(6));
            if !lost {
                self.deliver(report);
            }
        }
    }

    fn deliver(&mut self, report: VenueReport) {
        let slow = self.faults && self.random.one_in(4);
        let delay = self.random.below(if slow { 20_000 } else { 200 }) as i64;
        if self.faults && self.random.one_in(8) {
            let again = self.now.plus_ms(self.random.below(30_000) as i64);
            self.put(again, Transit::ToEngine(report.clone()));
        }
        self.put(self.now.plus_ms(delay), Transit::ToEngine(report));
    }

    fn tell(&mut self, report: VenueReport) {
        let account = AccountId::new(ACCOUNT).unwrap();
        self.handle(Event::Venue(Box::new(AccountReport { account, report })));
    }

    /// Lets time pass: what arrives and what is due happens at its time.
    fn advance(&mut self, ms: i64) {
        let end = self.now.plus_ms(ms);
        loop {
            let arrival = self.transit.keys().next().map(|(at, _)| *at);
            let wakeup = self.engine.next_wakeup();
            let next = [arrival, wakeup].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            match arrival {
                Some(at) if at <= next => {
                    let (_, transit) = self.transit.pop_first().unwrap();
                    self.arrive(transit);
                }
                _ => self.handle(Event::Wakeup),
            }
        }
        self.now = end;
    }

    fn move_prices(&mut self) {
        for (index, symbol) in SYMBOLS.iter().enumerate() {
            let base = [100_000, 30_000][index];
            let tenths = base + self.random.below(base / 20);
            let price = rig::price(&Decimal::new(tenths as i64, 1).to_string());
            let symbol_id = Symbol::new(symbol).unwrap();
            self.venue.set_price(self.now, symbol_id, price, &mut self.random);
            self.push();
            self.handle(rig::trade(self.now, symbol, price, rig::quantity("1")));
        }
    }

    fn signal(&mut self) {
        self.count += 1;
        let (strategy, symbol) = self.random.pick(&STRATEGIES);
        let action = self.random.pick(&["long", "short", "flat", "flat", "buy", "sell"]);
        let (id, time) = (self.count, self.now.as_ms());
        let mut json = format!(r#"{{"id":"n{id}","symbol":"{symbol}","action":"{action}","time":{time}"#);
        if action != "flat" {
            json += &format!(r#","quantity":{}"#, Decimal::new(1 + self.random.below(3_000) as i64, 3));
        }
        if action != "flat" && self.random.one_in(3) {
            let price = self.venue.prices[&Symbol::new(symbol).unwrap()];
            let (near, far) = (Decimal::new(98, 2), Decimal::new(102, 2));
            let below = ["long", "buy"].contains(&action);
            let stop = price.value() * if below { near } else { far };
            json += &format!(r#","stop_loss":{}"#, stop.round_dp(1));
        }
        if self.random.one_in(3) {
            let price = self.venue.prices[&Symbol::new(symbol).unwrap()];
            let part = Decimal::new(9_700 + self.random.below(600) as i64, 4);
            json += &format!(r#","order_type":"limit","price":{}"#, (price.value() * part).round_dp(1));
        }
        self.handle(rig::signal_event(self.count, strategy, &(json + "}"), false));
    }

    fn cancel(&mut self) {
        self.count += 1;
        let (strategy, _) = self.random.pick(&STRATEGIES);
        let (id, time) = (self.count, self.now.as_ms());
        let json = format!(r#"{{"id":"c{id}","strategy":"{strategy}","time":{time}}}"#);
        let asked = request::read("cancel_orders", json.as_bytes(), false);
        let wish = asked.wish.expect("a request that can be read");
        let Op::Engine(query) = wish.op else { panic!("not the engine's") };
        self.handle(Event::Request(Box::new(wish.request(self.count, query, asked.id))));
    }

    fn set_link(&mut self, up: bool) {
        self.link = up;
        self.tell(VenueReport::Link { up, text: String::new() });
        if up {
            self.tell(check());
            self.tell(VenueReport::Skew { ms: 40 });
        }
    }

    fn begin(&mut self) {
        self.handle(rig::start_event());
        self.set_link(true);
        self.move_prices();
    }

    /// Only what was committed survives; what was about to leave may have left.
    fn crash(&mut self) {
        self.outcome.crashes += 1;
        if self.random.one_in(2) {
            // The disk was faster than the death.
            let effects: Vec<Effect> = self.waiting.drain(..).flatten().collect();
            self.keep(&effects);
            for effect in effects {
                match effect {
                    Effect::Send(dispatch) if self.random.one_in(2) => self.send(*dispatch),
                    _ => {}
                }
            }
        }
        self.waiting.clear();
        self.transit.retain(|_, transit| matches!(transit, Transit::ToVenue(_)));
        self.venue.pushed.clear();
        self.link = false;
        let down_ms = self.random.below(if self.random.clone().one_in(3) { 200_000 } else { 3_000 });
        // The venue goes on without us.
        let end = self.now.plus_ms(down_ms as i64);
        while let Some(((at, _), _)) = self.transit.first_key_value()
            && *at <= end
        {
            let ((at, _), transit) = self.transit.pop_first().unwrap();
            self.now = self.now.max(at);
            if let Transit::ToVenue(request) = transit {
                self.venue.request(self.now, &request, &mut self.random);
            }
        }
        self.venue.pushed.clear();
        self.now = end;
        self.engine = Engine::new(settings(), rig::fold(&self.journal));
        self.begin();
    }

    /// Everything works again, for long enough that nothing is open.
    fn heal(&mut self) {
        self.faults = false;
        self.venue.moody = false;
        self.commit();
        self.set_link(true);
        for _ in 0..20 {
            self.advance(60_000);
            self.move_prices();
        }
        self.commit();
        // The fills of an order that still rests are proven with the next snapshot.
        self.advance(400_000);
        self.check_fold();
    }

    /// What both sides hold, for a person who looks for a fault.
    fn show(&self) {
        self.venue.fills.iter().for_each(|fill| println!("venue: {fill:?}"));
        self.venue.own.iter().for_each(|order| println!("made: {order:?}"));
        self.alerts.iter().for_each(|alert| println!("alert: {alert}"));
        for record in &self.journal {
            if matches!(
                record,
                Record::Fill(_)
                    | Record::Snapshot(_)
                    | Record::Live(_)
                    | Record::LiveStop(_)
                    | Record::Stop(_)
                    | Record::Reconcile(_)
            ) {
                println!("{record:?}");
            }
        }
    }

    fn check_fold(&self) {
        let mut state = rig::fold(&self.journal);
        for effect in self.waiting.iter().flatten() {
            if let Effect::Persist(record) = effect {
                state.apply(record);
            }
        }
        assert_eq!(&state, self.engine.state(), "the fold differs from the living state");
    }

    fn check(&mut self) {
        let mut orders: BTreeMap<ClientOrderId, &Order> = BTreeMap::new();
        for record in &self.journal {
            match record {
                Record::Order(order) => {
                    self.outcome.unknown += usize::from(order.status == OrderStatus::Unknown);
                    orders.insert(order.order_id, order);
                }
                Record::Fill(_) => self.outcome.fills += 1,
                Record::Correction(_) => self.outcome.corrections += 1,
                _ => {}
            }
        }
        self.outcome.orders = orders.len();
        for (id, booked) in &self.venue.orders {
            let order = orders.get(id).unwrap_or_else(|| panic!("{id}: at the venue, but never journalled"));
            assert_eq!(order.filled_quantity, booked.filled, "{id}: fills differ, {order:?}");
            assert!(booked.place.quantity <= order.quantity && booked.place.side == order.side, "{order:?}");
            let expected = match booked.status {
                VenueOrderStatus::Live => OrderStatus::Working,
                VenueOrderStatus::PartlyFilled => OrderStatus::PartlyFilled,
                VenueOrderStatus::Filled => OrderStatus::Filled,
                VenueOrderStatus::Cancelled => OrderStatus::Cancelled,
            };
            assert_eq!(order.status, expected, "{id}: {order:?}\n{booked:?}");
        }
        for (id, order) in &orders {
            let made_there = order.is_of_stop() || order.reason == Some(OrderReason::Liquidation);
            if made_there && !self.venue.orders.contains_key(id) {
                assert!(order.status.is_final(), "{order:?}");
                continue;
            }
            let there = self.venue.orders.get(id);
            let absent = matches!(order.status, OrderStatus::Rejected | OrderStatus::Cancelled);
            assert!(there.is_some() || absent, "{id}: not at the venue, {order:?}");
            assert!(there.is_none() || order.status != OrderStatus::Rejected, "{id}: given up, but there");
            let open = there.is_some_and(|there| is_open(there.status));
            assert_eq!(open, !order.status.is_final(), "{id}: open on one side, {order:?}");
            if order.status == OrderStatus::Rejected {
                self.outcome.rejected += 1;
                let told = self.alerts.iter().any(|text| text.contains(id.as_str()));
                assert!(told, "{id}: given up, and nobody was told");
            }
        }
        SYMBOLS.iter().for_each(|symbol| self.check_ledgers(symbol));
        self.check_stops();
    }

    /// Quantity, money and fees of the strategies of a pair are those of the venue's fills, to the last digit.
    fn check_ledgers(&self, symbol: &str) {
        let (mut quantity, mut spent, mut fees) = (Quantity::ZERO, Money::ZERO, Money::ZERO);
        let symbol_id = Symbol::new(symbol).unwrap();
        for fill in self.venue.fills.iter().filter(|fill| fill.symbol == symbol_id) {
            quantity += fill.side.signed(fill.quantity);
            let notional = fill.price.times(fill.quantity);
            spent += if fill.side == Side::Buy { notional } else { -notional };
            fees += fill.fee;
        }
        let (mut held, mut booked, mut paid) = (Quantity::ZERO, Money::ZERO, Money::ZERO);
        for (strategy, _) in STRATEGIES.iter().filter(|(_, traded)| *traded == symbol) {
            let strategy = StrategyId::new(strategy).unwrap();
            let ledger = &self.engine.state().strategies[&strategy];
            let position = ledger.positions.get(&symbol_id);
            held += position.map_or(Quantity::ZERO, |position| position.quantity);
            booked += position.map_or(Money::ZERO, |position| position.cost) - ledger.realized_pnl;
            paid += ledger.fees;
            let differences = self.engine.state().live.differences(strategy);
            assert!(differences.is_empty(), "{strategy}: {differences:?}");
        }
        assert_eq!((held, paid, booked), (quantity, fees, spent), "{symbol}: position, fees, money");
    }

    /// The venue keeps exactly the stops that positions have.
    fn check_stops(&self) {
        let live = self.venue.stops.values().filter(|stop| stop.status == VenueStopStatus::Live);
        let there: BTreeMap<_, _> =
            live.map(|stop| (stop.stop_id.unwrap(), stop.quantity.unwrap())).collect();
        let kept = self.engine.state().stops.positions().filter_map(|(.., stops)| stops.kept.as_ref());
        let wanted: BTreeMap<_, _> = kept.map(|stop| (stop.stop_id, stop.quantity)).collect();
        let watched = |id: &ClientOrderId| {
            self.alerts.iter().any(|text| text.contains(id.as_str()) && text.contains("watched here"))
        };
        for (id, quantity) in &there {
            assert_eq!(Some(quantity), wanted.get(id), "{id}: a stop at the venue that is not kept here");
        }
        for id in wanted.keys().filter(|id| !there.contains_key(id)) {
            assert!(watched(id), "{id}: kept here, not at the venue, and nobody was told");
        }
    }
}

fn check() -> VenueReport {
    VenueReport::Check(Box::new(AccountCheck {
        uid: "42".into(),
        environment: Environment::Demo,
        read_only: false,
        expires: None,
        ip_bound: true,
        position_mode: PositionMode::Net,
        leverages: Vec::new(),
    }))
}
