//! Brokers that say no: to the connection, to a subscription, to a publish. And the self-test, and others who think
//! that they are us.

use std::time::Duration;

use tempfile::TempDir;
use tradebus::daemon::mqtt::BusStatus;

use crate::mqtt_client::{Peer, Rig, within};
use crate::support::fake_broker::{Answers, CONNACK, Came, FakeBroker};
use crate::support::mosquitto::{Mosquitto, Setup};
use crate::support::proxy::{Link, Proxy};

#[tokio::test]
async fn a_wrong_password_is_told_without_it() {
    let broker = Mosquitto::start(Setup { persistence: false, login: Some(("user", "right")) });
    let login = |password: &'static str| {
        move |config: &mut tradebus::daemon::mqtt::MqttConfig| {
            config.username = Some("user".into());
            config.password = Some(password.into());
        }
    };
    let mut rig = Rig::with(broker.port, login("wrong-pass"));
    let (code, text) = rig.notice("the refusal").await;
    assert_eq!(code, "mqtt_refused");
    assert!(text.contains("password") && !text.contains("wrong-pass"), "{text}");
    let error = rig.status("refused", |status| status.last_error.is_some()).await.last_error;
    assert!(!error.expect("an error").contains("wrong-pass"));
    rig.task.abort();
    let rig = Rig::with(broker.port, login("right"));
    rig.status("connected", |status| status.connected).await;
}

/// Answers CONNECT with these bytes, and expects `code` and `word`.
async fn check_connect(bytes: &[u8], code: &str, word: &str) {
    let fake = FakeBroker::start(Answers { connect: bytes.to_vec(), ..Answers::default() }).await;
    let mut rig = Rig::start(fake.port);
    let (told, text) = rig.notice(word).await;
    assert!(told == code && text.contains(word), "{told}: {text}");
}

#[tokio::test]
async fn brokers_that_refuse_the_connection() {
    // MQTT 3.1.1: unacceptable protocol version, and accepted.
    check_connect(&[0x20, 2, 0, 1], "mqtt_refused", "does not speak MQTT 5").await;
    check_connect(&[0x20, 2, 0, 0], "mqtt_refused", "does not speak MQTT 5").await;
    check_connect(&[0x20, 3, 0, 0x84, 0], "mqtt_refused", "does not speak MQTT 5").await;
    check_connect(&[0x20, 3, 0, 0x86, 0], "mqtt_refused", "user name or password").await;
    check_connect(&[0x20, 3, 0, 0x87, 0], "mqtt_refused", "not authorized").await;
    check_connect(&[0x20, 3, 0, 0x8A, 0], "mqtt_refused", "banned").await;
    check_connect(&[0x20, 3, 0, 0x9C, 0], "mqtt_refused", "another server").await;
}

#[tokio::test]
async fn brokers_that_are_busy_are_asked_again() {
    for (code, word) in [(0x97, "quota exceeded"), (0x89, "server busy"), (0x88, "server unavailable")] {
        let connect = vec![0x20, 3, 0, code, 0];
        let mut fake = FakeBroker::start(Answers { connect, ..Answers::default() }).await;
        let mut rig = Rig::start(fake.port);
        let status = rig.status(word, |status| status.last_error.is_some()).await;
        assert!(status.last_error.expect("an error").contains(word));
        let mut connects = 0;
        while connects < 2 {
            connects += usize::from(within("another attempt", fake.came.recv()).await == Some(Came::Connect));
        }
        assert!(rig.notices.try_recv().is_err(), "nobody has to do anything");
    }
}

