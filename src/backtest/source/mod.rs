//! Recordings in files, merged in time order. Equal times keep the order of the files.
//!
//! Files are streamed, never held: plain or gzip by their first bytes, about 100 KiB of memory each, at most
//! [`FILES_MAX`] of them. The first error ends the source.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::model::ids::{FeedId, Symbol};
use crate::model::market::{Arrival, MarketEvent};
use crate::model::time::Timestamp;
use crate::venue::recorded::{LINE_BYTES_MAX, LineFault, Recorded, RecordedParser};

/// The most files of one source.
pub const FILES_MAX: usize = 64;

const BUFFER_BYTES: usize = 16 * 1024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The events of several recordings in time order.
pub struct RecordingSource {
    feed: FeedId,
    files: Vec<RecordingFile>,
    /// The time of each file's next event and the file's place; the place decides between equal times.
    next: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// The file whose event was given last: its next line is read only when it is asked for, so that an event is not
    /// lost when the line behind it is broken.
    taken: Option<usize>,
    failed: bool,
    time_first: Option<Timestamp>,
    time_given: Option<Timestamp>,
    time_last: Option<Timestamp>,
}

impl RecordingSource {
    /// Opens the files and reads their headers and first lines (of candles, those that tell the timeframe).
    ///
    /// # Errors
    /// When there is no file or more than [`FILES_MAX`], one cannot be read, or one of these lines is broken.
    pub fn open(files: &[(PathBuf, Symbol)], feed: FeedId) -> Result<RecordingSource, RecordingError> {
        if files.is_empty() || files.len() > FILES_MAX {
            let fault = RecordingFault::FileCount { found: files.len() };
            return Err(RecordingError { file: PathBuf::new(), line: 0, fault });
        }
        let files = files.iter().map(|(path, symbol)| RecordingFile::open(path, *symbol));
        let mut source = RecordingSource {
            feed,
            files: files.collect::<Result<_, _>>()?,
            next: BinaryHeap::new(),
            taken: None,
            failed: false,
            time_first: None,
            time_given: None,
            time_last: None,
        };
        for place in 0..source.files.len() {
            source.fill(place)?;
        }
        source.time_first = source.next.peek().map(|Reverse((time, _))| *time);
        Ok(source)
    }

    /// Starts again at the first event.
    ///
    /// # Errors
    /// Like [`RecordingSource::open`]: the files are opened anew.
    pub fn rewind(&mut self) -> Result<(), RecordingError> {
        let files: Vec<_> = self.files.iter().map(|file| (file.path.clone(), file.symbol)).collect();
        let time_last = self.time_last;
        *self = RecordingSource::open(&files, self.feed)?;
        self.time_last = time_last;
        Ok(())
    }

    /// Time of the first event; `None` when the files have no events.
    pub fn first_time(&self) -> Option<Timestamp> {
        self.time_first
    }

    /// Time of the last event; known once the source was read to its end.
    pub fn last_time(&self) -> Option<Timestamp> {
        self.time_last
    }

