//! `feed`: prices straight from their source, without a daemon.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::Duration;

use super::arguments::{Arguments, FeedArguments};
use super::exit::{Exit, Failure};
use super::output::Align::{Left, Right};
use super::output::{self, Align, table};
use super::settings;
use crate::config::Config;
use crate::daemon::feed::FeedStatus;
use crate::daemon::onlooker::{self, Seen};
use crate::engine::effect::{Effect, PriceView, Update};
use crate::engine::price_module::PriceModule;
use crate::message::topic::Topics;
use crate::message::view;
use crate::model::amount::Price;
use crate::model::ids::FeedId;
use crate::model::time::Timestamp;

/// Between two tables where nobody can be shown one in place of the other, in milliseconds.
const PRINT_EVERY_MS: i64 = 1_000;
/// Clears a terminal and begins at its top.
const CLEAR: &str = "\x1b[H\x1b[2J";

const COLUMNS: [(&str, Align); 7] = [
    ("symbol", Left),
    ("last", Right),
    ("bid", Right),
    ("ask", Right),
    ("mark", Right),
    ("age_ms", Right),
    ("stale", Left),
];

/// Shows prices: once when all are there, or until it is stopped.
pub fn feed(arguments: &Arguments, command: &FeedArguments) -> Result<Exit, Failure> {
    let config = settings::load_feed(arguments, &command.from)?;
    let mut board = Board::new(&config);
    let wait = Duration::from_secs(u64::from(command.wait_s));
    let lasts = (!command.watch).then_some(wait);
    onlooker::run(&config, lasts, |now, seen| {
        let lines = board.take(now, &seen);
        if !command.watch {
            return Ok::<_, Failure>(if board.is_complete() { ControlFlow::Break(()) } else { CONTINUE });
        }
        if arguments.json {
            return lines.into_iter().try_fold(CONTINUE, |flow, line| {
                if flow.is_break() { Ok(flow) } else { output::offer(&format!("{line}\n")) }
            });
        }
        if matches!(seen, Seen::Tick) { board.show(now) } else { Ok(CONTINUE) }
    })?;
    if command.watch {
        return Ok(Exit::OK);
    }
    match arguments.json {
        true => board.prices().try_for_each(|price| output::print_line(&json(&board.topics, price)))?,
        false => output::print(&board.text())?,
    }
    match board.missing() {
        None => Ok(Exit::OK),
        Some(why) => Err(Failure::unavailable(why)),
    }
}

const CONTINUE: ControlFlow<()> = ControlFlow::Continue(());

/// The newest prices, as the daemon's engine would have them.
struct Board {
    prices: PriceModule,
    feeds: BTreeMap<FeedId, FeedStatus>,
    topics: Topics,
    is_terminal: bool,
    now: Timestamp,
    shown: Option<Timestamp>,
    changed: bool,
}

impl Board {
    fn new(config: &Config) -> Board {
        let settings = config.engine_settings();
        let mut prices = PriceModule::new(&settings);
        // Every event is a tick then, with the words of the topic `tick/`.
        settings.markets.iter().for_each(|market| prices.listen(market.key, 0, true));
        Board {
            prices,
            feeds: BTreeMap::new(),
            topics: Topics::new(&config.mqtt.base_topic),
            is_terminal: std::io::stdout().is_terminal(),
            now: Timestamp::MIN,
            shown: None,
            changed: false,
        }
    }

    /// Takes what is seen; gives it as lines for programs.
    fn take(&mut self, now: Timestamp, seen: &Seen) -> Vec<String> {
        self.now = now;
        match seen {
            Seen::Tick => Vec::new(),
            Seen::Feed(id, status) => {
                let before = self.feeds.insert(*id, (*status).clone()).unwrap_or_default();
                // What goes wrong is said once, beside the prices.
                let notices = status.notices_after(before.noticed).map(|notice| notice.text.clone());
                let error = status.error.clone().filter(|_| status.error != before.error);
                notices.chain(error).for_each(|text| eprintln!("{text}"));
                self.changed = true;
                Vec::new()
            }
            Seen::Price(arrival) => {
                let mut effects = Vec::new();
                self.prices.on_event(now, &arrival.event, &mut effects);
                self.changed = true;
                let ticks = effects.into_iter().filter_map(|effect| match effect {
                    Effect::Publish(update @ Update::Tick(_)) => Some(update),
                    _ => None,
                });
                ticks.flat_map(|tick| view::update(&self.topics, &tick)).map(|tick| tick.payload).collect()
            }
        }
    }

    fn prices(&self) -> impl Iterator<Item = PriceView> {
        self.prices.markets().iter().map(|market| market.price_view(self.now))
    }

    /// Whether there is a last price of every pair.
    fn is_complete(&self) -> bool {
        self.prices().all(|price| price.last.is_some())
    }

    /// Why pairs have no price, if some have none.
    fn missing(&self) -> Option<String> {
        let pairs = self.prices().filter(|price| price.last.is_none());
        let pairs: Vec<String> = pairs.map(|price| price.key.symbol.to_string()).collect();
        let error = self.feeds.values().find_map(|status| status.error.clone());
        let error = error.map(|error| format!(": {error}")).unwrap_or_default();
        (!pairs.is_empty()).then(|| format!("no price of {} in time{error}", pairs.join(", ")))
    }

    /// Shows the table in place of the last one, or below it where nothing can be replaced.
    fn show(&mut self, now: Timestamp) -> Result<ControlFlow<()>, Failure> {
        let waited = self.shown.is_none_or(|shown| now.since_ms(shown) >= PRINT_EVERY_MS);
        // On a terminal ages are seen growing, too.
        if !(self.is_terminal || self.changed && waited) {
            return Ok(CONTINUE);
        }
        let text = self.text();
        let first = self.shown.replace(now).is_none();
        self.changed = false;
        output::offer(&match (self.is_terminal, first) {
            (true, _) => format!("{CLEAR}{text}"),
            (false, true) => text,
            (false, false) => format!("\n{text}"),
        })
    }

    fn text(&self) -> String {
        let number = |price: Option<Price>| price.map_or_else(|| "-".to_owned(), |price| price.to_string());
        let rows = self.prices.markets().iter().map(|market| {
            let price = market.price_view(self.now);
            vec![
                price.key.symbol.to_string(),
                number(price.last),
                number(price.bid),
                number(price.ask),
                number(price.mark),
                market.age_ms(self.now).map_or_else(|| "-".to_owned(), |age_ms| age_ms.to_string()),
                if price.stale { "stale".to_owned() } else { String::new() },
            ]
        });
        let mut text = table(&COLUMNS, rows);
        self.feeds.iter().for_each(|(id, status)| text.push_str(&format!("\n{id}: {}\n", words(status))));
        text
    }
}

fn json(topics: &Topics, price: PriceView) -> String {
    let messages = view::update(topics, &Update::Price(price));
    messages.into_iter().map(|message| message.payload).collect()
}

/// How a feed is.
fn words(status: &FeedStatus) -> String {
    let mut text = match (&status.quality, status.connected) {
        (Some(quality), true) => {
            let latency = quality.latency_ms.map(|ms| format!(", latency {ms} ms")).unwrap_or_default();
            format!(
                "{}{latency}, {} reconnects, {} gaps, {} dropped",
                quality.source, status.reconnects, quality.gaps, quality.dropped
            )
        }
        (_, true) => "connected".to_owned(),
        (_, false) => "not connected".to_owned(),
    };
    if let Some(error) = &status.error {
        text.push_str(&format!("; {error}"));
    }
    text
}
