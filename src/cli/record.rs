//! `record`: writes down what a feed says, so that it can be played again.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use super::arguments::{Arguments, RecordArguments};
use super::exit::{Exit, Failure};
use super::{output, settings};
use crate::backtest::recorder::{Recorder, RecorderError, Written};
use crate::config::Config;
use crate::daemon::clock::Clock;
use crate::daemon::onlooker::{self, Seen};
use crate::message::json::Object;
use crate::model::ids::Symbol;
use crate::model::time::Timestamp;

/// What stands for the pair in a file's name.
const PLACE: &str = "{symbol}";
/// How long what came may be only in memory, in milliseconds.
const FLUSH_EVERY_MS: i64 = 1_000;

/// Records until it is stopped.
pub fn record(arguments: &Arguments, command: &RecordArguments) -> Result<Exit, Failure> {
    let config = settings::load_feed(arguments, &command.from)?;
    let files = files(&config, command.file.as_deref(), Clock::wall().now())?;
    for (path, symbol) in &files {
        eprintln!("{symbol} is recorded to {}; stop with Ctrl-C", path.display());
    }
    let mut recorder = Recorder::create(files).map_err(failure)?;
    let mut flushed = Timestamp::MIN;
    let mut trouble = None;
    let lasts = command.duration_s.map(|seconds| Duration::from_secs(u64::from(seconds)));
    onlooker::run(&config, lasts, |now, seen| {
        match seen {
            Seen::Price(arrival) => {
                recorder
                    .take(&crate::model::market::Arrival { at: now, ..arrival.clone() })
                    .map_err(failure)?;
            }
            Seen::Feed(id, status) => {
                let text = status.error.as_ref().map(|error| format!("feed {id}: {error}"));
                if text != trouble {
                    text.iter().for_each(|text| eprintln!("{text}"));
                    trouble = text;
                }
            }
            Seen::Tick if now.since_ms(flushed) >= FLUSH_EVERY_MS => {
                recorder.flush().map_err(failure)?;
                flushed = now;
            }
            Seen::Tick => {}
        }
        Ok::<_, Failure>(ControlFlow::Continue(()))
    })?;
    let written = recorder.finish().map_err(failure)?;
    for file in &written {
        output::print_line(&if arguments.json { json(file) } else { words(file) })?;
    }
    if written.iter().all(|file| file.prices == 0) {
        let why = trouble.map(|trouble| format!(": {trouble}")).unwrap_or_default();
        return Err(Failure::unavailable(format!("no price came{why}")));
    }
    Ok(Exit::OK)
}

/// A file for each pair.
fn files(config: &Config, named: Option<&str>, now: Timestamp) -> Result<Vec<(PathBuf, Symbol)>, Failure> {
    let feed = config.feeds.first().expect("one feed is left");
    let name = match named {
        Some(name) => name.to_owned(),
        None => {
            // Without what a file's name had better not have, and to the second.
            let time: String = now.to_string().chars().filter(|c| *c != ':').take(17).collect();
            format!("{}_{PLACE}_{time}Z.csv.gz", feed.id)
        }
    };
    if feed.symbols.len() > 1 && !name.contains(PLACE) {
        let text = format!(
            "{name:?} is one file, but there are {} pairs; write {PLACE} where the pair stands in its name",
            feed.symbols.len()
        );
        return Err(Failure::new(Exit::USAGE, text));
    }
    Ok(feed.symbols.iter().map(|symbol| (name.replace(PLACE, symbol.as_str()).into(), *symbol)).collect())
}

fn failure(error: RecorderError) -> Failure {
    Failure::new(Exit::OUTPUT, error)
}

fn words(file: &Written) -> String {
    let span = file.span.map(|(first, last)| format!(", {first} to {last}")).unwrap_or_default();
    format!("{}: {}, {} events, {} prices{span}", file.path.display(), file.symbol, file.events, file.prices)
}

fn json(file: &Written) -> String {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    Object::new()
        .text("file", &file.path.to_string_lossy())
        .shown("symbol", file.symbol)
        .integer("events", file.events)
        .integer("prices", file.prices)
        .text_or_null("from", time(file.span.map(|(first, _)| first)).as_deref())
        .text_or_null("to", time(file.span.map(|(_, last)| last)).as_deref())
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    #[test]
    fn files_are_named_after_their_pairs() {
        let mut config = Config::load(&Sources::of_text("")).unwrap().config;
        let mut check = |symbols: &[&str], named: Option<&str>, expected: Result<&[&str], &str>| {
            let symbols: Vec<Symbol> = symbols.iter().map(|name| Symbol::new(name).unwrap()).collect();
            config.only_feed(None, &symbols).unwrap();
            let now = Timestamp::parse_rfc3339("2026-11-20T20:00:05.123Z").unwrap();
            match files(&config, named, now) {
                Ok(files) => {
                    let paths: Vec<String> =
                        files.iter().map(|(path, _)| path.display().to_string()).collect();
                    assert_eq!(Ok(paths.iter().map(String::as_str).collect::<Vec<_>>().as_slice()), expected);
                }
                Err(failure) => {
                    assert!(format!("{failure:?}").contains(expected.unwrap_err()), "{failure:?}")
                }
            }
        };
        check(&["BTC-USDT"], None, Ok(&["blofin_BTC-USDT_2026-11-20T200005Z.csv.gz"]));
        check(&["BTC-USDT"], Some("a/b.csv"), Ok(&["a/b.csv"]));
        let two = ["BTC-USDT", "ETH-USDT"];
        check(&two, Some("{symbol}.csv"), Ok(&["BTC-USDT.csv", "ETH-USDT.csv"]));
        check(&two, Some("b.csv"), Err("is one file, but there are 2 pairs; write {symbol}"));
    }
}
