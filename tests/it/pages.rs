//! The pages of `docs/` name what the program has, and nothing else: commands, options, alerts; and every link leads
//! somewhere. Topics and reasons are compared in `tidy`, keys in `src/config/documented.rs`, paths of HTTP in
//! `http/page.rs`, exit codes in `operations`; entities of the dashboard in `deploy`, figures of Grafana's in
//! `http/page.rs`, topics of the flow in `node_red`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tradebus::config::{Config, Sources};
use tradebus::store::record::{RECORD_VERSION, STATE_VERSION};
use tradebus::store::row::ROW_VERSION;
use tradebus::store::{checkpoint, segment};

/// Of every command, or of clap.
const COMMON: [&str; 6] = ["config", "set", "json", "help", "version", "help-all"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Rows of the table below a heading, up to the next heading.
fn rows<'a>(page: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let part = page.split_once(heading).unwrap_or_else(|| panic!("{heading} is missing")).1;
    let part = part.split("\n#").next().expect("a part");
    let lines = part.lines().filter(|line| line.starts_with("| `"));
    lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_command_and_option_is_on_the_page_and_no_other() {
    let page = read("docs/COMMANDS.md");
    let command = tradebus::cli::command();
    let mut built = command.clone();
    built.build();
    let shown: Vec<&str> = rows(&page, "# Commands")
        .iter()
        .map(|row| row[0].trim_matches('`').split(' ').next().expect("a name"))
        .collect();
    let known: Vec<&str> = built.get_subcommands().map(|command| command.get_name()).collect();
    assert_eq!(shown.iter().collect::<BTreeSet<_>>(), known.iter().collect::<BTreeSet<_>>());

    let mut shown = BTreeSet::new();
    let mut of = Vec::new();
    for row in rows(&page, "## Options of some") {
        if row[1] != "the same" {
            of = quoted(row[1]).collect();
        }
        let names = quoted(row[0]).map(|option| option.split(' ').next().expect("a name"));
        for name in names {
            shown.extend(of.iter().map(|command| format!("{command} {name}")));
        }
    }
    let known: BTreeSet<String> = command
        .get_subcommands()
        .flat_map(|command| {
            let options = command.get_arguments().filter_map(|argument| argument.get_long());
            let own = options.filter(|name| !COMMON.contains(name));
            own.map(|name| format!("{} --{name}", command.get_name())).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(shown, known);
}

/// What manual pages, completions and `--help` are made of.
#[test]
fn every_command_and_argument_says_what_it_is() {
    let mut command = tradebus::cli::command();
    command.build();
    for command in command.get_subcommands() {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
        }
    }
}

/// Every Rust file below `src`, and whatever ends otherwise below `docs`.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path())
        {
            match entry.is_dir() {
                true => folders.push(entry),
                false if entry.extension().is_some_and(|own| own == extension) => found.push(entry),
                false => {}
            }
        }
    }
    found.sort();
    found
}

/// The codes of alerts stand behind one of these words, which is all that this test knows of them.
const BEFORE_CODES: [&str; 5] =
    ["AlertLevel::Info,", "AlertLevel::Warning,", "AlertLevel::Error,", ".warn(", "code: "];

#[test]
fn every_alert_is_on_the_page() {
    let page = read("docs/MQTT.md");
    let mut codes = BTreeSet::new();
    for file in files("src/daemon", "rs")
        .into_iter()
        .chain(files("src/engine", "rs"))
        .chain(files("src/exchange", "rs"))
    {
        let text = std::fs::read_to_string(&file).expect("a file");
        let code = text.split("#[cfg(test)]").next().expect("a part");
        for lead in BEFORE_CODES {
            for (start, _) in code.match_indices(lead) {
                let literal = code[start + lead.len()..].trim_start().strip_prefix('"');
                let word = literal.and_then(|rest| rest.split('"').next()).unwrap_or_default();
                if word.contains('_') && word.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
                    codes.insert(word.to_owned());
                }
            }
        }
    }
    assert!(codes.len() > 40 && codes.contains("mqtt_refused"), "{codes:?}");
    let missing: Vec<&String> = codes.iter().filter(|code| !page.contains(&format!("`{code}`"))).collect();
    assert!(missing.is_empty(), "docs/MQTT.md does not name {missing:?}");
}

