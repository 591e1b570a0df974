//! The market is the same every time, and looks like one.

use std::collections::BTreeMap;

use super::*;
use crate::model::amount::{decimal_to_f64, parse_decimal};
use crate::model::market::PriceUpdate;
use crate::model::order::Side;

fn symbol(name: &str, price: &str, tick: &str) -> SyntheticSymbol {
    let amount = |text| Price::new(parse_decimal(text).unwrap());
    SyntheticSymbol {
        symbol: Symbol::new(name).unwrap(),
        price_start: amount(price),
        volatility_daily_ratio: 0.03,
        spread_bps: 2.0,
        interval_ms_mean: 500.0,
        tick_size: amount(tick),
    }
}

fn symbols() -> Vec<SyntheticSymbol> {
    let pepe = SyntheticSymbol {
        volatility_daily_ratio: 0.08,
        spread_bps: 5.0,
        ..symbol("PEPE-USDT", "0.00000908", "0.000000001")
    };
    vec![symbol("BTC-USDT", "60000", "0.1"), symbol("ETH-USDT", "3000.5", "0.01"), pepe]
}

fn market(seed: u64) -> SyntheticMarket {
    let start = Timestamp::from_ms(1_700_000_000_000);
    SyntheticMarket::new(FeedId::new("demo").unwrap(), seed, &symbols(), start).unwrap()
}

fn show(event: &MarketEvent) -> String {
    let update = match event.update {
        PriceUpdate::Quote { bid, bid_quantity, ask, ask_quantity } => {
            format!("{bid} x {bid_quantity} / {ask} x {ask_quantity}")
        }
        PriceUpdate::Trade { price, quantity, taker } => {
            format!("{} {quantity} at {price}", taker.unwrap().as_str())
        }
        other => format!("{other:?}"),
    };
    format!("{} {} {update}", event.time.as_ms() - 1_700_000_000_000, event.symbol)
}

#[test]
fn same_seed_same_events() {
    let check = |seed: u64, expected: &[&str]| {
        let shown: Vec<_> = market(seed).take(expected.len()).map(|event| show(&event)).collect();
        assert_eq!(shown, expected, "seed {seed}");
    };
    check(
        1,
        &[
            "0 BTC-USDT 59993 x 0.28727 / 60007 x 0.63756",
            "0 ETH-USDT 3000.17 x 0.6259 / 3000.83 x 32.7262",
            "0 PEPE-USDT 0.000009078 x 4149264685 / 0.000009082 x 6209836",
            "122 PEPE-USDT sell 7492934 at 0.000009078",
            "374 BTC-USDT 59992.4 x 0.3081 / 60001.3 x 0.06865",
        ],
    );
    check(
        2,
        &[
            "0 BTC-USDT 59995.7 x 0.26435 / 60004.3 x 0.82372",
            "0 ETH-USDT 3000.06 x 0.8437 / 3000.94 x 4.6324",
            "0 PEPE-USDT 0.000009079 x 1586586559 / 0.000009081 x 2921663323",
            "5 BTC-USDT buy 0.01464 at 60004.3",
            "91 BTC-USDT 59992.5 x 0.09163 / 60009.1 x 0.02993",
        ],
    );
}

