//! From records to rows: what of the journal can be asked for, and how far it has been taken over.
//!
//! Invariant: the rows of a batch and the sequence that they reach are committed together, so whatever an engine holds
//! is the journal up to one sequence. Records at or below it change nothing when they come again. The rows are a
//! function of the records alone: made anew they have the same bytes.
//!
//! Limits: 65,535 scopes ([`OWNERS_MAX`]); beyond it the index says that it is full and takes nothing more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::row::{
    self, DecidedSignal, EquityRow, LastPrice, Name, Owner, Row, SHARED, Table, key, order_key, price_key,
};
use super::storage::{Batch, Direction, Storage, StorageError};
use crate::engine::record::{Record, SampleRecord, Scope};
use crate::engine::state::poisoned_result;
use crate::model::amount::Money;
use crate::model::ids::{StoreId, StrategyId, StrategyType};
use crate::model::time::{DAY_MS, Timestamp};

/// The largest number of an owner.
pub const OWNERS_MAX: Owner = Owner::MAX;
const META_KEY: [u8; 1] = [Table::Meta as u8];
/// Names that are read at once.
const NAMES_PAGE: usize = 1_000;
/// The tables whose rows are counted; the rows of orders are replaced.
pub const COUNTED: [Table; 4] = [Table::Trades, Table::Fills, Table::Signals, Table::Equity];

/// What the tables hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The last sequence that was taken over.
    pub applied: u64,
    /// The journal that they were made from.
    pub store_id: Option<StoreId>,
    /// Rows of the [`COUNTED`] tables.
    pub rows: [u64; COUNTED.len()],
    /// An index is writing, or was when its process died.
    pub open: bool,
}

/// Makes rows of records and collects them for a commit.
#[derive(Debug, Default)]
pub struct Index {
    meta: Meta,
    names: Names,
    batch: Batch,
}

