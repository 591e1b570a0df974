//! What may be on the link: sizes, messages without acknowledgement, how long a message is good, how often prices come.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use tokio::io::{AsyncBufReadExt, BufReader};
use tradebus::daemon::outbox::Qos;
use tradebus::engine::effect::{Alert, AlertLevel, Effect, Update};
use tradebus::engine::event::Event;
use tradebus::message::topic::Topics;
use tradebus::message::view::{self, MessageKind};
use tradebus::model::amount::Price;

use crate::mqtt_client::{Rig, within};
use crate::rig;
use crate::support::fake_broker::{Answers, Came, FakeBroker};
use crate::support::mosquitto::{Mosquitto, Setup};

#[tokio::test]
async fn a_smaller_limit_of_the_broker_drops_a_message_and_not_the_connection() {
    let broker = Mosquitto::start_with(Setup::default(), "max_packet_size 2000\n");
    let mut rig = Rig::start(broker.port);
    rig.status("connected", |status| status.connected).await;
    rig.outbox.retained("t/strategy/s/state", vec![b'x'; 3_000], None);
    rig.outbox.event(1, "t/strategy/s/fill", vec![b'x'; 3_000]);
    rig.outbox.transient("t/out/tick", vec![b'x'; 3_000], Qos::AtMostOnce);
    rig.outbox.respond("elsewhere", b"small".to_vec(), Some(vec![b'c'; 3_000]));
    rig.outbox.event(2, "t/strategy/s/fill", b"small".to_vec());
    rig.until("the small one is there", |outbox| outbox.acknowledged_through() == 2).await;
    let counters = rig.outbox.counters();
    assert_eq!((counters.dropped, counters.events_waiting, counters.retained_waiting), (4, 0, 0));
    let mut told = Vec::new();
    for _ in 0..3 {
        let (code, text) = rig.notice("the named drop").await;
        assert_eq!(code, "mqtt_too_large");
        told.push(text);
    }
    let named = |word: &str| told.iter().any(|text| text.contains(word) && text.contains("limit of 2000"));
    assert!(named("t/strategy/s/state") && named("t/strategy/s/fill"), "{told:?}");
    let status = rig.bus.status().borrow().clone();
    assert!(status.connected && status.reconnects == 0, "{status:?}");
}

#[tokio::test]
async fn the_brokers_receive_maximum_is_kept() {
    // Receive maximum 3.
    let connect = vec![0x20, 6, 0, 0, 3, 0x21, 0, 3];
    let mut fake = FakeBroker::start(Answers { connect, publish: |_| None, ..Answers::default() }).await;
    let rig = Rig::start(fake.port);
    for sequence in 1..=8 {
        rig.outbox.event(sequence, "t/strategy/s/fill", b"x".to_vec());
    }
    let (mut publishes, mut most, mut pings) = (0, 0, 0);
    // Beside the events: `online` and the self-test. A ping shows that nothing more was on its way.
    while publishes < 10 {
        match within("packets", fake.came.recv()).await.expect("the broker runs") {
            Came::Publish(_, unanswered) => {
                publishes += 1;
                most = most.max(unanswered);
            }
            Came::Ping => pings += 1,
            Came::End => panic!("the connection ended"),
            _ => {}
        }
    }
    assert_eq!(most, 3);
    assert!(pings >= 3, "{pings}");
}

