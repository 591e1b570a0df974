//! `[feed.NAME]`: sources of prices.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::later::{NOT_AVAILABLE, gone};
use super::market::{parse_symbol, price, read_symbols};
use super::reader::Table;
use super::schema::{FEED_SOURCES, START_PRICE_DEFAULT, nearest};
use crate::model::amount::{Price, Ratio};
use crate::model::ids::{FeedId, Symbol};
use crate::venue::blofin::instrument::inst_id;

/// The most feeds.
const FEEDS_MAX: usize = 32;
/// The shortest time between two polls of BloFin: 120 a minute for one feed, where 400 are allowed.
const BLOFIN_INTERVAL_MS_MIN: i64 = 500;
/// The shortest staleness of BloFin's prices: its stream has an update at most every 100 ms, a poll takes its time.
const BLOFIN_STALE_MS_MIN: i64 = 1_000;
/// The most symbols of a feed.
const SYMBOLS_MAX: usize = 200;

/// A source of prices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedConfig {
    /// Its name, the topic level that its prices are published under.
    pub id: FeedId,
    /// Its symbols, at least one, none twice, in the order of the file.
    pub symbols: Vec<Symbol>,
    /// How long a price is good after the feed's last word about it, in milliseconds: 100 to 86,400,000.
    pub price_stale_after_ms: i64,
    /// What it reads.
    pub source: FeedSource,
}

impl FeedConfig {
    /// Whether a venue is asked, which tells the figures of its pairs.
    pub fn is_venue(&self) -> bool {
        matches!(self.source, FeedSource::Blofin { .. })
    }

    /// What TradingView calls the exchange whose prices these are; `None` when they are of none in particular.
    pub fn exchange(&self) -> Option<&'static str> {
        match &self.source {
            FeedSource::Blofin { .. } => Some("BLOFIN"),
            FeedSource::Recording { .. } | FeedSource::Synthetic { .. } => None,
        }
    }

    /// By which clock its events are stamped. All feeds of a configuration have the same one.
    pub fn clock(&self) -> FeedClock {
        match &self.source {
            FeedSource::Recording { clock, .. } => *clock,
            FeedSource::Synthetic { .. } | FeedSource::Blofin { .. } => FeedClock::Wall,
        }
    }
}

/// What a feed reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedSource {
    /// Files of recorded trades, quotes or candles.
    Recording {
        /// At least one for each symbol. Events of equal time keep this order.
        files: Vec<RecordedFile>,
        /// How many times faster than it was recorded, 0 to 1,000,000. 0 is as fast as it is consumed; it comes only
        /// with the recorded clock.
        speed: Ratio,
        /// Which times its events have.
        clock: FeedClock,
        /// Whether it starts again at its end. Only with the wall clock.
        repeat: bool,
    },
    /// BloFin's perpetuals.
    Blofin {
        /// Whether only REST is asked and no stream is opened.
        poll_only: bool,
        /// Whether a second stream stands by.
        standby: bool,
        /// Between two polls, in milliseconds: 500 to 3,600,000.
        interval_ms: i64,
    },
    /// A random walk, the same for the same seed.
    Synthetic {
        /// Where the randomness starts.
        seed: u64,
        /// Mean time between two ticks of a symbol, in milliseconds: 10 to 3,600,000.
        interval_ms: i64,
        /// Standard deviation of a day's return, in percent: 0 to 100.
        volatility_pct: Ratio,
        /// Distance of bid and ask, in basis points of the price: 0 to 1000.
        spread_bps: Ratio,
        /// The first price of each symbol.
        start_prices: BTreeMap<Symbol, Price>,
    },
}

/// A file of a recording. What it holds stands in its header line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedFile {
    /// A file that existed when the configuration was read.
    pub path: PathBuf,
    /// The symbol it is about, one of the feed's.
    pub symbol: Symbol,
}

/// Which times the events of a feed have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedClock {
    /// Shifted so that the recording starts now.
    Wall,
    /// As recorded.
    Recorded,
}

