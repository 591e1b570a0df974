//! Accounts with thousands of orders: a list of up to 100 pages is read whole, a longer one not at all, and without a
//! comparison no entry passes.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use tradebus::model::signal::Reason;
use tradebus::model::time::Timestamp;
use tradebus::model::trading::{VenueReport, VenueRequest};

use super::whole::{BTC, holds, play, refusal};
use super::{PAIR, Scene, venue};
use crate::live_world::{KEY, UNTRADED, World, settings};
use crate::rig;
use crate::support::fake_blofin::{FakeAccount, begin_time, now_ms};

const ENTRY: &str = r#""action":"buy","quantity":0.01"#;

/// Somebody has so many orders of a pair in the book.
fn crowd(account: &mut FakeAccount, pair: &str, count: usize) {
    for _ in 0..count {
        let mut order = account.foreign(pair, "buy", Decimal::ONE, "normal");
        (order.order_type, order.price) = ("limit".into(), Decimal::ONE);
        account.orders.insert(order.id, order);
    }
}

/// Only the newest of them are left.
fn leave(account: &mut FakeAccount, count: usize) {
    while account.orders.len() > count {
        account.orders.pop_first();
    }
}

/// A list of so many orders is no snapshot until the venue is mended; `more` pages are asked for by one try.
fn is_no_snapshot(orders: usize, repeats_pages: bool, more: usize) {
    play(async move {
        begin_time(rig::begin().as_ms());
        let mut scene = Scene::at(venue().await).await;
        scene.fake.change_account(super::KEY, |account| {
            crowd(account, PAIR, orders);
            account.repeats_pages = repeats_pages;
        });
        let asked = Timestamp::from_ms(now_ms());
        let (fills_after, since) = (BTreeMap::new(), Timestamp::from_ms(0));
        scene.send(VenueRequest::Snapshot { asked, fills_after, since });
        // What comes behind the last page of the first try is the second one.
        let pages = |stats: &crate::support::fake_blofin::Stats| {
            stats.requests.get("/api/v1/trade/orders-pending").copied().unwrap_or_default()
        };
        scene.fake.until(|stats| pages(stats) > more).await;
        while let Ok(told) = scene.reports.try_recv() {
            let report = told.unwrap().report;
            assert!(!matches!(report, VenueReport::Snapshot(_)), "{report:?}");
        }
        // It is taken anew until it is whole.
        scene.fake.change_account(super::KEY, |account| {
            leave(account, 230);
            account.repeats_pages = false;
        });
        let told = scene.until("a snapshot", |report| matches!(report, VenueReport::Snapshot(_))).await;
        let VenueReport::Snapshot(snapshot) = told else { panic!("no snapshot") };
        assert_eq!((snapshot.asked, snapshot.orders.len()), (asked, 230));
        scene.clean();
    });
}

#[test]
fn a_list_beyond_a_hundred_pages_is_no_snapshot() {
    is_no_snapshot(10_001, false, 100);
}

#[test]
fn a_list_that_begins_again_is_no_snapshot() {
    is_no_snapshot(230, true, 2);
}

/// Orders behind fills that three pages of ended orders do not name; what the venue has forgotten is left out.
#[test]
fn ended_orders_of_long_ago_are_asked_for_one_by_one() {
    play(async {
        begin_time(rig::begin().as_ms());
        let mut scene = Scene::at(venue().await).await;
        for _ in 0..305 {
            scene.fake.foreign_order(super::KEY, PAIR, "buy", "1", "normal");
        }
        scene.fake.change_account(super::KEY, |account| leave(account, 304));
        let snapshot = scene.snapshot(None).await;
        assert_eq!((snapshot.fills.len(), snapshot.orders_ended.len()), (305, 304));
        assert_eq!(scene.clean().requests["/api/v1/trade/order-detail"], 5);
    });
}

#[test]
fn a_long_list_is_waited_for() {
    play(async {
        let strategies = settings(&[("a", BTC)]);
        let mut world = World::start(strategies, |account| crowd(account, UNTRADED, 10_001)).await;
        world.quiet(6).await;
        assert_eq!(refusal(&mut world, "a", ENTRY), Some(Reason::NeedsReconcile));
        // At 12 questions in 10 s this takes longer than the first wait for an answer.
        world.fake.change_account(KEY, |account| leave(account, 5_000));
        world.quiet(8).await;
        assert_eq!(refusal(&mut world, "a", ENTRY), None);
        holds(&mut world, "a", "0.01").await;
        assert!(world.violations().is_empty(), "{:?}", world.violations());
    });
}
