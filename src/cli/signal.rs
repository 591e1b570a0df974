//! `signal`: sends a signal and waits for its result.
//!
//! Invariants: nothing is sent before the result topic is subscribed, nor to a daemon that is not online, because the
//! broker would keep it and the daemon would find it later. What is sent has passed the daemon's own reader.

use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::Value;
use tokio::time::Instant;

use super::arguments::{Arguments, SignalArguments};
use super::bus::{Bus, Published, talk};
use super::exit::{Exit, Failure};
use super::settings::{self, Client};
use super::snapshot::{STATE, nobody_there, offline};
use super::{output, payload};
use crate::daemon::clock::Clock;
use crate::message;
use crate::message::json::Object;
use crate::message::topic::Topics;
use crate::model::ids::SignalId;
use crate::model::time::Timestamp;

/// How long the sign of life may take after the subscription.
const STATE_WITHIN: Duration = Duration::from_secs(2);

/// Sends a signal; ends with [`Exit::REJECTED`] when the daemon refuses it.
pub fn signal(arguments: &Arguments, command: &SignalArguments) -> Result<Exit, Failure> {
    let clock = Clock::wall();
    let now = clock.now();
    let id = match &command.id {
        Some(id) => id.clone(),
        None => {
            let text = format!("cli-{}-{}", now.as_ms(), std::process::id());
            SignalId::new(&text).expect("digits are allowed")
        }
    };
    let payload = native(command, &id, now);
    let read = message::signal::read(command.strategy.as_str(), payload.as_bytes(), false);
    read.body.map_err(|refusal| Failure::new(Exit::USAGE, refusal.detail))?;
    let client = settings::load_client(arguments, &command.bus)?;
    let result = talk(send(&client, command, &id, &clock))?;
    if arguments.json {
        output::print_line(&payload::raw(&result))?;
    } else {
        output::print_line(&sentence(command, &id, &payload::read(&result)))?;
    }
    Ok(exit_of(&payload::read(&result)))
}

/// The signal as it is published.
fn native(command: &SignalArguments, id: &SignalId, time: Timestamp) -> String {
    let size = &command.size;
    let numbers: [(&str, Option<Decimal>); 8] = [
        ("quantity", size.quantity),
        ("notional", size.notional),
        ("equity_pct", size.equity_pct),
        ("risk_pct", size.risk_pct),
        ("price", command.limit),
        ("stop_loss", command.stop_loss),
        ("take_profit", command.take_profit),
        ("max_age_s", command.max_age_s),
    ];
    let mut object = Object::new()
        .text("id", id.as_str())
        .shown("time", time)
        .shown("symbol", command.symbol)
        .text("action", &command.action)
        .text("order_type", if command.limit.is_some() { "limit" } else { "market" });
    for (key, number) in numbers {
        if let Some(number) = number {
            object = object.decimal(key, number);
        }
    }
    if let Some(comment) = &command.comment {
        object = object.text("comment", comment);
    }
    object.finish()
}

/// Publishes the signal and returns the payload of its result.
async fn send(
    client: &Client,
    command: &SignalArguments,
    id: &SignalId,
    clock: &Clock,
) -> Result<String, Failure> {
    if let Some(web) = &client.web {
        let wait = Duration::from_secs(u64::from(command.wait_s));
        let result = web.signal(command.strategy.as_str(), native(command, id, clock.now()), wait).await?;
        return result.ok_or_else(|| no_result(command, id));
    }
    let config = &client.config;
    let topics = Topics::new(&config.mqtt.base_topic);
    let state = topics.at(STATE);
    let result = topics.strategy(command.strategy.as_str(), "signal/result");
    let mut bus = Bus::connect(config).await?;
    bus.subscribe(&[result.clone(), state.clone()]).await?;
    require_online(&mut bus, &state, client).await?;
    let topic = topics.strategy(command.strategy.as_str(), "signal");
    // The time of sending, which a slow connection must not age.
    if bus.publish(&topic, native(command, id, clock.now())).await? == Published::Unheard {
        let text = format!("nobody at {} subscribes to {topic}; the signal is lost", client.address());
        return Err(Failure::unavailable(text));
    }
    let until = Instant::now() + Duration::from_secs(u64::from(command.wait_s));
    while let Some(message) = bus.next(until).await? {
        let ours = || payload::read(&message.payload).get("id").and_then(Value::as_str) == Some(id.as_str());
        if message.topic == result && ours() {
            bus.disconnect().await;
            return Ok(message.payload);
        }
    }
    Err(no_result(command, id))
}

