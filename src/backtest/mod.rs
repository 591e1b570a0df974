//! The second driver: recorded events in a loop. It may read files; it never uses the daemon.

pub mod source;
