//! The private REST API: who may ask, in which form, how often, and what comes of it.
//!
//! What a right client never does (a bad signature, a nonce again, a stale time, a hyphen in an id, odd lots or ticks,
//! too many requests) is refused as the venue would, and kept in `violations`.

use std::collections::BTreeMap;
use std::time::Duration;

use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::time::Instant;

use super::account::FakeAccount;
use super::private_rules::{place, place_stop, text};
use super::record::{FakeFill, FakeOrder, FakeStop};
use super::{PrivateFault, Shared, State, now_ms};

/// Signed requests in 10 s that the venue takes from a user.
pub const USER_RATE: (u64, usize) = (10, 30);
/// How far a time may be off.
const STALE_MS: i64 = 60_000;

/// A request as it came.
pub struct Asked {
    pub method: String,
    pub target: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// What is to be done with an answer.
pub enum Reply {
    /// Send it.
    Now(u16, String),
    /// Send it after a while.
    Later(Duration, u16, String),
    /// Send it twice.
    Twice(String),
    /// Close the connection instead.
    Cut,
    /// Close the connection, and take the request after a while.
    Late(Duration),
}

/// A refusal: code and words.
pub(super) type Refusal = (&'static str, String);

pub fn is_private(target: &str) -> bool {
    ["/api/v1/trade/", "/api/v1/account/", "/api/v1/user/"].iter().any(|folder| target.starts_with(folder))
}

/// Base64 of the hex text of the HMAC.
pub fn sign(secret: &str, parts: &[&str]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    parts.iter().for_each(|part| mac.update(part.as_bytes()));
    BASE64.encode(HEXLOWER.encode(&mac.finalize().into_bytes()).as_bytes())
}

pub fn answer(asked: &Asked, shared: &Shared) -> Reply {
    note_wanted(asked, shared);
    let fault = fault(asked, shared);
    match &fault {
        Some(PrivateFault::CutBefore) => return Reply::Cut,
        Some(PrivateFault::Late(time)) => return Reply::Late(*time),
        Some(PrivateFault::Refuse(code)) => return Reply::Now(200, refused(&(*code, "no".into()))),
        Some(PrivateFault::Status(status)) => return Reply::Now(*status, "<html>no</html>".into()),
        _ => {}
    }
    let mut body = take(asked, shared, true);
    match fault {
        Some(PrivateFault::Drop) => return Reply::Cut,
        Some(PrivateFault::Delay(time)) => return Reply::Later(time, 200, body),
        Some(PrivateFault::AnswerTwice) => return Reply::Twice(body),
        Some(PrivateFault::Twice) => body = take(asked, shared, false),
        Some(PrivateFault::Unclear) => {
            body = r#"{"code":500,"data":{},"msg":"Internal Server Error"}"#.into();
        }
        _ => {}
    }
    Reply::Now(200, body)
}

/// A request that was under way for a while; nobody waits for its answer.
pub fn arrive_late(asked: &Asked, shared: &Shared) {
    take(asked, shared, false);
}

fn fault(asked: &Asked, shared: &Shared) -> Option<PrivateFault> {
    let mut state = shared.state();
    let changes = asked.method == "POST";
    if changes && asked.target.starts_with("/api/v1/trade/") && !state.private_faults.is_empty() {
        return state.private_faults.pop_front().flatten();
    }
    state.chaos.as_mut()?.of_request(changes)
}

/// Carries a request out and tells the streams; gives the answer. What the network did to it is no fault of the client.
fn take(asked: &Asked, shared: &Shared, blames: bool) -> String {
    let done = carry_out(asked, shared, blames);
    shared.push_private();
    let key = asked.headers.get("access-key").map_or("", String::as_str);
    let gossip = gossip(&shared.state(), key);
    done.unwrap_or_else(|(code, words)| refused(&(code, words + &gossip)))
}

/// All keys, from a venue that repeats them with what it refuses.
pub(super) fn gossip(state: &State, key: &str) -> String {
    let Some(account) = state.accounts.get(key).filter(|account| account.gossips) else {
        return String::new();
    };
    // Also the first secret, which the client may still have.
    let FakeAccount { api_key, secret, first_secret, passphrase, .. } = account;
    format!(" ({api_key} {secret} {first_secret} {passphrase})")
}

/// Keeps the client id of what is to be placed, whatever becomes of the request.
fn note_wanted(asked: &Asked, shared: &Shared) {
    if let Some(signed) = &mut shared.state().signed {
        signed.push(format!("{} {} {}", asked.method, asked.target, asked.body));
    }
    if !matches!(asked.target.as_str(), "/api/v1/trade/order" | "/api/v1/trade/order-tpsl") {
        return;
    }
    let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
    let key = asked.headers.get("access-key").cloned().unwrap_or_default();
    if let Some(account) = shared.state().accounts.get_mut(&key) {
        account.wanted.push(text(&body, "clientOrderId"));
    }
    shared.count(|stats| stats.sells += usize::from(text(&body, "side") == "sell"));
}

fn refused((code, words): &Refusal) -> String {
    json!({"code": code, "msg": words}).to_string()
}

fn carry_out(asked: &Asked, shared: &Shared, blames: bool) -> Result<String, Refusal> {
    let mut state = shared.state();
    let key = authenticate(asked, &mut state).inspect_err(|(code, words)| {
        if blames {
            shared.violated(format!("{} {}: {code} {words}", asked.method, asked.target));
        }
    })?;
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    let query: BTreeMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let path = path.trim_start_matches("/api/v1/");
    let data = if asked.method == "GET" {
        tell(&state.accounts[&key], path, &query)?
    } else {
        let body: Value =
            serde_json::from_str(&asked.body).map_err(|_| ("152004", "JSON syntax error".to_owned()))?;
        if let Some(refusal) = next_refusal(&mut state, &key, path) {
            return Ok(refusal);
        }
        let done = change(&mut state, &key, path, &body);
        // A refusal of one order stands within an answer.
        return done.inspect_err(|(code, words)| {
            if code.starts_with("152") && *code != "152014" {
                shared.violated(format!("{path} {body}: {words}"));
            }
        });
    };
    Ok(json!({"code": "0", "msg": "success", "data": data}).to_string())
}

fn authenticate(asked: &Asked, state: &mut State) -> Result<String, Refusal> {
    let header = |name: &str| asked.headers.get(name).cloned().unwrap_or_default();
    let key = header("access-key");
    let known: Vec<String> = state.accounts.keys().cloned().collect();
    let Some(account) = state.accounts.get_mut(&key) else {
        return Err(("152401", format!("Access key does not exist ({} known)", known.len())));
    };
    let now = Instant::now();
    account.asked.push_back(now);
    let window = Duration::from_secs(USER_RATE.0);
    account.asked.retain(|at| now.duration_since(*at) < window);
    if account.asked.len() > USER_RATE.1 {
        return Err(("429", "too many requests of a user".into()));
    }
    if header("access-passphrase") != account.passphrase {
        return Err(("152408", "Passphrase error".into()));
    }
    let (time, nonce) = (header("access-timestamp"), header("access-nonce"));
    let expected = sign(&account.secret, &[&asked.target, &asked.method, &time, &nonce, &asked.body]);
    if header("access-sign") != expected {
        return Err(("152409", "Signature verification failed".into()));
    }
    let off = time.parse::<i64>().map_or(i64::MAX, |time| (time - now_ms()).abs());
    if off > STALE_MS {
        return Err(("152405", "Timestamp request expired".into()));
    }
    account.nonces.retain(|_, at| now.duration_since(*at) < Duration::from_secs(60));
    if nonce.is_empty() || account.nonces.insert(nonce, now).is_some() {
        return Err(("152407", "Nonce was used".into()));
    }
    if asked.method == "POST" && !header("content-type").starts_with("application/json") {
        return Err(("152004", "not JSON".into()));
    }
    if asked.method == "POST" && account.read_only {
        return Err(("152404", "Permission denied".into()));
    }
    Ok(key)
}

/// Answers a question.
fn tell(account: &FakeAccount, path: &str, query: &BTreeMap<&str, &str>) -> Result<Value, Refusal> {
    let word = |name: &str| query.get(name).copied().unwrap_or_default();
    let limit = word("limit").parse().unwrap_or(20_usize).min(100);
    let older =
        |id: u64| word("after").parse::<u64>().map_or(true, |after| account.repeats_pages || id < after);
    let begin = word("begin").parse().unwrap_or(0_i64);
    let orders = |open: bool| {
        let rows = account.orders.values().filter(|order| order.is_open() == open);
        rows.rev().filter(|order| older(order.id)).take(limit).map(FakeOrder::row).collect::<Value>()
    };
    let own = |id: u64, client: &str| {
        word("orderId") == id.to_string()
            || word("tpslId") == id.to_string()
            || (!client.is_empty() && word("clientOrderId") == client)
    };
    Ok(match path {
        "user/query-apikey" => json!({
            "uid": account.uid, "apiName": "n", "apiKey": account.api_key,
            "readOnly": i32::from(account.read_only), "ips": account.ips, "type": 1,
            "expireTime": account.expires_ms.to_string(), "createTime": "1",
        }),
        "account/position-mode" => json!({"positionMode": account.position_mode}),
        "account/margin-mode" => json!({"marginMode": "cross"}),
        "account/balance" => account.balance_row(),
        "account/positions" => {
            let open = account.positions.iter().filter(|(_, held)| !held.contracts.is_zero());
            open.map(|((pair, side), _)| account.position_row(pair, side)).collect()
        }
        "account/batch-leverage-info" => {
            let pairs = word("instId").replace("%2C", ",");
            let mode = word("marginMode");
            let row = |pair: &str| json!({"leverage": account.leverage(pair, mode).to_string(), "marginMode": mode, "instId": pair, "positionSide": "net"});
            pairs.split(',').map(row).collect()
        }
        "account/funding-fees" => account.funding.clone().into(),
        "trade/orders-pending" => orders(true),
        "trade/orders-history" => orders(false),
        "trade/orders-tpsl-pending" => {
            let waiting = account.stops.values().rev().filter(|stop| stop.state == "live" && older(stop.id));
            waiting.take(limit).map(FakeStop::row).collect()
        }
        "trade/fills-history" => {
            let pair = word("instId");
            let fills = account.fills.iter().rev().filter(|fill| pair.is_empty() || fill.pair == pair);
            let fills = fills.filter(|fill| fill.time_ms >= begin && older(fill.id));
            fills.take(limit).map(FakeFill::row).collect()
        }
        "trade/order-detail" => {
            let found = account.orders.values().find(|order| own(order.id, &order.client_id));
            found.map_or(Value::Null, FakeOrder::row)
        }
        "trade/order-tpsl-detail" => {
            let found = account.stops.values().find(|stop| own(stop.id, &stop.client_id));
            found.map_or(Value::Null, FakeStop::row)
        }
        _ => return Err(("404", "not found".into())),
    })
}

/// The answer to an order that a test wants to be refused.
fn next_refusal(state: &mut State, key: &str, path: &str) -> Option<String> {
    if !matches!(path, "trade/order" | "trade/order-tpsl") {
        return None;
    }
    let code = state.accounts.get_mut(key)?.next_refusal.take()?;
    let words = format!("no{}", gossip(state, key));
    let element = json!({"orderId": null, "clientOrderId": "", "code": code, "msg": words});
    Some(json!({"code": "1", "msg": "", "data": [element]}).to_string())
}

/// Carries out what changes something; the answer with its envelope.
fn change(state: &mut State, key: &str, path: &str, body: &Value) -> Result<String, Refusal> {
    let enclosed = |field: &str, id: u64, client: &str, list: bool, done: Result<(), Refusal>| {
        let (code, words) = done.map_or_else(|refusal| refusal, |()| ("0", String::new()));
        let id = if code == "0" { json!(id.to_string()) } else { Value::Null };
        let element = json!({field: id, "clientOrderId": client, "code": code, "msg": words});
        let data = if list { json!([element]) } else { element };
        json!({"code": if code == "0" { "0" } else { "1" }, "msg": "", "data": data}).to_string()
    };
    match path {
        "trade/order" => {
            let client = text(body, "clientOrderId");
            let done = place(state, key, body);
            if let Err(refusal @ (code, _)) = &done
                && code.starts_with("152")
            {
                return Err(refusal.clone());
            }
            let (id, done) = done.map_or_else(|refusal| (0, Err(refusal)), |id| (id, Ok(())));
            Ok(enclosed("orderId", id, &client, true, done))
        }
        "trade/order-tpsl" => {
            let client = text(body, "clientOrderId");
            let done = place_stop(state, key, body);
            let (id, done) = done.map_or_else(|refusal| (0, Err(refusal)), |id| (id, Ok(())));
            Ok(enclosed("tpslId", id, &client, false, done))
        }
        "trade/cancel-order" => {
            let account = state.accounts.get_mut(key).expect("an account");
            let found =
                account.orders.values().find(|order| named(body, "orderId", order.id, &order.client_id));
            let found = found.map(|order| (order.id, order.is_open()));
            let done = match found {
                Some((id, true)) => {
                    account.end(id);
                    Ok(())
                }
                _ => Err(gone("102068")),
            };
            Ok(enclosed("orderId", found.map_or(0, |(id, _)| id), "", false, done))
        }
        "trade/cancel-tpsl" => {
            let Some(one) = body.get(0) else { return Err(("152004", "not a list".into())) };
            let account = state.accounts.get_mut(key).expect("an account");
            let found =
                account.stops.values_mut().find(|stop| named(one, "tpslId", stop.id, &stop.client_id));
            let (id, done) = match found {
                Some(stop) if stop.state == "live" => {
                    stop.state = "canceled";
                    let (id, row) = (stop.id, stop.row());
                    account.news.push(("orders-algo", row));
                    (id, Ok(()))
                }
                _ => (0, Err(gone("500"))),
            };
            Ok(enclosed("tpslId", id, "", true, done))
        }
        "account/set-leverage" => {
            let account = state.accounts.get_mut(key).expect("an account");
            if account.orders.values().any(|order| order.is_open() && order.margin_mode == "cross") {
                return Ok(refused(&("110006", "Pending cross orders".into())));
            }
            let leverage = text(body, "leverage").parse().map_err(|_| ("152002", "leverage".to_owned()))?;
            account.leverages.insert((text(body, "instId"), text(body, "marginMode")), leverage);
            Ok(json!({"code": "0", "msg": "success", "data": body}).to_string())
        }
        _ => Err(("404", "not found".into())),
    }
}

fn gone(code: &'static str) -> Refusal {
    (code, "Cancel failed as the order has been filled, triggered, canceled or does not exist.".into())
}

fn named(body: &Value, field: &str, id: u64, client: &str) -> bool {
    text(body, field) == id.to_string() || (!client.is_empty() && text(body, "clientOrderId") == client)
}
