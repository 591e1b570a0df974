//! The gateway against a fake venue: what becomes of each request, whatever happens on the way.

mod config;
mod faults;
mod fills;
mod kept_away;
mod large;
mod rates;
mod secrets;
mod simulation;
mod whole;

use std::collections::BTreeMap;
use std::time::Duration;

use rust_decimal::Decimal;
use tokio::sync::mpsc;
use tradebus::daemon::clock::Clock;
use tradebus::daemon::feed::blofin::Access;
use tradebus::daemon::gateway::account::{Account, AccountSetup};
use tradebus::daemon::gateway::client::Client;
use tradebus::daemon::gateway::{Gateways, Incoming, PrivateLink};
use tradebus::model::ids::{AccountId, ClientOrderId, Symbol, VenueOrderId};
use tradebus::model::instrument::Instrument;
use tradebus::model::order::{OrderType, Side};
use tradebus::model::time::Timestamp;
use tradebus::model::trading::{
    AccountReport, AccountSnapshot, Dispatch, Environment, MarginMode, OrderCategory, PlaceOrder, PlaceStop,
    PositionSide, VenueReport, VenueRequest,
};
use tradebus::venue::blofin::private::sign::Keys;

use crate::rig::{price, quantity};
use crate::support::fake_blofin::{FakeAccount, FakeBlofin, Stats, now_ms};

/// The only account.
pub const KEY: &str = "test-api-key";
const SECRET: &str = "test-api-secret";
const PASSPHRASE: &str = "test-passphrase";
const PAIR: &str = "BTC-USDT";

/// A fake with a price, its account, and a gateway to it.
struct Scene {
    fake: FakeBlofin,
    gateways: Gateways,
    reports: mpsc::Receiver<Incoming>,
    /// Reports that were passed over.
    passed: Vec<VenueReport>,
    count: usize,
}

/// A fake with a quote of 96,999 to 97,001 and one account.
async fn venue() -> FakeBlofin {
    let fake = FakeBlofin::start(&[PAIR, "ETH-USDT"]).await;
    fake.trade(PAIR, "97000", "1");
    fake.quote(PAIR, "96999", "97001");
    fake.open_account(FakeAccount::new(KEY, SECRET, PASSPHRASE));
    fake
}

fn keys() -> Keys {
    Keys { api_key: KEY.into(), secret: SECRET.into(), passphrase: PASSPHRASE.into() }
}

/// A gateway to a fake.
fn gateway(fake: &FakeBlofin, keys: Keys, inbox: usize) -> (Gateways, mpsc::Receiver<Incoming>) {
    let access = Access::new(&fake.rest_url(), &fake.ws_url(), None).expect("a way to the fake");
    gateway_with(fake, &access, keys, inbox)
}

/// The same that shares its address with others.
fn gateway_with(
    fake: &FakeBlofin,
    access: &Access,
    keys: Keys,
    inbox: usize,
) -> (Gateways, mpsc::Receiver<Incoming>) {
    let chance = "0123456789abcdef0123".to_owned();
    let client = Client::new(
        &fake.rest_url(),
        &access.tls(),
        keys,
        Clock::steady(Timestamp::from_ms(now_ms())),
        chance,
    );
    let link = PrivateLink { url: fake.ws_private_url(), tls: access.tls(), gate: access.gate() };
    let setup = AccountSetup {
        id: AccountId::new("main").unwrap(),
        environment: Environment::Demo,
        margin_mode: MarginMode::Cross,
        leverage: 3,
        symbols: vec![Symbol::new(PAIR).unwrap()],
        currency: "USDT".into(),
        broker_id: None,
    };
    let (sender, reports) = mpsc::channel(inbox);
    let mut gateways = Gateways::default();
    gateways.add(Account::new(setup, client.expect("a client"), access.rest(), sender), link);
    (gateways, reports)
}

impl Scene {
    /// Waits until the link is up.
    async fn start() -> Scene {
        Scene::at(venue().await).await
    }

    async fn at(fake: FakeBlofin) -> Scene {
        let (gateways, reports) = gateway(&fake, keys(), 1_024);
        let mut scene = Scene { fake, gateways, reports, passed: Vec::new(), count: 0 };
        scene.until("a link", |report| matches!(report, VenueReport::Link { up: true, .. })).await;
        scene
    }

    fn send(&self, request: VenueRequest) {
        let account = AccountId::new("main").unwrap();
        self.gateways.dispatcher.send(Dispatch { account, request });
    }

    async fn next(&mut self) -> VenueReport {
        let next = tokio::time::timeout(Duration::from_secs(60), self.reports.recv()).await;
        let AccountReport { report, .. } =
            next.expect("a report within a minute").expect("a gateway").expect("no end of the daemon");
        report
    }

    /// The next report that fits.
    async fn until(&mut self, what: &str, fits: impl Fn(&VenueReport) -> bool) -> VenueReport {
        loop {
            let report = self.next().await;
            if fits(&report) {
                return report;
            }
            assert!(self.passed.len() < 10_000, "{what} did not come");
            self.passed.push(report);
        }
    }

