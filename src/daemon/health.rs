//! Health and feeds on the bus: every minute, and at once when a feed connects or ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;

use super::commit::{CommitFigures, Committer, send};
use super::feed::{FeedStatus, Notice};
use super::indexer::Indexer;
use super::mqtt::BusStatus;
use super::outbox::OutboxHandle;
use crate::engine::effect::{Alert, AlertLevel, Update};
use crate::engine::state::State;
use crate::message::daemon::{FeedQuality, FeedView, Health, feed, health};
use crate::message::topic::Topics;
use crate::message::view;
use crate::model::ids::FeedId;
use crate::model::time::Timestamp;

/// Bytes of a memory page; what Linux uses on the machines that tradebus is built for.
const PAGE_BYTES: u64 = 4096;
/// How long the broker keeps health for a subscriber that is away: as long as Home Assistant believes it.
const HEALTH_EXPIRY_S: u32 = 180;

/// Every feed and its state.
pub type FeedStatuses = Vec<(FeedId, watch::Receiver<FeedStatus>)>;

/// Knows where the figures are.
pub struct HealthReporter {
    feeds: FeedStatuses,
    bus: watch::Receiver<BusStatus>,
    commit: Arc<CommitFigures>,
    outbox: OutboxHandle,
    topics: Topics,
    /// Retained commands that were refused and cleared.
    pub retained_refused: u64,
    indexer: Indexer,
    /// What was told of each feed.
    told: BTreeMap<FeedId, Told>,
}

/// What was alerted of a feed, so that the same is not said with every change of its state.
#[derive(Clone, Debug, Default)]
struct Told {
    notices: u64,
    error: Option<String>,
}

impl HealthReporter {
    /// Of all parts.
    pub fn new(
        feeds: FeedStatuses,
        bus: watch::Receiver<BusStatus>,
        committer: &Committer,
        outbox: &OutboxHandle,
        topics: &Topics,
        indexer: &Indexer,
    ) -> HealthReporter {
        HealthReporter {
            feeds,
            bus,
            commit: Arc::clone(&committer.figures),
            outbox: outbox.clone(),
            topics: topics.clone(),
            retained_refused: 0,
            indexer: indexer.clone(),
            told: BTreeMap::new(),
        }
    }

    /// Publishes health and every feed.
    pub fn publish(&mut self, state: &State, now: Timestamp) {
        let topic = self.topics.at("daemon/health");
        self.outbox.expiring(&topic, health(&self.figures(state, now)).into_bytes(), HEALTH_EXPIRY_S);
        // What keeps a feed from having prices is alerted again every minute.
        self.told.values_mut().for_each(|told| told.error = None);
        (0..self.feeds.len()).for_each(|index| self.publish_feed(index, now));
    }

    /// How the daemon is.
    pub fn figures(&self, state: &State, now: Timestamp) -> Health {
        let counters = self.outbox.counters();
        let bus = self.bus.borrow().clone();
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
            refused: counters.refused,
            reconnects: bus.reconnects,
            round_trip_ms: bus.round_trip.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            retained_refused: self.retained_refused,
            signals_remembered: state.signals.len() as u64,
            query_state: self.indexer.state().as_str(),
            query_lag: self.commit.committed.load(Ordering::Relaxed).saturating_sub(self.indexer.applied()),
            feed_ages_ms: feed_ages_ms.collect(),
            time: now,
        }
    }

    /// Publishes the state of one feed, and what a person should know of it.
    pub fn publish_feed(&mut self, index: usize, now: Timestamp) {
        let (id, status) = &self.feeds[index];
        let (id, status) = (*id, status.borrow().clone());
        let told = self.told.entry(id).or_default();
        let fresh: Vec<Notice> = status.notices_after(told.notices).cloned().collect();
        told.notices = status.noticed;
        let failed = status.error.as_ref().filter(|error| told.error.as_ref() != Some(error));
        let failed = failed.map(|error| Notice {
            level: AlertLevel::Error,
            code: "feed_failed",
            text: format!("feed {id}: {error}"),
            time: now,
        });
        told.error.clone_from(&status.error);
        fresh.into_iter().chain(failed).for_each(|notice| self.alert(notice));
        let view = FeedView {
            feed: id,
            connected: status.connected,
            since: status.since,
            age_ms: status.last_message.map(|last| now.since_ms(last).max(0)),
            messages: status.messages,
            reconnects: status.reconnects,
            ended: status.ended,
            error: status.error,
            quality: status.quality.map(|quality| FeedQuality {
                source: quality.source,
                latency_ms: quality.latency_ms,
                polls: quality.polls,
                gaps: quality.gaps,
                dropped: quality.dropped,
                conflated: quality.conflated,
                overflowed: quality.overflowed,
            }),
            time: now,
        };
        self.outbox.retained(&self.topics.feed(id), feed(&view).into_bytes(), None);
    }

    fn alert(&self, notice: Notice) {
        let Notice { level, code, text, time } = notice;
        match level {
            AlertLevel::Info => tracing::info!(code, "{text}"),
            AlertLevel::Warning => tracing::warn!(code, "{text}"),
            AlertLevel::Error => tracing::error!(code, "{text}"),
        }
        let alert = Alert { level, code, text, strategy: None, time };
        for message in view::update(&self.topics, &Update::Alert(alert)) {
            send(&self.outbox, message);
        }
    }
}

/// Resident memory of this process, where the system tells.
fn memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}
