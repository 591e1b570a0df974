//! Alerts of TradingView: who may bring them, and how many may be refused.
//!
//! The address counts before the body is read, the key in the one place where the bus checks it too. When too many were
//! refused in a minute, the key is looked at here first, so that guesses do not reach the engine; an alert with the
//! right key always does, because it may be an exit.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::Shared;
use super::command::{read_within, result, send, strategy_of};
use super::params::Params;
use super::problem::Problem;
use super::routes::{Answered, Names, names};
use crate::config::{AddressRange, HttpConfig};
use crate::daemon::caller::Answer;
use crate::message::tradingview;
use crate::model::ids::StrategyId;
use crate::model::signal::{Reason, Refusal};

/// Alerts without a right key, or that cannot be read, which reach the engine in a minute.
const REFUSED_MAX: u32 = 60;
const MINUTE: Duration = Duration::from_secs(60);
/// Who was asked for by a proxy: the client first, the last proxy last.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// With the key in the body.
pub async fn alert(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<SocketAddr>,
    path: Names<String>,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
    body: Body,
) -> Answered {
    Params::read(query.as_deref(), &[])?;
    let strategy = strategy_of(&names(path)?)?;
    taken(&shared, peer, strategy, None, &asked, body).await
}

/// With the key in the path, for alerts whose text cannot have one.
pub async fn alert_with_key(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<SocketAddr>,
    path: Names<(String, String)>,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
    body: Body,
) -> Answered {
    Params::read(query.as_deref(), &[])?;
    let (strategy, key) = names(path)?;
    taken(&shared, peer, strategy_of(&strategy)?, Some(key.into()), &asked, body).await
}

async fn taken(
    shared: &Shared,
    peer: SocketAddr,
    strategy: StrategyId,
    key: Option<SecretString>,
    asked: &HeaderMap,
    body: Body,
) -> Answered {
    let config = &shared.context.config;
    let client = client_of(config, peer, asked);
    if !config.webhook_from.is_empty() && !contains(&config.webhook_from, client) {
        let detail = format!("{client} is not one of http.webhook_from");
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden_address", detail));
    }
    let payload = read_within(shared.context.limits.body, asked, body).await?;
    if shared.guesses.are_spent() {
        let key = key.as_ref().map(ExposeSecret::expose_secret);
        let read =
            tradingview::read_with_key(Some(strategy.as_str()), &payload, false, key, &shared.context.alerts);
        if read.body.is_err_and(|refusal| is_guess(&refusal)) {
            let detail = format!("over {REFUSED_MAX} alerts were refused in this minute");
            return Err(Problem::refused(&Refusal::new(Reason::RateLimited, detail), None));
        }
    }
    let topic = shared.context.topics.strategy(strategy.as_str(), "tradingview");
    let answer = send(shared, topic, payload, key).await?;
    if let Answer { refusal: Some(refusal), .. } = &answer
        && is_guess(refusal)
    {
        shared.guesses.count();
    }
    result(answer, asked)
}

/// Whether it may be from somebody who has no key.
fn is_guess(refusal: &Refusal) -> bool {
    use Reason::{Malformed, TooLarge, UnknownStrategy, WrongKey};
    matches!(refusal.reason, WrongKey | Malformed | TooLarge | UnknownStrategy)
}

fn contains(ranges: &[AddressRange], address: IpAddr) -> bool {
    ranges.iter().any(|range| range.contains(address))
}

/// The address of who asks: the peer's, or what trusted proxies say, from the nearest on. What they say that is no
/// address ends the search at the one who said it.
fn client_of(config: &HttpConfig, peer: SocketAddr, asked: &HeaderMap) -> IpAddr {
    let mut client = peer.ip().to_canonical();
    let told = asked.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let told: Vec<&str> = told.flat_map(|list| list.split(',')).collect();
    for said in told.into_iter().rev() {
        if !contains(&config.trusted_proxies, client) {
            break;
        }
        let Ok(said) = said.trim().parse::<IpAddr>() else { break };
        client = said.to_canonical();
    }
    client
}

/// How many alerts were refused lately.
#[derive(Debug, Default)]
pub struct Guesses(Mutex<Option<(Instant, u32)>>);

impl Guesses {
    fn count(&self) {
        self.with(|count| *count += 1);
    }

    fn are_spent(&self) -> bool {
        self.with(|count| *count > REFUSED_MAX)
    }

    /// Of the minute that runs now.
    fn with<T>(&self, work: impl FnOnce(&mut u32) -> T) -> T {
        let now = Instant::now();
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (begun, count) = minute.get_or_insert((now, 0));
        if now.duration_since(*begun) >= MINUTE {
            (*begun, *count) = (now, 0);
        }
        work(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let config = HttpConfig {
            trusted_proxies: ["127.0.0.1", "10.0.0.0/8"].map(|range| range.parse().unwrap()).to_vec(),
            ..Config::default().http
        };
        let check = |peer: &str, told: &[&str], expected: &str| {
            let mut headers = HeaderMap::new();
            for told in told {
                headers.append(FORWARDED_FOR, told.parse().unwrap());
            }
            let peer = SocketAddr::new(peer.parse().unwrap(), 1);
            assert_eq!(client_of(&config, peer, &headers).to_string(), expected, "{peer} {told:?}");
        };
        check("127.0.0.1", &[], "127.0.0.1");
        check("127.0.0.1", &["203.0.113.7"], "203.0.113.7");
        check("::ffff:127.0.0.1", &["203.0.113.7"], "203.0.113.7");
        check("127.0.0.1", &["1.2.3.4, 203.0.113.7, 10.1.1.1"], "203.0.113.7");
        check("127.0.0.1", &["1.2.3.4", "203.0.113.7"], "203.0.113.7");
        check("127.0.0.1", &["1.2.3.4, nonsense"], "127.0.0.1");
        check("203.0.113.9", &["127.0.0.1"], "203.0.113.9");
        check("127.0.0.1", &["10.1.1.1"], "10.1.1.1");
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_are_counted_by_the_minute() {
        let guesses = Guesses::default();
        for _ in 0..REFUSED_MAX {
            guesses.count();
        }
        assert!(!guesses.are_spent());
        guesses.count();
        assert!(guesses.are_spent());
        tokio::time::advance(MINUTE).await;
        assert!(!guesses.are_spent());
    }
}
