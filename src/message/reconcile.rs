//! What venues and ledgers hold side by side, as the answer to `reconcile` tells it.

use super::json::Object;
use super::view::{difference, value};
use crate::engine::reconcile_plan::{
    AccountPlan, PairPlan, ReconcilePlan, ReconcileView, Standing, StrategyPlan,
};
use crate::model::trading::{OrderState, StopState};

/// The data of the answer.
pub(super) fn plan(plan: &ReconcilePlan) -> String {
    Object::new()
        .values("differences", plan.differences.iter().map(view))
        .values("accounts", plan.accounts.iter().map(account))
        .finish()
}

fn view(view: &ReconcileView) -> String {
    difference(&view.difference)
        .shown("strategy", view.strategy)
        .decimal_or_null("price", value(view.price))
        .finish()
}

fn account(plan: &AccountPlan) -> String {
    Object::new()
        .shown("account", plan.account)
        .shown("venue", plan.venue)
        .flag("compared", plan.compared)
        .text_or_null("compared_at", plan.compared_at.map(|time| time.to_string()).as_deref())
        .values("pairs", plan.pairs.iter().map(pair))
        .values("unknown_orders", plan.orders.iter().map(order))
        .values("unknown_stops", plan.stops.iter().map(stop))
        .integer("unknown", plan.unknown as i128)
        .finish()
}

fn pair(plan: &PairPlan) -> String {
    let standing = match plan.standing {
        Standing::Equal => "equal",
        Standing::Unconfirmed => "unconfirmed",
        Standing::Differs => "differs",
        Standing::Foreign => "foreign",
    };
    difference(&plan.pair)
        .decimal("difference", (plan.pair.venue - plan.pair.ledger).value())
        .text("standing", standing)
        .values("strategies", plan.strategies.iter().map(strategy))
        .finish()
}

fn strategy(plan: &StrategyPlan) -> String {
    Object::new()
        .shown("strategy", plan.strategy)
        .decimal("quantity", plan.quantity.value())
        .decimal("accepts", plan.accepts.value())
        .decimal_or_null("price", value(plan.price))
        .finish()
}

fn order(order: &OrderState) -> String {
    Object::new()
        .shown("venue_order_id", order.venue_order_id)
        .text_or_null("order_id", order.order_id.map(|id| id.to_string()).as_deref())
        .shown("symbol", order.symbol)
        .text("side", order.side.as_str())
        .decimal("quantity", order.quantity.value())
        .decimal("filled_quantity", order.filled_quantity.value())
        .shown("time", order.time)
        .finish()
}

fn stop(stop: &StopState) -> String {
    Object::new()
        .shown("venue_order_id", stop.venue_order_id)
        .text_or_null("order_id", stop.stop_id.map(|id| id.to_string()).as_deref())
        .shown("symbol", stop.symbol)
        .text("side", stop.side.as_str())
        .decimal_or_null("quantity", stop.quantity.map(|quantity| quantity.value()))
        .decimal_or_null("stop_loss", value(stop.stop_loss))
        .decimal_or_null("take_profit", value(stop.take_profit))
        .shown("time", stop.time)
        .finish()
}