#[test]
fn the_versions_of_the_store_are_on_the_page() {
    let page = read("docs/STORE.md");
    let part = page.split_once("## Versions").expect("a part").1.split("\n#").next().expect("a part");
    let shown: Vec<u16> =
        part.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").nth(1)?.parse().ok()).collect();
    let versions = [
        segment::FORMAT_VERSION,
        RECORD_VERSION.into(),
        checkpoint::FORMAT_VERSION,
        STATE_VERSION.into(),
        ROW_VERSION.into(),
    ];
    assert_eq!(shown, versions);
}

/// Names of the headings of a page, as links say them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter_map(|line| line.strip_prefix('#'));
    let name = |heading: &str| -> String {
        let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        text.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
    };
    headings.map(name).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let pages =
        files("docs", "md").into_iter().chain(files("deploy", "md")).chain([root().join("README.md")]);
    let mut links = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).expect("a page");
        for part in text.split("](").skip(1) {
            let target = part.split(')').next().expect("a target");
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let to = if file.is_empty() { page.clone() } else { page.parent().expect("a folder").join(file) };
            assert!(to.exists(), "{}: {target}", page.display());
            if !anchor.is_empty() {
                let there = anchors(&std::fs::read_to_string(&to).expect("a page"));
                assert!(there.contains(anchor), "{}: {target}", page.display());
            }
            links += 1;
        }
    }
    assert!(links > 10, "{links}");
}

/// Every file of ours that a page names is there.
#[test]
fn every_file_that_a_page_names_exists() {
    let folders = ["docs/", "deploy/", "scripts/", "config/", "src/", "tests/", "benches/", "examples/"];
    let mut missing = BTreeSet::new();
    for page in files("docs", "md").into_iter().chain([root().join("README.md")]) {
        let text = std::fs::read_to_string(&page).expect("a page");
        for quote in quoted(&text).filter(|quote| folders.iter().any(|folder| quote.starts_with(folder))) {
            let path = quote.split([' ', ':', '*']).next().expect("a path").trim_end_matches('/');
            if !root().join(path).exists() && !root().join(format!("{path}.rs")).exists() {
                missing.insert(format!("{}: {quote}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Tables of a TOML file, each from its heading on.
fn tables(text: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = text.match_indices("\n[").map(|(start, _)| start + 1).collect();
    starts.insert(0, 0);
    starts.push(text.len());
    starts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}

/// What a newcomer pastes: the first settings are whole, each later block replaces or adds tables of it.
#[test]
fn the_settings_of_the_readme_load() {
    let readme = read("README.md");
    let blocks: Vec<String> = readme
        .split("```toml\n")
        .skip(1)
        .map(|block| {
            block
                .split("```")
                .next()
                .expect("a block")
                .lines()
                .map(|line| format!("{}\n", line.trim()))
                .collect()
        })
        .collect();
    assert!(blocks.len() > 3, "{}", blocks.len());
    let folder = TempDir::new().expect("a folder");
    std::fs::create_dir(folder.path().join("blofin")).expect("a folder");
    for name in ["mqtt_password", "tv1.key", "blofin/api_key", "blofin/api_secret", "blofin/passphrase"] {
        std::fs::write(folder.path().join(name), "0123456789abcdef").expect("a file");
    }
    for block in &blocks {
        let heading = |table: &str| {
            table.lines().next().unwrap_or_default().split('#').next().unwrap_or_default().trim().to_owned()
        };
        let own: BTreeSet<String> = tables(block).into_iter().map(heading).collect();
        let base = tables(&blocks[0]).into_iter().filter(|table| !own.contains(&heading(table)));
        let text = format!("{}{block}", base.collect::<String>())
            .replace("/etc/tradebus", &folder.path().display().to_string());
        let loaded = Config::load(&Sources::of_text(&text));
        assert!(loaded.is_ok(), "{:?}\n{text}", loaded.err());
    }
}
