//! Rows about orders, stops and fills.
//!
//! REST and the stream give the same rows with small differences, so each shape is read by one reader that takes both.
//! Contracts become base units by the venue's instruments; a pair that is not among them is
//! [`DropReason::UnknownSymbol`], and worth asking for the instruments again.

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Instruments;
use super::figure::{
    id, instrument, needed, optional_id, own_id, position_side, quantity, read_side, rounded,
};
use crate::model::amount::{Money, Price};
use crate::model::ids::VenueOrderId;
use crate::model::time::Timestamp;
use crate::model::trading::{
    OrderCategory, OrderState, StopState, VenueFill, VenueOrderStatus, VenueStopStatus,
};
use crate::venue::blofin::dropped::{DropReason, Dropped};
use crate::venue::blofin::wire::{self, Raw};

/// A size that stands for the whole position.
const WHOLE_POSITION: &str = "-1";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderRow<'a> {
    #[serde(borrow)]
    order_id: Raw<'a>,
    #[serde(borrow)]
    client_order_id: Raw<'a>,
    #[serde(borrow)]
    algo_id: Raw<'a>,
    #[serde(borrow)]
    algo_client_order_id: Raw<'a>,
    #[serde(borrow)]
    inst_id: Raw<'a>,
    #[serde(borrow)]
    position_side: Raw<'a>,
    #[serde(borrow)]
    side: Raw<'a>,
    #[serde(borrow)]
    size: Raw<'a>,
    #[serde(borrow)]
    filled_size: Raw<'a>,
    #[serde(borrow)]
    average_price: Raw<'a>,
    #[serde(borrow)]
    fee: Raw<'a>,
    #[serde(borrow)]
    state: Raw<'a>,
    #[serde(borrow)]
    order_category: Raw<'a>,
    #[serde(borrow)]
    create_time: Raw<'a>,
    #[serde(borrow)]
    update_time: Raw<'a>,
}

