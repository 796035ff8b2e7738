//! Questions about one thing: an event with its deliveries and attempts.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::batch::{BEHIND_MS, NEVER_MS};
use super::gathered;
use super::rows::{EVENT_COLUMNS, read_event, read_group_id, read_state, read_text, read_trace};
use super::{edits, erase, steps, sum};
use crate::event::{
    AttemptRecord, DeliveryId, Digest, Event, EventId, GuestUse, Outcome, PluginName, State,
};
use crate::names::is_built_in;
use crate::store::model::StoredLists;
use crate::store::{
    AttemptView, DeliveryView, EventView, FoundFacts, MAX_CHILDREN, MAX_TREE_CALLS, StoredFacts,
};

/// The columns [`read_delivery`] reads, from `deliveries d JOIN events e`.
pub(super) const DELIVERY_COLUMNS: &str = "d.event, d.ordinal, d.plugin, e.type, e.subject, d.state, d.attempt, d.due_ms, d.replay, d.unrecorded, d.cancelled, d.key, d.crashes, d.again, d.failure, e.source, d.deaths, d.pardoned";

/// Reads a delivery from [`DELIVERY_COLUMNS`], its attempts left out.
pub(super) fn read_delivery(row: &Row<'_>) -> Result<DeliveryView, rusqlite::Error> {
    let state = read_state(row, 5)?;
    let is_due = |due_ms: &i64| state != State::Leased && *due_ms != BEHIND_MS;
    Ok(DeliveryView {
        id: DeliveryId { event: EventId::from_row(row.get(0)?), ordinal: row.get(1)? },
        plugin: PluginName::from(row.get::<_, String>(2)?),
        kind: read_text(row, 3)?.unwrap_or_default(),
        source: read_text(row, 15)?.unwrap_or_default(),
        subject: read_text(row, 4)?,
        state,
        attempt: row.get(6)?,
        due_ms: row.get::<_, Option<i64>>(7)?.filter(is_due),
        key: row.get(11)?,
        behind: None,
        held: false,
        gathering: None,
        quarantined: row.get::<_, u32>(12)? > 0,
        replay: row.get(8)?,
        unrecorded: row.get(9)?,
        cancelling: state == State::Leased && row.get(10)?,
        cut_off: state == State::Cancelled && row.get(10)?,
        again: row.get(13)?,
        failure: read_group_id(row, 14)?,
        retried_after: DeliveryView::before_retry(state, row.get(16)?, row.get(17)?),
        steps: Vec::new(),
        attempts: Vec::new(),
    })
}

/// One delivery, its attempts left out.
pub(super) fn delivery(
    connection: &Connection,
    id: DeliveryId,
) -> Result<Option<DeliveryView>, rusqlite::Error> {
    let sql = format!(
        "SELECT {DELIVERY_COLUMNS} FROM deliveries d JOIN events e ON e.id = d.event WHERE d.event = ?1 AND d.ordinal = ?2"
    );
    let found = connection
        .prepare_cached(&sql)?
        .query_row(params![id.event.row(), id.ordinal], read_delivery)
        .optional()?;
    found.map(|found| with_waits(connection, found)).transpose()
}

/// Adds what the delivery waits behind, and its gathering.
pub(super) fn with_waits(
    connection: &Connection,
    mut view: DeliveryView,
) -> Result<DeliveryView, rusqlite::Error> {
    if is_built_in(&view.plugin) {
        view.gathering = gathered::state(connection, view.id)?.map(Box::new);
    }
    if view.state != State::Waiting || view.due_ms.is_some() {
        return Ok(view);
    }
    let Some(key) = &view.key else { return Ok(view) };
    let found = connection
        .prepare_cached(
            "SELECT * FROM (SELECT event, ordinal, 1 FROM held_keys
                            WHERE plugin = ?1 AND key = ?2 AND until_ms = ?3 LIMIT 1)
             UNION ALL
             SELECT * FROM (SELECT event, ordinal, 0 FROM deliveries
                            WHERE plugin = ?1 AND key = ?2 AND due_ms IS NOT NULL AND entered IS NOT NULL
                            ORDER BY entered LIMIT 1)
             LIMIT 1",
        )?
        .query_row(params![view.plugin, key, NEVER_MS], |row| {
            let id = DeliveryId { event: EventId::from_row(row.get(0)?), ordinal: row.get(1)? };
            Ok((id, row.get(2)?))
        })
        .optional()?;
    if let Some((behind, held)) = found {
        (view.behind, view.held) = (Some(behind), held);
    }
    Ok(view)
}

