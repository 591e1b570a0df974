//! What an admitted signal leads to: a plan, an order, or a change of stops.

use super::admission::{check_deviation, kept, store_fails};
use super::desk::Desk;
use super::event::SignalOrigin;
use super::exchange_control::{ExchangeControl, is_sent_exit};
use super::exposure::Opening;
use super::order_manager::{OPEN_ORDERS_MAX, OrderDraft, order_id};
use super::record::{Record, TriggersRecord};
use super::settings::StrategySettings;
use super::signal_rate::Room;
use super::sizing::{Plan, PlanInput, plan};
use super::stop_wish::{names_stops, price_entered, prices_of, stop_targets, triggers_of};
use crate::exchange::matching::{taker_price, within_limit};
use crate::model::amount::{Quantity, Ratio};
use crate::model::ids::ClientOrderId;
use crate::model::instrument::Instrument;
use crate::model::market::MarketKey;
use crate::model::order::{Order, OrderReason, OrderType, Side};
use crate::model::signal::{Outcome, Reason, Refusal, Signal};
use crate::model::stop::Triggers;
use crate::risk::approve_reduction;

/// A signal that may be planned.
pub(super) struct Admitted<'a> {
    pub(super) settings: &'a StrategySettings,
    pub(super) account: usize,
    pub(super) key: MarketKey,
    pub(super) origin: SignalOrigin,
    pub(super) room: Room,
}

/// What became of an admitted signal.
pub(super) struct Decision {
    pub(super) outcome: Outcome,
    pub(super) orders: Vec<ClientOrderId>,
    pub(super) note: Option<String>,
}

impl Decision {
    pub(super) fn rejected(refusal: Refusal) -> Decision {
        Decision { outcome: Outcome::Rejected(refusal), orders: Vec::new(), note: None }
    }

    fn done(outcome: Outcome) -> Decision {
        Decision { outcome, orders: Vec::new(), note: None }
    }
}

/// Plans an admitted signal, holds it against the limits, and sends its order.
pub(super) fn decide(
    desk: &mut Desk<'_>,
    exchanges: &mut ExchangeControl,
    admitted: &Admitted<'_>,
    signal: &Signal,
    store_available: bool,
) -> Decision {
    if let Some(blocked) = exchanges.blocked(desk.state(), admitted.account) {
        return Decision::rejected(kept(&admitted.room, signal, blocked, store_available));
    }
    let planned = match plan_of(desk, exchanges, admitted, signal) {
        Ok(planned) => planned,
        Err(refusal) => return Decision::rejected(kept(&admitted.room, signal, refusal, store_available)),
    };
    let crowded = admitted.room.refusal(signal.action);
    let (quantity, opened, cancel_first, only_closes) = match planned {
        Plan::Unchanged => {
            let change = || change_stops(desk, exchanges, admitted, signal, store_available);
            return crowded.map_or_else(change, Decision::rejected);
        }
        Plan::CancelOnly => {
            cancel_symbol(desk, exchanges, admitted, signal);
            let held = desk.state().strategies[&admitted.settings.id].positions.contains_key(&signal.symbol);
            return Decision::done(if held { Outcome::Accepted } else { Outcome::Filled });
        }
        Plan::Order { quantity, opened, cancel_first, only_closes } => {
            (quantity, opened, cancel_first, only_closes)
        }
    };
    if let Some(crowded) = crowded.filter(|_| !opened.is_zero()) {
        return Decision::rejected(crowded);
    }
    if !store_available && !opened.is_zero() {
        return Decision::rejected(store_fails());
    }
    if cancel_first {
        cancel_symbol(desk, exchanges, admitted, signal);
    }
    let mut decision = match send_all(desk, exchanges, admitted, signal, (quantity, opened)) {
        Ok(decision) => decision,
        Err(refusal) => return Decision::rejected(admitted.room.or(signal.action, refusal)),
    };
    let mut notes = Vec::new();
    if only_closes {
        notes.push("the level allows only the closing part of this flip".to_string());
    }
    if names_stops(signal) && !brings_stops(signal, quantity, opened) {
        notes.extend(stops_beside(desk, exchanges, admitted, signal));
    }
    decision.note = (!notes.is_empty()).then(|| notes.join("; "));
    decision
}

/// Sets the stops that a target names which finds its side held in the right size.
fn change_stops(
    desk: &mut Desk<'_>,
    exchanges: &mut ExchangeControl,
    admitted: &Admitted<'_>,
    signal: &Signal,
    store_available: bool,
) -> Decision {
    let market = desk.prices.get(admitted.key).expect("a strategy's market is configured");
    let prices = prices_of(desk.state(), admitted.settings.id, signal, market.reference());
    let triggers = match triggers_of(desk.state(), signal, market.view(desk.at).instrument, prices) {
        Ok(triggers) => triggers,
        Err(refusal) => {
            return Decision::rejected(kept(&admitted.room, signal, refusal, store_available));
        }
    };
    let targets = stop_targets(desk.state(), admitted.settings.id, signal, &triggers);
    if targets.is_empty() {
        return Decision::done(Outcome::Unchanged);
    }
    if !store_available {
        return Decision::rejected(store_fails());
    }
    exchanges.set_stops(desk, admitted.account, signal.symbol, &targets, &triggers);
    Decision { note: Some("the stops were changed".into()), ..Decision::done(Outcome::Filled) }
}

