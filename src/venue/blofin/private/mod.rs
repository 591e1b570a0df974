//! BloFin with keys: what is asked about an account and how it is signed, and what the venue says about it.
//!
//! Invariants: the bytes that are signed are the bytes that leave. Nothing is rounded on its way out: a quantity of
//! other than whole lots, or a price of other than whole ticks, makes no request. On its way in, prices and sizes are
//! exact or refused; figures that the venue itself divides or only shows (mean prices, fees, balances) are kept to 12
//! decimals. Only `clientOrderId`s of our own shape count as ours. Secrets are in `secrecy` types and in no error.
//!
//! Limits: those of the public side, see [`super`]; [`PAGE_ROWS`] rows of a page.
//!
//! Funding payments (`account/funding-fees`) are not in the venue's documentation of 2026-03. Three public clients use
//! it with these fields, and those that do sums with `fundingFee` add it to the profit: positive is received.

pub mod account;
pub mod answer;
mod figure;
pub mod login;
pub mod request;
pub mod row;
pub mod sign;
pub mod stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::model::ids::Symbol;
use crate::model::instrument::Instrument;

/// The private stream in production.
pub const WS_PRIVATE_URL: &str = "wss://openapi.blofin.com/ws/private";
/// The private stream for demo trading.
pub const WS_PRIVATE_URL_DEMO: &str = "wss://demo-trading-openapi.blofin.com/ws/private";
/// The most rows that the venue gives in one answer about orders, stops and fills.
pub const PAGE_ROWS: usize = 100;

/// The pairs of the venue by their names, for contracts that become base units.
pub type Instruments = BTreeMap<Symbol, Instrument>;
