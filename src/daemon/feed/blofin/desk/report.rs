//! What the feed says of itself: its status, and what a person should know.

use std::time::Duration;

use tokio::time::Instant;

use super::Desk;
use crate::daemon::feed::outlet::Outlet;
use crate::daemon::feed::{FeedStatus, Notice};
use crate::engine::effect::AlertLevel;

/// What is counted is looked at this often, and alerted when it is too much.
const REVIEW_EVERY: Duration = Duration::from_secs(60);
/// Wrong rows between two reviews that are alerted.
const FAULTS_MAX: u64 = 10;

impl Desk {
    /// Alerts what became too much since the last look.
    pub(super) fn review(&mut self, now: Instant) {
        let (faults, overflowed) = (self.translator.drops().faults(), self.queue.overflowed);
        let (since, faults_before, overflowed_before) = self.reviewed;
        if now.duration_since(since) < REVIEW_EVERY {
            return;
        }
        self.reviewed = (now, faults, overflowed);
        if faults - faults_before >= FAULTS_MAX {
            let last = self.translator.take_last_fault().unwrap_or_default();
            let text = format!(
                "{} rows of the venue were dropped in a minute, the last: {last}",
                faults - faults_before
            );
            self.notice(AlertLevel::Warning, "prices_dropped", text);
        }
        if overflowed > overflowed_before {
            let text = format!(
                "{} trades were dropped: the engine does not keep up",
                overflowed - overflowed_before
            );
            self.notice(AlertLevel::Error, "trades_dropped", text);
        }
    }

    pub(super) fn notice(&mut self, level: AlertLevel, code: &'static str, text: String) {
        let text = format!("feed {}: {text}", self.id);
        self.notices.push(Notice { level, code, text, time: self.clock.now() });
    }

    /// Tells how the feed is.
    pub(in crate::daemon::feed::blofin) fn report(&mut self, outlet: &Outlet) {
        let drops = self.translator.drops();
        self.quality.dropped =
            drops.iter().filter(|(reason, _)| reason.is_fault()).map(|(_, count)| count).sum();
        (self.quality.conflated, self.quality.overflowed) = (self.queue.conflated, self.queue.overflowed);
        let is_streaming = self.streams.up() > 0;
        self.quality.streams = self.streams.up();
        self.quality.source = match (is_streaming, self.is_polling) {
            (true, _) => "stream",
            (false, true) => "poll",
            (false, false) => "none",
        };
        let connected = is_streaming || self.is_polling;
        let error = self.trouble.clone().or_else(|| self.refused.clone());
        let reconnects = self.streams.reconnects();
        let (quality, time) = (self.quality, self.clock.now());
        let notices = &mut self.notices;
        outlet.update(|status: &mut FeedStatus| {
            let before = status.quality.map(|quality| (quality.source, quality.streams));
            let changed = status.connected != connected
                || status.error != error
                || status.reconnects != reconnects
                || before != Some((quality.source, quality.streams))
                || !notices.is_empty();
            if status.connected != connected || status.since.is_none() {
                status.since = Some(time);
            }
            status.connected = connected;
            status.error = error;
            status.reconnects = reconnects;
            status.quality = Some(quality);
            status.add(notices.drain(..));
            changed
        });
    }
}
