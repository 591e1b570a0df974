//! Home Assistant discovery: every payload against the rules of Home Assistant, its size, and what is taken back.

mod payloads;
mod schema;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tradebus::engine::settings::EngineSettings;
use tradebus::message::discovery::{
    Announced, Input, PAYLOAD_BYTES_MAX, PRICES_MAX, SYMBOLS_MAX, announce, birth_delay_ms, birth_topic,
    is_birth, withdraw,
};
use tradebus::message::topic::Topics;
use tradebus::message::view::Message;

use crate::rig;

const PREFIX: &str = "homeassistant";
/// A usual device stays far below every broker's limit.
const USUAL_BYTES_MAX: usize = 16 * 1024;

fn input<'a>(settings: &'a EngineSettings, instance: &'a str, base_topic: &'a str) -> Input<'a> {
    Input { instance, base_topic, prefix: PREFIX, version: "0.1.0", settings }
}

/// Two markets and `count` strategies on both.
fn settings(count: usize) -> EngineSettings {
    let mut settings = rig::settings();
    rig::market(&mut settings, &["BTC-USDT", "tick=0.1", "lot=0.1", "contract=0.001"]);
    rig::market(&mut settings, &["PEPE-USDT.PERP", "tick=0.0000000001"]);
    (0..count).for_each(|number| rig::strategy(&mut settings, &[&format!("s{number}")]));
    settings
}

fn sizes(messages: &[Message]) -> Vec<usize> {
    messages.iter().map(|message| message.payload.len()).collect()
}

#[test]
fn payloads_keep_the_rules_of_home_assistant() {
    for count in [0, 1, 10, 100] {
        let settings = settings(count);
        let topics = Topics::new("tradebus");
        let announcement = announce(&input(&settings, "tradebus", "tradebus"), &[]);
        let payloads = payloads::payloads(&topics, &settings);
        let mut schema = schema::Schema {
            topics: &topics,
            prefix: PREFIX,
            payloads: &payloads,
            unique_ids: BTreeSet::new(),
            entity_ids: BTreeSet::new(),
            devices: BTreeSet::new(),
        };
        announcement.messages.iter().for_each(|message| schema.device(message));
        assert_eq!(announcement.messages.len(), count + 1);
        let largest = sizes(&announcement.messages).into_iter().max().unwrap();
        println!(
            "{count} strategies: daemon {} bytes, largest {largest}",
            announcement.messages[0].payload.len()
        );
        assert!(largest <= USUAL_BYTES_MAX, "{largest}");
    }
}

#[test]
fn the_largest_configuration_stays_below_the_limit() {
    let mut settings = rig::settings();
    for number in 0..250 {
        // 24 characters, the longest symbol.
        rig::market(&mut settings, &[&format!("{number:010}-{number:08}.PERP")]);
    }
    rig::strategy(&mut settings, &["strategy_of_thirty_two_letters_x"]);
    let (instance, base) = ("i".repeat(32), "b".repeat(64));
    let announcement = announce(&input(&settings, &instance, &base), &[]);
    let sizes = sizes(&announcement.messages);
    println!("daemon and strategy at the limits: {sizes:?} bytes");
    assert!(sizes.iter().all(|size| *size <= PAYLOAD_BYTES_MAX), "{sizes:?}");
    let count = |device: usize, word: &str| {
        announcement.announced[device].components.iter().filter(|(key, _)| key.starts_with(word)).count()
    };
    assert_eq!((count(0, "price_"), count(1, "side_")), (PRICES_MAX, SYMBOLS_MAX));
}

/// Every user's history hangs on these ids: this list may grow, a line of it never changes.
#[test]
fn ids_are_stable() {
    let mut settings = rig::settings();
    rig::market(&mut settings, &["BTC-USDT"]);
    rig::strategy(&mut settings, &["tv1"]);
    let messages = announce(&input(&settings, "tradebus", "base"), &[]).messages;
    let ids: Vec<String> = messages.iter().flat_map(|message| components(message).into_values()).collect();
    let ids: BTreeSet<String> = ids.into_iter().collect();
    let golden = include_str!("../golden/discovery_ids.txt");
    for line in golden.lines() {
        assert!(ids.contains(line), "{line} is gone or changed:\n{ids:#?}");
    }
    assert_eq!(
        golden.lines().count(),
        ids.len(),
        "add the new ids to tests/golden/discovery_ids.txt:\n{ids:#?}"
    );
}

