//! The due times from which this host scans for deliveries that it may lease.
//!
//! As long as an old snapshot is held, the index of due deliveries keeps an entry of each delivery
//! that was leased. So a scan begins where the last one left nothing before, not at the oldest
//! entry. A scan begins at the oldest entry again every ten seconds, and after each change that may
//! make an older delivery due.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::event::PluginName;
use crate::store::LeaseQueue;

/// The longest time between two scans from the oldest entry on.
const WHOLE_SCAN_EACH: Duration = Duration::from_secs(10);

/// The time, in milliseconds, that a transaction may take from when it has made something due until
/// others see it.
const LATE_MS: i64 = 2_000;

/// For each plugin, the due time that scans have come to.
#[derive(Debug, Default)]
pub(super) struct LeaseFloors(Mutex<KnownFloors>);

#[derive(Debug, Default)]
struct KnownFloors {
    of: HashMap<PluginName, LeaseFloor>,
    /// When all plugins were last scanned for due deliveries.
    polled: Option<Instant>,
}

#[derive(Debug)]
struct LeaseFloor {
    /// The due time at which scans begin.
    due_ms: i64,
    /// When the last answered scan from the oldest entry on began.
    whole: Option<Instant>,
    /// When such a scan began that is not answered yet.
    asked: Option<Instant>,
}

impl LeaseFloors {
    /// The due time at which a scan begins now.
    pub(super) fn begin(&self, queue: &LeaseQueue) -> i64 {
        let LeaseQueue::Plugin(plugin) = queue else { return i64::MIN };
        let mut floors = self.floors();
        let Some(floor) = floors.of.get_mut(plugin) else { return i64::MIN };
        if is_recent(floor.whole) {
            return floor.due_ms;
        }
        floor.asked = Some(Instant::now());
        i64::MIN
    }

    /// Notes that a scan was answered, and the due time before which it has left nothing.
    pub(super) fn answered(&self, queue: &LeaseQueue, nothing_before: Option<i64>) {
        let LeaseQueue::Plugin(plugin) = queue else { return };
        let due_ms = nothing_before.map(|due| due.saturating_sub(LATE_MS));
        let mut floors = self.floors();
        match (floors.of.get_mut(plugin), due_ms) {
            (Some(floor), due_ms) => {
                floor.due_ms = due_ms.unwrap_or(floor.due_ms);
                floor.whole = floor.asked.take().or(floor.whole);
            }
            (None, Some(due_ms)) => {
                let floor = LeaseFloor { due_ms, whole: None, asked: None };
                floors.of.insert(plugin.clone(), floor);
            }
            (None, None) => {}
        }
    }

    /// The known plugins with their floors, for a scan of all due deliveries; no plugin if it is
    /// time for a scan from the oldest entry on.
    pub(super) fn for_poll(&self) -> (Vec<String>, Vec<i64>) {
        let mut floors = self.floors();
        if is_recent(floors.polled) {
            return floors.of.iter().map(|(name, floor)| (name.to_string(), floor.due_ms)).unzip();
        }
        floors.polled = Some(Instant::now());
        Default::default()
    }

    /// Lets the next scan of each plugin begin at the oldest entry: a delivery may be due again
    /// that is older than those that were leased since.
    pub(super) fn forget(&self) {
        *self.floors() = KnownFloors::default();
    }

    /// Lets the next scan of this plugin begin at the oldest entry.
    pub(super) fn forget_of(&self, plugin: &PluginName) {
        self.floors().of.remove(plugin);
    }

    fn floors(&self) -> MutexGuard<'_, KnownFloors> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_recent(whole: Option<Instant>) -> bool {
    whole.is_some_and(|at| at.elapsed() < WHOLE_SCAN_EACH)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten seconds pass.
    fn wait(floors: &LeaseFloors) {
        let long_ago = Instant::now().checked_sub(WHOLE_SCAN_EACH);
        let mut floors = floors.floors();
        floors.polled = long_ago;
        floors.of.values_mut().for_each(|floor| floor.whole = long_ago);
    }

    #[test]
    fn a_scan_begins_where_nothing_was_left_and_now_and_then_at_the_oldest() {
        let (floors, audit) = (LeaseFloors::default(), LeaseQueue::Plugin("audit".into()));
        let scan = |nothing_before| {
            let from = floors.begin(&audit);
            floors.answered(&audit, nothing_before);
            from
        };
        assert_eq!(scan(None), i64::MIN, "nothing was leased yet");
        assert_eq!(scan(Some(5_000)), i64::MIN);
        assert_eq!(scan(Some(6_000)), i64::MIN, "from now on time counts");
        assert_eq!(scan(None), 4_000, "what was committed late is older");
        assert_eq!(scan(Some(9_000)), 4_000);
        wait(&floors);
        assert_eq!(floors.begin(&audit), i64::MIN);
        assert_eq!(scan(Some(3_000)), i64::MIN, "the one before had no answer");
        assert_eq!(scan(None), 1_000);
        assert_eq!(floors.begin(&LeaseQueue::Plugin("mail".into())), i64::MIN);
        floors.forget_of(&"audit".into());
        assert_eq!(scan(None), i64::MIN);
    }

    #[test]
    fn what_is_due_is_scanned_for_from_the_floors_and_now_and_then_from_the_oldest() {
        let (floors, audit) = (LeaseFloors::default(), LeaseQueue::Plugin("audit".into()));
        floors.answered(&audit, Some(7_000));
        let (whole, known) = (Default::default(), (vec!["audit".to_owned()], vec![5_000]));
        assert_eq!(floors.for_poll(), whole);
        assert_eq!(floors.for_poll(), known);
        wait(&floors);
        assert_eq!(floors.for_poll(), whole);
        assert_eq!(floors.for_poll(), known);
        floors.forget();
        assert_eq!(floors.for_poll(), whole);
    }

    #[test]
    fn a_quarantine_is_scanned_from_the_oldest_on() {
        let (floors, quarantine) = (LeaseFloors::default(), LeaseQueue::Quarantine(Vec::new()));
        for _ in 0..3 {
            assert_eq!(floors.begin(&quarantine), i64::MIN);
            floors.answered(&quarantine, Some(5));
        }
    }
}
