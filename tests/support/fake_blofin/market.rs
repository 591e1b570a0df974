//! What the fake knows of a pair, and how it says it: texts for numbers over REST, numbers in the books of the stream.

use std::collections::{BTreeMap, VecDeque};

use super::account::{Steps, Touch, number};

/// How many trades an answer has at most.
const TRADES_MAX: usize = 100;

/// A pair.
#[derive(Clone, Debug)]
pub struct FakeMarket {
    pair: String,
    /// Fields of the instrument.
    pub instrument: BTreeMap<String, String>,
    trades: VecDeque<String>,
    last: Option<(String, String)>,
    best: Option<(String, String)>,
    mark: Option<(String, i64)>,
    sequence: u64,
    /// Time of the last trade.
    pub traded_ms: i64,
}

impl FakeMarket {
    pub fn new(pair: &str) -> FakeMarket {
        let fields = [
            ("instId", pair),
            ("baseCurrency", pair.split('-').next().expect("a base")),
            ("quoteCurrency", pair.split('-').nth(1).expect("a quote")),
            ("contractValue", "0.001"),
            ("minSize", "0.1"),
            ("lotSize", "0.1"),
            ("tickSize", "0.1"),
            ("maxLeverage", "150"),
            ("instType", "SWAP"),
            ("contractType", "linear"),
            ("state", "live"),
            ("listTime", "1673517600000"),
            ("expireTime", "2521900800000"),
        ];
        FakeMarket {
            pair: pair.to_owned(),
            instrument: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            trades: VecDeque::new(),
            last: None,
            best: None,
            mark: None,
            sequence: 0,
            traded_ms: 0,
        }
    }

    /// Takes a trade; gives its row.
    pub fn trade(&mut self, id: u64, price: &str, contracts: &str, time_ms: i64) -> String {
        let pair = &self.pair;
        let row = format!(
            r#"{{"instId":"{pair}","tradeId":"{id}","price":"{price}","size":"{contracts}","side":"buy","ts":"{time_ms}"}}"#
        );
        self.last = Some((price.to_owned(), contracts.to_owned()));
        self.traded_ms = time_ms;
        self.trades.truncate(TRADES_MAX - 1);
        self.trades.push_front(row.clone());
        row
    }

    /// Takes a quote; gives the book of the stream.
    pub fn quote(&mut self, bid: &str, ask: &str, time_ms: i64) -> String {
        self.best = Some((bid.to_owned(), ask.to_owned()));
        self.sequence += 1;
        let sequence = self.sequence;
        format!(r#"{{"asks":[[{ask},1]],"bids":[[{bid},1]],"ts":"{time_ms}","seqId":"{sequence}"}}"#)
    }

    /// Takes a mark; gives the forming bar of the stream.
    pub fn mark(&mut self, price: &str, time_ms: i64) -> String {
        self.mark = Some((price.to_owned(), time_ms));
        let open_ms = time_ms / 60_000 * 60_000;
        format!(r#"["{open_ms}","{price}","{price}","{price}","{price}","0"]"#)
    }

    /// The market as an order sees it. Without a quote, all are the last price.
    pub fn touch(&self) -> Touch {
        let last = self.last.as_ref().map_or("1", |(last, _)| last);
        let (bid, ask) = self.best.as_ref().map_or((last, last), |(bid, ask)| (bid, ask));
        Touch { bid: number(bid), ask: number(ask), last: number(last) }
    }

    /// Its steps.
    pub fn steps(&self) -> Steps {
        let field = |name: &str| number(&self.instrument[name]);
        Steps {
            contract: field("contractValue"),
            lot: field("lotSize"),
            least: field("minSize"),
            tick: field("tickSize"),
        }
    }

    /// The row of `market/instruments`.
    pub fn instrument_row(&self) -> String {
        let fields: Vec<String> =
            self.instrument.iter().map(|(name, value)| format!("{name:?}:{value:?}")).collect();
        format!("{{{}}}", fields.join(","))
    }

    /// The row of `market/tickers`; nothing before the first trade.
    pub fn ticker_row(&self, now_ms: i64) -> Option<String> {
        let (last, size) = self.last.as_ref()?;
        // A ticker that tells of a trade is not older than it.
        let now_ms = now_ms.max(self.traded_ms);
        let (bid, ask) = self.best.clone().unwrap_or_default();
        let side = if bid.is_empty() { "" } else { "1" };
        let pair = &self.pair;
        Some(format!(
            r#"{{"instId":"{pair}","last":"{last}","lastSize":"{size}","askPrice":"{ask}","askSize":"{side}","bidPrice":"{bid}","bidSize":"{side}","ts":"{now_ms}"}}"#
        ))
    }

    /// The row of `market/mark-price`; nothing before the first mark.
    pub fn mark_row(&self) -> Option<String> {
        let (price, time_ms) = self.mark.as_ref()?;
        let pair = &self.pair;
        Some(format!(
            r#"{{"instId":"{pair}","indexPrice":"{price}","markPrice":"{price}","ts":"{time_ms}"}}"#
        ))
    }

    /// The rows of `market/trades`, newest first.
    pub fn trade_rows(&self, limit: usize) -> Vec<String> {
        self.trades.iter().take(limit.min(TRADES_MAX)).cloned().collect()
    }
}
