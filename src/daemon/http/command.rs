//! What can be sent: signals, alerts and levels, on the road of messages from MQTT, and answered when it is on disk.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use secrecy::SecretString;
use tokio::sync::oneshot;

use super::Shared;
use super::page::Page;
use super::params::Params;
use super::problem::Problem;
use super::routes::{Answered, Names, names};
use crate::daemon::caller::{Answer, Command};
use crate::message::fields::{PAYLOAD_BYTES_MAX, short};
use crate::message::json::Object;
use crate::model::ids::StrategyId;
use crate::model::signal::{Reason, Refusal};

pub async fn signal(
    State(shared): State<Arc<Shared>>,
    path: Names<String>,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
    body: Body,
) -> Answered {
    Params::read(query.as_deref(), &[])?;
    let strategy = strategy_of(&names(path)?)?;
    let topic = shared.context.topics.strategy(strategy.as_str(), "signal");
    let payload = read_within(shared.context.limits.body, &asked, body).await?;
    result(send(&shared, topic, payload, None).await?, &asked)
}

pub async fn level(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
    body: Body,
) -> Answered {
    Params::read(query.as_deref(), &[])?;
    let topic = shared.context.topics.at("daemon/level/set");
    let payload = read_within(shared.context.limits.body, &asked, body).await?;
    done(send(&shared, topic, payload, None).await?)?;
    daemon_level(&shared, &asked)
}

pub async fn strategy_level(
    State(shared): State<Arc<Shared>>,
    path: Names<String>,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
    body: Body,
) -> Answered {
    Params::read(query.as_deref(), &[])?;
    let strategy = strategy_of(&names(path)?)?;
    let topic = shared.context.topics.strategy(strategy.as_str(), "level/set");
    let payload = read_within(shared.context.limits.body, &asked, body).await?;
    done(send(&shared, topic, payload, None).await?)?;
    let state = shared.context.board.payload(&format!("strategy/{strategy}/state"));
    let state = state.ok_or_else(|| Problem::unavailable("the daemon is stopping"))?;
    Ok(Page::json(state).answer(&asked))
}

/// The daemon's level as it is.
pub fn daemon_level(shared: &Shared, asked: &HeaderMap) -> Answered {
    let level = shared.context.board.payload("daemon/level").unwrap_or_default();
    let level = std::str::from_utf8(&level).ok().filter(|level| !level.is_empty()).unwrap_or("null");
    Ok(Page::json(Object::new().raw("level", level).finish()).answer(asked))
}

pub fn strategy_of(name: &str) -> Result<StrategyId, Problem> {
    StrategyId::new(name).map_err(|error| {
        let detail = format!("strategy: {:?}: {error}", short(name));
        Problem::refused(&Refusal::new(Reason::UnknownStrategy, detail), None)
    })
}

/// The answer to a signal.
pub fn result(answer: Answer, asked: &HeaderMap) -> Answered {
    match answer {
        Answer { refusal: Some(refusal), payload } => Err(Problem::refused(&refusal, payload)),
        Answer { payload: Some(payload), refusal: None } => Ok(Page::json(payload).answer(asked)),
        Answer { payload: None, refusal: None } => Err(Problem::unavailable("there is no answer")),
    }
}

/// The answer to a level.
fn done(answer: Answer) -> Result<(), Problem> {
    answer.refusal.map_or(Ok(()), |refusal| Err(Problem::refused(&refusal, None)))
}

/// Hands a command to the engine loop and waits until its answer is on disk.
pub async fn send(
    shared: &Shared,
    topic: String,
    payload: Vec<u8>,
    key: Option<SecretString>,
) -> Result<Answer, Problem> {
    let limits = shared.context.limits;
    let (answer, wait) = oneshot::channel();
    let failing = |what: &str| {
        let detail = format!("{what} within {} s: the store fails or is slow", limits.answer.as_secs());
        Problem::refused(&Refusal::new(Reason::StoreUnavailable, detail), None)
    };
    let command = Command { topic, payload, key, answer };
    match tokio::time::timeout(limits.answer, shared.context.commands.send(command)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return Err(Problem::unavailable("the daemon is stopping")),
        Err(_) => return Err(failing("not taken")),
    }
    match tokio::time::timeout(limits.answer, wait).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => {
            Err(Problem::unavailable("the daemon is stopping; the same again, with its id, tells the result"))
        }
        Err(_) => {
            Err(failing("it may be done, and the same again, with its id, tells; but it is not on disk"))
        }
    }
}

/// Reads a body as far as it may go, and as long.
pub async fn read_within(patience: Duration, asked: &HeaderMap, body: Body) -> Result<Vec<u8>, Problem> {
    tokio::time::timeout(patience, read(asked, body)).await.unwrap_or_else(|_| {
        let detail = format!("the body did not end within {} s", patience.as_secs());
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail))
    })
}

async fn read(asked: &HeaderMap, mut body: Body) -> Result<Vec<u8>, Problem> {
    let too_large = |bytes: &str| {
        let detail = format!("body of {bytes} bytes, the limit is {PAYLOAD_BYTES_MAX}");
        Problem::refused(&Refusal::new(Reason::TooLarge, detail), None)
    };
    let told = asked.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()).unwrap_or_default();
    if told.parse::<u64>().is_ok_and(|bytes| bytes > PAYLOAD_BYTES_MAX as u64) {
        return Err(too_large(told));
    }
    let mut payload = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|_| Problem::malformed("the body cannot be read to its end"))?;
        let Ok(data) = frame.into_data() else { continue };
        if payload.len() + data.len() > PAYLOAD_BYTES_MAX {
            return Err(too_large("more"));
        }
        payload.extend_from_slice(&data);
    }
    Ok(payload)
}
