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
    AccountSnapshot, OrderCategory, OrderState, PlaceOrder, PlaceStop, PositionSide, StopState, VenueBalance,
    VenueFill, VenueOrderStatus, VenuePosition, VenueRefusal, VenueReport, VenueRequest, VenueStopStatus,
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
    /// Orders that the venue made itself.
    pub own: Vec<OrderState>,
    /// Stops by our ids.
    pub stops: BTreeMap<ClientOrderId, StopState>,
    /// Whether it refuses orders at random.
    pub moody: bool,
    next_id: u64,
}

impl ModelVenue {
    /// Moves a price; what rests may fill, in parts.
    pub fn set_price(&mut self, now: Timestamp, symbol: Symbol, price: Price, random: &mut Random) {
        self.prices.insert(symbol, price);
        self.trigger_stops(now, symbol, price);
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
                Some(self.snapshot(now, *asked, fills_after, *since))
            }
            VenueRequest::PlaceStop(place) => Some(self.place_stop(now, place)),
            VenueRequest::CancelStop { stop_id, .. } => {
                let stop = self.stops.get_mut(stop_id).filter(|s| s.status == VenueStopStatus::Live)?;
                stop.status = VenueStopStatus::Cancelled;
                Some(VenueReport::Stop(Box::new(stop.clone())))
            }
            VenueRequest::LookupStop { stop_id, asked, .. } => Some(match self.stops.get(stop_id) {
                Some(stop) => VenueReport::Stop(Box::new(stop.clone())),
                None => VenueReport::NotFound { order_id: *stop_id, asked: *asked },
            }),
        }
    }

    fn place_stop(&mut self, now: Timestamp, place: &PlaceStop) -> VenueReport {
        let order_id = place.stop_id;
        let late = now > place.expires.plus_ms(SIGNATURE_MS);
        if late || self.stops.contains_key(&order_id) {
            let (code, text) = (if late { "152405" } else { "102002" }.into(), "no".into());
            let refusal = VenueRefusal { code, text, duplicate: !late, transient: false };
            return VenueReport::Refused { order_id, expires: place.expires, refusal };
        }
        let venue_order_id = self.id();
        let stop = StopState {
            stop_id: Some(order_id),
            venue_order_id,
            symbol: place.instrument.symbol(),
            side: place.side,
            status: VenueStopStatus::Live,
            quantity: Some(place.quantity),
            stop_loss: place.stop_loss,
            take_profit: place.take_profit,
            time: now,
        };
        self.stops.insert(order_id, stop);
        VenueReport::Acknowledged { order_id, venue_order_id: Some(venue_order_id) }
    }

    /// What a price touches becomes an order at the market, reduce-only.
    fn trigger_stops(&mut self, now: Timestamp, symbol: Symbol, price: Price) {
        let touched = |stop: &StopState| {
            let (low, high) = match stop.side {
                Side::Sell => (stop.stop_loss, stop.take_profit),
                Side::Buy => (stop.take_profit, stop.stop_loss),
            };
            stop.status == VenueStopStatus::Live
                && stop.symbol == symbol
                && (low.is_some_and(|low| price <= low) || high.is_some_and(|high| price >= high))
        };
        let ids: Vec<ClientOrderId> =
            self.stops.iter().filter(|(_, stop)| touched(stop)).map(|(id, _)| *id).collect();
        for id in ids {
            let stop = self.stops.get_mut(&id).expect("it is there");
            stop.status = VenueStopStatus::Triggered;
            let stop = stop.clone();
            self.pushed.push(VenueReport::Stop(Box::new(stop.clone())));
            let held = self.position(symbol);
            if held.is_zero() || Side::of(held) == stop.side {
                continue;
            }
            let quantity = stop.quantity.expect("ours have a size").min(held.abs());
            let of_stop = (Some(id), Some(stop.venue_order_id));
            self.make(now, symbol, stop.side, quantity, OrderCategory::StopLoss, of_stop);
        }
    }

    /// The venue closes a part of a position because it must.
    pub fn liquidate(&mut self, now: Timestamp, symbol: Symbol, lot: Quantity) {
        let held = self.position(symbol);
        if !held.is_zero() {
            let side = Side::of(held).opposite();
            self.make(now, symbol, side, held.abs().min(lot), OrderCategory::Liquidation, (None, None));
        }
    }

    fn make(
        &mut self,
        now: Timestamp,
        symbol: Symbol,
        side: Side,
        quantity: Quantity,
        category: OrderCategory,
        (stop_id, venue_stop_id): (Option<ClientOrderId>, Option<VenueOrderId>),
    ) {
        let (id, price) = (self.id(), self.prices[&symbol]);
        let fee = self.execute(now, id, symbol, side, quantity, price);
        let state = OrderState {
            order_id: None,
            stop_id,
            venue_order_id: id,
            venue_stop_id,
            symbol,
            side,
            position_side: PositionSide::Net,
            category,
            status: VenueOrderStatus::Filled,
            quantity,
            filled_quantity: quantity,
            average_price: Some(price),
            fee: Some(fee),
            time: now,
        };
        self.pushed.push(VenueReport::Order(Box::new(state.clone())));
        self.own.push(state);
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
            expires: place.expires,
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
        // Each pair has its own count, as at the venue.
        let count = self.fills.iter().filter(|fill| fill.symbol == symbol).count() + 1;
        self.fills.push(VenueFill {
            trade_id: VenueOrderId::new(&format!("t{count:08}")).unwrap(),
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
        after: &BTreeMap<Symbol, Option<VenueOrderId>>,
        since: Timestamp,
    ) -> VenueReport {
        let known = |fill: &VenueFill| after.get(&fill.symbol).copied().flatten();
        let told =
            |fill: &&VenueFill| fill.time >= since && known(fill).is_none_or(|known| fill.trade_id > known);
        let fills: Vec<VenueFill> = self.fills.iter().filter(told).cloned().collect();
        let ended = |order: &&BookOrder| {
            !is_open(order.status) && fills.iter().any(|fill| fill.venue_order_id == order.id)
        };
        let told = |order: &&OrderState| fills.iter().any(|fill| fill.venue_order_id == order.venue_order_id);
        let own = self.own.iter().filter(told).cloned();
        let money = Money::new(Decimal::from(1_000_000));
        VenueReport::Snapshot(Box::new(AccountSnapshot {
            asked,
            positions: self.positions(now),
            orders: self.orders.values().filter(|order| is_open(order.status)).map(state_of).collect(),
            stops: self.stops.values().filter(|s| s.status == VenueStopStatus::Live).cloned().collect(),
            orders_ended: self.orders.values().filter(ended).map(state_of).chain(own).collect(),
            fills,
            balance: VenueBalance { balance: money, equity: money, available: money, time: now },
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