pub(super) fn read_feeds(root: &Table) -> Vec<FeedConfig> {
    let tables = root.named("feed");
    if tables.is_empty() {
        root.warning("feed", "there is none, so there are no prices");
    }
    if tables.len() > FEEDS_MAX {
        root.problem("feed", format!("there are {} feeds; at most {FEEDS_MAX} are taken", tables.len()));
    }
    let mut feeds: Vec<FeedConfig> = Vec::new();
    for (name, table) in &tables {
        let id = match FeedId::new(name) {
            Ok(id) => id,
            Err(error) => {
                table.reader.problem(&table.path, error.to_string());
                continue;
            }
        };
        if let Some(other) = feeds.iter().find(|other| other.id.as_str().eq_ignore_ascii_case(name)) {
            table.reader.problem(&table.path, format!("differs from {:?} only by case", other.id));
        }
        let feed = read_feed(id, table);
        if feed.clock() == FeedClock::Recorded && feeds.iter().any(|other| other.clock() == FeedClock::Wall)
            || feed.clock() == FeedClock::Wall
                && feeds.iter().any(|other| other.clock() == FeedClock::Recorded)
        {
            table.problem(
                "clock",
                "the feeds have different clocks; all must be \"wall\" or all \"recorded\"",
            );
        }
        feeds.push(feed);
    }
    feeds
}

fn read_feed(id: FeedId, table: &Table) -> FeedConfig {
    let symbols = read_symbols(table, &[]);
    if symbols.len() > SYMBOLS_MAX {
        table.problem("symbols", format!("has {} entries; at most {SYMBOLS_MAX} are taken", symbols.len()));
    }
    let source = match read_source(id, table).as_str() {
        "recording" => {
            refuse(
                table,
                "recording",
                &["mode", "standby", "seed", "interval_ms", "volatility_pct", "spread_bps", "start_prices"],
            );
            read_recording(table, &symbols)
        }
        "blofin" => {
            const OTHERS: [&str; 8] =
                ["files", "speed", "clock", "repeat", "seed", "volatility_pct", "spread_bps", "start_prices"];
            refuse(table, "blofin", &OTHERS);
            read_blofin(table, &symbols)
        }
        "synthetic" => {
            refuse(table, "synthetic", &["mode", "standby", "files", "speed", "clock", "repeat"]);
            read_synthetic(table, &symbols)
        }
        // The problem is noted; the rest of the keys may be right for that source.
        _ => FeedSource::Recording {
            files: Vec::new(),
            speed: Ratio::ZERO,
            clock: FeedClock::Wall,
            repeat: false,
        },
    };
    FeedConfig { id, symbols, price_stale_after_ms: table.integer("price_stale_after_ms"), source }
}

/// The source, which may be left out when the feed is named after it. Notes one that there is not.
fn read_source(id: FeedId, table: &Table) -> String {
    const USE: &str = "use \"blofin\", \"recording\" or \"synthetic\"";
    let given = table.text_maybe("source");
    let source = given.clone().unwrap_or_else(|| id.to_string());
    let lower = source.to_lowercase();
    if FEED_SOURCES.contains(&source.as_str()) {
        return source;
    }
    let why = if let Some(why) = gone(&source) {
        format!("{why}; {USE}")
    } else if matches!(lower.as_str(), "okx" | "binance") {
        format!("{source:?} {NOT_AVAILABLE}; {USE}")
    } else if given.is_some() {
        let near =
            nearest(&source, FEED_SOURCES.iter().copied()).map(|near| format!("; did you mean {near:?}?"));
        format!("{source:?} is not a source; {}", near.map_or(USE.to_owned(), |near| near[2..].to_owned()))
    } else {
        format!("is missing, and the feed's name is not a source; {USE}")
    };
    table.problem("source", why);
    String::new()
}

fn refuse(table: &Table, source: &str, names: &[&str]) {
    for name in names.iter().filter(|name| table.has(name)) {
        table.problem(name, format!("a {source:?} feed does not have this key"));
    }
}

