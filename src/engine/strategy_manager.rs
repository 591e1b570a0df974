//! Signals from outside: which are new, which are too old, and what they lead to.
//!
//! One result for each signal, and the same result again for the same signal. An exit is not stopped by levels, a stale
//! price, limits or a failing disk. The order of the checks is the contract of `docs/MQTT.md`.

use std::collections::BTreeMap;

use super::admission::{check_age, check_size, kept};
use super::decision::{Admitted, Decision, decide};
use super::desk::Desk;
use super::effect::{AlertLevel, Update};
use super::event::SignalMessage;
use super::exchange_control::ExchangeControl;
use super::record::{Record, SignalRecord};
use super::settings::{EngineSettings, StrategySettings};
use super::signal_history::{Decided, fingerprint};
use super::signal_rate::SignalRate;
use crate::model::ids::StrategyId;
use crate::model::market::MarketKey;
use crate::model::signal::{Outcome, Reason, Refusal, Signal, SignalResult};
use crate::model::time::Timestamp;

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

impl StrategyManager {
    /// The strategies of the settings.
    pub fn new(settings: &EngineSettings) -> StrategyManager {
        let all = settings.strategies.iter();
        let rates = all.clone().map(|s| (s.id, SignalRate::new(s.signals_per_minute_max))).collect();
        let strategies = all.map(|strategy| (strategy.id, strategy.clone())).collect();
        StrategyManager { strategies, rates, store_available: true, unanswerable: 0 }
    }

    /// Decides a signal, and journals its result or publishes one that is not journalled. `None` when it has no id.
    pub fn on_signal(
        &mut self,
        desk: &mut Desk<'_>,
        exchanges: &mut ExchangeControl,
        message: &SignalMessage,
    ) -> Option<SignalResult> {
        let signal = match &message.body {
            Ok(signal) => signal,
            Err(refusal) => return self.refuse_unread(desk, message, refusal),
        };
        let known = StrategyId::new(&message.strategy).ok().and_then(|id| self.strategies.get(&id));
        let Some(settings) = known else {
            let detail = format!("strategy: {:?} is not configured", message.strategy);
            let refusal = Refusal::new(Reason::UnknownStrategy, detail);
            return published(desk, result_of(desk.at, message, Outcome::Rejected(refusal)));
        };
        if let Some(decided) = desk.state().signals.find(desk.at, settings.id, &signal.id) {
            let result = repeat(desk.at, message, signal, &decided);
            return published(desk, result);
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
            return published(desk, result);
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
        Some(result)
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
        check_size(settings, signal)?;
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

    fn refuse_unread(
        &mut self,
        desk: &mut Desk<'_>,
        message: &SignalMessage,
        refusal: &Refusal,
    ) -> Option<SignalResult> {
        if message.id.is_some() {
            let result = result_of(desk.at, message, Outcome::Rejected(refusal.clone()));
            return published(desk, result);
        }
        self.unanswerable += 1;
        let strategy = StrategyId::new(&message.strategy).ok();
        let text = format!("{}: {} (number {})", refusal.reason.as_str(), refusal.detail, self.unanswerable);
        desk.alert(AlertLevel::Warning, "signal_refused", strategy, text);
        None
    }
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

/// Publishes a result that is not journalled.
fn published(desk: &mut Desk<'_>, result: SignalResult) -> Option<SignalResult> {
    desk.publish(Update::Result(result.clone()));
    Some(result)
}
