//! The envelope of every REST answer: `code`, `msg`, `data`.
//!
//! The code is a text or a number; `"0"` is success (200 is taken for it, too). What is not JSON is judged by the HTTP
//! status alone: a firewall answers 403 with a page.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::dropped::Dropped;
use super::{FRAME_BYTES_MAX, wire};

/// Why a request brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Too many requests: blocked for 5 minutes, or an hour.
    #[error("too many requests (429): {text}")]
    RateLimited {
        /// The venue's words, cut.
        text: String,
    },
    /// The firewall refuses this address, typically for 5 minutes.
    #[error("refused by the venue's firewall (403)")]
    Banned,
    /// The venue failed; worth another try.
    #[error("the venue failed with code {code}: {text}")]
    Venue {
        /// Its code.
        code: String,
        /// Its words, cut.
        text: String,
    },
    /// The request is wrong, and will be wrong again.
    #[error("refused with code {code}: {text}")]
    Refused {
        /// Its code.
        code: String,
        /// Its words, cut.
        text: String,
    },
    /// Not an answer of the documented shape.
    #[error("an answer that cannot be read (HTTP {status}): {text}")]
    Unreadable {
        /// The HTTP status.
        status: u16,
        /// How it begins.
        text: String,
    },
}

impl Fault {
    /// Whether the same request may succeed later.
    pub fn is_worth_retrying(&self) -> bool {
        !matches!(self, Fault::Refused { .. })
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    code: wire::Raw<'a>,
    #[serde(borrow)]
    msg: wire::Raw<'a>,
    #[serde(borrow)]
    data: wire::Raw<'a>,
}

/// The rows of an answer.
///
/// # Errors
/// Why there are none. An answer longer than [`FRAME_BYTES_MAX`] is not read.
pub fn rows(status: u16, body: &str) -> Result<Vec<&RawValue>, Fault> {
    let unreadable = || Fault::Unreadable { status, text: body.chars().take(80).collect() };
    let envelope = match body.len() <= FRAME_BYTES_MAX {
        true => serde_json::from_str::<Envelope>(body).ok(),
        false => None,
    };
    let text = envelope.as_ref().and_then(|envelope| wire::text(envelope.msg)).unwrap_or_default();
    let text: String = text.chars().take(200).collect();
    let code = envelope.as_ref().and_then(|envelope| wire::text(envelope.code)).unwrap_or_default();
    match (status, &*code) {
        (429, _) | (_, "429") => Err(Fault::RateLimited { text }),
        (403, _) => Err(Fault::Banned),
        (200..=299, "0" | "200") => {
            wire::rows(envelope.and_then(|envelope| envelope.data)).map_err(|Dropped { .. }| unreadable())
        }
        (_, "") => Err(unreadable()),
        // 103013 is "internal error, retry"; 0 with another status is a gateway that failed.
        (500..=599, _) | (_, "500" | "103013" | "0" | "200") => Err(Fault::Venue { code: cut(&code), text }),
        _ => Err(Fault::Refused { code: cut(&code), text }),
    }
}

fn cut(code: &str) -> String {
    code.chars().take(16).collect()
}
