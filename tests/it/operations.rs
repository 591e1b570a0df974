//! What packages install and what the pages for operators say, compared with the code and tried.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::bus::Bus;
use crate::support::mosquitto::{Mosquitto, Setup};
use crate::support::program::Program;

const UNIT: &str = include_str!("../../deploy/systemd/tradebus.service");

fn root(path: &str) -> String {
    format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The numbers that stand between two texts on a line.
fn numbers(text: &str, before: &str, after: &str) -> BTreeSet<u8> {
    let between = text.lines().filter_map(|line| line.trim().split_once(before)?.1.split_once(after));
    between.filter_map(|(number, _)| number.trim().parse().ok()).collect()
}

#[test]
fn every_exit_code_is_on_the_pages_and_no_other() {
    let mut codes = numbers(&read("src/cli/exit.rs"), "Exit = Exit(", ")");
    codes.extend(numbers(&read("src/daemon/options.rs"), "=> ", ","));
    assert!(codes.len() > 8 && codes.contains(&78), "{codes:?}");
    assert_eq!(numbers(&read("docs/OPERATIONS.md"), "| ", " |"), codes, "docs/OPERATIONS.md");
    let manual = read("examples/pages.rs");
    let manual = manual.split_once("EXIT STATUS").unwrap().1.split_once(".SH").unwrap().0;
    let words = manual.split(|c: char| !c.is_ascii_alphanumeric());
    assert_eq!(words.filter_map(|word| word.parse().ok()).skip(1).collect::<BTreeSet<u8>>(), codes, "manual");
    let given_up: BTreeSet<u8> = UNIT
        .lines()
        .filter_map(|line| line.strip_prefix("RestartPreventExitStatus="))
        .flat_map(|list| list.split(' ').map(|code| code.parse().unwrap()))
        .collect();
    assert!(given_up.contains(&78) && given_up.is_subset(&codes), "{given_up:?}");
}

#[test]
fn systemd_understands_the_unit_and_finds_it_closed() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("skipped: there is no systemd-analyze");
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("tradebus.service");
    std::fs::write(&path, UNIT.replace("/usr/bin/tradebus", env!("CARGO_BIN_EXE_tradebus")))
        .expect("the unit");
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze").args(arguments).arg(&path).output().expect("it runs");
        let told = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&told).into_owned())
    };
    let (_, told) = analyze(&["verify", "--man=no"]);
    // What a machine without units says about itself is not about ours.
    let ours: Vec<&str> = told.lines().filter(|line| line.contains("tradebus")).collect();
    assert_eq!(ours, Vec::<&str>::new());
    let (closed, told) = analyze(&["security", "--offline=true", "--threshold=20"]);
    assert!(closed, "{told}");
}

/// Starts with a shipped configuration, as it is but for broker and store.
async fn check_starts(config: &str, password: &[(&str, &str)]) {
    let broker = Mosquitto::start(Setup::default());
    let mut bus = Bus::connect(broker.port, "ear").await;
    let folder = TempDir::new().expect("a folder");
    let log = |name: &str| folder.path().join(name);
    let config = root(config);
    let checked =
        Program::start_under(password, &["check-config", "--config", &config], &log("check")).wait();
    assert_eq!(checked.code, Some(0), "{}", checked.log);
    assert!(!checked.log.contains("warning"), "{}", checked.log);
    let sets = [
        format!("mqtt.broker=mqtt://127.0.0.1:{}", broker.port),
        format!("store.path={}", folder.path().join("store").display()),
        // As the daemon takes it on its own machine, on a port that is free here.
        "http.listen=127.0.0.1:0".to_owned(),
    ];
    let arguments = ["run", "--config", &config, "--set", &sets[0], "--set", &sets[1], "--set", &sets[2]];
    let mut program = Program::start_under(password, &arguments, &log("run"));
    bus.until("prices", |heard| {
        let fresh = |topic| heard.json(topic).is_some_and(|price| price["stale"] == false);
        fresh("price/synthetic/BTC-USDT") && fresh("price/synthetic/ETH-USDT")
    })
    .await;
    assert_eq!(program.terminate().code, Some(0));
}

#[tokio::test]
async fn the_packaged_settings_start() {
    check_starts("deploy/debian/tradebus.toml", &[]).await;
}

#[tokio::test]
async fn the_settings_of_the_container_start() {
    check_starts("deploy/container/tradebus.toml", &[("TRADEBUS_MQTT__PASSWORD", "secret")]).await;
}

/// Settings of a mosquitto.conf that do not depend on where it runs.
fn lasting(text: &str) -> BTreeSet<&str> {
    let elsewhere = ["persistence ", "persistence_location ", "log_dest "];
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.filter(|line| !elsewhere.iter().any(|word| line.starts_with(word))).collect()
}

#[test]
fn the_broker_of_the_container_is_the_shipped_one() {
    let (own, shipped) = (read("deploy/container/mosquitto.conf"), read("deploy/mosquitto/mosquitto.conf"));
    assert_eq!(lasting(&own), lasting(&shipped));
}

#[test]
fn the_package_has_the_version_of_the_program() {
    let changelog = read("deploy/debian/changelog");
    let first = changelog.lines().next().unwrap_or_default();
    let expected = format!("tradebus ({}-1) ", env!("CARGO_PKG_VERSION"));
    assert!(first.starts_with(&expected), "deploy/debian/changelog begins with {first:?}, not {expected:?}");
}

#[test]
fn what_packages_and_images_take_along_is_there() {
    let manifest = read("Cargo.toml");
    let assets = manifest.split_once("assets = [").unwrap().1.split_once("\n]").unwrap().0;
    let sources = assets.lines().filter_map(|line| line.trim().strip_prefix("[\"")?.split('"').next());
    let mut found = 0;
    for source in sources.filter(|source| !source.starts_with("target/")) {
        let path = root(source);
        assert!(Path::new(path.trim_end_matches('*').trim_end_matches("*.md")).exists(), "{source}");
        found += 1;
    }
    assert!(found > 3, "{assets}");
    let dockerfile = read("deploy/container/Dockerfile");
    let copied = dockerfile.lines().filter_map(|line| line.strip_prefix("COPY deploy/"));
    for line in copied {
        let source = line.split(' ').next().unwrap();
        assert!(Path::new(&root(&format!("deploy/{source}"))).exists(), "{source}");
    }
    let taken = read("deploy/container/Dockerfile.dockerignore");
    for source in taken.lines().filter_map(|line| line.strip_prefix('!')) {
        assert!(Path::new(&root(source)).exists(), "{source}");
    }
}
