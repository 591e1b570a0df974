//! The folded state up to a sequence, so that a start reads the journal's tail only.
//!
//! A checkpoint can be lost without loss: the journal rebuilds it. So a damaged one is a warning and the previous
//! one is taken, and what both hold is whole or not taken at all. The file is a header of 32 bytes, little endian,
//! and the payload:
//!
//! ```text
//! magic "tbuschkp", format u16, reserved u16, crc32 u32 (over all after it), sequence u64, length u64
//! ```
//!
//! Limit: 64 MiB ([`PAYLOAD_BYTES_MAX`]). A state above it is not written, and starts take longer.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::file;
use super::segment::array;

/// Format version of the checkpoints that are written, and the newest that is read.
pub const FORMAT_VERSION: u16 = 1;
/// Largest payload in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 20;

const NEWEST: &str = "checkpoint.tbc";
const PREVIOUS: &str = "checkpoint.prev.tbc";
const UNFINISHED: &str = "checkpoint.tmp";
const MAGIC: [u8; 8] = *b"tbuschkp";
const HEADER_BYTES: usize = 32;

/// A folded state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Where it was read.
    pub file: PathBuf,
    /// The last sequence that is folded in.
    pub sequence: u64,
    /// The encoded state.
    pub payload: Vec<u8>,
}

/// What [`read`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The newest whole checkpoint; `None` means that the journal is folded from its start.
    pub checkpoint: Option<Checkpoint>,
    /// What was wrong with newer ones, for the log. Empty when all is well, or nothing was ever written.
    pub warnings: Vec<String>,
}

/// Writes the checkpoint of the store in `dir` (which exists) and keeps the one before it. A crash at any moment
/// leaves at least one whole checkpoint, if there was one.
///
/// # Errors
/// [`StoreError::TooLarge`] with nothing written, and [`StoreError::Io`] with the older checkpoint in place.
pub fn write(dir: &Path, sequence: u64, payload: &[u8]) -> Result<(), StoreError> {
    let (newest, unfinished) = (dir.join(NEWEST), dir.join(UNFINISHED));
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(StoreError::TooLarge { file: newest, bytes: payload.len(), limit: PAYLOAD_BYTES_MAX });
    }
    let mut created = file::create(&unfinished)?;
    file::named(created.write_all(&encode_header(sequence, payload)), "write", &unfinished)?;
    file::named(created.write_all(payload), "write", &unfinished)?;
    file::named(created.sync_all(), "sync", &unfinished)?;
    match fs::rename(&newest, dir.join(PREVIOUS)) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        result => file::named(result, "rename", &newest)?,
    }
    file::named(fs::rename(&unfinished, &newest), "rename", &unfinished)?;
    Ok(file::sync_dir(dir)?)
}

/// Reads the newest whole checkpoint of the store in `dir`.
///
/// # Errors
/// [`StoreError::Newer`] when a newer tradebus wrote it, and [`StoreError::Io`] when the disk refuses.
pub fn read(dir: &Path) -> Result<Loaded, StoreError> {
    let mut loaded = Loaded::default();
    let mut missing = None;
    for name in [NEWEST, PREVIOUS] {
        let path = dir.join(name);
        match read_file(&path)? {
            Found::Whole(checkpoint) => {
                // A crash between the two renames of a write leaves only the previous one.
                loaded.warnings.extend(missing);
                loaded.checkpoint = Some(checkpoint);
                return Ok(loaded);
            }
            Found::Nothing => missing = Some(format!("{} is missing", path.display())),
            Found::Damaged(what) => {
                loaded.warnings.push(format!("damaged checkpoint: {}: {what}", path.display()));
            }
        }
    }
    Ok(loaded)
}

enum Found {
    Whole(Checkpoint),
    Damaged(&'static str),
    Nothing,
}

fn read_file(path: &Path) -> Result<Found, StoreError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        result => file::named(result, "open", path)?,
    };
    let (mut header, mut payload) = (Vec::new(), Vec::new());
    file::named((&file).take(HEADER_BYTES as u64).read_to_end(&mut header), "read", path)?;
    if header.len() < MAGIC.len() + 2 || header[..MAGIC.len()] != MAGIC {
        return Ok(Found::Damaged("this is not a checkpoint"));
    }
    // The format comes before the checksum: a newer header may be checked in another way.
    let version = u16::from_le_bytes(array(&header, 8));
    if version > FORMAT_VERSION {
        return Err(StoreError::Newer { file: path.to_owned(), version, supported: FORMAT_VERSION });
    }
    if version != FORMAT_VERSION {
        return Ok(Found::Damaged("there is no such format version"));
    }
    let length = file::named(file.metadata(), "look at", path)?.len();
    let fits = length.checked_sub(HEADER_BYTES as u64).filter(|bytes| *bytes <= PAYLOAD_BYTES_MAX as u64);
    let Some(bytes) = fits.filter(|bytes| u64::from_le_bytes(array(&header, 24)) == *bytes) else {
        return Ok(Found::Damaged("the length in its header is not that of the file"));
    };
    payload.reserve_exact(bytes as usize);
    file::named(file.take(bytes).read_to_end(&mut payload), "read", path)?;
    let sequence = u64::from_le_bytes(array(&header, 16));
    if header[12..16] != encode_header(sequence, &payload)[12..16] {
        return Ok(Found::Damaged("its checksum is wrong"));
    }
    Ok(Found::Whole(Checkpoint { file: path.to_owned(), sequence, payload }))
}

