//! The command line. Mirrors section 12 of the design.
//!
//! Invariants: results go to standard output, everything else to standard error; a command that did not do what it was
//! asked for does not end with 0. The codes are those of sysexits (`exit`). Only `run` and `demo` log.
//!
//! `status`, `positions`, `kpis` and `signal` speak MQTT (`bus`) or, with `--http`, HTTP (`web`) to a daemon on any
//! machine, `reconcile` MQTT only; they touch no store. `feed` and `record` ask a feed themselves and need no daemon.

mod arguments;
mod backup;
mod bus;
mod check;
mod demo;
mod exit;
mod export;
mod export_rows;
mod feed;
mod kpis;
mod logging;
mod output;
mod payload;
mod positions;
mod progress;
mod reconcile;
mod reconcile_text;
mod record;
mod run;
mod settings;
mod signal;
mod snapshot;
mod status;
mod uninstall;
mod verify;
mod web;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use arguments::{Arguments, Command};
use exit::{Exit, Failure};

/// The command line as clap knows it, for manual pages and completions.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Does what the arguments of this process say, and tells how it went.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(asked) => {
            // Help and version are errors to clap, and a closed pipe is nobody's.
            let _ = asked.print();
            return if asked.use_stderr() { Exit::USAGE } else { Exit::OK }.into();
        }
    };
    match dispatch(&arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report().into(),
    }
}

fn dispatch(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.command {
        Command::Run(command) => run::run(arguments, command),
        Command::Demo(command) => demo::demo(arguments, command),
        Command::CheckConfig(set) => check::check_config(arguments, set),
        Command::Verify(command) => verify::verify(arguments, command),
        Command::Export(command) => export::export(arguments, command),
        Command::Backup(command) => backup::backup(arguments, command),
        Command::Restore(command) => backup::restore(arguments, command),
        Command::Status(bus) => status::status(arguments, bus),
        Command::Positions(command) => positions::positions(arguments, command),
        Command::Kpis(command) => kpis::kpis(arguments, command),
        Command::Feed(command) => feed::feed(arguments, command),
        Command::Record(command) => record::record(arguments, command),
        Command::Signal(command) => signal::signal(arguments, command),
        Command::Reconcile(command) => reconcile::reconcile(arguments, command),
        Command::UninstallDiscovery(command) => uninstall::uninstall_discovery(arguments, command),
    }
}
