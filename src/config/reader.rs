//! Typed access to the merged settings.
//!
//! Invariant: a getter that finds a problem notes it and returns a stand-in, so that reading goes on and every problem
//! is found in one pass. Nothing that was read is used when there is any problem.

use std::cell::RefCell;
use std::path::PathBuf;

use figment::Figment;
use figment::value::{Dict, Value};
use rust_decimal::Decimal;

use super::Problem;
use super::schema::{Key, Kind, join, suggestion};
use super::source::Origin;
use super::value::{constant, decimal, in_range, shown};

/// The most entries of a list or a table of tables.
pub(super) const ENTRIES_MAX: usize = 1000;

/// The merged settings and what was found in them.
pub(super) struct Reader {
    figment: Figment,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

impl Reader {
    pub fn new(figment: Figment, problems: Vec<Problem>) -> Reader {
        Reader { figment, problems: RefCell::new(problems), warnings: RefCell::default() }
    }

    /// The outermost table, checked for unknown keys down to the innermost.
    pub fn root(&self, keys: &'static [Key]) -> Table<'_> {
        let dict =
            figment::Provider::data(&self.figment).ok().and_then(|profiles| profiles.into_values().next());
        let root = Table { reader: self, path: String::new(), keys, dict: dict.unwrap_or_default() };
        self.find_unknown("", keys, &root.dict);
        root
    }

    /// Problems and warnings, each sorted by key.
    pub fn into_findings(self) -> (Vec<Problem>, Vec<Problem>) {
        let sorted = |found: RefCell<Vec<Problem>>| {
            let mut found = found.into_inner();
            found.sort_by(|a, b| a.path.cmp(&b.path));
            found.dedup();
            found
        };
        (sorted(self.problems), sorted(self.warnings))
    }

    /// Notes a problem that belongs to no single value.
    pub fn problem(&self, path: &str, text: impl Into<String>) {
        self.problems.borrow_mut().push(Problem::new(path, text));
    }

    /// Notes something that works but is hardly meant.
    pub fn warning(&self, path: &str, text: impl Into<String>) {
        self.warnings.borrow_mut().push(Problem::new(path, text));
    }

    fn origin(&self, value: &Value) -> Origin {
        Origin::of(&self.figment, value.tag())
    }

    fn find_unknown(&self, path: &str, keys: &'static [Key], dict: &Dict) {
        for (name, value) in dict {
            let here = join(path, name);
            let Some(key) = keys.iter().find(|key| key.name == name) else {
                let near = suggestion(name, keys.iter().map(|key| key.name));
                let from = self.origin(value).suffix();
                self.problem(&here, format!("is not a known key{near}{from}"));
                continue;
            };
            match (key.kind, value) {
                (Kind::Table(keys), Value::Dict(_, inner)) => self.find_unknown(&here, keys, inner),
                (Kind::Named(keys), Value::Dict(_, inner)) => {
                    for (name, value) in inner {
                        if let Value::Dict(_, inner) = value {
                            self.find_unknown(&join(&here, name), keys, inner);
                        }
                    }
                }
                (Kind::Tables(keys), Value::Array(_, items)) => {
                    for (index, item) in items.iter().enumerate() {
                        if let Value::Dict(_, inner) = item {
                            self.find_unknown(&format!("{here}[{index}]"), keys, inner);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// One table of the settings.
pub(super) struct Table<'a> {
    pub reader: &'a Reader,
    pub path: String,
    keys: &'static [Key],
    dict: Dict,
}

impl<'a> Table<'a> {
    /// The full path of a key.
    pub fn path_of(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// Whether any source gives the key.
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Whether the key is missing or an empty list.
    pub fn is_blank(&self, name: &str) -> bool {
        self.value(name).is_none_or(|value| value.as_array().is_some_and(<[Value]>::is_empty))
    }

    /// Whether the environment gives the key, where secrets may stand.
    pub fn is_from_environment(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| self.reader.origin(value) == Origin::Environment)
    }

    /// Notes a problem of a key.
    pub fn problem(&self, name: &str, text: impl Into<String>) {
        let from = self.value(name).map(|value| self.reader.origin(value).suffix()).unwrap_or_default();
        self.reader.problem(&self.path_of(name), text.into() + &from);
    }

    /// Notes a warning about a key.
    pub fn warning(&self, name: &str, text: impl Into<String>) {
        self.reader.warning(&self.path_of(name), text);
    }

    /// A text; the default, or empty, when it is missing.
    pub fn text(&self, name: &str) -> String {
        match self.value(name) {
            Some(Value::String(_, text)) => text.clone(),
            Some(other) => {
                let secret = matches!(self.key(name).kind, Kind::Secret | Kind::SecretFile);
                let value = if secret { "this".to_owned() } else { shown(other) };
                self.problem(name, format!("{value} is not a text; write it in quotes"));
                self.key(name).default.unwrap_or_default().to_owned()
            }
            None => self.key(name).default.unwrap_or_default().to_owned(),
        }
    }

    /// A text; `None` when it is missing or empty.
    pub fn text_maybe(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// A path; `None` when it is missing or empty. Relative ones in a file are taken from the file's directory.
    pub fn file_path(&self, name: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.text_maybe(name)?);
        let metadata = self.value(name).and_then(|value| self.reader.figment.get_metadata(value.tag()));
        let file = metadata.and_then(|metadata| metadata.source.as_ref()?.file_path());
        Some(file.and_then(|file| file.parent()).map_or_else(|| path.clone(), |base| base.join(&path)))
    }

    /// True or false; the default, or false, when it is missing.
    pub fn flag(&self, name: &str) -> bool {
        match self.value(name) {
            Some(Value::Bool(_, flag)) => *flag,
            Some(Value::String(_, text)) if text == "true" || text == "false" => text == "true",
            Some(other) => {
                self.problem(name, format!("{} is neither true nor false", shown(other)));
                false
            }
            None => self.key(name).default == Some("true"),
        }
    }

    /// A whole number; `None` when it is missing and has no default.
    pub fn integer_maybe(&self, name: &str) -> Option<i64> {
        let Kind::Integer(min, max) = self.key(name).kind else { unreachable!("{name} is not an integer") };
        let Some(value) = self.value(name) else {
            return self.key(name).default.map(|text| text.parse().expect("the default is a whole number"));
        };
        let read = match value {
            Value::Num(_, number) => number.to_i128().or_else(|| number.to_u128().map(|n| n as i128)),
            Value::String(_, text) => text.parse().ok(),
            _ => None,
        };
        match read {
            None => self.problem(name, format!("{} is not a whole number", shown(value))),
            Some(n) if n < i128::from(min) || n > i128::from(max) => {
                self.problem(name, format!("{n} is out of range; it must be {min} to {max}"));
            }
            Some(n) => return Some(n as i64),
        }
        Some(min)
    }

    /// A whole number that has a default.
    pub fn integer(&self, name: &str) -> i64 {
        self.integer_maybe(name).expect("the key has a default")
    }

    /// A decimal number; `None` when it is missing and has no default.
    pub fn number_maybe(&self, name: &str) -> Option<Decimal> {
        let Kind::Number(range) = self.key(name).kind else { unreachable!("{name} is not a number") };
        let Some(value) = self.value(name) else {
            return self.key(name).default.map(constant);
        };
        match decimal(value).and_then(|number| in_range(number, range)) {
            Ok(number) => Some(number),
            Err(why) => {
                self.problem(name, why);
                Some(constant(range.max))
            }
        }
    }

    /// A decimal number that has a default.
    pub fn number(&self, name: &str) -> Decimal {
        self.number_maybe(name).expect("the key has a default")
    }

    /// One of the key's words; `None` when it is missing and has no default.
    pub fn word_maybe(&self, name: &str) -> Option<&'static str> {
        let Kind::Words(words) = self.key(name).kind else { unreachable!("{name} has no words") };
        let Some(value) = self.value(name) else { return self.key(name).default };
        let text = value.as_str().unwrap_or_default();
        let found = words.iter().find(|word| **word == text);
        if found.is_none() {
            let near = suggestion(text, words.iter().copied());
            self.problem(name, format!("{} is not one of {}{near}", shown(value), words.join(", ")));
        }
        Some(found.unwrap_or(&words[0]))
    }

    /// One of the key's words, with a default.
    pub fn word(&self, name: &str) -> &'static str {
        self.word_maybe(name).expect("the key has a default")
    }

    /// A list of texts, each with its path. Empty when it is missing.
    pub fn texts(&self, name: &str) -> Vec<(String, String)> {
        let mut texts = Vec::new();
        for (path, item) in self.items(name) {
            match item.as_str() {
                Some(text) => texts.push((path, text.to_owned())),
                None => {
                    let from = self.reader.origin(item).suffix();
                    self.reader
                        .problem(&path, format!("{} is not a text; write it in quotes{from}", shown(item)));
                }
            }
        }
        texts
    }

    /// A table; an empty one when it is missing.
    pub fn table(&self, name: &str) -> Table<'a> {
        let Kind::Table(keys) = self.key(name).kind else { unreachable!("{name} is not a table") };
        let dict = self.value(name).and_then(|value| self.dict_of(&self.path_of(name), value));
        Table { reader: self.reader, path: self.path_of(name), keys, dict: dict.unwrap_or_default() }
    }

    /// A list of tables. Empty when it is missing.
    pub fn tables(&self, name: &str) -> Vec<Table<'a>> {
        let Kind::Tables(keys) = self.key(name).kind else { unreachable!("{name} is not a list of tables") };
        let table = |(path, item): (String, &Value)| {
            let dict = self.dict_of(&path, item)?;
            Some(Table { reader: self.reader, path, keys, dict })
        };
        self.items(name).into_iter().filter_map(table).collect()
    }

    /// A table of tables, sorted by name. Empty when it is missing.
    pub fn named(&self, name: &str) -> Vec<(String, Table<'a>)> {
        let Kind::Named(keys) = self.key(name).kind else { unreachable!("{name} is not a table of tables") };
        let path = self.path_of(name);
        let outer = self.value(name).and_then(|value| self.dict_of(&path, value)).unwrap_or_default();
        if outer.len() > ENTRIES_MAX {
            self.problem(name, format!("has {} entries; at most {ENTRIES_MAX} are taken", outer.len()));
        }
        let table = |(name, value): (&String, &Value)| {
            let path = join(&path, name);
            let dict = self.dict_of(&path, value)?;
            Some((name.clone(), Table { reader: self.reader, path, keys, dict }))
        };
        outer.iter().take(ENTRIES_MAX).filter_map(table).collect()
    }

    /// A table of numbers, sorted by name. Empty when it is missing.
    pub fn numbers(&self, name: &str) -> Vec<(String, Decimal)> {
        let Kind::Numbers(range) = self.key(name).kind else {
            unreachable!("{name} is not a table of numbers")
        };
        let path = self.path_of(name);
        let outer = self.value(name).and_then(|value| self.dict_of(&path, value)).unwrap_or_default();
        let mut numbers = Vec::new();
        for (name, value) in outer {
            match decimal(&value).and_then(|number| in_range(number, range)) {
                Ok(number) => numbers.push((name, number)),
                Err(why) => {
                    let from = self.reader.origin(&value).suffix();
                    self.reader.problem(&join(&path, &name), why + &from);
                }
            }
        }
        numbers
    }

    /// A table of texts, sorted by name: name, path and text. Empty when it is missing.
    pub fn text_table(&self, name: &str) -> Vec<(String, String, String)> {
        let path = self.path_of(name);
        let outer = self.value(name).and_then(|value| self.dict_of(&path, value)).unwrap_or_default();
        if outer.len() > ENTRIES_MAX {
            self.problem(name, format!("has {} entries; at most {ENTRIES_MAX} are taken", outer.len()));
        }
        let mut texts = Vec::new();
        for (name, value) in outer.into_iter().take(ENTRIES_MAX) {
            let path = join(&path, &name);
            match value.as_str() {
                Some(text) => texts.push((name, path, text.to_owned())),
                None => {
                    let from = self.reader.origin(&value).suffix();
                    self.reader
                        .problem(&path, format!("{} is not a text; write it in quotes{from}", shown(&value)));
                }
            }
        }
        texts
    }

    /// What the table knows about a key.
    ///
    /// # Panics
    /// When the schema has no such key: the code asks for something that nobody could set.
    fn key(&self, name: &str) -> &'static Key {
        let key = self.keys.iter().find(|key| key.name == name);
        key.unwrap_or_else(|| unreachable!("the schema has no key {}", self.path_of(name)))
    }

    fn value(&self, name: &str) -> Option<&Value> {
        let _ = self.key(name);
        self.dict.get(name)
    }

    fn items(&self, name: &str) -> Vec<(String, &Value)> {
        let path = self.path_of(name);
        match self.value(name) {
            Some(Value::Array(_, items)) => {
                if items.len() > ENTRIES_MAX {
                    self.problem(
                        name,
                        format!("has {} entries; at most {ENTRIES_MAX} are taken", items.len()),
                    );
                }
                let numbered = items.iter().take(ENTRIES_MAX).enumerate();
                numbered.map(|(index, item)| (format!("{path}[{index}]"), item)).collect()
            }
            Some(other) => {
                self.problem(name, format!("{} is not a list; write it in [ ]", shown(other)));
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    fn dict_of(&self, path: &str, value: &Value) -> Option<Dict> {
        if let Value::Dict(_, dict) = value {
            return Some(dict.clone());
        }
        let from = self.reader.origin(value).suffix();
        self.reader.problem(path, format!("{} is not a table{from}", shown(value)));
        None
    }
}
