//! `tradebus reconcile` beside a running daemon: a position that was opened by hand at the venue is found, shown to
//! the last digit, and taken over only when a person says so.

use std::process::{Command, Output};

use serde_json::Value;
use tokio::task::spawn_blocking;

use super::edges::send;
use super::live::{KEY, PAIR, Scene};
use super::verify;
use crate::support::bus::Heard;
use crate::support::program::profile;

/// How the command ended and what it said.
struct Told {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs `tradebus reconcile` with the daemon's configuration, beside the tasks of the test.
async fn reconcile(scene: &Scene, more: &[&str]) -> Told {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tradebus"));
    command.env_clear().envs(profile());
    command.args(["reconcile", "--config", &scene.site.config()]).args(more);
    let Output { status, stdout, stderr } =
        spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Told { code: status.code(), out: text(stdout), err: text(stderr) }
}

/// The same until it knows: 75 says to try again, while the link is down or the comparison under way.
async fn settled(scene: &Scene, more: &[&str]) -> Told {
    loop {
        let told = reconcile(scene, more).await;
        if told.code != Some(75) {
            return told;
        }
    }
}

/// The rows of its table, cells parted by one space.
fn rows(told: &Told) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    told.out.lines().filter(|line| line.starts_with(PAIR)).map(words).collect()
}

fn fills(heard: &Heard) -> Vec<&Value> {
    heard.said("fill").map(|(_, fill)| fill).filter(|fill| fill["strategy"] == "alpha").collect()
}

#[tokio::test]
async fn what_was_done_by_hand_is_shown_and_taken_over_on_demand() {
    let mut scene = Scene::start_with(true, |_| {}).await;
    let entry = format!(r#""symbol":"{PAIR}","action":"buy","quantity":0.01"#);
    assert_eq!(send(&mut scene.bus, "entry", &entry).await["status"], "accepted");
    scene.agrees().await;

    // Bought by hand: found, and entries stop.
    scene.fake.foreign_order(KEY, PAIR, "buy", "5", "normal");
    let differs =
        |heard: &Heard| heard.json("strategy/alpha/state").is_some_and(|s| !s["reconcile"].is_null());
    scene.bus.until("the difference", differs).await;
    let orders = scene.fake.account(KEY).orders.len();
    let plan = reconcile(&scene, &[]).await;
    let row = format!("{PAIR} net 0.015 0.01 0.005 differs alpha 0.01 alpha buy 0.005 at 97000");
    assert_eq!((plan.code, rows(&plan)), (Some(1), vec![row.clone()]), "{} {}", plan.out, plan.err);
    assert!(plan.out.starts_with("account main at blofin, compared 20"), "{}", plan.out);
    let json = reconcile(&scene, &["main", "--json"]).await;
    let told: Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(told["data"]["accounts"][0]["pairs"][0]["difference"].to_string(), "0.005");
    // It changed nothing: no fill here, no order there, and it says the same again.
    assert_eq!((fills(&scene.bus.heard).len(), scene.fake.account(KEY).orders.len()), (1, orders));
    assert_eq!(rows(&reconcile(&scene, &["main"]).await), [row]);
    let refused = send(&mut scene.bus, "refused", &entry).await;
    assert_eq!(refused["reason"], "needs_reconcile", "{refused}");

    // Taken over: the ledger has it, the venue was asked for nothing.
    let accepted = reconcile(&scene, &["--accept"]).await;
    assert_eq!(accepted.code, Some(0), "{} {}", accepted.out, accepted.err);
    scene.bus.until("the booking", |heard| fills(heard).len() == 2).await;
    let fill = fills(&scene.bus.heard)[1].clone();
    let order = fill["order_id"].as_str().expect("an order");
    let said = format!("alpha {PAIR}: booked buy 0.005 at 97000 (order {order})\n");
    assert!(accepted.out.starts_with(&said), "{}", accepted.out);
    assert_eq!((fill["quantity"].to_string(), fill["fee"].to_string()), ("0.005".into(), "0".into()));
    scene.agrees().await;
    assert_eq!(scene.fake.account(KEY).orders.len(), orders);

    // Nothing differs, neither by what was booked nor by what the venue says after that.
    let even = vec![format!("{PAIR} net 0.015 0.015 0 equal alpha 0.015 -")];
    let left = settled(&scene, &[]).await;
    assert_eq!((left.code, rows(&left)), (Some(0), even.clone()), "{} {}", left.out, left.err);
    scene.fake.close(true);
    scene.compared(2).await;
    let left = settled(&scene, &["main"]).await;
    assert_eq!((left.code, rows(&left)), (Some(0), even), "{} {}", left.out, left.err);
    let again = settled(&scene, &["--accept"]).await;
    assert_eq!(again.code, Some(0), "{}", again.err);
    assert!(again.out.starts_with("there was nothing to accept\n"), "{}", again.out);
    assert_eq!(send(&mut scene.bus, "after", &entry).await["status"], "accepted");

    let unknown = reconcile(&scene, &["savings"]).await;
    let expected = "error: no strategy of the daemon trades at an account savings; it has: main\n";
    assert_eq!((unknown.code, unknown.err.as_str()), (Some(64), expected));
    assert_eq!(scene.program.terminate().code, Some(0));
    let gone = reconcile(&scene, &[]).await;
    assert!(gone.code == Some(69) && gone.err.ends_with("is offline; nothing was sent\n"), "{}", gone.err);
    assert!(verify(&scene.site) > 0);
}
