//! Signals from outside: which are new, which are too old, and what they lead to.
//!
//! One result for each signal, and the same result again for the same signal. An exit is not stopped by levels, a stale
//! price, limits or a failing disk. The order of the checks is the contract of `docs/MQTT.md`.

use std::collections::BTreeMap;

use super::admission::{check_age, check_deviation, check_supported, kept, store_fails};
use super::desk::Desk;
use super::effect::{AlertLevel, Effect, Update};
use super::event::{ReplyToken, SignalMessage, SignalOrigin};
use super::exchange_control::{ExchangeControl, is_sent_exit};
use super::exposure::Opening;
use super::order_manager::{OPEN_ORDERS_MAX, OrderDraft, order_id};
use super::record::{Record, SignalRecord};
use super::settings::{EngineSettings, StrategySettings};
use super::signal_history::{Decided, fingerprint};
use super::signal_rate::{Room, SignalRate};
use super::sizing::{Plan, PlanInput, plan};
use crate::exchange::matching::{taker_price, within_limit};
use crate::model::amount::{Quantity, Ratio};
use crate::model::ids::{ClientOrderId, StrategyId};
use crate::model::market::MarketKey;
use crate::model::order::{Order, OrderReason, OrderType, Side};
use crate::model::signal::{Action, Outcome, Reason, Refusal, Signal, SignalResult};
use crate::model::time::Timestamp;
use crate::risk::approve_reduction;

/// The strategies and the road of their signals.
#[derive(Debug)]
pub struct StrategyManager {
    pub(super) strategies: BTreeMap<StrategyId, StrategySettings>,
    /// How many signals each may still send.
    rates: BTreeMap<StrategyId, SignalRate>,
    /// Whether records reach the disk.
    pub store_available: bool,
    /// Messages without a readable id, which get an alert instead of a result.
    unanswerable: u64,
}

/// A signal that may be planned.
struct Admitted<'a> {
    settings: &'a StrategySettings,
    account: usize,
    key: MarketKey,
    origin: SignalOrigin,
    room: Room,
}

/// What became of an admitted signal.
struct Decision {
    outcome: Outcome,
    orders: Vec<ClientOrderId>,
    note: Option<String>,
}

impl StrategyManager {
    /// The strategies of the settings.
    pub fn new(settings: &EngineSettings) -> StrategyManager {
        let all = settings.strategies.iter();
        let rates = all.clone().map(|s| (s.id, SignalRate::new(s.signals_per_minute_max))).collect();
        let strategies = all.map(|strategy| (strategy.id, strategy.clone())).collect();
        StrategyManager { strategies, rates, store_available: true, unanswerable: 0 }
    }

    /// Decides a signal and answers it.
    pub fn on_signal(
        &mut self,
        desk: &mut Desk<'_>,
        exchanges: &mut ExchangeControl,
        message: &SignalMessage,
    ) {
        let token = message.token;
        let signal = match &message.body {
            Ok(signal) => signal,
            Err(refusal) => return self.refuse_unread(desk, message, refusal),
        };
        let known = StrategyId::new(&message.strategy).ok().and_then(|id| self.strategies.get(&id));
        let Some(settings) = known else {
            let detail = format!("strategy: {:?} is not configured", message.strategy);
            let refusal = Refusal::new(Reason::UnknownStrategy, detail);
            return answer(desk, token, result_of(desk.at, message, Outcome::Rejected(refusal)));
        };
        if let Some(decided) = desk.state().signals.find(desk.at, settings.id, &signal.id).cloned() {
            let result = repeat(desk.at, message, signal, &decided);
            return answer(desk, token, result);
        }
        let rate = self.rates.get_mut(&settings.id).expect("every strategy has a rate");
        let room = rate.room(desk, settings.id);
        let decision = match self.admit(desk, exchanges, settings, signal) {
            Ok((account, key)) => {
                let admitted = Admitted { settings, account, key, origin: message.origin, room };
                decide(desk, exchanges, &admitted, signal, self.store_available)
            }
            Err(refusal) => Decision::rejected(kept(&room, signal, refusal, self.store_available)),
        };
        let target_applied = signal.action.is_target() && decision.outcome.refusal().is_none();
        let mut result = result_of(desk.at, message, decision.outcome);
        result.orders = decision.orders;
        result.note = decision.note;
        if let Some(index) = exchanges.account_of(settings.id) {
            exchanges.touch(index);
        }
        if result.outcome.refusal().is_some_and(|refusal| refusal.reason.frees_id()) {
            return answer(desk, token, result);
        }
        desk.record(Record::Signal(SignalRecord {
            strategy: settings.id,
            id: signal.id.clone(),
            fingerprint: fingerprint(signal),
            symbol: signal.symbol,
            signal_time: signal.time,
            target_applied,
            result: result.clone(),
        }));
        desk.emit(Effect::Reply { token, result: Some(result), refusal: None });
    }

