//! The files of `docs/examples`, put to use: what the bridges make of an alert is read as the alert, and the bot
//! trades.
//!
//! Node, Python with its modules (`yaml` and `jinja2`; `paho`) are not required: what is missing is said and left out.
//! `TRADEBUS_PYTHON` names another Python.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tradebus::config::{Config, FileSource, Sources};
use tradebus::message::topic::{Inbound, Topics};
use tradebus::message::tradingview::{AlertKey, TradingViewSettings, read};
use tradebus::model::ids::StrategyId;
use tradebus::model::signal::{Action, Refusal, Signal, Size};

use crate::support::bus::Bus;
use crate::support::mosquitto::{Mosquitto, Setup};
use crate::support::program::{Program, Site};
use crate::tradingview::filled;

const NODE_RED: &str = include_str!("../../docs/examples/node-red-tradingview.json");
const HOME_ASSISTANT: &str = include_str!("../../docs/examples/home-assistant-tradingview.yaml");
const PAGE: &str = include_str!("../../docs/TRADINGVIEW.md");

/// Runs a program with this on its standard input; `None` where it is not installed or lacks a module (exit code 3).
pub fn run(program: &str, arguments: &[&str], input: &Value) -> Option<Value> {
    let mut command = Command::new(program);
    let child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        println!("skipped: {program} is not installed");
        return None;
    };
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(input.to_string().as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    if output.status.code() == Some(3) {
        println!("skipped: {program} lacks a module");
        return None;
    }
    assert!(output.status.success(), "{program} failed");
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

fn python() -> String {
    std::env::var("TRADEBUS_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// The templates of the page, filled in by TradingView: those in JSON, and the lines of words.
fn templates() -> (Vec<String>, Vec<String>) {
    let fences = PAGE.split("```").skip(1).step_by(2);
    let blocks = fences.filter(|block| block.contains("{{timenow}}")).map(filled);
    let (json, words): (Vec<_>, Vec<_>) = blocks.partition(|block| block.starts_with("json\n"));
    let json = json.into_iter().map(|block| block["json\n".len()..].trim().to_owned());
    (json.collect(), words.into_iter().map(|block| block.trim().to_owned()).collect())
}

/// Reads what a bridge publishes, as the daemon does.
fn received(topic: &str, payload: &str) -> Result<Signal, Refusal> {
    let Some(Inbound::Alert(strategy)) = Topics::new("tradebus").inbound(topic) else {
        panic!("{topic} is not for alerts")
    };
    let settings = TradingViewSettings {
        key: Some(AlertKey::new("YOUR-KEY")),
        key_required: true,
        exchange: Some("BLOFIN".into()),
        ..TradingViewSettings::default()
    };
    let settings = [(StrategyId::new("tv1").expect("an id"), settings)].into();
    read(strategy, payload.as_bytes(), false, &settings).body.map(|alert| alert.signal)
}

#[test]
fn the_templates_of_the_page_are_read() {
    let (json, words) = templates();
    let signals: Vec<Signal> = json
        .iter()
        .chain(&words)
        .map(|body| {
            received("tradebus/strategy/tv1/tradingview", body).unwrap_or_else(|no| panic!("{body}: {no:?}"))
        })
        .collect();
    let shown: Vec<_> =
        signals.iter().map(|s| (s.action, s.symbol.as_str().to_owned(), s.size.is_some())).collect();
    let btc = || "BTC-USDT".to_owned();
    assert_eq!(
        shown,
        [(Action::Long, btc(), false), (Action::Long, btc(), true), (Action::Buy, btc(), true)]
    );
    assert!(matches!(signals[2].size, Some(Size::Quantity(_))));
}

#[test]
fn the_settings_of_the_page_load() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    std::fs::write(&key, "0123456789abcdef").expect("a key");
    let block = PAGE.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("settings");
    let text = block.replace("/etc/tradebus/tv1.key", &key.display().to_string());
    assert_ne!(block, text);
    let feed = "[feed.synthetic]\nsymbols = [\"BTC-USDT\", \"PEPE-USDT\"]\n";
    let loaded = Config::load(&Sources {
        file: FileSource::Text(format!("{feed}{text}")),
        environment: Vec::new(),
        overrides: Vec::new(),
    });
    let alerts = loaded.expect("no problem").config.tradingview();
    assert_eq!(alerts.len(), 1);
}

/// The function of the flow, run by Node: what TradingView sends leaves it as it came, at once, and nothing else does.
#[test]
fn the_flow_of_node_red_passes_alerts_on() {
    let flow: Value = serde_json::from_str(NODE_RED).expect("JSON");
    let nodes = flow.as_array().expect("a flow");
    let of =
        |kind: &str| nodes.iter().find(|node| node["type"] == kind).unwrap_or_else(|| panic!("no {kind}"));
    for node in nodes {
        for wire in
            node["wires"].as_array().into_iter().flatten().flat_map(|port| port.as_array().expect("a port"))
        {
            assert!(nodes.iter().any(|node| node["id"] == *wire), "{wire} leads nowhere");
        }
    }
    let (out, broker) = (of("mqtt out"), of("mqtt-broker"));
    assert_eq!((&out["qos"], &out["retain"], &out["broker"]), (&json!("1"), &json!("false"), &broker["id"]));
    assert_eq!(
        (&out["topic"], &out["expiry"], &broker["protocolVersion"]),
        (&json!(""), &json!("300"), &json!("5"))
    );
    assert_eq!(of("http in")["method"], "post");

    let (json_bodies, words) = templates();
    // Node-RED parses application/json itself and gives a text as it is; a raw body is a buffer.
    let mut inputs: Vec<Value> = json_bodies.iter().map(|body| json!({ "json": body })).collect();
    inputs.extend(words.iter().map(|body| json!({ "text": body })));
    inputs.extend(words.iter().map(|body| json!({ "buffer": body })));
    inputs.extend([json!({ "text": "" }), json!({ "text": "x".repeat(16_385) })]);
    const RUN: &str = "const { func, inputs } = JSON.parse(require('fs').readFileSync(0, 'utf8'));\
        const call = new Function('msg', func);\
        const text = (i) => 'buffer' in i ? Buffer.from(i.buffer) : i.text;\
        const payload = (i) => 'json' in i ? JSON.parse(i.json) : text(i);\
        console.log(JSON.stringify(inputs.map((i) => call({ payload: payload(i), retain: true, req: {} }))));";
    let input = json!({ "func": of("function")["func"], "inputs": inputs });
    let Some(outputs) = run("node", &["-e", RUN], &input) else { return };
    let outputs = outputs.as_array().expect("outputs");
    assert_eq!(outputs.len(), inputs.len());
    for (output, body) in outputs.iter().zip(json_bodies.iter().chain(&words).chain(&words)) {
        let (alert, answer) = (&output[0], &output[1]);
        assert_eq!((&alert["qos"], &alert["retain"]), (&json!(1), &json!(false)), "{output}");
        let topic = alert["topic"].as_str().expect("a topic");
        let passed = received(topic, alert["payload"].as_str().expect("a text")).expect("a signal");
        assert_eq!(passed, received(topic, body).expect("a signal"), "the same, and the same id");
        assert_eq!((&answer["statusCode"], &answer["payload"]), (&json!(200), &json!("")));
    }
    for output in &outputs[outputs.len() - 2..] {
        assert_eq!((&output[0], &output[1]["statusCode"]), (&Value::Null, &json!(400)), "{output}");
    }
}

/// The automation, its templates rendered: JSON leaves as the same alert, and what is not JSON is left.
#[test]
fn the_automation_of_home_assistant_passes_alerts_on() {
    let (bodies, _) = templates();
    const RUN: &str = "
import json, sys
try:
    import jinja2, yaml
except ImportError:
    sys.exit(3)
given = json.load(sys.stdin)
automation = yaml.safe_load(given['yaml'])
environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
render = lambda text, trigger: environment.from_string(text).render(trigger=trigger)
condition = automation['conditions'][0]['value_template']
payload = automation['actions'][0]['data']['payload']
triggers = [{'json': json.loads(body)} for body in given['bodies']]
out = [render(payload, trigger) for trigger in triggers if render(condition, trigger) == 'True']
refused = [render(condition, trigger) for trigger in ({}, {'json': []}, {'json': 'buy'})]
print(json.dumps({'automation': automation, 'out': out, 'refused': refused}))
";
    let input = json!({ "yaml": HOME_ASSISTANT, "bodies": bodies });
    let Some(got) = run(&python(), &["-c", RUN], &input) else { return };
    let (automation, action) = (&got["automation"], &got["automation"]["actions"][0]);
    let trigger = json!({ "trigger": "webhook", "webhook_id": "tv-REPLACE-WITH-32-RANDOM-CHARACTERS",
        "allowed_methods": ["POST"], "local_only": false });
    assert_eq!(automation["triggers"], json!([trigger]));
    assert_eq!((&automation["mode"], &automation["trace"]["stored_traces"]), (&json!("queued"), &json!(0)));
    assert_eq!(action["action"], "mqtt.publish");
    assert_eq!((&action["data"]["qos"], &action["data"]["retain"]), (&json!(1), &json!(false)));
    assert_eq!(got["refused"], json!(["False", "False", "False"]));
    let topic = action["data"]["topic"].as_str().expect("a topic");
    assert_eq!(got["out"].as_array().map(Vec::len), Some(bodies.len()));
    for (passed, body) in got["out"].as_array().into_iter().flatten().zip(&bodies) {
        let passed = received(topic, passed.as_str().expect("a text")).expect("a signal");
        assert_eq!(passed, received(topic, body).expect("a signal"), "the same, and the same id");
    }
}

/// The bot at a real broker and a real daemon: ticks in, a signal out, a fill.
#[tokio::test]
async fn the_bot_trades() {
    let python = python();
    if run(
        &python,
        &["-c", "import importlib.util as u, sys\nif not u.find_spec('paho'): sys.exit(3)\nprint(1)"],
        &Value::Null,
    )
    .is_none()
    {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let mut bus = Bus::connect(broker.port, "ear").await;
    let bot1 = "[strategy.bot1]\ntype = \"aibot\"\nsymbols = [\"BTC-USDT\"]\nticks = true\ndefault_size = { equity_pct = 10 }\n";
    let site = Site::with(broker.port, 0, bot1);
    let _program = site.run();
    bus.until("ticks", |heard| !heard.ticks.is_empty()).await;
    let bot = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/aibot.py");
    let port = broker.port.to_string();
    let arguments =
        ["-u", bot, "--port", &port, "--feed", "tape", "--fast-s", "0.5", "--slow-s", "1", "--band-bps", "0"];
    let mut bot = Program::start_other(&python, &[], &arguments, &site.path("bot"));
    bus.until("a fill of the bot", |heard| heard.said("fill").any(|(_, fill)| fill["strategy"] == "bot1"))
        .await;
    bot.says("filled", 1).await;
    let (_, fill) = bus.heard.said("fill").next().expect("a fill");
    let id = fill["signal_id"].as_str().expect("an id").to_owned();
    bus.until("its result", |heard| heard.results_of("bot1", &id).len() == 1).await;
    assert!(bot.log().contains(&id), "{}", bot.log());
    bot.kill();
}
