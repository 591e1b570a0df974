//! `docs/PROMISES.md`: every row is there, and every test and script that it names exists. And a promise that has no
//! other place.

use std::path::Path;

use tradebus::engine::effect::Effect;
use tradebus::model::signal::SignalResult;
use tradebus::store::record::encode_state;

use crate::chance;
use crate::rig::{self, Rig};
use crate::support::random::Random;

const ROWS: usize = 25;
const SIGNALS: u64 = 10_000;
/// Between two signals, so that all are within the memory of 7 days and the limits of a minute.
const STEP_MS: i64 = 3_000;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What is wrong with something that the page names; a name of ours is a test, a script, or a file.
fn complaint(name: &str) -> Option<String> {
    let word = name.split(' ').next().unwrap_or_default();
    let (path, function) = word.split_once("::").unwrap_or((word, ""));
    let ours = ["tests/", "src/", "scripts/", "examples/"].iter().any(|folder| path.starts_with(folder));
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    match () {
        () if !ours => None,
        () if !place.exists() => Some(format!("{name}: there is no {path}")),
        () if function.is_empty() => None,
        () if !read(path).contains(&format!("fn {function}(")) => Some(format!("{name}: no such test")),
        () => None,
    }
}

#[test]
fn everything_that_the_page_names_exists() {
    let page = read("docs/PROMISES.md");
    let names: Vec<&str> = page.split('`').skip(1).step_by(2).collect();
    let complaints: Vec<String> = names.iter().filter_map(|name| complaint(name)).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
    let row = |number: usize| page.lines().find(|line| line.starts_with(&format!("| {number} |")));
    for number in 1..=ROWS {
        let row = row(number).unwrap_or_else(|| panic!("row {number} is missing"));
        let cells: Vec<&str> = row.split(" | ").collect();
        let checked = cells[2].contains('`') || cells[2].contains("see tests/it/");
        assert!(cells.len() == 4 && checked, "row {number} names no check: {row}");
    }
    assert!(complaint("tests/it/promises.rs::no_such_test").is_some());
    assert!(complaint("scripts/no-such-script 7").is_some());
}

/// Replaying a log of signals changes nothing: the state is the same to the byte, and each gets its first answer.
#[test]
fn ten_thousand_signals_sent_twice_make_one_ledger() {
    let mut random = Random::new(1);
    let mut rig = Rig::new(chance::settings(0));
    rig.send(rig::start_event());
    let mut sent = Vec::new();
    let answer = |effects: Vec<Effect>| -> SignalResult {
        let result = effects.into_iter().find_map(|effect| match effect {
            Effect::Reply { result, .. } => result,
            _ => None,
        });
        result.expect("an answer")
    };
    for number in 0..SIGNALS {
        rig.now = rig.now.plus_ms(STEP_MS);
        let tick = chance::market(&mut random, rig.now);
        rig.send(tick);
        let (strategy, json) = chance::signal(&mut random, &format!("n{number}"), rig.now);
        let result = answer(rig.send(rig::signal_event(number, strategy, &json, false)));
        sent.push((strategy, json, result));
    }
    let (before, records) = (encode_state(rig.engine.state()), rig.records.len());
    for (number, (strategy, json, first)) in sent.into_iter().enumerate() {
        let result = answer(rig.send(rig::signal_event(number as u64, strategy, &json, false)));
        let freed = first.outcome.refusal().is_some_and(|refusal| refusal.reason.frees_id());
        assert!(freed || result == SignalResult { repeated: true, ..first });
    }
    assert_eq!((rig.records.len(), encode_state(rig.engine.state())), (records, before));
}
