//! Ranges of ids, held against events one by one.

use proptest::prelude::*;

use super::*;

const NOW_MS: i64 = 1_770_000_000_000;
const DAY_MS: i64 = 86_400_000;

impl Eras {
    /// Of a clock that was set back by a day at these host times.
    pub(in crate::store::sqlite) fn set_back(at_ms: &[i64]) -> Self {
        let era = |(number, ms): (i64, &i64)| {
            let first = EventId::first_at(*ms).row();
            Era { first, ahead_ms: number * DAY_MS, healed: false }
        };
        Self((1..).zip(at_ms).map(era).collect())
    }
}

/// An event: its id, its own time, and host time when it was stored.
#[derive(Debug, Clone, Copy)]
struct Stored {
    id: EventId,
    own_ms: i64,
    host_ms: i64,
}

/// Events that are stored while host time passes and the clock is set, and the eras they make.
fn stored(steps: &[(i64, i64)]) -> (Vec<Stored>, Eras) {
    let (mut events, mut eras): (Vec<Stored>, _) = (Vec::new(), Eras::default());
    let (mut host_ms, mut id) = (NOW_MS, EventId::from_row(0));
    for (passed_ms, ahead_ms) in steps {
        host_ms += passed_ms;
        id = id.next(host_ms);
        if eras.ends_with(*ahead_ms) {
            eras.0.push(Era { first: id.row(), ahead_ms: *ahead_ms, healed: false });
        }
        events.push(Stored { id, own_ms: host_ms - ahead_ms, host_ms });
    }
    (events, eras)
}

fn steps() -> impl Strategy<Value = Vec<(i64, i64)>> {
    let ahead = prop_oneof![3 => Just(0), 3 => (-40..40i64).prop_map(|days| days * DAY_MS), 1
        => Just(3_600_000)];
    let step = (1..20 * DAY_MS, ahead, 1..4usize);
    prop::collection::vec(step, 1..12).prop_map(|steps| {
        steps
            .into_iter()
            .flat_map(|(passed_ms, ahead_ms, n)| std::iter::repeat_n((passed_ms, ahead_ms), n))
            .collect()
    })
}

fn bound() -> impl Strategy<Value = Option<i64>> {
    prop::option::of((-60..400i64).prop_map(|days| NOW_MS + days * DAY_MS / 2))
}

proptest! {
    #[test]
    fn every_event_of_a_time_is_within_the_ids_that_are_looked_at(
        steps in steps(),
        since in bound(),
        until in bound(),
    ) {
        let (events, eras) = stored(&steps);
        let span = eras.span(since, until);
        for event in events {
            let meant = since.is_none_or(|ms| event.own_ms >= ms)
                && until.is_none_or(|ms| event.own_ms < ms);
            let within = (span.low..span.end).contains(&event.id.row());
            prop_assert!(within || !meant, "{:?} of {:?}", event, eras);
        }
    }

    #[test]
    fn what_is_old_is_so_by_its_own_time_and_by_host_time(
        steps in steps(), since_ms in bound().prop_map(|ms| ms.unwrap_or(NOW_MS)),
            ahead_ms in -40..40i64,
    ) {
        let (events, eras) = stored(&steps);
        let ahead_ms = ahead_ms * DAY_MS;
        let until = eras.older_than(since_ms, ahead_ms);
        for (number, event) in events.iter().enumerate() {
            // It happened before everything that came after it.
            let own_ms = events[number..].iter().map(|later| later.own_ms).min().unwrap();
            let old = own_ms < since_ms && event.host_ms < since_ms + ahead_ms;
            prop_assert_eq!(event.id < until, old, "{:?} of {:?}", event, eras);
        }
    }
}

#[test]
fn a_clock_that_was_never_wrong_has_one_range_with_a_minute_to_spare() {
    let span = NO_ERAS.span(Some(NOW_MS), Some(NOW_MS + 5));
    let first_at = |ms| EventId::first_at(ms).row();
    assert_eq!((span.low, span.end), (first_at(NOW_MS - ERA_MS), first_at(NOW_MS + 5 + ERA_MS)));
    let all = NO_ERAS.span(None, None);
    assert_eq!((all.by_time("e.id").as_str(), all.low, all.end), ("", 0, i64::MAX));
    assert_eq!(NO_ERAS.older_than(NOW_MS, 0), EventId::first_at(NOW_MS));
    assert!(
        !NO_ERAS.ends_with(ERA_MS) && !NO_ERAS.ends_with(-ERA_MS) && NO_ERAS.ends_with(ERA_MS + 1)
    );
}

#[test]
fn a_range_without_events_is_none() {
    let eras = Eras::set_back(&[NOW_MS]);
    let span = eras.span(Some(NOW_MS + 9 * DAY_MS), Some(NOW_MS - 9 * DAY_MS));
    assert_eq!((span.low, span.end), (0, 0));
}
