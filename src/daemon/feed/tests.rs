//! Feeds in tokio's paused time: what comes, when, and how the status ends.

use std::path::Path;
use std::time::Duration;

use super::pace::{BURST_MAX, LATE_MS_MAX};
use super::*;
use crate::model::amount::{Price, parse_decimal};
use crate::model::ids::Symbol;
use crate::venue::synthetic::SyntheticSymbol;

const NOW_MS: i64 = 1_700_000_000_000;

/// A running feed and the other ends of its channels.
struct Running {
    clock: Clock,
    events: mpsc::Receiver<Arrival>,
    status: watch::Receiver<FeedStatus>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

fn start(source: FeedSource, capacity: usize) -> Running {
    let clock = Clock::steady(Timestamp::from_ms(NOW_MS));
    let (out, events) = mpsc::channel(capacity);
    let (status_in, status) = watch::channel(FeedStatus::default());
    let (stop, stop_out) = watch::channel(false);
    let feed = FeedTask { id: FeedId::new("tape").unwrap(), clock: clock.clone(), source };
    let task = tokio::spawn(run(feed, out, status_in, stop_out));
    Running { clock, events, status, stop, task }
}

impl Running {
    /// Up to `count` events as `time received`, both in milliseconds, without what they have in common.
    async fn times(&mut self, count: usize) -> Vec<(i64, i64)> {
        let mut times = Vec::new();
        while times.len() < count {
            let Some(Arrival { event, .. }) = self.events.recv().await else { break };
            times.push((event.time.as_ms(), self.clock.now().as_ms() - NOW_MS));
        }
        times
    }

