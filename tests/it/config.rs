//! The configuration from outside: what is refused and how, and what is never shown.

mod problems;

use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use tradebus::config::{Broker, Config, Demo, FileSource, Loaded, Problem, Sources};

fn sources(text: &str, environment: &[(&str, &str)], overrides: &[&str]) -> Sources {
    Sources {
        file: FileSource::Text(text.to_owned()),
        environment: environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        overrides: overrides.iter().map(|text| (*text).into()).collect(),
    }
}

fn lines(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(Problem::to_string).collect()
}

fn problems(sources: &Sources) -> Vec<String> {
    Config::load(sources).map_or_else(|problems| lines(&problems), |_| Vec::new())
}

/// Asserts that `text` has exactly these problems.
pub(crate) fn check(text: &str, expected: &[&str]) {
    assert_eq!(problems(&sources(text, &[], &[])), expected, "{text}");
}

fn load(text: &str, environment: &[(&str, &str)], overrides: &[&str]) -> Loaded {
    let sources = sources(text, environment, overrides);
    Config::load(&sources).unwrap_or_else(|problems| panic!("{:#?}", lines(&problems)))
}

const FEED: &str = "[feed.synthetic]\nsymbols = [\"BTC-USDT\", \"ETH-USDT\", \"XRP-ETH\"]\n";

fn strategy(more: &str) -> String {
    format!("{FEED}[strategy.s]\ntype = \"external\"\nsymbols = [\"BTC-USDT\"]\n{more}\n")
}

#[test]
fn warnings_tell_what_has_no_effect() {
    let check = |text: &str, expected: &[&str]| assert_eq!(lines(&load(text, &[], &[]).warnings), expected);
    check("", &["feed: there is none, so there are no prices"]);
    check(
        &strategy("[account.main]\nleverage = 5\n[instrument.SOL-USDT]\n[limits]\non_drawdown = \"reduce\""),
        &[
            "account.main.leverage: has no effect on an account without keys; [paper] has the leverage of paper",
            "instrument.SOL-USDT: no feed has this symbol, so the figures are not used",
            "limits.on_drawdown: has no effect without drawdown_max_pct",
        ],
    );
    check(
        &strategy("key_required = false\naccept_from = [\"BINANCE\"]").replace("external", "tradingview"),
        &[
            "strategy.s.accept_from: has no effect: feed \"synthetic\" is no exchange, so alerts of all are taken",
        ],
    );
}

#[test]
fn sources_override_each_other() {
    let file = strategy("balance = 1\n[strategy.My-Bot]\ntype = \"aibot\"\nsymbols = [\"BTC-USDT\"]");
    let environment = [
        ("TRADEBUS_STRATEGY__S__BALANCE", "2.5"),
        ("TRADEBUS_STRATEGY__MY_BOT__BALANCE", "0.00000001"),
        ("TRADEBUS_STRATEGY__S__SYMBOLS", "BTC-USDT, ETH-USDT"),
        ("TRADEBUS_STRATEGY__S__DEFAULT_SIZE", "{ notional = 50 }"),
        ("TRADEBUS_MQTT__BROKER", "mqtt://[::1]:1884"),
        ("TRADEBUS_MQTT__USERNAME", "u"),
        ("TRADEBUS_MQTT__PASSWORD", "007"),
        ("TRADEBUS_INSTRUMENT__BTC_USDT__TICK_SIZE", "0.5"),
        ("OTHER_MQTT__BROKER", "x"),
    ];
    let loaded = load(&file, &environment, &["mqtt.price_interval_ms=700", "strategy.s.ticks=true"]);
    let config = loaded.config;
    let [bot, s] = config.strategies.as_slice() else { panic!("two strategies") };
    assert_eq!((bot.balance.to_string(), s.balance.to_string()), ("0.00000001".into(), "2.5".into()));
    assert_eq!((s.symbols.len(), s.ticks, config.mqtt.price_interval_ms), (2, true, 700));
    assert_eq!(format!("{:?}", s.default_size), "Some(Notional(Money(50)))");
    assert_eq!(config.mqtt.broker, Broker::Tcp { host: "::1".into(), port: 1884, tls: false });
    assert_eq!(config.mqtt.password.unwrap().value.expose_secret(), "007");
    let settings = load(&file, &environment, &[]).config.engine_settings();
    assert_eq!(settings.markets[0].instrument.tick_size().to_string(), "0.5");
    let found = problems(&sources(&file, &[("TRADEBUS_STRATEGY__S__BALANCE", "x")], &["balance"]));
    assert_eq!(
        found,
        [
            "balance: is not an override; write key=value, such as log.level=debug (command line)",
            "strategy.s.balance: \"x\" is not a number (environment)",
        ]
    );
}

