//! Watches folders by the means of the operating system.
//!
//! Folders are watched, not files, because an editor replaces the file by a new one. An event only
//! triggers a scan, which finds what has changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode};
use notify_debouncer_full::{DebounceEventResult, Debouncer, NoCache, new_debouncer_opt};
use tokio::sync::Notify;

mod links;

/// The most folders that are watched. Changes in others are found by polling.
const MAX_FOLDERS: usize = 512;

/// A folder, identified so that a replacement differs from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WatchedFolder {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// The folders to watch for changes in `dirs`, of `files`, and of any link on the way to them.
///
/// # Errors
/// One of `dirs` does not exist. A file need not exist.
pub(super) fn folders(dirs: &[&Path], files: &[&Path]) -> Result<Vec<WatchedFolder>, String> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for dir in dirs {
        let entries = fs::read_dir(dir)
            .map_err(|error| format!("{} cannot be read: {error}", dir.display()))?;
        folders.extend(links::folders(dir));
        // A link in the folder may lead to a folder elsewhere.
        for entry in entries.filter_map(Result::ok) {
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                folders.extend(links::folders(&entry.path()));
            }
        }
    }
    folders.extend(files.iter().flat_map(|file| links::folders(file)));
    let mut watched: Vec<WatchedFolder> = Vec::new();
    for path in folders {
        // The next scan finds that the folder is gone.
        let Ok(found) = fs::metadata(&path) else { continue };
        let folder = WatchedFolder { path, device: found.dev(), inode: found.ino() };
        let known = watched
            .iter()
            .any(|other| (other.device, other.inode) == (folder.device, folder.inode));
        if !known && watched.len() < MAX_FOLDERS {
            watched.push(folder);
        }
    }
    Ok(watched)
}

/// Notifies its owner of changes, until it is dropped.
pub(super) struct Watch {
    folders: Vec<WatchedFolder>,
    _debouncer: Debouncer<RecommendedWatcher, NoCache>,
}

impl Watch {
    /// Starts to watch. `wake` is notified once for all events within `debounce_ms`.
    pub(super) fn start(
        folders: Vec<WatchedFolder>,
        debounce_ms: u64,
        wake: Arc<Notify>,
    ) -> Result<Self, String> {
        let window = Duration::from_millis(debounce_ms);
        let on_events = move |result: DebounceEventResult| {
            if means_change(&result) {
                wake.notify_one();
            }
        };
        // The debouncer's thread wakes once in a window; its default is four times.
        let config = notify::Config::default();
        let mut debouncer = new_debouncer_opt::<_, RecommendedWatcher, _>(
            window,
            Some(window),
            on_events,
            NoCache::new(),
            config,
        )
        .map_err(|error| format!("watching could not be started: {error}"))?;
        for folder in &folders {
            debouncer
                .watch(&folder.path, RecursiveMode::NonRecursive)
                .map_err(|error| format!("{} cannot be watched: {error}", folder.path.display()))?;
        }
        Ok(Self { folders, _debouncer: debouncer })
    }

    /// Whether these are the folders that it watches.
    pub(super) fn covers(&self, folders: &Result<Vec<WatchedFolder>, String>) -> bool {
        folders.as_ref() == Ok(&self.folders)
    }
}

/// Whether events can mean a change. Reading a file is an event too, and a round reads files, which
/// must not trigger the next round. An error can mean that events were lost.
fn means_change(result: &DebounceEventResult) -> bool {
    result.as_ref().map_or(true, |events| events.iter().any(|event| !event.kind.is_access()))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use notify::event::{AccessKind, Event, EventKind, ModifyKind};
    use notify_debouncer_full::DebouncedEvent;

    use super::*;

    #[test]
    fn a_look_does_not_cause_the_next() {
        let event = |kind| DebouncedEvent::new(Event::new(kind), Instant::now());
        let (read, written) =
            (EventKind::Access(AccessKind::Any), EventKind::Modify(ModifyKind::Any));
        assert!(!means_change(&Ok(vec![event(read), event(read)])));
        assert!(means_change(&Ok(vec![event(read), event(written)])));
        assert!(means_change(&Err(vec![notify::Error::generic("overflow")])));
    }
}
