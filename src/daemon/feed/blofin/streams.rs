//! The stream and its standby: which are up, and what each is to be told.
//!
//! Invariant: as long as one is up, nothing was missed, so only the first that comes up after a break asks for a
//! snapshot, and only the last that goes down lets polls take over.

/// A stream and a standby.
pub(super) const STREAMS_MAX: usize = 2;

#[derive(Debug, Default)]
struct One {
    is_up: bool,
    connections: u32,
    frames: Vec<String>,
}

/// All streams of a feed.
#[derive(Debug, Default)]
pub(super) struct Streams([One; STREAMS_MAX]);

impl Streams {
    /// How many are up.
    pub(super) fn up(&self) -> usize {
        self.0.iter().filter(|one| one.is_up).count()
    }

    /// Whether any was ever up.
    pub(super) fn were_up(&self) -> bool {
        self.0.iter().any(|one| one.connections > 0)
    }

    /// How often one was connected again after its first time.
    pub(super) fn reconnects(&self) -> u32 {
        self.0.iter().map(|one| one.connections.saturating_sub(1)).sum()
    }

    /// Whether this is the first of those that are up. What has no time of its own is taken from it alone: a slower
    /// stream would bring it again after something newer.
    pub(super) fn leads(&self, index: usize) -> bool {
        self.0.iter().position(|one| one.is_up) == Some(index)
    }

    /// One is connected, and is to be told this. Gives whether all were down before.
    pub(super) fn connected(&mut self, index: usize, frames: Vec<String>) -> bool {
        let were_down = self.up() == 0;
        let one = &mut self.0[index];
        one.is_up = true;
        one.connections = one.connections.saturating_add(1);
        one.frames = frames;
        were_down
    }

    /// One is not connected. Gives whether it was the last.
    pub(super) fn lost(&mut self, index: usize) -> bool {
        let was_up = std::mem::take(&mut self.0[index].is_up);
        self.0[index].frames.clear();
        was_up && self.up() == 0
    }

    /// Tells all that are up. One that is down is told everything when it is back.
    pub(super) fn tell(&mut self, frames: &[String]) {
        for one in self.0.iter_mut().filter(|one| one.is_up) {
            one.frames.extend_from_slice(frames);
        }
    }

    /// What one is to be told, once.
    pub(super) fn take_frames(&mut self, index: usize) -> Vec<String> {
        std::mem::take(&mut self.0[index].frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_and_the_last_matter() {
        let mut streams = Streams::default();
        let frames = |text: &str| vec![text.to_owned()];
        assert!(!streams.were_up() && !streams.leads(0));
        assert!(streams.connected(1, frames("a")));
        assert!(!streams.connected(0, frames("b")));
        assert!(streams.leads(0) && !streams.leads(1) && streams.up() == 2);
        streams.tell(&frames("c"));
        assert_eq!(
            (streams.take_frames(0), streams.take_frames(1)),
            (vec!["b".into(), "c".into()], vec!["a".into(), "c".into()])
        );
        assert!(!streams.lost(0) && streams.leads(1));
        streams.tell(&frames("d"));
        assert_eq!((streams.take_frames(0).len(), streams.take_frames(1).len()), (0, 1));
        assert!(!streams.lost(0) && streams.lost(1) && !streams.lost(1));
        assert!(streams.connected(1, Vec::new()) && streams.reconnects() == 1 && streams.were_up());
    }
}
