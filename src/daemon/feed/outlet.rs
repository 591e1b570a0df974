//! Where a feed's events and status go, and where it hears that it should stop.

use std::future::Future;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::{FeedEnd, FeedStatus};
use crate::model::market::Arrival;
use crate::model::time::Timestamp;

/// The feed was told to stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopped;

pub(super) struct Outlet {
    out: mpsc::Sender<Arrival>,
    status: watch::Sender<FeedStatus>,
    stop: watch::Receiver<bool>,
}

impl Outlet {
    pub(super) fn new(
        out: mpsc::Sender<Arrival>,
        status: watch::Sender<FeedStatus>,
        stop: watch::Receiver<bool>,
    ) -> Outlet {
        Outlet { out, status, stop }
    }

    /// Hands an event over as soon as there is room, and counts it.
    pub(super) async fn send(&mut self, arrival: Arrival) -> Result<(), Stopped> {
        let time = arrival.event.time;
        unless_stopped(&mut self.stop, self.out.send(arrival)).await?.map_err(|_| Stopped)?;
        self.status.send_if_modified(|status| {
            let is_first = !status.connected;
            if is_first {
                status.connected = true;
                status.since = Some(time);
            }
            is_first
        });
        self.count(time);
        Ok(())
    }

    /// Room for one event, as soon as there is; `None` when nobody takes events any more.
    pub(super) async fn room(&self) -> Option<mpsc::Permit<'_, Arrival>> {
        self.out.reserve().await.ok()
    }

    /// Counts an event that took its room.
    pub(super) fn count(&self, time: Timestamp) {
        self.update(|status| {
            status.last_message = Some(time);
            status.messages += 1;
            false
        });
    }

    /// Changes the status; `change` tells whether that is worth waking whoever waits for it.
    pub(super) fn update(&self, change: impl FnOnce(&mut FeedStatus) -> bool) {
        self.status.send_if_modified(change);
    }

    /// Hears the stop as this does.
    pub(super) fn stop(&self) -> watch::Receiver<bool> {
        self.stop.clone()
    }

    pub(super) async fn sleep(&mut self, duration: Duration) -> Result<(), Stopped> {
        self.wait(tokio::time::sleep(duration)).await
    }

    /// Waits for something else, unless the feed is stopped.
    pub(super) async fn wait<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Stopped> {
        unless_stopped(&mut self.stop, future).await
    }

    /// The last word in the status.
    pub(super) fn finish(self, ran: Result<(), FeedEnd>) {
        self.status.send_modify(|status| {
            status.connected = false;
            status.since = status.last_message;
            match ran {
                Ok(()) => status.ended = true,
                Err(FeedEnd::Stopped) => {}
                Err(FeedEnd::Failed(error)) => status.error = Some(error.to_string()),
            }
        });
    }
}

async fn unless_stopped<T>(
    stop: &mut watch::Receiver<bool>,
    future: impl Future<Output = T>,
) -> Result<T, Stopped> {
    tokio::select! {
        biased;
        // An error means that nobody is left who could say stop.
        _ = stop.wait_for(|stop| *stop) => Err(Stopped),
        done = future => Ok(done),
    }
}
