//! Home Assistant at a real broker: it is told at the start, when it asks, and after the broker forgot; and what leaves
//! the configuration leaves the broker.

use std::collections::BTreeSet;

use serde_json::Value;
use tradebus::engine::record::Record;
use tradebus::model::time::Timestamp;
use tradebus::store::Ledger;

use super::load::now_ms;
use crate::support::bus::{Bus, Heard, Message};
use crate::support::mosquitto::{Mosquitto, Setup};
use crate::support::program::{Program, Site};

/// A configuration: feed, symbols, strategies with their types.
struct Plan<'a> {
    mqtt: &'a str,
    feed: &'a str,
    symbols: &'a [&'a str],
    strategies: &'a [(&'a str, &'a str)],
}

const MORE: Plan<'static> = Plan {
    mqtt: "",
    feed: "old",
    symbols: &["BTC-USDT", "ETH-USDT"],
    strategies: &[("alpha", "external"), ("beta", "aibot")],
};
const LESS: Plan<'static> =
    Plan { mqtt: "", feed: "new", symbols: &["BTC-USDT"], strategies: &[("alpha", "external")] };

const DEVICES: [&str; 3] = [
    "homeassistant/device/e2e_daemon/config",
    "homeassistant/device/e2e_strategy_alpha/config",
    "homeassistant/device/e2e_strategy_beta/config",
];

fn plan(site: &Site, port: u16, plan: &Plan<'_>) {
    let symbols = format!("symbols = {:?}\n", plan.symbols);
    let mut text = format!(
        "instance = \"e2e\"\n[mqtt]\nbroker = \"mqtt://127.0.0.1:{port}\"\n{}\n[store]\npath = \"store\"\n[http]\nlisten = \"\"\n\
         [log]\nformat = \"human\"\n[feed.{}]\nsource = \"synthetic\"\ninterval_ms = 20\n{symbols}",
        plan.mqtt, plan.feed
    );
    for (id, kind) in plan.strategies {
        text += &format!("[strategy.{id}]\ntype = \"{kind}\"\n{symbols}");
    }
    site.write(&text);
}

/// Ends a daemon in good order.
fn end(mut program: Program) {
    let ended = program.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
}

fn log(site: &Site) -> String {
    std::fs::read_to_string(site.path("log")).expect("the log")
}

/// How often each device was announced, and that it was not an empty word.
fn announced(heard: &Heard) -> Vec<usize> {
    let of =
        |topic: &&str| heard.discovery.iter().filter(|m| m.topic == **topic && !m.payload.is_empty()).count();
    DEVICES.iter().map(of).collect()
}

async fn until_announced(bus: &mut Bus, counts: &[usize]) {
    bus.until(&format!("announced {counts:?}"), |heard| announced(heard) == counts).await;
}

/// Everything that the broker holds, as somebody sees it who comes now.
async fn retained(port: u16, name: &str) -> Vec<Message> {
    let mut late = Bus::raw(port, name).await;
    // What is retained was handed out at the subscription, before this.
    late.publish("end", b"", false).await;
    late.until("the end", |heard| heard.elsewhere.iter().any(|message| message.topic == "end")).await;
    let Heard { newest, discovery, .. } = std::mem::take(&mut late.heard);
    newest.into_values().chain(discovery).filter(|message| !message.payload.is_empty()).collect()
}

fn topics(messages: &[Message]) -> BTreeSet<String> {
    messages.iter().map(|message| message.topic.clone()).collect()
}

fn json(message: &Message) -> Value {
    serde_json::from_slice(&message.payload).unwrap_or_else(|error| panic!("{message:?}: {error}"))
}

/// What a store that nobody uses remembers of announcements: the records, in order.
fn journalled(site: &Site) -> Vec<String> {
    let (ledger, _) = Ledger::open(&site.store()).expect("a sound store");
    let records = ledger.read(1, usize::MAX).expect("its records");
    let announced = records.into_iter().filter_map(|(_, record)| match record {
        Record::Announced(device) => Some(format!("{} {}", device.topic, device.components.len())),
        _ => None,
    });
    announced.collect()
}

