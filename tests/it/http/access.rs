//! Who may do what, asked with real requests.

use super::{ADMIN, NOW, READ, Scene, TRADE};

const SIGNALS: &str = "/api/v1/strategies/alpha/signals";

fn signal(id: &str) -> String {
    format!(r#"{{"id":"{id}","time":"{NOW}","symbol":"BTC-USDT","action":"long","notional":1000}}"#)
}

#[tokio::test]
async fn without_tokens_nothing_can_be_written() {
    let scene = Scene::with("", "").await;
    for (method, path) in
        [("POST", SIGNALS), ("PUT", "/api/v1/level"), ("PUT", "/api/v1/strategies/alpha/level")]
    {
        assert_eq!(scene.web.ask(method, path, &[], "run").await.problem(), "403 writes_off");
        assert_eq!(scene.web.send(method, path, TRADE, "run").await.problem(), "403 writes_off");
    }
    assert_eq!(scene.web.get("/api/v1/positions").await.status, 200);
}

#[tokio::test]
async fn tokens_open_what_their_scope_says() {
    let tokens = format!("read {READ}\ntrade {TRADE}\nadmin {ADMIN}\n");
    let scene = Scene::with(&tokens, "hosts = [\"bus.example\"]").await;
    let web = scene.web;
    // A line that says `read` closes reading.
    for path in ["/api/v1/positions", "/api/v1/fills", "/metrics", "/api/v1/openapi.json", "/nothing"] {
        assert_eq!(web.get(path).await.problem(), "401 unauthorized", "{path}");
    }
    assert_eq!(web.get("/api/v1/info").await.header("www-authenticate"), "Bearer");
    for token in [READ, TRADE, ADMIN] {
        assert_eq!(web.send("GET", "/api/v1/positions", token, "").await.status, 200);
    }
    assert_eq!(
        web.send("GET", "/api/v1/positions", "wrong-wrong-wrong-wrong", "").await.problem(),
        "401 unauthorized"
    );
    assert_eq!(web.send("POST", SIGNALS, READ, &signal("x")).await.problem(), "403 forbidden");
    assert_eq!(web.send("PUT", "/api/v1/level", TRADE, "pause").await.problem(), "403 forbidden");
    assert_eq!(web.send("DELETE", "/api/v1/level", TRADE, "").await.problem(), "403 forbidden");
    assert_eq!(web.send("POST", SIGNALS, TRADE, &signal("y")).await.status, 200);
    assert_eq!(web.send("POST", SIGNALS, ADMIN, &signal("z")).await.status, 200);
    let level = web.send("PUT", "/api/v1/level", ADMIN, "pause").await;
    assert_eq!((level.status, level.text()), (200, r#"{"level":"pause"}"#));

    // A page opens a stream with its token as a protocol.
    assert_eq!(
        web.stream("/api/v1/stream", &[]).await.map(|_| ()).unwrap_err().problem(),
        "401 unauthorized"
    );
    let protocols = format!("tradebus, bearer.{READ}");
    let stream =
        web.stream("/api/v1/stream", &[("sec-websocket-protocol", &protocols)]).await.expect("a stream");
    assert_eq!(stream.accepted.header("sec-websocket-protocol"), "tradebus");
    // What was refused led to nothing.
    scene.history(READ).await;
    let fills = web.send("GET", "/api/v1/signals", READ, "").await.json();
    assert_eq!(fills["items"].as_array().map(Vec::len), Some(2), "{fills}");
    let log = scene.program.log();
    assert!([READ, TRADE, ADMIN].iter().all(|token| !log.contains(token)), "a token in the log");
}

#[tokio::test]
async fn pages_of_other_sites_and_other_names_are_refused() {
    let scene = Scene::with(&format!("trade {TRADE}\n"), "hosts = [\"bus.example\"]").await;
    let (web, token) = (scene.web, format!("Bearer {TRADE}"));
    let check = async |headers: &[(&str, &str)], expected: &str| {
        let get = web.ask("GET", "/api/v1/positions", headers, "").await;
        let with_token = [headers, &[("authorization", token.as_str())]].concat();
        let post = web.ask("POST", SIGNALS, &with_token, &signal("site")).await;
        let hook = web.ask("POST", "/webhook/tradingview/tv1", headers, "{}").await;
        for (answer, what) in [(get, "GET"), (post, "POST"), (hook, "hook")] {
            match expected {
                // Whoever is let in still has no key.
                "ok" => {
                    assert!(!answer.text().contains("forbidden"), "{what} {headers:?}: {}", answer.text())
                }
                reason => assert_eq!(answer.problem(), format!("403 {reason}"), "{what} {headers:?}"),
            }
            assert_eq!(answer.header("access-control-allow-origin"), "");
        }
    };
    check(&[("host", "bus.example")], "ok").await;
    check(&[("host", "localhost")], "ok").await;
    check(&[("host", "rebound.example")], "forbidden_host").await;
    check(&[("origin", "https://evil.example")], "forbidden_origin").await;
    check(&[("host", "bus.example"), ("origin", "https://bus.example")], "ok").await;
    let evil = [("origin", "https://evil.example")];
    let refused = web.stream("/api/v1/stream", &evil).await.map(|_| ()).unwrap_err();
    assert_eq!(refused.problem(), "403 forbidden_origin");
    let preflight = [("origin", "https://evil.example"), ("access-control-request-method", "POST")];
    assert_eq!(web.ask("OPTIONS", SIGNALS, &preflight, "").await.problem(), "403 forbidden_origin");
}
