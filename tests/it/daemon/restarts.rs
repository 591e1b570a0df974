//! Brokers that end and come back, with and without a memory, links that freeze, and a broker that refuses our
//! password: no fill and no result is lost, all state is there afterwards, and memory does not grow.

use std::collections::BTreeSet;
use std::time::Duration;

use super::load::{books, check_executions, check_journal, differences, now_ms, settled, signal, topic};
use super::{ready, setting, verify};
use crate::support::bus::{Bus, Heard};
use crate::support::mosquitto::{Mosquitto, Setup};
use crate::support::program::{Program, Site};
use crate::support::proxy::{Link, Proxy};

/// So long do orders of `beta` take: they fill while the link is down.
const LATENCY_MS: u64 = 500;
const ORDERS: usize = 8;
/// What the daemon remembers of the signals of a long run, and what its allocator keeps.
const MEMORY_GROWTH_MAX: u64 = 8 * 1024 * 1024;
const SIGNAL: &str = "\"symbol\":\"BTC-USDT\",\"action\":\"buy\",\"quantity\":0.01";
/// Longer than the first pause before a reconnect.
const GOOD_CONNECTION: Duration = Duration::from_millis(1_100);

struct Line {
    program: Program,
    bus: Bus,
    site: Site,
    proxy: Proxy,
    broker: Mosquitto,
    signals: usize,
    /// After everything happened once.
    memory: Option<u64>,
}

impl Line {
    async fn start(persistence: bool) -> Line {
        let broker = Mosquitto::start(Setup { persistence, login: None });
        let proxy = Proxy::start(broker.port).await;
        let mut bus = match persistence {
            true => Bus::persistent(broker.port, "ear").await,
            false => Bus::connect(broker.port, "ear").await,
        };
        let site = Site::with(proxy.port, LATENCY_MS, "");
        let program = site.run();
        ready(&mut bus, 1).await;
        Line { broker, proxy, site, program, bus, signals: 0, memory: None }
    }

    /// The end of a round: whoever comes now finds the state of before, as new as the fills.
    async fn check_retained(&mut self, topics: &BTreeSet<String>) {
        let mut late = Bus::connect(self.broker.port, "late").await;
        let expected = books(&self.bus.heard);
        late.until("everything retained", |heard| {
            retained(heard).is_superset(topics) && differences(heard, &expected).is_empty()
        })
        .await;
        late.close().await;
        self.memory.get_or_insert(self.program.memory_bytes());
    }

    /// What is told about the run; memory must not have grown.
    fn figures(&self) -> String {
        let (before, after) = (self.memory.expect("a round"), self.program.memory_bytes());
        assert!(after < before + MEMORY_GROWTH_MAX, "memory grew from {before} to {after} bytes");
        let fills = self.bus.heard.said("fill").count();
        format!("{} signals, {fills} fills, memory {} -> {} KiB", self.signals, before / 1024, after / 1024)
    }

    /// Sends one signal and waits for its result.
    async fn signal(&mut self, strategy: &str) -> String {
        self.signals += 1;
        let id = format!("r-{}", self.signals);
        let side = if self.signals.is_multiple_of(3) { "sell" } else { "buy" };
        let body =
            format!("\"symbol\":\"BTC-USDT\",\"action\":\"{side}\",\"quantity\":0.0{}", self.signals % 9 + 1);
        self.bus.publish(&topic(strategy), signal(&id, now_ms(), &body).as_bytes(), false).await;
        self.bus
            .until(&format!("the result of {id}"), |heard| !heard.results_of(strategy, &id).is_empty())
            .await;
        let result = &self.bus.heard.results_of(strategy, &id)[0];
        let wanted = if strategy == "alpha" { "filled" } else { "accepted" };
        assert_eq!(result["status"], wanted, "{result}");
        id
    }

    /// Orders that will fill after their latency.
    async fn orders(&mut self) {
        for _ in 0..ORDERS {
            self.signal("beta").await;
        }
    }

    /// Waits until the daemon has executed everything that was ordered, whatever its link is like.
    async fn executed(&mut self) {
        self.program.says(" fill ", self.signals).await;
    }

    /// Everything that was ordered was heard.
    async fn check(&mut self) {
        let signals = self.signals;
        self.bus.until("every fill", |heard| heard.said("fill").count() == signals).await;
        settled(&mut self.bus).await;
        check_executions(&self.bus.heard);
    }

    async fn end(mut self) -> u64 {
        let mut program = self.program;
        let ended = tokio::task::spawn_blocking(move || program.terminate()).await.expect("the wait");
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        self.bus.drain();
        check_journal(&self.site, &self.bus.heard);
        verify(&self.site)
    }
}

fn retained(heard: &Heard) -> BTreeSet<String> {
    let kept = |topic: &&String| {
        let transient = ["/order", "/fill", "/trade", "/signal/result", "/alert", "/health"];
        topic.starts_with("tradebus/") && !transient.iter().any(|end| topic.ends_with(end))
    };
    heard.newest.keys().filter(kept).cloned().collect()
}