#[test]
fn a_file_is_required_only_when_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tradebus.toml");
    let at = |file| Sources { file, environment: Vec::new(), overrides: Vec::new() };
    assert!(Config::load(&at(FileSource::IfPresent(path.clone()))).is_ok());
    let missing = problems(&at(FileSource::Required(path.clone())));
    assert!(missing.len() == 1 && missing[0].contains("tradebus.toml: cannot be read"), "{missing:?}");
    std::fs::write(folder.path().join("x.csv"), "").unwrap();
    let feed = "symbols = [\"A-B\"]\nfiles = [{ path = \"x.csv\", symbol = \"A-B\" }]";
    std::fs::write(&path, format!("[store]\npath = \"data\"\n[feed.recording]\n{feed}")).unwrap();
    let config = Config::load(&at(FileSource::Required(path))).unwrap().config;
    assert_eq!(config.store.path, folder.path().join("data"));
}

#[test]
fn secrets_are_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "hunter2\r\n").unwrap();
    let text = "[mqtt]\nbroker = \"mqtt://h\"\nusername = \"u\"\n";
    let from_file = load(&format!("{text}password_file = '{}'", file.display()), &[], &[]);
    let secret = [("TRADEBUS_MQTT__PASSWORD", "hunter2")];
    let from_environment = load(text, &secret, &[]);
    for loaded in [&from_file, &from_environment] {
        let password = loaded.config.mqtt.password.as_ref().unwrap();
        assert_eq!(password.value.expose_secret(), "hunter2");
        let shown = format!("{loaded:?} {}", loaded.config.effective_toml());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    assert!(from_environment.config.effective_toml().contains("password = \"(set)\""));
    let check = |sources: &Sources, path: &str| {
        let found = problems(sources);
        let shown = format!("{sources:?} {found:?}");
        assert!(found.iter().any(|line| line.starts_with(path)) && !shown.contains("hunter2"), "{shown}");
    };
    let alerts = strategy("key_file = \"hunter2\"").replace("external", "tradingview");
    check(&sources(&alerts, &[], &[]), "strategy.s.key_file: the file does not exist");
    let key = folder.path().join("key");
    std::fs::write(&key, " hunter2-hunter2-hunter2 \n").unwrap();
    let alerts = strategy(&format!("key_file = '{}'", key.display())).replace("external", "tradingview");
    let loaded = load(&alerts, &[], &[]);
    let shown = format!("{loaded:?} {} {:?}", loaded.config.effective_toml(), loaded.config.tradingview());
    assert!(!shown.contains("hunter2"), "{shown}");
    let read = &loaded.config.tradingview()[&loaded.config.strategies[0].id];
    assert!(read.key_required && read.key.as_ref().is_some_and(|key| key.matches("hunter2-hunter2-hunter2")));
    check(
        &sources("[mqtt]\npassword = \"hunter2\"", &[], &[]),
        "mqtt.password: a password may not stand here",
    );
    check(&sources("", &[], &["mqtt.password=hunter2"]), "mqtt.password: a password may not stand here");
    check(
        &sources("[mqtt]\npassword_file = \"hunter2\"", &[], &[]),
        "mqtt.password_file: the file does not exist",
    );
    check(&sources("[mqtt]\npassword = [\"hunter2\"]", &[], &[]), "mqtt.password: this is not a text");
    check(&sources("[mqtt]\npasword = \"hunter2\"", &[], &[]), "mqtt.pasword: is not a known key");
    check(&sources("[mqtt]\npassword = \"hunter2", &[], &[]), "configuration: is not valid TOML");
    check(&sources("", &secret, &[]), "mqtt.username: is empty");
    check(&sources("[mqtt]\nbroker = \"mqtt://u:hunter2@h\"", &[], &[]), "mqtt.broker: has a user in it");
}

