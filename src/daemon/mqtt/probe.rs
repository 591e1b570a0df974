//! The self-test: our own message on our own topic has to come back.
//!
//! A broker acknowledges a subscription that its access list then silences, and a bridge that is cut looks alive, so
//! nothing but a message shows that messages pass. One on every connect and one a minute; never retained, QoS 0 on the
//! way back, so that none waits in our session while we are away.

use std::time::Duration;

use tokio::time::Instant;

/// Between two messages.
const INTERVAL: Duration = Duration::from_secs(60);
/// A message of another run has to come so often before it counts, because one may be left of our last run.
const FOREIGN_MIN: u32 = 2;

/// The self-test of one connection.
#[derive(Debug)]
pub(super) struct Probe {
    run: String,
    number: u64,
    bound: Duration,
    sent: Option<Sent>,
    next_at: Instant,
    foreign: u32,
}

#[derive(Debug)]
struct Sent {
    payload: Vec<u8>,
    at: Instant,
    /// When the broker had it, so that a dead link is no failed self-test.
    accepted: Option<Instant>,
}

/// What is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Publish this.
    Send(Vec<u8>),
    /// Tell that it did not come.
    Missing,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// Our message, after so long.
    Back(Duration),
    /// Messages of somebody else.
    Foreign,
    /// Nothing to tell: a late one, or a first foreign one.
    Nothing,
}

impl Probe {
    /// `run` names this run of the daemon, `bound` is how long a message may take once the broker has it.
    pub(super) fn new(run: &str, bound: Duration, now: Instant) -> Self {
        Self { run: run.to_owned(), number: 0, bound, sent: None, next_at: now, foreign: 0 }
    }

    /// When [`Probe::due`] is to be asked.
    pub(super) fn due_at(&self) -> Instant {
        match &self.sent {
            None => self.next_at,
            // The link is watched elsewhere.
            Some(Sent { accepted: None, .. }) => self.next_at + INTERVAL,
            Some(Sent { accepted: Some(at), .. }) => *at + self.bound,
        }
    }

    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        if now < self.due_at() {
            return None;
        }
        if self.sent.take().is_some_and(|sent| sent.accepted.is_some()) {
            return Some(Due::Missing);
        }
        self.next_at = now + INTERVAL;
        self.number += 1;
        let payload = format!("{{\"run\":\"{}\",\"number\":{}}}", self.run, self.number).into_bytes();
        self.sent = Some(Sent { payload: payload.clone(), at: now, accepted: None });
        Some(Due::Send(payload))
    }

    /// The broker acknowledged the message, or refused it.
    pub(super) fn settled(&mut self, accepted: bool, now: Instant) {
        match &mut self.sent {
            Some(sent) if accepted => sent.accepted = Some(now),
            _ => self.sent = None,
        }
    }

    pub(super) fn came(&mut self, payload: &[u8], now: Instant) -> Came {
        if let Some(sent) = self.sent.take_if(|sent| sent.payload == payload) {
            return Came::Back(now.duration_since(sent.at));
        }
        let ours = format!("{{\"run\":\"{}\",", self.run);
        // An empty one clears what somebody retained.
        if payload.is_empty() || payload.starts_with(ours.as_bytes()) {
            return Came::Nothing;
        }
        self.foreign = self.foreign.saturating_add(1);
        if self.foreign >= FOREIGN_MIN { Came::Foreign } else { Came::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(10);

    fn sent(probe: &mut Probe, now: Instant) -> Vec<u8> {
        match probe.due(now) {
            Some(Due::Send(payload)) => payload,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_at_the_start_and_one_a_minute() {
        let start = Instant::now();
        let mut probe = Probe::new("ab", BOUND, start);
        let first = sent(&mut probe, start);
        assert_eq!(first, br#"{"run":"ab","number":1}"#);
        assert_eq!(probe.due(start), None);
        // It may be here before its acknowledgement.
        assert_eq!(probe.came(&first, start + BOUND), Came::Back(BOUND));
        probe.settled(true, start + BOUND);
        assert_eq!(probe.due(start + INTERVAL - BOUND), None);
        let second = sent(&mut probe, start + INTERVAL);
        assert_ne!(first, second);
        assert_eq!(probe.came(&first, start + INTERVAL), Came::Nothing, "late");
    }

    #[test]
    fn missing_only_when_the_broker_had_it() {
        let start = Instant::now();
        let mut probe = Probe::new("ab", BOUND, start);
        sent(&mut probe, start);
        assert_eq!(probe.due(start + 2 * BOUND), None, "no acknowledgement");
        probe.settled(true, start + 2 * BOUND);
        assert_eq!(probe.due(start + 3 * BOUND), Some(Due::Missing));
        assert_eq!(probe.due(start + 4 * BOUND), None);
        sent(&mut probe, start + INTERVAL);
        probe.settled(false, start + INTERVAL);
        assert_eq!(probe.due(start + INTERVAL + BOUND), None, "the refusal is told already");
    }

    #[test]
    fn others_on_our_topic() {
        let now = Instant::now();
        let mut probe = Probe::new("ab", BOUND, now);
        let foreign = br#"{"run":"abc","number":1}"#;
        assert_eq!(probe.came(foreign, now), Came::Nothing, "it may be left of our last run");
        assert_eq!(probe.came(foreign, now), Came::Foreign);
        assert_eq!(probe.came(b"", now), Came::Nothing);
    }
}
