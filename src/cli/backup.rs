//! `backup` and `restore`: copies of a store. A daemon may go on meanwhile.

use std::path::Path;

use super::arguments::{Arguments, BackupArguments, RestoreArguments};
use super::exit::{Exit, Failure};
use super::progress::Progress;
use super::{output, settings};
use crate::message::json::Object;
use crate::store::backup::{self, BackupError};
use crate::store::{LedgerError, StoreError, Verified};

/// Copies the configured store, or the one that is named.
pub fn backup(arguments: &Arguments, command: &BackupArguments) -> Result<Exit, Failure> {
    let store = settings::store(arguments, &command.set, command.store.as_deref())?;
    let progress = Progress::start("copying", true);
    let copied = backup::backup(&store, &command.target, |done, total| progress.set(done, total));
    progress.end();
    told(arguments, &command.target, copied)
}

/// Puts a copy into a new folder.
pub fn restore(arguments: &Arguments, command: &RestoreArguments) -> Result<Exit, Failure> {
    let progress = Progress::start("restoring", false);
    let (backup, target) = (&command.backup, &command.target);
    let restored = backup::restore(backup, target, command.until, |done, total| progress.set(done, total));
    progress.end();
    told(arguments, target, restored)
}

fn told(
    arguments: &Arguments,
    target: &Path,
    outcome: Result<Verified, BackupError>,
) -> Result<Exit, Failure> {
    let verified = outcome.map_err(|error| Failure::new(exit_of(&error), &error))?;
    let Verified { records, segments, .. } = verified;
    if arguments.json {
        let object = Object::new().shown("store", target.display()).integer("records", records);
        output::print_line(&object.integer("segments", segments as u64).finish())?;
    } else {
        let target = target.display();
        output::print(&format!("store     {target}\nrecords   {records}, verified\nsegments  {segments}\n"))?;
    }
    Ok(Exit::OK)
}

fn exit_of(error: &BackupError) -> Exit {
    match error {
        BackupError::Exists(_) | BackupError::TooEarly(_) => Exit::USAGE,
        BackupError::Ledger(LedgerError::Store(StoreError::Io(_))) => Exit::OUTPUT,
        BackupError::Ledger(_) | BackupError::NoStore(_) => Exit::DATA,
    }
}
