//! The rows of schedules.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::store::{SkippedTicks, StoredSchedule};

/// How far each schedule has come, and what was skipped of it.
#[derive(Debug, Default)]
pub(super) struct ScheduleRows {
    pub(super) rows: BTreeMap<Arc<str>, StoredSchedule>,
    /// By schedule, the oldest first.
    pub(super) skipped: BTreeMap<Arc<str>, VecDeque<SkippedTicks>>,
}
