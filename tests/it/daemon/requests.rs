//! Requests at a real broker: one answer each, and nothing done twice. And clients that publish where only the daemon
//! should.

use serde_json::{Value, json};

use super::edges::send;
use super::load::now_ms;
use super::{Scene, ready, verify};
use crate::support::bus::{Bus, Heard};
use crate::support::mosquitto::Setup;
use crate::support::program::Program;

const LONG: &str = r#""symbol":"BTC-USDT","action":"buy","quantity":0.01"#;
const FAR: &str = r#""symbol":"BTC-USDT","action":"buy","quantity":0.01,"order_type":"limit","price":1"#;

/// Publishes a request and gives its answer.
async fn ask(bus: &mut Bus, op: &str, payload: &str) -> Value {
    ask_with(bus, op, payload.as_bytes(), false).await
}

async fn ask_with(bus: &mut Bus, op: &str, payload: &[u8], retain: bool) -> Value {
    let before = bus.heard.answers.len();
    bus.publish(&format!("tradebus/daemon/request/{op}"), payload, retain).await;
    bus.until(&format!("an answer to {op}"), |heard| heard.answers.len() > before).await;
    bus.heard.answers[before].clone()
}

/// The JSON of a request that does something.
fn change(id: &str, age_ms: i64, more: &str) -> String {
    format!("{{\"id\":\"{id}\",\"time\":{}{more}}}", now_ms() - age_ms)
}

/// `status`, or `reason` of an error.
fn short(answer: &Value) -> &str {
    let word = if answer["status"] == "ok" { &answer["status"] } else { &answer["reason"] };
    word.as_str().unwrap_or_else(|| panic!("{answer}"))
}

