//! `status`: the daemon, its feeds, the portfolio and the strategies.

use serde_json::Value;

use super::arguments::{Arguments, BusArguments};
use super::exit::{Exit, Failure};
use super::output::Align::{Left, Right};
use super::output::{self, Align, table};
use super::payload;
use super::settings::{self, Client};
use super::snapshot::{STATE, Snapshot};
use crate::message::json::Object;

const FILTERS: [&str; 6] =
    ["daemon/info", "daemon/level", "feed/+", "portfolio/state", "type/+/state", "strategy/+/state"];
/// The most characters of a text in a table.
const TEXT_MAX: usize = 60;

const FEED: [(&str, Align); 7] = [
    ("feed", Left),
    ("connected", Left),
    ("since", Left),
    ("age_ms", Right),
    ("messages", Right),
    ("reconnects", Right),
    ("error", Left),
];
const MONEY: [(&str, Align); 9] = [
    ("scope", Left),
    ("basis", Left),
    ("equity", Right),
    ("unrealized_pnl", Right),
    ("realized_pnl", Right),
    ("fees", Right),
    ("funding", Right),
    ("drawdown_pct", Right),
    ("open_positions", Right),
];
const STRATEGY: [(&str, Align); 10] = [
    ("strategy", Left),
    ("type", Left),
    ("mode", Left),
    ("level", Left),
    ("equity", Right),
    ("unrealized_pnl", Right),
    ("realized_pnl", Right),
    ("drawdown_pct", Right),
    ("open_positions", Right),
    ("last_error", Left),
];

/// Shows a daemon.
pub fn status(arguments: &Arguments, bus: &BusArguments) -> Result<Exit, Failure> {
    let client = settings::load_client(arguments, bus)?;
    let snapshot = Snapshot::read(&client, &FILTERS.map(String::from))?;
    if arguments.json {
        output::print_line(&json(&client, &snapshot))?;
    } else {
        output::print(&text(&client, &snapshot))?;
    }
    snapshot.finish(&client)
}

fn json(client: &Client, snapshot: &Snapshot) -> String {
    let one = |topic: &str| snapshot.get(topic).map_or_else(|| "null".to_owned(), payload::raw);
    let bus = client.web.is_none().then(|| client.address());
    let all = |filter: &str| snapshot.all(filter).into_iter().map(payload::raw);
    Object::new()
        .text_or_null("broker", bus.as_deref())
        .text_or_null("base_topic", bus.as_ref().map(|_| client.config.mqtt.base_topic.as_str()))
        .text_or_null("http", client.web.as_ref().map(|web| web.address.as_str()))
        .flag("online", snapshot.online())
        .raw("info", &one("daemon/info"))
        .raw("level", &one("daemon/level"))
        .values("feeds", all("feed/+"))
        .raw("portfolio", &one("portfolio/state"))
        .values("types", all("type/+/state"))
        .values("strategies", all("strategy/+/state"))
        .finish()
}

fn text(client: &Client, snapshot: &Snapshot) -> String {
    let info = payload::read(snapshot.get("daemon/info").unwrap_or_default());
    let mut text = format!(
        "daemon    {}, level {}, version {}, instance {}, started {}\n{}\n",
        payload::printable(snapshot.get(STATE).unwrap_or_default()),
        payload::printable(snapshot.get("daemon/level").unwrap_or("-")),
        payload::field(&info, "version"),
        payload::field(&info, "instance"),
        payload::field(&info, "started"),
        match &client.web {
            Some(web) => format!("http      {}", web.address),
            None => format!("broker    {}, base topic {}", client.address(), client.config.mqtt.base_topic),
        },
    );
    let mut scopes = snapshot.values("portfolio/state");
    scopes.extend(snapshot.values("type/+/state"));
    let strategies: Vec<Value> =
        snapshot.values("strategy/+/state").into_iter().map(with_level_in_force).collect();
    for (header, payloads) in
        [(&FEED[..], snapshot.values("feed/+")), (&MONEY[..], scopes), (&STRATEGY[..], strategies)]
    {
        if payloads.is_empty() {
            continue;
        }
        let keys: Vec<&str> = header.iter().map(|(key, _)| *key).collect();
        let mut rows = payload::rows(&payloads, &keys);
        rows.iter_mut().flatten().for_each(shorten);
        text.push('\n');
        text.push_str(&table(header, rows));
    }
    text
}

/// Shows the level in force beside the strategy's own where the daemon's is stricter.
fn with_level_in_force(mut state: Value) -> Value {
    let (own, in_force) = (payload::field(&state, "level"), payload::field(&state, "level_effective"));
    if own != in_force
        && state.get("level_effective").is_some()
        && let Some(level) = state.get_mut("level")
    {
        *level = Value::from(format!("{own} ({in_force} in force)"));
    }
    state
}

fn shorten(cell: &mut String) {
    if cell.chars().count() > TEXT_MAX {
        *cell = cell.chars().take(TEXT_MAX - 1).chain(['…']).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_in_words() {
        let snapshot = Snapshot::of(&[
            ("daemon/state", "online"),
            ("daemon/level", "reduce"),
            ("daemon/info", r#"{"version":"1.2.3","instance":"pi","started":"2026-11-20T20:00:05.000Z"}"#),
            (
                "portfolio/state",
                r#"{"scope":"portfolio","basis":"paper","equity":10012.5,"drawdown_pct":null}"#,
            ),
            (
                "strategy/s/state",
                r#"{"strategy":"s","type":"external","mode":"paper","level":"run","level_effective":"reduce",
                "equity":10012.5,"unrealized_pnl":12.5,"realized_pnl":0,"drawdown_pct":0,"open_positions":1,
                "last_error":null}"#,
            ),
        ]);
        let mut client = Client { config: crate::config::Config::default(), web: None };
        client.config.mqtt.broker = crate::config::Broker::Tcp { host: "::1".into(), port: 1884, tls: false };
        assert_eq!(
            text(&client, &snapshot),
            "daemon    online, level reduce, version 1.2.3, instance pi, started 2026-11-20T20:00:05.000Z\n\
             broker    mqtt://[::1]:1884, base topic tradebus\n\
             \n\
             scope      basis   equity  unrealized_pnl  realized_pnl  fees  funding  drawdown_pct  open_positions\n\
             portfolio  paper  10012.5               -             -     -        -             -               -\n\
             \n\
             strategy  type      mode   level                   equity  unrealized_pnl  realized_pnl  drawdown_pct  open_positions  last_error\n\
             s         external  paper  run (reduce in force)  10012.5            12.5             0             0               1  -\n"
        );
        let json: Value = serde_json::from_str(&json(&client, &snapshot)).unwrap();
        assert_eq!(json["level"], "reduce");
        assert_eq!(json["strategies"][0]["equity"].to_string(), "10012.5");
        assert!(json["feeds"].as_array().unwrap().is_empty() && json["online"] == true);
    }

    #[test]
    fn long_texts_are_cut() {
        let mut cell = "x".repeat(100);
        shorten(&mut cell);
        assert_eq!(cell.chars().count(), TEXT_MAX);
    }
}
