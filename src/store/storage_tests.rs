//! One suite that every engine passes.

use std::path::Path;

use super::storage::{AnyStorage, Batch, Direction, EngineKind, Storage};

/// Every engine of this build.
pub(super) fn engines() -> Vec<EngineKind> {
    ["memory", "sled", "redb"].into_iter().filter_map(EngineKind::named).collect()
}

fn open(kind: EngineKind, dir: &Path) -> AnyStorage {
    AnyStorage::open(kind, dir).unwrap()
}

/// Commits `key=value` and `-key` words as one batch.
fn commit(storage: &AnyStorage, words: &str) {
    let mut batch = Batch::default();
    for word in words.split_whitespace() {
        match word.split_once('=') {
            Some((key, value)) => batch.put(key.into(), value.into()),
            None => batch.remove(word.trim_start_matches('-').into()),
        }
    }
    storage.commit(batch).unwrap();
}

fn shown(storage: &AnyStorage, start: &str, end: &str, direction: Direction, limit: usize) -> String {
    let entries = storage.range(start.as_bytes(), end.as_bytes(), direction, limit).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let words: Vec<String> =
        entries.into_iter().map(|(key, value)| format!("{}={}", text(key), text(value))).collect();
    words.join(" ")
}

#[test]
fn ranges_and_batches() {
    for kind in engines() {
        let root = tempfile::tempdir().unwrap();
        let storage = open(kind, root.path());
        let check = |start, end, direction, limit, expected: &str| {
            assert_eq!(shown(&storage, start, end, direction, limit), expected, "{kind:?} {start} {end}");
        };
        check("", "z", Direction::Forward, 9, "");
        commit(&storage, "a=1 ab=2 b=3 c=4 d=5");
        check("a", "d", Direction::Forward, 9, "a=1 ab=2 b=3 c=4");
        check("a", "d", Direction::Forward, 2, "a=1 ab=2");
        check("ab\0", "d", Direction::Forward, 2, "b=3 c=4");
        check("a", "d", Direction::Backward, 2, "c=4 b=3");
        check("a", "b", Direction::Backward, 2, "ab=2 a=1");
        check("d", "a", Direction::Forward, 9, "");
        check("b", "b", Direction::Backward, 9, "");
        check("e", "z", Direction::Backward, 9, "");
        // The last change of a key counts, and removing nothing is no error.
        commit(&storage, "b=6 b=7 -c -x a=8 -a");
        check("", "z", Direction::Forward, 9, "ab=2 b=7 d=5");
        commit(&storage, "");
        assert_eq!(storage.get(b"b").unwrap().as_deref(), Some(b"7".as_slice()));
        assert_eq!(storage.get(b"c").unwrap(), None);
        storage.close().unwrap();
    }
}

#[test]
fn what_was_flushed_is_there_again() {
    for kind in engines().into_iter().filter(|kind| *kind != EngineKind::Memory) {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        for round in 0..3 {
            let storage = open(kind, &dir);
            let keys: Vec<String> = (0..round).map(|n| format!("k{n}={n}")).collect();
            assert_eq!(shown(&storage, "", "z", Direction::Forward, 9), keys.join(" "), "{kind:?}");
            commit(&storage, &format!("k{round}={round}"));
            storage.close().unwrap();
        }
    }
}

#[test]
fn many_entries_in_pages() {
    for kind in engines() {
        let root = tempfile::tempdir().unwrap();
        let storage = open(kind, root.path());
        for hundred in 0..20_u32 {
            let mut batch = Batch::default();
            for n in hundred * 100..hundred * 100 + 100 {
                batch.put(n.to_be_bytes().to_vec(), vec![7; (n % 300) as usize]);
            }
            storage.commit(batch).unwrap();
        }
        let mut start = Vec::new();
        let mut seen = 0_u32;
        loop {
            let page = storage.range(&start, &[0xff; 5], Direction::Forward, 77).unwrap();
            let Some((last, _)) = page.last() else { break };
            start = [last.as_slice(), &[0]].concat();
            for (key, value) in page {
                assert_eq!((key, value.len()), (seen.to_be_bytes().to_vec(), (seen % 300) as usize));
                seen += 1;
            }
        }
        assert_eq!(seen, 2_000, "{kind:?}");
    }
}

#[test]
fn an_unfinished_snapshot_of_sled_is_removed() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("snap.1F.generating");
    std::fs::write(&path, b"half").unwrap();
    open(EngineKind::Sled, root.path()).close().unwrap();
    assert!(!path.exists());
    let names = ["db", "conf"].map(|name| root.path().join(name).metadata().unwrap().len() > 0);
    assert_eq!(names, [true, true]);
}
