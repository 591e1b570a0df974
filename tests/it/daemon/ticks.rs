//! The stream of prices that a strategy of type `aibot` decides by.

use serde_json::Value;

use crate::support::bus::{Bus, Message};
use crate::support::mosquitto::{Mosquitto, Setup};
use crate::support::program::Site;

const COUNT: usize = 300;

/// A recording of trades a millisecond apart, and what a tick says of each.
fn recording(first_price: usize) -> (String, Vec<(String, String, String)>) {
    let mut text = "time_ms,price,quantity,taker_side,trade_id\n".to_owned();
    let mut ticks = Vec::new();
    for number in 0..COUNT {
        // Two at a time have one time and one price, which a deadband would not publish.
        let (time, price) = (1_700_000_000_000_usize + number / 2, first_price + number / 2);
        let (quantity, side) = (number + 1, ["buy", "sell"][number % 2]);
        text.push_str(&format!("{time},{price},{quantity},{side},{number}\n"));
        ticks.push((price.to_string(), quantity.to_string(), side.to_owned()));
    }
    (text, ticks)
}

#[tokio::test]
async fn every_tick_of_the_symbols_that_ask_for_ticks_and_of_no_others() {
    let broker = Mosquitto::start(Setup::default());
    let mut bus = Bus::connect(broker.port, "ear").await;
    let site = Site::new(broker.port);
    let (wanted, expected) = recording(60_000);
    std::fs::write(site.path("btc.csv"), wanted).expect("a recording");
    std::fs::write(site.path("eth.csv"), recording(3_000).0).expect("a recording");
    let (head, _) =
        site.text().split_once("[feed.tape]").map(|(a, b)| (a.to_owned(), b.len())).expect("a feed");
    site.write(&format!(
        "{head}[feed.tape]\nsource = \"recording\"\nsymbols = [\"BTC-USDT\", \"ETH-USDT\"]\n\
         files = [{{ path = \"btc.csv\", symbol = \"BTC-USDT\" }}, {{ path = \"eth.csv\", symbol = \"ETH-USDT\" }}]\n\
         [strategy.bot1]\ntype = \"aibot\"\nsymbols = [\"BTC-USDT\"]\nticks = true\n\
         [strategy.quiet]\ntype = \"aibot\"\nsymbols = [\"BTC-USDT\", \"ETH-USDT\"]\n"
    ));
    let mut program = site.run();
    bus.until("the end of the recording", |heard| {
        heard.json("feed/tape").is_some_and(|feed| feed["ended"] == true)
            && heard.json("price/tape/ETH-USDT").is_some()
            && heard.ticks.len() >= COUNT
    })
    .await;
    assert_eq!(program.terminate().code, Some(0));
    bus.until("the end", |heard| heard.word("daemon/state") == Some("offline")).await;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let tick = |message: &Message| {
        assert_eq!(message.topic, "tradebus/tick/tape/BTC-USDT");
        let tick: Value = serde_json::from_slice(&message.payload).expect("JSON");
        (text(&tick["last"]), text(&tick["quantity"]), text(&tick["side"]))
    };
    assert_eq!(bus.heard.ticks.iter().map(tick).collect::<Vec<_>>(), expected);
}
