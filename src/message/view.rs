//! Outward JSON: one function for each payload of `docs/MQTT.md`, with its keys in the order of the page.
//!
//! Separate from the model on purpose, so that no subscriber can freeze the engine's types.

use rust_decimal::Decimal;

use super::json::Object;
use super::topic::Topics;
use crate::engine::effect::{
    Alert, KpiView, MoneyView, PositionView, PriceView, ScopeView, StrategyView, TickView, Update,
};
use crate::engine::record::{Difference, Scope};
use crate::model::amount::{Money, Price};
use crate::model::order::Side;
use crate::model::signal::SignalResult;
use crate::model::trading::PositionSide;

/// Decimals to which prices derived by a division are shown.
const DERIVED_DECIMALS: u32 = 10;
/// How long the broker keeps a retained price, in seconds.
pub const PRICE_EXPIRY_S: u32 = 180;
/// How long the broker keeps an alert for a subscriber that is away: a day.
const ALERT_EXPIRY_S: u32 = 86_400;

/// What figures are based on.
fn basis(live: bool) -> &'static str {
    if live { "live" } else { "paper" }
}

/// A message as it goes to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Full topic.
    pub topic: String,
    /// JSON or a word; empty clears a retained topic.
    pub payload: String,
    /// How it is sent.
    pub kind: MessageKind,
}

/// How a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// Retained, the newest replaces the older; with an expiry in seconds.
    Retained(Option<u32>),
    /// Retained like state, but sent once: whoever wants it again asks for it.
    Announcement,
    /// QoS 1, not retained.
    Once,
    /// QoS 1, not retained; the broker forgets it after so many seconds.
    Expiring(u32),
    /// QoS 0, not retained.
    Fleeting,
}

impl Message {
    fn retained(topic: String, payload: String) -> Message {
        Message { topic, payload, kind: MessageKind::Retained(None) }
    }

    pub(super) fn once(topic: String, payload: String) -> Message {
        Message { topic, payload, kind: MessageKind::Once }
    }
}

/// The messages of an update.
pub fn update(topics: &Topics, update: &Update) -> Vec<Message> {
    match update {
        Update::Price(view) => {
            let topic = topics.price(view.key.feed, view.key.symbol);
            let kind = MessageKind::Retained(Some(PRICE_EXPIRY_S));
            vec![Message { topic, payload: price(view).finish(), kind }]
        }
        Update::Tick(view) => {
            let topic = topics.tick(view.price.key.feed, view.price.key.symbol);
            vec![Message { topic, payload: tick(view), kind: MessageKind::Fleeting }]
        }
        Update::Alert(view) => {
            let kind = MessageKind::Expiring(ALERT_EXPIRY_S);
            vec![Message { topic: topics.at("daemon/alert"), payload: alert(view), kind }]
        }
        Update::Strategy(view) => {
            let topic = topics.strategy(view.strategy.as_str(), "state");
            vec![Message::retained(topic, strategy_state(view))]
        }
        Update::Scope(view) => {
            vec![Message::retained(scope_topic(topics, view.scope, "state"), scope_state(view))]
        }
        Update::Position(view) => {
            vec![Message::retained(topics.position(view.strategy, view.symbol), position(view))]
        }
        Update::Kpi(view) => vec![Message::retained(scope_topic(topics, view.scope, "kpi"), kpi(view))],
        Update::Level(level) => {
            vec![Message::retained(topics.at("daemon/level"), level.as_str().to_string())]
        }
        Update::Result(result) => {
            vec![Message::once(topics.strategy(&result.strategy, "signal/result"), signal_result(result))]
        }
        Update::ClearMarket(key) => {
            vec![Message::retained(topics.price(key.feed, key.symbol), String::new())]
        }
        Update::ClearFeed(feed) => vec![Message::retained(topics.feed(*feed), String::new())],
        Update::ClearType(kind) => {
            let topics = ["state", "kpi"].map(|what| topics.kind(*kind, what));
            topics.map(|topic| Message::retained(topic, String::new())).into()
        }
        Update::ClearStrategy { strategy, symbols, all } => {
            let positions = symbols.iter().map(|symbol| topics.position(*strategy, *symbol));
            let rest = ["state", "kpi"].iter().filter(|_| *all);
            let rest = rest.map(|what| topics.strategy(strategy.as_str(), what));
            positions.chain(rest).map(|topic| Message::retained(topic, String::new())).collect()
        }
    }
}