#[cfg(unix)]
#[test]
fn a_secret_that_everyone_can_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "0123456789abcdef\n").unwrap();
    let file = file.display();
    let password = format!("{FEED}[mqtt]\nbroker = \"mqtt://h\"\nusername = \"u\"\npassword_file = '{file}'");
    let key = strategy(&format!("key_file = '{file}'")).replace("external", "tradingview");
    for (text, path) in [(password, "mqtt.password_file"), (key, "strategy.s.key_file")] {
        let check = |mode: u32, expected: &[&str]| {
            std::fs::set_permissions(file.to_string(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(lines(&load(&text, &[], &[]).warnings), expected);
        };
        check(0o600, &[]);
        check(0o644, &[&format!("{path}: everyone on this machine can read the file; chmod 600 it")]);
    }
}

#[test]
fn alerts_of_a_venues_prices_must_be_of_its_exchange() {
    let check = |feed: &str, expected: Option<&str>| {
        let text = format!(
            "{feed}[strategy.s]\ntype = \"tradingview\"\nkey_required = false\nsymbols = [\"BTC-USDT\"]\n"
        );
        let config = load(&text, &[], &[]).config;
        let settings = &config.tradingview()[&config.strategies[0].id];
        assert_eq!(settings.exchange.as_deref(), expected, "{feed}");
    };
    check("[feed.blofin]\nsymbols = [\"BTC-USDT\"]\n", Some("BLOFIN"));
    check("[feed.b]\nsource = \"blofin\"\nmode = \"poll\"\nsymbols = [\"BTC-USDT\"]\n", Some("BLOFIN"));
    check("[feed.synthetic]\nsymbols = [\"BTC-USDT\"]\n", None);
}

#[test]
fn the_effective_text_loads_to_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x_BTC-USDT_y.csv");
    std::fs::write(&file, "").unwrap();
    let full = "instance = \"i\"\n[mqtt]\nbroker = \"mqtt://[::1]\"\ndiscovery_prefix = \"\"\n\
        [limits]\nleverage_max = 2\non_drawdown = \"reduce\"\n[account.m-m]\n\
        [type.aibot]\naccount = \"m-m\"\nlimits = { daily_loss_max = \"123456789.123456789\" }\n\
        [instrument.\"A-B.PERP\"]\nlot_size = 10\ncontract_value = 0.001\n\
        [feed.f]\nsource = \"synthetic\"\nsymbols = [\"A-B.PERP\"]\nstart_prices = { \"A-B.PERP\" = 0.00002 }\n\
        [strategy.s]\ntype = \"aibot\"\nsymbols = [\"A-B.PERP\"]\nconfidence_min = 0.5\n\
        default_size = { risk_pct = 1 }\nlimits = { drawdown_max_pct = 20 }\npaper = { latency_ms = 5 }\n\
        [strategy.t]\ntype = \"tradingview\"\nsymbols = [\"A-B.PERP\"]\nkey_file = 'KEY'\nsignals_per_minute_max = 7\n\
        accept_from = [\"X:SPOT\"]\noverrides = { \"X:1000AB.P\" = \"A-B.PERP\", AB = \"A-B.PERP\" }\n\
        contracts_as_size = true\nprice_deviation_max_pct = 1.5\n";
    let key = folder.path().join("key");
    std::fs::write(&key, "0123456789abcdef").unwrap();
    let full = &full.replace("KEY", key.to_str().unwrap());
    let recordings = [file.to_str().unwrap().to_owned()];
    let demo = Demo {
        store: Path::new("a \"b\""),
        recordings: &recordings,
        embedded_listen: "127.0.0.1:1999".parse().unwrap(),
    };
    let venue = "[venue.blofin]\nenvironment = \"demo\"\nrest_url = \"http://127.0.0.1:9\"\n\
        [feed.blofin]\nsymbols = [\"BTC-USDT\", \"ETH-USDT.PERP\"]\nmode = \"poll\"\ninterval_ms = 700\n";
    let mut configs = vec![Config::default(), load(full, &[], &[]).config, load(venue, &[], &[]).config];
    let blofin = &configs[2].blofin;
    assert_eq!(blofin.rest_url(), "http://127.0.0.1:9");
    assert_eq!(blofin.ws_public_url(), "wss://demo-trading-openapi.blofin.com/ws/public");
    if cfg!(feature = "embedded-broker") {
        configs.push(Config::demo(demo).unwrap().config);
        configs.push(Config::demo(Demo { recordings: &[], ..demo }).unwrap().config);
    }
    for config in configs {
        let text = config.effective_toml();
        let again = load(&text, &[], &[]).config;
        assert_eq!(format!("{again:#?}"), format!("{config:#?}"), "{text}");
    }
}

