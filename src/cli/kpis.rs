//! `kpis`: key figures, one column for each scope.

use std::str::FromStr;

use rust_decimal::Decimal;
use serde_json::Value;

use super::arguments::{Arguments, KpisArguments};
use super::exit::{Exit, Failure};
use super::output::Align::{Left, Right};
use super::output::{self, table};
use super::snapshot::Snapshot;
use super::{payload, settings};

/// Decimals that are shown; money has no more.
const DECIMALS: u32 = 8;

/// The order of rows. Keys of newer daemons follow at the end.
const KEYS: [&str; 33] = [
    "basis",
    "from",
    "to",
    "observations",
    "sharpe",
    "sortino",
    "volatility",
    "cagr",
    "calmar",
    "max_drawdown",
    "max_drawdown_abs",
    "max_drawdown_duration_days",
    "total_return",
    "recovery_factor",
    "trades",
    "wins",
    "losses",
    "breakeven",
    "win_rate",
    "win_rate_decided",
    "gross_profit",
    "gross_loss",
    "net",
    "profit_factor",
    "avg_win",
    "avg_loss",
    "payoff_ratio",
    "expectancy",
    "expectancy_r",
    "sqn",
    "exposure",
    "fees",
    "funding",
];

/// Shows key figures of a strategy, of a type, of the portfolio, or of all.
pub fn kpis(arguments: &Arguments, command: &KpisArguments) -> Result<Exit, Failure> {
    let client = settings::load_client(arguments, &command.bus)?;
    let filters = match (&command.strategy, &command.kind, command.portfolio) {
        (Some(id), ..) => vec![format!("strategy/{id}/kpi")],
        (_, Some(kind), _) => vec![format!("type/{kind}/kpi")],
        (.., true) => vec!["portfolio/kpi".to_owned()],
        _ => ["portfolio/kpi", "type/+/kpi", "strategy/+/kpi"].map(String::from).to_vec(),
    };
    let states = ["strategy/+/state", "type/+/state"].map(String::from);
    let snapshot = Snapshot::read(&client, &[filters.as_slice(), &states].concat())?;
    if let Some(id) = &command.strategy {
        snapshot.require("strategy", id.as_str())?;
    }
    if let Some(kind) = &command.kind {
        snapshot.require("type", kind.as_str())?;
    }
    let payloads: Vec<&str> = filters.iter().flat_map(|filter| snapshot.all(filter)).collect();
    if arguments.json {
        let raw: Vec<String> = payloads.into_iter().map(payload::raw).collect();
        output::print_line(&format!("[{}]", raw.join(",")))?;
    } else if payloads.is_empty() {
        output::print_line("no key figures yet")?;
    } else {
        let values: Vec<Value> = payloads.into_iter().map(payload::read).collect();
        output::print(&text(&values))?;
    }
    snapshot.finish(&client)
}

fn text(scopes: &[Value]) -> String {
    let names: Vec<String> = scopes.iter().map(|scope| payload::field(scope, "scope")).collect();
    let mut header = vec![("kpi", Left)];
    header.extend(names.iter().map(|name| (name.as_str(), Right)));
    let objects = || scopes.iter().filter_map(Value::as_object);
    let mut keys: Vec<&str> =
        KEYS.into_iter().filter(|key| objects().any(|object| object.contains_key(*key))).collect();
    for key in objects().flat_map(|object| object.keys()) {
        if key != "scope" && !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    table(
        &header,
        keys.into_iter().map(|key| {
            let values = scopes.iter().map(|scope| rounded(payload::field(scope, key)));
            std::iter::once(payload::printable(key)).chain(values).collect()
        }),
    )
}

/// A number with as many decimals as can be read; anything else as it is.
fn rounded(cell: String) -> String {
    match Decimal::from_str(&cell) {
        Ok(number) if number.scale() > DECIMALS => number.round_dp(DECIMALS).normalize().to_string(),
        _ => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::effect::{KpiView, Update};
    use crate::engine::record::Scope;
    use crate::message::topic::Topics;
    use crate::message::view;
    use crate::model::kpi::Kpis;
    use crate::model::time::Timestamp;

    #[test]
    fn every_figure_has_its_row() {
        let kpis = Kpis { sharpe: Some(1.0 / 3.0), trades: 4, ..Kpis::default() };
        let view =
            KpiView { scope: Scope::Portfolio, live: false, from: Timestamp::MIN, to: Timestamp::MIN, kpis };
        let message = &view::update(&Topics::new("t"), &Update::Kpi(Box::new(view)))[0];
        let mut shown = text(&[payload::read(&message.payload)]);
        let first: Vec<&str> = shown.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(first, [&["kpi"], &KEYS[..]].concat());
        // The payload has the rows in the same order.
        let at = |key: &&str| message.payload.find(&format!("\"{key}\":")).unwrap();
        assert!(KEYS.is_sorted_by_key(at), "{}", message.payload);
        shown.retain(|c| c != ' ');
        for line in ["kpiportfolio\n", "\nsharpe0.33333333\n", "\ntrades4\n", "\nsortino-\n"] {
            assert!(shown.contains(line), "{shown}");
        }
    }

    #[test]
    fn scopes_stand_side_by_side() {
        let scopes = [r#"{"scope":"type/x","net":-5}"#, r#"{"scope":"strategy/s","net":12.5,"newer":1}"#];
        assert_eq!(
            text(&scopes.map(payload::read)),
            "kpi    type/x  strategy/s\nnet        -5        12.5\nnewer       -           1\n"
        );
    }
}
