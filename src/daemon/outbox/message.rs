//! What leaves the outbox, and its figures.

/// An event as it is read back from the journal: sequence, topic, payload.
pub type JournalEvent = (u64, String, Vec<u8>);

/// Delivery guarantee of a transient message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// Sent at most once, forgotten when it left.
    AtMostOnce,
    /// Sent again until the broker acknowledged it.
    AtLeastOnce,
}

/// Names a message that was taken out, so that its acknowledgement finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ticket {
    /// A durable event, by its sequence.
    Event(u64),
    /// One version of a retained topic.
    Retained {
        /// The topic.
        topic: String,
        /// Counts values of all topics; an acknowledgement of an older value settles nothing.
        version: u64,
    },
    /// A transient message, by the order in which it was taken out.
    Transient(u64),
}

/// A message to publish now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// To be handed back with the outcome.
    pub ticket: Ticket,
    /// Where it goes.
    pub topic: String,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// How it is delivered.
    pub qos: Qos,
    /// Whether the broker keeps it.
    pub retain: bool,
    /// Seconds after which the broker forgets it.
    pub expiry_s: Option<u32>,
    /// MQTT 5 correlation data of the request that this answers.
    pub correlation: Option<Vec<u8>>,
}

/// Depths and totals for the health topic. Totals count since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutboxCounters {
    /// Events in memory that the broker has not acknowledged.
    pub events_waiting: usize,
    /// Whether more events wait in the journal.
    pub events_spilled: bool,
    /// Retained topics known.
    pub retained_topics: usize,
    /// Retained topics whose newest value the broker has not acknowledged.
    pub retained_waiting: usize,
    /// Transient messages waiting.
    pub transient_waiting: usize,
    /// Messages that the broker acknowledged (QoS 0: that left).
    pub published: u64,
    /// Messages given up: too large, too many, or transient and refused.
    pub dropped: u64,
    /// Negative acknowledgements.
    pub refused: u64,
}
