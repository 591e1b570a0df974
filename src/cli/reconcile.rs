//! `reconcile`: what accounts at venues and ledgers hold; with `--accept` the ledgers take the venue's truth.
//!
//! Invariants: without `--accept` nothing changes anywhere; with it, only what the plan shows is asked for, each pair
//! of a strategy under a request of its own, and nothing where it is not clear whose ledger should take it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::Value;
use tokio::time::Instant;

use super::arguments::{Arguments, ReconcileArguments};
use super::bus::{Bus, Published, talk};
use super::exit::{Exit, Failure};
use super::reconcile_text as text;
use super::settings::{self, Client};
use super::signal::require_online;
use super::snapshot::STATE;
use super::{output, payload};
use crate::daemon::clock::Clock;
use crate::message::json::Object;
use crate::message::topic::Topics;
use crate::model::amount::parse_decimal;
use crate::model::ids::StrategyId;

const PLAN: &str = "reconcile";
const ACCEPT: &str = "reconcile_accept";

/// What a strategy would take over of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booking {
    pub strategy: String,
    pub symbol: String,
    /// Signed base units.
    pub quantity: Decimal,
    /// The price, or what stands for none.
    pub price: String,
}

/// What `--accept` does with a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nothing: there is no difference that could be accepted.
    Nothing,
    /// This.
    Book(Vec<Booking>),
    /// Nothing, because it may belong to any of these.
    Unclear(Vec<Booking>),
}

/// What was done.
pub struct Done {
    /// The bookings, with the answers to them.
    pub answers: Vec<(Booking, String)>,
    /// What became of them by order id, as published.
    pub orders: BTreeMap<String, String>,
    /// The pairs of which it is not clear who should take them.
    pub unclear: Vec<Vec<Booking>>,
}

/// Shows the plan, and with `--accept` carries it out.
pub fn reconcile(arguments: &Arguments, command: &ReconcileArguments) -> Result<Exit, Failure> {
    let client = settings::load_client(arguments, &command.bus)?;
    if client.web.is_some() {
        return Err(Failure::new(Exit::USAGE, "reconcile speaks to the broker, without --http"));
    }
    let (plan, done) = talk(converse(&client, command))?;
    let accounts = meant(&plan, command)?;
    match &done {
        None if arguments.json => output::print_line(&json(&plan, command))?,
        None => output::print(&text::accounts(&accounts))?,
        Some((done, left)) if arguments.json => {
            let texts = Object::new()
                .raw("plan", &json(&plan, command))
                .values("answers", done.answers.iter().map(|(_, answer)| payload::raw(answer)))
                .values("orders", done.orders.values().map(|order| payload::raw(order)))
                .raw("left", &json(left, command));
            output::print_line(&texts.finish())?;
        }
        Some((done, left)) => {
            output::print(&format!("{}\n{}", text::done(done), text::accounts(&meant(left, command)?)))?;
        }
    }
    match done {
        None => Ok(exit_of(&accounts)),
        Some((done, left)) => {
            let all = done.unclear.is_empty() && done.answers.iter().all(|(_, answer)| is_ok(answer));
            Ok(if all { exit_of(&meant(&left, command)?) } else { Exit::REJECTED })
        }
    }
}

/// 1 where something differs, 75 where that is not known yet.
fn exit_of(accounts: &[Value]) -> Exit {
    let pairs = || accounts.iter().flat_map(|account| list(account, "pairs"));
    let open = |account: &Value| account.get("compared") != Some(&Value::Bool(true));
    if pairs().any(|pair| payload::field(pair, "standing") == "differs") {
        Exit::REJECTED
    } else if accounts.iter().any(open)
        || pairs().any(|pair| payload::field(pair, "standing") == "unconfirmed")
    {
        Exit::TEMPORARY
    } else {
        Exit::OK
    }
}

