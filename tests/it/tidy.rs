//! Reads the tree: who may use whom, what pure folders never touch, sizes, and that the pages name everything.
//!
//! It reads text, so it sees what `use` and paths say; a rustfmt'd tree is assumed.

use std::path::{Path, PathBuf};

use tradebus::message::topic;
use tradebus::model::signal::Reason;

/// The most lines of a source file whose module doc does not say `Size: <why>`.
const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 110;
/// Prose may be a little wider than code.
const COMMENT_COLUMNS_MAX: usize = 120;

/// What each folder (or file) of `src` may use beside itself. `config`, `cli` and `main.rs` stand outside.
const ARROWS: [(&str, &[&str]); 10] = [
    ("model", &[]),
    ("risk", &["model"]),
    ("exchange", &["model", "risk"]),
    ("engine", &["model", "risk", "exchange"]),
    ("message", &["model", "risk", "exchange", "engine"]),
    ("strategy", &["model"]),
    ("venue", &["model"]),
    ("store", &["model", "engine"]),
    ("backtest", &["model", "risk", "exchange", "engine", "message", "strategy", "venue", "store"]),
    (
        "daemon",
        &[
            "model", "risk", "exchange", "engine", "message", "strategy", "venue", "store", "backtest",
            "config",
        ],
    ),
];

/// Folders that only compute.
const PURE: [&str; 7] = ["model", "risk", "strategy", "venue", "exchange", "engine", "message"];

/// Words that a pure folder never says in code.
const IMPURE: [&str; 15] = [
    "tokio::",
    "std::fs",
    "std::net",
    "std::thread",
    "std::env",
    "std::process",
    "Instant",
    "SystemTime",
    "HashMap",
    "HashSet",
    "rumqttc",
    "sled::",
    "tracing::",
    "rand::",
    "getrandom",
];

/// Marks of unfinished work, put together so that this file does not contain them.
const UNFINISHED: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("#[ig", "nore"),
];

/// A file of the tree.
struct Source {
    /// From the root, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// `engine` for `src/engine/state.rs` and for `src/engine.rs`.
    fn folder(&self) -> &str {
        let rest = self.path.strip_prefix("src/").unwrap_or(&self.path);
        rest.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// Its lines with their numbers, comments cut off.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let cut = |line: &str| line.find("//").unwrap_or(line.len());
        self.text.lines().enumerate().map(move |(index, line)| (index + 1, &line[..cut(line)]))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder.
fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
                found.push(Source { path: name, text: std::fs::read_to_string(&path).unwrap() });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no files below {folder}");
    found
}

fn page(name: &str) -> String {
    let missing = |error| panic!("{name} is missing, it must name what this test looks for: {error}");
    std::fs::read_to_string(root().join(name)).unwrap_or_else(missing)
}

#[track_caller]
fn assert_none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// The words that follow `crate::` in a line of code, also in `crate::{a, b::c}`.
fn crate_uses(line: &str) -> Vec<&str> {
    let mut used = Vec::new();
    for (start, _) in line.match_indices("crate::") {
        let rest = &line[start + "crate::".len()..];
        let names = rest.strip_prefix('{').map_or(rest, |group| group.split('}').next().unwrap_or(group));
        let parts: Vec<&str> = if rest.starts_with('{') { names.split(',').collect() } else { vec![names] };
        for part in parts {
            let end = part.trim().find(|c: char| !c.is_alphanumeric() && c != '_');
            used.push(&part.trim()[..end.unwrap_or(part.trim().len())]);
        }
    }
    used
}

#[test]
fn arrows_point_one_way() {
    let mut complaints = Vec::new();
    for source in sources("src") {
        let Some((own, allowed)) = ARROWS.iter().find(|(folder, _)| *folder == source.folder()) else {
            let outside = ["main", "lib", "cli", "config"].contains(&source.folder());
            assert!(outside, "{}: the folder is not in the table of arrows", source.path);
            continue;
        };
        for (number, line) in source.code() {
            let known = |used: &&str| used == own || allowed.contains(used);
            for used in crate_uses(line).into_iter().filter(|used| !known(used)) {
                complaints.push(format!("{}:{number}: {own} may not use {used}", source.path));
            }
            // One more for the tests at the end of a file.
            let depth = source.path.trim_end_matches("/mod.rs").matches('/').count();
            if line.contains(&"super::".repeat(depth + 2)) {
                complaints.push(format!("{}:{number}: leaves its folder by super", source.path));
            }
        }
    }
    assert_none(complaints);
}

#[test]
fn pure_folders_only_compute() {
    let mut complaints = Vec::new();
    for source in sources("src").iter().filter(|source| PURE.contains(&source.folder())) {
        for (number, line) in source.code() {
            let grouped = ["fs", "net", "thread", "env", "process"].iter().find(|word| {
                let group = line.split_once("std::{").map_or("", |(_, group)| group);
                group.split(|c: char| !c.is_alphanumeric()).any(|part| part == **word)
            });
            for word in IMPURE.iter().filter(|word| line.contains(**word)).chain(grouped) {
                complaints.push(format!("{}:{number}: {word} in a pure folder", source.path));
            }
        }
    }
    assert_none(complaints);
}

#[test]
fn files_and_functions_are_short() {
    let mut complaints = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        let lines: Vec<&str> = source.text.lines().collect();
        let excused = lines.iter().any(|line| line.starts_with("//! Size: "));
        if source.path.starts_with("src/") && lines.len() > FILE_LINES_MAX && !excused {
            complaints.push(format!("{}: {} lines, at most {FILE_LINES_MAX}", source.path, lines.len()));
        }
        for (index, line) in lines.iter().enumerate() {
            let number = index + 1;
            let columns = line.chars().count();
            if columns > columns_max(line) {
                complaints.push(format!("{}:{number}: {columns} columns", source.path));
            }
            let length = if is_function(line) { function_length(&lines[index..]) } else { 0 };
            if length > FUNCTION_LINES_MAX {
                complaints.push(format!("{}:{number}: a function of {length} lines", source.path));
            }
        }
    }
    assert_none(complaints);
}

