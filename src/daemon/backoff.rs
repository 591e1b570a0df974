//! How long to wait before something that failed is tried again: 1, 2, 4, ... 60 s, less up to a quarter.

use std::sync::OnceLock;
use std::time::Duration;

/// The longest wait, in seconds.
const S_MAX: u64 = 60;

/// What makes the jitter of this process another one than that of the next box.
static SALT: OnceLock<u64> = OnceLock::new();

/// Gives the jitter a salt before its first use, so that a simulation waits the same in every process.
pub fn fix_jitter(salt: u64) {
    SALT.get_or_init(|| salt);
}

/// The wait after so many failures that came before this one, in the `round`-th try of all.
pub fn backoff(attempt: u32, round: u64) -> Duration {
    jittered(doubled(attempt), round)
}

/// 1, 2, 4, ... 60 s.
pub fn doubled(attempt: u32) -> Duration {
    Duration::from_secs(1_u64.checked_shl(attempt).map_or(S_MAX, |seconds| seconds.min(S_MAX)))
}

/// Less up to a quarter, so that clients of one server, or boxes behind one address, do not come back at the same
/// moment.
pub fn jittered(pause: Duration, round: u64) -> Duration {
    let ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    let salt = *SALT.get_or_init(|| u64::from(std::process::id()));
    let hash = round.wrapping_add(salt).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    pause - Duration::from_millis(hash % (ms / 4).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_minute() {
        for (attempt, seconds) in [(0, 1), (1, 2), (5, 32), (6, 60), (64, 60)] {
            let most = Duration::from_secs(seconds);
            assert_eq!(doubled(attempt), most);
            for round in 0..100 {
                let wait = backoff(attempt, round);
                assert!(wait <= most && wait > most * 3 / 4, "attempt {attempt}, round {round}: {wait:?}");
            }
        }
    }

    #[test]
    fn jitter() {
        for (seconds, round) in [1, 2, 60, 300].into_iter().flat_map(|s| (0..100).map(move |r| (s, r))) {
            let most = Duration::from_secs(seconds);
            let pause = jittered(most, round);
            assert!(pause <= most && pause > most * 3 / 4, "{pause:?} of {most:?}");
        }
    }
}
