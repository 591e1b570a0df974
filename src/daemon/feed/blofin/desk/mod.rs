//! What the feed decides: what to ask for and when, and what becomes of what comes. It waits for nothing itself.

mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::BlofinFeed;
use super::catalog::Catalog;
use super::errand::{Ask, Errand};
use super::link::LinkEvent;
use super::missed::Missed;
use super::queue::Queue;
use super::rest::{Answer, Rest, RestError};
use super::streams::Streams;
use crate::daemon::clock::Clock;
use crate::daemon::feed::{Notice, Quality};
use crate::engine::effect::AlertLevel;
use crate::model::ids::{FeedId, Symbol};
use crate::model::market::{MarketEvent, PriceUpdate};
use crate::venue::blofin::request::{self, Bar, Channel, Topic};
use crate::venue::blofin::stream::{self, Frame};
use crate::venue::blofin::translate::{Price, Translator};

/// Between two lists of instruments.
const INSTRUMENTS_EVERY: Duration = Duration::from_secs(3_600);
/// Between two polls of the mark prices.
const MARKS_EVERY: Duration = Duration::from_secs(5);
/// Polls in a row that know something new of a pair whose stream is silent, until its subscription counts as lost.
const MISSES_MAX: u8 = 2;
/// What a new delay weighs in the latency that is shown.
const LATENCY_WEIGHT: i64 = 16;

/// A request that came back.
pub(super) struct Job {
    pub(super) ask: Ask,
    pub(super) answer: Result<Answer, RestError>,
    pub(super) rest: Rest,
}

/// Where prices come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Stream,
    /// An answer about how it stands now.
    Poll,
    /// An answer about trades that are over.
    Past,
}

/// What is known of a pair's own messages.
#[derive(Clone, Copy, Debug)]
struct Heard {
    stream: Instant,
    any: Instant,
    misses: u8,
}

/// The feed's state.
pub(super) struct Desk {
    id: FeedId,
    clock: Clock,
    poll_only: bool,
    interval: Duration,
    /// How long a pair may say nothing until it is asked for.
    silence: Duration,
    catalog: Catalog,
    translator: Translator,
    pub(super) queue: Queue,
    prices: Vec<Price>,
    heard: BTreeMap<Symbol, Heard>,
    instruments: Errand,
    tickers: Errand,
    marks: Errand,
    streams: Streams,
    missed: Missed,
    is_polling: bool,
    /// Whether all pairs are to be asked for, because the stream is new.
    wants_snapshot: bool,
    quality: Quality,
    /// Why there are no prices.
    trouble: Option<String>,
    /// Why pairs are missing.
    refused: Option<String>,
    /// What the venue last said about a subscription.
    refusal: Option<String>,
    notices: Vec<Notice>,
    reviewed: (Instant, u64, u64),
}

impl Desk {
    pub(super) fn new(id: FeedId, feed: &BlofinFeed, clock: Clock) -> Desk {
        let now = Instant::now();
        let mut desk = Desk {
            id,
            clock,
            poll_only: feed.poll_only,
            interval: feed.interval,
            silence: feed.stale_after / 2,
            catalog: Catalog::open(feed.symbols.clone(), feed.catalog.clone()),
            translator: Translator::default(),
            queue: Queue::default(),
            prices: Vec::new(),
            heard: BTreeMap::new(),
            instruments: Errand::new(now),
            tickers: Errand::new(now),
            marks: Errand::new(now),
            streams: Streams::default(),
            missed: Missed::default(),
            is_polling: false,
            wants_snapshot: false,
            quality: Quality::default(),
            trouble: None,
            refused: None,
            refusal: None,
            notices: Vec::new(),
            reviewed: (now, 0, 0),
        };
        let known: Vec<Symbol> = desk.catalog.symbols().map(|(symbol, _)| symbol).collect();
        desk.list(&known, now);
        desk
    }

    /// Whether prices of any pair can be had.
    pub(super) fn is_listed(&self) -> bool {
        !self.heard.is_empty()
    }

    /// What the stream is asked for.
    fn topics(&self) -> Vec<Topic> {
        self.catalog.symbols().flat_map(|(_, listing)| topics_of(listing.symbol())).collect()
    }

    /// Frames for one of the streams, once.
    pub(super) fn take_frames(&mut self, index: usize) -> Vec<String> {
        self.streams.take_frames(index)
    }

