//! The journal as the engine sees it: records in, state out.
//!
//! Opening folds the checkpoint and the journal's tail; verifying folds everything again and compares. A store that is
//! damaged or newer is refused and left as it is.

use std::path::{Path, PathBuf};

use super::checkpoint;
use super::disk::{Disk, SystemDisk};
use super::record::{DecodeError, RECORD_VERSION, decode, decode_state, encode, encode_state};
use super::{Journal, JournalError, ROTATE_BYTES_DEFAULT, Reader, StoreError, StoreLock};
use crate::engine::record::Record;
use crate::engine::state::State;

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The folder, its lock or its checkpoint.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The content of a frame.
    #[error("journal, frame at sequence {sequence}: {error}")]
    Frame {
        /// First sequence of the frame.
        sequence: u64,
        /// What is wrong.
        error: DecodeError,
    },
    /// The content of a checkpoint is of a newer tradebus.
    #[error("{}: {error}", file.display())]
    Checkpoint {
        /// The checkpoint.
        file: PathBuf,
        /// What is wrong.
        error: DecodeError,
    },
    /// The checkpoint knows more than the journal: the journal's end is lost.
    #[error(
        "the checkpoint of {dir} is at sequence {checkpoint}, but the journal ends at {journal}: its end is lost; \
         restore the folder from a backup"
    )]
    Lost {
        /// The store.
        dir: PathBuf,
        /// Sequence of the checkpoint.
        checkpoint: u64,
        /// Last sequence of the journal.
        journal: u64,
    },
    /// The state folded from everything is not the checkpoint's.
    #[error(
        "the checkpoint at sequence {sequence} is not the fold of the journal; delete it, and it is made anew"
    )]
    Differs {
        /// Sequence of the checkpoint.
        sequence: u64,
    },
}

/// An open store.
#[derive(Debug)]
pub struct Ledger {
    dir: PathBuf,
    journal: Journal,
    _lock: StoreLock,
}

/// What opening found out.
#[derive(Debug)]
pub struct Opening {
    /// The folded state.
    pub state: State,
    /// Records that were folded beyond the checkpoint.
    pub records: u64,
    /// What a person should know: a torn tail that was cut, a damaged checkpoint that was passed over.
    pub warnings: Vec<String>,
}

/// What verifying found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Records in the journal.
    pub records: u64,
    /// Files of the journal.
    pub segments: usize,
    /// Sequence of the checkpoint that was compared, if there is one.
    pub checkpoint: Option<u64>,
}

impl Ledger {
    /// Opens a store, making it when it is not there.
    ///
    /// # Errors
    /// When another process uses it, or it is damaged, newer, or cannot be read.
    pub fn open(dir: &Path) -> Result<(Ledger, Opening), LedgerError> {
        Ledger::open_on(dir, ROTATE_BYTES_DEFAULT, Box::new(SystemDisk))
    }

    /// The same with files of the journal that grow to `rotate_bytes`, on another disk.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub fn open_on(
        dir: &Path,
        rotate_bytes: u64,
        disk: Box<dyn Disk>,
    ) -> Result<(Ledger, Opening), LedgerError> {
        let lock = StoreLock::acquire(dir)?;
        let (journal, opened) = Journal::open_on(dir, rotate_bytes, disk)?;
        let mut warnings = Vec::new();
        if let Some(torn) = &opened.torn {
            let (bytes, file, offset) = (torn.bytes, torn.file.display(), torn.offset);
            warnings.push(format!(
                "cut {bytes} bytes of an unfinished write off {file} at {offset}; nothing in them was acknowledged"
            ));
        }
        let mut state = checkpointed_state(dir, journal.last_sequence(), &mut warnings)?;
        let checkpointed = state.sequence;
        fold(dir, &mut state, journal.last_sequence())?;
        let records = state.sequence - checkpointed;
        let ledger = Ledger { dir: dir.to_path_buf(), journal, _lock: lock };
        Ok((ledger, Opening { state, records, warnings }))
    }

    /// Journals a group of records and waits until it is on disk.
    ///
    /// # Errors
    /// When it is not; the same call may be repeated, and nothing of the group is there before it succeeds.
    pub fn append(&mut self, first_sequence: u64, records: &[Record]) -> Result<(), JournalError> {
        self.journal.append(first_sequence, records.len() as u32, RECORD_VERSION, &encode(records))
    }

    /// Writes a checkpoint: the bytes of [`super::record::encode_state`] for a state folded through `sequence`, which
    /// must be on disk already.
    ///
    /// # Errors
    /// When it cannot be written; the one before stays.
    ///
    /// # Panics
    /// When the journal does not reach that far.
    pub fn checkpoint(&mut self, sequence: u64, state: &[u8]) -> Result<(), StoreError> {
        assert!(sequence <= self.last_sequence(), "a checkpoint must not be ahead of the journal");
        checkpoint::write(&self.dir, sequence, state)
    }

    /// Begins a new file of the journal.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn rotate(&mut self) -> Result<(), JournalError> {
        self.journal.rotate()
    }

    /// Sequence of the last record on disk.
    pub fn last_sequence(&self) -> u64 {
        self.journal.last_sequence()
    }

    /// Bytes written since it was opened.
    pub fn bytes_written(&self) -> u64 {
        self.journal.bytes_written()
    }

    /// The records from a sequence on, up to `limit` of them, as far as they are on disk.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Record)>, LedgerError> {
        let mut records = Vec::new();
        for_each_record(&self.dir, from, self.last_sequence(), |sequence, record| {
            records.push((sequence, record));
            records.len() < limit
        })?;
        Ok(records)
    }
}