    /// Reads one event of a file and puts it in order.
    fn fill(&mut self, place: usize) -> Result<(), RecordingError> {
        let file = &mut self.files[place];
        file.head = file.read_event()?;
        if let Some(head) = file.head {
            self.next.push(Reverse((head.at, place)));
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Option<Arrival>, RecordingError> {
        if let Some(place) = self.taken.take() {
            self.fill(place)?;
        }
        let Some(Reverse((_, place))) = self.next.pop() else {
            self.time_last = self.time_given;
            return Ok(None);
        };
        self.taken = Some(place);
        let file = &mut self.files[place];
        let head = file.head.take();
        let Recorded { at, time, update } = head.expect("a file in the order has an event");
        self.time_given = Some(at);
        let event = MarketEvent { feed: self.feed, symbol: file.symbol, time, update };
        Ok(Some(Arrival { at, event }))
    }
}

impl Iterator for RecordingSource {
    type Item = Result<Arrival, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let taken = self.take();
        self.failed = taken.is_err();
        taken.transpose()
    }
}

/// One file, read line by line.
struct RecordingFile {
    path: PathBuf,
    symbol: Symbol,
    input: Input,
    line: Vec<u8>,
    parser: RecordedParser,
    ended: bool,
    head: Option<Recorded>,
}

impl RecordingFile {
    fn open(path: &Path, symbol: Symbol) -> Result<RecordingFile, RecordingError> {
        let error = |line, fault| RecordingError { file: path.to_path_buf(), line, fault };
        let mut input = Input::open(path).map_err(|cause| error(0, RecordingFault::Io(cause)))?;
        let mut line = Vec::new();
        input.read_line(&mut line).map_err(|cause| error(1, RecordingFault::Io(cause)))?;
        let parser = RecordedParser::from_header(&line);
        let parser = parser.map_err(|cause| error(cause.line, RecordingFault::Line(cause.fault)))?;
        Ok(RecordingFile { path: path.to_path_buf(), symbol, input, line, parser, ended: false, head: None })
    }

    fn read_event(&mut self) -> Result<Option<Recorded>, RecordingError> {
        loop {
            if let Some(event) = self.parser.pop() {
                return Ok(Some(event));
            }
            if self.ended {
                return Ok(None);
            }
            let line = self.parser.line() + 1;
            let error = |line, fault| RecordingError { file: self.path.clone(), line, fault };
            let read = self.input.read_line(&mut self.line);
            self.ended = !read.map_err(|cause| error(line, RecordingFault::Io(cause)))?;
            let parsed = if self.ended { self.parser.finish() } else { self.parser.push(&self.line) };
            parsed.map_err(|cause| error(cause.line, RecordingFault::Line(cause.fault)))?;
        }
    }
}

/// The bytes of a file, unpacked.
enum Input {
    Plain(BufReader<File>),
    Gzip(Box<BufReader<MultiGzDecoder<BufReader<File>>>>),
}

impl Input {
    fn open(path: &Path) -> io::Result<Input> {
        let mut file = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
        if file.fill_buf()?.starts_with(&GZIP_MAGIC) {
            let unpacked = MultiGzDecoder::new(file);
            return Ok(Input::Gzip(Box::new(BufReader::with_capacity(BUFFER_BYTES, unpacked))));
        }
        Ok(Input::Plain(file))
    }

    /// Replaces `line` with the next line; false at the end of the file. Of a line that is too long, it reads only as
    /// much as the parser needs to refuse it.
    fn read_line(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        match self {
            Input::Plain(input) => read_line(input, line),
            Input::Gzip(input) => read_line(input, line),
        }
    }
}

fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    // Room for a line end of two bytes behind the longest line.
    let limit = LINE_BYTES_MAX as u64 + 2;
    line.clear();
    Ok(io::Read::take(input, limit).read_until(b'\n', line)? > 0)
}

/// A recording that cannot be read further.
#[derive(Debug)]
pub struct RecordingError {
    /// The file; empty when there is none.
    pub file: PathBuf,
    /// Number of the line, the header is line 1; 0 when the file could not be opened.
    pub line: u64,
    /// What is wrong.
    pub fault: RecordingFault,
}

impl std::fmt::Display for RecordingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.file.as_os_str().is_empty() {
            write!(f, "{}: ", self.file.display())?;
        }
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        self.fault.fmt(f)
    }
}

impl std::error::Error for RecordingError {}

/// What is wrong with a recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingFault {
    /// No files, or more than [`FILES_MAX`].
    #[error("a recording has 1 to 64 files, not {found}")]
    FileCount {
        /// How many there are.
        found: usize,
    },
    /// It cannot be opened, read or unpacked.
    #[error("cannot be read: {0}")]
    Io(io::Error),
    /// A line cannot be.
    #[error("{0}")]
    Line(LineFault),
}

#[cfg(test)]
mod tests;