#[tokio::test]
async fn entities_are_announced_when_they_are_wanted_and_not_twice() {
    let mut broker = Mosquitto::start(Setup::default());
    let mut bus = Bus::connect(broker.port, "ear").await;
    let site = Site::new(broker.port);
    plan(&site, broker.port, &MORE);
    let program = site.run();
    until_announced(&mut bus, &[1, 1, 1]).await;
    bus.until("the state", |heard| heard.json("strategy/beta/state").is_some()).await;

    // An old birth is no birth; two at once are answered once, with all state behind it.
    bus.publish("homeassistant/status", b"online", true).await;
    bus.publish("homeassistant/status", b"", true).await;
    bus.publish("homeassistant/status", b"offline", false).await;
    bus.heard.newest.clear();
    bus.publish("homeassistant/status", b"online", false).await;
    bus.publish("homeassistant/status", b"online", false).await;
    until_announced(&mut bus, &[2, 2, 2]).await;
    for topic in ["daemon/info", "daemon/level", "strategy/alpha/kpi", "strategy/beta/position/ETH-USDT"] {
        bus.until(topic, |heard| heard.word(topic).is_some_and(|word| !word.is_empty())).await;
    }

    // A broker that forgot everything, our session among it.
    broker.restart();
    bus.subscribed(2).await;
    until_announced(&mut bus, &[3, 3, 3]).await;
    bus.until("online", |heard| heard.online >= 2).await;
    bus.until("the state", |heard| heard.word("portfolio/kpi").is_some()).await;
    end(program);

    let before = journalled(&site);
    assert_eq!(before.len(), 3, "{before:?}");
    let program = site.run();
    until_announced(&mut bus, &[4, 4, 4]).await;
    bus.until("the state", |heard| heard.online >= 3).await;
    end(program);
    bus.drain();
    assert_eq!(announced(&bus.heard), [4, 4, 4], "nothing twice: {}", log(&site));
    assert_eq!(journalled(&site), before, "nothing new to remember");
}

#[tokio::test]
async fn many_strategies_are_announced_a_few_at_a_time() {
    let broker = Mosquitto::start(Setup::default());
    let mut bus = Bus::connect(broker.port, "ear").await;
    let site = Site::new(broker.port);
    let names: Vec<String> = (0..100).map(|number| format!("s{number}")).collect();
    let strategies: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "external")).collect();
    plan(&site, broker.port, &Plan { strategies: &strategies, ..LESS });
    let program = site.run();
    let each = |heard: &Heard, times: usize| {
        let topics: Vec<&str> = heard.discovery.iter().map(|message| message.topic.as_str()).collect();
        let different: BTreeSet<&str> = topics.iter().copied().filter(|t| t.contains("/device/")).collect();
        different.len() == 101 && topics.iter().filter(|t| t.contains("/device/")).count() == 101 * times
    };
    bus.until("all of them", |heard| each(heard, 1)).await;
    bus.publish("homeassistant/status", b"online", false).await;
    bus.until("all of them again", |heard| each(heard, 2)).await;
    end(program);
    bus.drain();
    assert!(each(&bus.heard, 2));
    assert_eq!(journalled(&site).len(), 101);
}

#[tokio::test]
async fn what_leaves_the_configuration_leaves_the_broker() {
    let broker = Mosquitto::start(Setup::default());
    let mut bus = Bus::connect(broker.port, "ear").await;
    let site = Site::new(broker.port);
    plan(&site, broker.port, &MORE);
    let mut program = site.run();
    until_announced(&mut bus, &[1, 1, 1]).await;
    for topic in ["feed/old", "price/old/ETH-USDT", "strategy/beta/kpi", "type/aibot/state"] {
        bus.until(topic, |heard| heard.json(topic).is_some()).await;
    }
    program.kill();
    let gone = ["beta", "aibot", "old", "ETH-USDT", "ETH-USDT"];
    let of = |topics: &BTreeSet<String>| {
        topics.iter().filter(|topic| gone.iter().any(|g| topic.contains(g))).count()
    };
    let before = topics(&retained(broker.port, "before").await);
    assert_eq!(of(&before), 11, "{before:?}");

    plan(&site, broker.port, &LESS);
    let program = site.run();
    until_announced(&mut bus, &[2, 2, 1]).await;
    bus.until("the new feed", |heard| heard.json("price/new/BTC-USDT").is_some()).await;
    end(program);
    let after = retained(broker.port, "after").await;
    assert_eq!(of(&topics(&after)), 0, "{:?}", topics(&after));
    let daemon = after.iter().find(|message| message.topic == DEVICES[0]).map(json).expect("the daemon");
    assert_eq!(daemon["cmps"]["price_ETH-USDT_old"], serde_json::json!({"p": "sensor"}));
    assert!(daemon["cmps"]["price_BTC-USDT_new"]["uniq_id"].is_string());

    // The next start has forgotten what it took back.
    let program = site.run();
    until_announced(&mut bus, &[3, 3, 1]).await;
    end(program);
    let last = retained(broker.port, "last").await;
    let daemon = last.iter().find(|message| message.topic == DEVICES[0]).map(json).expect("the daemon");
    assert!(daemon["cmps"].get("price_ETH-USDT_old").is_none(), "{daemon}");
    assert_eq!(topics(&last), topics(&after));
}

