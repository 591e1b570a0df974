//! The log of what the engine did: one line for each thing that a person would ask about.

use crate::engine::effect::{AlertLevel, Effect, Update};
use crate::engine::event::LevelScope;
use crate::engine::record::Record;
use crate::message::tradingview::ReadAlert;

/// Logs an effect, or nothing for the many that are of no interest afterwards.
pub fn log(effect: &Effect) {
    match effect {
        Effect::Persist(record) => log_record(record),
        Effect::Publish(Update::Alert(alert)) => {
            let strategy = alert.strategy.map(|id| id.to_string()).unwrap_or_default();
            let (code, text) = (alert.code, alert.text.as_str());
            match alert.level {
                AlertLevel::Info => tracing::info!(code, strategy, "{text}"),
                AlertLevel::Warning => tracing::warn!(code, strategy, "{text}"),
                AlertLevel::Error => tracing::error!(code, strategy, "{text}"),
            }
        }
        Effect::Publish(Update::Result(result)) => {
            let refusal = result.outcome.refusal();
            let reason = refusal.map_or("", |refusal| refusal.reason.as_str());
            let detail = refusal.map_or("", |refusal| refusal.detail.as_str());
            let id = result.id.as_ref().map_or("", |id| id.as_str());
            let (strategy, status) = (result.strategy.as_str(), result.outcome.as_str());
            tracing::info!(strategy, id, status, reason, repeated = result.repeated, "signal {detail}");
        }
        Effect::Send(_) | Effect::Publish(_) | Effect::Reply { .. } | Effect::Answer { .. } => {}
    }
}

/// Logs what an alert says and tradebus does not follow, because its sender may wonder.
pub fn log_alert(alert: &ReadAlert) {
    if let Ok(read) = &alert.body
        && !read.ignored.is_empty()
    {
        let (strategy, fields) = (alert.strategy.as_str(), read.ignored.join(", "));
        tracing::info!(strategy, fields, "sizes in an alert that do not count");
    }
}

fn log_record(record: &Record) {
    match record {
        Record::Signal(signal) => {
            let refusal = signal.result.outcome.refusal();
            let reason = refusal.map_or("", |refusal| refusal.reason.as_str());
            let detail = refusal.map_or("", |refusal| refusal.detail.as_str());
            let (strategy, id, status) =
                (signal.strategy.as_str(), signal.id.as_str(), signal.result.outcome.as_str());
            tracing::info!(strategy, id, status, reason, "signal {detail}");
        }
        Record::Fill(fill) => tracing::info!(
            strategy = fill.strategy.as_str(),
            symbol = fill.symbol.as_str(),
            event = fill.event_type.as_str(),
            side = fill.side.as_str(),
            quantity = %fill.quantity,
            price = %fill.price,
            position = %fill.position_quantity,
            "fill"
        ),
        Record::Trade(trade) => tracing::info!(
            strategy = trade.strategy.as_str(),
            symbol = trade.symbol.as_str(),
            quantity = %trade.quantity,
            pnl = %trade.pnl,
            "trade closed"
        ),
        Record::Level(level) => {
            let scope = match level.scope {
                LevelScope::Daemon => "daemon".to_string(),
                LevelScope::Strategy(id) => id.to_string(),
            };
            tracing::warn!(scope, level = level.level.as_str(), cause = ?level.cause, "level");
        }
        Record::Store { id, .. } => tracing::info!(store = id.as_str(), "a new store"),
        Record::Strategy(strategy) => {
            tracing::info!(strategy = strategy.id.as_str(), balance = %strategy.balance, "strategy registered");
        }
        Record::Adjustment { strategy, amount, .. } => {
            tracing::info!(strategy = strategy.as_str(), amount = %amount, "capital adjusted");
        }
        Record::Order(order) if order.status.is_final() && order.reason.is_some() => {
            let reason = order.reason.map_or("", |reason| reason.as_str());
            let (strategy, id) = (order.strategy.as_str(), order.order_id.as_str());
            tracing::info!(strategy, id, status = order.status.as_str(), reason, "order");
        }
        _ => {}
    }
}

/// What a panic said.
pub(super) fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic without a text").to_string()
}
