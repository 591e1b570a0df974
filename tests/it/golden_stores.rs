//! Stores that released versions left: each opens, folds to what it always folded to, and is traded on by the built
//! program. `scripts/golden-store` makes one with each release; what is in `tests/golden/stores` never changes.
//!
//! `UPDATE_GOLDEN=1` rewrites the text beside a store: only columns and lines may come, never another figure.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tradebus::engine::record::Record;
use tradebus::engine::state::State;
use tradebus::store::{Ledger, ledger};

use crate::support::bus::Bus;
use crate::support::fake_blofin::now_ms;
use crate::support::mosquitto::{Mosquitto, Setup};
use crate::support::program::{Ended, Program};

const TABLES: [&str; 5] = ["trades", "orders", "fills", "signals", "equity"];
/// Left only by a bug, and by a venue that changes its last word.
const NOT_MADE: [&str; 2] = ["Poisoned", "Correction"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/stores")
}

/// The folders of released stores, by version.
fn versions() -> Vec<String> {
    let entries =
        std::fs::read_dir(folder()).expect("the stores").map(|entry| entry.expect("an entry").path());
    let folders = entries.filter(|path| path.is_dir());
    let mut names: Vec<String> =
        folders.map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect();
    names.sort();
    assert!(!names.is_empty());
    names
}

/// A copy that may be written to.
struct Copied(TempDir);

impl Copied {
    fn of(version: &str) -> Copied {
        let copied = Copied(TempDir::new().expect("a folder"));
        let from = folder().join(version);
        std::fs::create_dir_all(copied.store().join("journal")).expect("a folder");
        for below in ["", "journal"] {
            for entry in std::fs::read_dir(from.join(below)).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_file() {
                    let name = path.file_name().expect("a name");
                    std::fs::copy(&path, copied.store().join(below).join(name)).expect("a file");
                }
            }
        }
        copied
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("store")
    }

    /// A command about it, and what it said.
    fn asks(&self, name: &str, arguments: &[&str]) -> Ended {
        let store = self.store().display().to_string();
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--store", &store]).collect();
        let log = self.0.path().join(name);
        let ended = Program::start(&arguments, &log).wait();
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.log);
        std::fs::remove_file(log).expect("its log");
        ended
    }

    fn opened(&self) -> State {
        let (_ledger, opening) = Ledger::open(&self.store()).expect("a store of a release opens");
        opening.state
    }
}

/// How many records there are of each kind.
fn kinds(store: &Path, last: u64) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    ledger::for_each_record(store, 1, last, |_, record: Record| {
        let text = format!("{record:?}");
        let end = text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
        *kinds.entry(text[..end].to_owned()).or_insert(0) += 1;
        true
    })
    .expect("its records");
    kinds
}

/// Money, positions, stops and what else a restart needs, for people to read.
fn folded(state: &State) -> String {
    let mut text = format!("level {:?}\n", state.level);
    for (id, strategy) in &state.strategies {
        writeln!(
            text,
            "{id} {} {} active={} start={} adjustments={} realized={} fees={} funding={} level={:?} trades={}",
            strategy.kind,
            strategy.venue,
            strategy.active,
            strategy.balance_start,
            strategy.adjustments,
            strategy.realized_pnl,
            strategy.fees,
            strategy.funding,
            strategy.level.level,
            strategy.trades.trades,
        )
        .expect("text");
        for (symbol, position) in &strategy.positions {
            let entry = position.entry_price().expect("an open position has one");
            let (size, cost, fees) = (position.quantity, position.cost, position.fees);
            writeln!(text, "  {symbol} {size} at {entry}, cost {cost}, fees {fees}").expect("text");
        }
    }
    for (strategy, symbol, stops) in state.stops.positions() {
        let (triggers, kept) = (&stops.triggers, stops.kept.is_some());
        writeln!(text, "stops {strategy} {symbol} {triggers:?} kept={kept}").expect("text");
    }
    for (id, order) in &state.orders {
        writeln!(text, "order {id} {} {:?} {:?}", order.strategy, order.side, order.status).expect("text");
    }
    for (id, order) in &state.live.orders {
        writeln!(text, "live order {id} {order:?}").expect("text");
    }
    writeln!(text, "live stops {:?}", state.live.stops.keys().map(ToString::to_string).collect::<Vec<_>>())
        .expect("text");
    for (id, strategy) in &state.live.strategies {
        let (route, differences) = (&strategy.route, &strategy.differences);
        writeln!(text, "route {id} {route:?} differences {differences:?}").expect("text");
    }
    writeln!(text, "signals {}, announced {}", state.signals.len(), state.announced.len()).expect("text");
    text
}

/// Everything that a store says.
fn told(copied: &Copied) -> String {
    let mut text = String::new();
    let verified: Value =
        serde_json::from_str(&copied.asks("verify", &["verify", "--json"]).log).expect("JSON");
    assert_eq!(verified["ok"], true, "{verified}");
    for table in TABLES {
        write!(text, "# {table}\n{}", copied.asks(table, &["export", table]).log).expect("text");
    }
    let last = verified["records"].as_u64().expect("a number");
    writeln!(text, "# records\n{:?}", kinds(&copied.store(), last)).expect("text");
    let whole = copied.opened();
    // Without its checkpoint it is the same: the journal has everything.
    for file in ["checkpoint.tbc", "checkpoint.prev.tbc"] {
        let _ = std::fs::remove_file(copied.store().join(file));
    }
    assert!(copied.opened() == whole, "the checkpoint is not the fold of the journal");
    assert_eq!(whole.sequence, last);
    write!(text, "# state\n{}", folded(&whole)).expect("text");
    text
}

