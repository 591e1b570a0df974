//! Text scripts against the engine, and the transcript of what it did.
//!
//! One command a line, `#` begins a comment, `+N` in front lets N milliseconds pass first:
//!
//! ```text
//! market SYMBOL key=value...       strategy ID key=value...        limits daemon|TYPE key=value...
//! remove strategy ID               remove market SYMBOL            show +state -order
//! start                            restart                         shutdown
//! trade SYMBOL PRICE [QUANTITY]    quote SYMBOL BID ASK [QB QA]    candle SYMBOL CLOSE
//! mark SYMBOL PRICE                confirm SYMBOL                  wake
//! s1: ID ACTION key=value...       signal ID {json}                retained ID {json}
//! alerts ID key=value...           alert ID|- body                 retained_alert ID|- body
//! level daemon|ID word-or-json     store failing|works             published N
//! request OP {json}                account ID key=value...         venue ID WORD ARGUMENTS...
//! ```
//!
//! `@-5000` stands for the time 5 s ago, `\n` in an alert for the end of a line. A transcript has each command, then
//! its effects: records in short form (orders are numbered as they appear), messages with topic and payload.

use std::collections::{BTreeMap, BTreeSet};

use tradebus::engine::effect::{Effect, Update};
use tradebus::engine::event::Event;
use tradebus::engine::event::LevelScope;
use tradebus::engine::record::{
    BasisRecord, DriftRecord, LevelRecord, ReconcileRecord, Record, SampleRecord, Scope, StopRecord,
    TriggersRecord,
};
use tradebus::message::record_view;
use tradebus::message::request::{self, Op};
use tradebus::message::topic::Topics;
use tradebus::message::tradingview::AllSettings;
use tradebus::message::{level, view};
use tradebus::model::amount::Price;
use tradebus::model::ids::{ClientOrderId, StrategyType};
use tradebus::model::live::{LiveNote, LiveStop};
use tradebus::model::market::PriceUpdate;
use tradebus::model::order::{Order, Side};
use tradebus::model::report::{Fill, Trade};
use tradebus::model::signal::SignalResult;
use tradebus::model::stop::StopCause;
use tradebus::model::time::Timestamp;
use tradebus::model::trading::VenueRequest;

use crate::rig::{self, Rig};

/// What a transcript shows unless the script says otherwise.
const SHOWN: [&str; 11] =
    ["send", "order", "fill", "trade", "stop", "signal", "level", "record", "alert", "result", "answer"];

/// A script that is being run.
struct Scenario {
    rig: Rig,
    alerts: AllSettings,
    topics: Topics,
    shown: BTreeSet<String>,
    orders: BTreeMap<String, usize>,
    sequence: u64,
    /// When the last snapshot was asked for.
    asked: Timestamp,
    token: u64,
    transcript: String,
}

/// Runs a script and gives its transcript.
pub fn run(script: &str) -> String {
    let mut scenario = Scenario {
        rig: Rig::new(rig::settings()),
        alerts: AllSettings::new(),
        topics: Topics::new("t"),
        shown: SHOWN.iter().map(|word| word.to_string()).collect(),
        orders: BTreeMap::new(),
        sequence: 0,
        asked: rig::begin(),
        token: 0,
        transcript: String::new(),
    };
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        scenario.transcript.push_str(&format!("{line}\n"));
        if !line.starts_with('#') {
            scenario.line(line);
        }
    }
    scenario.transcript
}

impl Scenario {
    fn line(&mut self, line: &str) {
        let mut rest = line;
        if let Some((wait, command)) = line.strip_prefix('+').and_then(|line| line.split_once(' ')) {
            self.rig.now = self.rig.now.plus_ms(wait.parse().unwrap());
            rest = command.trim();
        }
        let text = self.resolved(rest);
        let words: Vec<&str> = text.split_whitespace().collect();
        let settings = &mut self.rig.settings;
        match words[0] {
            "market" => return rig::market(settings, &words[1..]),
            "strategy" => return rig::strategy(settings, &words[1..]),
            "limits" => return self.limits(&words[1..]),
            "account" => return rig::account(settings, &words[1..]),
            "alerts" => return rig::alerts(&mut self.alerts, &words[1..]),
            "remove" => return self.remove(words[1], words[2]),
            "show" => return self.show(&words[1..]),
            _ => {}
        }
        let effects = match words[0] {
            "start" => {
                let settings = self.rig.settings.clone();
                self.rig = Rig { now: self.rig.now, ..Rig::new(settings) };
                self.rig.send(rig::start_event())
            }
            "restart" => self.rig.restart(),
            _ => {
                let event = self.event(&words, &text);
                self.rig.send(event)
            }
        };
        self.check_replies(&words, &effects);
        for effect in &effects {
            self.effect(effect);
        }
    }

