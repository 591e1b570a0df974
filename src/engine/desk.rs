//! What the parts of the engine work with while one event is handled: the time, the durable state, the prices, and
//! the way out.

use super::effect::{Alert, AlertLevel, Effect, Update};
use super::price_module::PriceModule;
use super::record::Record;
use super::state::State;
use crate::model::ids::StrategyId;
use crate::model::time::Timestamp;

/// Borrowed for one event.
pub struct Desk<'a> {
    /// The event's time.
    pub at: Timestamp,
    /// What survives. Changed only through [`Desk::record`].
    state: &'a mut State,
    /// The prices.
    pub prices: &'a PriceModule,
    effects: &'a mut Vec<Effect>,
}

impl<'a> Desk<'a> {
    /// A desk for one event.
    pub fn new(
        at: Timestamp,
        state: &'a mut State,
        prices: &'a PriceModule,
        effects: &'a mut Vec<Effect>,
    ) -> Desk<'a> {
        Desk { at, state, prices, effects }
    }

    /// The durable state, to read.
    pub fn state(&self) -> &State {
        self.state
    }

    /// Makes a fact: applies it and has it journalled.
    pub fn record(&mut self, record: Record) {
        self.state.apply(&record);
        self.effects.push(Effect::Persist(record));
    }

    /// Publishes.
    pub fn publish(&mut self, update: Update) {
        self.effects.push(Effect::Publish(update));
    }

    /// Asks for any effect.
    pub fn emit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Tells a person.
    pub fn alert(
        &mut self,
        level: AlertLevel,
        code: &'static str,
        strategy: Option<StrategyId>,
        text: impl Into<String>,
    ) {
        let alert = Alert { level, code, text: text.into(), strategy, time: self.at };
        self.effects.push(Effect::Publish(Update::Alert(alert)));
    }
}
