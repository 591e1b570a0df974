//! Writes down what a feed says, a file for each symbol, as [`source`](super::source) reads it.
//!
//! Invariants: what was taken is read back as it was, in the same order; no file is written over. A file whose name
//! ends in `.gz` is packed. What a process that is killed had not flushed is lost, and a packed file is cut then:
//! its lines can be read up to there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::model::ids::Symbol;
use crate::model::market::{Arrival, PriceUpdate};
use crate::model::time::Timestamp;
use crate::venue::recorded::line;

/// The files of one feed.
pub struct Recorder {
    files: BTreeMap<Symbol, Output>,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// Its symbol.
    pub symbol: Symbol,
    /// Lines below the header.
    pub events: u64,
    /// Trades, quotes, candles and marks among them.
    pub prices: u64,
    /// When the first and the last were seen.
    pub span: Option<(Timestamp, Timestamp)>,
}

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {error}", path = path.display())]
pub struct RecorderError {
    /// The file.
    pub path: PathBuf,
    /// The system's word.
    pub error: io::Error,
}

impl Recorder {
    /// Makes the files, which must not be there yet.
    ///
    /// # Errors
    /// The first that cannot be made.
    pub fn create(files: impl IntoIterator<Item = (PathBuf, Symbol)>) -> Result<Recorder, RecorderError> {
        let mut outputs = BTreeMap::new();
        for (path, symbol) in files {
            let output = Output::create(&path, symbol);
            outputs.insert(symbol, output.map_err(|error| RecorderError { path, error })?);
        }
        Ok(Recorder { files: outputs })
    }

    /// Writes an event down. One of a symbol without a file is passed over.
    ///
    /// # Errors
    /// When its file cannot be written.
    pub fn take(&mut self, arrival: &Arrival) -> Result<(), RecorderError> {
        let Some(output) = self.files.get_mut(&arrival.event.symbol) else { return Ok(()) };
        output.named(|output| output.take(arrival))
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// The first file that cannot be written.
    pub fn flush(&mut self) -> Result<(), RecorderError> {
        self.files.values_mut().try_for_each(|output| output.named(|output| output.writer.flush()))
    }

    /// Ends the files; tells what they hold.
    ///
    /// # Errors
    /// The first file that cannot be written.
    pub fn finish(mut self) -> Result<Vec<Written>, RecorderError> {
        self.files.values_mut().try_for_each(|output| output.named(Output::finish))?;
        Ok(self.files.into_values().map(|output| output.written).collect())
    }
}

struct Output {
    writer: Writer,
    written: Written,
}

enum Writer {
    Plain(BufWriter<File>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
}

impl Output {
    fn create(path: &Path, symbol: Symbol) -> io::Result<Output> {
        let file = BufWriter::new(File::create_new(path)?);
        let mut writer = match path.extension().is_some_and(|end| end == "gz") {
            true => Writer::Gzip(Box::new(GzEncoder::new(file, Compression::default()))),
            false => Writer::Plain(file),
        };
        writer.write_all(line::header().as_bytes())?;
        // A file that was made is a recording from the beginning.
        writer.flush()?;
        let written = Written { path: path.to_owned(), symbol, events: 0, prices: 0, span: None };
        Ok(Output { writer, written })
    }

    fn take(&mut self, arrival: &Arrival) -> io::Result<()> {
        self.writer.write_all(line::line(arrival).as_bytes())?;
        let written = &mut self.written;
        written.events += 1;
        let is_price =
            !matches!(arrival.event.update, PriceUpdate::Confirmed | PriceUpdate::Instrument { .. });
        written.prices += u64::from(is_price);
        written.span = Some((written.span.map_or(arrival.at, |(first, _)| first), arrival.at));
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        match &mut self.writer {
            Writer::Plain(file) => file.flush(),
            Writer::Gzip(packed) => {
                packed.try_finish()?;
                packed.get_mut().flush()
            }
        }
    }

    fn named(&mut self, work: impl FnOnce(&mut Output) -> io::Result<()>) -> Result<(), RecorderError> {
        work(self).map_err(|error| RecorderError { path: self.written.path.clone(), error })
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Writer::Plain(file) => file.write(bytes),
            Writer::Gzip(packed) => packed.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Writer::Plain(file) => file.flush(),
            Writer::Gzip(packed) => packed.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backtest::source::RecordingSource;
    use crate::model::amount::{Price, Quantity};
    use crate::model::ids::FeedId;
    use crate::model::market::MarketEvent;

    fn arrival(symbol: &str, at: i64, update: PriceUpdate) -> Arrival {
        let (feed, symbol) = (FeedId::new("f").unwrap(), Symbol::new(symbol).unwrap());
        // The venue's times go back now and then.
        let time = Timestamp::from_ms(at - at % 7);
        Arrival { at: Timestamp::from_ms(at), event: MarketEvent { feed, symbol, time, update } }
    }

    /// Some events of two symbols, never at the same time, and one of a third.
    fn arrivals() -> Vec<Arrival> {
        let (price, quantity) = (Price::new("97000.5".parse().unwrap()), Quantity::new(2.into()));
        let updates = [
            PriceUpdate::Trade { price, quantity, taker: None },
            PriceUpdate::Confirmed,
            PriceUpdate::Mark { price },
        ];
        (0..600).map(|n| arrival(["A-B", "C-B", "X-B"][n % 3], 1_000 + n as i64, updates[n % 3])).collect()
    }

    #[test]
    fn what_is_taken_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let names = [("a.csv", "A-B"), ("c.csv.gz", "C-B")];
        let files = names.map(|(name, symbol)| (folder.path().join(name), Symbol::new(symbol).unwrap()));
        let mut recorder = Recorder::create(files.clone()).unwrap();
        for (count, arrival) in arrivals().iter().enumerate() {
            recorder.take(arrival).unwrap();
            if count % 100 == 0 {
                recorder.flush().unwrap();
            }
        }
        let written = recorder.finish().unwrap();
        assert_eq!(
            written.iter().map(|one| (one.events, one.prices)).collect::<Vec<_>>(),
            [(200, 200), (200, 0)]
        );
        let span = written[0].span.map(|(first, last)| (first.as_ms(), last.as_ms()));
        assert_eq!(span, Some((1_000, 1_597)));
        let read = RecordingSource::open(&files, FeedId::new("f").unwrap()).unwrap();
        let expected = arrivals().into_iter().filter(|one| one.event.symbol.as_str() != "X-B");
        assert!(read.map(Result::unwrap).eq(expected));
        assert!(std::fs::read(&files[1].0).unwrap().starts_with(&[0x1f, 0x8b]));
        // Nothing is written over.
        let error = Recorder::create(files.clone()).err().unwrap().to_string();
        assert!(error.contains("a.csv: File exists"), "{error}");
    }

    #[test]
    fn a_packed_file_without_its_end_is_read_up_to_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = (folder.path().join("a.csv.gz"), Symbol::new("A-B").unwrap());
        let mut recorder = Recorder::create([file.clone()]).unwrap();
        arrivals().iter().for_each(|arrival| recorder.take(arrival).unwrap());
        recorder.flush().unwrap();
        let whole = std::fs::read(&file.0).unwrap();
        drop(recorder);
        std::fs::write(&file.0, whole).unwrap();
        let read: Vec<_> = RecordingSource::open(&[file], FeedId::new("f").unwrap()).unwrap().collect();
        assert_eq!(read.iter().filter(|one| one.is_ok()).count(), 200);
        assert!(read.last().unwrap().is_err());
    }
}
