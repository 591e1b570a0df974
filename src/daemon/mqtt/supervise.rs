//! Reconnects for ever, one session at a time, and never in a busy loop.
//!
//! The pause doubles from 1 to 60 s with each failure and begins anew after a good connection: one that lasted longer
//! than the pause before it, or 10 s. A shorter one that was of use (the self-test passed, and it lasted a second)
//! takes the pause two steps back, so that it does not grow from one short connection to the next. After another client
//! took our id, 3 minutes: each side's pause is the other side's connection. The third time within an hour it is a
//! fight, and the pause is 5 minutes.
//!
//! That the id was taken is the broker's word (reason 0x8E), or seen: the broker closed the connection, and found there
//! was the info of another daemon with our id (`session.rs`).

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::fault::Fault;
use super::session::Ended;
use super::{Context, session};
use crate::daemon::backoff::{doubled, jittered};
use crate::engine::effect::AlertLevel;

const GOOD_AFTER: Duration = Duration::from_secs(10);
const OF_USE_AFTER: Duration = Duration::from_secs(1);
const GOOD_AFTER_FIGHT: Duration = Duration::from_secs(180);
const FIGHT_DELAY: Duration = Duration::from_secs(300);
/// So often within an hour is a fight.
const REPEATS_MAX: usize = 3;
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
        let taken = *fault == Fault::TakenOver || (ended.twin && *fault == Fault::Closed);
        let (pause, fight) = pauses.after(&ended, taken, now - started, now);
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
        text = format!(
            "{text} again and again: another instance uses the client id {client_id:?}; stop it, or give each \
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
    takeovers: Recent,
}

impl Pauses {
    /// The pause after a connection that lasted so long and ended because our id was `taken`, or not; and whether
    /// somebody fights for it.
    fn after(&mut self, ended: &Ended, taken: bool, lasted: Duration, now: Instant) -> (Duration, bool) {
        let fight = taken && self.takeovers.push(now, TAKEOVERS_WITHIN);
        let enough = if taken { GOOD_AFTER_FIGHT } else { self.waited.min(GOOD_AFTER) };
        if ended.was_connected && lasted > enough {
            self.attempt = 0;
        } else if ended.tested && !taken && lasted >= OF_USE_AFTER {
            self.attempt = self.attempt.saturating_sub(2);
        }
        self.waited = if fight { FIGHT_DELAY } else { doubled(self.attempt) };
        self.attempt = self.attempt.saturating_add(1);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Each step: what happened (`o` lost, `p` lost after the self-test passed, `t` taken over, `x` not reached or
    /// refused), after so many seconds of connection. Gives the pauses, those of a fight with `!`.
    fn check(steps: &str, expected: &str) {
        let (mut pauses, mut now, mut seen) = (Pauses::default(), Instant::now(), Vec::new());
        for step in steps.split(' ') {
            let lasted = Duration::from_millis((step[1..].parse::<f64>().expect("seconds") * 1_000.0) as u64);
            now += lasted;
            let taken = step.starts_with('t');
            let tested = taken || step.starts_with('p');
            let ended = Ended { was_connected: !step.starts_with('x'), fault: None, tested, twin: false };
            let (pause, fight) = pauses.after(&ended, taken, lasted, now);
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
        // After a refusal neither, if they are of use.
        check("p2 x0 p1.5 x0 p1.5 x0 p1.5", "1 2 1 2 1 2 1");
        check("x0 x0 x0 x0 x0 p2 p2 p2 p2", "1 2 4 8 16 8 4 2 1");
        // Shorter ones do: no busy loop.
        check("p0.9 p0.9 p0.9 p0.9 p0.9 p0.9 p0.9 p0.9", "1 2 4 8 16 32 60 60");
        check("o0.1 o0.1 o0.1 o0.1 o0.1 o0.1 o0.1 o0.1", "1 2 4 8 16 32 60 60");
    }

    #[test]
    fn fights_for_a_client_id() {
        check("t1 t1 t1 t1 t1 t1", "1 2 300! 300! 300! 300!");
        // The other daemon was stopped.
        check("t1 t1 t1 o4000 t1", "1 2 300! 1 2");
        // Once in a while, as when a network changes.
        check("t4000 t4000 t4000 t4000", "1 1 1 1");
    }
}
