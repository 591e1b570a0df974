//! Anything may come from outside: no reader panics, and what passes is within the limits. One harness for all readers
//! (`support::fuzz`), with `tests/corpus` as its beginning. `scripts/fuzz` runs millions of cases.

mod bus;
mod files;
mod private;
mod venue;
mod words;

use std::path::Path;

use crate::support::fuzz::{self, Target};

/// Cases of the quickest target in the suite.
const CASES: u64 = 3_000;

fn targets() -> Vec<Target> {
    let mut all = words::targets();
    all.extend(bus::targets());
    all.extend(files::targets());
    all.extend(venue::targets());
    all.extend(private::targets());
    all
}

/// Runs those of a group that `FUZZ_TARGET` names (all when it names none), `FUZZ_CASES` cases with the seed
/// `FUZZ_SEED`.
fn check(group: Vec<Target>) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let (cases, seed) = (number("FUZZ_CASES").unwrap_or(CASES), number("FUZZ_SEED").unwrap_or(1));
    let wanted = std::env::var("FUZZ_TARGET").ok();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    for mut target in group {
        if wanted.as_ref().is_none_or(|wanted| wanted == target.name) {
            let outcomes = fuzz::run(&mut target, &corpus, seed, cases);
            println!("fuzz: {}: {} cases, {outcomes} outcomes", target.name, cases / target.cost);
        }
    }
}

#[test]
fn words_of_the_bus() {
    check(words::targets());
}

#[test]
fn the_whole_way_in() {
    check(bus::targets());
}

#[test]
fn files_of_every_kind() {
    check(files::targets());
}

#[test]
fn frames_of_the_venue() {
    check(venue::targets());
}

#[test]
fn words_about_accounts() {
    check(private::targets());
}

/// A folder of the corpus that no target reads would be dead weight.
#[test]
fn every_corpus_has_its_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let entries = std::fs::read_dir(folder).expect("the corpus");
    let mut folders: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    folders.sort();
    let mut names: Vec<&str> = targets().iter().map(|target| target.name).collect();
    names.sort_unstable();
    assert_eq!(folders, names);
}
