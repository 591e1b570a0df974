//! Refusals and failures as `application/problem+json` (RFC 9457), with the reasons of `docs/MQTT.md` and the few that
//! only HTTP has.

use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::message::json::Object;
use crate::model::signal::{Reason, Refusal};
use crate::store::query::QueryError;

/// Why a request is not answered as it wished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    /// A stable word for programs.
    reason: &'static str,
    /// A sentence for people.
    detail: String,
    /// The result of the signal, as it is published.
    result: Option<String>,
}

impl Problem {
    pub fn new(status: StatusCode, reason: &'static str, detail: impl Into<String>) -> Problem {
        Problem { status, reason, detail: detail.into(), result: None }
    }

    /// A part of the request that cannot be read.
    pub fn malformed(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, Reason::Malformed.as_str(), detail)
    }

    /// Something that is not there.
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// Something that will work later.
    pub fn unavailable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
    }

    /// A refusal of the engine.
    pub fn refused(refusal: &Refusal, result: Option<String>) -> Problem {
        let (status, reason) = (status_of(refusal.reason), refusal.reason.as_str());
        Problem { status, reason, detail: refusal.detail.clone(), result }
    }

    pub fn body(&self) -> String {
        let object = Object::new()
            .text("type", &format!("urn:tradebus:{}", self.reason))
            .text("title", self.status.canonical_reason().unwrap_or("Error"))
            .integer("status", self.status.as_u16())
            .text("reason", self.reason)
            .text("detail", &self.detail);
        match &self.result {
            Some(result) => object.raw("result", result).finish(),
            None => object.finish(),
        }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Problem {
        match error {
            QueryError::Invalid(why) => Problem::malformed(why),
            QueryError::Unavailable => Problem::unavailable(error.to_string()),
            // What the disk says is for the log.
            QueryError::Storage(error) => {
                tracing::warn!(%error, "a question of the history is not answered");
                Problem::unavailable("the query store cannot be read now")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            // The router adds the methods that are allowed.
            StatusCode::METHOD_NOT_ALLOWED => drop(headers.remove(ALLOW)),
            _ => {}
        }
        response
    }
}

/// The status that says most nearly the same as a reason.
fn status_of(reason: Reason) -> StatusCode {
    match reason {
        Reason::Malformed | Reason::Retained => StatusCode::BAD_REQUEST,
        Reason::WrongKey => StatusCode::FORBIDDEN,
        Reason::UnknownStrategy => StatusCode::NOT_FOUND,
        Reason::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::Duplicate | Reason::Superseded => StatusCode::CONFLICT,
        Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Reason::StoreUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        Reason::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Reason::UnknownSymbol
        | Reason::Stale
        | Reason::FromFuture
        | Reason::Unsupported
        | Reason::LowConfidence
        | Reason::NoPrice
        | Reason::StalePrice
        | Reason::Paused
        | Reason::ReduceOnly
        | Reason::BelowMinimum
        | Reason::InsufficientBalance
        | Reason::LimitExceeded
        | Reason::NettingConflict
        | Reason::NeedsReconcile
        | Reason::NeedsKeys
        | Reason::VenueRejected
        | Reason::PriceDeviation => StatusCode::UNPROCESSABLE_ENTITY,
    }
}
