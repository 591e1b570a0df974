//! Reconnects for ever, one session at a time, and never in a busy loop.
//!
//! The pause doubles from 1 to 60 s with each failure and begins anew after a good connection: one that lasted longer
//! than the pause before it, or 10 s. What looks like a fight for the client id has to last 3 minutes to count as good,
//! because each side's pause is the other side's connection; a fight that the broker names makes the pause 5 minutes.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::fault::Fault;
use super::session::Ended;
use super::{Context, session};
use crate::engine::effect::AlertLevel;

const DELAY_MAX_S: u64 = 60;
const GOOD_AFTER: Duration = Duration::from_secs(10);
const GOOD_AFTER_FIGHT: Duration = Duration::from_secs(180);
const FIGHT_DELAY_S: u64 = 300;
/// So many losses within that time are a fight.
const REPEATS_MAX: usize = 3;
const CLOSINGS_WITHIN: Duration = Duration::from_secs(300);
/// Longer than [`REPEATS_MAX`] of the long pauses, so that the pauses stay long while both daemons run.
const TAKEOVERS_WITHIN: Duration = Duration::from_secs(3_600);

pub(super) async fn run(context: Context) {
    keep_connected(&context).await;
    context.status.send_modify(|status| status.stopped = true);
}

async fn keep_connected(context: &Context) {
    let mut stop = context.stop.clone();
    let mut pauses = Pauses::default();
    let mut connections = 0;
    for round in 0.. {
        let started = Instant::now();
        let ended = session::run(context, connections).await;
        let Some(fault) = &ended.fault else { return };
        connections += u64::from(ended.was_connected);
        let now = Instant::now();
        let (pause, fight) = pauses.after(fault, ended.was_connected, now - started, now);
        let pause = jittered(pause, round);
        tell(context, &ended, fault, fight, pause);
        tokio::select! {
            biased;
            _ = session::stop_requested(&mut stop) => return,
            () = sleep(pause) => {}
        }
    }
}

fn tell(context: &Context, ended: &Ended, fault: &Fault, fight: bool, pause: Duration) {
    let mut text = fault.text();
    if fight {
        let client_id = &context.config.client_id;
        let sure = if *fault == Fault::TakenOver { "" } else { "likely " };
        text = format!(
            "{text} again and again: {sure}another instance uses the client id {client_id:?}; stop it, or give each \
             instance its own (instance = \"...\")"
        );
    }
    let what = if ended.was_connected { "mqtt connection lost" } else { "mqtt not connected" };
    tracing::warn!(retry_in_ms = pause.as_millis(), "{what}: {text}");
    match fault {
        _ if fight => context.notices.tell(AlertLevel::Error, "mqtt_session_taken_over", "", &text),
        Fault::Refused(_) => context.notices.tell(AlertLevel::Error, "mqtt_refused", &text, &text),
        _ => {}
    }
    context.status.send_modify(|status| status.last_error = Some(text));
}

/// How long to wait before each connection.
#[derive(Default)]
struct Pauses {
    attempt: u32,
    /// Before the last connection.
    waited: Duration,
    closings: Recent,
    takeovers: Recent,
}

impl Pauses {
    /// The pause after a connection that lasted so long, and whether somebody fights for our client id.
    fn after(
        &mut self,
        fault: &Fault,
        was_connected: bool,
        lasted: Duration,
        now: Instant,
    ) -> (Duration, bool) {
        if was_connected && lasted > GOOD_AFTER_FIGHT {
            self.closings = Recent::default();
        }
        let fight = match fault {
            Fault::TakenOver => self.takeovers.push(now, TAKEOVERS_WITHIN),
            // A restarting broker or a bad link looks the same, unless it was away in between.
            Fault::Closed if was_connected => self.closings.push(now, CLOSINGS_WITHIN),
            Fault::Other(_) if !was_connected => {
                self.closings = Recent::default();
                false
            }
            _ => false,
        };
        let suspect = fight || *fault == Fault::TakenOver;
        let enough = if suspect { GOOD_AFTER_FIGHT } else { self.waited.min(GOOD_AFTER) };
        if was_connected && lasted > enough {
            self.attempt = 0;
        }
        let doubled = 1_u64.checked_shl(self.attempt).map_or(DELAY_MAX_S, |seconds| seconds.min(DELAY_MAX_S));
        self.attempt = self.attempt.saturating_add(1);
        let named = fight && *fault == Fault::TakenOver;
        self.waited = Duration::from_secs(if named { FIGHT_DELAY_S } else { doubled });
        (self.waited, fight)
    }
}

