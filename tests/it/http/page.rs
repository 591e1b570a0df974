//! `docs/API.md` is run from its first example to its last, and every answer is the one that the page shows. With
//! `UPDATE_GOLDEN=1` the answers are written into the page: read the difference.
//!
//! Ids of orders depend on the store, figures of health on the moment: those are masked.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tradebus::daemon::http::{OPENAPI, ROUTES};
use tradebus::model::signal::Reason;

use super::{Scene, TRADE, schema};
use crate::support::bus::Heard;
use crate::support::web::Web;

const PAGE: &str = "docs/API.md";
const COLUMNS: usize = 140;
/// Shown for the first order, the second, and so on.
const ORDER_IDS: [&str; 4] = [
    "gehmkpfsm6ec6rsii3vbz7ma4d3kwbks",
    "k5v3jhu2x7qwmdk4c6n2zrtla5yb3fpe",
    "r2ycw6mfa4tq7xk3dj5vhznls2bpu6ge",
    "w7dkq3zne5jvt2ra6xh4cylmb3sfp5gu",
];

/// An example: a request and the answer to it.
#[derive(Debug)]
struct Example {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
    /// The request as it stands on the page.
    asked: String,
    answer: String,
}

impl Example {
    /// Reads a block: the request, an empty line, a line that begins with the status, and the answer.
    fn read(block: &str) -> Example {
        let (asked, answer) = block.split_once("\n\nHTTP/1.1 ").expect("a request and an answer");
        let (head, body) = asked.split_once("\n\n").unwrap_or((asked, ""));
        let mut lines = head.lines();
        let (method, path) = lines.next().and_then(|line| line.split_once(' ')).expect("a method and a path");
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").expect("a header");
            (name.to_owned(), value.to_owned())
        };
        Example {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: lines.map(header).collect(),
            body: body.to_owned(),
            asked: asked.to_owned(),
            answer: format!("HTTP/1.1 {answer}"),
        }
    }

    fn is_measured(&self) -> bool {
        let path = self.path.as_str();
        path == "/metrics"
            || ["/api/v1/health", "/api/v1/feeds", "/api/v1/stream"]
                .iter()
                .any(|begin| path.starts_with(begin))
    }

    /// Asks, and gives the answer as the page shows it.
    async fn ask(&self, web: Web, ids: &mut BTreeMap<String, &'static str>) -> String {
        if self.path.starts_with("/api/v1/stream") {
            return streamed(web, &self.path).await;
        }
        let headers: Vec<(&str, &str)> = self.headers.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let answer = web.ask(&self.method, &self.path, &headers, &self.body).await;
        let text = with_known_ids(answer.text(), ids).replace(env!("CARGO_PKG_VERSION"), "0.1.0");
        let text = match self.path.as_str() {
            "/metrics" => {
                excerpt(&text, &["tradebus_memory_bytes", "tradebus_fills", "tradebus_command_seconds_"])
            }
            "/api/v1/openapi.json" => excerpt(&text, &["\"openapi\": \"3"]),
            _ => wrapped(&text),
        };
        let mut shown =
            format!("HTTP/1.1 {}\ncontent-type: {}\n", answer.status, answer.header("content-type"));
        for name in ["etag", "retry-after", "www-authenticate"] {
            if answer.headers.contains_key(name) && (name != "etag" || self.path.ends_with("BTC-USDT")) {
                shown += &format!("{name}: {}\n", answer.header(name));
            }
        }
        format!("{shown}\n{text}")
    }
}

/// The messages of a stream until its beginning is complete.
async fn streamed(web: Web, path: &str) -> String {
    let mut stream = web.stream(path, &[]).await.expect("a stream");
    let mut shown = String::from("HTTP/1.1 101\n");
    loop {
        let (_, text) = stream.frame().await;
        let text = String::from_utf8(text).expect("UTF-8");
        shown += &format!("\n{}", wrapped(&text));
        if text.contains(r#""topic":"stream""#) {
            return shown;
        }
    }
}

/// Puts known ids of orders in the place of those that there are.
fn with_known_ids(text: &str, ids: &mut BTreeMap<String, &'static str>) -> String {
    let mut shown = String::new();
    for (index, part) in text.split('"').enumerate() {
        let (id, rest) = part.split_at_checked(32).unwrap_or((part, ""));
        let is_id =
            id.len() == 32 && id.bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b));
        let count = ids.len();
        let id = if is_id { ids.entry(id.to_owned()).or_insert_with(|| ORDER_IDS[count]) } else { id };
        shown += &format!("{}{id}{rest}", if index == 0 { "" } else { "\"" });
    }
    shown
}

/// Breaks a long line behind commas.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for part in text.split_inclusive(",\"") {
        // The quote belongs to what follows.
        let part = part.strip_suffix('"').unwrap_or(part);
        let begins = lines.iter().any(|line| !line.is_empty());
        let part = if begins { format!("\"{part}") } else { part.to_owned() };
        let last = lines.last_mut().expect("a line");
        if last.is_empty() || last.len() + part.len() <= COLUMNS {
            last.push_str(&part);
        } else {
            lines.push(part);
        }
    }
    lines.join("\n ")
}

/// Only the lines that have one of these words, and a mark where others are left out.
fn excerpt(text: &str, words: &[&str]) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| words.iter().any(|word| line.contains(word))).collect();
    lines.join("\n") + "\n..."
}

