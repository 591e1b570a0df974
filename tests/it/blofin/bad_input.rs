//! What cannot be is dropped, counted, and alerted above a rate; and a pair that changes is told of.

use std::time::Duration;

use super::running::{Running, Wish, assert_lawful, compressed};
use crate::support::fake_blofin::{FakeBlofin, now_ms};

/// Sends a row of a channel of BTC-USDT.
fn send(fake: &FakeBlofin, channel: &str, row: &str) {
    fake.send_raw(format!(r#"{{"arg":{{"channel":"{channel}","instId":"BTC-USDT"}},"data":[{row}]}}"#));
}

fn trade(price: &str, size: &str, time_ms: i64) -> String {
    format!(
        r#"{{"instId":"BTC-USDT","tradeId":"bad{price}{size}{time_ms}","price":"{price}","size":"{size}","side":"buy","ts":"{time_ms}"}}"#
    )
}

#[test]
fn wrong_rows_are_dropped_counted_and_alerted() {
    const DAY_MS: i64 = 86_400_000;
    compressed(async {
        let fake = FakeBlofin::start(&["BTC-USDT"]).await;
        fake.trade("BTC-USDT", "100", "1");
        let mut feed = Running::start(&fake, Wish::default());
        feed.until("BTC-USDT 100 x 0.001").await;
        fake.until(|stats| stats.topics == 3).await;
        let now = now_ms();
        let book = |bid: &str, ask: &str, size: &str, time_ms: i64| {
            format!(r#"{{"asks":[[{ask},1]],"bids":[[{bid},{size}]],"ts":"{time_ms}","seqId":"1"}}"#)
        };
        // Ours may differ by a minute ahead and a week behind; these are beyond by more than the test can take.
        let wrong = [
            ("trades", trade("0", "1", now)),
            ("trades", trade("-1", "1", now)),
            ("trades", trade("100", "0", now)),
            ("trades", trade("NaN", "1", now)),
            ("trades", trade("100", "1", now + DAY_MS)),
            ("trades", trade("100", "1", now - 8 * DAY_MS)),
            ("books5", book("101", "100", "1", now)),
            ("books5", book("0", "100", "1", now)),
            ("books5", book("99", "100", "0", now)),
        ];
        for (channel, row) in &wrong {
            send(&fake, channel, row);
        }
        fake.trade("BTC-USDT", "101", "1");
        // Of all these only the good one comes.
        assert_eq!(feed.next().await, "BTC-USDT 101 x 0.001");
        let dropped = |status: &tradebus::daemon::feed::FeedStatus| status.quality.unwrap().dropped;
        let status = feed.status(|status| dropped(status) > 0).await;
        assert_eq!((dropped(&status), status.noticed), (9, 0));
        // Nine in a minute are no alert. Ten are, once.
        feed.pass(Duration::from_secs(61)).await;
        assert_eq!(feed.status(|_| true).await.noticed, 0);
        (0..10).for_each(|_| send(&fake, "trades", &trade("100", "1", now + DAY_MS)));
        let status = feed.status(|status| status.noticed > 0).await;
        let notice = &status.notices[0];
        assert_eq!((notice.code, status.noticed, dropped(&status)), ("prices_dropped", 1, 19));
        let text = "feed blofin: 10 rows of the venue were dropped in a minute, the last: time_far_off: ts ";
        assert!(notice.text.starts_with(text), "{}", notice.text);
        feed.pass(Duration::from_secs(300)).await;
        assert_eq!(feed.status(|_| true).await.noticed, 1);
        assert_lawful(&fake);
    });
}

#[test]
fn steps_that_change_are_alerted_and_used() {
    compressed(async {
        let fake = FakeBlofin::start(&["BTC-USDT"]).await;
        let mut feed = Running::start(&fake, Wish::default());
        fake.until(|stats| stats.topics == 3).await;
        let changes =
            [("lotSize", "0.2"), ("minSize", "0.2"), ("tickSize", "0.5"), ("contractValue", "0.01")];
        changes.into_iter().for_each(|(field, value)| fake.set_instrument("BTC-USDT", field, value));
        // The list is asked for once an hour.
        let status = feed.status(|status| status.noticed == 1).await;
        let text = "feed blofin: BTC-USDT: tick size 0.1 became 0.5, lot size 0.1 became 0.2, \
                    minimum size 0.1 became 0.2, contract value 0.001 became 0.01";
        assert_eq!((status.notices[0].code, status.notices[0].text.as_str()), ("instrument_changed", text));
        fake.trade("BTC-USDT", "100", "1");
        feed.until("BTC-USDT 100 x 0.01").await;
        // A pair that is suspended while it is had keeps its stream, and is told of.
        fake.set_instrument("BTC-USDT", "state", "suspend");
        let status = feed.status(|status| status.noticed == 3).await;
        let texts: Vec<&str> = status.notices.iter().skip(1).map(|notice| notice.text.as_str()).collect();
        let expected = [
            "feed blofin: BTC-USDT: state live became suspend",
            "feed blofin: BTC-USDT is \"suspend\" at the venue; it must be \"live\"",
        ];
        assert_eq!(texts, expected);
        fake.trade("BTC-USDT", "101", "1");
        feed.until("BTC-USDT 101 x 0.01").await;
        assert_lawful(&fake);
    });
}
