//! The journal's files, met by crashes and damage.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::segment::{FRAME_HEADER_BYTES, HEADER_BYTES, encode_frame};
use super::*;

/// Bytes before the payload of the first frame.
const PAYLOAD_AT: usize = HEADER_BYTES as usize + FRAME_HEADER_BYTES;

/// The file name of the segment from `first`.
fn name(first: u64) -> String {
    format!("{first:020}.tbj")
}

/// A store with one frame per count, in segments as they rotate, and its frames.
fn store(rotate_bytes: u64, counts: &[u32]) -> (TempDir, Vec<Frame>) {
    let root = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(root.path(), rotate_bytes).unwrap();
    for count in counts {
        append(&mut journal, *count);
    }
    let frames = frames(root.path());
    assert_eq!(frames.len(), counts.len());
    (root, frames)
}

/// Appends a group whose payload tells its sequence.
fn append(journal: &mut Journal, count: u32) {
    let sequence = journal.last_sequence() + 1;
    journal.append(sequence, count, 3, format!("group of {count} from {sequence}").as_bytes()).unwrap();
}

fn frames(dir: &Path) -> Vec<Frame> {
    Reader::open(dir, 1).unwrap().map(Result::unwrap).collect()
}

fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join("journal").join(name(first))
}

/// Every file of the journal with its bytes.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(dir.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn edit(dir: &Path, first: u64, change: impl FnOnce(&mut Vec<u8>)) {
    let path = segment_path(dir, first);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// The journal in `dir` opens with these frames and `torn_bytes` cut off, and goes on.
fn check_opens(dir: &Path, expected: &[Frame], torn_bytes: Option<u64>) {
    let before = snapshot(dir);
    let inspected = Journal::inspect(dir).unwrap();
    assert_eq!(frames(dir), expected, "read before the cut");
    assert_eq!(snapshot(dir), before, "inspecting and reading modify nothing");

    let (mut journal, opened) = Journal::open(dir, ROTATE_BYTES_DEFAULT).unwrap();
    assert_eq!(opened, inspected);
    assert_eq!(opened.torn.as_ref().map(|torn| torn.bytes), torn_bytes);
    if let Some(torn) = &opened.torn {
        assert_eq!(torn.offset + torn.bytes, before[&torn.file].len() as u64);
    }
    let last = expected.last().map_or(0, Frame::last_sequence);
    assert_eq!((opened.last_sequence, journal.last_sequence()), (last, last));
    append(&mut journal, 2);
    drop(journal);

    let after = frames(dir);
    assert_eq!(&after[..expected.len()], expected);
    assert_eq!((after.len(), after.last().unwrap().sequence), (expected.len() + 1, last + 1));
    assert_eq!(Journal::inspect(dir).unwrap().torn, None);
}

/// Opening the journal in `dir` is refused with a message that has these parts, and its bytes stay.
fn check_refused(dir: &Path, parts: &[&str]) {
    let before = snapshot(dir);
    let message = Journal::open(dir, ROTATE_BYTES_DEFAULT).unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} in {message:?}");
    }
    assert_eq!(Journal::inspect(dir).unwrap_err().to_string(), message);
    assert_eq!(snapshot(dir), before);
}

/// Reading the journal in `dir` from the start ends with such an error after `good` frames, and its bytes stay.
fn check_unreadable(dir: &Path, good: usize, parts: &[&str]) {
    let before = snapshot(dir);
    let mut reader = Reader::open(dir, 1).unwrap();
    assert_eq!(reader.by_ref().take(good).filter(Result::is_ok).count(), good);
    let message = reader.next().unwrap().unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} in {message:?}");
    }
    assert!(reader.next().is_none(), "an error is the end");
    assert_eq!(snapshot(dir), before);
}

#[test]
fn round_trip() {
    let (root, frames) = store(ROTATE_BYTES_DEFAULT, &[1, 5, 2]);
    let expected = [(1, 1, "group of 1 from 1"), (2, 5, "group of 5 from 2"), (7, 2, "group of 2 from 7")];
    for (frame, (sequence, count, payload)) in frames.iter().zip(expected) {
        let payload = payload.as_bytes().to_vec();
        assert_eq!(*frame, Frame { sequence, count, version: 3, payload });
    }
    let opened = Journal::inspect(root.path()).unwrap();
    assert_eq!(opened, Opened { first_sequence: 1, last_sequence: 8, segments: 1, torn: None });
    check_opens(root.path(), &frames, None);

    let empty = tempfile::tempdir().unwrap();
    let missing = Opened { first_sequence: 1, last_sequence: 0, segments: 0, torn: None };
    assert_eq!(Journal::inspect(empty.path()).unwrap(), missing);
    assert_eq!(Reader::open(empty.path(), 1).unwrap().count(), 0);
    assert!(!empty.path().join("journal").exists());
}

