//! The feed against a BloFin that errs: what it says, how it goes on, and that it breaks no limit.

use std::time::Duration;

use tradebus::daemon::feed::FeedStatus;
use tradebus::model::market::PriceUpdate;

use super::running::{PATIENCE, Running, Wish, assert_lawful, timed};
use crate::support::fake_blofin::{FakeBlofin, RestFault, StreamFault, now_ms};
use crate::support::random::Random;

#[test]
fn prices_come_over_the_stream() {
    timed(async {
        let fake = FakeBlofin::start(&["BTC-USDT", "ETH-USDT"]).await;
        fake.trade("BTC-USDT", "97000", "2");
        let wish = Wish { symbols: &["BTC-USDT", "ETH-USDT.PERP"], ..Wish::default() };
        let mut feed = Running::start(&fake, wish);
        // The steps come before the first price.
        for _ in 0..2 {
            let event = feed.events.recv().await.unwrap().event;
            assert!(matches!(event.update, PriceUpdate::Instrument { .. }), "{event:?}");
        }
        feed.until("BTC-USDT 97000 x 0.002").await;
        fake.until(|stats| stats.topics == 6).await;
        fake.quote("BTC-USDT", "97001", "97002.5");
        assert_eq!(feed.next().await, "BTC-USDT 97001 / 97002.5 x 0.001");
        fake.trade("ETH-USDT", "3300.5", "10");
        assert_eq!(feed.next().await, "ETH-USDT.PERP 3300.5 x 0.01");
        fake.mark("ETH-USDT", "3301");
        assert_eq!(feed.next().await, "ETH-USDT.PERP mark 3301");
        // Repeated, delayed and reordered trades leave each trade once and the newest price last.
        fake.stream_fault(StreamFault::Repeat(1));
        fake.trade("BTC-USDT", "97003", "1");
        fake.stream_fault(StreamFault::Reorder(2));
        fake.trade_at("BTC-USDT", "97004", "1", now_ms() + 1);
        fake.trade_at("BTC-USDT", "97005", "1", now_ms() + 2);
        fake.stream_fault(StreamFault::Garbage(1));
        fake.trade_at("BTC-USDT", "97006", "1", now_ms() + 3);
        fake.trade_at("BTC-USDT", "0", "1", now_ms() + 4);
        fake.trade_at("BTC-USDT", "97007", "1", now_ms() + 5);
        for price in ["97003", "97005", "97006", "97007"] {
            assert_eq!(feed.next().await, format!("BTC-USDT {price} x 0.001"));
        }
        let status = feed.source("stream").await;
        let quality = status.quality.unwrap();
        assert!(status.connected && status.error.is_none() && quality.latency_ms.is_some(), "{status:?}");
        assert_eq!((quality.dropped, quality.gaps, quality.overflowed, status.reconnects), (2, 0, 0, 0));
        assert_lawful(&fake);
        feed.stop().await;
        fake.until(|stats| stats.open == 0 && stats.closed_because == ["going away"]).await;
    });
}

#[test]
fn a_frozen_stream_is_noticed_and_polled_around() {
    timed(async {
        let fake = FakeBlofin::start(&["BTC-USDT"]).await;
        fake.trade("BTC-USDT", "100", "1");
        let wish = Wish { stale_after: Duration::from_millis(1_500), ..Wish::default() };
        let mut feed = Running::start(&fake, wish);
        fake.until(|stats| stats.topics == 3).await;
        fake.freeze(true);
        fake.trade("BTC-USDT", "101", "1");
        fake.mark("BTC-USDT", "102");
        feed.source("poll").await;
        feed.until("BTC-USDT mark 102").await;
        fake.trade("BTC-USDT", "103", "1");
        feed.until("BTC-USDT 103 x 0.001").await;
        fake.freeze(false);
        let status = feed.source("stream").await;
        assert_eq!(status.reconnects, 1);
        fake.until(|stats| stats.topics == 3).await;
        fake.trade("BTC-USDT", "104", "1");
        feed.until("BTC-USDT 104 x 0.001").await;
        assert_lawful(&fake);
    });
}

#[test]
fn a_frame_that_is_too_large_closes_the_connection_with_a_reason() {
    timed(async {
        let fake = FakeBlofin::start(&["BTC-USDT"]).await;
        let mut feed = Running::start(&fake, Wish::default());
        fake.until(|stats| stats.topics == 3).await;
        fake.send_raw("x".repeat(1_048_577));
        let stats = fake.until(|stats| !stats.closed_because.is_empty()).await;
        assert_eq!(stats.closed_because, ["a message of over 1048576 bytes"]);
        fake.until(|stats| stats.connections == 2 && stats.topics == 3).await;
        fake.trade("BTC-USDT", "104", "1");
        feed.until("BTC-USDT 104 x 0.001").await;
        assert_lawful(&fake);
    });
}

