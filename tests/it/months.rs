//! What is remembered is forgotten: after the windows of 7 days are full, another fortnight makes nothing grow but what
//! is one amount a day. `cargo run --release --example months` tells the memory of longer runs with a query store.

use tempfile::TempDir;

use crate::support::months::{Load, Months};

#[tokio::test]
async fn three_weeks_are_no_more_than_one() {
    let folder = TempDir::new().expect("a folder");
    let load = Load { signals_a_day: 48, symbols: 4, strategies: 2, step_minutes: 30 };
    let mut months = Months::new(&folder.path().join("store"), load, None);
    let mut sizes = Vec::new();
    for _ in 0..21 {
        months.day();
        sizes.push(months.sizes());
    }
    let (first, week, last) = (sizes[0], sizes[7], sizes[20]);
    // The fold of one day is not yet that of a week, so something is remembered at all.
    assert!(week.signals > 7 * first.signals && week.state > 4 * first.state, "{first:?} {week:?}");
    for later in &sizes[8..] {
        assert_eq!((later.signals, later.topics), (week.signals, week.topics), "{later:?}");
        assert!(later.orders <= load.strategies && later.waiting == 0, "{later:?}");
    }
    // A day's equity is an amount for each strategy; ids and counters get longer by a digit.
    let grown = last.state.saturating_sub(week.state);
    assert!(
        grown < 13 * 64 * load.strategies + week.signals * 3,
        "{grown} bytes in 13 days: {week:?} {last:?}"
    );
    // The month ended, so the journal has begun another file.
    let files = std::fs::read_dir(folder.path().join("store/journal")).expect("the journal");
    assert_eq!(files.count(), 2);
    assert_eq!(months.answered(), [("filled".to_owned(), 21 * load.signals_a_day)]);
}
