//! TradingView's names of markets, and which of ours they mean.
//!
//! `BLOFIN:BTCUSDT.P` is an exchange, a pair without a separator, and `.P` for a perpetual. The pair is cut at a known
//! quote currency; where that fails or would be wrong (`1000PEPEUSDT.P`), the override table says what is meant.

use super::TradingViewSettings;
use super::body::{Field, malformed};
use crate::message::fields::short;
use crate::model::ids::Symbol;
use crate::model::signal::{Reason, Refusal};

/// Quote currencies, longest first. Those that end another pair's name (`TUSD` in `DOTUSD`, `BUSD` in `BNBUSD`) are
/// left to the override table.
const QUOTES: [&str; 16] = [
    "FDUSD", "USDT", "USDC", "EURC", "USD", "EUR", "GBP", "JPY", "CHF", "AUD", "TRY", "BRL", "KRW", "BTC",
    "ETH", "BNB",
];

/// What kind of market a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Spot,
    Perpetual,
}

/// The symbol that an alert means. `exchange` is a field of its own, if there is one.
///
/// # Errors
/// `unknown_symbol` when the name cannot be read, or the exchange is not accepted; `malformed` when two fields name
/// different exchanges.
pub(super) fn symbol_of(
    settings: &TradingViewSettings,
    ticker: &Field,
    exchange: Option<&Field>,
) -> Result<Symbol, Refusal> {
    let whole = ticker.text.to_ascii_uppercase();
    let (prefix, pair) = match whole.split_once(':') {
        Some((prefix, pair)) => (Some(prefix.to_string()), pair),
        None => (None, whole.as_str()),
    };
    let named = exchange.map(|field| field.text.to_ascii_uppercase());
    if let (Some(prefix), Some(named), Some(field)) = (&prefix, &named, exchange)
        && prefix != named
    {
        return Err(field.wrong(&format!(
            "{:?} is not the {:?} of {}",
            short(named),
            short(prefix),
            ticker.path
        )));
    }
    let exchange = prefix.or(named).filter(|exchange| !exchange.is_empty());
    let full = exchange.as_ref().map(|exchange| format!("{exchange}:{pair}"));
    if let Some(symbol) = full.as_ref().and_then(|full| settings.overridden(full)) {
        return Ok(symbol);
    }
    let (kind, plain) = kind_of(pair);
    if let Some(exchange) = &exchange {
        check_exchange(settings, exchange, kind)?;
    }
    if let Some(symbol) = settings.overridden(pair) {
        return Ok(symbol);
    }
    let symbol = split(plain).and_then(|(base, quote)| Symbol::new(&format!("{base}-{quote}")).ok());
    symbol.ok_or_else(|| {
        let detail = format!(
            "{}: {} is no pair with a known quote currency; name it in overrides",
            short(&ticker.path),
            ticker.quoted()
        );
        Refusal::new(Reason::UnknownSymbol, detail)
    })
}

impl TradingViewSettings {
    fn overridden(&self, name: &str) -> Option<Symbol> {
        let found = self.overrides.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, symbol)| *symbol)
    }

    /// Checks an entry of `accept_from`: `BINANCE`, `BINANCE:SPOT` or `BINANCE:PERP`.
    ///
    /// # Errors
    /// `malformed` when it is none of these.
    pub fn check_accept_from(entry: &str) -> Result<(), Refusal> {
        let (exchange, kind) = entry.split_once(':').unwrap_or((entry, "SPOT"));
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let known = ["SPOT", "PERP"].iter().any(|known| known.eq_ignore_ascii_case(kind));
        if known && !exchange.is_empty() && exchange.chars().all(word) {
            return Ok(());
        }
        Err(malformed(&format!("{:?} is not like BINANCE, BINANCE:SPOT or BINANCE:PERP", short(entry))))
    }
}

/// An alert of another exchange, or of its spot market, is about another price: only with the user's word for it.
fn check_exchange(settings: &TradingViewSettings, exchange: &str, kind: Kind) -> Result<(), Refusal> {
    let Some(ours) = &settings.exchange else { return Ok(()) };
    let word = if kind == Kind::Spot { "SPOT" } else { "PERP" };
    let own = ours.eq_ignore_ascii_case(exchange) && kind == Kind::Perpetual;
    let accepted = settings.accept_from.iter().any(|entry| match entry.split_once(':') {
        Some((name, kind)) => name.eq_ignore_ascii_case(exchange) && kind.eq_ignore_ascii_case(word),
        None => entry.eq_ignore_ascii_case(exchange),
    });
    if own || accepted {
        return Ok(());
    }
    let exchange = short(exchange);
    let detail = format!("exchange: {exchange}:{word} is not the strategy's {ours}:PERP, nor in accept_from");
    Err(Refusal::new(Reason::UnknownSymbol, detail))
}