    /// `@-5000` as a time in milliseconds.
    fn resolved(&self, text: &str) -> String {
        let mut parts = text.split('@');
        let mut out = parts.next().unwrap().to_string();
        for part in parts {
            let end = part.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(part.len());
            let (offset, rest) = part.split_at(end);
            let time = self.rig.now.plus_ms(offset.parse().unwrap());
            out.push_str(&time.as_ms().to_string());
            out.push_str(rest);
        }
        out
    }

    fn limits(&mut self, words: &[&str]) {
        let settings = &mut self.rig.settings;
        let limits = match words[0] {
            "daemon" => &mut settings.limits,
            kind => settings.type_limits.entry(StrategyType::new(kind).unwrap()).or_default(),
        };
        for (name, value) in rig::pairs(&words[1..]) {
            rig::limit(limits, name, value);
        }
    }

    fn remove(&mut self, what: &str, name: &str) {
        let settings = &mut self.rig.settings;
        match what {
            "strategy" => settings.strategies.retain(|strategy| strategy.id.as_str() != name),
            _ => settings.markets.retain(|market| market.key.symbol.as_str() != name),
        }
    }

    fn show(&mut self, words: &[&str]) {
        for word in words {
            match word.split_at(1) {
                ("+", name) => self.shown.insert(name.to_string()),
                (_, name) => self.shown.remove(name),
            };
        }
    }

    fn event(&mut self, words: &[&str], text: &str) -> Event {
        self.token += 1;
        let json = || text.splitn(3, ' ').nth(2).unwrap();
        if let Some(id) = words[0].strip_suffix(':') {
            return rig::signal_event(self.token, id, &self.native(id, &words[1..]), false);
        }
        match words[0] {
            "signal" => rig::signal_event(self.token, words[1], json(), false),
            "retained" => rig::signal_event(self.token, words[1], json(), true),
            "alert" | "retained_alert" => {
                let (body, retained) = (json().replace("\\n", "\n"), words[0] != "alert");
                rig::alert_event(self.token, words[1], &body, retained, &self.alerts)
            }
            "level" => {
                let strategy = (words[1] != "daemon").then_some(words[1]);
                Event::Level(level::read(self.token, strategy, json().as_bytes(), false))
            }
            "request" => {
                let asked = request::read(words[1], json().as_bytes(), false);
                let wish = asked.wish.expect("a request that can be read");
                let Op::Engine(query) = wish.op else { panic!("{}: not the engine's", words[1]) };
                Event::Request(Box::new(wish.request(self.token, query, asked.id)))
            }
            "venue" => {
                let ids: Vec<(usize, &str)> =
                    self.orders.iter().map(|(id, number)| (*number, id.as_str())).collect();
                let live = &self.rig.engine.state().live;
                crate::venue_words::event(self.rig.now, self.asked, &ids, live, &words[1..])
            }
            "store" => Event::Store { available: words[1] == "works" },
            "published" => Event::Published { through: words[1].parse().unwrap() },
            "wake" => Event::Wakeup,
            "shutdown" => Event::Shutdown,
            _ => rig::market_event(self.rig.now, words[1], update(words)),
        }
    }

