//! The log of `run` and `demo`, on standard error.
//!
//! Other crates are heard from `warn` on only: what they tell at lower levels may hold whole packets, and a packet may
//! hold a password.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Registry, reload};

use crate::config::{LogConfig, LogFormat};
use crate::daemon::clock::Clock;

/// A hold on what is logged.
pub struct Log(reload::Handle<Targets, Registry>);

impl Log {
    /// Takes another level over. The format is that of the start.
    pub fn follow(&self, log: &LogConfig) {
        // It fails only when nothing is logged any more.
        let _ = self.0.modify(|targets| *targets = filter(log.level));
    }
}

/// Begins to log as the configuration says.
pub fn start(log: &LogConfig) -> Log {
    let terminal = std::io::stderr().is_terminal();
    let json = match log.format {
        LogFormat::Auto => !terminal,
        LogFormat::Human => false,
        LogFormat::Json => true,
    };
    let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(terminal && !json).with_target(false);
    let layer = if json { layer.json().flatten_event(true).boxed() } else { layer.boxed() };
    let (targets, handle) = reload::Layer::new(filter(log.level));
    tracing_subscriber::registry().with(layer.with_filter(targets)).init();
    Log(handle)
}

/// Begins to log for somebody who watches.
pub fn start_demo() {
    let terminal = std::io::stderr().is_terminal();
    let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(terminal).with_target(false);
    let layer = layer.with_timer(TimeOfDay(Clock::wall()));
    tracing_subscriber::registry().with(layer.with_filter(filter(tracing::Level::INFO))).init();
}

fn filter(level: tracing::Level) -> Targets {
    let ours = LevelFilter::from_level(level);
    Targets::new().with_target("tradebus", ours).with_default(ours.min(LevelFilter::WARN))
}

/// `20:00:05`, UTC.
struct TimeOfDay(Clock);

impl FormatTime for TimeOfDay {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        let now = self.0.now().to_string();
        writer.write_str(now.get(11..19).unwrap_or(&now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn other_crates_are_heard_when_they_warn() {
        let check = |level: Level, ours: Level, others: Level| {
            let filter = filter(level);
            assert!(filter.would_enable("tradebus::daemon", &ours), "{level}");
            assert!(filter.would_enable("mqtt5", &others), "{level}");
            assert!(!filter.would_enable("mqtt5", &Level::INFO), "{level}");
        };
        check(Level::TRACE, Level::TRACE, Level::WARN);
        check(Level::INFO, Level::INFO, Level::WARN);
        check(Level::ERROR, Level::ERROR, Level::ERROR);
        assert!(!filter(Level::ERROR).would_enable("mqtt5", &Level::WARN));
    }
}
