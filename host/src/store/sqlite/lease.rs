//! Leasing what is due.

use std::sync::Arc;

use rusqlite::{named_params, params};
use tokio::sync::OwnedSemaphorePermit;

use super::batch::{NEVER_MS, WriteBatch};
use super::rows::{EVENT_COLUMNS, read_event, read_state};
use super::sum;
use crate::clock::until;
use crate::event::{DeliveryId, Event, Outcome, PluginName, State};
use crate::store::{Lease, LeasePermit, LeaseQueue, Leased};

/// The most body bytes one call leases (and at least one delivery).
const MAX_LEASED_BYTES: usize = 4 << 20;

/// A delivery found due.
struct DueDelivery {
    delivery: DeliveryId,
    plugin: PluginName,
    state: State,
    attempt: u32,
    uncounted: u32,
    event: Event,
    /// Why the event is not the one that was stored, if so.
    damage: Option<String>,
}

impl WriteBatch<'_> {
    /// Leases what is due in a queue, at most one for each permit. `asked_ms` is the host time of
    /// the call.
    pub(super) fn lease(
        &mut self,
        queue: &LeaseQueue,
        mut permits: OwnedSemaphorePermit,
        asked_ms: i64,
    ) -> Result<Leased, rusqlite::Error> {
        let most = permits.num_permits();
        let (crashes, plugins) = match queue {
            LeaseQueue::Plugin(name) => (0, std::slice::from_ref(name)),
            LeaseQueue::Quarantine(names) => (1, names.as_slice()),
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
                let body_bytes = due.event.attributes.body.len();
                let memory = match self.dispatch.map(|dispatch| dispatch.memory(plugin, body_bytes))
                {
                    // The other deliveries stay due.
                    Some(None) => break,
                    Some(memory) => memory,
                    None => None,
                };
                let budget =
                    permits.split(1).expect("no more rows are read than there are permits");
                leases.push(self.take(due, LeasePermit { budget, memory })?);
            }
            let next: Option<i64> = self
                .connection
                .prepare_cached(
                    "SELECT min(due_ms) FROM deliveries WHERE crashes = ?1 AND plugin = ?2 AND due_ms < ?3",
                )?
                .query_row(params![crashes, plugin, NEVER_MS], |row| row.get(0))?;
            next_due_ms = next_due_ms.into_iter().chain(next).min();
        }
        Ok(Leased { leases, next_due_in: next_due_ms.map(|due_ms| until(asked_ms, due_ms)) })
    }

    fn due(
        &self,
        crashes: u32,
        plugin: &PluginName,
        most: usize,
    ) -> Result<Vec<DueDelivery>, rusqlite::Error> {
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
            let (attempt, uncounted) = (row.get(12)?, row.get(13)?);
            let damage = sum::damage(row, 14, &event.attributes)?;
            found.push(DueDelivery {
                delivery,
                plugin: plugin.clone(),
                state,
                attempt,
                uncounted,
                event,
                damage,
            });
            if bytes >= MAX_LEASED_BYTES {
                break;
            }
        }
        Ok(found)
    }

    fn take(&mut self, due: DueDelivery, permit: LeasePermit) -> Result<Lease, rusqlite::Error> {
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
            uncounted: due.uncounted,
            event: Arc::new(due.event),
            _permit: permit,
        })
    }

    /// Makes a dead letter of a delivery whose event is damaged.
    fn bury(&mut self, due: &DueDelivery, damage: &str) -> Result<(), rusqlite::Error> {
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
            .execute(params![event.row(), ordinal, attempt, self.wall_ms, Outcome::Error.code(),
                damage])?;
        self.delta.moved(&due.plugin, Some(due.state), Some(dead));
        metrics::counter!("hookbox_store_damaged_events_total").increment(1);
        tracing::error!(
            delivery.id = %due.delivery, plugin.name = %due.plugin, delivery.attempt = attempt,
            reason = damage,
            "dead letter"
        );
        Ok(())
    }
}