    async fn end(self) -> FeedStatus {
        self.task.await.unwrap();
        self.status.borrow().clone()
    }
}

fn write(folder: &Path, lines: &str) -> Vec<(std::path::PathBuf, Symbol)> {
    let path = folder.join("tape.csv");
    std::fs::write(&path, format!("time_ms,price,quantity,taker_side,trade_id\n{lines}")).unwrap();
    vec![(path, Symbol::new("BTC-USDT").unwrap())]
}

/// Plays trades at these times, and looks at the first events: their times and when they came.
async fn check_paced(
    times_ms: &[i64],
    (speed, clock, repeat): (f64, RecordingClock, bool),
    expected: &[(i64, i64)],
) {
    let folder = tempfile::tempdir().unwrap();
    let lines: String = times_ms.iter().map(|ms| format!("{ms},10,1,buy,1\n")).collect();
    let files = write(folder.path(), &lines);
    let mut running = start(FeedSource::Recording(RecordingFeed { files, speed, clock, repeat }), 4);
    let count = expected.len() + usize::from(!repeat);
    assert_eq!(running.times(count).await, expected, "speed {speed} {clock:?} repeat {repeat}");
    running.stop.send_replace(true);
    let status = running.end().await;
    assert_eq!((status.ended, status.connected, status.error), (!repeat, false, None));
    if !repeat {
        assert_eq!(status.messages, expected.len() as u64);
        assert_eq!(status.last_message.map(Timestamp::as_ms), expected.last().map(|(time, _)| *time));
    }
}

#[tokio::test(start_paused = true)]
async fn recordings_are_paced() {
    let n = NOW_MS;
    let times = [5_000, 5_000, 6_000, 66_000];
    use RecordingClock::{Recorded, Wall};
    let wall = [(n, 0), (n, 0), (n + 1_000, 1_000), (n + 61_000, 61_000)];
    check_paced(&times, (1.0, Wall, false), &wall).await;
    let fast = [(n, 0), (n, 0), (n + 100, 100), (n + 6_100, 6_100)];
    check_paced(&times, (10.0, Wall, false), &fast).await;
    let slow = [(5_000, 0), (5_000, 0), (6_000, 2_000), (66_000, 122_000)];
    check_paced(&times, (0.5, Recorded, false), &slow).await;
    let unpaced = [(5_000, 0), (5_000, 0), (6_000, 0), (66_000, 0)];
    check_paced(&times, (0.0, Recorded, false), &unpaced).await;
    check_paced(&[], (1.0, Wall, true), &[]).await;
}

#[tokio::test(start_paused = true)]
async fn repeated_recordings_go_on() {
    let n = NOW_MS;
    use RecordingClock::{Recorded, Wall};
    // The mean distance is 20, and a single event comes again after a millisecond.
    let wall =
        [(n, 0), (n + 10, 10), (n + 40, 40), (n + 60, 60), (n + 70, 70), (n + 100, 100), (n + 120, 120)];
    check_paced(&[100, 110, 140], (1.0, Wall, true), &wall).await;
    let recorded = [(100, 0), (110, 0), (140, 0), (160, 0), (170, 0), (200, 0), (220, 0)];
    check_paced(&[100, 110, 140], (0.0, Recorded, true), &recorded).await;
    check_paced(&[7], (1.0, Recorded, true), &[(7, 0), (8, 1), (9, 2)]).await;
}

#[tokio::test(start_paused = true)]
async fn failures_are_in_the_status() {
    let folder = tempfile::tempdir().unwrap();
    let check = async |lines: &str, speed: f64, messages: u64, expected: &str| {
        let files = write(folder.path(), lines);
        let clock = RecordingClock::Wall;
        let source = FeedSource::Recording(RecordingFeed { files, speed, clock, repeat: true });
        let mut running = start(source, 4);
        running.times(usize::MAX).await;
        let status = running.end().await;
        let error = status.error.unwrap();
        assert!(error.ends_with(expected), "{error}");
        assert_eq!((status.messages, status.ended, status.connected), (messages, false, false));
    };
    check("5,10,1,buy,1\n6,x,1,buy,1", 1.0, 1, "tape.csv: line 3: column price: \"x\" is not a number").await;
    let speed = "it must be 0.001 to 1000000, or 0 with the clock \"recorded\"";
    check("5,10,1,buy,1", 0.0, 0, speed).await;
    check("5,10,1,buy,1", -1.0, 0, speed).await;
    check("5,10,1,buy,1", f64::NAN, 0, speed).await;
    let running = start(FeedSource::Synthetic(SyntheticFeed { seed: 1, symbols: vec![] }), 4);
    let error = running.end().await.error.unwrap();
    assert_eq!(error, "a synthetic market has 1 to 64 symbols, not 0");
}

fn synthetic() -> FeedSource {
    let amount = |text| Price::new(parse_decimal(text).unwrap());
    let symbols = ["BTC-USDT", "ETH-USDT"].map(|name| SyntheticSymbol {
        symbol: Symbol::new(name).unwrap(),
        price_start: amount("60000"),
        volatility_daily_ratio: 0.03,
        spread_bps: 2.0,
        interval_ms_mean: 500.0,
        tick_size: amount("0.1"),
    });
    FeedSource::Synthetic(SyntheticFeed { seed: 1, symbols: symbols.to_vec() })
}

#[tokio::test(start_paused = true)]
async fn the_synthetic_market_keeps_the_clock() {
    let mut running = start(synthetic(), 16);
    let times = running.times(2_000).await;
    assert!(times.iter().all(|(time, received)| time - NOW_MS == *received), "{times:?}");
    // Two symbols, two events a second each.
    let length_ms = times.last().unwrap().1;
    assert!((400_000..600_000).contains(&length_ms), "{length_ms}");
    running.stop.send_replace(true);
    let status = running.end().await;
    assert!(!status.connected && !status.ended && status.messages >= 2_000, "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn a_late_feed_catches_up_a_little_then_moves_to_now() {
    let mut running = start(synthetic(), 1);
    running.times(10).await;
    // An hour is about 14,400 events.
    tokio::time::advance(Duration::from_secs(3_600)).await;
    let times = running.times(3_000).await;
    let late = times.iter().filter(|(time, received)| received - (time - NOW_MS) > LATE_MS_MAX).count();
    // Those in the channel and in the feed's hand had their times before.
    assert!(late >= 900 && late <= BURST_MAX as usize + 2, "{late}");
    let (time, received) = times[times.len() - 1];
    assert_eq!(time - NOW_MS, received);
    assert!(times.windows(2).all(|pair| pair[0].0 <= pair[1].0));
}

#[tokio::test(start_paused = true)]
async fn a_feed_stops_wherever_it_is() {
    // Held up by a full channel, then asleep until the next event.
    for events in [0, 5] {
        let mut running = start(synthetic(), 1);
        running.times(events).await;
        tokio::task::yield_now().await;
        running.stop.send_replace(true);
        assert!(running.end().await.error.is_none());
    }
    // Nobody is left to stop it, or to listen.
    let Running { stop, task, events, .. } = start(synthetic(), 1);
    drop(stop);
    task.await.unwrap();
    drop(events);
    let Running { stop, task, events, .. } = start(synthetic(), 1);
    drop(events);
    task.await.unwrap();
    drop(stop);
}

#[tokio::test(start_paused = true)]
async fn watchers_are_woken_by_the_connection_only() {
    let mut running = start(synthetic(), 1);
    running.times(1).await;
    assert!(running.status.has_changed().unwrap());
    let status = running.status.borrow_and_update().clone();
    assert_eq!((status.connected, status.since), (true, Some(Timestamp::from_ms(NOW_MS))));
    running.times(10).await;
    assert!(!running.status.has_changed().unwrap());
    assert!(running.status.borrow().messages >= 10);
}
