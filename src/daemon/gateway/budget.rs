//! How often an account may ask: 80 % of the venue's 30 signed requests in 10 s, within what the address may ask.
//!
//! Invariants: no window ever holds more than its limit, whatever is wanted; and a part of each window is kept for what
//! takes risk away, so that neither entries nor questions can hold up an exit or a cancel. Within a class it is first
//! come, first served.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::daemon::feed::blofin::rates::{Claim, PENALTY, Rates};

/// The window of an account's signed requests.
pub const WINDOW: Duration = Duration::from_secs(10);
/// The longest sleep until it is looked again: the address's window may have got room in between.
const NAP_MAX: Duration = Duration::from_secs(1);

/// How urgent a request is. Later is more urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Asks, and can wait.
    Query,
    /// May take on risk.
    Entry,
    /// Takes risk away: exits, cancels, protective stops.
    Urgent,
}

impl Class {
    /// The most requests in a window up to which this class may send.
    pub fn requests_max(self) -> usize {
        match self {
            Class::Query => 12,
            Class::Entry => 18,
            Class::Urgent => 24,
        }
    }

    fn claim(self) -> Claim {
        match self {
            Class::Query | Class::Entry => Claim::Private,
            Class::Urgent => Claim::Urgent,
        }
    }
}

/// What one account asked lately, and what its address did.
#[derive(Debug)]
pub struct Budget {
    sent: Mutex<VecDeque<Instant>>,
    /// Until when the venue wants to hear nothing of this account.
    blocked_until: Mutex<Option<Instant>>,
    address: Arc<Mutex<Rates>>,
    turns: [tokio::sync::Mutex<()>; 3],
}

impl Budget {
    /// An account's budget within that of its address, which keeps a reserve from now on.
    pub fn new(address: Arc<Mutex<Rates>>) -> Budget {
        // Rates and windows are whole whenever their lock is free, so a panic elsewhere does not matter.
        address.lock().unwrap_or_else(PoisonError::into_inner).reserve();
        Budget { sent: Mutex::default(), blocked_until: Mutex::default(), address, turns: Default::default() }
    }

    /// Waits for a place and takes it: a request leaves now.
    pub async fn permit(&self, class: Class) {
        let _turn = self.turns[class as usize].lock().await;
        while let Err(wait) = self.take(class, Instant::now()) {
            sleep(wait.min(NAP_MAX)).await;
        }
    }

    /// Takes a place if there is one.
    ///
    /// # Errors
    /// How long to wait.
    pub fn take(&self, class: Class, now: Instant) -> Result<(), Duration> {
        let blocked = *self.blocked_until.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = blocked.filter(|until| now < *until) {
            return Err(until - now);
        }
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        while sent.front().is_some_and(|at| now.duration_since(*at) >= WINDOW) {
            sent.pop_front();
        }
        if let Some(index) = sent.len().checked_sub(class.requests_max()) {
            return Err(WINDOW - now.duration_since(sent[index]));
        }
        self.address.lock().unwrap_or_else(PoisonError::into_inner).take_as(class.claim(), now)?;
        sent.push_back(now);
        Ok(())
    }

    /// The venue refused for its limits; gives how long nothing leaves. The account's limit is over after its window: a
    /// run before this one may have used it up. What is refused again soon after that is the address, and so is a ban.
    pub fn refused(&self, is_ban: bool) -> Duration {
        let now = Instant::now();
        let mut blocked = self.blocked_until.lock().unwrap_or_else(PoisonError::into_inner);
        // Answers to what was under way before the block say nothing new.
        let again = blocked.is_some_and(|until| now >= until && now.duration_since(until) < PENALTY);
        *blocked = Some(now + WINDOW);
        match is_ban || again {
            true => self.address.lock().unwrap_or_else(PoisonError::into_inner).refused(now),
            false => WINDOW,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What left, with when it was wanted.
    #[derive(Default)]
    struct Sent(Vec<Instant>);

    impl Sent {
        fn most_within(&self, window: Duration) -> usize {
            let mut first = 0;
            let mut most = 0;
            for (index, at) in self.0.iter().enumerate() {
                while at.duration_since(self.0[first]) >= window {
                    first += 1;
                }
                most = most.max(index + 1 - first);
            }
            most
        }
    }

    /// A day of bursts of everything, with a feed that asks as often as it may.
    #[tokio::test(start_paused = true)]
    async fn a_day_of_bursts_breaks_no_limit_and_holds_up_no_exit() {
        let address = Arc::new(Mutex::new(Rates::default()));
        let budget = Budget::new(Arc::clone(&address));
        let (mut own, mut all) = (Sent::default(), Sent::default());
        let start = Instant::now();
        let mut waiting: [VecDeque<Instant>; 3] = Default::default();
        let mut longest = Duration::ZERO;
        let step = Duration::from_millis(200);
        for tick in 0..86_400 * 5_u32 {
            let now = start + step * tick;
            // Entries and questions without end; every 20 s two exits and two cancels; every minute twice as many.
            for (class, most) in [(Class::Query, 40), (Class::Entry, 40)] {
                while waiting[class as usize].len() < most {
                    waiting[class as usize].push_back(now);
                }
            }
            let burst = if tick % 300 == 0 {
                6
            } else if tick % 100 == 0 {
                4
            } else {
                0
            };
            waiting[Class::Urgent as usize].extend(std::iter::repeat_n(now, burst));
            while address.lock().unwrap().take(now).is_ok() {
                all.0.push(now);
            }
            for class in [Class::Query, Class::Entry, Class::Urgent] {
                while let Some(wanted) = waiting[class as usize].front().copied() {
                    if budget.take(class, now).is_err() {
                        break;
                    }
                    waiting[class as usize].pop_front();
                    own.0.push(now);
                    all.0.push(now);
                    if class == Class::Urgent {
                        longest = longest.max(now.duration_since(wanted));
                    }
                }
            }
        }
        // The documented limits, with room to spare.
        assert!(own.most_within(WINDOW) <= 24, "{}", own.most_within(WINDOW));
        for (window, most) in [(Duration::from_secs(60), 400), (Duration::from_secs(300), 1_200)] {
            assert!(all.most_within(window) <= most, "{} in {window:?}", all.most_within(window));
        }
        assert!(waiting[Class::Urgent as usize].len() <= 6);
        assert_eq!(longest, Duration::ZERO, "an exit waited");
        // The rest is not starved either.
        assert!(own.0.len() > 50_000, "{}", own.0.len());
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_kept_and_penalties_served() {
        let budget = Budget::new(Arc::default());
        let start = Instant::now();
        for _ in 0..24 {
            budget.permit(Class::Urgent).await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        budget.permit(Class::Urgent).await;
        assert_eq!(start.elapsed(), WINDOW);
        // The account's own limit first; refused again, it is the address.
        assert_eq!(budget.refused(false), WINDOW);
        budget.permit(Class::Urgent).await;
        assert_eq!(start.elapsed(), WINDOW * 2);
        assert_eq!(budget.refused(false), PENALTY);
        budget.permit(Class::Urgent).await;
        assert_eq!(start.elapsed(), WINDOW * 2 + PENALTY);
        assert!(budget.refused(true) > WINDOW);
    }
}
