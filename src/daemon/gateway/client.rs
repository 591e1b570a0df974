//! Signed requests, and what is known when one has no answer.
//!
//! Invariants: what may not be repeated (orders and stops) leaves over a connection of its own, is never repeated by
//! any layer below, and follows no redirect: an HTTP library that keeps connections sends a request again when a kept
//! one turns out to be closed. Whether it can have left is exact: until the connection stands, it has not.
//!
//! Limits: [`CONNECT_MAX`], [`TIME_MAX`] with connecting, [`FRAME_BYTES_MAX`] of an answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue};
use secrecy::ExposeSecret;
use tokio_rustls::rustls::ClientConfig;

use crate::daemon::clock::Clock;
use crate::daemon::feed::blofin::rest::words;
use crate::model::time::Timestamp;
use crate::venue::blofin::FRAME_BYTES_MAX;
use crate::venue::blofin::private::request::{Method, Request};
use crate::venue::blofin::private::sign::{Keys, Stamp};

/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long an answer may take.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Whether a request may be made again by a layer below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Never: it makes an order.
    Never,
    /// It changes nothing, or the same again.
    Harmless,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// No byte of it left.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It left, and may have arrived.
    #[error("no answer: {0}")]
    Lost(String),
}

/// What the venue answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// As text.
    pub body: String,
}

/// A way to an account.
#[derive(Debug)]
pub struct Client {
    once: reqwest::Client,
    kept: reqwest::Client,
    base: String,
    keys: Keys,
    clock: Clock,
    skew: Mutex<Skew>,
    nonce_prefix: String,
    nonces: AtomicU64,
}

impl Client {
    /// A client for a base address without a path. `chance` are random digits that no other process has.
    ///
    /// # Errors
    /// When the clients cannot be made.
    pub fn new(
        base: &str,
        tls: &ClientConfig,
        keys: Keys,
        clock: Clock,
        chance: String,
    ) -> Result<Client, String> {
        let builder = || {
            reqwest::Client::builder()
                .timeout(TIME_MAX)
                .connect_timeout(CONNECT_MAX)
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .user_agent(concat!("tradebus/", env!("CARGO_PKG_VERSION")))
                .tls_backend_preconfigured(tls.clone())
        };
        Ok(Client {
            // Only a kept connection is ever used again, so without kept ones nothing is.
            once: builder().pool_max_idle_per_host(0).build().map_err(|error| words(&error))?,
            kept: builder().build().map_err(|error| words(&error))?,
            base: base.trim_end_matches('/').to_owned(),
            keys,
            clock,
            skew: Mutex::default(),
            nonce_prefix: chance,
            nonces: AtomicU64::new(0),
        })
    }

    /// Signs and sends.
    ///
    /// # Errors
    /// What is known when there is no answer.
    pub async fn ask(&self, request: &Request, repeat: Repeat) -> Result<Answer, NoAnswer> {
        let client = if repeat == Repeat::Never { &self.once } else { &self.kept };
        let url = format!("{}{}", self.base, request.path);
        let mut headers = HeaderMap::new();
        for (name, value) in self.keys.headers(request, &self.stamp()) {
            let value = HeaderValue::from_str(value.expose_secret());
            let mut value = value
                .map_err(|_| NoAnswer::NotSent("a key has a character that no header may have".into()))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let building = match request.method {
            Method::Get => client.get(url),
            Method::Post => client
                .post(url)
                .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
                .body(request.body.clone()),
        };
        let sent = self.clock.now();
        let lost = |error: reqwest::Error| match error.is_connect() || error.is_builder() {
            true => NoAnswer::NotSent(words(&error)),
            false => NoAnswer::Lost(words(&error)),
        };
        let mut answer = building.headers(headers).send().await.map_err(lost)?;
        if let Some(date) = answer.headers().get(DATE).and_then(|date| date.to_str().ok()) {
            self.observe(date, sent);
        }
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| NoAnswer::Lost(words(&error)))? {
            if body.len() + chunk.len() > FRAME_BYTES_MAX {
                return Err(NoAnswer::Lost(format!("an answer of over {FRAME_BYTES_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// A time by the venue's clock, as far as it is known, and a nonce that was never used.
    pub fn stamp(&self) -> Stamp {
        let count = self.nonces.fetch_add(1, Ordering::Relaxed);
        let time = self.clock.now().plus_ms(self.skew_ms().unwrap_or(0));
        Stamp { time, nonce: format!("{}{count:012x}", self.nonce_prefix) }
    }

    /// How far the venue's clock is ahead of ours, in milliseconds, once it answered.
    pub fn skew_ms(&self) -> Option<i64> {
        self.skew.lock().unwrap_or_else(PoisonError::into_inner).ms()
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whose account it is.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    fn observe(&self, date: &str, sent: Timestamp) {
        let Ok(date) = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date) else { return };
        let (date_ms, received) = (date.as_millisecond(), self.clock.now());
        let mut skew = self.skew.lock().unwrap_or_else(PoisonError::into_inner);
        skew.observe(date_ms, sent.as_ms(), received.as_ms());
    }
}

/// Bounds for how far the venue's clock is ahead of ours, from the whole seconds that it shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Skew(Option<(i64, i64)>);

impl Skew {
    /// Takes an answer that was made between these two times of ours.
    fn observe(&mut self, date_ms: i64, sent_ms: i64, received_ms: i64) {
        let (low, high) = (date_ms - received_ms, date_ms + 999 - sent_ms);
        // Clocks drift, so what was proven weakens with every observation.
        let known = self.0.map(|(low, high)| (low - 2, high + 2));
        self.0 = Some(match known {
            Some((known_low, known_high)) if low <= known_high && high >= known_low => {
                (low.max(known_low), high.min(known_high))
            }
            _ => (low, high),
        });
    }

    /// The smallest difference that fits what was seen.
    fn ms(self) -> Option<i64> {
        self.0.map(|(low, high)| 0.clamp(low.min(high), high.max(low)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skew_is_what_is_proven() {
        let check = |seen: &[(i64, i64, i64)], expected: i64| {
            let mut skew = Skew::default();
            for (date, sent, received) in seen {
                skew.observe(*date, *sent, *received);
            }
            assert_eq!(skew.ms(), Some(expected), "{seen:?}");
        };
        // The same second, the next one just after ours, and clocks that differ.
        check(&[(1_000, 1_100, 1_300)], 0);
        check(&[(2_000, 1_900, 1_950)], 50);
        check(&[(2_000, 1_900, 2_010)], 0);
        check(&[(9_000, 1_100, 1_200)], 7_800);
        check(&[(1_000, 9_000, 9_100)], -7_001);
        // Answers at other parts of a second narrow it down.
        check(&[(9_000, 1_100, 1_200), (9_000, 600, 700)], 8_300);
        // A clock that is set anew is a new one.
        check(&[(9_000, 1_100, 1_200), (1_000, 1_100, 1_200)], 0);
        assert_eq!(Skew::default().ms(), None);
    }
}
