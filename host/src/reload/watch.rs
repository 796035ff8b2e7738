//! The operating system's word that a folder changed.
//!
//! Folders are watched, not files: an editor puts a new file in the place of the old one. An event says nothing but
//! "look"; what it is about is found by looking.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode};
use notify_debouncer_full::{DebounceEventResult, Debouncer, NoCache, new_debouncer_opt};
use tokio::sync::Notify;

mod way;

/// The most folders that are watched. Changes in others are seen by looking now and then.
const MAX_PLACES: usize = 512;

/// A folder, and what tells it from another that is put in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// The folders to watch, so that a change of what is in `dirs`, of `files`, and of any link on the way to them is seen.
///
/// # Errors
/// One of `dirs` is not there. A file need not be.
pub(super) fn places(dirs: &[&Path], files: &[&Path]) -> Result<Vec<Place>, String> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for dir in dirs {
        let entries = fs::read_dir(dir).map_err(|error| format!("{} cannot be read: {error}", dir.display()))?;
        folders.extend(way::folders(dir));
        // A link in it may lead to a folder below.
        for entry in entries.filter_map(Result::ok) {
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                folders.extend(way::folders(&entry.path()));
            }
        }
    }
    folders.extend(files.iter().flat_map(|file| way::folders(file)));
    let mut places: Vec<Place> = Vec::new();
    for folder in folders {
        // The next look finds that it has gone.
        let Ok(found) = fs::metadata(&folder) else { continue };
        let place = Place { path: folder, device: found.dev(), inode: found.ino() };
        let known = places.iter().any(|other| (other.device, other.inode) == (place.device, place.inode));
        if !known && places.len() < MAX_PLACES {
            places.push(place);
        }
    }
    Ok(places)
}

/// Wakes its owner when something changes; ends when dropped.
pub(super) struct Watch {
    places: Vec<Place>,
    _debouncer: Debouncer<RecommendedWatcher, NoCache>,
}

impl Watch {
    /// Starts to watch. `wake` is notified once for all events of `debounce_ms`.
    pub(super) fn start(places: Vec<Place>, debounce_ms: u64, wake: Arc<Notify>) -> Result<Self, String> {
        let window = Duration::from_millis(debounce_ms);
        let on_events = move |result: DebounceEventResult| {
            if means_change(&result) {
                wake.notify_one();
            }
        };
        // The debouncer's thread wakes once in a window, not four times as it would by itself.
        let config = notify::Config::default();
        let mut debouncer =
            new_debouncer_opt::<_, RecommendedWatcher, _>(window, Some(window), on_events, NoCache::new(), config)
                .map_err(|error| format!("watching could not be started: {error}"))?;
        for place in &places {
            debouncer
                .watch(&place.path, RecursiveMode::NonRecursive)
                .map_err(|error| format!("{} cannot be watched: {error}", place.path.display()))?;
        }
        Ok(Self { places, _debouncer: debouncer })
    }

    /// Whether these are the folders it watches.
    pub(super) fn is_at(&self, places: &Result<Vec<Place>, String>) -> bool {
        places.as_ref() == Ok(&self.places)
    }
}

/// Reading a file is an event too, and a round reads files: it must not wake itself. An error can mean that events were
/// lost.
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
        let (read, written) = (EventKind::Access(AccessKind::Any), EventKind::Modify(ModifyKind::Any));
        assert!(!means_change(&Ok(vec![event(read), event(read)])));
        assert!(means_change(&Ok(vec![event(read), event(written)])));
        assert!(means_change(&Err(vec![notify::Error::generic("overflow")])));
    }
}
