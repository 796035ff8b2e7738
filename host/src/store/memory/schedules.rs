//! Ticks of schedules.

use std::sync::Arc;

use super::data::MemoryData;
use super::{MemoryStore, done};
use crate::store::{
    MAX_SKIP_RECORDS, Pending, ScheduleChange, Schedules, SkipReason, SkippedTicks, StoredSchedule,
    Tick, TickStep, Ticked,
};

impl Schedules for MemoryStore {
    fn schedules(&self) -> Pending<'_, Vec<StoredSchedule>> {
        done(self.read(|data| data.schedules.rows.values().cloned().collect()))
    }

    fn skipped_ticks(&self, name: Arc<str>) -> Pending<'_, Vec<SkippedTicks>> {
        done(self.read(|data| {
            data.schedules.skipped.get(&name).into_iter().flatten().rev().cloned().collect()
        }))
    }

    fn change_schedule(&self, change: ScheduleChange) -> Pending<'_, bool> {
        done(self.write(|data| Ok(data.change_schedule(change))))
    }

    fn tick(&self, tick: Tick) -> Pending<'_, Ticked> {
        done(self.write(|data| Ok(data.tick(tick))))
    }
}

impl MemoryData {
    fn change_schedule(&mut self, change: ScheduleChange) -> bool {
        match change {
            ScheduleChange::Begin { name, from, to } => {
                if self.schedules.rows.get(&name).map(|row| row.mark) != from {
                    return false;
                }
                let new = || StoredSchedule {
                    name: name.clone(),
                    mark: to,
                    last_ms: None,
                    skipped: None,
                    emitted: None,
                };
                let row = self.schedules.rows.entry(name.clone()).or_insert_with(new);
                row.mark = to;
                row.last_ms = row.last_ms.filter(|last_ms| *last_ms < to.next_ms);
                true
            }
            ScheduleChange::Pause(name) => {
                let row = self.schedules.rows.get_mut(&name);
                row.map(|row| row.mark.active = false).is_some()
            }
            ScheduleChange::Forget(name) => {
                self.schedules.skipped.remove(&name);
                self.schedules.rows.remove(&name).is_some()
            }
        }
    }

    fn tick(&mut self, Tick { name, spec, from_ms, next_ms, step }: Tick) -> Ticked {
        let row = self.schedules.rows.get(&name).cloned();
        let is_next = |row: &StoredSchedule| {
            row.mark.active && row.mark.spec == spec && row.mark.next_ms == from_ms
        };
        let Some(mut row) = row.filter(is_next) else { return Ticked::Lost };
        row.mark.next_ms = next_ms;
        let is_open = row.emitted.is_some_and(|(event, _)| {
            self.of_event(event).any(super::data::StoredDelivery::is_open)
        });
        let ticked = match step {
            TickStep::Missed { last_ms, ticks } => {
                self.skip(&mut row, from_ms, last_ms, ticks, SkipReason::Missed)
            }
            TickStep::Emit { skips_overlap: true, .. } if is_open => {
                self.skip(&mut row, from_ms, from_ms, 1, SkipReason::Overlap)
            }
            TickStep::Emit { event, .. } => {
                let id = self.append(*event, None).id;
                (row.last_ms, row.skipped) = (Some(from_ms), None);
                row.emitted = Some((id, from_ms));
                Ticked::Emitted(id)
            }
        };
        self.schedules.rows.insert(name, row);
        ticked
    }

    fn skip(
        &mut self,
        row: &mut StoredSchedule,
        first_ms: i64,
        last_ms: i64,
        ticks: u64,
        reason: SkipReason,
    ) -> Ticked {
        let records = self.schedules.skipped.entry(row.name.clone()).or_default();
        let before = row.skipped.filter(|its| *its == reason).and(row.last_ms);
        match records.back_mut() {
            Some(last) if Some(last.last_ms) == before && last.reason == reason => {
                (last.last_ms, last.ticks) = (last_ms, last.ticks + ticks);
            }
            _ => records.push_back(SkippedTicks { first_ms, last_ms, ticks, reason }),
        }
        if records.len() > MAX_SKIP_RECORDS {
            records.pop_front();
        }
        (row.last_ms, row.skipped) = (Some(last_ms), Some(reason));
        Ticked::Skipped(reason)
    }
}