fn encode_header(sequence: u64, payload: &[u8]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&sequence.to_le_bytes());
    header[24..].copy_from_slice(&(payload.len() as u64).to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[16..]);
    hasher.update(payload);
    header[12..16].copy_from_slice(&hasher.finalize().to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two checkpoints are written, `change` meets the files, and reading gives the sequence and a warning with
    /// this text, or an error with it.
    fn check(change: impl Fn(&Path), sequence: Option<u64>, message: &str) {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 7, b"older").unwrap();
        write(dir.path(), 9, b"newer").unwrap();
        change(dir.path());
        match read(dir.path()) {
            Ok(loaded) => {
                assert_eq!(loaded.checkpoint.map(|found| found.sequence), sequence);
                let warnings = loaded.warnings.join("; ");
                assert!(warnings.contains(message), "{warnings}");
                assert_eq!(warnings.is_empty(), message.is_empty(), "{warnings}");
            }
            Err(error) => {
                assert!(sequence.is_none() && !message.is_empty(), "{error}");
                assert!(error.to_string().contains(message), "{error}");
            }
        }
    }

    fn flip(path: &Path, at: usize) {
        let mut bytes = fs::read(path).unwrap();
        bytes[at] ^= 0x10;
        fs::write(path, bytes).unwrap();
    }

    #[test]
    fn falls_back() {
        let remove = |dir: &Path, name: &str| fs::remove_file(dir.join(name)).unwrap();
        let cut = |dir: &Path, bytes| {
            File::options().write(true).open(dir.join(NEWEST)).unwrap().set_len(bytes).unwrap();
        };
        check(|_| {}, Some(9), "");
        check(|dir| flip(&dir.join(NEWEST), 33), Some(7), "checkpoint.tbc: its checksum is wrong");
        check(|dir| flip(&dir.join(NEWEST), 16), Some(7), "checkpoint.tbc: its checksum is wrong");
        check(|dir| flip(&dir.join(NEWEST), 0), Some(7), "checkpoint.tbc: this is not a checkpoint");
        check(|dir| flip(&dir.join(PREVIOUS), 33), Some(9), "");
        check(|dir| cut(dir, 0), Some(7), "checkpoint.tbc: this is not a checkpoint");
        check(|dir| cut(dir, 20), Some(7), "checkpoint.tbc: the length");
        check(|dir| cut(dir, 36), Some(7), "checkpoint.tbc: the length");
        check(|dir| remove(dir, NEWEST), Some(7), "checkpoint.tbc is missing");
        check(|dir| [NEWEST, PREVIOUS].iter().for_each(|name| flip(&dir.join(name), 33)), None, "wrong");
        check(|dir| [NEWEST, PREVIOUS].iter().for_each(|name| remove(dir, name)), None, "");
        check(|dir| fs::write(dir.join(UNFINISHED), b"half").unwrap(), Some(9), "");
        // Bit 4 of the version's first byte: format 17.
        check(|dir| flip(&dir.join(NEWEST), 8), None, "checkpoint.tbc has checkpoint format 17, and");
    }

    #[test]
    fn round_trip() {
        let dir = tempfile::tempdir().unwrap();
        for (sequence, payload) in [(0, b"".as_slice()), (u64::MAX, b"state"), (3, b"x")] {
            write(dir.path(), sequence, payload).unwrap();
            let file = dir.path().join(NEWEST);
            let expected = Checkpoint { file, sequence, payload: payload.to_vec() };
            assert_eq!(read(dir.path()).unwrap(), Loaded { checkpoint: Some(expected), warnings: vec![] });
        }
        let too_large = write(dir.path(), 4, &vec![0; PAYLOAD_BYTES_MAX + 1]);
        assert!(matches!(too_large, Err(StoreError::TooLarge { .. })));
        assert_eq!(read(dir.path()).unwrap().checkpoint.unwrap().sequence, 3);
    }
}
