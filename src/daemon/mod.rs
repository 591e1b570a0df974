//! Everything that waits: sockets, disk, timers and the wall clock. The only folder with tokio.

#[cfg(feature = "embedded-broker")]
pub mod broker;
pub mod clock;
pub mod feed;
pub mod mqtt;
pub mod outbox;
