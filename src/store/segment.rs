//! One journal file: its name, its header and its frames.
//!
//! All integers are little endian. A segment is a header and then frames, back to back:
//!
//! ```text
//! header  32 bytes: magic "tradebus", format u16, reserved u16, crc32 u32 (over all else), first sequence u64,
//!                   first sequence of the segment before it u64 (0: none)
//! frame   21 bytes: payload length u32, first sequence u64, record count u32, crc32 u32, version u8; payload
//! ```
//!
//! The frame's checksum covers sequence, count, version and payload. One frame is one group commit, so a crash
//! loses a group whole or not at all. A payload has 1 to 16 MiB ([`PAYLOAD_BYTES_MAX`]) bytes and a group at
//! least one record, so zeros are never a frame. Magic and format keep their place in every later format.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::error::{IoError, JournalError};
use super::file;

/// Format version of the segments that are written, and the newest that is read.
pub const FORMAT_VERSION: u16 = 1;
/// Largest payload of one frame in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;
/// Bytes before a segment's first frame.
pub(super) const HEADER_BYTES: u64 = 32;
/// Bytes of a frame before its payload.
pub(super) const FRAME_HEADER_BYTES: usize = 21;

/// Bytes that are reserved for a payload before any of it was read; most groups fit.
const PAYLOAD_BYTES_RESERVED: usize = 64 << 10;

const MAGIC: [u8; 8] = *b"tradebus";

/// One group commit as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Sequence of the first record, from 1.
    pub sequence: u64,
    /// Records in the group, at least 1.
    pub count: u32,
    /// Version of the records' encoding.
    pub version: u8,
    /// The encoded records.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Sequence of the last record.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.sequence + u64::from(self.count) - 1
    }
}

/// The file of the segment that starts with `first`.
pub(super) fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.tbj"))
}

/// First sequences of all segments, ascending. Files that do not end in `.tbj` are not ours; one that does and has
/// another name is damage, because a renamed segment would otherwise be silently left out.
pub(super) fn list(dir: &Path) -> Result<Vec<u64>, JournalError> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        result => file::named(result, "read", dir)?,
    };
    let mut segments = Vec::new();
    for entry in entries {
        let found = file::named(entry, "read", dir)?.path();
        if found.extension().is_none_or(|extension| extension != "tbj") {
            continue;
        }
        let stem = found.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        match stem.parse::<u64>() {
            Ok(first) if first > 0 && path(dir, first) == found => segments.push(first),
            _ => return Err(damaged(&found, 0, "the name is not a sequence of 20 digits")),
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

/// Creates an empty segment, durable with its name before it is used. One that is there is emptied: the caller
/// knows that it never held a frame.
pub(super) fn create(dir: &Path, first: u64, previous: u64) -> Result<File, IoError> {
    let path = path(dir, first);
    let mut created = file::create(&path)?;
    file::named(created.write_all(&encode_header(first, previous)), "write", &path)?;
    file::named(created.sync_all(), "sync", &path)?;
    file::sync_dir(dir)?;
    Ok(created)
}

fn encode_header(first: u64, previous: u64) -> [u8; HEADER_BYTES as usize] {
    let mut header = [0; HEADER_BYTES as usize];
    header[..8].copy_from_slice(&MAGIC);
    header[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&first.to_le_bytes());
    header[24..].copy_from_slice(&previous.to_le_bytes());
    let crc = header_crc(&header);
    header[12..16].copy_from_slice(&crc.to_le_bytes());
    header
}

fn header_crc(header: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..12]);
    hasher.update(&header[16..]);
    hasher.finalize()
}

/// Puts one frame into `buffer`, replacing what it held.
pub(super) fn encode_frame(buffer: &mut Vec<u8>, sequence: u64, count: u32, version: u8, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a payload within the limit");
    let mut header = FrameHeader { length, sequence, count, crc: 0, version };
    header.crc = header.crc_with(payload);
    buffer.clear();
    buffer.reserve(FRAME_HEADER_BYTES + payload.len());
    buffer.extend_from_slice(&header.length.to_le_bytes());
    buffer.extend_from_slice(&header.sequence.to_le_bytes());
    buffer.extend_from_slice(&header.count.to_le_bytes());
    buffer.extend_from_slice(&header.crc.to_le_bytes());
    buffer.push(header.version);
    buffer.extend_from_slice(payload);
}

/// The fixed part of a frame, believed only with its payload's checksum.
pub(super) struct FrameHeader {
    pub(super) length: u32,
    pub(super) sequence: u64,
    count: u32,
    crc: u32,
    version: u8,
}

impl FrameHeader {
    pub(super) fn parse(bytes: &[u8; FRAME_HEADER_BYTES]) -> FrameHeader {
        FrameHeader {
            length: u32::from_le_bytes(array(bytes, 0)),
            sequence: u64::from_le_bytes(array(bytes, 4)),
            count: u32::from_le_bytes(array(bytes, 12)),
            crc: u32::from_le_bytes(array(bytes, 16)),
            version: bytes[20],
        }
    }

    /// Whether the length is one that a frame can have.
    pub(super) fn length_is_possible(&self) -> bool {
        (1..=PAYLOAD_BYTES_MAX).contains(&(self.length as usize))
    }

