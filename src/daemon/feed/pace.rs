//! When an event of a made-up or recorded market is due.
//!
//! A feed that is late (the consumer was slow, the machine slept) catches up, but with at most [`BURST_MAX`] events
//! that are more than [`LATE_MS_MAX`] late; the rest is moved to now.

use std::time::Duration;

use super::outlet::{Outlet, Stopped};
use crate::daemon::clock::Clock;
use crate::model::time::Timestamp;

/// The most events in a row that are handed over late.
pub(super) const BURST_MAX: u32 = 1_000;
/// How late an event may be without counting as late, in milliseconds.
pub(super) const LATE_MS_MAX: i64 = 1_000;

pub(super) struct Pacer {
    clock: Clock,
    /// Source time for each unit of clock time, above 0.
    speed: f64,
    /// A time of the source and when that is by the clock.
    anchor: Option<(Timestamp, Timestamp)>,
    late: u32,
}

impl Pacer {
    pub(super) fn new(clock: Clock, speed: f64) -> Pacer {
        Pacer { clock, speed, anchor: None, late: 0 }
    }

    /// Waits until an event is due, and says when that was by the clock. The first event is due at once. Times of
    /// the source must not go backwards; then these do not either.
    pub(super) async fn wait(&mut self, time: Timestamp, outlet: &mut Outlet) -> Result<Timestamp, Stopped> {
        let mut now = self.clock.now();
        let (source, at) = *self.anchor.get_or_insert((time, now));
        let due = at.plus_ms((time.since_ms(source) as f64 / self.speed).round() as i64);
        while now < due {
            outlet.sleep(Duration::from_millis(due.since_ms(now).unsigned_abs())).await?;
            now = self.clock.now();
        }
        if now.since_ms(due) <= LATE_MS_MAX {
            self.late = 0;
            return Ok(due);
        }
        self.late += 1;
        if self.late <= BURST_MAX {
            return Ok(due);
        }
        self.late = 0;
        self.anchor = Some((time, now));
        Ok(now)
    }
}
