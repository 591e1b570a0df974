//! Health and feeds on the bus: every minute, and at once when a feed connects or ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;

use super::commit::{CommitFigures, send};
use super::feed::FeedStatus;
use super::indexer::Indexer;
use super::mqtt::BusStatus;
use super::outbox::{OutboxHandle, Qos};
use crate::engine::effect::{Alert, AlertLevel, Update};
use crate::engine::state::State;
use crate::message::daemon::{FeedView, Health, feed, health};
use crate::message::topic::Topics;
use crate::message::view;
use crate::model::ids::FeedId;
use crate::model::time::Timestamp;

/// Bytes of a memory page; what Linux uses on the machines that tradebus is built for.
const PAGE_BYTES: u64 = 4096;

/// Knows where the figures are.
pub struct HealthReporter {
    /// The feeds and their states.
    pub feeds: Vec<(FeedId, watch::Receiver<FeedStatus>)>,
    /// The connection to the broker.
    pub bus: watch::Receiver<BusStatus>,
    /// The committing thread's figures.
    pub commit: Arc<CommitFigures>,
    /// The outbox.
    pub outbox: OutboxHandle,
    /// How topics are called.
    pub topics: Topics,
    /// Retained commands that were refused and cleared.
    pub retained_refused: u64,
    /// The query store.
    pub indexer: Indexer,
}

impl HealthReporter {
    /// Publishes health and every feed.
    pub fn publish(&self, state: &State, now: Timestamp) {
        let topic = self.topics.at("daemon/health");
        let payload = health(&self.figures(state, now)).into_bytes();
        self.outbox.transient(&topic, payload, Qos::AtLeastOnce);
        (0..self.feeds.len()).for_each(|index| self.publish_feed(index, now));
    }

    /// How the daemon is.
    pub fn figures(&self, state: &State, now: Timestamp) -> Health {
        let counters = self.outbox.counters();
        let feed_ages_ms = self.feeds.iter().map(|(id, status)| {
            let last = status.borrow().last_message;
            (*id, last.map(|last| now.since_ms(last).max(0)))
        });
        Health {
            memory_bytes: memory_bytes(),
            commits_waiting: self.commit.waiting.load(Ordering::Relaxed) as u64,
            commits: self.commit.groups.load(Ordering::Relaxed),
            bytes_written: self.commit.bytes_written.load(Ordering::Relaxed),
            records: state.sequence,
            events_waiting: counters.events_waiting as u64,
            events_spilled: counters.events_spilled,
            retained_waiting: counters.retained_waiting as u64,
            transient_waiting: counters.transient_waiting as u64,
            published: counters.published,
            dropped: counters.dropped,
            reconnects: self.bus.borrow().reconnects,
            retained_refused: self.retained_refused,
            signals_remembered: state.signals.len() as u64,
            query_state: self.indexer.state().as_str(),
            query_lag: self.commit.committed.load(Ordering::Relaxed).saturating_sub(self.indexer.applied()),
            feed_ages_ms: feed_ages_ms.collect(),
            time: now,
        }
    }

    /// Publishes the state of one feed.
    pub fn publish_feed(&self, index: usize, now: Timestamp) {
        let (id, status) = &self.feeds[index];
        let status = status.borrow().clone();
        if let Some(error) = &status.error {
            tracing::error!(feed = id.as_str(), "feed: {error}");
            let text = format!("feed {id}: {error}");
            let alert =
                Alert { level: AlertLevel::Error, code: "feed_failed", text, strategy: None, time: now };
            for message in view::update(&self.topics, &Update::Alert(alert)) {
                send(&self.outbox, message);
            }
        }
        let view = FeedView {
            feed: *id,
            connected: status.connected,
            since: status.since,
            age_ms: status.last_message.map(|last| now.since_ms(last).max(0)),
            messages: status.messages,
            reconnects: status.reconnects,
            ended: status.ended,
            error: status.error,
            time: now,
        };
        self.outbox.retained(&self.topics.feed(*id), feed(&view).into_bytes(), None);
    }
}

/// Resident memory of this process, where the system tells.
fn memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}
