//! TradingView alerts through a real broker and a real process: raw bodies become fills, what must not trade does not,
//! and the key stays where it is.

use std::path::Path;

use serde_json::Value;
use tradebus::message::tradingview::{TradingViewSettings, read};
use tradebus::model::ids::StrategyId;
use tradebus::model::time::Timestamp;

use super::edges::send;
use super::load::now_ms;
use super::{Scene, ready};
use crate::support::bus::{Bus, Heard};
use crate::support::mosquitto::{Mosquitto, Setup};
use crate::support::program::Site;
use crate::tradingview::{filled, published};

const KEY: &str = "correct-horse-battery-staple-and-some-more-of-it";
const WRONG: &str = "wrong-horse-battery-staple";
const STRATEGIES: &str = "[strategy.tv1]\ntype = \"tradingview\"\nsymbols = [\"BTC-USDT\"]\nkey_file = \"tv1.key\"\n\
    balance = 100000\ndefault_size = { quantity = 0.1 }\nprice_deviation_max_pct = 50\n\
    [strategy.open]\ntype = \"tradingview\"\nsymbols = [\"BTC-USDT\"]\nkey_required = false\n\
    balance = 100000\ndefault_size = { quantity = 0.1 }\n";

/// A daemon with alerts, which logs all it can and writes down all it is told.
async fn scene() -> Scene {
    let broker = Mosquitto::start(Setup::default());
    let mut bus = Bus::connect(broker.port, "ear").await;
    let site = Site::with(broker.port, 0, STRATEGIES);
    std::fs::write(site.path("tv1.key"), format!("{KEY}\n")).expect("the key");
    let events = site.path("events").display().to_string();
    let program = site.run_with(&["--set", "log.level=trace", "--record-events", &events]);
    ready(&mut bus, 1).await;
    Scene { bus, program, site, broker }
}

/// A time as `{{timenow}}` has it: whole seconds.
fn timenow(age_s: i64) -> String {
    Timestamp::from_ms((now_ms() / 1000 - age_s) * 1000).to_string().replace(".000Z", "Z")
}

fn topic(strategy: &str) -> String {
    format!("tradebus/strategy/{strategy}/tradingview")
}

/// An alert of a Pine strategy, as docs/TRADINGVIEW.md has it.
fn pine(key: &str, id: &str, age_s: i64, position: &str, price: &Value) -> String {
    format!(
        r#"{{"key": "{key}", "timenow": "{}", "symbol": "BLOFIN:BTCUSDT.P", "market_position": "{position}", "price": "{price}", "order_id": "Long", "id": "{id}"}}"#,
        timenow(age_s)
    )
}

/// Publishes an alert and gives the next result under its id.
async fn alert(bus: &mut Bus, topic: &str, id: &str, body: &str, retain: bool) -> Value {
    let strategy = topic.split('/').nth(2).unwrap_or("tv1");
    let before = bus.heard.results_of(strategy, id).len();
    bus.publish(topic, body.as_bytes(), retain).await;
    bus.until(&format!("the result of {id}"), |heard| heard.results_of(strategy, id).len() > before).await;
    bus.heard.results_of(strategy, id)[before].clone()
}

/// The id that an alert without one gets.
fn derived(strategy: &str, body: &str) -> String {
    let settings = [(StrategyId::new(strategy).expect("an id"), TradingViewSettings::default())].into();
    read(Some(strategy), body.as_bytes(), false, &settings).id.expect("an id").to_string()
}

fn last_price(heard: &Heard) -> Value {
    heard.json("price/tape/BTC-USDT").expect("a price")["last"].clone()
}

fn position(heard: &Heard, strategy: &str) -> Value {
    let position = heard.json(&format!("strategy/{strategy}/position/BTC-USDT")).unwrap_or_default();
    Value::from(format!("{} {}", position["side"].as_str().unwrap_or("none"), position["quantity"]))
}

