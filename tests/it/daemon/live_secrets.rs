//! A whole run with an account at a venue that gossips: whatever it refuses, it repeats the keys with it. They are
//! nowhere: not in the log, on the bus, in the store, in recorded events, over HTTP, in what the program prints, in an
//! error, or in what is left after a panic.

use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::Value;
use tradebus::config::{Config, FileSource, Sources};
use tradebus::daemon::options::{Hangup, RunError, RunOptions};
use tradebus::model::amount::Ratio;

use super::contents;
use super::edges::send;
use super::live::{KEY, KEYS, PAIR, Scene, ended};
use super::load::{now_ms, signal, topic};
use crate::http::port_of;
use crate::support::program::Program;
use crate::support::web::Web;

/// Texts under the names of their places.
type Places = Vec<(String, Vec<u8>)>;

/// What HTTP tells.
const PATHS: [&str; 16] = [
    "health",
    "info",
    "prices",
    "strategies",
    "strategies/alpha",
    "positions",
    "trades",
    "orders",
    "fills",
    "signals",
    "kpis",
    "portfolio",
    "equity",
    "openapi.json",
    "nowhere",
    "strategies/nobody",
];

#[track_caller]
fn nowhere(places: &Places) {
    for (name, bytes) in places {
        for (_, secret) in KEYS {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{secret} is in {name}: {}", String::from_utf8_lossy(bytes));
        }
    }
}

/// All that a running daemon shows.
async fn shown(scene: &mut Scene) -> Places {
    scene.bus.drain();
    let mut places: Places = vec![("log".into(), scene.program.log().into_bytes())];
    for message in scene.bus.heard.newest.values() {
        places.push((message.topic.clone(), message.payload.clone()));
    }
    places.push(("bus".into(), format!("{:?}", scene.bus.heard).into_bytes()));
    places.extend(contents(&scene.site.store()));
    let port = port_of(&mut scene.program).await;
    for path in PATHS {
        let answer = Web { port }.get(&format!("/api/v1/{path}")).await;
        places.push((format!("HTTP {path}"), format!("{answer:?}").into_bytes()));
        places.push((format!("body {path}"), answer.body));
    }
    places.push(("metrics".into(), Web { port }.get("/metrics").await.body));
    let config = scene.site.config();
    for words in [
        vec!["check-config"],
        vec!["check-config", "--json"],
        vec!["status"],
        vec!["status", "--json"],
        vec!["positions", "--json"],
        vec!["kpis", "--json"],
    ] {
        let arguments: Vec<&str> = words.iter().copied().chain(["--config", &config]).collect();
        let program = Program::start(&arguments, &scene.site.path("printed"));
        places.push((words.join(" "), ended(program).await.log.into_bytes()));
    }
    assert!(places.len() > 50, "{}", places.len());
    places
}

/// An order that the venue refuses is told with its words, which are of no use to a thief.
async fn refused_order(scene: &mut Scene, id: &str) {
    scene.fake.change_account(KEY, |account| account.next_refusal = Some("103003"));
    let body = format!(r#""symbol":"{PAIR}","action":"buy","quantity":0.01"#);
    let result = send(&mut scene.bus, id, &body).await;
    assert_eq!(result["status"], "accepted", "{result}");
    scene
        .bus
        .until("its refusal", |heard| {
            let told = |alert: &Value| alert["text"].as_str().is_some_and(|text| text.contains("(hidden)"));
            heard.alerts.iter().any(|alert| alert["code"] == "order_refused" && told(alert))
        })
        .await;
}

#[tokio::test]
async fn keys_are_nowhere_in_a_whole_run() {
    let mut scene = Scene::start_with(true, |_| {}).await;
    assert_eq!(scene.program.terminate().code, Some(0));
    let events = scene.site.path("events");
    scene.fake.change_account(KEY, |account| account.gossips = true);
    scene.program = scene.site.run_with(&["--record-events", &events.display().to_string()]);
    scene.ready(2).await;
    scene.compared(2).await;
    refused_order(&mut scene, "refused").await;
    let body = format!(r#""symbol":"{PAIR}","action":"buy","quantity":0.01,"stop_loss":90000"#);
    let result = send(&mut scene.bus, "entry", &body).await;
    assert_eq!(result["status"], "accepted", "{result}");
    scene.agrees().await;
    // From now on every signature is refused, and the login too.
    scene.fake.change_account(KEY, |account| account.secret = "another-secret".into());
    scene.fake.close(false);
    scene.program.says("152409", 1).await;
    let body = format!(r#""symbol":"{PAIR}","action":"flat""#);
    scene.bus.publish(&topic("alpha"), signal("exit", now_ms(), &body).as_bytes(), false).await;
    scene.bus.until("a word", |heard| !heard.results_of("alpha", "exit").is_empty()).await;
    let mut places = shown(&mut scene).await;
    let ended = scene.program.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    places.push(("the whole log".into(), ended.log.into_bytes()));
    places.push(("events".into(), std::fs::read(events).expect("the recorded events")));
    places.extend(contents(&scene.site.store()));
    nowhere(&places);
    // With refused keys it does not start, and says why.
    let gone = super::live::ended(scene.site.run()).await;
    assert_eq!(gone.code, Some(78), "{}", gone.log);
    nowhere(&vec![("the last log".into(), gone.log.into_bytes())]);
}

/// The engine fails while an account trades: what the process says and leaves has no key.
#[tokio::test]
async fn a_panic_tells_no_key() {
    let mut scene = Scene::start_with(true, |_| {}).await;
    assert_eq!(scene.program.terminate().code, Some(0));
    let file = FileSource::Required(scene.site.path("tradebus.toml"));
    let sources = Sources { file, environment: Vec::new(), overrides: Vec::new() };
    let mut config = Config::load(&sources).expect("a good configuration").config;
    // A fee beyond every configuration's range overflows the ledger at the first fill.
    let beta = config.strategies.iter_mut().find(|strategy| strategy.id.as_str() == "beta").unwrap();
    beta.paper.fee_taker_ratio = Ratio::new(Decimal::MAX);
    let shown = format!("{config:?}");
    let daemon =
        std::thread::spawn(move || tradebus::daemon::run(&config, RunOptions::default(), || Hangup::Stop));
    scene.ready(2).await;
    scene.fake.until(|stats| stats.private_subscribed == 1).await;
    let body = format!(r#""symbol":"{PAIR}","action":"buy","quantity":0.01,"max_age_s":600"#);
    scene.bus.publish(&topic("beta"), signal("bad", now_ms(), &body).as_bytes(), false).await;
    for _ in 0..6_000 {
        if daemon.is_finished() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(daemon.is_finished(), "it goes on: {:?}", scene.bus.heard.results);
    let error = daemon.join().expect("the daemon contains the panic").expect_err("it fails");
    assert!(matches!(error, RunError::Internal(_)), "{error}");
    scene.bus.drain();
    let mut places = vec![
        ("configuration".to_owned(), shown.into_bytes()),
        ("error".to_owned(), format!("{error} {error:?}").into_bytes()),
        ("bus".to_owned(), format!("{:?}", scene.bus.heard).into_bytes()),
    ];
    places.extend(contents(&scene.site.store()));
    nowhere(&places);
}
