//! Fields that several rows have: pairs, ids, sides and figures.

use rust_decimal::{Decimal, RoundingStrategy};

use super::Instruments;
use super::request::side;
use crate::model::amount::{AMOUNT_DECIMALS, AMOUNT_MAX, Quantity};
use crate::model::ids::{ClientOrderId, VenueOrderId};
use crate::model::instrument::Instrument;
use crate::model::order::Side;
use crate::model::trading::PositionSide;
use crate::venue::blofin::dropped::{DropReason, Dropped};
use crate::venue::blofin::wire::{self, Raw};

/// The venue's figures of a pair.
pub(super) fn instrument<'a>(raw: Raw<'_>, instruments: &'a Instruments) -> Result<&'a Instrument, Dropped> {
    let symbol = wire::symbol("instId", raw)?;
    instruments.get(&symbol).ok_or_else(|| Dropped::new(DropReason::UnknownSymbol, "instId", symbol.as_str()))
}

/// An id of the venue.
pub(super) fn id(field: &str, raw: Raw<'_>) -> Result<VenueOrderId, Dropped> {
    let text = wire::required(field, raw)?;
    VenueOrderId::new(&text).map_err(|_| Dropped::new(DropReason::Malformed, field, &text))
}

/// An id of the venue, where there may be none.
pub(super) fn optional_id(raw: Raw<'_>) -> Option<VenueOrderId> {
    VenueOrderId::new(&wire::text(raw)?).ok().filter(|id| id.as_str() != "0")
}

/// An id of our own shape, or none: what people and other programs choose is not ours.
pub(super) fn own_id(raw: Raw<'_>) -> Option<ClientOrderId> {
    let text = wire::text(raw)?;
    ClientOrderId::new(&text).ok().filter(|id| id.as_str().len() == ClientOrderId::LENGTH_MAX)
}

/// Buy or sell.
pub(super) fn read_side(raw: Raw<'_>) -> Result<Side, Dropped> {
    let word = wire::required("side", raw)?;
    side(&word).ok_or_else(|| Dropped::new(DropReason::Malformed, "side", &word))
}

/// Which position; one of a netted account has no word for it in places.
pub(super) fn position_side(raw: Raw<'_>) -> Result<PositionSide, Dropped> {
    match wire::text(raw).as_deref() {
        None | Some("net") => Ok(PositionSide::Net),
        Some("long") => Ok(PositionSide::Long),
        Some("short") => Ok(PositionSide::Short),
        Some(other) => Err(Dropped::new(DropReason::Malformed, "positionSide", other)),
    }
}

/// Contracts of 0 or more, as base units.
pub(super) fn quantity(field: &str, raw: Raw<'_>, instrument: &Instrument) -> Result<Quantity, Dropped> {
    let quantity = signed_quantity(field, raw, instrument)?;
    match quantity.is_negative() {
        false => Ok(quantity),
        true => Err(Dropped::new(DropReason::SizeNotPositive, field, &quantity.to_string())),
    }
}

/// Contracts, as base units.
pub(super) fn signed_quantity(
    field: &str,
    raw: Raw<'_>,
    instrument: &Instrument,
) -> Result<Quantity, Dropped> {
    let contracts = wire::decimal(field, raw)?;
    let quantity = instrument.base_units(Quantity::new(contracts));
    let most = Decimal::from(AMOUNT_MAX);
    match quantity.value().scale() <= AMOUNT_DECIMALS && quantity.value().abs() <= most {
        true => Ok(quantity),
        false => Err(Dropped::new(DropReason::Malformed, field, &quantity.to_string())),
    }
}

/// A figure that the venue computes: rounded half-even to 12 decimals. `None` when there is none.
pub(super) fn rounded(field: &str, raw: Raw<'_>) -> Result<Option<Decimal>, Dropped> {
    let Some(text) = wire::text(raw) else { return Ok(None) };
    let malformed = || Dropped::new(DropReason::Malformed, field, &text);
    let value: Decimal = text.parse().map_err(|_| malformed())?;
    let value =
        value.round_dp_with_strategy(AMOUNT_DECIMALS, RoundingStrategy::MidpointNearestEven).normalize();
    match value.abs() <= Decimal::from(AMOUNT_MAX) {
        true => Ok(Some(value)),
        false => Err(malformed()),
    }
}

/// A figure that must be there.
pub(super) fn needed(field: &str, value: Option<Decimal>) -> Result<Decimal, Dropped> {
    value.ok_or_else(|| Dropped::new(DropReason::Malformed, field, "missing"))
}