    /// The JSON of `ID ACTION key=value...`: now, on the strategy's first symbol, unless it says otherwise.
    fn native(&self, strategy: &str, words: &[&str]) -> String {
        let settings = self.rig.settings.strategies.iter().find(|s| s.id.as_str() == strategy);
        let symbol = settings.and_then(|settings| settings.markets.keys().next());
        let mut fields = BTreeMap::from([
            ("id", words[0].to_string()),
            ("action", words[1].to_string()),
            ("time", self.rig.now.as_ms().to_string()),
            ("symbol", symbol.map_or("BTC-USDT".to_string(), |symbol| symbol.to_string())),
        ]);
        for (name, value) in rig::pairs(&words[2..]) {
            fields.insert(name, value.to_string());
        }
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name:?}:{value:?}")).collect();
        format!("{{{}}}", fields.join(","))
    }

    /// Each message gets exactly one answer, behind everything that protects it.
    fn check_replies(&self, words: &[&str], effects: &[Effect]) {
        let replies: Vec<_> = effects.iter().filter(|e| matches!(e, Effect::Reply { .. })).collect();
        let answers = effects.iter().filter(|e| matches!(e, Effect::Answer { .. })).count();
        assert_eq!(answers, usize::from(words[0] == "request"), "answers to {words:?}");
        let commands = ["signal", "retained", "alert", "retained_alert", "level"];
        let asks = words[0].ends_with(':') || commands.contains(&words[0]);
        assert_eq!(replies.len(), usize::from(asks), "answers to {words:?}");
        for reply in replies {
            let Effect::Reply { token, result, .. } = reply else { continue };
            assert_eq!(*token, self.token);
            let recorded = effects.iter().find_map(|effect| match effect {
                Effect::Persist(Record::Signal(signal)) => Some(&signal.result),
                Effect::Publish(Update::Result(result)) => Some(result),
                _ => None,
            });
            assert_eq!(recorded, result.as_ref(), "the answer and the published result differ");
        }
    }

    fn effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Persist(record) => self.record(record),
            Effect::Publish(update) => {
                let kind = kind_of(update);
                for message in view::update(&self.topics, update) {
                    self.put(kind, &format!("{} {}", message.topic, message.payload));
                }
            }
            Effect::Answer { answer, .. } => {
                let payload = request::answer("", None, answer);
                let payload = self.numbered(payload);
                self.put("answer", &payload);
            }
            Effect::Send(dispatch) => {
                // Paper reaches nobody: whoever asks has an account, and says so.
                let mut strategies = self.rig.settings.strategies.iter();
                assert!(strategies.any(|s| s.account == Some(dispatch.account)), "{dispatch:?}");
                if let VenueRequest::Snapshot { asked, .. } = dispatch.request {
                    self.asked = asked;
                }
                let line = crate::venue_words::line(dispatch);
                self.put("send", &line);
            }
            Effect::Reply { .. } => {}
        }
    }

    fn number(&mut self, id: ClientOrderId) {
        let next = self.orders.len() + 1;
        self.orders.entry(id.to_string()).or_insert(next);
    }

    /// Order ids as their numbers.
    fn numbered(&self, text: String) -> String {
        self.orders.iter().fold(text, |text, (id, number)| text.replace(id, &format!("#{number}")))
    }

    fn record(&mut self, record: &Record) {
        self.sequence += 1;
        let (kind, text) = match record {
            Record::Order(order) => ("order", self.order(order)),
            Record::Fill(fill) => ("fill", self.fill(fill)),
            Record::Trade(trade) => ("trade", trade_line(trade)),
            Record::Signal(signal) => ("signal", result_line(&signal.result)),
            Record::Level(level) => ("level", level_line(level)),
            Record::Sample(sample) => ("sample", sample_line(sample)),
            Record::Adjustment { strategy, amount, .. } => {
                ("record", format!("adjustment {strategy} {amount}"))
            }
            Record::Strategy(strategy) => {
                ("record", format!("strategy {} {}", strategy.id, strategy.balance))
            }
            Record::Store { .. } => ("record", "store".to_string()),
            Record::Market { key } => ("record", format!("market {} {}", key.feed, key.symbol)),
            Record::Retired { strategy, .. } => ("record", format!("retired {strategy}")),
            Record::Published { through } => ("record", format!("published {through}")),
            Record::Announced(device) => {
                ("record", format!("announced {} {}", device.topic, device.components.len()))
            }
            Record::Request(request) => {
                let (strategy, id) = (request.strategy, &request.id);
                ("record", format!("request {strategy} {id} {:?}", request.symbol))
            }
            Record::Triggers(named) => {
                named.order_id.into_iter().for_each(|id| self.number(id));
                ("stop", triggers_line(named))
            }
            Record::Stop(stop) => ("stop", stop_line(stop)),
            Record::Account(account) => (
                "record",
                format!("account {} uid {} {:?}", account.account, account.uid, account.position_mode),
            ),
            Record::Route(record) => {
                let (route, strategy) = (&record.route, record.strategy);
                let text = format!("route {strategy} {} {:?} {}", route.venue, route.environment, route.uid);
                ("record", text)
            }
            Record::Reconcile(record) => ("record", reconcile_line(record)),
            Record::Funding(funding) => {
                let (strategy, symbol, amount) = (funding.strategy, funding.symbol, funding.amount);
                ("record", format!("funding {strategy} {symbol} {amount}"))
            }
            Record::Drift(record) => ("drift", drift_line(record)),
            Record::Basis(record) => ("record", basis_line(record)),
            Record::LastFills(record) => ("note", format!("fills of {} known", record.account)),
            Record::LiveStop(stop) => {
                self.number(stop.stop.stop_id);
                ("stop", live_stop_line(stop))
            }
            Record::Live(note) => ("note", note_line(note)),
            Record::Correction(correction) => {
                let (strategy, symbol) = (correction.strategy, correction.symbol);
                let text = format!("{} notional {} fee {}", symbol, correction.notional, correction.fee);
                ("record", format!("correction {strategy} {} {text}", correction.order_id))
            }
            Record::Snapshot(snapshot) => {
                let last = snapshot.last_fill.map_or("-".to_string(), |id| id.to_string());
                ("note", format!("snapshot {} through {last}", snapshot.account))
            }
            Record::Poisoned { strategy, id, .. } => ("record", format!("poisoned {strategy} {id}")),
        };
        self.put(kind, &text);
        if let Some(message) = record_view::event(&self.topics, record, self.sequence, false) {
            self.put("event", &format!("{} {}", message.topic, message.payload));
        }
    }

    fn put(&mut self, kind: &str, line: &str) {
        if !self.shown.contains(kind) {
            return;
        }
        let mut line = line.to_string();
        for (id, number) in &self.orders {
            line = line.replace(id, &format!("#{number}"));
        }
        self.transcript.push_str(&format!("    {line}\n"));
    }

    fn order(&mut self, order: &Order) -> String {
        self.number(order.order_id);
        let (id, side, kind) = (order.order_id, order.side.as_str(), order.order_type.as_str());
        let price = order.order_type.price().map_or(String::new(), |price| format!(" {price}"));
        let reduce = if order.reduce_only { " reduce_only" } else { "" };
        let filled = match order.filled_quantity.is_zero() {
            true => String::new(),
            false => format!(" filled {}", order.filled_quantity),
        };
        let reason = order.reason.map_or(String::new(), |reason| format!(" ({})", reason.as_str()));
        let (status, symbol) = (order.status.as_str(), order.symbol);
        format!(
            "order {id} {symbol} {side} {} {kind}{price}{reduce}: {status}{filled}{reason}",
            order.quantity
        )
    }

    fn fill(&self, fill: &Fill) -> String {
        format!(
            "fill {}-{} {} {} {} @ {} fee {} {} realized {} -> {}",
            fill.order_id,
            fill.number,
            fill.event_type.as_str(),
            fill.side.as_str(),
            fill.quantity,
            fill.price,
            fill.fee,
            fill.liquidity.as_str(),
            fill.realized_pnl,
            fill.position_quantity
        )
    }
}

