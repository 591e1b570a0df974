//! Every entity, one row each. Topics and keys are those of `docs/MQTT.md`; a test compares them with real payloads.
//!
//! A row's key is part of unique ids: rows may be added and removed, but a key is never given to something else.

use super::row::{Row, Value};

const STATE: &str = "strategy/$id/state";
const KPI: &str = "strategy/$id/kpi";
const POSITION: &str = "strategy/$id/position/$symbol";
const PORTFOLIO: &str = "portfolio/state";
const HEALTH: &str = "daemon/health";
const LEVEL_SET: &str = "daemon/level/set";
const STRATEGY_LEVEL_SET: &str = "strategy/$id/level/set";

const LEVELS: (&str, &str) = ("ops", r#"["run","pause","reduce","flatten"]"#);
const PRESS_FLATTEN: (&str, &str) = ("pl_prs", r#""flatten""#);

/// Available as soon as the topic has said anything, so that `offline` shows as disconnected.
const ALWAYS: (&str, &str) = ("avty", r#"[{"t":"$base/daemon/state","val_tpl":"{{ 'online' }}"}]"#);

/// The closing template of a command that may loosen: fresh JSON with id and time. `flatten` is always a tightening,
/// and so the plain word, which is taken at any age.
macro_rules! fresh {
    ($who:literal, $plain:literal) => {
        concat!(
            r#""{% if value == '"#,
            $plain,
            r#"' %}"#,
            $plain,
            r#"{% else %}{\"level\":\"{{ value }}\",\"id\":\"ha-"#,
            $who,
            r#"{{ utcnow().timestamp() }}\",\"time\":\"{{ utcnow().isoformat() }}\"}{% endif %}""#
        )
    };
}

/// The daemon.
pub(super) const DAEMON: &[Row] = &[
    Row::other("binary_sensor", "connectivity", "Connection", "daemon/state", Value::Payload, "")
        .class("connectivity")
        .diagnostic()
        .more(&[("pl_on", r#""online""#), ("pl_off", r#""offline""#), ALWAYS]),
    Row::other("select", "level", "Level", "daemon/level", Value::Payload, "traffic-light")
        .commands(LEVEL_SET)
        .more(&[LEVELS, ("cmd_tpl", fresh!("", "flatten"))]),
    Row::other("button", "flatten", "Flatten everything", "", Value::Payload, "alert-octagon")
        .commands(LEVEL_SET)
        .more(&[PRESS_FLATTEN]),
    Row::other("event", "alert", "Alert", "daemon/alert", ALERT, "bell-alert")
        .more(&[("evt_typ", r#"["info","warning","error"]"#)]),
    Row::word("version", "Version", "daemon/info", Value::Word("version"), "tag").diagnostic(),
    Row::word("started", "Started", "daemon/info", Value::Word("started"), "")
        .class("timestamp")
        .diagnostic(),
    Row::word("health_time", "Last health report", HEALTH, Value::Word("time"), "")
        .class("timestamp")
        .diagnostic()
        .expires(),
    Row::number("memory", "Memory", HEALTH, Value::Megabytes("memory_bytes"), "")
        .class("data_size")
        .diagnostic()
        .expires(),
    Row::number("written", "Written", HEALTH, Value::Megabytes("bytes_written"), "")
        .class("data_size")
        .counter()
        .diagnostic()
        .expires(),
    Row::number("commits_waiting", "Commits waiting", HEALTH, Value::Count("commits_waiting"), "harddisk")
        .diagnostic()
        .expires(),
    Row::number("events_waiting", "Events waiting", HEALTH, Value::Count("events_waiting"), "tray-full")
        .diagnostic()
        .expires(),
    Row::number("published", "Messages published", HEALTH, Value::Count("published"), "upload")
        .counter()
        .diagnostic()
        .expires(),
    Row::number("dropped", "Messages dropped", HEALTH, Value::Count("dropped"), "delete")
        .counter()
        .diagnostic()
        .expires(),
    Row::number("reconnects", "Broker reconnects", HEALTH, Value::Count("reconnects"), "lan-disconnect")
        .counter()
        .diagnostic()
        .expires(),
    Row::number("retained_refused", "Retained refused", HEALTH, Value::Count("retained_refused"), "cancel")
        .counter()
        .diagnostic()
        .expires(),
];

/// The daemon's money, once there is a strategy.
pub(super) const PORTFOLIO_MONEY: &[Row] = &[
    Row::number("equity", "Equity", PORTFOLIO, Value::Money("equity"), "wallet"),
    Row::number("balance", "Balance", PORTFOLIO, Value::Money("balance"), "bank"),
    Row::number("unrealized", "Unrealized profit", PORTFOLIO, Value::Money("unrealized_pnl"), "chart-line"),
    Row::number("realized", "Realized profit", PORTFOLIO, Value::Money("realized_pnl"), "cash-check").total(),
    Row::number("fees", "Fees", PORTFOLIO, Value::Money("fees"), "cash-minus").total(),
    Row::number("drawdown", "Drawdown", PORTFOLIO, Value::Percent("drawdown_pct"), "trending-down"),
    Row::number("open_positions", "Open positions", PORTFOLIO, Value::Count("open_positions"), "counter"),
];

/// Each feed.
pub(super) const FEED: &[Row] = &[Row::other(
    "binary_sensor",
    "feed_$feed",
    "Feed $feed",
    "feed/$feed",
    Value::Template("{{ 'ON' if value_json.connected else 'OFF' }}"),
    "",
)
.class("connectivity")
.diagnostic()
.expires()
.more(&[
    ("json_attr_t", r#""$base/feed/$feed""#),
    (
        "json_attr_tpl",
        r#""{{ {'since': value_json.since, 'error': value_json.error, 'reconnects': value_json.reconnects, 'source': value_json.source, 'latency_ms': value_json.latency_ms, 'gaps': value_json.gaps} | tojson }}""#,
    ),
])];

/// Each feed and symbol.
pub(super) const MARKET: &[Row] = &[Row::number(
    "price_$key_$feed",
    "$symbol price",
    "price/$feed/$symbol",
    Value::Fresh("last"),
    "chart-line-variant",
)
.expires()];

/// Each strategy.
pub(super) const STRATEGY: &[Row] = &[
    Row::other("switch", "run", "Run", STATE, RUNS, "robot").commands(STRATEGY_LEVEL_SET).more(&[
        ("pl_on", r#""run""#),
        ("pl_off", r#""pause""#),
        ("stat_on", r#""ON""#),
        ("stat_off", r#""OFF""#),
        ("opt", "false"),
        ("cmd_tpl", fresh!("$id-", "pause")),
    ]),
    Row::other("select", "level", "Level", STATE, Value::Word("level"), "traffic-light")
        .commands(STRATEGY_LEVEL_SET)
        .more(&[LEVELS, ("cmd_tpl", fresh!("$id-", "flatten"))]),
    Row::other("button", "flatten", "Flatten", "", Value::Payload, "alert-octagon")
        .commands(STRATEGY_LEVEL_SET)
        .more(&[PRESS_FLATTEN]),
    Row::word("level_effective", "Effective level", STATE, Value::Word("level_effective"), "traffic-light")
        .class("enum")
        .diagnostic()
        .more(&[LEVELS]),
    Row::word("mode", "Mode", STATE, Value::Word("mode"), "school")
        .class("enum")
        .diagnostic()
        .more(&[("ops", r#"["paper","live"]"#)]),
    Row::word("last_error", "Last refusal", STATE, LAST_ERROR, "alert-circle").diagnostic(),
    Row::number("equity", "Equity", STATE, Value::Money("equity"), "wallet"),
    Row::number("balance", "Balance", STATE, Value::Money("balance"), "bank"),
    Row::number("unrealized", "Unrealized profit", STATE, Value::Money("unrealized_pnl"), "chart-line"),
    Row::number("realized", "Realized profit", STATE, Value::Money("realized_pnl"), "cash-check").total(),
    Row::number("fees", "Fees", STATE, Value::Money("fees"), "cash-minus").total(),
    Row::number("drawdown", "Drawdown", STATE, Value::Percent("drawdown_pct"), "trending-down"),
    Row::number("open_positions", "Open positions", STATE, Value::Count("open_positions"), "counter"),
    Row::word(
        "signal_result",
        "Last signal",
        "strategy/$id/signal/result",
        Value::Word("status"),
        "message-reply",
    )
    .class("enum")
    .more(&[
        ("ops", r#"["filled","accepted","unchanged","rejected"]"#),
        ("json_attr_t", r#""$base/strategy/$id/signal/result""#),
    ]),
    Row::other("event", "fill", "Fill", "strategy/$id/fill", Value::Payload, "swap-horizontal")
        .more(&[("evt_typ", r#"["open","increase","reduce","close","flip"]"#)]),
    Row::number("trades", "Trades", KPI, Value::Count("trades"), "counter").total(),
    Row::number("net", "Net profit of trades", KPI, Value::Money("net"), "cash-multiple").total(),
    Row::number("expectancy", "Expectancy", KPI, Value::Money("expectancy"), "cash"),
    Row::number("win_rate", "Win rate", KPI, Value::Share("win_rate"), "trophy"),
    Row::number("profit_factor", "Profit factor", KPI, Value::Ratio("profit_factor"), "division"),
    Row::number("payoff_ratio", "Payoff ratio", KPI, Value::Ratio("payoff_ratio"), "scale-balance"),
    Row::number("sharpe", "Sharpe", KPI, Value::Ratio("sharpe"), "chart-bell-curve"),
    Row::number("sortino", "Sortino", KPI, Value::Ratio("sortino"), "chart-bell-curve"),
    Row::number("calmar", "Calmar", KPI, Value::Ratio("calmar"), "chart-bell-curve"),
    Row::number("volatility", "Volatility", KPI, Value::Share("volatility"), "sine-wave"),
    Row::number("max_drawdown", "Maximum drawdown", KPI, Value::Share("max_drawdown"), "trending-down"),
    Row::number("total_return", "Total return", KPI, Value::Share("total_return"), "percent"),
    Row::number("cagr", "Annual growth", KPI, Value::Share("cagr"), "percent"),
    Row::number("sqn", "SQN", KPI, Value::Ratio("sqn"), "chart-bell-curve"),
    Row::number("exposure", "Exposure", KPI, Value::Share("exposure"), "timelapse"),
];

/// Each symbol of a strategy.
pub(super) const POSITIONS: &[Row] = &[
    Row::word("side_$key", "$symbol side", POSITION, Value::Word("side"), "swap-vertical")
        .class("enum")
        .more(&[("ops", r#"["long","short","flat"]"#)]),
    Row::number("size_$key", "$symbol size", POSITION, Value::Quantity("quantity"), "scale"),
    Row::number("entry_$key", "$symbol entry", POSITION, Value::Price("entry_price"), "login"),
    Row::number(
        "unrealized_$key",
        "$symbol unrealized profit",
        POSITION,
        Value::Money("unrealized_pnl"),
        "chart-line",
    ),
];

const RUNS: Value = Value::Template("{{ 'ON' if value_json.level == 'run' else 'OFF' }}");

/// States hold 255 characters.
const LAST_ERROR: Value =
    Value::Template("{{ value_json.last_error[:255] if value_json.last_error else None }}");

/// An event needs its type in the payload, and a closed list of types: the level is one, the codes may grow.
const ALERT: Value = Value::Template(
    "{{ {'event_type': value_json.level, 'code': value_json.code, 'text': value_json.text, \
     'strategy': value_json.strategy, 'time': value_json.time} | tojson }}",
);
