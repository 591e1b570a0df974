//! A broker between senders, the daemon and a listener: at least once in both directions, in order within a sender,
//! with a window, lost connections and lost sessions.

use std::collections::{BTreeMap, VecDeque};

use tradebus::daemon::mqtt::{Inbound, Wire};
use tradebus::daemon::outbox::{OutboxHandle, Outgoing, Qos};

use super::super::random::Random;

/// Messages that the broker has on their way to the daemon, as the shipped configuration sets it.
const WINDOW: usize = 20;
/// What the client has on its way to the broker.
const FLIGHTS_MAX: usize = 64;
/// Senders whose messages overtake each other.
pub const SENDERS: usize = 3;

/// A message to the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub topic: String,
    pub payload: String,
    pub retain: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Broker {
    pub connected: bool,
    /// Not yet delivered, by sender.
    queues: [VecDeque<Packet>; SENDERS],
    /// Delivered and not acknowledged, in order.
    window: VecDeque<(u16, Packet)>,
    packet: u16,
    flights: VecDeque<Outgoing>,
    /// What is retained.
    pub retained: BTreeMap<String, Vec<u8>>,
}

impl Broker {
    pub fn post(&mut self, sender: usize, packet: Packet) {
        self.queues[sender % SENDERS].push_back(packet);
    }

    /// Whether nothing waits in either direction.
    pub fn is_idle(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty) && self.window.is_empty() && self.flights.is_empty()
    }

    /// The next message, when one may be on its way.
    pub fn deliver(&mut self, wire: &Wire, random: &mut Random) -> Option<Inbound> {
        if !self.connected || self.window.len() >= WINDOW {
            return None;
        }
        let start = random.below(SENDERS as u64) as usize;
        let mut senders = (0..SENDERS).map(|offset| (start + offset) % SENDERS);
        let sender = senders.find(|sender| !self.queues[*sender].is_empty())?;
        let packet = self.queues[sender].pop_front()?;
        Some(self.send(wire, packet))
    }

    fn send(&mut self, wire: &Wire, packet: Packet) -> Inbound {
        self.packet = self.packet % u16::MAX + 1;
        let Packet { topic, payload, retain } = packet.clone();
        self.window.push_back((self.packet, packet));
        let (ack, payload) = (wire.issue(self.packet), payload.into_bytes());
        Inbound { topic, payload, retain, response_topic: None, correlation: None, ack }
    }

    /// The messages that the daemon acknowledged, which it must do in order.
    pub fn acknowledged(&mut self, wire: &Wire) -> Vec<Packet> {
        let mut done = Vec::new();
        while let Some(id) = wire.acknowledged() {
            let (expected, packet) = self.window.pop_front().expect("something was delivered");
            assert_eq!(id, expected, "acknowledged out of order");
            done.push(packet);
        }
        done
    }

    /// The daemon sends up to so many messages, and so many of those on their way arrive.
    pub fn flow(
        &mut self,
        outbox: &OutboxHandle,
        sent: u64,
        arrive: u64,
        random: &mut Random,
    ) -> Vec<Outgoing> {
        if !self.connected {
            return Vec::new();
        }
        for _ in 0..sent {
            if self.flights.len() >= FLIGHTS_MAX {
                break;
            }
            let Some(message) = outbox.with(|outbox| outbox.take_next()) else { break };
            self.flights.push_back(message);
        }
        let mut arrived = Vec::new();
        for _ in 0..arrive {
            let Some(message) = self.flights.pop_front() else { break };
            // A quota, say. The message must come again, unless it may be lost.
            let refused = message.qos == Qos::AtLeastOnce && random.one_in(100);
            outbox.with(|outbox| match refused {
                true => outbox.refused(&message.ticket),
                false => outbox.acknowledged(&message.ticket),
            });
            if !refused {
                self.keep(&message);
                arrived.push(message);
            }
        }
        arrived
    }

    fn keep(&mut self, message: &Outgoing) {
        if message.retain && message.payload.is_empty() {
            self.retained.remove(&message.topic);
        } else if message.retain {
            self.retained.insert(message.topic.clone(), message.payload.clone());
        }
    }

    /// The connection breaks: some of what was on its way arrived, and nobody is told.
    pub fn disconnect(&mut self, random: &mut Random) -> Vec<Outgoing> {
        self.connected = false;
        let arrived = random.below(self.flights.len() as u64 + 1) as usize;
        let arrived: Vec<Outgoing> = self.flights.drain(..arrived).collect();
        arrived.iter().for_each(|message| self.keep(message));
        self.flights.clear();
        arrived
    }

    /// A new connection. With the session, everything without an acknowledgement comes again, in order; without, the
    /// broker has forgotten all that it had.
    pub fn connect(&mut self, wire: &Wire, outbox: &OutboxHandle, session: bool) -> Vec<Inbound> {
        assert!(!self.connected, "connected twice");
        self.connected = true;
        wire.connect(session);
        outbox.with(|outbox| outbox.connection_started());
        let again: Vec<Packet> =
            std::mem::take(&mut self.window).into_iter().map(|(_, packet)| packet).collect();
        if !session {
            self.queues.iter_mut().for_each(VecDeque::clear);
            self.retained.clear();
            return Vec::new();
        }
        again.into_iter().map(|packet| self.send(wire, packet)).collect()
    }
}
