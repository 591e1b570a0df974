//! A recorded session replays to the same prices, byte for byte; and the commands that watch and record.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tradebus::backtest::recorder::Recorder;
use tradebus::backtest::source::RecordingSource;
use tradebus::config::{Config, Sources};
use tradebus::daemon::clock::Clock;
use tradebus::daemon::feed::{FeedSource, FeedStatus, FeedTask, RecordingClock, RecordingFeed, run};
use tradebus::engine::Engine;
use tradebus::engine::effect::{Effect, Update};
use tradebus::engine::event::Event;
use tradebus::engine::state::State;
use tradebus::message::topic::Topics;
use tradebus::message::view;
use tradebus::model::ids::{FeedId, Symbol};
use tradebus::model::market::{Arrival, PriceUpdate};
use tradebus::model::time::Timestamp;

use super::running::{Running, Wish, assert_lawful, timed};
use crate::rig;
use crate::support::fake_blofin::{FakeBlofin, StreamFault};
use crate::support::program::{Ended, Program};
use crate::support::random::Random;

const PAIRS: [&str; 2] = ["BTC-USDT", "ETH-USDT"];

/// Every topic and payload of prices and ticks that an engine publishes for these arrivals.
fn published(arrivals: &[Arrival]) -> Vec<(String, String)> {
    let text = "[mqtt]\nprice_interval_ms = 100\n[feed.blofin]\nsymbols = [\"BTC-USDT\", \"ETH-USDT\"]\n\
        [strategy.s]\ntype = \"external\"\nsymbols = [\"BTC-USDT\", \"ETH-USDT\"]\nticks = true\n";
    let config = Config::load(&Sources::of_text(text)).expect("a good configuration").config;
    let mut engine = Engine::new(config.engine_settings(), State::default());
    let (mut effects, topics) = (Vec::new(), Topics::new("t"));
    engine.handle(arrivals[0].at, rig::start_event(), &mut effects);
    for arrival in arrivals {
        engine.handle(arrival.at, Event::Market(arrival.event.clone()), &mut effects);
    }
    let messages = effects.iter().filter_map(|effect| match effect {
        Effect::Publish(update @ (Update::Price(_) | Update::Tick(_))) => Some(view::update(&topics, update)),
        _ => None,
    });
    messages.flatten().map(|message| (message.topic, message.payload)).collect()
}

/// What a recording says when it is played as a feed, in the times that it was recorded in.
async fn played(files: &[(PathBuf, Symbol)]) -> Vec<Arrival> {
    let source =
        RecordingFeed { files: files.to_vec(), speed: 0.0, clock: RecordingClock::Recorded, repeat: false };
    let id = FeedId::new("blofin").unwrap();
    let feed = FeedTask { id, clock: Clock::recorded(Timestamp::MIN), source: FeedSource::Recording(source) };
    let (out, mut events) = mpsc::channel(16);
    let (status, seen) = watch::channel(FeedStatus::default());
    let (_stop, stopped) = watch::channel(false);
    let task = tokio::spawn(run(feed, out, status, stopped));
    let mut arrivals = Vec::new();
    while let Some(arrival) = events.recv().await {
        arrivals.push(arrival);
    }
    task.await.unwrap();
    assert_eq!(seen.borrow().error, None);
    arrivals
}

/// Looks at what came of each pair, in its order. Pairs do not know of each other, so at equal times any may be first.
fn of(arrivals: &[Arrival], pair: &str) -> Vec<Arrival> {
    arrivals.iter().filter(|arrival| arrival.event.symbol.as_str() == pair).cloned().collect()
}