#[tokio::test]
async fn refused_subscriptions_are_named_and_the_rest_works() {
    let subscribe = |filter: &str| match filter {
        "t/strategy/+/signal" => 0x87,
        "t/daemon/level/set" => 0x97,
        "t/in/#" => 0,
        _ => 1,
    };
    let fake = FakeBroker::start(Answers { subscribe, ..Answers::default() }).await;
    let mut rig = Rig::with(fake.port, |config| {
        let more = ["t/strategy/+/signal", "t/daemon/level/set", "t/other"].map(String::from);
        config.command_filters.extend(more);
    });
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(rig.notice("a refused subscription").await);
    }
    for (filter, why, lost) in [
        ("t/in/#", "QoS 0", "may be lost"),
        ("t/strategy/+/signal", "not authorized", "signals do not arrive"),
        ("t/daemon/level/set", "quota exceeded", "levels cannot be set"),
    ] {
        let named = |(code, text): &&(&str, String)| {
            *code == "mqtt_subscription_refused" && [filter, why, lost].iter().all(|word| text.contains(word))
        };
        assert!(told.iter().any(|told| named(&told)), "{filter}: {told:?}");
    }
    rig.status("connected all the same", |status| status.connected).await;
    rig.outbox.event(1, "t/strategy/a/fill", b"x".to_vec());
    rig.until("published", |outbox| outbox.acknowledged_through() == 1).await;
}

#[tokio::test]
async fn refused_publishes_are_told_once_for_each_kind_and_kept() {
    let publish = |topic: &str| match topic {
        _ if topic.ends_with("/fill") => Some(0x87),
        _ if topic.ends_with("/order") => Some(0x10),
        _ => Some(0),
    };
    let fake = FakeBroker::start(Answers { publish, ..Answers::default() }).await;
    let mut rig = Rig::start(fake.port);
    for sequence in 1..=20 {
        let kind = if sequence % 2 == 0 { "fill" } else { "order" };
        rig.outbox.event(sequence, &format!("t/strategy/s{sequence}/{kind}"), b"x".to_vec());
    }
    rig.until("all are answered", |outbox| outbox.counters().refused == 10).await;
    rig.until("the others are done", |outbox| outbox.counters().events_waiting == 10).await;
    let (code, text) = rig.notice("the refusal").await;
    assert_eq!(code, "mqtt_publish_refused");
    assert!(text.contains("/fill") && text.contains("not authorized"), "{text}");
    assert!(rig.notices.try_recv().is_err(), "once for all of them, and none for nobody who listens");
    assert_eq!(rig.outbox.acknowledged_through(), 1, "kept until somebody repairs the broker's rules");
}

#[tokio::test]
async fn the_self_test_measures_the_way_and_back() {
    let broker = Mosquitto::start(Setup::default());
    let mut rig = Rig::start(broker.port);
    let status = rig.status("the round trip", |status| status.round_trip.is_some()).await;
    assert!(status.round_trip > Some(Duration::ZERO) && status.last_error.is_none(), "{status:?}");
    assert!(rig.notices.try_recv().is_err() && rig.inbound.try_recv().is_err(), "it is for nobody else");
    // Never retained: who comes later hears none.
    let mut peer = Peer::subscribe(broker.port, "t/daemon/#").await;
    assert_eq!(peer.next("only the state").await.0, "t/daemon/state");
}

/// Starts at a mosquitto with this access list, and expects a failed self-test whose text has these words.
async fn check_self_test(acl: &str, words: &[&str]) {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("acl");
    std::fs::write(&file, acl).expect("the access list");
    let broker = Mosquitto::start_with(Setup::default(), &format!("acl_file {}\n", file.display()));
    let mut rig = Rig::start(broker.port);
    loop {
        let (code, text) = rig.notice("the failed self-test").await;
        if code == "mqtt_self_test" {
            let named = words.iter().chain(&["t/daemon/probe", "access list", "anonymous"]);
            assert!(named.clone().all(|word| text.contains(word)), "{text}");
            assert!(rig.bus.status().borrow().connected, "all else goes on");
            return;
        }
    }
}

#[tokio::test]
async fn access_lists_that_silence_us_are_found() {
    // Neither is refused when it subscribes: only a message shows it.
    check_self_test("topic write t/#\n", &["did not come back"]).await;
    check_self_test("topic read t/#\ntopic write t/daemon/state\n", &["was not accepted", "not authorized"])
        .await;
}

