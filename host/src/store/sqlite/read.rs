//! Questions, asked over read-only connections so that no look at the data holds up the writer.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use tokio::sync::Semaphore;

use super::lease::{EVENT_COLUMNS, read_event, read_state};
use super::schema::open_reader;
use crate::event::{AttemptRecord, DeliveryId, Digest, EventId, Outcome, PluginName, State};

use crate::store::{
    AttemptView, Cursor, DeliveryFilter, DeliveryView, EventFilter, EventState, EventSummary, EventView, KvValue,
    MAX_CHILDREN, Page, StoreError,
};
use crate::tasks;

/// Read connections, and so queries at once.
const READERS: usize = 4;

/// The most events a filtered page looks at before it answers with what it has.
const MAX_SCANNED: i64 = 20_000;

/// The same where every body has to be read.
const MAX_SCANNED_BODIES: i64 = 2_000;

/// The read-only side of the file.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, idle: Arc::default(), permits: Arc::new(Semaphore::new(READERS)) }
    }

    /// Runs a question away from the async workers; at most [`READERS`] at once.
    pub(super) async fn ask<T, F>(&self, question: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    {
        let permit = self.permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        let readers = self.clone();
        tasks::blocking(move || {
            let _permit = permit;
            let idle = readers.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let answer = idle.map_or_else(|| open_reader(&readers.path), Ok).and_then(|connection| {
                let answer = question(&connection)?;
                readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
                Ok(answer)
            });
            answer.map_err(|error| StoreError::Query(error.to_string()))
        })
        .await
    }
}

/// Conditions of a query and what fills their placeholders.
#[derive(Debug, Default)]
pub(super) struct Clauses {
    sql: String,
    values: Vec<Value>,
}

impl Clauses {
    pub(super) fn add(&mut self, condition: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        // Numbered, so that a condition may stand anywhere and use its value twice.
        let numbered = condition.replace('?', &format!("?{}", self.values.len()));
        let _ = write!(self.sql, " AND {numbered}");
    }

    fn maybe(&mut self, condition: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.add(condition, value);
        }
    }

    /// ` AND …` for each condition.
    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Value> {
        self.values.iter()
    }

    /// Conditions on `events e`.
    fn events(filter: &EventFilter) -> Self {
        let mut clauses = Self::default();
        clauses.maybe("e.type = ?", filter.kind.clone());
        clauses.maybe("e.source = ?", filter.source.clone());
        clauses.maybe("e.subject = ?", filter.subject.clone());
        match filter.state {
            None => {}
            Some(EventState::Unrouted) => {
                clauses.sql.push_str(" AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event = e.id)");
            }
            Some(EventState::Has(State::Dead)) => {
                clauses.sql.push_str(" AND e.id IN (SELECT event FROM deliveries WHERE state = 4)");
            }
            Some(EventState::Has(state)) => clauses.add(
                "EXISTS (SELECT 1 FROM deliveries d WHERE d.event = e.id AND d.state = ?)",
                i64::from(state.code()),
            ),
        }
        clauses.maybe(
            "(instr(e.body, CAST(? AS BLOB)) > 0 OR instr(e.type, ?) > 0 OR instr(coalesce(e.subject, ''), ?) > 0
              OR instr(coalesce(e.provider_id, ''), ?) > 0 OR instr(printf('evt_%016x', e.id), ?) > 0)",
            filter.text.clone(),
        );
        clauses.maybe("e.id >= ?", filter.since_ms.map(|ms| EventId::first_at(ms).row()));
        clauses.maybe("e.id < ?", filter.until_ms.map(|ms| EventId::first_at(ms).row()));
        clauses
    }

    /// Conditions on `deliveries d JOIN events e`.
    pub(super) fn deliveries(filter: &DeliveryFilter) -> Self {
        let mut clauses = Self::default();
        clauses.maybe("d.state = ?", filter.state.map(|state| i64::from(state.code())));
        clauses.maybe("d.plugin = ?", filter.plugin.clone());
        clauses.maybe("e.type = ?", filter.kind.clone());
        clauses.maybe("e.source = ?", filter.source.clone());
        clauses.maybe("e.subject = ?", filter.subject.clone());
        clauses.maybe("d.event >= ?", filter.since_ms.map(|ms| EventId::first_at(ms).row()));
        clauses.maybe("d.event < ?", filter.until_ms.map(|ms| EventId::first_at(ms).row()));
        clauses
    }
}

