//! A daemon that only seems to be one: what it retains and answers is what the test says.

use rumqttc::{AsyncClient, Broker, Event, Incoming, MqttOptions, PublishOptions, QoS};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tradebus::engine::effect::{KpiView, MoneyView, PositionView, ScopeView, StrategyView, Update};
use tradebus::engine::event::Level;
use tradebus::engine::record::Scope;
use tradebus::message::topic::Topics;
use tradebus::message::view::{self, MessageKind};
use tradebus::model::amount::{Money, Price, Quantity, parse_decimal};
use tradebus::model::ids::{StrategyId, StrategyType, Symbol, VenueId};
use tradebus::model::kpi::Kpis;
use tradebus::model::time::Timestamp;

/// Plays the daemon: retains what it is told, and answers signals and requests.
pub struct FakeDaemon {
    client: AsyncClient,
    /// The signals and requests that came.
    pub signals: mpsc::UnboundedReceiver<Value>,
    _task: JoinSet<()>,
}

impl FakeDaemon {
    /// Returns when it is subscribed to the signals of strategy `s`. Each is answered with what `answer` makes of it.
    pub async fn start(
        port: u16,
        login: Option<(&str, &str)>,
        answer: fn(&Value) -> Option<Value>,
    ) -> FakeDaemon {
        let mut options = MqttOptions::new("daemon", Broker::tcp("127.0.0.1", port));
        options.set_outgoing_inflight_upper_limit(64);
        if let Some((user, password)) = login {
            options.set_credentials(user.to_owned(), password.to_owned());
        }
        let (client, mut event_loop) = AsyncClient::builder(options).capacity(64).build();
        client.subscribe("t/strategy/s/signal", QoS::AtLeastOnce).await.expect("room");
        client.subscribe("t/daemon/request/+", QoS::AtLeastOnce).await.expect("room");
        let (sender, signals) = mpsc::unbounded_channel();
        let (granted_sender, mut granted) = mpsc::unbounded_channel();
        let answering = client.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Ok(event) = event_loop.poll().await {
                match event {
                    Event::Incoming(Incoming::SubAck(_)) => drop(granted_sender.send(())),
                    Event::Incoming(Incoming::Publish(publish)) => {
                        let signal: Value = serde_json::from_slice(&publish.payload).expect("JSON");
                        let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                        if let Some(op) = topic.strip_prefix("t/daemon/request/") {
                            for (topic, text) in told(op, &signal) {
                                let options = PublishOptions::at_least_once();
                                answering.try_publish(topic, text, options).expect("room");
                            }
                            drop(sender.send(signal));
                            continue;
                        }
                        if let Some(result) = answer(&signal) {
                            let (topic, options) =
                                ("t/strategy/s/signal/result", PublishOptions::at_least_once());
                            // The result of somebody else's signal comes first.
                            for text in
                                ["{\"id\":\"other\",\"status\":\"rejected\"}".to_owned(), result.to_string()]
                            {
                                answering.try_publish(topic, text, options.clone()).expect("room");
                            }
                        }
                        drop(sender.send(signal));
                    }
                    _ => {}
                }
            }
        });
        granted.recv().await.expect("the fake runs");
        granted.recv().await.expect("the fake runs");
        FakeDaemon { client, signals, _task: task }
    }

    pub async fn retain(&self, topic: &str, payload: &str) {
        let options = PublishOptions::at_least_once().retained();
        let notice = self.client.publish_tracked(format!("t/{topic}"), payload.to_owned(), options).await;
        notice.expect("room").wait_completion_async().await.expect("accepted");
    }

    pub async fn retain_update(&self, update: Update) {
        for message in view::update(&Topics::new("t"), &update) {
            assert_eq!(message.kind, MessageKind::Retained(None));
            self.retain(message.topic.strip_prefix("t/").expect("the base"), &message.payload).await;
        }
    }
}

fn money(text: &str) -> Money {
    Money::new(parse_decimal(text).expect("a number"))
}

fn figures() -> MoneyView {
    MoneyView {
        balance: money("10000"),
        equity: money("10012.50"),
        unrealized_pnl: money("12.5"),
        peak: money("10020"),
        open_positions: 1,
        ..MoneyView::default()
    }
}

