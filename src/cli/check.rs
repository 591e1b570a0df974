//! `check-config`: what is wrong with the configuration, or what it comes to.
//!
//! Problems and warnings go to standard error; standard output is TOML that loads to the same configuration.

use super::arguments::{Arguments, Set};
use super::exit::{Exit, Failure};
use super::{output, settings};
use crate::config::{Config, Loaded, Problem};
use crate::daemon::clock::Clock;
use crate::message::json::Object;

/// Checks the configuration without starting anything.
pub fn check_config(arguments: &Arguments, set: &Set) -> Result<Exit, Failure> {
    let checked = Config::load(&settings::sources(arguments, set)).map(|mut loaded| {
        loaded.warnings.extend(loaded.config.certificate_warnings(Clock::wall().now()));
        loaded
    });
    if arguments.json {
        output::print_line(&json(&checked))?;
        return checked.map(|_| Exit::OK).map_err(|_| Failure::told(Exit::CONFIG));
    }
    let loaded = checked.map_err(|problems| settings::failure(&problems))?;
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    output::print(&text(&loaded.config))?;
    Ok(Exit::OK)
}

fn text(config: &Config) -> String {
    // At the end, where it is seen on a terminal.
    let mut text = config.effective_toml() + "\n";
    for route in config.routes() {
        text.push_str(&format!(
            "# strategy {}: {}, because {}\n",
            route.strategy, route.venue, route.because
        ));
    }
    text
}

fn json(checked: &Result<Loaded, Vec<Problem>>) -> String {
    let (loaded, problems) = match checked {
        Ok(loaded) => (Some(loaded), [].as_slice()),
        Err(problems) => (None, problems.as_slice()),
    };
    let problem =
        |problem: &Problem| Object::new().text("path", &problem.path).text("text", &problem.text).finish();
    let warnings = loaded.map_or([].as_slice(), |loaded| loaded.warnings.as_slice());
    let routes = loaded.map_or_else(Vec::new, |loaded| loaded.config.routes());
    let routes = routes.iter().map(|route| {
        Object::new()
            .shown("strategy", route.strategy)
            .shown("venue", route.venue)
            .text("because", &route.because)
            .finish()
    });
    Object::new()
        .values("problems", problems.iter().map(problem))
        .values("warnings", warnings.iter().map(problem))
        .values("routes", routes)
        .text_or_null("effective_toml", loaded.map(|loaded| loaded.config.effective_toml()).as_deref())
        .finish()
}
