//! What is asked about an account: method, path with query, and body, exactly as they are signed and sent.

use serde::Serialize;

use super::PAGE_ROWS;
use crate::model::amount::{Price, Quantity};
use crate::model::ids::{ClientOrderId, Symbol, VenueOrderId};
use crate::model::instrument::Instrument;
use crate::model::order::{OrderType, Side};
use crate::model::trading::{MarginMode, PlaceOrder, PlaceStop, PositionSide};

/// The most pairs that one question about leverage may name.
pub const LEVERAGE_PAIRS_MAX: usize = 20;
/// A price that stands for the market.
const AT_MARKET: &str = "-1";

/// How a request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Asks.
    Get,
    /// Changes something.
    Post,
}

impl Method {
    /// In capitals.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
        }
    }
}

/// A request before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// From `/api/v1` on, with the query.
    pub path: String,
    /// JSON without spaces; empty for a question.
    pub body: String,
}

/// Why an order makes no request. It was decided by figures that are not the venue's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    /// Not whole lots, or none at all.
    #[error("{quantity} of {symbol} is not a positive number of whole lots of {lot}")]
    Lots {
        /// The pair.
        symbol: Symbol,
        /// Base units that were wanted.
        quantity: Quantity,
        /// Base units of a lot.
        lot: Quantity,
    },
    /// Below the smallest order.
    #[error("{quantity} of {symbol} is below the minimum of {least}")]
    BelowMinimum {
        /// The pair.
        symbol: Symbol,
        /// Base units that were wanted.
        quantity: Quantity,
        /// Base units that are the least.
        least: Quantity,
    },
    /// Not whole ticks.
    #[error("a price of {price} for {symbol} is not a positive number of whole ticks of {tick}")]
    Tick {
        /// The pair.
        symbol: Symbol,
        /// The price.
        price: Price,
        /// The step.
        tick: Price,
    },
    /// A stop without a trigger.
    #[error("a protective stop has neither a stop loss nor a take profit")]
    NoTrigger,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OrderBody<'a> {
    inst_id: Symbol,
    margin_mode: &'static str,
    position_side: &'static str,
    side: &'static str,
    order_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<String>,
    size: String,
    reduce_only: &'static str,
    client_order_id: ClientOrderId,
    #[serde(skip_serializing_if = "Option::is_none")]
    broker_id: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StopBody<'a> {
    inst_id: Symbol,
    margin_mode: &'static str,
    position_side: &'static str,
    side: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tp_trigger_price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tp_order_price: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sl_trigger_price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sl_order_price: Option<&'static str>,
    size: String,
    reduce_only: &'static str,
    client_order_id: ClientOrderId,
    #[serde(skip_serializing_if = "Option::is_none")]
    broker_id: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CancelBody {
    inst_id: Symbol,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_id: Option<VenueOrderId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tpsl_id: Option<VenueOrderId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_order_id: Option<ClientOrderId>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LeverageBody {
    inst_id: Symbol,
    leverage: String,
    margin_mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    position_side: Option<&'static str>,
}

/// Sends an order. `broker_id` is for keys that are bound to a broker.
///
/// # Errors
/// When quantity or price are not in the steps of the order's instrument.
pub fn place(order: &PlaceOrder, broker_id: Option<&str>) -> Result<Request, Unsendable> {
    let symbol = order.instrument.symbol();
    let (order_type, price) = match order.order_type {
        OrderType::Market => ("market", None),
        OrderType::Limit { price } => ("limit", Some(shown_price(&order.instrument, price)?)),
    };
    Ok(post(
        "/api/v1/trade/order",
        &OrderBody {
            inst_id: symbol,
            margin_mode: margin_mode(order.margin_mode),
            position_side: position_side(order.position_side),
            side: order.side.as_str(),
            order_type,
            price,
            size: shown_contracts(&order.instrument, order.quantity)?,
            reduce_only: if order.reduce_only { "true" } else { "false" },
            client_order_id: order.order_id,
            broker_id,
        },
    ))
}

/// Puts a protective stop: at the market, reduce-only; with both triggers the first that is touched ends the other.
///
/// # Errors
/// When quantity or triggers are not in the steps of the stop's instrument, or there is no trigger.
pub fn place_stop(stop: &PlaceStop, broker_id: Option<&str>) -> Result<Request, Unsendable> {
    let trigger = |price: Option<Price>| price.map(|price| shown_price(&stop.instrument, price)).transpose();
    let (take, loss) = (trigger(stop.take_profit)?, trigger(stop.stop_loss)?);
    if take.is_none() && loss.is_none() {
        return Err(Unsendable::NoTrigger);
    }
    Ok(post(
        "/api/v1/trade/order-tpsl",
        &StopBody {
            inst_id: stop.instrument.symbol(),
            margin_mode: margin_mode(stop.margin_mode),
            position_side: position_side(stop.position_side),
            side: stop.side.as_str(),
            tp_order_price: take.as_ref().map(|_| AT_MARKET),
            tp_trigger_price: take,
            sl_order_price: loss.as_ref().map(|_| AT_MARKET),
            sl_trigger_price: loss,
            size: shown_contracts(&stop.instrument, stop.quantity)?,
            reduce_only: "true",
            client_order_id: stop.stop_id,
            broker_id,
        },
    ))
}

/// Takes an order back, by the venue's id if it is known, else by ours.
pub fn cancel(order_id: ClientOrderId, venue_order_id: Option<VenueOrderId>, symbol: Symbol) -> Request {
    let client_order_id = venue_order_id.is_none().then_some(order_id);
    let body = CancelBody { inst_id: symbol, order_id: venue_order_id, tpsl_id: None, client_order_id };
    post("/api/v1/trade/cancel-order", &body)
}

/// Takes a stop back. The body is a list.
pub fn cancel_stop(stop_id: ClientOrderId, venue_order_id: Option<VenueOrderId>, symbol: Symbol) -> Request {
    let client_order_id = venue_order_id.is_none().then_some(stop_id);
    let body = CancelBody { inst_id: symbol, order_id: None, tpsl_id: venue_order_id, client_order_id };
    post("/api/v1/trade/cancel-tpsl", &[body])
}

/// Sets the leverage of a pair. The side counts only for isolated margin with long and short positions.
pub fn set_leverage(symbol: Symbol, leverage: u32, mode: MarginMode, side: Option<PositionSide>) -> Request {
    let body = LeverageBody {
        inst_id: symbol,
        leverage: leverage.to_string(),
        margin_mode: margin_mode(mode),
        position_side: side.map(position_side),
    };
    post("/api/v1/account/set-leverage", &body)
}

/// One order by our id.
pub fn order(order_id: ClientOrderId, symbol: Symbol) -> Request {
    get(format!("/api/v1/trade/order-detail?instId={symbol}&clientOrderId={order_id}"))
}

/// One order by the venue's id.
pub fn order_by_venue_id(order_id: VenueOrderId, symbol: Symbol) -> Request {
    get(format!("/api/v1/trade/order-detail?instId={symbol}&orderId={order_id}"))
}

/// One stop by our id.
pub fn stop(stop_id: ClientOrderId, symbol: Symbol) -> Request {
    get(format!("/api/v1/trade/order-tpsl-detail?instId={symbol}&clientOrderId={stop_id}"))
}

/// Lists that come in pages, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Orders in the book.
    Orders,
    /// Stops that wait.
    Stops,
    /// Executions from a time on, in milliseconds, of all pairs or of one.
    Fills(i64, Option<Symbol>),
    /// Orders that ended.
    OrdersEnded,
    /// Funding payments from a time to another, in milliseconds; at most a week.
    Funding(i64, i64),
}