/// What a daemon with one strategy, a long and a flat position would retain.
pub fn updates() -> Vec<Update> {
    let strategy = StrategyId::new("s").expect("an id");
    let kind = StrategyType::new("external").expect("a type");
    let venue = VenueId::new("paper").expect("a venue");
    let (time, level) = (Timestamp::MIN, Level::Run);
    let symbols: Vec<Symbol> =
        ["BTC-USDT", "ETH-USDT"].map(|text| Symbol::new(text).expect("a symbol")).into();
    let position = |symbol, quantity: &str, price: Option<&str>| {
        let price = price.map(|text| Price::new(parse_decimal(text).expect("a number")));
        Update::Position(Box::new(PositionView {
            strategy,
            symbol,
            venue,
            quantity: Quantity::new(parse_decimal(quantity).expect("a number")),
            entry_price: price,
            mark_price: price,
            unrealized_pnl: money("12.5"),
            realized_pnl: Money::ZERO,
            fees: money("0.60000001"),
            stop_loss: None,
            take_profit: None,
            opened_at: None,
            time,
        }))
    };
    let kpi = |scope, trades| {
        let kpis = Kpis { sharpe: Some(1.5), trades, ..Kpis::default() };
        Update::Kpi(Box::new(KpiView { scope, live: false, from: time, to: time, kpis }))
    };
    let mut updates = vec![
        position(symbols[0], "0.01", Some("97000.10")),
        position(symbols[1], "0", None),
        kpi(Scope::Portfolio, 3),
        kpi(Scope::Type(kind), 3),
        kpi(Scope::Strategy(strategy), 3),
        Update::Level(Level::Pause),
    ];
    for scope in [Scope::Portfolio, Scope::Type(kind)] {
        updates.push(Update::Scope(Box::new(ScopeView { scope, live: false, money: figures(), time })));
    }
    updates.push(Update::Strategy(Box::new(StrategyView {
        live: false,
        reconcile: Vec::new(),
        drift_bps: None,
        strategy,
        kind,
        feed: None,
        venue,
        level,
        level_effective: Level::Pause,
        symbols,
        money: figures(),
        last_error: Some("no_price: \u{1b}[31mred".to_owned()),
        time,
    })));
    updates
}

/// Answers as the signal's comment says.
pub fn answer(signal: &Value) -> Option<Value> {
    let status = signal["comment"].as_str().filter(|status| *status != "silence")?;
    let refused = status == "rejected";
    Some(serde_json::json!({
        "id": signal["id"], "status": status, "orders": if refused { vec![] } else { vec!["x1"] },
        "reason": refused.then_some("stale_price"), "detail": refused.then_some("20 s old"),
        "repeated": false, "time": "2026-11-20T20:00:05.000Z",
    }))
}

/// A plan with a pair for each thing that can become of it.
const PLAN: &str = r#"{"differences":[],"accounts":[{"account":"main","venue":"blofin","compared":true,
"compared_at":"2026-11-20T20:00:05.000Z","pairs":[
{"symbol":"BTC-USDT","position_side":"net","venue_quantity":0.025,"ledger_quantity":0.02,"difference":0.005,
"standing":"differs","strategies":[{"strategy":"s","quantity":0.02,"accepts":0.005,"price":97000}]},
{"symbol":"ETH-USDT","position_side":"net","venue_quantity":1,"ledger_quantity":0,"difference":1,
"standing":"differs","strategies":[{"strategy":"s","quantity":0,"accepts":1,"price":null}]},
{"symbol":"SOL-USDT","position_side":"net","venue_quantity":1,"ledger_quantity":0,"difference":1,
"standing":"differs","strategies":[{"strategy":"s","quantity":0,"accepts":1,"price":150}]},
{"symbol":"XRP-USDT","position_side":"net","venue_quantity":1,"ledger_quantity":0,"difference":1,
"standing":"differs","strategies":[{"strategy":"s","quantity":0,"accepts":1,"price":3},
{"strategy":"u","quantity":0,"accepts":1,"price":3}]}],"unknown_orders":[],"unknown_stops":[],"unknown":0}]}"#;

/// The answers to a request: `BTC-USDT` is booked, `ETH-USDT` refused, and of `SOL-USDT` nothing is heard.
fn told(op: &str, request: &Value) -> Vec<(String, String)> {
    let topic = format!("t/daemon/response/{op}");
    let answer = |status: &str, reason: &str, data: &str| {
        let (id, data) = (&request["id"], data.replace('\n', ""));
        let reason = if reason.is_empty() { "null".to_owned() } else { format!("\"{reason}\"") };
        format!(
            r#"{{"id":{id},"op":"{op}","status":"{status}","reason":{reason},"detail":"so it is","repeated":false,"data":{data}}}"#
        )
    };
    let other = (topic.clone(), r#"{"id":"other","status":"ok","data":{"accounts":[]}}"#.to_owned());
    let told = match (op, request["symbol"].as_str()) {
        ("reconcile", _) => answer("ok", "", PLAN),
        (_, Some("SOL-USDT")) => return vec![other],
        (_, Some("ETH-USDT")) => answer("error", "no_price", "null"),
        _ => answer("ok", "", r#"{"orders":["x1"]}"#),
    };
    let order =
        r#"{"order_id":"x1","side":"buy","filled_quantity":0.005,"average_price":97000,"status":"filled"}"#;
    vec![other, (topic, told), ("t/strategy/s/order".to_owned(), order.to_owned())]
}
