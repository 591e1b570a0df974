//! What HTTP says is what MQTT says, to the last byte.

use serde_json::Value;

use super::{NOW, Scene, TRADE};
use crate::support::web::Web;

/// The items of a list.
async fn items(web: Web, path: &str) -> Vec<Value> {
    let body = web.get(path).await.json();
    body["items"].as_array().unwrap_or_else(|| panic!("{path}: {body}")).clone()
}

#[tokio::test]
async fn state_is_byte_for_byte_what_mqtt_has() {
    let mut scene = Scene::start().await;
    let web = scene.web;
    scene.signal("a", r#""action":"long","notional":1000"#).await;
    scene.signal("b", r#""action":"short","notional":333.33"#).await;
    scene.signal("c", r#""action":"flat""#).await;
    scene.signal("d", r#""action":"long","quantity":0.00777"#).await;
    let one = [
        ("/api/v1/info", "daemon/info"),
        ("/api/v1/prices/tape/BTC-USDT", "price/tape/BTC-USDT"),
        ("/api/v1/strategies/alpha", "strategy/alpha/state"),
        ("/api/v1/portfolio", "portfolio/state"),
        ("/api/v1/portfolio?type=external", "type/external/state"),
    ];
    for (path, topic) in one {
        let answer = web.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        // MQTT follows a moment later, and with nothing else.
        scene.bus.until(path, |heard| heard.word(topic) == Some(answer.text())).await;
    }
    let many = [
        ("/api/v1/prices", "price/tape/BTC-USDT"),
        ("/api/v1/strategies?strategy=alpha", "strategy/alpha/state"),
        ("/api/v1/positions?strategy=alpha&status=open", "strategy/alpha/position/BTC-USDT"),
        ("/api/v1/positions?type=external&symbol=BTC-USDT", "strategy/alpha/position/BTC-USDT"),
        ("/api/v1/kpis?strategy=alpha", "strategy/alpha/kpi"),
        ("/api/v1/kpis?type=tradingview", "type/tradingview/kpi"),
    ];
    for (path, topic) in many {
        let answer = web.get(path).await;
        let has = |payload: &str| !payload.is_empty() && answer.text().contains(payload);
        scene.bus.until(path, |heard| heard.word(topic).is_some_and(has)).await;
    }
    let held = &items(web, "/api/v1/positions?status=open").await[0];
    assert_eq!(held["quantity"].to_string(), "0.00777");
    assert_eq!(items(web, "/api/v1/positions?status=flat").await.len(), 1);
    assert_eq!(items(web, "/api/v1/kpis").await.len(), 5);
    assert_eq!(items(web, "/api/v1/kpis?type=tradingview").await.len(), 2);

    scene.history(TRADE).await;
    for (path, kind, count) in
        [("/api/v1/fills", "fill", 4), ("/api/v1/trades", "trade", 2), ("/api/v1/orders", "order", 4)]
    {
        let mut found = items(web, path).await;
        let mut said: Vec<Value> = scene.bus.heard.said(kind).map(|(_, body)| body.clone()).collect();
        if kind == "order" {
            // The history has orders as they stand, MQTT every change.
            said.retain(|order| order["status"] == "filled");
        }
        // All of it happened in the same millisecond.
        found.sort_by_key(|row| row["seq"].as_u64());
        found.iter_mut().for_each(|row| drop(row.as_object_mut().expect("an object").remove("replayed")));
        assert_eq!((found.len(), &found), (count, &said), "{path}");
    }
    let signals = items(web, "/api/v1/signals?order=oldest").await;
    let ids: Vec<&str> = signals.iter().filter_map(|signal| signal["id"].as_str()).collect();
    assert_eq!(ids, ["a", "b", "c", "d"]);
    for signal in &signals {
        let id = signal["id"].as_str().expect("an id");
        let result = &scene.bus.heard.results_of("alpha", id)[0];
        for (key, value) in result.as_object().expect("an object") {
            assert_eq!(&signal[key], value, "{id} {key}");
        }
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_gaps() {
    let scene = Scene::start().await;
    for number in 0..7 {
        let action = if number % 2 == 0 { r#""action":"long""# } else { r#""action":"short""# };
        scene.signal(&format!("p{number}"), &format!(r#"{action},"notional":100"#)).await;
    }
    scene.history(TRADE).await;
    let mut seen = Vec::new();
    let mut path = "/api/v1/fills?limit=3&order=oldest".to_owned();
    loop {
        let page = scene.web.get(&path).await.json();
        let rows = page["items"].as_array().expect("rows");
        assert!(rows.len() <= 3);
        seen.extend(rows.iter().map(|row| row["signal_id"].as_str().expect("an id").to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/fills?limit=3&order=oldest&cursor={next}");
    }
    assert_eq!(seen, ["p0", "p1", "p2", "p3", "p4", "p5", "p6"]);
    let count = async |query: &str| items(scene.web, &format!("/api/v1/fills?{query}")).await.len();
    assert_eq!(count("strategy=alpha").await, 7);
    assert_eq!(count("strategy=tv1").await, 0);
    assert_eq!(count("type=external&symbol=BTC-USDT").await, 7);
    assert_eq!(count(&format!("from={NOW}")).await, 7);
    assert_eq!(count(&format!("to={NOW}")).await, 0);
    assert_eq!(scene.web.get("/api/v1/fills?limit=3&cursor=abc").await.problem(), "400 malformed");
}

#[tokio::test]
async fn an_unchanged_state_is_not_sent_again() {
    let scene = Scene::start().await;
    let first = scene.web.get("/api/v1/kpis").await;
    let tag = first.header("etag").to_owned();
    let again = scene.web.ask("GET", "/api/v1/kpis", &[("if-none-match", &tag)], "").await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    scene.signal("t", r#""action":"long","notional":1000"#).await;
    scene.signal("u", r#""action":"flat""#).await;
    let changed = scene.web.ask("GET", "/api/v1/kpis", &[("if-none-match", &tag)], "").await;
    assert_eq!(changed.status, 200);
    let packed = scene.web.ask("GET", "/api/v1/kpis", &[("accept-encoding", "gzip")], "").await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(packed.body.as_slice()), &mut text)
        .expect("gzip");
    assert_eq!(text, changed.text());
}
