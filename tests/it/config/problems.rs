//! Tables of what is refused: a text in, the list of its problems out.

use super::{FEED, check, problems, sources, strategy};

#[test]
fn everything_is_told_at_once() {
    check(
        "instnce = 1\n[mqtt]\nbase_topic = \"+\"\n[paper]\nlatency_ms = -1\n[limits]\nleverage_max = \"x\"\n\
         [feed.f]\nsource = \"okx\"\nsymbols = [\"BTC\"]\n[strategy.s]\ntype = \"grid\"\nfeed = \"g\"\nbalance = -5",
        &[
            "feed.f.source: \"okx\" is not available in this version; use \"blofin\", \"recording\" or \"synthetic\"",
            "feed.f.symbols[0]: \"BTC\" is not a symbol; write BASE-QUOTE in capitals, such as \"BTC-USDT\"",
            "instnce: is not a known key; did you mean \"instance\"?",
            "limits.leverage_max: \"x\" is not a number",
            "mqtt.base_topic: \"+\" has a wildcard",
            "paper.latency_ms: -1 is out of range; it must be 0 to 60000",
            "strategy.s.balance: -5 is out of range; it must be above 0, at most 1000000000000",
            "strategy.s.feed: there is no [feed.g]",
            "strategy.s.symbols: names no pair; write them like [\"BTC-USDT\"]",
            "strategy.s.type: \"grid\" is not one of external, tradingview, aibot",
        ],
    );
}

#[test]
fn problems_of_the_daemon() {
    check("instance = \"a b\"", &["instance: \"a b\" is not 1 to 32 letters, digits, \"_\" or \"-\""]);
    check("instance = 5", &["instance: 5 is not a text; write it in quotes"]);
    check("mqtt = 5", &["mqtt: 5 is not a table"]);
    check("instance = \"x", &["configuration: is not valid TOML: invalid basic string (line 1, column 14)"]);
    check("[store]\npath = \"\"", &["store.path: is empty; it must be a directory"]);
    check(
        "[log]\nlevel = \"inf\"",
        &["log.level: \"inf\" is not one of error, warn, info, debug, trace; did you mean \"info\"?"],
    );
    check("[http]\nlisten = \"\"", &[]);
    check(
        "[http]\nlisten = \"0.0.0.0:80\"\ntoken_file = \"t\"",
        &[
            "http.listen: 0.0.0.0:80 is beyond the loopback and there is no token; give token_file, or use \
             \"127.0.0.1:8420\"",
            "http.token_file: the file does not exist",
        ],
    );
    check(
        "[http]\nlisten = \"localhost\"\nhosts = [\"https://a\"]",
        &[
            "http.hosts[0]: \"https://a\" is not the name of a host; write it without scheme and port",
            "http.listen: \"localhost\" is not an address; write \"127.0.0.1:8420\", or \"\" for no HTTP",
        ],
    );
    check(
        "[venue.Xeggex]\n[venue.okx]\n[venue.foo]\n[venue.blofin]\nenvironment = \"test\"\nrest_url = \"u\"\n\
         ws_public_url = \"wss://user:secret@host/\"\nws_private_url = \"wss://host\"\n\
         ca_file = \"/none.pem\"",
        &[
            "venue.Xeggex: \"Xeggex\" no longer exists: the exchange was shut down",
            "venue.blofin.ca_file: the file does not exist",
            "venue.blofin.environment: \"test\" is not one of production, demo",
            "venue.blofin.rest_url: is not an address; it must begin with \"https://\", without a user or a query",
            "venue.blofin.ws_public_url: is not an address; it must begin with \"wss://\", without a user or a query",
            "venue.foo: \"foo\" is not a venue; use \"blofin\"",
            "venue.okx: \"okx\" is not available in this version; use \"blofin\"",
        ],
    );
}

