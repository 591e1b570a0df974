//! A night of random faults, in compressed time: tokio's clock jumps to the next timer whenever nobody has anything to
//! do, for the feed, the fake and the test alike, so hours pass in seconds.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tradebus::model::amount::Price;
use tradebus::model::ids::Symbol;
use tradebus::model::market::{Arrival, PriceUpdate};

use super::running::{Running, Wish, assert_lawful, compressed};
use crate::support::fake_blofin::{FakeBlofin, RestFault, StreamFault};
use crate::support::random::Random;

const PAIRS: [&str; 3] = ["BTC-USDT", "ETH-USDT", "SOL-USDT"];
/// The longest pause between two faults.
const PAUSE_S_MAX: u64 = 60;

/// The feed and the last price that it told of each pair.
struct Night {
    feed: Running,
    last: BTreeMap<Symbol, Price>,
}

impl Night {
    /// Takes an event. Prices only rise in these nights, so one that falls is an old one in the place of a newer one.
    fn take(&mut self, arrival: Option<Arrival>) {
        let event = arrival.expect("the feed goes on").event;
        if let PriceUpdate::Trade { price, .. } = event.update {
            let before = self.last.insert(event.symbol, price);
            assert!(before.is_none_or(|before| before <= price), "{event:?} after {before:?}");
        }
    }

    /// Waits until a pair has this last price.
    async fn until(&mut self, pair: &str, price: &str) {
        let (pair, price) = (Symbol::new(pair).unwrap(), Price::new(price.parse().unwrap()));
        while self.last.get(&pair) != Some(&price) {
            let arrival = self.feed.events.recv().await;
            self.take(arrival);
        }
    }

    /// Lets time go by.
    async fn pass(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            tokio::select! {
                biased;
                arrival = self.feed.events.recv() => self.take(arrival),
                () = sleep_until(end) => return,
            }
        }
    }
}

/// Makes the fake err; gives which fault it is.
fn fault(fake: &FakeBlofin, random: &mut Random) -> u64 {
    let count = 1 + random.below(5) as usize;
    let kind = random.below(34);
    match kind {
        0 => fake.close(random.one_in(2)),
        1 => fake.close_first(),
        2 => fake.freeze(true),
        3 => fake.send_raw("{".repeat(1 + random.below(2_000) as usize)),
        4 => fake.send_raw("x".repeat(1_048_577)),
        5..=8 => fake.stream_fault(StreamFault::Drop(count)),
        9..=11 => fake.stream_fault(StreamFault::Repeat(count)),
        12..=14 => fake.stream_fault(StreamFault::Reorder(count)),
        15..=17 => fake.stream_fault(StreamFault::Delay(count)),
        18..=19 => fake.stream_fault(StreamFault::Garbage(count)),
        20 => fake.rest_fault(RestFault::Refused),
        21 => fake.rest_fault(RestFault::Garbage),
        22 => fake.rest_fault(RestFault::Close),
        23 => fake.rest_fault(RestFault::Code500),
        24 => fake.rest_fault(RestFault::TooMany),
        25 => fake.rest_fault(RestFault::Banned),
        26 => fake.hold_rest(true),
        27 => {
            fake.refuse_streams(true);
            fake.close(true);
        }
        28 => {
            fake.freeze(true);
            fake.rest_fault(RestFault::Banned);
        }
        29 => {
            let pair = random.pick(&PAIRS);
            fake.set_instrument(pair, "tickSize", ["0.1", "0.01"][random.below(2) as usize]);
        }
        30..=31 => {
            let channel = random.pick(&["trades", "books5", "mark-price-candle1m"]);
            let row = random.pick(&[
                r#"{"instId":"BTC-USDT","tradeId":"x","price":"0","size":"1","side":"buy","ts":"1"}"#,
                r#"{"instId":"BTC-USDT","tradeId":"y","price":"1","size":"1","side":"buy","ts":"99999999999999"}"#,
                r#"{"asks":[[1,1]],"bids":[[2,1]],"ts":"1","seqId":"1"}"#,
                r#"["soon"]"#,
            ]);
            fake.send_raw(format!(
                r#"{{"arg":{{"channel":"{channel}","instId":"BTC-USDT"}},"data":[{row}]}}"#
            ));
        }
        _ => fake.down(true),
    }
    kind
}

/// Takes back what lasts.
fn mend(fake: &FakeBlofin) {
    fake.freeze(false);
    fake.hold_rest(false);
    fake.refuse_streams(false);
    fake.down(false);
}

/// Tasks of this runtime: the test's, the feed's and the fake's.
fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// Runs a night. The last price of a pair gets through by one way or the other, whatever the fault did.
fn night(seed: u64, faults: u64, standby: bool) {
    println!("seed {seed}, standby {standby}");
    compressed(async move {
        let began = Instant::now();
        let mut random = Random::new(seed);
        let fake = FakeBlofin::start(&PAIRS).await;
        let stale_after = Duration::from_secs(15);
        let wish = Wish {
            symbols: &PAIRS,
            standby,
            stale_after,
            interval: Duration::from_secs(1),
            ..Wish::default()
        };
        let mut night = Night { feed: Running::start(&fake, wish), last: BTreeMap::new() };
        let streams = 1 + usize::from(standby);
        let is_whole = move |stats: &crate::support::fake_blofin::Stats| {
            (stats.open, stats.topics) == (streams, streams * PAIRS.len() * 3)
        };
        fake.until(is_whole).await;
        let mut tasks_at_rest = 0;
        for round in 0..faults {
            let kind = fault(&fake, &mut random);
            println!("{} s: round {round}, fault {kind}", began.elapsed().as_secs());
            night.pass(Duration::from_secs(random.below(PAUSE_S_MAX))).await;
            // Nobody could tell what happens while it is away, or while it holds back its answers and its frames.
            fake.down(false);
            fake.hold_rest(false);
            let pair = random.pick(&PAIRS);
            let price = 1_000 + round;
            for step in 0..5 {
                fake.trade(pair, &format!("{price}.{step}"), "1");
            }
            night.until(pair, &format!("{price}.4")).await;
            mend(&fake);
            if round == faults / 10 {
                tasks_at_rest = tasks();
            }
        }
        // Whatever was still to go wrong does so, and then everything is as at the beginning.
        for step in 0..10 {
            PAIRS.iter().for_each(|pair| fake.trade(pair, &format!("{}", 1_000_000 + step), "1"));
        }
        for pair in PAIRS {
            night.until(pair, "1000009").await;
        }
        night.pass(Duration::from_secs(3_700)).await;
        fake.until(is_whole).await;
        let status = night.feed.source("stream").await;
        assert!(status.error.is_none() && status.connected, "{status:?}");
        assert_eq!(status.quality.unwrap().overflowed, 0);
        assert!(tasks() <= tasks_at_rest + 8, "{} tasks, {tasks_at_rest} before", tasks());
        assert_lawful(&fake);
        let stats = fake.stats();
        println!(
            "{faults} faults in {} s of compressed time: {} connections, {} requests, {:?}",
            began.elapsed().as_secs(),
            stats.connections,
            stats.requests_total(),
            status.quality.unwrap()
        );
        night.feed.stop().await;
        fake.until(|stats| stats.open == 0).await;
    });
}

/// `TRADEBUS_FAULTS` random faults (40), the chance from `TRADEBUS_SEED`; `scripts/feed-faults` has more.
#[test]
fn random_faults_end_with_the_right_prices() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let faults = number("TRADEBUS_FAULTS").unwrap_or(40);
    let seed = number("TRADEBUS_SEED").unwrap_or(1);
    night(seed, faults, false);
    night(seed, faults, true);
}
