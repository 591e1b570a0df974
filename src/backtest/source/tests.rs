//! Files in a temporary folder, merged.

use std::io::Write;

use super::*;

const TRADES: &str = "time_ms,price,quantity,taker_side,trade_id\n";
const CANDLES: &str = "open_time_ms,open,high,low,close,volume\n";

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// Each file's content, one symbol each, and what comes out: `time symbol` or the error without the folder.
fn read(contents: &[Vec<u8>]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (place, content) in contents.iter().enumerate() {
        let path = folder.path().join(format!("{place}.csv"));
        std::fs::write(&path, content).unwrap();
        files.push((path, Symbol::new(&format!("S{place}")).unwrap()));
    }
    let show =
        |error: RecordingError| error.to_string().replace(&format!("{}/", folder.path().display()), "");
    let source = match RecordingSource::open(&files, FeedId::new("tape").unwrap()) {
        Ok(source) => source,
        Err(error) => return vec![show(error)],
    };
    let lines = source.map(|event| match event {
        Ok(event) => format!("{} {}", event.at.as_ms(), event.event.symbol),
        Err(error) => show(error),
    });
    lines.collect()
}

#[test]
fn merges_in_time_order() {
    let check = |contents: &[Vec<u8>], expected: &[&str]| assert_eq!(read(contents), expected);
    let trades = |times: &[i64]| {
        let lines: Vec<String> = times.iter().map(|ms| format!("{ms},10,1,buy,1\n")).collect();
        format!("{TRADES}{}", lines.concat())
    };
    let plain = |times: &[i64]| trades(times).into_bytes();
    check(&[plain(&[1, 3, 3]), plain(&[2, 3, 4])], &["1 S0", "2 S1", "3 S0", "3 S0", "3 S1", "4 S1"]);
    check(&[plain(&[]), plain(&[2])], &["2 S1"]);
    check(&[plain(&[])], &[]);
    // Packed by its first bytes, not by its name, also in several parts.
    check(&[gzip(&trades(&[1, 3])), plain(&[2])], &["1 S0", "2 S1", "3 S0"]);
    check(&[[gzip(&trades(&[1])), gzip("5,10,1,buy,1")].concat()], &["1 S0", "5 S0"]);
    let candles = format!("{CANDLES}0,1,1,1,1,1\n60,1,1,1,1,1\n");
    check(&[candles.into_bytes(), plain(&[59, 60])], &["59 S1", "60 S0", "60 S1", "120 S0"]);
}

#[test]
fn errors_name_file_and_line() {
    let check = |contents: &[Vec<u8>], expected: &[&str]| assert_eq!(read(contents), expected);
    let plain = |lines: &str| format!("{TRADES}{lines}").into_bytes();
    let good = plain("1,10,1,buy,1\n9,10,1,buy,1");
    // The good line before the broken one is not lost, and nothing follows the error.
    check(
        &[good.clone(), plain("2,10,1,buy,1\n3,x,1,buy,1\n4,10,1,buy,1")],
        &["1 S0", "2 S1", r#"1.csv: line 3: column price: "x" is not a number"#],
    );
    check(&[good.clone(), plain("2,0,1,buy,1")], &[r#"1.csv: line 2: column price: "0" is not above 0"#]);
    let long = format!("2,10,1,buy,{}\n", "1".repeat(1_000_000));
    check(&[plain(&long)], &["0.csv: line 2: longer than 4096 bytes"]);
    let longest = format!("2,10,1,buy,{}\r\n3,10,1,buy,1", "1".repeat(LINE_BYTES_MAX - 11));
    check(&[plain(&longest)], &["2 S0", "3 S0"]);
    check(&[], &["a recording has 1 to 64 files, not 0"]);
    let shown = read(&[b"a,b\n".to_vec()]);
    assert!(shown[0].starts_with(r#"0.csv: line 1: the header "a,b" is of no known kind"#), "{shown:?}");
    let mut cut = gzip(&format!("{TRADES}1,10,1,buy,1\n2,10,1,buy,1\n"));
    cut.truncate(cut.len() - 4);
    let shown = read(&[cut]);
    assert!(shown.last().unwrap().contains("cannot be read"), "{shown:?}");
}

#[test]
fn absent_files_are_named() {
    let path = PathBuf::from("no/such.csv");
    let error =
        RecordingSource::open(&[(path.clone(), Symbol::new("A").unwrap())], FeedId::new("f").unwrap());
    let error = error.err().unwrap();
    assert_eq!((&error.file, error.line), (&path, 0));
    assert!(error.to_string().starts_with("no/such.csv: cannot be read: "), "{error}");
}

#[test]
fn rewinds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    std::fs::write(&path, format!("{TRADES}1,10,1,buy,1\n5,10,1,buy,1\n")).unwrap();
    let files = [(path, Symbol::new("A").unwrap())];
    let mut source = RecordingSource::open(&files, FeedId::new("f").unwrap()).unwrap();
    assert_eq!(source.first_time(), Some(Timestamp::from_ms(1)));
    assert_eq!(source.last_time(), None);
    let first: Vec<_> = source.by_ref().map(Result::unwrap).collect();
    assert_eq!(source.last_time(), Some(Timestamp::from_ms(5)));
    source.rewind().unwrap();
    assert_eq!(source.last_time(), Some(Timestamp::from_ms(5)));
    assert_eq!(source.map(Result::unwrap).collect::<Vec<_>>(), first);
}