#[test]
#[should_panic(expected = "a group continues the journal's sequence")]
fn gap_is_a_bug_of_the_caller() {
    let root = tempfile::tempdir().unwrap();
    Journal::open(root.path(), ROTATE_BYTES_DEFAULT).unwrap().0.append(2, 1, 1, b"x").unwrap();
}

#[test]
fn payload_limit() {
    let root = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(root.path(), ROTATE_BYTES_DEFAULT).unwrap();
    let mut payload = vec![1; PAYLOAD_BYTES_MAX + 1];
    let refused = journal.append(1, 1, 1, &payload).unwrap_err();
    assert!(matches!(refused, JournalError::TooLarge { limit: PAYLOAD_BYTES_MAX, .. }));
    payload.pop();
    journal.append(1, 1, 1, &payload).unwrap();
    assert_eq!(journal.bytes_written(), (FRAME_HEADER_BYTES + PAYLOAD_BYTES_MAX) as u64);
    assert_eq!(frames(root.path())[0].payload, payload);
}

#[test]
fn rotation() {
    // Two frames of 17 bytes of payload fit, the third begins a segment; a large one has a segment of its own.
    let frame_bytes = (FRAME_HEADER_BYTES + "group of 1 from 1".len()) as u64;
    let (root, _) = store(HEADER_BYTES + 2 * frame_bytes, &[1, 1, 1, 1, 1]);
    let (mut journal, _) = Journal::open(root.path(), 0).unwrap();
    append(&mut journal, 1);
    journal.rotate().unwrap();
    journal.rotate().unwrap();
    assert_eq!(journal.bytes_written(), 2 * HEADER_BYTES + frame_bytes);
    drop(journal);
    let names: Vec<_> = snapshot(root.path())
        .keys()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, [1, 3, 5, 6, 7].map(name));
    assert_eq!(frames(root.path()).len(), 6);
    check_opens(root.path(), &frames(root.path()), None);
}

#[test]
fn reads_from_and_until() {
    let (root, all) = store(130, &[2, 2, 2, 2, 2, 2, 2, 2]);
    assert!(snapshot(root.path()).len() > 2);
    let firsts = |from: u64, until: u64| -> Vec<u64> {
        let reader = Reader::open(root.path(), from).unwrap().until(until);
        reader.map(|frame| frame.unwrap().sequence).collect()
    };
    for from in 0..20 {
        for until in 0..=16 {
            let wanted = all.iter().filter(|frame| frame.last_sequence() >= from && frame.sequence <= until);
            assert_eq!(firsts(from, until), wanted.map(|frame| frame.sequence).collect::<Vec<_>>());
        }
    }
    // A damaged segment before the first one that is needed is not read, a removed one is not missed.
    edit(root.path(), 1, |bytes| bytes[PAYLOAD_AT] ^= 1);
    assert_eq!(firsts(16, 16), [15]);
    fs::remove_file(segment_path(root.path(), 1)).unwrap();
    assert_eq!(firsts(16, 16), [15]);
    assert!(Journal::inspect(root.path()).unwrap().first_sequence > 1);
    let message = Reader::open(root.path(), 1).err().unwrap().to_string();
    assert!(message.contains("sequence 1 is missing"), "{message}");
}

#[test]
fn reads_beside_a_writer() {
    let root = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(root.path(), 150).unwrap();
    append(&mut journal, 1);
    let mut reader = Reader::open(root.path(), 1).unwrap().until(4);
    for sequence in 1..=4 {
        append(&mut journal, 1);
        assert_eq!(reader.next().unwrap().unwrap().sequence, sequence);
    }
    // The writer is in the middle of a frame.
    edit(root.path(), *segment::list(&root.path().join("journal")).unwrap().last().unwrap(), |bytes| {
        bytes.extend_from_slice(&[40, 0, 0, 0, 6]);
    });
    assert!(reader.next().is_none());
    let bounded = Reader::open(root.path(), 1).unwrap().until(5);
    assert_eq!(bounded.filter(Result::is_ok).count(), 5);
    // What is below the bound was durable once, so its absence is damage.
    for until in [6, 7] {
        let mut reader = Reader::open(root.path(), 5).unwrap().until(until);
        assert_eq!(reader.next().unwrap().unwrap().sequence, 5);
        assert!(matches!(reader.next().unwrap(), Err(JournalError::Damaged { .. })));
    }
}

