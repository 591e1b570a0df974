//! What Home Assistant is told of this daemon, and when: at the start, after the broker forgot us, and 1 to 5 s after
//! Home Assistant's own start. The payloads are `message::discovery`'s.
//!
//! Invariant: what Home Assistant may know of is on disk before it is told, and stays there until the broker has the
//! message that takes it back. Payloads are made anew each time and not kept: at most one announcement waits here.

use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::commit::{Committer, Item, Job};
use super::mqtt::BusStatus;
use super::outbox::OutboxHandle;
use crate::config::Config;
use crate::engine::Engine;
use crate::engine::record::Announced;
use crate::message::discovery::{Announcement, Input, announce, birth_delay_ms, is_birth, withdraw};

/// Why something is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The broker had no session of ours, and so perhaps nothing of what it kept for us.
    SessionLost,
    /// Home Assistant started.
    Birth,
    /// An announcement is on its way to the broker.
    Released,
}

/// See the module.
pub struct Announcer {
    instance: String,
    base_topic: String,
    /// What discovery topics begin with; `None` when discovery is off.
    prefix: Option<String>,
    birth_topic: Option<String>,
    outbox: OutboxHandle,
    status: watch::Receiver<BusStatus>,
    /// Sessions that the broker began for us, as far as they were dealt with.
    sessions: u64,
    /// When to answer Home Assistant's start.
    due: Option<Instant>,
    /// Told when the announcement has left the committing thread.
    released: Option<oneshot::Receiver<()>>,
    /// Whether everything retained follows the announcement.
    with_state: bool,
    /// What is so once the broker has the announcement, if that is not what the store says.
    settled: Vec<Announced>,
}

impl Announcer {
    /// For this configuration.
    pub fn new(config: &Config, outbox: OutboxHandle, status: watch::Receiver<BusStatus>) -> Announcer {
        Announcer {
            instance: config.instance.clone(),
            base_topic: config.mqtt.base_topic.clone(),
            prefix: config.mqtt.discovery_prefix.clone(),
            birth_topic: config.mqtt.birth_topic.clone(),
            outbox,
            status,
            sessions: 0,
            due: None,
            released: None,
            with_state: false,
            settled: Vec::new(),
        }
    }

    /// Waits for the next cause to do something. May be dropped at any time.
    pub async fn next(&mut self) -> Cause {
        loop {
            let due = self.due;
            tokio::select! {
                biased;
                () = released(&mut self.released) => {
                    self.released = None;
                    return Cause::Released;
                }
                Ok(()) = self.status.changed() => {
                    let status = self.status.borrow_and_update();
                    let lost = status.sessions_begun > self.sessions && status.reconnects > 0;
                    self.sessions = status.sessions_begun;
                    // What was said at the start waits for the first connection anyway.
                    if lost {
                        return Cause::SessionLost;
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.due = None;
                    return Cause::Birth;
                }
                else => std::future::pending().await,
            }
        }
    }

    /// Whether a message was Home Assistant's. A start that is already going to be answered is answered once.
    pub fn hears(&mut self, topic: &str, payload: &[u8], retained: bool) -> bool {
        if self.birth_topic.as_deref() != Some(topic) {
            return false;
        }
        if is_birth(payload, retained) && self.due.is_none() {
            let delay = Duration::from_millis(birth_delay_ms(&self.instance));
            tracing::info!(topic, ?delay, "Home Assistant has started");
            self.due = Some(Instant::now() + delay);
        }
        true
    }

    /// Whether a topic is Home Assistant's, where no answer may go.
    pub fn owns(&self, topic: &str) -> bool {
        let below = |prefix: &String| topic.starts_with(prefix.as_str());
        self.prefix.as_ref().is_some_and(below) || self.birth_topic.as_deref() == Some(topic)
    }

    /// Whether an announcement is on its way to the outbox already, as while the disk fails: it will do.
    pub fn waits(&mut self, with_state: bool) -> bool {
        self.with_state |= with_state;
        self.released.is_some()
    }

    /// What there is to say, given what was said before.
    pub fn announcement(&self, engine: &Engine) -> Announcement {
        let before: Vec<Announced> = engine.state().announced.values().cloned().collect();
        let Some(prefix) = &self.prefix else { return withdraw(&before) };
        let input = Input {
            instance: &self.instance,
            base_topic: &self.base_topic,
            prefix,
            version: env!("CARGO_PKG_VERSION"),
            settings: engine.settings(),
        };
        announce(&input, &before)
    }

    /// Sends an announcement behind its records.
    pub fn send(&mut self, announcement: Announcement, committer: &Committer) {
        let Announcement { messages, pending, announced, gone } = announcement;
        if messages.is_empty() {
            return;
        }
        let (devices, withdrawn) = (announced.len(), gone.len());
        tracing::info!(devices, withdrawn, "announcing to Home Assistant");
        let final_already = gone.is_empty() && pending == announced;
        self.settled = if final_already { Vec::new() } else { announced.into_iter().chain(gone).collect() };
        committer.give(Job::Batch(messages.into_iter().map(Item::Message).collect()));
        let (sender, receiver) = oneshot::channel();
        committer.give(Job::Flushed(sender));
        self.released = Some(receiver);
    }

    /// The announcement is in the outbox.
    pub fn on_released(&mut self) {
        if std::mem::take(&mut self.with_state) {
            let topics = self.outbox.republish();
            tracing::info!(topics, "all retained topics are published again");
        }
    }

    /// What is to be journalled, now that the broker has what was said; empty when there is nothing new.
    pub fn settled(&mut self) -> Vec<Announced> {
        let missing = |outbox: &mut super::outbox::Outbox| {
            self.settled.iter().any(|device| !outbox.settled(&device.topic))
        };
        if self.settled.is_empty() || self.released.is_some() || self.outbox.with(missing) {
            return Vec::new();
        }
        std::mem::take(&mut self.settled)
    }
}

/// Waits for an announcement that is on its way; for ever when there is none.
async fn released(released: &mut Option<oneshot::Receiver<()>>) {
    match released {
        // An error means that the committing thread is gone, and then the daemon ends.
        Some(receiver) => drop(receiver.await),
        None => std::future::pending().await,
    }
}
