//! Requests: JSON on `<base>/daemon/request/<op>`, one answer each on `<base>/daemon/response/<op>`.
//!
//! What only tells needs no field; what does something needs `id` and `time`. An operation that does not exist is
//! answered too, so that nobody waits in vain.

use super::fields::{Fields, short};
use super::json::Object;
use super::{reconcile, view};
use crate::engine::effect::{Answer, Told};
use crate::engine::event::{Query, ReplyToken, Request};
use crate::engine::record::Done;
use crate::model::ids::{SignalId, StrategyId, Symbol};
use crate::model::signal::{Reason, Refusal};
use crate::model::time::Timestamp;

/// The largest answer, in bytes: below every packet limit.
pub const ANSWER_BYTES_MAX: usize = 200 * 1024;
/// The longest name of an operation that is repeated in a topic.
const OP_BYTES_MAX: usize = 32;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Publish all retained state again.
    Snapshot,
    /// Copy the store.
    Backup,
    /// Something of the engine.
    Engine(Query),
}

impl Op {
    /// Every operation.
    pub const ALL: [Op; 8] = [
        Op::Snapshot,
        Op::Backup,
        Op::Engine(Query::Kpis),
        Op::Engine(Query::Positions),
        Op::Engine(Query::CancelOrders),
        Op::Engine(Query::ClosePosition),
        Op::Engine(Query::Reconcile),
        Op::Engine(Query::ReconcileAccept),
    ];

    /// The last level of its topics.
    pub fn as_str(self) -> &'static str {
        match self {
            Op::Snapshot => "snapshot",
            Op::Backup => "backup",
            Op::Engine(Query::Kpis) => "kpis",
            Op::Engine(Query::Positions) => "positions",
            Op::Engine(Query::CancelOrders) => "cancel_orders",
            Op::Engine(Query::ClosePosition) => "close_position",
            Op::Engine(Query::Reconcile) => "reconcile",
            Op::Engine(Query::ReconcileAccept) => "reconcile_accept",
        }
    }

    /// Whether it changes nothing, so that it may be repeated and needs no time.
    pub fn only_tells(self) -> bool {
        matches!(self, Op::Snapshot | Op::Engine(Query::Kpis | Query::Positions | Query::Reconcile))
    }

    /// The fields that it takes.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Op::Snapshot | Op::Backup => &["id", "time"],
            Op::Engine(Query::Kpis | Query::Positions | Query::Reconcile) => &["id", "time", "strategy"],
            Op::Engine(_) => &["id", "time", "strategy", "symbol"],
        }
    }
}

/// A request, read as far as it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The last level of the answer's topic.
    pub op: String,
    /// Its id, if it could be read.
    pub id: Option<SignalId>,
    /// What is asked, or why it cannot be.
    pub wish: Result<Wish, Refusal>,
}

/// A request that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// What is asked.
    pub op: Op,
    /// When the sender made it.
    pub time: Option<Timestamp>,
    strategy: Option<StrategyId>,
    symbol: Option<Symbol>,
}

impl Wish {
    /// As an event for the engine.
    pub fn request(&self, token: ReplyToken, query: Query, id: Option<SignalId>) -> Request {
        Request { token, query, id, time: self.time, strategy: self.strategy, symbol: self.symbol }
    }
}

/// Reads a request on the topic of `op`. `retained` is the message's retain flag: a retained one is refused.
pub fn read(op: &str, payload: &[u8], retained: bool) -> Asked {
    let plain = op.len() <= OP_BYTES_MAX && op.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let mut asked = Asked {
        op: if plain && !op.is_empty() { op.to_string() } else { "unknown".to_string() },
        id: None,
        wish: Err(malformed("id: unreadable".into())),
    };
    let fields = Fields::read(payload);
    if let Ok(fields) = &fields {
        asked.id = fields.text("id").ok().flatten().and_then(|id| SignalId::new(&id).ok());
    }
    asked.wish = if retained {
        let detail = "retain flag: a retained request would be repeated at every start, publish it without";
        Err(Refusal::new(Reason::Retained, detail))
    } else {
        fields.and_then(|fields| read_fields(op, &fields))
    };
    asked
}