#[tokio::test]
async fn what_could_not_be_taken_back_is_taken_back_later() {
    let mut broker = Mosquitto::start(Setup { persistence: true, login: None });
    let mut bus = Bus::connect(broker.port, "ear").await;
    let site = Site::new(broker.port);
    plan(&site, broker.port, &MORE);
    let program = site.run();
    until_announced(&mut bus, &[1, 1, 1]).await;
    end(program);
    drop(bus);
    broker.stop();
    // Nobody hears that the strategy is gone.
    plan(&site, broker.port, &LESS);
    let mut program = site.run();
    program.says("announcing to Home Assistant", 2).await;
    program.says("mqtt not connected", 1).await;
    end(program);
    broker.restart();
    assert!(topics(&retained(broker.port, "before").await).contains(DEVICES[2]));
    let program = site.run();
    let mut bus = Bus::connect(broker.port, "ear").await;
    until_announced(&mut bus, &[2, 2, 1]).await;
    end(program);
    let left = retained(broker.port, "after").await;
    assert!(!topics(&left).contains(DEVICES[2]), "{:?}", topics(&left));
}

#[tokio::test]
async fn discovery_turned_off_takes_everything_back() {
    let broker = Mosquitto::start(Setup::default());
    let mut bus = Bus::connect(broker.port, "ear").await;
    let site = Site::new(broker.port);
    plan(&site, broker.port, &MORE);
    let program = site.run();
    until_announced(&mut bus, &[1, 1, 1]).await;
    end(program);

    plan(&site, broker.port, &Plan { mqtt: "discovery_prefix = \"\"", ..MORE });
    let program = site.run();
    bus.until("all are empty", |heard| heard.discovery.iter().filter(|m| m.payload.is_empty()).count() == 3)
        .await;
    end(program);
    let left = retained(broker.port, "after").await;
    assert!(!left.iter().any(|message| message.topic.starts_with("homeassistant/")), "{left:?}");
    assert!(journalled(&site)[3..].iter().all(|record| record.ends_with(" 0")), "{:?}", journalled(&site));

    // Once is enough, and nobody listens for Home Assistant any more.
    let mut program = site.run();
    bus.publish("homeassistant/status", b"online", false).await;
    bus.until("it runs", |heard| heard.online == 3).await;
    assert!(!program.log().contains("Home Assistant has started"));
    assert!(program.running());
    end(program);
    bus.drain();
    let said = bus.heard.discovery.iter().filter(|message| message.topic.contains("/device/")).count();
    assert_eq!(said, 6);
    assert_eq!(journalled(&site).len(), 6);
}

/// What Home Assistant sends when `word` is chosen at a component: topic and payload, `age_ms` ago.
fn chosen(heard: &Heard, device: &str, component: &str, word: &str, age_ms: i64) -> (String, String) {
    let newest = heard.discovery.iter().rev().find(|message| message.topic == device).map(json);
    let component = newest.expect("a device")["cmps"][component].clone();
    let text = |key: &str| component[key].as_str().unwrap_or_default().to_owned();
    let (topic, template) = (text("cmd_t"), text("cmd_tpl"));
    if template.is_empty() {
        return (topic, text("pl_prs"));
    }
    let (condition, rest) = template.split_once(" %}").expect("a condition");
    let (plain, rest) = rest.split_once("{% else %}").expect("two branches");
    if condition == format!("{{% if value == '{word}'") {
        return (topic, plain.to_owned());
    }
    let time = Timestamp::from_ms(now_ms() - age_ms);
    let body = rest.strip_suffix("{% endif %}").expect("an end").replace("{{ value }}", word);
    let seconds = format!("{}.{:03}000", time.as_ms() / 1000, time.as_ms() % 1000);
    let iso = time.to_string().replace('Z', "000+00:00");
    let body = body.replace("{{ utcnow().timestamp() }}", &seconds);
    (topic, body.replace("{{ utcnow().isoformat() }}", &iso))
}

