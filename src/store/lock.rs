//! One process per store. The lock belongs to the open file, so the system drops it however the process ends, and a
//! lock file that was left behind blocks nobody. Not for network file systems without locks: those report an error.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::error::StoreError;
use super::file;

/// Longest lock file that is read for the holder's number.
const LOCK_BYTES_MAX: u64 = 32;

/// The right to use a store, until it is dropped.
#[derive(Debug)]
pub struct StoreLock {
    /// Open for as long as the lock is held.
    _file: File,
}

impl StoreLock {
    /// Takes the store in `dir`, which is created (mode 0700) when it is missing, and leaves this process's number
    /// in `dir/lock`. Does not wait.
    ///
    /// # Errors
    /// [`StoreError::Locked`] while another process holds the store, [`StoreError::Io`] when the disk refuses.
    pub fn acquire(dir: &Path) -> Result<StoreLock, StoreError> {
        file::create_dir(dir)?;
        StoreLock::acquire_existing(dir)
    }

    /// The same for a command that only reads, such as `tradebus verify`: a missing directory is an error and is
    /// not created. It excludes the daemon all the same, because a writer would move the end of what is read.
    ///
    /// # Errors
    /// As [`StoreLock::acquire`].
    pub fn acquire_existing(dir: &Path) -> Result<StoreLock, StoreError> {
        let path = dir.join("lock");
        let mut options = OpenOptions::new();
        // The file is emptied only once the lock is held: until then it names the holder.
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = file::named(options.open(&path), "open", &path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked { dir: dir.to_owned(), pid: read_pid(&file) });
            }
            Err(TryLockError::Error(error)) => file::named(Err(error), "lock", &path)?,
        }
        file::named(file.set_len(0), "empty", &path)?;
        file::named(writeln!(file, "{}", std::process::id()), "write", &path)?;
        Ok(StoreLock { _file: file })
    }
}

/// The number in the lock file; `None` while the holder has not written it yet.
fn read_pid(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(LOCK_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/store");
        let held = StoreLock::acquire(&dir).unwrap();
        for attempt in [StoreLock::acquire(&dir), StoreLock::acquire_existing(&dir)] {
            let message = attempt.unwrap_err().to_string();
            let expected = format!("the store {} is in use by process {}", dir.display(), std::process::id());
            assert_eq!(message, expected);
        }
        drop(held);
        StoreLock::acquire(&dir).unwrap();
    }

    #[test]
    fn directory_is_private_and_created_by_the_writer_only() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("store");
        let message = StoreLock::acquire_existing(&dir).unwrap_err().to_string();
        assert!(message.starts_with(&format!("could not open {}", dir.join("lock").display())), "{message}");
        let _held = StoreLock::acquire(&dir).unwrap();
        assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }
}
