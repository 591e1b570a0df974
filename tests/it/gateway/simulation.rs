//! Exactly once under faults, through the real gateway: answers that are lost, late or doubled, connections that break
//! before or after the venue took the order, a venue that is away, and a process that dies at any effect.
//!
//! Whatever happens: the venue holds exactly the intended orders, the ledger is the venue's fills to the last digit,
//! and what could not be so is told. `SEED=n` runs one seed, `SEEDS=n` so many.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use tokio::runtime::Builder;
use tradebus::engine::record::Record;
use tradebus::message::request::{self, Op};
use tradebus::model::ids::ClientOrderId;
use tradebus::model::order::{Order, OrderReason, OrderStatus, Side};

use crate::chance::{self, Seed, seeds};
use crate::live_world::{KEY, World, settings};
use crate::rig;
use crate::support::fake_blofin::Chaos;
use crate::support::random::Random;

/// The strategies and the pair that each trades; the last one is on paper.
const STRATEGIES: [(&str, &str); 4] =
    [("a", "BTC-USDT"), ("b", "ETH-USDT"), ("c", "BTC-USDT"), ("p", "BTC-USDT")];
const PAIRS: [&str; 2] = ["BTC-USDT", "ETH-USDT"];
const STEPS: usize = 110;

#[derive(Debug, Default)]
struct Outcome {
    orders: usize,
    fills: usize,
    unknown: usize,
    rejected: usize,
    deaths: usize,
    requests: usize,
}

#[test]
fn the_venue_holds_what_was_intended_whatever_breaks() {
    let mut total = Outcome::default();
    let mut runs = 0;
    for seed in seeds(12) {
        let _seed = Seed(seed);
        // Each on a runtime of its own, whose time stands at the beginning.
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let outcome = runtime.block_on(run(seed));
        runs += 1;
        total.orders += outcome.orders;
        total.fills += outcome.fills;
        total.unknown += outcome.unknown;
        total.rejected += outcome.rejected;
        total.deaths += outcome.deaths;
        total.requests += outcome.requests;
    }
    println!("gateway-simulation: {runs} seeds, {total:?}");
    if std::env::var_os("SEED").is_none() {
        assert!(
            total.orders > 50 && total.fills > 50 && total.unknown > 10 && total.deaths > 10,
            "{total:?}"
        );
    }
}

struct Run {
    world: World,
    random: Random,
}

impl Drop for Run {
    /// A run that fails on its way is shown, too.
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("TRACE").is_some() {
            self.show();
        }
    }
}

async fn run(seed: u64) -> Outcome {
    let mut random = Random::new(seed);
    let mut settings = settings(&STRATEGIES);
    rig::strategy(&mut settings, &["p", "account=-"]);
    let mode = if random.one_in(3) { "long_short_mode" } else { "net_mode" };
    let world = World::start(settings, |account| account.position_mode = mode).await;
    let mut run = Run { world, random };
    let mut chance = Random::new(seed ^ 0xC4A0);
    run.world.fake.chaos(Some(Chaos(Box::new(move |end| chance.below(end)))));
    for _ in 0..STEPS {
        run.step().await;
    }
    run.heal().await;
    if std::env::var_os("TRACE").is_some() {
        run.show();
    }
    run.check()
}

impl Run {
    async fn step(&mut self) {
        if !self.world.lives() {
            let ms = self.random.below(if self.random.clone().one_in(4) { 150_000 } else { 3_000 });
            self.world.run_for(ms).await;
            self.world.rise();
        }
        match self.random.below(100) {
            0..=24 => self.move_prices(),
            25..=56 => self.signal(),
            57..=60 => self.cancel(),
            61..=82 => self.pass(8_000).await,
            83..=86 => self.pass(100_000).await,
            87..=90 => {
                self.world.lingers_ms = if self.random.one_in(2) { 0 } else { self.random.below(2_000) };
                self.world.dies_after = Some(self.random.below(12) as usize);
            }
            91 => self.world.stop().await,
            92 | 93 => self.venue_away().await,
            94 => self.world.fake.close(false),
            95 => self.force(),
            96 => self.flatten(),
            97 => self.world.fake.private_stream_faults(self.random.below(6) as usize, 2),
            _ => {
                let tenths = Decimal::new(1 + self.random.below(2_000) as i64, 1);
                self.world.fake.change_account(KEY, |account| account.next_fill = Some(tenths));
            }
        }
    }

