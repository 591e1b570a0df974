//! A panic inside the engine: the process ends, and the signal that caused it is never tried again.

use std::process::Command;

use rust_decimal::Decimal;
use tradebus::config::{Config, Sources};
use tradebus::daemon::options::{Hangup, RunError, RunOptions};
use tradebus::engine::Engine;
use tradebus::engine::effect::Effect;
use tradebus::engine::event::{Event, SignalMessage, SignalOrigin};
use tradebus::message::signal;
use tradebus::model::amount::Ratio;
use tradebus::model::ids::StoreId;
use tradebus::model::signal::Reason;
use tradebus::store::Ledger;

use crate::support::mosquitto::{Mosquitto, Setup};

const SIGNAL: &str = "tradebus/strategy/s1/signal";

#[test]
fn a_signal_that_breaks_the_engine_is_not_tried_again() {
    let mosquitto = Mosquitto::start(Setup::default());
    let store = tempfile::tempdir().expect("a temporary folder");
    let mut config = config(mosquitto.port, store.path());
    // A fee beyond every configuration's range overflows the ledger at the first fill.
    config.strategies[0].paper.fee_taker_ratio = Ratio::new(Decimal::MAX);
    let daemon =
        std::thread::spawn(move || tradebus::daemon::run(&config, RunOptions::default(), || Hangup::Stop));
    let port = mosquitto.port.to_string();
    mosquitto_sub(&port, "tradebus/price/market/BTC-USDT");
    let now = tradebus::daemon::clock::Clock::wall().now();
    let payload = format!(
        r#"{{"id":"bad","time":"{now}","symbol":"BTC-USDT","action":"buy","quantity":0.01,"max_age_s":600}}"#
    );
    mosquitto_pub(&port, SIGNAL, &payload);
    let ended = daemon.join().expect("the daemon contains the panic");
    assert!(matches!(ended, Err(RunError::Internal(_))), "{ended:?}");

    let (ledger, opening) = Ledger::open(store.path()).expect("the store is whole");
    assert!(opening.state.strategies.values().all(|strategy| strategy.positions.is_empty()));
    drop(ledger);
    let mut engine = Engine::new(sound_settings(mosquitto.port, store.path()), opening.state);
    let mut effects = Vec::new();
    let store_id_new = StoreId::new("00").expect("hex digits");
    engine.handle(now, Event::Start { store_id_new }, &mut effects);
    let read = signal::read("s1", payload.as_bytes(), false);
    let message = SignalMessage {
        token: 1,
        strategy: "s1".into(),
        id: read.id,
        body: read.body,
        origin: SignalOrigin::Native,
    };
    engine.handle(now, Event::Signal(Box::new(message)), &mut effects);
    let result = effects.iter().find_map(|effect| match effect {
        Effect::Reply { token: 1, result, .. } => result.clone(),
        _ => None,
    });
    let result = result.expect("the signal is answered");
    let reason = result.outcome.refusal().map(|refusal| refusal.reason);
    assert_eq!((reason, result.repeated), (Some(Reason::Internal), true));
}

fn config(port: u16, store: &std::path::Path) -> Config {
    let text = format!(
        r#"
        [mqtt]
        broker = "mqtt://127.0.0.1:{port}"
        [http]
        listen = ""
        [store]
        path = "{}"
        [feed.market]
        source = "synthetic"
        symbols = ["BTC-USDT"]
        interval_ms = 10
        [strategy.s1]
        type = "external"
        symbols = ["BTC-USDT"]
        "#,
        store.display()
    );
    Config::load(&Sources::of_text(&text)).expect("a good configuration").config
}

fn sound_settings(port: u16, store: &std::path::Path) -> tradebus::engine::settings::EngineSettings {
    config(port, store).engine_settings()
}

/// Waits until something arrives on a topic.
fn mosquitto_sub(port: &str, topic: &str) {
    let heard = Command::new("mosquitto_sub").args(["-p", port, "-C", "1", "-W", "30", "-t", topic]).output();
    let heard = heard.expect("mosquitto-clients must be installed: apt-get install mosquitto-clients");
    assert!(heard.status.success(), "nothing arrived on {topic}");
}

fn mosquitto_pub(port: &str, topic: &str, payload: &str) {
    let sent =
        Command::new("mosquitto_pub").args(["-p", port, "-q", "1", "-t", topic, "-m", payload]).status();
    assert!(sent.expect("mosquitto-clients must be installed").success());
}