    /// Everything that can be judged before the position is looked at, in the order of the contract. Gives the
    /// strategy's account and the market.
    fn admit(
        &self,
        desk: &Desk<'_>,
        exchanges: &ExchangeControl,
        settings: &StrategySettings,
        signal: &Signal,
    ) -> Result<(usize, MarketKey), Refusal> {
        let refuse = |reason, detail: String| Err(Refusal::new(reason, detail));
        let Some(key) = settings.markets.get(&signal.symbol).copied() else {
            let known: Vec<&str> = settings.markets.keys().map(|symbol| symbol.as_str()).collect();
            let (symbol, known) = (signal.symbol, known.join(", "));
            return refuse(
                Reason::UnknownSymbol,
                format!("symbol: {symbol} is not one of {known} of {}", settings.id),
            );
        };
        check_supported(settings, signal)?;
        check_age(desk.at, signal)?;
        if let (Some(least), Some(confidence)) = (settings.confidence_min, signal.confidence)
            && confidence < least
        {
            return refuse(Reason::LowConfidence, format!("confidence: {confidence} is below {least}"));
        }
        let applied = desk.state().strategies[&settings.id].targets.get(&signal.symbol);
        if let Some(applied) = applied.filter(|applied| signal.action.is_target() && signal.time < **applied)
        {
            let detail = format!("time: {} is before the last applied target, {applied}", signal.time);
            return refuse(Reason::Superseded, detail);
        }
        let account = exchanges.account_of(settings.id).expect("every strategy has an account");
        Ok((account, key))
    }

    fn refuse_unread(&mut self, desk: &mut Desk<'_>, message: &SignalMessage, refusal: &Refusal) {
        if message.id.is_some() {
            let result = result_of(desk.at, message, Outcome::Rejected(refusal.clone()));
            return answer(desk, message.token, result);
        }
        self.unanswerable += 1;
        let strategy = StrategyId::new(&message.strategy).ok();
        let text = format!("{}: {} (number {})", refusal.reason.as_str(), refusal.detail, self.unanswerable);
        desk.alert(AlertLevel::Warning, "signal_refused", strategy, text);
        desk.emit(Effect::Reply { token: message.token, result: None, refusal: Some(refusal.clone()) });
    }
}

impl Decision {
    fn rejected(refusal: Refusal) -> Decision {
        Decision { outcome: Outcome::Rejected(refusal), orders: Vec::new(), note: None }
    }

    fn done(outcome: Outcome) -> Decision {
        Decision { outcome, orders: Vec::new(), note: None }
    }
}

