//! What must hold between positions and their stops after every event.

use tradebus::engine::Engine;
use tradebus::model::order::Order;

/// What must hold of stops after every event: an exchange keeps one exactly for what is held and has triggers, for all
/// of it, unless the order of a touched one works; and only working entries bring some with them.
pub fn check_stops(engine: &Engine) {
    let state = engine.state();
    for settings in &engine.settings().strategies {
        let positions = &state.strategies[&settings.id].positions;
        for symbol in settings.markets.keys().copied() {
            let kept = engine.kept_stop(settings.id, symbol);
            let stops = state.stops.of_position(settings.id, symbol);
            assert_eq!(kept, stops.and_then(|stops| stops.kept.as_ref()), "the exchange knows another stop");
            let of_stop = |order: &&Order| order.strategy == settings.id && order.symbol == symbol;
            let closing = || state.orders.values().filter(of_stop).filter(|order| order.is_of_stop());
            // What a venue made of a stop is a fact, also beside an order of our own; that one was sent and expires.
            let sent = |order: &&Order| {
                state.live.orders.get(&order.order_id).is_none_or(|live| live.note.expires > order.created)
            };
            let made = closing().filter(|order| !sent(order)).count();
            assert!(made <= 1 && closing().count() - made <= 1, "orders of stops for one position");
            let closing = closing().count();
            assert_eq!(kept.is_some(), stops.is_some() && closing == 0, "{} {symbol}", settings.id);
            let Some(position) = positions.get(&symbol) else {
                assert!(stops.is_none(), "a stop without a position");
                continue;
            };
            if let Some(kept) = kept {
                assert_eq!((kept.side, kept.quantity), (position.side().opposite(), position.quantity.abs()));
                let triggers = &stops.expect("it is kept").triggers;
                let prices =
                    [&triggers.stop_loss, &triggers.take_profit].map(|t| t.as_ref().map(|t| t.price));
                assert_eq!([kept.stop_loss, kept.take_profit], prices);
            }
        }
    }
    for (id, triggers) in state.stops.orders() {
        assert!(
            !triggers.is_empty() && !state.orders[&id].reduce_only,
            "stops of an order that enters nothing"
        );
    }
}
