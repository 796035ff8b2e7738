//! Leasing what is due.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Row, named_params, params};
use tokio::sync::OwnedSemaphorePermit;

use super::batch::{BEHIND_MS, NEVER_MS, WriteBatch};
use super::deaths::Ending;
use super::rows::{read_event, read_group_id, read_state, read_trace};
use super::sum;
use crate::clock::until;
use crate::event::{DEAD_LETTERS, DeliveryId, Event, PluginName, State};
use crate::names::is_built_in;
use crate::store::model::LeaseTerms;
use crate::store::{AgainSoFar, Lease, LeasePermit, LeaseQueue, Leased};

/// The most body bytes one call leases (and at least one delivery).
const MAX_LEASED_BYTES: usize = 4 << 20;

/// The most delayed deliveries that one call gives their places within their keys.
const MAX_ENTERED: usize = 512;

/// A delivery found due.
pub(super) struct DueDelivery {
    pub(super) delivery: DeliveryId,
    pub(super) plugin: PluginName,
    pub(super) state: State,
    attempt: u32,
    uncounted: u32,
    deaths: u32,
    due_ms: i64,
    pub(super) event: Event,
    terms: LeaseTerms,
    /// Whether it has a place within its key.
    entered: bool,
    /// Why the event is not the one that was stored, if so.
    pub(super) damage: Option<String>,
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
        let (mut leases, mut memory_is_full) = (Vec::new(), false);
        let mut next_due_ms: Option<i64> = None;
        for plugin in plugins {
            let mut entered = 0;
            'plugin: while leases.len() < most && entered < MAX_ENTERED {
                let due = self.due(crashes, plugin, most - leases.len())?;
                let before = entered;
                for due in due {
                    if !self.can_be_handed_out(&due, &mut entered)? {
                        continue;
                    }
                    let body_bytes = due.event.attributes.body.len();
                    let memory = self.dispatch.map(|dispatch| dispatch.memory(plugin, body_bytes));
                    if let Some(None) = memory {
                        // The other deliveries stay due.
                        memory_is_full = true;
                        break 'plugin;
                    }
                    let budget =
                        permits.split(1).expect("no more rows are read than there are permits");
                    leases.push(self.take(due, LeasePermit { budget, memory: memory.flatten() })?);
                }
                if entered == before {
                    break;
                }
            }
            let next: Option<i64> = self
                .connection
                .prepare_cached(
                    "SELECT min(due_ms) FROM deliveries WHERE crashes = ?1 AND plugin = ?2 AND due_ms < ?3",
                )?
                .query_row(params![crashes, plugin, BEHIND_MS], |row| row.get(0))?;
            next_due_ms = next_due_ms.into_iter().chain(next).min();
        }
        Ok(Leased {
            leases,
            next_due_in: next_due_ms.map(|due_ms| until(asked_ms, due_ms)),
            memory_is_full,
        })
    }

    /// Whether a delivery that is due can be leased. A damaged one is buried, and one that was
    /// delayed gets its place within its key, which `entered` counts.
    fn can_be_handed_out(
        &mut self,
        due: &DueDelivery,
        entered: &mut usize,
    ) -> Result<bool, rusqlite::Error> {
        if let Some(damage) = due.damage.as_deref()
            && *due.plugin != *DEAD_LETTERS
        {
            self.bury_damaged(due, damage)?;
            return Ok(false);
        }
        match due.terms.key.as_deref() {
            Some(key) if !due.entered => {
                *entered += 1;
                self.enter_late(due, key)
            }
            _ => Ok(true),
        }
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
            "SELECT {DUE_COLUMNS} FROM deliveries d JOIN events e ON e.id = d.event
             WHERE d.crashes = :crashes AND d.plugin = :plugin AND d.due_ms <= :now
             ORDER BY d.due_ms, d.event, d.ordinal LIMIT :most"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let now_ms = self.now_ms;
        let mut rows = statement.query(named_params! {
            ":crashes": crashes, ":plugin": plugin, ":now": self.now_ms, ":most": most,
        })?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let due = read_due(row, plugin, now_ms)?;
            bytes += due.event.attributes.body.len();
            found.push(due);
            if bytes >= MAX_LEASED_BYTES {
                break;
            }
        }
        Ok(found)
    }

    /// A delivery as if it were found due.
    pub(super) fn due_delivery(
        &self,
        id: DeliveryId,
        plugin: &PluginName,
    ) -> Result<DueDelivery, rusqlite::Error> {
        let sql = format!(
            "SELECT {DUE_COLUMNS} FROM deliveries d JOIN events e ON e.id = d.event
             WHERE d.event = ?1 AND d.ordinal = ?2"
        );
        self.connection
            .prepare_cached(&sql)?
            .query_row(params![id.event.row(), id.ordinal], |row| {
                read_due(row, plugin, self.now_ms)
            })
    }

    pub(super) fn take(
        &mut self,
        due: DueDelivery,
        permit: LeasePermit,
    ) -> Result<Lease, rusqlite::Error> {
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
        if is_built_in(&due.plugin) {
            self.freeze(due.delivery)?;
        }
        Ok(Lease {
            delivery: due.delivery,
            plugin: due.plugin,
            attempt,
            uncounted: due.uncounted,
            deaths: due.deaths,
            due_ms: due.due_ms,
            event: Arc::new(due.event),
            terms: due.terms,
            permit,
            held: None,
        })
    }

    /// Makes a dead letter of a delivery whose event is damaged.
    pub(super) fn bury_damaged(
        &mut self,
        due: &DueDelivery,
        damage: &str,
    ) -> Result<(), rusqlite::Error> {
        metrics::counter!("hookbox_store_damaged_events_total").increment(1);
        self.bury(due, damage)
    }

    /// Makes a dead letter of a delivery that is due and cannot be handed out.
    pub(super) fn bury(&mut self, due: &DueDelivery, reason: &str) -> Result<(), rusqlite::Error> {
        let ending = Ending {
            id: due.delivery,
            plugin: &due.plugin,
            // A delivery that has no place within its key yet leaves none.
            key: if due.entered { due.terms.key.as_deref() } else { None },
            cancel_tag: due.terms.cancel_tag,
            subject: due.event.attributes.subject.as_deref(),
        };
        self.give_up(&ending, due.state, due.attempt + 1, reason)?;
        self.notice_death(due.delivery, &due.plugin)
    }
}

