//! The due times from which this host looks for what it may lease.
//!
//! As long as somebody holds an old snapshot, the index of what is due keeps an entry of each
//! delivery that was leased. So a look begins at the last one that was leased here, and not at the
//! oldest. Now and then, and after whatever may make something due that is older, one look begins
//! at the oldest again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::event::PluginName;
use crate::store::LeaseQueue;

/// The longest time between two looks from the oldest on.
const WHOLE_LOOK_EACH: Duration = Duration::from_secs(10);

/// Of each plugin, the place that looks have come to.
#[derive(Debug, Default)]
pub(super) struct LeaseFloors(Mutex<HashMap<PluginName, LeaseFloor>>);

#[derive(Debug)]
struct LeaseFloor {
    /// The due time of the delivery that was leased last.
    due_ms: i64,
    /// When the last look from the oldest on began that was answered.
    whole: Option<Instant>,
    /// When one began that is not answered yet.
    asked: Option<Instant>,
}

impl LeaseFloors {
    /// The due time from which to look now.
    pub(super) fn begin(&self, queue: &LeaseQueue) -> i64 {
        let LeaseQueue::Plugin(plugin) = queue else { return i64::MIN };
        let mut floors = self.floors();
        let Some(floor) = floors.get_mut(plugin) else { return i64::MIN };
        if floor.whole.is_some_and(|at| at.elapsed() < WHOLE_LOOK_EACH) {
            return floor.due_ms;
        }
        floor.asked = Some(Instant::now());
        i64::MIN
    }

    /// Notes that a look was answered, and the due time of the last delivery that it has leased.
    pub(super) fn answered(&self, queue: &LeaseQueue, last_due_ms: Option<i64>) {
        let LeaseQueue::Plugin(plugin) = queue else { return };
        let mut floors = self.floors();
        match (floors.get_mut(plugin), last_due_ms) {
            (Some(floor), last) => {
                floor.due_ms = last.unwrap_or(floor.due_ms);
                floor.whole = floor.asked.take().or(floor.whole);
            }
            (None, Some(due_ms)) => {
                let floor = LeaseFloor { due_ms, whole: None, asked: None };
                floors.insert(plugin.clone(), floor);
            }
            (None, None) => {}
        }
    }

    /// Lets the next look of each plugin begin with the oldest: something may be due again that is
    /// older than what was leased since.
    pub(super) fn forget(&self) {
        self.floors().clear();
    }

    fn floors(&self) -> MutexGuard<'_, HashMap<PluginName, LeaseFloor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_begins_at_the_last_lease_and_now_and_then_at_the_oldest() {
        let (floors, audit) = (LeaseFloors::default(), LeaseQueue::Plugin("audit".into()));
        let look = |due_ms| {
            let from = floors.begin(&audit);
            floors.answered(&audit, due_ms);
            from
        };
        assert_eq!(look(None), i64::MIN, "nothing was leased yet");
        assert_eq!(look(Some(5)), i64::MIN);
        assert_eq!(look(Some(6)), i64::MIN, "from now on time counts");
        assert_eq!(look(None), 6);
        assert_eq!(look(Some(9)), 6);
        let long_ago = Instant::now().checked_sub(WHOLE_LOOK_EACH);
        floors.floors().get_mut("audit").unwrap().whole = long_ago;
        assert_eq!(floors.begin(&audit), i64::MIN);
        assert_eq!(look(Some(3)), i64::MIN, "the one before had no answer");
        assert_eq!(look(None), 3);
        assert_eq!(floors.begin(&LeaseQueue::Plugin("mail".into())), i64::MIN);
        floors.forget();
        assert_eq!(look(None), i64::MIN);
    }

    #[test]
    fn a_quarantine_is_looked_at_from_the_oldest_on() {
        let (floors, suspects) = (LeaseFloors::default(), LeaseQueue::Quarantine(Vec::new()));
        for _ in 0..3 {
            assert_eq!(floors.begin(&suspects), i64::MIN);
            floors.answered(&suspects, Some(5));
        }
    }
}