/// Plans an admitted signal, holds it against the limits, and sends its order.
fn decide(
    desk: &mut Desk<'_>,
    exchanges: &mut ExchangeControl,
    admitted: &Admitted<'_>,
    signal: &Signal,
    store_available: bool,
) -> Decision {
    let planned = match plan_of(desk, exchanges, admitted, signal) {
        Ok(planned) => planned,
        Err(refusal) => return Decision::rejected(kept(&admitted.room, signal, refusal, store_available)),
    };
    let crowded = admitted.room.refusal(signal.action);
    let (quantity, opened, cancel_first, only_closes) = match planned {
        Plan::Unchanged => {
            return crowded.map_or_else(|| Decision::done(Outcome::Unchanged), Decision::rejected);
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
    let mut decision = match send(desk, exchanges, admitted, signal, (quantity, opened)) {
        Ok(decision) => decision,
        Err(refusal) => return Decision::rejected(admitted.room.or(signal.action, refusal)),
    };
    if only_closes {
        decision.note = Some("the level allows only the closing part of this flip".into());
    }
    decision
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
    let side = match signal.action {
        Action::Long | Action::Buy => Side::Buy,
        Action::Short | Action::Sell | Action::Flat => Side::Sell,
    };
    let market_price = || taker_price(side, &view, Ratio::ZERO).or(market.reference());
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
    let unfit = stale.or_else(|| check_deviation(admitted.origin, limit, market.reference()).err());
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

/// Makes the order, has it approved and submits it.
fn send(
    desk: &mut Desk<'_>,
    exchanges: &mut ExchangeControl,
    admitted: &Admitted<'_>,
    signal: &Signal,
    (quantity, opened): (Quantity, Quantity),
) -> Result<Decision, Refusal> {
    let settings = admitted.settings;
    let market = desk.prices.get(admitted.key).expect("a strategy's market is configured");
    let instrument = market.view(desk.at).instrument;
    let order_type = match signal.order_type {
        OrderType::Market => OrderType::Market,
        OrderType::Limit { price } if instrument.is_below_tick(price) => {
            let detail =
                format!("price: {price} is below the tick {} of {}", instrument.tick_size(), signal.symbol);
            return Err(Refusal::new(Reason::Malformed, detail));
        }
        OrderType::Limit { price } => {
            OrderType::Limit { price: instrument.round_limit(price, Side::of(quantity)) }
        }
    };
    let store = desk.state().store_id.expect("the store has an id since its first record");
    let id = order_id(store, settings.id, signal.id.as_str(), signal.time, "0");
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
    let flips = !opened.is_zero() && opened < quantity.abs();
    let approved = if opened.is_zero() {
        approve_reduction(order)
    } else {
        let side = Side::of(quantity);
        let taker = taker_price(side, &market.view(desk.at), settings.paper.slippage_bps);
        let limit = order_type.price();
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
    exchanges.submit(desk, admitted.account, approved);
    let outcome = if desk.state().orders.contains_key(&id) { Outcome::Accepted } else { Outcome::Filled };
    Ok(Decision { outcome, orders: vec![id], note: None })
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

/// The answer to a signal whose id was decided before.
fn repeat(at: Timestamp, message: &SignalMessage, signal: &Signal, decided: &Decided) -> SignalResult {
    let same = decided.fingerprint.is_none_or(|known| known == fingerprint(signal));
    if same {
        return SignalResult { repeated: true, ..decided.result.clone() };
    }
    let detail = format!("id: {} was used by another signal", signal.id);
    result_of(at, message, Outcome::Rejected(Refusal::new(Reason::Duplicate, detail)))
}

fn result_of(at: Timestamp, message: &SignalMessage, outcome: Outcome) -> SignalResult {
    SignalResult {
        strategy: message.strategy.clone(),
        id: message.id.clone(),
        outcome,
        note: None,
        orders: Vec::new(),
        repeated: false,
        time: at,
    }
}

/// Publishes and replies a result that is not journalled.
fn answer(desk: &mut Desk<'_>, token: ReplyToken, result: SignalResult) {
    desk.publish(Update::Result(result.clone()));
    desk.emit(Effect::Reply { token, result: Some(result), refusal: None });
}
