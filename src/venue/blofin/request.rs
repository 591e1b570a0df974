//! What is asked of the venue: paths of the public REST API and frames of the stream.

use super::SUBSCRIBE_BYTES_MAX;
use crate::model::ids::Symbol;

/// Where REST answers in production.
pub const REST_URL: &str = "https://openapi.blofin.com";
/// Where REST answers for demo trading.
pub const REST_URL_DEMO: &str = "https://demo-trading-openapi.blofin.com";
/// The public stream in production.
pub const WS_PUBLIC_URL: &str = "wss://openapi.blofin.com/ws/public";
/// The public stream for demo trading.
pub const WS_PUBLIC_URL_DEMO: &str = "wss://demo-trading-openapi.blofin.com/ws/public";
/// The heartbeat: a text, not JSON and not a control frame.
pub const PING: &str = "ping";
/// The answer to [`PING`].
pub const PONG: &str = "pong";
/// The most rows that `market/trades` gives.
pub const TRADES_MAX: u32 = 100;
/// The most rows that `market/candles` gives.
pub const CANDLES_MAX: u32 = 1_440;

/// All instruments.
pub const INSTRUMENTS: &str = "/api/v1/market/instruments";
/// All tickers.
pub const TICKERS: &str = "/api/v1/market/tickers";
/// All mark prices.
pub const MARK_PRICES: &str = "/api/v1/market/mark-price";
/// All funding rates.
pub const FUNDING_RATES: &str = "/api/v1/market/funding-rate";

/// The latest trades of a pair, at most [`TRADES_MAX`].
pub fn trades(pair: Symbol, limit: u32) -> String {
    format!("/api/v1/market/trades?instId={pair}&limit={}", limit.clamp(1, TRADES_MAX))
}

/// The book of a pair, 1 to 100 levels.
pub fn book(pair: Symbol, levels: u32) -> String {
    format!("/api/v1/market/books?instId={pair}&size={}", levels.clamp(1, 100))
}

/// Bars of a pair that opened before `before_ms` (or the latest), at most [`CANDLES_MAX`]. What the venue calls
/// `after` is older than.
pub fn candles(pair: Symbol, bar: Bar, before_ms: Option<i64>, limit: u32) -> String {
    let after = before_ms.map(|ms| format!("&after={ms}")).unwrap_or_default();
    let limit = limit.clamp(1, CANDLES_MAX);
    format!("/api/v1/market/candles?instId={pair}&bar={}{after}&limit={limit}", bar.as_str())
}

/// The length of a bar. Upper and lower case matter to the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bar {
    /// A minute.
    M1,
    /// 5 minutes.
    M5,
    /// 15 minutes.
    M15,
    /// An hour.
    H1,
    /// 4 hours.
    H4,
    /// A UTC day.
    D1,
}

impl Bar {
    /// Every bar.
    pub const ALL: [Bar; 6] = [Bar::M1, Bar::M5, Bar::M15, Bar::H1, Bar::H4, Bar::D1];

    /// The venue's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Bar::M1 => "1m",
            Bar::M5 => "5m",
            Bar::M15 => "15m",
            Bar::H1 => "1H",
            Bar::H4 => "4H",
            Bar::D1 => "1D",
        }
    }

    /// Reads the venue's word.
    pub fn parse(word: &str) -> Option<Bar> {
        Bar::ALL.into_iter().find(|bar| bar.as_str() == word)
    }

    /// Its length in milliseconds.
    pub fn length_ms(self) -> i64 {
        let minutes = match self {
            Bar::M1 => 1,
            Bar::M5 => 5,
            Bar::M15 => 15,
            Bar::H1 => 60,
            Bar::H4 => 240,
            Bar::D1 => 1_440,
        };
        minutes * 60_000
    }
}

/// What the public stream can send about a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// Every trade, one a message.
    Trades,
    /// Last, bid and ask, at most once a second.
    Tickers,
    /// The five best levels of each side, whole, at most every 100 ms.
    Books5,
    /// Bars.
    Candle(Bar),
    /// Bars of the mark price: the close of the forming one is the mark. The stream has no other.
    MarkCandle(Bar),
    /// The funding rate, at most every 30 s.
    FundingRate,
}

impl Channel {
    /// The venue's name.
    pub fn name(self) -> String {
        match self {
            Channel::Trades => "trades".into(),
            Channel::Tickers => "tickers".into(),
            Channel::Books5 => "books5".into(),
            Channel::Candle(bar) => format!("candle{}", bar.as_str()),
            Channel::MarkCandle(bar) => format!("mark-price-candle{}", bar.as_str()),
            Channel::FundingRate => "funding-rate".into(),
        }
    }

    /// Reads the venue's name; `None` for a channel that is not asked for here.
    pub fn parse(name: &str) -> Option<Channel> {
        match name {
            "trades" => Some(Channel::Trades),
            "tickers" => Some(Channel::Tickers),
            "books5" => Some(Channel::Books5),
            "funding-rate" => Some(Channel::FundingRate),
            _ => match name.strip_prefix("mark-price-candle") {
                Some(bar) => Bar::parse(bar).map(Channel::MarkCandle),
                None => Bar::parse(name.strip_prefix("candle")?).map(Channel::Candle),
            },
        }
    }
}

/// A channel of a pair.
pub type Topic = (Channel, Symbol);

/// Frames that subscribe to the topics, each at most [`SUBSCRIBE_BYTES_MAX`] long. The venue acknowledges each topic.
pub fn subscribe(topics: &[Topic]) -> Vec<String> {
    frames("subscribe", topics)
}

/// Frames that end subscriptions.
pub fn unsubscribe(topics: &[Topic]) -> Vec<String> {
    frames("unsubscribe", topics)
}

fn frames(op: &str, topics: &[Topic]) -> Vec<String> {
    let open = format!("{{\"op\":\"{op}\",\"args\":[");
    let mut frames = Vec::new();
    let mut frame = open.clone();
    for (channel, pair) in topics {
        // A symbol has letters, digits, "-" and "." only: nothing to escape.
        let topic = format!("{{\"channel\":\"{}\",\"instId\":\"{pair}\"}}", channel.name());
        let is_first = frame.len() == open.len();
        if !is_first && frame.len() + topic.len() + ",]}".len() > SUBSCRIBE_BYTES_MAX {
            frames.push(std::mem::replace(&mut frame, open.clone()) + "]}");
        } else if !is_first {
            frame.push(',');
        }
        frame.push_str(&topic);
    }
    if frame.len() > open.len() {
        frames.push(frame + "]}");
    }
    frames
}
