//! How a command ends: the codes of sysexits, and failures that carry one.

use std::process::ExitCode;

use crate::daemon::options::RunError;

/// The code that the process ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// It was done.
    pub const OK: Exit = Exit(0);
    /// The daemon refused the signal.
    pub const REJECTED: Exit = Exit(1);
    /// The arguments cannot be meant.
    pub const USAGE: Exit = Exit(64);
    /// A file is damaged.
    pub const DATA: Exit = Exit(65);
    /// The broker or the daemon does not answer.
    pub const UNAVAILABLE: Exit = Exit(69);
    /// A bug.
    pub const INTERNAL: Exit = Exit(70);
    /// The output cannot be written.
    pub const OUTPUT: Exit = Exit(74);
    /// Something is in use: try again.
    pub const TEMPORARY: Exit = Exit(75);
    /// The configuration has problems.
    pub const CONFIG: Exit = Exit(78);
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.0)
    }
}

/// Why a command did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    exit: Exit,
    text: String,
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Failure {
        Failure::new(Exit(error.exit_code()), error)
    }
}

impl Failure {
    /// A failure in one sentence.
    pub fn new(exit: Exit, text: impl std::fmt::Display) -> Failure {
        Failure { exit, text: format!("error: {text}\n") }
    }

    /// A failure whose lines are shown as they are.
    pub fn lines(exit: Exit, text: String) -> Failure {
        Failure { exit, text }
    }

    /// A failure that the log or the output has told already.
    pub fn told(exit: Exit) -> Failure {
        Failure { exit, text: String::new() }
    }

    /// The broker or the daemon does not answer.
    pub fn unavailable(text: impl std::fmt::Display) -> Failure {
        Failure::new(Exit::UNAVAILABLE, text)
    }

    /// Tells it on standard error.
    pub fn report(self) -> Exit {
        eprint!("{}", self.text);
        self.exit
    }
}
