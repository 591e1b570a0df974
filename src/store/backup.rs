//! Copies of a store: taken while a daemon writes, and put back up to a point in time.
//!
//! A frame never changes once it is whole, so a copy is the journal up to the last whole frame and a checkpoint that is
//! not ahead of it. Every copy is folded and compared before it gets its name: what is half done is called `.partial`.
//! The query store is not copied; it is made from the journal.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::error::{IoError, JournalError, StoreError};
use super::ledger::{LedgerError, Verified, for_each_record, verify};
use super::record::{RECORD_VERSION, encode, encode_state};
use super::segment::{self, Scan, Step, damaged};
use super::{Journal, ROTATE_BYTES_DEFAULT, checkpoint, file, journal, recovery};
use crate::engine::record::Record;
use crate::engine::state::State;
use crate::model::time::Timestamp;

/// Records of a frame that is written anew.
const GROUP_RECORDS: usize = 2_000;
/// How often a segment is read again that a daemon wrote to meanwhile.
const ATTEMPTS_MAX: u32 = 10;
const COPY_BYTES: usize = 1 << 20;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The source, or the copy when it was verified.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// There is something already, and nothing is overwritten.
    #[error("{} exists already; name a folder that does not", .0.display())]
    Exists(PathBuf),
    /// No journal there.
    #[error("there is no store in {}: it has no folder \"journal\"", .0.display())]
    NoStore(PathBuf),
    /// Nothing is as old as that.
    #[error("the backup has no records at or before {0}")]
    TooEarly(Timestamp),
}

impl From<IoError> for BackupError {
    fn from(error: IoError) -> BackupError {
        LedgerError::from(StoreError::from(error)).into()
    }
}

impl From<JournalError> for BackupError {
    fn from(error: JournalError) -> BackupError {
        LedgerError::from(error).into()
    }
}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> BackupError {
        LedgerError::from(error).into()
    }
}

