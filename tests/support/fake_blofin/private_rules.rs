//! Which orders and stops the venue takes.

use rust_decimal::Decimal;
use serde_json::Value;

use super::account::{Steps, Touch};
use super::private_rest::Refusal;
use super::record::{FakeOrder, FakeStop};
use super::{State, now_ms};

pub(super) fn text(body: &Value, name: &str) -> String {
    body[name].as_str().unwrap_or_default().to_owned()
}

fn figure(body: &Value, name: &'static str) -> Result<Decimal, Refusal> {
    text(body, name).parse().map_err(|_| ("152002", format!("{name} is not a number")))
}

fn checked_id(body: &Value) -> Result<String, Refusal> {
    let id = text(body, "clientOrderId");
    match id.len() <= 32 && id.chars().all(|c| c.is_ascii_alphanumeric()) {
        true => Ok(id),
        false => Err(("152009", format!("clientOrderId {id:?}"))),
    }
}

/// What orders and stops have in common.
fn common(
    state: &State,
    key: &str,
    body: &Value,
) -> Result<(String, Touch, Steps, Decimal, String), Refusal> {
    let pair = text(body, "instId");
    let market = state.markets.get(&pair).ok_or(("152014", "unknown instId".to_owned()))?;
    let (touch, steps) = (market.touch(), market.steps());
    let size = figure(body, "size")?;
    if size <= Decimal::ZERO || !(size % steps.lot).is_zero() {
        return Err(("152005", format!("size {size} is not whole lots of {}", steps.lot)));
    }
    if size < steps.least {
        return Err(("152005", format!("size {size} is below {}", steps.least)));
    }
    if !matches!(text(body, "marginMode").as_str(), "cross" | "isolated") {
        return Err(("152001", "marginMode".into()));
    }
    if !matches!(text(body, "side").as_str(), "buy" | "sell") {
        return Err(("152001", "side".into()));
    }
    let side = text(body, "positionSide");
    let fits = match state.accounts[key].position_mode {
        "net_mode" => matches!(side.as_str(), "" | "net"),
        _ => matches!(side.as_str(), "long" | "short"),
    };
    if !fits {
        return Err(("102089", "position mode mismatch".into()));
    }
    Ok((pair, touch, steps, size, if side.is_empty() { "net".into() } else { side }))
}

pub(super) fn place(state: &mut State, key: &str, body: &Value) -> Result<u64, Refusal> {
    let client_id = checked_id(body)?;
    let (pair, touch, steps, mut size, position_side) = common(state, key, body)?;
    let order_type = text(body, "orderType");
    let price = match order_type.as_str() {
        "market" => Decimal::ZERO,
        "limit" => figure(body, "price")?,
        other => return Err(("152002", format!("orderType {other:?}"))),
    };
    if !(price % steps.tick).is_zero() {
        return Err(("152005", format!("price {price} is not whole ticks of {}", steps.tick)));
    }
    let account = state.accounts.get_mut(key).expect("an account");
    if account.orders.values().any(|order| !client_id.is_empty() && order.client_id == client_id) {
        return Err(("102002", "Duplicate customized order ID".into()));
    }
    let side = text(body, "side");
    let held = account.held(&pair, &position_side).contracts;
    let closing = if side == "sell" { held.max(Decimal::ZERO) } else { (-held).max(Decimal::ZERO) };
    let reduce_only = text(body, "reduceOnly") == "true";
    if reduce_only && closing.is_zero() {
        return Err(("102022", "No positions on this contract".into()));
    }
    if reduce_only {
        size = size.min(closing);
    }
    let opening = (size - closing).max(Decimal::ZERO);
    let closes = matches!((position_side.as_str(), side.as_str()), ("long", "sell") | ("short", "buy"));
    if closes && !opening.is_zero() {
        return Err(("102005", "more than the position of this side".into()));
    }
    let at = if price.is_zero() { touch.last } else { price };
    let leverage = Decimal::from(account.leverage(&pair, &text(body, "marginMode")));
    let margin = opening * steps.contract * at / leverage;
    if margin > account.balance {
        return Err(("103003", "Order failed. Insufficient USDT margin in account".into()));
    }
    let id = account.id();
    let order = FakeOrder {
        client_id,
        order_type,
        price,
        reduce_only,
        position_side,
        margin_mode: text(body, "marginMode"),
        id,
        ..account.foreign(&pair, &side, size, "normal")
    };
    Ok(account.enter(order, touch, steps))
}

pub(super) fn place_stop(state: &mut State, key: &str, body: &Value) -> Result<u64, Refusal> {
    let client_id = checked_id(body)?;
    let (pair, touch, _, size, position_side) = common(state, key, body)?;
    let trigger = |name: &'static str| match text(body, name).is_empty() {
        true => Ok(None),
        false => figure(body, name).map(Some),
    };
    let (stop_loss, take_profit) = (trigger("slTriggerPrice")?, trigger("tpTriggerPrice")?);
    if stop_loss.is_none() && take_profit.is_none() {
        return Err(("152003", "one of two parameters is needed".into()));
    }
    let account = state.accounts.get_mut(key).expect("an account");
    if account.stops.values().any(|stop| stop.client_id == client_id) {
        return Err(("102002", "Duplicate customized order ID".into()));
    }
    let id = account.id();
    let stop = FakeStop {
        id,
        client_id,
        pair,
        side: text(body, "side"),
        position_side,
        margin_mode: text(body, "marginMode"),
        size,
        stop_loss,
        take_profit,
        state: "live",
        created_ms: now_ms(),
    };
    if stop.touched(touch.last).is_some() {
        return Err(("102038", "the trigger is on the wrong side of the last price".into()));
    }
    account.news.push(("orders-algo", stop.row()));
    account.stops.insert(id, stop);
    Ok(id)
}
