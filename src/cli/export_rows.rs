//! Rows of `export`: names and cells, the same for CSV and JSON lines.

use rust_decimal::Decimal;

use crate::engine::record::{SampleRecord, Scope, ScopeSample, SignalRecord};
use crate::message::json::Object;
use crate::model::amount::Price;
use crate::model::ids::StrategyId;
use crate::model::order::{Order, Side};
use crate::model::report::{Fill, Trade};

/// Decimals of prices that come out of a division.
const DERIVED_DECIMALS: u32 = 10;

/// A cell.
pub enum Cell {
    /// Words and times.
    Text(String),
    /// An exact number.
    Number(Decimal),
    /// A whole number.
    Integer(i64),
    /// Nothing: empty in CSV, `null` in JSON.
    Nothing,
}

/// Names and cells, in their order.
pub type Row = Vec<(&'static str, Cell)>;

fn text(value: impl std::fmt::Display) -> Cell {
    Cell::Text(value.to_string())
}

fn maybe(value: Option<impl std::fmt::Display>) -> Cell {
    value.map_or(Cell::Nothing, text)
}

fn derived(price: Option<Price>) -> Cell {
    price.map_or(Cell::Nothing, |price| Cell::Number(price.value().round_dp(DERIVED_DECIMALS)))
}

fn seq(sequence: u64) -> (&'static str, Cell) {
    ("seq", Cell::Integer(i64::try_from(sequence).unwrap_or(i64::MAX)))
}

/// A closed trade.
pub fn trade(trade: &Trade, sequence: u64) -> Row {
    vec![
        ("id", text(&trade.id)),
        ("strategy", text(trade.strategy)),
        ("symbol", text(trade.symbol)),
        ("venue", text(trade.venue)),
        ("side", text(if trade.side == Side::Buy { "long" } else { "short" })),
        ("open_time", text(trade.open_time)),
        ("close_time", text(trade.close_time)),
        ("open_price", derived(Some(trade.open_price))),
        ("close_price", derived(Some(trade.close_price))),
        ("quantity", Cell::Number(trade.quantity.value())),
        ("pnl", Cell::Number(trade.pnl.value())),
        ("fees", Cell::Number(trade.fees.value())),
        ("funding", Cell::Number(trade.funding.value())),
        seq(sequence),
    ]
}

/// An order as it stands.
pub fn order(order: &Order, sequence: u64) -> Row {
    vec![
        ("order_id", text(order.order_id)),
        ("strategy", text(order.strategy)),
        ("symbol", text(order.symbol)),
        ("venue", text(order.venue)),
        ("signal_id", maybe(order.signal_id.as_ref())),
        ("side", text(order.side.as_str())),
        ("order_type", text(order.order_type.as_str())),
        ("quantity", Cell::Number(order.quantity.value())),
        ("filled_quantity", Cell::Number(order.filled_quantity.value())),
        ("price", order.order_type.price().map_or(Cell::Nothing, |price| Cell::Number(price.value()))),
        ("average_price", derived(order.average_price())),
        ("status", text(order.status.as_str())),
        ("reason", maybe(order.reason.map(|reason| reason.as_str()))),
        ("created", text(order.created)),
        ("time", text(order.time)),
        seq(sequence),
    ]
}

/// A fill.
pub fn fill(fill: &Fill, sequence: u64) -> Row {
    vec![
        ("fill_id", text(format_args!("{}-{}", fill.order_id, fill.number))),
        ("strategy", text(fill.strategy)),
        ("symbol", text(fill.symbol)),
        ("venue", text(fill.venue)),
        ("event_type", text(fill.event_type.as_str())),
        ("side", text(fill.side.as_str())),
        ("quantity", Cell::Number(fill.quantity.value())),
        ("price", Cell::Number(fill.price.value())),
        ("fee", Cell::Number(fill.fee.value())),
        ("fee_currency", text(fill.symbol.quote())),
        ("liquidity", text(fill.liquidity.as_str())),
        ("realized_pnl", Cell::Number(fill.realized_pnl.value())),
        ("position_quantity", Cell::Number(fill.position_quantity.value())),
        ("order_id", text(fill.order_id)),
        ("signal_id", maybe(fill.signal_id.as_ref())),
        ("time", text(fill.time)),
        seq(sequence),
    ]
}

/// A decided signal.
pub fn signal(signal: &SignalRecord, sequence: u64) -> Row {
    let result = &signal.result;
    let refusal = result.outcome.refusal();
    let detail = refusal.map(|refusal| refusal.detail.as_str()).or(result.note.as_deref());
    let orders: Vec<&str> = result.orders.iter().map(|order| order.as_str()).collect();
    vec![
        ("strategy", text(signal.strategy)),
        ("id", text(&signal.id)),
        ("symbol", text(signal.symbol)),
        ("signal_time", text(signal.signal_time)),
        ("status", text(result.outcome.as_str())),
        ("reason", maybe(refusal.map(|refusal| refusal.reason.as_str()))),
        ("detail", maybe(detail)),
        ("orders", text(orders.join(" "))),
        ("time", text(result.time)),
        seq(sequence),
    ]
}

/// Journalled equity of one scope.
pub fn equity(sample: &SampleRecord, scope: &ScopeSample, sequence: u64) -> Row {
    let name = match scope.scope {
        Scope::Strategy(id) => format!("strategy/{id}"),
        Scope::Type(kind) => format!("type/{kind}"),
        Scope::Portfolio => "portfolio".into(),
    };
    vec![
        ("scope", text(name)),
        ("equity", Cell::Number(scope.equity.value())),
        ("peak", Cell::Number(scope.peak.value())),
        ("day_start", Cell::Number(scope.day_start.value())),
        ("time", text(sample.time)),
        seq(sequence),
    ]
}

/// Whether a scope is this strategy; every scope is, when none is named.
pub fn is_of(scope: Scope, strategy: Option<StrategyId>) -> bool {
    strategy.is_none_or(|strategy| scope == Scope::Strategy(strategy))
}

/// The names, as the first line of a CSV file.
pub fn csv_header(row: &Row) -> String {
    let names: Vec<&str> = row.iter().map(|(name, _)| *name).collect();
    names.join(",")
}

/// A line of CSV as in RFC 4180.
pub fn csv(row: &Row) -> String {
    let cells: Vec<String> = row
        .iter()
        .map(|(_, cell)| match cell {
            Cell::Text(text) if text.contains([',', '"', '\n', '\r']) => {
                format!("\"{}\"", text.replace('"', "\"\""))
            }
            Cell::Text(text) => text.clone(),
            Cell::Number(number) => number.normalize().to_string(),
            Cell::Integer(number) => number.to_string(),
            Cell::Nothing => String::new(),
        })
        .collect();
    cells.join(",")
}

/// A JSON object.
pub fn json(row: &Row) -> String {
    let object = row.iter().fold(Object::new(), |object, (name, cell)| match cell {
        Cell::Text(text) => object.text(name, text),
        Cell::Number(number) => object.decimal(name, *number),
        Cell::Integer(number) => object.integer(name, *number),
        Cell::Nothing => object.null(name),
    });
    object.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must() {
        let row: Row = vec![
            ("a", text("x,\"y\"\nz")),
            ("b", Cell::Number(Decimal::new(1500, 3))),
            ("c", Cell::Nothing),
            ("d", text("plain")),
        ];
        assert_eq!((csv_header(&row), csv(&row)), ("a,b,c,d".into(), "\"x,\"\"y\"\"\nz\",1.5,,plain".into()));
        assert_eq!(json(&row), r#"{"a":"x,\"y\"\nz","b":1.5,"c":null,"d":"plain"}"#);
    }
}
