//! What the venue answers to what changes something: taken, refused, or who knows.
//!
//! An order may be refused within an answer that is a success, and an answer may be none at all. Only a refusal in the
//! venue's own words is one: whatever could hide an order that is there is [`Outcome::Unclear`], and is looked up.

use serde::Deserialize;

use crate::model::ids::VenueOrderId;
use crate::model::trading::VenueRefusal;
use crate::venue::blofin::FRAME_BYTES_MAX;
use crate::venue::blofin::wire::{self, Raw};

/// The most characters of the venue's words that are kept.
const TEXT_MAX: usize = 200;

/// What became of one order, stop or cancel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The venue took it.
    Taken(Option<VenueOrderId>),
    /// The venue refused it.
    Refused(VenueRefusal),
    /// The limit on requests, or the firewall, kept it away: it never was looked at.
    KeptAway(VenueRefusal),
    /// It may or may not be there; how the answer begins.
    Unclear(String),
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    code: Raw<'a>,
    #[serde(borrow)]
    msg: Raw<'a>,
    #[serde(borrow)]
    data: Raw<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Element<'a> {
    #[serde(borrow)]
    order_id: Raw<'a>,
    #[serde(borrow)]
    tpsl_id: Raw<'a>,
    #[serde(borrow)]
    code: Raw<'a>,
    #[serde(borrow)]
    msg: Raw<'a>,
}

/// Reads the answer to a request about one order or stop.
pub fn outcome(status: u16, body: &str) -> Outcome {
    let unclear =
        || Outcome::Unclear(format!("HTTP {status}: {}", body.chars().take(80).collect::<String>()));
    let envelope = match body.len() <= FRAME_BYTES_MAX {
        true => serde_json::from_str::<Envelope>(body).ok(),
        false => None,
    };
    let code = envelope.as_ref().and_then(|envelope| wire::text(envelope.code)).unwrap_or_default();
    let words = envelope.as_ref().and_then(|envelope| wire::text(envelope.msg)).unwrap_or_default();
    match (status, &*code) {
        (429, _) | (_, "429") => return Outcome::KeptAway(refusal("429", &words)),
        (403, _) => return Outcome::KeptAway(refusal("403", "the venue's firewall refuses this address")),
        (401, "") => return Outcome::Refused(refusal("401", "the key or its signature is refused")),
        (200..=299, "0" | "200" | "1" | "2") | (400..=499, "1") => {}
        // What calls itself a failure and a success at once may be either.
        (500..=599, _) | (_, "" | "0" | "200" | "1" | "2") => return unclear(),
        (_, code) if is_failure(code) => return unclear(),
        (_, code) => return Outcome::Refused(refusal(code, &words)),
    }
    let rows = envelope.and_then(|envelope| wire::rows(envelope.data).ok()).unwrap_or_default();
    let Some(element) = rows.first().and_then(|row| serde_json::from_str::<Element>(row.get()).ok()) else {
        // A success without a word about the order says nothing; a failure of everything says enough.
        return match &*code {
            "1" => Outcome::Refused(refusal(&code, &words)),
            _ => unclear(),
        };
    };
    let inner = wire::text(element.code).unwrap_or_else(|| "0".into());
    let inner_words = wire::text(element.msg).unwrap_or_default();
    let id = wire::text(element.order_id).or_else(|| wire::text(element.tpsl_id));
    match (&*code, &*inner) {
        ("0" | "200" | "2", "0" | "200") => Outcome::Taken(id.and_then(|id| VenueOrderId::new(&id).ok())),
        (_, "0" | "200") => unclear(),
        (_, inner) if is_failure(inner) && !is_about_cancel(&inner_words) => unclear(),
        (_, inner) => Outcome::Refused(refusal(inner, &inner_words)),
    }
}

/// Codes after which nobody knows what became of the request: a venue that failed, and a nonce that was used before.
/// Ours never are, so somebody on the way doubled the request, and the first one may be there.
fn is_failure(code: &str) -> bool {
    matches!(code, "500" | "103013" | "152407")
}

/// The venue says 500 for a stop that is there no more, too.
fn is_about_cancel(words: &str) -> bool {
    words.starts_with("Cancel failed")
}

/// A refusal with what its code tells.
pub fn refusal(code: &str, words: &str) -> VenueRefusal {
    let code: String = code.chars().take(16).collect();
    let words = if words.is_empty() { meaning(&code) } else { words };
    VenueRefusal {
        text: words.chars().filter(|c| !c.is_control()).take(TEXT_MAX).collect(),
        duplicate: matches!(&*code, "102002" | "150003" | "152420"),
        transient: matches!(
            &*code,
            "403" | "429" | "500" | "103013" | "152405" | "152407" | "152410" | "152429"
        ),
        code,
    }
}

/// Whether a code says that the keys are no good, whatever is asked with them.
pub fn is_about_keys(code: &str) -> bool {
    matches!(
        code,
        "401"
            | "152011"
            | "152012"
            | "152013"
            | "152401"
            | "152402"
            | "152404"
            | "152406"
            | "152408"
            | "152409"
    )
}

/// Whether a lookup was answered with "there is no such order".
pub fn is_unknown_order(code: &str, words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    matches!(code, "102068" | "1000") || words.contains("not exist") || words.contains("not found")
}

/// What a code means, when the venue does not say.
fn meaning(code: &str) -> &'static str {
    match code {
        "102002" | "150003" => "the client order id is known already",
        "102005" => "the position is closed already",
        "102022" => "reduce-only without a position",
        "102014" | "102015" | "542" => "above the largest order",
        "102064" | "102065" => "the price is outside the venue's limits",
        "102068" | "1000" => "the order is filled, triggered, cancelled or unknown",
        "102089" => "the order does not fit the account's position mode",
        "103003" | "150004" => "the margin is not enough",
        "103013" | "500" => "an internal error of the venue",
        "110006" => "cross orders in the book keep the leverage from being changed",
        "110019" => "orders and positions must be closed first",
        "152009" => "the client order id is not in the venue's form",
        "152014" => "the pair is unknown",
        "152011" => "this key must not name a broker",
        "152012" => "this key is bound to a broker, and broker_id is not set",
        "152013" => "broker_id is not the key's",
        "152401" => "the key is unknown (a key of another environment?)",
        "152402" => "the key has expired",
        "152404" => "the key has not the permission",
        "152405" | "152410" => "the time of the request is too far from the venue's",
        "152406" => "this address is not one of the key's",
        "152407" => "the nonce was used before",
        "152408" => "the passphrase is wrong",
        "152409" => "the signature is wrong (the secret is not the key's?)",
        "429" => "too many requests",
        _ => "refused",
    }
}
