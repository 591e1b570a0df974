//! The rules that Home Assistant 2026.2 and its documentation lay on device discovery, as far as our entities touch
//! them: allowed keys, classes, units, their combinations, topics and templates.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use tradebus::message::level;
use tradebus::message::topic::{Inbound, Topics};
use tradebus::message::view::{Message, MessageKind};

const ROOT: &[&str] = &["dev", "o", "cmps", "avty", "avty_mode"];
const DEVICE: &[&str] = &["ids", "name", "mf", "mdl", "sw", "via_device"];
const ORIGIN: &[&str] = &["name", "sw"];
const AVAILABILITY: &[&str] = &["t", "val_tpl", "pl_avail", "pl_not_avail"];
const COMMON: &[&str] =
    &["p", "name", "uniq_id", "def_ent_id", "ent_cat", "ic", "qos", "json_attr_t", "json_attr_tpl", "avty"];
const SENSOR: &[&str] =
    &["stat_t", "val_tpl", "unit_of_meas", "dev_cla", "stat_cla", "sug_dsp_prc", "exp_aft", "ops"];
const BINARY_SENSOR: &[&str] = &["stat_t", "val_tpl", "dev_cla", "exp_aft", "pl_on", "pl_off"];
const SWITCH: &[&str] =
    &["stat_t", "val_tpl", "cmd_t", "cmd_tpl", "pl_on", "pl_off", "stat_on", "stat_off", "opt", "ret"];
const SELECT: &[&str] = &["stat_t", "val_tpl", "cmd_t", "cmd_tpl", "ops", "ret"];
const BUTTON: &[&str] = &["cmd_t", "cmd_tpl", "pl_prs", "ret"];
const EVENT: &[&str] = &["stat_t", "val_tpl", "evt_typ"];

const ISO_4217: &[&str] = &["USD", "EUR", "GBP", "JPY", "CHF", "AUD", "CAD", "TRY", "BRL", "PLN", "KRW"];
const LEVELS: &[&str] = &["run", "pause", "reduce", "flatten"];

/// Everything that is known while payloads are checked, and what must not come twice.
pub struct Schema<'a> {
    pub topics: &'a Topics,
    pub prefix: &'a str,
    /// Real payloads by topic.
    pub payloads: &'a BTreeMap<String, String>,
    pub unique_ids: BTreeSet<String>,
    pub entity_ids: BTreeSet<String>,
    pub devices: BTreeSet<String>,
}