fn read_fields(op: &str, fields: &Fields) -> Result<Wish, Refusal> {
    let Some(op) = Op::ALL.into_iter().find(|known| known.as_str() == op) else {
        let known: Vec<&str> = Op::ALL.iter().map(|op| op.as_str()).collect();
        let detail = format!("op: {:?} is not one of {}", short(op), known.join(", "));
        return Err(Refusal::new(Reason::Unsupported, detail));
    };
    if let Some(unknown) = fields.unknown(op.fields()) {
        let detail =
            format!("{}: unknown field, {} takes {}", short(unknown), op.as_str(), op.fields().join(", "));
        return Err(malformed(detail));
    }
    let id = fields.text("id")?;
    if let Some(Err(error)) = id.as_deref().map(SignalId::new) {
        return Err(malformed(format!("id: {error}")));
    }
    let time = fields.time("time")?;
    if !op.only_tells() && (id.is_none() || time.is_none()) {
        let field = if id.is_none() { "id" } else { "time" };
        return Err(malformed(format!("{field}: missing, {} needs id and time", op.as_str())));
    }
    let strategy = fields.text("strategy")?.map(|name| StrategyId::new(&name)).transpose();
    let symbol = fields.text("symbol")?.map(|name| Symbol::new(&name)).transpose();
    Ok(Wish {
        op,
        time,
        strategy: strategy.map_err(|error| malformed(format!("strategy: {error}")))?,
        symbol: symbol.map_err(|error| malformed(format!("symbol: {error}")))?,
    })
}

/// The payload of an answer of the engine.
pub fn answer(op: &str, id: Option<&SignalId>, answer: &Answer) -> String {
    let told = match &answer.told {
        Ok(told) => told,
        Err(refusal) => return refused(op, id, refusal, answer.time),
    };
    let list = |name: &str, values: Vec<String>| Object::new().values(name, values.into_iter()).finish();
    let data = match told {
        Told::Kpis(views) => list("kpis", views.iter().map(view::kpi).collect()),
        Told::Positions(views) => list("positions", views.iter().map(view::position).collect()),
        Told::Reconcile(plan) => reconcile::plan(plan),
        Told::Done(Done::Cancelled(ids) | Done::Adopted(ids)) => {
            Object::new().texts("orders", ids.iter()).finish()
        }
        Told::Done(Done::Closed(results)) => {
            list("results", results.iter().map(view::signal_result).collect())
        }
    };
    if data.len() > ANSWER_BYTES_MAX {
        let bytes = data.len();
        let detail =
            format!("the answer has {bytes} bytes, the limit is {ANSWER_BYTES_MAX}; name a strategy");
        return refused(op, id, &Refusal::new(Reason::TooLarge, detail), answer.time);
    }
    let head = Head { op, id, refusal: refusal_of(answer), repeated: answer.repeated, time: answer.time };
    head.with(&data)
}

/// Why a request is not done. A closing that one symbol refused is not.
pub fn refusal_of(answer: &Answer) -> Option<&Refusal> {
    match &answer.told {
        Err(refusal) => Some(refusal),
        Ok(Told::Done(Done::Closed(results))) => results.iter().find_map(|result| result.outcome.refusal()),
        Ok(_) => None,
    }
}

/// The payload of an answer that is not the engine's: `data` is JSON, `repeated` that it was given before.
pub fn told(op: &str, id: Option<&SignalId>, data: &str, repeated: bool, time: Timestamp) -> String {
    Head { op, id, refusal: None, repeated, time }.with(data)
}

/// The payload of a refusal.
pub fn refused(op: &str, id: Option<&SignalId>, refusal: &Refusal, time: Timestamp) -> String {
    Head { op, id, refusal: Some(refusal), repeated: false, time }.with("null")
}

/// What every answer says.
struct Head<'a> {
    op: &'a str,
    id: Option<&'a SignalId>,
    refusal: Option<&'a Refusal>,
    repeated: bool,
    time: Timestamp,
}

impl Head<'_> {
    fn with(&self, data: &str) -> String {
        Object::new()
            .text_or_null("id", self.id.map(SignalId::as_str))
            .text("op", self.op)
            .text("status", if self.refusal.is_some() { "error" } else { "ok" })
            .text_or_null("reason", self.refusal.map(|refusal| refusal.reason.as_str()))
            .text_or_null("detail", self.refusal.map(|refusal| refusal.detail.as_str()))
            .flag("repeated", self.repeated)
            .raw("data", data)
            .shown("time", self.time)
            .finish()
    }
}

