//! The second driver: recorded events in a loop. May read files; knows neither sockets nor the daemon.

pub mod event_log;
pub mod recorder;
pub mod source;

use crate::engine::Engine;
use crate::engine::effect::Effect;
use crate::engine::event::Event;
use crate::model::time::Timestamp;

/// Feeds events to an engine as fast as it takes them; `sink` sees each batch of effects.
pub fn run(
    engine: &mut Engine,
    events: impl IntoIterator<Item = (Timestamp, Event)>,
    mut sink: impl FnMut(&Engine, &[Effect]),
) {
    let mut effects = Vec::new();
    for (at, event) in events {
        effects.clear();
        engine.handle(at, event, &mut effects);
        sink(engine, &effects);
    }
}
