//! Watches folders by the means of the operating system.
//!
//! Folders are watched, not files, because an editor replaces the file by a new one. An event only
//! triggers a scan, which finds what has changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
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
        // Several paths may lead to the same folder.
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
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Starts to watch. `wake` is notified of each event.
    pub(super) fn start(folders: Vec<WatchedFolder>, wake: Arc<Notify>) -> Result<Self, String> {
        let on_event = move |event: notify::Result<Event>| {
            if means_change(&event) {
                wake.notify_one();
            }
        };
        let mut watcher = notify::recommended_watcher(on_event)
            .map_err(|error| format!("watching could not be started: {error}"))?;
        for folder in &folders {
            watcher
                .watch(&folder.path, RecursiveMode::NonRecursive)
                .map_err(|error| format!("{} cannot be watched: {error}", folder.path.display()))?;
        }
        Ok(Self { folders, _watcher: watcher })
    }

    /// Whether these are the folders that it watches.
    pub(super) fn covers(&self, folders: &Result<Vec<WatchedFolder>, String>) -> bool {
        folders.as_ref() == Ok(&self.folders)
    }
}

/// Waits for an event, and then for those that follow it within `debounce_ms`: the scan after this
/// sees what they changed.
pub(super) async fn woken(wake: &Notify, debounce_ms: u64) {
    wake.notified().await;
    tokio::time::sleep(Duration::from_millis(debounce_ms)).await;
    // Uses up a notification that came during the wait, which would cause another scan.
    pin!(wake.notified()).as_mut().enable();
}

/// Whether an event can mean a change. Reading a file is an event too, and a refresh reads files,
/// which must not trigger the next refresh. An error can mean that events were lost.
fn means_change(event: &notify::Result<Event>) -> bool {
    event.as_ref().map_or(true, |event| !event.kind.is_access())
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, EventKind, ModifyKind};

    use super::*;

    #[test]
    fn a_look_does_not_cause_the_next() {
        assert!(!means_change(&Ok(Event::new(EventKind::Access(AccessKind::Any)))));
        assert!(means_change(&Ok(Event::new(EventKind::Modify(ModifyKind::Any)))));
        assert!(means_change(&Err(notify::Error::generic("overflow"))));
    }

    #[tokio::test]
    async fn events_that_come_close_together_wake_once() {
        let wake = Notify::new();
        wake.notify_one();
        let more = async { wake.notify_one() };
        tokio::join!(woken(&wake, 25), more);
        assert!(!pin!(wake.notified()).as_mut().enable(), "it would be woken again");
    }
}