    async fn pass(&mut self, ms: u64) {
        let ms = self.random.below(ms);
        self.world.run_for(ms).await;
    }

    async fn venue_away(&mut self) {
        let absent = self.random.one_in(2);
        if absent {
            self.world.fake.absent(true)
        } else {
            self.world.fake.down(true)
        }
        if self.random.one_in(2) {
            self.signal();
        }
        self.pass(60_000).await;
        if absent { self.world.fake.absent(false) } else { self.world.fake.down(false) }
    }

    fn move_prices(&mut self) {
        for (pair, base) in PAIRS.iter().zip([100_000, 30_000]) {
            let tenths = base + self.random.below(base / 20);
            self.world.price(pair, &Decimal::new(tenths as i64, 1).to_string());
        }
    }

    fn signal(&mut self) {
        let (strategy, pair) = self.random.pick(&STRATEGIES);
        let action = self.random.pick(&["long", "short", "flat", "flat", "buy", "sell"]);
        let mut fields = format!(r#""symbol":"{pair}","action":"{action}""#);
        let price = self.world.last(pair);
        if action != "flat" {
            let quantity = Decimal::new(1 + self.random.below(3_000) as i64, 4);
            fields += &format!(r#","quantity":{quantity}"#);
            if self.random.one_in(3) {
                let below = ["long", "buy"].contains(&action);
                let stop = price * Decimal::new(if below { 98 } else { 102 }, 2);
                fields += &format!(r#","stop_loss":{}"#, stop.round_dp(1));
            }
        }
        if self.random.one_in(3) {
            let part = Decimal::new(9_700 + self.random.below(600) as i64, 4);
            fields += &format!(r#","order_type":"limit","price":{}"#, (price * part).round_dp(1));
        }
        self.world.signal(strategy, &fields);
    }

    fn cancel(&mut self) {
        let (strategy, _) = self.random.pick(&STRATEGIES);
        let (token, time) = (self.world.token(), self.world.now().as_ms());
        let json = format!(r#"{{"id":"c{token}","strategy":"{strategy}","time":{time}}}"#);
        let asked = request::read("cancel_orders", json.as_bytes(), false);
        let wish = asked.wish.expect("a request that can be read");
        let Op::Engine(query) = wish.op else { panic!("not the engine's") };
        let event = wish.request(token, query, asked.id);
        self.world.handle(tradebus::engine::event::Event::Request(Box::new(event)));
    }

    fn flatten(&mut self) {
        let (strategy, _) = self.random.pick(&STRATEGIES);
        let token = self.world.token();
        self.world.handle(chance::level_event(token, Some(strategy), "flatten"));
        let run = format!(r#"{{"level":"run","id":"l{token}","time":{}}}"#, self.world.now().as_ms());
        if self.random.one_in(2) {
            self.world.handle(chance::level_event(token, Some(strategy), &run));
        }
    }

    /// The venue closes a part of a position because it must.
    fn force(&mut self) {
        let positions = self.world.fake.account(KEY).positions;
        let open: Vec<_> = positions.iter().filter(|(_, held)| !held.contracts.is_zero()).collect();
        if open.is_empty() {
            return;
        }
        let ((pair, position_side), held) = open[self.random.below(open.len() as u64) as usize];
        let most = held.contracts.abs();
        let part = Decimal::new(1 + self.random.below(900) as i64, 1).min(most).to_string();
        let side = if held.contracts.is_sign_positive() { "sell" } else { "buy" };
        let category = self.random.pick(&["full_liquidation", "partial_liquidation", "adl"]);
        self.world.fake.foreign_order_on(KEY, (pair, position_side), side, &part, category);
    }

    /// Everything works again, for long enough that nothing is open.
    async fn heal(&mut self) {
        self.world.dies_after = None;
        self.world.fake.chaos(None);
        self.world.fake.private_stream_faults(0, 0);
        self.world.fake.change_account(KEY, |account| account.next_fill = None);
        // A death that had begun.
        self.world.run_for(1).await;
        if !self.world.lives() {
            self.world.rise();
        }
        self.world.quiet(8).await;
        self.move_prices();
        self.world.quiet(8).await;
    }

    fn show(&self) {
        let account = self.world.fake.account(KEY);
        account.fills.iter().for_each(|fill| println!("venue: {fill:?}"));
        account.orders.values().for_each(|order| println!("venue: {order:?}"));
        account.stops.values().for_each(|stop| println!("venue: {stop:?}"));
        self.world.alerts.iter().for_each(|alert| println!("alert: {alert:?}"));
        self.world.records().iter().for_each(|record| println!("{record:?}"));
    }

    fn check(&self) -> Outcome {
        let mut orders: BTreeMap<ClientOrderId, Order> = BTreeMap::new();
        let mut made_there = BTreeSet::new();
        let mut outcome = Outcome { deaths: self.world.deaths, ..Outcome::default() };
        for record in self.world.records() {
            match record {
                Record::Order(order) => {
                    outcome.unknown += usize::from(order.status == OrderStatus::Unknown);
                    if order.is_of_stop() || order.reason == Some(OrderReason::Liquidation) {
                        made_there.insert(order.order_id);
                    }
                    orders.insert(order.order_id, order);
                }
                Record::Fill(_) => outcome.fills += 1,
                _ => {}
            }
        }
        let there = self.check_venue(&orders);
        for order in orders.values().filter(|order| order.strategy.as_str() != "p") {
            let id = order.order_id;
            if there.contains(&id) || made_there.contains(&id) {
                continue;
            }
            outcome.orders += 1;
            let absent = matches!(order.status, OrderStatus::Rejected | OrderStatus::Cancelled);
            assert!(absent, "{id}: not at the venue, {order:?}");
            outcome.rejected += usize::from(order.status == OrderStatus::Rejected);
            let told = self.world.alerts.iter().any(|(.., text)| text.contains(id.as_str()));
            assert!(told || order.status == OrderStatus::Cancelled, "{id}: given up, and nobody was told");
        }
        outcome.orders += there.len();
        outcome.requests = self.world.fake.stats().requests_total();
        PAIRS.iter().for_each(|pair| self.world.check_ledgers(pair));
        self.check_stops();
        let violations = self.world.violations();
        assert!(violations.is_empty(), "{violations:?}");
        outcome
    }

    /// What is at the venue under an id of ours was intended: that order, in that size, and it stands the same here.
    fn check_venue(&self, orders: &BTreeMap<ClientOrderId, Order>) -> BTreeSet<ClientOrderId> {
        let account = self.world.fake.account(KEY);
        let mut there = BTreeSet::new();
        for booked in account.orders.values().filter(|order| !order.client_id.is_empty()) {
            let id = ClientOrderId::new(&booked.client_id).expect("one of ours");
            assert!(there.insert(id), "{id} is there twice");
            let order = orders.get(&id).unwrap_or_else(|| panic!("{id}: there, but never journalled"));
            assert_ne!(order.strategy.as_str(), "p", "paper reached the venue: {booked:?}");
            let contract = Decimal::new(1, 3);
            assert_eq!(order.filled_quantity.value(), booked.filled * contract, "{order:?} {booked:?}");
            let (size, wanted) = (booked.size * contract, order.quantity.value());
            assert!(size == wanted || (order.reduce_only && size < wanted), "{order:?} {booked:?}");
            assert_eq!(order.side == Side::Buy, booked.side == "buy", "{order:?} {booked:?}");
            let expected = match booked.state {
                "live" => OrderStatus::Working,
                "partially_filled" => OrderStatus::PartlyFilled,
                "filled" => OrderStatus::Filled,
                _ => OrderStatus::Cancelled,
            };
            assert_eq!(order.status, expected, "{id}: {order:?}\n{booked:?}");
            let asked = account.wanted.iter().filter(|wanted| **wanted == booked.client_id).count();
            assert!(asked == 1 || order.reduce_only, "{id} was asked for {asked} times");
        }
        there
    }

    /// The venue keeps exactly the stops that positions have.
    fn check_stops(&self) {
        let account = self.world.fake.account(KEY);
        let live = account.stops.values().filter(|stop| stop.state == "live");
        let there: BTreeMap<String, Decimal> =
            live.map(|stop| (stop.client_id.clone(), (stop.size * Decimal::new(1, 3)).normalize())).collect();
        let own = |strategy: &str| strategy != "p";
        let kept = self.world.engine.state().stops.positions().filter(|(id, ..)| own(id.as_str()));
        let wanted: BTreeMap<String, Decimal> = kept
            .filter_map(|(.., stops)| stops.kept.as_ref())
            .map(|stop| (stop.stop_id.to_string(), stop.quantity.value().normalize()))
            .collect();
        let watched = self.world.told("stop_not_kept");
        assert!(there == wanted || watched, "stops: at the venue {there:?}, kept {wanted:?}");
    }
}
