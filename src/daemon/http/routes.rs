//! Every path, who may ask for it, and what answers.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};

use super::access::Need;
use super::problem::Problem;
use super::{Shared, command, history, metrics, state, stream, webhook};

/// The description of the interface for programs.
pub const OPENAPI: &str = include_str!("../../../docs/openapi.json");

/// Every method and path.
pub const ROUTES: [(&str, &str); 24] = [
    ("GET", "/api/v1/health"),
    ("GET", "/api/v1/info"),
    ("GET", "/api/v1/feeds"),
    ("GET", "/api/v1/prices"),
    ("GET", "/api/v1/prices/{feed}/{symbol}"),
    ("GET", "/api/v1/strategies"),
    ("GET", "/api/v1/strategies/{id}"),
    ("POST", "/api/v1/strategies/{id}/signals"),
    ("PUT", "/api/v1/strategies/{id}/level"),
    ("GET", "/api/v1/positions"),
    ("GET", "/api/v1/kpis"),
    ("GET", "/api/v1/portfolio"),
    ("GET", "/api/v1/trades"),
    ("GET", "/api/v1/orders"),
    ("GET", "/api/v1/fills"),
    ("GET", "/api/v1/signals"),
    ("GET", "/api/v1/equity"),
    ("GET", "/api/v1/level"),
    ("PUT", "/api/v1/level"),
    ("GET", "/api/v1/stream"),
    ("GET", "/api/v1/openapi.json"),
    ("GET", "/metrics"),
    ("POST", "/webhook/tradingview/{strategy}"),
    ("POST", "/webhook/tradingview/{strategy}/{key}"),
];

/// Names in a path.
pub type Names<T> = Result<Path<T>, PathRejection>;
/// What a handler gives.
pub type Answered = Result<Response, Problem>;

pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/api/v1/health", get(state::health))
        .route("/api/v1/info", get(state::info))
        .route("/api/v1/feeds", get(state::feeds))
        .route("/api/v1/prices", get(state::prices))
        .route("/api/v1/prices/{feed}/{symbol}", get(state::price))
        .route("/api/v1/strategies", get(state::strategies))
        .route("/api/v1/strategies/{id}", get(state::strategy))
        .route("/api/v1/strategies/{id}/signals", post(command::signal))
        .route("/api/v1/strategies/{id}/level", put(command::strategy_level))
        .route("/api/v1/positions", get(state::positions))
        .route("/api/v1/kpis", get(state::kpis))
        .route("/api/v1/portfolio", get(state::portfolio))
        .route("/api/v1/trades", get(history::trades))
        .route("/api/v1/orders", get(history::orders))
        .route("/api/v1/fills", get(history::fills))
        .route("/api/v1/signals", get(history::signals))
        .route("/api/v1/equity", get(history::equity))
        .route("/api/v1/level", get(state::level).put(command::level))
        .route("/api/v1/stream", get(stream::stream))
        .route("/api/v1/openapi.json", get(state::openapi))
        .route("/metrics", get(metrics::metrics))
        .route("/webhook/tradingview/{strategy}", post(webhook::alert))
        .route("/webhook/tradingview/{strategy}/{key}", post(webhook::alert_with_key))
        .fallback(|| async { Problem::not_found("there is nothing at this path") })
        .method_not_allowed_fallback(|method: Method| async move {
            let detail = format!("{method} is not allowed at this path");
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        })
        .layer(from_fn_with_state(Arc::clone(&shared), guard))
        .with_state(shared)
}

/// Lets through who may ask, and counts.
async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let allowed = shared.access.check_site(request.uri(), request.headers()).and_then(|()| {
        let need = need_of(request.method(), request.uri().path());
        shared.access.check_token(need, request.uri(), request.headers())
    });
    let response = match allowed {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    shared.requests.answered(response.status());
    response
}

/// What a request wants; more, where it is not known.
fn need_of(method: &Method, path: &str) -> Need {
    match *method {
        Method::GET | Method::HEAD => Need::Read,
        Method::POST if path.starts_with("/webhook/") => Need::Nothing,
        Method::POST | Method::PUT if path.starts_with("/api/v1/strategies/") => Need::Trade,
        _ => Need::Admin,
    }
}

/// Names in a path, which may not be texts.
pub fn names<T>(names: Names<T>) -> Result<T, Problem> {
    names.map(|Path(names)| names).map_err(|_| Problem::not_found("the path is not UTF-8"))
}
