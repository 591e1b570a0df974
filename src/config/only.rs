//! The configuration of a command that looks at one feed: the others and the strategies are left out.

use super::effective::feed_toml;
use super::feed::FeedConfig;
use super::{Config, Problem, Sources};
use crate::model::ids::Symbol;

impl Config {
    /// Leaves this feed, or the only one there is. With `symbols` it is BloFin's, of these pairs: as configured, or
    /// with default settings where it is not.
    ///
    /// # Errors
    /// When it is not clear which one is meant, or BloFin cannot have these pairs.
    pub fn only_feed(&mut self, named: Option<&str>, symbols: &[Symbol]) -> Result<(), Vec<Problem>> {
        self.strategies.clear();
        let mut feed = self.one_feed(named, symbols).map_err(|problem| vec![problem])?;
        if !symbols.is_empty() {
            feed.symbols = symbols.to_vec();
            // Read like any other, so that it cannot be one that a file could not say.
            feed = Config::load(&Sources::of_text(&feed_toml(&feed)))?.config.feeds.remove(0);
        }
        self.feeds = vec![feed];
        Ok(())
    }

    fn one_feed(&self, named: Option<&str>, symbols: &[Symbol]) -> Result<FeedConfig, Problem> {
        let wrong = |option: &str, text: String| Err(Problem::new(option, text));
        let names: Vec<&str> = self.feeds.iter().map(|feed| feed.id.as_str()).collect();
        let names = names.join(", ");
        let feed = match named {
            Some(name) => self.feeds.iter().find(|feed| feed.id.as_str() == name),
            None if !symbols.is_empty() => {
                let Some(feed) = self.feeds.iter().find(|feed| feed.is_venue()) else { return Ok(blofin()) };
                Some(feed)
            }
            None if self.feeds.len() > 1 => {
                return wrong("--feed", format!("there are several feeds; name one of {names}"));
            }
            None => self.feeds.first(),
        };
        match (feed, named) {
            (Some(feed), _) if feed.is_venue() || symbols.is_empty() => Ok(feed.clone()),
            (Some(feed), _) => {
                let text =
                    format!("only BloFin can be asked for other pairs; the feed {:?} has its own", feed.id);
                wrong("--symbol", text)
            }
            (None, Some(name)) if !names.is_empty() => {
                wrong("--feed", format!("{name:?} is not a feed; there are {names}"))
            }
            (None, _) => {
                wrong("--symbol", "there is no feed in the configuration; name pairs of BloFin".into())
            }
        }
    }
}

/// BloFin with the defaults of its keys.
fn blofin() -> FeedConfig {
    let text = "[feed.blofin]\nsymbols = [\"BTC-USDT\"]\n";
    let loaded = Config::load(&Sources::of_text(text)).expect("it is what the page shows");
    loaded.config.feeds.into_iter().next().expect("it has a feed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FeedSource;

    /// The feed that is left, or the problem.
    fn check(text: &str, named: Option<&str>, symbols: &[&str], expected: &str) {
        let mut config = Config::load(&Sources::of_text(text)).unwrap().config;
        let symbols: Vec<Symbol> = symbols.iter().map(|name| Symbol::new(name).unwrap()).collect();
        let shown = match config.only_feed(named, &symbols) {
            Ok(()) => {
                let [feed] = config.feeds.as_slice() else { panic!("{:?}", config.feeds) };
                let symbols: Vec<&str> = feed.symbols.iter().map(Symbol::as_str).collect();
                let FeedConfig { id, price_stale_after_ms, .. } = feed;
                let polls = matches!(feed.source, FeedSource::Blofin { poll_only: true, .. });
                format!("{id} {} {price_stale_after_ms} {polls}", symbols.join(","))
            }
            Err(problems) => problems[0].to_string(),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn one_feed_is_left() {
        let synthetic =
            "[feed.synthetic]\nsymbols = [\"A-B\"]\n[strategy.s]\ntype = \"external\"\nsymbols = [\"A-B\"]\n";
        let two = "[feed.b]\nsource = \"blofin\"\nmode = \"poll\"\nprice_stale_after_ms = 5000\nsymbols = [\"C-D\"]\n\
                   [feed.synthetic]\nsymbols = [\"A-B\"]\n";
        check(synthetic, None, &[], "synthetic A-B 15000 false");
        check(synthetic, None, &["X-Y"], "blofin X-Y 15000 false");
        check("", None, &["X-Y", "A-B"], "blofin X-Y,A-B 15000 false");
        check(two, None, &["X-Y"], "b X-Y 5000 true");
        check(two, Some("b"), &[], "b C-D 5000 true");
        check(two, Some("synthetic"), &[], "synthetic A-B 15000 false");
        check(two, None, &[], "--feed: there are several feeds; name one of b, synthetic");
        check(two, Some("c"), &[], "--feed: \"c\" is not a feed; there are b, synthetic");
        let own = "--symbol: only BloFin can be asked for other pairs; the feed \"synthetic\" has its own";
        check(two, Some("synthetic"), &["X-Y"], own);
        let none = "--symbol: there is no feed in the configuration; name pairs of BloFin";
        check("", None, &[], none);
        check("", Some("x"), &[], none);
        let spot =
            "feed.blofin.symbols[0]: \"A-B.SPOT\" is a spot pair, which is not available in this version";
        check("", None, &["A-B.SPOT"], spot);
        check(
            "",
            None,
            &["AB"],
            "feed.blofin.symbols[0]: \"AB\" is not a symbol; write BASE-QUOTE in capitals, such as \"BTC-USDT\"",
        );
    }
}