async fn broker_restarts(persistence: bool) {
    let restarts = setting("TRADEBUS_RESTARTS", 5).div_ceil(2);
    let mut line = Line::start(persistence).await;
    for restart in 1..=restarts {
        line.orders().await;
        let topics = retained(&line.bus.heard);
        let (online, subscriptions) = (line.bus.heard.online, line.bus.subscriptions());
        line.proxy.set(Link::Cut);
        line.bus.sleep(persistence);
        match persistence {
            true => line.broker.restart(),
            false => line.broker.kill_and_restart(),
        }
        line.executed().await;
        if persistence {
            // The ear is away while the daemon says everything: the broker keeps it.
            let mut other = Bus::connect(line.broker.port, "other").await;
            line.proxy.set(Link::Open);
            let signals = line.signals;
            line.program.says("mqtt connected", restart + 1).await;
            let last = format!("r-{signals}");
            other
                .until("the last fill", |heard| {
                    heard.said("fill").any(|(_, fill)| fill["signal_id"] == *last)
                })
                .await;
            other.close().await;
            line.bus.sleep(false);
            line.bus.subscribed(subscriptions + 1).await;
        } else {
            line.bus.subscribed(subscriptions + 1).await;
            line.proxy.set(Link::Open);
        }
        line.bus.until("online again", |heard| heard.online > online).await;
        // One that is lost sooner than it was waited for counts as a failure, and the next pause doubles.
        tokio::time::sleep(GOOD_CONNECTION).await;
        line.signal("alpha").await;
        line.check().await;
        line.check_retained(&topics).await;
    }
    let figures = line.figures();
    let records = line.end().await;
    let with = if persistence { "restarts with" } else { "kills without" };
    println!("link: {restarts} {with} persistence, {figures}, {records} records verified, nothing lost");
}

#[tokio::test]
async fn broker_restarts_with_persistence() {
    broker_restarts(true).await;
}

#[tokio::test]
async fn broker_restarts_without_persistence() {
    broker_restarts(false).await;
}

#[tokio::test]
async fn frozen_links_lose_nothing() {
    let freezes = setting("TRADEBUS_FREEZES", 3);
    let mut line = Line::start(false).await;
    for freeze in 0..freezes {
        line.orders().await;
        let topics = retained(&line.bus.heard);
        line.proxy.set(Link::Frozen);
        line.executed().await;
        if freeze % 2 == 1 {
            line.proxy.set(Link::Cut);
        }
        line.proxy.set(Link::Open);
        line.signal("alpha").await;
        line.check().await;
        line.check_retained(&topics).await;
    }
    let figures = line.figures();
    let records = line.end().await;
    println!("link: {freezes} frozen links, {figures}, {records} records verified, nothing lost");
}

#[tokio::test]
async fn refused_passwords_lose_nothing() {
    let refusals = setting("TRADEBUS_REFUSALS", 2);
    // The daemon has no password at all, so this broker refuses it.
    let strict = Mosquitto::start(Setup { persistence: false, login: Some(("somebody", "else")) });
    let mut line = Line::start(false).await;
    for refusal in 1..=refusals {
        line.orders().await;
        let topics = retained(&line.bus.heard);
        let online = line.bus.heard.online;
        line.proxy.aim(strict.port);
        line.proxy.set(Link::Cut);
        line.program.says("mqtt connection lost", refusal).await;
        line.proxy.set(Link::Open);
        line.executed().await;
        line.program.says("the broker refuses us (not authorized)", refusal).await;
        line.proxy.aim(line.broker.port);
        line.bus.until("online again", |heard| heard.online > online).await;
        if refusal == 1 {
            // The alert waited until there was a broker that took it.
            let told =
                |heard: &Heard| heard.json("daemon/alert").is_some_and(|a| a["code"] == "mqtt_refused");
            line.bus.until("the alert", told).await;
        }
        tokio::time::sleep(GOOD_CONNECTION).await;
        line.signal("alpha").await;
        line.check().await;
        line.check_retained(&topics).await;
    }
    let figures = line.figures();
    let records = line.end().await;
    println!("link: {refusals} refused passwords, {figures}, {records} records verified, nothing lost");
}

#[tokio::test]
async fn a_broker_may_start_after_the_daemon() {
    let mut broker = Mosquitto::start(Setup::default());
    broker.stop();
    let site = Site::new(broker.port);
    let mut program = site.run();
    program.says("mqtt not connected", 2).await;
    broker.restart();
    let mut bus = Bus::connect(broker.port, "ear").await;
    ready(&mut bus, 1).await;
    bus.publish(&topic("alpha"), signal("s", now_ms(), SIGNAL).as_bytes(), false).await;
    bus.until("the result", |heard| !heard.results_of("alpha", "s").is_empty()).await;
    assert_eq!(bus.heard.results_of("alpha", "s")[0]["status"], "filled");
}
