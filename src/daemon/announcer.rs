//! What Home Assistant is told of this daemon, and when: at the start, after the broker forgot us, and 1 to 5 s after
//! Home Assistant's own start. The payloads are `message::discovery`'s.
//!
//! Invariant: what Home Assistant may know of is on disk before it is told, and stays there until the broker has the
//! message that takes it back. Payloads are made anew each time and not kept: [`DEVICES_MAX`] devices at a time are on
//! their way, and the next ones follow when the broker has taken or refused these.

use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::commit::{Committer, Item, Job};
use super::mqtt::BusStatus;
use super::outbox::OutboxHandle;
use crate::config::Config;
use crate::engine::Engine;
use crate::engine::record::Announced;
use crate::message::daemon::info;
use crate::message::discovery::{
    Announcement, Input, announce_some, birth_delay_ms, devices, gone, is_birth, withdraw,
};
use crate::message::topic::Topics;
use crate::model::time::Timestamp;

/// Devices that are on their way at a time: 14 KiB each, usually.
const DEVICES_MAX: usize = 8;

/// Why something is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The daemon has started.
    Start,
    /// The broker had no session of ours, and so perhaps nothing of what it kept for us.
    SessionLost,
    /// Home Assistant started.
    Birth,
    /// The broker has taken, or refused, what was on its way.
    Taken,
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
    /// The first device that is still to be announced; 0 is the daemon, and what is gone goes before it.
    next: Option<usize>,
    /// Whether everything retained follows the last one.
    with_state: bool,
    /// What is so once the broker has what is on its way.
    on_its_way: Option<Vec<Announced>>,
    /// Told when that has left the committing thread for the outbox.
    released: Option<oneshot::Receiver<()>>,
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
            next: None,
            with_state: false,
            on_its_way: None,
            released: None,
        }
    }

    /// Publishes what the daemon is.
    pub fn say_info(&self, engine: &Engine, started: Timestamp, topics: &Topics) {
        let payload = info(&self.instance, started, engine.settings());
        self.outbox.retained(&topics.at("daemon/info"), payload.into_bytes(), None);
    }

    /// Waits for the next cause to do something. May be dropped at any time.
    pub async fn next(&mut self) -> Cause {
        loop {
            let due = self.due;
            tokio::select! {
                biased;
                () = taken(&mut self.released, &self.outbox), if self.on_its_way.is_some() => {
                    return Cause::Taken;
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

    /// Notes what is to be done, and gives what is to be journalled now that the broker has what was on its way.
    pub fn note(&mut self, cause: Cause) -> Vec<Announced> {
        if cause == Cause::Taken {
            return self.taken();
        }
        self.next = Some(0);
        self.with_state |= cause == Cause::Birth;
        Vec::new()
    }

    /// What the broker has taken of what was on its way; what it refused stays as it is in the store.
    pub fn taken(&mut self) -> Vec<Announced> {
        let mut devices = self.on_its_way.take().unwrap_or_default();
        let waits = self.released.as_mut().is_some_and(|released| released.try_recv().is_err());
        self.outbox.with(|outbox| devices.retain(|device| !waits && outbox.settled(&device.topic)));
        devices
    }

    /// What there is to say next, given what was said before; nothing while something is on its way.
    pub fn announcement(&mut self, engine: &Engine) -> Option<Announcement> {
        if self.on_its_way.is_some() {
            return None;
        }
        let announcement = match self.next.take() {
            Some(first) => self.part(first, engine),
            None => Announcement::default(),
        };
        if announcement.messages.is_empty() {
            if std::mem::take(&mut self.with_state) {
                let topics = self.outbox.republish();
                tracing::info!(topics, "all retained topics are published again");
            }
            return None;
        }
        Some(announcement)
    }

    /// The devices from `first` on, as many as may be on their way.
    fn part(&mut self, first: usize, engine: &Engine) -> Announcement {
        let known = &engine.state().announced;
        let Some(prefix) = &self.prefix else {
            if !known.is_empty() {
                tracing::info!(devices = known.len(), "taking back what Home Assistant was told");
            }
            return withdraw(known.values());
        };
        let input = Input {
            instance: &self.instance,
            base_topic: &self.base_topic,
            prefix,
            version: env!("CARGO_PKG_VERSION"),
            settings: engine.settings(),
        };
        let all = devices(&input);
        let end = all.min(first + DEVICES_MAX);
        let mut announcement = Announcement::default();
        if first == 0 {
            announcement.append(withdraw(gone(&input, known)));
            tracing::info!(
                devices = all,
                withdrawn = announcement.gone.len(),
                "announcing to Home Assistant"
            );
        }
        announcement.append(announce_some(&input, known, first..end));
        self.next = (end < all).then_some(end);
        announcement
    }

    /// Sends an announcement behind its records.
    pub fn send(&mut self, announcement: Announcement, committer: &Committer) {
        let Announcement { messages, announced, gone, .. } = announcement;
        self.on_its_way = Some(announced.into_iter().chain(gone).collect());
        committer.give(Job::Batch(messages.into_iter().map(Item::Message).collect()));
        let (sender, receiver) = oneshot::channel();
        committer.give(Job::Flushed(sender));
        self.released = Some(receiver);
    }
}

/// Waits until what is on its way is in the outbox, and the broker has it.
async fn taken(released: &mut Option<oneshot::Receiver<()>>, outbox: &OutboxHandle) {
    if let Some(receiver) = released {
        // An error means that the committing thread is gone, and then the daemon ends.
        let _ = receiver.await;
        *released = None;
    }
    outbox.announced().await;
}
