//! The writer of the journal, the truth about money.
//!
//! Invariants:
//! - When [`Journal::append`] returns `Ok`, the group is on the disk. When it returns an error, the group is not
//!   part of the journal, and the same group may be appended again. One exception: when the process ends while the
//!   disk refuses even to cut off the failed group, the next start may find it whole, as after a crash between its
//!   sync and the return.
//! - Sequences are contiguous over all segments, from 1.
//! - A group is in one frame of one segment, and never there in part.
//!
//! Limits: 16 MiB a group ([`PAYLOAD_BYTES_MAX`]), which is also the most memory it takes. A segment is
//! larger than the rotation size only when it holds a single larger group. Segments are never deleted. One writer
//! per journal: the caller holds the [`StoreLock`](super::StoreLock).

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use super::disk::{Disk, SystemDisk};
use super::error::{IoError, JournalError};
use super::file;
use super::recovery::{self, Opened};
use super::segment::{self, HEADER_BYTES, PAYLOAD_BYTES_MAX};

/// Bytes at which a segment is followed by a new one, unless configured otherwise.
pub const ROTATE_BYTES_DEFAULT: u64 = 64 << 20;

/// The frame buffer is given back above this size: a burst must not stay in memory.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    disk: Box<dyn Disk>,
    rotate_bytes: u64,
    /// First sequence of the current segment.
    first_sequence: u64,
    last_sequence: u64,
    path: PathBuf,
    file: File,
    /// Sound bytes of the current segment: where the next frame goes.
    file_bytes: u64,
    /// Bytes of a failed append may follow the sound ones.
    is_tail_unsound: bool,
    /// A new segment was begun. Nothing may be appended to the current one, since the new one is named by the
    /// sequence that comes next.
    is_rotation_due: bool,
    bytes_written: u64,
    buffer: Vec<u8>,
}

/// The directory of the journal in a store.
pub(super) fn dir(store: &Path) -> PathBuf {
    store.join("journal")
}

impl Journal {
    /// Opens the journal of the store in `dir`, or creates it. The torn end that a crash may have left is cut off
    /// and reported; what counts as torn is in [`recovery`]. Segments grow to `rotate_bytes`.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] and [`JournalError::Newer`], with nothing modified, and [`JournalError::Io`].
    pub fn open(dir: &Path, rotate_bytes: u64) -> Result<(Journal, Opened), JournalError> {
        Journal::open_on(dir, rotate_bytes, Box::new(SystemDisk))
    }

