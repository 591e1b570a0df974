//! A running daemon asked over HTTP, for the commands that else speak MQTT.
//!
//! What is read becomes the topics and payloads that MQTT has, from the very bytes of the answers, so that everything
//! behind it is the same for both ways. Limits: 5 s for the connection, 10 s and 8 MiB for an answer.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::arguments::BusArguments;
use super::exit::{Exit, Failure};
use super::payload;
use crate::config::{Config, TokenConfig, TokenScope, read_token_file};
use crate::daemon::tls;

const CONNECT_MAX: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The way to one daemon.
pub struct Web {
    /// Its address without a slash at the end.
    pub address: String,
    tokens: Vec<TokenConfig>,
    client: Client,
}

/// What was answered.
struct Answer {
    status: u16,
    body: String,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
}

impl Web {
    /// The way to the daemon at the address that the arguments name, if they do.
    ///
    /// # Errors
    /// [`Exit::USAGE`] when the address or the token file cannot be used.
    pub fn named(arguments: &BusArguments, config: &Config) -> Result<Option<Web>, Failure> {
        let Some(address) = &arguments.http else { return Ok(None) };
        let usage = |text: String| Failure::new(Exit::USAGE, text);
        let rest = address.strip_prefix("http://").or_else(|| address.strip_prefix("https://"));
        let host = rest.map(|rest| rest.trim_end_matches('/'));
        let plain = |host: &&str| !host.is_empty() && !host.contains(['@', '?', '#', '/']);
        let Some(host) = host.filter(plain) else {
            let text = "--http: is not an address; write http://HOST:PORT, without a user and a path";
            return Err(usage(text.to_owned()));
        };
        let own = config.http.listen.is_some_and(|listen| listen.to_string() == host);
        let tokens = match &arguments.token_file {
            Some(file) => read_token_file(file).map_err(|why| usage(format!("--token-file: {why}")))?,
            // Those of the configuration are for the daemon of this configuration and nobody else.
            None if own => config.http.tokens.clone(),
            None => Vec::new(),
        };
        let secure = if address.starts_with("https:") { tls::client(None) } else { tls::plain() };
        let client = secure.and_then(|secure| {
            let builder = Client::builder()
                .timeout(ANSWER_MAX)
                .connect_timeout(CONNECT_MAX)
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .tls_backend_preconfigured(secure);
            builder.build().map_err(|error| error.to_string())
        });
        let client = client.map_err(Failure::unavailable)?;
        Ok(Some(Web { address: address.trim_end_matches('/').to_owned(), tokens, client }))
    }

    /// Topics and payloads that match `filters`, both without the base.
    ///
    /// # Errors
    /// [`Exit::UNAVAILABLE`] when the daemon does not answer, or refuses.
    pub async fn read(&self, filters: &[String]) -> Result<BTreeMap<String, String>, Failure> {
        let mut found = BTreeMap::new();
        for filter in filters {
            match filter.split('/').collect::<Vec<_>>().as_slice() {
                ["daemon", "info"] => self.one("info", filter, &mut found).await?,
                ["portfolio", "state"] => self.one("portfolio", filter, &mut found).await?,
                ["daemon", "level"] => {
                    let level = self.ask("level").await?.body;
                    found.insert(filter.clone(), payload::field(&payload::read(&level), "level"));
                }
                ["feed", _] => {
                    self.list("feeds", |feed| format!("feed/{}", feed("feed")), &mut found).await?
                }
                ["type", _, "state"] => self.types(&mut found).await?,
                ["strategy", _, "position", _] => {
                    let topic = |of: &dyn Fn(&str) -> String| {
                        format!("strategy/{}/position/{}", of("strategy"), of("symbol"))
                    };
                    self.list("positions", topic, &mut found).await?;
                }
                ["strategy", _, "state"] => {
                    let topic = |of: &dyn Fn(&str) -> String| format!("strategy/{}/state", of("strategy"));
                    self.list("strategies", topic, &mut found).await?;
                }
                [.., "kpi"] => self.list("kpis", |of| format!("{}/kpi", of("scope")), &mut found).await?,
                _ => return Err(Failure::new(Exit::INTERNAL, format!("{filter} has no path over HTTP"))),
            }
        }
        Ok(found)
    }

