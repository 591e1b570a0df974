//! Brokers that restart, with and without a memory, and links that freeze: no fill and no result is lost.

use std::collections::BTreeSet;

use super::load::{books, check_executions, check_journal, differences, now_ms, settled, signal, topic};
use super::{ready, setting, verify};
use crate::support::bus::{Bus, Heard};
use crate::support::mosquitto::{Mosquitto, Setup};
use crate::support::program::{Program, Site};
use crate::support::proxy::{Link, Proxy};

/// So long do orders of `beta` take: they fill while the link is down.
const LATENCY_MS: u64 = 500;
const ORDERS: usize = 8;

struct Line {
    program: Program,
    bus: Bus,
    site: Site,
    proxy: Proxy,
    broker: Mosquitto,
    signals: usize,
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
        Line { broker, proxy, site, program, bus, signals: 0 }
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
        line.broker.restart();
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
        line.signal("alpha").await;
        line.check().await;
        let mut late = Bus::connect(line.broker.port, "late").await;
        let expected = books(&line.bus.heard);
        late.until("everything retained", |heard| {
            retained(heard).is_superset(&topics) && differences(heard, &expected).is_empty()
        })
        .await;
        late.close().await;
    }
    let (signals, heard) = (line.signals, line.bus.heard.said("fill").count());
    let records = line.end().await;
    let with = if persistence { "with" } else { "without" };
    println!(
        "broker: {restarts} restarts {with} persistence, {signals} signals, {heard} fills, {records} records verified, \
         nothing lost"
    );
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
    let mut line = Line::start(false).await;
    for heals in [true, false, true] {
        line.orders().await;
        line.proxy.set(Link::Frozen);
        line.executed().await;
        if !heals {
            line.proxy.set(Link::Cut);
        }
        line.proxy.set(Link::Open);
        line.signal("alpha").await;
        line.check().await;
    }
    line.end().await;
}