    /// The same on another disk.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_on(
        dir: &Path,
        rotate_bytes: u64,
        disk: Box<dyn Disk>,
    ) -> Result<(Journal, Opened), JournalError> {
        let dir = self::dir(dir);
        let found = recovery::examine(&dir)?;
        file::create_dir(&dir)?;
        let path = segment::path(&dir, found.first);
        let file = if found.bytes == 0 {
            segment::create(&dir, found.first, found.previous)?
        } else {
            let file = file::named(OpenOptions::new().write(true).open(&path), "open", &path)?;
            if found.opened.torn.is_some() {
                file::named(file.set_len(found.bytes), "cut", &path)?;
            }
            // A process that was killed before its sync leaves frames that are readable and not yet durable, and
            // whoever reads them acts on them.
            file::named(file.sync_all(), "sync", &path)?;
            file::sync_dir(&dir)?;
            file
        };
        let journal = Journal {
            dir,
            disk,
            rotate_bytes,
            first_sequence: found.first,
            last_sequence: found.opened.last_sequence,
            path,
            file,
            file_bytes: found.bytes.max(HEADER_BYTES),
            is_tail_unsound: false,
            is_rotation_due: false,
            bytes_written: 0,
            buffer: Vec::new(),
        };
        Ok((journal, found.opened))
    }

    /// Checks the journal as [`Journal::open`] does and modifies nothing.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn inspect(dir: &Path) -> Result<Opened, JournalError> {
        Ok(recovery::examine(&self::dir(dir))?.opened)
    }

    /// Appends one group of `count` records, the first of which has `first_sequence`, and makes it durable.
    /// `version` is the encoding of the payload, which has 1 to [`PAYLOAD_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`JournalError::Io`]: the group is not in the journal, and the call may be repeated.
    /// [`JournalError::TooLarge`]: the group has to be split.
    ///
    /// # Panics
    /// When `first_sequence` is not the one after [`Journal::last_sequence`], or the group is empty.
    pub fn append(
        &mut self,
        first_sequence: u64,
        count: u32,
        version: u8,
        payload: &[u8],
    ) -> Result<(), JournalError> {
        assert_eq!(first_sequence, self.last_sequence + 1, "a group continues the journal's sequence");
        assert!(count > 0 && !payload.is_empty(), "a group has at least one record");
        let (bytes, limit) = (payload.len(), PAYLOAD_BYTES_MAX);
        if bytes > limit {
            return Err(JournalError::TooLarge { file: self.path.clone(), bytes, limit });
        }
        segment::encode_frame(&mut self.buffer, first_sequence, count, version, payload);
        let frame_bytes = self.buffer.len() as u64;
        if self.is_rotation_due || self.file_bytes + frame_bytes > self.rotate_bytes {
            self.rotate()?;
        }
        self.heal()?;
        if let Err(error) = self.write() {
            self.is_tail_unsound = true;
            // When this fails as well, the next call tries again before it writes anything.
            let _ = self.heal();
            return Err(error.into());
        }
        self.file_bytes += frame_bytes;
        self.bytes_written += frame_bytes;
        self.last_sequence += u64::from(count);
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        Ok(())
    }

    /// Begins a new segment, unless the current one is empty. After an error nothing is appended until the new
    /// segment exists; every append tries again.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn rotate(&mut self) -> Result<(), JournalError> {
        if self.file_bytes == HEADER_BYTES {
            return Ok(());
        }
        self.is_rotation_due = true;
        // Only the last segment may be torn, so this one has to end with a whole frame before there is another.
        self.heal()?;
        let first_sequence = self.last_sequence + 1;
        self.file = segment::create(&self.dir, first_sequence, self.first_sequence)?;
        self.path = segment::path(&self.dir, first_sequence);
        self.first_sequence = first_sequence;
        self.file_bytes = HEADER_BYTES;
        self.bytes_written += HEADER_BYTES;
        self.is_rotation_due = false;
        Ok(())
    }

    /// The last durable record's sequence; 0 in a new journal.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// Bytes that were appended since the journal was opened, headers included and failed writes not.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written
    }

    fn write(&self) -> Result<(), IoError> {
        let written = self.disk.write(&self.file, &self.buffer, self.file_bytes);
        file::named(written, "write", &self.path)?;
        file::named(self.disk.sync(&self.file), "sync", &self.path)
    }

    /// Cuts off what a failed append left. After a failed sync the system may take pages for written that are not,
    /// so the frame must not stay: only writing it again makes the next sync write it.
    fn heal(&mut self) -> Result<(), IoError> {
        if self.is_tail_unsound {
            file::named(self.disk.cut(&self.file, self.file_bytes), "cut", &self.path)?;
            self.is_tail_unsound = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::store::Reader;

    fn payloads(dir: &Path) -> Vec<Vec<u8>> {
        Reader::open(dir, 1).unwrap().map(|frame| frame.unwrap().payload).collect()
    }

    /// A file that refuses writes and cuts stands for a disk that does, and bytes behind the sound ones for what
    /// it wrote before it refused.
    #[test]
    fn failed_append_is_cut_off_and_repeated() {
        let root = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(root.path(), ROTATE_BYTES_DEFAULT).unwrap();
        journal.append(1, 2, 1, b"first").unwrap();
        let sound = journal.path.metadata().unwrap().len();

        let writable = std::mem::replace(&mut journal.file, File::open(&journal.path).unwrap());
        for action in ["write", "cut"] {
            let message = journal.append(3, 1, 1, b"second").unwrap_err().to_string();
            let expected = format!("could not {action} {}", journal.path.display());
            assert!(message.starts_with(&expected), "{message}");
            assert_eq!((journal.last_sequence(), journal.is_tail_unsound), (2, true));
        }
        journal.rotate().unwrap_err();

        writable.write_all_at(b"half of a frame, longer than the one that is written next", sound).unwrap();
        journal.file = writable;
        journal.is_rotation_due = false;
        journal.append(3, 1, 1, b"second").unwrap();
        assert_eq!(journal.path.metadata().unwrap().len(), journal.file_bytes);
        assert_eq!(payloads(root.path()), [b"first".to_vec(), b"second".to_vec()]);
    }

    #[test]
    fn failed_rotation_holds_appends_back_until_it_succeeds() {
        let root = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(root.path(), ROTATE_BYTES_DEFAULT).unwrap();
        journal.append(1, 1, 1, b"first").unwrap();
        // A directory in the way of the new segment's file.
        let blocked = segment::path(&journal.dir, 2);
        std::fs::create_dir(&blocked).unwrap();
        journal.rotate().unwrap_err();
        journal.append(2, 1, 1, b"second").unwrap_err();
        std::fs::remove_dir(&blocked).unwrap();
        journal.append(2, 1, 1, b"second").unwrap();
        assert_eq!((journal.path.clone(), journal.last_sequence()), (blocked, 2));
        assert_eq!(payloads(root.path()), [b"first".to_vec(), b"second".to_vec()]);
    }
}
