//! What the daemon says about itself: info, health, and the state of each feed.

use super::json::Object;
use crate::engine::settings::EngineSettings;
use crate::model::ids::FeedId;
use crate::model::time::Timestamp;

/// Figures of the running daemon. Totals count since the start.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Resident memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Batches that wait for the disk.
    pub commits_waiting: u64,
    /// Group commits.
    pub commits: u64,
    /// Bytes written to the journal.
    pub bytes_written: u64,
    /// Records in the journal.
    pub records: u64,
    /// Event messages that wait for the broker.
    pub events_waiting: u64,
    /// Whether more of them wait in the journal.
    pub events_spilled: bool,
    /// Retained topics that wait for the broker.
    pub retained_waiting: u64,
    /// Alerts and ticks that wait for the broker.
    pub transient_waiting: u64,
    /// Messages that were published.
    pub published: u64,
    /// Messages that were given up.
    pub dropped: u64,
    /// Publishes that the broker refused; they are offered again.
    pub refused: u64,
    /// Connections to the broker after the first.
    pub reconnects: u64,
    /// Milliseconds of our last own message to the broker and back.
    pub round_trip_ms: Option<u64>,
    /// Retained commands that were refused and cleared.
    pub retained_refused: u64,
    /// Signals that are remembered.
    pub signals_remembered: u64,
    /// How far the query store is: `opening`, `catching_up`, `ready`, `failed`.
    pub query_state: &'static str,
    /// Records on disk that the query store has not taken over yet.
    pub query_lag: u64,
    /// The connections of the feeds.
    pub feeds: Vec<FeedView>,
    /// Now.
    pub time: Timestamp,
}

/// A feed's connection.
#[derive(Clone, Debug)]
pub struct FeedView {
    /// The feed.
    pub feed: FeedId,
    /// Whether prices come.
    pub connected: bool,
    /// Since when that is so.
    pub since: Option<Timestamp>,
    /// Milliseconds since the last message.
    pub age_ms: Option<i64>,
    /// Messages since the start.
    pub messages: u64,
    /// Connections after the first.
    pub reconnects: u32,
    /// Whether a recording came to its end.
    pub ended: bool,
    /// What went wrong.
    pub error: Option<String>,
    /// How good the connection to a venue is.
    pub quality: Option<FeedQuality>,
    /// Now.
    pub time: Timestamp,
}

/// A connection to a venue. Totals count since the start.
#[derive(Clone, Copy, Debug)]
pub struct FeedQuality {
    /// Where prices come from now: `stream`, `poll` or `none`.
    pub source: &'static str,
    /// Milliseconds from the venue's time of a message to ours, smoothed.
    pub latency_ms: Option<i64>,
    /// Streams that are up.
    pub streams: u64,
    /// Polls that were answered.
    pub polls: u64,
    /// Lost subscriptions.
    pub gaps: u64,
    /// Trades that a break of the stream missed, fetched afterwards.
    pub fetched: u64,
    /// Wrong rows.
    pub dropped: u64,
    /// Quotes that a newer one replaced.
    pub conflated: u64,
    /// Trades that were dropped.
    pub overflowed: u64,
}

/// The payload of `daemon/health`.
pub fn health(health: &Health) -> String {
    let feeds = health.feeds.iter().map(|feed| {
        let quality = feed.quality.as_ref();
        Object::new()
            .shown("feed", feed.feed)
            .flag("connected", feed.connected)
            .integer_or_null("age_ms", feed.age_ms)
            .integer("reconnects", feed.reconnects)
            .text_or_null("source", quality.map(|quality| quality.source))
            .integer_or_null("latency_ms", quality.and_then(|quality| quality.latency_ms))
            .integer_or_null("gaps", quality.and_then(|quality| i64::try_from(quality.gaps).ok()))
            .finish()
    });
    Object::new()
        .integer_or_null("memory_bytes", health.memory_bytes.map(|bytes| bytes as i64))
        .integer("commits_waiting", health.commits_waiting)
        .integer("commits", health.commits)
        .integer("bytes_written", health.bytes_written)
        .integer("records", health.records)
        .integer("events_waiting", health.events_waiting)
        .flag("events_spilled", health.events_spilled)
        .integer("retained_waiting", health.retained_waiting)
        .integer("transient_waiting", health.transient_waiting)
        .integer("published", health.published)
        .integer("dropped", health.dropped)
        .integer("refused", health.refused)
        .integer("reconnects", health.reconnects)
        .integer_or_null("round_trip_ms", health.round_trip_ms.map(|ms| ms as i64))
        .integer("retained_refused", health.retained_refused)
        .integer("signals_remembered", health.signals_remembered)
        .text("query_state", health.query_state)
        .integer("query_lag", health.query_lag)
        .values("feeds", feeds)
        .null("clock_skew_ms")
        .shown("time", health.time)
        .finish()
}

/// The payload of `feed/<feed>`.
pub fn feed(view: &FeedView) -> String {
    let quality = view.quality.as_ref();
    let count = |read: fn(&FeedQuality) -> u64| quality.map(read).and_then(|count| i64::try_from(count).ok());
    Object::new()
        .shown("feed", view.feed)
        .flag("connected", view.connected)
        .text_or_null("since", view.since.map(|time| time.to_string()).as_deref())
        .integer_or_null("age_ms", view.age_ms)
        .integer("messages", view.messages)
        .integer("reconnects", view.reconnects)
        .flag("ended", view.ended)
        .text_or_null("error", view.error.as_deref())
        .text_or_null("source", quality.map(|quality| quality.source))
        .integer_or_null("latency_ms", quality.and_then(|quality| quality.latency_ms))
        .integer_or_null("streams", count(|quality| quality.streams))
        .integer_or_null("polls", count(|quality| quality.polls))
        .integer_or_null("gaps", count(|quality| quality.gaps))
        .integer_or_null("fetched", count(|quality| quality.fetched))
        .integer_or_null("dropped", count(|quality| quality.dropped))
        .integer_or_null("conflated", count(|quality| quality.conflated))
        .integer_or_null("overflowed", count(|quality| quality.overflowed))
        .shown("time", view.time)
        .finish()
}

/// The payload of `daemon/info`.
pub fn info(instance: &str, started: Timestamp, settings: &EngineSettings) -> String {
    let feeds = settings.markets.iter().map(|market| {
        Object::new().shown("feed", market.key.feed).shown("symbol", market.key.symbol).finish()
    });
    let strategies = settings.strategies.iter().map(|strategy| {
        let paper = &strategy.paper;
        let fills = Object::new()
            .decimal("fee_taker_ratio", paper.fee_taker_ratio.value())
            .decimal("fee_maker_ratio", paper.fee_maker_ratio.value())
            .decimal("slippage_bps", paper.slippage_bps.value())
            .integer("latency_ms", paper.latency_ms)
            .decimal("leverage", paper.leverage.value());
        Object::new()
            .shown("strategy", strategy.id)
            .shown("type", strategy.kind)
            .shown("venue", strategy.venue)
            .texts("symbols", strategy.markets.keys())
            .decimal("balance", strategy.balance.value())
            .raw("paper", &fills.finish())
            .finish()
    });
    Object::new()
        .text("version", env!("CARGO_PKG_VERSION"))
        .text("instance", instance)
        .shown("started", started)
        .values("feeds", feeds)
        .values("strategies", strategies)
        .finish()
}
