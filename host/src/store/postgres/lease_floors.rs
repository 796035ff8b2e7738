//! The due times from which this host looks for what it may lease.
//!
//! As long as somebody holds an old snapshot, the index of what is due keeps an entry of each
//! delivery that was leased. So a look begins where the last one has left nothing before, and not
//! at the oldest. Now and then, and after whatever may make something due that is older, one look
//! begins at the oldest again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::event::PluginName;
use crate::store::LeaseQueue;

/// The longest time between two looks from the oldest on.
const WHOLE_LOOK_EACH: Duration = Duration::from_secs(10);

/// The time, in milliseconds, that a transaction may take from when it has made something due until
/// others see it.
const LATE_MS: i64 = 2_000;

/// Of each plugin, the place that looks have come to.
#[derive(Debug, Default)]
pub(super) struct LeaseFloors(Mutex<KnownFloors>);

#[derive(Debug, Default)]
struct KnownFloors {
    of: HashMap<PluginName, LeaseFloor>,
    /// When plugins were last looked for that have anything due.
    polled: Option<Instant>,
}

#[derive(Debug)]
struct LeaseFloor {
    /// The due time from which to look.
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
        let Some(floor) = floors.of.get_mut(plugin) else { return i64::MIN };
        if is_recent(floor.whole) {
            return floor.due_ms;
        }
        floor.asked = Some(Instant::now());
        i64::MIN
    }

    /// Notes that a look was answered, and the due time before which it has left nothing.
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

    /// The plugins with their floors from which to look whether they have anything due; none of
    /// them if it is time for a look from the oldest on.
    pub(super) fn for_poll(&self) -> (Vec<String>, Vec<i64>) {
        let mut floors = self.floors();
        if is_recent(floors.polled) {
            return floors.of.iter().map(|(name, floor)| (name.to_string(), floor.due_ms)).unzip();
        }
        floors.polled = Some(Instant::now());
        Default::default()
    }

    /// Lets the next look of each plugin begin with the oldest: something may be due again that is
    /// older than what was leased since.
    pub(super) fn forget(&self) {
        *self.floors() = KnownFloors::default();
    }

    /// Lets the next look of this plugin begin with the oldest.
    pub(super) fn forget_of(&self, plugin: &PluginName) {
        self.floors().of.remove(plugin);
    }

    fn floors(&self) -> MutexGuard<'_, KnownFloors> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_recent(whole: Option<Instant>) -> bool {
    whole.is_some_and(|at| at.elapsed() < WHOLE_LOOK_EACH)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten seconds pass.
    fn wait(floors: &LeaseFloors) {
        let long_ago = Instant::now().checked_sub(WHOLE_LOOK_EACH);
        let mut floors = floors.floors();
        floors.polled = long_ago;
        floors.of.values_mut().for_each(|floor| floor.whole = long_ago);
    }

    #[test]
    fn a_look_begins_where_nothing_was_left_and_now_and_then_at_the_oldest() {
        let (floors, audit) = (LeaseFloors::default(), LeaseQueue::Plugin("audit".into()));
        let look = |nothing_before| {
            let from = floors.begin(&audit);
            floors.answered(&audit, nothing_before);
            from
        };
        assert_eq!(look(None), i64::MIN, "nothing was leased yet");
        assert_eq!(look(Some(5_000)), i64::MIN);
        assert_eq!(look(Some(6_000)), i64::MIN, "from now on time counts");
        assert_eq!(look(None), 4_000, "what was committed late is older");
        assert_eq!(look(Some(9_000)), 4_000);
        wait(&floors);
        assert_eq!(floors.begin(&audit), i64::MIN);
        assert_eq!(look(Some(3_000)), i64::MIN, "the one before had no answer");
        assert_eq!(look(None), 1_000);
        assert_eq!(floors.begin(&LeaseQueue::Plugin("mail".into())), i64::MIN);
        floors.forget_of(&"audit".into());
        assert_eq!(look(None), i64::MIN);
    }

    #[test]
    fn what_is_due_is_looked_for_from_the_floors_and_now_and_then_from_the_oldest() {
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
    fn a_quarantine_is_looked_at_from_the_oldest_on() {
        let (floors, suspects) = (LeaseFloors::default(), LeaseQueue::Quarantine(Vec::new()));
        for _ in 0..3 {
            assert_eq!(floors.begin(&suspects), i64::MIN);
            floors.answered(&suspects, Some(5));
        }
    }
}