/// Component keys with `topic platform unique_id entity_id`.
fn components(message: &Message) -> BTreeMap<String, String> {
    let payload: Value = serde_json::from_str(&message.payload).unwrap();
    let line = |component: &Value| {
        let text = |key: &str| component[key].as_str().unwrap().to_string();
        format!("{} {} {} {}", message.topic, text("p"), text("uniq_id"), text("def_ent_id"))
    };
    payload["cmps"].as_object().unwrap().iter().map(|(key, value)| (key.clone(), line(value))).collect()
}

#[test]
fn names_that_look_alike_have_ids_of_their_own() {
    let mut settings = rig::settings();
    rig::market(&mut settings, &["BTC-USDT"]);
    for id in ["a", "a_max", "A", "a-max", "daemon", "strategy", "a_strategy_a"] {
        rig::strategy(&mut settings, &[id]);
    }
    let messages = announce(&input(&settings, "tradebus", "base"), &[]).messages;
    let topics: BTreeSet<&str> = messages.iter().map(|message| message.topic.as_str()).collect();
    assert_eq!(topics.len(), messages.len());
    let mut seen = BTreeSet::new();
    for line in messages.iter().flat_map(|message| components(message).into_values()) {
        let unique = line.split(' ').nth(2).unwrap().to_string();
        assert!(seen.insert(unique.clone()), "{unique} twice");
    }
}

#[test]
fn units_and_digits_follow_the_market() {
    let check = |market: &[&str], key: &str, unit: &str, class: &str, digits: u64| {
        let mut settings = rig::settings();
        rig::market(&mut settings, market);
        rig::strategy(&mut settings, &["s"]);
        let messages = announce(&input(&settings, "tradebus", "base"), &[]).messages;
        let payloads: Vec<Value> =
            messages.iter().map(|m| serde_json::from_str(&m.payload).unwrap()).collect();
        let found = payloads.iter().rev().find_map(|payload| payload["cmps"].get(key)).expect(key);
        assert_eq!(found["unit_of_meas"].as_str().unwrap_or_default(), unit, "{market:?} {key}");
        assert_eq!(found["dev_cla"].as_str().unwrap_or_default(), class, "{market:?} {key}");
        assert_eq!(found["sug_dsp_prc"], digits, "{market:?} {key}");
    };
    check(&["BTC-USDT", "tick=0.1"], "price_BTC-USDT_tape", "USDT", "", 1);
    check(&["BTC-USDT", "tick=0.50"], "price_BTC-USDT_tape", "USDT", "", 1);
    check(&["BTC-USDT", "tick=10"], "price_BTC-USDT_tape", "USDT", "", 0);
    check(&["PEPE-USDT", "tick=0.0000000001"], "price_PEPE-USDT_tape", "USDT", "", 10);
    check(&["PEPE-USDT", "tick=0.0000000001"], "entry_PEPE-USDT", "USDT", "", 10);
    check(&["BTC-USDT", "lot=0.1", "contract=0.001"], "size_BTC-USDT", "BTC", "", 4);
    check(&["BTC-USDT"], "equity", "USDT", "", 2);
    check(&["BTC-USDT"], "realized", "USDT", "", 2);
    check(&["BTC-EUR"], "realized", "EUR", "monetary", 2);
    check(&["BTC-EUR"], "equity", "EUR", "", 2);
    check(&["ETH-BTC"], "equity", "BTC", "", 8);
    check(&["BTC-USDT"], "win_rate", "%", "", 2);
    check(&["BTC-USDT"], "sharpe", "", "", 2);
}

