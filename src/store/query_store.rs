//! The query store of one journal: opened, verified, kept up with the journal, and made anew when it is no good.
//!
//! It lives in `query/<engine>` below the store. What does not open, panics, is of another version or another journal,
//! or has not the rows that it should is moved to `query.damaged-<sequence>` (only the newest is kept) and made from
//! the journal again. Lost with it are only equity samples for charts and last prices, which no journal has.
//!
//! Nothing here is waited for by trading. Memory: one frame of the journal and one batch.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serde::de::DeserializeOwned;

use super::index::{COUNTED, Index, Meta, Names, read_meta};
use super::ledger::LedgerError;
use super::query::QueryError;
use super::reader::Reader;
use super::record::decode as decode_frame;
use super::row::{self, DecidedSignal, EquityRow, LastPrice, Row, SHARED, Table};
use super::storage::{AnyStorage, Direction, EngineKind, Storage, StorageError};
use crate::model::ids::StoreId;
use crate::model::order::Order;
use crate::model::report::{Fill, Trade};

/// Changes that are committed together while catching up.
const BATCH_CHANGES: usize = 1_000;
/// Rows that verifying reads at once.
const VERIFY_PAGE: usize = 500;
const ASIDE: &str = "query.damaged-";

/// Why the query store does not go on.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The engine.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] LedgerError),
    /// It was told to stop.
    #[error("stopped")]
    Stopped,
}

/// Which journal the query store belongs to, and how far that is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalEnd {
    /// The last sequence on disk.
    pub committed: u64,
    /// The journal's id; `None` while it is empty.
    pub store_id: Option<StoreId>,
}

/// How a query store was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// There was none.
    New,
    /// It goes on behind this sequence.
    Continued(u64),
    /// It was no good and begins anew.
    Rebuilding {
        /// What was wrong.
        why: String,
        /// Where it was moved to.
        aside: Option<PathBuf>,
    },
}

/// The writer.
#[derive(Debug)]
pub struct QueryStore {
    store: PathBuf,
    kind: EngineKind,
    storage: Arc<AnyStorage>,
    index: Index,
    /// Where the journal is read next; `None` before the first read and after an error.
    reader: Option<Reader>,
    queries: Queries,
}

/// Who asks. It can be cloned and shared; it answers once the journal has been taken over.
#[derive(Clone, Debug, Default)]
pub struct Queries {
    storage: Arc<RwLock<Option<Arc<AnyStorage>>>>,
    damaged: Arc<AtomicBool>,
}

impl Queries {
    /// Asks a question of [`super::query`].
    ///
    /// # Errors
    /// [`QueryError::Unavailable`] while it is opened, caught up or made anew, and what the question answers.
    pub fn ask<T>(&self, ask: impl FnOnce(&AnyStorage) -> Result<T, QueryError>) -> Result<T, QueryError> {
        let storage = self.storage.read().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = ask(storage.as_deref().ok_or(QueryError::Unavailable)?);
        if let Err(QueryError::Storage(StorageError::Damaged(_))) = &answer {
            self.damaged.store(true, Ordering::Release);
        }
        answer
    }

    /// Whether an answer met damage since this was last asked.
    pub fn take_damaged(&self) -> bool {
        self.damaged.swap(false, Ordering::AcqRel)
    }

    fn set(&self, storage: Option<Arc<AnyStorage>>) {
        *self.storage.write().unwrap_or_else(PoisonError::into_inner) = storage;
    }
}

/// Where an engine keeps the query store of `store`.
pub fn dir(store: &Path, kind: EngineKind) -> PathBuf {
    store.join("query").join(kind.as_str())
}

