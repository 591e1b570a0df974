//! What was: trades, orders, fills, signals and equity, from the query store, on threads that may wait for the disk.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};

use super::Shared;
use super::page::Page;
use super::params::Params;
use super::problem::Problem;
use super::routes::Answered;
use crate::engine::record::Scope;
use crate::message::{history, record_view};
use crate::store::query::{self, Page as Rows, QueryError};
use crate::store::row::{DecidedSignal, EquitySample, Row};
use crate::store::storage::AnyStorage;

const FILLS: [&str; 8] = ["strategy", "type", "symbol", "from", "to", "limit", "cursor", "order"];
const ROWS: [&str; 9] = ["strategy", "type", "symbol", "status", "from", "to", "limit", "cursor", "order"];
const EQUITY: [&str; 7] = ["strategy", "type", "from", "to", "limit", "cursor", "order"];

pub async fn trades(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
) -> Answered {
    let filter = Params::read(query.as_deref(), &ROWS)?.filter()?;
    answer(&shared, &asked, move |storage| {
        Ok(page(query::trades(storage, &filter)?, |row| record_view::trade(&row.value, row.seq, false)))
    })
    .await
}

pub async fn orders(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
) -> Answered {
    let filter = Params::read(query.as_deref(), &ROWS)?.filter()?;
    answer(&shared, &asked, move |storage| {
        Ok(page(query::orders(storage, &filter)?, |row| record_view::order(&row.value, row.seq, false)))
    })
    .await
}

pub async fn fills(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
) -> Answered {
    let filter = Params::read(query.as_deref(), &FILLS)?.filter()?;
    answer(&shared, &asked, move |storage| {
        Ok(page(query::fills(storage, &filter)?, |row| record_view::fill(&row.value, row.seq, false)))
    })
    .await
}

pub async fn signals(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
) -> Answered {
    let filter = Params::read(query.as_deref(), &ROWS)?.filter()?;
    answer(&shared, &asked, move |storage| {
        Ok(page(query::signals(storage, &filter)?, |row: &Row<DecidedSignal>| {
            let signal = &row.value;
            history::signal(signal.strategy, signal.symbol, signal.signal_time, &signal.result, row.seq)
        }))
    })
    .await
}

pub async fn equity(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
) -> Answered {
    let mut filter = Params::read(query.as_deref(), &EQUITY)?.filter()?;
    let scope = match (filter.strategy.take(), filter.kind.take()) {
        (Some(_), Some(_)) => return Err(Problem::malformed("strategy, type: give one of them")),
        (Some(strategy), None) => Scope::Strategy(strategy),
        (None, Some(kind)) => Scope::Type(kind),
        (None, None) => Scope::Portfolio,
    };
    answer(&shared, &asked, move |storage| {
        Ok(page(query::equity(storage, scope, &filter)?, |row: &Row<EquitySample>| {
            let sample = row.value;
            history::equity(sample.scope, sample.time, sample.equity, row.seq)
        }))
    })
    .await
}

fn page<T>(rows: Rows<T>, write: impl Fn(&Row<T>) -> String) -> String {
    history::page(rows.rows.iter().map(write), rows.next.as_deref())
}

/// Asks on another thread, where only so many questions may run or wait.
async fn answer(
    shared: &Shared,
    asked: &HeaderMap,
    ask: impl FnOnce(&AnyStorage) -> Result<String, QueryError> + Send + 'static,
) -> Answered {
    let Ok(permit) = Arc::clone(&shared.questions).try_acquire_owned() else {
        let questions = shared.context.limits.questions;
        let detail = format!("{questions} questions of the history are open, which is the limit");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail));
    };
    let queries = shared.context.history.queries.clone();
    let answered = tokio::task::spawn_blocking(move || {
        let answered = queries.ask(ask);
        drop(permit);
        answered
    });
    let body = answered.await.map_err(|_| Problem::unavailable("the query store failed"))??;
    Ok(Page::json(body).answer(asked))
}