#[test]
fn torn_tail_at_every_byte() {
    let (root, all) = store(ROTATE_BYTES_DEFAULT, &[1, 4, 2]);
    let whole = fs::read(segment_path(root.path(), 1)).unwrap();
    let last = whole.len() - FRAME_HEADER_BYTES - all[2].payload.len();
    for end in last..whole.len() {
        fs::write(segment_path(root.path(), 1), &whole[..end]).unwrap();
        let torn = (end - last) as u64;
        check_opens(root.path(), &all[..2], (torn > 0).then_some(torn));
        // The file has its full length, and its later pages were not written.
        let zeros = std::iter::repeat_n(0, whole.len() - end);
        let bytes = whole[..end].iter().copied().chain(zeros).collect::<Vec<_>>();
        fs::write(segment_path(root.path(), 1), bytes).unwrap();
        check_opens(root.path(), &all[..2], Some((whole.len() - last) as u64));
    }
}

#[test]
fn flipped_bytes() {
    let (root, all) = store(ROTATE_BYTES_DEFAULT, &[1, 4, 2]);
    let whole = fs::read(segment_path(root.path(), 1)).unwrap();
    let second = PAYLOAD_AT + all[0].payload.len();
    let last = whole.len() - FRAME_HEADER_BYTES - all[2].payload.len();
    for at in 0..whole.len() {
        fs::write(segment_path(root.path(), 1), &whole).unwrap();
        edit(root.path(), 1, |bytes| bytes[at] ^= 0x80);
        let frame = [HEADER_BYTES as usize, second].into_iter().rfind(|start| *start <= at).unwrap_or(0);
        match at {
            9 => check_refused(root.path(), &[&name(1), "format 32769"]),
            8 => check_refused(root.path(), &[&name(1), "format 129"]),
            _ if at >= last => check_opens(root.path(), &all[..2], Some((whole.len() - last) as u64)),
            _ => check_refused(root.path(), &["damaged journal", &name(1), &format!("at byte {frame}:")]),
        }
    }
}

#[test]
fn tails() {
    let zeros = |bytes: usize| move |file: &mut Vec<u8>| file.resize(file.len() + bytes, 0);
    let cases: [(usize, &[&str]); 5] =
        [(1, &[]), (20, &[]), (21, &[]), (5000, &[]), (PAYLOAD_BYTES_MAX + 22, &["than one frame can have"])];
    for (bytes, refusal) in cases {
        let (root, all) = store(ROTATE_BYTES_DEFAULT, &[1, 2]);
        edit(root.path(), 1, zeros(bytes));
        match refusal {
            [] => check_opens(root.path(), &all, Some(bytes as u64)),
            parts => check_refused(root.path(), parts),
        }
    }
    // A sound frame that does not continue: repeated, or with a gap. No crash leaves that.
    for sequence in [2, 5] {
        let (root, _) = store(ROTATE_BYTES_DEFAULT, &[1, 2]);
        edit(root.path(), 1, |file| {
            let mut frame = Vec::new();
            encode_frame(&mut frame, sequence, 1, 1, b"x");
            file.extend(frame);
        });
        check_refused(root.path(), &[&format!("1 records from sequence {sequence}, where 4 is expected")]);
    }
}

