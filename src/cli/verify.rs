//! `verify`: folds a store's journal again and compares with its checkpoint. Changes nothing.

use std::path::Path;

use super::arguments::{Arguments, VerifyArguments};
use super::exit::{Exit, Failure};
use super::{output, settings};
use crate::message::json::Object;
use crate::store::{self, LedgerError, StoreError, Verified};

/// Verifies the store that is named, or the configured one.
pub fn verify(arguments: &Arguments, command: &VerifyArguments) -> Result<Exit, Failure> {
    // A copied store can be verified where there is no configuration.
    let dir = match &command.store {
        Some(dir) => dir.clone(),
        None => settings::load(arguments, &command.set)?.config.store.path,
    };
    // A mistyped folder must not pass for a store without records, nor get a lock file.
    if !dir.join("journal").is_dir() {
        let text = format!("there is no store in {}: it has no folder \"journal\"", dir.display());
        return Err(Failure::new(Exit::DATA, text));
    }
    let verified = store::verify(&dir);
    if arguments.json {
        output::print_line(&json(&dir, &verified))?;
        return verified.map(|_| Exit::OK).map_err(|error| Failure::told(exit_of(&error)));
    }
    let verified = verified.map_err(|error| Failure::new(exit_of(&error), error))?;
    output::print(&text(&dir, verified))?;
    Ok(Exit::OK)
}

fn exit_of(error: &LedgerError) -> Exit {
    match error {
        LedgerError::Store(StoreError::Locked { .. }) => Exit::TEMPORARY,
        _ => Exit::DATA,
    }
}

fn text(dir: &Path, verified: Verified) -> String {
    let Verified { records, segments, checkpoint } = verified;
    let checkpoint = match checkpoint {
        Some(sequence) => format!("sequence {sequence}, equal to the fold of the journal"),
        None => "none".to_owned(),
    };
    format!(
        "store       {}\nrecords     {records}\nsegments    {segments}\ncheckpoint  {checkpoint}\n",
        dir.display()
    )
}

fn json(dir: &Path, verified: &Result<Verified, LedgerError>) -> String {
    let object = Object::new().shown("store", dir.display()).flag("ok", verified.is_ok());
    let found = verified.as_ref().ok();
    let number = |n: Option<u64>| n.and_then(|n| i64::try_from(n).ok());
    object
        .integer_or_null("records", number(found.map(|found| found.records)))
        .integer_or_null("segments", number(found.map(|found| found.segments as u64)))
        .integer_or_null("checkpoint", number(found.and_then(|found| found.checkpoint)))
        .text_or_null("error", verified.as_ref().err().map(LedgerError::to_string).as_deref())
        .finish()
}
