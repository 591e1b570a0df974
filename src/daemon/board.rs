//! What MQTT shows, for those who read it over HTTP: the newest value of every topic, and the latest events.
//!
//! Invariants: a payload here is the very bytes that went to the outbox, so HTTP and MQTT cannot differ, and nothing is
//! here before it is on disk. Every change has a number; numbers rise, and a topic has the number of its newest value.
//! A reader who remembers one number can therefore be told what came since, however slow it is, without a queue of
//! its own: of state it gets the newest, and of events all, or the word that it has fallen behind.
//!
//! The lock is held for a map insertion, or for the copying of as many references as a reader takes; never across an
//! await. Limits: [`TOPICS_MAX`] topics, [`EVENTS_MAX`] events of together [`EVENT_BYTES_MAX`] bytes.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::outbox::RETAINED_MAX;

/// Topics with a value; a new one beyond it is left out, as it is at the outbox.
pub const TOPICS_MAX: usize = RETAINED_MAX;
/// Events that are kept for readers who are behind.
pub const EVENTS_MAX: usize = 1_000;
/// Bytes of those events.
pub const EVENT_BYTES_MAX: usize = 512 * 1024;

/// What a topic is about; the words of `channels`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Channel {
    /// `price/...`
    Prices = 1,
    /// `tick/...`: of each market the newest.
    Ticks = 1 << 1,
    /// `feed/...`
    Feeds = 1 << 2,
    /// `.../state`, `daemon/level`, `daemon/info`
    States = 1 << 3,
    /// `.../position/...`
    Positions = 1 << 4,
    /// `.../kpi`
    Kpis = 1 << 5,
    /// `.../order`
    Orders = 1 << 6,
    /// `.../fill`
    Fills = 1 << 7,
    /// `.../trade`
    Trades = 1 << 8,
    /// `.../signal/result`
    Results = 1 << 9,
    /// `daemon/alert`
    Alerts = 1 << 10,
    /// `daemon/health`
    Health = 1 << 11,
}

impl Channel {
    /// Every channel, with its word.
    pub const ALL: [(&'static str, Channel); 12] = [
        ("prices", Channel::Prices),
        ("ticks", Channel::Ticks),
        ("feeds", Channel::Feeds),
        ("states", Channel::States),
        ("positions", Channel::Positions),
        ("kpis", Channel::Kpis),
        ("orders", Channel::Orders),
        ("fills", Channel::Fills),
        ("trades", Channel::Trades),
        ("results", Channel::Results),
        ("alerts", Channel::Alerts),
        ("health", Channel::Health),
    ];

    /// The channel of a topic below the base.
    fn of(topic: &str) -> Option<Channel> {
        let levels: Vec<&str> = topic.split('/').collect();
        Some(match levels.as_slice() {
            ["price", ..] => Channel::Prices,
            ["tick", ..] => Channel::Ticks,
            ["feed", _] => Channel::Feeds,
            ["daemon", "level" | "info"] | [.., "state"] => Channel::States,
            ["strategy", _, "position", _] => Channel::Positions,
            [.., "kpi"] => Channel::Kpis,
            ["strategy", _, "order"] => Channel::Orders,
            ["strategy", _, "fill"] => Channel::Fills,
            ["strategy", _, "trade"] => Channel::Trades,
            ["strategy", _, "signal", "result"] => Channel::Results,
            ["daemon", "alert"] => Channel::Alerts,
            ["daemon", "health"] => Channel::Health,
            _ => return None,
        })
    }

    /// Whether each of its messages counts; of the others only the newest does.
    fn is_event(self) -> bool {
        self as u16 & EVENTS != 0
    }
}

/// The bits of all channels whose every message counts.
const EVENTS: u16 = Channel::Orders as u16
    | Channel::Fills as u16
    | Channel::Trades as u16
    | Channel::Results as u16
    | Channel::Alerts as u16;

/// What a reader wants to hear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Bits of [`Channel`].
    pub channels: u16,
    /// Only this strategy's; what belongs to none is heard.
    pub strategy: Option<String>,
    /// Only this pair's; what belongs to none is heard.
    pub symbol: Option<String>,
}

impl Interest {
    fn wants(&self, item: &Item) -> bool {
        if self.channels & item.channel as u16 == 0 {
            return false;
        }
        let levels = |index: usize| item.topic.split('/').nth(index);
        let strategy = self
            .strategy
            .as_deref()
            .is_none_or(|wanted| levels(0) != Some("strategy") || levels(1) == Some(wanted));
        let symbol = self.symbol.as_deref().is_none_or(|wanted| match item.channel {
            Channel::Prices | Channel::Ticks => levels(2) == Some(wanted),
            Channel::Positions => levels(3) == Some(wanted),
            _ => true,
        });
        strategy && symbol
    }
}

