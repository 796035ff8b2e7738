//! Leasing what is due, and taking up what a killed host left.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, named_params, params};
use tokio::sync::OwnedSemaphorePermit;

use super::Recovered;
use super::batch::{Batch, NEVER_MS};
use super::sum;
use crate::event::{Attributes, DeliveryId, Event, EventId, Outcome, PluginName, State};
use crate::store::running::Left;
use crate::store::{Lane, Lease, Leased, MAX_CRASHES, Place};

/// The most body bytes one call leases (and at least one delivery).
const MAX_LEASED_BYTES: usize = 4 << 20;

/// A delivery found due.
struct Due {
    delivery: DeliveryId,
    plugin: PluginName,
    state: State,
    attempt: u32,
    pardoned: u32,
    event: Event,
    /// Why the event is not the one that was stored, if so.
    damage: Option<String>,
}

/// The columns `read_event` reads, from a table named `e`.
pub(super) const EVENT_COLUMNS: &str =
    "e.id, e.source, e.type, e.subject, e.content_type, e.time_ms, e.parent, e.hops, e.body, e.root";

/// Reads a text that a disk may have damaged: bytes that are no UTF-8 are replaced, and the event's checksum tells. SQLite's own
/// conversion is an error, which would end the store for the sake of one row.
pub(super) fn read_text(row: &Row<'_>, column: usize) -> Result<Option<String>, rusqlite::Error> {
    match row.get_ref(column)? {
        ValueRef::Text(bytes) => Ok(Some(String::from_utf8_lossy(bytes).into_owned())),
        _ => row.get(column),
    }
}

/// Reads an event from columns `0..10` as in [`EVENT_COLUMNS`].
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
    })
}

/// Reads a state's code.
pub(super) fn read_state(row: &Row<'_>, column: usize) -> Result<State, rusqlite::Error> {
    let code = row.get(column)?;
    State::from_code(code).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, i64::from(code)))
}

impl Batch<'_> {
    /// Leases what is due in a lane, at most one for each permit.
    pub(super) fn lease(&mut self, lane: &Lane, mut places: OwnedSemaphorePermit) -> Result<Leased, rusqlite::Error> {
        let most = places.num_permits();
        let (crashes, plugins) = match lane {
            Lane::Plugin(name) => (0, std::slice::from_ref(name)),
            Lane::Suspects(names) => (1, names.as_slice()),
        };
        let mut leases = Vec::new();
        let mut next_due_ms: Option<i64> = None;
        for plugin in plugins {
            let due = self.due(crashes, plugin, most - leases.len())?;
            for due in due {
                if let Some(damage) = &due.damage {
                    self.bury(&due, damage)?;
                    continue;
                }
                let room = match self.desk.map(|desk| desk.room(plugin, due.event.attributes.body.len())) {
                    // The rest stays where it is: due, and nobody's.
                    Some(None) => break,
                    Some(room) => room,
                    None => None,
                };
                let hand = places.split(1).expect("no more rows are read than there are places");
                leases.push(self.take(due, Place { hand, room })?);
            }
            let next: Option<i64> = self
                .connection
                .prepare_cached(
                    "SELECT min(due_ms) FROM deliveries WHERE crashes = ?1 AND plugin = ?2 AND due_ms < ?3",
                )?
                .query_row(params![crashes, plugin, NEVER_MS], |row| row.get(0))?;
            next_due_ms = next_due_ms.into_iter().chain(next).min();
        }
        Ok(Leased { leases, next_due_ms })
    }

    fn due(&self, crashes: u32, plugin: &PluginName, most: usize) -> Result<Vec<Due>, rusqlite::Error> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT {EVENT_COLUMNS}, d.ordinal, d.state, d.attempt, d.pardoned, e.sum
             FROM deliveries d JOIN events e ON e.id = d.event
             WHERE d.crashes = :crashes AND d.plugin = :plugin AND d.due_ms <= :now
             ORDER BY d.due_ms, d.event, d.ordinal LIMIT :most"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(named_params! {
            ":crashes": crashes, ":plugin": plugin, ":now": self.now_ms, ":most": most,
        })?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let event = read_event(row)?;
            bytes += event.attributes.body.len();
            let delivery = DeliveryId { event: event.id, ordinal: row.get(10)? };
            let state = read_state(row, 11)?;
            let (attempt, pardoned) = (row.get(12)?, row.get(13)?);
            let damage = sum::damage(row, 14, &event.attributes)?;
            found.push(Due { delivery, plugin: plugin.clone(), state, attempt, pardoned, event, damage });
            if bytes >= MAX_LEASED_BYTES {
                break;
            }
        }
        Ok(found)
    }

    fn take(&mut self, due: Due, place: Place) -> Result<Lease, rusqlite::Error> {
        let attempt = due.attempt + 1;
        self.connection
            .prepare_cached(
                "UPDATE deliveries SET state = ?3, attempt = ?4, due_ms = ?5 WHERE event = ?1 AND ordinal = ?2",
            )?
            .execute(params![
                due.delivery.event.row(),
                due.delivery.ordinal,
                State::Leased.code(),
                attempt,
                NEVER_MS
            ])?;
        self.delta.moved(&due.plugin, Some(due.state), Some(State::Leased));
        Ok(Lease {
            delivery: due.delivery,
            plugin: due.plugin,
            attempt,
            pardoned: due.pardoned,
            event: Arc::new(due.event),
            _place: place,
        })
    }

    /// Makes a dead letter of a delivery whose event is damaged.
    fn bury(&mut self, due: &Due, damage: &str) -> Result<(), rusqlite::Error> {
        let DeliveryId { event, ordinal } = due.delivery;
        let (attempt, dead) = (due.attempt + 1, State::Dead);
        self.connection
            .prepare_cached(
                "UPDATE deliveries SET state = ?3, attempt = ?4, due_ms = NULL, crashes = 0
                 WHERE event = ?1 AND ordinal = ?2",
            )?
            .execute(params![event.row(), ordinal, dead.code(), attempt])?;
        self.connection
            .prepare_cached(
                "INSERT INTO attempts (event, ordinal, number, started_ms, duration_us, outcome, error)
                 VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6)",
            )?
            .execute(params![event.row(), ordinal, attempt, self.wall_ms, Outcome::Error.code(), damage])?;
        self.delta.moved(&due.plugin, Some(due.state), Some(dead));
        metrics::counter!("hookbox_store_damaged_events_total").increment(1);
        tracing::error!(
            delivery.id = %due.delivery, plugin.name = %due.plugin, delivery.attempt = attempt, reason = damage,
            "dead letter"
        );
        Ok(())
    }

    /// Gives back what is still leased when the store is closed in good order: nobody runs it any more.
    pub(super) fn release(&mut self) -> Result<(), rusqlite::Error> {
        for Held { delivery, plugin, cancelled, .. } in held(self.connection)? {
            let (state, due_ms) = if cancelled { (State::Cancelled, None) } else { (State::Ready, Some(self.now_ms)) };
            self.connection
                .prepare_cached(
                    "UPDATE deliveries SET state = ?3, due_ms = ?4, attempt = attempt - 1
                     WHERE event = ?1 AND ordinal = ?2",
                )?
                .execute(params![delivery.event.row(), delivery.ordinal, state.code(), due_ms])?;
            self.delta.moved(&plugin, Some(State::Leased), Some(state));
        }
        Ok(())
    }

    /// Takes up what a killed host held. Each such attempt is pardoned, its number never used again, and the delivery is
    /// due again. If it was running, it is recorded as a crash; and of what was running when a host died
    /// [`MAX_CRASHES`] times, a dead letter is made. One that an operator has cancelled ends there.
    pub(super) fn recover(&mut self, left: &Left) -> Result<Recovered, rusqlite::Error> {
        let mut recovered = Recovered::default();
        for Held { delivery, plugin, attempt, crashes, cancelled } in held(self.connection)? {
            let ran = left.holds(delivery, attempt);
            recovered.held += 1;
            recovered.running += usize::from(ran);
            let dead = ran && crashes + 1 >= MAX_CRASHES;
            let (state, due_ms) = match (cancelled, dead) {
                (true, _) => (State::Cancelled, None),
                (false, true) => (State::Dead, None),
                (false, false) => (State::Ready, Some(self.now_ms)),
            };
            self.connection
                .prepare_cached(
                    "UPDATE deliveries SET state = ?3, due_ms = ?4, crashes = crashes + ?5, pardoned = pardoned + 1
                     WHERE event = ?1 AND ordinal = ?2",
                )?
                .execute(params![delivery.event.row(), delivery.ordinal, state.code(), due_ms, ran])?;
            self.delta.moved(&plugin, Some(State::Leased), Some(state));
            if !ran {
                continue;
            }
            let reason = if state == State::Dead {
                "the host died while it ran this delivery, for the second time: quarantined"
            } else {
                "the host died while it ran this delivery"
            };
            say_crashed(&plugin, delivery, attempt, reason, state);
            self.connection
                .prepare_cached(
                    "INSERT INTO attempts (event, ordinal, number, started_ms, duration_us, outcome, error)
                     VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6)",
                )?
                .execute(params![
                    delivery.event.row(),
                    delivery.ordinal,
                    attempt,
                    self.wall_ms,
                    Outcome::Crash.code(),
                    reason,
                ])?;
        }
        Ok(recovered)
    }
}

