//! Which exchange a strategy has: live with an account, else paper.

use super::settings::{EngineSettings, StrategySettings};
use super::state::State;
use crate::exchange::Exchange;
use crate::exchange::live::{LiveExchange, LiveSettings};
use crate::exchange::paper::PaperExchange;
use crate::model::order::{Order, OrderStatus};

/// The exchange of a strategy with its orders: live when the strategy has an account, else paper. This choice is the
/// only difference.
pub(super) fn open(
    settings: &EngineSettings,
    strategy: &StrategySettings,
    state: &State,
) -> Box<dyn Exchange> {
    let account = settings.accounts.iter().find(|account| Some(account.id) == strategy.account);
    if let Some(account) = account {
        let (account, margin_mode) = (account.id, account.margin_mode);
        let traded = |other: &&StrategySettings| other.account == strategy.account;
        let shared = settings.strategies.iter().filter(traded).count() > 1;
        let settings = LiveSettings { strategy: strategy.id, account, margin_mode, shared };
        let mut exchange = LiveExchange::new(settings, strategy.paper.clone());
        let own = state.live.orders.values().filter(|live| live.order.strategy == strategy.id);
        own.for_each(|live| exchange.restore_live(live));
        let stops = state.stops.positions().filter(|(id, ..)| *id == strategy.id);
        stops.filter_map(|(.., stops)| stops.kept.as_ref()).for_each(|stop| exchange.restore_stop(stop));
        let at_venue = state.live.stops.values().filter(|live| live.strategy == strategy.id);
        at_venue.for_each(|live| exchange.restore_live_stop(live));
        return Box::new(exchange);
    }
    let mut exchange = PaperExchange::new(strategy.paper.clone());
    let mut resting: Vec<&Order> =
        state.orders.values().filter(|order| is_resting(order, strategy, state)).collect();
    resting.sort_by_key(|order| (order.created, order.order_id));
    resting.into_iter().for_each(|order| exchange.restore(order));
    let stops = state
        .stops
        .positions()
        .filter(|(id, symbol, _)| *id == strategy.id && strategy.markets.contains_key(symbol));
    stops.filter_map(|(.., stops)| stops.kept.as_ref()).for_each(|stop| exchange.restore_stop(stop));
    Box::new(exchange)
}

/// Whether an order of the journal rests at this strategy's exchange, or a touched stop became it.
fn is_resting(order: &Order, strategy: &StrategySettings, state: &State) -> bool {
    let rests = matches!(order.status, OrderStatus::Working | OrderStatus::PartlyFilled);
    order.strategy == strategy.id
        && !state.live.orders.contains_key(&order.order_id)
        && (rests || order.is_of_stop())
        && strategy.markets.contains_key(&order.symbol)
}
