//! The public REST API over HTTP/1.1 with connections that are kept.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{RATES, RestFault, Shared, now_ms};

pub(super) async fn serve(socket: TcpStream, shared: &Arc<Shared>) {
    let mut socket = BufReader::new(socket);
    loop {
        let mut request = String::new();
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            match socket.read_line(&mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) if request.is_empty() => request.clone_from(&line),
                Ok(_) => {}
            }
        }
        let target = request.split_whitespace().nth(1).unwrap_or_default();
        // A fake that is gone holds nothing.
        let _ = shared.held.subscribe().wait_for(|held| !held).await;
        let Some((status, body)) = answer(target, shared) else { return };
        let kind = if body.starts_with('<') { "text/html" } else { "application/json" };
        let head =
            format!("HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
        // What was asked is counted before it is answered, so that whoever has the answer finds it counted.
        let path = target.split('?').next().unwrap_or_default().to_owned();
        shared.count(|stats| *stats.requests.entry(path).or_default() += 1);
        if socket.write_all((head + &body).as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Status and body; `None` when the connection is to be closed instead.
fn answer(target: &str, shared: &Shared) -> Option<(u16, String)> {
    if let Some(limit) = too_many(shared) {
        shared.violated(format!("more than {} requests in {} s", limit.1, limit.0));
        return Some((429, r#"{"code":"429","msg":"too many requests"}"#.into()));
    }
    let fault = shared.state().rest_faults.pop_front();
    match fault {
        None => {}
        Some(RestFault::TooMany) => return Some((429, r#"{"code":"429","msg":"too many requests"}"#.into())),
        Some(RestFault::Banned) => return Some((403, "<html>forbidden</html>".into())),
        Some(RestFault::Code500) => {
            return Some((200, r#"{"code":500,"data":{},"msg":"Internal Server Error"}"#.into()));
        }
        Some(RestFault::Refused) => {
            return Some((200, r#"{"code":"152002","msg":"Parameter error."}"#.into()));
        }
        Some(RestFault::Garbage) => return Some((200, r#"{"code":"0","data":[{"instId"#.into())),
        Some(RestFault::Close) => return None,
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parameter = |name: &str| {
        query
            .split('&')
            .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, value)| value)
    };
    let now = now_ms();
    let state = shared.state();
    let wanted = parameter("instId");
    let markets =
        state.markets.iter().filter(|(pair, _)| wanted.is_none_or(|wanted| wanted == pair.as_str()));
    let rows: Vec<String> = match path {
        "/api/v1/market/instruments" => markets.map(|(_, market)| market.instrument_row()).collect(),
        "/api/v1/market/tickers" => markets.filter_map(|(_, market)| market.ticker_row(now)).collect(),
        "/api/v1/market/mark-price" => markets.filter_map(|(_, market)| market.mark_row()).collect(),
        "/api/v1/market/trades" => {
            let limit = parameter("limit").and_then(|limit| limit.parse().ok()).unwrap_or(100);
            markets.flat_map(|(_, market)| market.trade_rows(limit)).collect()
        }
        _ => return Some((404, r#"{"code":"404","msg":"not found"}"#.into())),
    };
    if wanted.is_some() && !state.markets.contains_key(wanted.unwrap_or_default()) {
        return Some((200, r#"{"code":"152014","msg":"unknown instId"}"#.into()));
    }
    Some((200, format!(r#"{{"code":"0","msg":"success","data":[{}]}}"#, rows.join(","))))
}

/// Counts a request; tells the limit that it is beyond, if any.
fn too_many(shared: &Shared) -> Option<(u64, usize)> {
    let now = Instant::now();
    let mut state = shared.state();
    state.requested.push_back(now);
    state.requested.retain(|at| now.duration_since(*at) < Duration::from_secs(RATES[1].0));
    let within = |seconds: u64| {
        state.requested.iter().filter(|at| now.duration_since(**at) < Duration::from_secs(seconds)).count()
    };
    RATES.into_iter().find(|(seconds, most)| within(*seconds) > *most)
}