#[test]
fn problems_of_mqtt() {
    let mqtt = |line: &str, expected: &[&str]| check(&format!("[mqtt]\n{line}"), expected);
    mqtt(
        "broker = \"mqtt://u:secret@host\"",
        &["mqtt.broker: has a user in it; use mqtt.username and mqtt.password_file"],
    );
    mqtt(
        "broker = \"host\"",
        &[
            "mqtt.broker: \"host\" is not a broker; write \"mqtt://host:1883\", \"mqtts://host:8883\" or \"embedded\"",
        ],
    );
    mqtt("broker = \"mqtt://host:0\"", &["mqtt.broker: \"mqtt://host:0\" has no port from 1 to 65535"]);
    mqtt(
        "embedded_listen = \"0.0.0.0:1883\"",
        &[
            "mqtt.embedded_listen: \"0.0.0.0:1883\" is not an address of the loopback, and anyone who reaches the \
         embedded broker may trade; use \"127.0.0.1:1883\", or another broker",
        ],
    );
    mqtt(
        "embedded_listen = \"127.0.0.1:0\"",
        &["mqtt.embedded_listen: \"127.0.0.1:0\" has port 0; use one from 1 to 65535"],
    );
    mqtt(
        "embedded_listen = \"1883\"",
        &["mqtt.embedded_listen: \"1883\" is not an address; write \"127.0.0.1:1883\""],
    );
    if cfg!(feature = "embedded-broker") {
        mqtt(
            "broker = \"embedded\"\nusername = \"u\"",
            &["mqtt.username: the embedded broker asks for no user; leave it empty, or use another broker"],
        );
    } else {
        mqtt(
            "broker = \"embedded\"",
            &["mqtt.broker: \"embedded\" is not in this build; use \"mqtt://localhost:1883\""],
        );
    }
}

#[test]
fn problems_of_mqtt_topics_and_times() {
    let mqtt = |line: &str, expected: &[&str]| check(&format!("[mqtt]\n{line}"), expected);
    mqtt("base_topic = \"a/#\"", &["mqtt.base_topic: \"a/#\" has a wildcard"]);
    mqtt("base_topic = \"\"", &["mqtt.base_topic: is empty; it must be a topic such as \"tradebus\""]);
    mqtt(
        "base_topic = \"/a\"",
        &["mqtt.base_topic: \"/a\" has an empty level; leave out the \"/\" at its ends"],
    );
    mqtt("base_topic = \"$SYS\"", &["mqtt.base_topic: \"$SYS\" begins with \"$\", which is the broker's"]);
    mqtt(
        "discovery_prefix = \"a b\"",
        &["mqtt.discovery_prefix: \"a b\" has a space or a control character"],
    );
    mqtt(
        "discovery_prefix = \"tradebus\"",
        &["mqtt.discovery_prefix: \"tradebus\" is also base_topic; they must differ"],
    );
    mqtt("discovery_prefix = \"\"", &[]);
    mqtt("birth_topic = \"ha/#\"", &["mqtt.birth_topic: \"ha/#\" has a wildcard"]);
    mqtt(
        "birth_topic = \"tradebus/daemon/level/set\"",
        &["mqtt.birth_topic: is below base_topic \"tradebus\", which is ours"],
    );
    mqtt("birth_topic = \"ha/status\"", &[]);
    mqtt("price_interval_ms = 50", &["mqtt.price_interval_ms: 50 is out of range; it must be 100 to 60000"]);
    mqtt("price_interval_ms = 1.5", &["mqtt.price_interval_ms: 1.5 is not a whole number"]);
    mqtt("price_interval_ms = \"500\"", &[]);
    mqtt(
        "session_expiry_s = 99999999",
        &["mqtt.session_expiry_s: 99999999 is out of range; it must be 60 to 604800"],
    );
    mqtt("price_deadband_bps = -1", &["mqtt.price_deadband_bps: -1 is out of range; it must be 0 to 1000"]);
    mqtt(
        "broker = \"mqtt://h\"\nusername = \"u\"\npassword_file = \"/does/not/exist\"",
        &["mqtt.password_file: the file does not exist"],
    );
}