/// A page of a list: the newest rows, or those older than one.
pub fn page(list: List, older_than: Option<&str>) -> Request {
    let (path, window) = match list {
        List::Orders => ("trade/orders-pending", String::new()),
        List::Stops => ("trade/orders-tpsl-pending", String::new()),
        List::Fills(begin, pair) => {
            let pair = pair.map(|pair| format!("&instId={pair}")).unwrap_or_default();
            ("trade/fills-history", format!("&begin={begin}{pair}"))
        }
        List::OrdersEnded => ("trade/orders-history", String::new()),
        List::Funding(begin, end) => ("account/funding-fees", format!("&begin={begin}&end={end}")),
    };
    let after = older_than.map(|id| format!("&after={id}")).unwrap_or_default();
    get(format!("/api/v1/{path}?limit={PAGE_ROWS}{window}{after}"))
}

/// All open positions.
pub fn positions() -> Request {
    get("/api/v1/account/positions".into())
}

/// What the account has.
pub fn balance() -> Request {
    get("/api/v1/account/balance".into())
}

/// What the key may.
pub fn api_key() -> Request {
    get("/api/v1/user/query-apikey".into())
}

/// How positions are held.
pub fn position_mode_get() -> Request {
    get("/api/v1/account/position-mode".into())
}

/// The leverage of up to [`LEVERAGE_PAIRS_MAX`] pairs. Commas are encoded, and signed so.
pub fn leverages(symbols: &[Symbol], mode: MarginMode) -> Request {
    let names: Vec<&str> = symbols.iter().map(Symbol::as_str).collect();
    let (names, mode) = (names.join("%2C"), margin_mode(mode));
    get(format!("/api/v1/account/batch-leverage-info?instId={names}&marginMode={mode}"))
}

fn get(path: String) -> Request {
    Request { method: Method::Get, path, body: String::new() }
}

fn post(path: &str, body: &(impl Serialize + ?Sized)) -> Request {
    let body = serde_json::to_string(body).expect("texts are JSON");
    Request { method: Method::Post, path: path.into(), body }
}

fn shown_contracts(instrument: &Instrument, quantity: Quantity) -> Result<String, Unsendable> {
    let symbol = instrument.symbol();
    let contracts = instrument.contracts(quantity).filter(|contracts| contracts.is_positive());
    let Some(contracts) = contracts else {
        return Err(Unsendable::Lots { symbol, quantity, lot: instrument.lot() });
    };
    let least = instrument.quantity_min();
    if quantity < least {
        return Err(Unsendable::BelowMinimum { symbol, quantity, least });
    }
    Ok(contracts.to_string())
}

fn shown_price(instrument: &Instrument, price: Price) -> Result<String, Unsendable> {
    match price.is_positive() && instrument.is_on_tick(price) {
        true => Ok(price.to_string()),
        false => Err(Unsendable::Tick { symbol: instrument.symbol(), price, tick: instrument.tick_size() }),
    }
}

/// The venue's word for a way to secure positions.
pub fn margin_mode(mode: MarginMode) -> &'static str {
    match mode {
        MarginMode::Cross => "cross",
        MarginMode::Isolated => "isolated",
    }
}

fn position_side(side: PositionSide) -> &'static str {
    match side {
        PositionSide::Net => "net",
        PositionSide::Long => "long",
        PositionSide::Short => "short",
    }
}

/// Reads the venue's `buy` or `sell`.
pub(super) fn side(word: &str) -> Option<Side> {
    [Side::Buy, Side::Sell].into_iter().find(|side| side.as_str() == word)
}
