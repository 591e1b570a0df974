//! The last price of every market: last, bid, ask, mark, how fresh they are, who listens, and when they are published.
//!
//! Fresh means: the venue said something, changed or not, within `price_stale_after_ms`. A publication leaves on a
//! change beyond the deadband at most once in `price_interval_ms`, at least every 60 s while fresh, and once with
//! `stale: true` when the price goes stale. All by event time.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::effect::{Effect, PriceView, TickView, Update};
use super::settings::{EngineSettings, MarketSettings};
use crate::exchange::MarketView;
use crate::model::amount::{Price, Ratio};
use crate::model::instrument::Instrument;
use crate::model::market::{MarketEvent, MarketKey, PriceUpdate};
use crate::model::time::Timestamp;

/// A fresh price is published at least this often, in milliseconds.
pub const PRICE_REPEAT_MS: i64 = 60_000;

/// All markets.
#[derive(Debug)]
pub struct PriceModule {
    markets: Vec<Market>,
    index: BTreeMap<MarketKey, usize>,
    /// When each market's publication or staleness is due; made anew whenever one of them changes.
    due: Vec<Option<Timestamp>>,
    interval_ms: i64,
    deadband_bps: Ratio,
}

/// One market.
#[derive(Debug)]
pub struct Market {
    settings: MarketSettings,
    last: Option<Price>,
    bid: Option<Price>,
    ask: Option<Price>,
    mark_venue: Option<Price>,
    /// A mark from the journal, until a feed speaks.
    mark_restored: Option<Price>,
    from_candle: bool,
    updates: u64,
    /// Of the latest update; `MIN` before the first.
    time: Timestamp,
    confirmed_at: Option<Timestamp>,
    quoted_at: Timestamp,
    listeners: Vec<usize>,
    ticks: bool,
    changed: bool,
    published_at: Option<Timestamp>,
    /// The last price and the mark that were published.
    published: [Option<Price>; 2],
    stale_published: bool,
    /// It was published as stale and has come back since.
    recovered: bool,
}

impl Market {
    /// Feed and symbol.
    pub fn key(&self) -> MarketKey {
        self.settings.key
    }

    /// Positions of the listening strategies in the list of accounts.
    pub fn listeners(&self) -> &[usize] {
        &self.listeners
    }

    /// The venue's mark, else the last price, else the middle of bid and ask, else the journalled one.
    pub fn mark(&self) -> Option<Price> {
        self.mark_venue.or(self.last).or_else(|| self.middle()).or(self.mark_restored)
    }

    /// The price that sizes refer to: the other side's quote is left to the exchange.
    pub fn reference(&self) -> Option<Price> {
        self.last.or_else(|| self.middle())
    }

    /// Whether the venue confirmed the price recently enough for an entry.
    pub fn is_fresh(&self, at: Timestamp) -> bool {
        self.age_ms(at).is_some_and(|age_ms| age_ms <= self.settings.price_stale_after_ms)
    }

    /// Milliseconds since the venue's last confirmation.
    pub fn age_ms(&self, at: Timestamp) -> Option<i64> {
        self.confirmed_at.map(|confirmed| at.since_ms(confirmed))
    }

    /// When the venue last confirmed it.
    pub fn confirmed_at(&self) -> Option<Timestamp> {
        self.confirmed_at
    }

    /// How old a price may be for an entry, in milliseconds.
    pub fn stale_after_ms(&self) -> i64 {
        self.settings.price_stale_after_ms
    }

    /// What an exchange may see now. Quotes that are older than a price may be are left out, unless there is nothing
    /// else: a feed of quotes may confirm them by heartbeats.
    pub fn view(&self, at: Timestamp) -> MarketView<'_> {
        let quote_age_ms = at.since_ms(self.quoted_at);
        let quoted = quote_age_ms <= self.settings.price_stale_after_ms || self.last.is_none();
        MarketView {
            instrument: &self.settings.instrument,
            last: self.last,
            bid: self.bid.filter(|_| quoted),
            ask: self.ask.filter(|_| quoted),
            updates: self.updates,
            from_candle: self.from_candle,
        }
    }

    fn middle(&self) -> Option<Price> {
        Some(Price::new((self.bid?.value() + self.ask?.value()) / Decimal::TWO))
    }

    /// What is published of it.
    pub fn price_view(&self, at: Timestamp) -> PriceView {
        PriceView {
            key: self.settings.key,
            last: self.last,
            bid: self.bid,
            ask: self.ask,
            mark: self.mark(),
            time: self.time,
            stale: !self.is_fresh(at),
        }
    }

    fn take(&mut self, at: Timestamp, event: &MarketEvent) {
        self.confirmed_at = Some(at);
        self.recovered |= self.stale_published;
        self.stale_published = false;
        match event.update {
            PriceUpdate::Trade { price, .. } => {
                self.last = Some(price);
                self.from_candle = false;
            }
            PriceUpdate::Candle { close } => {
                self.last = Some(close);
                self.from_candle = true;
            }
            PriceUpdate::Quote { bid, ask, .. } => {
                self.bid = Some(bid);
                self.ask = Some(ask);
                self.quoted_at = at;
                self.from_candle = false;
            }
            PriceUpdate::Mark { price } => self.mark_venue = Some(price),
            PriceUpdate::Confirmed | PriceUpdate::Instrument { .. } => return,
        }
        // A mark values positions; an order that waits for a new price does not fill because of it.
        self.updates += u64::from(!matches!(event.update, PriceUpdate::Mark { .. }));
        self.time = event.time;
        self.changed = true;
    }

    fn beyond(&self, deadband_bps: Ratio) -> bool {
        let beyond = |(before, now): (Option<Price>, Option<Price>)| match (before, now) {
            (Some(before), Some(now)) => {
                let change = (now.value() - before.value()).abs() * Decimal::from(10_000);
                change > deadband_bps.value() * before.value()
            }
            (before, now) => before != now,
        };
        self.published.into_iter().zip([self.last, self.mark()]).any(beyond)
    }

    /// Publishes, unless the price is fresh, was published within [`PRICE_REPEAT_MS`] and moved less than the deadband.
    fn publish(&mut self, at: Timestamp, deadband_bps: Ratio, effects: &mut Vec<Effect>) {
        let stale = !self.is_fresh(at);
        let repeat = self.published_at.is_none_or(|published| at.since_ms(published) >= PRICE_REPEAT_MS);
        if !stale && !repeat && !self.recovered && !self.beyond(deadband_bps) {
            self.changed = false;
            return;
        }
        self.changed = false;
        self.recovered = false;
        self.stale_published = stale;
        self.published_at = Some(at);
        self.published = [self.last, self.mark()];
        effects.push(Effect::Publish(Update::Price(self.price_view(at))));
    }

    /// When its publication or its staleness is due.
    fn due(&self, interval_ms: i64) -> Option<Timestamp> {
        let confirmed_at = self.confirmed_at?;
        if self.stale_published || self.time == Timestamp::MIN {
            return None;
        }
        let stale = confirmed_at.plus_ms(self.settings.price_stale_after_ms + 1);
        let wait_ms = if self.changed || self.recovered { interval_ms } else { PRICE_REPEAT_MS };
        let next = self.published_at.map_or(confirmed_at, |published| published.plus_ms(wait_ms));
        Some(stale.min(next))
    }
}

