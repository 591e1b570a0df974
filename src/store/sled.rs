//! sled 0.34.7: the only file that names one of its types. `docs/STORE.md` says why these settings.
//!
//! Its own flush does not reach the disk on Linux (sled#1452), and a young database whose files were never synced may
//! not open after a power cut. So the files are synced when they are made and at each [`Storage::flush`]. Its code may
//! panic on bytes that it does not understand; every call is guarded.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use ::sled::{Config, Db};

use super::file;
use super::storage::{Batch, Direction, Entry, Storage, StorageError, guarded};

/// The default would be 1 GB.
const CACHE_BYTES: u64 = 4 << 20;
/// Never `None`: the background flush is the only one that syncs by itself.
const FLUSH_EVERY_MS: u64 = 10_000;
/// sled gives up its lock a little after it was closed, and nobody else opens what the store's own lock guards.
const LOCK_TRIES: u32 = 500;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
const LOCKED: &str = "could not acquire lock";

/// An open database.
#[derive(Debug)]
pub struct SledStorage {
    db: Db,
    dir: PathBuf,
}

impl SledStorage {
    /// Opens the database in `dir`, or makes it, durable before it is used.
    ///
    /// # Errors
    /// When it does not open, or panics while it opens.
    pub fn open(dir: &Path) -> Result<SledStorage, StorageError> {
        file::create_dir(dir).map_err(|error| StorageError::Io(error.to_string()))?;
        remove_unfinished_snapshots(dir)?;
        let is_new = !dir.join("db").exists();
        let config = Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(Some(FLUSH_EVERY_MS));
        let mut tries = LOCK_TRIES;
        let db = loop {
            match guarded(|| config.open().map_err(told)) {
                Err(error) if tries > 0 && is_locked(&error) => {
                    tries -= 1;
                    thread::sleep(LOCK_PAUSE);
                }
                opened => break opened?,
            }
        };
        let storage = SledStorage { db, dir: dir.to_path_buf() };
        if is_new {
            storage.flush()?;
        }
        Ok(storage)
    }

    /// Syncs the files behind sled's back: data, configuration, and their names.
    fn sync_files(&self) -> Result<(), StorageError> {
        let refused = |error: super::error::IoError| StorageError::Io(error.to_string());
        for name in ["db", "conf"] {
            let path = self.dir.join(name);
            let file = file::named(File::open(&path), "open", &path).map_err(refused)?;
            file::named(file.sync_all(), "sync", &path).map_err(refused)?;
        }
        file::sync_dir(&self.dir).map_err(refused)
    }
}

impl Storage for SledStorage {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        guarded(|| Ok(self.db.get(key).map_err(told)?.map(|value| value.to_vec())))
    }

    fn range(
        &self,
        start: &[u8],
        end: &[u8],
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        if start >= end {
            return Ok(Vec::new());
        }
        guarded(|| {
            let mut range = self.db.range(start..end);
            let next = || match direction {
                Direction::Forward => range.next(),
                Direction::Backward => range.next_back(),
            };
            let entries = std::iter::from_fn(next).take(limit);
            entries
                .map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(told))
                .collect()
        })
    }

    fn commit(&self, batch: Batch) -> Result<(), StorageError> {
        let count = batch.changes.len();
        let mut changes = ::sled::Batch::default();
        for (key, value) in batch.changes {
            match value {
                Some(value) => changes.insert(key, value),
                None => changes.remove(key),
            }
        }
        guarded(|| {
            self.db.apply_batch(changes).map_err(told)?;
            // What each change replaced is freed by later calls only, a little by every 128th; a batch is one call.
            // Without these a catch-up of a million rows holds a gigabyte.
            (0..count).try_for_each(|_| self.db.get([]).map(|_| ())).map_err(told)
        })
    }

    fn flush(&self) -> Result<(), StorageError> {
        guarded(|| self.db.flush().map(|_| ()).map_err(told))?;
        self.sync_files()
    }

    fn close(self) -> Result<(), StorageError> {
        let flushed = self.flush();
        guarded(|| {
            drop(self);
            Ok(())
        })?;
        flushed
    }
}

/// A crash while sled wrote a snapshot leaves a file that may keep it from opening (sled#1527).
fn remove_unfinished_snapshots(dir: &Path) -> Result<(), StorageError> {
    let refused = |error: std::io::Error| StorageError::Io(format!("{}: {error}", dir.display()));
    for entry in fs::read_dir(dir).map_err(refused)? {
        let path = entry.map_err(refused)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&path).map_err(refused)?;
        }
    }
    Ok(())
}

/// Answers of the system may pass; what sled made up itself, such as a file that ends too early, is damage.
fn told(error: ::sled::Error) -> StorageError {
    match &error {
        ::sled::Error::Io(io) if io.raw_os_error().is_some() || io.to_string().contains(LOCKED) => {
            StorageError::Io(error.to_string())
        }
        _ => StorageError::Damaged(error.to_string()),
    }
}

fn is_locked(error: &StorageError) -> bool {
    matches!(error, StorageError::Io(text) if text.contains(LOCKED))
}
