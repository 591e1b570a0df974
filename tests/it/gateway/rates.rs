//! A day in bursts through the real gateway, on virtual time: the fake counts what arrives and refuses what is too
//! much.
//!
//! `HOURS=24` is the whole day; the suite takes a part of it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tradebus::daemon::backoff;
use tradebus::daemon::feed::blofin::Access;
use tradebus::daemon::gateway::Incoming;
use tradebus::model::ids::{AccountId, Symbol};
use tradebus::model::order::Side;
use tradebus::model::time::Timestamp;
use tradebus::model::trading::{Dispatch, VenueReport, VenueRequest};

use super::{PAIR, bitcoin, gateway_with, id, keys, quantity, venue};
use crate::rig;
use crate::support::fake_blofin::{begin_time, now_ms};

/// The longest time that an exit may wait, of the 10 s after which it would not leave any more.
const EXIT_WAIT_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
struct Seen {
    exits: usize,
    longest: Duration,
    entries: usize,
    expired: usize,
}

#[test]
fn bursts_break_no_limit_and_hold_up_no_exit() {
    let hours = std::env::var("HOURS").map_or(1, |text| text.parse::<u64>().unwrap());
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let seen = runtime.block_on(day(hours));
    println!("gateway-rates: {hours} h, {seen:?}");
    assert!(seen.longest <= EXIT_WAIT_MAX && seen.exits as u64 >= hours * 400, "{seen:?}");
    // Entries are not starved either, as far as the limits go.
    assert!(seen.entries as u64 >= hours * 500, "{seen:?}");
}

/// An order of a burst. None of them fits the account, so that the fake keeps nothing of it.
fn order(number: usize, exits: bool) -> VenueRequest {
    use tradebus::model::order::OrderType;
    use tradebus::model::trading::{MarginMode, PlaceOrder, PositionSide};
    VenueRequest::Place(Box::new(PlaceOrder {
        order_id: id(number),
        instrument: bitcoin(),
        side: if exits { Side::Sell } else { Side::Buy },
        order_type: OrderType::Market,
        quantity: quantity(if exits { "0.01" } else { "1000000" }),
        reduce_only: exits,
        margin_mode: MarginMode::Cross,
        position_side: PositionSide::Net,
        expires: Timestamp::from_ms(now_ms() + 10_000),
    }))
}

async fn day(hours: u64) -> Seen {
    backoff::fix_jitter(1);
    begin_time(rig::begin().as_ms());
    let fake = venue().await;
    let access = Access::new(&fake.rest_url(), &fake.ws_url(), None).expect("a way to the fake");
    let (gateways, mut reports) = gateway_with(&fake, &access, keys(), 1_024);
    let account = AccountId::new("main").unwrap();
    let send = |request: VenueRequest| gateways.dispatcher.send(Dispatch { account, request });
    // A feed that asks as often as it may.
    let rest = access.rest().clone();
    let feed = tokio::spawn(async move {
        loop {
            if rest.get("/api/v1/market/tickers").await.is_err() {
                sleep(Duration::from_millis(500)).await;
            }
        }
    });
    let (mut seen, mut number) = (Seen::default(), 0);
    let mut pending: std::collections::BTreeMap<_, (bool, Instant)> = std::collections::BTreeMap::new();
    let start = Instant::now();
    for burst in 0..hours * 180 {
        // Every 20 s: two exits and two lookups of them, twice as many each minute, and more entries than there is
        // room for.
        let exits = if burst % 3 == 0 { 4 } else { 2 };
        for count in 0..40 {
            number += 1;
            pending.insert(id(number), (count < exits, Instant::now()));
            send(order(number, count < exits));
            if count < exits {
                let (symbol, asked) = (Symbol::new(PAIR).unwrap(), Timestamp::from_ms(now_ms()));
                send(VenueRequest::Cancel { order_id: id(number + 1_000_000), venue_order_id: None, symbol });
                send(VenueRequest::Lookup { order_id: id(number), symbol, asked });
            }
        }
        let asked = Timestamp::from_ms(now_ms());
        send(VenueRequest::Snapshot { asked, fills_after: BTreeMap::new(), since: asked });
        let end = start + Duration::from_secs(20 * (burst + 1));
        hear(&mut reports, end, &mut pending, &mut seen).await;
    }
    feed.abort();
    assert!(pending.len() < 60, "{} orders without a word", pending.len());
    assert!(fake.stats().violations.is_empty(), "{:?}", fake.stats().violations);
    seen
}

async fn hear(
    reports: &mut mpsc::Receiver<Incoming>,
    end: Instant,
    pending: &mut std::collections::BTreeMap<tradebus::model::ids::ClientOrderId, (bool, Instant)>,
    seen: &mut Seen,
) {
    loop {
        let report = tokio::select! {
            biased;
            () = sleep_until(end) => return,
            report = reports.recv() => report.expect("a gateway").expect("no end of the daemon").report,
        };
        let (order_id, left) = match report {
            VenueReport::Refused { order_id, .. } => (order_id, true),
            VenueReport::NotSent { order_id, .. } => (order_id, false),
            other => {
                let lost = matches!(other, VenueReport::Unanswered { .. });
                assert!(!lost, "{other:?}");
                continue;
            }
        };
        let Some((exits, wanted)) = pending.remove(&order_id) else { continue };
        match (exits, left) {
            (true, true) => {
                seen.exits += 1;
                seen.longest = seen.longest.max(wanted.elapsed());
            }
            (true, false) => panic!("an exit did not leave"),
            (false, true) => seen.entries += 1,
            (false, false) => seen.expired += 1,
        }
    }
}
