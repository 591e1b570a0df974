//! Tests of `index` and `query`, on every engine.

use std::path::Path;

use super::fixture::{money, price, records};
use super::index::{Index, Meta, read_meta, read_prices};
use super::query::{self, Filter, LIMIT_MAX, Page, QueryError};
use super::row::{LastPrice, Row, Table};
use super::storage::{AnyStorage, Batch, Direction, Entry, Storage, StorageError};
use super::storage_tests::engines;
use crate::engine::record::{Record, Scope};
use crate::model::ids::{FeedId, StoreId, StrategyId, StrategyType, Symbol};
use crate::model::market::MarketKey;
use crate::model::report::Trade;
use crate::model::time::Timestamp;

/// Takes records over in batches of `batch` records.
pub(super) fn index_all(storage: &AnyStorage, records: &[Record], batch: usize) -> Index {
    let mut index = Index::load(storage).unwrap();
    for (sequence, record) in (1..).zip(records) {
        index.apply(sequence, record).unwrap();
        if sequence % batch as u64 == 0 {
            index.commit(storage).unwrap();
        }
    }
    index.commit(storage).unwrap();
    index
}

/// Every entry of every table.
pub(super) fn dump(storage: &AnyStorage) -> Vec<Entry> {
    storage.range(&[0], &[0xff], Direction::Forward, usize::MAX).unwrap()
}

fn each_engine(check: impl Fn(&AnyStorage, &Path)) {
    for kind in engines() {
        let root = tempfile::tempdir().unwrap();
        let storage = AnyStorage::open(kind, root.path()).unwrap();
        check(&storage, root.path());
        storage.close().unwrap();
    }
}

/// The digits that tell one row of `records` from another, over all pages.
fn all<T>(filter: &Filter, ask: impl Fn(&Filter) -> Page<T>, show: impl Fn(&Row<T>) -> u64) -> Vec<u64> {
    let mut filter = filter.clone();
    let mut shown = Vec::new();
    loop {
        let page = ask(&filter);
        assert!(page.rows.len() <= filter.limit);
        shown.extend(page.rows.iter().map(&show));
        filter.cursor = page.next;
        if filter.cursor.is_none() {
            return shown;
        }
    }
}

#[test]
fn the_same_records_make_the_same_bytes() {
    let records = records(100);
    let mut dumps = Vec::new();
    for batch in [1, 7, 1_000] {
        each_engine(|storage, _| {
            index_all(storage, &records, batch);
            // Once more from the start, and from the middle: nothing changes.
            let before = dump(storage);
            index_all(storage, &records, 3);
            assert_eq!(dump(storage), before);
        });
        let storage = AnyStorage::Memory(Default::default());
        index_all(&storage, &records, batch);
        dumps.push(dump(&storage));
    }
    assert_eq!(dumps[0], dumps[1]);
    assert_eq!(dumps[0], dumps[2]);
}

#[test]
fn a_gap_is_refused_and_a_crash_between_batches_is_caught_up() {
    let records = records(30);
    each_engine(|storage, _| {
        let mut index = Index::load(storage).unwrap();
        for (sequence, record) in (1..=50).zip(&records) {
            index.apply(sequence, record).unwrap();
            if sequence == 40 {
                index.commit(storage).unwrap();
            }
        }
        // The rest was never committed.
        let mut index = Index::load(storage).unwrap();
        assert_eq!(index.meta().applied, 40);
        let gap = index.apply(42, &records[41]).unwrap_err();
        assert_eq!(gap, StorageError::Damaged("sequence 42 comes where 41 is expected".into()));
        index_all(storage, &records, 1_000);
        let whole = AnyStorage::Memory(Default::default());
        index_all(&whole, &records, 1_000);
        assert_eq!(dump(storage), dump(&whole));
        let meta = read_meta(storage).unwrap().unwrap();
        let expected = Meta {
            applied: records.len() as u64,
            store_id: Some(StoreId::new(&"ab".repeat(16)).unwrap()),
            rows: [30, 30, 30, 30],
            open: false,
        };
        assert_eq!(meta, expected);
    });
}