#[test]
fn a_session_replays_to_the_same_prices() {
    timed(async {
        let folder = TempDir::new().unwrap();
        let files = [("BTC-USDT.csv", PAIRS[0]), ("ETH-USDT.csv.gz", PAIRS[1])]
            .map(|(name, pair)| (folder.path().join(name), Symbol::new(pair).unwrap()));
        let mut recorder = Recorder::create(files.clone()).unwrap();
        let fake = FakeBlofin::start(&PAIRS).await;
        PAIRS.iter().for_each(|pair| fake.trade(pair, "100", "1"));
        let mut feed = Running::start(&fake, Wish { symbols: &PAIRS, ..Wish::default() });
        fake.until(|stats| stats.topics == 6).await;
        let (clock, mut session, mut random) = (Clock::wall(), Vec::new(), Random::new(7));
        for round in 0..300 {
            let pair = random.pick(&PAIRS);
            match random.below(12) {
                0 => fake.stream_fault(StreamFault::Repeat(2)),
                1 => fake.stream_fault(StreamFault::Reorder(2)),
                2 => fake.stream_fault(StreamFault::Garbage(1)),
                3 => fake.mark(pair, &format!("{}.25", 100 + round)),
                4..=7 => fake.quote(pair, &format!("{}.5", 100 + round), &format!("{}", 101 + round)),
                _ => fake.trade(pair, &format!("{}.125", 100 + round), "0.3"),
            }
            // In step with the feed, so that events come one at a time, as they do in life.
            while let Ok(arrival) = feed.events.try_recv() {
                session.push(Arrival { at: clock.now(), ..arrival });
            }
            tokio::task::yield_now().await;
        }
        // Whatever was delayed comes before the last word.
        PAIRS.iter().for_each(|pair| (0..4).for_each(|_| fake.trade(pair, "999", "1")));
        let ended = |session: &[Arrival], pair: &str| {
            let is_last =
                |update| matches!(update, PriceUpdate::Trade { price, .. } if price.to_string() == "999");
            of(session, pair).iter().filter(|one| is_last(one.event.update)).count() == 4
        };
        while !PAIRS.iter().all(|pair| ended(&session, pair)) {
            let arrival = feed.events.recv().await.unwrap();
            session.push(Arrival { at: clock.now(), ..arrival });
        }
        feed.stop().await;
        assert_lawful(&fake);
        session.iter().for_each(|arrival| recorder.take(arrival).unwrap());
        recorder.finish().unwrap();

        let read: Vec<Arrival> = RecordingSource::open(&files, FeedId::new("blofin").unwrap())
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(played(&files).await, read);
        assert!(read.is_sorted_by_key(|arrival| arrival.at) && read.len() == session.len());
        let kinds =
            |kind: fn(&PriceUpdate) -> bool| read.iter().filter(|one| kind(&one.event.update)).count();
        assert_eq!(kinds(|update| matches!(update, PriceUpdate::Instrument { .. })), 2);
        assert!(kinds(|update| matches!(update, PriceUpdate::Trade { .. })) > 50);
        assert!(kinds(|update| matches!(update, PriceUpdate::Quote { .. })) > 30);
        assert!(kinds(|update| matches!(update, PriceUpdate::Mark { .. })) > 5);
        for pair in PAIRS {
            let (lived, replayed) = (of(&session, pair), of(&read, pair));
            assert_eq!(lived, replayed);
            let payloads = published(&lived);
            assert!(payloads.len() > 100 && payloads == published(&replayed), "{}", payloads.len());
        }
        // Files of another feed under another name replay alike: the names are not in them.
        let other = RecordingSource::open(&files, FeedId::new("tape").unwrap()).unwrap();
        assert!(
            other.map(Result::unwrap).map(|one| one.event.update).eq(read.iter().map(|one| one.event.update))
        );
    });
}

/// `tradebus` with the addresses of the fake.
fn program(fake: &FakeBlofin, folder: &Path, line: &[&str]) -> Program {
    let set = [
        format!("venue.blofin.rest_url={}", fake.rest_url()),
        format!("venue.blofin.ws_public_url={}", fake.ws_url()),
    ];
    let line: Vec<&str> = line.iter().copied().chain(["--set", &set[0], "--set", &set[1]]).collect();
    Program::start(&line, &folder.join("log"))
}

/// The end of a process, beside the tasks of the test.
async fn end(mut program: Program) -> Ended {
    spawn_blocking(move || program.wait()).await.unwrap()
}