#[test]
fn what_disappears_is_taken_back() {
    let (more, less) = (settings(2), settings(1));
    let before = announce(&input(&more, "tradebus", "tradebus"), &[]).announced;
    let mut less = less;
    less.markets.remove(1);
    less.strategies[0].markets.retain(|symbol, _| symbol.as_str() == "BTC-USDT");
    let now = announce(&input(&less, "tradebus", "tradebus"), &before);
    let shown: Vec<String> = now.messages.iter().map(removals).collect();
    let expected = [
        "homeassistant/device/tradebus_strategy_s1/config: empty",
        "homeassistant/device/tradebus_daemon/config: price_PEPE-USDTdotPERP_tape=sensor",
        "homeassistant/device/tradebus_strategy_s0/config: entry_PEPE-USDTdotPERP=sensor side_PEPE-USDTdotPERP=sensor \
         size_PEPE-USDTdotPERP=sensor unrealized_PEPE-USDTdotPERP=sensor",
    ];
    assert_eq!(shown, expected);
    // Until the broker has these, the store remembers what they take back.
    let keys = |devices: &[Announced]| devices.iter().map(|d| d.components.len()).collect::<Vec<_>>();
    let (old, new) = (keys(&before), keys(&now.announced));
    assert_eq!(keys(&now.pending), [old[0], old[1]]);
    assert_eq!((new[0], new[1]), (old[0] - 1, old[1] - 4));
    assert_eq!((now.gone[0].topic.as_str(), now.gone.len()), (before[2].topic.as_str(), 1));
    // A crash before that: the next start takes back the same.
    let crashed: Vec<Announced> = now.pending.iter().cloned().chain([before[2].clone()]).collect();
    let retry = announce(&input(&less, "tradebus", "tradebus"), &crashed);
    assert_eq!(retry.messages.iter().map(removals).collect::<Vec<_>>().len(), shown.len());
    assert_eq!(retry.announced, now.announced);
    let again = announce(&input(&less, "tradebus", "tradebus"), &now.announced);
    assert!(
        again.messages.iter().all(|message| removals(message).ends_with(": ")),
        "the second time nothing"
    );
    assert_eq!(again.announced, now.announced);

    let elsewhere = Input { prefix: "ha", ..input(&less, "tradebus", "tradebus") };
    let moved = announce(&elsewhere, &now.announced).messages;
    let (old, new) = moved.split_at(2);
    assert!(
        old.iter().all(|message| message.topic.starts_with("homeassistant/") && message.payload.is_empty())
    );
    assert!(new.iter().all(|message| message.topic.starts_with("ha/") && !message.payload.is_empty()));
    let off = withdraw(&now.announced);
    assert_eq!((sizes(&off.messages), off.gone.len(), off.pending.len()), (vec![0, 0], 2, 0));
}

/// The topic, and what is reduced to its platform.
fn removals(message: &Message) -> String {
    if message.payload.is_empty() {
        return format!("{}: empty", message.topic);
    }
    let payload: Value = serde_json::from_str(&message.payload).unwrap();
    let components = payload["cmps"].as_object().unwrap();
    let gone: BTreeSet<String> = components
        .iter()
        .filter(|(_, component)| component.as_object().unwrap().len() == 1)
        .map(|(key, component)| format!("{key}={}", component["p"].as_str().unwrap()))
        .collect();
    format!("{}: {}", message.topic, gone.into_iter().collect::<Vec<_>>().join(" "))
}

#[test]
fn what_was_announced_survives_the_store() {
    let announced = announce(&input(&settings(1), "tradebus", "tradebus"), &[]).announced;
    let bytes = postcard::to_allocvec(&announced).unwrap();
    assert_eq!(postcard::from_bytes::<Vec<Announced>>(&bytes).unwrap(), announced);
}

#[test]
fn home_assistant_asks_again_when_it_starts() {
    assert_eq!(birth_topic("homeassistant"), "homeassistant/status");
    assert!(is_birth(b"online", false));
    let delays = ["tradebus", "a", "b", "c", &"z".repeat(32)].map(birth_delay_ms);
    assert!(delays.iter().all(|ms| (1_000..=5_000).contains(ms)), "{delays:?}");
    assert!(!is_birth(b"online", true) && !is_birth(b"offline", false) && !is_birth(b"", false));
}
