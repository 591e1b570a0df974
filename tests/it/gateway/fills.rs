//! Fills of several pairs: a venue counts those of each pair, so that an id says nothing about another pair's.

use std::collections::BTreeMap;

use tradebus::model::ids::{Symbol, VenueOrderId};
use tradebus::model::time::Timestamp;
use tradebus::model::trading::{VenueReport, VenueRequest};

use super::{KEY, PAIR, Scene};
use crate::support::fake_blofin::now_ms;

const OTHER: &str = "ETH-USDT";

/// Fills of both pairs were made; of those beyond the known ones so many are told, and none twice.
async fn check(made: [u64; 2], known: [Option<u64>; 2], told: [usize; 2]) {
    let mut scene = Scene::start().await;
    scene.fake.change_account(KEY, |account| {
        account.filled_in_parts(PAIR, made[0]);
        account.filled_in_parts(OTHER, made[1]);
    });
    let pairs = [PAIR, OTHER].map(|pair| Symbol::new(pair).unwrap());
    let id = |id: u64| VenueOrderId::new(&id.to_string()).unwrap();
    let fills_after = BTreeMap::from([0, 1].map(|n| (pairs[n], known[n].map(id))));
    let asked = Timestamp::from_ms(now_ms());
    scene.send(VenueRequest::Snapshot { asked, fills_after, since: Timestamp::from_ms(0) });
    let report = scene.until("a snapshot", |report| matches!(report, VenueReport::Snapshot(_))).await;
    let VenueReport::Snapshot(snapshot) = report else { panic!("no snapshot") };
    let ids = |n: usize| -> Vec<VenueOrderId> {
        let fills = snapshot.fills.iter().filter(|fill| fill.symbol == pairs[n]);
        fills.map(|fill| fill.trade_id).collect()
    };
    for n in [0, 1] {
        let last = made[n] + 1 - told[n] as u64;
        assert_eq!(ids(n), (last..=made[n]).map(id).collect::<Vec<_>>(), "{made:?} {known:?}");
    }
    scene.clean();
}

#[tokio::test]
async fn what_is_new_is_told_of_each_pair() {
    check([3, 2], [None, None], [3, 2]).await;
    // A pair that was traded seldom has lower ids.
    check([70, 2], [Some(70), None], [0, 2]).await;
    check([70, 2], [Some(69), Some(1)], [1, 1]).await;
    // More than a page: by pairs, and page by page.
    check([130, 120], [Some(129), None], [1, 120]).await;
    check([130, 230], [None, Some(10)], [130, 220]).await;
}
