//! Reading rows: an event, a state, a text that a disk may have damaged; and the plugins that have
//! open deliveries.

use bytes::Bytes;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};

use crate::event::{Attributes, Event, EventId, FailureId, State};
use crate::trace::SpanContext;

/// The columns `read_event` reads, from a table named `e`.
pub(super) const EVENT_COLUMNS: &str = "e.id, e.source, e.type, e.subject, e.content_type, e.time_ms, e.parent, e.hops, e.body, e.root";

/// Reads a text that a disk may have damaged: bytes that are no UTF-8 are replaced, and the event's
/// checksum tells. SQLite's own conversion is an error, which would end the store for the sake of
/// one row.
pub(super) fn read_text(row: &Row<'_>, column: usize) -> Result<Option<String>, rusqlite::Error> {
    match row.get_ref(column)? {
        ValueRef::Text(bytes) => Ok(Some(String::from_utf8_lossy(bytes).into_owned())),
        _ => row.get(column),
    }
}

/// Reads an event from columns `0..10` as in [`EVENT_COLUMNS`], without its trace.
pub(super) fn read_event(row: &Row<'_>) -> Result<Event, rusqlite::Error> {
    let source = read_text(row, 1)?.unwrap_or_default();
    let body: Vec<u8> = row.get(8)?;
    Ok(Event {
        id: EventId::from_row(row.get(0)?),
        attributes: Attributes {
            source: source.into(),
            kind: read_text(row, 2)?.unwrap_or_default(),
            subject: read_text(row, 3)?,
            content_type: read_text(row, 4)?,
            time_ms: row.get(5)?,
            body: Bytes::from(body),
        },
        parent: row.get::<_, Option<i64>>(6)?.map(EventId::from_row),
        root: row.get::<_, Option<i64>>(9)?.map(EventId::from_row),
        hops: row.get(7)?,
        trace: None,
    })
}

/// Reads the span that made an event. A context that a disk may have damaged is none.
pub(super) fn read_trace(
    row: &Row<'_>,
    column: usize,
) -> Result<Option<SpanContext>, rusqlite::Error> {
    let stored = row.get_ref(column)?.as_bytes_or_null().unwrap_or_default();
    Ok(stored.and_then(SpanContext::from_bytes))
}

/// Reads a state's code.
pub(super) fn read_state(row: &Row<'_>, column: usize) -> Result<State, rusqlite::Error> {
    let code = row.get(column)?;
    State::from_code(code).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, i64::from(code)))
}

/// The first plugin after `after` with open deliveries that so many crashes are held against.
pub(super) fn next_plugin(
    connection: &Connection,
    crashes: u32,
    after: &str,
) -> Result<Option<String>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT min(plugin) FROM deliveries WHERE crashes = ?1 AND plugin > ?2 AND due_ms IS NOT NULL")?
        .query_row(params![crashes, after], |row| row.get(0))
}

/// The group of failures in a column.
pub(super) fn read_group_id(
    row: &Row<'_>,
    column: usize,
) -> Result<Option<FailureId>, rusqlite::Error> {
    Ok(row.get::<_, Option<i64>>(column)?.map(FailureId::from_row))
}
