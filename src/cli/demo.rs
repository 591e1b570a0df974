//! `demo`: a daemon to try out, with its own broker and market.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use super::arguments::{Arguments, DemoArguments};
use super::exit::{Exit, Failure};
use super::{logging, run, settings};
use crate::config::{Config, Demo};
use crate::daemon::options::{Hangup, RunOptions};

/// Where the broker listens unless it is told or the port is taken.
const PORT_DEFAULT: u16 = 1883;
/// The strategy of [`Config::demo`] that takes signals.
const STRATEGY: &str = "demo";

/// Runs until it is stopped.
pub fn demo(arguments: &Arguments, command: &DemoArguments) -> Result<Exit, Failure> {
    if !cfg!(feature = "embedded-broker") {
        return Err(Failure::unavailable(
            "demo needs the embedded broker, which is not in this build; use a build with the feature \
             embedded-broker, or `tradebus run` with another broker",
        ));
    }
    arguments.refuse_json("demo", "watch its topics instead")?;
    if arguments.config.is_some() || !arguments.set.set.is_empty() {
        let text = "demo has a configuration of its own and takes neither --config nor --set";
        return Err(Failure::new(Exit::USAGE, text));
    }
    // Removed when it is dropped, which is when the daemon has ended.
    let temporary = match &command.store {
        None => Some(tempfile::Builder::new().prefix("tradebus-demo-").tempdir().map_err(|error| {
            Failure::new(Exit::TEMPORARY, format!("cannot make a temporary folder: {error}"))
        })?),
        Some(_) => None,
    };
    let store = command.store.as_deref().or(temporary.as_ref().map(tempfile::TempDir::path));
    let store = store.expect("a store is given or temporary");
    let port = command.port.unwrap_or(PORT_DEFAULT);
    let loaded = Config::demo(Demo {
        store,
        recordings: &command.recordings,
        embedded_listen: SocketAddr::from(([127, 0, 0, 1], port)),
    });
    let config = loaded.map_err(|problems| settings::failure(&problems))?.config;
    logging::start_demo();
    let options = RunOptions {
        record_events: None,
        greeting: Some(greeting(&config, command, store)),
        // A port that was asked for is not exchanged for another one.
        any_port: command.port.is_none(),
    };
    run::run_daemon(&config, options, || Hangup::Stop)
}

/// What to do now. The daemon puts the port in and prints it once the broker is reachable.
fn greeting(config: &Config, command: &DemoArguments, store: &Path) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "tradebus".to_owned());
    let traded = config.strategies.iter().find(|strategy| strategy.id.as_str() == STRATEGY);
    let symbol = traded.and_then(|strategy| strategy.symbols.first()).map_or("", |symbol| symbol.as_str());
    let base = &config.mqtt.base_topic;
    let market = if command.recordings.is_empty() { "a synthetic market" } else { "recorded prices" };
    let mut text =
        format!("tradebus demo: {market}, traded on paper, at the broker mqtt://127.0.0.1:{{port}}\n");
    let mut say = |line: std::fmt::Arguments| writeln!(text, "{line}").expect("a String takes all");
    say(format_args!("\nWatch everything:"));
    say(format_args!("  mosquitto_sub -h 127.0.0.1 -p {{port}} -v -t '{base}/#'"));
    say(format_args!("\nOpen a paper position, either way:"));
    say(format_args!(
        "  mosquitto_pub -h 127.0.0.1 -p {{port}} -q 1 -t {base}/strategy/{STRATEGY}/signal \
         -m '{{\"time\":\"'$(date -u +%Y-%m-%dT%H:%M:%SZ)'\",\"symbol\":\"{symbol}\",\"action\":\"long\"}}'"
    ));
    say(format_args!("  {program} signal {STRATEGY} long {symbol} --broker mqtt://127.0.0.1:{{port}}"));
    say(format_args!("\nSee what came of it, and close it again:"));
    say(format_args!("  {program} positions --broker mqtt://127.0.0.1:{{port}}"));
    say(format_args!("  {program} signal {STRATEGY} flat {symbol} --broker mqtt://127.0.0.1:{{port}}"));
    say(format_args!("\nRead the same over HTTP:"));
    say(format_args!("  curl http://{{http}}/api/v1/positions"));
    let kept = if command.store.is_some() {
        "kept: kill the demo and start it with the same --store, and it goes on where it was"
    } else {
        "removed at the end; --store DIR keeps it"
    };
    say(format_args!("\nThe store is {} ({kept}).", store.display()));
    text + "Stop with Ctrl-C."
}

#[cfg(all(test, feature = "embedded-broker"))]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_can_be_copied() {
        let listen = "127.0.0.1:1883".parse().unwrap();
        let demo = Demo { store: Path::new("/s"), recordings: &[], embedded_listen: listen };
        let command = DemoArguments { recordings: Vec::new(), store: None, port: None };
        let config = Config::demo(demo).unwrap().config;
        let text = greeting(&config, &command, Path::new("/s")).replace("{port}", "1884");
        let publish = text.lines().find(|line| line.contains("mosquitto_pub")).unwrap();
        assert_eq!(
            publish.trim(),
            "mosquitto_pub -h 127.0.0.1 -p 1884 -q 1 -t tradebus/strategy/demo/signal -m \
             '{\"time\":\"'$(date -u +%Y-%m-%dT%H:%M:%SZ)'\",\"symbol\":\"BTC-USDT\",\"action\":\"long\"}'"
        );
        assert!(text.contains(" signal demo long BTC-USDT --broker mqtt://127.0.0.1:1884\n"), "{text}");
        assert!(text.contains("/s (removed at the end"), "{text}");
    }
}