/// The columns that [`read_due`] reads.
const DUE_COLUMNS: &str = "e.id, e.source, e.type, e.subject, e.content_type, e.time_ms, e.parent, e.hops, e.body, \
                           e.root, d.ordinal, d.state, d.attempt, d.pardoned, e.sum, d.key, d.entered, d.cancel_tag, \
                           d.deaths, d.steps, d.again, d.again_since_ms, d.failure, d.due_ms, e.trace";

/// Reads a delivery from the columns of [`DUE_COLUMNS`].
fn read_due(
    row: &Row<'_>,
    plugin: &PluginName,
    now_ms: i64,
) -> Result<DueDelivery, rusqlite::Error> {
    let event = Event { trace: read_trace(row, 24)?, ..read_event(row)? };
    let first_again_ms: Option<i64> = row.get(21)?;
    Ok(DueDelivery {
        delivery: DeliveryId { event: event.id, ordinal: row.get(10)? },
        plugin: plugin.clone(),
        state: read_state(row, 11)?,
        attempt: row.get(12)?,
        uncounted: row.get(13)?,
        damage: sum::damage(row, 14, &event.attributes)?,
        event,
        terms: LeaseTerms {
            key: row.get::<_, Option<String>>(15)?.map(Arc::from),
            cancel_tag: row.get(17)?,
            has_steps: row.get(19)?,
            failure: read_group_id(row, 22)?,
            again: AgainSoFar {
                count: row.get(20)?,
                since: first_again_ms.map_or(Duration::ZERO, |first_ms| until(first_ms, now_ms)),
            },
        },
        entered: row.get::<_, Option<i64>>(16)?.is_some(),
        deaths: row.get(18)?,
        due_ms: row.get::<_, Option<i64>>(23)?.unwrap_or(now_ms),
    })
}