#[test]
fn unknown_keys_get_a_suggestion() {
    check("[mqtt]\nbrokr = \"x\"", &["mqtt.brokr: is not a known key; did you mean \"broker\"?"]);
    check("[zzz]", &["zzz: is not a known key"]);
    check(
        &strategy("limits = { daily_los_max = 1 }"),
        &["strategy.s.limits.daily_los_max: is not a known key; did you mean \"daily_loss_max\"?"],
    );
    check(
        &strategy("paper = { latency = 1 }\nsimbols = []"),
        &[
            "strategy.s.paper.latency: is not a known key; did you mean \"latency_ms\"?",
            "strategy.s.simbols: is not a known key; did you mean \"symbols\"?",
        ],
    );
    let found = problems(&sources("", &[("TRADEBUS_MQTT__BROKRE", "x")], &["log.levle=info"]));
    assert_eq!(
        found,
        [
            "log.levle: is not a known key; did you mean \"level\"? (command line)",
            "mqtt.brokre: is not a known key; did you mean \"broker\"? (environment)",
        ]
    );
}

#[test]
fn problems_of_blofin() {
    let feed = |lines: &str, expected: &[&str]| {
        check(&format!("[feed.x]\nsource = \"blofin\"\nsymbols = [\"BTC-USDT\"]\n{lines}"), expected)
    };
    feed("mode = \"poll\"\ninterval_ms = 500", &[]);
    feed("standby = true", &[]);
    feed(
        "mode = \"poll\"\nstandby = true",
        &["feed.x.standby: true has no effect with mode = \"poll\", which has no stream"],
    );
    feed(
        "mode = \"push\"\ninterval_ms = 499\nprice_stale_after_ms = 999\nspeed = 2",
        &[
            "feed.x.interval_ms: 499 is out of range of a venue; it must be 500 to 3600000",
            "feed.x.mode: \"push\" is not one of stream, poll",
            "feed.x.price_stale_after_ms: 999 is too short for a venue; it must be at least 1000",
            "feed.x.speed: a \"blofin\" feed does not have this key",
        ],
    );
    check(
        "[feed.blofin]\nsymbols = [\"BTC-USDT\", \"ETH-USDT.SPOT\", \"BTC-USDT.PERP\"]",
        &[
            "feed.blofin.symbols[1]: \"ETH-USDT.SPOT\" is a spot pair, which is not available in this version",
            "feed.blofin.symbols[2]: \"BTC-USDT.PERP\" is in the list already, under another name",
        ],
    );
}

#[test]
fn problems_of_feeds() {
    let feed = |lines: &str, expected: &[&str]| {
        check(&format!("[feed.x]\nsymbols = [\"BTC-USDT\"]\n{lines}"), expected)
    };
    const USE: &str = "use \"blofin\", \"recording\" or \"synthetic\"";
    feed(
        "source = \"xeggex\"",
        &[&format!("feed.x.source: \"xeggex\" no longer exists: the exchange was shut down; {USE}")],
    );
    feed("source = \"foo\"", &[&format!("feed.x.source: \"foo\" is not a source; {USE}")]);
    feed(
        "source = \"syntetic\"",
        &["feed.x.source: \"syntetic\" is not a source; did you mean \"synthetic\"?"],
    );
    feed("", &[&format!("feed.x.source: is missing, and the feed's name is not a source; {USE}")]);
    feed(
        "source = \"synthetic\"\nspeed = 2\nmode = \"poll\"",
        &[
            "feed.x.mode: a \"synthetic\" feed does not have this key",
            "feed.x.speed: a \"synthetic\" feed does not have this key",
        ],
    );
    feed(
        "source = \"synthetic\"\nstart_prices = { BTC-USDT = 0, ETH-USDT = 5 }",
        &[
            "feed.x.start_prices.BTC-USDT: 0 is out of range; it must be above 0, at most 1000000000",
            "feed.x.start_prices.ETH-USDT: \"ETH-USDT\" is not in feed.x.symbols",
        ],
    );
    feed(
        "source = \"synthetic\"\nseed = -1\ninterval_ms = 1",
        &[
            "feed.x.interval_ms: 1 is out of range; it must be 10 to 3600000",
            "feed.x.seed: -1 is out of range; it must be 0 to 9223372036854775807",
        ],
    );
    check(
        "[feed.synthetic]\nsymbols = [\"BTCUSDT\", \"BTC-USDT\", \"BTC-USDT\"]",
        &[
            "feed.synthetic.symbols[0]: \"BTCUSDT\" is not a symbol; write BASE-QUOTE in capitals, such as \"BTC-USDT\"",
            "feed.synthetic.symbols[2]: \"BTC-USDT\" is in the list already",
        ],
    );
    check("[feed.synthetic]", &["feed.synthetic.symbols: names no pair; write them like [\"BTC-USDT\"]"]);
    check(
        "[feed.\"a b\"]\nsource = \"synthetic\"\nsymbols = [\"BTC-USDT\"]",
        &["feed.\"a b\": \"a b\" is not a feed name: it has a character that is not allowed"],
    );
    let two = "source = \"synthetic\"\nsymbols = [\"BTC-USDT\"]\n";
    check(&format!("[feed.A]\n{two}[feed.a]\n{two}"), &["feed.a: differs from \"A\" only by case"]);
}