/// Whether the stops that a signal names belong to its order: one that opens or enlarges the side that it names.
fn brings_stops(signal: &Signal, quantity: Quantity, opened: Quantity) -> bool {
    !opened.is_zero() && Side::of(quantity) == signal.action.side()
}

/// Sets the stops that a target names whose order makes its side smaller: of what is held, and of what works for it.
/// An exit is not refused for them; gives what a person should know.
fn stops_beside(
    desk: &mut Desk<'_>,
    exchanges: &mut ExchangeControl,
    admitted: &Admitted<'_>,
    signal: &Signal,
) -> Option<String> {
    let market = desk.prices.get(admitted.key).expect("a strategy's market is configured");
    let prices = prices_of(desk.state(), admitted.settings.id, signal, market.reference());
    if !signal.action.is_target() || prices.is_none() {
        return Some("stop_loss and take_profit are not kept: this only reduces".into());
    }
    match triggers_of(desk.state(), signal, market.view(desk.at).instrument, prices) {
        Ok(triggers) => {
            let targets = stop_targets(desk.state(), admitted.settings.id, signal, &triggers);
            exchanges.set_stops(desk, admitted.account, signal.symbol, &targets, &triggers);
            None
        }
        Err(refusal) => Some(format!("the stops were not changed: {}", refusal.detail)),
    }
}

fn plan_of(
    desk: &Desk<'_>,
    exchanges: &ExchangeControl,
    admitted: &Admitted<'_>,
    signal: &Signal,
) -> Result<Plan, Refusal> {
    let settings = admitted.settings;
    let market = desk.prices.get(admitted.key).expect("a strategy's market is configured");
    let view = market.view(desk.at);
    let ledger = &desk.state().strategies[&settings.id];
    let position = ledger.positions.get(&signal.symbol).map_or(Quantity::ZERO, |p| p.quantity);
    let orders =
        || exchanges.open_orders(desk.state(), admitted.account).filter(|o| o.symbol == signal.symbol);
    let exits = |which: fn(&Order) -> bool| {
        exchanges.working_exits(desk.state(), admitted.account, signal.symbol, position, which)
    };
    let market_price = || taker_price(signal.action.side(), &view, Ratio::ZERO).or(market.reference());
    let no_price = Refusal::new(Reason::NoPrice, format!("{} has not sent a price yet", admitted.key.feed));
    let stale = match market.age_ms(desk.at) {
        None => Some(no_price),
        Some(age_ms) if age_ms > market.stale_after_ms() => {
            let limit_ms = market.stale_after_ms();
            let detail = format!("the price was confirmed {age_ms} ms ago, the limit is {limit_ms} ms");
            Some(Refusal::new(Reason::StalePrice, detail))
        }
        Some(_) => None,
    };
    let limit = settings.price_deviation_max_pct;
    let gate = exchanges.gate(desk.state(), admitted.account);
    let unfit = gate.or(stale).or_else(|| check_deviation(admitted.origin, limit, market.reference()).err());
    let daemon = desk.state().level.effective(desk.at);
    plan(&PlanInput {
        action: signal.action,
        size: signal.size.or(settings.default_size),
        size_is_default: signal.size.is_none(),
        stop_loss: signal.stop_loss,
        position,
        working: orders().map(|order| order.remaining_signed()).sum(),
        exits_working: exits(|_| true),
        exits_sent: exits(|order| order.order_type == OrderType::Market),
        exits_only: exits(is_sent_exit),
        has_orders: orders().any(|order| !is_sent_exit(order)),
        price: signal.order_type.price().or_else(market_price),
        price_unfit: unfit.as_ref(),
        equity: exchanges.accounts()[admitted.account].book().equity(),
        instrument: view.instrument,
        level: ledger.level.effective(desk.at).max(daemon),
    })
}

/// Sends what is planned: one order, or two for a flip where long and short positions lie beside each other.
fn send_all(
    desk: &mut Desk<'_>,
    exchanges: &mut ExchangeControl,
    admitted: &Admitted<'_>,
    signal: &Signal,
    (quantity, opened): (Quantity, Quantity),
) -> Result<Decision, Refusal> {
    let flips = !opened.is_zero() && opened < quantity.abs();
    if !flips || !exchanges.splits_flips(desk.state(), admitted.account) {
        return send(desk, exchanges, admitted, signal, Leg { name: "0", quantity, opened, flips });
    }
    let (opening, zero) = (Side::of(quantity).signed(opened), Quantity::ZERO);
    let closing = Leg { name: "0", quantity: quantity - opening, opened: zero, flips: false };
    let mut decision = send(desk, exchanges, admitted, signal, closing)?;
    let leg = Leg { name: "1", quantity: opening, opened, flips };
    match send(desk, exchanges, admitted, signal, leg) {
        Ok(opened) => decision.orders.extend(opened.orders),
        Err(refusal) => decision.note = Some(format!("only the closing part was sent: {}", refusal.detail)),
    }
    decision.outcome = Outcome::Accepted;
    Ok(decision)
}

