//! redb: the only file that names one of its types. Behind the cargo feature `redb`.
//!
//! Commits are not durable by themselves and cost no sync; after a crash redb goes back to the last flush, and the
//! journal brings the rest. The file must not be shortened by anybody: redb refuses it then, and it is made again.

use std::ops::Bound;
use std::path::Path;

use ::redb::{Builder, Database, Durability, ReadableDatabase, TableDefinition};

use super::file;
use super::storage::{Batch, Direction, Entry, Storage, StorageError, guarded};

const CACHE_BYTES: usize = 4 << 20;
const FILE: &str = "query.redb";
const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("query");

/// An open database.
#[derive(Debug)]
pub struct RedbStorage {
    db: Database,
}

impl RedbStorage {
    /// Opens the database in `dir`, or makes it.
    ///
    /// # Errors
    /// When it does not open, or panics while it opens.
    pub fn open(dir: &Path) -> Result<RedbStorage, StorageError> {
        file::create_dir(dir).map_err(|error| StorageError::Io(error.to_string()))?;
        let db = guarded(|| Builder::new().set_cache_size(CACHE_BYTES).create(dir.join(FILE)).map_err(told))?;
        let storage = RedbStorage { db };
        // Reading needs the table to be there.
        storage.flush()?;
        file::sync_dir(dir).map_err(|error| StorageError::Io(error.to_string()))?;
        Ok(storage)
    }

    fn write(&self, batch: Batch, durability: Durability) -> Result<(), StorageError> {
        guarded(|| {
            let mut transaction = self.db.begin_write().map_err(told)?;
            transaction.set_durability(durability).map_err(told)?;
            {
                let mut table = transaction.open_table(TABLE).map_err(told)?;
                for (key, value) in &batch.changes {
                    match value {
                        Some(value) => table.insert(key.as_slice(), value.as_slice()).map_err(told)?,
                        None => table.remove(key.as_slice()).map_err(told)?,
                    };
                }
            }
            transaction.commit().map_err(told)
        })
    }
}

impl Storage for RedbStorage {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        guarded(|| {
            let table = self.db.begin_read().map_err(told)?.open_table(TABLE).map_err(told)?;
            Ok(table.get(key).map_err(told)?.map(|value| value.value().to_vec()))
        })
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
            let table = self.db.begin_read().map_err(told)?.open_table(TABLE).map_err(told)?;
            let bounds = (Bound::Included(start), Bound::Excluded(end));
            let mut range = table.range::<&[u8]>(bounds).map_err(told)?;
            let next = || match direction {
                Direction::Forward => range.next(),
                Direction::Backward => range.next_back(),
            };
            let entries = std::iter::from_fn(next).take(limit);
            entries
                .map(|entry| {
                    entry.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())).map_err(told)
                })
                .collect()
        })
    }

    fn commit(&self, batch: Batch) -> Result<(), StorageError> {
        self.write(batch, Durability::None)
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.write(Batch::default(), Durability::Immediate)
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

/// Answers of the system may pass; all else is damage.
fn told(error: impl Into<::redb::Error>) -> StorageError {
    match error.into() {
        ::redb::Error::Io(error) if error.raw_os_error().is_some() => StorageError::Io(error.to_string()),
        other => StorageError::Damaged(other.to_string()),
    }
}
