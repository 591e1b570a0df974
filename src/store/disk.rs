//! How the journal's bytes reach the disk: three calls behind one trait, so that a test can be a disk that is slow or
//! that refuses. There is one such disk beside the tests', [`SystemDisk`].
//!
//! Invariant: what [`Disk::write`] took is durable once [`Disk::sync`] returned `Ok` after it. Each call
//! waits for as long as the system lets it wait; who must not wait calls from a thread of its own.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Writes and syncs the file that a journal has open.
pub trait Disk: Debug + Send {
    /// Writes all bytes at a place.
    ///
    /// # Errors
    /// What the system says; some of the bytes may be there.
    fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Waits until what was written is durable.
    ///
    /// # Errors
    /// What the system says; what was written may be there or not.
    fn sync(&self, file: &File) -> io::Result<()>;

    /// Cuts the file to a length, durably.
    ///
    /// # Errors
    /// What the system says.
    fn cut(&self, file: &File, length: u64) -> io::Result<()>;
}

/// The disk that the system has.
#[derive(Clone, Copy, Debug)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        file.write_all_at(bytes, at)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn cut(&self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)?;
        file.sync_all()
    }
}