/// The accounts of a plan that the command means.
fn meant(plan: &str, command: &ReconcileArguments) -> Result<Vec<Value>, Failure> {
    let plan = payload::read(plan);
    let Some(accounts) = plan["data"].get("accounts").and_then(Value::as_array) else {
        let text = "the daemon does not tell of accounts: it is older than this program";
        return Err(Failure::unavailable(text));
    };
    let Some(wanted) = &command.account else { return Ok(accounts.clone()) };
    let is_wanted = |account: &&Value| account["account"] == wanted.as_str();
    let found: Vec<Value> = accounts.iter().filter(is_wanted).cloned().collect();
    if found.is_empty() {
        let names: Vec<String> = accounts.iter().map(|account| payload::field(account, "account")).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let text = format!("no strategy of the daemon trades at an account {wanted}; it has: {names}");
        return Err(Failure::new(Exit::USAGE, text));
    }
    Ok(found)
}

/// The plan as it came; only the account that is named.
fn json(plan: &str, command: &ReconcileArguments) -> String {
    let Some(wanted) = &command.account else { return payload::raw(plan) };
    let mut plan = payload::read(plan);
    if let Some(accounts) = plan["data"]["accounts"].as_array_mut() {
        accounts.retain(|account| account["account"] == wanted.as_str());
    }
    let own: BTreeSet<String> = list(&plan["data"], "accounts")
        .flat_map(|account| list(account, "pairs"))
        .flat_map(|pair| list(pair, "strategies"))
        .map(|strategy| payload::field(strategy, "strategy"))
        .collect();
    if let Some(differences) = plan["data"]["differences"].as_array_mut() {
        differences.retain(|difference| own.contains(&payload::field(difference, "strategy")));
    }
    plan.to_string()
}

/// The values of a list; none where there is no list.
pub fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// A number of a payload.
fn number(value: &Value, key: &str) -> Decimal {
    parse_decimal(&payload::field(value, key)).unwrap_or_default()
}

/// What accepting does with a pair: clear when one strategy takes it, or when all together take exactly what differs.
pub fn choice(pair: &Value, only: Option<&StrategyId>) -> Choice {
    let booking = |strategy: &Value| Booking {
        strategy: payload::field(strategy, "strategy"),
        symbol: payload::field(pair, "symbol"),
        quantity: number(strategy, "accepts"),
        price: payload::field(strategy, "price"),
    };
    let bookings = list(pair, "strategies").map(booking).filter(|booking| !booking.quantity.is_zero());
    let named = |booking: &Booking| only.is_none_or(|only| booking.strategy == only.as_str());
    let bookings: Vec<Booking> = bookings.filter(named).collect();
    let sum: Decimal = bookings.iter().map(|booking| booking.quantity).sum();
    match bookings.len() {
        0 => Choice::Nothing,
        1 => Choice::Book(bookings),
        _ if sum == number(pair, "difference") => Choice::Book(bookings),
        _ => Choice::Unclear(bookings),
    }
}

fn is_ok(answer: &str) -> bool {
    payload::read(answer)["status"] == "ok"
}

/// The plan, and with `--accept` what was done and the plan after that.
async fn converse(
    client: &Client,
    command: &ReconcileArguments,
) -> Result<(String, Option<(Done, String)>), Failure> {
    let mut talk = Talk::start(client, command).await?;
    let plan = talk.plan().await?;
    let mut done = None;
    if command.accept {
        let accounts = meant(&plan, command)?;
        let symbol = command.symbol.map(|symbol| symbol.to_string());
        let pairs = accounts.iter().flat_map(|account| list(account, "pairs"));
        let pairs = pairs
            .filter(|pair| symbol.as_ref().is_none_or(|symbol| payload::field(pair, "symbol") == *symbol));
        let carried_out = talk.carry_out(pairs, command.strategy.as_ref()).await?;
        done = Some((carried_out, talk.plan().await?));
    }
    talk.bus.disconnect().await;
    Ok((plan, done))
}

