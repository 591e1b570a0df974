//! How many new signals a strategy may have decided: the bound against a sender that has run wild.
//!
//! - Each strategy has a bucket of [`signals_per_minute_max`](super::settings::StrategySettings): so many at once, and
//!   so many in each minute after that. It goes by event time and is full after a start.
//! - A repetition of a decided signal costs nothing, and neither does what was refused here.
//! - What reduces a position, or takes back orders for `flat`, passes beyond it. A `flat` that finds nothing to close
//!   is no exit: beyond the bound it is refused like the rest, or a loop of them would fill the disk.

use super::desk::Desk;
use super::signal_history::HISTORY_MAX;
use crate::model::ids::StrategyId;
use crate::model::signal::{Action, Reason, Refusal};
use crate::model::time::Timestamp;

const MINUTE_MS: i64 = 60_000;

/// The bucket of one strategy.
#[derive(Clone, Copy, Debug)]
pub(super) struct SignalRate {
    per_minute_max: u32,
    /// What is left, in signals x [`MINUTE_MS`], so that every rate fills it by whole numbers.
    left: i64,
    filled_at: Timestamp,
}

/// Whether one more decision can be remembered.
#[derive(Clone, Debug, Default)]
pub(super) struct Room {
    /// The strategy's bucket is empty.
    too_fast: Option<Refusal>,
    /// The history of all strategies is full.
    full: Option<Refusal>,
}

impl SignalRate {
    /// A full bucket.
    pub(super) fn new(per_minute_max: u32) -> SignalRate {
        let left = i64::from(per_minute_max) * MINUTE_MS;
        SignalRate { per_minute_max, left, filled_at: Timestamp::MIN }
    }

    /// Takes one signal out, if there is one left.
    fn take(&mut self, at: Timestamp) -> bool {
        let per_minute_max = i64::from(self.per_minute_max);
        let passed_ms = at.since_ms(self.filled_at).clamp(0, MINUTE_MS);
        self.left = (self.left + passed_ms * per_minute_max).min(per_minute_max * MINUTE_MS);
        self.filled_at = self.filled_at.max(at);
        let taken = self.left >= MINUTE_MS;
        self.left -= if taken { MINUTE_MS } else { 0 };
        taken
    }

    /// The room for a new signal of this strategy.
    pub(super) fn room(&mut self, desk: &Desk<'_>, strategy: StrategyId) -> Room {
        let refuse = |detail: String| Refusal::new(Reason::RateLimited, detail);
        let too_fast = (!self.take(desk.at)).then(|| {
            refuse(format!("strategy {strategy}: signals_per_minute_max is {}", self.per_minute_max))
        });
        let full = desk.state().signals.is_full(desk.at);
        let full = full.then(|| refuse(format!("{HISTORY_MAX} signals of 7 days are remembered")));
        Room { too_fast, full }
    }
}

impl Room {
    /// Why a decision that reduces nothing is not taken, if so.
    pub(super) fn refusal(&self, action: Action) -> Option<Refusal> {
        let full = self.full.as_ref().filter(|_| action != Action::Flat);
        self.too_fast.as_ref().or(full).cloned()
    }

    /// A refusal that would have to be remembered is not, once there is no room.
    pub(super) fn or(&self, action: Action, refusal: Refusal) -> Refusal {
        self.refusal(action).unwrap_or(refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends a signal at each of these milliseconds; `+` for one that passes.
    fn check(per_minute_max: u32, times_ms: &[i64], expected: &str) {
        let mut rate = SignalRate::new(per_minute_max);
        let begin = Timestamp::parse_rfc3339("2026-03-02T12:00:00Z").unwrap();
        let sent = times_ms.iter().map(|ms| if rate.take(begin.plus_ms(*ms)) { '+' } else { '-' });
        assert_eq!(sent.collect::<String>(), expected, "{per_minute_max} {times_ms:?}");
    }

    #[test]
    fn so_many_at_once_and_in_each_minute_after_that() {
        check(1, &[0, 0, 59_999, 60_000, 60_000, 120_000], "+--+-+");
        check(3, &[0, 0, 0, 0, 20_000, 20_000, 40_000, 60_000], "+++-+-++");
        // Seven do not divide a minute.
        check(7, &[0, 0, 0, 0, 0, 0, 0, 8_571, 8_572, 60_000 * 9, 60_000 * 9], "+++++++-+++");
        // A long silence saves no more than one bucket, and time that steps back takes nothing.
        check(2, &[0, 900_000, 900_000, 900_000, 800_000], "+++--");
        check(1_000_000, &[0, 0, 0], "+++");
    }

    #[test]
    fn no_more_than_the_bucket_and_what_flows_in() {
        let begin = Timestamp::from_ms(0);
        for per_minute_max in [1, 7, 600, 10_000] {
            let (mut rate, mut now_ms, mut taken) = (SignalRate::new(per_minute_max), 0_i64, 0_i64);
            for step in 0..20_000_i64 {
                now_ms += step * step * 7_919 % 31;
                taken += i64::from(rate.take(begin.plus_ms(now_ms)));
                let most = i64::from(per_minute_max) * (MINUTE_MS + now_ms) / MINUTE_MS;
                assert!(taken <= most, "{per_minute_max}: {taken} of {most} in {now_ms} ms");
            }
            let most = i64::from(per_minute_max) * (MINUTE_MS + now_ms) / MINUTE_MS;
            assert!(
                taken == most.min(20_000),
                "{per_minute_max}: {taken} of {most}, though always asked for"
            );
        }
    }
}
