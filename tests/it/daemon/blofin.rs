//! The built program with BloFin's feed, at a venue that is away, comes, freezes and comes back.

use serde_json::Value;

use super::edges::send;
use crate::support::bus::{Bus, Heard};
use crate::support::fake_blofin::FakeBlofin;
use crate::support::mosquitto::{Mosquitto, Setup};
use crate::support::program::Site;

const PRICE: &str = "price/blofin/BTC-USDT";

/// A configuration that needs nothing but the pair; the addresses lead to the fake.
fn text(port: u16, fake: &FakeBlofin) -> String {
    format!(
        "[mqtt]\nbroker = \"mqtt://127.0.0.1:{port}\"\nprice_interval_ms = 100\nprice_deadband_bps = 0\n\
         [store]\npath = \"store\"\n[http]\nlisten = \"\"\n[log]\nformat = \"human\"\n\
         [venue.blofin]\nrest_url = \"{}\"\nws_public_url = \"{}\"\n\
         [feed.blofin]\nsymbols = [\"BTC-USDT\"]\ninterval_ms = 500\nprice_stale_after_ms = 2000\n\
         [strategy.alpha]\ntype = \"external\"\nsymbols = [\"BTC-USDT\"]\n",
        fake.rest_url(),
        fake.ws_url()
    )
}

fn price(heard: &Heard, last: u64, stale: bool) -> bool {
    heard.json(PRICE).is_some_and(|price| price["last"] == last && price["stale"] == stale)
}

fn feed(heard: &Heard) -> Value {
    heard.json("feed/blofin").unwrap_or_default()
}

#[tokio::test]
async fn prices_come_and_go_with_the_venue() {
    let broker = Mosquitto::start(Setup::default());
    let mut bus = Bus::connect(broker.port, "ear").await;
    let fake = FakeBlofin::start(&["BTC-USDT"]).await;
    fake.down(true);
    let site = Site::new(broker.port);
    site.write(&text(broker.port, &fake));
    let mut program = site.run();
    // Without the venue it says so, and answers.
    bus.until("an alert", |heard| heard.alerts.iter().any(|alert| alert["code"] == "feed_failed")).await;
    let order = r#""symbol":"BTC-USDT","action":"buy","quantity":0.01019"#;
    assert_eq!(send(&mut bus, "early", order).await["reason"], "no_price");
    fake.trade("BTC-USDT", "97000", "1");
    fake.down(false);
    bus.until("a price", |heard| price(heard, 97000, false)).await;
    bus.until("a stream", |heard| feed(heard)["source"] == "stream").await;
    assert_eq!(feed(&bus.heard)["error"], Value::Null);
    // The quantity is rounded to the lot that the venue told.
    assert_eq!(send(&mut bus, "entry", order).await["status"], "filled");
    bus.until("a fill", |heard| heard.said("fill").count() == 1).await;
    let fill = bus.heard.said("fill").next().expect("a fill").1.clone();
    assert_eq!(fill["quantity"].to_string(), "0.0101", "{fill}");
    fake.until(|stats| stats.topics == 3).await;
    fake.trade("BTC-USDT", "97100", "1");
    bus.until("the next price", |heard| price(heard, 97100, false)).await;
    // Frozen, and no answer to polls: the price is stale, entries are refused, exits pass.
    fake.freeze(true);
    fake.down(true);
    bus.until("a stale price", |heard| price(heard, 97100, true)).await;
    assert_eq!(send(&mut bus, "late", order).await["reason"], "stale_price");
    let exit = r#""symbol":"BTC-USDT","action":"flat""#;
    assert_eq!(send(&mut bus, "exit", exit).await["status"], "filled");
    fake.freeze(false);
    fake.down(false);
    fake.trade("BTC-USDT", "97200", "1");
    bus.until("a price again", |heard| price(heard, 97200, false)).await;
    assert_eq!(send(&mut bus, "again", order).await["status"], "filled");
    let violations = fake.stats().violations;
    assert!(violations.is_empty(), "{violations:?}");
    assert_eq!(program.terminate().code, Some(0));
    assert!(super::verify(&site) > 0);
}