/// At most as many lines as attempts run at once.
fn say_crashed(plugin: &PluginName, delivery: DeliveryId, attempt: u32, reason: &str, state: State) {
    let (event, outcome) = (delivery.event, Outcome::Crash.name());
    tracing::info!(
        event.id = %event, delivery.id = %delivery, plugin.name = %plugin, delivery.attempt = attempt, outcome, reason,
        "attempt failed"
    );
    if state == State::Dead {
        tracing::warn!(
            event.id = %event, delivery.id = %delivery, plugin.name = %plugin, delivery.attempt = attempt, reason,
            "dead letter"
        );
    }
}

/// A leased delivery.
struct Held {
    delivery: DeliveryId,
    plugin: PluginName,
    attempt: u32,
    crashes: u32,
    cancelled: bool,
}

/// Every leased delivery.
fn held(connection: &Connection) -> Result<Vec<Held>, rusqlite::Error> {
    let mut held = Vec::new();
    for crashes in 0..MAX_CRASHES {
        let mut after = String::new();
        // One seek a plugin: the open deliveries of a million-row backlog are never walked.
        while let Some(plugin) = next_plugin(connection, crashes, &after)? {
            let mut statement = connection.prepare_cached(
                "SELECT event, ordinal, attempt, cancelled FROM deliveries
                 WHERE crashes = ?1 AND plugin = ?2 AND due_ms = ?3",
            )?;
            let name: PluginName = plugin.as_str().into();
            let mut rows = statement.query(params![crashes, plugin, NEVER_MS])?;
            while let Some(row) = rows.next()? {
                let delivery = DeliveryId { event: EventId::from_row(row.get(0)?), ordinal: row.get(1)? };
                held.push(Held {
                    delivery,
                    plugin: name.clone(),
                    attempt: row.get(2)?,
                    crashes,
                    cancelled: row.get(3)?,
                });
            }
            after = plugin;
        }
    }
    Ok(held)
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
