//! Real payloads, by topic: what a running engine and `message` make, with a fill, a refusal, a result and an alert.

use std::collections::BTreeMap;

use tradebus::engine::effect::{Alert, AlertLevel, Effect, Update};
use tradebus::engine::event::Event;
use tradebus::engine::settings::EngineSettings;
use tradebus::message::daemon::{FeedView, Health, feed, health, info};
use tradebus::message::record_view;
use tradebus::message::topic::Topics;
use tradebus::message::view::{self, Message};
use tradebus::model::market::MarketEvent;

use crate::rig::{self, Rig};

/// The newest payload of each topic. Every strategy trades every symbol once.
pub fn payloads(topics: &Topics, settings: &EngineSettings) -> BTreeMap<String, String> {
    let mut messages = of_the_daemon(topics, settings);
    let mut rig = Rig::new(settings.clone());
    let mut events = vec![rig::start_event()];
    let symbols: Vec<String> = settings.markets.iter().map(|market| market.key.symbol.to_string()).collect();
    for symbol in &symbols {
        events.push(rig::trade(rig.now, symbol, rig::price("100"), rig::quantity("1")));
    }
    for strategy in &settings.strategies {
        for symbol in &symbols {
            for action in ["long", "flat"] {
                let json = format!(
                    r#"{{"time":"{}","symbol":"{symbol}","action":"{action}"{}}}"#,
                    rig.now,
                    if action == "flat" { "" } else { r#","quantity":0.01"# }
                );
                events.push(rig::signal_event(1, strategy.id.as_str(), &json, false));
            }
        }
        events.push(rig::signal_event(1, strategy.id.as_str(), "nothing", false));
    }
    let mut sequence = 0;
    for event in events {
        rig.now = rig.now.plus_ms(10);
        let event = fresh(event, &rig);
        for effect in rig.send(event) {
            match effect {
                Effect::Persist(record) => {
                    sequence += 1;
                    messages.extend(record_view::event(topics, &record, sequence, false));
                }
                Effect::Publish(update) => messages.extend(view::update(topics, &update)),
                Effect::Send(_) | Effect::Reply { .. } | Effect::Answer { .. } => {}
            }
        }
    }
    messages.into_iter().map(|message| (message.topic, message.payload)).collect()
}

/// Signals and trades carry the time at which they arrive.
fn fresh(event: Event, rig: &Rig) -> Event {
    match event {
        Event::Signal(mut message) => {
            if let Ok(signal) = &mut message.body {
                signal.time = rig.now;
            }
            Event::Signal(message)
        }
        Event::Market(market) => Event::Market(MarketEvent { time: rig.now, ..market }),
        other => other,
    }
}

fn of_the_daemon(topics: &Topics, settings: &EngineSettings) -> Vec<Message> {
    let message = |topic: String, payload: String| Message { topic, payload, kind: view::MessageKind::Once };
    let mut messages = vec![
        message(topics.at("daemon/state"), "online".into()),
        message(topics.at("daemon/level"), "run".into()),
        message(topics.at("daemon/health"), health(&Health::default())),
        message(topics.at("daemon/info"), info("tradebus", rig::begin(), settings)),
    ];
    let (text, time) = ("a text".to_string(), rig::begin());
    let alert = Alert { level: AlertLevel::Info, code: "test", text, strategy: None, time };
    messages.extend(view::update(topics, &Update::Alert(alert)));
    for market in &settings.markets {
        let view = FeedView {
            feed: market.key.feed,
            connected: true,
            since: None,
            age_ms: None,
            messages: 0,
            reconnects: 0,
            ended: false,
            error: None,
            quality: None,
            time: rig::begin(),
        };
        messages.push(message(topics.feed(market.key.feed), feed(&view)));
    }
    messages
}