    pub(super) fn crc_is_right(&self, payload: &[u8]) -> bool {
        self.crc == self.crc_with(payload)
    }

    fn crc_with(&self, payload: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.sequence.to_le_bytes());
        hasher.update(&self.count.to_le_bytes());
        hasher.update(&[self.version]);
        hasher.update(payload);
        hasher.finalize()
    }
}

/// What a segment holds at the place where it is read.
pub(super) enum Step {
    /// The next group.
    Frame(Frame),
    /// Nothing: the segment ends after a whole frame.
    End,
    /// Bytes that are no frame, and why. The scan stays before them.
    Bad(&'static str),
}

/// Reads one segment frame by frame and never writes. Memory: one frame.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) path: PathBuf,
    /// The sequence that the segment starts with.
    pub(super) first: u64,
    /// The sequence that the segment before it starts with; 0 when there is none.
    pub(super) previous: u64,
    /// Where the next frame starts, in bytes.
    pub(super) offset: u64,
    /// The sequence that the next frame must have.
    pub(super) next: u64,
    input: BufReader<File>,
}

impl Scan {
    /// Opens the segment that starts with `first`; `None` when its header is torn, that is incomplete or all zeros
    /// with nothing behind it, as a crash in [`create`] leaves it.
    pub(super) fn open(dir: &Path, first: u64) -> Result<Option<Scan>, JournalError> {
        let path = path(dir, first);
        let mut input = BufReader::new(file::named(File::open(&path), "open", &path)?);
        let mut header = [0; HEADER_BYTES as usize];
        let got = file::named(read_full(&mut input, &mut header), "read", &path)?;
        // The format comes before the checksum: a newer header may be checked in another way.
        if got >= 10 && header[..8] == MAGIC {
            let version = u16::from_le_bytes(array(&header, 8));
            if version > FORMAT_VERSION {
                return Err(JournalError::Newer { file: path, version, supported: FORMAT_VERSION });
            }
        }
        let is_zero = header.iter().all(|byte| *byte == 0);
        let has_more = !file::named(std::io::BufRead::fill_buf(&mut input), "read", &path)?.is_empty();
        if got < header.len() || (is_zero && !has_more) {
            return Ok(None);
        }
        let what = if header[..8] != MAGIC {
            "this is not a journal segment"
        } else if header_crc(&header) != u32::from_le_bytes(array(&header, 12)) {
            "the segment's header has a wrong checksum"
        } else if u16::from_le_bytes(array(&header, 8)) != FORMAT_VERSION {
            "there is no such format version"
        } else if u64::from_le_bytes(array(&header, 16)) != first {
            "the segment's header and its name have different sequences"
        } else {
            let previous = u64::from_le_bytes(array(&header, 24));
            return Ok(Some(Scan { path, first, previous, offset: HEADER_BYTES, next: first, input }));
        };
        Err(damaged(&path, 0, what))
    }

    /// The next frame. A frame with a right checksum and a wrong sequence is damage wherever it is: no crash
    /// leaves one.
    pub(super) fn step(&mut self) -> Result<Step, JournalError> {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        match file::named(read_full(&mut self.input, &mut bytes), "read", &self.path)? {
            0 => return Ok(Step::End),
            FRAME_HEADER_BYTES => {}
            _ => return Ok(Step::Bad("a frame's header is incomplete")),
        }
        let header = FrameHeader::parse(&bytes);
        if !header.length_is_possible() {
            return Ok(Step::Bad("a frame has an impossible length"));
        }
        let wanted = u64::from(header.length);
        // A length is not believed yet, so it does not decide how much memory is taken.
        let mut payload = Vec::with_capacity((header.length as usize).min(PAYLOAD_BYTES_RESERVED));
        let got = (&mut self.input).take(wanted).read_to_end(&mut payload);
        if (file::named(got, "read", &self.path)? as u64) < wanted {
            return Ok(Step::Bad("a frame is incomplete"));
        }
        if !header.crc_is_right(&payload) {
            return Ok(Step::Bad("a frame has a wrong checksum"));
        }
        let next = header.sequence.checked_add(u64::from(header.count));
        let (Some(next), true) = (next, header.sequence == self.next && header.count > 0) else {
            let (sequence, count, expected) = (header.sequence, header.count, self.next);
            let what = format!("{count} records from sequence {sequence}, where {expected} is expected");
            return Err(damaged(&self.path, self.offset, what));
        };
        self.next = next;
        self.offset += FRAME_HEADER_BYTES as u64 + wanted;
        let FrameHeader { sequence, count, version, .. } = header;
        Ok(Step::Frame(Frame { sequence, count, version, payload }))
    }
}

/// An error about bytes that are not what was written.
pub(super) fn damaged(file: &Path, offset: u64, what: impl Into<String>) -> JournalError {
    JournalError::Damaged { file: file.to_owned(), offset, what: what.into() }
}

/// Fills `bytes` as far as the input goes, and says how far that was.
fn read_full(input: &mut impl Read, bytes: &mut [u8]) -> std::io::Result<usize> {
    let mut got = 0;
    while got < bytes.len() {
        match input.read(&mut bytes[got..]) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// `N` bytes at a fixed place of a header.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("a place within the header")
}
