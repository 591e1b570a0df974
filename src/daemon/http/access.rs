//! Who may ask, and for what: names of this host, origins of pages, tokens.
//!
//! Invariants: a page of another site cannot read or write here (its origin is refused, and so is a name that its owner
//! could point at this address); a token is known only as its SHA-256, and every one is compared to its end, so that
//! time tells nothing.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::{AUTHORIZATION, FORWARDED, HOST, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use axum::http::{HeaderMap, StatusCode, Uri};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::problem::Problem;
use crate::config::{HttpConfig, TokenScope};

/// What a stream's protocol header says before a token; a page cannot set other headers for a WebSocket.
const PROTOCOL_BEARER: &str = "bearer.";

/// What proxies and tunnels add beside `Forwarded`.
const FORWARDED_BY: [&str; 3] = ["x-forwarded-for", "x-real-ip", "cf-connecting-ip"];

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing that a token opens; it has a key of its own.
    Nothing,
    /// Reading.
    Read,
    /// Signals, and the levels of strategies.
    Trade,
    /// The level of the daemon.
    Admin,
}

type Known = (TokenScope, [u8; 32]);

/// The rules.
pub struct Access {
    tokens: Vec<Known>,
    hosts: Vec<String>,
    reads_are_open: bool,
}

impl Access {
    /// The rules for an interface that listens there.
    pub fn new(config: &HttpConfig, listen: SocketAddr) -> Access {
        let digest = |secret: &str| Sha256::digest(secret.as_bytes()).into();
        let tokens = config.tokens.iter().map(|token| (token.scope, digest(token.secret.expose_secret())));
        let closed = config.tokens.iter().any(|token| token.scope == TokenScope::Read);
        Access {
            tokens: tokens.collect(),
            hosts: config.hosts.clone(),
            reads_are_open: listen.ip().is_loopback() && !closed,
        }
    }

    /// Whether the request comes under a name of ours, and not from a page of another site.
    ///
    /// # Errors
    /// `forbidden_host`, `forbidden_origin`.
    pub fn check_site(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let forbidden = |reason, detail: String| Err(Problem::new(StatusCode::FORBIDDEN, reason, detail));
        let host = host_of(uri, headers);
        let name = host_name(host);
        if !is_address(name) && !self.hosts.iter().any(|known| name.eq_ignore_ascii_case(known)) {
            let detail = "Host: not an address, localhost, or one of http.hosts".to_owned();
            return forbidden("forbidden_host", detail);
        }
        match headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or_default()) {
            None => Ok(()),
            Some(origin) if same_site(origin, host) => Ok(()),
            Some(_) => forbidden("forbidden_origin", "Origin: a page of another site may not ask".to_owned()),
        }
    }

    /// Whether the request has a token that goes so far.
    ///
    /// # Errors
    /// `writes_off` without any token to write with, `unauthorized`, `forbidden`.
    pub fn check_token(&self, need: Need, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let scope = match need {
            Need::Nothing => return Ok(()),
            Need::Read if self.reads_are_open && is_direct(uri, headers) => return Ok(()),
            Need::Read => TokenScope::Read,
            Need::Trade => TokenScope::Trade,
            Need::Admin => TokenScope::Admin,
        };
        if self.tokens.is_empty() {
            let detail = "writing is off: there is no http.token_file";
            return Err(Problem::new(StatusCode::FORBIDDEN, "writes_off", detail));
        }
        let Some(token) = bearer(headers) else {
            let detail = format!("Authorization: no bearer token; this needs the scope {}", scope.as_str());
            return Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail));
        };
        match self.scope_of(token) {
            None => {
                Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "Authorization: an unknown token"))
            }
            Some(has) if has < scope => {
                let (has, scope) = (has.as_str(), scope.as_str());
                let detail = format!("Authorization: the token's scope is {has}, this needs {scope}");
                Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail))
            }
            Some(_) => Ok(()),
        }
    }

    /// The scope of a token; looks at every known one, and at each to its end.
    fn scope_of(&self, token: &str) -> Option<TokenScope> {
        let given: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut found = None;
        for (scope, known) in &self.tokens {
            let difference = known.iter().zip(&given).fold(0, |sum, (a, b)| sum | (a ^ b));
            if std::hint::black_box(difference) == 0 {
                found = Some(*scope);
            }
        }
        found
    }
}

/// Under which name and port it is asked for; empty when that is not clear.
fn host_of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> &'a str {
    let mut named = headers.get_all(HOST).iter();
    match (named.next(), named.next()) {
        (Some(host), None) => host.to_str().unwrap_or_default(),
        (None, _) => uri.authority().map(|authority| authority.as_str()).unwrap_or_default(),
        (Some(_), Some(_)) => "",
    }
}