#[test]
fn pages_in_both_orders_by_any_filter() {
    let records = records(60);
    each_engine(|storage, _| {
        index_all(storage, &records, 1_000);
        let check = |filter: Filter, wanted: &dyn Fn(u64) -> bool| {
            for (limit, newest_first) in [(1, true), (7, false), (7, true), (1_000, false)] {
                let filter = Filter { limit, newest_first, ..filter.clone() };
                let mut expected: Vec<u64> = (1..=60).filter(|n| wanted(*n)).collect();
                if newest_first {
                    expected.reverse();
                }
                let trades = |filter: &Filter| query::trades(storage, filter).unwrap();
                let number = |trade: &Row<Trade>| trade.value.pnl.value().try_into().unwrap();
                assert_eq!(all(&filter, trades, number), expected, "{filter:?}");
                let fills = all(&filter, |f| query::fills(storage, f).unwrap(), |row| row.seq);
                assert!(fills.is_sorted_by(|a, b| if newest_first { a > b } else { a < b }));
                assert_eq!(fills.len(), expected.len());
                let orders = all(&filter, |f| query::orders(storage, f).unwrap(), |row| row.seq);
                assert_eq!(orders.len(), expected.len(), "one row an order");
                let signals = all(&filter, |f| query::signals(storage, f).unwrap(), |row| row.seq);
                assert_eq!(signals.len(), expected.len());
            }
        };
        let id = |text| Some(StrategyId::new(text).unwrap());
        let at = |n: i64| Some(Timestamp::from_ms(1_700_000_000_000 + n * 1_000));
        check(Filter::default(), &|_| true);
        check(Filter { strategy: id("s1"), ..Filter::default() }, &|n| n % 3 == 0);
        check(Filter { strategy: id("none"), ..Filter::default() }, &|_| false);
        let kind = StrategyType::new("external").ok();
        check(Filter { kind, ..Filter::default() }, &|n| n % 3 != 1);
        check(Filter { kind, strategy: id("s2"), ..Filter::default() }, &|_| false);
        let symbol = Symbol::new("ETH-USDT").ok();
        check(Filter { symbol, ..Filter::default() }, &|n| n % 2 == 1);
        check(Filter { from: at(20), to: at(40), ..Filter::default() }, &|n| (20..40).contains(&n));
        check(Filter { from: at(40), to: at(20), ..Filter::default() }, &|_| false);
        let narrow = Filter { strategy: id("s3"), symbol, from: at(10), ..Filter::default() };
        check(narrow, &|n| n % 3 == 2 && n % 2 == 1 && n >= 10);
    });
}

#[test]
fn statuses_and_scopes() {
    let records = records(40);
    each_engine(|storage, _| {
        index_all(storage, &records, 1_000);
        let with = |status: &str| Filter { status: Some(status.into()), ..Filter::default() };
        let orders = |status| query::orders(storage, &with(status)).map(|page| page.rows.len());
        assert_eq!((orders("submitting"), orders("filled"), orders("working")), (Ok(10), Ok(30), Ok(0)));
        assert!(matches!(orders("done"), Err(QueryError::Invalid(_))));
        let signals = |status| query::signals(storage, &with(status)).map(|page| page.rows.len());
        assert_eq!((signals("unchanged"), signals("filled"), signals("rejected")), (Ok(8), Ok(32), Ok(0)));
        assert!(matches!(query::fills(storage, &with("filled")), Err(QueryError::Invalid(_))));
        for limit in [0, LIMIT_MAX + 1] {
            let filter = Filter { limit, ..Filter::default() };
            assert!(matches!(query::trades(storage, &filter), Err(QueryError::Invalid(_))));
        }
        let s1 = Scope::Strategy(StrategyId::new("s1").unwrap());
        let none = Scope::Strategy(StrategyId::new("none").unwrap());
        let equity = |scope| query::equity(storage, scope, &Filter::default()).unwrap().rows.len();
        assert_eq!((equity(Scope::Portfolio), equity(s1), equity(none)), (40, 13, 0));
    });
}