#[tokio::test]
async fn a_frozen_link_is_no_failed_self_test() {
    let broker = Mosquitto::start(Setup::default());
    let proxy = Proxy::start(broker.port).await;
    let mut rig = Rig::start(proxy.port);
    rig.status("connected", |status| status.connected).await;
    proxy.set(Link::Frozen);
    rig.outbox.event(1, "t/out/event", b"x".to_vec());
    let status = rig.status("noticed", |status| !status.connected).await;
    assert_eq!(status.round_trip, None);
    proxy.set(Link::Open);
    rig.status("measured again", |status| status.reconnects > 0 && status.round_trip.is_some()).await;
    assert!(rig.notices.try_recv().is_err());
}

#[tokio::test]
async fn two_daemons_below_one_base_topic_find_each_other() {
    let broker = Mosquitto::start(Setup::default());
    let mut rig = Rig::start(broker.port);
    rig.status("connected", |status| status.connected).await;
    let others = Peer::subscribe(broker.port, "none").await;
    for number in 1..=2 {
        others.publish("t/daemon/probe", &format!("{{\"run\":\"other\",\"number\":{number}}}"), false).await;
    }
    let (code, text) = rig.notice("the other one").await;
    assert!(code == "mqtt_second_daemon" && text.contains("t/daemon/probe"), "{text}");
    for _ in 0..100 {
        others.publish("t/daemon/probe", "flood", false).await;
    }
    rig.status("measured all the same", |status| status.round_trip.is_some()).await;
    assert!(rig.notices.try_recv().is_err() && rig.inbound.try_recv().is_err());
}

/// The broker accepts, grants, and then ends the connection with these bytes.
async fn check_takeover(disconnect: &[u8]) {
    let answers = Answers { afterwards: disconnect.to_vec(), ..Answers::default() };
    assert_eq!(answers.connect, CONNACK);
    let mut fake = FakeBroker::start(answers).await;
    let mut rig = Rig::start(fake.port);
    let (code, text) = rig.notice("the takeover").await;
    assert_eq!(code, "mqtt_session_taken_over");
    assert!(text.contains("\"tradebus\"") && text.contains("another instance"), "{text}");
    let mut connects = 0;
    while let Ok(came) = fake.came.try_recv() {
        connects += usize::from(came == Came::Connect);
    }
    assert_eq!(connects, 3);
    assert!(!rig.bus.status().borrow().stopped, "it comes back, later");
}

#[tokio::test]
async fn a_session_that_is_taken_over_again_and_again_is_named() {
    check_takeover(&[0xE0, 2, 0x8E, 0]).await;
}

#[tokio::test]
async fn a_takeover_without_a_reason_code_is_found_by_what_the_other_left() {
    let broker = Mosquitto::start(Setup::default());
    let mut rigs = [Rig::start(broker.port), Rig::start(broker.port)];
    for (rig, started) in rigs.iter().zip(["1", "2"]) {
        let info = format!("{{\"instance\":\"tradebus\",\"started\":\"{started}\"}}");
        rig.outbox.retained("t/daemon/info", info.into_bytes(), None);
    }
    let [first, second] = &mut rigs;
    let told = tokio::select! {
        told = first.notice("the takeover") => told,
        told = second.notice("the takeover") => told,
    };
    assert_eq!(told.0, "mqtt_session_taken_over", "{}", told.1);
    let text = |status: &BusStatus| status.last_error.clone().unwrap_or_default();
    let texts = rigs.each_ref().map(|rig| text(&rig.bus.status().borrow()));
    assert!(texts.iter().any(|text| text.contains("another instance")), "{texts:?}");
}

#[tokio::test]
async fn a_broker_that_restarts_again_and_again_is_no_fight() {
    let mut broker = Mosquitto::start(Setup { persistence: true, login: None });
    let mut rig = Rig::start(broker.port);
    rig.outbox.retained("t/daemon/info", b"{\"instance\":\"tradebus\"}".to_vec(), None);
    for restart in 0..4 {
        rig.status("connected", |status| status.connected && status.reconnects == restart).await;
        rig.until("info is there", |outbox| outbox.counters().retained_waiting == 0).await;
        broker.restart();
    }
    rig.status("connected", |status| status.connected && status.reconnects == 4).await;
    assert!(rig.notices.try_recv().is_err());
}
