//! Tables of steps for each kind of message, and a random model of the durable events.

use std::collections::BTreeSet;

use super::*;

/// Steps as words: `r:topic=value` sets, `e:7` adds an event, `q0:x`/`q1:x` transient, `n` takes the next and
/// remembers its ticket, `a0` acknowledges the first ticket taken, `f0` refuses it, `g0` gives it up, `c` connects,
/// `retry`.
fn check(steps: &str, taken: &str, through: u64) -> Outbox {
    let mut outbox = Outbox::new(0, 0);
    let mut tickets = Vec::new();
    let mut seen = Vec::new();
    for step in steps.split_whitespace() {
        let index = |text: &str| text.parse::<usize>().expect("index");
        match step.split_once(':').unwrap_or((step, "")) {
            ("r", set) => {
                let (topic, value) = set.split_once('=').expect("topic=value");
                outbox.retained(topic, value.into(), None);
            }
            ("e", sequence) => outbox.event(sequence.parse().expect("sequence"), sequence, vec![1]),
            ("q0", name) => outbox.transient(name, vec![1], Qos::AtMostOnce),
            ("q1", name) => outbox.transient(name, vec![1], Qos::AtLeastOnce),
            ("c", _) => outbox.connection_started(),
            ("retry", _) => outbox.retry_refused(),
            ("n", _) => match outbox.take_next() {
                Some(out) => {
                    let value = if out.retain {
                        format!("={}", String::from_utf8_lossy(&out.payload))
                    } else {
                        String::new()
                    };
                    seen.push(format!("{}{value}", out.topic));
                    tickets.push(out.ticket);
                }
                None => seen.push("-".into()),
            },
            (ack, _) if ack.starts_with('a') => outbox.acknowledged(&tickets[index(&ack[1..])]),
            (drop, _) if drop.starts_with('g') => outbox.give_up(&tickets[index(&drop[1..])]),
            (refuse, _) => outbox.refused(&tickets[index(&refuse[1..])]),
        }
    }
    assert_eq!(seen.join(" "), taken, "steps: {steps}");
    assert_eq!(outbox.acknowledged_through(), through, "steps: {steps}");
    outbox
}

#[test]
fn steps() {
    check("r:a=1 r:b=2 r:a=3 n n n", "a=3 b=2 -", 0);
    check("r:a=1 n a0 c n", "a=1 a=1", 0);
    check("r:a=1 n r:a=2 a0 n n", "a=1 a=2 -", 0);
    check("r:a=1 n f0 n retry n", "a=1 - a=1", 0);
    check("r:a= n c n a1 c n", "a= a= -", 0);
    check("e:3 e:5 n n a1", "3 5", 2);
    check("e:3 e:5 n n a1 a0", "3 5", 5);
    check("e:3 e:5 n n a1 c n n", "3 5 3 -", 2);
    check("e:3 e:5 n n f0 a1 n retry n", "3 5 - 3", 2);
    check("e:3 e:3 e:2 n n", "3 -", 2);
    check("q0:t q1:a n n n c n n", "a t - a -", 0);
    check("q1:a q1:b n n c n n", "a b a b", 0);
    check("q1:a n f0 c n", "a -", 0);
    check("q1:a n g0 c n", "a -", 0);
    check("e:3 e:5 n n g0 a1", "3 5", 5);
    check("r:a=1 n g0 retry n c n", "a=1 - a=1", 0);
    check("q0:t r:s=1 e:1 n n n", "1 s=1 t", 0);
}

#[test]
fn limits() {
    let mut outbox = Outbox::new(0, 0);
    for index in 0..=TRANSIENT_MAX {
        outbox.transient(&index.to_string(), vec![], Qos::AtMostOnce);
        outbox.transient(&index.to_string(), vec![], Qos::AtLeastOnce);
    }
    assert_eq!((outbox.counters().dropped, outbox.counters().transient_waiting), (2, 2 * TRANSIENT_MAX));
    for index in 0..=RETAINED_MAX {
        outbox.retained(&index.to_string(), vec![1], None);
    }
    assert_eq!((outbox.counters().dropped, outbox.counters().retained_topics), (3, RETAINED_MAX));
    outbox.event(1, "too/large", vec![0; PAYLOAD_BYTES_MAX]);
    assert_eq!((outbox.counters().dropped, outbox.acknowledged_through()), (4, 1));
    outbox.retained("0", vec![0; PAYLOAD_BYTES_MAX], None);
    assert_eq!(outbox.counters().dropped, 5);
}

/// One case: `in_memory` events before the spill, then a refill `(from, events, through)`.
fn check_refill(
    pushed: u64,
    acknowledged: u64,
    refill: (u64, &[u64], u64),
    late: &[u64],
    spilled: bool,
    through: u64,
) {
    let mut outbox = Outbox::new(0, 0);
    let add = |outbox: &mut Outbox, sequence: u64| outbox.event(sequence, &sequence.to_string(), vec![]);
    (1..=pushed).for_each(|sequence| add(&mut outbox, sequence));
    for _ in 0..acknowledged {
        let out = outbox.take_next().expect("an event");
        outbox.acknowledged(&out.ticket);
    }
    let events = refill.1.iter().map(|s| (*s, s.to_string(), vec![])).collect();
    outbox.refill(refill.0, events, refill.2);
    late.iter().for_each(|sequence| add(&mut outbox, *sequence));
    while let Some(out) = outbox.take_next() {
        outbox.acknowledged(&out.ticket);
    }
    assert_eq!(
        (outbox.counters().events_spilled, outbox.acknowledged_through()),
        (spilled, through),
        "{refill:?}"
    );
}

