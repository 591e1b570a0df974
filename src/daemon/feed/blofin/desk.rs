//! What the feed decides: what to ask for and when, and what becomes of what comes. It waits for nothing itself.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::catalog::Catalog;
use super::errand::Errand;
use super::link::LinkEvent;
use super::queue::Queue;
use super::rest::{Answer, Rest, RestError};
use super::{BlofinFeed, Outlet};
use crate::daemon::clock::Clock;
use crate::daemon::feed::{FeedStatus, Notice, Quality};
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
/// What is counted is looked at this often, and alerted when it is too much.
const REVIEW_EVERY: Duration = Duration::from_secs(60);
/// Wrong rows between two reviews that are alerted.
const FAULTS_MAX: u64 = 10;
/// Polls in a row that know something new of a pair whose stream is silent, until its subscription counts as lost.
const MISSES_MAX: u8 = 2;
/// What a new delay weighs in the latency that is shown.
const LATENCY_WEIGHT: i64 = 16;

/// A request that came back.
pub(super) struct Job {
    pub(super) path: &'static str,
    pub(super) answer: Result<Answer, RestError>,
    pub(super) rest: Rest,
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
    is_streaming: bool,
    is_polling: bool,
    /// Whether all pairs are to be asked for, because the stream is new.
    wants_snapshot: bool,
    connections: u32,
    frames: Vec<String>,
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
            is_streaming: false,
            is_polling: false,
            wants_snapshot: false,
            connections: 0,
            frames: Vec::new(),
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

    /// Frames for the stream, once.
    pub(super) fn take_frames(&mut self) -> Vec<String> {
        std::mem::take(&mut self.frames)
    }

