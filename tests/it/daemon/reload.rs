//! SIGHUP: a new configuration without a new process.

use std::net::TcpListener;

use super::Scene;
use super::edges::send;
use crate::support::mosquitto::Setup;
use crate::support::program::Site;

const MORE: &str = "[strategy.gamma]\ntype = \"external\"\nsymbols = [\"BTC-USDT\"]\nbalance = 500\n";

#[tokio::test]
async fn a_new_configuration_is_taken_over_and_a_bad_one_is_not() {
    let mut scene = Scene::start(Setup::default(), "").await;
    let id = scene.program.id();
    let bus = &mut scene.bus;
    let long = r#""symbol":"BTC-USDT","action":"long","quantity":0.01"#;
    assert_eq!(send(bus, "first", long).await["status"], "filled");

    // Problems leave everything as it is, and every one is named.
    scene.site.write(&format!("{}[strategy.gamma]\ntype = 7\nsymbol = 1\n", scene.site.text()));
    scene.program.signal("HUP");
    scene.program.says("the configuration has problems; the one in force stays", 1).await;
    let log = scene.program.log();
    assert!(log.contains("strategy.gamma.type") && log.contains("strategy.gamma.symbol"), "{log}");
    assert_eq!(send(bus, "second", long).await["status"], "unchanged");

    // A good one is in force, and the ledger goes on.
    scene.site.write(&format!("{}{MORE}", scene.site.text()));
    scene.program.signal("HUP");
    bus.until("the new strategy", |heard| heard.json("strategy/gamma/state").is_some()).await;
    bus.until("online again", |heard| heard.online == 2).await;
    assert_eq!(send(bus, "first", long).await["reason"], "duplicate");
    assert_eq!(send(bus, "third", long).await["status"], "unchanged");

    // One that reads well and does not start gives way to the one before it.
    let locked = scene.site.path("other");
    std::fs::write(&locked, "no folder").expect("a file");
    let text = scene.site.text().replace("path = \"store\"", &format!("path = {locked:?}"));
    scene.site.write(&text);
    scene.program.signal("HUP");
    scene.program.says("the new configuration does not start, the one before it goes on", 1).await;
    bus.until("online again", |heard| heard.online == 3).await;
    assert_eq!(send(bus, "fourth", long).await["status"], "unchanged");
    assert!(bus.heard.json("strategy/gamma/state").is_some());
    assert_eq!(scene.program.id(), id);
    let ended = scene.program.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
}

/// A feed that cannot start is found when the port of HTTP and the store are taken already.
#[tokio::test]
async fn what_a_failed_start_took_is_free_for_the_one_before() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("listen = \"127.0.0.1:{port}\"");
    let change = |site: &Site| site.write(&site.text().replace("listen = \"\"", &listen));
    let mut scene = Scene::start_with(Setup::default(), "", change).await;
    let long = r#""symbol":"BTC-USDT","action":"long","quantity":0.01"#;
    assert_eq!(send(&mut scene.bus, "first", long).await["status"], "filled");
    let tape = scene.site.path("tape.csv");
    std::fs::write(&tape, "no recording\n").expect("a file");
    let feed = format!(
        "[feed.other]\nsource = \"recording\"\nsymbols = [\"X-USDT\"]\nfiles = [{{ symbol = \"X-USDT\", path = {tape:?} }}]\n"
    );
    let named = |text: String, id: &str| {
        text.replace(&format!("[strategy.{id}]"), &format!("[strategy.{id}]\nfeed = \"tape\""))
    };
    let text = ["alpha", "beta"].into_iter().fold(scene.site.text(), named);
    scene.site.write(&format!("{text}{feed}"));
    for round in 1..=3 {
        scene.program.signal("HUP");
        scene.program.says("the new configuration does not start, the one before it goes on", round).await;
        scene.bus.until("online again", |heard| heard.online == round + 1).await;
        let id = format!("again-{round}");
        assert_eq!(send(&mut scene.bus, &id, long).await["status"], "unchanged");
    }
    let ended = scene.program.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
}
