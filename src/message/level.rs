//! Level commands: a plain word, or JSON `{"level", "id", "time"}`.
//!
//! The plain word is enough to tighten. Loosening needs JSON, so that an old or repeated message cannot set the daemon
//! trading again; the engine decides, because it knows the present level.

use super::fields::{Fields, short};
use crate::engine::event::{Level, LevelCommand, LevelScope, ReplyToken};
use crate::model::ids::{SignalId, StrategyId};
use crate::model::signal::{Reason, Refusal};

/// Reads a level command for the daemon (`None`) or the strategy that the topic names.
pub fn read(token: ReplyToken, strategy: Option<&str>, payload: &[u8], retained: bool) -> LevelCommand {
    let scope = match strategy {
        None => Ok(LevelScope::Daemon),
        Some(name) => match StrategyId::new(name) {
            Ok(id) => Ok(LevelScope::Strategy(id)),
            Err(error) => Err(Refusal::new(Reason::UnknownStrategy, error.to_string())),
        },
    };
    let mut command =
        LevelCommand { token, scope, level: Err(malformed("empty".into())), time: None, id: None };
    if retained {
        let detail = "retain flag: a retained level would be repeated at every start";
        command.level = Err(Refusal::new(Reason::Retained, detail));
        return command;
    }
    if payload.first() != Some(&b'{') {
        let word = String::from_utf8_lossy(&payload[..payload.len().min(64)]).trim().to_string();
        command.level = level_of(&word);
        return command;
    }
    match Fields::read(payload) {
        Ok(fields) => read_fields(&mut command, &fields),
        Err(refusal) => command.level = Err(refusal),
    }
    command
}

fn read_fields(command: &mut LevelCommand, fields: &Fields) {
    if let Some(unknown) = fields.unknown(&["level", "id", "time"]) {
        command.level = Err(malformed(format!("{}: unknown field", short(unknown))));
        return;
    }
    command.level = match fields.text("level") {
        Ok(Some(word)) => level_of(&word),
        Ok(None) => Err(malformed("level: missing".into())),
        Err(refusal) => Err(refusal),
    };
    match fields.time("time") {
        Ok(time) => command.time = time,
        Err(refusal) => command.level = Err(refusal),
    }
    match fields.text("id").map(|id| id.map(|id| SignalId::new(&id)).transpose()) {
        Ok(Ok(id)) => command.id = id,
        Ok(Err(error)) => command.level = Err(malformed(format!("id: {error}"))),
        Err(refusal) => command.level = Err(refusal),
    }
}

fn level_of(word: &str) -> Result<Level, Refusal> {
    let unknown = || malformed(format!("level: {:?} is not one of run, pause, reduce, flatten", short(word)));
    Level::parse(word).ok_or_else(unknown)
}

fn malformed(detail: String) -> Refusal {
    Refusal::new(Reason::Malformed, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_json() {
        let check = |payload: &str, expected: &str| {
            let command = read(0, None, payload.as_bytes(), false);
            let shown = match command.level {
                Ok(level) => {
                    format!("{} {:?} {}", level.as_str(), command.time.is_some(), command.id.is_some())
                }
                Err(refusal) => refusal.detail,
            };
            assert_eq!(shown, expected, "{payload}");
        };
        check("pause", "pause false false");
        check(" flatten\n", "flatten false false");
        check("stop", "level: \"stop\" is not one of run, pause, reduce, flatten");
        check(r#"{"level":"run","id":"a","time":"2026-11-20T20:00:05Z"}"#, "run true true");
        check(r#"{"level":"run","id":""}"#, "id: \"\" is not a signal id: it is empty");
        check(r#"{"id":"a"}"#, "level: missing");
        check(r#"{"level":"run","when":1}"#, "when: unknown field");
        check("", "level: \"\" is not one of run, pause, reduce, flatten");
    }
}