impl Schema<'_> {
    /// Checks one retained discovery message.
    pub fn device(&mut self, message: &Message) {
        assert_eq!(message.kind, MessageKind::Announcement);
        let rest = message.topic.strip_prefix(&format!("{}/device/", self.prefix)).expect("the prefix");
        let object_id = rest.strip_suffix("/config").expect("a config topic");
        assert!(is_word(object_id), "{object_id}");
        assert!(!message.payload.contains('~'), "no base topic in a device payload");
        assert!(!message.payload.contains('$'), "a name was not filled in: {}", message.payload);
        let root: Map<String, Value> = serde_json::from_str(&message.payload).expect("JSON");
        only(&root, &[ROOT]);
        let device = root["dev"].as_object().expect("a device");
        only(device, &[DEVICE]);
        let id = device["ids"][0].as_str().expect("an identifier").to_string();
        if let Some(via) = device.get("via_device") {
            assert!(self.devices.contains(via.as_str().unwrap()), "announced after what it hangs on");
        }
        assert!(self.devices.insert(id), "two devices of one id");
        only(root["o"].as_object().expect("an origin"), &[ORIGIN]);
        assert!(root["o"]["name"].is_string());
        self.availability(&root["avty"]);
        let listed = root["avty"].as_array().unwrap().len();
        assert!(listed == 1 || root["avty_mode"] == "all", "the default is the latest message");
        let components = root["cmps"].as_object().expect("components");
        assert!(!components.is_empty());
        for (key, component) in components {
            let component = component.as_object().expect("an object");
            assert!(is_word(key), "{key}");
            self.component(key, component, device["name"].as_str().expect("a name"));
        }
    }

    fn component(&mut self, key: &str, component: &Map<String, Value>, device: &str) {
        let text = |name: &str| component.get(name).and_then(Value::as_str).unwrap_or_default();
        let platform = text("p");
        let keys = match platform {
            "sensor" => SENSOR,
            "binary_sensor" => BINARY_SENSOR,
            "switch" => SWITCH,
            "select" => SELECT,
            "button" => BUTTON,
            "event" => EVENT,
            other => panic!("{key}: platform {other}"),
        };
        only(component, &[COMMON, keys]);
        assert!(self.unique_ids.insert(format!("{platform} {}", text("uniq_id"))), "{key}: twice");
        assert!(text("uniq_id").ends_with(&format!(".{key}")), "{key}: an id of something else");
        let entity = text("def_ent_id");
        assert!(is_entity_id(entity, platform), "{key}: {entity}");
        assert!(self.entity_ids.insert(entity.to_string()), "{key}: {entity} twice");
        assert!(
            !text("name").is_empty() && !text("name").contains(device),
            "{key}: the device's name in its"
        );
        assert_eq!(component["qos"], 1, "{key}: the root's is not inherited");
        let category = text("ent_cat");
        assert!(["", "diagnostic", "config"].contains(&category), "{key}");
        assert!(category != "config" || !["sensor", "binary_sensor"].contains(&platform), "{key}");
        assert!(text("ic").is_empty() || text("ic").starts_with("mdi:"), "{key}");
        if let Some(availability) = component.get("avty") {
            self.availability(availability);
        }
        match platform {
            "sensor" => self.sensor(key, component),
            "binary_sensor" => assert_eq!(text("dev_cla"), "connectivity", "{key}"),
            "event" => {
                assert!(component["evt_typ"].as_array().is_some_and(|types| !types.is_empty()), "{key}")
            }
            _ => self.command(key, component),
        }
        self.reads(key, component);
    }

    fn sensor(&self, key: &str, component: &Map<String, Value>) {
        let text = |name: &str| component.get(name).and_then(Value::as_str).unwrap_or_default();
        let (class, state_class, unit) = (text("dev_cla"), text("stat_cla"), text("unit_of_meas"));
        let numeric = !state_class.is_empty() || !unit.is_empty() || component.contains_key("sug_dsp_prc");
        match class {
            "" => {}
            "monetary" => {
                assert_eq!(state_class, "total", "{key}: monetary takes no other");
                assert!(ISO_4217.contains(&unit), "{key}: {unit} is no currency of ISO 4217");
            }
            "data_size" => assert_eq!(unit, "MB", "{key}"),
            "timestamp" => assert!(!numeric, "{key}: a timestamp is no number"),
            "enum" => {
                assert!(!numeric, "{key}: an enum is no number");
                assert!(component["ops"].as_array().is_some_and(|options| !options.is_empty()), "{key}");
            }
            other => panic!("{key}: device class {other}"),
        }
        assert_eq!(component.contains_key("ops"), class == "enum", "{key}");
        assert!(["", "measurement", "total", "total_increasing"].contains(&state_class), "{key}");
        // Only what starts again at 0 with the daemon counts up; money may fall.
        assert!(state_class != "total_increasing" || text("stat_t").ends_with("/daemon/health"), "{key}");
        if let Some(digits) = component.get("sug_dsp_prc") {
            let digits = digits.as_u64().expect("a number that is not negative");
            assert!(text("val_tpl").contains(&format!("'%.{digits}f'|format(")), "{key}: digits get lost");
        }
        // What may be null must not reach a number as an error, which would leave the old state standing.
        assert!(!text("val_tpl").contains("format(") || text("val_tpl").contains("None if"), "{key}");
        let live = ["/price/", "/daemon/health"].iter().any(|topic| text("stat_t").contains(topic));
        assert_eq!(component.get("exp_aft").and_then(Value::as_u64), live.then_some(180), "{key}");
    }

    /// What it sends is a command that the daemon takes.
    fn command(&self, key: &str, component: &Map<String, Value>) {
        let text = |name: &str| component.get(name).and_then(Value::as_str).unwrap_or_default();
        assert_eq!(component["ret"], false, "{key}: a retained command is refused");
        let scope = match self.topics.inbound(text("cmd_t")) {
            Some(Inbound::Level(strategy)) => strategy.map(str::to_string),
            other => panic!("{key}: {other:?} is no command"),
        };
        let words: Vec<String> = match text("p") {
            "button" => vec![text("pl_prs").to_string()],
            "switch" => {
                assert_eq!(component["opt"], false, "{key}: shows the truth");
                assert!(component.contains_key("stat_t") && text("stat_on") == "ON", "{key}");
                vec![text("pl_on").to_string(), text("pl_off").to_string()]
            }
            _ => {
                component["ops"].as_array().unwrap().iter().map(|o| o.as_str().unwrap().to_string()).collect()
            }
        };
        for word in words {
            assert!(LEVELS.contains(&word.as_str()), "{key}: {word}");
            let payload = rendered(text("cmd_tpl"), &word);
            let command = level::read(1, scope.as_deref(), payload.as_bytes(), false);
            assert_eq!(
                command.level.map(|level| level.as_str().to_string()),
                Ok(word.clone()),
                "{key}: {payload}"
            );
            let fresh = command.time.is_some() && command.id.is_some();
            assert_eq!(fresh, payload.starts_with('{'), "{key}: {payload}");
            assert!(fresh || word != "run", "{key}: loosening needs id and time");
            assert!(!fresh || word != "flatten", "{key}: flatten passes at any age");
        }
    }

    /// Its topics are published, and its templates read keys that are there.
    fn reads(&self, key: &str, component: &Map<String, Value>) {
        for (topic, template) in [("stat_t", "val_tpl"), ("json_attr_t", "json_attr_tpl")] {
            let topic = component.get(topic).and_then(Value::as_str);
            let template = component.get(template).and_then(Value::as_str);
            assert!(topic.is_some() || template.is_none(), "{key}: a template without a topic");
            if let Some(topic) = topic {
                let payload =
                    self.payloads.get(topic).unwrap_or_else(|| panic!("{key}: nobody publishes {topic}"));
                check_template(key, template.unwrap_or_default(), payload);
            }
        }
        let event = component.get("p").is_some_and(|p| p == "event") && !component.contains_key("val_tpl");
        if event {
            let payload: Value =
                serde_json::from_str(&self.payloads[component["stat_t"].as_str().unwrap()]).unwrap();
            assert!(component["evt_typ"].as_array().unwrap().contains(&payload["event_type"]), "{key}");
        }
    }

    fn availability(&self, list: &Value) {
        for entry in list.as_array().expect("a list") {
            only(entry.as_object().unwrap(), &[AVAILABILITY]);
            let topic = entry["t"].as_str().expect("a topic");
            assert!(self.payloads.contains_key(topic), "nobody publishes {topic}");
            let plain = self.payloads[topic] == "online";
            assert!(plain || entry.get("val_tpl").is_some(), "{topic}: not the default words");
        }
    }
}