#[test]
fn a_subscription_that_was_lost_is_made_again() {
    timed(async {
        let fake = FakeBlofin::start(&["BTC-USDT"]).await;
        fake.trade("BTC-USDT", "100", "1");
        let wish = Wish { stale_after: Duration::from_millis(400), ..Wish::default() };
        let mut feed = Running::start(&fake, wish);
        feed.until("BTC-USDT 100 x 0.001").await;
        fake.until(|stats| stats.topics == 3).await;
        // The venue answers pings and polls, but the stream is silent about what happens.
        for price in 101.. {
            fake.stream_fault(StreamFault::Drop(1));
            fake.trade("BTC-USDT", &price.to_string(), "1");
            feed.until(&format!("BTC-USDT {price} x 0.001")).await;
            if feed.status.borrow().quality.is_some_and(|quality| quality.gaps > 0) {
                break;
            }
        }
        assert_eq!(fake.stats().connections, 1);
        assert_lawful(&fake);
    });
}

#[test]
fn polling_needs_no_stream() {
    timed(async {
        let fake = FakeBlofin::start(&["BTC-USDT", "ETH-USDT"]).await;
        fake.trade("BTC-USDT", "100", "1");
        fake.mark("BTC-USDT", "99");
        let mut feed = Running::start(&fake, Wish { poll_only: true, ..Wish::default() });
        feed.until("BTC-USDT mark 99").await;
        for fault in [RestFault::Garbage, RestFault::Code500, RestFault::Refused, RestFault::Close] {
            fake.rest_fault(fault);
            fake.quote("BTC-USDT", "101", "102");
            feed.status(|status| status.error.as_ref().is_some_and(|text| text.starts_with("polling: ")))
                .await;
            feed.status(|status| status.error.is_none()).await;
        }
        assert_eq!(fake.stats().connections, 0);
        assert_lawful(&fake);
        // A limit that was hit is not hit again: the next request does not even leave.
        fake.rest_fault(if now_ms() % 2 == 0 { RestFault::TooMany } else { RestFault::Banned });
        let waits =
            |status: &FeedStatus| status.error.as_ref().is_some_and(|text| text.contains("rate limits"));
        let status = feed.status(waits).await;
        assert!(!status.connected, "{status:?}");
        let error = status.error.unwrap();
        let waits = error.starts_with("polling: waiting 2") || error.starts_with("polling: waiting 300");
        assert!(waits && error.ends_with(" s for the venue's rate limits; it is tried again"), "{error}");
    });
}

