//! `uninstall-discovery`: takes back what Home Assistant was told by a daemon that is gone for good.
//!
//! Invariants: only devices of the configured instance are removed, and nothing while their daemon is online, because
//! it would announce them again. The devices of the configuration are removed without having been seen: an ACL may let
//! us write to their topics only.

use std::collections::{BTreeMap, BTreeSet};

use super::arguments::{Arguments, UninstallArguments};
use super::bus::{Bus, address, talk};
use super::exit::{Exit, Failure};
use super::snapshot::{STATE, collect};
use super::{output, payload, settings};
use crate::config::Config;
use crate::message::discovery::{Input, announce};
use crate::message::json::Object;
use crate::message::topic::Topics;

/// Clears the topics, and prints them.
pub fn uninstall_discovery(arguments: &Arguments, command: &UninstallArguments) -> Result<Exit, Failure> {
    let settings::Client { config, web } = settings::load_client(arguments, &command.bus)?;
    if web.is_some() {
        return Err(Failure::new(Exit::USAGE, "uninstall-discovery speaks to the broker, without --http"));
    }
    let Some(prefix) = &config.mqtt.discovery_prefix else {
        let text = "mqtt.discovery_prefix is empty; name the one that the daemon used: --set mqtt.discovery_prefix=homeassistant";
        return Err(Failure::new(Exit::USAGE, text));
    };
    let cleared = talk(clear(&config, prefix, command.all))?;
    if arguments.json {
        output::print_line(&Object::new().texts("cleared", cleared.iter()).finish())?;
    } else {
        let lines: String = cleared.iter().map(|topic| format!("{}\n", payload::printable(topic))).collect();
        output::print(&lines)?;
    }
    Ok(Exit::OK)
}

async fn clear(config: &Config, prefix: &str, all: bool) -> Result<BTreeSet<String>, Failure> {
    let topics = Topics::new(&config.mqtt.base_topic);
    let (base, state) = (topics.at(""), topics.at(STATE));
    let mut bus = Bus::connect(config).await?;
    let below = if all { topics.at("#") } else { state.clone() };
    let retained = collect(&mut bus, &[format!("{prefix}/device/+/config"), below]).await?;
    if retained.get(&state).is_some_and(|state| state == "online") {
        let text = format!("the daemon at {} is online; stop it first", address(config));
        return Err(Failure::new(Exit::TEMPORARY, text));
    }
    let mut cleared = devices(config, prefix);
    cleared.extend(ours(retained, &config.instance, &base, all));
    for topic in &cleared {
        bus.clear(topic).await?;
    }
    bus.disconnect().await;
    Ok(cleared)
}

/// Topics of the devices that this configuration announces.
fn devices(config: &Config, prefix: &str) -> BTreeSet<String> {
    let (instance, base_topic) = (config.instance.as_str(), config.mqtt.base_topic.as_str());
    let settings = &config.engine_settings();
    let input = Input { instance, base_topic, prefix, version: env!("CARGO_PKG_VERSION"), settings };
    announce(&input, &[]).announced.into_iter().map(|device| device.topic).collect()
}

/// Topics of devices that this instance announced, and with `all` those below the base topic.
fn ours<'a>(
    retained: BTreeMap<String, String>,
    instance: &'a str,
    base: &'a str,
    all: bool,
) -> impl Iterator<Item = String> + use<'a> {
    let is_ours = move |topic: &str, text: &str| {
        if topic.starts_with(base) {
            return all;
        }
        let device = payload::read(text);
        let id = device["dev"]["ids"][0].as_str().unwrap_or_default();
        let strategy = || id.strip_prefix(instance).is_some_and(|rest| rest.starts_with(".strategy."));
        device["o"]["name"] == "tradebus" && (id == instance || strategy())
    };
    retained.into_iter().filter(move |(topic, text)| is_ours(topic, text)).map(|(topic, _)| topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_instance_said_is_taken_back() {
        let check = |topic: &str, text: &str, all: bool, expected: bool| {
            let retained = BTreeMap::from([(topic.to_owned(), text.to_owned())]);
            assert_eq!(ours(retained, "box", "tradebus/", all).count() == 1, expected, "{topic} {text}");
        };
        let device = |name: &str, id: &str| {
            format!(r#"{{"dev":{{"ids":["{id}"]}},"o":{{"name":"{name}"}},"cmps":{{}}}}"#)
        };
        check("ha/device/a/config", &device("tradebus", "box"), false, true);
        check("ha/device/a/config", &device("tradebus", "box.strategy.x"), false, true);
        check("ha/device/a/config", &device("tradebus", "box2"), true, false);
        check("ha/device/a/config", &device("tradebus", "box2.strategy.x"), true, false);
        check("ha/device/a/config", &device("zigbee2mqtt", "box"), true, false);
        check("ha/device/a/config", "no JSON", true, false);
        check("tradebus/daemon/info", "{}", true, true);
        check("tradebus/daemon/info", "{}", false, false);
    }
}
