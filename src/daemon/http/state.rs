//! What is: prices, strategies, positions, key figures, as MQTT shows them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use tokio::sync::oneshot;

use super::Shared;
use super::command::daemon_level;
use super::page::Page;
use super::params::Params;
use super::problem::Problem;
use super::routes::{Answered, Names, OPENAPI, names};
use crate::message::daemon::{Health, health as health_payload};
use crate::message::history::page;
use crate::model::ids::{StrategyId, StrategyType};

/// How long the engine loop may take to say how the daemon is.
const HEALTH_PATIENCE: Duration = Duration::from_secs(2);

pub async fn health(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
) -> Answered {
    Params::read(query.as_deref(), &[])?;
    let health = ask_health(&shared).await?;
    Ok(Page::json(health_payload(&health)).answer(&asked))
}

/// Asks the engine loop, so that an answer also says that it runs.
pub async fn ask_health(shared: &Shared) -> Result<Health, Problem> {
    let (answer, wait) = oneshot::channel();
    let asking = async {
        shared.context.ask.send(answer).await.ok()?;
        wait.await.ok()
    };
    let answered = tokio::time::timeout(HEALTH_PATIENCE, asking).await;
    match answered {
        Ok(Some(health)) => Ok(health),
        Ok(None) => Err(Problem::unavailable("the daemon is stopping")),
        Err(_) => Err(Problem::unavailable("the daemon does not answer")),
    }
}

pub async fn info(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
) -> Answered {
    Params::read(query.as_deref(), &[])?;
    one(&shared, "daemon/info", "the daemon is starting", &asked)
}

pub async fn openapi(RawQuery(query): RawQuery, asked: HeaderMap) -> Answered {
    Params::read(query.as_deref(), &[])?;
    Ok(Page::json(OPENAPI).answer(&asked))
}

pub async fn level(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
) -> Answered {
    Params::read(query.as_deref(), &[])?;
    daemon_level(&shared, &asked)
}

pub async fn feeds(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
) -> Answered {
    let params = Params::read(query.as_deref(), &["feed"])?;
    let feed = params.feed()?;
    Ok(list(&shared, "feed/", &asked, |topic| {
        feed.is_none_or(|wanted| topic.split('/').nth(1) == Some(wanted.as_str()))
    }))
}

pub async fn prices(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
) -> Answered {
    let params = Params::read(query.as_deref(), &["feed", "symbol"])?;
    let (feed, symbol) = (params.feed()?, params.symbol()?);
    Ok(list(&shared, "price/", &asked, |topic| {
        let mut levels = topic.split('/').skip(1);
        let feed_fits = levels.next().is_some_and(|name| feed.is_none_or(|wanted| wanted.as_str() == name));
        feed_fits && levels.next().is_some_and(|name| symbol.is_none_or(|wanted| wanted.as_str() == name))
    }))
}

pub async fn price(
    State(shared): State<Arc<Shared>>,
    path: Names<(String, String)>,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
) -> Answered {
    Params::read(query.as_deref(), &[])?;
    let (feed, symbol) = names(path)?;
    one(&shared, &format!("price/{feed}/{symbol}"), "there is no price of this feed and symbol", &asked)
}

pub async fn strategies(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
) -> Answered {
    let params = Params::read(query.as_deref(), &["strategy", "type"])?;
    let wanted = Wanted { strategy: params.strategy()?, kind: params.kind()? };
    Ok(list(&shared, "strategy/", &asked, |topic| topic.ends_with("/state") && wanted.takes(&shared, topic)))
}

pub async fn strategy(
    State(shared): State<Arc<Shared>>,
    path: Names<String>,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
) -> Answered {
    Params::read(query.as_deref(), &[])?;
    let id = names(path)?;
    one(&shared, &format!("strategy/{id}/state"), "there is no strategy of this id", &asked)
}

pub async fn positions(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
) -> Answered {
    let params = Params::read(query.as_deref(), &["strategy", "type", "symbol", "status"])?;
    let wanted = Wanted { strategy: params.strategy()?, kind: params.kind()? };
    let symbol = params.symbol()?;
    let status = params.word("status", &["open", "flat"])?;
    let mut found = shared.context.board.payloads("strategy/", |topic| {
        let mut levels = topic.split('/').skip(2);
        levels.next() == Some("position")
            && levels.next().is_some_and(|name| symbol.is_none_or(|wanted| wanted.as_str() == name))
            && wanted.takes(&shared, topic)
    });
    // No name in a payload can hold a quote, so these bytes are the key and its word.
    const FLAT: &str = r#""side":"flat""#;
    found.retain(|payload| status.is_none_or(|status| text(payload).contains(FLAT) == (status == "flat")));
    Ok(page_of(found).answer(&asked))
}

pub async fn kpis(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
) -> Answered {
    let params = Params::read(query.as_deref(), &["strategy", "type"])?;
    let (strategy, kind) = (params.strategy()?, params.kind()?);
    let wanted = Wanted { strategy, kind };
    Ok(list(&shared, "", &asked, |topic| {
        let mut levels = topic.split('/');
        let (scope, name) = (levels.next(), levels.next());
        topic.ends_with("/kpi")
            && match scope {
                Some("strategy") => wanted.takes(&shared, topic),
                Some("type") => strategy.is_none() && kind.is_none_or(|kind| name == Some(kind.as_str())),
                _ => strategy.is_none() && kind.is_none(),
            }
    }))
}

pub async fn portfolio(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
) -> Answered {
    let params = Params::read(query.as_deref(), &["type"])?;
    match params.kind()? {
        None => one(&shared, "portfolio/state", "there is no strategy", &asked),
        Some(kind) => {
            one(&shared, &format!("type/{kind}/state"), "there is no strategy of this type", &asked)
        }
    }
}

/// Which strategies are asked for.
struct Wanted {
    strategy: Option<StrategyId>,
    kind: Option<StrategyType>,
}

impl Wanted {
    /// Whether a topic below `strategy/` is one of theirs.
    fn takes(&self, shared: &Shared, topic: &str) -> bool {
        let id = topic.split('/').nth(1).unwrap_or_default();
        let kind = || StrategyId::new(id).ok().and_then(|id| shared.context.strategies.get(&id).copied());
        self.strategy.is_none_or(|wanted| wanted.as_str() == id)
            && (self.kind.is_none() || self.kind == kind())
    }
}

fn one(shared: &Shared, topic: &str, missing: &str, asked: &HeaderMap) -> Answered {
    match shared.context.board.payload(topic) {
        Some(payload) => Ok(Page::json(payload).answer(asked)),
        None => Err(Problem::not_found(missing)),
    }
}

fn list(shared: &Shared, prefix: &str, asked: &HeaderMap, wanted: impl Fn(&str) -> bool) -> Response {
    page_of(shared.context.board.payloads(prefix, wanted)).answer(asked)
}

fn page_of(payloads: Vec<Bytes>) -> Page {
    Page::json(page(payloads.iter().map(|payload| text(payload).to_owned()), None))
}

/// A payload; they were made as texts.
fn text(payload: &[u8]) -> &str {
    std::str::from_utf8(payload).unwrap_or("null")
}