/// One order of a signal.
struct Leg {
    name: &'static str,
    /// Signed base units.
    quantity: Quantity,
    /// The part that opens, without sign.
    opened: Quantity,
    /// Whether this order, or the leg before it, closes a position.
    flips: bool,
}

/// Makes the order, has it approved and submits it.
fn send(
    desk: &mut Desk<'_>,
    exchanges: &mut ExchangeControl,
    admitted: &Admitted<'_>,
    signal: &Signal,
    Leg { name, quantity, opened, flips }: Leg,
) -> Result<Decision, Refusal> {
    let settings = admitted.settings;
    let market = desk.prices.get(admitted.key).expect("a strategy's market is configured");
    let instrument = market.view(desk.at).instrument;
    let order_type = order_type_of(instrument, signal, Side::of(quantity))?;
    let store = desk.state().store_id.expect("the store has an id since its first record");
    let id = order_id(store, settings.id, signal.id.as_str(), signal.time, name);
    let draft = OrderDraft {
        strategy: settings.id,
        symbol: signal.symbol,
        venue: settings.venue,
        signal_id: Some(signal.id.clone()),
        quantity_signed: quantity,
        order_type,
        reduce_only: opened.is_zero(),
    };
    let order = draft.order(id, desk.at);
    if !opened.is_zero() || order_type.price().is_some() {
        check_open_orders(desk, exchanges, admitted)?;
    }
    let mut triggers = Triggers::default();
    let approved = if opened.is_zero() {
        approve_reduction(order)
    } else {
        let side = Side::of(quantity);
        let taker = taker_price(side, &market.view(desk.at), settings.paper.slippage_bps);
        let limit = order_type.price();
        if brings_stops(signal, quantity, opened) {
            let entered = price_entered(side, limit, market.reference()).map(|price| (price, price));
            triggers = triggers_of(desk.state(), signal, instrument, entered)?;
        }
        let Some(price) = limit.or(taker).or(market.reference()) else {
            return Err(Refusal::new(Reason::NoPrice, "the feed has not sent a price yet"));
        };
        // What fills at once is held at the mark from then on.
        let at_once = taker.is_none_or(|taker| limit.is_none_or(|limit| within_limit(side, limit, taker)));
        let mark = market.mark().filter(|mark| at_once && *mark > price).unwrap_or(price);
        // A flip that rests or is on its way may find its position gone, and then all of it opens.
        let certain = at_once && settings.paper.latency_ms == 0 && !market.view(desk.at).from_candle;
        let opened = if certain { opened } else { quantity.abs() };
        let opening = Opening {
            notional: instrument.notional(price, opened),
            exposure: instrument.notional(mark, opened),
            flips,
        };
        exchanges.approve(desk, admitted.account, order, opening)?
    };
    if !triggers.is_empty() {
        let (strategy, symbol, order_id) = (settings.id, signal.symbol, Some(id));
        let named = TriggersRecord { strategy, symbol, order_id, triggers, time: desk.at };
        desk.record(Record::Triggers(named));
    }
    exchanges.submit(desk, admitted.account, approved);
    let outcome = if desk.state().orders.contains_key(&id) { Outcome::Accepted } else { Outcome::Filled };
    Ok(Decision { outcome, orders: vec![id], note: None })
}

fn order_type_of(instrument: &Instrument, signal: &Signal, side: Side) -> Result<OrderType, Refusal> {
    match signal.order_type {
        OrderType::Market => Ok(OrderType::Market),
        OrderType::Limit { price } if instrument.is_below_tick(price) => {
            let detail =
                format!("price: {price} is below the tick {} of {}", instrument.tick_size(), signal.symbol);
            Err(Refusal::new(Reason::Malformed, detail))
        }
        OrderType::Limit { price } => Ok(OrderType::Limit { price: instrument.round_limit(price, side) }),
    }
}

fn check_open_orders(
    desk: &Desk<'_>,
    exchanges: &ExchangeControl,
    admitted: &Admitted<'_>,
) -> Result<(), Refusal> {
    let open = exchanges.open_orders(desk.state(), admitted.account).count();
    if open >= OPEN_ORDERS_MAX {
        let detail = format!("{open} orders are working, the limit is {OPEN_ORDERS_MAX}");
        return Err(Refusal::new(Reason::LimitExceeded, detail));
    }
    Ok(())
}

fn cancel_symbol(
    desk: &mut Desk<'_>,
    exchanges: &mut ExchangeControl,
    admitted: &Admitted<'_>,
    signal: &Signal,
) {
    let symbol = signal.symbol;
    let which = |order: &Order| order.symbol == symbol && !is_sent_exit(order);
    exchanges.cancel_orders(desk, admitted.account, OrderReason::Flat, which);
}