/// Reads an order.
///
/// # Errors
/// Why it is dropped.
pub fn order(row: &RawValue, instruments: &Instruments) -> Result<OrderState, Dropped> {
    let row: OrderRow = wire::row("order", row)?;
    let instrument = instrument(row.inst_id, instruments)?;
    let filled_quantity = quantity("filledSize", row.filled_size, instrument)?;
    let size = wire::required("size", row.size)?;
    let average = rounded("averagePrice", row.average_price)?.filter(|price| *price > Decimal::ZERO);
    Ok(OrderState {
        order_id: own_id(row.client_order_id),
        stop_id: own_id(row.algo_client_order_id),
        venue_order_id: id("orderId", row.order_id)?,
        venue_stop_id: optional_id(row.algo_id),
        symbol: instrument.symbol(),
        side: read_side(row.side)?,
        position_side: position_side(row.position_side)?,
        category: category(row.order_category),
        status: match &*wire::required("state", row.state)? {
            "live" => VenueOrderStatus::Live,
            "partially_filled" => VenueOrderStatus::PartlyFilled,
            "filled" => VenueOrderStatus::Filled,
            "canceled" | "partially_canceled" => VenueOrderStatus::Cancelled,
            other => return Err(Dropped::new(DropReason::Malformed, "state", other)),
        },
        quantity: match size == WHOLE_POSITION {
            true => filled_quantity,
            false => quantity("size", row.size, instrument)?,
        },
        filled_quantity,
        average_price: average.map(Price::new),
        fee: rounded("fee", row.fee)?.map(Money::new),
        time: wire::time("updateTime", row.update_time)
            .or_else(|_| wire::time("createTime", row.create_time))?,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StopRow<'a> {
    #[serde(borrow)]
    tpsl_id: Raw<'a>,
    #[serde(borrow)]
    algo_id: Raw<'a>,
    #[serde(borrow)]
    client_order_id: Raw<'a>,
    #[serde(borrow)]
    inst_id: Raw<'a>,
    #[serde(borrow)]
    side: Raw<'a>,
    #[serde(borrow)]
    size: Raw<'a>,
    #[serde(borrow)]
    state: Raw<'a>,
    #[serde(borrow)]
    tp_trigger_price: Raw<'a>,
    #[serde(borrow)]
    sl_trigger_price: Raw<'a>,
    #[serde(borrow)]
    create_time: Raw<'a>,
    #[serde(borrow)]
    update_time: Raw<'a>,
}

/// Reads a stop, or another order with a trigger, which then has no triggers that we know.
///
/// # Errors
/// Why it is dropped.
pub fn stop(row: &RawValue, instruments: &Instruments) -> Result<StopState, Dropped> {
    let row: StopRow = wire::row("stop", row)?;
    let instrument = instrument(row.inst_id, instruments)?;
    let trigger = |field: &str, raw| {
        let price = rounded(field, raw)?.filter(|price| *price > Decimal::ZERO);
        Ok(price.map(Price::new))
    };
    Ok(StopState {
        stop_id: own_id(row.client_order_id),
        venue_order_id: id("tpslId", row.tpsl_id).or_else(|_| id("algoId", row.algo_id))?,
        symbol: instrument.symbol(),
        side: read_side(row.side)?,
        status: match &*wire::required("state", row.state)? {
            "live" => VenueStopStatus::Live,
            "effective" => VenueStopStatus::Triggered,
            "canceled" => VenueStopStatus::Cancelled,
            "order_failed" => VenueStopStatus::Failed,
            other => return Err(Dropped::new(DropReason::Malformed, "state", other)),
        },
        quantity: match wire::required("size", row.size)? == WHOLE_POSITION {
            true => None,
            false => Some(quantity("size", row.size, instrument)?),
        },
        stop_loss: trigger("slTriggerPrice", row.sl_trigger_price)?,
        take_profit: trigger("tpTriggerPrice", row.tp_trigger_price)?,
        // A stop in a history has no time at all; it is final there, so any time will do.
        time: wire::time("updateTime", row.update_time)
            .or_else(|_| wire::time("createTime", row.create_time))
            .unwrap_or(Timestamp::MIN),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FillRow<'a> {
    #[serde(borrow)]
    trade_id: Raw<'a>,
    #[serde(borrow)]
    order_id: Raw<'a>,
    #[serde(borrow)]
    inst_id: Raw<'a>,
    #[serde(borrow)]
    side: Raw<'a>,
    #[serde(borrow)]
    position_side: Raw<'a>,
    #[serde(borrow)]
    fill_size: Raw<'a>,
    #[serde(borrow)]
    fill_price: Raw<'a>,
    #[serde(borrow)]
    fee: Raw<'a>,
    #[serde(borrow)]
    ts: Raw<'a>,
}

/// Reads an execution. Size and price are exact; a fee finer than 12 decimals is rounded, the ledger keeps 8.
///
/// # Errors
/// Why it is dropped.
pub fn fill(row: &RawValue, instruments: &Instruments) -> Result<VenueFill, Dropped> {
    let row: FillRow = wire::row("fill", row)?;
    let instrument = instrument(row.inst_id, instruments)?;
    let quantity = quantity("fillSize", row.fill_size, instrument)?;
    if !quantity.is_positive() {
        return Err(Dropped::new(DropReason::SizeNotPositive, "fillSize", &quantity.to_string()));
    }
    Ok(VenueFill {
        trade_id: id("tradeId", row.trade_id)?,
        venue_order_id: id("orderId", row.order_id)?,
        symbol: instrument.symbol(),
        side: read_side(row.side)?,
        position_side: position_side(row.position_side)?,
        quantity,
        price: wire::price("fillPrice", row.fill_price)?,
        fee: Money::new(needed("fee", rounded("fee", row.fee)?)?),
        time: wire::time("ts", row.ts)?,
    })
}

/// The id by which rows older than this one are asked for.
///
/// # Errors
/// When it has none.
pub fn page_id(row: &RawValue, field: &'static str) -> Result<VenueOrderId, Dropped> {
    let fields: std::collections::BTreeMap<&str, &RawValue> = wire::row("row", row)?;
    id(field, fields.get(field).copied())
}

/// Who made an order; whom we do not know is a person or a program.
fn category(raw: Raw<'_>) -> OrderCategory {
    match wire::text(raw).as_deref() {
        Some("full_liquidation" | "partial_liquidation") => OrderCategory::Liquidation,
        Some("adl") => OrderCategory::AutoDeleverage,
        Some("sl") => OrderCategory::StopLoss,
        Some("tp") => OrderCategory::TakeProfit,
        _ => OrderCategory::Normal,
    }
}