/// A change, as it is sent.
#[derive(Clone, Debug)]
struct Item {
    topic: Arc<str>,
    channel: Channel,
    /// `{"seq":...,"topic":...,"payload":...}`
    frame: Bytes,
    payload: Range<usize>,
}

#[derive(Debug, Default)]
struct Inner {
    number: u64,
    newest: BTreeMap<Arc<str>, (u64, Item)>,
    by_number: BTreeMap<u64, Arc<str>>,
    events: VecDeque<(u64, Item)>,
    event_bytes: usize,
    /// The number of the last event that is no longer kept.
    forgotten: u64,
}

/// Shared by those who write to the outbox and those who read over HTTP.
#[derive(Debug)]
pub struct Board {
    base: String,
    inner: Mutex<Inner>,
    changed: Notify,
}

/// The reader missed events that are no longer kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind;

impl Board {
    /// An empty board for the topics below `base`.
    pub fn new(base: &str) -> Board {
        Board { base: format!("{base}/"), inner: Mutex::default(), changed: Notify::new() }
    }

    /// Takes a message that goes to the outbox. Topics that are none of ours are left out.
    pub fn take(&self, topic: &str, payload: &[u8]) {
        let Some(topic) = topic.strip_prefix(&self.base) else { return };
        let Some(channel) = Channel::of(topic) else { return };
        self.with(|inner| {
            if channel.is_event() {
                inner.event(topic, channel, payload)
            } else {
                inner.set(topic, channel, payload)
            }
        });
        self.changed.notify_one();
    }

    /// The newest payload of a topic below the base.
    pub fn payload(&self, topic: &str) -> Option<Bytes> {
        self.with(|inner| inner.newest.get(topic).map(|(_, item)| item.payload()))
    }

    /// The newest payloads of topics that begin with `prefix` and that `wanted` takes, in the order of their topics.
    pub fn payloads(&self, prefix: &str, wanted: impl Fn(&str) -> bool) -> Vec<Bytes> {
        self.with(|inner| {
            let all = inner
                .newest
                .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
                .take_while(|(topic, _)| topic.starts_with(prefix));
            all.filter(|(topic, _)| wanted(topic)).map(|(_, (_, item))| item.payload()).collect()
        })
    }

    /// What changed since `number`, in order, and the number to go on from; at most `limit` changes are looked at.
    /// Events up to `begun` are left out: a reader that begins is told the newest of every topic, and no old event.
    ///
    /// # Errors
    /// When events were forgotten meanwhile and events are of interest.
    pub fn since(
        &self,
        number: u64,
        begun: u64,
        interest: &Interest,
        limit: usize,
    ) -> Result<(u64, Vec<Bytes>), Behind> {
        self.with(|inner| {
            let heard = number.max(begun);
            if heard < inner.forgotten && interest.channels & EVENTS != 0 {
                return Err(Behind);
            }
            let events = inner.events.partition_point(|(event, _)| *event <= heard);
            let mut events = inner.events.range(events..).map(|(number, item)| (*number, item)).peekable();
            let states = inner
                .by_number
                .range(number + 1..)
                .filter_map(|(number, topic)| inner.newest.get(topic).map(|(_, item)| (*number, item)));
            let mut states = states.peekable();
            let (mut reached, mut frames) = (number, Vec::new());
            for _ in 0..limit {
                let next = match (events.peek(), states.peek()) {
                    (Some((event, _)), Some((state, _))) if event < state => events.next(),
                    (Some(_), None) => events.next(),
                    _ => states.next(),
                };
                let Some((number, item)) = next else {
                    reached = inner.number;
                    break;
                };
                reached = number;
                if interest.wants(item) {
                    frames.push(item.frame.clone());
                }
            }
            Ok((reached, frames))
        })
    }

    /// The number of the latest change.
    pub fn number(&self) -> u64 {
        self.with(|inner| inner.number)
    }

    /// Waits until something changed since the last wait. One task waits.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Item {
    fn payload(&self) -> Bytes {
        self.frame.slice(self.payload.clone())
    }
}

impl Inner {
    fn set(&mut self, topic: &str, channel: Channel, payload: &[u8]) {
        let known = self.newest.get(topic).map(|(number, item)| (*number, Arc::clone(&item.topic)));
        if let Some((number, _)) = &known {
            self.by_number.remove(number);
        }
        if payload.is_empty() {
            self.newest.remove(topic);
            return;
        }
        if known.is_none() && self.newest.len() >= TOPICS_MAX {
            return;
        }
        self.number += 1;
        let topic = known.map_or_else(|| Arc::from(topic), |(_, topic)| topic);
        let item = item(self.number, Arc::clone(&topic), channel, payload);
        self.by_number.insert(self.number, Arc::clone(&topic));
        self.newest.insert(topic, (self.number, item));
    }