impl PriceModule {
    /// The markets of the settings, without prices.
    pub fn new(settings: &EngineSettings) -> PriceModule {
        let mut module = PriceModule {
            markets: Vec::new(),
            index: BTreeMap::new(),
            due: vec![None; settings.markets.len()],
            interval_ms: settings.price_interval_ms,
            deadband_bps: settings.price_deadband_bps,
        };
        for market in &settings.markets {
            module.index.insert(market.key, module.markets.len());
            module.markets.push(Market {
                settings: market.clone(),
                last: None,
                bid: None,
                ask: None,
                mark_venue: None,
                mark_restored: None,
                from_candle: false,
                updates: 0,
                time: Timestamp::MIN,
                confirmed_at: None,
                quoted_at: Timestamp::MIN,
                listeners: Vec::new(),
                ticks: false,
                changed: false,
                published_at: None,
                published: [None; 2],
                stale_published: false,
                recovered: false,
            });
        }
        module
    }

    /// Lets an account listen to a market.
    ///
    /// # Panics
    /// When the market is not configured: the configuration was not checked.
    pub fn listen(&mut self, key: MarketKey, account: usize, ticks: bool) {
        let index = self.index[&key];
        self.markets[index].listeners.push(account);
        self.markets[index].ticks |= ticks;
    }

    /// Sets the mark that stands in until a feed speaks.
    pub fn restore_mark(&mut self, key: MarketKey, mark: Price) {
        if let Some(index) = self.index.get(&key) {
            self.markets[*index].mark_restored = Some(mark);
        }
    }

    /// The market, if it is configured.
    pub fn get(&self, key: MarketKey) -> Option<&Market> {
        self.index.get(&key).map(|index| &self.markets[*index])
    }

    /// The market's place in [`PriceModule::markets`], if it is configured.
    pub fn position(&self, key: MarketKey) -> Option<usize> {
        self.index.get(&key).copied()
    }

    /// All markets, in the order of the settings.
    pub fn markets(&self) -> &[Market] {
        &self.markets
    }

    /// Takes a feed's message; gives the market's position, or `None` when the market is not configured or the message
    /// is about its steps, which are no price.
    pub fn on_event(
        &mut self,
        at: Timestamp,
        event: &MarketEvent,
        effects: &mut Vec<Effect>,
    ) -> Option<usize> {
        let key = MarketKey { feed: event.feed, symbol: event.symbol };
        let index = *self.index.get(&key)?;
        let market = &mut self.markets[index];
        if let PriceUpdate::Instrument { tick_size, lot_size, size_min, contract_value } = event.update {
            let steps = Instrument::new(event.symbol, tick_size, lot_size, size_min, contract_value);
            // The parser lets only figures above zero through; others would leave the market as it is.
            steps.into_iter().for_each(|steps| market.settings.instrument = steps);
            return None;
        }
        market.take(at, event);
        if market.ticks && event.update != PriceUpdate::Confirmed {
            let (quantity, side) = match event.update {
                PriceUpdate::Trade { quantity, taker, .. } => (Some(quantity), taker),
                _ => (None, None),
            };
            let tick = TickView { price: market.price_view(at), quantity, side };
            effects.push(Effect::Publish(Update::Tick(tick)));
        }
        self.due[index] = market.due(self.interval_ms);
        self.publish_due(at, index, effects);
        Some(index)
    }

    /// When the first publication or staleness is due.
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        self.due.iter().flatten().min().copied()
    }

    /// Publishes what is due at or before `at`.
    pub fn on_wakeup(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        for index in 0..self.markets.len() {
            self.publish_due(at, index, effects);
        }
    }

    fn publish_due(&mut self, at: Timestamp, index: usize, effects: &mut Vec<Effect>) {
        if self.due[index].is_none_or(|due| due > at) {
            return;
        }
        let market = &mut self.markets[index];
        market.publish(at, self.deadband_bps, effects);
        self.due[index] = market.due(self.interval_ms);
    }
}
