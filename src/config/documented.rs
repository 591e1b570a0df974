//! Tests that the schema, the code, `config/default.toml` and `docs/CONFIGURATION.md` know the same keys.

use std::collections::{BTreeMap, BTreeSet};

use super::schema::{Key, Kind, ROOT};
use super::value::constant;
use super::{Config, FileSource, Sources};

const DEFAULT_TOML: &str = include_str!("../../config/default.toml");
const DOCUMENT: &str = include_str!("../../docs/CONFIGURATION.md");

/// Calls `visit` with the path of each key that holds a value; `*` stands for a name of the user's.
fn leaves(path: &str, keys: &'static [Key], visit: &mut dyn FnMut(&str, &'static Key)) {
    for key in keys {
        let here = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        match key.kind {
            Kind::Table(keys) => leaves(&here, keys, visit),
            Kind::Named(keys) => leaves(&format!("{here}.*"), keys, visit),
            Kind::Tables(keys) => leaves(&format!("{here}[]"), keys, visit),
            _ => visit(&here, key),
        }
    }
}

/// Rows of the document: key path to its cells. `limits` and `paper` of strategies and types stand for their tables.
fn rows() -> BTreeMap<String, Vec<String>> {
    let mut rows = BTreeMap::new();
    let mut prefix = String::new();
    for line in DOCUMENT.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            prefix = match heading.split_once(']') {
                Some((name, " files")) => format!("{}.files[].", &name[1..]),
                Some((name, " default_size")) => format!("{}.default_size.", &name[1..]),
                Some((name, _)) => format!("{}.", &name[1..]),
                None => String::new(),
            };
        } else if line.starts_with("| `") {
            let cells: Vec<String> =
                line.trim_matches('|').split(" | ").map(|c| c.trim().replace('`', "")).collect();
            let path = format!("{prefix}{}", cells[0]);
            let path = ["NAME", "SYMBOL", "ID", "venue.blofin"].iter().fold(path, |path, name| {
                let star = if *name == "venue.blofin" { "venue.*" } else { "*" };
                path.replace(name, star)
            });
            assert!(rows.insert(path.clone(), cells).is_none(), "{path} is documented twice");
        }
    }
    rows
}

fn shared(path: &str) -> bool {
    (path.starts_with("type.") || path.starts_with("strategy."))
        && (path.contains(".limits.") || path.contains(".paper."))
}

#[test]
fn every_key_is_documented_and_every_documented_key_exists() {
    let mut rows = rows();
    leaves("", ROOT, &mut |path, key| {
        if shared(path) {
            return;
        }
        let cells = rows.remove(path).unwrap_or_else(|| panic!("{path} is not documented"));
        if cells.len() == 2 {
            return;
        }
        assert_eq!(cells.len(), 5, "{path}");
        let default = match key.kind {
            Kind::Numbers(_) => "100 each",
            _ if path == "instrument.*.size_min" => "the lot_size",
            _ if path == "mqtt.broker" => "embedded",
            _ => key.default.filter(|default| !default.is_empty()).unwrap_or("-"),
        };
        assert_eq!(cells[2], default, "default of {path}");
        let range = match key.kind {
            Kind::Integer(min, max) => format!("{min} to {max}"),
            Kind::Number(range) | Kind::Numbers(range) => range.to_string(),
            Kind::Words(words) => words.join(", "),
            _ => return,
        };
        assert_eq!(cells[3], range, "range of {path}");
    });
    let tables =
        ["type.*.limits", "strategy.*.limits", "strategy.*.paper", "strategy.*.default_size", "feed.*.files"];
    rows.retain(|path, _| !tables.contains(&path.as_str()));
    assert!(rows.is_empty(), "documented, but not there: {:?}", rows.keys());
}

#[test]
fn default_toml_is_the_default() {
    if !cfg!(feature = "embedded-broker") {
        return;
    }
    let loaded = Config::load(&Sources::of_text(DEFAULT_TOML)).unwrap().config;
    assert_eq!(format!("{loaded:?}"), format!("{:?}", Config::default()));
}

#[test]
fn default_toml_has_every_key_and_no_other() {
    let uncommented: String = DEFAULT_TOML
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') && !setting.is_empty() => format!("{setting}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let mut problems = match Config::load(&Sources::of_text(&uncommented)) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(|problem| problem.path.clone()).collect(),
    };
    // The example's recording does not exist, and not every build has the embedded broker.
    problems.retain(|path| path != "feed.tape.files[0].path");
    problems.retain(|path| path != "mqtt.broker" || cfg!(feature = "embedded-broker"));
    assert_eq!(problems, Vec::<String>::new());
    let rows = rows();
    let set: BTreeSet<&str> =
        uncommented.lines().filter_map(|line| Some(line.split_once(" = ")?.0.trim())).collect();
    leaves("", ROOT, &mut |path, key| {
        let later = rows.get(path).is_some_and(|cells| cells.len() == 2);
        let inline = path.starts_with("feed.*.files") || path.contains("default_size") || shared(path);
        if !later && !inline {
            assert!(set.contains(key.name), "{path} is not in default.toml");
        }
    });
}

/// Settings in which each key can be tried; keys of one kind of feed are tried at that kind.
fn concrete(path: &str) -> String {
    let synthetic = ["seed", "interval_ms", "volatility_pct", "spread_bps", "start_prices"];
    let last = path.rsplit('.').next().unwrap_or_default();
    let feed = if synthetic.contains(&last) { "feed.synthetic" } else { "feed.recording" };
    let path = path.replace("feed.*", feed).replace("instrument.*", "instrument.BTC-USDT");
    path.replace("type.*", "type.external").replace("venue.*", "venue.blofin").replace(".*", ".x")
}

#[test]
fn every_key_is_read() {
    leaves("", ROOT, &mut |pattern, key| {
        if pattern.contains("[]") {
            return;
        }
        let path = concrete(pattern);
        // A list in a list is right nowhere.
        let (table, _) = path.rsplit_once('.').unwrap_or(("", ""));
        let text = if table.is_empty() {
            format!("{} = [[1]]", key.name)
        } else {
            format!("[{table}]\n{} = [[1]]", key.name)
        };
        let problems = Config::load(&Sources::of_text(&text)).unwrap_err();
        let found = problems.iter().any(|problem| problem.path.trim_end_matches("[0]") == path);
        assert!(found, "{path}: {problems:?}");
    });
}

#[test]
fn defaults_and_limits_of_the_schema_are_valid() {
    leaves("", ROOT, &mut |path, key| match (key.kind, key.default) {
        (Kind::Integer(min, max), default) => {
            let default: Option<i64> = default.map(|text| text.parse().unwrap());
            assert!(default.is_none_or(|value| (min..=max).contains(&value)), "{path}");
        }
        (Kind::Number(range), default) => {
            assert!(constant(range.min) < constant(range.max), "{path}");
            let default = default.map(|text| super::value::in_range(constant(text), range));
            assert!(default.is_none_or(|read| read.is_ok()), "{path}");
        }
        (Kind::Words(words), Some(default)) => assert!(words.contains(&default), "{path}"),
        _ => {}
    });
    let nothing = Sources { file: FileSource::Nothing, ..Sources::of_text("") };
    assert!(Config::load(&nothing).is_ok());
}