#[test]
fn prices_are_watched_without_a_daemon() {
    timed(async {
        let folder = TempDir::new().unwrap();
        let fake = FakeBlofin::start(&PAIRS).await;
        fake.trade("BTC-USDT", "97000", "2");
        let mut watching =
            program(&fake, folder.path(), &["feed", "--watch", "--json", "--symbol", "BTC-USDT"]);
        fake.until(|stats| stats.topics == 3).await;
        fake.quote("BTC-USDT", "97001", "97002.5");
        watching.says("\"bid\":97001,\"ask\":97002.5,\"mark\":97000,", 1).await;
        fake.trade("BTC-USDT", "97002", "3");
        watching.says("\"stale\":false,\"quantity\":0.003,\"side\":\"buy\"}\n", 1).await;
        let line = watching.log().lines().last().unwrap_or_default().to_owned();
        assert!(
            line.starts_with(r#"{"feed":"blofin","symbol":"BTC-USDT","last":97002,"bid":97001,"#),
            "{line}"
        );
        watching.ask_to_stop();
        assert_eq!(end(watching).await.code, Some(0));
        fake.until(|stats| stats.open == 0 && stats.closed_because == ["going away"]).await;
        // Each process keeps the limits for itself, so only one of them is looked at.
        assert_lawful(&fake);
        // Once, as a table; and a pair that never trades is an error that names it.
        let once = end(program(&fake, &folder.path().join("."), &["feed", "--symbol", "BTC-USDT"])).await;
        let table: Vec<&str> = once.log.lines().skip_while(|line| !line.starts_with("symbol")).collect();
        assert_eq!(once.code, Some(0), "{}", once.log);
        assert!(table[1].starts_with("BTC-USDT  97002  97001  97002.5  97002 "), "{}", once.log);
        let none = ["feed", "--symbol", "ETH-USDT", "--wait-s", "1"];
        let none = end(program(&fake, folder.path(), &none)).await;
        assert_eq!(none.code, Some(69), "{}", none.log);
        assert!(none.log.ends_with("error: no price of ETH-USDT in time\n"), "{}", none.log);
        let unknown = ["feed", "--symbol", "BTC-UST", "--wait-s", "1"];
        let unknown = end(program(&fake, folder.path(), &unknown)).await;
        let why = "error: no price of BTC-UST in time: \"BTC-UST\" is not a pair of the venue; the nearest are \"BTC-USDT\", \"ETH-USDT\"\n";
        assert!(unknown.code == Some(69) && unknown.log.ends_with(why), "{}", unknown.log);
    });
}

#[test]
fn a_recording_is_made_and_played() {
    timed(async {
        let folder = TempDir::new().unwrap();
        let fake = FakeBlofin::start(&PAIRS).await;
        fake.trade("BTC-USDT", "97000", "2");
        let place = folder.path().join("{symbol}.csv.gz").display().to_string();
        let recording = ["record", &place, "--symbol", PAIRS[0], "--symbol", PAIRS[1]];
        let recorder = program(&fake, folder.path(), &recording);
        let files =
            PAIRS.map(|pair| (folder.path().join(format!("{pair}.csv.gz")), Symbol::new(pair).unwrap()));
        fake.until(|stats| stats.topics == 6).await;
        fake.quote("ETH-USDT", "3300", "3300.5");
        fake.mark("ETH-USDT", "3300.25");
        fake.trade("ETH-USDT", "3301.5", "1");
        // Its packed file can be read while it grows; the error at its end is that it has none yet.
        let last = |files: &[(PathBuf, Symbol)]| {
            let source = RecordingSource::open(files, FeedId::new("f").unwrap());
            let events = source.into_iter().flatten().map_while(Result::ok);
            events.filter(|one| matches!(one.event.update, PriceUpdate::Trade { .. })).last()
        };
        while last(&files[1..]).is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        recorder.ask_to_stop();
        let ended = end(recorder).await;
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        assert!(ended.log.contains("ETH-USDT.csv.gz: ETH-USDT, "), "{}", ended.log);
        // The same again would write over it.
        let again = end(program(&fake, folder.path(), &recording)).await;
        assert!(again.code == Some(74) && again.log.contains("File exists"), "{}", again.log);
        // The files are a feed like any other, here as fast as it goes.
        let text = format!(
            "[feed.tape]\nsource = \"recording\"\nsymbols = {PAIRS:?}\nspeed = 0\nclock = \"recorded\"\n\
             files = [{{ path = {:?}, symbol = \"BTC-USDT\" }}, {{ path = {:?}, symbol = \"ETH-USDT\" }}]\n",
            files[0].0, files[1].0
        );
        let config = folder.path().join("c.toml");
        std::fs::write(&config, text).unwrap();
        let playing = ["feed", "--watch", "--json", "--config", &config.display().to_string()];
        let log = folder.path().join("played");
        let played = end(Program::start(&playing, &log)).await;
        assert_eq!(played.code, Some(0), "{}", played.log);
        let time = last(&files[1..]).unwrap().event.time;
        let expected = format!(
            r#"{{"feed":"tape","symbol":"ETH-USDT","last":3301.5,"bid":3300,"ask":3300.5,"mark":3300.25,"time":"{time}","stale":false,"quantity":0.001,"side":"buy"}}"#
        );
        assert!(played.log.lines().any(|line| line == expected), "{expected}\n{}", played.log);
        assert!(played.log.contains(r#""symbol":"BTC-USDT","last":97000,"#), "{}", played.log);
    });
}
