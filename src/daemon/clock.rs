//! Where the time comes from: the only file that reads a clock.
//!
//! Time never goes back. When the wall clock is set back, time passes at half speed until the wall clock has caught
//! up, so that timers go on; a clock that was years ahead needs a restart.
#![expect(clippy::disallowed_methods, reason = "time enters the process here and is handed on as a value")]

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::model::time::Timestamp;

/// A source of time. Clones are the same clock, for any task or thread.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    Wall { origin: Instant, wall: Mutex<Wall> },
    Recorded { latest_ms: AtomicI64 },
    Steady { origin: Instant, start: Timestamp },
}

impl Clock {
    /// The clock of the system.
    pub fn wall() -> Clock {
        Clock(Arc::new(Kind::Wall { origin: Instant::now(), wall: Mutex::default() }))
    }

    /// A clock that stands at `start` until [`Clock::advance`] moves it: the time of the latest event.
    pub fn recorded(start: Timestamp) -> Clock {
        Clock(Arc::new(Kind::Recorded { latest_ms: AtomicI64::new(start.as_ms()) }))
    }

    /// A clock that is at `start` now and goes on with tokio's timers, whatever the system's clock does: for the
    /// distances between recorded events, and for tests, where it stands still with tokio's paused time.
    pub fn steady(start: Timestamp) -> Clock {
        Clock(Arc::new(Kind::Steady { origin: Instant::now(), start }))
    }

    /// The time, never earlier than the last one that was given.
    pub fn now(&self) -> Timestamp {
        match &*self.0 {
            Kind::Wall { origin, wall } => {
                // The time within is whole whenever the lock is free, so a panic elsewhere does not matter.
                let mut wall = wall.lock().unwrap_or_else(PoisonError::into_inner);
                wall.at(system_time(), origin.elapsed())
            }
            Kind::Recorded { latest_ms } => Timestamp::from_ms(latest_ms.load(Ordering::Acquire)),
            Kind::Steady { origin, start } => start.plus_ms(whole_ms(origin.elapsed())),
        }
    }

    /// Whether time goes on by itself; a recorded clock stands still between its events.
    pub fn flows(&self) -> bool {
        !matches!(&*self.0, Kind::Recorded { .. })
    }

    /// Moves a recorded clock to the time of an event; an earlier time and other clocks stay as they are.
    pub fn advance(&self, time: Timestamp) {
        if let Kind::Recorded { latest_ms } = &*self.0 {
            latest_ms.fetch_max(time.as_ms(), Ordering::AcqRel);
        }
    }
}

/// The wall clock without its steps back.
#[derive(Debug, Default)]
struct Wall {
    last: Timestamp,
    /// Where time stood when the system's clock was found behind it, and the steady time of that.
    behind: Option<(Timestamp, Duration)>,
}

impl Wall {
    /// The time when the system's clock says `system`, `steady` after the start.
    fn at(&mut self, system: Timestamp, steady: Duration) -> Timestamp {
        if system >= self.last {
            self.behind = None;
            self.last = system;
        } else {
            let (since, begun) = *self.behind.get_or_insert((self.last, steady));
            let slow = since.plus_ms(whole_ms(steady.saturating_sub(begun) / 2));
            self.last = self.last.max(slow);
        }
        self.last
    }
}

/// What the system's clock says; 1970 when it stands before that.
fn system_time() -> Timestamp {
    Timestamp::from_ms(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, whole_ms))
}

fn whole_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_goes_on_slowly() {
        let mut wall = Wall::default();
        let mut check = |system: i64, steady: u64, expected: i64| {
            let now = wall.at(Timestamp::from_ms(system), Duration::from_millis(steady));
            assert_eq!(now.as_ms(), expected, "{system} {steady}");
        };
        check(1_000, 0, 1_000);
        check(1_100, 100, 1_100);
        check(600, 200, 1_100);
        check(700, 300, 1_150);
        check(701, 301, 1_150);
        check(1_100, 700, 1_350);
        check(1_600, 1_200, 1_600);
        check(1_700, 1_300, 1_700);
        // The next step back is counted from its own start.
        check(1_600, 1_400, 1_700);
        check(1_650, 1_500, 1_750);
    }

    #[test]
    fn a_recorded_clock_moves_forwards_only() {
        let clock = Clock::recorded(Timestamp::from_ms(5));
        let check = |advance: i64, expected: i64| {
            clock.clone().advance(Timestamp::from_ms(advance));
            assert_eq!(clock.now().as_ms(), expected);
        };
        check(3, 5);
        check(7, 7);
        check(6, 7);
    }

    #[test]
    fn the_wall_clock_is_of_this_century() {
        let clock = Clock::wall();
        let now = clock.now();
        assert!(now > Timestamp::parse_rfc3339("2020-01-01T00:00:00Z").unwrap(), "{now}");
        clock.advance(Timestamp::MAX);
        assert!(clock.now() >= now && clock.now() < Timestamp::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_steady_clock_goes_with_the_timers() {
        let clock = Clock::steady(Timestamp::from_ms(100));
        assert_eq!(clock.now().as_ms(), 100);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(clock.now().as_ms(), 150);
    }
}
