//! `[http]`: where the HTTP interface listens, and who may do what there.
//!
//! Limits: 32 tokens of 16 to 128 characters, 32 names of hosts, 64 ranges of addresses in a list.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{Error, ServerConfig};

use super::address::AddressRange;
use super::reader::Table;
use super::schema::HTTP_LISTEN_DEFAULT;
use super::secret::read_secret;
use super::tls::{Certificate, certificate, read_certificates, read_key};

/// The most lines of a token file that name a token.
const TOKENS_MAX: usize = 32;
/// How long a token must and may be, in characters.
const TOKEN_CHARS: std::ops::RangeInclusive<usize> = 16..=128;
/// The most names of hosts.
const HOSTS_MAX: usize = 32;
/// The most ranges of addresses in a list.
const RANGES_MAX: usize = 64;

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
    /// Proxies that are believed about the address of who asks.
    pub trusted_proxies: Vec<AddressRange>,
    /// Where alerts may come from; empty: from everywhere.
    pub webhook_from: Vec<AddressRange>,
    /// TLS, when there are certificates.
    pub tls: Option<ServerTls>,
}

/// What an interface with TLS needs.
#[derive(Clone)]
pub struct ServerTls {
    /// For the handshake. Holds the key, so nothing of it is ever printed.
    pub server: Arc<ServerConfig>,
    /// Our certificate and those between it and an authority.
    pub certificate_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
    /// Until when it is valid.
    pub certificates: Vec<Certificate>,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").field("certificate_file", &self.certificate_file).finish_non_exhaustive()
    }
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
        trusted_proxies: read_ranges(table, "trusted_proxies"),
        webhook_from: read_ranges(table, "webhook_from"),
        tls: read_tls(table),
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

/// Reads a file of tokens, for who has them to ask with.
///
/// # Errors
/// Why it is not taken; never shows what stands in it.
pub fn read_token_file(file: &std::path::Path) -> Result<Vec<TokenConfig>, String> {
    read_secret(file).and_then(|(secret, _)| parse_tokens(secret.value.expose_secret()))
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

fn read_ranges(table: &Table, name: &str) -> Vec<AddressRange> {
    let mut ranges = Vec::new();
    for (path, text) in table.texts(name) {
        match text.parse() {
            Ok(_) if ranges.len() == RANGES_MAX => {
                let why = format!("is one too many; at most {RANGES_MAX} are taken");
                table.reader.problem(&path, why);
                break;
            }
            Ok(range) => ranges.push(range),
            Err(()) => {
                let why = format!(
                    "{text:?} is neither an address nor a range; write \"203.0.113.7\" or \"203.0.113.0/24\""
                );
                table.reader.problem(&path, why);
            }
        }
    }
    ranges
}

fn read_tls(table: &Table) -> Option<ServerTls> {
    let names = ["certificate_file", "key_file"];
    let (certificate_file, key_file) = match names.map(|name| table.file_path(name)) {
        [Some(certificate), Some(key)] => (certificate, key),
        [None, None] => return None,
        [None, Some(_)] => {
            table.problem(names[0], "is missing, but there is a key_file");
            return None;
        }
        [Some(_), None] => {
            table.problem(names[1], "is missing, but there is a certificate_file");
            return None;
        }
    };
    let chain = read_certificates(table, names[0], &certificate_file);
    let (chain, key) = chain.zip(read_key(table, names[1], &key_file))?;
    let certificates = chain.first().and_then(|own| certificate(table, names[0], own)).into_iter().collect();
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, key);
    match server {
        Ok(mut server) => {
            server.alpn_protocols = vec![b"http/1.1".to_vec()];
            Some(ServerTls { server: Arc::new(server), certificate_file, key_file, certificates })
        }
        Err(Error::InconsistentKeys(_)) => {
            table.problem(names[1], "the key does not belong to certificate_file");
            None
        }
        Err(error) => {
            table.problem(names[0], format!("certificate and key cannot be used: {error}"));
            None
        }
    }
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