/// A conversation with a daemon.
struct Talk<'a> {
    bus: Bus,
    client: &'a Client,
    topics: Topics,
    clock: Clock,
    wait: Duration,
    /// What the ids of its requests begin with, and how many there were.
    id: String,
    count: usize,
    /// Orders that were told meanwhile, by their ids.
    orders: BTreeMap<String, String>,
}

impl<'a> Talk<'a> {
    async fn start(client: &'a Client, command: &ReconcileArguments) -> Result<Talk<'a>, Failure> {
        let topics = Topics::new(&client.config.mqtt.base_topic);
        let clock = Clock::wall();
        let id = format!("cli-{}-{}", clock.now().as_ms(), std::process::id());
        let wait = Duration::from_secs(u64::from(command.wait_s));
        let state = topics.at(STATE);
        let mut filters: Vec<String> =
            [PLAN, ACCEPT].map(|op| topics.at(&format!("daemon/response/{op}"))).into();
        filters.push(state.clone());
        if command.accept {
            filters.push(topics.at("strategy/+/order"));
        }
        let mut bus = Bus::connect(&client.config).await?;
        bus.subscribe(&filters).await?;
        require_online(&mut bus, &state, client).await?;
        Ok(Talk { bus, client, topics, clock, wait, id, count: 0, orders: BTreeMap::new() })
    }

    /// What venue and ledgers hold.
    async fn plan(&mut self) -> Result<String, Failure> {
        let answer = self.ask(PLAN, Object::new(), "nothing was changed").await?;
        if is_ok(&answer) {
            return Ok(answer);
        }
        let answer = payload::read(&answer);
        let (reason, detail) = (payload::field(&answer, "reason"), payload::field(&answer, "detail"));
        Err(Failure::new(Exit::REJECTED, format!("the daemon refuses: {reason}: {detail}")))
    }

    /// Asks for what is clear, and waits until it is told what became of it.
    async fn carry_out<'p>(
        &mut self,
        pairs: impl Iterator<Item = &'p Value>,
        only: Option<&StrategyId>,
    ) -> Result<Done, Failure> {
        let (mut bookings, mut unclear) = (Vec::new(), Vec::new());
        for pair in pairs {
            match choice(pair, only) {
                Choice::Nothing => {}
                Choice::Book(booked) => bookings.extend(booked),
                Choice::Unclear(candidates) => unclear.push(candidates),
            }
        }
        let mut answers = Vec::new();
        for booking in bookings {
            let time = self.clock.now();
            let wish = Object::new()
                .shown("time", time)
                .text("strategy", &booking.strategy)
                .text("symbol", &booking.symbol);
            let unknown = "it may have been booked; tradebus reconcile tells";
            let answer = self.ask(ACCEPT, wish, unknown).await?;
            answers.push((booking, answer));
        }
        let ids: BTreeSet<String> = answers.iter().flat_map(|(_, answer)| order_ids(answer)).collect();
        let until = Instant::now() + self.wait;
        while !ids.iter().all(|id| self.orders.contains_key(id)) {
            let Some(message) = self.bus.next(until).await? else { break };
            self.note_order(&message.payload);
        }
        let told = std::mem::take(&mut self.orders);
        let orders = told.into_iter().filter(|(id, _)| ids.contains(id)).collect();
        Ok(Done { answers, orders, unclear })
    }

    fn note_order(&mut self, text: &str) {
        let order = payload::read(text);
        if order.get("filled_quantity").is_some() && payload::field(&order, "status") == "filled" {
            self.orders.insert(payload::field(&order, "order_id"), text.to_owned());
        }
    }

