//! The configuration of `tradebus demo`: made as text and read like any other, so that it cannot be one that a file
//! could not say.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use super::effective::quoted;
use super::market::parse_symbol;
use super::{Config, Loaded, Problem, Sources};
use crate::model::ids::Symbol;

/// What a demo is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Demo<'a> {
    /// The directory of its store.
    pub store: &'a Path,
    /// Files to play, each `FILE` with the symbol in its name, or `SYMBOL=FILE`. None: the synthetic market.
    pub recordings: &'a [String],
    /// Where its broker listens.
    pub embedded_listen: SocketAddr,
}

impl Config {
    /// A synthetic market of three pairs, or the recordings in a loop; the embedded broker; a strategy `demo` for
    /// signals, `tv1` for TradingView alerts, and `bot1` for a bot that reads ticks.
    ///
    /// # Errors
    /// When a file does not exist, its symbol cannot be told, or the build has no embedded broker.
    pub fn demo(demo: Demo) -> Result<Loaded, Vec<Problem>> {
        let mut text =
            format!("[mqtt]\nbroker = \"embedded\"\nembedded_listen = \"{}\"\n", demo.embedded_listen);
        let symbols =
            if demo.recordings.is_empty() { synthetic(&mut text) } else { recorded(&mut text, demo)? };
        // A strategy has one quote currency; files of others are still published.
        let quote = symbols.first().map(|symbol| symbol.quote().to_owned()).unwrap_or_default();
        let traded: BTreeSet<Symbol> = symbols.into_iter().filter(|symbol| symbol.quote() == quote).collect();
        let strategies = [
            ("demo", "external", ""),
            ("tv1", "tradingview", "key_required = false\n"),
            ("bot1", "aibot", "ticks = true\n"),
        ];
        for (id, kind, more) in strategies {
            text.push_str(&format!(
                "\n[strategy.{id}]\ntype = \"{kind}\"\nsymbols = {}\nbalance = 10000\n\
                 default_size = {{ equity_pct = 10 }}\n{more}",
                list(traded.iter().copied())
            ));
        }
        let mut loaded = Config::load(&Sources::of_text(&text))?;
        // Set here, because a path need not be text.
        loaded.config.store.path = demo.store.to_owned();
        Ok(loaded)
    }
}

fn list(symbols: impl IntoIterator<Item = Symbol>) -> String {
    let quoted: Vec<String> = symbols.into_iter().map(|symbol| quoted(symbol.as_str())).collect();
    format!("[{}]", quoted.join(", "))
}

fn synthetic(text: &mut String) -> Vec<Symbol> {
    let prices = [("BTC-USDT", "97000", "0.1"), ("ETH-USDT", "3300", "0.01"), ("SOL-USDT", "240", "0.001")];
    let symbols: Vec<Symbol> = prices.iter().filter_map(|(symbol, ..)| parse_symbol(symbol).ok()).collect();
    text.push_str(&format!(
        "\n[feed.synthetic]\nsource = \"synthetic\"\nsymbols = {}\nstart_prices = {{ {} }}\n",
        list(symbols.iter().copied()),
        prices.map(|(symbol, price, _)| format!("{symbol} = {price}")).join(", ")
    ));
    for (symbol, _, tick) in prices {
        write!(text, "\n[instrument.{symbol}]\ntick_size = {tick}\nlot_size = 0.0001\n")
            .expect("a String takes all");
    }
    symbols
}

fn recorded(text: &mut String, demo: Demo) -> Result<Vec<Symbol>, Vec<Problem>> {
    let mut symbols: Vec<Symbol> = Vec::new();
    let mut files = String::new();
    let mut problems = Vec::new();
    for recording in demo.recordings {
        match symbol_and_file(recording) {
            Ok((symbol, file)) => {
                if !symbols.contains(&symbol) {
                    symbols.push(symbol);
                }
                files.push_str(&format!(
                    "\n[[feed.recording.files]]\npath = {}\nsymbol = \"{symbol}\"\n",
                    quoted(file)
                ));
            }
            Err(why) => problems.push(Problem::new("--recording", why)),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    // Recorded candles come once a minute or more seldom, so prices stay good for longer than those of a live feed.
    text.push_str(&format!(
        "\n[feed.recording]\nsource = \"recording\"\nsymbols = {}\nprice_stale_after_ms = 120000\n\
         clock = \"wall\"\nrepeat = true\n{files}",
        list(symbols.iter().copied())
    ));
    Ok(symbols)
}

/// Takes `SYMBOL=FILE` apart, or finds the symbol between the `_` of the file's name.
fn symbol_and_file(recording: &str) -> Result<(Symbol, &str), String> {
    if let Some((symbol, file)) = recording.split_once('=')
        && !symbol.contains(['/', '\\'])
    {
        return Ok((parse_symbol(symbol)?, file));
    }
    let name = Path::new(recording).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem =
        |part: &str| parse_symbol(part).or_else(|_| parse_symbol(part.split('.').next().unwrap_or_default()));
    let found: BTreeSet<Symbol> = name.split('_').filter_map(|part| stem(part).ok()).collect();
    match (found.first(), found.len()) {
        (Some(symbol), 1) => Ok((*symbol, recording)),
        _ => {
            Err(format!("{recording:?} has no symbol such as \"_BTC-USDT_\" in its name; write SYMBOL=FILE"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_found_in_file_names() {
        let check = |recording: &str, expected: &str| {
            let shown = symbol_and_file(recording)
                .map_or_else(|why| why, |(symbol, file)| format!("{symbol} {file}"));
            assert_eq!(shown, expected);
        };
        let named = "a/binance_spot_BTC-USDT_2024-08-08T2354_2024-08-09T0005.csv.gz";
        check(named, &format!("BTC-USDT {named}"));
        check("ETH-USDT.csv", "ETH-USDT ETH-USDT.csv");
        check("okx_ETH-USDT.PERP_1m.csv", "ETH-USDT.PERP okx_ETH-USDT.PERP_1m.csv");
        check("XRP-ETH=x_BTC-USDT_1.csv", "XRP-ETH x_BTC-USDT_1.csv");
        check("btc=x.csv", "\"btc\" is not a symbol; write BASE-QUOTE in capitals, such as \"BTC-USDT\"");
        check(
            "a_2024-08.csv",
            "\"a_2024-08.csv\" has no symbol such as \"_BTC-USDT_\" in its name; write SYMBOL=FILE",
        );
        let two = "x_BTC-USDT_ETH-USDT.csv";
        check(two, &format!("{two:?} has no symbol such as \"_BTC-USDT_\" in its name; write SYMBOL=FILE"));
    }
}
