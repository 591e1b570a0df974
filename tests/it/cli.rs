//! The command line as a process: arguments, exit codes, outputs, and the client commands against a real mosquitto on
//! which the test plays the daemon.

mod fake;
mod reconcile;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tradebus::engine::record::Record;
use tradebus::model::ids::StoreId;
use tradebus::model::time::Timestamp;
use tradebus::store::Ledger;

use crate::support::mosquitto::{Mosquitto, Setup};
use crate::support::program::profile;
use fake::FakeDaemon;

/// How a process ended and what it said.
#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

/// Runs `tradebus` in a folder of its own, without the configuration of this machine.
struct Place {
    folder: TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Place {
    fn new() -> Place {
        Place { folder: TempDir::new().expect("a temporary folder"), environment: Vec::new() }
    }

    /// With a configuration file, named `c.toml`.
    fn with(config: &str) -> Place {
        let place = Place::new();
        place.write("c.toml", config);
        place
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("a file");
    }

    fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tradebus"));
        command.args(line).current_dir(self.folder.path()).env_clear().stdin(Stdio::null());
        command.envs(profile());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn run(&self, line: &[&str]) -> Ended {
        let output = self.command(line).output().expect("the process runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Ended {
            code: output.status.code().expect("no signal ended it"),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Runs it beside the tasks of the test.
    async fn run_beside(self: &Arc<Place>, line: &[&str]) -> Ended {
        let (place, line) = (self.clone(), line.iter().map(|text| text.to_string()).collect::<Vec<_>>());
        let run = move || place.run(&line.iter().map(String::as_str).collect::<Vec<_>>());
        spawn_blocking(run).await.expect("no panic")
    }
}

#[test]
fn usage_errors_are_64_and_help_is_not_an_error() {
    let place = Place::new();
    let check = |line: &str, code: i32, part: &str| {
        let ended = place.run(&line.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>());
        let said = if code == 0 { &ended.out } else { &ended.err };
        assert!(ended.code == code && said.contains(part), "{line}: {ended:?}");
        assert!(code == 0 || ended.out.is_empty(), "{line}: {ended:?}");
    };
    check("--version", 0, "tradebus ");
    check("--help", 0, "check-config");
    check("signal --help", 0, "--equity-pct");
    check("", 64, "Usage");
    check("stauts", 64, "status");
    check("status --brokr x", 64, "--broker");
    check("positions --strategy a/b", 64, "not a strategy id");
    check("kpis --portfolio --strategy s", 64, "cannot be used with");
    check("signal s long btc", 64, "not a symbol");
    check("signal s hold BTC-USDT", 64, "possible values");
    check("signal s long BTC-USDT --quantity NaN", 64, "'--quantity <N>': \"NaN\" is not a number");
    check("signal s flat BTC-USDT --quantity 1", 64, "flat closes everything and takes no size");
    check("signal s long BTC-USDT --max-age-s 100000", 64, "max_age_s: 100000 is beyond the limit of 86400");
    check("reconcile --strategy s", 64, "--accept");
    check("reconcile a/b", 64, "not a account name");
    check("run --json", 64, "--json has no effect on run");
    check("demo --port 0", 64, "--port");
    if cfg!(feature = "embedded-broker") {
        check("demo --config c.toml", 64, "neither --config nor --set");
        check("demo --recording x.csv", 78, "--recording: \"x.csv\" has no symbol");
    } else {
        check("demo", 69, "not in this build");
    }
}

const CONFIG: &str = "[mqtt]\nbroker = \"mqtt://localhost\"\n[feed.synthetic]\nsymbols = [\"BTC-USDT\"]\n\
                      [account.main]\nvenue = \"blofin\"\n\
                      [strategy.s]\ntype = \"external\"\nsymbols = [\"BTC-USDT\"]\naccount = \"main\"\n";

#[test]
fn every_problem_is_told_at_once() {
    let place = Place::with("instance = \"a b\"\n[paper]\nlatency_ms = -1\n");
    let expected = "instance: \"a b\" is not 1 to 32 letters, digits, \"_\" or \"-\"\n\
                    log.level: \"x\" is not one of error, warn, info, debug, trace (command line)\n\
                    paper.latency_ms: -1 is out of range; it must be 0 to 60000\n\
                    3 problems in the configuration\n";
    for command in ["check-config", "run", "verify", "status", "positions", "kpis"] {
        let ended = place.run(&["--config", "c.toml", "--set", "log.level=x", command]);
        assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (78, "", expected), "{command}");
    }
    let ended = place.run(&["check-config", "--json", "--config", "c.toml"]);
    let found: Value = serde_json::from_str(&ended.out).expect("JSON");
    assert_eq!((ended.code, ended.err.as_str()), (78, ""));
    assert_eq!(found["problems"][1]["path"], "paper.latency_ms");
    assert_eq!(found["problems"].as_array().map(Vec::len), Some(2));
    assert!(found["effective_toml"].is_null() && found["warnings"].as_array().is_some_and(Vec::is_empty));
    let missing = place.run(&["check-config", "--config", "missing.toml"]);
    assert!(missing.code == 78 && missing.err.starts_with("missing.toml: cannot be read"), "{missing:?}");
}

#[test]
fn the_settings_in_force_load_again() {
    let mut place = Place::with(&format!("{CONFIG}[limits]\non_drawdown = \"reduce\"\n"));
    place.environment =
        vec![("TRADEBUS_MQTT__USERNAME", "u".to_owned()), ("TRADEBUS_MQTT__PASSWORD", "hunter2".to_owned())];
    let checked = place.run(&["--set", "paper.latency_ms=7", "check-config", "--config", "c.toml"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    assert_eq!(checked.err, "warning: limits.on_drawdown: has no effect without drawdown_max_pct\n");
    assert!(checked.out.ends_with("\n\n# strategy s: paper, because account \"main\" has no keys\n"));
    assert!(checked.out.contains("latency_ms = 7\n") && checked.out.contains("\npassword = \"(set)\"\n"));
    assert!(!checked.out.contains("hunter2"), "{}", checked.out);
    place.write("again.toml", &checked.out.replace("password = \"(set)\"\n", ""));
    let again = place.run(&["check-config", "--config", "again.toml"]);
    assert_eq!((again.code, again.out), (0, checked.out));
    let json = place.run(&["check-config", "--json", "--config", "c.toml"]);
    let found: Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(found["routes"][0]["venue"], "paper");
    assert_eq!(found["warnings"][0]["path"], "limits.on_drawdown");
    assert!(!json.out.contains("hunter2") && json.code == 0, "{json:?}");
}

/// A store with two groups of records, and the file of its journal.
fn store(dir: &Path) -> PathBuf {
    let (mut ledger, _) = Ledger::open(dir).expect("a store");
    let id = StoreId::new(&"a".repeat(32)).expect("an id");
    for sequence in 1..=2 {
        ledger.append(sequence, &[Record::Store { id, time: Timestamp::MIN }]).expect("appended");
    }
    dir.join("journal/00000000000000000001.tbj")
}

#[test]
fn stores_are_verified() {
    let place = Place::with(CONFIG);
    let dir = place.folder.path().join("db");
    let verify = |more: &[&str]| place.run(&[&["verify", "--store", "db"], more].concat());
    let none = verify(&[]);
    assert_eq!(
        (none.code, none.err.as_str()),
        (65, "error: there is no store in db: it has no folder \"journal\"\n")
    );
    assert!(!dir.exists());
    drop(Ledger::open(&dir).expect("an empty store"));
    let empty = verify(&[]);
    assert_eq!(empty.out.lines().nth(1), Some("records     0"), "{empty:?}");
    let segment = store(&dir);
    let sound = verify(&[]);
    assert_eq!(
        (sound.code, sound.out.as_str()),
        (0, "store       db\nrecords     2\nsegments    1\ncheckpoint  none\n")
    );
    let configured = place.run(&["verify", "--json", "--config", "c.toml", "--set", "store.path=db"]);
    assert_eq!(configured.code, 0, "{configured:?}");
    let found: Value = serde_json::from_str(&configured.out).expect("JSON");
    assert_eq!(
        (&found["ok"], &found["records"], &found["checkpoint"]),
        (&true.into(), &2.into(), &Value::Null)
    );

    let held = Ledger::open(&dir).expect("the store");
    let locked = verify(&[]);
    assert!(locked.code == 75 && locked.err.contains("in use by process"), "{locked:?}");
    drop(held);

    let mut bytes = std::fs::read(&segment).expect("the journal");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, &bytes).expect("written");
    let damaged = verify(&[]);
    assert!(damaged.code == 65 && damaged.out.is_empty(), "{damaged:?}");
    for part in ["00000000000000000001.tbj", "at byte "] {
        assert!(damaged.err.contains(part), "{damaged:?}");
    }
    let json = verify(&["--json"]);
    let found: Value = serde_json::from_str(&json.out).expect("JSON");
    assert!(json.code == 65 && found["ok"] == false && found["records"].is_null(), "{json:?}");
    assert!(found["error"].as_str().is_some_and(|text| text.contains("at byte ")), "{json:?}");
    assert_eq!(std::fs::read(&segment).expect("the journal"), bytes, "nothing is repaired");
}

const CLIENTS: [&[&str]; 5] =
    [&["status"], &["positions"], &["kpis"], &["reconcile"], &["signal", "s", "long", "BTC-USDT"]];

#[test]
fn a_broker_that_does_not_answer_is_69() {
    let place = Place::with(CONFIG);
    // Connections are made, and nobody reads them.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("mqtt://{}", listener.local_addr().expect("its address"));
    let silent = place.run(&["status", "--config", "c.toml", "--broker", &address]);
    let expected = format!("error: cannot connect to the broker {address}: no answer within 5 s\n");
    assert_eq!((silent.code, silent.err), (69, expected));
    let address = "mqtt://127.0.0.1:1";
    for client in CLIENTS {
        let ended = place.run(&[client, &["--config", "c.toml", "--broker", address]].concat());
        let expected = format!("error: cannot connect to the broker {address}: Connection refused");
        assert!(ended.code == 69 && ended.err.starts_with(&expected), "{ended:?}");
    }
}

/// The rows of a table, their cells parted by one space.
fn rows(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[tokio::test]
async fn what_a_daemon_retains_is_shown() {
    let broker = Mosquitto::start(Setup::default());
    let place = Arc::new(Place::with(CONFIG));
    let address = format!("mqtt://127.0.0.1:{}", broker.port);
    let ask = async |line: &[&str]| {
        let bus = ["--config", "c.toml", "--broker", &address, "--base-topic", "t"];
        place.run_beside(&[line, &bus].concat()).await
    };
    let nobody = ask(&["status"]).await;
    let expected = format!("error: no daemon at {address}: nothing is retained on t/daemon/state\n");
    assert_eq!((nobody.code, nobody.err, nobody.out.as_str()), (69, expected, ""));

    let daemon = FakeDaemon::start(broker.port, None, |_| None).await;
    for update in fake::updates() {
        daemon.retain_update(update).await;
    }
    daemon
        .retain("daemon/info", r#"{"version":"9.9","instance":"pi","started":"2026-11-20T20:00:05.000Z"}"#)
        .await;
    daemon
        .retain("feed/synthetic", r#"{"feed":"synthetic","connected":true,"age_ms":12,"messages":5}"#)
        .await;
    daemon.retain("daemon/state", "online").await;

    let status = ask(&["status"]).await;
    assert_eq!((status.code, status.err.as_str()), (0, ""), "{status:?}");
    let shown = rows(&status.out);
    for row in [
        "daemon online, level pause, version 9.9, instance pi, started 2026-11-20T20:00:05.000Z",
        "synthetic yes - 12 5 - -",
        "portfolio paper 10012.5 12.5 0 0 0 0.07485 1",
        "type/external paper 10012.5 12.5 0 0 0 0.07485 1",
        "s external paper run (pause in force) 10012.5 12.5 0 0.07485 1 no_price: \u{fffd}[31mred",
    ] {
        assert!(shown.contains(&row.to_owned()), "{row}\n{}", status.out);
    }
    let json: Value = serde_json::from_str(&ask(&["status", "--json"]).await.out).expect("JSON");
    assert_eq!((&json["online"], &json["level"]), (&true.into(), &"pause".into()));
    assert_eq!(json["info"]["version"], "9.9");
    assert_eq!(json["strategies"][0]["last_error"], "no_price: \u{1b}[31mred");
    assert_eq!(json["types"][0]["equity"].to_string(), "10012.5");

    let open = rows(&ask(&["positions"]).await.out);
    assert_eq!(open[1..], ["s BTC-USDT long 0.01 97000.1 97000.1 12.5 0 0.60000001 -"]);
    assert_eq!(ask(&["positions", "--all", "--strategy", "s"]).await.out.lines().count(), 3);
    let json: Value = serde_json::from_str(&ask(&["positions", "--json"]).await.out).expect("JSON");
    assert_eq!((json.as_array().map(Vec::len), &json[0]["side"]), (Some(1), &"long".into()));
    let unknown = ask(&["positions", "--strategy", "x"]).await;
    assert_eq!(
        (unknown.code, unknown.err.as_str()),
        (64, "error: the daemon has no strategy x; it has: s\n")
    );

    let kpis = rows(&ask(&["kpis"]).await.out);
    assert_eq!(kpis[0], "kpi portfolio type/external strategy/s");
    assert!(kpis.contains(&"sharpe 1.5 1.5 1.5".to_owned()), "{kpis:?}");
    assert_eq!(rows(&ask(&["kpis", "--type", "external"]).await.out)[0], "kpi type/external");
    let json: Value =
        serde_json::from_str(&ask(&["kpis", "--strategy", "s", "--json"]).await.out).expect("JSON");
    assert_eq!((&json[0]["scope"], &json[0]["trades"]), (&"strategy/s".into(), &3.into()));

    daemon.retain("daemon/state", "offline").await;
    let offline = ask(&["positions"]).await;
    let expected = format!("error: the daemon at {address} is offline; this is what it said last\n");
    assert_eq!((offline.code, offline.err, rows(&offline.out)), (69, expected, open));
}

#[tokio::test]
async fn a_signal_waits_for_its_own_result() {
    let broker = Mosquitto::start(Setup { persistence: false, login: Some(("user", "right-pass")) });
    let address = format!("mqtt://127.0.0.1:{}", broker.port);
    let place = |password: &str| {
        let login = [("TRADEBUS_MQTT__USERNAME", "user"), ("TRADEBUS_MQTT__PASSWORD", password)];
        let environment = login.map(|(name, value)| (name, value.to_owned())).into();
        Arc::new(Place { environment, ..Place::with(CONFIG) })
    };
    let (right, wrong) = (place("right-pass"), place("wrong-pass"));
    let send = async |place: &Arc<Place>, more: &[&str]| {
        let line = ["signal", "--config", "c.toml", "--broker", &address, "--base-topic", "t"];
        place.run_beside(&[&line, more].concat()).await
    };
    let long = ["s", "long", "BTC-USDT", "--quantity", "1e-3", "--comment"];
    let refused = send(&wrong, &[&long[..], &["filled"]].concat()).await;
    assert!(refused.code == 69 && refused.err.contains("user name or password"), "{refused:?}");
    assert!(!refused.err.contains("wrong-pass"), "{refused:?}");

    let mut daemon = FakeDaemon::start(broker.port, Some(("user", "right-pass")), fake::answer).await;
    let nobody = send(&right, &[&long[..], &["filled"]].concat()).await;
    assert!(nobody.code == 69 && nobody.err.contains("nothing is retained on t/daemon/state"), "{nobody:?}");
    daemon.retain("daemon/state", "offline").await;
    let offline = send(&right, &[&long[..], &["filled"]].concat()).await;
    assert!(offline.code == 69 && offline.err.ends_with("is offline; nothing was sent\n"), "{offline:?}");
    assert!(daemon.signals.try_recv().is_err(), "nothing is left at the broker");
    daemon.retain("daemon/state", "online").await;

    let filled = send(&right, &[&long[..], &["filled"]].concat()).await;
    let signal = daemon.signals.recv().await.expect("the signal");
    let id = signal["id"].as_str().expect("an id");
    assert_eq!((filled.code, filled.out), (0, format!("s long BTC-USDT: filled, order x1 (signal {id})\n")));
    assert_eq!((signal["quantity"].to_string(), &signal["action"]), ("0.001".to_owned(), &"long".into()));
    assert!(Timestamp::parse_rfc3339(signal["time"].as_str().expect("a time")).is_ok());
    let again = send(&right, &[&long[..], &["unchanged"]].concat()).await;
    let signal = daemon.signals.recv().await.expect("the signal");
    assert!(again.code == 0 && signal["id"] != id, "every signal has an id of its own: {signal}");

    let rejected = send(&right, &["s", "flat", "BTC-USDT", "--comment", "rejected", "--id", "a b"]).await;
    let expected = "s flat BTC-USDT: rejected, stale_price: 20 s old (signal a b)\n";
    assert_eq!((rejected.code, rejected.out.as_str()), (1, expected), "{}", rejected.err);
    let json = send(&right, &["s", "flat", "BTC-USDT", "--comment", "rejected", "--json"]).await;
    let result: Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!((json.code, &result["reason"]), (1, &"stale_price".into()));

    let silent = send(&right, &[&long[..], &["silence", "--wait-s", "1", "--id", "i1"]].concat()).await;
    assert!(silent.code == 69 && silent.err.contains("no result within 1 s"), "{silent:?}");
    assert!(silent.err.contains("--id i1 tells, and executes nothing twice"), "{silent:?}");
    let unheard = send(&right, &["nope", "flat", "BTC-USDT"]).await;
    let expected = format!("nobody at {address} subscribes to t/strategy/nope/signal; the signal is lost\n");
    assert!(unheard.code == 69 && unheard.err.ends_with(&expected), "{unheard:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = Place::with(CONFIG);
    let mut command = place.command(&["check-config", "--config", "c.toml"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    drop(child.stdout.take());
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""));
}