/// Without line breaks, and without the figures of the moment.
fn comparable(answer: &str, measured: bool) -> String {
    let joined = answer.replace("\n ", "");
    if !measured {
        return joined;
    }
    // A recorded clock may stand anywhere between the recording's ends when a feed tells of itself.
    let joined = joined.replace("null", "0").replace("T20:00:", "T20:01:").replace(":20.000Z", ":00.000Z");
    let joined = joined.replace(":40.000Z", ":00.000Z");
    let mut shown = String::new();
    for word in joined.split_inclusive([':', ',', ' ', '\n', '}', ']']) {
        let figure = word.trim_end_matches([',', '\n', '}', ']', ' ']);
        let is_figure = figure.parse::<f64>().is_ok();
        shown += &if is_figure { word.replacen(figure, "#", 1) } else { word.to_owned() };
    }
    shown
}

#[tokio::test]
async fn every_example_of_the_page_is_true() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(&path).expect("the page");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut scene = Scene::start().await;
    let ended = |heard: &Heard| heard.json("feed/tape").is_some_and(|feed| feed["ended"] == true);
    scene.bus.until("the recording's end", ended).await;
    let mut ids = BTreeMap::new();
    let mut parts = page.split("```http\n");
    let mut written = parts.next().unwrap_or_default().to_owned();
    let mut wrong = Vec::new();
    let mut asked = Vec::new();
    for part in parts {
        let (block, rest) = part.split_once("\n```").expect("a block");
        let example = Example::read(block);
        scene.history(TRADE).await;
        let answer = example.ask(scene.web, &mut ids).await;
        let measured = example.is_measured();
        if comparable(&answer, measured) != comparable(&example.answer, measured) {
            let (method, path) = (&example.method, &example.path);
            wrong.push(format!("{method} {path}\n  is    {answer}\n  shown {}", example.answer));
            written += &format!("```http\n{}\n\n{answer}\n```{rest}", example.asked);
        } else {
            written += &format!("```http\n{block}\n```{rest}");
        }
        wrong.extend(schema::problems_of(&example.method, &example.path, &answer));
        asked.push((example.method, example.path.split('?').next().unwrap_or_default().to_owned()));
    }
    if update {
        std::fs::write(&path, written).expect("the page");
    } else {
        assert!(wrong.is_empty(), "{PAGE} is not true:\n{}", wrong.join("\n"));
    }
    for (method, route) in ROUTES {
        let shown = asked.iter().any(|(asked, path)| asked == method && schema::is_route(route, path));
        assert!(shown, "{PAGE} has no example for {method} {route}");
    }
}

/// The description for programs names every path and method, and no other; and the server has each of them.
#[tokio::test]
async fn the_description_is_of_this_server() {
    let described: Value = serde_json::from_str(OPENAPI).expect("JSON");
    assert_eq!(described["openapi"], "3.1.0");
    let paths = described["paths"].as_object().expect("paths");
    let mut names: Vec<(String, String)> = Vec::new();
    for (path, methods) in paths {
        let methods = methods.as_object().expect("methods");
        names.extend(methods.keys().map(|method| (method.to_uppercase(), path.clone())));
    }
    names.sort();
    let mut routes = ROUTES.map(|(method, path)| (method.to_owned(), path.to_owned()));
    routes.sort();
    assert_eq!(names, routes);
    let scene = Scene::start().await;
    assert_eq!(scene.web.get("/api/v1/openapi.json").await.text(), OPENAPI);
    for (method, route) in ROUTES {
        let path = route.replace("{feed}", "tape").replace("{symbol}", "BTC-USDT");
        let path = path.replace("{id}", "alpha").replace("{strategy}", "tv1");
        let answer = scene.web.send(method, &path, super::ADMIN, "").await;
        assert!(![404, 405].contains(&answer.status), "{method} {path}: {}", answer.status);
        let told = &described["paths"][route][method.to_lowercase()]["responses"];
        assert!(
            told[answer.status.to_string()].is_object(),
            "{method} {route}: {} is not described",
            answer.status
        );
    }
    let reasons = &described["components"]["schemas"]["Problem"]["properties"]["reason"]["enum"];
    let known = |word: &str| reasons.as_array().is_some_and(|words| words.iter().any(|known| known == word));
    for reason in Reason::ALL {
        assert!(known(reason.as_str()), "{} is not described", reason.as_str());
    }
}

/// The dashboard shows only what the daemon tells, and what it tells is in the form of Prometheus.
#[tokio::test]
async fn the_dashboard_asks_for_figures_that_exist() {
    const DASHBOARD: &str = include_str!("../../../deploy/grafana/tradebus.json");
    let scene = Scene::start().await;
    let answer = scene.web.get("/metrics").await;
    let mut told = std::collections::BTreeSet::new();
    for line in answer.text().lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        told.insert(name.split('{').next().expect("a name").to_owned());
    }
    let _: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let shown = DASHBOARD.match_indices("tradebus_").map(|(start, _)| {
        let rest = &DASHBOARD[start..];
        &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())]
    });
    let missing: Vec<&str> = shown.filter(|name| !told.contains(*name)).collect();
    assert_eq!(missing, [""; 0], "{}", answer.text());
    for name in ["tradebus_command_seconds_bucket", "tradebus_feed_age_seconds", "tradebus_memory_bytes"] {
        let help = format!("# TYPE {}", name.trim_end_matches("_bucket"));
        assert!(told.contains(name) && answer.text().contains(&help), "{name}");
    }
}
