//! What a person should know about the link: in the log, and on the bus once there is one again.
//!
//! Invariant: one word an hour for each thing, and how often it happened in between. Limits: 256 things are remembered,
//! 64 alerts wait for the daemon (what is more is in the log only), a text has 1,000 characters.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::config::Problem;
use crate::daemon::clock::Clock;
use crate::daemon::commit::send;
use crate::daemon::outbox::OutboxHandle;
use crate::engine::effect::{Alert, AlertLevel, Update};
use crate::message::topic::Topics;
use crate::message::view;
use crate::model::time::Timestamp;

/// How many alerts may wait for the daemon.
pub const NOTICES_MAX: usize = 64;
const SAME_AGAIN_AFTER: Duration = Duration::from_secs(3_600);
const TOLD_MAX: usize = 256;
/// Brokers put names into their certificates, as long as they like.
const TEXT_CHARS_MAX: usize = 1_000;
const DAY: Duration = Duration::from_secs(86_400);

/// An alert of the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How bad it is.
    pub level: AlertLevel,
    /// Its code, see `docs/MQTT.md`.
    pub code: &'static str,
    /// What happened and what to do.
    pub text: String,
}

/// Puts notices on the bus, where they wait in the outbox until there is a connection, and once a day what
/// `certificates` tells. Ends with the client.
pub async fn tell_alerts(
    mut notices: mpsc::Receiver<Notice>,
    outbox: OutboxHandle,
    topics: Topics,
    clock: Clock,
    certificates: impl Fn(Timestamp) -> Vec<Problem>,
) {
    let mut days = tokio::time::interval(DAY);
    loop {
        let told = tokio::select! {
            biased;
            notice = notices.recv() => match notice {
                Some(notice) => vec![notice],
                None => return,
            },
            _ = days.tick() => certificates(clock.now()).into_iter().map(of_certificate).collect(),
        };
        for Notice { level, code, text } in told {
            let alert = Alert { level, code, text, strategy: None, time: clock.now() };
            for message in view::update(&topics, &Update::Alert(alert)) {
                send(&outbox, message);
            }
        }
    }
}

fn of_certificate(problem: Problem) -> Notice {
    tracing::warn!("{problem}");
    Notice { level: AlertLevel::Warning, code: "mqtt_certificate", text: problem.to_string() }
}

/// The way out for notices.
#[derive(Debug)]
pub(super) struct Notices {
    sender: mpsc::Sender<Notice>,
    told: Mutex<BTreeMap<(&'static str, String), Told>>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    since: u64,
}

impl Notices {
    pub(super) fn new(sender: mpsc::Sender<Notice>) -> Self {
        Self { sender, told: Mutex::default() }
    }

    /// Tells what happened, unless the same was told within the hour. `about` is what `code` is about: a filter, a kind
    /// of topic, the fault.
    pub(super) fn tell(&self, level: AlertLevel, code: &'static str, about: &str, text: &str) {
        let Some(before) = self.due(code, about) else { return };
        let again =
            if before > 0 { format!(" ({before} times more since the last word)") } else { String::new() };
        let text: String = format!("mqtt: {text}{again}").chars().take(TEXT_CHARS_MAX).collect();
        match level {
            AlertLevel::Info => tracing::info!(code, "{text}"),
            AlertLevel::Warning => tracing::warn!(code, "{text}"),
            AlertLevel::Error => tracing::error!(code, "{text}"),
        }
        // Full or closed: the log has it.
        let _ = self.sender.try_send(Notice { level, code, text });
    }

    /// How often it happened untold, when it is to be told now.
    fn due(&self, code: &'static str, about: &str) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, now) = ((code, about.chars().take(TEXT_CHARS_MAX).collect()), Instant::now());
        if let Some(last) = told.get_mut(&key)
            && now.duration_since(last.at) < SAME_AGAIN_AFTER
        {
            last.since += 1;
            return None;
        }
        if told.len() >= TOLD_MAX {
            told.clear();
        }
        told.insert(key, Told { at: now, since: 0 }).map_or(Some(0), |last| Some(last.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_word_an_hour() {
        let (sender, mut told) = mpsc::channel(NOTICES_MAX);
        let notices = Notices::new(sender);
        let mut check = |minutes: u64, about: &str, expected: Option<&str>| {
            let now = Duration::from_secs(minutes * 60);
            assert!(now.is_zero() || expected.is_none_or(|text| text.starts_with("mqtt: ")));
            notices.tell(AlertLevel::Warning, "code", about, "text");
            assert_eq!(told.try_recv().ok().map(|notice| notice.text).as_deref(), expected);
        };
        check(0, "a", Some("mqtt: text"));
        check(0, "a", None);
        check(0, "a", None);
        check(0, "b", Some("mqtt: text"));
        tokio::time::advance(SAME_AGAIN_AFTER).await;
        check(60, "a", Some("mqtt: text (2 times more since the last word)"));
        check(60, "b", Some("mqtt: text"));
        check(60, "a", None);
    }

    #[tokio::test]
    async fn a_flood_of_different_things_is_bounded() {
        let (sender, _told) = mpsc::channel(NOTICES_MAX);
        let notices = Notices::new(sender);
        for number in 0..10 * TOLD_MAX {
            notices.tell(AlertLevel::Info, "code", &number.to_string(), "text");
        }
        assert!(notices.told.lock().unwrap().len() <= TOLD_MAX);
    }
}