fn read_blofin(table: &Table, symbols: &[Symbol]) -> FeedSource {
    let interval_ms = table.integer("interval_ms");
    if interval_ms < BLOFIN_INTERVAL_MS_MIN {
        let range = format!("{BLOFIN_INTERVAL_MS_MIN} to 3600000");
        table.problem("interval_ms", format!("{interval_ms} is out of range of a venue; it must be {range}"));
    }
    let stale_after_ms = table.integer("price_stale_after_ms");
    if stale_after_ms < BLOFIN_STALE_MS_MIN {
        let text =
            format!("{stale_after_ms} is too short for a venue; it must be at least {BLOFIN_STALE_MS_MIN}");
        table.problem("price_stale_after_ms", text);
    }
    for (index, symbol) in symbols.iter().enumerate() {
        let path = format!("{}[{index}]", table.path_of("symbols"));
        match inst_id(*symbol) {
            None => {
                table.reader.problem(&path, format!("\"{symbol}\" is a spot pair, which {NOT_AVAILABLE}"))
            }
            Some(name) if symbols[..index].iter().any(|other| inst_id(*other) == Some(name)) => {
                table
                    .reader
                    .problem(&path, format!("\"{symbol}\" is in the list already, under another name"));
            }
            Some(_) => {}
        }
    }
    let (poll_only, standby) = (table.word("mode") == "poll", table.flag("standby"));
    if poll_only && standby {
        table.problem("standby", "true has no effect with mode = \"poll\", which has no stream");
    }
    FeedSource::Blofin { poll_only, standby, interval_ms }
}

fn read_recording(table: &Table, symbols: &[Symbol]) -> FeedSource {
    let mut files: Vec<RecordedFile> = Vec::new();
    for file in table.tables("files") {
        let Some(path) = file.file_path("path") else {
            file.problem("path", "is missing");
            continue;
        };
        if !path.is_file() {
            file.problem("path", format!("{:?} is not a file that exists", path.display().to_string()));
        }
        match parse_symbol(&file.text("symbol")) {
            Ok(symbol) if symbols.contains(&symbol) => files.push(RecordedFile { path, symbol }),
            Ok(symbol) => {
                file.problem("symbol", format!("\"{symbol}\" is not in {}", table.path_of("symbols")))
            }
            Err(why) => file.problem("symbol", why),
        }
    }
    if !table.has("files") {
        table.problem("files", "is missing; write [{ path = \"...\", symbol = \"...\" }]");
    } else if let Some(symbol) =
        symbols.iter().find(|symbol| files.iter().all(|file| file.symbol != **symbol))
    {
        table.problem("files", format!("has no file of \"{symbol}\""));
    }
    let speed = Ratio::new(table.number("speed"));
    let clock = if table.word("clock") == "recorded" { FeedClock::Recorded } else { FeedClock::Wall };
    let repeat = table.flag("repeat");
    if speed.is_zero() && clock == FeedClock::Wall {
        table.problem("speed", "0 (as fast as it is consumed) needs clock = \"recorded\"");
    }
    if repeat && clock == FeedClock::Recorded {
        table.problem("repeat", "true needs clock = \"wall\": recorded time does not go back");
    }
    FeedSource::Recording { files, speed, clock, repeat }
}

fn read_synthetic(table: &Table, symbols: &[Symbol]) -> FeedSource {
    let mut start_prices: BTreeMap<Symbol, Price> =
        symbols.iter().map(|symbol| (*symbol, price(START_PRICE_DEFAULT))).collect();
    for (name, number) in table.numbers("start_prices") {
        let known = symbols.iter().find(|symbol| symbol.as_str() == name);
        match known.and_then(|symbol| start_prices.get_mut(symbol)) {
            Some(start) => *start = Price::new(number),
            None => {
                let path = super::schema::join(&table.path_of("start_prices"), &name);
                table.reader.problem(&path, format!("{name:?} is not in {}", table.path_of("symbols")));
            }
        }
    }
    FeedSource::Synthetic {
        seed: table.integer("seed").unsigned_abs(),
        interval_ms: table.integer("interval_ms"),
        volatility_pct: Ratio::new(table.number("volatility_pct")),
        spread_bps: Ratio::new(table.number("spread_bps")),
        start_prices,
    }
}