#[test]
fn a_cursor_stays_valid_while_records_come() {
    let all_records = records(40);
    let some = records(20);
    each_engine(|storage, _| {
        index_all(storage, &some, 1_000);
        for newest_first in [true, false] {
            let filter = Filter { limit: 10, newest_first, ..Filter::default() };
            let first = query::trades(storage, &filter).unwrap();
            let cursor = first.next.clone();
            assert!(cursor.is_some());
            if !newest_first {
                index_all(storage, &all_records, 1_000);
            }
            let second =
                query::trades(storage, &Filter { cursor: cursor.clone(), ..filter.clone() }).unwrap();
            let number = |page: &Page<Trade>, n: usize| page.rows[n].value.pnl;
            let expected = if newest_first { (20, 10) } else { (1, 11) };
            assert_eq!((number(&first, 0), number(&second, 0)), (money(expected.0), money(expected.1)));
            assert_eq!(second.next.is_none(), newest_first);
            let other = query::fills(storage, &Filter { cursor: cursor.clone(), ..filter.clone() });
            assert!(matches!(other, Err(QueryError::Invalid(_))));
            let turned = Filter { cursor, newest_first: !newest_first, ..filter };
            assert!(matches!(query::trades(storage, &turned), Err(QueryError::Invalid(_))));
        }
        let nonsense = Filter { cursor: Some("?!".into()), ..Filter::default() };
        assert!(matches!(query::trades(storage, &nonsense), Err(QueryError::Invalid(_))));
    });
}

#[test]
fn charts_prices_and_retention() {
    let records = records(10);
    each_engine(|storage, _| {
        let mut index = index_all(storage, &records, 1_000);
        let start = Timestamp::from_ms(1_700_000_000_000);
        let unknown = Scope::Strategy(StrategyId::new("none").unwrap());
        for n in 0..10 {
            let time = start.plus_ms(n * 86_400_000 + 500);
            index.chart(time, &[(Scope::Portfolio, money(n)), (unknown, money(1))]);
            index.chart(time.plus_ms(1), &[(unknown, money(1))]);
        }
        let key = MarketKey { feed: FeedId::new("tape").unwrap(), symbol: Symbol::new("BTC-USDT").unwrap() };
        let last = LastPrice { key, last: Some(price(7)), bid: None, ask: None, mark: None, time: start };
        index.prices(&[LastPrice { last: None, ..last }]);
        index.prices(&[last]);
        index.commit(storage).unwrap();
        assert_eq!(read_prices(storage, 10).unwrap(), [last]);
        let portfolio = || {
            let page = query::equity(storage, Scope::Portfolio, &Filter::default()).unwrap();
            page.rows.len()
        };
        assert_eq!(portfolio(), 20);
        let now = start.plus_ms(10 * 86_400_000);
        assert_eq!(index.expire(storage, (Table::Charts, 0), (now, 5), 3), Ok(3));
        index.commit(storage).unwrap();
        assert_eq!(index.expire(storage, (Table::Charts, 0), (now, 5), 3), Ok(2));
        assert_eq!(index.expire(storage, (Table::Equity, 0), (now, 5), 100), Ok(10));
        index.commit(storage).unwrap();
        assert_eq!((portfolio(), index.meta().rows[3]), (5, 0));
    });
}

#[test]
fn other_versions_are_told_apart() {
    each_engine(|storage, _| {
        index_all(storage, &records(3), 1_000);
        for (version, newer) in [(0, false), (2, true), (255, true)] {
            let mut batch = Batch::default();
            let (key, mut value) = dump(storage).swap_remove(0);
            assert_eq!(key, [Table::Meta as u8]);
            value[0] = version;
            batch.put(key, value);
            storage.commit(batch).unwrap();
            let error = read_meta(storage).unwrap_err();
            assert_eq!(matches!(error, StorageError::Newer { .. }), newer, "{error}");
            assert_eq!(matches!(error, StorageError::Damaged(_)), !newer, "{error}");
        }
    });
}