/// The lowest event id a page looks at, if `scanned` events below `before` do not reach the oldest one.
fn window(connection: &Connection, before: i64, scanned: i64) -> Result<Option<i64>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT id FROM events WHERE id < ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2")?
        .query_row([before, scanned], |row| row.get(0))
        .optional()
}

/// A page of events, newest first.
pub(super) fn events(
    connection: &Connection,
    filter: &EventFilter,
    page: Page,
) -> Result<(Vec<EventSummary>, Option<Cursor>), rusqlite::Error> {
    let before = page.after.map_or(i64::MAX, |cursor| cursor.0.event.row());
    let indexed = filter.subject.is_some() || filter.state == Some(EventState::Has(State::Dead));
    let scanned = if filter.text.is_some() { MAX_SCANNED_BODIES } else { MAX_SCANNED };
    let low = if indexed { None } else { window(connection, before, scanned)? };
    let mut clauses = Clauses::events(filter);
    clauses.add("e.id < ?", before);
    clauses.maybe("e.id >= ?", low);
    let sql = format!(
        "SELECT e.id, e.source, e.type, e.subject, e.content_type, e.time_ms, e.parent, e.hops, x'', e.provider_id,
                e.note, length(e.body)
         FROM events e WHERE 1 {} ORDER BY e.id DESC LIMIT {}",
        clauses.sql(),
        page.limit
    );
    let mut found = connection
        .prepare_cached(&sql)?
        .query_map(params_from_iter(clauses.values()), |row| {
            Ok(EventSummary {
                event: read_event(row)?,
                provider_id: row.get(9)?,
                note: row.get(10)?,
                body_bytes: row.get(11)?,
                deliveries: Vec::new(),
            })
        })?
        .collect::<Result<Vec<_>, _>>()?;
    let mut states =
        connection.prepare_cached("SELECT plugin, state FROM deliveries WHERE event = ?1 ORDER BY ordinal")?;
    for summary in &mut found {
        summary.deliveries = states
            .query_map([summary.event.id.row()], |row| Ok((row.get::<_, String>(0)?.into(), read_state(row, 1)?)))?
            .collect::<Result<_, _>>()?;
    }
    let last = found.last().map(|summary| summary.event.id);
    let cursor = next_event(last.filter(|_| found.len() == page.limit), low);
    Ok((found, cursor.map(|event| Cursor(DeliveryId { event, ordinal: 0 }))))
}

/// Where the next page starts: after the last row of a full page, or where the window ended.
fn next_event(full: Option<EventId>, low: Option<i64>) -> Option<EventId> {
    full.or(low.map(EventId::from_row))
}

/// A page of deliveries, newest first, each with its last attempt.
pub(super) fn deliveries(
    connection: &Connection,
    filter: &DeliveryFilter,
    page: Page,
) -> Result<(Vec<DeliveryView>, Option<Cursor>), rusqlite::Error> {
    let before = page.after.map_or(DeliveryId { event: EventId::from_row(i64::MAX), ordinal: 0 }, |cursor| cursor.0);
    let indexed = filter.subject.is_some() || filter.state == Some(State::Dead);
    let low = if indexed { None } else { window(connection, before.event.row(), MAX_SCANNED)? };
    let mut clauses = Clauses::deliveries(filter);
    clauses.add("d.event <= ?", before.event.row());
    clauses.maybe("d.event >= ?", low);
    // The literal state lets SQLite see that the partial index of dead letters applies.
    let dead = if filter.state == Some(State::Dead) { "AND d.state = 4" } else { "" };
    let sql = format!(
        "SELECT {DELIVERY_COLUMNS} FROM deliveries d JOIN events e ON e.id = d.event
         WHERE (d.event < {event} OR d.ordinal > {ordinal} OR {first}) {dead} {}
         ORDER BY d.event DESC, d.ordinal LIMIT {}",
        clauses.sql(),
        page.limit,
        event = before.event.row(),
        ordinal = before.ordinal,
        first = page.after.is_none(),
    );
    let mut found = connection
        .prepare(&sql)?
        .query_map(params_from_iter(clauses.values()), read_delivery)?
        .collect::<Result<Vec<_>, _>>()?;
    for delivery in &mut found {
        delivery.attempts = attempts(connection, delivery.id, 1)?;
    }
    let cursor = match found.last() {
        Some(last) if found.len() == page.limit => Some(Cursor(last.id)),
        // The window includes its lowest event, so the next page starts behind all of its deliveries.
        _ => low.map(|low| Cursor(DeliveryId { event: EventId::from_row(low), ordinal: u32::MAX })),
    };
    Ok((found, cursor))
}

