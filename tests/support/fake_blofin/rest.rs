//! REST over HTTP/1.1 with connections that are kept; the public API. What is private is in `private_rest`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::private_rest::{self, Asked, Reply, is_private};
use super::{RATES, RestFault, Shared, now_ms};

pub(super) async fn serve(socket: TcpStream, shared: &Arc<Shared>) {
    let mut socket = BufReader::new(socket);
    while let Some(asked) = read(&mut socket).await {
        // A fake that is gone holds nothing.
        let _ = shared.held.subscribe().wait_for(|held| !held).await;
        // What was asked is counted before it is answered, so that whoever has the answer finds it counted.
        let path = asked.target.split('?').next().unwrap_or_default().to_owned();
        shared.count(|stats| *stats.requests.entry(path).or_default() += 1);
        let reply = match is_private(&asked.target) {
            true => match limited(shared) {
                Some((status, body)) => Reply::Now(status, body),
                None => private_rest::answer(&asked, shared),
            },
            false => {
                answer(&asked.target, shared).map_or(Reply::Cut, |(status, body)| Reply::Now(status, body))
            }
        };
        let mut copies = 1;
        let (status, body) = match reply {
            Reply::Cut => return,
            Reply::Late(time) => {
                let shared = Arc::clone(shared);
                // The network has it, whatever becomes of the connection.
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    private_rest::arrive_late(&asked, &shared);
                });
                return;
            }
            Reply::Now(status, body) => (status, body),
            Reply::Twice(body) => {
                copies = 2;
                (200, body)
            }
            Reply::Later(time, status, body) => {
                tokio::time::sleep(time).await;
                (status, body)
            }
        };
        let kind = if body.starts_with('<') { "text/html" } else { "application/json" };
        let date = jiff::Timestamp::from_millisecond(now_ms() + shared.state().ahead_ms).expect("a time");
        let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT");
        let head = format!(
            "HTTP/1.1 {status} x\r\ndate: {date}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if socket.write_all((head + &body).repeat(copies).as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The next request; `None` at the end of the connection.
async fn read(socket: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut first = String::new();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        match socket.read_line(&mut line).await {
            Ok(0) | Err(_) => return None,
            Ok(_) if first.is_empty() => first = line,
            Ok(_) => match line.trim().split_once(':') {
                Some((name, value)) => {
                    headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
                }
                None => break,
            },
        }
    }
    let length: usize = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length.min(1 << 20)];
    socket.read_exact(&mut body).await.ok()?;
    let mut words = first.split_whitespace().map(str::to_owned);
    Some(Asked {
        method: words.next()?,
        target: words.next()?,
        headers,
        body: String::from_utf8(body).expect("requests are texts"),
    })
}

/// The refusal of a request beyond the address's limits, if it is.
fn limited(shared: &Shared) -> Option<(u16, String)> {
    let limit = too_many(shared)?;
    shared.violated(format!("more than {} requests in {} s", limit.1, limit.0));
    Some((429, r#"{"code":"429","msg":"too many requests"}"#.into()))
}

/// Status and body; `None` when the connection is to be closed instead.
fn answer(target: &str, shared: &Shared) -> Option<(u16, String)> {
    if let Some(refusal) = limited(shared) {
        return Some(refusal);
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
