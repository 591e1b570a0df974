//! The flow of `deploy/node-red`, in force: its functions, run by Node, read what a real daemon says and command it.
//!
//! Node is not required: where it is missing that is said, and only what can be seen in the file is checked.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tradebus::message::topic::{self, Inbound, Topics};

use crate::examples::run;
use crate::support::bus::{Bus, Heard};
use crate::support::mosquitto::{Mosquitto, Setup};
use crate::support::program::Site;

const FLOW: &str = include_str!("../../deploy/node-red/tradebus.json");
/// The names of the flow, and those of the daemon of the tests.
const NAMES: [(&str, &str); 2] = [("strategy/tv1/", "strategy/alpha/"), ("price/blofin/", "price/tape/")];

struct Flow {
    nodes: Vec<Value>,
}

impl Flow {
    fn read() -> Flow {
        let text = NAMES.iter().fold(FLOW.to_owned(), |text, (own, ours)| text.replace(own, ours));
        let flow: Value = serde_json::from_str(&text).expect("JSON");
        Flow { nodes: flow.as_array().expect("a flow").clone() }
    }

    fn of(&self, kind: &'static str) -> impl Iterator<Item = &Value> {
        self.nodes.iter().filter(move |node| node["type"] == kind)
    }

    fn named(&self, kind: &'static str, name: &str) -> &Value {
        self.of(kind).find(|node| node["name"] == name).unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    /// What a function makes of a payload, and the text that it shows below itself; `None` without Node.
    fn call(&self, name: &str, message: &str, payload: &Value) -> Option<(Value, Value)> {
        const RUN: &str = "const { func, msg } = JSON.parse(require('fs').readFileSync(0, 'utf8'));\
            let shown = null;\
            const node = { status: (s) => { shown = s.text; }, warn: (w) => { shown = w; } };\
            const out = new Function('msg', 'node', func)(msg, node);\
            console.log(JSON.stringify({ out, shown }));";
        let func = &self.named("function", name)["func"];
        let input = json!({ "func": func, "msg": { "_msgid": message, "payload": payload } });
        let made = run("node", &["-e", RUN], &input)?;
        Some((made["out"]["payload"].clone(), made["shown"].clone()))
    }

    /// The topic of an `mqtt out`.
    fn topic(&self, name: &str) -> &str {
        self.named("mqtt out", name)["topic"].as_str().expect("a topic")
    }
}

#[test]
fn it_names_topics_and_nodes_that_exist() {
    let flow = Flow::read();
    let ids: BTreeMap<&str, &str> = flow
        .nodes
        .iter()
        .map(|node| (node["id"].as_str().expect("an id"), node["type"].as_str().expect("a type")))
        .collect();
    assert_eq!(ids.len(), flow.nodes.len(), "an id twice");
    for node in &flow.nodes {
        let ports = node["wires"].as_array().into_iter().flatten();
        for wire in ports.flat_map(|port| port.as_array().expect("a port")) {
            assert!(ids.contains_key(wire.as_str().expect("an id")), "{wire} leads nowhere");
        }
        if node["type"].as_str().is_some_and(|kind| ["mqtt in", "mqtt out"].contains(&kind)) {
            assert_eq!(ids.get(node["broker"].as_str().expect("a broker")), Some(&"mqtt-broker"));
        }
    }
    // As the list of topics has them.
    let names = [("/alpha/", "/<id>/"), ("/tape/", "/<feed>/"), ("/BTC-USDT", "/<symbol>")];
    for node in flow.of("mqtt in") {
        let heard = node["topic"].as_str().expect("a topic").trim_start_matches("tradebus/");
        let heard = names.iter().fold(heard.to_owned(), |topic, (own, general)| topic.replace(own, general));
        assert!(topic::ALL.contains(&heard.as_str()), "{heard}");
        assert_eq!(Topics::new("tradebus").inbound(&format!("tradebus/{heard}")), None, "nobody may read it");
    }
    let said: Vec<_> = flow
        .of("mqtt out")
        .map(|node| {
            assert_eq!((&node["qos"], &node["retain"]), (&json!("1"), &json!("false")), "{node}");
            Topics::new("tradebus").inbound(node["topic"].as_str().expect("a topic"))
        })
        .collect();
    assert_eq!(said, [Some(Inbound::Level(Some("alpha"))), Some(Inbound::Signal("alpha"))]);
    assert!(flow.of("mqtt-broker").all(|broker| broker["protocolVersion"] == "5"));
}

#[tokio::test]
async fn it_reads_what_the_daemon_says_and_the_daemon_does_what_it_says() {
    let flow = Flow::read();
    let inject = |name: &str| flow.named("inject", name)["payload"].clone();
    let Some((_, refused)) = flow.call("switch", "00", &json!("Run")) else { return };
    assert_eq!(refused, "Run is no level");

    let broker = Mosquitto::start(Setup::default());
    let mut bus = Bus::connect(broker.port, "ear").await;
    let site = Site::with(broker.port, 0, "");
    let _program = site.run();
    let state = |heard: &Heard| heard.json("strategy/alpha/state");
    let price = |heard: &Heard| heard.json("price/tape/BTC-USDT").filter(|price| price["stale"] == false);
    bus.until("a price and a state", |heard| price(heard).is_some() && state(heard).is_some()).await;
    let told = price(&bus.heard).expect("a price");
    let (mut stale, shown) = (told.clone(), format!("BTC-USDT {}", told["last"]));
    assert_eq!(flow.call("price", "01", &told).expect("Node"), (told["last"].clone(), json!(shown)));
    stale["stale"] = json!(true);
    assert_eq!(flow.call("price", "02", &stale).expect("Node").0, Value::Null);

    let (signal, _) = flow.call("signal", "0a0b", &inject("long")).expect("Node");
    bus.publish(flow.topic("signal"), signal.to_string().as_bytes(), false).await;
    let answered = |heard: &Heard, id: &str| heard.results_of("alpha", id).first().cloned();
    bus.until("a result", |heard| answered(heard, "node-red-0a0b").is_some()).await;
    assert_eq!(answered(&bus.heard, "node-red-0a0b").expect("one")["status"], "filled");
    let held = |heard: &Heard, side: &str| {
        heard.json("strategy/alpha/position/BTC-USDT").filter(|position| position["side"] == side)
    };
    bus.until("a position", |heard| held(heard, "long").is_some()).await;
    let position = held(&bus.heard, "long").expect("a position");
    let mut short = position.clone();
    short["side"] = json!("short");
    let (made, _) = flow.call("position", "03", &position).expect("Node");
    let quantity = |value: &Value| value["quantity"].to_string().parse::<f64>().expect("a number");
    assert_eq!(quantity(&made), quantity(&position));
    assert_eq!(quantity(&flow.call("position", "04", &short).expect("Node").0), -quantity(&position));

    // The switch: off by its word, on by a dashboard's `true`.
    for (number, (wish, level)) in [(inject("pause"), "pause"), (json!(true), "run")].into_iter().enumerate()
    {
        let (command, _) = flow.call("switch", &format!("1{number}"), &wish).expect("Node");
        bus.publish(flow.topic("level"), command.to_string().as_bytes(), false).await;
        let is_set = |heard: &Heard| state(heard).is_some_and(|state| state["level_effective"] == level);
        bus.until(level, is_set).await;
        let told = state(&bus.heard).expect("a state");
        assert_eq!(flow.call("runs", "05", &told).expect("Node").0, json!(level == "run"));
    }
    let (flat, _) = flow.call("signal", "0c", &inject("flat")).expect("Node");
    bus.publish(flow.topic("signal"), flat.to_string().as_bytes(), false).await;
    bus.until("no position", |heard| held(heard, "flat").is_some()).await;
}