#[test]
fn problems_of_recordings() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("btc.csv");
    std::fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    let feed = |files: &str, lines: &str, expected: &[&str]| {
        let files = files.replace("FILE", file);
        check(&format!("[feed.recording]\nsymbols = [\"BTC-USDT\"]\nfiles = {files}\n{lines}"), expected);
    };
    let good = "[{ path = 'FILE', symbol = \"BTC-USDT\" }]";
    feed(good, "", &[]);
    feed(good, "speed = 0\nclock = \"recorded\"", &[]);
    feed(
        good,
        "speed = 0",
        &["feed.recording.speed: 0 (as fast as it is consumed) needs clock = \"recorded\""],
    );
    feed(
        good,
        "clock = \"recorded\"\nrepeat = true",
        &["feed.recording.repeat: true needs clock = \"wall\": recorded time does not go back"],
    );
    feed(
        good,
        "clock = \"recorded\"\n[feed.synthetic]\nsymbols = [\"BTC-USDT\"]",
        &["feed.synthetic.clock: the feeds have different clocks; all must be \"wall\" or all \"recorded\""],
    );
    feed(
        "[{ path = 'FILE', symbol = \"ETH-USDT\" }]",
        "",
        &[
            "feed.recording.files: has no file of \"BTC-USDT\"",
            "feed.recording.files[0].symbol: \"ETH-USDT\" is not in feed.recording.symbols",
        ],
    );
    feed(
        "[{ path = 'not-here.csv', symbol = \"BTC-USDT\", knd = 1 }]",
        "",
        &[
            "feed.recording.files[0].knd: is not a known key",
            "feed.recording.files[0].path: \"not-here.csv\" is not a file that exists",
        ],
    );
    feed(
        "[5]",
        "",
        &["feed.recording.files: has no file of \"BTC-USDT\"", "feed.recording.files[0]: 5 is not a table"],
    );
    check(
        "[feed.recording]\nsymbols = [\"BTC-USDT\"]",
        &["feed.recording.files: is missing; write [{ path = \"...\", symbol = \"...\" }]"],
    );
}