#[tokio::test]
async fn every_bad_request_has_one_named_answer() {
    let mut scene = Scene::start(Setup::default(), "").await;
    let bus = &mut scene.bus;
    const ALPHA: &str = r#","strategy":"alpha""#;
    let large = format!("{{\"id\":\"{}\"}}", "x".repeat(17_000));
    let long_id = "i".repeat(97);
    let table: [(&str, String, &str); 19] = [
        ("snapshot", "{".into(), "malformed"),
        ("snapshot", "online".into(), "malformed"),
        ("snapshot", r#"{"id":"a","id":"b"}"#.into(), "malformed"),
        ("snapshot", r#"{"path":"/etc"}"#.into(), "malformed"),
        ("kpis", r#"{"strategy":"ghost"}"#.into(), "unknown_strategy"),
        ("positions", r#"{"strategy":"a/b"}"#.into(), "malformed"),
        ("positions", large.clone(), "too_large"),
        ("sell_all", "{}".into(), "unsupported"),
        ("backup", "{}".into(), "malformed"),
        ("backup", r#"{"id":"b1"}"#.into(), "malformed"),
        ("backup", change("b1", 0, r#","dir":"/tmp""#), "malformed"),
        ("backup", change("b1", 31_000, ""), "stale"),
        ("backup", change("b1", -60_000, ""), "from_future"),
        ("cancel_orders", change("c1", 0, ""), "malformed"),
        ("cancel_orders", change(&long_id, 0, ALPHA), "malformed"),
        ("cancel_orders", change("c1", 301_000, ALPHA), "stale"),
        ("close_position", change("c1", -60_000, ALPHA), "from_future"),
        ("close_position", change("c1", 0, r#","strategy":"ghost""#), "unknown_strategy"),
        ("close_position", change("c1", 0, r#","strategy":"alpha","symbol":"XRP-USDT""#), "unknown_symbol"),
    ];
    for (op, payload, reason) in &table {
        let answer = ask(bus, op, payload).await;
        assert_eq!(short(&answer), *reason, "{op}: {answer}");
        assert!(answer["data"].is_null() && answer["detail"].is_string(), "{op}: {answer}");
    }
    assert_eq!(short(&ask_with(bus, "kpis", b"\xff{}", false).await), "malformed");
    let retained = change("r1", 0, ALPHA);
    let answer = ask_with(bus, "close_position", retained.as_bytes(), true).await;
    assert_eq!((short(&answer), &answer["id"]), ("retained", &json!("r1")));
    // A strange operation is answered where everybody can find it, an empty payload not at all.
    bus.publish("tradebus/daemon/request/kpis", b"", false).await;
    bus.publish("tradebus/daemon/request/a b", b"{}", false).await;
    bus.until("the last answer", |heard| heard.answers.len() == table.len() + 3).await;
    assert_eq!(bus.heard.answers.last().expect("an answer")["op"], "unknown");

    let mut late = Bus::raw(scene.broker.port, "late").await;
    late.until("the level", |heard| heard.word("daemon/level").is_some()).await;
    assert!(!late.heard.newest.keys().any(|topic| topic.contains("/request/")), "a retained request is left");
    assert_eq!(bus.heard.results_count, 0);
    assert!(!scene.site.store().join("backups").exists());
}

#[tokio::test]
async fn requests_tell_what_there_is() {
    let mut scene = Scene::start(Setup::default(), "").await;
    let bus = &mut scene.bus;
    assert_eq!(send(bus, "open", LONG).await["status"], "filled");
    let answer = ask(bus, "positions", r#"{"id":"p"}"#).await;
    let positions = answer["data"]["positions"].as_array().expect("a list");
    assert_eq!((answer["id"].as_str(), positions.len()), (Some("p"), 1), "{answer}");
    assert_eq!((&positions[0]["strategy"], &positions[0]["side"]), (&json!("alpha"), &json!("long")));
    let none = ask(bus, "positions", r#"{"strategy":"beta"}"#).await;
    assert_eq!(none["data"], json!({"positions": []}));

    let kpis = ask(bus, "kpis", "{}").await;
    let scopes: Vec<&str> =
        kpis["data"]["kpis"].as_array().expect("a list").iter().filter_map(|k| k["scope"].as_str()).collect();
    assert_eq!(scopes, ["strategy/alpha", "strategy/beta", "type/aibot", "type/external", "portfolio"]);
    let one = ask(bus, "kpis", r#"{"strategy":"beta"}"#).await;
    assert_eq!(one["data"]["kpis"][0]["scope"], "strategy/beta");

    // Somebody cleared what is ours; a snapshot brings it back.
    for topic in ["tradebus/strategy/alpha/state", "tradebus/portfolio/kpi"] {
        bus.publish(topic, b"", true).await;
        bus.until("it is cleared", |heard| heard.newest[topic].payload.is_empty()).await;
    }
    bus.heard.newest.clear();
    let answer = ask(bus, "snapshot", "{}").await;
    let topics = answer["data"]["topics"].as_u64().expect("a number") as usize;
    let kept = |heard: &Heard| {
        let transient = ["/health", "/alert", "/state", "/response/snapshot", "/order", "/fill", "/trade"];
        let all = heard.newest.keys().filter(|topic| !transient.iter().any(|end| topic.ends_with(end)));
        all.count() + heard.newest.keys().filter(|t| t.ends_with("/state") && !t.contains("daemon")).count()
    };
    bus.until("all of it", |heard| kept(heard) == topics && heard.word("portfolio/kpi").is_some()).await;

    // The MQTT 5 response topic gets the same.
    bus.request("tradebus/daemon/request/positions", b"{}", "answers/mine", b"42").await;
    bus.until("the response", |heard| !heard.elsewhere.is_empty() && heard.answers.len() == 6).await;
    let response = &bus.heard.elsewhere[0];
    assert_eq!(
        (response.topic.as_str(), response.correlation.as_deref()),
        ("answers/mine", Some(&b"42"[..]))
    );
    assert_eq!(serde_json::from_slice::<Value>(&response.payload).expect("JSON"), bus.heard.answers[5]);
}

#[tokio::test]
async fn orders_are_taken_back_and_positions_closed_once() {
    let mut scene = Scene::start(Setup { persistence: true, login: None }, "").await;
    let bus = &mut scene.bus;
    assert_eq!(send(bus, "open", LONG).await["status"], "filled");
    let resting = send(bus, "rest", FAR).await;
    assert_eq!(resting["status"], "accepted");
    let cancel = change("c", 60_000, r#","strategy":"alpha","symbol":"BTC-USDT""#);
    let answer = ask(bus, "cancel_orders", &cancel).await;
    assert_eq!((short(&answer), &answer["data"]["orders"]), ("ok", &resting["orders"]), "{answer}");
    let order = resting["orders"][0].clone();
    bus.until("the order", |heard| {
        heard.said("order").any(|(_, body)| body["order_id"] == order && body["reason"] == "request")
    })
    .await;
    let again = send(bus, "rest-2", FAR).await;
    let repeated = ask(bus, "cancel_orders", &cancel).await;
    assert_eq!((&repeated["repeated"], &repeated["data"]), (&json!(true), &answer["data"]));
    let other = ask(bus, "cancel_orders", &change("c", 0, r#","strategy":"alpha""#)).await;
    assert_eq!(short(&other), "duplicate");

    // Closing passes when entries may not.
    bus.publish("tradebus/daemon/level/set", b"pause", false).await;
    bus.until("pause", |heard| heard.word("daemon/level") == Some("pause")).await;
    let close = change("k", 0, r#","strategy":"alpha""#);
    let closed = ask(bus, "close_position", &close).await;
    assert_eq!(short(&closed), "ok", "{closed}");
    let result = &closed["data"]["results"][0];
    assert_eq!((&result["id"], &result["status"]), (&json!("close:k:BTC-USDT"), &json!("filled")));
    bus.until("its result as of any signal", |heard| {
        !heard.results_of("alpha", "close:k:BTC-USDT").is_empty()
    })
    .await;
    assert!(again["orders"].is_array());
    let run = format!("{{\"level\":\"run\",\"id\":\"run\",\"time\":{}}}", now_ms());
    bus.publish("tradebus/daemon/level/set", run.as_bytes(), false).await;
    assert_eq!(send(bus, "open-2", LONG).await["status"], "filled");

    // Nor after a crash, when the broker brings it once more.
    scene.program.kill();
    bus.publish("tradebus/daemon/request/close_position", close.as_bytes(), false).await;
    let answers = bus.heard.answers.len();
    scene.program = scene.site.run();
    bus.until("an answer", |heard| heard.answers.len() > answers).await;
    let repeated = &bus.heard.answers[answers];
    assert_eq!((&repeated["repeated"], &repeated["data"]), (&json!(true), &closed["data"]), "{repeated}");
    ready(bus, 2).await;
    let positions = ask(bus, "positions", "{}").await;
    assert_eq!(positions["data"]["positions"][0]["quantity"], 0.01, "{positions}");
    let ended = scene.program.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    verify(&scene.site);
}

#[tokio::test]
async fn a_backup_is_made_beside_the_running_daemon() {
    let mut scene = Scene::start(Setup::default(), "").await;
    let text = scene.site.text().replace("path = \"store\"", "path = \"store\"\nbackup_dir = \"copies\"");
    scene.site.write(&text);
    assert_eq!(scene.program.terminate().code, Some(0));
    scene.program = scene.site.run();
    let bus = &mut scene.bus;
    ready(bus, 2).await;
    for number in 0..5 {
        assert_eq!(send(bus, &format!("s-{number}"), LONG).await["status"], "filled");
    }
    let request = change("b", 0, "");
    let answer = ask(bus, "backup", &request).await;
    assert_eq!(short(&answer), "ok", "{answer}");
    let name = answer["data"]["name"].as_str().expect("a name").to_owned();
    let again = ask(bus, "backup", &request).await;
    assert_eq!((&again["repeated"], &again["data"]), (&json!(true), &answer["data"]));
    let soon = ask(bus, "backup", &change("b-2", 0, "")).await;
    assert_eq!(short(&soon), "rate_limited");
    assert_eq!(send(bus, "after", LONG).await["status"], "filled");

    let copy = scene.site.path("copies").join(&name);
    let names: Vec<_> = std::fs::read_dir(scene.site.path("copies")).expect("the folder").collect();
    assert_eq!(names.len(), 1);
    let log = scene.site.path("verified");
    let store = copy.display().to_string();
    let ended = Program::start(&["verify", "--json", "--store", &store], &log).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let told: Value = serde_json::from_str(&ended.log).expect("JSON");
    assert_eq!(told["records"], answer["data"]["records"], "{told}");

    // A folder that cannot be written is an answer, and nothing else.
    assert_eq!(scene.program.terminate().code, Some(0));
    std::fs::write(scene.site.path("taken"), "a file").expect("a file");
    scene.site.write(&text.replace("\"copies\"", "\"taken\""));
    scene.program = scene.site.run();
    ready(bus, 3).await;
    let failed = ask(bus, "backup", &change("b-3", 0, "")).await;
    assert_eq!(short(&failed), "internal", "{failed}");
    assert_eq!(send(bus, "last", LONG).await["status"], "filled");
}

#[tokio::test]
async fn who_publishes_on_our_topics_changes_nothing() {
    let mut scene = Scene::start(Setup::default(), "").await;
    let bus = &mut scene.bus;
    assert_eq!(send(bus, "open", LONG).await["status"], "filled");
    let before = ask(bus, "positions", "{}").await["data"]["positions"][0]["quantity"].clone();
    let hostile = Bus::raw(scene.broker.port, "hostile").await;
    let topics = [
        "tradebus/daemon/state",
        "tradebus/daemon/level",
        "tradebus/daemon/info",
        "tradebus/strategy/alpha/state",
        "tradebus/strategy/alpha/position/BTC-USDT",
        "tradebus/price/tape/BTC-USDT",
        "tradebus/portfolio/state",
        "homeassistant/device/e2e_daemon/config",
        "homeassistant/device/e2e_strategy_alpha/config",
        "homeassistant/status",
        "tradebus",
        "tradebus/daemon/request",
        "tradebus/daemon/request/kpis/x",
        "tradebus/strategy/alpha/level",
    ];
    let words: [&[u8]; 3] = [b"flatten", b"{\"level\":\"flatten\",\"stale\":false}", b""];
    for (topic, word) in topics.iter().flat_map(|topic| words.map(|word| (topic, word))) {
        // Words that are no JSON would only surprise this test's own ear.
        if !topic.starts_with("tradebus/price/") || word.first() == Some(&b'{') {
            hostile.publish(topic, word, true).await;
        }
    }
    let result = br#"{"id":"open","status":"rejected","reason":"paused"}"#;
    hostile.publish("tradebus/strategy/alpha/signal/result", result, false).await;
    let own = b"{\"seq\":1,\"replayed\":false}";
    hostile.publish("tradebus/strategy/ghost/order", own, false).await;
    hostile.close().await;

    let run = ask(bus, "snapshot", "{}").await;
    assert_eq!(short(&run), "ok");
    bus.until("the true level", |heard| heard.word("daemon/level") == Some("run")).await;
    let after = ask(bus, "positions", "{}").await["data"]["positions"][0]["quantity"].clone();
    assert_eq!(before, after);
    assert_eq!(send(bus, "next", LONG).await["status"], "filled");
    assert_eq!(send(bus, "open", LONG).await["reason"], "duplicate");
    let log = scene.program.log();
    assert!(!log.contains("ERROR") && !log.contains("Home Assistant has started"), "{log}");
    assert!(bus.heard.alerts.is_empty(), "{:?}", bus.heard.alerts);
    assert_eq!(scene.program.terminate().code, Some(0));
    verify(&scene.site);
}
