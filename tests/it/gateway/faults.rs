//! What goes wrong: lost answers, cut connections, limits, a venue that is away, and keys that are refused.

use std::time::Duration;

use tokio::time::Instant;
use tradebus::daemon::clock::Clock;
use tradebus::daemon::gateway::client::{Client, NoAnswer, Repeat};
use tradebus::model::order::{OrderType, Side};
use tradebus::model::time::Timestamp;
use tradebus::model::trading::{MarginMode, PlaceStop, PositionSide, VenueReport, VenueRequest};
use tradebus::venue::blofin::private::request;

use super::{KEY, PAIR, Scene, gateway, keys, price, quantity, venue};
use crate::rig;
use crate::support::fake_blofin::{PrivateFault, begin_time, now_ms};
use tradebus::model::ids::Symbol;

fn name(report: &VenueReport) -> String {
    match report {
        VenueReport::Acknowledged { .. } => "acknowledged".into(),
        VenueReport::Refused { refusal, .. } => format!("refused {}", refusal.code),
        VenueReport::NotSent { .. } => "not sent".into(),
        VenueReport::Unanswered { .. } => "unanswered".into(),
        other => format!("{other:?}"),
    }
}

/// Every fault of an answer: what is reported, and whether the order is at the venue. It is there at most once.
#[tokio::test]
async fn an_order_leaves_at_most_once_and_its_fate_is_told_truly() {
    let mut scene = Scene::start().await;
    for (fault, expected, arrives) in [
        (None, "acknowledged", true),
        (Some(PrivateFault::Drop), "unanswered", true),
        (Some(PrivateFault::CutBefore), "unanswered", false),
        (Some(PrivateFault::Unclear), "unanswered", true),
        (Some(PrivateFault::Refuse("103003")), "refused 103003", false),
        (Some(PrivateFault::Refuse("103013")), "unanswered", false),
        (Some(PrivateFault::Status(502)), "unanswered", false),
        (Some(PrivateFault::Delay(Duration::from_millis(300))), "acknowledged", true),
    ] {
        let before = scene.account().orders.len();
        scene.fake.private_faults([fault]);
        let order = scene.order();
        let id = order.order_id;
        let fate = scene.place(order).await;
        assert_eq!(name(&fate), expected, "{fault:?}");
        let after = scene.account().orders.len();
        assert_eq!(after - before, usize::from(arrives), "{fault:?}");
        let found = matches!(scene.look_up(id).await, VenueReport::Order(_));
        assert_eq!(found, arrives, "{fault:?}");
    }
    // The same id again is the venue's to refuse, and says so.
    let mut again = scene.order();
    again.order_id = super::id(1);
    let fate = scene.place(again).await;
    assert!(matches!(&fate, VenueReport::Refused { refusal, .. } if refusal.duplicate), "{fate:?}");
    scene.clean();
}

#[tokio::test]
async fn what_cannot_leave_is_not_sent() {
    let mut scene = Scene::start().await;
    let mut late = scene.order();
    late.expires = Timestamp::from_ms(now_ms() - 1_000);
    assert_eq!(name(&scene.place(late).await), "not sent");
    let mut odd = scene.order();
    odd.quantity = quantity("0.01005");
    assert_eq!(name(&scene.place(odd).await), "refused unsendable");
    // The venue changed what a contract is: the order was decided by other figures.
    let mut other = scene.order();
    other.instrument = tradebus::model::instrument::Instrument::new(
        other.instrument.symbol(),
        price("0.1"),
        quantity("0.1"),
        quantity("0.1"),
        quantity("0.01"),
    )
    .unwrap();
    assert_eq!(name(&scene.place(other).await), "refused unsendable");
    // A stop is no different.
    let stop_id = super::id(60);
    scene.send(VenueRequest::PlaceStop(Box::new(PlaceStop {
        stop_id,
        instrument: super::bitcoin(),
        side: Side::Sell,
        quantity: quantity("0.01"),
        stop_loss: Some(price("95000")),
        take_profit: None,
        margin_mode: MarginMode::Cross,
        position_side: PositionSide::Net,
        expires: Timestamp::from_ms(now_ms() - 1_000),
    })));
    assert_eq!(name(&scene.fate(stop_id).await), "not sent");
    assert!(scene.account().wanted.is_empty());
    scene.fake.down(true);
    let away = scene.order();
    // Connections are taken and closed: nobody can tell what was read.
    assert_eq!(name(&scene.place(away).await), "unanswered");
    scene.fake.down(false);
    assert!(scene.account().orders.is_empty());
    scene.clean();
}