#[test]
fn problems_of_strategies() {
    check(
        &strategy("balance = 0\nconfidence_min = 1.5"),
        &[
            "strategy.s.balance: 0 is out of range; it must be above 0, at most 1000000000000",
            "strategy.s.confidence_min: 1.5 is out of range; it must be 0 to 1",
        ],
    );
    check(
        &strategy("default_size = { quantity = 1, notional = 2 }"),
        &["strategy.s.default_size: must have exactly one of quantity, notional, equity_pct, risk_pct"],
    );
    check(
        &strategy("default_size = {}"),
        &["strategy.s.default_size: must have exactly one of quantity, notional, equity_pct, risk_pct"],
    );
    check(
        &strategy("paper = { leverage = 126, latency_ms = 60001 }"),
        &[
            "strategy.s.paper.latency_ms: 60001 is out of range; it must be 0 to 60000",
            "strategy.s.paper.leverage: 126 is out of range; it must be 1 to 125",
        ],
    );
    check(
        &strategy("limits = { orders_per_minute_max = 0, drawdown_max_pct = 101, on_drawdown = \"stop\" }"),
        &[
            "strategy.s.limits.drawdown_max_pct: 101 is out of range; it must be above 0, at most 100",
            "strategy.s.limits.on_drawdown: \"stop\" is not one of flatten, reduce",
            "strategy.s.limits.orders_per_minute_max: 0 is out of range; it must be 1 to 10000",
        ],
    );
    check(&strategy("ticks = \"yes\""), &["strategy.s.ticks: \"yes\" is neither true nor false"]);
    check(
        &strategy("feed = \"syntetic\""),
        &["strategy.s.feed: there is no [feed.syntetic]; did you mean \"synthetic\"?"],
    );
    check(
        &strategy("[feed.b]\nsource = \"synthetic\"\nsymbols = [\"BTC-USDT\"]"),
        &["strategy.s.feed: is missing, and there are several: b, synthetic"],
    );
    check(
        "[strategy.s]\ntype = \"external\"\nsymbols = [\"BTC-USDT\"]",
        &["strategy.s.feed: is missing, and there is no feed"],
    );
    check(
        &strategy("[strategy.S]\ntype = \"trading_view\"\nsymbols = [\"BTC-USDT\"]"),
        &[
            "strategy.S.type: \"trading_view\" is not one of external, tradingview, aibot; did you mean \"tradingview\"?",
            "strategy.s: differs from \"S\" only by case",
        ],
    );
    check(
        &format!("{FEED}[strategy.s]\nsymbols = [\"BTC-USDT\"]"),
        &["strategy.s.type: is missing; write one of external, tradingview, aibot"],
    );
    check(
        &strategy("signals_per_minute_max = 0"),
        &["strategy.s.signals_per_minute_max: 0 is out of range; it must be 1 to 1000000"],
    );
}

#[test]
fn problems_of_alerts() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!("key_file = '{}'", path.display())
    };
    let good = file("good", "  0123456789abcdef\r\n");
    let alerts = |more: &str| strategy(more).replace("external", "tradingview");
    let problems = |more: &str, expected: &[&str]| check(&alerts(more), expected);
    problems(&good, &[]);
    problems("key_required = false", &[]);
    problems(
        "",
        &[
            "strategy.s.key_file: is missing: alerts need a key; or write key_required = false when only trusted clients \
           can publish to its topics",
        ],
    );
    problems("key_file = \"/does/not/exist\"", &["strategy.s.key_file: the file does not exist"]);
    problems(&file("empty", "\n"), &["strategy.s.key_file: the file is empty"]);
    problems(
        &file("short", " 0123456789abcde \n"),
        &[
            "strategy.s.key_file: the key has 15 characters; it must have 16 or more: `openssl rand -hex 24` makes one",
        ],
    );
    problems(
        &file("words", "0123456789 abcdef"),
        &["strategy.s.key_file: the key has a space or a control character; it must be one word"],
    );
    problems(
        &format!("{good}\naccept_from = [\"BINANCE\", \"okx:perp\", \"BYBIT:FUTURES\", 5]"),
        &[
            "strategy.s.accept_from[2]: \"BYBIT:FUTURES\" is not like \"BINANCE\", \"BINANCE:SPOT\" or \"BINANCE:PERP\"",
            "strategy.s.accept_from[3]: 5 is not a text; write it in quotes",
        ],
    );
    problems(
        &format!(
            "{good}\noverrides = {{ \"A:XBT.P\" = \"BTC-USDT\", \"a:xbt.p\" = \"BTC-USDT\", X = \"BTCUSDT\", Y = 5 }}"
        ),
        &[
            "strategy.s.overrides.\"a:xbt.p\": differs from \"A:XBT.P\" only by case",
            "strategy.s.overrides.X: \"BTCUSDT\" is not one of the strategy's symbols; did you mean \"BTC-USDT\"?",
            "strategy.s.overrides.Y: 5 is not a text; write it in quotes",
        ],
    );
    problems(
        &format!("{good}\nprice_deviation_max_pct = 0\ncontracts_as_size = 1\noverrides = 3"),
        &[
            "strategy.s.contracts_as_size: 1 is neither true nor false",
            "strategy.s.overrides: 3 is not a table",
            "strategy.s.price_deviation_max_pct: 0 is out of range; it must be above 0, at most 100",
        ],
    );
    // What a person may take for protection is not ignored.
    let other = "is for strategies of type \"tradingview\", and this one is of type \"external\"";
    check(
        &strategy(&format!("{good}\nkey_required = true\nprice_deviation_max_pct = 1")),
        &[
            &format!("strategy.s.key_file: {other}"),
            &format!("strategy.s.key_required: {other}"),
            &format!("strategy.s.price_deviation_max_pct: {other}"),
        ],
    );
}

