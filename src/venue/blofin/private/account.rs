//! Rows about the account itself: positions, balances, funding, and what the key may.

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Instruments;
use super::figure::{id, instrument, needed, position_side, rounded, signed_quantity};
use crate::model::amount::{Money, Price};
use crate::model::ids::Symbol;
use crate::model::time::Timestamp;
use crate::model::trading::{PositionMode, PositionSide, VenueBalance, VenueFunding, VenuePosition};
use crate::venue::blofin::dropped::{DropReason, Dropped};
use crate::venue::blofin::wire::{self, Raw};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PositionRow<'a> {
    #[serde(borrow)]
    inst_id: Raw<'a>,
    #[serde(borrow)]
    position_side: Raw<'a>,
    #[serde(borrow)]
    positions: Raw<'a>,
    #[serde(borrow)]
    average_price: Raw<'a>,
    #[serde(borrow)]
    liquidation_price: Raw<'a>,
    #[serde(borrow)]
    update_time: Raw<'a>,
}

/// Reads a position. A short one of an account with long and short positions becomes negative.
///
/// # Errors
/// Why it is dropped.
pub fn position(row: &RawValue, instruments: &Instruments) -> Result<VenuePosition, Dropped> {
    let row: PositionRow = wire::row("position", row)?;
    let instrument = instrument(row.inst_id, instruments)?;
    let side = position_side(row.position_side)?;
    let held = signed_quantity("positions", row.positions, instrument)?;
    let price = |field: &str, raw| {
        let price = rounded(field, raw)?.filter(|price| *price > Decimal::ZERO);
        Ok(price.map(Price::new))
    };
    Ok(VenuePosition {
        symbol: instrument.symbol(),
        position_side: side,
        quantity: if side == PositionSide::Short { -held.abs() } else { held },
        entry_price: price("averagePrice", row.average_price)?,
        liquidation_price: price("liquidationPrice", row.liquidation_price)?,
        time: wire::time("updateTime", row.update_time)?,
    })
}

#[derive(Deserialize)]
struct BalanceRow<'a> {
    #[serde(borrow)]
    ts: Raw<'a>,
    #[serde(borrow)]
    details: Raw<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CurrencyRow<'a> {
    #[serde(borrow)]
    currency: Raw<'a>,
    #[serde(borrow)]
    equity: Raw<'a>,
    #[serde(borrow)]
    balance: Raw<'a>,
    #[serde(borrow)]
    available: Raw<'a>,
}

/// Reads what an account has of one currency: nothing of it is 0, and not an error.
///
/// # Errors
/// Why it is dropped.
pub fn balance(row: &RawValue, currency: &str) -> Result<VenueBalance, Dropped> {
    let row: BalanceRow = wire::row("balance", row)?;
    let time = wire::time("ts", row.ts)?;
    for detail in wire::rows(row.details)? {
        let detail: CurrencyRow = wire::row("details", detail)?;
        if wire::text(detail.currency).as_deref() != Some(currency) {
            continue;
        }
        let money = |field: &str, raw| Ok(Money::new(needed(field, rounded(field, raw)?)?));
        return Ok(VenueBalance {
            balance: money("balance", detail.balance)?,
            equity: money("equity", detail.equity)?,
            available: money("available", detail.available)?,
            time,
        });
    }
    Ok(VenueBalance { balance: Money::ZERO, equity: Money::ZERO, available: Money::ZERO, time })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FundingRow<'a> {
    #[serde(borrow)]
    bill_id: Raw<'a>,
    #[serde(borrow)]
    inst_id: Raw<'a>,
    #[serde(borrow)]
    funding_fee: Raw<'a>,
    #[serde(borrow)]
    funding_time: Raw<'a>,
    #[serde(borrow)]
    ts: Raw<'a>,
}

/// Reads a funding payment; positive is received.
///
/// # Errors
/// Why it is dropped.
pub fn funding(row: &RawValue) -> Result<VenueFunding, Dropped> {
    let row: FundingRow = wire::row("funding", row)?;
    Ok(VenueFunding {
        id: id("billId", row.bill_id)?.as_str().to_owned(),
        symbol: wire::symbol("instId", row.inst_id)?,
        amount: Money::new(needed("fundingFee", rounded("fundingFee", row.funding_fee)?)?),
        time: wire::time("fundingTime", row.funding_time).or_else(|_| wire::time("ts", row.ts))?,
    })
}

/// What a key may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// The account's id.
    pub uid: String,
    /// Whether it may only read.
    pub read_only: bool,
    /// Whether it is bound to addresses.
    pub ip_bound: bool,
    /// When it ends, if it does.
    pub expires: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyRow<'a> {
    #[serde(borrow)]
    uid: Raw<'a>,
    #[serde(borrow)]
    read_only: Raw<'a>,
    #[serde(borrow)]
    ips: Raw<'a>,
    #[serde(borrow)]
    expire_time: Raw<'a>,
}

/// Reads what a key may. Without a word about it, it may only read.
///
/// # Errors
/// Why it is dropped.
pub fn key_info(row: &RawValue) -> Result<KeyInfo, Dropped> {
    let row: KeyRow = wire::row("key", row)?;
    let uid = wire::required("uid", row.uid)?.chars().take(64).collect();
    let ips = row.ips.map_or("", RawValue::get);
    Ok(KeyInfo {
        uid,
        read_only: wire::text(row.read_only).as_deref() != Some("0"),
        ip_bound: ips.contains(|c: char| c.is_ascii_digit()),
        expires: wire::time("expireTime", row.expire_time).ok().filter(|time| time.as_ms() > 0),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PositionModeRow<'a> {
    #[serde(borrow)]
    position_mode: Raw<'a>,
}

/// Reads how positions are held.
///
/// # Errors
/// Why it is dropped.
pub fn position_mode(row: &RawValue) -> Result<PositionMode, Dropped> {
    let row: PositionModeRow = wire::row("positionMode", row)?;
    match &*wire::required("positionMode", row.position_mode)? {
        "net_mode" => Ok(PositionMode::Net),
        "long_short_mode" => Ok(PositionMode::LongShort),
        other => Err(Dropped::new(DropReason::Malformed, "positionMode", other)),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LeverageRow<'a> {
    #[serde(borrow)]
    inst_id: Raw<'a>,
    #[serde(borrow)]
    leverage: Raw<'a>,
}

/// Reads the leverage of a pair.
///
/// # Errors
/// Why it is dropped.
pub fn leverage(row: &RawValue) -> Result<(Symbol, u32), Dropped> {
    let row: LeverageRow = wire::row("leverage", row)?;
    let text = wire::required("leverage", row.leverage)?;
    let leverage = text.parse().map_err(|_| Dropped::new(DropReason::Malformed, "leverage", &text))?;
    Ok((wire::symbol("instId", row.inst_id)?, leverage))
}