#[cfg(feature = "embedded-broker")]
#[test]
fn the_demo_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let listen = "127.0.0.1:1883".parse().unwrap();
    let synthetic = Demo { store: folder.path(), recordings: &[], embedded_listen: listen };
    let loaded = Config::demo(synthetic).unwrap();
    assert_eq!(lines(&loaded.warnings), Vec::<String>::new());
    let settings = loaded.config.engine_settings();
    assert_eq!((settings.markets.len(), settings.strategies.len()), (3, 3));
    let routes = loaded.config.routes();
    let shown = routes.iter().map(|route| format!("{} {} {}", route.strategy, route.venue, route.because));
    let expected = ["bot1", "demo", "tv1"].map(|strategy| format!("{strategy} paper it has no account"));
    assert_eq!(shown.collect::<Vec<_>>(), expected);
    assert!(settings.strategies.iter().all(|strategy| strategy.ticks == (strategy.kind.as_str() == "aibot")));

    let named = folder.path().join("kraken_BTC-USDT_2025.csv");
    let other = folder.path().join("other.csv");
    std::fs::write(&named, "").unwrap();
    std::fs::write(&other, "").unwrap();
    let recordings = [named.display().to_string(), format!("XRP-ETH={}", other.display())];
    let loaded = Config::demo(Demo { recordings: &recordings, ..synthetic }).unwrap();
    let tradebus::config::FeedSource::Recording { files, repeat, .. } = &loaded.config.feeds[0].source else {
        panic!("a recording")
    };
    assert_eq!((files.len(), *repeat, loaded.config.strategies[0].symbols.len()), (2, true, 1));
    let problem = Config::demo(Demo { recordings: &["BTC-USDT=none.csv".into()], ..synthetic }).unwrap_err();
    assert_eq!(lines(&problem), ["feed.recording.files[0].path: \"none.csv\" is not a file that exists"]);
}

#[test]
fn routes_name_the_account() {
    let config = load(&strategy("[account.m]\n[type.external]\naccount = \"m\""), &[], &[]).config;
    assert_eq!(config.routes()[0].because, "account \"m\" of type external has no keys");
    let config = load(&strategy("account = \"m\"\n[account.m]"), &[], &[]).config;
    assert_eq!(config.routes()[0].because, "account \"m\" has no keys");
}

#[test]
fn the_example_loads() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config/example.paper.toml");
    let sources =
        Sources { file: FileSource::Required(path), environment: Vec::new(), overrides: Vec::new() };
    let loaded = Config::load(&sources).unwrap();
    assert_eq!((lines(&loaded.warnings), loaded.config.strategies.len()), (Vec::new(), 1));
}
