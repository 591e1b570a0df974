//! `[http]`: where the HTTP interface listens, and who may do what there.
//!
//! Limits: 32 tokens of 16 to 128 characters, 32 names of hosts.

use std::net::SocketAddr;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use super::reader::Table;
use super::schema::HTTP_LISTEN_DEFAULT;
use super::secret::read_secret;

/// The most lines of a token file that name a token.
const TOKENS_MAX: usize = 32;
/// How long a token must and may be, in characters.
const TOKEN_CHARS: std::ops::RangeInclusive<usize> = 16..=128;
/// The most names of hosts.
const HOSTS_MAX: usize = 32;

/// The HTTP interface.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Where it listens; `None` turns it off. Port 0 takes a free one, which is logged.
    pub listen: Option<SocketAddr>,
    /// The file of the tokens, when it could be read.
    pub token_file: Option<PathBuf>,
    /// Who may do what. Not empty when it listens beyond the loopback.
    pub tokens: Vec<TokenConfig>,
    /// Names under which it may be asked for, beside addresses and `localhost`, in lower case.
    pub hosts: Vec<String>,
}

/// A token and what it opens.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    /// How far it goes.
    pub scope: TokenScope,
    /// What a caller must know.
    pub secret: SecretString,
}

/// How far a token goes; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenScope {
    /// Reading.
    Read,
    /// Signals, and the levels of strategies.
    Trade,
    /// The level of the whole daemon too.
    Admin,
}

impl TokenScope {
    /// The word in the token file.
    pub fn as_str(self) -> &'static str {
        match self {
            TokenScope::Read => "read",
            TokenScope::Trade => "trade",
            TokenScope::Admin => "admin",
        }
    }

    fn parse(word: &str) -> Option<TokenScope> {
        [TokenScope::Read, TokenScope::Trade, TokenScope::Admin]
            .into_iter()
            .find(|scope| scope.as_str() == word)
    }
}

pub(super) fn read_http(table: &Table) -> HttpConfig {
    let (token_file, tokens) = read_tokens(table).unzip();
    let http = HttpConfig {
        listen: read_listen(table),
        token_file,
        tokens: tokens.unwrap_or_default(),
        hosts: read_hosts(table),
    };
    if let Some(listen) = http.listen
        && !listen.ip().is_loopback()
        && http.tokens.is_empty()
    {
        table.problem(
            "listen",
            format!("{listen} is beyond the loopback and there is no token; give token_file, or use {HTTP_LISTEN_DEFAULT:?}"),
        );
    }
    http
}

fn read_listen(table: &Table) -> Option<SocketAddr> {
    let text = table.text_maybe("listen")?;
    let address = text.parse().ok();
    if address.is_none() {
        table.problem(
            "listen",
            format!("{text:?} is not an address; write {HTTP_LISTEN_DEFAULT:?}, or \"\" for no HTTP"),
        );
    }
    address
}

fn read_tokens(table: &Table) -> Option<(PathBuf, Vec<TokenConfig>)> {
    let file = table.file_path("token_file")?;
    let read = read_secret(&file).and_then(|(secret, readable)| {
        if readable {
            table.warning("token_file", "everyone on this machine can read the file; chmod 600 it");
        }
        parse_tokens(secret.value.expose_secret())
    });
    match read {
        Ok(tokens) => Some((file, tokens)),
        Err(why) => {
            table.problem("token_file", why);
            None
        }
    }
}

/// Reads lines of `SCOPE TOKEN`. The texts of problems name the line and never show what stands in it.
fn parse_tokens(text: &str) -> Result<Vec<TokenConfig>, String> {
    let mut tokens: Vec<TokenConfig> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let number = index + 1;
        let wrong = |what: String| Err(format!("line {number} {what}"));
        let Some((word, token)) = line.split_once(char::is_whitespace) else {
            return wrong("is not \"SCOPE TOKEN\" with a scope of read, trade, admin".to_owned());
        };
        let Some(scope) = TokenScope::parse(word) else {
            return wrong("does not begin with a scope: read, trade or admin".to_owned());
        };
        let token = token.trim();
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '~' | '-');
        if !TOKEN_CHARS.contains(&token.len()) || !token.chars().all(allowed) {
            let (min, max) = (TOKEN_CHARS.start(), TOKEN_CHARS.end());
            return wrong(format!(
                "has no token of {min} to {max} letters, digits, \".\", \"_\", \"~\" or \"-\""
            ));
        }
        if tokens.iter().any(|known| known.secret.expose_secret() == token) {
            return wrong("has a token that an earlier line has".to_owned());
        }
        if tokens.len() == TOKENS_MAX {
            return wrong(format!("is one too many; at most {TOKENS_MAX} tokens are taken"));
        }
        tokens.push(TokenConfig { scope, secret: SecretString::from(token) });
    }
    if tokens.is_empty() { Err("the file has no token".to_owned()) } else { Ok(tokens) }
}

fn read_hosts(table: &Table) -> Vec<String> {
    let mut hosts = Vec::new();
    for (path, host) in table.texts("hosts") {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        if host.is_empty() || host.len() > 253 || !host.chars().all(allowed) {
            table.reader.problem(
                &path,
                format!("{host:?} is not the name of a host; write it without scheme and port"),
            );
        } else if hosts.len() == HOSTS_MAX {
            table.reader.problem(&path, format!("is one too many; at most {HOSTS_MAX} names are taken"));
            break;
        } else {
            hosts.push(host.to_ascii_lowercase());
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_files() {
        let check = |text: &str, expected: Result<&[TokenScope], &str>| {
            let read = parse_tokens(text);
            let shown = read.map(|tokens| tokens.iter().map(|token| token.scope).collect::<Vec<_>>());
            assert_eq!(shown.as_deref().map_err(String::as_str), expected, "{text}");
        };
        use TokenScope::{Admin, Read, Trade};
        let (a, b, c) = ("aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "c.c_c~c-cccccccc");
        let text = format!("# who\n\nread {a}\ntrade\t{b} \nadmin {c}\n");
        check(&text, Ok(&[Read, Trade, Admin]));
        check("# none\n", Err("the file has no token"));
        check(a, Err("line 1 is not \"SCOPE TOKEN\" with a scope of read, trade, admin"));
        check(&format!("\nwrite {a}"), Err("line 2 does not begin with a scope: read, trade or admin"));
        check(&format!("read {a}\ntrade {a}"), Err("line 2 has a token that an earlier line has"));
        let form = "line 1 has no token of 16 to 128 letters, digits, \".\", \"_\", \"~\" or \"-\"";
        check("read short", Err(form));
        check(&format!("read {a}=="), Err(form));
        check(&format!("read {}", "a".repeat(129)), Err(form));
    }
}
