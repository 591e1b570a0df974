//! The configuration of a command: what the file, the environment and the arguments say together.

use std::path::{Path, PathBuf};

use super::arguments::{Arguments, BusArguments, FeedSelection, Set};
use super::bus;
use super::exit::{Exit, Failure};
use super::web::Web;
use crate::config::{Config, Loaded, Problem, Sources};

/// Where the configuration of this process is from.
pub fn sources(arguments: &Arguments, set: &Set) -> Sources {
    let overrides = arguments.set.set.iter().chain(&set.set).cloned().collect();
    Sources::of_process(arguments.config.clone(), overrides)
}

/// The configuration of the daemon.
pub fn load(arguments: &Arguments, set: &Set) -> Result<Loaded, Failure> {
    Config::load(&sources(arguments, set)).map_err(|problems| failure(&problems))
}

/// The folder that is named, or the configured one. A copied store can be used where there is no configuration.
pub fn store(arguments: &Arguments, set: &Set, named: Option<&Path>) -> Result<PathBuf, Failure> {
    match named {
        Some(dir) => Ok(dir.to_owned()),
        None => Ok(load(arguments, set)?.config.store.path),
    }
}

/// The configuration of a client, whose broker and topics may be named on the command line. They go the way of all
/// overrides, so they are checked like any other.
pub fn load_client(arguments: &Arguments, named_bus: &BusArguments) -> Result<Client, Failure> {
    let mut set = named_bus.set.clone();
    let named = [("mqtt.broker", &named_bus.broker), ("mqtt.base_topic", &named_bus.base_topic)];
    for (key, value) in named {
        set.set.extend(value.iter().map(|value| format!("{key}={value}")));
    }
    let config = load(arguments, &set)?.config;
    let web = Web::named(named_bus, &config)?;
    Ok(Client { config, web })
}

/// A configuration, and the way to its daemon.
pub struct Client {
    /// The settings.
    pub config: Config,
    /// HTTP; without it MQTT.
    pub web: Option<Web>,
}

impl Client {
    /// Where the daemon is asked.
    pub fn address(&self) -> String {
        self.web.as_ref().map_or_else(|| bus::address(&self.config), |web| web.address.clone())
    }
}

/// The configuration of a command that looks at one feed.
pub fn load_feed(arguments: &Arguments, from: &FeedSelection) -> Result<Config, Failure> {
    let mut config = load(arguments, &from.set)?.config;
    config.only_feed(from.feed.as_deref(), &from.symbols).map_err(|problems| failure(&problems))?;
    Ok(config)
}

/// All problems, one a line, and how many there are.
pub fn failure(problems: &[Problem]) -> Failure {
    let lines: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
    let count = match problems.len() {
        1 => "1 problem in the configuration".to_owned(),
        many => format!("{many} problems in the configuration"),
    };
    Failure::lines(Exit::CONFIG, format!("{lines}{count}\n"))
}