/// How wide a line may be. One with a text in it may be as wide as the text wants: nothing breaks texts.
fn columns_max(line: &str) -> usize {
    let code = line.trim();
    match () {
        () if code.starts_with("//") => COMMENT_COLUMNS_MAX,
        () if code.contains('"') || code.ends_with("\\n\\") => usize::MAX,
        () => COLUMNS_MAX,
    }
}

fn is_function(line: &str) -> bool {
    let words = line.split_whitespace();
    let mut rest = words.skip_while(|word| {
        word.starts_with("pub") || ["async", "const", "unsafe", "extern", "\"C\""].contains(word)
    });
    rest.next() == Some("fn")
}

/// Lines from a function's first to the brace that closes it, by indentation.
fn function_length(lines: &[&str]) -> usize {
    let indent = lines[0].len() - lines[0].trim_start().len();
    let ends = |line: &&str| {
        let own = line.len() - line.trim_start().len() == indent;
        own && (line.trim() == "}" || line.ends_with(';') || line.ends_with("{}"))
    };
    if lines[0].ends_with('}') || lines[0].ends_with(';') {
        return 1;
    }
    lines.iter().skip(1).position(ends).map_or(1, |end| end + 2)
}

#[test]
fn nothing_is_unfinished() {
    let mut complaints = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        for (index, line) in source.text.lines().enumerate() {
            for word in UNFINISHED.iter().filter(|word| line.contains(**word)) {
                complaints.push(format!("{}:{}: {word}", source.path, index + 1));
            }
        }
    }
    assert_none(complaints);
}

#[test]
fn every_topic_and_reason_has_its_place_on_the_page() {
    let text = page("docs/MQTT.md");
    let topics = topic::ALL.iter().filter(|topic| !text.contains(**topic)).map(|topic| topic.to_string());
    let reasons = Reason::ALL.iter().map(|reason| format!("`{}`", reason.as_str()));
    let missing = topics.chain(reasons.filter(|reason| !text.contains(reason)));
    assert_none(missing.map(|word| format!("docs/MQTT.md does not name {word}")).collect());
}

#[test]
fn every_file_has_its_place_on_the_map() {
    let text = page("docs/ARCHITECTURE.md");
    let mut complaints = Vec::new();
    for source in sources("src") {
        let nested = source.path.matches('/').count() > 1;
        let name = if nested { format!("src/{}", source.folder()) } else { source.path.clone() };
        if !text.contains(&format!("`{name}`")) {
            complaints.push(format!("docs/ARCHITECTURE.md does not name {name}"));
        }
    }
    complaints.dedup();
    assert_none(complaints);
}

#[test]
fn the_reader_reads_what_it_should() {
    assert_eq!(crate_uses("use crate::model::ids::Symbol;"), ["model"]);
    assert_eq!(crate_uses("use crate::{engine::Engine, model::time, risk};"), ["engine", "model", "risk"]);
    assert_eq!(crate_uses("fn f(a: crate::daemon::X, b: crate::cli::Y)"), ["daemon", "cli"]);
    assert!(is_function("    pub(super) async fn f("));
    assert!(!is_function("    let fnord = 1;"));
    assert_eq!(function_length(&["fn f() {", "    g(", "    );", "}", "}"]), 4);
    assert_eq!(function_length(&["    fn f(", "        &self,", "    );", "}"]), 3);
}