#[test]
fn problems_of_a_strategys_symbols() {
    let symbols = |symbols: &str| format!("{FEED}[strategy.tv1]\ntype = \"external\"\nsymbols = {symbols}");
    check(
        &symbols("[\"BTCUSDT\"]"),
        &[
            "strategy.tv1.symbols[0]: \"BTCUSDT\" is not a symbol; write BASE-QUOTE in capitals, such as \"BTC-USDT\"; \
         did you mean \"BTC-USDT\"?",
        ],
    );
    check(
        &symbols("[\"SOL-USDT\"]"),
        &["strategy.tv1.symbols: \"SOL-USDT\" is not in feed.synthetic.symbols"],
    );
    check(
        &symbols("[\"BTC-USDT\", \"XRP-ETH\"]"),
        &[
            "strategy.tv1.symbols: \"BTC-USDT\" and \"XRP-ETH\" have different quote currencies; a strategy has one",
        ],
    );
    check(&symbols("\"BTC-USDT\""), &["strategy.tv1.symbols: \"BTC-USDT\" is not a list; write it in [ ]"]);
}

#[test]
fn problems_of_accounts_types_and_instruments() {
    check(
        &strategy("account = \"mian\"\n[account.main]\nvenue = \"xeggex\"\napi_key_file = \"k\""),
        &[
            "account.main.api_key_file: the file does not exist",
            "account.main.api_secret_file: is missing: an account has all three keys, or none and trades on paper",
            "account.main.passphrase_file: is missing: an account has all three keys, or none and trades on paper",
            "account.main.venue: \"xeggex\" no longer exists: the exchange was shut down",
            "strategy.s.account: there is no [account.mian]; did you mean \"main\"?",
        ],
    );
    check(
        "[type.externl]\n[type.aibot]\naccount = \"x\"\nlimits = { leverage_max = 0 }",
        &[
            "type.aibot.account: there is no [account.x]",
            "type.aibot.limits.leverage_max: 0 is out of range; it must be above 0, at most 125",
            "type.externl: \"externl\" is not one of external, tradingview, aibot; did you mean \"external\"?",
        ],
    );
    check(
        "[instrument.BTCUSDT]\n[instrument.BTC-USDT]\ntick_size = 0",
        &[
            "instrument.BTC-USDT.tick_size: 0 is out of range; it must be above 0, at most 1000000",
            "instrument.BTCUSDT: \"BTCUSDT\" is not a symbol; write BASE-QUOTE in capitals, such as \"BTC-USDT\"",
        ],
    );
    check(
        "[instrument.BTC-USDT]\nlot_size = 0.0000001\ncontract_value = 0.0000001",
        &[
            "instrument.BTC-USDT.lot_size: lot_size x contract_value is 0.00000000000001: at most 12 decimals are kept",
        ],
    );
}
