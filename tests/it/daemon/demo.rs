//! `tradebus demo`: its own broker, its own market; two at once.

use tempfile::TempDir;

use super::load::{now_ms, signal};
use crate::support::bus::Bus;
use crate::support::program::Program;

/// A demo and the port that it tells.
async fn demo(folder: &TempDir, name: &str) -> (Program, u16) {
    const SAYS: &str = "at the broker mqtt://127.0.0.1:";
    let mut program = Program::start(&["demo"], &folder.path().join(name));
    program.says(SAYS, 1).await;
    let log = program.log();
    let rest = log.split(SAYS).nth(1).expect("the port");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (program, digits.parse().expect("a port"))
}

#[tokio::test]
async fn two_demos_show_prices_and_take_signals() {
    let folder = TempDir::new().expect("a folder");
    let (mut first, port) = demo(&folder, "first").await;
    let (mut second, other) = demo(&folder, "second").await;
    assert_ne!(port, other);
    assert!(second.log().contains("the port is taken"), "{}", second.log());
    for (port, name) in [(port, "one"), (other, "two")] {
        let mut bus = Bus::connect(port, name).await;
        bus.until("a price", |heard| heard.json("price/synthetic/BTC-USDT").is_some()).await;
        let body = r#""symbol":"BTC-USDT","action":"long""#;
        bus.publish("tradebus/strategy/demo/signal", signal(name, now_ms(), body).as_bytes(), false).await;
        bus.until("the result", |heard| !heard.results_of("demo", name).is_empty()).await;
        assert_eq!(bus.heard.results_of("demo", name)[0]["status"], "filled");
        bus.until("the position", |heard| {
            heard.json("strategy/demo/position/BTC-USDT").is_some_and(|position| position["side"] == "long")
        })
        .await;
        bus.close().await;
    }
    for program in [&mut first, &mut second] {
        let ended = program.terminate();
        assert!(ended.code == Some(0) && ended.after.as_secs() < 5, "{ended:?}");
    }
}
