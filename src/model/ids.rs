//! Names of things. Short ids are `Copy` and compare without following a pointer.

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $length:literal, $what:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(arrayvec::ArrayString<$length>);

        impl $name {
            /// The most bytes that this id may have.
            pub const LENGTH_MAX: usize = $length;

            /// Reads the id.
            ///
            /// # Errors
            /// When the text is empty, too long, or has a character that is not allowed.
            pub fn new(text: &str) -> Result<$name, IdError> {
                let allowed: fn(char) -> bool = $allowed;
                let error = |why: &'static str| IdError {
                    what: $what,
                    text: text.chars().take(64).collect(),
                    why,
                };
                if text.is_empty() {
                    return Err(error("it is empty"));
                }
                if !text.chars().all(allowed) {
                    return Err(error("it has a character that is not allowed"));
                }
                match arrayvec::ArrayString::from(text) {
                    Ok(inner) => Ok($name(inner)),
                    Err(_) => Err(error(concat!("it is longer than ", $length, " characters"))),
                }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }
    };
}

/// A text that cannot be the id it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}: {why}")]
pub struct IdError {
    what: &'static str,
    text: String,
    why: &'static str,
}

/// A topic level that needs no escaping anywhere: letters, digits, `_` and `-`.
fn word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

id!(
    /// A feed's name: letters, digits, `_`, `-`.
    FeedId, 32, "feed name", word
);
id!(
    /// A strategy's id: letters, digits, `_`, `-`.
    StrategyId, 32, "strategy id", word
);
id!(
    /// A strategy's type, such as `external` or `tradingview`.
    StrategyType, 16, "strategy type", |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
);
id!(
    /// A pair, `BASE-QUOTE` in capitals, optionally with `.SPOT` or `.PERP` behind it.
    Symbol, 24, "symbol", |c| c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, '-' | '.')
);
id!(
    /// A venue's name, such as `blofin`, or `paper` for markets that are recorded or synthetic.
    VenueId, 16, "venue name", word
);
impl VenueId {
    /// Whether it is no venue: orders stay in this process.
    pub fn is_paper(self) -> bool {
        self.as_str() == "paper"
    }
}

id!(
    /// Our id of an order: 32 characters of lowercase base32, unique over stores and restarts.
    ClientOrderId, 32, "order id", |c| c.is_ascii_lowercase() || matches!(c, '2'..='7')
);
id!(
    /// What tells one store from another: 32 hex digits, made once with the store.
    StoreId, 32, "store id", |c| c.is_ascii_hexdigit()
);

id!(
    /// An account's name in the configuration: letters, digits, `_`, `-`.
    AccountId, 32, "account name", word
);
id!(
    /// A venue's id of an order, a stop or an execution: letters, digits, `_`, `-`.
    VenueOrderId, 40, "venue's id", word
);

impl Symbol {
    /// The currency that is bought and sold: `BTC` of `BTC-USDT`.
    pub fn base(&self) -> &str {
        self.as_str().split('-').next().unwrap_or_default()
    }

    /// The currency that prices and money are in: `USDT` of `BTC-USDT`. Empty when there is no `-`.
    pub fn quote(&self) -> &str {
        let behind = self.as_str().split('-').nth(1).unwrap_or_default();
        behind.split('.').next().unwrap_or_default()
    }
}

/// The id of a signal: 1 to 128 characters without control characters, chosen by the sender.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SignalId(Box<str>);

impl SignalId {
    /// The most characters of a signal id.
    pub const LENGTH_MAX: usize = 128;

    /// Reads the id.
    ///
    /// # Errors
    /// When it is empty, longer than [`SignalId::LENGTH_MAX`] characters, or has a control character.
    pub fn new(text: &str) -> Result<SignalId, IdError> {
        let error = |why| IdError { what: "signal id", text: text.chars().take(64).collect(), why };
        if text.is_empty() {
            Err(error("it is empty"))
        } else if text.chars().count() > Self::LENGTH_MAX {
            Err(error("it is longer than 128 characters"))
        } else if text.chars().any(char::is_control) {
            Err(error("it has a control character"))
        } else {
            Ok(SignalId(text.into()))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for SignalId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_say_what_is_wrong() {
        let check = |text: &str, expected: &str| {
            let shown = StrategyId::new(text).map_or_else(|e| e.to_string(), |id| id.to_string());
            assert_eq!(shown, expected);
        };
        check("tv1", "tv1");
        check("", "\"\" is not a strategy id: it is empty");
        check("a/b", "\"a/b\" is not a strategy id: it has a character that is not allowed");
        let long = "x".repeat(33);
        check(&long, &format!("{long:?} is not a strategy id: it is longer than 32 characters"));
    }

    #[test]
    fn symbols_know_their_currencies() {
        let check = |text: &str, base: &str, quote: &str| {
            let symbol = Symbol::new(text).unwrap();
            assert_eq!((symbol.base(), symbol.quote()), (base, quote));
        };
        check("BTC-USDT", "BTC", "USDT");
        check("BTC-USDT.PERP", "BTC", "USDT");
        check("BTC", "BTC", "");
    }
}