#[tokio::test]
async fn raw_alerts_become_fills() {
    let mut scene = scene().await;
    let bus = &mut scene.bus;
    let price = last_price(&bus.heard);
    let text = |line: &str| format!("{KEY}\n{line} timenow={}", timenow(0));
    let bought = format!("buy BTCUSDT qty=0.1 timenow={}", timenow(0));
    let steps = [
        (topic("tv1"), "pine", pine(KEY, "pine", 0, "long", &price), "long 0.1"),
        (topic("tv1"), "", text("buy BTCUSDT qty=0.1 price=60000"), "long 0.2"),
        (topic("tv1"), "flip", pine(KEY, "flip", 0, "short", &price), "short 0.1"),
        (topic("tv1"), "flat", pine(KEY, "flat", 200, "flat", &price), ""),
        (topic("open"), "", bought.clone(), "long 0.1"),
        (topic("open"), "", text("sell BTCUSDT qty=0.3"), "short 0.2"),
    ];
    for (topic, id, body, expected) in steps {
        let strategy = topic.split('/').nth(2).expect("a strategy").to_owned();
        let id = if id.is_empty() { derived(&strategy, &body) } else { id.to_owned() };
        let fills = bus.heard.said("fill").count();
        let result = alert(bus, &topic, &id, &body, false).await;
        if expected.is_empty() {
            // 200 s old: `flat` may be, but a newer target was applied.
            assert_eq!(result["reason"], "superseded", "{result}");
            continue;
        }
        assert_eq!(result["status"], "filled", "{body}: {result}");
        bus.until("the fill", |heard| heard.said("fill").count() > fills).await;
        let (_, fill) = bus.heard.said("fill").last().expect("a fill");
        assert_eq!((&fill["signal_id"], &fill["order_id"]), (&Value::from(id), &result["orders"][0]));
        bus.until(expected, |heard| position(heard, &strategy) == expected).await;
    }
    // The shared topic: the body names the strategy.
    let shared = pine(KEY, "shared", 0, "flat", &price).replacen('{', r#"{"strategy": "tv1", "#, 1);
    let before = bus.heard.results_of("tv1", "shared").len();
    bus.publish("tradebus/tradingview", shared.as_bytes(), false).await;
    bus.until("the result", |heard| heard.results_of("tv1", "shared").len() > before).await;
    assert_eq!(bus.heard.results_of("tv1", "shared")[0]["status"], "filled");
    // No strategy, and nothing that can be read: an alert to a person, and the message is gone.
    for (number, body) in ["buy BTCUSDT qty=0.1", "buy low, sell high"].into_iter().enumerate() {
        bus.publish("tradebus/tradingview", body.as_bytes(), false).await;
        bus.until("an alert", |heard| heard.alerts.len() > number).await;
        assert_eq!(bus.heard.alerts[number]["code"], "signal_refused");
    }
    // Without a time it may have waited anywhere.
    let timeless = "buy BTCUSDT qty=0.1";
    let result = alert(bus, &topic("open"), &derived("open", timeless), timeless, false).await;
    assert_eq!(result["reason"], "malformed", "{result}");
    assert!(
        result["detail"].as_str().is_some_and(|detail| detail.starts_with("timenow: missing")),
        "{result}"
    );
}

#[tokio::test]
async fn what_must_not_trade_has_one_result_each_and_no_order() {
    let mut scene = scene().await;
    let bus = &mut scene.bus;
    let price = last_price(&bus.heard);
    let long = |key: &str, id: &str, age_s: i64| pine(key, id, age_s, "long", &price);
    let far = pine(KEY, "far", 0, "long", &Value::from(1));
    let unknown = long(KEY, "unknown", 0).replace("BTCUSDT", "SOLUSDT");
    let cases = [
        ("retained", "retained", long(KEY, "retained", 0), true),
        ("stale", "stale", long(KEY, "stale", 35), false),
        ("future", "from_future", long(KEY, "future", -10), false),
        ("wrong", "wrong_key", long(WRONG, "wrong", 0), false),
        ("keyless", "wrong_key", long("", "keyless", 0), false),
        ("wrong-retained", "retained", long(WRONG, "wrong-retained", 0), true),
        ("far", "price_deviation", far, false),
        ("unknown", "unknown_symbol", unknown, false),
    ];
    for (id, reason, body, retain) in &cases {
        let result = alert(bus, &topic("tv1"), id, body, *retain).await;
        assert_eq!(
            (&result["reason"], &result["orders"]),
            (&Value::from(*reason), &Value::from([0; 0])),
            "{id}"
        );
    }
    assert_eq!(bus.heard.said("order").count(), 0);

    // A repetition and another alert under its id: the order of the first, and no other.
    let first = long(KEY, "twice", 0);
    let result = alert(bus, &topic("tv1"), "twice", &first, false).await;
    assert_eq!((&result["status"], &result["repeated"]), (&"filled".into(), &false.into()));
    let again = alert(bus, &topic("tv1"), "twice", &first, false).await;
    assert_eq!((&again["orders"], &again["repeated"]), (&result["orders"], &true.into()));
    let other = alert(bus, &topic("tv1"), "twice", &first.replace("long", "short"), false).await;
    assert_eq!(other["reason"], "duplicate", "{other}");
    // Answers leave in order, so everything has come before this one.
    assert_eq!(send(bus, "last", r#""symbol":"ETH-USDT","action":"long""#).await["status"], "filled");
    let orders: Vec<_> = bus.heard.said("order").filter(|(_, order)| order["strategy"] == "tv1").collect();
    assert!(orders.iter().all(|(_, order)| order["order_id"] == result["orders"][0]), "{orders:?}");
    assert_eq!(bus.heard.results_count, cases.len() + 4);
    assert!(cases.iter().all(|(id, ..)| bus.heard.results_of("tv1", id).len() == 1));

    // The broker has no retained alert any more, also for who asks for it later.
    let mut late = Bus::raw(scene.broker.port, "late").await;
    late.until("the level", |heard| heard.word("daemon/level").is_some()).await;
    assert!(!late.heard.newest.keys().any(|topic| topic.ends_with("/tradingview")));
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn the_key_is_nowhere() {
    let mut scene = scene().await;
    let bus = &mut scene.bus;
    let price = last_price(&bus.heard);
    let mut bodies = Vec::new();
    for key in [KEY, WRONG] {
        let plain = pine(key, "ID", 0, "long", &price);
        bodies.extend([
            plain.replace("\"ID\"", "null"),
            plain.replace("\"Long\"", &format!("\"{key}\"")),
            plain.replace("\"ID\"", &format!("\"{key}\"")),
            plain.replace("\"long\"", &format!("\"{key}\"")),
            plain.replace("BLOFIN", key),
            // Where it is ignored, cut off, or where JSON ends early.
            plain.replace("\"key\"", "\"kee\""),
            plain.replace("\"long\"", &format!("\"a longer text in front of {key}\"")),
            plain[..plain.len() - 9].to_owned(),
            format!("{key}\nlong BTCUSDT timenow={}", timenow(0)),
            format!("{key}\nlong {key} timenow={}", timenow(0)),
            format!("{key} long BTCUSDT timenow={}", timenow(0)),
            format!("long BTCUSDT timenow={} key={key} id=x-{key}", timenow(0)),
        ]);
    }
    // Nothing says that it is a key, but it is one.
    bodies.push(bodies[0].replace("\"key\"", "\"action\"").replace("market_position", "x"));
    bodies.push(format!("{KEY} BTCUSDT timenow={}", timenow(0)));
    for strategy in ["tv1", "open", "ghost"] {
        for body in &bodies {
            bus.publish(&topic(strategy), body.as_bytes(), false).await;
        }
    }
    for body in &bodies {
        bus.publish("tradebus/tradingview", body.as_bytes(), false).await;
        let named = body.replacen('{', &format!("{{\"strategy\": \"{KEY}\", "), 1);
        bus.publish("tradebus/tradingview", named.as_bytes(), false).await;
        bus.publish(&topic("tv1"), body.as_bytes(), true).await;
    }
    // Whatever became of them, each is answered before this one.
    assert_eq!(send(bus, "last", r#""symbol":"ETH-USDT","action":"long""#).await["status"], "filled");
    let answered = bus.heard.results_count - 1 + bus.heard.alerts.len();
    assert_eq!(answered, bodies.len() * 6);
    let filled = bus.heard.results.values().flatten().filter(|result| result["status"] == "filled").count();
    assert!(filled > 2, "{filled}");
    let ended = scene.program.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.log);

    scene.bus.drain();
    let heard = &scene.bus.heard;
    let payloads = heard
        .newest
        .values()
        .chain(&heard.elsewhere)
        .map(|message| format!("{} {}", message.topic, message.text()));
    let said = heard.results.values().flatten().chain(heard.results_nameless.iter()).chain(&heard.alerts);
    let said = said.map(Value::to_string).chain(heard.events.values().map(|event| event.body.to_string()));
    let secret = |text: &str| text.contains(&KEY[..12]) || text.contains(&WRONG[..12]);
    payloads.chain(said).for_each(|text| assert!(!secret(&text), "on the bus: {text}"));
    let written = files(&scene.site.path("."));
    assert!(written.iter().any(|path| path.ends_with("events")) && written.len() > 5, "{written:?}");
    for path in written.iter().filter(|path| !path.ends_with("tv1.key")) {
        let bytes = std::fs::read(path).expect("a file");
        let text = String::from_utf8_lossy(&bytes);
        assert!(!secret(&text), "{}: {:?}", path.display(), text.lines().find(|line| secret(line)));
    }
}

/// What others published goes through the daemon as it goes through the reader: the same reason, one answer each.
#[tokio::test]
async fn published_payloads_are_answered_one_by_one() {
    let Some(bodies) = published() else { return };
    let mut scene = scene().await;
    let bus = &mut scene.bus;
    assert_eq!(bodies.len(), 21);
    let settings = [(StrategyId::new("open").expect("an id"), TradingViewSettings::default())].into();
    let (mut traded, mut refused) = (0, 0);
    for body in &bodies {
        let body = filled(body).replace("2026-11-20T20:00:05Z", &timenow(0));
        let expected = read(Some("open"), body.as_bytes(), false, &settings);
        let Some(id) = expected.id else {
            let alerts = bus.heard.alerts.len();
            bus.publish(&topic("open"), body.as_bytes(), false).await;
            bus.until("an alert", |heard| heard.alerts.len() > alerts).await;
            let wanted = expected.body.expect_err("it has no id").reason.as_str();
            let text = bus.heard.alerts[alerts]["text"].as_str().expect("a text");
            assert!(text.starts_with(wanted), "{body}: {text}");
            refused += 1;
            continue;
        };
        let result = alert(bus, &topic("open"), id.as_str(), &body, false).await;
        match expected.body {
            Ok(_) => {
                traded += 1;
                assert!(result["status"] == "filled" || result["status"] == "unchanged", "{body}: {result}");
            }
            Err(refusal) => {
                refused += 1;
                assert_eq!(result["reason"], refusal.reason.as_str(), "{body}: {result}");
                assert_eq!(result["detail"], refusal.detail, "{body}");
            }
        }
    }
    assert_eq!((traded, refused), (2, 19));
    bus.until("the position", |heard| position(heard, "open") == "long 0.1").await;
}

/// A sender that runs wild: one result for each signal, few of them stored, and the exit passes.
#[tokio::test]
async fn a_flood_is_cut_off_and_its_exit_passes() {
    const COUNT: usize = 300;
    const MAX: usize = 5;
    let mut scene = Scene::start(
        Setup::default(),
        &format!(
            "[strategy.wild]\ntype = \"external\"\nsymbols = [\"BTC-USDT\"]\nsignals_per_minute_max = {MAX}\n\
             default_size = {{ notional = 10 }}\n"
        ),
    )
    .await;
    let bus = &mut scene.bus;
    let publish = async |bus: &Bus, id: &str, action: &str| {
        let body = format!(r#""symbol":"BTC-USDT","action":"{action}""#);
        let signal = super::load::signal(id, now_ms(), &body);
        bus.publish("tradebus/strategy/wild/signal", signal.as_bytes(), false).await;
    };
    for number in 0..COUNT {
        publish(bus, &format!("n{number}"), "buy").await;
    }
    publish(bus, "exit", "flat").await;
    bus.until("the exit", |heard| !heard.results_of("wild", "exit").is_empty()).await;
    assert_eq!(bus.heard.results_of("wild", "exit")[0]["status"], "filled");
    bus.until("every result", |heard| heard.results_count == COUNT + 1).await;
    let of = |heard: &Heard, number: usize| heard.results_of("wild", &format!("n{number}"))[0].clone();
    for number in 0..MAX {
        assert_eq!(of(&bus.heard, number)["status"], "filled");
    }
    let mut limited = 0;
    for result in (0..COUNT).map(|number| of(&bus.heard, number)) {
        let refused = result["reason"] == "rate_limited";
        assert!(refused || result["status"] == "filled", "{result}");
        limited += usize::from(refused);
    }
    assert!(limited > COUNT / 2, "{limited}");
    // What was refused is not in the store.
    assert_eq!(bus.heard.said("fill").count(), COUNT - limited + 1);
    assert_eq!(scene.program.terminate().code, Some(0));
    let (_ledger, opening) = tradebus::store::Ledger::open(&scene.site.store()).expect("a sound store");
    assert_eq!(opening.state.signals.len(), COUNT - limited + 1);
}
