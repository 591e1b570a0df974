//! Engine, journal, gateway and fake together, on virtual time: what happens at the venue is found and explained here,
//! and what happens here is right there.

use rust_decimal::Decimal;
use tokio::runtime::Builder;
use tradebus::engine::record::Record;
use tradebus::engine::settings::EngineSettings;
use tradebus::model::ids::StrategyId;
use tradebus::model::order::OrderReason;
use tradebus::model::signal::Reason;

use crate::live_world::{KEY, UNTRADED, World, settings};
use crate::rig;
use crate::support::fake_blofin::{FakeAccount, PrivateFault};

pub(super) const BTC: &str = "BTC-USDT";
const PAIR_OF_TWO: [(&str, &str); 2] = [("a", BTC), ("c", BTC)];

/// On a runtime of its own, whose time stands at the beginning.
pub(super) fn play<F: Future<Output = ()>>(scene: F) {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(scene);
}

pub(super) async fn two(change: impl FnOnce(&mut FakeAccount)) -> World {
    World::start(settings(&PAIR_OF_TWO), change).await
}

pub(super) fn number(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// Waits until a strategy holds so much.
pub(super) async fn holds(world: &mut World, strategy: &str, quantity: &str) {
    let wanted = number(quantity);
    world.until(&format!("{strategy} with {quantity}"), |world| world.held(strategy, BTC) == wanted).await;
}

/// Minutes later: both sides are the same to the last digit, and no rule was broken.
pub(super) async fn settled(world: &mut World) {
    world.quiet(3).await;
    world.check_ledgers(BTC);
    assert!(world.violations().is_empty(), "{:?}", world.violations());
}

pub(super) fn refusal(world: &mut World, strategy: &str, fields: &str) -> Option<Reason> {
    world.confirm();
    let id = world.signal(strategy, &format!(r#""symbol":"{BTC}",{fields}"#));
    world.results[&id].outcome.refusal().map(|refusal| refusal.reason)
}

/// Side, position side, contracts and whether it may only reduce, of the orders at the venue.
fn orders_there(world: &World) -> Vec<String> {
    let account = world.fake.account(KEY);
    let shown = account.orders.values().map(|order| {
        let only = if order.reduce_only { " only reduces" } else { "" };
        format!("{} {} {}{only}", order.side, order.position_side, order.size.normalize())
    });
    shown.collect()
}

pub(super) fn stops_there(world: &World) -> Vec<String> {
    let account = world.fake.account(KEY);
    let live = account.stops.values().filter(|stop| stop.state == "live");
    live.map(|stop| format!("{} {} {}", stop.side, stop.position_side, stop.size.normalize())).collect()
}

#[test]
fn two_strategies_on_one_account_close_their_own() {
    play(async {
        let mut world = two(|_| {}).await;
        world.trade("a", BTC, r#""action":"long","quantity":0.03,"stop_loss":9000"#);
        world.trade("c", BTC, r#""action":"long","quantity":0.0512,"stop_loss":8000"#);
        holds(&mut world, "a", "0.03").await;
        holds(&mut world, "c", "0.0512").await;
        assert_eq!(world.held_there(BTC), number("0.0812"));
        world.until("stops", |world| stops_there(world).len() == 2).await;
        assert_eq!(stops_there(&world), ["sell net 30", "sell net 51.2"]);
        assert_eq!(
            refusal(&mut world, "a", r#""action":"short","quantity":0.01"#),
            Some(Reason::NettingConflict)
        );
        world.trade("a", BTC, r#""action":"flat""#);
        holds(&mut world, "a", "0").await;
        assert_eq!((world.held("c", BTC), world.held_there(BTC)), (number("0.0512"), number("0.0512")));
        settled(&mut world).await;
        assert_eq!(stops_there(&world), ["sell net 51.2"]);
        assert_eq!(orders_there(&world).last().unwrap(), "sell net 30 only reduces");
        // The stop of one closes its size, and the other goes on.
        world.trade("a", BTC, r#""action":"long","quantity":0.02,"stop_loss":9500"#);
        holds(&mut world, "a", "0.02").await;
        world.until("both stops", |world| stops_there(world).len() == 2).await;
        world.price(BTC, "9400");
        holds(&mut world, "a", "0").await;
        settled(&mut world).await;
        assert_eq!((world.held("c", BTC), world.held_there(BTC)), (number("0.0512"), number("0.0512")));
        let signed = world.fake.signed();
        assert!(
            signed.iter().all(|asked| !asked.contains("close-position") && !asked.contains(r#""size":"-1""#))
        );
    });
}

#[test]
fn long_and_short_beside_each_other() {
    play(async {
        let mut world = two(|account| account.position_mode = "long_short_mode").await;
        world.trade("a", BTC, r#""action":"long","quantity":0.03,"stop_loss":9000"#);
        world.trade("c", BTC, r#""action":"short","quantity":0.05,"stop_loss":11000"#);
        holds(&mut world, "a", "0.03").await;
        holds(&mut world, "c", "-0.05").await;
        world.until("stops", |world| stops_there(world).len() == 2).await;
        assert_eq!(stops_there(&world), ["sell long 30", "buy short 50"]);
        world.trade("a", BTC, r#""action":"sell","quantity":0.01"#);
        holds(&mut world, "a", "0.02").await;
        // A flip is two orders: one for each side.
        world.trade("a", BTC, r#""action":"short","quantity":0.04,"stop_loss":10500"#);
        holds(&mut world, "a", "-0.04").await;
        assert_eq!(
            orders_there(&world),
            [
                "buy long 30",
                "sell short 50",
                "sell long 10 only reduces",
                "sell long 20 only reduces",
                "sell short 40"
            ]
        );
        settled(&mut world).await;
        assert_eq!(stops_there(&world), ["buy short 50", "buy short 40"]);
        // A touched stop closes its own size, on its side.
        world.price(BTC, "10600");
        holds(&mut world, "a", "0").await;
        assert_eq!((world.held("c", BTC), world.held_there(BTC)), (number("-0.05"), number("-0.05")));
        world.trade("c", BTC, r#""action":"flat""#);
        holds(&mut world, "c", "0").await;
        settled(&mut world).await;
        assert!(stops_there(&world).is_empty() && !world.told("needs_reconcile"), "{:?}", world.alerts);
    });
}

/// A strategy is on one side at a time there.
#[test]
fn both_sides_are_never_opened_by_one_strategy() {
    play(async {
        let mut world = two(|account| account.position_mode = "long_short_mode").await;
        let rests = r#""action":"sell","quantity":0.01,"order_type":"limit","price":11000"#;
        world.trade("a", BTC, rests);
        world.run_for(3_000).await;
        let entry = r#""action":"buy","quantity":0.01"#;
        assert_eq!(refusal(&mut world, "a", entry), Some(Reason::NettingConflict));
        assert_eq!(refusal(&mut world, "c", entry), None);
        holds(&mut world, "c", "0.01").await;
        settled(&mut world).await;
    });
}

#[test]
fn what_a_person_does_at_the_venue_is_found() {
    play(async {
        let mut world = two(|_| {}).await;
        world.trade("a", BTC, r#""action":"long","quantity":0.03"#);
        holds(&mut world, "a", "0.03").await;
        world.fake.foreign_order(KEY, BTC, "buy", "5", "normal");
        world.until("the difference", |world| world.told("needs_reconcile")).await;
        let (_, strategy, text) = world.alerts.iter().find(|(code, ..)| *code == "needs_reconcile").unwrap();
        assert_eq!(strategy.unwrap().as_str(), "a");
        assert!(text.contains("BTC-USDT: the venue has 0.035, the ledgers 0.03"), "{text}");
        let entry = r#""action":"buy","quantity":0.01"#;
        assert_eq!(refusal(&mut world, "a", entry), Some(Reason::NeedsReconcile));
        assert_eq!(refusal(&mut world, "c", entry), Some(Reason::NeedsReconcile));
        // What is known is closed, and no more than that.
        world.trade("a", BTC, r#""action":"flat""#);
        holds(&mut world, "a", "0").await;
        assert_eq!(world.held_there(BTC), number("0.005"));
        // A restart forgets nothing of it.
        world.die().await;
        world.rise();
        world.run_for(20_000).await;
        assert_eq!(refusal(&mut world, "a", entry), Some(Reason::NeedsReconcile));
        world.fake.foreign_order(KEY, BTC, "sell", "5", "normal");
        world.until("the end of it", |world| world.told("reconciled")).await;
        assert_eq!(refusal(&mut world, "a", entry), None);
        holds(&mut world, "a", "0.01").await;
        // What no strategy trades holds nobody up.
        world.fake.foreign_order(KEY, UNTRADED, "buy", "7", "normal");
        world.until("a foreign position", |world| world.told("foreign_position")).await;
        assert_eq!(refusal(&mut world, "c", entry), None);
        holds(&mut world, "c", "0.01").await;
        assert!(world.violations().is_empty(), "{:?}", world.violations());
    });
}

/// The reasons of orders that were made at the venue, as they are on disk.
fn reasons(world: &World, strategy: &str) -> Vec<OrderReason> {
    let id = StrategyId::new(strategy).unwrap();
    let mut found: Vec<OrderReason> = Vec::new();
    for record in world.records() {
        match record {
            Record::Order(order) if order.strategy == id => found.extend(order.reason),
            _ => {}
        }
    }
    found.dedup();
    found
}

#[test]
fn what_happened_while_nothing_ran_is_found() {
    play(async {
        let mut world = two(|_| {}).await;
        world.trade("a", BTC, r#""action":"long","quantity":0.03,"stop_loss":9500"#);
        world.trade("c", BTC, r#""action":"buy","quantity":0.02,"order_type":"limit","price":9800"#);
        holds(&mut world, "a", "0.03").await;
        world.until("a stop", |world| stops_there(world).len() == 1).await;
        world.run_for(5_000).await;
        world.die().await;
        // The entry of one fills, and the stop of the other is touched.
        world.fake.quote(BTC, "9399.9", "9400.1");
        world.fake.trade(BTC, "9400", "1");
        world.run_for(600_000).await;
        world.rise();
        world.price(BTC, "9400");
        holds(&mut world, "c", "0.02").await;
        holds(&mut world, "a", "0").await;
        settled(&mut world).await;
        assert_eq!(reasons(&world, "a"), [OrderReason::StopLoss]);
        assert!(!world.told("needs_reconcile"), "{:?}", world.alerts);
        let trades = world.records().into_iter().filter(|record| matches!(record, Record::Trade(_))).count();
        assert_eq!(trades, 1);
        // The venue closes by force: while nothing runs, and while the daemon looks on.
        world.trade("a", BTC, r#""action":"long","quantity":0.03"#);
        holds(&mut world, "a", "0.03").await;
        world.stop().await;
        world.fake.foreign_order(KEY, BTC, "sell", "10", "partial_liquidation");
        world.run_for(60_000).await;
        world.rise();
        world.until("its word", |world| world.told("forced_close")).await;
        // Each bears its share: 6 and 4 of 10 contracts.
        assert_eq!((world.held("a", BTC), world.held("c", BTC)), (number("0.024"), number("0.016")));
        world.fake.foreign_order(KEY, BTC, "sell", "40", "adl");
        holds(&mut world, "a", "0").await;
        holds(&mut world, "c", "0").await;
        settled(&mut world).await;
        assert_eq!(reasons(&world, "c").last(), Some(&OrderReason::Liquidation));
        let told = |word: &str| world.alerts.iter().any(|(_, _, text)| text.contains(word));
        assert!(told("the venue liquidated 0.01 of BTC-USDT") && told("the venue auto-deleveraged 0.04"));
        assert!(!world.told("needs_reconcile"), "{:?}", world.alerts);
    });
}

/// Nobody answers at the venue's name for half an hour.
#[test]
fn half_an_hour_without_a_way_to_the_venue() {
    play(async {
        let mut world = two(|_| {}).await;
        world.trade("a", BTC, r#""action":"long","quantity":0.03"#);
        holds(&mut world, "a", "0.03").await;
        world.trade("c", BTC, r#""action":"buy","quantity":0.02,"order_type":"limit","price":9800"#);
        world.run_for(3_000).await;
        // It is carried out, and nobody is told.
        world.fake.private_faults([Some(PrivateFault::Drop)]);
        world.fake.private_stream_faults(usize::MAX, 0);
        let before = world.fake.account(KEY).orders.len();
        world.trade("a", BTC, r#""action":"buy","quantity":0.01"#);
        world.until("its arrival", |world| world.fake.account(KEY).orders.len() > before).await;
        world.fake.absent(true);
        world.trade("c", BTC, r#""action":"buy","quantity":0.04"#);
        world.quiet(2).await;
        assert!(world.told("dead_man"), "{:?}", world.alerts);
        assert_eq!(refusal(&mut world, "a", r#""action":"buy","quantity":0.01"#), Some(Reason::StalePrice));
        // What rests there fills meanwhile, and an exit is tried for as long as it takes.
        world.price(BTC, "9790");
        assert_eq!(refusal(&mut world, "a", r#""action":"flat""#), None);
        world.quiet(30).await;
        world.fake.private_stream_faults(0, 0);
        world.fake.absent(false);
        world.quiet(3).await;
        holds(&mut world, "c", "0.02").await;
        settled(&mut world).await;
        assert!(world.told("dead_man_over"), "{:?}", world.alerts);
        assert!(!world.told("needs_reconcile"), "{:?}", world.alerts);
        let wanted = world.fake.account(KEY).wanted;
        let mut once = wanted.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), wanted.len(), "{wanted:?}");
        let open = world.engine.state().orders.len();
        assert_eq!(open, 0, "{:?}", world.engine.state().orders);
        assert_eq!(refusal(&mut world, "c", r#""action":"flat""#), None);
        holds(&mut world, "c", "0").await;
    });
}

/// What a daemon says to the venue while a strategy on paper trades beside one with keys, or does not.
async fn said(paper_trades: bool) -> Vec<String> {
    let mut settings: EngineSettings = settings(&[("a", BTC), ("p", BTC)]);
    rig::strategy(&mut settings, &["p", "account=-"]);
    let mut world = World::start(settings, |_| {}).await;
    let say = |world: &mut World, fields: &str| {
        if paper_trades {
            world.trade("p", BTC, fields);
        }
    };
    say(&mut world, r#""action":"long","quantity":0.02,"stop_loss":9000"#);
    world.trade("a", BTC, r#""action":"long","quantity":0.03"#);
    world.run_for(20_000).await;
    say(&mut world, r#""action":"short","quantity":0.02"#);
    say(&mut world, r#""action":"buy","quantity":0.01,"order_type":"limit","price":9000"#);
    world.run_for(20_000).await;
    world.price(BTC, "9400");
    say(&mut world, r#""action":"flat""#);
    world.run_for(400_000).await;
    assert_eq!(world.held("a", BTC), number("0.03"));
    let fills = |record: &Record| matches!(record, Record::Fill(fill) if fill.strategy.as_str() == "p");
    assert_eq!(world.records().iter().filter(|record| fills(record)).count() >= 3, paper_trades);
    world.fake.signed()
}

#[test]
fn paper_beside_live_changes_nothing_at_the_venue() {
    play(async {
        let (quiet, beside) = (said(false).await, said(true).await);
        assert!(quiet.len() > 20, "{quiet:?}");
        // What differs are ids and times; the requests are the same, one by one.
        let orders =
            |said: &[String]| said.iter().filter(|asked| asked.starts_with("POST /api/v1/trade/")).count();
        assert_eq!((orders(&quiet), orders(&beside)), (1, 1));
        let shape = |said: &[String]| -> Vec<String> {
            said.iter().map(|asked| asked.split(['?', '{']).next().unwrap().trim().to_owned()).collect()
        };
        assert_eq!(shape(&quiet), shape(&beside));
    });
}

/// What is paid for holding a position is booked once, with the venue's sign: its balance is the ledger's.
#[test]
fn funding_is_booked_as_the_balance_moves() {
    play(async {
        let mut world = two(|_| {}).await;
        let start = world.fake.account(KEY).balance;
        world.trade("a", BTC, r#""action":"long","quantity":0.03"#);
        world.trade("c", BTC, r#""action":"long","quantity":0.01"#);
        holds(&mut world, "a", "0.03").await;
        holds(&mut world, "c", "0.01").await;
        world.fake.pay_funding(KEY, BTC, "-1.25");
        world.quiet(6).await;
        world.fake.pay_funding(KEY, BTC, "0.41");
        world.quiet(6).await;
        world.die().await;
        world.rise();
        world.quiet(6).await;
        let funding = |world: &World, name: &str| {
            world.engine.state().strategies[&StrategyId::new(name).unwrap()].funding.value()
        };
        let (a, c) = (funding(&world, "a"), funding(&world, "c"));
        assert_eq!((a, c), (number("-0.63"), number("-0.21")));
        let booked: Decimal = world
            .records()
            .iter()
            .filter_map(|record| match record {
                Record::Funding(funding) => Some(funding.amount.value()),
                _ => None,
            })
            .sum();
        let fees: Decimal = world.fake.account(KEY).fills.iter().map(|fill| fill.fee).sum();
        assert_eq!(world.fake.account(KEY).balance, start - fees + booked);
        // Nobody's is told, not guessed.
        for name in ["a", "c"] {
            world.trade(name, BTC, r#""action":"flat""#);
            holds(&mut world, name, "0").await;
        }
        world.fake.pay_funding(KEY, BTC, "-3");
        world.until("its word", |world| world.told("funding_unassigned")).await;
        assert_eq!((funding(&world, "a"), funding(&world, "c")), (a, c));
    });
}

/// What is looked at before anything is traded.
#[test]
fn keys_and_settings_are_looked_at_first() {
    play(async {
        let soon = rig::begin().plus_ms(13 * 86_400_000).as_ms();
        let mut world = two(|account| {
            (account.ips, account.expires_ms) = (Vec::new(), soon);
            account.read_only = true;
        })
        .await;
        for code in ["needs_keys", "keys_expire", "keys_unbound", "leverage_differs"] {
            assert!(world.told(code), "{code}: {:?}", world.alerts);
        }
        let entry = r#""action":"buy","quantity":0.01"#;
        assert_eq!(refusal(&mut world, "a", entry), Some(Reason::NeedsKeys));
        assert!(world.fake.signed().iter().all(|asked| asked.starts_with("GET")));
        world.fake.change_account(KEY, |account| account.read_only = false);
        world.fake.close(false);
        world.run_for(20_000).await;
        assert_eq!(refusal(&mut world, "a", entry), None);
        holds(&mut world, "a", "0.01").await;
        assert_eq!(world.fake.account(KEY).leverage(BTC, "cross"), 10);
        settled(&mut world).await;
    });
}
