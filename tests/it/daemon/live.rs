//! The built program with an account at a fake venue: a signal becomes an order there and a fill on the bus, paper
//! never gets near it, keys are nowhere, and however it is killed the venue has each order once.

use std::collections::BTreeMap;
use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::Value;

use super::edges::send;
use super::load::{now_ms, signal, topic};
use super::{setting, verify};
use crate::support::bus::{Bus, Heard};
use crate::support::fake_blofin::{FakeAccount, FakeBlofin, PrivateFault};
use crate::support::mosquitto::{Mosquitto, Setup};
use crate::support::program::{Ended, Program, Site};
use crate::support::random::Random;

pub(super) const PAIR: &str = "BTC-USDT";
pub(super) const KEYS: [(&str, &str); 3] = [
    ("api_key", "live-test-api-key"),
    ("api_secret", "live-test-api-secret"),
    ("passphrase", "live-test-phrase"),
];
pub(super) const KEY: &str = KEYS[0].1;

/// A broker, a fake venue with an account, and a daemon that has both.
pub(super) struct Scene {
    broker: Mosquitto,
    pub(super) bus: Bus,
    pub(super) fake: FakeBlofin,
    pub(super) site: Site,
    pub(super) program: Program,
}

/// `alpha` trades at `alpha_account`, `beta` on paper; both are external and read the fake's prices.
fn text(port: u16, fake: &FakeBlofin, account: &str) -> String {
    let strategy = |name: &str, more: &str| {
        format!("[strategy.{name}]\ntype = \"external\"\nsymbols = [{PAIR:?}]\nbalance = 100000\n{more}")
    };
    format!(
        "[mqtt]\nbroker = \"mqtt://127.0.0.1:{port}\"\nprice_interval_ms = 100\n[store]\npath = \"store\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [log]\nformat = \"human\"\nlevel = \"debug\"\n\
         [venue.blofin]\nenvironment = \"demo\"\nrest_url = \"{}\"\nws_public_url = \"{}\"\nws_private_url = \"{}\"\n\
         [feed.blofin]\nsymbols = [{PAIR:?}]\ninterval_ms = 500\n{account}{}{}",
        fake.rest_url(),
        fake.ws_url(),
        fake.ws_private_url(),
        strategy("alpha", if account.is_empty() { "" } else { "account = \"main\"\n" }),
        strategy("beta", ""),
    )
}

/// `[account.main]` with its files.
fn account(site: &Site) -> String {
    let line = |(name, value): &(&str, &str)| {
        std::fs::write(site.path(name), format!("{value}\n")).expect("a key file");
        format!("{name}_file = \"{name}\"\n")
    };
    format!("[account.main]\n{}", KEYS.iter().map(line).collect::<String>())
}

impl Scene {
    async fn start(has_account: bool) -> Scene {
        Scene::start_with(has_account, |_| {}).await
    }

    /// The same after `change` met the site.
    pub(super) async fn start_with(has_account: bool, change: impl FnOnce(&Site)) -> Scene {
        let broker = Mosquitto::start(Setup::default());
        let bus = Bus::connect(broker.port, "ear").await;
        let fake = FakeBlofin::start(&[PAIR]).await;
        fake.open_account(FakeAccount::new(KEYS[0].1, KEYS[1].1, KEYS[2].1));
        fake.trade(PAIR, "97000", "1");
        fake.quote(PAIR, "96999", "97001");
        let site = Site::new(broker.port);
        change(&site);
        let account = if has_account { account(&site) } else { String::new() };
        site.write(&text(broker.port, &fake, &account));
        let program = site.run();
        let mut scene = Scene { broker, bus, fake, site, program };
        scene.ready(1).await;
        if has_account {
            scene.compared(1).await;
        }
        scene
    }

    pub(super) async fn ready(&mut self, online: usize) {
        self.bus.until("online", |heard| heard.online >= online).await;
        self.bus
            .until("a price", |heard| {
                heard.json(&format!("price/blofin/{PAIR}")).is_some_and(|p| p["stale"] == false)
            })
            .await;
    }

