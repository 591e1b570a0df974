//! Where settings come from: a file, the environment, the command line, in rising order of precedence.
//!
//! Environment and command line carry texts. They stay texts until the reader knows what the key holds, so that a
//! password of digits stays what it was; only lists and tables are taken apart here.

use std::path::PathBuf;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider, Source};

use super::Problem;
use super::schema::{Key, Kind, ROOT};

/// The file that is read when none is named.
pub const FILE_DEFAULT: &str = "/etc/tradebus/tradebus.toml";
/// What the names of our environment variables begin with.
pub const ENVIRONMENT_PREFIX: &str = "TRADEBUS_";
/// The largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Everything that a configuration is put together from.
#[derive(Clone)]
pub struct Sources {
    /// The file, which everything below overrides.
    pub file: FileSource,
    /// Variables and their values. Names without [`ENVIRONMENT_PREFIX`] are skipped; `__` stands between levels.
    pub environment: Vec<(String, String)>,
    /// `key=value` from the command line, such as `mqtt.broker=mqtt://host`.
    pub overrides: Vec<String>,
}

/// The configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSource {
    /// Only the defaults of the code.
    Nothing,
    /// A file that may be missing.
    IfPresent(PathBuf),
    /// A file that must exist.
    Required(PathBuf),
    /// TOML at hand. Relative paths in it are taken from the working directory.
    Text(String),
}

impl Sources {
    /// The sources of this process: `file` (the value of `--config`) or else [`FILE_DEFAULT`], and its environment.
    pub fn of_process(file: Option<PathBuf>, overrides: Vec<String>) -> Sources {
        let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
        let ours = |(name, value): (std::ffi::OsString, _)| {
            let name = text(name);
            name.starts_with(ENVIRONMENT_PREFIX).then(|| (name, text(value)))
        };
        let file = file.map_or_else(|| FileSource::IfPresent(FILE_DEFAULT.into()), FileSource::Required);
        Sources { file, environment: std::env::vars_os().filter_map(ours).collect(), overrides }
    }

    /// Only a text, as tests and the demo have it.
    pub fn of_text(text: &str) -> Sources {
        Sources { file: FileSource::Text(text.to_owned()), environment: Vec::new(), overrides: Vec::new() }
    }

    /// All sources merged. What cannot be taken is left out and told.
    pub(super) fn merged(&self, problems: &mut Vec<Problem>) -> Figment {
        let file = self.file_layer().unwrap_or_else(|problem| {
            problems.push(problem);
            Layer::new(Origin::File, Dict::new())
        });
        let names = file.dict.clone();
        let mut figment = Figment::new().merge(file);
        for (name, value) in &self.environment {
            let Some(rest) = name.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
            let path = environment_path(rest, &names);
            figment = figment.merge(Layer::new(Origin::Environment, nested(&path, value)));
        }
        for text in &self.overrides {
            match text.split_once('=').and_then(|(key, value)| Some((dotted_path(key.trim())?, value))) {
                Some((path, value)) => {
                    figment = figment.merge(Layer::new(Origin::CommandLine, nested(&path, value)));
                }
                None => problems.push(Problem::new(
                    text.split('=').next().unwrap_or_default(),
                    "is not an override; write key=value, such as log.level=debug (command line)",
                )),
            }
        }
        figment
    }

    fn file_layer(&self) -> Result<Layer, Problem> {
        let (path, missing_ok) = match &self.file {
            FileSource::Nothing => return Ok(Layer::new(Origin::File, Dict::new())),
            FileSource::Text(text) => {
                let dict = parse(text).map_err(|why| Problem::new("configuration", why))?;
                return Ok(Layer::new(Origin::File, dict));
            }
            FileSource::IfPresent(path) => (path, true),
            FileSource::Required(path) => (path, false),
        };
        let shown = path.display().to_string();
        let text = match super::secret::read_text(path, FILE_BYTES_MAX) {
            Ok(text) => text,
            Err(error) if missing_ok && error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Problem::new(&shown, format!("cannot be read: {error}"))),
        };
        let dict = parse(&text).map_err(|why| Problem::new(&shown, why))?;
        Ok(Layer { file: Some(path.clone()), ..Layer::new(Origin::File, dict) })
    }
}

impl std::fmt::Debug for Sources {
    // Values may be secrets, so only names are shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let file = match &self.file {
            FileSource::Text(_) => "text".to_owned(),
            other => format!("{other:?}"),
        };
        let names: Vec<&str> = self.environment.iter().map(|(name, _)| name.as_str()).collect();
        let keys: Vec<&str> = self.overrides.iter().filter_map(|text| text.split('=').next()).collect();
        f.debug_struct("Sources")
            .field("file", &file)
            .field("environment", &names)
            .field("overrides", &keys)
            .finish()
    }
}

/// Which kind of source a value is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    File,
    Environment,
    CommandLine,
}

impl Origin {
    const ALL: [Origin; 3] = [Origin::File, Origin::Environment, Origin::CommandLine];

    fn name(self) -> &'static str {
        match self {
            Origin::File => "file",
            Origin::Environment => "environment",
            Origin::CommandLine => "command line",
        }
    }

    /// Where a value of `figment` is from.
    pub(super) fn of(figment: &Figment, tag: Tag) -> Origin {
        let name = figment.get_metadata(tag).map(|metadata| metadata.name.as_ref());
        Origin::ALL.into_iter().find(|origin| Some(origin.name()) == name).unwrap_or(Origin::File)
    }

    /// What a problem says behind its text, so that an overridden value is not searched for in the file.
    pub(super) fn suffix(self) -> String {
        if self == Origin::File { String::new() } else { format!(" ({})", self.name()) }
    }
}

