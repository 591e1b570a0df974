//! What nobody should send, and the commands that stop trading.

use serde_json::Value;

use super::load::{now_ms, signal, topic};
use super::{Scene, ready};
use crate::support::bus::{Bus, Heard};
use crate::support::mosquitto::Setup;

const LONG: &str = r#""symbol":"BTC-USDT","action":"buy","quantity":0.01"#;

/// Sends a signal to `alpha` and returns its result.
pub(super) async fn send(bus: &mut Bus, id: &str, body: &str) -> Value {
    let before = bus.heard.results_of("alpha", id).len();
    bus.publish(&topic("alpha"), signal(id, now_ms(), body).as_bytes(), false).await;
    bus.until(&format!("the result of {id}"), |heard| heard.results_of("alpha", id).len() > before).await;
    bus.heard.results_of("alpha", id)[before].clone()
}

fn refusals(heard: &Heard, code: &str) -> Vec<String> {
    let of_code = heard.alerts.iter().filter(|alert| alert["code"] == *code);
    of_code.map(|alert| alert["text"].as_str().expect("a text").to_owned()).collect()
}

#[tokio::test]
async fn bad_input_is_refused_and_changes_nothing() {
    let mut scene = Scene::start(Setup::default(), "").await;
    let bus = &mut scene.bus;
    let comment = |length: usize| format!("{LONG},\"comment\":\"{}\"", "x".repeat(length));
    let fits = 16 * 1024 - signal("large", now_ms(), &comment(0)).len();
    assert_eq!(send(bus, "large", &comment(fits)).await["status"], "filled");

    let deep = format!("{LONG},\"comment\":{}1{}", "[".repeat(6_000), "]".repeat(6_000));
    let nameless: [(Vec<u8>, &str); 6] = [
        (signal("larger", now_ms(), &comment(fits + 1)).into(), "too_large"),
        (signal("largest", now_ms(), &comment(200_000)).into(), "too_large"),
        (b"\xff\xfe{\"id\":\"x\"}".to_vec(), "malformed"),
        (signal("deep", now_ms(), &deep).into(), "malformed"),
        (b"{\"id\":\"".to_vec(), "malformed"),
        (vec![0; 100], "malformed"),
    ];
    for (number, (payload, reason)) in nameless.iter().enumerate() {
        bus.publish(&topic("alpha"), payload, false).await;
        bus.until("an alert", |heard| refusals(heard, "signal_refused").len() > number).await;
        let text = &refusals(&bus.heard, "signal_refused")[number];
        assert!(text.starts_with(reason), "{text}");
    }
    // Above every packet limit, empty, and nothing.
    bus.publish(&topic("alpha"), &vec![b' '; 300_000], false).await;
    bus.publish(&topic("alpha"), b"", false).await;
    let result = send(bus, "huge", r#""symbol":"BTC-USDT","action":"buy","quantity":1e400"#).await;
    assert_eq!(result["reason"], "malformed", "{result}");

    let retained = signal("retained", now_ms(), LONG);
    bus.publish(&topic("alpha"), retained.as_bytes(), true).await;
    bus.until("a refusal", |heard| !heard.results_of("alpha", "retained").is_empty()).await;
    assert_eq!(bus.heard.results_of("alpha", "retained")[0]["reason"], "retained");
    bus.publish("tradebus/daemon/level/set", b"flatten", true).await;
    bus.until("a refusal", |heard| !refusals(heard, "level_refused").is_empty()).await;

    // Everything still works, and nothing else has happened.
    assert_eq!(send(bus, "last", LONG).await["status"], "filled");
    bus.until("the last fill", |heard| heard.said("fill").count() == 2).await;
    assert_eq!(bus.heard.word("daemon/level"), Some("run"));
    assert_eq!((bus.heard.results_count, bus.heard.results_nameless.len()), (4, 0));
    assert!(scene.program.running() && bus.heard.online == 1, "{}", scene.program.log());

    // The broker has no retained command any more, also for who asks for it later.
    let mut late = Bus::raw(scene.broker.port, "late").await;
    late.until("the level", |heard| heard.word("daemon/level").is_some()).await;
    let left = |topic: &str| late.heard.newest.keys().any(|key| key.ends_with(topic));
    assert!(!left("/signal") && !left("/level/set"), "{:?}", late.heard.newest.keys());
}

#[tokio::test]
async fn a_response_topic_is_answered_outside_of_the_own_tree() {
    let mut scene = Scene::start(Setup::default(), "").await;
    let bus = &mut scene.bus;
    let mut number = 0;
    let mut request = async |bus: &mut Bus, body: &str, response: &str| {
        number += 1;
        let id = format!("q-{number}");
        let payload = signal(&id, now_ms(), body);
        bus.request(&topic("alpha"), payload.as_bytes(), response, &[0, 255, number]).await;
        bus.until("a result", |heard| !heard.results_of("alpha", &id).is_empty()).await;
        bus.heard.results_of("alpha", &id)[0].clone()
    };
    for (index, body) in [LONG, r#""symbol":"BTC-USDT","action":"hold""#].into_iter().enumerate() {
        let result = request(bus, body, "answers/mine").await;
        bus.until("the answer", |heard| heard.elsewhere.len() > index).await;
        let answer = &bus.heard.elsewhere[index];
        assert_eq!(
            (answer.topic.as_str(), answer.correlation.as_deref()),
            ("answers/mine", Some(&[0, 255, index as u8 + 1][..]))
        );
        assert_eq!(serde_json::from_slice::<Value>(&answer.payload).expect("JSON"), result);
    }
    for forbidden in ["tradebus/answers", "tradebus/daemon/state", "homeassistant/switch/x/config", "$SYS/x"]
    {
        assert_eq!(request(bus, LONG, forbidden).await["status"], "filled");
    }
    // Answers leave in order, so the forbidden ones would have come before this one.
    request(bus, LONG, "answers/last").await;
    bus.until("the last answer", |heard| heard.elsewhere.iter().any(|m| m.topic == "answers/last")).await;
    assert_eq!(bus.heard.elsewhere.len(), 3, "{:?}", bus.heard.elsewhere);
    assert_eq!(bus.heard.word("daemon/state"), Some("online"));
    assert!(!bus.heard.newest.contains_key("tradebus/answers"));
}

#[tokio::test]
async fn levels_tighten_by_a_word_and_loosen_by_fresh_json_only() {
    let mut scene = Scene::start(Setup::default(), "").await;
    let bus = &mut scene.bus;
    const DAEMON: &str = "tradebus/daemon/level/set";
    let run = |id: &str, age_ms: i64| {
        format!("{{\"level\":\"run\",\"id\":\"{id}\",\"time\":{}}}", now_ms() - age_ms)
    };
    assert_eq!(send(bus, "open", LONG).await["status"], "filled");
    bus.publish(DAEMON, b"pause", false).await;
    bus.until("pause", |heard| heard.word("daemon/level") == Some("pause")).await;
    assert_eq!(send(bus, "entry", LONG).await["reason"], "paused");

    for (refused, (payload, reason)) in
        [("run".to_owned(), "malformed"), (run("old", 60_000), "stale"), ("go".to_owned(), "malformed")]
            .iter()
            .enumerate()
    {
        bus.publish(DAEMON, payload.as_bytes(), false).await;
        bus.until("a refusal", |heard| refusals(heard, "level_refused").len() > refused).await;
        let text = &refusals(&bus.heard, "level_refused")[refused];
        assert!(text.starts_with(reason), "{payload}: {text}");
    }
    assert_eq!(send(bus, "entry-2", LONG).await["reason"], "paused");
    let level = |heard: &Heard, strategy: &str, key: &str| {
        heard.json(&format!("strategy/{strategy}/state")).map(|state| state[key].clone()).unwrap_or_default()
    };
    bus.publish("tradebus/strategy/beta/level/set", b"reduce", false).await;
    bus.until("reduce", |heard| level(heard, "beta", "level") == "reduce").await;

    scene.program.kill();
    scene.program = scene.site.run();
    ready(bus, 2).await;
    assert_eq!(bus.heard.word("daemon/level"), Some("pause"));
    let levels = |heard: &Heard| {
        ["alpha", "beta"]
            .map(|strategy| level(heard, strategy, "level_effective").as_str().map(str::to_owned))
    };
    assert_eq!(levels(&bus.heard), ["pause", "reduce"].map(|level| Some(level.to_owned())));
    assert_eq!(send(bus, "entry-3", LONG).await["reason"], "paused");
    // An exit passes.
    let exit = send(bus, "exit", r#""symbol":"BTC-USDT","action":"flat""#).await;
    assert_eq!(exit["status"], "filled", "{exit}");

    bus.publish(DAEMON, run("fresh", 0).as_bytes(), false).await;
    bus.until("run", |heard| heard.word("daemon/level") == Some("run")).await;
    assert_eq!(send(bus, "entry-4", LONG).await["status"], "filled");
    bus.publish(DAEMON, b"pause", false).await;
    bus.until("pause", |heard| heard.word("daemon/level") == Some("pause")).await;
    bus.publish(DAEMON, run("fresh", 0).as_bytes(), false).await;
    bus.until("a refusal", |heard| {
        refusals(heard, "level_refused").iter().any(|text| text.starts_with("duplicate"))
    })
    .await;
    assert_eq!(bus.heard.word("daemon/level"), Some("pause"));
}
