//! The stream: the newest of everything, then every change, in order.

use serde_json::Value;

use tokio::time::Instant;
use tradebus::daemon::board::EVENTS_MAX;

use super::{NOW, PATIENCE, Scene, TRADE};

#[tokio::test]
async fn a_stream_begins_with_what_is_and_goes_on_with_what_comes() {
    let mut scene = Scene::start().await;
    scene.signal("before", r#""action":"long","notional":1000"#).await;
    let path = "/api/v1/stream?channels=prices,positions,orders,fills,results&strategy=alpha";
    let mut stream = scene.web.stream(path, &[]).await.expect("a stream");
    let mut begin = Vec::new();
    let complete = loop {
        let message = stream.json().await;
        if message["topic"] == "stream" {
            break message;
        }
        begin.push(message);
    };
    let mut topics: Vec<&str> = begin.iter().filter_map(|message| message["topic"].as_str()).collect();
    topics.sort_unstable();
    // No event of before, and nothing of another strategy.
    assert_eq!(topics, ["price/tape/BTC-USDT", "strategy/alpha/position/BTC-USDT"]);
    assert_eq!(complete["payload"], "complete");

    scene.signal("after", r#""action":"flat""#).await;
    let mut changes: Vec<Value> = Vec::new();
    while !changes.iter().any(|change| change["topic"] == "strategy/alpha/position/BTC-USDT") {
        changes.push(stream.json().await);
    }
    let seqs: Vec<u64> =
        begin.iter().chain([&complete]).chain(&changes).filter_map(|m| m["seq"].as_u64()).collect();
    assert!(seqs.is_sorted_by(|a, b| a <= b), "{seqs:?}");
    let kinds: Vec<&str> =
        changes.iter().filter_map(|change| change["topic"].as_str()?.rsplit('/').next()).collect();
    assert!(kinds.contains(&"fill") && kinds.contains(&"result") && kinds.contains(&"order"), "{kinds:?}");

    // What the stream said is what MQTT said.
    scene.bus.until("the fills", |heard| heard.said("fill").count() == 2).await;
    let fill = changes.iter().find(|change| change["topic"] == "strategy/alpha/fill").expect("a fill");
    let (_, said) = scene.bus.heard.said("fill").last().expect("a fill");
    let mut payload = fill["payload"].clone();
    payload.as_object_mut().expect("an object").remove("replayed");
    assert_eq!(&payload, said);
    // `seq` of the store is in the payload, for those who were away.
    assert!(payload["seq"].is_u64());
}

#[tokio::test]
async fn streams_that_ask_or_behave_badly_are_closed() {
    let scene = Scene::start().await;
    let refused = async |query: &str| {
        let answer = scene.web.stream(&format!("/api/v1/stream?{query}"), &[]).await;
        answer.map(|_| ()).unwrap_err().problem()
    };
    assert_eq!(refused("channels=price").await, "400 malformed");
    assert_eq!(refused("since=1").await, "400 malformed");
    let mut talker = scene.web.stream("/api/v1/stream", &[]).await.expect("a stream");
    talker.until("stream").await;
    talker.say(1, b"subscribe").await;
    assert_eq!(talker.closed().await, (1008, "this stream takes no messages".to_owned()));
    let mut polite = scene.web.stream("/api/v1/stream?channels=fills", &[]).await.expect("a stream");
    polite.until("stream").await;
    polite.say(9, b"are you there").await;
    assert_eq!(polite.frame().await, (10, b"are you there".to_vec()));
}

/// Many streams each hear every fill, while somebody who reads nothing is in their midst.
#[tokio::test]
async fn many_streams_hear_all_and_hold_nobody_up() {
    let scene = Scene::start().await;
    let mut streams = Vec::new();
    for _ in 0..100 {
        let mut stream = scene.web.stream("/api/v1/stream?channels=fills", &[]).await.expect("a stream");
        stream.until("stream").await;
        streams.push(stream);
    }
    let deaf = scene.web.stream("/api/v1/stream", &[]).await.expect("a stream");
    for number in 0..20 {
        let side = if number % 2 == 0 { "long" } else { "flat" };
        let size = if number % 2 == 0 { r#","notional":100"# } else { "" };
        let result = scene.signal(&format!("m{number}"), &format!(r#""action":"{side}"{size}"#)).await;
        assert_eq!(result["status"], "filled");
    }
    for stream in &mut streams {
        for number in 0..20 {
            let fill = stream.until("strategy/alpha/fill").await;
            assert_eq!(fill["payload"]["signal_id"], format!("m{number}"));
        }
    }
    let metrics = scene.web.send("GET", "/metrics", TRADE, "").await;
    assert!(metrics.text().contains("\ntradebus_http_streams 101\n"), "{}", metrics.text());
    drop(deaf);
}

/// Who reads nothing loses its stream, and only that: what is kept for it has an end, and others hear everything.
#[tokio::test]
async fn who_takes_nothing_is_closed_and_holds_nobody_up() {
    let scene = Scene::start().await;
    let path = "/api/v1/stream?channels=results";
    let mut deaf = scene.web.stream_with_room(path, 4_096).await;
    let mut quick = scene.web.stream(path, &[]).await.expect("a stream");
    deaf.until("stream").await;
    quick.until("stream").await;
    // More results than are kept for anybody, and larger than what the system takes on its way.
    let detail = "x".repeat(120);
    for number in 0..EVENTS_MAX + 600 {
        let id = format!("{number}-{detail}");
        let body = format!(r#"{{"id":"{id}","time":"{NOW}","symbol":"ETH-USDT","action":"flat"}}"#);
        let refused = scene.web.send("POST", "/api/v1/strategies/alpha/signals", TRADE, &body).await;
        assert!(["422 unknown_symbol", "429 rate_limited"].contains(&refused.problem().as_str()));
        assert_eq!(quick.until("strategy/alpha/signal/result").await["payload"]["id"], id.as_str());
    }
    // It is told why if it takes that in time, and else just loses the connection.
    if let Some((code, reason)) = deaf.ended().await {
        assert_eq!((code, reason.as_str()), (1013, "too slow: events were missed"));
    }
    let alone = async || {
        let metrics = scene.web.get("/metrics").await;
        metrics.text().contains("\ntradebus_http_streams 1\n")
    };
    let since = Instant::now();
    while !alone().await {
        assert!(since.elapsed() < PATIENCE, "the stream is still there");
    }
}