/// One source, as figment merges it.
struct Layer {
    origin: Origin,
    file: Option<PathBuf>,
    dict: Dict,
}

impl Layer {
    fn new(origin: Origin, dict: Dict) -> Layer {
        Layer { origin, file: None, dict }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        match &self.file {
            Some(path) => Metadata::from(self.origin.name(), Source::File(path.clone())),
            None => Metadata::named(self.origin.name()),
        }
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

/// Parses TOML. The message has line and column but not the line itself, in which a secret may stand.
fn parse(text: &str) -> Result<Dict, String> {
    Toml::from_str::<Dict>(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.get(..at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let what = error.message().lines().next().unwrap_or_default();
        format!("is not valid TOML: {what} (line {line}, column {column})")
    })
}

/// The keys of `MQTT__PRICE_INTERVAL_MS`. Names of the user's (feeds, strategies, ...) may have capitals and `-`,
/// which environment variables may not: the name in the file is taken that is the same apart from these.
fn environment_path(rest: &str, file: &Dict) -> Vec<String> {
    let folded = |name: &str| name.to_lowercase().replace('-', "_");
    let mut here = Some(file);
    let mut path: Vec<String> = Vec::new();
    for segment in rest.split("__") {
        let known = here.and_then(|dict| dict.keys().find(|name| folded(name) == segment.to_lowercase()));
        let name = match known {
            Some(name) => name.clone(),
            None if path.len() == 1 && path[0] == "instrument" => segment.to_uppercase().replace('_', "-"),
            None => segment.to_lowercase(),
        };
        here = match here.and_then(|dict| dict.get(&name)) {
            Some(Value::Dict(_, inner)) => Some(inner),
            _ => None,
        };
        path.push(name);
    }
    path
}

/// The keys of `instrument."BTC-USDT.PERP".tick_size`; `None` when it is not a path.
fn dotted_path(text: &str) -> Option<Vec<String>> {
    let mut path = Vec::new();
    let mut rest = text;
    loop {
        let (name, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        if name.is_empty() {
            return None;
        }
        path.push(name.to_owned());
        match after.strip_prefix('.') {
            Some(more) => rest = more,
            None => return after.is_empty().then_some(path),
        }
    }
}

/// Tables around a text, so that it stands at `path`.
fn nested(path: &[String], text: &str) -> Dict {
    let kind = kind_at(path, ROOT);
    let mut value = typed(text, kind);
    let (first, inner) = path.split_first().expect("a path has at least one name");
    for name in inner.iter().rev() {
        value = Value::from(Dict::from([(name.clone(), value)]));
    }
    Dict::from([(first.clone(), value)])
}

/// What the key at `path` holds, when there is such a key.
fn kind_at(path: &[String], keys: &'static [Key]) -> Option<Kind> {
    let (first, rest) = path.split_first()?;
    let kind = keys.iter().find(|key| key.name == first)?.kind;
    match (kind, rest) {
        (kind, []) => Some(kind),
        (Kind::Table(keys), rest) => kind_at(rest, keys),
        (Kind::Named(keys), [_, rest @ ..]) if !rest.is_empty() => kind_at(rest, keys),
        (Kind::Named(keys), _) => Some(Kind::Table(keys)),
        _ => None,
    }
}

/// Takes a text apart where the key holds a list or a table: TOML in brackets, or words between commas.
fn typed(text: &str, kind: Option<Kind>) -> Value {
    let toml = || {
        let dict = parse(&format!("value = {text}")).ok()?;
        dict.into_values().next()
    };
    let parts = || {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        Value::from(parts.map(Value::from).collect::<Vec<Value>>())
    };
    let value = match kind {
        Some(Kind::Texts) if !text.trim_start().starts_with('[') => Some(parts()),
        Some(Kind::Texts | Kind::Tables(_) | Kind::Table(_) | Kind::Named(_) | Kind::Numbers(_)) => toml(),
        _ => None,
    };
    value.unwrap_or_else(|| Value::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn override_keys_are_dotted() {
        let check = |text: &str, expected: Option<&[&str]>| {
            let path = dotted_path(text);
            assert_eq!(path, expected.map(|e| e.iter().map(|s| (*s).to_owned()).collect()));
        };
        check("instance", Some(&["instance"]));
        check("mqtt.broker", Some(&["mqtt", "broker"]));
        check("instrument.\"BTC-USDT.PERP\".tick_size", Some(&["instrument", "BTC-USDT.PERP", "tick_size"]));
        check("", None);
        check("a..b", None);
        check("a.", None);
        check("a.\"b", None);
        check("a.\"b\"c", None);
    }

    #[test]
    fn environment_names_find_the_files_names() {
        let file = parse("[strategy.My-Strat]\n[feed.tape]").unwrap();
        let check =
            |name: &str, expected: &str| assert_eq!(environment_path(name, &file).join("/"), expected);
        check("MQTT__PRICE_INTERVAL_MS", "mqtt/price_interval_ms");
        check("STRATEGY__MY_STRAT__BALANCE", "strategy/My-Strat/balance");
        check("STRATEGY__OTHER__BALANCE", "strategy/other/balance");
        check("INSTRUMENT__BTC_USDT__TICK_SIZE", "instrument/BTC-USDT/tick_size");
        check("INSTANCE", "instance");
    }

    #[test]
    fn syntax_errors_do_not_show_the_line() {
        let check = |text: &str, at: &str| {
            let error = parse(text).unwrap_err();
            assert!(error.contains(at) && !error.contains("hunter2"), "{error}");
        };
        check("instance = \"x\"\npassword = \"hunter2", "line 2");
        check("[mqtt]\nusername = hunter2", "line 2, column 12");
    }
}
