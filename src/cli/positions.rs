//! `positions`: what is held.

use super::arguments::{Arguments, PositionsArguments};
use super::exit::{Exit, Failure};
use super::output::Align::{Left, Right};
use super::output::{self, Align, table};
use super::snapshot::Snapshot;
use super::{payload, settings};

const COLUMNS: [(&str, Align); 10] = [
    ("strategy", Left),
    ("symbol", Left),
    ("side", Left),
    ("quantity", Right),
    ("entry_price", Right),
    ("mark_price", Right),
    ("unrealized_pnl", Right),
    ("realized_pnl", Right),
    ("fees", Right),
    ("opened_at", Left),
];

/// Shows positions, by strategy and symbol.
pub fn positions(arguments: &Arguments, command: &PositionsArguments) -> Result<Exit, Failure> {
    let client = settings::load_client(arguments, &command.bus)?;
    let strategy = command.strategy.as_ref().map_or("+", |id| id.as_str());
    let filter = format!("strategy/{strategy}/position/+");
    let snapshot = Snapshot::read(&client, &[filter.clone(), "strategy/+/state".to_owned()])?;
    if let Some(id) = &command.strategy {
        snapshot.require("strategy", id.as_str())?;
    }
    let shown = held(&snapshot, &filter, command.all);
    if arguments.json {
        let raw: Vec<String> = shown.into_iter().map(payload::raw).collect();
        output::print_line(&format!("[{}]", raw.join(",")))?;
    } else if shown.is_empty() {
        output::print_line(if command.all { "no positions" } else { "no open positions" })?;
    } else {
        let values: Vec<_> = shown.into_iter().map(payload::read).collect();
        output::print(&table(&COLUMNS, payload::rows(&values, &COLUMNS.map(|(key, _)| key))))?;
    }
    snapshot.finish(&client)
}

/// The payloads of positions, without those that are known to be flat unless `all` are wanted.
fn held<'a>(snapshot: &'a Snapshot, filter: &str, all: bool) -> Vec<&'a str> {
    let mut payloads = snapshot.all(filter);
    payloads.retain(|text| all || payload::field(&payload::read(text), "side") != "flat");
    payloads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_positions_are_left_out() {
        let flat = r#"{"side":"flat"}"#;
        let snapshot = Snapshot::of(&[
            ("strategy/a/position/BTC-USDT", r#"{"side":"long"}"#),
            ("strategy/a/position/ETH-USDT", flat),
            ("strategy/b/position/ETH-USDT", "not JSON"),
        ]);
        let check = |filter: &str, all: bool, count: usize| {
            assert_eq!(held(&snapshot, filter, all).len(), count, "{filter} {all}");
        };
        check("strategy/+/position/+", false, 2);
        check("strategy/+/position/+", true, 3);
        check("strategy/a/position/+", false, 1);
    }
}
