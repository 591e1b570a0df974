//! Where queries read: ordered bytes in and out, behind one trait, so that no engine shows outside its own file.
//!
//! Nothing here is the truth: whatever an engine loses is made again from the journal. So a commit is atomic but need
//! not be durable before [`Storage::flush`], and an engine that cannot be read is thrown away rather than repaired.
//! Keys have 1 to [`KEY_BYTES_MAX`] bytes and are ordered by their bytes.

use std::panic::AssertUnwindSafe;
use std::path::Path;

use super::memory::MemoryStorage;
#[cfg(feature = "redb")]
use super::redb::RedbStorage;
use super::sled::SledStorage;

/// Longest key in bytes.
pub const KEY_BYTES_MAX: usize = 256;

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Which end of a range comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Smallest key first.
    Forward,
    /// Largest key first.
    Backward,
}

/// Changes that are made together or not at all. The last change of a key counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Keys with their new values; `None` removes.
    pub changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Batch {
    /// Sets a key.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.changes.push((key, Some(value)));
    }

    /// Removes a key, also one that is not there.
    pub fn remove(&mut self, key: Vec<u8>) {
        self.changes.push((key, None));
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Why an engine does not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The disk refused. It may pass.
    #[error("query store: {0}")]
    Io(String),
    /// What was read is not what was written, or the engine failed. It has to be made again.
    #[error("damaged query store: {0}")]
    Damaged(String),
    /// A newer tradebus wrote it.
    #[error("the query store has version {found}, and this tradebus reads up to version {supported}")]
    Newer {
        /// The version found.
        found: u8,
        /// The newest version that this program reads.
        supported: u8,
    },
}

/// An ordered map of bytes on disk or in memory. Readers may run beside one writer.
pub trait Storage: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// When it cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// Entries with `start <= key < end`, at most `limit` of them. The next page starts behind the last key (forward)
    /// or ends with it (backward), so no engine keeps a cursor open.
    ///
    /// # Errors
    /// When they cannot be read.
    fn range(
        &self,
        start: &[u8],
        end: &[u8],
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Entry>, StorageError>;

    /// Makes all changes of a batch, or none.
    ///
    /// # Errors
    /// When they cannot be written.
    fn commit(&self, batch: Batch) -> Result<(), StorageError>;

    /// Makes everything committed durable.
    ///
    /// # Errors
    /// When the disk refuses.
    fn flush(&self) -> Result<(), StorageError>;

    /// Flushes and closes.
    ///
    /// # Errors
    /// As [`Storage::flush`]; it is closed all the same.
    fn close(self) -> Result<(), StorageError>
    where
        Self: Sized;
}

/// The engines that can be configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// sled, the default.
    Sled,
    /// Nothing on disk: made from the journal at each start.
    Memory,
    /// redb, behind the cargo feature of this name.
    #[cfg(feature = "redb")]
    Redb,
}

impl EngineKind {
    /// The engine of a name in the configuration, if this build has it.
    pub fn named(name: &str) -> Option<EngineKind> {
        match name {
            "sled" => Some(EngineKind::Sled),
            "memory" => Some(EngineKind::Memory),
            #[cfg(feature = "redb")]
            "redb" => Some(EngineKind::Redb),
            _ => None,
        }
    }

    /// Its name in the configuration, and of its folder.
    pub fn as_str(self) -> &'static str {
        match self {
            EngineKind::Sled => "sled",
            EngineKind::Memory => "memory",
            #[cfg(feature = "redb")]
            EngineKind::Redb => "redb",
        }
    }
}

/// An open engine.
#[derive(Debug)]
pub enum AnyStorage {
    /// In memory.
    Memory(MemoryStorage),
    /// sled.
    Sled(SledStorage),
    /// redb.
    #[cfg(feature = "redb")]
    Redb(RedbStorage),
}

impl AnyStorage {
    /// Opens the engine in `dir`, which is made when it is missing.
    ///
    /// # Errors
    /// When it does not open; a panic while opening is [`StorageError::Damaged`].
    pub fn open(kind: EngineKind, dir: &Path) -> Result<AnyStorage, StorageError> {
        match kind {
            EngineKind::Memory => Ok(AnyStorage::Memory(MemoryStorage::default())),
            EngineKind::Sled => SledStorage::open(dir).map(AnyStorage::Sled),
            #[cfg(feature = "redb")]
            EngineKind::Redb => RedbStorage::open(dir).map(AnyStorage::Redb),
        }
    }
}

macro_rules! each_engine {
    ($storage:expr, $inner:ident => $call:expr) => {
        match $storage {
            AnyStorage::Memory($inner) => $call,
            AnyStorage::Sled($inner) => $call,
            #[cfg(feature = "redb")]
            AnyStorage::Redb($inner) => $call,
        }
    };
}

impl Storage for AnyStorage {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        each_engine!(self, storage => storage.get(key))
    }

    fn range(
        &self,
        start: &[u8],
        end: &[u8],
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        each_engine!(self, storage => storage.range(start, end, direction, limit))
    }

    fn commit(&self, batch: Batch) -> Result<(), StorageError> {
        each_engine!(self, storage => storage.commit(batch))
    }

    fn flush(&self) -> Result<(), StorageError> {
        each_engine!(self, storage => storage.flush())
    }

    fn close(self) -> Result<(), StorageError> {
        each_engine!(self, storage => storage.close())
    }
}

/// Runs an engine's code. A panic inside is damage: engines panic on pages that they do not understand.
pub(super) fn guarded<T>(run: impl FnOnce() -> Result<T, StorageError>) -> Result<T, StorageError> {
    match std::panic::catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
            Err(StorageError::Damaged(format!("the engine panicked: {text}")))
        }
    }
}
