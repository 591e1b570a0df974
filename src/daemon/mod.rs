//! Everything that waits: sockets, disk, timers and the wall clock. The only folder with tokio.

#[cfg(feature = "embedded-broker")]
pub mod broker;
pub mod clock;
pub mod commit;
pub mod feed;
pub mod mqtt;
pub mod options;
pub mod outbox;

use crate::config::Config;
use options::{RunError, RunOptions};

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// Why it cannot start or go on.
pub fn run(_config: &Config, _options: RunOptions) -> Result<(), RunError> {
    Ok(())
}