#[test]
fn pairs_that_cannot_be_had_are_named() {
    timed(async {
        let fake = FakeBlofin::start(&["BTC-USDT", "ETH-USDT", "SOL-USDT"]).await;
        fake.set_instrument("ETH-USDT", "state", "suspend");
        let symbols = ["BTC-USDT", "ETH-USDT", "BTC-UST", "SOL-USDT.SPOT"];
        let mut feed = Running::start(&fake, Wish { symbols: &symbols, ..Wish::default() });
        let status = feed.status(|status| status.noticed == 3).await;
        let texts: Vec<&str> = status.notices.iter().map(|notice| notice.text.as_str()).collect();
        let expected = [
            "feed blofin: ETH-USDT is \"suspend\" at the venue; it must be \"live\"",
            "feed blofin: \"BTC-UST\" is not a pair of the venue; the nearest are \"BTC-USDT\", \"ETH-USDT\", \"SOL-USDT\"",
            "feed blofin: SOL-USDT.SPOT is a spot pair; only perpetuals are available",
        ];
        assert_eq!(texts, expected);
        assert!(status.notices.iter().all(|notice| notice.code == "instrument_refused"));
        assert_eq!(status.notices_after(2).count(), 1);
        // The others are served, also after a reconnect; what the venue says of a subscription is told once.
        fake.until(|stats| stats.topics == 3).await;
        for _ in 0..2 {
            fake.send_raw(r#"{"event":"error","code":"60012","msg":"Invalid request"}"#.into());
        }
        fake.close(true);
        fake.until(|stats| stats.connections == 2 && stats.topics == 3).await;
        let refused = |status: &FeedStatus| {
            status.notices.back().is_some_and(|last| last.code == "subscription_refused")
        };
        assert_eq!(feed.status(refused).await.noticed, 4);
        fake.trade("BTC-USDT", "104", "1");
        feed.until("BTC-USDT 104 x 0.001").await;
    });
}

#[test]
fn a_start_without_a_network_goes_on_when_there_is_one() {
    timed(async {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Some(folder.path().join("instruments.json"));
        let fake = FakeBlofin::start(&["BTC-USDT"]).await;
        fake.down(true);
        let mut feed = Running::start(&fake, Wish { catalog: catalog.clone(), ..Wish::default() });
        let status = feed.status(|status| status.error.is_some()).await;
        assert!(status.error.unwrap().starts_with("the venue's instruments are not known yet: no answer: "));
        fake.down(false);
        fake.until(|stats| stats.topics == 3).await;
        fake.trade("BTC-USDT", "104", "1");
        feed.until("BTC-USDT 104 x 0.001").await;
        feed.stop().await;
        // With what was stored the next start needs only prices; steps that changed meanwhile are told.
        fake.set_instrument("BTC-USDT", "contractValue", "0.01");
        fake.down(true);
        let mut feed = Running::start(&fake, Wish { catalog, ..Wish::default() });
        let steps = feed.events.recv().await.unwrap().event;
        assert!(matches!(steps.update, PriceUpdate::Instrument { .. }), "{steps:?}");
        feed.status(|status| status.error.is_some() && !status.connected).await;
        fake.down(false);
        let status = feed.status(|status| status.noticed == 1).await;
        let notice = &status.notices[0];
        assert_eq!(notice.code, "instrument_changed");
        assert_eq!(notice.text, "feed blofin: BTC-USDT: contract value 0.001 became 0.01");
        fake.until(|stats| stats.topics == 3).await;
        fake.trade("BTC-USDT", "105", "1");
        feed.until("BTC-USDT 105 x 0.01").await;
    });
}

#[test]
fn a_busy_engine_gets_the_newest_quote_and_every_trade() {
    timed(async {
        let fake = FakeBlofin::start(&["BTC-USDT"]).await;
        let mut feed = Running::start(&fake, Wish { room: 1, ..Wish::default() });
        fake.until(|stats| stats.topics == 3).await;
        // The snapshot is over: it tells the last trade, and those before it would be older than that.
        let snapshot = |status: &FeedStatus| status.quality.is_some_and(|quality| quality.polls > 0);
        while !snapshot(&feed.status.borrow()) {
            tokio::task::yield_now().await;
        }
        for n in 0..500 {
            fake.quote("BTC-USDT", &format!("{}", 100 + n), "1000");
            fake.trade("BTC-USDT", &format!("{}", 100 + n), "1");
        }
        // Nobody took an event until the last frame was read.
        let conflated = |status: &FeedStatus| status.quality.is_some_and(|quality| quality.conflated > 0);
        fake.until(|stats| stats.frames == 1_000).await;
        let (mut trades, mut last) = (0, String::new());
        while trades < 500 {
            last = feed.next().await;
            trades += u32::from(!last.contains('/'));
        }
        assert_eq!(last, "BTC-USDT 599 x 0.001");
        let status = feed.status(conflated).await;
        assert_eq!(status.quality.unwrap().overflowed, 0);
    });
}

/// `TRADEBUS_FAULTS` random faults (40), the chance from `TRADEBUS_SEED`; `scripts/feed-faults` has more.
#[test]
fn random_faults_end_with_the_right_prices() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let faults = number("TRADEBUS_FAULTS").unwrap_or(40);
    let seed = number("TRADEBUS_SEED").unwrap_or(1);
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let patience = PATIENCE * u32::try_from(1 + faults / 10).unwrap();
    let test = async {
        let pairs = ["BTC-USDT", "ETH-USDT", "SOL-USDT"];
        let fake = FakeBlofin::start(&pairs).await;
        let wish = Wish { symbols: &pairs, stale_after: Duration::from_secs(1), ..Wish::default() };
        let mut feed = Running::start(&fake, wish);
        for round in 0..faults {
            let count = 1 + random.below(5) as usize;
            match random.below(24) {
                0 => fake.close(random.one_in(2)),
                1 => fake.freeze(true),
                2 => fake.send_raw("{".repeat(1 + random.below(2_000) as usize)),
                3..=6 => fake.stream_fault(StreamFault::Drop(count)),
                7..=10 => fake.stream_fault(StreamFault::Repeat(count)),
                11..=13 => fake.stream_fault(StreamFault::Reorder(count)),
                14..=16 => fake.stream_fault(StreamFault::Delay(count)),
                17..=19 => fake.stream_fault(StreamFault::Garbage(count)),
                20 => fake.rest_fault(RestFault::Refused),
                21 => fake.rest_fault(RestFault::Garbage),
                22 => fake.rest_fault(RestFault::Close),
                _ => fake.rest_fault(RestFault::Code500),
            }
            // Whatever the fault did, the last price of a pair that traded gets through by one way or the other.
            let pair = random.pick(&pairs);
            let price = 1_000 + round;
            for step in 0..5 {
                fake.trade(pair, &format!("{price}.{step}"), "1");
            }
            feed.until(&format!("{pair} {price}.4 x 0.001")).await;
            fake.freeze(false);
        }
        feed.source("stream").await;
        let stats = fake.stats();
        println!("{faults} faults, {} connections, {} requests", stats.connections, stats.requests_total());
        assert_lawful(&fake);
    };
    runtime.block_on(async { tokio::time::timeout(patience, test).await.expect("it ends") });
}
