//! What the venue's rate limit (429) or its firewall (403) keeps away was never looked at: an entry is given up and
//! told; what takes risk away leaves again, under its id, as soon as the venue wants to hear of us; nothing is there
//! twice.

use super::whole::{BTC, holds, play, settled, stops_there, two};
use crate::live_world::{KEY, World};
use crate::support::fake_blofin::PrivateFault;

/// How it is kept away, for how long nothing may leave then, in milliseconds, and how a person is told.
const WAYS: [(PrivateFault, u64, &str); 3] = [
    (PrivateFault::Status(429), 10_000, "too many requests (429)"),
    (PrivateFault::Refuse("429"), 10_000, "no (429)"),
    (PrivateFault::Status(403), 300_000, "the venue's firewall refuses this address (403)"),
];

/// The ids of orders and stops that came in, taken or not.
fn wanted(world: &World) -> Vec<String> {
    world.fake.account(KEY).wanted
}

/// How often an id is at the venue.
fn there(world: &World, id: &str) -> usize {
    let account = world.fake.account(KEY);
    let orders = account.orders.values().filter(|order| order.client_id == id).count();
    orders + account.stops.values().filter(|stop| stop.client_id == id).count()
}

/// After what was just kept away nothing at all is asked until the time is over.
async fn silent(world: &mut World, came: usize, ms: u64) {
    world.until("what is kept away", |world| wanted(world).len() == came).await;
    let asked = world.fake.signed().len();
    world.run_for(ms - 200).await;
    assert_eq!(world.fake.signed()[asked..], [] as [String; 0]);
}

#[test]
fn an_entry_is_given_up_and_told() {
    for (fault, ms, words) in WAYS {
        play(async move {
            let mut world = two(|_| {}).await;
            world.fake.private_faults([Some(fault)]);
            world.trade("a", BTC, r#""action":"buy","quantity":0.01"#);
            silent(&mut world, 1, ms).await;
            let told =
                |(code, _, text): &&(&str, _, String)| *code == "order_not_sent" && text.contains(words);
            assert_eq!(world.alerts.iter().filter(told).count(), 1, "{fault:?}: {:?}", world.alerts);
            world.quiet(7).await;
            assert_eq!((wanted(&world).len(), world.fake.account(KEY).orders.len()), (1, 0), "{fault:?}");
            world.trade("a", BTC, r#""action":"buy","quantity":0.01"#);
            holds(&mut world, "a", "0.01").await;
            settled(&mut world).await;
        });
    }
}

#[test]
fn an_exit_leaves_again_when_it_may() {
    for (fault, ms, _) in WAYS {
        play(async move {
            let mut world = two(|_| {}).await;
            world.trade("a", BTC, r#""action":"long","quantity":0.03"#);
            holds(&mut world, "a", "0.03").await;
            world.run_for(3_000).await;
            world.fake.private_faults([Some(fault)]);
            world.trade("a", BTC, r#""action":"flat""#);
            silent(&mut world, 2, ms).await;
            holds(&mut world, "a", "0").await;
            settled(&mut world).await;
            let ids = wanted(&world);
            assert!(ids.len() == 3 && ids[1] == ids[2] && there(&world, &ids[1]) == 1, "{fault:?}: {ids:?}");
            assert_eq!(world.told("exit_delayed"), ms > 60_000, "{fault:?}: {:?}", world.alerts);
        });
    }
}

#[test]
fn a_stop_is_put_again_when_it_may() {
    for (fault, ms, _) in WAYS {
        play(async move {
            let mut world = two(|_| {}).await;
            world.fake.private_faults([None, Some(fault)]);
            world.trade("a", BTC, r#""action":"long","quantity":0.03,"stop_loss":9000"#);
            silent(&mut world, 2, ms).await;
            world.until("a stop", |world| stops_there(world).len() == 1).await;
            settled(&mut world).await;
            let ids = wanted(&world);
            assert!(ids.len() == 3 && ids[1] == ids[2] && there(&world, &ids[1]) == 1, "{fault:?}: {ids:?}");
            assert!(!world.told("stop_not_kept"), "{fault:?}: {:?}", world.alerts);
        });
    }
}

#[test]
fn a_cancel_is_asked_again_when_it_may() {
    for (fault, ms, _) in WAYS {
        play(async move {
            let mut world = two(|_| {}).await;
            world.trade("a", BTC, r#""action":"buy","quantity":0.01,"order_type":"limit","price":9000"#);
            world.run_for(3_000).await;
            world.fake.private_faults([Some(fault)]);
            world.trade("a", BTC, r#""action":"flat""#);
            let cancels = |world: &World| {
                world.fake.signed().iter().filter(|asked| asked.contains("/trade/cancel-order")).count()
            };
            world.until("the cancel", |world| cancels(world) == 1).await;
            world.run_for(ms - 200).await;
            assert_eq!(cancels(&world), 1, "{fault:?}");
            let state = |world: &World| world.fake.account(KEY).orders.values().next().unwrap().state;
            assert_eq!(state(&world), "live", "{fault:?}");
            world.until("its end", |world| world.engine.state().orders.is_empty()).await;
            assert_eq!(state(&world), "canceled", "{fault:?}");
            settled(&mut world).await;
            assert_eq!(wanted(&world).len(), 1, "{fault:?}");
        });
    }
}