/// The attempts of a delivery that are shown: the last ones. A handler that asks to be called again
/// may have thousands.
const MAX_ATTEMPTS: i64 = 1_000;

/// One delivery with its last attempts.
pub(super) fn whole_delivery(
    connection: &Connection,
    id: DeliveryId,
) -> Result<Option<DeliveryView>, rusqlite::Error> {
    let Some(mut found) = delivery(connection, id)? else { return Ok(None) };
    found.attempts = attempts(connection, id, MAX_ATTEMPTS)?;
    found.steps = steps::views(connection, id)?;
    Ok(Some(found))
}

/// The last `most` attempts of a delivery, oldest first.
pub(super) fn attempts(
    connection: &Connection,
    delivery: DeliveryId,
    most: i64,
) -> Result<Vec<AttemptView>, rusqlite::Error> {
    attempts_with(connection, delivery, most, "logs")
}

/// The same without their logs, and with few of their requests.
pub(super) fn bare_attempts(
    connection: &Connection,
    delivery: DeliveryId,
    most: i64,
) -> Result<Vec<AttemptView>, rusqlite::Error> {
    let mut found = attempts_with(connection, delivery, most, "NULL")?;
    found.iter_mut().for_each(|attempt| attempt.record.calls.truncate(MAX_TREE_CALLS + 1));
    Ok(found)
}

fn attempts_with(
    connection: &Connection,
    delivery: DeliveryId,
    most: i64,
    logs: &str,
) -> Result<Vec<AttemptView>, rusqlite::Error> {
    let sql = format!(
        "SELECT number, started_ms, duration_us, outcome, error, {logs}, digest, calls, steps, cpu_us, memory_kib
         FROM attempts
         WHERE event = ?1 AND ordinal = ?2 ORDER BY number DESC LIMIT ?3"
    );
    let mut found = connection
        .prepare_cached(&sql)?
        .query_map(params![delivery.event.row(), delivery.ordinal, most], |row| {
            // A damaged attempt, or one of another version, leaves the others.
            match attempt(row) {
                Err(
                    rusqlite::Error::IntegralValueOutOfRange(..)
                    | rusqlite::Error::FromSqlConversionFailure(..)
                    | rusqlite::Error::InvalidColumnType(..),
                ) => Ok(None),
                read => read.map(Some),
            }
        })?
        .filter_map(Result::transpose)
        .collect::<Result<Vec<_>, _>>()?;
    found.reverse();
    Ok(found)
}

/// Reads an attempt, of whose lists some may be damaged.
fn attempt(row: &Row<'_>) -> Result<AttemptView, rusqlite::Error> {
    let code: u8 = row.get(3)?;
    let mut lists = StoredLists::default();
    Ok(AttemptView {
        number: row.get(0)?,
        record: AttemptRecord {
            started_at_ms: row.get(1)?,
            duration_us: row.get(2)?,
            used: used(row)?,
            outcome: Outcome::from_code(code)
                .ok_or(rusqlite::Error::IntegralValueOutOfRange(3, i64::from(code)))?,
            logs: lists.read("logs", read_text(row, 5)?.as_deref()),
            calls: lists.read("requests", read_text(row, 7)?.as_deref()),
            steps: lists.read("steps", read_text(row, 8)?.as_deref()),
            error: lists.error(read_text(row, 4)?),
            plugin_digest: row.get::<_, Option<[u8; 32]>>(6)?.map(Digest),
        },
    })
}

/// CPU time and memory of the guest of an attempt, from columns 9 and 10.
fn used(row: &Row<'_>) -> Result<Option<GuestUse>, rusqlite::Error> {
    let (cpu_us, memory_kib): (Option<u64>, Option<u64>) = (row.get(9)?, row.get(10)?);
    Ok(cpu_us.map(|cpu_us| GuestUse { cpu_us, memory_kib: memory_kib.unwrap_or(0) }))
}

fn json<T: serde::de::DeserializeOwned + Default>(
    column: usize,
    text: Option<String>,
) -> Result<T, rusqlite::Error> {
    text.map_or_else(
        || Ok(T::default()),
        |text| {
            serde_json::from_str(&text).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(
                    column,
                    rusqlite::types::Type::Text,
                    Box::new(error),
                )
            })
        },
    )
}