/// Every `value_json.KEY` is a key of the payload; a payload of words has no template for keys.
fn check_template(key: &str, template: &str, payload: &str) {
    let mut parts = template.split("value_json.");
    parts.next();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
        let value: Value =
            serde_json::from_str(payload).unwrap_or_else(|_| panic!("{key}: {payload} is no JSON"));
        assert!(value.get(&part[..end]).is_some(), "{key}: no {:?} in {payload}", &part[..end]);
    }
}

/// What Home Assistant sends for `word`: the only branches that our templates have.
fn rendered(template: &str, word: &str) -> String {
    if template.is_empty() {
        return word.to_string();
    }
    let (condition, rest) = template.split_once(" %}").expect("a condition");
    let (plain, rest) = rest.split_once("{% else %}").expect("two branches");
    let body = rest.strip_suffix("{% endif %}").expect("an end");
    if condition == format!("{{% if value == '{word}'") {
        return plain.to_string();
    }
    body.replace("{{ value }}", word)
        .replace("{{ utcnow().timestamp() }}", "1795206466.720125")
        .replace("{{ utcnow().isoformat() }}", "2026-11-20T20:27:46.720125+00:00")
}

fn only(object: &Map<String, Value>, allowed: &[&[&str]]) {
    for key in object.keys() {
        assert!(allowed.iter().any(|list| list.contains(&key.as_str())), "{key} is not allowed");
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

fn is_entity_id(text: &str, platform: &str) -> bool {
    let Some(object) = text.strip_prefix(platform).and_then(|rest| rest.strip_prefix('.')) else {
        return false;
    };
    let plain = object.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    plain
        && !object.is_empty()
        && !object.contains("__")
        && !object.starts_with('_')
        && !object.ends_with('_')
}