fn no_result(command: &SignalArguments, id: &SignalId) -> Failure {
    Failure::unavailable(format!(
        "no result within {} s: the signal was sent and may have been executed; sending it again with \
         --id {} tells, and executes nothing twice",
        command.wait_s,
        payload::printable(id.as_str())
    ))
}

/// Refuses to send to a daemon that is not there, for the broker would keep it.
pub async fn require_online(bus: &mut Bus, state: &str, client: &Client) -> Result<(), Failure> {
    let until = Instant::now() + STATE_WITHIN;
    while let Some(message) = bus.next(until).await? {
        match message.payload.as_str() {
            _ if message.topic != state => {}
            "online" => return Ok(()),
            _ => return Err(offline(client, "nothing was sent")),
        }
    }
    Err(nobody_there(client))
}

fn exit_of(result: &Value) -> Exit {
    match result.get("status").and_then(Value::as_str) {
        Some("filled" | "accepted" | "unchanged") => Exit::OK,
        _ => Exit::REJECTED,
    }
}

/// `demo long BTC-USDT: filled, order abc (signal x)`.
fn sentence(command: &SignalArguments, id: &SignalId, result: &Value) -> String {
    let known = |key: &str| Some(payload::field(result, key)).filter(|text| !text.is_empty() && text != "-");
    let mut text = format!("{} {} {}: ", command.strategy, command.action, command.symbol);
    text.push_str(&payload::field(result, "status"));
    if let Some(reason) = known("reason") {
        text.push_str(&format!(", {reason}"));
    }
    if let Some(detail) = known("detail") {
        text.push_str(&format!(": {detail}"));
    }
    if let Some(orders) = known("orders") {
        text.push_str(&format!(", order {orders}"));
    }
    if result.get("repeated") == Some(&Value::Bool(true)) {
        text.push_str("; this is the answer that the same signal got before, and nothing was done now");
    }
    format!("{text} (signal {})", payload::printable(id.as_str()))
}

#[cfg(test)]
mod tests {
    use super::super::arguments::Command;
    use super::*;
    use clap::Parser;

    fn command(options: &[&str]) -> SignalArguments {
        let line = ["tradebus", "signal", "s", "long", "BTC-USDT"].iter().chain(options);
        match Arguments::try_parse_from(line).unwrap().command {
            Command::Signal(command) => command,
            _ => panic!("a signal"),
        }
    }

    #[test]
    fn options_become_the_native_signal() {
        let check = |options: &[&str], expected: &str| {
            let id = SignalId::new("a").unwrap();
            let text = native(&command(options), &id, Timestamp::MIN);
            let head = r#"{"id":"a","time":"1970-01-01T00:00:00.000Z","symbol":"BTC-USDT","action":"long","#;
            assert_eq!(text, format!("{head}{expected}}}"));
            assert!(message::signal::read("s", text.as_bytes(), false).body.is_ok(), "{text}");
        };
        check(&[], r#""order_type":"market""#);
        check(&["--quantity", "1e-3"], r#""order_type":"market","quantity":0.001"#);
        check(
            &["--notional", "5.50", "--comment", "a\"b"],
            r#""order_type":"market","notional":5.5,"comment":"a\"b""#,
        );
        check(
            &["--risk-pct", "1", "--limit", "97000", "--stop-loss", "95000", "--max-age-s", "30"],
            r#""order_type":"limit","risk_pct":1,"price":97000,"stop_loss":95000,"max_age_s":30"#,
        );
        check(&["--take-profit", "99000"], r#""order_type":"market","take_profit":99000"#);
    }

    #[test]
    fn results_in_a_sentence() {
        let check = |result: &str, exit: Exit, expected: &str| {
            let (result, id) = (payload::read(result), SignalId::new("a").unwrap());
            assert_eq!(
                sentence(&command(&[]), &id, &result),
                format!("s long BTC-USDT: {expected} (signal a)")
            );
            assert_eq!(exit_of(&result), exit);
        };
        check(
            r#"{"status":"filled","reason":null,"detail":null,"orders":["x"],"repeated":false}"#,
            Exit::OK,
            "filled, order x",
        );
        check(r#"{"status":"unchanged","orders":[]}"#, Exit::OK, "unchanged");
        check(
            r#"{"status":"rejected","reason":"stale_price","detail":"20 s old","orders":[],"repeated":true}"#,
            Exit::REJECTED,
            "rejected, stale_price: 20 s old; this is the answer that the same signal got before, and nothing was \
             done now",
        );
        check("garbage", Exit::REJECTED, "-");
    }
}
