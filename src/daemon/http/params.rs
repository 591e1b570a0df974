//! The parameters of a question. Nothing is guessed: an unknown one, one that comes twice, and a value that cannot be
//! are refused by name.

use crate::message::fields::short;
use crate::model::ids::{FeedId, StrategyId, StrategyType, Symbol};
use crate::model::time::Timestamp;
use crate::store::query::{Filter, LIMIT_DEFAULT, LIMIT_MAX};

use super::problem::Problem;

/// Parameters of one request.
#[derive(Debug)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Reads them; `known` are those that the question takes.
    ///
    /// # Errors
    /// `malformed`, with the parameter's name.
    pub fn read(query: Option<&str>, known: &[&str]) -> Result<Params, Problem> {
        let mut params: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !known.contains(&name.as_ref()) {
                let (name, known) = (short(&name), known.join(", "));
                let takes =
                    if known.is_empty() { "it takes none".into() } else { format!("it takes {known}") };
                return Err(Problem::malformed(format!("{name}: unknown parameter, {takes}")));
            }
            if params.iter().any(|(before, _)| *before == name) {
                return Err(Problem::malformed(format!("{name}: the parameter comes twice")));
            }
            params.push((name.into_owned(), value.into_owned()));
        }
        Ok(Params(params))
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn feed(&self) -> Result<Option<FeedId>, Problem> {
        self.parsed("feed", FeedId::new)
    }

    pub fn strategy(&self) -> Result<Option<StrategyId>, Problem> {
        self.parsed("strategy", StrategyId::new)
    }

    pub fn kind(&self) -> Result<Option<StrategyType>, Problem> {
        self.parsed("type", StrategyType::new)
    }

    pub fn symbol(&self) -> Result<Option<Symbol>, Problem> {
        self.parsed("symbol", Symbol::new)
    }

    /// One of some words.
    pub fn word(&self, name: &str, words: &[&'static str]) -> Result<Option<&'static str>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let found = words.iter().find(|word| **word == text).copied();
        let wrong =
            || Problem::malformed(format!("{name}: {:?} is not one of {}", short(text), words.join(", ")));
        found.map(Some).ok_or_else(wrong)
    }

    /// RFC 3339 with a zone, or milliseconds since 1970.
    fn time(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        self.parsed(name, |text| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            match text.parse::<i64>() {
                Ok(ms) if digits && Timestamp::from_ms(ms).as_ms() == ms => Ok(Timestamp::from_ms(ms)),
                _ => Timestamp::parse_rfc3339(text),
            }
        })
    }

    /// What a page of the history is asked for.
    pub fn filter(&self) -> Result<Filter, Problem> {
        let limit = match self.text("limit") {
            None => LIMIT_DEFAULT,
            Some(text) => {
                let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                limit.ok_or_else(|| {
                    Problem::malformed(format!("limit: {:?} is not 1 to {LIMIT_MAX}", short(text)))
                })?
            }
        };
        Ok(Filter {
            strategy: self.strategy()?,
            kind: self.kind()?,
            symbol: self.symbol()?,
            status: self.text("status").map(short),
            from: self.time("from")?,
            to: self.time("to")?,
            newest_first: self.word("order", &["newest", "oldest"])? != Some("oldest"),
            limit,
            cursor: self.text("cursor").map(str::to_owned),
        })
    }

    fn parsed<T, E: std::fmt::Display>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Problem> {
        let parsed = self.text(name).map(parse).transpose();
        parsed.map_err(|error| Problem::malformed(format!("{name}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_read_or_refused_by_name() {
        let known = ["strategy", "type", "symbol", "status", "from", "to", "limit", "cursor", "order"];
        let check = |query: &str, expected: &str| {
            let read = Params::read(Some(query), &known).and_then(|params| params.filter());
            let shown = read.map_or_else(|problem| problem.body(), |filter| format!("{filter:?}"));
            assert!(shown.contains(expected), "{query}: {shown}");
        };
        check("", "newest_first: true, limit: 100, cursor: None");
        check("strategy=a&symbol=BTC-USDT&order=oldest&limit=1000", "newest_first: false, limit: 1000");
        check("from=2026-11-20T20:00:05Z&to=1763668805000", "from: Some(");
        check("from=2026-11-20T21%3A00%3A05%2B01%3A00", "from: Some(");
        check("strategi=a", "strategi: unknown parameter, it takes strategy, type");
        check("strategy=a&strategy=b", "strategy: the parameter comes twice");
        check("limit=0", "limit: \\\"0\\\" is not 1 to 1000");
        check("limit=1001", "limit: \\\"1001\\\" is not 1 to 1000");
        check("limit=-1", "limit: \\\"-1\\\" is not 1 to 1000");
        check("order=up", "order: \\\"up\\\" is not one of newest, oldest");
        check("from=yesterday", "from: ");
        check("symbol=btc", "symbol: ");
        check("strategy=", "strategy: ");
    }
}