    /// Sends a signal and gives the payload of its result; `None` when there was none in time.
    ///
    /// # Errors
    /// [`Exit::UNAVAILABLE`] when the daemon cannot be reached, or refuses without a result.
    pub async fn signal(
        &self,
        strategy: &str,
        payload: String,
        wait: Duration,
    ) -> Result<Option<String>, Failure> {
        let request =
            self.request(Method::POST, &format!("strategies/{strategy}/signals"), TokenScope::Trade);
        let answer = match self.send(request.timeout(wait).body(payload)).await {
            Err(error) if error.is_timeout() && !error.is_connect() => return Ok(None),
            other => other.map_err(|error| self.unreachable(&error))?,
        };
        if answer.status == 200 {
            return Ok(Some(answer.body));
        }
        #[derive(Deserialize)]
        struct Refused<'a> {
            #[serde(borrow)]
            result: Option<&'a RawValue>,
        }
        let refused = serde_json::from_str::<Refused>(&answer.body).ok().and_then(|refused| refused.result);
        match refused {
            Some(result) => Ok(Some(result.get().to_owned())),
            None => Err(self.refused(&answer)),
        }
    }

    async fn one(
        &self,
        path: &str,
        topic: &str,
        found: &mut BTreeMap<String, String>,
    ) -> Result<(), Failure> {
        let answer = self.send(self.request(Method::GET, path, TokenScope::Read)).await;
        match answer.map_err(|error| self.unreachable(&error))? {
            Answer { status: 200, body } => drop(found.insert(topic.to_owned(), body)),
            // Nothing is retained there either.
            Answer { status: 404, .. } => {}
            answer => return Err(self.refused(&answer)),
        }
        Ok(())
    }

    async fn list(
        &self,
        path: &str,
        topic: impl Fn(&dyn Fn(&str) -> String) -> String,
        found: &mut BTreeMap<String, String>,
    ) -> Result<(), Failure> {
        let answer = self.ask(path).await?;
        for item in self.items(&answer)? {
            let value = payload::read(item);
            let of = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            found.insert(topic(&of), item.to_owned());
        }
        Ok(())
    }

    /// The states of all types that strategies have.
    async fn types(&self, found: &mut BTreeMap<String, String>) -> Result<(), Failure> {
        let answer = self.ask("strategies").await?;
        for item in self.items(&answer)? {
            let kind = payload::field(&payload::read(item), "type");
            let topic = format!("type/{kind}/state");
            if !found.contains_key(&topic) {
                self.one(&format!("portfolio?type={kind}"), &topic, found).await?;
            }
        }
        Ok(())
    }

    fn items<'a>(&self, answer: &'a Answer) -> Result<Vec<&'a str>, Failure> {
        match serde_json::from_str::<Page>(&answer.body) {
            Ok(page) => Ok(page.items.into_iter().map(RawValue::get).collect()),
            Err(_) => Err(Failure::unavailable(format!("{} is not a daemon of ours", self.address))),
        }
    }

    async fn ask(&self, path: &str) -> Result<Answer, Failure> {
        let answer = self.send(self.request(Method::GET, path, TokenScope::Read)).await;
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        if answer.status == 200 { Ok(answer) } else { Err(self.refused(&answer)) }
    }

    /// With the token that goes just far enough.
    fn request(&self, method: Method, path: &str, scope: TokenScope) -> RequestBuilder {
        let request = self.client.request(method, format!("{}/api/v1/{path}", self.address));
        let enough = self.tokens.iter().filter(|token| token.scope >= scope);
        match enough.min_by_key(|token| token.scope) {
            Some(token) => {
                let secret: &SecretString = &token.secret;
                request.bearer_auth(secret.expose_secret())
            }
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, reqwest::Error> {
        let mut answer = request.send().await?;
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                // Cut off, it is no JSON any more, and refused as that.
                break;
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let why = if error.is_timeout() { "it took too long".to_owned() } else { cause.to_string() };
        Failure::unavailable(format!("cannot reach the daemon at {}: {why}", self.address))
    }

    fn refused(&self, answer: &Answer) -> Failure {
        let problem = payload::read(&answer.body);
        let (reason, detail) = (payload::field(&problem, "reason"), payload::field(&problem, "detail"));
        let said = match reason.as_str() {
            "-" => format!("it answers {}, and is not a daemon of ours", answer.status),
            _ => format!("{reason}: {detail}"),
        };
        Failure::unavailable(format!("the daemon at {} refuses: {said}", self.address))
    }
}