/// The parts of an event that routes look at.
pub(super) fn facts(
    connection: &Connection,
    id: EventId,
) -> Result<Option<FoundFacts>, rusqlite::Error> {
    let sql = format!("SELECT {EVENT_COLUMNS}, e.headers FROM events e WHERE e.id = ?1");
    connection.prepare_cached(&sql)?.query_row([id.row()], found_facts).optional()
}

/// A column that does not hold what it should is no failure of the query, which may pass.
fn found_facts(row: &Row<'_>) -> Result<FoundFacts, rusqlite::Error> {
    use rusqlite::Error::{
        FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error,
    };
    let read = || {
        let Event { attributes, hops, .. } = read_event(row)?;
        Ok(StoredFacts { attributes, headers: json(10, row.get(10)?)?, hops })
    };
    match read() {
        Ok(facts) => Ok(FoundFacts::Whole(facts)),
        Err(
            IntegralValueOutOfRange(column, _)
            | FromSqlConversionFailure(column, ..)
            | InvalidColumnType(column, ..)
            | Utf8Error(column, _),
        ) => Ok(FoundFacts::Unreadable { column: row.as_ref().column_name(column)?.to_owned() }),
        Err(error) => Err(error),
    }
}

/// One event, whole.
pub(super) fn event(
    connection: &Connection,
    id: EventId,
) -> Result<Option<EventView>, rusqlite::Error> {
    let sql = format!(
        "SELECT {EVENT_COLUMNS}, e.provider_id, e.note, e.headers, e.sum, e.trace, e.signed_by \
         FROM events e WHERE e.id = ?1"
    );
    let found = connection
        .prepare_cached(&sql)?
        .query_row([id.row()], |row| {
            let event = Event { trace: read_trace(row, 14)?, ..read_event(row)? };
            let note: Option<String> = row.get(11)?;
            let notes: Vec<String> =
                sum::damage(row, 13, &event.attributes)?.into_iter().chain(note).collect();
            Ok(EventView {
                event,
                provider_id: read_text(row, 10)?,
                note: (!notes.is_empty()).then(|| notes.join("; ")),
                signed_by: row.get(15)?,
                emptied: None,
                headers: json(12, row.get(12)?)?,
                duplicates: 0,
                last_duplicate_ms: None,
                deliveries: Vec::new(),
                children: Vec::new(),
                edited: None,
                replays: Vec::new(),
            })
        })
        .optional()?;
    let Some(mut view) = found else { return Ok(None) };
    let repeated = connection
        .prepare_cached("SELECT n, last_ms FROM duplicates WHERE event = ?1")?
        .query_row([id.row()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((count, last_ms)) = repeated {
        (view.duplicates, view.last_duplicate_ms) = (count, Some(last_ms));
    }
    view.emptied = erase::emptied(connection, id)?;
    view.edited = edits::origin(connection, id)?;
    view.replays = edits::made_of(connection, id)?;
    view.deliveries = deliveries_of(connection, id)?;
    for delivery in &mut view.deliveries {
        delivery.attempts = attempts(connection, delivery.id, MAX_ATTEMPTS)?;
        delivery.steps = steps::views(connection, delivery.id)?;
    }
    view.children = connection
        .prepare_cached("SELECT id FROM events WHERE parent = ?1 ORDER BY id LIMIT ?2")?
        .query_map(params![id.row(), MAX_CHILDREN], |row| row.get(0).map(EventId::from_row))?
        .collect::<Result<_, _>>()?;
    Ok(Some(view))
}

/// The deliveries of an event, their attempts left out.
pub(super) fn deliveries_of(
    connection: &Connection,
    event: EventId,
) -> Result<Vec<DeliveryView>, rusqlite::Error> {
    let sql = format!(
        "SELECT {DELIVERY_COLUMNS} FROM deliveries d JOIN events e ON e.id = d.event WHERE d.event = ?1 ORDER BY d.ordinal"
    );
    connection
        .prepare_cached(&sql)?
        .query_map([event.row()], read_delivery)?
        .map(|view| with_waits(connection, view?))
        .collect()
}

/// The dead letter that a delivery is to tell of.
pub(super) fn dead_notice(
    connection: &Connection,
    id: DeliveryId,
) -> Result<Option<(DeliveryId, u32)>, rusqlite::Error> {
    connection
        .prepare_cached(
            "SELECT dead_ordinal, death FROM dead_notices WHERE event = ?1 AND ordinal = ?2",
        )?
        .query_row(params![id.event.row(), id.ordinal], |row| {
            Ok((DeliveryId { ordinal: row.get(0)?, ..id }, row.get(1)?))
        })
        .optional()
}
