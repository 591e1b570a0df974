//! System calls with the name of the file in their errors, and the modes of what the store creates: 0700 for
//! directories, 0600 for files, because balances and orders are nobody else's business.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::IoError;

/// Names the file and the action in an error of the system.
pub(super) fn named<T>(result: io::Result<T>, action: &'static str, path: &Path) -> Result<T, IoError> {
    result.map_err(|error| IoError { action, path: path.to_owned(), error })
}

/// Creates a directory and its missing parents, each durable before anything is put into it.
pub(super) fn create_dir(path: &Path) -> Result<(), IoError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    create_dir(&parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        result => named(result, "create", path)?,
    }
    sync_dir(&parent)
}

/// Makes the names in a directory durable: a synced file whose name is lost is a lost file.
pub(super) fn sync_dir(path: &Path) -> Result<(), IoError> {
    let dir = named(File::open(path), "open", path)?;
    named(dir.sync_all(), "sync", path)
}

/// Creates an empty file for writing. One that is there is emptied.
pub(super) fn create(path: &Path) -> Result<File, IoError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    named(options.open(path), "create", path)
}
