//! How a venue speaks: pure text to model and back, no sockets, no files.

pub mod blofin;
pub mod recorded;
pub mod synthetic;