#[test]
fn refills() {
    check_refill(1_000, 0, (1, &[], 0), &[], false, 1_000);
    check_refill(1_002, 600, (1_001, &[1_001, 1_002], 1_002), &[1_002, 1_003], false, 1_003);
    check_refill(1_002, 600, (1_001, &[1_001], 1_001), &[1_003], true, 1_001);
    check_refill(1_002, 600, (1_001, &[], 1_000), &[], true, 1_000);
    check_refill(1_002, 600, (999, &[1_001, 1_002], 1_002), &[], true, 1_000);
    check_refill(1_002, 0, (1_001, &[1_001, 1_002], 1_002), &[], true, 1_000);
}

#[test]
fn startup_reads_the_journal() {
    let mut outbox = Outbox::new(7, 9);
    assert_eq!(outbox.refill_wanted(), Some(Refill { from: 8, limit: EVENTS_MAX }));
    outbox.event(10, "ten", vec![]);
    assert_eq!(outbox.take_next(), None, "nothing may overtake what waits in the journal");
    outbox.refill(8, vec![(8, "eight".into(), vec![])], 10);
    assert_eq!(outbox.acknowledged_through(), 7);
    assert!(!outbox.counters().events_spilled);
}

/// A generator that is good enough to shuffle (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

/// What the owner hands to [`Outbox::refill`] after reading `take` events.
fn read_journal(journal: &[u64], from: u64, take: usize) -> (u64, Vec<JournalEvent>, u64) {
    let read: Vec<u64> = journal.iter().copied().filter(|s| *s >= from).take(take).collect();
    let through = read.last().copied().unwrap_or(from - 1);
    (from, read.into_iter().map(|s| (s, "t".to_owned(), vec![])).collect(), through)
}

/// A burst of events, with gaps between their sequences.
fn grow(journal: &mut Vec<u64>, random: &mut Random) {
    for _ in 0..random.below(12) {
        let gap = 1 + random.below(3);
        journal.push(journal.last().copied().unwrap_or(0) + gap);
    }
}

/// Events are journalled in bursts, handed to the outbox late, acknowledged in any order and refilled from snapshots
/// of the journal that may be stale, while connections come and go. In the end the broker has every event, every
/// connection saw them in order, and `acknowledged_through` never passed one that the broker does not have.
fn simulate(seed: u64) {
    let mut random = Random(seed);
    let mut outbox = Outbox::new(0, 0);
    let (mut journal, mut announced): (Vec<u64>, usize) = (Vec::new(), 0);
    let mut flight: Vec<u64> = Vec::new();
    let mut acknowledged = BTreeSet::new();
    let mut pending = None;
    let mut last_sent = 0;
    let (mut spills, mut contiguous) = (0, 0);
    for step in 0..6_000 {
        let producing = step < 4_000;
        match random.below(10) {
            0..=2 if producing => grow(&mut journal, &mut random),
            3 => {
                while announced < journal.len() {
                    outbox.event(journal[announced], "t", vec![]);
                    announced += 1;
                }
            }
            4 if random.below(20) == 0 => {
                flight.clear();
                last_sent = 0;
                outbox.connection_started();
            }
            5 => match pending.take() {
                Some((from, events, through)) => outbox.refill(from, events, through),
                None => {
                    if let Some(refill) = outbox.refill_wanted() {
                        spills += 1;
                        let take = random.below(refill.limit as u64 + 50);
                        pending = Some(read_journal(&journal, refill.from, take as usize));
                    }
                }
            },
            6 if !flight.is_empty() => {
                let index = random.below(flight.len() as u64) as usize;
                let sequence = flight.swap_remove(index);
                acknowledged.insert(sequence);
                outbox.acknowledged(&Ticket::Event(sequence));
            }
            _ => {
                while flight.len() < 64 && (!producing || random.below(3) > 0) {
                    let Some(Outgoing { ticket: Ticket::Event(sequence), .. }) = outbox.take_next() else {
                        break;
                    };
                    assert!(sequence > last_sent, "seed {seed}: {sequence} after {last_sent}");
                    last_sent = sequence;
                    flight.push(sequence);
                }
                if !producing {
                    for sequence in flight.drain(..) {
                        acknowledged.insert(sequence);
                        outbox.acknowledged(&Ticket::Event(sequence));
                    }
                }
            }
        }
        let through = outbox.acknowledged_through();
        while journal.get(contiguous).is_some_and(|sequence| acknowledged.contains(sequence)) {
            contiguous += 1;
        }
        let missing = journal.get(contiguous);
        assert!(missing.is_none_or(|first| through < *first), "seed {seed}: {through} passed {missing:?}");
        assert!(outbox.counters().events_waiting <= EVENTS_MAX);
    }
    assert!(spills > 0, "seed {seed}: the case never spilled");
    assert_eq!(acknowledged.len(), journal.len(), "seed {seed}: lost");
    assert_eq!(outbox.acknowledged_through(), *journal.last().expect("events"), "seed {seed}");
}

#[test]
fn random_model() {
    (1..=30).for_each(simulate);
}

#[test]
fn counters_follow() {
    let outbox = check("e:1 r:a=1 q0:t n n n a0 a1 f2", "1 a=1 t", 1);
    let expected =
        OutboxCounters { retained_topics: 1, published: 2, dropped: 1, refused: 1, ..Default::default() };
    assert_eq!(outbox.counters(), expected);
}
