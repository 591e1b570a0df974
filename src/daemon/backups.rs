//! Copies of the store on request, while the daemon goes on.
//!
//! One at a time and one a minute, in a thread of its own, into the configured folder, named by the time. Only folders
//! that have such a name are ever deleted: the oldest beyond the configured number, and what an interrupted copy left.
//! A stop of the daemon does not wait for a copy.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::config::StoreConfig;
use crate::message::json::Object;
use crate::model::ids::SignalId;
use crate::model::signal::{Reason, Refusal};
use crate::model::time::Timestamp;
use crate::store::backup::backup;

/// The shortest time between the starts of two copies: each writes the whole journal.
const INTERVAL: Duration = Duration::from_secs(60);
/// A name with its digits as zeros: RFC 3339 without colons, so that names sort by time.
const NAME_FORM: &str = "0000-00-00T00-00-00.000Z";
const PARTIAL: &str = ".partial";

/// Where a response goes beside the topic of answers: MQTT 5 response topic and correlation data.
pub type ResponseTo = Option<(String, Option<Vec<u8>>)>;

/// Who waits for a copy.
#[derive(Debug)]
pub struct Pending {
    /// Its id.
    pub id: SignalId,
    /// Where it wants the answer.
    pub response: ResponseTo,
}

/// What became of a copy: JSON to tell, or why there is none.
pub type Outcome = Result<String, Refusal>;

/// See the module.
pub struct Backups {
    store: PathBuf,
    dir: PathBuf,
    keep: usize,
    running: Option<Pending>,
    started: Option<Instant>,
    last: Option<(SignalId, String)>,
    sender: mpsc::UnboundedSender<Outcome>,
    receiver: mpsc::UnboundedReceiver<Outcome>,
}

/// What happens with a request for a copy.
pub enum Asked {
    /// The answer comes when the copy is there.
    Begun,
    /// This request was answered with this before.
    Repeated(String),
    /// Not now.
    Refused(Refusal),
}

impl Backups {
    /// For this store.
    pub fn new(config: &StoreConfig) -> Backups {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (store, dir) = (config.path.clone(), config.backup_dir.clone());
        let keep = config.backups_kept as usize;
        Backups { store, dir, keep, running: None, started: None, last: None, sender, receiver }
    }

    /// Begins a copy.
    pub fn start(&mut self, now: Timestamp, pending: Pending) -> Asked {
        if let Some((_, data)) = self.last.as_ref().filter(|(id, _)| *id == pending.id) {
            return Asked::Repeated(data.clone());
        }
        let refuse = |reason, detail: String| Asked::Refused(Refusal::new(reason, detail));
        match &self.running {
            Some(running) if running.id == pending.id => return Asked::Begun,
            Some(_) => return refuse(Reason::RateLimited, "a backup is being made".into()),
            None => {}
        }
        if self.started.is_some_and(|started| started.elapsed() < INTERVAL) {
            let seconds = INTERVAL.as_secs();
            return refuse(Reason::RateLimited, format!("the last backup began less than {seconds} s ago"));
        }
        let (store, dir, keep, sender) =
            (self.store.clone(), self.dir.clone(), self.keep, self.sender.clone());
        let name = now.to_string().replace(':', "-");
        // A blocking task of the runtime would hold up the end of the process.
        let thread = std::thread::Builder::new().name("backup".into());
        match thread.spawn(move || drop(sender.send(copy(&store, &dir, &name, keep)))) {
            Ok(_) => {
                self.running = Some(pending);
                self.started = Some(Instant::now());
                Asked::Begun
            }
            Err(error) => refuse(Reason::Internal, format!("no thread for a backup: {error}")),
        }
    }

    /// Waits until a copy is there, or failed. May be dropped at any time.
    pub async fn finished(&mut self) -> (Pending, Outcome) {
        loop {
            // Never `None`: this side holds a sender too.
            let outcome = self.receiver.recv().await;
            if let Some((outcome, pending)) = outcome.zip(self.running.take()) {
                if let Ok(data) = &outcome {
                    self.last = Some((pending.id.clone(), data.clone()));
                }
                return (pending, outcome);
            }
        }
    }
}

fn copy(store: &Path, dir: &Path, name: &str, keep: usize) -> Outcome {
    let failed = |error: String| {
        tracing::error!("backup: {error}");
        Refusal::new(Reason::Internal, format!("the backup failed: {error}"))
    };
    let verified = backup(store, &dir.join(name), |_, _| {}).map_err(|error| failed(error.to_string()))?;
    let removed = prune(dir, keep).unwrap_or_else(|error| {
        tracing::warn!(%error, dir = %dir.display(), "old backups cannot be removed");
        0
    });
    tracing::info!(name, dir = %dir.display(), records = verified.records, removed, "backup made and verified");
    Ok(Object::new()
        .text("name", name)
        .integer("records", verified.records)
        .integer("segments", verified.segments as u64)
        .integer("removed", removed as u64)
        .finish())
}

/// Removes what interrupted copies left and all but the newest `keep`; tells how many of the latter.
fn prune(dir: &Path, keep: usize) -> io::Result<usize> {
    let mut copies = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.file_type()?.is_dir() {
            continue;
        }
        if name.strip_suffix(PARTIAL).is_some_and(is_name) {
            std::fs::remove_dir_all(entry.path())?;
        } else if is_name(&name) {
            copies.push(name);
        }
    }
    copies.sort();
    let removed = copies.len().saturating_sub(keep);
    copies[..removed].iter().try_for_each(|name| std::fs::remove_dir_all(dir.join(name)))?;
    Ok(removed)
}

fn is_name(text: &str) -> bool {
    let form = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c });
    form.eq(NAME_FORM.chars())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_copies_of_ours_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let names = ["2026-11-21T06-45-52.412Z", "2026-11-21T06-45-52.413Z", "2026-12-01T00-00-00.000Z"];
        let others = ["2026-11-21", "copy", "2026-11-21T06-45-52.412Z.old", "copy.partial"];
        for name in names.iter().chain(&others) {
            std::fs::create_dir_all(root.path().join(name).join("journal")).unwrap();
        }
        std::fs::create_dir(root.path().join(format!("{}{PARTIAL}", names[0]))).unwrap();
        std::fs::write(root.path().join("2026-01-01T00-00-00.000Z"), "a file").unwrap();
        assert_eq!(prune(root.path(), 3).unwrap(), 0);
        assert_eq!(prune(root.path(), 1).unwrap(), 2);
        let mut left: Vec<String> = std::fs::read_dir(root.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        left.sort();
        let mut expected: Vec<&str> =
            others.iter().copied().chain([names[2], "2026-01-01T00-00-00.000Z"]).collect();
        expected.sort_unstable();
        assert_eq!(left, expected);
        assert!(is_name(&Timestamp::from_ms(1_795_000_000_123).to_string().replace(':', "-")));
    }
}