    /// Waits until the link came up so often, and the account was compared after the last time.
    pub(super) async fn compared(&mut self, ups: usize) {
        const UP: &str = "private stream is up";
        self.program.says(UP, ups).await;
        let log = self.program.log();
        let after = log.rfind(UP).expect("it was said");
        let told = log[..after].matches("snapshot told").count();
        self.program.says("snapshot told", told + 1).await;
    }

    /// Waits until the bus says of `alpha` what the venue says.
    pub(super) async fn agrees(&mut self) {
        let held = self.fake.held(KEY, PAIR) * Decimal::new(1, 3);
        self.bus.until(&format!("a position of {held}"), |heard| position(heard) == held).await;
    }
}

/// What the bus says that `alpha` has; nothing was said of what it never had.
fn position(heard: &Heard) -> Decimal {
    let position = heard.json(&format!("strategy/alpha/position/{PAIR}"));
    position.map_or(Decimal::ZERO, |position| {
        let quantity: Decimal = position["quantity"].to_string().parse().expect("a number");
        if position["side"] == "short" { -quantity.abs() } else { quantity }
    })
}

/// All that was filled for a strategy.
fn fills<'a>(heard: &'a Heard, strategy: &'a str) -> impl Iterator<Item = &'a Value> {
    heard.said("fill").map(|(_, fill)| fill).filter(move |fill| fill["strategy"] == strategy)
}