fn result_line(result: &SignalResult) -> String {
    let id = result.id.as_ref().map_or("-", |id| id.as_str());
    let refusal = result.outcome.refusal();
    let why = refusal.map(|refusal| format!(" {}: {}", refusal.reason.as_str(), refusal.detail));
    let note = result.note.as_ref().map(|note| format!(" ({note})"));
    let orders: Vec<String> = result.orders.iter().map(|id| format!(" {id}")).collect();
    let (strategy, status) = (&result.strategy, result.outcome.as_str());
    let more = why.or(note).unwrap_or_default();
    format!("signal {strategy} {id}: {status}{}{more}", orders.concat())
}

fn triggers_line(named: &TriggersRecord) -> String {
    let trigger = |cause: StopCause| {
        let trigger = named.triggers.get(cause);
        trigger.map_or(String::new(), |trigger| {
            format!(" {} {} by {}", cause.as_str(), trigger.price, trigger.signal_id)
        })
    };
    let target = named.order_id.map_or("the position".to_string(), |id| format!("order {id}"));
    let (loss, profit) = (trigger(StopCause::StopLoss), trigger(StopCause::TakeProfit));
    format!("stops of {target} of {}:{loss}{profit}", named.symbol)
}

fn stop_line(record: &StopRecord) -> String {
    let Some(stop) = &record.stop else { return format!("stop {}: none", record.symbol) };
    let price = |price: Option<Price>| price.map_or("-".to_string(), |price| price.to_string());
    let (loss, profit) = (price(stop.stop_loss), price(stop.take_profit));
    format!("stop {}: {} {} at {loss} or {profit}", stop.symbol, stop.side.as_str(), stop.quantity)
}