    /// Sends a request and gives the payload of its answer; `so` is what is known when there is none.
    async fn ask(&mut self, op: &str, fields: Object, so: &str) -> Result<String, Failure> {
        self.count += 1;
        let id = format!("{}-{}", self.id, self.count);
        let (topic, answers) = (
            self.topics.at(&format!("daemon/request/{op}")),
            self.topics.at(&format!("daemon/response/{op}")),
        );
        let address = self.client.address();
        if self.bus.publish(&topic, fields.text("id", &id).finish()).await? == Published::Unheard {
            let text = format!("nobody at {address} subscribes to {topic}; nothing was done");
            return Err(Failure::unavailable(text));
        }
        let until = Instant::now() + self.wait;
        while let Some(message) = self.bus.next(until).await? {
            if message.topic != answers {
                self.note_order(&message.payload);
            } else if payload::read(&message.payload)["id"] == id.as_str() {
                return Ok(message.payload);
            }
        }
        let text = format!("no answer to {op} within {} s: {so}", self.wait.as_secs());
        Err(Failure::unavailable(text))
    }
}

/// The orders of an answer.
pub fn order_ids(answer: &str) -> Vec<String> {
    let answer = payload::read(answer);
    list(&answer["data"], "orders").map(payload::words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_clear_is_booked() {
        let check = |difference: &str, strategies: &[(&str, &str)], only: Option<&str>, expected: &[&str]| {
            let strategies: Vec<String> = strategies
                .iter()
                .map(|(name, accepts)| format!(r#"{{"strategy":"{name}","accepts":{accepts},"price":1}}"#))
                .collect();
            let pair = format!(r#"{{"difference":{difference},"strategies":[{}]}}"#, strategies.join(","));
            let only = only.map(|only| StrategyId::new(only).unwrap());
            let (word, bookings) = match choice(&payload::read(&pair), only.as_ref()) {
                Choice::Nothing => ("nothing", Vec::new()),
                Choice::Book(bookings) => ("book", bookings),
                Choice::Unclear(bookings) => ("unclear", bookings),
            };
            let names = bookings.into_iter().map(|booking| booking.strategy);
            let shown: Vec<String> = [word.to_owned()].into_iter().chain(names).collect();
            assert_eq!(shown, expected, "{pair}");
        };
        check("1", &[], None, &["nothing"]);
        check("0", &[("a", "0"), ("b", "0")], None, &["nothing"]);
        check("1", &[("a", "1")], None, &["book", "a"]);
        // Less than what differs: the rest stays, and is shown.
        check("-2", &[("a", "-1"), ("b", "0")], None, &["book", "a"]);
        // All of it is gone at the venue: each gives up what it holds.
        check("-0.3", &[("a", "-0.1"), ("b", "-0.2")], None, &["book", "a", "b"]);
        check("-0.2", &[("a", "-0.1"), ("b", "-0.2")], None, &["unclear", "a", "b"]);
        check("5", &[("a", "5"), ("b", "5")], None, &["unclear", "a", "b"]);
        check("5", &[("a", "5"), ("b", "5")], Some("b"), &["book", "b"]);
        check("5", &[("a", "5"), ("b", "5")], Some("c"), &["nothing"]);
    }

    #[test]
    fn exit_codes() {
        let check = |compared: bool, standings: &[&str], expected: Exit| {
            let pairs: Vec<String> =
                standings.iter().map(|standing| format!(r#"{{"standing":"{standing}"}}"#)).collect();
            let account = format!(r#"{{"compared":{compared},"pairs":[{}]}}"#, pairs.join(","));
            assert_eq!(exit_of(&[payload::read(&account)]), expected, "{account}");
        };
        check(true, &[], Exit::OK);
        check(true, &["equal", "foreign"], Exit::OK);
        check(true, &["equal", "differs"], Exit::REJECTED);
        check(false, &["differs"], Exit::REJECTED);
        check(true, &["unconfirmed"], Exit::TEMPORARY);
        check(false, &["equal"], Exit::TEMPORARY);
        assert_eq!(exit_of(&[]), Exit::OK);
    }
}
