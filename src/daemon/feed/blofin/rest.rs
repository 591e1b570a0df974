//! Asking the venue over REST, within its rates.
//!
//! Limits: [`TIME_MAX`] for an answer, [`FRAME_BYTES_MAX`] of it. Clones share connections and rates: one address has
//! one budget, however many feeds there are.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_rustls::rustls::ClientConfig;

use super::rates::Rates;
use crate::venue::blofin::FRAME_BYTES_MAX;
use crate::venue::blofin::answer::{self, Fault};

/// How long an answer may take.
const TIME_MAX: Duration = Duration::from_secs(10);
/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// A way to the venue's REST API.
#[derive(Clone, Debug)]
pub struct Rest {
    client: reqwest::Client,
    base: String,
    rates: Arc<Mutex<Rates>>,
}

/// What the venue answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// As text.
    pub body: String,
}

/// Why a request brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestError {
    /// The venue answered, but not with rows.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// No answer.
    #[error("no answer: {0}")]
    Network(String),
    /// Nothing was asked: the rate limits leave no room.
    #[error("waiting {} s for the venue's rate limits", .0.as_secs())]
    Rates(Duration),
}

impl Rest {
    /// A client for a base address without a path, such as `https://openapi.blofin.com`.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(base: &str, tls: &ClientConfig) -> Result<Rest, String> {
        let builder = reqwest::Client::builder()
            .timeout(TIME_MAX)
            .connect_timeout(CONNECT_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("tradebus/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls.clone());
        let client = builder.build().map_err(|error| words(&error))?;
        Ok(Rest { client, base: base.trim_end_matches('/').to_owned(), rates: Arc::default() })
    }

    /// Asks for a path of the API.
    ///
    /// # Errors
    /// When there is no answer, or no room to ask.
    pub async fn get(&self, path: &str) -> Result<Answer, RestError> {
        self.with_rates(|rates, now| rates.take(now)).map_err(RestError::Rates)?;
        let network = |error: reqwest::Error| RestError::Network(words(&error));
        let mut answer = self.client.get(format!("{}{path}", self.base)).send().await.map_err(network)?;
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(network)? {
            if body.len() + chunk.len() > FRAME_BYTES_MAX {
                return Err(RestError::Network(format!("an answer of over {FRAME_BYTES_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        // What is not text is no JSON either, and is refused as that.
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// The rows of an answer. One that tells of a limit blocks all requests until the venue's penalty is over.
    ///
    /// # Errors
    /// Why there are none.
    pub fn rows<'a>(&self, answer: &'a Answer) -> Result<Vec<&'a RawValue>, RestError> {
        answer::rows(answer.status, &answer.body).map_err(|fault| {
            if matches!(fault, Fault::RateLimited { .. } | Fault::Banned) {
                let penalty = self.with_rates(Rates::refused);
                tracing::warn!(wait_s = penalty.as_secs(), "blofin: {fault}; nothing is asked until then");
            }
            RestError::Fault(fault)
        })
    }

    /// What this address asked lately, to be shared with whoever else asks from it.
    pub fn rates(&self) -> Arc<Mutex<Rates>> {
        Arc::clone(&self.rates)
    }

    fn with_rates<T>(&self, change: impl FnOnce(&mut Rates, Instant) -> T) -> T {
        // Rates are whole whenever the lock is free, so a panic elsewhere does not matter.
        change(&mut self.rates.lock().unwrap_or_else(PoisonError::into_inner), Instant::now())
    }
}

/// What went wrong, down to its cause, without the address: a proxy's may hold a password.
pub fn words(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    match error.is_timeout() {
        true => "it took too long".to_owned(),
        false if std::ptr::eq(cause, error as &dyn std::error::Error) => "the request failed".to_owned(),
        false => cause.to_string(),
    }
}