    fn event(&mut self, topic: &str, channel: Channel, payload: &[u8]) {
        self.number += 1;
        let item = item(self.number, Arc::from(topic), channel, payload);
        self.event_bytes += item.frame.len();
        self.events.push_back((self.number, item));
        while self.events.len() > EVENTS_MAX || self.event_bytes > EVENT_BYTES_MAX {
            let Some((number, item)) = self.events.pop_front() else { return };
            self.event_bytes -= item.frame.len();
            self.forgotten = number;
        }
    }
}

/// Words such as a level become JSON texts; everything else is JSON already.
fn item(number: u64, topic: Arc<str>, channel: Channel, payload: &[u8]) -> Item {
    let is_json = payload.first() == Some(&b'{');
    let quote: &[u8] = if is_json { b"" } else { b"\"" };
    let head = format!("{{\"seq\":{number},\"topic\":\"{topic}\",\"payload\":");
    let frame = [head.as_bytes(), quote, payload, quote, b"}"].concat();
    let end = frame.len() - 1;
    Item { topic, channel, frame: Bytes::from(frame), payload: head.len()..end }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Interest {
        Interest { channels: u16::MAX, ..Interest::default() }
    }

    fn seqs(frames: &[Bytes]) -> Vec<u64> {
        let seq = |frame: &Bytes| {
            serde_json::from_slice::<serde_json::Value>(frame).unwrap()["seq"].as_u64().unwrap()
        };
        frames.iter().map(seq).collect()
    }

    #[test]
    fn payloads_are_the_bytes_that_came() {
        let board = Board::new("t");
        let payload = r#"{"last":97000.10}"#;
        board.take("t/price/tape/BTC-USDT", payload.as_bytes());
        board.take("t/daemon/level", b"run");
        board.take("other/price/tape/BTC-USDT", b"{}");
        board.take("t/strategy/s/signal", b"{}");
        assert_eq!(board.payload("price/tape/BTC-USDT").unwrap(), payload);
        assert_eq!(board.payload("daemon/level").unwrap(), "\"run\"");
        assert_eq!(board.number(), 2);
        board.take("t/price/tape/BTC-USDT", b"");
        assert_eq!(board.payload("price/tape/BTC-USDT"), None);
        assert_eq!(board.since(0, 0, &all(), 9).unwrap().1.len(), 1);
    }

    #[test]
    fn a_slow_reader_gets_the_newest_state_and_every_event() {
        let board = Board::new("t");
        let price = |n: u32| board.take("t/price/tape/BTC-USDT", format!("{{\"n\":{n}}}").as_bytes());
        price(1);
        let since = |number, interest: &Interest, limit| {
            board.since(number, 0, interest, limit).map(|(to, frames)| (to, seqs(&frames)))
        };
        assert_eq!(since(0, &all(), 9), Ok((1, vec![1])));
        let from = 1;
        board.take("t/strategy/a/fill", b"{}");
        price(2);
        board.take("t/strategy/b/fill", b"{}");
        price(3);
        assert_eq!(since(from, &all(), 9), Ok((5, vec![2, 4, 5])));
        assert_eq!(since(from, &all(), 2), Ok((4, vec![2, 4])));
        assert_eq!(since(5, &all(), 9), Ok((5, vec![])));
        let only_b = Interest { strategy: Some("b".into()), ..all() };
        assert_eq!(since(from, &only_b, 9), Ok((5, vec![4, 5])));
        let fills = Interest { channels: Channel::Fills as u16, ..Interest::default() };
        assert_eq!(since(from, &fills, 9), Ok((5, vec![2, 4])));
        let other = Interest { symbol: Some("ETH-USDT".into()), ..all() };
        assert_eq!(since(from, &other, 9), Ok((5, vec![2, 4])));
        assert_eq!(board.since(0, 3, &all(), 9).map(|(to, f)| (to, seqs(&f))), Ok((5, vec![4, 5])));
    }

    #[test]
    fn who_misses_events_is_told() {
        let board = Board::new("t");
        for _ in 0..=EVENTS_MAX {
            board.take("t/strategy/a/fill", b"{}");
        }
        assert_eq!(board.since(0, 0, &all(), 9).map(|_| ()), Err(Behind));
        assert!(board.since(1, 0, &all(), 9).is_ok());
        let prices = Interest { channels: Channel::Prices as u16, ..Interest::default() };
        assert!(board.since(0, 0, &prices, 9).is_ok());
        let large = [b"{".as_slice(), &vec![b' '; EVENT_BYTES_MAX], b"}"].concat();
        board.take("t/strategy/a/fill", &large);
        assert_eq!(board.since(EVENTS_MAX as u64 + 1, 0, &all(), 9).map(|_| ()), Err(Behind));
    }
}