/// Copies the store in `store`, which a daemon may use, to the new folder `target`, and verifies the copy. `progress`
/// is told bytes done and bytes in all.
///
/// # Errors
/// When the source is damaged, the copy cannot be written, or `target` exists.
pub fn backup(
    store: &Path,
    target: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<Verified, BackupError> {
    let partial = begin(store, target)?;
    // Before the journal: it must not be ahead of the copy.
    let checkpoint = checkpoint::read(store)?.checkpoint;
    let (from, to) = (journal::dir(store), journal::dir(&partial));
    file::create_dir(&to)?;
    let segments = segment::list(&from)?;
    let size = |first: &u64| segment::path(&from, *first).metadata().map_or(0, |metadata| metadata.len());
    let total: u64 = segments.iter().map(size).sum();
    let mut done = 0;
    for first in &segments {
        let bytes = sound_bytes(&from, *first, segments.last() == Some(first))?;
        if bytes > 0 {
            let (from, to) = (segment::path(&from, *first), segment::path(&to, *first));
            copy(&from, &to, bytes, |bytes| {
                done += bytes;
                progress(done.min(total), total);
            })?;
        }
    }
    file::sync_dir(&to)?;
    if let Some(checkpoint) = checkpoint {
        checkpoint::write(&partial, checkpoint.sequence, &checkpoint.payload)?;
    }
    progress(total, total);
    finish(&partial, target)
}

/// Puts the copy in `backup` into the new folder `target`: all of it, or the records through `until`, whole events
/// only. `progress` is told records done and records in all.
///
/// # Errors
/// When the backup is damaged, the store cannot be written, or `target` exists.
pub fn restore(
    backup: &Path,
    target: &Path,
    until: Option<Timestamp>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Verified, BackupError> {
    let partial = begin(backup, target)?;
    let last = Journal::inspect(backup)?.last_sequence;
    let (mut journal, _) = Journal::open(&partial, ROTATE_BYTES_DEFAULT)?;
    let (mut state, mut group) = (State::default(), Vec::new());
    let mut failed = None;
    for_each_record(backup, 1, last, |sequence, record| {
        // All records of an event have one time, so none is torn. What has no time belongs to what is before it.
        if until.is_some_and(|until| time_of(&record).is_some_and(|time| time > until)) {
            return false;
        }
        state.apply(&record);
        group.push(record);
        if group.len() == GROUP_RECORDS {
            progress(sequence, last);
            failed = append(&mut journal, &mut group).err();
        }
        failed.is_none()
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    if !group.is_empty() {
        append(&mut journal, &mut group)?;
    }
    drop(journal);
    if let (0, Some(until)) = (state.sequence, until) {
        fs::remove_dir_all(&partial).map_err(|error| named(error, "remove", &partial))?;
        return Err(BackupError::TooEarly(until));
    }
    if state.sequence > 0 {
        checkpoint::write(&partial, state.sequence, &encode_state(&state))?;
    }
    progress(last, last);
    finish(&partial, target)
}

fn append(journal: &mut Journal, group: &mut Vec<Record>) -> Result<(), JournalError> {
    let bytes = encode(group);
    journal.append(journal.last_sequence() + 1, group.len() as u32, RECORD_VERSION, &bytes)?;
    group.clear();
    Ok(())
}

/// When a record was made; `None` for those that say nothing about money.
fn time_of(record: &Record) -> Option<Timestamp> {
    match record {
        Record::Store { time, .. }
        | Record::Adjustment { time, .. }
        | Record::Retired { time, .. }
        | Record::Poisoned { time, .. } => Some(*time),
        Record::Strategy(strategy) => Some(strategy.time),
        Record::Signal(signal) => Some(signal.result.time),
        Record::Order(order) => Some(order.time),
        Record::Fill(fill) => Some(fill.time),
        Record::Trade(trade) => Some(trade.close_time),
        Record::Level(level) => Some(level.time),
        Record::Request(request) => Some(request.time),
        Record::Triggers(triggers) => Some(triggers.time),
        Record::Stop(stop) => Some(stop.time),
        Record::Sample(sample) => Some(sample.time),
        Record::Correction(correction) => Some(correction.time),
        Record::Account(account) => Some(account.time),
        Record::Route(route) => Some(route.time),
        Record::Reconcile(reconcile) => Some(reconcile.time),
        Record::Funding(funding) => Some(funding.time),
        Record::Drift(drift) => Some(drift.time),
        Record::Basis(basis) => Some(basis.time),
        Record::LastFills(record) => Some(record.time),
        Record::Snapshot(snapshot) => Some(snapshot.asked),
        Record::Market { .. }
        | Record::Published { .. }
        | Record::Announced(_)
        | Record::Live(_)
        | Record::LiveStop(_) => None,
    }
}

/// Checks both folders and makes the one that the copy grows in; one that was left half done is removed.
fn begin(source: &Path, target: &Path) -> Result<PathBuf, BackupError> {
    if !journal::dir(source).is_dir() {
        return Err(BackupError::NoStore(source.to_owned()));
    }
    if target.exists() {
        return Err(BackupError::Exists(target.to_owned()));
    }
    let mut name = target.as_os_str().to_owned();
    name.push(".partial");
    let partial = PathBuf::from(name);
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(|error| named(error, "remove", &partial))?;
    }
    file::create_dir(&partial)?;
    Ok(partial)
}

/// Verifies the copy and gives it its name.
fn finish(partial: &Path, target: &Path) -> Result<Verified, BackupError> {
    let verified = verify(partial)?;
    let _ = fs::remove_file(partial.join("lock"));
    file::sync_dir(partial)?;
    fs::rename(partial, target).map_err(|error| named(error, "rename", partial))?;
    match target.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => file::sync_dir(parent)?,
        None => file::sync_dir(Path::new("."))?,
    }
    Ok(verified)
}

/// Bytes of a segment up to its last whole frame; 0 when not even its header is whole.
fn sound_bytes(dir: &Path, first: u64, is_last: bool) -> Result<u64, JournalError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let Some(mut scan) = Scan::open(dir, first)? else { return Ok(0) };
        let what = loop {
            match scan.step()? {
                Step::Frame(_) => {}
                Step::End => return Ok(scan.offset),
                Step::Bad(what) => break what,
            }
        };
        if !is_last {
            return Err(damaged(&scan.path, scan.offset, what));
        }
        // A frame that is being written looks like damage once others stand behind it, so it is read again.
        match recovery::torn_tail(&scan, what) {
            Ok(_) => return Ok(scan.offset),
            Err(error) if attempt == ATTEMPTS_MAX => return Err(error),
            Err(_) => {}
        }
    }
}

