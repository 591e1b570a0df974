//! What happens when a stream breaks: a standby takes over, and trades that were missed are fetched.

use std::time::Duration;

use super::running::{Running, Wish, assert_lawful, timed};
use crate::support::fake_blofin::{FakeBlofin, StreamFault};

#[test]
fn a_standby_takes_over_without_a_gap() {
    timed(async {
        let fake = FakeBlofin::start(&["BTC-USDT"]).await;
        fake.trade("BTC-USDT", "100", "1");
        let mut feed = Running::start(&fake, Wish { standby: true, ..Wish::default() });
        feed.until("BTC-USDT 100 x 0.001").await;
        let both = |streams: usize| {
            move |status: &tradebus::daemon::feed::FeedStatus| {
                status.quality.is_some_and(|quality| quality.streams == streams)
            }
        };
        feed.status(both(2)).await;
        fake.until(|stats| stats.topics == 6).await;
        // What both bring comes once, also when one loses it or both repeat it.
        for round in 0..20 {
            match round % 4 {
                0 => fake.stream_fault(StreamFault::Drop(1)),
                1 => fake.stream_fault(StreamFault::Repeat(2)),
                _ => {}
            }
            let price = 200 + round;
            fake.trade("BTC-USDT", &price.to_string(), "1");
            assert_eq!(feed.next().await, format!("BTC-USDT {price} x 0.001"));
        }
        fake.mark("BTC-USDT", "300");
        assert_eq!(feed.next().await, "BTC-USDT mark 300");
        let before = feed.status(both(2)).await;
        for round in 0..2 {
            fake.close_first();
            let status = feed.status(both(1)).await;
            assert!(status.connected && status.error.is_none(), "{status:?}");
            let price = 400 + round;
            fake.trade("BTC-USDT", &price.to_string(), "1");
            assert_eq!(feed.next().await, format!("BTC-USDT {price} x 0.001"));
            // The one that is left leads, so marks go on.
            fake.mark("BTC-USDT", &format!("{price}.5"));
            assert_eq!(feed.next().await, format!("BTC-USDT mark {price}.5"));
            feed.status(both(2)).await;
            fake.until(|stats| stats.topics == 6).await;
        }
        let status = feed.status(both(2)).await;
        assert_eq!((status.reconnects, status.since), (2, before.since));
        let (before, after) = (before.quality.unwrap(), status.quality.unwrap());
        // Nobody had to ask: neither for a snapshot nor for what was missed.
        assert_eq!((after.polls, after.fetched, after.gaps, after.dropped), (before.polls, 0, 0, 0));
        assert_lawful(&fake);
        feed.stop().await;
        fake.until(|stats| stats.open == 0).await;
    });
}

#[test]
fn trades_that_a_break_missed_come_first() {
    timed(async {
        let fake = FakeBlofin::start(&["BTC-USDT"]).await;
        fake.trade("BTC-USDT", "100", "1");
        // Polls are too seldom to tell what happens meanwhile.
        let mut feed = Running::start(&fake, Wish { interval: Duration::from_secs(600), ..Wish::default() });
        feed.until("BTC-USDT 100 x 0.001").await;
        fake.until(|stats| stats.topics == 3).await;
        fake.trade("BTC-USDT", "101", "1");
        assert_eq!(feed.next().await, "BTC-USDT 101 x 0.001");
        fake.refuse_streams(true);
        fake.close(false);
        feed.source("poll").await;
        (102..105).for_each(|price| fake.trade("BTC-USDT", &price.to_string(), "1"));
        fake.hold_rest(true);
        fake.refuse_streams(false);
        fake.until(|stats| stats.topics == 3).await;
        // A trade of the new stream waits for those before it; nothing else does.
        fake.trade("BTC-USDT", "105", "1");
        fake.quote("BTC-USDT", "105", "106");
        assert_eq!(feed.next().await, "BTC-USDT 105 / 106 x 0.001");
        fake.hold_rest(false);
        for price in 102..106 {
            assert_eq!(feed.next().await, format!("BTC-USDT {price} x 0.001"));
        }
        fake.trade("BTC-USDT", "107", "1");
        assert_eq!(feed.next().await, "BTC-USDT 107 x 0.001");
        let quality = feed.source("stream").await.quality.unwrap();
        assert_eq!((quality.fetched, quality.dropped, quality.gaps), (4, 0, 0));
        assert_lawful(&fake);
    });
}

#[test]
fn trades_that_cannot_be_fetched_hold_up_nothing() {
    timed(async {
        let fake = FakeBlofin::start(&["BTC-USDT"]).await;
        fake.trade("BTC-USDT", "100", "1");
        let mut feed = Running::start(&fake, Wish { interval: Duration::from_secs(600), ..Wish::default() });
        feed.until("BTC-USDT 100 x 0.001").await;
        fake.until(|stats| stats.topics == 3).await;
        fake.refuse_streams(true);
        fake.close(true);
        feed.source("poll").await;
        fake.hold_rest(true);
        fake.refuse_streams(false);
        fake.until(|stats| stats.topics == 3).await;
        fake.trade("BTC-USDT", "101", "1");
        assert_eq!(feed.next().await, "BTC-USDT 101 x 0.001");
        fake.hold_rest(false);
        assert_lawful(&fake);
    });
}