#[test]
fn fresh_segment_with_a_torn_header() {
    for rest in 0..=HEADER_BYTES as usize {
        for zeros in [true, false] {
            let (root, all) = store(0, &[1, 1]);
            if !zeros && rest == HEADER_BYTES as usize {
                continue;
            }
            let header = fs::read(segment_path(root.path(), 2)).unwrap();
            let torn = if zeros { vec![0; rest] } else { header[..rest].to_vec() };
            // The rotation that a crash interrupted.
            fs::write(segment_path(root.path(), 3), &torn).unwrap();
            check_opens(root.path(), &all, Some(rest as u64));
            // The same for the very first segment.
            let fresh = tempfile::tempdir().unwrap();
            fs::create_dir(fresh.path().join("journal")).unwrap();
            fs::write(segment_path(fresh.path(), 1), &torn).unwrap();
            check_opens(fresh.path(), &[], Some(rest as u64));
        }
    }
    // A torn header that does not continue the segment before it was not left by a rotation.
    let (root, _) = store(0, &[1, 1]);
    fs::write(segment_path(root.path(), 4), b"").unwrap();
    check_refused(root.path(), &[&name(2), "ends before sequence 3, and the next starts with 4"]);
    // Only the last segment can be torn, and frames are written only behind a durable header.
    let (root, _) = store(0, &[1, 1]);
    edit(root.path(), 1, |bytes| bytes.truncate(9));
    check_refused(root.path(), &[&name(1), "at byte 0: the segment's header is incomplete"]);
    let (root, _) = store(0, &[1, 1]);
    edit(root.path(), 2, |bytes| bytes[..HEADER_BYTES as usize].fill(0));
    check_refused(root.path(), &[&name(2), "at byte 0: this is not a journal segment"]);
}

#[test]
fn segments_missing_or_damaged() {
    let (root, _) = store(0, &[1, 2, 3, 4]);
    fs::remove_file(segment_path(root.path(), 2)).unwrap();
    check_refused(root.path(), &[&name(4), "it continues the segment from sequence 2"]);
    check_unreadable(root.path(), 1, &[&name(1), "ends before sequence 2, and the next starts with 4"]);

    // Frames of earlier segments are checked when they are read.
    let (root, _) = store(0, &[1, 2, 3, 4]);
    edit(root.path(), 2, |bytes| *bytes.last_mut().unwrap() ^= 1);
    check_unreadable(root.path(), 1, &[&name(2), "at byte 32: a frame has a wrong checksum"]);
    edit(root.path(), 2, |bytes| bytes.truncate(bytes.len() - 1));
    check_unreadable(root.path(), 1, &[&name(2), "at byte 32: a frame is incomplete"]);
    edit(root.path(), 2, |bytes| bytes.truncate(HEADER_BYTES as usize));
    check_unreadable(root.path(), 1, &[&name(2), "ends before sequence 2, and the next starts with 4"]);

    let (root, _) = store(0, &[1, 2]);
    fs::rename(segment_path(root.path(), 2), root.path().join("journal/2.tbj")).unwrap();
    check_refused(root.path(), &["2.tbj", "the name is not a sequence of 20 digits"]);
    fs::rename(root.path().join("journal/2.tbj"), segment_path(root.path(), 3)).unwrap();
    check_refused(root.path(), &[&name(3), "header and its name have different sequences"]);
}

#[test]
fn newer_format_is_not_touched() {
    for (first, bytes_kept) in [(1, usize::MAX), (2, usize::MAX), (2, 10)] {
        let (root, _) = store(0, &[1, 1]);
        edit(root.path(), first, |bytes| {
            bytes[8] = 2;
            bytes.truncate(bytes_kept);
        });
        check_refused(root.path(), &[&name(first), "has journal format 2, and", "up to format 1"]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is cut off the last segment, a prefix of the frames stays, and it is the longest that was whole.
    #[test]
    fn cut_tail_leaves_a_prefix(
        counts in prop::collection::vec(1_u32..9, 1..12),
        rotate_bytes in 0_u64..400,
        cut in any::<prop::sample::Index>(),
    ) {
        let (root, all) = store(rotate_bytes, &counts);
        let (last, bytes) = snapshot(root.path()).pop_last().unwrap();
        let kept = cut.index(bytes.len());
        fs::write(&last, &bytes[..kept]).unwrap();

        let earlier = all.iter().filter(|frame| segment_path(root.path(), frame.sequence) < last).count();
        let mut end = HEADER_BYTES as usize;
        let ends = all[earlier..].iter().map(|frame| {
            end += FRAME_HEADER_BYTES + frame.payload.len();
            end
        });
        let whole = earlier + ends.filter(|end| *end <= kept).count();
        let found = frames(root.path());
        prop_assert_eq!(&found, &all[..whole]);
        let (mut journal, opened) = Journal::open(root.path(), rotate_bytes).unwrap();
        prop_assert_eq!(opened.last_sequence, found.last().map_or(0, Frame::last_sequence));
        append(&mut journal, 1);
        prop_assert_eq!(frames(root.path()).len(), whole + 1);
    }
}