impl QueryStore {
    /// Opens and verifies the query store of the journal in `store`; one that is no good begins anew.
    ///
    /// # Errors
    /// When the disk refuses, a new one does not open either, or `stop` turned true.
    pub fn open(
        store: &Path,
        kind: EngineKind,
        end: JournalEnd,
        queries: Queries,
        stop: &AtomicBool,
    ) -> Result<(QueryStore, Opened), FollowError> {
        let dir = dir(store, kind);
        let is_new = !dir.exists();
        let found = AnyStorage::open(kind, &dir).and_then(|storage| {
            let index = Index::load(&storage)?;
            check_belongs(index.meta(), end)?;
            Ok((storage, index))
        });
        let verified = match found {
            Ok((storage, index)) => match verify(&storage, stop) {
                Err(FollowError::Storage(error)) => Err(error),
                Err(other) => return Err(other),
                Ok(()) => Ok((storage, index)),
            },
            Err(error) => Err(error),
        };
        let (storage, index, opened) = match verified {
            Ok((storage, index)) => {
                let applied = index.meta().applied;
                (storage, index, if is_new { Opened::New } else { Opened::Continued(applied) })
            }
            Err(error @ StorageError::Io(_)) => return Err(error.into()),
            Err(error) => {
                let aside = move_aside(store, kind, end.committed)?;
                let opened = Opened::Rebuilding { why: error.to_string(), aside };
                (AnyStorage::open(kind, &dir)?, Index::default(), opened)
            }
        };
        let (store, storage) = (store.to_path_buf(), Arc::new(storage));
        let mut opening = QueryStore { store, kind, storage, index, reader: None, queries };
        opening.index.set_open(true);
        opening.commit()?;
        Ok((opening, opened))
    }

    /// The last sequence that was taken over.
    pub fn applied(&self) -> u64 {
        self.index.meta().applied
    }

    /// What is added by others than the journal: charts, prices, expiry. [`QueryStore::commit`] writes it.
    pub fn index(&mut self) -> (&mut Index, &AnyStorage) {
        (&mut self.index, &self.storage)
    }

    /// Takes one batch of records over, and says whether `committed` is reached; then questions are answered.
    ///
    /// # Errors
    /// When the journal cannot be read or the engine not be written; the same call may be repeated.
    pub fn follow(&mut self, committed: u64) -> Result<bool, FollowError> {
        while self.applied() < committed && self.index.waiting() < BATCH_CHANGES {
            if let Err(error) = self.take_frame(committed) {
                // What a failed write of the journal left may have been read; reading again finds what replaced it.
                self.reader = None;
                self.reload()?;
                return Err(error);
            }
        }
        self.commit()?;
        let reached = self.applied() >= committed;
        if reached {
            self.queries.set(Some(Arc::clone(&self.storage)));
        }
        Ok(reached)
    }

    /// Commits what waits.
    ///
    /// # Errors
    /// When the engine refuses.
    pub fn commit(&mut self) -> Result<(), StorageError> {
        let committed = self.index.commit(&*self.storage);
        if committed.is_err() {
            self.reader = None;
            self.reload()?;
        }
        committed
    }

    /// Makes everything committed durable.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn flush(&self) -> Result<(), StorageError> {
        self.storage.flush()
    }

    /// Moves everything aside and begins anew. Questions are not answered until the journal is taken over.
    ///
    /// # Errors
    /// When the disk refuses, or the new one does not open.
    pub fn rebuild(self, committed: u64) -> Result<(QueryStore, Option<PathBuf>), StorageError> {
        let QueryStore { store, kind, storage, queries, .. } = self;
        queries.set(None);
        // Errors are expected of what is damaged, and an answer that still reads it only delays its end.
        if let Some(storage) = Arc::into_inner(storage) {
            let _ = storage.close();
        }
        let aside = move_aside(&store, kind, committed)?;
        let storage = Arc::new(AnyStorage::open(kind, &dir(&store, kind))?);
        let mut index = Index::default();
        index.set_open(true);
        let mut anew = QueryStore { store, kind, storage, index, reader: None, queries };
        anew.commit()?;
        Ok((anew, aside))
    }

    /// Says that all is written, and closes.
    ///
    /// # Errors
    /// When the disk refuses; then the next start verifies every row.
    pub fn close(mut self) -> Result<(), StorageError> {
        self.queries.set(None);
        self.index.set_open(false);
        self.commit()?;
        match Arc::into_inner(self.storage) {
            Some(storage) => storage.close(),
            // An answer still reads; it closes with it.
            None => Ok(()),
        }
    }

    fn take_frame(&mut self, committed: u64) -> Result<(), FollowError> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => Reader::open(&self.store, self.applied() + 1).map_err(LedgerError::from)?,
        };
        let mut reader = reader.until(committed);
        let Some(frame) = reader.next() else {
            let text = format!("the journal ends before sequence {committed}, which was written");
            return Err(StorageError::Io(text).into());
        };
        let frame = frame.map_err(LedgerError::from)?;
        let records = decode_frame(frame.version, frame.count, &frame.payload)
            .map_err(|error| LedgerError::Frame { sequence: frame.sequence, error })?;
        for (sequence, record) in (frame.sequence..).zip(&records) {
            self.index.apply(sequence, record)?;
        }
        self.reader = Some(reader);
        Ok(())
    }

    fn reload(&mut self) -> Result<(), StorageError> {
        self.index = Index::load(&*self.storage)?;
        Ok(())
    }
}

