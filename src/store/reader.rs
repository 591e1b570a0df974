//! Reads the journal, group by group, and never writes.
//!
//! Invariant: what is read is contiguous. Every frame is checked again, and what [`recovery`] calls damage ends the
//! reading with an error. Memory: one frame, at most 16 MiB of payload.
//!
//! Two ways to end. Without a bound the journal must not be written meanwhile; reading ends at the end or before a
//! torn tail, as [`Journal::open`](super::Journal::open) would cut it. With [`Reader::until`] a writer may append
//! and rotate meanwhile: everything up to the bound is durable, and a bad frame before it is damage.

use std::path::{Path, PathBuf};

use super::error::JournalError;
use super::journal;
use super::recovery::{self, missing, torn_tail};
use super::segment::{self, Frame, Scan, Step, damaged};

/// An iterator over the groups of a journal. It ends after the first error.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    from_sequence: u64,
    /// The last sequence to be read, or `None` to read to the end.
    until_sequence: Option<u64>,
    /// The segment being read; `None` when there is nothing more.
    scan: Option<Scan>,
}

impl Reader {
    /// Starts at the group that holds `from_sequence` (that group may start before it; 0 means 1) in the journal of
    /// the store in `dir`. Segments before it are not read. A journal that ends earlier, or is not there, yields
    /// nothing.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] when the journal starts after `from_sequence` or a header is wrong,
    /// [`JournalError::Newer`], and [`JournalError::Io`].
    pub fn open(dir: &Path, from_sequence: u64) -> Result<Reader, JournalError> {
        let dir = journal::dir(dir);
        let from_sequence = from_sequence.max(1);
        let segments = segment::list(&dir)?;
        let scan = match segments.iter().rev().find(|first| **first <= from_sequence) {
            Some(&first) if Some(&first) == segments.last() => Scan::open(&dir, first)?,
            Some(&first) => Some(recovery::open_whole(&dir, first)?),
            None => match segments.first() {
                Some(&oldest) => {
                    let what = format!("the journal starts here, and sequence {from_sequence} is missing");
                    return Err(damaged(&segment::path(&dir, oldest), 0, what));
                }
                None => None,
            },
        };
        Ok(Reader { dir, from_sequence, until_sequence: None, scan })
    }

    /// Ends after the group that holds `sequence`. The bound for reading beside a writer is its
    /// [`last_sequence`](super::Journal::last_sequence), asked for before the reader is opened or later.
    #[must_use]
    pub fn until(self, sequence: u64) -> Reader {
        Reader { until_sequence: Some(sequence), ..self }
    }

    fn advance(&mut self) -> Result<Option<Frame>, JournalError> {
        while let Some(scan) = &mut self.scan {
            if self.until_sequence.is_some_and(|until| scan.next > until) {
                return Ok(None);
            }
            match scan.step()? {
                Step::Frame(frame) if frame.last_sequence() < self.from_sequence => {}
                Step::Frame(frame) => return Ok(Some(frame)),
                Step::End => self.scan = self.next_segment()?,
                Step::Bad(what) => {
                    self.check_is_torn(what)?;
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    /// The segment that continues the one that was read to its end. The directory is read again, because a writer
    /// may have rotated meanwhile.
    fn next_segment(&self) -> Result<Option<Scan>, JournalError> {
        let Some(scan) = &self.scan else { return Ok(None) };
        let later: Vec<u64> =
            segment::list(&self.dir)?.into_iter().filter(|first| *first > scan.first).collect();
        match later.first() {
            Some(&next) if next != scan.next => Err(missing(scan, next)),
            Some(&next) if later.len() == 1 && self.until_sequence.is_none() => Scan::open(&self.dir, next),
            Some(&next) => recovery::open_whole(&self.dir, next).map(Some),
            None => match self.until_sequence {
                Some(until) => {
                    let what =
                        format!("the journal ends before sequence {}, and {until} was written", scan.next);
                    Err(damaged(&scan.path, scan.offset, what))
                }
                None => Ok(None),
            },
        }
    }

    /// An error unless a crash can have left the bad bytes that the scan met.
    fn check_is_torn(&self, what: &str) -> Result<(), JournalError> {
        let Some(scan) = &self.scan else { return Ok(()) };
        let is_last = segment::list(&self.dir)?.last() == Some(&scan.first);
        if is_last && self.until_sequence.is_none() {
            torn_tail(scan, what).map(|_| ())
        } else {
            Err(damaged(&scan.path, scan.offset, what))
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Frame, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.advance();
        if !matches!(item, Ok(Some(_))) {
            self.scan = None;
        }
        item.transpose()
    }
}