#[tokio::test]
async fn a_signal_becomes_an_order_there_and_a_fill_here() {
    let mut scene = Scene::start(true).await;
    let result =
        send(&mut scene.bus, "entry", &format!(r#""symbol":"{PAIR}","action":"buy","quantity":0.01"#)).await;
    assert_eq!(result["status"], "accepted", "{result}");
    scene.bus.until("a fill", |heard| fills(heard, "alpha").count() == 1).await;
    let fill = fills(&scene.bus.heard, "alpha").next().expect("a fill").clone();
    let figures = ["venue", "quantity", "price", "fee", "side"].map(|name| fill[name].to_string());
    assert_eq!(figures, ["\"blofin\"", "0.01", "97001", "0.582006", "\"buy\""], "{fill}");
    let orders = scene.fake.account(KEY).orders;
    assert_eq!(
        orders.values().map(|order| order.client_id.as_str()).collect::<Vec<_>>(),
        [fill["order_id"].as_str().unwrap()]
    );
    scene.agrees().await;
    // Its exit closes its size, whatever else the account has of the pair.
    scene.fake.foreign_order(KEY, PAIR, "buy", "5", "normal");
    let result = send(&mut scene.bus, "exit", &format!(r#""symbol":"{PAIR}","action":"flat""#)).await;
    assert_ne!(result["status"], "rejected", "{result}");
    scene.bus.until("an exit", |heard| fills(heard, "alpha").count() == 2).await;
    assert_eq!(scene.fake.held(KEY, PAIR), 5.into());
    let stats = scene.fake.stats();
    assert!(stats.violations.is_empty(), "{:?}", stats.violations);
    assert_eq!(scene.program.terminate().code, Some(0));
    assert!(verify(&scene.site) > 0);
}

#[tokio::test]
async fn paper_never_reaches_a_private_host() {
    let mut scene = Scene::start(false).await;
    for (id, action, more) in
        [("in", "long", ",\"quantity\":0.01"), ("turn", "short", ",\"quantity\":0.02"), ("out", "flat", "")]
    {
        let result =
            send(&mut scene.bus, id, &format!(r#""symbol":"{PAIR}","action":"{action}"{more}"#)).await;
        assert_eq!(result["status"], "filled", "{result}");
    }
    let stats = scene.fake.stats();
    let private: Vec<&String> =
        stats.requests.keys().filter(|path| !path.starts_with("/api/v1/market/")).collect();
    assert!(private.is_empty(), "{private:?}");
    assert_eq!((stats.private_connections, scene.fake.account(KEY).wanted.len()), (0, 0));
    assert_eq!(scene.program.terminate().code, Some(0));
}

/// Beside a strategy that trades for real, another one stays on paper: entries, exits and a flatten.
#[tokio::test]
async fn paper_beside_live_sends_nothing() {
    let mut scene = Scene::start(true).await;
    let bus = &mut scene.bus;
    for (id, body) in [
        ("in", r#""action":"long","quantity":0.01"#),
        ("out", r#""action":"flat""#),
        ("again", r#""action":"short","quantity":0.01"#),
    ] {
        let body = format!(r#""symbol":"{PAIR}",{body}"#);
        bus.publish(&topic("beta"), signal(id, now_ms(), &body).as_bytes(), false).await;
        bus.until("a result", |heard| !heard.results_of("beta", id).is_empty()).await;
        assert_eq!(bus.heard.results_of("beta", id)[0]["status"], "filled");
    }
    bus.publish("tradebus/strategy/beta/level/set", b"flatten", false).await;
    bus.until("the flatten", |heard| fills(heard, "beta").count() == 4).await;
    assert!(fills(&bus.heard, "beta").all(|fill| fill["venue"] == "paper"));
    assert!(scene.fake.account(KEY).wanted.is_empty());
    // What the account is asked is the same without it: `gateway::whole` compares that, request by request.
    assert!(scene.fake.stats().requests.keys().all(|path| !path.starts_with("/api/v1/trade/order")
        || path.ends_with("-pending")
        || path.ends_with("-history")));
    assert_eq!(scene.program.terminate().code, Some(0));
}

/// How a program ended that talks to this process meanwhile.
pub(super) async fn ended(mut program: Program) -> Ended {
    while program.running() {
        tokio::task::yield_now().await;
    }
    program.wait()
}

#[tokio::test]
async fn refused_and_missing_keys_are_settings_that_are_wrong() {
    let broker = Mosquitto::start(Setup::default());
    let fake = FakeBlofin::start(&[PAIR]).await;
    fake.open_account(FakeAccount::new(KEYS[0].1, KEYS[1].1, "another phrase"));
    fake.trade(PAIR, "97000", "1");
    let site = Site::new(broker.port);
    let account = account(&site);
    site.write(&text(broker.port, &fake, &account));
    let gone = ended(site.run()).await;
    assert_eq!(gone.code, Some(78), "{}", gone.log);
    assert!(
        gone.log.contains("account.main: the venue refuses the keys: Passphrase error (152408)"),
        "{}",
        gone.log
    );
    assert!(KEYS.iter().all(|(_, secret)| !gone.log.contains(secret)));
    std::fs::remove_file(site.path("passphrase")).expect("a file");
    let gone = ended(site.run()).await;
    assert_eq!(gone.code, Some(78), "{}", gone.log);
    assert!(gone.log.contains("account.main.passphrase_file: the file does not exist"), "{}", gone.log);
}

/// The venue is away while signals come; afterwards there is no fill there that is not here.
#[tokio::test]
async fn a_venue_that_was_away_leaves_no_fill_untracked() {
    let mut scene = Scene::start(true).await;
    scene.fake.down(true);
    for count in 0..5 {
        let body = format!(r#""symbol":"{PAIR}","action":"buy","quantity":0.001"#);
        let id = format!("away{count}");
        scene.bus.publish(&topic("alpha"), signal(&id, now_ms(), &body).as_bytes(), false).await;
        scene.bus.until("a result", |heard| !heard.results_of("alpha", &id).is_empty()).await;
    }
    scene.fake.down(false);
    // What is carried out and not answered is found again.
    scene.fake.private_faults([Some(PrivateFault::Drop)]);
    scene.compared(2).await;
    scene.fake.trade(PAIR, "97000", "1");
    scene.fake.quote(PAIR, "96999", "97001");
    scene.ready(1).await;
    let result =
        send(&mut scene.bus, "back", &format!(r#""symbol":"{PAIR}","action":"buy","quantity":0.002"#)).await;
    assert_eq!(result["status"], "accepted", "{result}");
    scene.bus.until("its fill", |heard| fills(heard, "alpha").any(|fill| fill["signal_id"] == "back")).await;
    scene.agrees().await;
    let account = scene.fake.account(KEY);
    assert_eq!(account.fills.len(), fills(&scene.bus.heard, "alpha").count());
    each_order_once(&account);
    assert!(scene.fake.stats().violations.is_empty(), "{:?}", scene.fake.stats().violations);
    assert_eq!(scene.program.terminate().code, Some(0));
}

/// No order was ever asked for twice.
fn each_order_once(account: &FakeAccount) {
    let mut wanted: BTreeMap<&String, usize> = BTreeMap::new();
    for id in &account.wanted {
        *wanted.entry(id).or_default() += 1;
    }
    assert!(wanted.values().all(|times| *times == 1), "{wanted:?}");
}

/// What is at the venue was intended, in the size that was intended.
fn all_intended(account: &FakeAccount, heard: &Heard, sent: &[(String, String)]) {
    let mut intended: BTreeMap<String, Decimal> = BTreeMap::new();
    for (id, payload) in sent {
        let payload: Value = serde_json::from_str(payload).expect("JSON");
        for result in heard.results_of("alpha", id) {
            for order in result["orders"].as_array().into_iter().flatten() {
                let order = order["order_id"].as_str().or(order.as_str()).expect("an order id");
                let quantity: Decimal = payload["quantity"].to_string().parse().expect("a number");
                intended.insert(order.to_owned(), quantity);
            }
        }
    }
    for order in account.orders.values() {
        let quantity = intended.get(&order.client_id).unwrap_or_else(|| panic!("{order:?} was not intended"));
        assert_eq!(order.filled * Decimal::new(1, 3), *quantity, "{order:?}");
    }
}

#[tokio::test]
async fn killed_at_any_moment_the_venue_holds_each_order_once() {
    let kills = setting("TRADEBUS_LIVE_KILLS", 4);
    let seed = setting("TRADEBUS_SEED", 7) as u64;
    let mut random = Random::new(seed);
    let mut scene = Scene::start(true).await;
    let mut sent: Vec<(String, String)> = Vec::new();
    for kill in 1..=kills {
        let faults = (0..6).map(|_| match random.below(5) {
            0 => Some(PrivateFault::Drop),
            1 => Some(PrivateFault::Unclear),
            2 => Some(PrivateFault::Delay(Duration::from_millis(random.below(80)))),
            _ => None,
        });
        scene.fake.private_faults(faults.collect::<Vec<_>>());
        for count in 0..3 {
            let id = format!("k{kill}-{count}");
            let body = format!(r#""symbol":"{PAIR}","action":"buy","quantity":0.00{}"#, 1 + count);
            let payload = signal(&id, now_ms(), &body);
            scene.bus.publish(&topic("alpha"), payload.as_bytes(), false).await;
            sent.push((id, payload));
        }
        // The moment is chance, nothing waits for it.
        tokio::time::sleep(Duration::from_millis(random.below(120))).await;
        scene.program.kill();
        // A process that is gone cannot keep the next one within its limits.
        scene.fake.change_account(KEY, |account| account.asked.clear());
        scene.program = scene.site.run();
        scene.bus.until("online again", |heard| heard.online > kill).await;
        scene.compared(kill + 1).await;
    }
    for (id, payload) in &sent {
        if scene.bus.heard.results_of("alpha", id).is_empty() {
            scene.bus.publish(&topic("alpha"), payload.as_bytes(), false).await;
        }
    }
    scene
        .bus
        .until("every result", |heard| sent.iter().all(|(id, _)| !heard.results_of("alpha", id).is_empty()))
        .await;
    scene.agrees().await;
    let account = scene.fake.account(KEY);
    each_order_once(&account);
    all_intended(&account, &scene.bus.heard, &sent);
    assert!(!account.orders.is_empty());
    let told: Decimal = fills(&scene.bus.heard, "alpha")
        .map(|fill| fill["quantity"].to_string().parse::<Decimal>().expect("a number"))
        .sum();
    assert_eq!(told, scene.fake.held(KEY, PAIR) * Decimal::new(1, 3));
    // A process that is gone cannot keep the next one from connecting within a second.
    let mut violations = scene.fake.stats().violations;
    violations.retain(|violation| violation != "two new connections within a second");
    assert!(violations.is_empty(), "{violations:?}");
    let ended = scene.program.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(verify(&scene.site) > 0);
    let (orders, wanted) = (account.orders.len(), sent.len());
    println!(
        "live-kill: seed {seed}, {kills} kills, {wanted} signals, {orders} orders at the venue, each once"
    );
    drop(scene.broker);
}