/// The answer to a signal.
pub fn signal_result(result: &SignalResult) -> String {
    signal_result_fields(Object::new(), result).finish()
}

pub(super) fn signal_result_fields(object: Object, result: &SignalResult) -> Object {
    let refusal = result.outcome.refusal();
    let detail = refusal.map(|refusal| refusal.detail.as_str()).or(result.note.as_deref());
    object
        .text_or_null("id", result.id.as_ref().map(|id| id.as_str()))
        .text("status", result.outcome.as_str())
        .text_or_null("reason", refusal.map(|refusal| refusal.reason.as_str()))
        .text_or_null("detail", detail)
        .texts("orders", result.orders.iter())
        .flag("repeated", result.repeated)
        .shown("time", result.time)
}

fn scope_topic(topics: &Topics, scope: Scope, what: &str) -> String {
    match scope {
        Scope::Strategy(id) => topics.strategy(id.as_str(), what),
        Scope::Type(kind) => topics.kind(kind, what),
        Scope::Portfolio => topics.at(&format!("portfolio/{what}")),
    }
}

pub(super) fn scope_name(scope: Scope) -> String {
    match scope {
        Scope::Strategy(id) => format!("strategy/{id}"),
        Scope::Type(kind) => format!("type/{kind}"),
        Scope::Portfolio => "portfolio".into(),
    }
}

pub(super) fn value(price: Option<Price>) -> Option<Decimal> {
    price.map(|price| price.value())
}

pub(super) fn derived(price: Option<Price>) -> Option<Decimal> {
    price.map(|price| price.value().round_dp(DERIVED_DECIMALS))
}

fn price(view: &PriceView) -> Object {
    Object::new()
        .shown("feed", view.key.feed)
        .shown("symbol", view.key.symbol)
        .decimal_or_null("last", value(view.last))
        .decimal_or_null("bid", value(view.bid))
        .decimal_or_null("ask", value(view.ask))
        .decimal_or_null("mark", value(view.mark))
        .shown("time", view.time)
        .flag("stale", view.stale)
}

fn tick(view: &TickView) -> String {
    price(&view.price)
        .decimal_or_null("quantity", view.quantity.map(|quantity| quantity.value()))
        .text_or_null("side", view.side.map(Side::as_str))
        .finish()
}

fn alert(alert: &Alert) -> String {
    Object::new()
        .text("level", alert.level.as_str())
        .text("code", alert.code)
        .text("text", &alert.text)
        .text_or_null("strategy", alert.strategy.as_ref().map(|id| id.as_str()))
        .shown("time", alert.time)
        .finish()
}

fn money(object: Object, money: &MoneyView) -> Object {
    object
        .decimal("balance", money.balance.value())
        .decimal("equity", money.equity.value())
        .decimal("unrealized_pnl", money.unrealized_pnl.value())
        .decimal("realized_pnl", money.realized_pnl.value())
        .decimal("fees", money.fees.value())
        .decimal("funding", money.funding.value())
        .decimal_or_null("drawdown_pct", drawdown_pct(money))
        .integer("open_positions", money.open_positions)
}

/// The fall from the peak in percent, rounded to 6 decimals; undefined without a positive peak.
fn drawdown_pct(money: &MoneyView) -> Option<Decimal> {
    let peak = money.peak.value();
    let fall = (peak - money.equity.value()).max(Decimal::ZERO) * Decimal::ONE_HUNDRED;
    (peak > Decimal::ZERO).then(|| (fall / peak).round_dp(6))
}

fn strategy_state(view: &StrategyView) -> String {
    let head = Object::new()
        .shown("strategy", view.strategy)
        .shown("type", view.kind)
        .text_or_null("feed", view.feed.as_ref().map(|feed| feed.as_str()))
        .text("mode", basis(view.live))
        .shown("venue", view.venue)
        .text("level", view.level.as_str())
        .text("level_effective", view.level_effective.as_str())
        .raw("reconcile", &differences(&view.reconcile))
        .decimal_or_null("drift_bps", view.drift_bps)
        .texts("symbols", view.symbols.iter());
    money(head, &view.money)
        .text_or_null("last_error", view.last_error.as_deref())
        .shown("time", view.time)
        .finish()
}

