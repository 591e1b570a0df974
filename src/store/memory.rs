//! The engine without a disk: for tests, and for boxes that would rather read the journal at each start.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use super::storage::{Batch, Direction, Entry, Storage, StorageError};

/// A sorted map behind a lock.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    entries: RwLock<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Storage for MemoryStorage {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.entries.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
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
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let range = entries.range(start.to_vec()..end.to_vec());
        let own = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        Ok(match direction {
            Direction::Forward => range.take(limit).map(own).collect(),
            Direction::Backward => range.rev().take(limit).map(own).collect(),
        })
    }

    fn commit(&self, batch: Batch) -> Result<(), StorageError> {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in batch.changes {
            match value {
                Some(value) => entries.insert(key, value),
                None => entries.remove(&key),
            };
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), StorageError> {
        Ok(())
    }

    fn close(self) -> Result<(), StorageError> {
        Ok(())
    }
}