    /// What became of an order that was sent.
    async fn fate(&mut self, id: ClientOrderId) -> VenueReport {
        self.until("the fate of an order", |report| match report {
            VenueReport::Acknowledged { order_id, .. }
            | VenueReport::Refused { order_id, .. }
            | VenueReport::NotSent { order_id, .. }
            | VenueReport::Unanswered { order_id } => *order_id == id,
            _ => false,
        })
        .await
    }

    /// An order under a new id.
    fn order(&mut self) -> PlaceOrder {
        self.count += 1;
        PlaceOrder {
            order_id: id(self.count),
            instrument: bitcoin(),
            side: Side::Buy,
            order_type: OrderType::Market,
            quantity: quantity("0.01"),
            reduce_only: false,
            margin_mode: MarginMode::Cross,
            position_side: PositionSide::Net,
            expires: Timestamp::from_ms(now_ms() + 10_000),
        }
    }

    /// Sends an order and gives what became of it.
    async fn place(&mut self, order: PlaceOrder) -> VenueReport {
        let id = order.order_id;
        self.send(VenueRequest::Place(Box::new(order)));
        self.fate(id).await
    }

    async fn look_up(&mut self, order_id: ClientOrderId) -> VenueReport {
        let (symbol, asked) = (Symbol::new(PAIR).unwrap(), Timestamp::from_ms(5));
        self.send(VenueRequest::Lookup { order_id, symbol, asked });
        self.until("an answer to a lookup", |report| match report {
            VenueReport::Order(order) => order.order_id == Some(order_id),
            VenueReport::NotFound { order_id: id, asked: then } => *id == order_id && *then == asked,
            _ => false,
        })
        .await
    }

    async fn snapshot(&mut self, known: Option<VenueOrderId>) -> AccountSnapshot {
        let asked = Timestamp::from_ms(now_ms());
        let fills_after = BTreeMap::from([(Symbol::new(PAIR).unwrap(), known)]);
        self.send(VenueRequest::Snapshot { asked, fills_after, since: Timestamp::from_ms(0) });
        match self.until("a snapshot", |report| matches!(report, VenueReport::Snapshot(_))).await {
            VenueReport::Snapshot(snapshot) => *snapshot,
            _ => unreachable!("only snapshots fit"),
        }
    }

    fn account(&self) -> FakeAccount {
        self.fake.account(KEY)
    }

    /// No rule of the venue was broken.
    fn clean(&self) -> Stats {
        let stats = self.fake.stats();
        assert!(stats.violations.is_empty(), "{:?}", stats.violations);
        stats
    }
}

fn bitcoin() -> Instrument {
    let lot = quantity("0.1");
    Instrument::new(Symbol::new(PAIR).unwrap(), price("0.1"), lot, lot, quantity("0.001")).unwrap()
}

/// The id of an order, like one that the engine makes.
fn id(count: usize) -> ClientOrderId {
    let digits = data_encoding::BASE32_NOPAD.encode(&[0; 16]).to_lowercase();
    let tail = data_encoding::BASE32_NOPAD.encode(&(count as u64).to_be_bytes()[4..]).to_lowercase();
    ClientOrderId::new(&format!("{}{tail}", &digits[..25])).unwrap()
}

#[tokio::test]
async fn the_account_is_checked_first_and_the_leverage_set() {
    let fake = venue().await;
    fake.change_account(KEY, |account| {
        account.leverages.insert((PAIR.into(), "cross".into()), 10);
        account.uid = "4711".into();
    });
    let (_gateways, mut reports) = gateway(&fake, keys(), 64);
    let mut first = Vec::new();
    while first.len() < 3 {
        first.push(reports.recv().await.unwrap().unwrap().report);
    }
    assert_eq!(first[0], VenueReport::Skew { ms: 0 });
    let VenueReport::Check(check) = &first[1] else { panic!("{first:?}") };
    assert_eq!((check.uid.as_str(), check.read_only, check.ip_bound), ("4711", false, true));
    assert_eq!(check.leverages, [(Symbol::new(PAIR).unwrap(), 3)]);
    assert_eq!(fake.account(KEY).leverage(PAIR, "cross"), 3);
    assert!(fake.stats().violations.is_empty(), "{:?}", fake.stats().violations);
}