fn check_belongs(meta: &Meta, end: JournalEnd) -> Result<(), StorageError> {
    if meta.applied > end.committed {
        let (applied, committed) = (meta.applied, end.committed);
        return Err(StorageError::Damaged(format!(
            "it is at sequence {applied}, the journal at {committed}"
        )));
    }
    if meta.applied > 0 && meta.store_id != end.store_id {
        return Err(StorageError::Damaged("it was made from another journal".into()));
    }
    Ok(())
}

/// Reads every row and counts when the last writer did not close it; else the first and last row of each range.
///
/// # Errors
/// What is wrong.
pub fn verify(storage: &impl Storage, stop: &AtomicBool) -> Result<(), FollowError> {
    let Some(meta) = read_meta(storage)? else { return Ok(()) };
    let names = Names::load(storage)?;
    if meta.open {
        return verify_all(storage, &meta, stop);
    }
    let owners: Vec<u16> = std::iter::once(SHARED).chain(names.entries().map(|(owner, _)| owner)).collect();
    for table in [Table::Trades, Table::Orders, Table::Fills, Table::Signals, Table::Equity, Table::Charts] {
        for owner in &owners {
            let start = row::prefix(table, *owner);
            let end = [start.as_slice(), &[0xff; 8]].concat();
            for direction in [Direction::Forward, Direction::Backward] {
                for (key, value) in storage.range(&start, &end, direction, 1)? {
                    check_value(table, &key, &value)?;
                }
            }
        }
    }
    Ok(())
}

fn verify_all(storage: &impl Storage, meta: &Meta, stop: &AtomicBool) -> Result<(), FollowError> {
    let tables = [
        Table::Trades,
        Table::Orders,
        Table::Fills,
        Table::Signals,
        Table::Equity,
        Table::Charts,
        Table::Prices,
    ];
    for table in tables {
        let (start, end) = table.bounds();
        let mut start = start.to_vec();
        let mut rows = 0_u64;
        loop {
            if stop.load(Ordering::Acquire) {
                return Err(FollowError::Stopped);
            }
            let page = storage.range(&start, &end, Direction::Forward, VERIFY_PAGE)?;
            for (key, value) in &page {
                check_value(table, key, value)?;
            }
            rows += page.len() as u64;
            match page.last() {
                Some((last, _)) if page.len() == VERIFY_PAGE => start = [last.as_slice(), &[0]].concat(),
                _ => break,
            }
        }
        let counted = COUNTED.iter().position(|counted| *counted == table).map(|index| meta.rows[index]);
        if counted.is_some_and(|counted| counted != rows) {
            let counted = counted.unwrap_or_default();
            let text = format!("table {table:?} has {rows} rows instead of {counted}");
            return Err(StorageError::Damaged(text).into());
        }
    }
    Ok(())
}

fn check_value(table: Table, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
    fn check<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        row::decode::<T>(key, value).map(|_| ())
    }
    match table {
        Table::Meta | Table::Names => Ok(()),
        Table::Trades => check::<Row<Trade>>(key, value),
        Table::Orders => check::<Row<Order>>(key, value),
        Table::Fills => check::<Row<Fill>>(key, value),
        Table::Signals => check::<Row<DecidedSignal>>(key, value),
        Table::Equity | Table::Charts => check::<Row<EquityRow>>(key, value),
        Table::Prices => check::<LastPrice>(key, value),
    }
}

/// Moves an engine's folder aside; an older one that was moved is deleted, so that damage cannot fill the disk.
fn move_aside(store: &Path, kind: EngineKind, sequence: u64) -> Result<Option<PathBuf>, StorageError> {
    let refused = |error: std::io::Error| StorageError::Io(format!("{}: {error}", store.display()));
    let dir = dir(store, kind);
    if !dir.exists() {
        return Ok(None);
    }
    for entry in fs::read_dir(store).map_err(refused)? {
        let path = entry.map_err(refused)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(ASIDE) {
            fs::remove_dir_all(&path).map_err(refused)?;
        }
    }
    let aside = store.join(format!("{ASIDE}{sequence}"));
    fs::rename(&dir, &aside).map_err(refused)?;
    Ok(Some(aside))
}