#[tokio::test]
async fn switches_and_selects_show_the_truth_after_every_command() {
    let broker = Mosquitto::start(Setup::default());
    let mut bus = Bus::connect(broker.port, "ear").await;
    let site = Site::new(broker.port);
    plan(&site, broker.port, &MORE);
    let program = site.run();
    until_announced(&mut bus, &[1, 1, 1]).await;
    bus.until("the state", |heard| heard.json("strategy/alpha/state").is_some()).await;
    let alpha = ("strategy/alpha/state", DEVICES[1]);
    let daemon = ("daemon/level", DEVICES[0]);
    let shown = |heard: &Heard, topic: &str| match topic {
        "daemon/level" => heard.word(topic).map(str::to_owned),
        _ => heard.json(topic).and_then(|state| state["level"].as_str().map(str::to_owned)),
    };
    // What is chosen, how long ago, with the retain flag or not; and what is so afterwards.
    let table = [
        (alpha, "run", "pause", 0, false, "pause"),
        (alpha, "run", "run", 0, false, "run"),
        (alpha, "level", "reduce", 600_000, false, "reduce"),
        (alpha, "level", "run", 31_000, false, "reduce"),
        (alpha, "run", "run", 0, true, "reduce"),
        (alpha, "level", "sideways", 0, false, "reduce"),
        (alpha, "level", "reduce", 0, false, "reduce"),
        (alpha, "run", "run", 0, false, "run"),
        (alpha, "flatten", "", 0, false, "reduce"),
        (daemon, "level", "pause", 0, false, "pause"),
        (daemon, "level", "run", 31_000, false, "pause"),
        (daemon, "level", "run", 0, true, "pause"),
        (daemon, "flatten", "", 0, false, "reduce"),
        (daemon, "level", "run", 0, false, "run"),
    ];
    for ((topic, device), component, word, age_ms, retain, expected) in table {
        let (command, payload) = chosen(&bus.heard, device, component, word, age_ms);
        bus.drain();
        bus.heard.newest.remove(&format!("tradebus/{topic}"));
        bus.publish(&command, payload.as_bytes(), retain).await;
        let what = format!("{expected} after {component} {word} {payload}");
        bus.until(&what, |heard| shown(heard, topic).as_deref() == Some(expected)).await;
    }
    let refused = bus.heard.alerts.iter().filter(|alert| alert["code"] == "level_refused").count();
    assert_eq!(refused, 5, "{:?}", bus.heard.alerts);
    end(program);
}

/// `tradebus uninstall-discovery`: how it ended and what it said.
fn uninstall(site: &Site, more: &[&str]) -> (Option<i32>, String) {
    let config = site.config();
    let arguments = [&["uninstall-discovery", "--config", &config], more].concat();
    let log = site.path("uninstalled");
    let _ = std::fs::remove_file(&log);
    let ended = Program::start(&arguments, &log).wait();
    (ended.code, ended.log)
}

#[tokio::test]
async fn a_daemon_that_is_gone_can_be_taken_back_from_outside() {
    let broker = Mosquitto::start(Setup::default());
    let mut bus = Bus::connect(broker.port, "ear").await;
    let site = Site::new(broker.port);
    plan(&site, broker.port, &MORE);
    let program = site.run();
    until_announced(&mut bus, &[1, 1, 1]).await;
    bus.until("the state", |heard| heard.json("strategy/beta/state").is_some()).await;
    let (code, told) = uninstall(&site, &[]);
    assert!(code == Some(75) && told.contains("is online; stop it first"), "{code:?} {told}");
    end(program);

    // A strategy that was forgotten while nobody looked, and a device of somebody else.
    let forgotten = br#"{"dev":{"ids":["e2e.strategy.gone"]},"o":{"name":"tradebus"},"cmps":{}}"#;
    bus.publish("homeassistant/device/e2e_strategy_gone/config", forgotten, true).await;
    let other = br#"{"dev":{"ids":["other"]},"o":{"name":"tradebus"},"cmps":{}}"#;
    bus.publish("homeassistant/device/other_daemon/config", other, true).await;
    bus.until("both devices", |heard| {
        let seen = |name: &str| heard.discovery.iter().any(|message| message.topic.contains(name));
        seen("e2e_strategy_gone") && seen("other_daemon")
    })
    .await;
    let (code, told) = uninstall(&site, &[]);
    assert_eq!(code, Some(0), "{told}");
    let lines: BTreeSet<&str> = told.lines().collect();
    let gone = ["homeassistant/device/e2e_strategy_gone/config"];
    assert_eq!(lines, DEVICES.into_iter().chain(gone).collect());
    let left = topics(&retained(broker.port, "first").await);
    assert!(left.contains("tradebus/daemon/state"), "{left:?}");
    let left: Vec<&String> = left.iter().filter(|topic| topic.starts_with("homeassistant/")).collect();
    assert_eq!(left, ["homeassistant/device/other_daemon/config"]);

    let (code, told) = uninstall(&site, &["--all", "--json"]);
    assert_eq!(code, Some(0), "{told}");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert!(told["cleared"].as_array().expect("a list").contains(&"tradebus/daemon/state".into()), "{told}");
    let left = topics(&retained(broker.port, "second").await);
    assert_eq!(left, BTreeSet::from(["homeassistant/device/other_daemon/config".to_owned()]));
}
