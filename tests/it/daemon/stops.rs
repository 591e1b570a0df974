//! Stops through a real broker and a real process: they outlive `kill -9`, close the position, and say why.

use rust_decimal::Decimal;
use serde_json::Value;

use super::edges::send;
use super::load::{check_executions, check_journal, settle};
use super::{Scene, ready, verify};
use crate::support::bus::Heard;
use crate::support::ledger::number;
use crate::support::mosquitto::Setup;

/// Signals may meet a price that has gone beyond their stop meanwhile.
const TRIES: usize = 50;

fn position(heard: &Heard) -> Value {
    heard.json("strategy/alpha/position/BTC-USDT").unwrap_or_default()
}

fn long(last: Decimal, share: Decimal) -> (String, Decimal, Decimal) {
    let (below, above) = (Decimal::ONE - share, Decimal::ONE + share);
    let (stop_loss, take_profit) = ((last * below).round_dp(2), (last * above).round_dp(2));
    let head = r#""symbol":"BTC-USDT","action":"long","quantity":0.01"#;
    (format!("{head},\"stop_loss\":{stop_loss},\"take_profit\":{take_profit}"), stop_loss, take_profit)
}

#[tokio::test]
async fn a_stop_outlives_a_kill_and_closes_its_position() {
    let mut scene = Scene::start(Setup::default(), "").await;
    let last = |heard: &Heard| number(&heard.json("price/tape/BTC-USDT").expect("a price")["last"]);
    let (far, stop_loss, take_profit) = long(last(&scene.bus.heard), Decimal::new(5, 1));
    assert_eq!(send(&mut scene.bus, "far", &far).await["status"], "filled");
    let shown = |heard: &Heard| {
        let position = position(heard);
        let trigger = |key| position.get(key).filter(|value| !value.is_null()).map(number);
        (trigger("stop_loss"), trigger("take_profit"))
    };
    scene.bus.until("the stops", |heard| shown(heard) == (Some(stop_loss), Some(take_profit))).await;
    scene.program.kill();
    scene.bus.heard.newest.clear();
    scene.program = scene.site.run();
    ready(&mut scene.bus, 2).await;
    let again = |heard: &Heard| shown(heard) == (Some(stop_loss), Some(take_profit));
    scene.bus.until("the stops after the kill", again).await;

    // Nearer to the price, until it touches one.
    let mut moved = Value::Null;
    for number in 0..TRIES {
        let (near, ..) = long(last(&scene.bus.heard), Decimal::new(5, 4));
        moved = send(&mut scene.bus, &format!("near-{number}"), &near).await;
        if moved["status"] != "rejected" {
            break;
        }
        assert_eq!(moved["reason"], "price_deviation", "{moved}");
    }
    assert_eq!((&moved["status"], &moved["orders"]), (&"filled".into(), &serde_json::json!([])), "{moved}");
    let closed = |heard: &Heard| position(heard)["side"] == "flat";
    scene.bus.until("the stop", closed).await;
    scene.bus.until("its order", |heard| stopped(heard).is_some()).await;
    let order = stopped(&scene.bus.heard).expect("it was there");
    assert_eq!((&order["signal_id"], &order["order_type"]), (&moved["id"], &"market".into()), "{order}");
    assert_eq!(shown(&scene.bus.heard), (None, None));
    settle(&mut scene.bus).await;
    check_executions(&scene.bus.heard);
    let ended = scene.program.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    check_journal(&scene.site, &scene.bus.heard);
    verify(&scene.site);
}

/// The filled order that a touched stop became.
fn stopped(heard: &Heard) -> Option<Value> {
    let reasons = ["stop_loss", "take_profit"];
    let orders = heard.said("order").map(|(_, order)| order);
    let of_stop = |order: &&Value| order["reason"].as_str().is_some_and(|reason| reasons.contains(&reason));
    orders.filter(of_stop).find(|order| order["status"] == "filled").cloned()
}
