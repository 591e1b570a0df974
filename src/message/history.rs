//! Rows of the history as they are asked for: what the bus says once and a question can bring back.

use super::json::Object;
use super::view::{scope_name, signal_result_fields};
use crate::engine::record::Scope;
use crate::model::amount::Money;
use crate::model::ids::{StrategyId, Symbol};
use crate::model::signal::SignalResult;
use crate::model::time::Timestamp;

/// A decided signal: the keys of its result, and whose and which it was. `sequence` is its record's.
pub fn signal(
    strategy: StrategyId,
    symbol: Option<Symbol>,
    signal_time: Option<Timestamp>,
    result: &SignalResult,
    sequence: u64,
) -> String {
    let head = Object::new()
        .shown("strategy", strategy)
        .text_or_null("symbol", symbol.as_ref().map(|symbol| symbol.as_str()))
        .text_or_null("signal_time", signal_time.map(|time| time.to_string()).as_deref());
    signal_result_fields(head, result).integer("seq", sequence).finish()
}

/// Equity of a scope at one moment; `sequence` is 0 for a sample that no journal has.
pub fn equity(scope: Scope, time: Timestamp, equity: Money, sequence: u64) -> String {
    Object::new()
        .text("scope", &scope_name(scope))
        .decimal("equity", equity.value())
        .integer("seq", sequence)
        .shown("time", time)
        .finish()
}

/// A page: its rows, and where the next one begins.
pub fn page(rows: impl Iterator<Item = String>, next: Option<&str>) -> String {
    Object::new().values("items", rows).text_or_null("next", next).finish()
}