fn malformed(detail: String) -> Refusal {
    Refusal::new(Reason::Malformed, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::signal::Outcome;

    #[test]
    fn good_and_bad_requests() {
        let check = |op: &str, payload: &str, expected: &str| {
            let asked = read(op, payload.as_bytes(), false);
            let shown = match &asked.wish {
                Ok(_) => "ok".to_string(),
                Err(refusal) => format!("{}: {}", refusal.reason.as_str(), refusal.detail),
            };
            assert_eq!(shown, expected, "{op} {payload}");
        };
        const TIME: &str = r#""time":"2026-11-20T20:00:05Z""#;
        check("snapshot", "{}", "ok");
        check("kpis", r#"{"id":"a","strategy":"s1"}"#, "ok");
        check("positions", "{}", "ok");
        check("backup", &format!(r#"{{"id":"a",{TIME}}}"#), "ok");
        check("cancel_orders", &format!(r#"{{"id":"a",{TIME},"strategy":"s","symbol":"BTC-USDT"}}"#), "ok");
        check("backup", r#"{"id":"a"}"#, "malformed: time: missing, backup needs id and time");
        check("backup", &format!("{{{TIME}}}"), "malformed: id: missing, backup needs id and time");
        check("backup", r#"{"path":"/x"}"#, "malformed: path: unknown field, backup takes id, time");
        check(
            "kpis",
            r#"{"strategy":"a/b"}"#,
            "malformed: strategy: \"a/b\" is not a strategy id: it has a character that is not allowed",
        );
        check("kpis", r#"{"id":""}"#, "malformed: id: \"\" is not a signal id: it is empty");
        check(
            "sell_all",
            "{}",
            "unsupported: op: \"sell_all\" is not one of snapshot, backup, kpis, positions, cancel_orders, \
             close_position, reconcile, reconcile_accept",
        );
    }

    #[test]
    fn every_request_has_a_topic_for_its_answer() {
        let op = |op: &str, payload: &[u8]| read(op, payload, false).op;
        assert_eq!(op("kpis", b"nothing"), "kpis");
        assert_eq!(op("sell_all", b"{}"), "sell_all");
        assert_eq!(op("x y", b"{}"), "unknown");
        assert_eq!(op("", b"{}"), "unknown");
        assert_eq!(op(&"x".repeat(33), b"{}"), "unknown");
        let retained = read("kpis", br#"{"id":"a"}"#, true);
        assert_eq!(retained.id.map(|id| id.to_string()).as_deref(), Some("a"));
        assert_eq!(retained.wish.unwrap_err().reason, Reason::Retained);
        let large = read("kpis", &[b' '; 20_000], false).wish.unwrap_err();
        assert_eq!(large.reason, Reason::TooLarge);
    }

    #[test]
    fn an_answer_that_would_not_fit_says_so() {
        let ids = std::iter::repeat_n("a".repeat(32), 6_000);
        let ids = ids.map(|id| crate::model::ids::ClientOrderId::new(&id).unwrap()).collect();
        let (told, time) = (Ok(Told::Done(Done::Cancelled(ids))), Timestamp::MIN);
        let text = answer("cancel_orders", None, &Answer { told, repeated: false, time });
        assert!(text.contains(r#""reason":"too_large""#) && text.len() < 1_000, "{text}");
    }

    #[test]
    fn a_closing_is_done_when_every_symbol_is() {
        let result = |outcome| crate::model::signal::SignalResult {
            strategy: "s".into(),
            id: None,
            outcome,
            note: None,
            orders: Vec::new(),
            repeated: false,
            time: Timestamp::MIN,
        };
        let refusal = Refusal::new(Reason::Superseded, "late");
        let results = vec![result(Outcome::Filled), result(Outcome::Rejected(refusal))];
        let (told, time) = (Ok(Told::Done(Done::Closed(results))), Timestamp::MIN);
        let text = answer("close_position", None, &Answer { told, repeated: true, time });
        assert!(text.starts_with(
            r#"{"id":null,"op":"close_position","status":"error","reason":"superseded","detail":"late","repeated":true,"#
        ));
        assert!(text.contains(r#""data":{"results":[{"id":null,"status":"filled""#), "{text}");
    }
}