fn kind_of(pair: &str) -> (Kind, &str) {
    let perpetual = [".P", "-SWAP", ".PERP"].iter().find_map(|ending| pair.strip_suffix(ending));
    match perpetual {
        Some(plain) => (Kind::Perpetual, plain),
        None => (Kind::Spot, pair.strip_suffix(".SPOT").unwrap_or(pair)),
    }
}

fn split(pair: &str) -> Option<(&str, &str)> {
    let (base, quote) = match pair.split_once(['-', '/', '_']) {
        Some(parts) => parts,
        None => {
            let quote = QUOTES.iter().find(|quote| pair.ends_with(*quote) && pair.len() > quote.len())?;
            pair.split_at(pair.len() - quote.len())
        }
    };
    let word =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    (word(base) && word(quote)).then_some((base, quote))
}

#[cfg(test)]
mod tests {
    use super::super::body::Body;
    use super::*;

    /// `ticker [exchange]`, for a strategy at BloFin that also accepts Binance's perpetuals and all of Bybit.
    fn check(ticker: &str, exchange: Option<&str>, expected: &str) {
        let symbol = |text: &str| Symbol::new(text).unwrap();
        let settings = TradingViewSettings {
            exchange: Some("BLOFIN".into()),
            overrides: [
                ("1000PEPEUSDT.P".to_string(), symbol("PEPE-USDT")),
                ("KRAKEN:XBTUSD".to_string(), symbol("BTC-USD")),
            ]
            .into(),
            accept_from: vec!["binance:perp".into(), "BYBIT".into()],
            ..TradingViewSettings::default()
        };
        let exchange = exchange.map_or(String::new(), |exchange| format!(r#","exchange":"{exchange}""#));
        let body = Body::read(format!(r#"{{"ticker":"{ticker}"{exchange}}}"#).as_bytes()).ok().unwrap();
        let shown = match symbol_of(&settings, body.any(&["ticker"]).unwrap(), body.any(&["exchange"])) {
            Ok(symbol) => symbol.to_string(),
            Err(refusal) => refusal.detail,
        };
        assert_eq!(shown, expected, "{ticker} {exchange}");
    }

    #[test]
    fn names_of_markets() {
        check("BLOFIN:BTCUSDT.P", None, "BTC-USDT");
        check("BTCUSDT.P", Some("blofin"), "BTC-USDT");
        check("btcusdt", None, "BTC-USDT");
        check("BTC-USDT", None, "BTC-USDT");
        check("BTC/USDT", None, "BTC-USDT");
        check("BTC-USDT-SWAP", None, "BTC-USDT");
        check("ETHBTC", None, "ETH-BTC");
        check("BTCUSDC.P", None, "BTC-USDC");
        check("DOTUSD", None, "DOT-USD");
        check("BNBUSD", None, "BNB-USD");
        check("BINANCE:BTCUSDT.P", None, "BTC-USDT");
        check("BYBIT:BTCUSDT", None, "BTC-USDT");
        check("1000PEPEUSDT.P", Some("BLOFIN"), "PEPE-USDT");
        check("KRAKEN:XBTUSD", None, "BTC-USD");
        let alien =
            |name: &str| format!("exchange: {name} is not the strategy's BLOFIN:PERP, nor in accept_from");
        check("BINANCE:BTCUSDT", None, &alien("BINANCE:SPOT"));
        check("BLOFIN:BTCUSDT", None, &alien("BLOFIN:SPOT"));
        check("BLOFIN_DLY:BTCUSDT.P", None, &alien("BLOFIN_DLY:PERP"));
        check("KRAKEN:1000PEPEUSDT.P", None, &alien("KRAKEN:PERP"));
        check("BLOFIN:BTCUSDT.P", Some("BYBIT"), "exchange: \"BYBIT\" is not the \"BLOFIN\" of ticker");
        for name in ["BTC", "USDT", "BTC1!", "BTCUSDZ2026", "", "BTC-USDT-USD", "B TC-USDT", "AAPL", "-USDT"]
        {
            check(
                name,
                None,
                &format!("ticker: {name:?} is no pair with a known quote currency; name it in overrides"),
            );
        }
    }

    #[test]
    fn entries_of_accept_from() {
        let check = |entry: &str, good: bool| {
            assert_eq!(TradingViewSettings::check_accept_from(entry).is_ok(), good, "{entry}");
        };
        check("BINANCE", true);
        check("binance:spot", true);
        check("OKX:PERP", true);
        check("", false);
        check(":PERP", false);
        check("BINANCE:FUTURES", false);
        check("BINANCE SPOT", false);
    }
}
