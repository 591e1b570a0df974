//! Reconnects for as long as it makes sense, one session at a time.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::options::Fault;
use super::{Context, MqttError, session};

const DELAY_MAX_S: u64 = 60;
const REPEATS_MAX: usize = 3;
const REPEATS_WITHIN: Duration = Duration::from_secs(60);

pub(super) async fn run(context: Context) -> Result<(), MqttError> {
    let result = keep_connected(&context).await;
    context.status.send_modify(|status| {
        status.stopped = true;
        if let Err(error) = &result {
            status.last_error = Some(error.to_string());
        }
    });
    result
}

async fn keep_connected(context: &Context) -> Result<(), MqttError> {
    let mut stop = context.stop.clone();
    let (mut takeovers, mut closings) = (Recent::default(), Recent::default());
    let (mut connections, mut attempt, mut waited) = (0, 0, Duration::ZERO);
    for round in 0.. {
        let started = Instant::now();
        let ended = session::run(context, connections).await;
        let Some(fault) = ended.fault else { return Ok(()) };
        connections += u64::from(ended.was_connected);
        // A connection that lasted for longer than we had waited for it was a good one.
        if ended.was_connected && started.elapsed() > waited {
            attempt = 0;
        }
        let client_id = &context.config.client_id;
        let mut text = fault.text();
        if fault == Fault::TakenOver && takeovers.push() {
            return Err(MqttError::SessionTakenOver { client_id: client_id.clone() });
        }
        // A restarting broker or a bad link looks the same, so this is a hint and no reason to stop.
        if fault == Fault::Closed && ended.was_connected && closings.push() {
            text = format!("{text} again and again; does another instance use the client id {client_id:?}?");
        }
        waited = delay(attempt, round);
        attempt += 1;
        tracing::warn!(retry_in_ms = waited.as_millis(), "mqtt connection lost: {text}");
        context.status.send_modify(|status| status.last_error = Some(text));
        tokio::select! {
            biased;
            _ = session::stop_requested(&mut stop) => return Ok(()),
            () = sleep(waited) => {}
        }
    }
    Ok(())
}

/// Counts what happens too often: [`REPEATS_MAX`] times [`REPEATS_WITHIN`].
#[derive(Default)]
struct Recent(VecDeque<Instant>);

impl Recent {
    fn push(&mut self) -> bool {
        self.0.push_back(Instant::now());
        self.0.retain(|at| at.elapsed() < REPEATS_WITHIN);
        self.0.len() >= REPEATS_MAX
    }
}

/// 1, 2, 4, ... 60 s, less up to a quarter, so that clients of one broker do not come back at the same moment.
fn delay(attempt: u32, round: u64) -> Duration {
    let base_ms = 1_000 * 1_u64.checked_shl(attempt).map_or(DELAY_MAX_S, |seconds| seconds.min(DELAY_MAX_S));
    let hash = (round + u64::from(std::process::id())).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    Duration::from_millis(base_ms - hash % (base_ms / 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(attempt: u32, at_most_s: u64) {
        for round in 0..100 {
            let delay = delay(attempt, round);
            let most = Duration::from_secs(at_most_s);
            assert!(delay <= most && delay > most * 3 / 4, "attempt {attempt}, round {round}: {delay:?}");
        }
    }

    #[test]
    fn backoff() {
        for (attempt, seconds) in [(0, 1), (1, 2), (2, 4), (5, 32), (6, 60), (63, 60), (64, 60), (1_000, 60)]
        {
            check(attempt, seconds);
        }
    }
}
