//! The truth about money: an append-only journal and the checkpoint of the state folded from it.

pub mod checkpoint;
pub mod journal;