const DELIVERY_COLUMNS: &str =
    "d.event, d.ordinal, d.plugin, e.type, e.subject, d.state, d.attempt, d.due_ms, d.replay";

fn read_delivery(row: &Row<'_>) -> Result<DeliveryView, rusqlite::Error> {
    let state = read_state(row, 5)?;
    Ok(DeliveryView {
        id: DeliveryId { event: EventId::from_row(row.get(0)?), ordinal: row.get(1)? },
        plugin: PluginName::from(row.get::<_, String>(2)?),
        kind: row.get(3)?,
        subject: row.get(4)?,
        state,
        attempt: row.get(6)?,
        due_ms: row.get::<_, Option<i64>>(7)?.filter(|_| state != State::Leased),
        replay: row.get(8)?,
        attempts: Vec::new(),
    })
}

/// The last `most` attempts of a delivery, oldest first.
fn attempts(connection: &Connection, delivery: DeliveryId, most: i64) -> Result<Vec<AttemptView>, rusqlite::Error> {
    let mut found = connection
        .prepare_cached(
            "SELECT number, started_ms, duration_us, outcome, error, logs, digest FROM attempts
             WHERE event = ?1 AND ordinal = ?2 ORDER BY number DESC LIMIT ?3",
        )?
        .query_map(params![delivery.event.row(), delivery.ordinal, most], |row| {
            let code: u8 = row.get(3)?;
            let logs: Option<String> = row.get(5)?;
            Ok(AttemptView {
                number: row.get(0)?,
                record: AttemptRecord {
                    started_at_ms: row.get(1)?,
                    duration_us: row.get(2)?,
                    outcome: Outcome::from_code(code)
                        .ok_or(rusqlite::Error::IntegralValueOutOfRange(3, i64::from(code)))?,
                    error: row.get(4)?,
                    logs: json(5, logs)?,
                    plugin_digest: row.get::<_, Option<[u8; 32]>>(6)?.map(Digest),
                },
            })
        })?
        .collect::<Result<Vec<_>, _>>()?;
    found.reverse();
    Ok(found)
}

fn json<T: serde::de::DeserializeOwned + Default>(column: usize, text: Option<String>) -> Result<T, rusqlite::Error> {
    text.map_or_else(
        || Ok(T::default()),
        |text| {
            serde_json::from_str(&text).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
            })
        },
    )
}

/// One event, whole.
pub(super) fn event(connection: &Connection, id: EventId) -> Result<Option<EventView>, rusqlite::Error> {
    let sql = format!("SELECT {EVENT_COLUMNS}, e.provider_id, e.note, e.headers FROM events e WHERE e.id = ?1");
    let found = connection
        .prepare_cached(&sql)?
        .query_row([id.row()], |row| {
            Ok(EventView {
                event: read_event(row)?,
                provider_id: row.get(9)?,
                note: row.get(10)?,
                headers: json(11, row.get(11)?)?,
                deliveries: Vec::new(),
                children: Vec::new(),
            })
        })
        .optional()?;
    let Some(mut view) = found else { return Ok(None) };
    let sql = format!(
        "SELECT {DELIVERY_COLUMNS} FROM deliveries d JOIN events e ON e.id = d.event WHERE d.event = ?1 ORDER BY d.ordinal"
    );
    view.deliveries =
        connection.prepare_cached(&sql)?.query_map([id.row()], read_delivery)?.collect::<Result<_, _>>()?;
    for delivery in &mut view.deliveries {
        delivery.attempts = attempts(connection, delivery.id, i64::MAX)?;
    }
    view.children = connection
        .prepare_cached("SELECT id FROM events WHERE parent = ?1 ORDER BY id LIMIT ?2")?
        .query_map(params![id.row(), MAX_CHILDREN], |row| row.get(0).map(EventId::from_row))?
        .collect::<Result<_, _>>()?;
    Ok(Some(view))
}

/// A key of a plugin.
pub(super) fn kv_get(connection: &Connection, plugin: &str, key: &str) -> Result<Option<KvValue>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT value, version FROM kv WHERE plugin = ?1 AND key = ?2")?
        .query_row([plugin, key], |row| Ok(KvValue { value: row.get(0)?, version: row.get(1)? }))
        .optional()
}
