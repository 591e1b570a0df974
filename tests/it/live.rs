//! Live trading without a network: the simulation of faults, and what follows from single reports.

use rust_decimal::Decimal;
use tradebus::model::order::OrderStatus;

use crate::chance::{Seed, seeds};
use crate::live_simulation::{self, Outcome};
use crate::rig::{self, Rig};
use crate::support::random::Random;
use crate::venue_words;

#[test]
fn the_venue_holds_what_was_intended_and_the_ledger_is_its_fills() {
    let mut total = Outcome::default();
    for seed in seeds(200) {
        let _seed = Seed(seed);
        total.add(&live_simulation::run(seed));
    }
    if std::env::var_os("SEED").is_none() {
        let wild = total.orders > 1_000 && total.fills > 1_000 && total.corrections > 100;
        assert!(
            wild && total.rejected > 50 && total.unknown > 100 && total.crashes > 100,
            "too tame: {total}"
        );
    }
}

/// A started engine with an account that may trade, and three orders on their way.
fn trading() -> (Rig, Vec<String>) {
    let mut settings = rig::settings();
    rig::account(&mut settings, &["main", "leverage=10"]);
    rig::market(&mut settings, &["BTC-USDT", "tick=0.1", "lot=0.001", "min=0.001", "stale_ms=600000"]);
    rig::strategy(&mut settings, &["s1", "account=main", "balance=100000"]);
    let mut rig = Rig::new(settings);
    rig.send(rig::start_event());
    for words in ["check", "skew 20", "link up", "snapshot available=100000"] {
        say(&mut rig, &[], words);
    }
    rig.send(rig::trade(rig.now, "BTC-USDT", rig::price("100"), rig::quantity("1")));
    for (n, order) in ["", r#","order_type":"limit","price":99"#, r#","stop_loss":90"#].iter().enumerate() {
        let (id, time) = (n, rig.now.as_ms());
        let json = format!(
            r#"{{"id":"n{id}","symbol":"BTC-USDT","action":"buy","quantity":1,"time":{time}{order}}}"#
        );
        rig.send(rig::signal_event(n as u64, "s1", &json, false));
    }
    let ids = rig.engine.state().orders.keys().map(|id| id.to_string()).collect();
    (rig, ids)
}

fn say(rig: &mut Rig, ids: &[String], words: &str) {
    let ids: Vec<(usize, &str)> = (1..).zip(ids.iter().map(String::as_str)).collect();
    let words: Vec<&str> = ["main"].into_iter().chain(words.split_whitespace()).collect();
    let event = venue_words::event(rig.now, rig.now, &ids, &rig.engine.state().live, &words);
    rig.send(event);
}

#[test]
fn nothing_that_a_venue_says_is_a_panic() {
    for seed in seeds(150) {
        let _seed = Seed(seed);
        let mut random = Random::new(seed);
        let (mut rig, ids) = trading();
        for _ in 0..60 {
            rig.now = rig.now.plus_ms(random.below(40_000) as i64);
            let amounts = ["0", "-1", "0.001", "1", "1", "2.5", "99999", "9999999999999", "0.000000000001"];
            let mut amount = || random.pick(&amounts);
            let (quantity, filled, at, fee) = (amount(), amount(), amount(), amount());
            let number = 1 + random.below(ids.len() as u64);
            let (order, venue, trade) = (format!("#{number}"), random.below(4), random.below(6));
            let side = random.pick(&["buy", "buy", "sell"]);
            let status = random.pick(&["live", "partly", "filled", "cancelled"]);
            let id = random.pick(&[order.as_str(), "-"]);
            let category = random.pick(&["", "category=liquidation", "category=sl", "category=adl"]);
            let words = match random.below(12) {
                0 => format!("ack {order} v{venue}"),
                1 => format!("refused {order} 1 {}", random.pick(&["", "transient", "duplicate"])),
                2 => format!(
                    "{} {order}",
                    random.pick(&["notsent", "unanswered", "notfound", "cancelrefused"])
                ),
                3..=5 => format!(
                    "order {id} v{venue} BTC-USDT {side} {quantity} {status} filled={filled} at={at} fee={fee} {category}"
                ),
                6 | 7 => format!("fill t{trade} v{venue} BTC-USDT {side} {quantity} {at} {fee}"),
                8 => format!("funding f{trade} BTC-USDT {fee}"),
                9 => format!("skew {}", random.pick(&["0", "9223372036854775807", "-9223372036854775808"])),
                10 => format!(
                    "snapshot available={at} pos=BTC-USDT:{quantity} fill=t{trade}:v{venue}:BTC-USDT:{side}:1:5:0 \
                     order=-:v{venue}:BTC-USDT:{side}:1:filled:1:5:0:liquidation"
                ),
                _ => format!("link {}", random.pick(&["up", "down"])),
            };
            say(&mut rig, &ids, &words);
            if random.one_in(20) {
                rig.restart();
            }
        }
        check_books(&rig);
    }
}

/// Whatever was said: a position is the sum of its fills.
fn check_books(rig: &Rig) {
    use tradebus::engine::record::Record;
    let fills = rig.records.iter().filter_map(|record| match record {
        Record::Fill(fill) => Some(fill.side.signed(fill.quantity)),
        _ => None,
    });
    let sum: Decimal = fills.map(|quantity| quantity.value()).sum();
    let ledger = rig.engine.state().strategies.values().next().unwrap();
    let held = ledger.positions.values().map(|position| position.quantity.value()).sum::<Decimal>();
    assert_eq!(held, sum, "a position is not the sum of its fills");
    let mut orders = rig.engine.state().orders.values();
    assert!(orders.all(|order| !order.status.is_final() && order.status != OrderStatus::Filled));
}