impl Index {
    /// Continues what an engine holds.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn load(storage: &impl Storage) -> Result<Index, StorageError> {
        let meta = read_meta(storage)?.unwrap_or_default();
        Ok(Index { meta, names: Names::load(storage)?, batch: Batch::default() })
    }

    /// What the tables hold, with what waits for the commit.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Changes that wait for the commit.
    pub fn waiting(&self) -> usize {
        self.batch.changes.len()
    }

    /// Takes a record over; one that was is passed over.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when a record in between is missing, or there are too many scopes.
    pub fn apply(&mut self, sequence: u64, record: &Record) -> Result<(), StorageError> {
        if sequence <= self.meta.applied {
            return Ok(());
        }
        let expected = self.meta.applied + 1;
        if sequence != expected {
            let what = format!("sequence {sequence} comes where {expected} is expected");
            return Err(StorageError::Damaged(what));
        }
        match record {
            Record::Store { id, .. } => self.meta.store_id = Some(*id),
            Record::Strategy(strategy) => {
                self.owner(Scope::Portfolio, None)?;
                self.owner(Scope::Type(strategy.kind), None)?;
                self.owner(Scope::Strategy(strategy.id), Some(strategy.kind))?;
            }
            Record::Order(order) => {
                let owner = self.strategy(order.strategy)?;
                let row = Row { seq: sequence, value: order };
                self.row(order_key(owner, order.created, order.order_id), &row);
            }
            Record::Fill(fill) => self.put(Table::Fills, fill.strategy, fill.time, sequence, fill)?,
            Record::Trade(trade) => {
                self.put(Table::Trades, trade.strategy, trade.close_time, sequence, trade)?;
            }
            Record::Signal(signal) => {
                let decided = DecidedSignal {
                    strategy: signal.strategy,
                    id: signal.id.clone(),
                    symbol: Some(signal.symbol),
                    signal_time: Some(signal.signal_time),
                    result: signal.result.clone(),
                };
                self.put(Table::Signals, signal.strategy, signal.result.time, sequence, &decided)?;
            }
            Record::Poisoned { strategy, id, time } => {
                let result = poisoned_result(*strategy, id, *time);
                let (strategy, id) = (*strategy, id.clone());
                let decided = DecidedSignal { strategy, id, symbol: None, signal_time: None, result };
                self.put(Table::Signals, strategy, *time, sequence, &decided)?;
            }
            Record::Sample(sample) => self.sample(sequence, sample)?,
            Record::Adjustment { .. }
            | Record::Market { .. }
            | Record::Retired { .. }
            | Record::Level(_)
            | Record::Published { .. }
            | Record::Announced(_)
            | Record::Request(_)
            | Record::Triggers(_)
            | Record::Stop(_)
            | Record::Live(_)
            | Record::Correction(_)
            | Record::Snapshot(_)
            | Record::LiveStop(_)
            | Record::Account(_)
            | Record::Route(_)
            | Record::Reconcile(_)
            | Record::Funding(_)
            | Record::Drift(_)
            | Record::Basis(_)
            | Record::LastFills(_) => {}
        }
        self.meta.applied = sequence;
        Ok(())
    }

    /// Adds equity for charts. A scope that no record has named yet is left out: numbers come from records only.
    pub fn chart(&mut self, time: Timestamp, equity: &[(Scope, Money)]) {
        let known = equity.iter().filter_map(|(scope, equity)| Some((self.names.number(*scope)?.0, *equity)));
        let value = EquityRow { time, equity: known.collect() };
        if !value.equity.is_empty() {
            self.row(key(Table::Charts, SHARED, time, 0), &Row { seq: 0, value });
        }
    }

    /// Sets last prices.
    pub fn prices(&mut self, prices: &[LastPrice]) {
        for price in prices {
            self.row(price_key(price.key), price);
        }
    }

    /// Says whether an index is writing.
    pub fn set_open(&mut self, open: bool) {
        self.meta.open = open;
    }

    /// Commits what waits, together with the sequence that it reaches.
    ///
    /// # Errors
    /// When it cannot be written; nothing of it is there, and the index must be loaded again.
    pub fn commit(&mut self, storage: &impl Storage) -> Result<(), StorageError> {
        let meta = self.meta.clone();
        self.row(META_KEY.to_vec(), &meta);
        storage.commit(std::mem::take(&mut self.batch))
    }

    /// Adds the removal of up to `limit` rows of an owner that are older than `days` days, and says how many.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn expire(
        &mut self,
        storage: &impl Storage,
        (table, owner): (Table, Owner),
        (now, days): (Timestamp, u32),
        limit: usize,
    ) -> Result<usize, StorageError> {
        let oldest = now.plus_ms(-i64::from(days) * DAY_MS);
        let (start, end) = (key(table, owner, Timestamp::MIN, 0), key(table, owner, oldest, 0));
        let old = storage.range(&start, &end, Direction::Forward, limit)?;
        let removed = old.len();
        if let Some(index) = COUNTED.iter().position(|counted| *counted == table) {
            self.meta.rows[index] = self.meta.rows[index].saturating_sub(removed as u64);
        }
        old.into_iter().for_each(|(key, _)| self.batch.remove(key));
        Ok(removed)
    }

    /// Numbers of all strategies.
    pub fn strategies(&self) -> impl Iterator<Item = Owner> + '_ {
        self.names.entries().filter(|(_, name)| matches!(name.scope, Scope::Strategy(_))).map(|(n, _)| n)
    }

    fn put<T: Serialize>(
        &mut self,
        table: Table,
        strategy: StrategyId,
        time: Timestamp,
        sequence: u64,
        value: &T,
    ) -> Result<(), StorageError> {
        let owner = self.strategy(strategy)?;
        self.count(table);
        self.row(key(table, owner, time, sequence), &Row { seq: sequence, value });
        Ok(())
    }

    fn sample(&mut self, sequence: u64, sample: &SampleRecord) -> Result<(), StorageError> {
        let equity = sample.scopes.iter().map(|scope| Ok((self.owner(scope.scope, None)?, scope.equity)));
        let value = EquityRow { time: sample.time, equity: equity.collect::<Result<_, StorageError>>()? };
        self.count(Table::Equity);
        self.row(key(Table::Equity, SHARED, sample.time, sequence), &Row { seq: sequence, value });
        Ok(())
    }

    fn row<T: Serialize>(&mut self, key: Vec<u8>, value: &T) {
        let bytes = row::encode(&key, value);
        self.batch.put(key, bytes);
    }

    fn count(&mut self, table: Table) {
        if let Some(index) = COUNTED.iter().position(|counted| *counted == table) {
            self.meta.rows[index] += 1;
        }
    }

    fn strategy(&mut self, id: StrategyId) -> Result<Owner, StorageError> {
        self.owner(Scope::Strategy(id), None)
    }

    /// The number of a scope, given when it is first seen. A type that is told replaces the one before.
    fn owner(&mut self, scope: Scope, kind: Option<StrategyType>) -> Result<Owner, StorageError> {
        let known = self.names.number(scope);
        if let Some((owner, name)) = known
            && (kind.is_none() || name.kind == kind)
        {
            return Ok(owner);
        }
        let owner = known.map_or(self.names.next(), |(owner, _)| Some(owner));
        let Some(owner) = owner else {
            return Err(StorageError::Damaged(format!("more than {OWNERS_MAX} scopes")));
        };
        let name = Name { scope, kind };
        self.names.insert(owner, name);
        self.row(row::prefix(Table::Names, owner).to_vec(), &name);
        Ok(owner)
    }
}