/// Counts what happens too often: [`REPEATS_MAX`] times within a time.
#[derive(Default)]
struct Recent(VecDeque<Instant>);

impl Recent {
    fn push(&mut self, now: Instant, within: Duration) -> bool {
        self.0.push_back(now);
        self.0.retain(|at| now.duration_since(*at) < within);
        if self.0.len() > REPEATS_MAX {
            self.0.pop_front();
        }
        self.0.len() >= REPEATS_MAX
    }
}

/// Less up to a quarter, so that clients of one broker do not come back at the same moment.
fn jittered(pause: Duration, round: u64) -> Duration {
    let ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    let hash = (round + u64::from(std::process::id())).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    pause - Duration::from_millis(hash % (ms / 4).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each step: what happened (`c` closed, `t` taken over, `o` another loss, `x` not reached, `r` refused), after so
    /// many seconds of connection. Gives the pauses, those of a fight with `!`.
    fn check(steps: &str, expected: &str) {
        let (mut pauses, mut now, mut seen) = (Pauses::default(), Instant::now(), Vec::new());
        for step in steps.split(' ') {
            let lasted = Duration::from_millis((step[1..].parse::<f64>().expect("seconds") * 1_000.0) as u64);
            now += lasted;
            let fault = match &step[..1] {
                "c" => Fault::Closed,
                "t" => Fault::TakenOver,
                "r" => Fault::Refused("refused".into()),
                _ => Fault::Other("other".into()),
            };
            let connected = !step.starts_with(['x', 'r']);
            let (pause, fight) = pauses.after(&fault, connected, lasted, now);
            now += pause;
            seen.push(format!("{}{}", pause.as_secs(), if fight { "!" } else { "" }));
        }
        assert_eq!(seen.join(" "), expected, "{steps}");
    }

    #[test]
    fn pauses() {
        // A broker that is away, for long.
        check("x0 x0 x0 x0 x0 x0 x0 x0 x5 o20 o20", "1 2 4 8 16 32 60 60 60 1 1");
        // After a long pause, ten seconds are enough.
        check("x0 x0 x0 x0 x0 x0 x0 o11 o11", "1 2 4 8 16 32 60 1 1");
        // Short connections that are longer than the pause before them do not make it grow.
        check("o2 o2 o2 o2 o2 o2", "1 1 1 1 1 1");
        // Shorter ones do: no busy loop.
        check("o0.1 o0.1 o0.1 o0.1 o0.1 o0.1 o0.1 o0.1", "1 2 4 8 16 32 60 60");
        // Refusals likewise.
        check("r0 r0 r0 r0", "1 2 4 8");
        // A broker that restarts three times in a minute, away in between, or not.
        check("c2 x0 c5 x0 c5 x0 c5", "1 2 1 2 1 2 1");
        check("c2 c2 c2 c2 c200 c2", "1 1 2! 4! 1 1");
    }

    #[test]
    fn fights_for_a_client_id() {
        check("t1 t1 t1 t1 t1 t1", "1 2 300! 300! 300! 300!");
        // The other daemon was stopped.
        check("t1 t1 t1 o4000 t1", "1 2 300! 1 2");
        // A broker that does not name it: both sides' pauses grow.
        check("c1 c1 c1 c1 c2 c4 c8 c16 c32", "1 2 4! 8! 16! 32! 60! 60! 60!");
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
