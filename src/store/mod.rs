//! The truth about money: an append-only journal and the checkpoint of the state folded from it.
//!
//! Below `ledger` everything is bytes and sequence numbers; what the bytes mean is decided by `record`. A store is one
//! directory, held by one process:
//!
//! ```text
//! lock                              held while a process uses the store; has its pid
//! journal/00000000000000000001.tbj  segments, named by their first sequence
//! checkpoint.tbc                    the folded state up to a sequence
//! checkpoint.prev.tbc               the one before it
//! ```
//!
//! Damage and newer formats are refused and never overwritten. Linux and other Unix systems only: file modes,
//! positioned writes and the sync of a directory are used.

pub mod backup;
pub mod checkpoint;
pub mod disk;
pub mod error;
mod file;
#[cfg(test)]
mod fixture;
pub mod index;
pub mod journal;
pub mod ledger;
pub mod lock;
pub mod memory;
pub mod query;
pub mod query_store;
#[cfg(test)]
mod query_store_tests;
#[cfg(test)]
mod query_tests;
pub mod reader;
pub mod record;
pub mod recovery;
#[cfg(feature = "redb")]
pub mod redb;
pub mod row;
pub mod segment;
pub mod sled;
pub mod storage;
#[cfg(test)]
mod storage_tests;
#[cfg(test)]
mod tests;

pub use checkpoint::Checkpoint;
pub use error::{IoError, JournalError, StoreError};
pub use journal::{Journal, ROTATE_BYTES_DEFAULT};
pub use ledger::{Ledger, LedgerError, Opening, Verified, verify};
pub use lock::StoreLock;
pub use reader::Reader;
pub use recovery::{Opened, Torn};
pub use segment::{FORMAT_VERSION, Frame, PAYLOAD_BYTES_MAX};