/// Whether a name is an address, which nobody can point elsewhere, or this machine.
fn is_address(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost") || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

/// Whether no proxy or tunnel stands before us, behind which the whole world may be.
fn is_direct(uri: &Uri, headers: &HeaderMap) -> bool {
    is_address(host_name(host_of(uri, headers)))
        && !headers.contains_key(FORWARDED)
        && FORWARDED_BY.iter().all(|name| !headers.contains_key(*name))
}

/// A host without its port.
fn host_name(host: &str) -> &str {
    match host.rfind(']') {
        Some(end) => &host[..=end],
        None => host.split_once(':').map_or(host, |(name, _)| name),
    }
}

/// Whether a page of this origin was served by this host.
fn same_site(origin: &str, host: &str) -> bool {
    let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    rest.is_some_and(|rest| rest.eq_ignore_ascii_case(host))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        return Some(token.trim()).filter(|_| scheme.eq_ignore_ascii_case("bearer"));
    }
    let protocols = headers.get(SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    protocols.split(',').find_map(|protocol| protocol.trim().strip_prefix(PROTOCOL_BEARER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, TokenConfig};
    use secrecy::SecretString;

    const READ: &str = "read-read-read-read";
    const TRADE: &str = "trade-trade-trade-t";
    const ADMIN: &str = "admin-admin-admin-a";

    fn access(scopes: &[TokenScope], listen: &str) -> Access {
        let token = |scope: &TokenScope| {
            let text = [READ, TRADE, ADMIN][*scope as usize];
            TokenConfig { scope: *scope, secret: SecretString::from(text) }
        };
        let config = HttpConfig {
            listen: listen.parse().ok(),
            token_file: None,
            tokens: scopes.iter().map(token).collect(),
            hosts: vec!["bus.example".into()],
            ..Config::default().http
        };
        Access::new(&config, listen.parse().unwrap())
    }

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn word(result: Result<(), Problem>) -> String {
        result.map_or_else(|problem| problem.body(), |()| "ok".into())
    }

    #[test]
    fn names_and_origins() {
        let check = |list: &[(&'static str, &str)], expected: &str| {
            let access = access(&[], "127.0.0.1:8420");
            let shown = word(access.check_site(&Uri::from_static("/api/v1/info"), &headers(list)));
            assert!(shown.contains(expected), "{list:?}: {shown}");
        };
        check(&[("host", "127.0.0.1:8420")], "ok");
        check(&[("host", "LocalHost")], "ok");
        check(&[("host", "[::1]:8420")], "ok");
        check(&[("host", "192.168.1.7")], "ok");
        check(&[("host", "Bus.Example:443")], "ok");
        check(&[("host", "evil.example:8420")], "forbidden_host");
        check(&[("host", "127.0.0.1.evil.example")], "forbidden_host");
        check(&[("host", "localhost"), ("host", "evil.example")], "forbidden_host");
        check(&[], "forbidden_host");
        check(&[("host", "127.0.0.1:8420"), ("origin", "http://127.0.0.1:8420")], "ok");
        check(&[("host", "bus.example"), ("origin", "https://bus.example")], "ok");
        check(&[("host", "127.0.0.1:8420"), ("origin", "http://127.0.0.1:3000")], "forbidden_origin");
        check(&[("host", "127.0.0.1:8420"), ("origin", "https://evil.example")], "forbidden_origin");
        check(&[("host", "127.0.0.1:8420"), ("origin", "null")], "forbidden_origin");
    }

    #[test]
    fn tokens_open_what_they_should() {
        use TokenScope::{Admin, Read, Trade};
        let uri = Uri::from_static("/api/v1/info");
        let check = |scopes: &[TokenScope], listen: &str, need: Need, token: &str, expected: &str| {
            let given = format!("Bearer {token}");
            let mut list = vec![("host", "localhost")];
            list.extend((!token.is_empty()).then_some(("authorization", given.as_str())));
            let shown = word(access(scopes, listen).check_token(need, &uri, &headers(&list)));
            assert!(shown.contains(expected), "{scopes:?} {listen} {need:?} {token}: {shown}");
        };
        let (here, wide) = ("127.0.0.1:1", "0.0.0.0:1");
        check(&[], here, Need::Read, "", "ok");
        check(&[], here, Need::Trade, "", "\"writes_off\"");
        check(&[], here, Need::Nothing, "", "ok");
        check(&[Trade], here, Need::Read, "", "ok");
        check(&[Trade], here, Need::Read, "wrong", "ok");
        check(&[Trade], wide, Need::Read, "", "\"unauthorized\"");
        check(&[Read, Trade], here, Need::Read, "", "\"unauthorized\"");
        check(&[Read, Trade], here, Need::Read, READ, "ok");
        check(&[Read, Trade], here, Need::Read, TRADE, "ok");
        check(&[Read, Trade], here, Need::Trade, READ, "\"forbidden\"");
        check(&[Read, Trade], here, Need::Trade, TRADE, "ok");
        check(&[Read, Trade, Admin], here, Need::Admin, TRADE, "\"forbidden\"");
        check(&[Read, Trade, Admin], here, Need::Admin, ADMIN, "ok");
        check(&[Trade], here, Need::Trade, &TRADE[..18], "\"unauthorized\"");
        check(&[Trade], here, Need::Trade, "", "\"unauthorized\"");
        for (name, value) in [("host", "bus.example"), ("x-forwarded-for", "::1"), ("forwarded", "for=::1")] {
            let mut list = vec![(name, value)];
            list.extend((name != "host").then_some(("host", "127.0.0.1:1")));
            let shown = word(access(&[Trade], here).check_token(Need::Read, &uri, &headers(&list)));
            assert!(shown.contains("\"unauthorized\""), "{list:?}: {shown}");
        }
        let page = headers(&[("sec-websocket-protocol", &format!("tradebus, bearer.{READ}"))]);
        assert_eq!(access(&[Read], wide).check_token(Need::Read, &uri, &page), Ok(()));
        let basic = headers(&[("authorization", &format!("Basic {TRADE}"))]);
        assert!(access(&[Trade], here).check_token(Need::Trade, &uri, &basic).is_err());
    }
}