fn copy(from: &Path, to: &Path, bytes: u64, mut progress: impl FnMut(u64)) -> Result<(), IoError> {
    let source = file::named(File::open(from), "open", from)?;
    let mut source = source.take(bytes);
    let mut copy = file::create(to)?;
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let got = file::named(source.read(&mut buffer), "read", from)?;
        if got == 0 {
            break;
        }
        file::named(copy.write_all(&buffer[..got]), "write", to)?;
        progress(got as u64);
    }
    file::named(copy.sync_all(), "sync", to)
}

fn named(error: std::io::Error, action: &'static str, path: &Path) -> IoError {
    IoError { action, path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::records;
    use crate::store::ledger::Ledger;

    fn store(records: &[Record]) -> (tempfile::TempDir, PathBuf, Ledger) {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("store");
        let (mut ledger, _) = Ledger::open(&dir).unwrap();
        for group in records.chunks(7) {
            ledger.append(ledger.last_sequence() + 1, group).unwrap();
            if ledger.last_sequence() == 14 {
                ledger.rotate().unwrap();
            }
        }
        (root, dir, ledger)
    }

    fn read(dir: &Path) -> Vec<Record> {
        let mut found = Vec::new();
        let last = Journal::inspect(dir).unwrap().last_sequence;
        for_each_record(dir, 1, last, |_, record| {
            found.push(record);
            true
        })
        .unwrap();
        found
    }

    #[test]
    fn a_copy_is_taken_beside_a_writer_and_put_back() {
        let all = records(50);
        let (root, dir, mut ledger) = store(&all);
        let mut state = State::default();
        all.iter().for_each(|record| state.apply(record));
        ledger.checkpoint(state.sequence, &encode_state(&state)).unwrap();
        // The writer is in the middle of a frame.
        let newest = segment::path(&journal::dir(&dir), 15);
        let mut file = File::options().append(true).open(&newest).unwrap();
        file.write_all(&[40, 0, 0, 0, 6]).unwrap();
        let copied = root.path().join("copy");
        let mut told = Vec::new();
        let verified = backup(&dir, &copied, |done, total| told.push((done, total))).unwrap();
        assert_eq!((verified.records, verified.checkpoint), (all.len() as u64, Some(all.len() as u64)));
        assert!(told.is_sorted() && told.last().is_some_and(|(done, total)| done == total));
        assert!(matches!(backup(&dir, &copied, |_, _| {}), Err(BackupError::Exists(_))));
        assert!(matches!(backup(root.path(), &dir.join("x"), |_, _| {}), Err(BackupError::NoStore(_))));
        let restored = root.path().join("restored");
        restore(&copied, &restored, None, |_, _| {}).unwrap();
        assert_eq!(read(&restored), all);
        assert_eq!(Ledger::open(&restored).unwrap().1.state, state);
        assert!(!root.path().join("copy.partial").exists());
    }

    #[test]
    fn a_point_in_time_ends_with_a_whole_event() {
        let all = records(50);
        let (root, dir, _ledger) = store(&all);
        for n in [0, 1, 7, 49, 50, 60] {
            let until = Timestamp::from_ms(1_700_000_000_000 + n * 1_000 + 500);
            let target = root.path().join(format!("until {n}"));
            restore(&dir, &target, Some(until), |_, _| {}).unwrap();
            assert_eq!(read(&target), records(n.min(50).try_into().unwrap()));
        }
        let early = restore(&dir, &root.path().join("early"), Some(Timestamp::MIN), |_, _| {});
        assert!(matches!(early, Err(BackupError::TooEarly(_))));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 7);
    }

    #[test]
    fn damage_is_not_copied() {
        let all = records(50);
        let (root, dir, ledger) = store(&all);
        drop(ledger);
        for first in [1, 15] {
            let path = segment::path(&journal::dir(&dir), first);
            let sound = fs::read(&path).unwrap();
            let mut bytes = sound.clone();
            bytes[100] ^= 1;
            fs::write(&path, bytes).unwrap();
            let target = root.path().join("copy");
            let error = backup(&dir, &target, |_, _| {}).unwrap_err().to_string();
            assert!(error.contains("damaged journal") && !target.exists(), "{error}");
            fs::write(&path, sound).unwrap();
        }
    }
}
