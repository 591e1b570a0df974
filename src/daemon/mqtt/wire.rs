//! What the crate's event loop says, for the session.
//!
//! The loop is not safe to cancel, so [`poll`] is a task of its own that ends with the connection.

use rumqttc::{Event, EventLoop, Incoming, Publish};
use tokio::sync::mpsc;

use super::dial::Heard;
use super::fault::Fault;

/// Words that wait for the session; then the reading waits.
pub(super) const WIRE_MAX: usize = 64;

/// What matters of the protocol's events.
pub(super) enum Wire {
    /// The broker accepted the connection.
    Connected { session_present: bool, packet_bytes_max: usize },
    /// A message came.
    Message(Publish),
    /// Anything else came: the broker lives.
    Alive,
    /// The connection ended.
    Lost(Fault),
}

/// Polls until the connection ends or nobody listens.
pub(super) async fn poll(mut event_loop: EventLoop, heard: Heard, wire: mpsc::Sender<Wire>) {
    loop {
        let message = match event_loop.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(ack))) => {
                // It has done its work at the connect; left in place it would copy everything in flight per packet.
                event_loop.options.clear_session_store();
                let limit = ack.properties.as_ref().and_then(|properties| properties.max_packet_size);
                let packet_bytes_max =
                    limit.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX);
                Wire::Connected { session_present: ack.session_present, packet_bytes_max }
            }
            Ok(Event::Incoming(Incoming::Publish(publish))) => Wire::Message(publish),
            Ok(Event::Incoming(_)) => Wire::Alive,
            Ok(_) => continue,
            Err(error) => Wire::Lost(Fault::new(&error, &heard)),
        };
        let lost = matches!(message, Wire::Lost(_));
        if wire.send(message).await.is_err() || lost {
            return;
        }
    }
}
