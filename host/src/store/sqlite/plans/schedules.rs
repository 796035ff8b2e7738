//! The statements of schedules.

use std::sync::Arc;

use super::event;
use crate::store::sqlite::batch::WriteBatch;
use crate::store::{ScheduleChange, ScheduleMark, Tick, TickStep, Ticked};

/// Every step of a schedule.
pub(super) fn every_step(batch: &mut WriteBatch<'_>) {
    let name: Arc<str> = "daily".into();
    let mark = |next_ms| ScheduleMark { spec: 1, next_ms, active: true };
    for from in [None, Some(mark(1))] {
        let to = mark(if from.is_none() { 1 } else { 2 });
        let begin = ScheduleChange::Begin { name: name.clone(), from, to };
        assert!(batch.change_schedule(&begin).unwrap());
    }
    let event = Box::new(event(&["audit"]));
    let emit = TickStep::Emit { event: event.clone(), skips_overlap: true };
    let missed = TickStep::Missed { last_ms: 4, ticks: 1 };
    for (from_ms, step) in (2..).zip([emit.clone(), emit.clone(), missed, emit]) {
        let tick = Tick { name: name.clone(), spec: 1, from_ms, next_ms: from_ms + 1, step };
        assert_ne!(batch.tick(&tick).unwrap(), Ticked::Lost);
    }
    for change in [ScheduleChange::Pause(name.clone()), ScheduleChange::Forget(name)] {
        assert!(batch.change_schedule(&change).unwrap());
    }
}
