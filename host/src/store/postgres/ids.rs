//! The ids that this host gives to events: 43 bits of milliseconds by the database's clock, 8 bits
//! of the host's slot, 12 bits of a counter. Two hosts never give the same.

use std::collections::VecDeque;

use crate::event::EventId;

/// Bits of the counter, and of counter and slot together.
const COUNTER_BITS: u32 = 12;
const LOW_BITS: u32 = 20;

/// The last id.
#[derive(Debug)]
pub(super) struct HostIds {
    slot: i64,
    /// Milliseconds and counter of the next id.
    next_ms: i64,
    counter: i64,
    /// Those that events have already, which come first.
    given: VecDeque<i64>,
}

impl HostIds {
    /// Ids of a slot that come after `last`.
    pub(super) fn new(slot: i16, last: Option<i64>) -> Self {
        let next_ms = last.map_or(0, |last| (last >> LOW_BITS) + 1);
        Self { slot: i64::from(slot), next_ms, counter: 0, given: VecDeque::new() }
    }

    /// The ids that the events of a batch have already.
    pub(super) fn given(ids: &[i64]) -> Self {
        Self { given: ids.iter().copied().collect(), ..Self::new(0, None) }
    }

    /// Goes on with ids of another slot that come after `last`, and after those that were given.
    pub(super) fn go_on_in(&mut self, slot: i16, last: Option<i64>) {
        let next = Self::new(slot, last);
        *self = Self { next_ms: next.next_ms.max(self.next_ms + 1), ..next };
    }

    /// An id not before `now_ms`. It grows also when the clock steps back.
    pub(super) fn next(&mut self, now_ms: i64) -> EventId {
        if let Some(row) = self.given.pop_front() {
            return EventId::from_row(row);
        }
        let now_ms = now_ms.clamp(0, (1 << (63 - LOW_BITS)) - 2);
        if now_ms > self.next_ms {
            (self.next_ms, self.counter) = (now_ms, 0);
        }
        let row = (self.next_ms << LOW_BITS) | (self.slot << COUNTER_BITS) | self.counter;
        self.counter += 1;
        if self.counter >> COUNTER_BITS > 0 {
            (self.next_ms, self.counter) = (self.next_ms + 1, 0);
        }
        EventId::from_row(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_two_slots_are_never_the_same_and_each_grows() {
        let (mut first, mut second) = (HostIds::new(0, None), HostIds::new(255, None));
        let mut seen = std::collections::BTreeSet::new();
        for now_ms in [1_000, 1_000, 900, 1_001] {
            for _ in 0..5_000 {
                for ids in [&mut first, &mut second] {
                    let id = ids.next(now_ms);
                    assert!(id.unix_ms() >= now_ms.min(1_000));
                    assert!(seen.insert(id), "{id}");
                }
            }
        }
        assert_eq!(HostIds::new(0, None).next(1_000), EventId::first_at(1_000));
    }

    #[test]
    fn ids_of_another_slot_come_after_all_that_were_given() {
        let mut ids = HostIds::new(9, None);
        let given: Vec<_> = (0..5_000).map(|_| ids.next(5_000)).collect();
        ids.go_on_in(3, Some(HostIds::new(200, None).next(1_000).row()));
        assert!(ids.next(5_000) > given[4_999]);
        ids.go_on_in(200, Some(HostIds::new(9, None).next(9_000).row()));
        assert!(ids.next(5_000).unix_ms() > 9_000);
    }

    #[test]
    fn ids_come_after_the_last_one_that_was_stored() {
        let last = HostIds::new(9, None).next(5_000);
        assert!(HostIds::new(3, Some(last.row())).next(1_000) > last);
    }
}
