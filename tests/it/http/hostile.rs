//! What no good client says: it is refused by name, and the daemon goes on.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tradebus::daemon::http::Limits;

use super::{NOW, PATIENCE, Scene, TRADE};

const SIGNALS: &str = "/api/v1/strategies/alpha/signals";

fn signal(id: &str, rest: &str) -> String {
    format!(r#"{{"id":"{id}","time":"{NOW}","symbol":"BTC-USDT",{rest}}}"#)
}

#[tokio::test]
async fn bad_requests_are_refused_by_name() {
    let scene = Scene::start().await;
    let web = scene.web;
    let post = async |body: &str| web.send("POST", SIGNALS, TRADE, body).await;
    assert_eq!(post("").await.problem(), "400 malformed");
    assert_eq!(post("{").await.problem(), "400 malformed");
    assert_eq!(post(&signal("a", r#""action":"long","quantty":1"#)).await.problem(), "400 malformed");
    let large = signal("b", &format!(r#""action":"long","comment":"{}""#, "x".repeat(20_000)));
    assert_eq!(post(&large).await.problem(), "413 too_large");
    assert_eq!(post(&signal("c", r#""action":"long""#)).await.problem(), "400 malformed");
    let eth = signal("d", r#""action":"flat""#).replace("BTC", "ETH");
    assert_eq!(post(&eth).await.problem(), "422 unknown_symbol");
    let old = signal("e", r#""action":"flat""#).replace("2026", "2025");
    let refused = post(&old).await;
    assert_eq!(refused.problem(), "422 stale");
    assert_eq!(refused.json()["result"]["status"], "rejected");
    assert_eq!(post(&old).await.json()["result"]["repeated"], true);
    assert_eq!(post(&signal("e", r#""action":"flat""#)).await.problem(), "409 duplicate");

    let level =
        async |body: &str| web.send("PUT", "/api/v1/strategies/alpha/level", TRADE, body).await.problem();
    assert_eq!(level("stop").await, "400 malformed");
    assert_eq!(level("run").await, "400 malformed");
    assert_eq!(level(r#"{"level":"run","id":"l","time":"2025-11-20T20:00:00Z"}"#).await, "422 stale");
    let ghost = web.send("PUT", "/api/v1/strategies/ghost/level", TRADE, "pause").await;
    assert_eq!(ghost.problem(), "404 unknown_strategy");
    for name in ["ghost", "a%2Fb", "%00", "..%2Fdaemon%2Flevel", "+", "%23"] {
        let path = format!("/api/v1/strategies/{name}/signals");
        let answer = web.send("POST", &path, TRADE, &signal("g", r#""action":"flat""#)).await;
        assert_eq!(answer.problem(), "404 unknown_strategy", "{name}");
    }
    for path in [
        "/",
        "/api/v1",
        "/api/v1/positions/",
        "/api/v1/../../etc/passwd",
        "/api/v1/strategies/%2e%2e%2f",
        "/api/v1/prices/tape/..",
        "/api/v1/prices/%ff/BTC-USDT",
        "//api/v1/info",
    ] {
        assert_eq!(web.get(path).await.problem(), "404 not_found", "{path}");
    }
    assert_eq!(web.ask("GET", SIGNALS, &[], "").await.problem(), "405 method_not_allowed");
    assert_eq!(web.send("GET", "/api/v1/stream", TRADE, "").await.problem(), "426 upgrade_required");
    scene.history(TRADE).await;
    assert_eq!(web.get("/api/v1/prices?feed=").await.problem(), "400 malformed");
    assert_eq!(web.get("/api/v1/info?x=1").await.problem(), "400 malformed");
    assert_eq!(web.get("/api/v1/fills?status=open").await.problem(), "400 malformed");
    assert_eq!(web.get("/api/v1/orders?status=open").await.problem(), "400 malformed");
    assert_eq!(web.get("/api/v1/equity?strategy=alpha&type=external").await.problem(), "400 malformed");
}

#[tokio::test]
async fn bytes_that_are_no_http_end_their_connection_only() {
    let scene = Scene::start().await;
    let web = scene.web;
    let status = async |bytes: &[u8]| {
        let read = web.raw(bytes).await;
        String::from_utf8_lossy(&read).split(' ').nth(1).unwrap_or("none").to_owned()
    };
    let head = |fields: &str| {
        format!("GET /api/v1/info HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{fields}\r\n")
    };
    assert_eq!(status(head("").as_bytes()).await, "200");
    assert_eq!(status(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await, "400");
    assert_eq!(status(head(&"x: y\r\n".repeat(100)).as_bytes()).await, "431");
    assert_eq!(status(head(&format!("x: {}\r\n", "y".repeat(20_000))).as_bytes()).await, "431");
    assert_eq!(status(head("host: evil.example\r\n").as_bytes()).await, "403");
    let smuggled = "POST /api/v1/level HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_ne!(status(smuggled.as_bytes()).await, "200");
    // Chunks without a length beforehand are cut at the limit.
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096)).repeat(5);
    let chunked = format!(
        "POST {SIGNALS} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TRADE}\r\nconnection: close\r\n\
         transfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"
    );
    assert_eq!(status(chunked.as_bytes()).await, "413");
    assert_eq!(scene.signal("after", r#""action":"long","notional":100"#).await["status"], "filled");
}

#[tokio::test]
async fn heads_and_bodies_that_do_not_come_lose_their_connection() {
    let scene = Scene::start().await;
    let slow = format!(
        "POST {SIGNALS} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TRADE}\r\nconnection: close\r\n\
         content-length: 100\r\n\r\n{{"
    );
    let read = async |bytes: &str| {
        let read = scene.web.raw(bytes.as_bytes()).await;
        String::from_utf8_lossy(&read).into_owned()
    };
    let (silent, half, idle, slow) = tokio::join!(
        read(""),
        read("GET /api/v1/info HTTP/1.1\r\nhost: loc"),
        // Answered once, and then idle.
        read(
            "DELETE /api/v1/level HTTP/1.1\r\nauthorization: Bearer admin-token-of-your-file\r\nhost: localhost\r\n\r\n"
        ),
        read(&slow),
    );
    assert_eq!((silent.as_str(), half.as_str()), ("", ""));
    assert!(idle.starts_with("HTTP/1.1 405") && idle.matches("HTTP/1.1").count() == 1, "{idle}");
    assert!(slow.starts_with("HTTP/1.1 408") && slow.contains("\"timeout\""), "{slow}");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_so() {
    let mut scene = Scene::start().await;
    let limit = Limits::default().connections;
    let mut held = Vec::new();
    for _ in 0..limit {
        held.push(scene.web.connect().await);
    }
    // One that is answered knows that all before it were accepted.
    let mut refused = Vec::new();
    let read = tokio::time::timeout(PATIENCE, async {
        let mut stream = scene.web.connect().await;
        stream.read_to_end(&mut refused).await
    });
    read.await.expect("timed out: the refusal").expect("a refusal");
    let refused = String::from_utf8_lossy(&refused).into_owned();
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("200 connections are open"), "{refused}");
    // The daemon is not held up meanwhile, and as soon as one leaves there is room.
    let body = signal("busy", r#""action":"long","notional":100"#);
    scene.bus.publish("tradebus/strategy/alpha/signal", body.as_bytes(), false).await;
    scene.bus.until("the result", |heard| !heard.results_of("alpha", "busy").is_empty()).await;
    let mut last = held.pop().expect("one");
    last.write_all(b"GET /api/v1/info HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await
        .expect("open");
    let mut answer = Vec::new();
    last.read_to_end(&mut answer).await.expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    drop(held);
    let since = tokio::time::Instant::now();
    let ask = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    while !scene.web.raw(ask).await.starts_with(b"HTTP/1.1 200") {
        assert!(since.elapsed() < PATIENCE, "there is no room again");
    }
}
