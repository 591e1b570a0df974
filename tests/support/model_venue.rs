//! A venue as a model: it keeps orders by our ids, fills them, refuses what a venue refuses, and tells where all is.
//!
//! No sockets and no clock: requests in, reports out. Figures are those of BloFin in base units: cumulative ones with a
//! rounded mean price in orders, exact ones in fills.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use tradebus::model::amount::{Money, Price, Quantity};
use tradebus::model::ids::{ClientOrderId, Symbol, VenueOrderId};
use tradebus::model::order::{OrderType, Side};
use tradebus::model::time::Timestamp;
use tradebus::model::trading::{
    AccountSnapshot, OrderCategory, OrderState, PlaceOrder, PositionSide, VenueBalance, VenueFill,
    VenueOrderStatus, VenuePosition, VenueRefusal, VenueReport, VenueRequest,
};

use super::random::Random;

/// How long a signed request is good, in milliseconds.
const SIGNATURE_MS: i64 = 60_000;

/// One order in its book.
#[derive(Clone, Debug)]
pub struct BookOrder {
    pub place: PlaceOrder,
    pub id: VenueOrderId,
    pub status: VenueOrderStatus,
    pub filled: Quantity,
    /// Sum of price x quantity, exact.
    pub gross: Decimal,
    pub fee: Money,
    pub time: Timestamp,
}

/// The venue.
#[derive(Debug, Default)]
pub struct ModelVenue {
    pub orders: BTreeMap<ClientOrderId, BookOrder>,
    pub fills: Vec<VenueFill>,
    pub prices: BTreeMap<Symbol, Price>,
    /// What is pushed on the private stream.
    pub pushed: Vec<VenueReport>,
    /// Whether it refuses orders at random.
    pub moody: bool,
    next_id: u64,
}

impl ModelVenue {
    /// Moves a price; what rests may fill, in parts.
    pub fn set_price(&mut self, now: Timestamp, symbol: Symbol, price: Price, random: &mut Random) {
        self.prices.insert(symbol, price);
        let ids: Vec<ClientOrderId> = self.orders.keys().copied().collect();
        for id in ids {
            let order = &self.orders[&id];
            if order.place.instrument.symbol() == symbol && is_open(order.status) {
                self.match_order(now, id, random);
            }
        }
    }

    /// Answers a request, as far as it has an answer.
    pub fn request(
        &mut self,
        now: Timestamp,
        request: &VenueRequest,
        random: &mut Random,
    ) -> Option<VenueReport> {
        match request {
            VenueRequest::Place(place) => Some(self.place(now, place, random)),
            VenueRequest::Cancel { order_id, .. } => self.cancel(now, *order_id),
            VenueRequest::Lookup { order_id, asked, .. } => Some(match self.orders.get(order_id) {
                Some(order) => VenueReport::Order(Box::new(state_of(order))),
                None => VenueReport::NotFound { order_id: *order_id, asked: *asked },
            }),
            VenueRequest::Snapshot { asked, fills_after, since } => {
                Some(self.snapshot(now, *asked, *fills_after, *since))
            }
            _ => None,
        }
    }

    /// The signed position.
    pub fn position(&self, symbol: Symbol) -> Quantity {
        let own = self.fills.iter().filter(|fill| fill.symbol == symbol);
        own.map(|fill| fill.side.signed(fill.quantity)).sum()
    }

    fn place(&mut self, now: Timestamp, place: &PlaceOrder, random: &mut Random) -> VenueReport {
        let order_id = place.order_id;
        let refuse = |code: &str, duplicate, transient| VenueReport::Refused {
            order_id,
            refusal: VenueRefusal { code: code.into(), text: "no".into(), duplicate, transient },
        };
        if now > place.expires.plus_ms(SIGNATURE_MS) {
            return refuse("152405", false, false);
        }
        if self.orders.contains_key(&order_id) {
            return refuse("102002", true, false);
        }
        if self.moody && random.one_in(25) {
            return refuse("103013", false, true);
        }
        if self.moody && !place.reduce_only && random.one_in(25) {
            return refuse("103003", false, false);
        }
        let symbol = place.instrument.symbol();
        let held = self.position(symbol);
        let opposed = !held.is_zero() && Side::of(held) != place.side;
        let mut place = place.clone();
        if place.reduce_only {
            if !opposed {
                return refuse("102022", false, false);
            }
            place.quantity = place.quantity.min(held.abs());
        }
        let id = self.id();
        let (status, filled, gross, fee) =
            (VenueOrderStatus::Live, Quantity::ZERO, Decimal::ZERO, Money::ZERO);
        let order = BookOrder { place, id, status, filled, gross, fee, time: now };
        self.pushed.push(VenueReport::Order(Box::new(state_of(&order))));
        self.orders.insert(order_id, order);
        self.match_order(now, order_id, random);
        VenueReport::Acknowledged { order_id, venue_order_id: Some(id) }
    }

