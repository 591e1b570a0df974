//! Records as bytes: a version, then postcard. One frame of the journal holds the records of one group commit.
//!
//! Postcard is not self-describing, so this version is raised whenever the meaning of old bytes would change; a frame
//! of a newer version is refused and never rewritten.

use serde::{Deserialize, Serialize};

use crate::engine::record::Record;
use crate::engine::state::State;
use crate::model::amount::Quantity;

/// The version that is written.
pub const RECORD_VERSION: u8 = 1;
/// The version of checkpoints that is written: it is raised whenever the state has other fields. An older checkpoint
/// is no damage: it is passed over, and made anew from the journal.
pub const STATE_VERSION: u8 = 5;

/// A frame or checkpoint that does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer tradebus.
    #[error("{what} version {found}, this tradebus reads up to {supported}")]
    Newer {
        /// What was read.
        what: &'static str,
        /// The version found.
        found: u8,
        /// The newest that is read.
        supported: u8,
    },
    /// A checkpoint of an older tradebus.
    #[error(
        "it has version {found}, this tradebus writes {STATE_VERSION} and makes it anew from the journal"
    )]
    Older {
        /// The version found.
        found: u8,
    },
    /// The checksum was right, but the content is not.
    #[error("{what} cannot be decoded: {error}")]
    Content {
        /// What was read.
        what: &'static str,
        /// postcard's word.
        error: postcard::Error,
    },
    /// A frame says it has another number of records.
    #[error("a frame promises {promised} records and holds {found}")]
    Count {
        /// What its header says.
        promised: u32,
        /// What is there.
        found: usize,
    },
    /// A fill that cannot be: no tradebus wrote it, and the books could not take it.
    #[error("a fill has a quantity of {0}, and it must be above 0")]
    Fill(Quantity),
}

/// A checkpoint's content: what it was made by, and the state.
#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u8,
    content: T,
}

/// The bytes of a group of records.
pub fn encode(records: &[Record]) -> Vec<u8> {
    postcard::to_allocvec(records).expect("records always have a binary form")
}

/// The records of a frame.
///
/// # Errors
/// When the version is newer, or the content is not what the header promises.
pub fn decode(version: u8, count: u32, bytes: &[u8]) -> Result<Vec<Record>, DecodeError> {
    if version > RECORD_VERSION {
        let what = "records have";
        return Err(DecodeError::Newer { what, found: version, supported: RECORD_VERSION });
    }
    let records: Vec<Record> = postcard::from_bytes(bytes)
        .map_err(|error| DecodeError::Content { what: "a frame of records", error })?;
    if records.len() != count as usize {
        return Err(DecodeError::Count { promised: count, found: records.len() });
    }
    for record in &records {
        match record {
            Record::Fill(fill) if !fill.quantity.is_positive() => {
                return Err(DecodeError::Fill(fill.quantity));
            }
            _ => {}
        }
    }
    Ok(records)
}

const STATE_HAS_BYTES: &str = "a state always has a binary form";

/// The bytes of a checkpoint.
pub fn encode_state(state: &State) -> Vec<u8> {
    let versioned = Versioned { version: STATE_VERSION, content: state };
    // Of the right size at once: what grows by doubling takes three times as much, and the allocator keeps it.
    let bytes = postcard::experimental::serialized_size(&versioned).expect(STATE_HAS_BYTES);
    postcard::to_extend(&versioned, Vec::with_capacity(bytes)).expect(STATE_HAS_BYTES)
}

/// The state of a checkpoint.
///
/// # Errors
/// When the version is another one, or the content is not a state.
pub fn decode_state(bytes: &[u8]) -> Result<State, DecodeError> {
    let (what, supported) = ("the checkpoint has", STATE_VERSION);
    match bytes.first().copied() {
        Some(found) if found > STATE_VERSION => return Err(DecodeError::Newer { what, found, supported }),
        Some(found) if found < STATE_VERSION => return Err(DecodeError::Older { found }),
        _ => {}
    }
    let versioned: Versioned<State> =
        postcard::from_bytes(bytes).map_err(|error| DecodeError::Content { what: "a checkpoint", error })?;
    Ok(versioned.content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture;

    #[test]
    fn a_fill_of_nothing_is_refused() {
        let mut records = fixture::records(1);
        let check = |records: &[Record], expected: Option<&str>| {
            let decoded = decode(RECORD_VERSION, records.len() as u32, &encode(records));
            assert_eq!(decoded.err().map(|error| error.to_string()).as_deref(), expected);
        };
        check(&records, None);
        for record in &mut records {
            if let Record::Fill(fill) = record {
                fill.quantity = -fill.quantity;
            }
        }
        check(&records, Some("a fill has a quantity of -1, and it must be above 0"));
    }
}