#[tokio::test]
async fn an_order_is_acknowledged_fills_and_is_found_again() {
    let mut scene = Scene::start().await;
    let order = scene.order();
    let id = order.order_id;
    let VenueReport::Acknowledged { venue_order_id, .. } = scene.place(order).await else {
        panic!("refused")
    };
    let found = loop {
        // The stream may tell where it stood before.
        let VenueReport::Order(found) = scene.look_up(id).await else { panic!("not found") };
        if found.filled_quantity == quantity("0.01") {
            break found;
        }
    };
    assert_eq!(Some(found.venue_order_id), venue_order_id);
    assert_eq!(found.average_price, Some(price("97001")));
    assert_eq!(found.fee.map(|fee| fee.to_string()).as_deref(), Some("0.582006"));
    let absent = self::id(99);
    assert!(matches!(scene.look_up(absent).await, VenueReport::NotFound { .. }));
    let snapshot = scene.snapshot(None).await;
    assert_eq!(snapshot.positions[0].quantity, quantity("0.01"));
    assert_eq!(snapshot.fills.len(), 1);
    assert_eq!(snapshot.orders_ended[0].order_id, Some(id));
    let known = snapshot.fills[0].trade_id;
    assert!(scene.snapshot(Some(known)).await.fills.is_empty());
    scene.clean();
}

#[tokio::test]
async fn cancels_partial_fills_and_stops() {
    let mut scene = Scene::start().await;
    let mut rests = scene.order();
    rests.order_type = OrderType::Limit { price: price("96000") };
    let id = rests.order_id;
    let VenueReport::Acknowledged { .. } = scene.place(rests).await else { panic!("refused") };
    scene.fake.fill_part(KEY, id.as_str(), "4");
    let part = scene
        .until(
            "a part",
            |report| matches!(report, VenueReport::Order(o) if o.filled_quantity == quantity("0.004")),
        )
        .await;
    let VenueReport::Order(part) = part else { panic!() };
    let symbol = Symbol::new(PAIR).unwrap();
    // Without the venue's id: the gateway has learnt it.
    scene.send(VenueRequest::Cancel { order_id: id, venue_order_id: None, symbol });
    scene
        .until("its end", |report| {
            matches!(report, VenueReport::Order(o) if o.venue_order_id == part.venue_order_id
                && o.status == tradebus::model::trading::VenueOrderStatus::Cancelled)
        })
        .await;
    scene.send(VenueRequest::Cancel { order_id: id, venue_order_id: None, symbol });
    let refused =
        scene.until("a refusal", |report| matches!(report, VenueReport::CancelRefused { .. })).await;
    assert!(matches!(refused, VenueReport::CancelRefused { refusal, .. } if refusal.code == "102068"));
    // A stop that is touched makes an order that names it.
    let stop_id = self::id(50);
    scene.send(VenueRequest::PlaceStop(Box::new(PlaceStop {
        stop_id,
        instrument: bitcoin(),
        side: Side::Sell,
        quantity: quantity("0.004"),
        stop_loss: Some(price("95000")),
        take_profit: Some(price("99000")),
        margin_mode: MarginMode::Cross,
        position_side: PositionSide::Net,
        expires: Timestamp::from_ms(now_ms() + 10_000),
    })));
    assert!(matches!(scene.fate(stop_id).await, VenueReport::Acknowledged { .. }));
    assert_eq!(scene.snapshot(None).await.stops[0].stop_id, Some(stop_id));
    scene.fake.quote(PAIR, "94999", "95001");
    scene.fake.trade(PAIR, "95000", "1");
    let made = scene
        .until("its order", |report| matches!(report, VenueReport::Order(o) if o.stop_id == Some(stop_id)))
        .await;
    let VenueReport::Order(made) = made else { panic!("no order") };
    assert_eq!(made.category, OrderCategory::StopLoss);
    assert!(scene.fake.held(KEY, PAIR).is_zero());
    scene.clean();
}

#[tokio::test]
async fn a_snapshot_has_all_pages() {
    let mut scene = Scene::start().await;
    scene.fake.change_account(KEY, |account| {
        for count in 0..230_usize {
            let mut order = account.foreign(PAIR, "buy", Decimal::ONE, "normal");
            order.client_id = id(1_000 + count).to_string();
            order.order_type = "limit".into();
            order.price = Decimal::from(90_000);
            account.orders.insert(order.id, order);
        }
    });
    for _ in 0..3 {
        scene.fake.foreign_order(KEY, PAIR, "sell", "1", "adl");
    }
    scene.fake.pay_funding(KEY, PAIR, "-1.25");
    let snapshot = scene.snapshot(None).await;
    assert_eq!(snapshot.orders.len(), 230);
    assert_eq!((snapshot.fills.len(), snapshot.orders_ended.len()), (3, 3));
    assert!(snapshot.fills.windows(2).all(|pair| pair[0].trade_id < pair[1].trade_id));
    let funding = scene.passed.iter().find_map(|report| match report {
        VenueReport::Funding(funding) => Some(funding.amount.to_string()),
        _ => None,
    });
    let funding = match funding {
        Some(amount) => amount,
        None => match scene.until("funding", |report| matches!(report, VenueReport::Funding(_))).await {
            VenueReport::Funding(funding) => funding.amount.to_string(),
            _ => unreachable!("only funding fits"),
        },
    };
    assert_eq!(funding, "-1.25");
    scene.clean();
}
