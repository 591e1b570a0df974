//! A disk that errs: real files in memory behind the journal's seam, and what a power cut makes of their ends.

use std::fs::{self, File};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tradebus::store::disk::Disk;

use super::super::random::Random;

const SECTOR_BYTES: u64 = 512;
/// A flipped bit in a checkpoint lies behind its magic and format, which are checked in another way.
const CHECKPOINT_HEADER_BYTES: usize = 32;

/// What the disk does with what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// A write stops in the middle.
    Full,
    /// A write is taken, and its sync fails.
    NoSync,
    /// A write is taken; neither its sync nor the cut that follows works.
    Stuck,
    /// The process dies when so many bytes of the next write, in thousandths, are written.
    Dying(u16),
    /// The process is dead: nothing it does reaches the disk.
    Dead,
}

#[derive(Debug)]
struct Inner {
    mood: Mood,
    /// Where the last frame begins, and whether it was synced.
    last: Option<(u64, bool)>,
}

/// The test's hold on the disk.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<Inner>>);

impl SimDisk {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Inner { mood: Mood::Well, last: None })))
    }

    pub fn is(&self, mood: Mood) {
        self.with(|inner| inner.mood = mood);
    }

    pub fn mood(&self) -> Mood {
        self.with(|inner| inner.mood)
    }

    /// The store was opened, which syncs what it found.
    pub fn opened(&self, store: &Path) {
        let end = newest(store).map_or(0, |path| length(&path));
        self.with(|inner| inner.last = inner.last.filter(|(at, _)| *at < end).map(|(at, _)| (at, true)));
    }

    /// Where the last frame of the newest file begins, when it is whole: behind damage to the frame before a torn one
    /// nothing is sound, so that it looks as torn as that one.
    pub fn last_frame(&self) -> Option<u64> {
        self.with(|inner| inner.last.filter(|(_, synced)| *synced).map(|(at, _)| at))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.0.lock().expect("no panic within"))
    }

    /// What the power's end leaves of a write that was not synced: all, a part, zeros, or anything in whole sectors.
    pub fn power_cut(&self, store: &Path, random: &mut Random) {
        let unsynced = self.with(|inner| inner.last.filter(|(_, synced)| !synced).map(|(at, _)| at));
        let Some((at, path)) = unsynced.zip(newest(store)) else { return };
        let file = File::options().write(true).open(path).expect("the newest file");
        let end = file.metadata().expect("its length").len();
        if end <= at {
            return;
        }
        let place = at + random.below(end - at + 1);
        match random.below(5) {
            0 => {}
            1 => file.set_len(place).expect("a shorter file"),
            2 => file.write_all_at(&vec![0; (end - place) as usize], place).expect("zeros"),
            3 => file.write_all_at(&vec![0; (end - at) as usize], at).expect("zeros"),
            _ => {
                let sector = (place / SECTOR_BYTES * SECTOR_BYTES).max(at);
                let bytes = (end - sector).min(SECTOR_BYTES) as usize;
                let noise: Vec<u8> = (0..bytes).map(|_| random.next() as u8).collect();
                file.write_all_at(&noise, sector).expect("noise");
            }
        }
    }

    /// What a crash may leave beside the journal's last frame, and bits that flip in a checkpoint. Nothing of it may
    /// cost anything.
    pub fn litter(&self, store: &Path, sequence: u64, random: &mut Random) {
        let checkpoint = store.join("checkpoint.tbc");
        let whole = self.with(|inner| inner.last.is_none_or(|(_, synced)| synced));
        match random.below(5) {
            0 => fs::write(store.join("checkpoint.tmp"), b"half of one").expect("litter"),
            // Between the two renames of a checkpoint.
            1 if checkpoint.exists() => {
                fs::rename(&checkpoint, store.join("checkpoint.prev.tbc")).expect("an older checkpoint");
            }
            2 if checkpoint.exists() => flip(&checkpoint, CHECKPOINT_HEADER_BYTES, None, random),
            // A new file of the journal whose header did not reach the disk.
            3 if whole && newest(store).is_some_and(|path| length(&path) > 32) => {
                let path = store.join("journal").join(format!("{:020}.tbj", sequence + 1));
                fs::write(path, vec![0; random.below(33) as usize]).expect("a torn header");
                self.with(|inner| inner.last = None);
            }
            _ => {}
        }
    }
}

impl Disk for SimDisk {
    fn write(&self, file: &File, bytes: &[u8], at: u64) -> Result<()> {
        self.with(|inner| {
            let part = |thousandths: u16| bytes.len() * usize::from(thousandths) / 1000;
            let (taken, error) = match inner.mood {
                Mood::Well | Mood::NoSync | Mood::Stuck => (bytes.len(), None),
                Mood::Full => (part(500), Some(ErrorKind::StorageFull)),
                Mood::Dying(thousandths) => {
                    inner.mood = Mood::Dead;
                    (part(thousandths), Some(ErrorKind::Other))
                }
                Mood::Dead => return Err(ErrorKind::Other.into()),
            };
            file.write_all_at(&bytes[..taken], at)?;
            inner.last = Some((at, false));
            error.map_or(Ok(()), |kind| Err(kind.into()))
        })
    }

    fn sync(&self, _file: &File) -> Result<()> {
        self.with(|inner| match inner.mood {
            Mood::Well => {
                inner.last = inner.last.map(|(at, _)| (at, true));
                Ok(())
            }
            _ => Err(Error::other("the sync failed")),
        })
    }

    fn cut(&self, file: &File, length: u64) -> Result<()> {
        self.with(|inner| match inner.mood {
            Mood::Stuck | Mood::Dead => Err(Error::other("the cut failed")),
            _ => {
                file.set_len(length)?;
                inner.last = None;
                Ok(())
            }
        })
    }
}

/// The newest file of the journal.
pub fn newest(store: &Path) -> Option<PathBuf> {
    segments(store).pop()
}

/// The files of the journal, the oldest first.
pub fn segments(store: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(store.join("journal")).expect("the journal's folder");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

fn length(path: &Path) -> u64 {
    path.metadata().expect("its length").len()
}

/// Flips a bit at a place from `from` to before `to`.
pub fn flip(path: &Path, from: usize, to: Option<usize>, random: &mut Random) {
    let mut bytes = fs::read(path).expect("a file");
    let to = to.unwrap_or(bytes.len()).min(bytes.len());
    if from < to {
        let place = from + random.below((to - from) as u64) as usize;
        bytes[place] ^= 1 << random.below(8);
        fs::write(path, bytes).expect("a changed file");
    }
}
