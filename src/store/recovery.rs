//! What a journal on disk is: sound, torn by a crash, or damaged. Nothing here writes.
//!
//! A frame is one group commit and is synced before the next is written, and a new segment is used only once it is
//! durable. So a crash can leave three things, and all are **torn**: they were never acknowledged and may be cut.
//!
//! - Bytes after the last whole frame of the last segment that are no frame (incomplete, a wrong checksum, zeros).
//! - A last segment without a whole header and without frames.
//! - Nothing, when the write or the name of the new segment did not reach the disk at all.
//!
//! Everything else is **damage**, and a person has to decide: a bad frame in an earlier segment, more bytes than
//! one frame can have, a sequence that does not continue, a missing segment, and a bad frame with any sound frame of
//! a greater sequence after it. That frame is looked for at every byte, since the length of the bad one may be what
//! is wrong.
//!
//! Limits. Damage to the very last frames cannot be told from a torn write; the caller compares
//! [`Opened::last_sequence`] with the checkpoint, because a journal that ends before its checkpoint has lost
//! something. Opening reads all headers and the whole last segment; frames of earlier segments are checked when a
//! [`Reader`](super::Reader) reads them. Memory: one frame.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::error::JournalError;
use super::file;
use super::segment::{self, FRAME_HEADER_BYTES, FrameHeader, PAYLOAD_BYTES_MAX, Scan, Step, damaged};

/// How far above the expected sequence a frame after a bad one is believed. Payload bytes that look like a header
/// are hardly ever in this window, so that almost no checksum is computed in vain.
const SEQUENCE_WINDOW: u64 = 1 << 40;

/// What opening a journal found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The oldest sequence that the journal can hold; above 1 when older segments were taken away.
    pub first_sequence: u64,
    /// The last whole record's sequence; one less than `first_sequence` when there is none.
    pub last_sequence: u64,
    /// Segments, before opening.
    pub segments: usize,
    /// What a crash left half written. [`Journal::open`](super::Journal::open) has cut it off,
    /// [`Journal::inspect`](super::Journal::inspect) has not.
    pub torn: Option<Torn>,
}

/// The half written end of the last segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The segment.
    pub file: PathBuf,
    /// Where the half written part starts, in bytes; 0 when the header itself is torn.
    pub offset: u64,
    /// How many bytes it has; 0 for a segment that was only just created.
    pub bytes: u64,
}

/// A journal as it was found, with what the writer needs to continue it.
pub(super) struct Examined {
    pub(super) opened: Opened,
    /// First sequence of the last segment.
    pub(super) first: u64,
    /// First sequence of the segment before it, or 0.
    pub(super) previous: u64,
    /// Sound bytes of the last segment; 0 when it has to be created (again).
    pub(super) bytes: u64,
}

/// Checks all headers, the links between segments, and the last segment's frames.
pub(super) fn examine(dir: &Path) -> Result<Examined, JournalError> {
    let segments = segment::list(dir)?;
    let Some((&last, earlier)) = segments.split_last() else {
        let opened = Opened { first_sequence: 1, last_sequence: 0, segments: 0, torn: None };
        return Ok(Examined { opened, first: 1, previous: 0, bytes: 0 });
    };
    // What came before the oldest segment is unknown when older ones were taken away.
    let mut before = None;
    for &first in earlier {
        let scan = open_whole(dir, first)?;
        check_link(&scan, before)?;
        before = Some(first);
    }
    let mut opened =
        Opened { first_sequence: segments[0], last_sequence: last - 1, segments: segments.len(), torn: None };
    let Some(mut scan) = Scan::open(dir, last)? else {
        if let Some(before) = before {
            check_ends_at(dir, before, last)?;
        }
        let path = segment::path(dir, last);
        let bytes = file::named(path.metadata(), "read", &path)?.len();
        opened.torn = Some(Torn { file: path, offset: 0, bytes });
        return Ok(Examined { opened, first: last, previous: before.unwrap_or(0), bytes: 0 });
    };
    check_link(&scan, before)?;
    loop {
        match scan.step()? {
            Step::Frame(_) => {}
            Step::End => break,
            Step::Bad(what) => {
                opened.torn = Some(torn_tail(&scan, what)?);
                break;
            }
        }
    }
    opened.last_sequence = scan.next - 1;
    Ok(Examined { opened, first: last, previous: scan.previous, bytes: scan.offset })
}

/// Opens a segment that a crash cannot have torn.
pub(super) fn open_whole(dir: &Path, first: u64) -> Result<Scan, JournalError> {
    Scan::open(dir, first)?
        .ok_or_else(|| damaged(&segment::path(dir, first), 0, "the segment's header is incomplete"))
}

fn check_link(scan: &Scan, before: Option<u64>) -> Result<(), JournalError> {
    match before {
        Some(before) if before != scan.previous => {
            let what = format!(
                "it continues the segment from sequence {}, and the one before it is from {before}",
                scan.previous
            );
            Err(damaged(&scan.path, 0, what))
        }
        _ => Ok(()),
    }
}

/// Checks that the segment from `first` is whole and ends where the segment from `next` starts.
fn check_ends_at(dir: &Path, first: u64, next: u64) -> Result<(), JournalError> {
    let mut scan = open_whole(dir, first)?;
    loop {
        match scan.step()? {
            Step::Frame(_) => {}
            Step::End if scan.next == next => return Ok(()),
            Step::End => return Err(missing(&scan, next)),
            Step::Bad(what) => return Err(damaged(&scan.path, scan.offset, what)),
        }
    }
}

/// The error for a segment that ends before the next one starts.
pub(super) fn missing(scan: &Scan, next: u64) -> JournalError {
    let what = format!("the segment ends before sequence {}, and the next starts with {next}", scan.next);
    damaged(&scan.path, scan.offset, what)
}

/// Decides about the bytes after the last whole frame of the last segment: the torn tail, or an error when they are
/// damage. `what` is wrong with them.
pub(super) fn torn_tail(scan: &Scan, what: &str) -> Result<Torn, JournalError> {
    let (path, offset) = (&scan.path, scan.offset);
    let mut file = file::named(File::open(path), "open", path)?;
    file::named(file.seek(SeekFrom::Start(offset)), "read", path)?;
    let limit = FRAME_HEADER_BYTES + PAYLOAD_BYTES_MAX;
    let mut tail = Vec::new();
    file::named(file.take(limit as u64 + 1).read_to_end(&mut tail), "read", path)?;
    if tail.len() > limit {
        return Err(damaged(path, offset, format!("{what}, and more follows than one frame can have")));
    }
    match find_frame(&tail, scan.next) {
        Some(at) => {
            let what = format!("{what}, and a sound frame follows at byte {}", offset + at as u64);
            Err(damaged(path, offset, what))
        }
        None => Ok(Torn { file: path.clone(), offset, bytes: tail.len() as u64 }),
    }
}

/// Where the first sound frame with a sequence above `expected` starts in `tail`, at any byte.
fn find_frame(tail: &[u8], expected: u64) -> Option<usize> {
    let is_frame = |at: usize| {
        let rest = &tail[at..];
        let Some((header, rest)) = rest.split_first_chunk::<FRAME_HEADER_BYTES>() else { return false };
        let header = FrameHeader::parse(header);
        header.length_is_possible()
            && header.sequence > expected
            && header.sequence - expected < SEQUENCE_WINDOW
            && rest.get(..header.length as usize).is_some_and(|payload| header.crc_is_right(payload))
    };
    (1..tail.len()).find(|at| is_frame(*at))
}
