//! Whether what a venue says can be reckoned with. What cannot is told and dropped; no figure of a venue overflows.

use rust_decimal::Decimal;

use crate::model::amount::AMOUNT_MAX;
use crate::model::trading::{OrderState, VenueBalance, VenueFill, VenueReport};

/// Checks every figure that is reckoned with.
///
/// # Errors
/// Names the figure that is out of range.
pub fn check(report: &VenueReport) -> Result<(), String> {
    match report {
        VenueReport::Order(state) => check_order(state),
        VenueReport::Fills(fills) => fills.iter().try_for_each(check_fill),
        VenueReport::Funding(funding) => amount("funding", funding.amount.value()),
        VenueReport::Balance(balance) => check_balance(balance),
        VenueReport::Snapshot(snapshot) => {
            snapshot.orders.iter().chain(&snapshot.orders_ended).try_for_each(check_order)?;
            snapshot.fills.iter().try_for_each(check_fill)?;
            for position in &snapshot.positions {
                amount("position", position.quantity.value())?;
            }
            check_balance(&snapshot.balance)
        }
        _ => Ok(()),
    }
}

fn check_order(state: &OrderState) -> Result<(), String> {
    not_negative("quantity", state.quantity.value())?;
    not_negative("filled_quantity", state.filled_quantity.value())?;
    state.average_price.map_or(Ok(()), |price| not_negative("average_price", price.value()))?;
    state.average_price.map_or(Ok(()), |price| worth(price.value(), state.filled_quantity.value()))?;
    state.fee.map_or(Ok(()), |fee| amount("fee", fee.value()))
}

fn check_fill(fill: &VenueFill) -> Result<(), String> {
    for (name, value) in [("fill quantity", fill.quantity.value()), ("fill price", fill.price.value())] {
        not_negative(name, value)?;
        if value.is_zero() {
            return Err(format!("{name} is 0"));
        }
    }
    worth(fill.price.value(), fill.quantity.value())?;
    amount("fill fee", fill.fee.value())
}

fn check_balance(balance: &VenueBalance) -> Result<(), String> {
    amount("balance", balance.balance.value())?;
    amount("equity", balance.equity.value())?;
    amount("available", balance.available.value())
}

fn not_negative(name: &str, value: Decimal) -> Result<(), String> {
    if value.is_sign_negative() && !value.is_zero() {
        return Err(format!("{name} is {value}, it must not be negative"));
    }
    amount(name, value)
}

/// Whether a product stays far inside the 28 digits of the ledger.
fn worth(price: Decimal, quantity: Decimal) -> Result<(), String> {
    let most = Decimal::from(AMOUNT_MAX) * Decimal::ONE_THOUSAND;
    match price.checked_mul(quantity) {
        Some(worth) if worth <= most => Ok(()),
        _ => Err(format!("{quantity} at {price} is worth more than the limit of {most}")),
    }
}

fn amount(name: &str, value: Decimal) -> Result<(), String> {
    if value.abs() > Decimal::from(AMOUNT_MAX) {
        return Err(format!("{name} is {value}, beyond the limit of {AMOUNT_MAX}"));
    }
    Ok(())
}