fn update(words: &[&str]) -> PriceUpdate {
    let quantity = |index: usize| rig::quantity(words.get(index).copied().unwrap_or("1000"));
    match words[0] {
        "trade" => PriceUpdate::Trade {
            price: rig::price(words[2]),
            quantity: quantity(3),
            taker: words.get(4).map(|side| if *side == "buy" { Side::Buy } else { Side::Sell }),
        },
        "quote" => PriceUpdate::Quote {
            bid: rig::price(words[2]),
            ask: rig::price(words[3]),
            bid_quantity: quantity(4),
            ask_quantity: quantity(5),
        },
        "candle" => PriceUpdate::Candle { close: rig::price(words[2]) },
        "mark" => PriceUpdate::Mark { price: rig::price(words[2]) },
        "confirm" => PriceUpdate::Confirmed,
        other => panic!("{other}: no command"),
    }
}

fn kind_of(update: &Update) -> &'static str {
    match update {
        Update::Price(_) => "price",
        Update::Tick(_) => "tick",
        Update::Alert(_) => "alert",
        Update::Strategy(_) => "state",
        Update::Scope(_) => "scope",
        Update::Position(_) => "position",
        Update::Kpi(_) => "kpi",
        Update::Level(_) => "level",
        Update::Result(_) => "result",
        Update::ClearMarket(_)
        | Update::ClearFeed(_)
        | Update::ClearType(_)
        | Update::ClearStrategy { .. } => "clear",
    }
}

fn live_stop_line(live: &LiveStop) -> String {
    let id = live.venue_order_id.map_or("-".to_string(), |id| id.to_string());
    let marks = [(live.leaves, " leaves"), (live.gone, " gone")];
    let marks: String = marks.iter().filter(|(set, _)| *set).map(|(_, word)| *word).collect();
    format!("stop {} at the venue {id}{marks}", live.stop.stop_id)
}

fn basis_line(record: &BasisRecord) -> String {
    let (scope, live) = (record.scope, if record.live { "live" } else { "paper" });
    format!("basis {scope:?} {live} peak {} day start {}", record.peak, record.day_start)
}

fn note_line(note: &LiveNote) -> String {
    let id = note.venue_order_id.map_or("-".to_string(), |id| id.to_string());
    let (booked, settled) = (note.booked.quantity, note.settled.quantity);
    let ended = if note.ended.is_some() { " ended" } else { "" };
    format!("note {} at the venue {id} booked {booked} settled {settled}{ended}", note.order_id)
}

fn trade_line(trade: &Trade) -> String {
    format!(
        "trade {} {} {} {} -> {} pnl {} fees {}",
        trade.symbol,
        if trade.side == Side::Buy { "long" } else { "short" },
        trade.quantity,
        trade.open_price,
        trade.close_price,
        trade.pnl,
        trade.fees
    )
}

fn level_line(record: &LevelRecord) -> String {
    let scope = match record.scope {
        LevelScope::Daemon => "daemon".to_string(),
        LevelScope::Strategy(id) => id.to_string(),
    };
    let peaks = record.peaks.iter().map(|(scope, peak)| format!(" {}={peak}", scope_name(scope)));
    let peaks =
        if record.peaks.is_empty() { String::new() } else { format!(", peaks{}", peaks.collect::<String>()) };
    format!("level {scope} {} by {:?}{peaks}", record.level.as_str(), record.cause)
}

fn sample_line(record: &SampleRecord) -> String {
    let day = record.day.map_or("sample".to_string(), |day| format!("sample of day {day}"));
    let scopes = record
        .scopes
        .iter()
        .map(|s| format!(" {} {} peak {} day {};", scope_name(&s.scope), s.equity, s.peak, s.day_start));
    let marks = record.marks.iter().map(|(key, mark)| format!(" {} {mark}", key.symbol));
    format!("{day}:{}{}", scopes.collect::<String>(), marks.collect::<String>())
}

fn scope_name(scope: &Scope) -> String {
    match scope {
        Scope::Strategy(id) => id.to_string(),
        Scope::Type(kind) => format!("type/{kind}"),
        Scope::Portfolio => "portfolio".to_string(),
    }
}

fn drift_line(record: &DriftRecord) -> String {
    let (strategy, drift) = (record.strategy, record.drift);
    format!("{strategy} {} paper {} cost {}", record.order_id, drift.notional, drift.cost)
}

fn reconcile_line(record: &ReconcileRecord) -> String {
    let shown = record.differences.iter();
    let shown = shown.map(|d| format!(" {} venue {} ledger {}", d.symbol, d.venue, d.ledger));
    format!("reconcile {}:{}", record.strategy, shown.collect::<String>())
}
