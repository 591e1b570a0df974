//! `run`: the daemon.

use super::arguments::{Arguments, RunArguments};
use super::exit::{Exit, Failure};
use super::{logging, settings};
use crate::config::{Config, Loaded};
use crate::daemon;
use crate::daemon::options::{Hangup, RunOptions};

/// Runs the daemon until it is stopped; SIGHUP has the configuration read again.
pub fn run(arguments: &Arguments, command: &RunArguments) -> Result<Exit, Failure> {
    arguments.refuse_json("run", "set log.format=json for a log in JSON")?;
    let loaded = settings::load(arguments, &command.set)?;
    let log = logging::start(&loaded.config.log);
    warn(&loaded);
    let options = RunOptions { record_events: command.record_events.clone(), ..RunOptions::default() };
    run_daemon(&loaded.config, options, || {
        if command.record_events.is_some() {
            tracing::warn!(
                "SIGHUP has no effect with --record-events: the log of one run has one configuration"
            );
            return Hangup::Ignored;
        }
        let loaded = Config::load(&settings::sources(arguments, &command.set));
        for problem in loaded.as_ref().err().into_iter().flatten() {
            tracing::error!("configuration: {problem}");
        }
        let Ok(loaded) = loaded else {
            tracing::error!("SIGHUP: the configuration has problems; the one in force stays");
            return Hangup::Ignored;
        };
        warn(&loaded);
        log.follow(&loaded.config.log);
        Hangup::Restart(Box::new(loaded.config))
    })
}

fn warn(loaded: &Loaded) {
    for warning in &loaded.warnings {
        tracing::warn!("configuration: {warning}");
    }
}

/// Runs the daemon; why it ended is logged.
pub fn run_daemon(
    config: &Config,
    options: RunOptions,
    hangup: impl Fn() -> Hangup,
) -> Result<Exit, Failure> {
    daemon::run(config, options, hangup).map(|()| Exit::OK).map_err(|error| {
        tracing::error!("{error}");
        Failure::told(Exit(error.exit_code()))
    })
}
