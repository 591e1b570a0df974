//! What a run of the daemon is told beside its configuration.

use std::path::PathBuf;

use crate::config::Config;

/// Options of one run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Writes every event with its time here, for replays (`--record-events`).
    pub record_events: Option<PathBuf>,
    /// Printed to standard output once the broker is reachable (`demo` says here what to subscribe to).
    pub greeting: Option<String>,
    /// Takes a free port when the embedded broker's or that of HTTP is occupied, and says so; `{port}` and `{http}` in
    /// the greeting are replaced.
    pub any_port: bool,
}

/// What SIGHUP leads to.
#[derive(Debug)]
pub enum Hangup {
    /// Everything goes on.
    Ignored,
    /// An orderly stop, and a start in the same process with this configuration.
    Restart(Box<Config>),
    /// An orderly stop.
    Stop,
}

/// Why a run ended other than by a signal.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store cannot be used: damaged, newer, locked, or not readable.
    #[error("store {dir}: {error}", dir = dir.display())]
    Store {
        /// Its folder.
        dir: PathBuf,
        /// What is wrong.
        error: crate::store::LedgerError,
    },
    /// The embedded broker does not start.
    #[error("broker: {0}")]
    Broker(String),
    /// HTTP cannot listen.
    #[error("http.listen: {listen} {why}", why = why_not_listening(error))]
    Http {
        /// Where it should.
        listen: std::net::SocketAddr,
        /// The system's word.
        error: std::io::Error,
    },
    /// The MQTT client does not start, or ended by itself.
    #[error(transparent)]
    Mqtt(#[from] super::mqtt::MqttError),
    /// A feed cannot be opened.
    #[error("feed.{feed}: {error}")]
    Feed {
        /// The feed.
        feed: String,
        /// What is wrong, with file and line.
        error: String,
    },
    /// An account cannot be used: its keys are refused, or no way to its venue can be made.
    #[error("account.{account}: {error}")]
    Account {
        /// The account.
        account: String,
        /// What is wrong, without secrets.
        error: String,
    },
    /// Something of the system.
    #[error("{what}: {error}")]
    System {
        /// What was done.
        what: &'static str,
        /// The system's word.
        error: std::io::Error,
    },
    /// A new configuration cannot be taken while the store still waits for its disk.
    #[error(
        "the disk fails, so the store cannot be opened again with the new configuration; the process ends"
    )]
    Unreleased,
    /// The engine failed; the event is journalled as poisoned.
    #[error(
        "internal failure while an event was handled: {0}; the process ends so that it starts again from the journal"
    )]
    Internal(String),
}

impl RunError {
    /// The exit code, by sysexits: 65 damaged data, 69 unavailable, 70 internal, 71 system, 74 a disk that
    /// refuses, 75 try again, 78 settings.
    pub fn exit_code(&self) -> u8 {
        use crate::store::{JournalError, LedgerError, StoreError};
        match self {
            RunError::Store { error: LedgerError::Store(StoreError::Locked { .. }), .. } => 75,
            RunError::Store {
                error: LedgerError::Store(StoreError::Io(_)) | LedgerError::Journal(JournalError::Io(_)),
                ..
            } => 74,
            RunError::Unreleased => 74,
            RunError::Store { .. } => 65,
            RunError::Broker(_) | RunError::Mqtt(_) | RunError::Http { .. } => 69,
            RunError::Feed { .. } => 65,
            RunError::System { .. } => 71,
            RunError::Account { .. } => 78,
            RunError::Internal(_) => 70,
        }
    }
}

fn why_not_listening(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "is taken by another program; stop it, set another address, or \"\" for no HTTP".to_owned()
        }
        _ => format!("cannot be listened at: {error}"),
    }
}