/// `null` when venue and ledger agree, as far as is known.
fn differences(differences: &[Difference]) -> String {
    match differences {
        [] => "null".to_string(),
        some => format!("[{}]", some.iter().map(|d| difference(d).finish()).collect::<Vec<_>>().join(",")),
    }
}

pub(super) fn difference(difference: &Difference) -> Object {
    let side = match difference.position_side {
        PositionSide::Net => "net",
        PositionSide::Long => "long",
        PositionSide::Short => "short",
    };
    Object::new()
        .shown("symbol", difference.symbol)
        .text("position_side", side)
        .decimal("venue_quantity", difference.venue.value())
        .decimal("ledger_quantity", difference.ledger.value())
}

fn scope_state(view: &ScopeView) -> String {
    let head = Object::new().text("scope", &scope_name(view.scope)).text("basis", basis(view.live));
    money(head, &view.money).shown("time", view.time).finish()
}

pub(super) fn position(view: &PositionView) -> String {
    let side = match (view.quantity.is_positive(), view.quantity.is_negative()) {
        (true, _) => "long",
        (_, true) => "short",
        _ => "flat",
    };
    Object::new()
        .shown("strategy", view.strategy)
        .shown("symbol", view.symbol)
        .shown("venue", view.venue)
        .text("side", side)
        .decimal("quantity", view.quantity.abs().value())
        .decimal_or_null("entry_price", derived(view.entry_price))
        .decimal_or_null("mark_price", value(view.mark_price))
        .decimal("unrealized_pnl", view.unrealized_pnl.value())
        .decimal("realized_pnl", view.realized_pnl.value())
        .decimal("fees", view.fees.value())
        .decimal_or_null("stop_loss", value(view.stop_loss))
        .decimal_or_null("take_profit", value(view.take_profit))
        .text_or_null("opened_at", view.opened_at.map(|time| time.to_string()).as_deref())
        .shown("time", view.time)
        .finish()
}

pub(super) fn kpi(view: &KpiView) -> String {
    let kpis = &view.kpis;
    let money = |value: Option<Money>| value.map(|money| money.value());
    Object::new()
        .text("scope", &scope_name(view.scope))
        .text("basis", basis(view.live))
        .shown("from", view.from)
        .shown("to", view.to)
        .integer("observations", kpis.observations)
        .float_or_null("sharpe", kpis.sharpe)
        .float_or_null("sortino", kpis.sortino)
        .float_or_null("volatility", kpis.volatility)
        .float_or_null("cagr", kpis.cagr)
        .float_or_null("calmar", kpis.calmar)
        .float_or_null("max_drawdown", kpis.max_drawdown)
        .decimal("max_drawdown_abs", kpis.max_drawdown_abs.value())
        .integer("max_drawdown_duration_days", kpis.max_drawdown_duration_days)
        .float_or_null("total_return", kpis.total_return)
        .float_or_null("recovery_factor", kpis.recovery_factor)
        .integer("trades", kpis.trades)
        .integer("wins", kpis.wins)
        .integer("losses", kpis.losses)
        .integer("breakeven", kpis.breakeven)
        .float_or_null("win_rate", kpis.win_rate)
        .float_or_null("win_rate_decided", kpis.win_rate_decided)
        .decimal("gross_profit", kpis.gross_profit.value())
        .decimal("gross_loss", kpis.gross_loss.value())
        .decimal("net", kpis.net.value())
        .float_or_null("profit_factor", kpis.profit_factor)
        .decimal_or_null("avg_win", money(kpis.avg_win))
        .decimal_or_null("avg_loss", money(kpis.avg_loss))
        .float_or_null("payoff_ratio", kpis.payoff_ratio)
        .decimal_or_null("expectancy", money(kpis.expectancy))
        .float_or_null("expectancy_r", kpis.expectancy_r)
        .float_or_null("sqn", kpis.sqn)
        .float_or_null("exposure", kpis.exposure)
        .decimal("fees", kpis.fees.value())
        .decimal("funding", kpis.funding.value())
        .finish()
}