    /// The paths that are to be asked for now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<&'static str> {
        self.review(now);
        let mut paths = Vec::new();
        if self.instruments.start(now) {
            paths.push(request::INSTRUMENTS);
        }
        if !self.is_listed() {
            return paths;
        }
        let polls = self.poll_only || !self.is_streaming;
        let silent = self.heard.values().any(|heard| now.duration_since(heard.any) >= self.silence);
        if (polls || silent || self.wants_snapshot) && self.tickers.start(now) {
            paths.push(request::TICKERS);
        }
        if polls && self.marks.start(now) {
            paths.push(request::MARK_PRICES);
        }
        paths
    }

    /// Takes what a request brought.
    pub(super) fn answered(&mut self, job: Job, now: Instant) {
        let Job { path, answer, rest } = job;
        let rows = answer.as_ref().map_err(Clone::clone).and_then(|answer| rest.rows(answer));
        let time = self.clock.now();
        match (path, &rows) {
            (request::INSTRUMENTS, Ok(rows)) => {
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
            (request::TICKERS, Ok(rows)) => {
                self.translator.tickers(time, rows, &mut self.prices);
                self.quality.polls += 1;
                self.is_polling = true;
                self.wants_snapshot = false;
                self.trouble = None;
                self.deliver(now, false);
            }
            (_, Ok(rows)) => {
                self.translator.mark_prices(time, rows, &mut self.prices);
                self.deliver(now, false);
            }
            (_, Err(error)) => self.failed(path, error),
        }
        let failed = rows.err();
        let (errand, every) = match path {
            request::INSTRUMENTS => (&mut self.instruments, INSTRUMENTS_EVERY),
            request::TICKERS => (&mut self.tickers, self.interval),
            _ => (&mut self.marks, MARKS_EVERY),
        };
        errand.end(now, every, failed.as_ref());
    }

    fn failed(&mut self, path: &str, error: &RestError) {
        tracing::debug!(feed = self.id.as_str(), path, "poll: {error}");
        let text = match path {
            request::TICKERS => format!("polling: {error}; it is tried again"),
            request::INSTRUMENTS if !self.is_listed() => {
                format!("the venue's instruments are not known yet: {error}; it is tried again")
            }
            _ => return,
        };
        self.is_polling = false;
        if !self.is_streaming && self.trouble.as_ref() != Some(&text) {
            tracing::warn!(feed = self.id.as_str(), "{text}");
            self.trouble = Some(text);
        }
    }

    /// Takes what the stream says.
    pub(super) fn news(&mut self, news: LinkEvent, now: Instant) {
        match news {
            LinkEvent::Up => {
                tracing::info!(feed = self.id.as_str(), "stream connected");
                self.is_streaming = true;
                self.trouble = None;
                self.connections += 1;
                self.frames = request::subscribe(&self.topics());
                // A stream has no replay: what it missed is asked for.
                self.tickers.due = now;
                self.wants_snapshot = true;
            }
            LinkEvent::Down(error, wait) => {
                tracing::warn!(feed = self.id.as_str(), retry_in_ms = wait.as_millis(), "stream: {error}");
                if !self.is_streaming && !self.is_polling {
                    self.trouble.get_or_insert(format!("stream: {error}; it is tried again"));
                }
                if self.is_streaming {
                    // Polls take over at once.
                    (self.tickers.due, self.marks.due) = (now, now);
                    self.is_polling = false;
                }
                self.is_streaming = false;
            }
            LinkEvent::Text(text) => self.text(&text, now),
        }
    }

    fn text(&mut self, text: &str, now: Instant) {
        match stream::read(text) {
            Ok(Frame::Data { topic, rows }) => {
                self.translator.rows(self.clock.now(), topic, &rows, &mut self.prices);
                self.deliver(now, true);
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
    fn deliver(&mut self, now: Instant, by_stream: bool) {
        let time_now = self.clock.now();
        for (symbol, time, update) in std::mem::take(&mut self.prices) {
            let is_mark = matches!(update, PriceUpdate::Mark { .. });
            if let Some(heard) = self.heard.get_mut(&symbol).filter(|_| !is_mark) {
                let silent = now.duration_since(heard.stream) >= self.silence;
                heard.any = now;
                if by_stream {
                    heard.stream = now;
                    heard.misses = 0;
                } else if self.is_streaming && silent && update != PriceUpdate::Confirmed {
                    heard.misses += 1;
                }
            }
            if by_stream && !is_mark {
                let delay_ms = time_now.since_ms(time);
                let latency_ms = self.quality.latency_ms.unwrap_or(delay_ms);
                self.quality.latency_ms = Some(latency_ms + (delay_ms - latency_ms) / LATENCY_WEIGHT);
            }
            self.queue.push(MarketEvent { feed: self.id, symbol, time, update });
        }
        let lost: Vec<Symbol> = self
            .heard
            .iter()
            .filter(|(_, heard)| heard.misses >= MISSES_MAX)
            .map(|(symbol, _)| *symbol)
            .collect();
        for symbol in lost {
            tracing::warn!(
                feed = self.id.as_str(),
                symbol = symbol.as_str(),
                "silent in the stream: subscribed again"
            );
            self.quality.gaps += 1;
            if let Some(heard) = self.heard.get_mut(&symbol) {
                (heard.misses, heard.stream) = (0, now);
            }
            self.subscribe(symbol);
        }
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
            if is_new && self.connections > 0 {
                self.subscribe(*symbol);
            }
        }
    }

    fn subscribe(&mut self, symbol: Symbol) {
        let listing =
            self.catalog.symbols().find(|(listed, _)| *listed == symbol).map(|(_, listing)| listing);
        let Some(topics) = listing.map(|listing| topics_of(listing.symbol())) else { return };
        self.frames.extend(request::unsubscribe(&topics));
        self.frames.extend(request::subscribe(&topics));
    }

    /// Alerts what became too much since the last look.
    fn review(&mut self, now: Instant) {
        let (faults, overflowed) = (self.translator.drops().faults(), self.queue.overflowed);
        let (since, faults_before, overflowed_before) = self.reviewed;
        if now.duration_since(since) < REVIEW_EVERY {
            return;
        }
        self.reviewed = (now, faults, overflowed);
        if faults - faults_before >= FAULTS_MAX {
            let last = self.translator.take_last_fault().unwrap_or_default();
            let text = format!(
                "{} rows of the venue were dropped in a minute, the last: {last}",
                faults - faults_before
            );
            self.notice(AlertLevel::Warning, "prices_dropped", text);
        }
        if overflowed > overflowed_before {
            let text = format!(
                "{} trades were dropped: the engine does not keep up",
                overflowed - overflowed_before
            );
            self.notice(AlertLevel::Error, "trades_dropped", text);
        }
    }

    fn notice(&mut self, level: AlertLevel, code: &'static str, text: String) {
        let text = format!("feed {}: {text}", self.id);
        self.notices.push(Notice { level, code, text, time: self.clock.now() });
    }

    /// Tells how the feed is.
    pub(super) fn report(&mut self, outlet: &Outlet) {
        let drops = self.translator.drops();
        self.quality.dropped =
            drops.iter().filter(|(reason, _)| reason.is_fault()).map(|(_, count)| count).sum();
        (self.quality.conflated, self.quality.overflowed) = (self.queue.conflated, self.queue.overflowed);
        self.quality.source = match (self.is_streaming, self.is_polling) {
            (true, _) => "stream",
            (false, true) => "poll",
            (false, false) => "none",
        };
        let connected = self.is_streaming || self.is_polling;
        let error = self.trouble.clone().or_else(|| self.refused.clone());
        let reconnects = self.connections.saturating_sub(1);
        let (quality, time) = (self.quality, self.clock.now());
        let notices = &mut self.notices;
        outlet.update(|status: &mut FeedStatus| {
            let before = status.quality.map(|quality| quality.source);
            let changed = status.connected != connected
                || status.error != error
                || status.reconnects != reconnects
                || before != Some(quality.source)
                || !notices.is_empty();
            if status.connected != connected || status.since.is_none() {
                status.since = Some(time);
            }
            status.connected = connected;
            status.error = error;
            status.reconnects = reconnects;
            status.quality = Some(quality);
            status.add(notices.drain(..));
            changed
        });
    }
}

/// What is subscribed to for a pair: every trade, the best prices, and the mark.
fn topics_of(pair: Symbol) -> [Topic; 3] {
    [Channel::Trades, Channel::Books5, Channel::MarkCandle(Bar::M1)].map(|channel| (channel, pair))
}