    /// Fills an order in up to three parts, and leaves some of it for later now and then.
    fn match_order(&mut self, now: Timestamp, order_id: ClientOrderId, random: &mut Random) {
        for _ in 0..3 {
            let order = &self.orders[&order_id];
            let (side, symbol) = (order.place.side, order.place.instrument.symbol());
            let market = self.prices[&symbol];
            let price = match order.place.order_type {
                OrderType::Market => {
                    let steps = Decimal::from(random.below(30)) * order.place.instrument.tick_size().value();
                    let away = if side == Side::Buy { steps } else { -steps };
                    Price::new(market.value() + away)
                }
                OrderType::Limit { price } if side == Side::Buy && market <= price => price.min(market),
                OrderType::Limit { price } if side == Side::Sell && market >= price => price.max(market),
                OrderType::Limit { .. } => return,
            };
            let left = order.place.quantity - order.filled;
            let part = Quantity::new(left.value() * Decimal::from(1 + random.below(3)) / Decimal::from(3));
            let part = order.place.instrument.round_quantity(part);
            let part = if part.is_zero() || random.one_in(2) { left } else { part };
            let fee = self.execute(now, order.id, symbol, side, part, price);
            let order = self.orders.get_mut(&order_id).expect("it is there");
            order.filled += part;
            order.gross += price.value() * part.value();
            order.fee += fee;
            order.time = now;
            let done = order.filled == order.place.quantity;
            order.status = if done { VenueOrderStatus::Filled } else { VenueOrderStatus::PartlyFilled };
            self.pushed.push(VenueReport::Order(Box::new(state_of(order))));
            if done || random.one_in(3) {
                return;
            }
        }
    }

    fn execute(
        &mut self,
        now: Timestamp,
        venue_order_id: VenueOrderId,
        symbol: Symbol,
        side: Side,
        quantity: Quantity,
        price: Price,
    ) -> Money {
        let ratio = Decimal::new(6, 4);
        let fee = Money::new(price.value() * quantity.value() * ratio).rounded();
        self.next_id += 1;
        self.fills.push(VenueFill {
            trade_id: VenueOrderId::new(&format!("t{:08}", self.next_id)).unwrap(),
            venue_order_id,
            symbol,
            side,
            position_side: PositionSide::Net,
            quantity,
            price,
            fee,
            time: now,
        });
        fee
    }

    fn cancel(&mut self, now: Timestamp, order_id: ClientOrderId) -> Option<VenueReport> {
        match self.orders.get_mut(&order_id).filter(|order| is_open(order.status)) {
            Some(order) => {
                order.status = VenueOrderStatus::Cancelled;
                order.time = now;
                self.pushed.push(VenueReport::Order(Box::new(state_of(order))));
                None
            }
            None => {
                let (code, text) = ("1000".into(), "filled, cancelled or unknown".into());
                let refusal = VenueRefusal { code, text, duplicate: false, transient: false };
                Some(VenueReport::CancelRefused { order_id, refusal })
            }
        }
    }

    fn snapshot(
        &self,
        now: Timestamp,
        asked: Timestamp,
        after: Option<VenueOrderId>,
        since: Timestamp,
    ) -> VenueReport {
        let told = |fill: &&VenueFill| match after {
            Some(after) => fill.trade_id > after,
            None => fill.time >= since,
        };
        let fills: Vec<VenueFill> = self.fills.iter().filter(told).cloned().collect();
        let ended = |order: &&BookOrder| {
            !is_open(order.status) && fills.iter().any(|fill| fill.venue_order_id == order.id)
        };
        let zero = Money::ZERO;
        VenueReport::Snapshot(Box::new(AccountSnapshot {
            asked,
            positions: self.positions(now),
            orders: self.orders.values().filter(|order| is_open(order.status)).map(state_of).collect(),
            stops: Vec::new(),
            orders_ended: self.orders.values().filter(ended).map(state_of).collect(),
            fills,
            balance: VenueBalance { balance: zero, equity: zero, available: zero, time: now },
        }))
    }

    fn positions(&self, now: Timestamp) -> Vec<VenuePosition> {
        let all = self.prices.keys().map(|symbol| VenuePosition {
            symbol: *symbol,
            position_side: PositionSide::Net,
            quantity: self.position(*symbol),
            entry_price: None,
            liquidation_price: None,
            time: now,
        });
        all.filter(|position| !position.quantity.is_zero()).collect()
    }

    fn id(&mut self) -> VenueOrderId {
        self.next_id += 1;
        VenueOrderId::new(&format!("v{:08}", self.next_id)).unwrap()
    }
}

pub fn is_open(status: VenueOrderStatus) -> bool {
    matches!(status, VenueOrderStatus::Live | VenueOrderStatus::PartlyFilled)
}

fn state_of(order: &BookOrder) -> OrderState {
    let mean = order.gross.checked_div(order.filled.value()).map(|mean| Price::new(mean.round_dp(6)));
    OrderState {
        order_id: Some(order.place.order_id),
        stop_id: None,
        venue_order_id: order.id,
        venue_stop_id: None,
        symbol: order.place.instrument.symbol(),
        side: order.place.side,
        position_side: PositionSide::Net,
        category: OrderCategory::Normal,
        status: order.status,
        quantity: order.place.quantity,
        filled_quantity: order.filled,
        average_price: mean,
        fee: Some(order.fee),
        time: order.time,
    }
}