/// FNV-1a over the text of many events: a difference between platforms would show here.
#[test]
fn many_events_have_the_golden_hash() {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in market(7).take(20_000).flat_map(|event| show(&event).into_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    assert_eq!(hash, 13_128_197_290_930_798_195);
}

/// What was seen of one symbol.
#[derive(Default)]
struct Seen {
    bid: f64,
    ask: f64,
    quotes: f64,
    spread_bps_sum: f64,
    trades: f64,
    notional_sum: f64,
    /// Mid at the first event of each minute.
    minutes: BTreeMap<i64, f64>,
}

impl Seen {
    fn take(&mut self, event: &MarketEvent) {
        let f = |price: Price| decimal_to_f64(price.value());
        match event.update {
            PriceUpdate::Quote { bid, ask, bid_quantity, ask_quantity } => {
                assert!(bid.is_positive() && bid < ask, "{event:?}");
                assert!(bid_quantity.is_positive() && ask_quantity.is_positive(), "{event:?}");
                (self.bid, self.ask) = (f(bid), f(ask));
                self.quotes += 1.0;
                let mid = (self.bid + self.ask) / 2.0;
                self.spread_bps_sum += (self.ask - self.bid) / mid * 10_000.0;
                self.minutes.entry(event.time.as_ms() / 60_000).or_insert(mid);
            }
            PriceUpdate::Trade { price, quantity, taker } => {
                let expected = if taker == Some(Side::Buy) { self.ask } else { self.bid };
                assert_eq!(f(price), expected, "{event:?}");
                assert!(quantity.is_positive(), "{event:?}");
                self.trades += 1.0;
                self.notional_sum += price.times(quantity).to_f64();
            }
            other => panic!("{other:?}"),
        }
    }

    fn returns(&self) -> Vec<f64> {
        let mids: Vec<f64> = self.minutes.values().copied().collect();
        mids.windows(2).map(|pair| pair[1] / pair[0] - 1.0).collect()
    }
}

fn factor_of_two(what: &str, found: f64, expected: f64) {
    assert!(found > expected / 2.0 && found < expected * 2.0, "{what}: {found}, expected about {expected}");
}

#[test]
fn looks_like_a_market() {
    let settings = symbols();
    for seed in 1..=3 {
        let mut seen: BTreeMap<Symbol, Seen> = BTreeMap::new();
        let mut last = Timestamp::MIN;
        for event in market(seed).take(100_000) {
            assert!(event.time >= last, "{event:?}");
            last = event.time;
            let tick = settings.iter().find(|s| s.symbol == event.symbol).unwrap().tick_size.value();
            if let PriceUpdate::Trade { price, .. } = event.update {
                assert!((price.value() % tick).is_zero(), "{event:?}");
            }
            seen.entry(event.symbol).or_default().take(&event);
        }
        for settings in &settings {
            let seen = &seen[&settings.symbol];
            let name = format!("seed {seed} {}", settings.symbol);
            let returns = seen.returns();
            let variance = returns.iter().map(|r| r * r).sum::<f64>() / returns.len() as f64;
            factor_of_two(&name, (variance * 1440.0).sqrt(), settings.volatility_daily_ratio);
            factor_of_two(&name, seen.spread_bps_sum / seen.quotes, settings.spread_bps);
            factor_of_two(&name, seen.notional_sum / seen.trades, 1_450.0);
            factor_of_two(&name, seen.trades / (seen.trades + seen.quotes), 0.3);
            let minutes = seen.minutes.len() as f64;
            factor_of_two(&name, minutes * 60_000.0 / (seen.trades + seen.quotes), settings.interval_ms_mean);
        }
        let [btc, eth] = ["BTC-USDT", "ETH-USDT"].map(|name| seen[&Symbol::new(name).unwrap()].returns());
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let correlation = product(&btc, &eth) / (product(&btc, &btc) * product(&eth, &eth)).sqrt();
        assert!(correlation > 0.2 && correlation < 0.8, "seed {seed}: correlation {correlation}");
    }
}

#[test]
fn extreme_settings_stay_sound() {
    let check = |change: fn(&mut SyntheticSymbol)| {
        let mut settings = symbol("A-B", "1", "0.01");
        change(&mut settings);
        let market = SyntheticMarket::new(FeedId::new("f").unwrap(), 1, &[settings], Timestamp::MIN).unwrap();
        let mut seen = Seen::default();
        market.take(20_000).for_each(|event| seen.take(&event));
    };
    check(|s| (s.volatility_daily_ratio, s.interval_ms_mean) = (1.0, 86_400_000.0));
    check(|s| (s.volatility_daily_ratio, s.spread_bps) = (0.0, 0.0));
    check(|s| s.tick_size = s.price_start);
    check(|s| (s.spread_bps, s.interval_ms_mean) = (1_000.0, 1.0));
    check(|s| s.price_start = Price::new(PRICE_START_MAX.into()));
    check(|s| s.tick_size = Price::new(parse_decimal("0.000000000001").unwrap()));
    check(|s| (s.price_start, s.tick_size) = (s.tick_size, Price::new(parse_decimal("1e-12").unwrap())));
}

#[test]
fn settings_out_of_range_are_named() {
    let check = |change: fn(&mut SyntheticSymbol), expected: &str| {
        let mut settings = symbol("A-B", "1", "0.01");
        change(&mut settings);
        assert_eq!(settings.check().unwrap_err().to_string(), format!("synthetic market, A-B: {expected}"));
    };
    check(|s| s.price_start = Price::ZERO, "price_start must be above 0, at most 1000000000");
    let tick = "tick_size must be above 0, at most price_start, at least price_start / 1000000000000";
    check(|s| s.tick_size = Price::ZERO, tick);
    check(|s| s.tick_size = Price::new(2.into()), tick);
    check(|s| s.volatility_daily_ratio = f64::NAN, "volatility_daily_ratio must be 0 to 1");
    check(|s| s.spread_bps = -1.0, "spread_bps must be 0 to 1000");
    check(|s| s.interval_ms_mean = 0.5, "interval_ms_mean must be 1 to 86400000");
    let new = |symbols: &[SyntheticSymbol]| {
        SyntheticMarket::new(FeedId::new("f").unwrap(), 1, symbols, Timestamp::MIN).unwrap_err().to_string()
    };
    assert_eq!(new(&[]), "a synthetic market has 1 to 64 symbols, not 0");
    let twice = [symbol("A-B", "1", "0.1"), symbol("A-B", "2", "0.1")];
    assert_eq!(new(&twice), "synthetic market, A-B: is there twice");
}
