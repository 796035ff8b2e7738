//! A bound on the appends that wait for the disk, shared by the sources.
//!
//! A source may have as many appends waiting as there are permits left. One alone gets half of all,
//! two that flood a third each, and a permit is always left for the first event of another source.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The permits, and who has them.
#[derive(Debug)]
pub(super) struct AppendLimit {
    most: usize,
    taken: Mutex<TakenPermits>,
}

#[derive(Debug, Default)]
struct TakenPermits {
    all: usize,
    by_source: HashMap<Arc<str>, usize>,
}

/// The permits of an append that waits, until it is dropped.
#[derive(Debug)]
pub(super) struct AppendPermit {
    limit: Arc<AppendLimit>,
    source: Arc<str>,
    count: usize,
}

impl AppendLimit {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default() })
    }

    /// Permits for one more append of `source`, one for each of its events as far as there are
    /// any; how many wait, if there is none for it.
    pub(super) fn take(
        self: &Arc<Self>,
        source: &Arc<str>,
        events: usize,
    ) -> Result<AppendPermit, usize> {
        let mut taken = self.taken();
        let left = self.most.saturating_sub(taken.all);
        let all = taken.all;
        // Looked up first, so that a name is only kept for a source that has a permit.
        let own = taken.by_source.get(source).copied().unwrap_or(0);
        if own >= left {
            return Err(all);
        }
        let count = events.clamp(1, left - own);
        taken.all += count;
        taken.by_source.insert(source.clone(), own + count);
        Ok(AppendPermit { limit: self.clone(), source: source.clone(), count })
    }

    fn taken(&self) -> MutexGuard<'_, TakenPermits> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AppendPermit {
    fn drop(&mut self) {
        let mut taken = self.limit.taken();
        taken.all -= self.count;
        if let Some(own) = taken.by_source.get_mut(&self.source) {
            *own -= self.count;
            if *own == 0 {
                taken.by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flood(limit: &Arc<AppendLimit>, source: &str) -> Vec<AppendPermit> {
        let source: Arc<str> = source.into();
        std::iter::from_fn(|| limit.take(&source, 1).ok()).collect()
    }

    #[test]
    fn sources_that_flood_share_the_permits_and_leave_some_to_the_next() {
        let limit = AppendLimit::new(120);
        let first = flood(&limit, "a");
        assert_eq!(first.len(), 60);
        let second = flood(&limit, "b");
        assert_eq!(second.len(), 30);
        assert!(!flood(&limit, "c").is_empty());
        assert_eq!(limit.take(&"a".into(), 1).err(), Some(90));
        drop(first);
        assert!(limit.take(&"b".into(), 1).is_ok());
    }

    #[test]
    fn permits_are_given_back_and_no_name_is_kept() {
        let limit = AppendLimit::new(4);
        drop(flood(&limit, "a"));
        assert!(limit.taken().by_source.is_empty() && limit.taken().all == 0);
        assert_eq!(AppendLimit::new(0).take(&"a".into(), 1).err(), Some(0));
        assert!(AppendLimit::new(1).take(&"a".into(), 1).is_ok());
    }

    #[test]
    fn a_list_takes_a_permit_for_each_event_and_leaves_some_to_the_next() {
        let limit = AppendLimit::new(100);
        let few = limit.take(&"a".into(), 10).unwrap();
        assert_eq!(limit.taken().all, 10);
        let many = limit.take(&"a".into(), 1_000).unwrap();
        assert_eq!(limit.taken().all, 90, "no more than there are for it");
        assert!(limit.take(&"a".into(), 1).is_err() && limit.take(&"b".into(), 1).is_ok());
        drop((few, many));
        assert!(limit.taken().by_source.is_empty() && limit.taken().all == 0);
    }
}
