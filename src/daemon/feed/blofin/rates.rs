//! How often the venue may be asked: two sliding windows at 80 % of what it allows, and its penalties.
//!
//! Invariant: whatever asks, no window ever holds more than its limit, so the venue has no cause to block this address.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Windows with the requests that fit in: 80 % of 500 in a minute and of 1,500 in five minutes.
pub const WINDOWS: [(Duration, usize); 2] =
    [(Duration::from_secs(60), 400), (Duration::from_secs(300), 1_200)];
/// How long the venue blocks an address after the first breach, or its firewall does.
pub const PENALTY: Duration = Duration::from_secs(300);
/// How long it blocks one that is refused again right after a penalty.
pub const PENALTY_AGAIN: Duration = Duration::from_secs(3_600);

/// Who asks. Later may use more of each window, once a reserve is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A feed.
    Public,
    /// An account.
    Private,
    /// An account, to take risk away.
    Urgent,
}

/// What was asked lately.
#[derive(Debug, Default)]
pub struct Rates {
    asked: VecDeque<Instant>,
    blocked_until: Option<Instant>,
    has_reserve: bool,
}

impl Rates {
    /// From now on feeds leave a part of each window to accounts, and accounts one to what takes risk away.
    pub fn reserve(&mut self) {
        self.has_reserve = true;
    }

    /// Takes a place for a feed's request that leaves now.
    ///
    /// # Errors
    /// How long to wait, when there is no place.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.take_as(Claim::Public, now)
    }

    /// Takes a place for a request that leaves now.
    ///
    /// # Errors
    /// How long to wait, when there is no place.
    pub fn take_as(&mut self, claim: Claim, now: Instant) -> Result<(), Duration> {
        let share_pct = match claim {
            _ if !self.has_reserve => 100,
            Claim::Public => 60,
            Claim::Private => 80,
            Claim::Urgent => 100,
        };
        if let Some(until) = self.blocked_until
            && now < until
        {
            return Err(until - now);
        }
        while self.asked.front().is_some_and(|at| now.duration_since(*at) >= WINDOWS[1].0) {
            self.asked.pop_front();
        }
        for (window, most) in WINDOWS {
            let most = most * share_pct / 100;
            // The request that must have left the window before another fits in.
            let oldest = self.asked.len().checked_sub(most).map(|index| self.asked[index]);
            if let Some(oldest) = oldest.filter(|oldest| now.duration_since(*oldest) < window) {
                return Err(window - now.duration_since(oldest));
            }
        }
        self.asked.push_back(now);
        Ok(())
    }

    /// The venue refused for its limits: nothing leaves until its penalty is over.
    pub fn refused(&mut self, now: Instant) -> Duration {
        let again = self.blocked_until.is_some_and(|until| now.saturating_duration_since(until) < PENALTY);
        let penalty = if again { PENALTY_AGAIN } else { PENALTY };
        self.blocked_until = Some(now + penalty);
        penalty
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_day_of_greed_never_breaks_a_limit() {
        let start = Instant::now();
        let mut rates = Rates::default();
        let mut sent: Vec<Instant> = Vec::new();
        let mut now = start;
        while now.duration_since(start) < Duration::from_secs(86_400) {
            match rates.take(now) {
                Ok(()) => sent.push(now),
                Err(wait) => now += wait.max(Duration::from_millis(1)),
            }
        }
        for (window, most) in WINDOWS {
            let full = sent.windows(most + 1).any(|sent| sent[most].duration_since(sent[0]) < window);
            assert!(!full, "more than {most} within {window:?}");
        }
        // Every five minutes are used up, or it would be a limit of our own.
        assert_eq!(sent.len(), 288 * 1_200);
    }

    #[tokio::test(start_paused = true)]
    async fn penalties_are_served() {
        let start = Instant::now();
        let mut rates = Rates::default();
        assert_eq!(rates.take(start), Ok(()));
        assert_eq!(rates.refused(start), PENALTY);
        assert_eq!(rates.take(start + Duration::from_secs(1)), Err(PENALTY - Duration::from_secs(1)));
        let after = start + PENALTY;
        assert_eq!(rates.take(after), Ok(()));
        assert_eq!(rates.refused(after), PENALTY_AGAIN);
        let later = after + PENALTY_AGAIN + PENALTY;
        assert_eq!(rates.take(later), Ok(()));
        assert_eq!(rates.refused(later), PENALTY);
    }
}
