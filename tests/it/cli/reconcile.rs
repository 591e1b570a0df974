//! `reconcile` against a daemon that the test plays; with a real one it is in `daemon/live_reconcile`.

use super::fake::FakeDaemon;
use super::*;

/// A broker, a daemon that says it is there, and where the command runs.
struct Stage {
    broker: Mosquitto,
    daemon: FakeDaemon,
    place: Arc<Place>,
}

impl Stage {
    async fn start() -> Stage {
        let broker = Mosquitto::start(Setup::default());
        let daemon = FakeDaemon::start(broker.port, None, |_| None).await;
        daemon.retain("daemon/state", "online").await;
        Stage { broker, daemon, place: Arc::new(Place::with(CONFIG)) }
    }

    async fn ask(&self, more: &[&str]) -> Ended {
        let address = format!("mqtt://127.0.0.1:{}", self.broker.port);
        let line = ["reconcile", "--config", "c.toml", "--broker", &address, "--base-topic", "t"];
        self.place.run_beside(&[&line, more].concat()).await
    }
}

#[tokio::test]
async fn the_plan_is_shown_and_asks_for_nothing() {
    let mut stage = Stage::start().await;
    let plan = stage.ask(&[]).await;
    assert_eq!((plan.code, plan.err.as_str()), (1, ""), "{plan:?}");
    assert!(plan.out.starts_with("account main at blofin, compared 2026-11-20T20:00:05.000Z\n"), "{plan:?}");
    assert_eq!(rows(&plan.out)[2], "BTC-USDT net 0.025 0.02 0.005 differs s 0.02 s buy 0.005 at 97000");
    let request = stage.daemon.signals.recv().await.expect("a request");
    assert_eq!(request.as_object().expect("an object").keys().collect::<Vec<_>>(), ["id"]);
    assert!(stage.daemon.signals.try_recv().is_err(), "one question, and nothing else");

    let json = stage.ask(&["main", "--json"]).await;
    let told: Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!((json.code, &told["data"]["accounts"][0]["account"]), (1, &"main".into()));
    let unknown = stage.ask(&["nope"]).await;
    let expected = "error: no strategy of the daemon trades at an account nope; it has: main\n";
    assert_eq!((unknown.code, unknown.err.as_str()), (64, expected));
    let http = stage.place.run(&["reconcile", "--config", "c.toml", "--http", "http://127.0.0.1:1"]);
    assert_eq!(
        (http.code, http.err.as_str()),
        (64, "error: reconcile speaks to the broker, without --http\n")
    );
    stage.daemon.retain("daemon/state", "offline").await;
    let offline = stage.ask(&["--accept"]).await;
    assert!(offline.code == 69 && offline.err.ends_with("is offline; nothing was sent\n"), "{offline:?}");
}

#[tokio::test]
async fn what_is_accepted_refused_and_not_answered() {
    let mut stage = Stage::start().await;
    let booked = stage.ask(&["--accept", "--symbol", "BTC-USDT"]).await;
    assert!(
        booked.out.starts_with("s BTC-USDT: booked buy 0.005 at 97000 (order x1)\n\naccount main"),
        "{booked:?}"
    );
    // The fake differs for ever.
    assert_eq!(booked.code, 1);
    let mut requests = Vec::new();
    while let Ok(request) = stage.daemon.signals.try_recv() {
        requests.push(request);
    }
    let accepted = &requests[1];
    assert_eq!(requests.len(), 3, "{requests:?}");
    assert_eq!((&accepted["strategy"], &accepted["symbol"]), (&"s".into(), &"BTC-USDT".into()));
    assert!(Timestamp::parse_rfc3339(accepted["time"].as_str().expect("a time")).is_ok());
    let ids: std::collections::BTreeSet<String> =
        requests.iter().map(|told| told["id"].to_string()).collect();
    assert_eq!(ids.len(), 3, "every request has an id of its own");

    let refused = stage.ask(&["main", "--accept", "--symbol", "ETH-USDT"]).await;
    assert!(
        refused.code == 1 && refused.out.starts_with("s ETH-USDT: refused, no_price: so it is\n"),
        "{refused:?}"
    );
    let unclear = stage.ask(&["--accept", "--symbol", "XRP-USDT"]).await;
    let expected =
        "XRP-USDT: nothing was booked, because several strategies trade it; name one with --strategy";
    assert!(unclear.code == 1 && unclear.out.starts_with(expected), "{unclear:?}");
    let json = stage.ask(&["--accept", "--symbol", "XRP-USDT", "--strategy", "u", "--json"]).await;
    let told: Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!((&told["answers"][0]["status"], &told["orders"][0]["order_id"]), (&"ok".into(), &"x1".into()));
    assert_eq!(told["left"]["op"], "reconcile");
    let silent = stage.ask(&["--accept", "--symbol", "SOL-USDT", "--wait-s", "1"]).await;
    let expected = "error: no answer to reconcile_accept within 1 s: it may have been booked; tradebus reconcile tells\n";
    assert_eq!((silent.code, silent.err.as_str()), (69, expected));
}