    /// What is to be asked for now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Ask> {
        self.review(now);
        self.missed.overdue(now).into_iter().for_each(|pair| self.release(pair, now));
        let mut asks = Vec::new();
        if self.instruments.start(now) {
            asks.push(Ask::Instruments);
        }
        if !self.is_listed() {
            return asks;
        }
        asks.extend(self.missed.take_due().into_iter().map(Ask::Trades));
        let polls = self.poll_only || self.streams.up() == 0;
        let silent = self.heard.values().any(|heard| now.duration_since(heard.any) >= self.silence);
        // What was missed comes before the snapshot, which is newer.
        let asks_stream = (silent || self.wants_snapshot) && self.missed.is_over();
        if (polls || asks_stream) && self.tickers.start(now) {
            asks.push(Ask::Tickers);
        }
        if polls && self.marks.start(now) {
            asks.push(Ask::Marks);
        }
        asks
    }

    /// Takes what a request brought.
    pub(super) fn answered(&mut self, job: Job, now: Instant) {
        let Job { ask, answer, rest } = job;
        let rows = answer.as_ref().map_err(Clone::clone).and_then(|answer| rest.rows(answer));
        let time = self.clock.now();
        match (ask, &rows) {
            (Ask::Trades(pair), rows) => return self.fetched(pair, rows.as_deref().unwrap_or_default(), now),
            (Ask::Instruments, Ok(rows)) => {
                let found = self.catalog.update(rows, false);
                self.list(&found.listed, now);
                for text in found.changed {
                    self.notice(AlertLevel::Warning, "instrument_changed", text);
                }
                let refused = Some(found.refused.join("; ")).filter(|text| !text.is_empty());
                if refused != self.refused {
                    for text in found.refused {
                        self.notice(AlertLevel::Error, "instrument_refused", text);
                    }
                    self.refused = refused;
                }
            }
            (Ask::Tickers, Ok(rows)) => {
                self.translator.tickers(time, rows, &mut self.prices);
                self.quality.polls += 1;
                self.is_polling = true;
                self.wants_snapshot = false;
                self.trouble = None;
                self.deliver(now, Origin::Poll);
            }
            (Ask::Marks, Ok(rows)) => {
                self.translator.mark_prices(time, rows, &mut self.prices);
                self.deliver(now, Origin::Poll);
            }
            (_, Err(error)) => self.failed(ask, error),
        }
        let failed = rows.err();
        let (errand, every) = match ask {
            Ask::Instruments => (&mut self.instruments, INSTRUMENTS_EVERY),
            Ask::Tickers => (&mut self.tickers, self.interval),
            _ => (&mut self.marks, MARKS_EVERY),
        };
        errand.end(now, every, failed.as_ref());
    }

    /// Takes the last trades of a pair, as far as they are news; without any, what the stream brought goes on.
    fn fetched(&mut self, pair: Symbol, rows: &[&RawValue], now: Instant) {
        self.translator.trades(self.clock.now(), rows, &mut self.prices);
        self.quality.fetched += self.prices.len() as u64;
        self.deliver(now, Origin::Past);
        self.release(pair, now);
    }

    /// Takes the frames of a pair that had to wait.
    fn release(&mut self, pair: Symbol, now: Instant) {
        for frame in self.missed.end(pair) {
            self.text(0, &frame, now);
        }
    }

    fn failed(&mut self, ask: Ask, error: &RestError) {
        tracing::debug!(feed = self.id.as_str(), ?ask, "poll: {error}");
        let text = match ask {
            Ask::Tickers => format!("polling: {error}; it is tried again"),
            Ask::Instruments if !self.is_listed() => {
                format!("the venue's instruments are not known yet: {error}; it is tried again")
            }
            _ => return,
        };
        self.is_polling = false;
        if self.streams.up() == 0 && self.trouble.as_ref() != Some(&text) {
            tracing::warn!(feed = self.id.as_str(), "{text}");
            self.trouble = Some(text);
        }
    }

    /// Takes what a stream says.
    pub(super) fn news(&mut self, index: usize, news: LinkEvent, now: Instant) {
        match news {
            LinkEvent::Up => {
                tracing::info!(feed = self.id.as_str(), stream = index, "stream connected");
                self.trouble = None;
                let is_back = self.streams.were_up();
                let frames = request::subscribe(&self.topics());
                if self.streams.connected(index, frames) {
                    self.after_break(is_back, now);
                }
            }
            LinkEvent::Down(error, wait) => {
                let retry_in_ms = wait.as_millis();
                tracing::warn!(feed = self.id.as_str(), stream = index, retry_in_ms, "stream: {error}");
                if self.streams.up() == 0 && !self.is_polling {
                    self.trouble.get_or_insert(format!("stream: {error}; it is tried again"));
                }
                if self.streams.lost(index) {
                    // Polls take over at once.
                    (self.tickers.due, self.marks.due) = (now, now);
                    self.is_polling = false;
                    self.missed.all().into_iter().for_each(|pair| self.release(pair, now));
                }
            }
            LinkEvent::Text(text) => self.text(index, &text, now),
        }
    }

    /// A stream has no replay: what it missed is asked for, first the trades, then how it stands now.
    fn after_break(&mut self, is_back: bool, now: Instant) {
        self.tickers.due = now;
        self.wants_snapshot = true;
        // Nobody could be heard meanwhile.
        self.heard.values_mut().for_each(|heard| (heard.stream, heard.misses) = (now, 0));
        if is_back {
            self.missed.begin(now, self.translator.traded().into_iter());
        }
    }

    fn text(&mut self, index: usize, text: &Utf8Bytes, now: Instant) {
        match stream::read(text) {
            Ok(Frame::Data { topic: (Channel::MarkCandle(_), _), .. }) if !self.streams.leads(index) => {}
            Ok(Frame::Data { topic, rows }) => {
                if topic.0 == Channel::Trades && self.missed.waits_for(topic.1) {
                    if self.missed.hold(topic.1, text) {
                        return;
                    }
                    self.release(topic.1, now);
                }
                self.translator.rows(self.clock.now(), topic, &rows, &mut self.prices);
                self.deliver(now, Origin::Stream);
            }
            Ok(Frame::Error { code, text }) => {
                let text = format!("the venue refuses a subscription with code {code}: {text}");
                // The same words with every reconnect say nothing new.
                if self.refusal.as_ref() != Some(&text) {
                    self.notice(AlertLevel::Error, "subscription_refused", text.clone());
                    self.refusal = Some(text);
                }
            }
            Ok(Frame::Pong | Frame::Subscribed(_) | Frame::Unsubscribed(_) | Frame::Other) => {}
            Err(dropped) => self.translator.drop_row(&dropped),
        }
    }

    /// Hands prices to the queue, and notes who was heard of.
    fn deliver(&mut self, now: Instant, origin: Origin) {
        let time_now = self.clock.now();
        let mut missing = BTreeSet::new();
        for (symbol, time, update) in std::mem::take(&mut self.prices) {
            let is_mark = matches!(update, PriceUpdate::Mark { .. });
            if let Some(heard) = self.heard.get_mut(&symbol).filter(|_| !is_mark) {
                let silent = now.duration_since(heard.stream) >= self.silence;
                heard.any = now;
                if origin == Origin::Stream {
                    (heard.stream, heard.misses) = (now, 0);
                } else if origin == Origin::Poll && silent && update != PriceUpdate::Confirmed {
                    missing.insert(symbol);
                }
            }
            if origin == Origin::Stream && !is_mark {
                let delay_ms = time_now.since_ms(time);
                let latency_ms = self.quality.latency_ms.unwrap_or(delay_ms);
                self.quality.latency_ms = Some(latency_ms + (delay_ms - latency_ms) / LATENCY_WEIGHT);
            }
            self.queue.push(MarketEvent { feed: self.id, symbol, time, update });
        }
        if self.streams.up() > 0 {
            missing.into_iter().for_each(|symbol| self.missing(symbol, now));
        }
    }

    /// A poll knows something new of a pair that the stream is silent about. When that happens again, it is no chance.
    fn missing(&mut self, symbol: Symbol, now: Instant) {
        let Some(heard) = self.heard.get_mut(&symbol) else { return };
        heard.misses += 1;
        if heard.misses < MISSES_MAX {
            return;
        }
        (heard.misses, heard.stream) = (0, now);
        self.quality.gaps += 1;
        let (feed, symbol_text) = (self.id.as_str(), symbol.as_str());
        tracing::warn!(feed, symbol = symbol_text, "silent in the stream: subscribed again");
        self.subscribe(symbol);
    }

    /// Makes pairs known to the engine and the stream, with their steps.
    fn list(&mut self, symbols: &[Symbol], now: Instant) {
        let time = self.clock.now();
        for symbol in symbols {
            let Some((_, listing)) = self.catalog.symbols().find(|(listed, _)| listed == symbol) else {
                continue;
            };
            self.translator.list(*symbol, listing);
            if let Some(update) = self.catalog.steps(*symbol) {
                self.queue.push(MarketEvent { feed: self.id, symbol: *symbol, time, update });
            }
            let is_new = !self.heard.contains_key(symbol);
            let heard = Heard { stream: now, any: now, misses: 0 };
            self.heard.entry(*symbol).or_insert(heard);
            if is_new && self.streams.were_up() {
                self.subscribe(*symbol);
            }
        }
    }

    fn subscribe(&mut self, symbol: Symbol) {
        let listing =
            self.catalog.symbols().find(|(listed, _)| *listed == symbol).map(|(_, listing)| listing);
        let Some(topics) = listing.map(|listing| topics_of(listing.symbol())) else { return };
        self.streams.tell(&request::unsubscribe(&topics));
        self.streams.tell(&request::subscribe(&topics));
    }
}

/// What is subscribed to for a pair: every trade, the best prices, and the mark.
fn topics_of(pair: Symbol) -> [Topic; 3] {
    [Channel::Trades, Channel::Books5, Channel::MarkCandle(Bar::M1)].map(|channel| (channel, pair))
}
