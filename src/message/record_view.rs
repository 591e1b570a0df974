//! Outward JSON of what is kept for good: orders, fills, and closed trades, each with the number of its record.

use super::json::Object;
use super::topic::Topics;
use super::view::{Message, derived, signal_result, value};
use crate::engine::record::Record;
use crate::model::ids::StrategyId;
use crate::model::order::{Order, Side};
use crate::model::report::{Fill, Trade};

/// The event message of a record, if it has one. `sequence` is the record's.
pub fn event(topics: &Topics, record: &Record, sequence: u64, replayed: bool) -> Option<Message> {
    let (strategy, what, payload): (StrategyId, _, _) = match record {
        Record::Order(order) => (order.strategy, "order", self::order(order, sequence, replayed)),
        Record::Fill(fill) => (fill.strategy, "fill", self::fill(fill, sequence, replayed)),
        Record::Trade(trade) => (trade.strategy, "trade", self::trade(trade, sequence, replayed)),
        Record::Signal(signal) => (signal.strategy, "signal/result", signal_result(&signal.result)),
        _ => return None,
    };
    Some(Message::once(topics.strategy(strategy.as_str(), what), payload))
}

/// An order; `sequence` is its latest record's.
pub fn order(order: &Order, sequence: u64, replayed: bool) -> String {
    Object::new()
        .shown("strategy", order.strategy)
        .shown("symbol", order.symbol)
        .shown("venue", order.venue)
        .shown("order_id", order.order_id)
        .text_or_null("signal_id", order.signal_id.as_ref().map(|id| id.as_str()))
        .text("side", order.side.as_str())
        .text("order_type", order.order_type.as_str())
        .decimal("quantity", order.quantity.value())
        .decimal("filled_quantity", order.filled_quantity.value())
        .decimal_or_null("price", value(order.order_type.price()))
        .decimal_or_null("average_price", derived(order.average_price()))
        .text("status", order.status.as_str())
        .text_or_null("reason", order.reason.map(|reason| reason.as_str()))
        .integer("seq", sequence)
        .flag("replayed", replayed)
        .shown("time", order.time)
        .finish()
}

/// A fill; `sequence` is its record's.
pub fn fill(fill: &Fill, sequence: u64, replayed: bool) -> String {
    Object::new()
        .shown("strategy", fill.strategy)
        .shown("symbol", fill.symbol)
        .shown("venue", fill.venue)
        .text("event_type", fill.event_type.as_str())
        .text("side", fill.side.as_str())
        .decimal("quantity", fill.quantity.value())
        .decimal("price", fill.price.value())
        .decimal("fee", fill.fee.value())
        .text("fee_currency", fill.symbol.quote())
        .text("liquidity", fill.liquidity.as_str())
        .decimal("realized_pnl", fill.realized_pnl.value())
        .decimal("position_quantity", fill.position_quantity.value())
        .shown("order_id", fill.order_id)
        .text_or_null("signal_id", fill.signal_id.as_ref().map(|id| id.as_str()))
        .text("fill_id", &format!("{}-{}", fill.order_id, fill.number))
        .integer("seq", sequence)
        .flag("replayed", replayed)
        .shown("time", fill.time)
        .finish()
}

/// A closed trade; `sequence` is its record's.
pub fn trade(trade: &Trade, sequence: u64, replayed: bool) -> String {
    let side = if trade.side == Side::Buy { "long" } else { "short" };
    Object::new()
        .text("id", &trade.id)
        .shown("strategy", trade.strategy)
        .shown("symbol", trade.symbol)
        .shown("venue", trade.venue)
        .text("side", side)
        .shown("open_time", trade.open_time)
        .shown("close_time", trade.close_time)
        .decimal_or_null("open_price", derived(Some(trade.open_price)))
        .decimal_or_null("close_price", derived(Some(trade.close_price)))
        .decimal("quantity", trade.quantity.value())
        .text("status", "closed")
        .decimal("pnl", trade.pnl.value())
        .decimal("fees", trade.fees.value())
        .decimal("funding", trade.funding.value())
        .integer("seq", sequence)
        .flag("replayed", replayed)
        .finish()
}
