//! Rows as events and records.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use tokio_postgres::Row;

use crate::event::{
    AttemptRecord, Attributes, Digest, Event, EventId, GuestUse, HttpCall, LogLine, Outcome, State,
    StepUse,
};
use crate::store::model::StoredLists;
use crate::store::{AttemptView, StoreError};
use crate::trace::SpanContext;

/// Reads an event from the columns `id`, `source`, `type`, `subject`, `content_type`, `time_ms`,
/// `parent`, `root`, `hops`, `trace` and `body`, which are the first ones.
pub(super) fn read_event(row: &Row) -> Event {
    let body: Vec<u8> = row.get(10);
    let source: String = row.get(1);
    let trace: Option<&[u8]> = row.get(9);
    Event {
        id: EventId::from_row(row.get(0)),
        attributes: Attributes {
            source: source.into(),
            kind: row.get(2),
            subject: row.get(3),
            content_type: row.get(4),
            time_ms: row.get(5),
            body: Bytes::from(body),
        },
        parent: row.get::<_, Option<i64>>(6).map(EventId::from_row),
        root: row.get::<_, Option<i64>>(7).map(EventId::from_row),
        hops: row.get::<_, i32>(8).unsigned_abs(),
        trace: trace.and_then(SpanContext::from_bytes),
    }
}

/// The state of this number.
pub(super) fn read_state(code: i16) -> Result<State, StoreError> {
    let state = u8::try_from(code).ok().and_then(State::from_code);
    state.ok_or_else(|| StoreError::Query(format!("there is no state {code}")))
}

/// An attempt as the database tells it in JSON.
#[derive(Deserialize)]
pub(super) struct AttemptRow {
    number: i64,
    started_ms: i64,
    duration_us: i64,
    outcome: i64,
    error: Option<String>,
    logs: Option<String>,
    digest: Option<String>,
    calls: Option<String>,
    steps: Option<String>,
    cpu_us: Option<i64>,
    memory_kib: Option<i64>,
}

impl AttemptRow {
    /// The attempt; none if a number of it is damaged, or another version wrote an outcome that
    /// this one does not know.
    pub(super) fn view(self) -> Option<AttemptView> {
        let used = self.cpu_us.map(|cpu_us| GuestUse {
            cpu_us: cpu_us.unsigned_abs(),
            memory_kib: self.memory_kib.unwrap_or(0).unsigned_abs(),
        });
        let mut lists = StoredLists::default();
        Some(AttemptView {
            number: u32::try_from(self.number).ok()?,
            record: AttemptRecord {
                started_at_ms: self.started_ms,
                duration_us: u64::try_from(self.duration_us).ok()?,
                used,
                outcome: Outcome::from_code(u8::try_from(self.outcome).ok()?)?,
                logs: lists.read::<LogLine>("logs", self.logs.as_deref()),
                calls: lists.read::<HttpCall>("requests", self.calls.as_deref()),
                steps: lists.read::<StepUse>("steps", self.steps.as_deref()),
                error: lists.error(self.error),
                plugin_digest: digest(self.digest.as_deref()),
            },
        })
    }
}

/// A digest from its hex digits.
pub(super) fn digest(hex: Option<&str>) -> Option<Digest> {
    hex.and_then(|digits| digits.parse().ok())
}

/// A list that is stored as JSON, or as nothing if it is empty.
pub(super) fn list<T: for<'de> Deserialize<'de>>(text: Option<&str>) -> Vec<T> {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// A time span in milliseconds that can be added to any time of a clock.
pub(super) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX).min(i64::MAX / 4)
}