/// A venue whose address nobody answers at: nothing ever leaves, for as long as that lasts.
#[tokio::test]
async fn without_a_connection_nothing_is_unknown() {
    let fake = venue().await;
    let (gateways, mut reports) = {
        let (gateways, reports) = gateway(&fake, keys(), 1_024);
        drop(fake);
        (gateways, reports)
    };
    for count in 0..30 {
        let order = tradebus::model::trading::PlaceOrder {
            order_id: super::id(count),
            instrument: super::bitcoin(),
            side: Side::Buy,
            order_type: OrderType::Market,
            quantity: quantity("0.01"),
            reduce_only: true,
            margin_mode: tradebus::model::trading::MarginMode::Cross,
            position_side: tradebus::model::trading::PositionSide::Net,
            expires: Timestamp::from_ms(now_ms() + 60_000),
        };
        let account = tradebus::model::ids::AccountId::new("main").unwrap();
        let request = VenueRequest::Place(Box::new(order));
        gateways.dispatcher.send(tradebus::model::trading::Dispatch { account, request });
    }
    let mut fates = 0;
    while fates < 24 {
        let report = reports.recv().await.unwrap().unwrap().report;
        match report {
            VenueReport::NotSent { .. } => fates += 1,
            VenueReport::Link { up: false, .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

/// A name that the system's resolver refuses without asking anybody.
#[tokio::test]
async fn without_a_name_nothing_leaves() {
    let nowhere = format!("http://{}.invalid", "n".repeat(64));
    let tls = tradebus::daemon::tls::plain().unwrap();
    let clock = Clock::steady(Timestamp::from_ms(now_ms()));
    let client = Client::new(&nowhere, &tls, keys(), clock, "0123".into()).unwrap();
    for repeat in [Repeat::Never, Repeat::Harmless] {
        let answer = client.ask(&request::positions(), repeat).await;
        assert!(matches!(answer, Err(NoAnswer::NotSent(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn a_cancel_keeps_back_what_has_not_left() {
    let mut scene = Scene::start().await;
    let symbol = Symbol::new(PAIR).unwrap();
    // Entries beyond the account's 18 in 10 s wait; the last of them is taken back before it leaves.
    let mut last = scene.order();
    for _ in 0..19 {
        last = scene.order();
        last.order_type = OrderType::Limit { price: price("90000") };
        scene.send(VenueRequest::Place(Box::new(last.clone())));
    }
    scene.send(VenueRequest::Cancel { order_id: last.order_id, venue_order_id: None, symbol });
    let fate = scene.fate(last.order_id).await;
    assert!(
        matches!(&fate, VenueReport::NotSent { text, .. } if text.contains("cancelled before")),
        "{fate:?}"
    );
    assert!(scene.account().orders.values().all(|order| order.client_id != last.order_id.as_str()));
    // And an exit passes all that waits.
    scene.fake.foreign_order(KEY, PAIR, "buy", "10", "normal");
    let mut exit = scene.order();
    (exit.side, exit.reduce_only) = (Side::Sell, true);
    assert_eq!(name(&scene.place(exit).await), "acknowledged");
    assert!(scene.fake.held(KEY, PAIR).is_zero());
    scene.clean();
}

#[tokio::test]
async fn a_cut_stream_comes_back_and_is_checked_again() {
    let mut scene = Scene::start().await;
    scene.fake.close(false);
    scene.until("the end of the link", |report| matches!(report, VenueReport::Link { up: false, .. })).await;
    // What happens meanwhile is in the snapshot.
    scene.fake.foreign_order(KEY, PAIR, "buy", "10", "normal");
    scene.until("a check", |report| matches!(report, VenueReport::Check(_))).await;
    scene.until("a link", |report| matches!(report, VenueReport::Link { up: true, .. })).await;
    let snapshot = scene.snapshot(None).await;
    assert_eq!(snapshot.positions[0].quantity, quantity("0.01"));
    assert_eq!(snapshot.orders_ended[0].order_id, None);
    // Frames that are lost or come twice change nothing about that.
    scene.fake.private_stream_faults(2, 3);
    let order = scene.order();
    scene.place(order).await;
    assert_eq!(scene.snapshot(None).await.positions[0].quantity, quantity("0.02"));
    scene.clean();
}

#[tokio::test]
async fn clocks_that_differ_are_told_and_bridged() {
    let fake = venue().await;
    fake.clock_ahead(20_000);
    let (_gateways, mut reports) = gateway(&fake, keys(), 64);
    let first = reports.recv().await.unwrap().unwrap().report;
    let VenueReport::Skew { ms } = first else { panic!("{first:?}") };
    assert!((18_900..=20_100).contains(&ms), "{ms}");
    assert!(fake.stats().violations.is_empty());
}

#[tokio::test]
async fn refused_keys_end_the_daemon_with_a_name() {
    for (change, expected) in [("key", "152401"), ("secret", "152409"), ("passphrase", "152408")] {
        let fake = venue().await;
        let mut wrong = keys();
        match change {
            "key" => wrong.api_key = "another-key".into(),
            "secret" => wrong.secret = "another-secret".into(),
            _ => wrong.passphrase = "another-passphrase".into(),
        }
        let (_gateways, mut reports) = gateway(&fake, wrong, 64);
        let error = loop {
            match reports.recv().await.unwrap() {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.exit_code(), 78);
        let text = error.to_string();
        assert!(
            text.starts_with("account.main: the venue refuses the keys: ") && text.contains(expected),
            "{text}"
        );
        assert_eq!(fake.stats().private_connections, 0);
    }
}

/// A venue that says no over the stream and leaves the connection open: it is told without our secrets, and the stream
/// begins anew, later each time.
#[tokio::test(start_paused = true)]
async fn a_stream_on_which_the_venue_refuses_something_begins_anew() {
    begin_time(rig::begin().as_ms());
    let begin = Instant::now();
    let fake = venue().await;
    fake.refuse_logins(3);
    let mut scene = Scene::at(fake).await;
    let refused = |report: &&VenueReport| {
        let text = "refused by the venue: Login failed. (60009); tried again in ";
        matches!(report, VenueReport::Link { up: false, text: told } if told.starts_with(text))
    };
    assert_eq!(scene.passed.iter().filter(refused).count(), 3, "{:?}", scene.passed);
    assert_eq!(scene.fake.stats().private_connections, 4);
    // 1, 2 and 4 s, less up to a quarter.
    assert!(begin.elapsed() > Duration::from_millis(5_250), "{:?}", begin.elapsed());
    // Also when it was up.
    scene.fake.send_private(r#"{"event":"error","code":"60012","msg":"Invalid request: test-api-secret"}"#);
    let down = scene.until("its end", |report| matches!(report, VenueReport::Link { .. })).await;
    let VenueReport::Link { up: false, text } = down else { panic!("{down:?}") };
    assert!(
        text.starts_with("refused by the venue: Invalid request: ") && text.contains("(60012)"),
        "{text}"
    );
    assert!(!text.contains("test-api-secret"), "{text}");
    scene.until("a check", |report| matches!(report, VenueReport::Check(_))).await;
    scene.until("a link", |report| matches!(report, VenueReport::Link { up: true, .. })).await;
    let stats = scene.fake.until(|stats| stats.private_open == 1).await;
    assert_eq!((stats.private_connections, stats.private_subscribed), (5, 1));
    scene.clean();
}