/// What an engine's tables hold; `None` when it is empty.
///
/// # Errors
/// When that cannot be read.
pub fn read_meta(storage: &impl Storage) -> Result<Option<Meta>, StorageError> {
    storage.get(&META_KEY)?.map(|bytes| row::decode(&META_KEY, &bytes)).transpose()
}

/// The last prices that were stored.
///
/// # Errors
/// When they cannot be read.
pub fn read_prices(storage: &impl Storage, limit: usize) -> Result<Vec<LastPrice>, StorageError> {
    let (start, end) = Table::Prices.bounds();
    let entries = storage.range(&start, &end, Direction::Forward, limit)?;
    entries.iter().map(|(key, value)| row::decode(key, value)).collect()
}

/// Numbers of scopes, from 1.
#[derive(Clone, Debug, Default)]
pub struct Names {
    by_scope: BTreeMap<Scope, Owner>,
    by_number: BTreeMap<Owner, Name>,
}

impl Names {
    /// Reads them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn load(storage: &impl Storage) -> Result<Names, StorageError> {
        let mut names = Names::default();
        let (start, end) = Table::Names.bounds();
        let mut start = start.to_vec();
        loop {
            let page = storage.range(&start, &end, Direction::Forward, NAMES_PAGE)?;
            for (key, value) in &page {
                let [_, high, low] = key[..] else {
                    return Err(StorageError::Damaged("a name has a key of another length".into()));
                };
                names.insert(Owner::from_be_bytes([high, low]), row::decode(key, value)?);
            }
            match page.last() {
                Some((last, _)) if page.len() == NAMES_PAGE => start = [last.as_slice(), &[0]].concat(),
                _ => return Ok(names),
            }
        }
    }

    /// The number of a scope, and what is known of it.
    pub fn number(&self, scope: Scope) -> Option<(Owner, Name)> {
        let owner = *self.by_scope.get(&scope)?;
        Some((owner, *self.by_number.get(&owner)?))
    }

    /// What is known of an owner.
    pub fn name(&self, owner: Owner) -> Option<&Name> {
        self.by_number.get(&owner)
    }

    /// Everything, by number.
    pub fn entries(&self) -> impl Iterator<Item = (Owner, &Name)> + '_ {
        self.by_number.iter().map(|(owner, name)| (*owner, name))
    }

    fn insert(&mut self, owner: Owner, name: Name) {
        self.by_scope.insert(name.scope, owner);
        self.by_number.insert(owner, name);
    }

    fn next(&self) -> Option<Owner> {
        self.by_number.keys().next_back().map_or(Some(1), |last| last.checked_add(1))
    }
}