/// Folds the whole journal of a store that nobody uses, and compares with its checkpoint.
///
/// # Errors
/// What is wrong, with file and offset; nothing is changed.
pub fn verify(dir: &Path) -> Result<Verified, LedgerError> {
    let _lock = StoreLock::acquire_existing(dir)?;
    let opened = Journal::inspect(dir)?;
    let mut checkpoint = checkpoint::read(dir)?.checkpoint;
    let mut state = State::default();
    let mut compared = None;
    match checkpoint.as_ref().map(|checkpoint| decode_state(&checkpoint.payload)) {
        // What differs because a newer tradebus folded it is not to be deleted.
        Some(Err(error @ DecodeError::Newer { .. })) => {
            let file = checkpoint.map(|checkpoint| checkpoint.file).unwrap_or_default();
            return Err(LedgerError::Checkpoint { file, error });
        }
        // The next stop replaces it.
        Some(Err(DecodeError::Older { .. })) => checkpoint = None,
        _ => {}
    }
    // What an older tradebus folded has another form: there is nothing to compare.
    checkpoint.take_if(|found| matches!(decode_state(&found.payload), Err(DecodeError::Older { .. })));
    let expected = checkpoint.as_ref().map(|checkpoint| checkpoint.sequence);
    let mut same = true;
    for_each_record(dir, 1, opened.last_sequence, |sequence, record| {
        state.apply(&record);
        if let Some(checkpoint) = checkpoint.as_ref().filter(|checkpoint| checkpoint.sequence == sequence) {
            same = encode_state(&state) == checkpoint.payload;
            compared = Some(sequence);
        }
        same
    })?;
    match expected {
        Some(sequence) if !same => Err(LedgerError::Differs { sequence }),
        Some(checkpoint) if compared.is_none() => {
            Err(LedgerError::Lost { dir: dir.to_path_buf(), checkpoint, journal: opened.last_sequence })
        }
        _ => Ok(Verified { records: state.sequence, segments: opened.segments, checkpoint: compared }),
    }
}

/// The checkpoint's state, or an empty one; a checkpoint that cannot be read is passed over with a warning.
fn checkpointed_state(dir: &Path, last: u64, warnings: &mut Vec<String>) -> Result<State, LedgerError> {
    let loaded = checkpoint::read(dir)?;
    warnings.extend(loaded.warnings);
    let Some(checkpoint) = loaded.checkpoint else { return Ok(State::default()) };
    if checkpoint.sequence > last {
        let (dir, checkpoint) = (dir.to_path_buf(), checkpoint.sequence);
        return Err(LedgerError::Lost { dir, checkpoint, journal: last });
    }
    match decode_state(&checkpoint.payload) {
        Ok(state) => Ok(state),
        Err(error @ DecodeError::Newer { .. }) => {
            Err(LedgerError::Checkpoint { file: checkpoint.file, error })
        }
        Err(error) => {
            warnings.push(format!("the checkpoint is passed over: {error}"));
            Ok(State::default())
        }
    }
}

fn fold(dir: &Path, state: &mut State, last: u64) -> Result<(), LedgerError> {
    for_each_record(dir, state.sequence + 1, last, |_, record| {
        state.apply(&record);
        true
    })
}

/// Reads records of the store in `dir` from `from` through `last`, which must be on disk, until `take` says no.
///
/// # Errors
/// When the journal cannot be read.
pub fn for_each_record(
    dir: &Path,
    from: u64,
    last: u64,
    mut take: impl FnMut(u64, Record) -> bool,
) -> Result<(), LedgerError> {
    if from > last {
        return Ok(());
    }
    for frame in Reader::open(dir, from)?.until(last) {
        let frame = frame?;
        let records = decode(frame.version, frame.count, &frame.payload)
            .map_err(|error| LedgerError::Frame { sequence: frame.sequence, error })?;
        for (sequence, record) in (frame.sequence..).zip(records) {
            if sequence >= from && sequence <= last && !take(sequence, record) {
                return Ok(());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::store::fixture;

    #[test]
    fn a_checkpoint_that_does_not_follow_from_the_journal_is_told() {
        let records = fixture::records(2);
        let (all, last) = (records.len(), records.len() as u64);
        let folded = |count: usize| {
            let mut state = State::default();
            records[..count].iter().for_each(|record| state.apply(record));
            encode_state(&state)
        };
        let check = |sequence: u64, state: &[u8], fits: fn(&Result<Verified, LedgerError>) -> bool| {
            let dir = TempDir::new().unwrap();
            let (mut ledger, _) = Ledger::open(dir.path()).unwrap();
            ledger.append(1, &records).unwrap();
            drop(ledger);
            checkpoint::write(dir.path(), sequence, state).unwrap();
            let verified = verify(dir.path());
            assert!(fits(&verified), "{sequence}: {verified:?}");
        };
        check(last, &folded(all), |verified| matches!(verified, Ok(found) if found.checkpoint.is_some()));
        check(last, &folded(all - 1), |verified| matches!(verified, Err(LedgerError::Differs { .. })));
        check(last + 1, &folded(all), |verified| matches!(verified, Err(LedgerError::Lost { .. })));
    }
}