#[tokio::test]
async fn messages_that_end_carry_their_end() {
    let broker = Mosquitto::start(Setup::default());
    let mut command = Command::new("mosquitto_sub");
    let port = broker.port.to_string();
    command.args([
        "-V",
        "5",
        "-h",
        "127.0.0.1",
        "-p",
        &port,
        "-q",
        "1",
        "-C",
        "3",
        "-W",
        "20",
        "-F",
        "%t %E",
    ]);
    command.args(["-t", "t/price/#", "-t", "t/daemon/alert", "-t", "t/strategy/#"]);
    let mut child =
        tokio::process::Command::from(command).stdout(Stdio::piped()).spawn().expect("mosquitto_sub");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let rig = Rig::start(broker.port);
    // Retained, so that the time of the subscription does not matter.
    rig.outbox.retained("t/price/f/BTC-USDT", b"1".to_vec(), Some(180));
    rig.outbox.retained("t/strategy/s/state", b"1".to_vec(), None);
    let mut seen = BTreeMap::new();
    while seen.len() < 3 {
        // Only once, so it is said until it was heard.
        rig.outbox.expiring("t/daemon/alert", b"1".to_vec(), 86_400);
        let Ok(line) = tokio::time::timeout(std::time::Duration::from_millis(100), lines.next_line()).await
        else {
            continue;
        };
        let line = line.expect("lines").expect("three of them");
        let (topic, expiry) = line.split_once(' ').expect("two words");
        seen.insert(topic.to_owned(), expiry.to_owned());
    }
    let expiry = |topic: &str| seen[topic].parse::<u32>().ok();
    assert!(expiry("t/price/f/BTC-USDT").is_some_and(|seconds| (170..=180).contains(&seconds)), "{seen:?}");
    assert!(expiry("t/daemon/alert").is_some_and(|seconds| (86_390..=86_400).contains(&seconds)), "{seen:?}");
    assert_eq!(expiry("t/strategy/s/state"), None, "{seen:?}");
}

#[test]
fn alerts_are_good_for_a_day() {
    let (level, text, time) = (AlertLevel::Info, String::new(), rig::begin());
    let alert = Alert { level, code: "code", text, strategy: None, time };
    let messages = view::update(&Topics::new("t"), &Update::Alert(alert));
    assert_eq!(
        messages.iter().map(|message| message.kind).collect::<Vec<_>>(),
        [MessageKind::Expiring(86_400)]
    );
}

/// Ten ticks a second on two symbols for ten minutes, each another price: at most one message in 5 s of event time for
/// each symbol, and not much less.
#[test]
fn a_price_leaves_at_most_once_in_5_s() {
    let mut settings = rig::settings();
    for symbol in ["BTC-USDT", "ETH-USDT"] {
        rig::market(&mut settings, &[symbol]);
    }
    let topics = Topics::new("t");
    let mut engine = rig::Rig::new(settings);
    let mut published: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let mut hear = |effects: Vec<Effect>, now: i64| {
        let updates = effects.iter().filter_map(|effect| match effect {
            Effect::Publish(update @ Update::Price(_)) => Some(update),
            _ => None,
        });
        for message in updates.flat_map(|update| view::update(&topics, update)) {
            published.entry(message.topic).or_default().push(now);
        }
    };
    hear(engine.send(rig::start_event()), engine.now.as_ms());
    for tick in 0..6_000 {
        let at = rig::begin().plus_ms(tick * 100);
        while let Some(due) = engine.engine.next_wakeup().filter(|due| *due < at) {
            engine.now = due;
            hear(engine.send(Event::Wakeup), due.as_ms());
        }
        engine.now = at;
        // Up and down by more than the deadband, and each price once.
        let number = if tick % 2 == 0 { 60_000 + tick } else { 50_000 - tick };
        let price: Price = rig::price(&number.to_string());
        for symbol in ["BTC-USDT", "ETH-USDT"] {
            hear(engine.send(rig::trade(at, symbol, price, rig::quantity("1"))), at.as_ms());
        }
    }
    assert_eq!(published.keys().collect::<Vec<_>>(), ["t/price/tape/BTC-USDT", "t/price/tape/ETH-USDT"]);
    for (topic, times) in &published {
        let shortest = times.windows(2).map(|pair| pair[1] - pair[0]).min().expect("several");
        assert!(shortest >= 5_000, "{topic}: {shortest} ms between two");
        assert!((118..=121).contains(&times.len()), "{topic}: {} messages in ten minutes", times.len());
    }
}
