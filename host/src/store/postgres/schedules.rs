//! Ticks of schedules.

use std::sync::Arc;

use super::{Postgres, refused};
use crate::store::{
    Pending, ScheduleChange, Schedules, SkippedTicks, StoreError, StoredSchedule, Tick, Ticked,
};

impl Schedules for Postgres {
    fn schedules(&self) -> Pending<'_, Vec<StoredSchedule>> {
        refused(StoreError::Unsupported("schedules"))
    }

    fn skipped_ticks(&self, _: Arc<str>) -> Pending<'_, Vec<SkippedTicks>> {
        refused(StoreError::Unsupported("schedules"))
    }

    fn change_schedule(&self, _: ScheduleChange) -> Pending<'_, bool> {
        refused(StoreError::Unsupported("schedules"))
    }

    fn tick(&self, _: Tick) -> Pending<'_, Ticked> {
        refused(StoreError::Unsupported("schedules"))
    }
}
