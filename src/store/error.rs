//! What can go wrong with the store's files. Every message names the file.
//!
//! `Io` may pass, so it is worth a retry. `Damaged`, `Newer` and `Locked` stay until a person acts, and nothing was
//! modified. `TooLarge` is a limit that the caller has to keep.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// A failed system call with the file that it concerned.
#[derive(Debug, Error)]
#[error("could not {action} {}: {error}", path.display())]
pub struct IoError {
    /// What was tried, such as `write`.
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The system's answer. It is part of the message, so it is not repeated as the error's source.
    pub error: io::Error,
}

/// Errors of the journal.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The disk refused. The journal on disk holds whole groups only, and the same call may be repeated.
    #[error(transparent)]
    Io(#[from] IoError),
    /// Bytes that were durable once are missing or changed. Nothing was modified.
    #[error("damaged journal: {} at byte {offset}: {what}", file.display())]
    Damaged {
        /// The segment.
        file: PathBuf,
        /// Where the unreadable part starts, in bytes from the start of the file.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A newer tradebus wrote this segment. Nothing was modified.
    #[error(
        "{} has journal format {version}, and this tradebus reads up to format {supported}",
        file.display()
    )]
    Newer {
        /// The segment.
        file: PathBuf,
        /// Its format version.
        version: u16,
        /// The newest format version that this program reads.
        supported: u16,
    },
    /// A group does not fit a frame. Nothing was written.
    #[error("a group of {bytes} bytes is above the limit of {limit} bytes of a frame in {}", file.display())]
    TooLarge {
        /// The segment that it was meant for.
        file: PathBuf,
        /// Bytes of the group's payload.
        bytes: usize,
        /// Bytes that a frame may hold.
        limit: usize,
    },
}

/// Errors of the store's directory, lock and checkpoint.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] IoError),
    /// Another process uses the store.
    #[error("the store {} is in use by {}", dir.display(), holder(*pid))]
    Locked {
        /// The store's directory.
        dir: PathBuf,
        /// The other process, when it has already written its number.
        pid: Option<u32>,
    },
    /// A newer tradebus wrote this checkpoint. Nothing was modified.
    #[error(
        "{} has checkpoint format {version}, and this tradebus reads up to format {supported}",
        file.display()
    )]
    Newer {
        /// The checkpoint.
        file: PathBuf,
        /// Its format version.
        version: u16,
        /// The newest format version that this program reads.
        supported: u16,
    },
    /// A checkpoint is too large. Nothing was written, and the older ones stay.
    #[error("a checkpoint of {bytes} bytes is above the limit of {limit} bytes of {}", file.display())]
    TooLarge {
        /// The checkpoint.
        file: PathBuf,
        /// Bytes of the payload.
        bytes: usize,
        /// Bytes that a checkpoint may hold.
        limit: usize,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
