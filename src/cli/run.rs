//! `run`: the daemon.

use super::arguments::{Arguments, RunArguments};
use super::exit::{Exit, Failure};
use super::{logging, settings};
use crate::config::Config;
use crate::daemon;
use crate::daemon::options::RunOptions;

/// Runs the daemon until it is stopped.
pub fn run(arguments: &Arguments, command: &RunArguments) -> Result<Exit, Failure> {
    arguments.refuse_json("run", "set log.format=json for a log in JSON")?;
    let loaded = settings::load(arguments, &command.set)?;
    logging::start(&loaded.config.log);
    for warning in &loaded.warnings {
        tracing::warn!("configuration: {warning}");
    }
    let options = RunOptions { record_events: command.record_events.clone(), ..RunOptions::default() };
    run_daemon(&loaded.config, options)
}

/// Runs the daemon; why it ended is logged.
pub fn run_daemon(config: &Config, options: RunOptions) -> Result<Exit, Failure> {
    daemon::run(config, options).map(|()| Exit::OK).map_err(|error| {
        tracing::error!("{error}");
        Failure::told(Exit(error.exit_code()))
    })
}
