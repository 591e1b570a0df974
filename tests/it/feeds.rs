//! The real recordings of `../shared/data`, where they are present: complete, in order, and as a feed.

use std::path::{Path, PathBuf};

use rust_decimal::Decimal;
use tokio::sync::{mpsc, watch};
use tradebus::backtest::source::RecordingSource;
use tradebus::daemon::clock::Clock;
use tradebus::daemon::feed::{FeedSource, FeedStatus, FeedTask, RecordingClock, RecordingFeed, run};
use tradebus::model::ids::{FeedId, Symbol};
use tradebus::model::market::{MarketEvent, PriceUpdate};
use tradebus::model::time::Timestamp;

const TRADES: &str = "trades/binance_spot_BTC-USDT_2024-08-08T2354_2024-08-09T0005.csv.gz";
const QUOTES: &str = "quotes/binance_spot_BTC-USDT_2024-08-08T2354_2024-08-09T0005.csv.gz";

/// The folder of recordings, if it is there.
fn data() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if !folder.is_dir() {
        println!("skipped: ../shared/data is absent");
        return None;
    }
    Some(folder)
}

fn files(folder: &Path, names: &[&str]) -> Vec<(PathBuf, Symbol)> {
    let symbol = Symbol::new("BTC-USDT").unwrap();
    names.iter().map(|name| (folder.join(name), symbol)).collect()
}

fn open(folder: &Path, names: &[&str]) -> RecordingSource {
    RecordingSource::open(&files(folder, names), FeedId::new("tape").unwrap()).unwrap()
}

#[test]
fn recordings_are_read_completely() {
    let Some(folder) = data() else { return };
    // The year of minutes takes a debug build too long: its first rows must do.
    const ROWS_MAX: usize = 100_000;
    let check = |name: &str, rows: usize| {
        let source = open(&folder, &[name]);
        let mut last = source.first_time().unwrap();
        let mut count = 0;
        for event in source.take(ROWS_MAX) {
            let event = event.unwrap_or_else(|error| panic!("{error}")).event;
            assert!(event.time >= last, "{name}: {event:?}");
            last = event.time;
            count += 1;
        }
        assert_eq!(count, rows.min(ROWS_MAX), "{name}");
    };
    check("trades/kraken_BTC-USDT_2025-11-10.csv.gz", 1_000);
    check("trades/binance_spot_XRP-ETH_2019-10.csv.gz", 12_477);
    check("trades/binance_spot_PEPE-USDT_aggregate_2024-10-27.csv.gz", 57_229);
    check("candles/bitfinex_BTC-USD_1m_2019.csv.gz", 512_727);
    check("candles/binance_usdm_BTC-USDT_1m_2025-05.csv.gz", 43_199);
    check("candles/binance_usdm_ETH-USDT_1m_2025-05.csv.gz", 60_191);
    check("candles/binance_usdm_SOL-USDT_1m_2025-05.csv.gz", 43_200);
    check("candles/binance_usdm_BTC-USDT_5m_2025-03.csv.gz", 10_906);
    check("candles/binance_usdm_BTC-USDT_15m_2025-03.csv.gz", 3_635);
    check("candles/binance_spot_BTC-USDT_1m_2024-07-26_2024-08-25.csv.gz", 43_209);
    check("candles/binance_spot_BTC-USDT_1h_2017_2024.csv.gz", 58_419);
    check("candles/kraken_BTC-USDT_1m_2025-11-10.csv.gz", 721);
    check("candles/coinbase_BTC-USD_1s_2016-10-07_2016-10-09.csv.gz", 11_520);
    check("candles/coinbase_BTC-USD_1m_2016-10-07_2016-10-09.csv.gz", 4_216);
    check("candles/binance_spot_XRP-ETH_1m_2019-10.csv.gz", 2_469);
    check("candles/binance_spot_XRP-ETH_5m_2019-10.csv.gz", 706);
}

#[test]
fn candles_are_stamped_at_their_close() {
    let Some(folder) = data() else { return };
    let check = |name: &str, close_ms: i64, close: &str| {
        let event = open(&folder, &[name]).next().unwrap().unwrap().event;
        let PriceUpdate::Candle { close: found } = event.update else { panic!("{event:?}") };
        assert_eq!((event.time.as_ms(), found.to_string().as_str()), (close_ms, close), "{name}");
    };
    check("candles/bitfinex_BTC-USD_1m_2019.csv.gz", 1_546_300_860_000, "3833.1");
    check("candles/binance_spot_BTC-USDT_1h_2017_2024.csv.gz", 1_502_946_000_000, "4308.83");
    check("candles/binance_usdm_BTC-USDT_15m_2025-03.csv.gz", 1_741_257_900_000, "91216.2");
    // Seconds without a trade are absent: the second row is 26 seconds later.
    check("candles/coinbase_BTC-USD_1s_2016-10-07_2016-10-09.csv.gz", 1_475_798_405_000, "611.87");
}

#[test]
fn trades_and_quotes_merge_in_time_order() {
    let Some(folder) = data() else { return };
    let mut source = open(&folder, &[TRADES, QUOTES]);
    let mut last = source.first_time().unwrap();
    let mut last_is_quote = false;
    let (mut trades, mut quotes, mut volume) = (0, 0, Decimal::ZERO);
    for event in source.by_ref() {
        let event = event.unwrap_or_else(|error| panic!("{error}")).event;
        let is_quote = matches!(event.update, PriceUpdate::Quote { .. });
        match event.update {
            PriceUpdate::Trade { quantity, .. } => {
                trades += 1;
                volume += quantity.value();
            }
            PriceUpdate::Quote { .. } => quotes += 1,
            other => panic!("{other:?}"),
        }
        assert!(event.time >= last, "{event:?}");
        // Trades are first in the order of files, so at equal times no trade follows a quote.
        assert!(event.time > last || is_quote || !last_is_quote, "{event:?}");
        (last, last_is_quote) = (event.time, is_quote);
    }
    assert_eq!((trades, quotes), (19_904, 73_174));
    assert_eq!(source.last_time(), Some(last));
    assert!(volume > Decimal::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_recording_plays_in_its_own_time() {
    let Some(folder) = data() else { return };
    let name = "trades/kraken_BTC-USDT_2025-11-10.csv.gz";
    let recorded: Vec<MarketEvent> = open(&folder, &[name]).map(|one| one.unwrap().event).collect();
    let start = Timestamp::from_ms(1_800_000_000_000);
    let clock = Clock::steady(start);
    let source = RecordingFeed {
        files: files(&folder, &[name]),
        speed: 1.0,
        clock: RecordingClock::Wall,
        repeat: false,
    };
    let feed = FeedTask {
        id: FeedId::new("tape").unwrap(),
        clock: clock.clone(),
        source: FeedSource::Recording(source),
    };
    let (out, mut events) = mpsc::channel(16);
    let (status, seen) = watch::channel(FeedStatus::default());
    let (_stop, stopped) = watch::channel(false);
    let task = tokio::spawn(run(feed, out, status, stopped));
    for expected in &recorded {
        let event = events.recv().await.unwrap().event;
        assert_eq!(event.time.since_ms(start), expected.time.since_ms(recorded[0].time));
        assert_eq!((event.time, event.update), (clock.now(), expected.update));
    }
    assert!(events.recv().await.is_none());
    task.await.unwrap();
    let status = seen.borrow().clone();
    assert_eq!((status.messages, status.ended, status.error), (1_000, true, None));
}
