//! The log of everything an engine was told: settings and state at the start, then every event with its time.
//!
//! Written by `tradebus run --record-events FILE`, replayed by tests and for bug reports. Each entry is a length
//! (u32, little endian) and postcard; the file is for the version that wrote it.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::engine::event::Event;
use crate::engine::settings::EngineSettings;
use crate::engine::state::State;
use crate::model::time::Timestamp;

/// The largest entry that is read, in bytes: a state with all its signals fits.
const ENTRY_BYTES_MAX: u32 = 256 << 20;

/// What the first entry holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogStart {
    /// What the engine went by.
    pub settings: EngineSettings,
    /// What it began with.
    pub state: State,
}

/// Writes entries.
#[derive(Debug)]
pub struct EventLogWriter<W: Write> {
    out: W,
}

impl<W: Write> EventLogWriter<W> {
    /// Begins a log.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn begin(out: W, start: &LogStart) -> io::Result<EventLogWriter<W>> {
        let mut log = EventLogWriter { out };
        log.entry(start)?;
        Ok(log)
    }

    /// Adds an event.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn event(&mut self, at: Timestamp, event: &Event) -> io::Result<()> {
        self.entry(&(at, event))
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn entry(&mut self, entry: &impl Serialize) -> io::Result<()> {
        let bytes = postcard::to_allocvec(entry).map_err(io::Error::other)?;
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(&bytes)
    }
}

/// Reads a whole log. A last entry that was cut by a crash is left out.
///
/// # Errors
/// When `input` cannot be read, or an entry is not what this version writes.
pub fn read(mut input: impl Read) -> io::Result<(LogStart, Vec<(Timestamp, Event)>)> {
    let first = entry(&mut input)?.ok_or_else(|| io::Error::other("the log is empty"))?;
    let start = postcard::from_bytes(&first).map_err(io::Error::other)?;
    let mut events = Vec::new();
    while let Some(bytes) = entry(&mut input)? {
        events.push(postcard::from_bytes(&bytes).map_err(io::Error::other)?);
    }
    Ok((start, events))
}

fn entry(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    if !filled(input, &mut length)? {
        return Ok(None);
    }
    let length = u32::from_le_bytes(length);
    if length > ENTRY_BYTES_MAX {
        return Err(io::Error::other(format!("an entry of {length} bytes, the limit is {ENTRY_BYTES_MAX}")));
    }
    let mut bytes = vec![0; length as usize];
    Ok(filled(input, &mut bytes)?.then_some(bytes))
}

fn filled(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match input.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
