//! The command line over HTTP: the same output as over MQTT, digit for digit, and the same words when it cannot be.

use std::process::Command;

use serde_json::Value;

use super::{PATIENCE, READ, Scene, TRADE, write};
use crate::support::bus::Bus;
use crate::support::mosquitto::{Mosquitto, Setup};
use crate::support::program::{STRATEGIES, Site};

/// Runs a command to its end: its code, its output, its complaints.
async fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tradebus"));
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = tokio::time::timeout(PATIENCE, output).await.expect("timed out: a command");
    let output = output.expect("a task").expect("a program");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn figures_are_the_same_on_http_mqtt_and_the_command_line() {
    let mut scene = Scene::start().await;
    scene.signal("a", r#""action":"long","notional":1000"#).await;
    scene.signal("b", r#""action":"short","notional":333.33"#).await;
    scene.signal("c", r#""action":"long","quantity":0.00777"#).await;
    let position = scene.web.get("/api/v1/positions?status=open").await.text().to_owned();
    let price = scene.web.get("/api/v1/prices/tape/BTC-USDT").await.text().to_owned();
    let kpi = scene.web.get("/api/v1/kpis?strategy=alpha").await.text().to_owned();
    let said = |topic: &'static str, text: String| {
        move |heard: &crate::support::bus::Heard| heard.word(topic).is_some_and(|word| text.contains(word))
    };
    for (topic, text) in [
        ("strategy/alpha/position/BTC-USDT", &position),
        ("price/tape/BTC-USDT", &price),
        ("strategy/alpha/kpi", &kpi),
    ] {
        scene.bus.until(topic, said(topic, text.clone())).await;
    }
    let word = |topic: &str| scene.bus.heard.word(topic).expect("a payload").to_owned();

    let config = scene.path("tradebus.toml");
    let http = format!("http://127.0.0.1:{}", scene.web.port);
    let both = async |command: &[&str]| {
        let mqtt = run(&[command, &["--config", &config]].concat()).await;
        let web = run(&[command, &["--config", &config, "--http", &http]].concat()).await;
        assert_eq!(mqtt.0, Some(0), "{command:?}: {}", mqtt.2);
        (mqtt, web)
    };
    for command in [
        &["positions", "--json"][..],
        &["positions", "--all"],
        &["positions", "--strategy", "alpha"],
        &["kpis", "--json"],
        &["kpis"],
        &["kpis", "--type", "tradingview", "--json"],
        &["kpis", "--portfolio"],
    ] {
        let (mqtt, web) = both(command).await;
        assert_eq!(mqtt, web, "{command:?}");
    }
    assert_eq!(
        both(&["positions", "--json"]).await.1.1,
        format!("[{}]\n", word("strategy/alpha/position/BTC-USDT"))
    );
    let kpis = both(&["kpis", "--strategy", "alpha", "--json"]).await.1.1;
    assert_eq!(kpis, format!("[{}]\n", word("strategy/alpha/kpi")));
    // The mark of the position is the price.
    let mark = |text: &str, key: &str| serde_json::from_str::<Value>(text).expect("JSON")[key].to_string();
    let positions = word("strategy/alpha/position/BTC-USDT");
    assert_eq!(mark(&positions, "mark_price"), mark(&price, "mark"));

    let (mqtt, web) = both(&["status", "--json"]).await;
    let without_way = |text: &str| {
        let mut status: Value = serde_json::from_str(text).expect("JSON");
        let status_of = status.as_object_mut().expect("an object");
        let way = ["broker", "base_topic", "http"].map(|key| status_of.remove(key).expect(key));
        (status.to_string(), way)
    };
    let ((mqtt, _), (web, way)) = (without_way(&mqtt.1), without_way(&web.1));
    assert_eq!(mqtt, web);
    assert_eq!(way, [Value::Null, Value::Null, Value::from(http.as_str())]);
    let (_, (_, text, _)) = both(&["status"]).await;
    assert!(text.contains(&format!("\nhttp      {http}\n")), "{text}");
}

#[tokio::test]
async fn what_cannot_be_asked_is_said() {
    let scene = Scene::with(&format!("read {READ}\ntrade {TRADE}\n"), "").await;
    let config = scene.path("tradebus.toml");
    let http = format!("http://127.0.0.1:{}", scene.web.port);
    write(std::path::Path::new(&scene.path("wrong")), "read wrong-wrong-wrong-wrong\n");
    let (tokens, wrong) = (scene.path("tokens"), scene.path("wrong"));
    let check = async |arguments: &[&str], code: i32, expected: &str| {
        let ended = run(&[arguments, &["--config", &config]].concat()).await;
        assert_eq!(ended.0, Some(code), "{arguments:?}: {ended:?}");
        assert!(format!("{}{}", ended.1, ended.2).contains(expected), "{arguments:?}: {ended:?}");
    };
    let refused =
        format!("error: the daemon at {http} refuses: unauthorized: Authorization: no bearer token");
    check(&["positions", "--http", &http], 69, &refused).await;
    check(
        &["positions", "--http", &http, "--token-file", &wrong],
        69,
        "unauthorized: Authorization: an unknown token",
    )
    .await;
    check(&["positions", "--http", &http, "--token-file", &tokens], 0, "no open positions").await;
    check(&["positions", "--http", &http, "--token-file", &config], 64, "--token-file: line 1 ").await;
    check(&["positions", "--http", "localhost:1"], 64, "--http: is not an address").await;
    check(&["positions", "--http", "http://user@localhost"], 64, "--http: is not an address").await;
    check(&["positions", "--http", &http, "--broker", "mqtt://h"], 64, "cannot be used with").await;
    check(
        &["kpis", "--strategy", "ghost", "--http", &http, "--token-file", &tokens],
        64,
        "it has: alpha, tv1",
    )
    .await;
    check(
        &["status", "--http", "http://127.0.0.1:1"],
        69,
        "error: cannot reach the daemon at http://127.0.0.1:1: ",
    )
    .await;
    // The recording's clock stands still, so a signal of today is of another time.
    let signal = ["signal", "alpha", "long", "BTC-USDT", "--http", &http, "--token-file", &tokens];
    check(&signal, 1, "alpha long BTC-USDT: rejected, ").await;
}

/// A daemon by the clock takes a signal over HTTP, once.
#[tokio::test]
async fn a_signal_over_http_is_filled_once() {
    let broker = Mosquitto::start(Setup::default());
    let mut bus = Bus::connect(broker.port, "ear").await;
    let site = Site::new(broker.port);
    let tokens = site.path("tokens").display().to_string();
    write(&site.path("tokens"), &format!("trade {TRADE}\n"));
    let token_file = format!("http.token_file={tokens}");
    let mut daemon = site.run_with(&["--set", "http.listen=127.0.0.1:0", "--set", &token_file]);
    let port = super::port_of(&mut daemon).await;
    bus.until("a price", |heard| heard.json("price/tape/BTC-USDT").is_some()).await;
    let (config, http) = (site.config(), format!("http://127.0.0.1:{port}"));
    let line = ["signal", STRATEGIES[0], "long", "BTC-USDT", "--id", "once", "--quantity", "0.01", "--json"];
    let line = [&line[..], &["--config", &config, "--http", &http, "--token-file", &tokens]].concat();
    let (code, first, complaint) = run(&line).await;
    assert_eq!(code, Some(0), "{complaint}");
    let first: Value = serde_json::from_str(&first).expect("JSON");
    assert_eq!((first["id"].as_str(), first["status"].as_str()), (Some("once"), Some("filled")), "{first}");
    bus.until("the result", |heard| !heard.results_of(STRATEGIES[0], "once").is_empty()).await;
    let held = run(&["positions", "--config", &config, "--http", &http]).await;
    assert!(held.1.contains("0.01"), "{held:?}");
    assert_eq!(daemon.terminate().code, Some(0));
}
