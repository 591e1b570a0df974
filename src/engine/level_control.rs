//! Level commands: tightening at any age, loosening only fresh, as JSON, and with an id that was not used.

use super::admission::{AGE_MS_MAX, check_time};
use super::desk::Desk;
use super::effect::{AlertLevel, Effect, Update};
use super::event::{Level, LevelCommand, LevelScope};
use super::exchange_control::ExchangeControl;
use super::record::LevelCause;
use super::strategy_manager::StrategyManager;
use crate::model::signal::{Reason, Refusal};

impl StrategyManager {
    /// Takes a level command: tightening at any age, loosening only fresh and with an id that was not used.
    pub fn on_level(&mut self, desk: &mut Desk<'_>, exchanges: &mut ExchangeControl, command: &LevelCommand) {
        let refused = match self.level_of(desk, command) {
            Ok((scope, level)) => {
                let id = command.id.clone();
                exchanges.set_level(desk, scope, level, LevelCause::Command, id);
                None
            }
            Err(refusal) => Some(refusal),
        };
        if let Some(refusal) = &refused {
            let strategy = match &command.scope {
                Ok(LevelScope::Strategy(id)) => Some(*id),
                _ => None,
            };
            let text = format!("{}: {}", refusal.reason.as_str(), refusal.detail);
            desk.alert(AlertLevel::Warning, "level_refused", strategy, text);
            // The sender sees the true state again, whatever its switch shows.
            let known = strategy.and_then(|id| exchanges.account_of(id));
            known.into_iter().for_each(|index| exchanges.touch(index));
            let level = desk.state().level.level;
            desk.publish(Update::Level(level));
        }
        desk.emit(Effect::Reply { token: command.token, result: None, refusal: refused });
    }

    fn level_of(&self, desk: &Desk<'_>, command: &LevelCommand) -> Result<(LevelScope, Level), Refusal> {
        let scope = command.scope.clone()?;
        let level = command.level.clone()?;
        let present = match scope {
            LevelScope::Daemon => desk.state().level.level,
            LevelScope::Strategy(id) if self.strategies.contains_key(&id) => {
                desk.state().strategies[&id].level.level
            }
            LevelScope::Strategy(id) => {
                let detail = format!("strategy: {:?} is not configured", id.as_str());
                return Err(Refusal::new(Reason::UnknownStrategy, detail));
            }
        };
        if level < present || level == Level::Run {
            check_loosening(desk, command, self.store_available)?;
        }
        Ok((scope, level))
    }
}

fn check_loosening(desk: &Desk<'_>, command: &LevelCommand, store_available: bool) -> Result<(), Refusal> {
    let refuse = |reason, detail: String| Err(Refusal::new(reason, detail));
    let (Some(time), Some(id)) = (command.time, &command.id) else {
        let detail = "level: loosening needs JSON with level, id and time".into();
        return refuse(Reason::Malformed, detail);
    };
    if !store_available {
        return refuse(Reason::StoreUnavailable, "the store fails: levels can only be tightened".into());
    }
    if desk.state().level_commands.contains(id) {
        return refuse(Reason::Duplicate, format!("id: {id} was used before"));
    }
    check_time(desk.at, time, AGE_MS_MAX)
}
