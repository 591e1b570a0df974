//! A mutation fuzzer for stable Rust: inputs of a corpus are changed by seeded chance, byte by byte and piece by piece,
//! and what leads to an outcome that was not seen before joins the pool.
//!
//! A target reads an input and says what became of it in words; it panics when a promise is broken. Inputs that break
//! one are made smaller and told as a Rust literal, so that they can join the corpus.

use std::collections::BTreeSet;
use std::path::Path;

use super::quiet::quietly;
use super::random::Random;

/// The largest input, in bytes: beyond every parser's own limit on the bus.
const INPUT_BYTES_MAX: usize = 20 * 1024;
/// Inputs in the pool beside the corpus.
const POOL_MAX: usize = 2_000;
const SHRINKS_MAX: usize = 2_000;
/// Letters of an outcome that tell it from others.
const OUTCOME_LETTERS: usize = 40;

/// Pieces that parsers trip over.
const PIECES: [&str; 40] = [
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "=",
    "\n",
    "\r\n",
    "\t",
    "null",
    "true",
    "-",
    "0",
    "1e999",
    "-1",
    "1e-28",
    "NaN",
    "inf",
    "\\u0000",
    "\\ud800",
    "79228162514264337593543950335",
    "0.0000000000000000000000000001",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "\"\"",
    "é",
    "\u{202e}",
    "{{",
    "\u{0}",
    "+",
    "#",
    "/",
    "$",
    "%",
    "9999-12-31T23:59:59.999Z",
    "0000-00-00T00:00:00Z",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

/// Says in words what became of an input.
pub type Read = Box<dyn FnMut(&[u8]) -> String>;

/// Something that reads bytes from outside.
pub struct Target {
    /// Names it, and its folder of the corpus.
    pub name: &'static str,
    /// How much slower than the quickest it is: it gets so many times fewer cases.
    pub cost: u64,
    /// Reads an input.
    pub read: Read,
}

/// Runs so many cases against a target, after its whole corpus, and tells how many outcomes there were.
pub fn run(target: &mut Target, corpus: &Path, seed: u64, cases: u64) -> usize {
    let mut pool = corpus_of(&corpus.join(target.name));
    assert!(!pool.is_empty(), "{}: there is no corpus", target.name);
    let mut outcomes = BTreeSet::new();
    for input in pool.clone() {
        outcomes.insert(judged(target, seed, &input));
    }
    let mut random = Random::new(seed ^ target.name.bytes().fold(7, |sum, byte| sum << 3 ^ u64::from(byte)));
    let kept = pool.len();
    for _ in 0..cases / target.cost {
        let input = changed(&mut random, &pool);
        if outcomes.insert(judged(target, seed, &input)) {
            if pool.len() >= kept + POOL_MAX {
                pool.swap_remove(kept + random.below(POOL_MAX as u64) as usize);
            }
            pool.push(input);
        }
    }
    outcomes.len()
}

/// The files of a folder, by name.
fn corpus_of(folder: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a file of the corpus")).collect()
}

/// What becomes of an input, numbers and quoted words left out. A panic is told with the smallest input that has it.
fn judged(target: &mut Target, seed: u64, input: &[u8]) -> String {
    match outcome(target, input) {
        Ok(outcome) => {
            let mut quoted = false;
            let letters = outcome.chars().filter(|letter| {
                quoted ^= *letter == '"';
                !quoted && (letter.is_ascii_lowercase() || *letter == ' ')
            });
            letters.take(OUTCOME_LETTERS).collect()
        }
        Err(said) => {
            let small = smaller(target, input.to_vec());
            panic!("{} (seed {seed}): {said}\nthe input is\n  b\"{}\"", target.name, small.escape_ascii());
        }
    }
}

fn outcome(target: &mut Target, input: &[u8]) -> Result<String, String> {
    quietly(|| (target.read)(input))
}

fn smaller(target: &mut Target, mut input: Vec<u8>) -> Vec<u8> {
    let (mut part, mut tries) = ((input.len() / 2).max(1), 0);
    while tries < SHRINKS_MAX {
        let (before, mut start) = (input.len(), 0);
        while start < input.len() && tries < SHRINKS_MAX {
            let mut less = input.clone();
            less.drain(start..(start + part).min(input.len()));
            tries += 1;
            if outcome(target, &less).is_err() {
                input = less;
            } else {
                start += part;
            }
        }
        if part == 1 && input.len() == before {
            break;
        }
        part = (part / 2).max(1);
    }
    input
}

/// An input of the pool with some changes.
fn changed(random: &mut Random, pool: &[Vec<u8>]) -> Vec<u8> {
    let mut input = pool[random.below(pool.len() as u64) as usize].clone();
    for _ in 0..1 + random.below(4) {
        change(random, &mut input, pool);
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

fn change(random: &mut Random, input: &mut Vec<u8>, pool: &[Vec<u8>]) {
    let at = random.below(input.len() as u64 + 1) as usize;
    let end = at + (random.below(1 + random.clone().below(40)) as usize).min(input.len() - at);
    match random.below(9) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.pick(&[0, 1, 0x7f, 0x80, 0xff, b'"', b'0', b'9', b' ']),
        2 => drop(input.drain(at..end)),
        3 => {
            let piece = input[at..end].to_vec();
            let most = if random.one_in(20) { 400 } else { 3 };
            let times = 1 + random.below(most) as usize;
            input.splice(at..at, piece.repeat(times));
        }
        4 | 5 => drop(input.splice(at..end, random.pick(&PIECES).bytes())),
        6 => {
            let number = random.pick(&[0, 1, 255, 65_535, u64::from(u32::MAX), u64::MAX]).to_le_bytes();
            let bytes = random.pick(&[1, 2, 4, 8]);
            let end = (at + bytes).min(input.len());
            input.splice(at..end, number[..bytes].iter().copied());
        }
        7 => {
            let other = &pool[random.below(pool.len() as u64) as usize];
            let from = random.below(other.len() as u64 + 1) as usize;
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        _ => input.truncate(at),
    }
}