#[test]
fn stores_of_every_release_say_what_they_always_said() {
    for version in versions() {
        let told = told(&Copied::of(&version));
        let path = folder().join(format!("{version}.expected"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &told).expect("the text");
            continue;
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        for (got, wanted) in told.lines().zip(expected.lines().chain(std::iter::repeat(""))) {
            assert_eq!(got, wanted, "{version}");
        }
        assert_eq!(told.lines().count(), expected.lines().count(), "{version}: lines are missing");
    }
}

#[test]
fn the_newest_one_has_every_kind_of_record() {
    let version = versions().pop().expect("one");
    let copied = Copied::of(&version);
    let has = kinds(&copied.store(), copied.opened().sequence);
    let source = include_str!("../../src/engine/record.rs");
    let body =
        source.split_once("pub enum Record {").and_then(|(_, rest)| rest.split_once("\n}\n")).expect("it").0;
    let variants = body.lines().filter_map(|line| {
        let name =
            line.strip_prefix("    ").filter(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))?;
        name.split([' ', '(', ',']).next()
    });
    let missing: Vec<&str> = variants.filter(|name| !has.contains_key(*name)).collect();
    assert_eq!(missing, NOT_MADE, "make it anew before the release: scripts/golden-store");
}

/// The first one was made with version 2 of the state.
#[test]
fn a_start_takes_a_checkpoint_of_today_and_passes_over_an_older_one() {
    let opened = |version: &str| Ledger::open(&Copied::of(version).store()).expect("it opens").1;
    let newest = opened(&versions().pop().expect("one"));
    assert!(newest.records < newest.state.sequence, "its checkpoint was not taken");
    assert_eq!(newest.warnings, Vec::<String>::new());
    let older = opened("0.1.0");
    assert_eq!(older.records, older.state.sequence, "what the journal has is folded again");
    assert!(older.warnings.iter().any(|warning| warning.contains("version 2")), "{:?}", older.warnings);
}

/// The configuration that made it, without the account's keys: that strategy may not trade, and says what it holds.
fn config(port: u16) -> String {
    let strategy = |id: &str, kind: &str, symbols: &str, more: &str| {
        format!("[strategy.{id}]\ntype = \"{kind}\"\nfeed = \"synthetic\"\nsymbols = [{symbols}]\n{more}")
    };
    format!(
        "instance = \"golden\"\n[mqtt]\nbroker = \"mqtt://127.0.0.1:{port}\"\n[http]\nlisten = \"\"\n\
         [store]\npath = \"store\"\n\
         [feed.synthetic]\nsymbols = [\"BTC-USDT\", \"ETH-USDT\"]\nstart_prices = {{ BTC-USDT = 97000, ETH-USDT = 3300 }}\n\
         [instrument.BTC-USDT]\ntick_size = 0.1\nlot_size = 0.0001\n\
         [instrument.ETH-USDT]\ntick_size = 0.01\nlot_size = 0.001\n{}{}{}",
        strategy("alpha", "external", "\"BTC-USDT\", \"ETH-USDT\"", "balance = 12000\n"),
        strategy("tv1", "tradingview", "\"ETH-USDT\"", "key_required = false\n"),
        strategy("live", "aibot", "\"BTC-USDT\"", ""),
    )
}

#[tokio::test]
async fn the_program_goes_on_with_them() {
    for version in versions() {
        let copied = Copied::of(&version);
        let state = copied.opened();
        let broker = Mosquitto::start(Setup::default());
        let mut bus = Bus::connect(broker.port, "ear").await;
        let file = copied.0.path().join("tradebus.toml");
        std::fs::write(&file, config(broker.port)).expect("the configuration");
        let file = file.display().to_string();
        let mut program = Program::start(&["run", "--config", &file], &copied.0.path().join("log"));
        let mut held = 0;
        for (id, strategy) in state.strategies.iter().filter(|(_, strategy)| strategy.active) {
            for (symbol, position) in &strategy.positions {
                let topic = format!("strategy/{id}/position/{symbol}");
                bus.until(&topic, |heard| heard.json(&topic).is_some()).await;
                let said = bus.heard.json(&topic).expect("a position");
                let side = if position.quantity.value().is_sign_negative() { "short" } else { "long" };
                assert_eq!(said["side"], side, "{said}");
                assert_eq!(
                    said["quantity"].to_string(),
                    position.quantity.value().abs().normalize().to_string()
                );
                assert_eq!(said["entry_price"].to_string(), position.entry_price().expect("one").to_string());
                assert_eq!(said["fees"].to_string(), position.fees.to_string());
                held += 1;
            }
        }
        assert!(held > 1, "{version}: {held}");
        // What it held can be closed.
        let price = "price/synthetic/BTC-USDT";
        bus.until("a price", |heard| heard.json(price).is_some_and(|price| price["stale"] == false)).await;
        let flat =
            format!("{{\"id\":\"after\",\"time\":{},\"symbol\":\"BTC-USDT\",\"action\":\"flat\"}}", now_ms());
        bus.publish("tradebus/strategy/alpha/signal", flat.as_bytes(), false).await;
        bus.until("a result", |heard| !heard.results_of("alpha", "after").is_empty()).await;
        assert_eq!(bus.heard.results_of("alpha", "after")[0]["status"], "filled");
        assert_eq!(program.terminate().code, Some(0));
        copied.asks("verified", &["verify"]);
    }
}
