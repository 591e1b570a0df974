//! BloFin's public market data: JSON text to model and back. No key is needed; what needs one is in [`private`].
//!
//! Invariants: no text makes a parser panic, and none passes on a price that is not above zero, a size that is not
//! above zero, a crossed book, or a time that is far off: such rows are dropped with a [`DropReason`] and counted.
//! Lenient where the venue is known to waver (numbers or texts, objects or lists, fields that are missing or new),
//! strict where money is concerned: amounts are exact, and one broken row never costs the good ones beside it.
//!
//! Limits: [`FRAME_BYTES_MAX`] for an inbound frame, [`SUBSCRIBE_BYTES_MAX`] for an outbound one, [`ROWS_MAX`] rows of
//! an answer.
//! Sizes are contracts until [`translate::Translator`] makes base units of them by the instrument.

pub mod answer;
pub mod dropped;
pub mod instrument;
pub mod market;
pub mod private;
pub mod request;
pub mod stream;
#[cfg(test)]
mod tests;
pub mod translate;
#[cfg(test)]
mod translate_tests;
mod wire;

pub use dropped::{DropReason, Dropped, Drops};

/// The largest inbound frame or answer that is read, in bytes; 5,000 instruments fit in.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// The largest subscription frame that the venue takes, in bytes.
pub const SUBSCRIBE_BYTES_MAX: usize = 4_096;
/// The most rows of one frame or answer that are looked at.
pub const ROWS_MAX: usize = 10_000;
