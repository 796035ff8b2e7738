//! Room for appends that wait for the disk, shared by the sources.
//!
//! A source may have as many waiting as there are places left: one alone gets half of all, two that flood a third each, and
//! there is always room for the first event of another one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places, and who has them.
#[derive(Debug)]
pub(super) struct Waiting {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_source: HashMap<Arc<str>, usize>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    waiting: Arc<Waiting>,
    source: Arc<str>,
}

impl Waiting {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default() })
    }

    /// A place for one more append of `source`; how many wait, if there is none for it.
    pub(super) fn take(self: &Arc<Self>, source: &Arc<str>) -> Result<Place, usize> {
        let mut taken = self.taken();
        let left = self.most.saturating_sub(taken.all);
        let all = taken.all;
        // Looked up first, so that a name is only kept for a source that has a place.
        let own = taken.by_source.get(source).copied().unwrap_or(0);
        if own >= left {
            return Err(all);
        }
        taken.all += 1;
        taken.by_source.insert(source.clone(), own + 1);
        Ok(Place { waiting: self.clone(), source: source.clone() })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.waiting.taken();
        taken.all -= 1;
        if let Some(own) = taken.by_source.get_mut(&self.source) {
            *own -= 1;
            if *own == 0 {
                taken.by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flood(waiting: &Arc<Waiting>, source: &str) -> Vec<Place> {
        let source: Arc<str> = source.into();
        std::iter::from_fn(|| waiting.take(&source).ok()).collect()
    }

    #[test]
    fn sources_that_flood_share_the_places_and_leave_some_to_the_next() {
        let waiting = Waiting::new(120);
        let first = flood(&waiting, "a");
        assert_eq!(first.len(), 60);
        let second = flood(&waiting, "b");
        assert_eq!(second.len(), 30);
        assert!(!flood(&waiting, "c").is_empty());
        assert_eq!(waiting.take(&"a".into()).err(), Some(90));
        drop(first);
        assert!(waiting.take(&"b".into()).is_ok());
    }

    #[test]
    fn places_are_given_back_and_no_name_is_kept() {
        let waiting = Waiting::new(4);
        drop(flood(&waiting, "a"));
        assert!(waiting.taken().by_source.is_empty() && waiting.taken().all == 0);
        assert_eq!(Waiting::new(0).take(&"a".into()).err(), Some(0));
        assert!(Waiting::new(1).take(&"a".into()).is_ok());
    }
}
