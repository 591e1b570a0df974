//! The webhook: where alerts may come from, where the key may stand, and that guessing it reaches nobody.

use super::{KEY, NOW, Scene};

const HOOK: &str = "/webhook/tradingview/tv1";

fn alert(key: &str, id: &str, target: &str) -> String {
    format!(
        r#"{{"key":"{key}","id":"{id}","timenow":"{NOW}","symbol":"BINANCE:BTCUSDT","market_position":"{target}"}}"#
    )
}

#[tokio::test]
async fn a_key_in_the_path_counts_before_one_in_the_body() {
    let mut scene = Scene::start().await;
    let web = scene.web;
    let words = format!("long BTCUSDT timenow={NOW}");
    let path = format!("{HOOK}/{KEY}");
    let taken = web.ask("POST", &path, &[], &words).await;
    assert_eq!((taken.status, taken.json()["status"].as_str()), (200, Some("filled")), "{}", taken.text());
    // The same again is a 200, whichever way it comes; the id is made of what it says without the key.
    let again = web.ask("POST", &path, &[], &words).await.json();
    assert_eq!((&again["id"], again["repeated"].as_bool()), (&taken.json()["id"], Some(true)));
    let wrong = web.ask("POST", &format!("{HOOK}/another-key-than-that-one"), &[], &words).await;
    assert_eq!(wrong.problem(), "403 wrong_key");
    let both =
        web.ask("POST", &format!("{HOOK}/another-key-than-that-one"), &[], &alert(KEY, "b", "flat")).await;
    assert_eq!(both.problem(), "403 wrong_key");
    assert_eq!(web.ask("POST", HOOK, &[], &alert(KEY, "c", "flat")).await.status, 200);
    scene.bus.until("the results", |heard| !heard.results_of("tv1", "c").is_empty()).await;
    assert_eq!(scene.bus.heard.results_of("tv1", "c")[0]["status"], "filled");
    let log = scene.program.log();
    assert!(!log.contains(KEY) && !log.contains("another-key"), "a key in the log: {log}");
}

#[tokio::test]
async fn alerts_come_from_where_they_may() {
    let lines = "webhook_from = [\"203.0.113.0/24\"]\ntrusted_proxies = [\"127.0.0.1\"]";
    let scene = Scene::with("", lines).await;
    let from = async |headers: &[(&str, &str)], id: &str| {
        scene.web.ask("POST", HOOK, headers, &alert(KEY, id, "long")).await
    };
    assert_eq!(from(&[], "a").await.problem(), "403 forbidden_address");
    assert_eq!(from(&[("x-forwarded-for", "198.51.100.1")], "b").await.problem(), "403 forbidden_address");
    let pretended = [("x-forwarded-for", "203.0.113.7, 198.51.100.1")];
    assert_eq!(from(&pretended, "c").await.problem(), "403 forbidden_address");
    let through = from(&[("x-forwarded-for", "198.51.100.1, 203.0.113.7")], "d").await;
    assert_eq!(through.status, 200, "{}", through.text());
}

#[tokio::test]
async fn guesses_are_stopped_and_the_right_key_never_is() {
    let mut scene = Scene::start().await;
    let web = scene.web;
    let mut limited = 0;
    for number in 0..70 {
        let body = alert("guess-guess-guess-guess", &format!("g{number}"), "long");
        match web.ask("POST", HOOK, &[], &body).await.problem().as_str() {
            "403 wrong_key" => assert_eq!(limited, 0, "{number}"),
            "429 rate_limited" => limited += 1,
            other => panic!("{other}"),
        }
    }
    // Sixty in a minute and the one that went beyond; a minute may end in the midst of them, once.
    assert!((1..=9).contains(&limited), "{limited}");
    assert_eq!(web.ask("POST", HOOK, &[], "no alert").await.problem(), "429 rate_limited");
    let taken = web.ask("POST", HOOK, &[], &alert(KEY, "right", "flat")).await;
    assert_eq!(taken.status, 200, "{}", taken.text());
    scene.bus.until("the result", |heard| !heard.results_of("tv1", "right").is_empty()).await;
    assert!(scene.bus.heard.results_of("tv1", "g69").is_empty());
}
