//! Leases whose holder is gone: given back at an orderly close, recovered at the start after a
//! crash.

use std::time::Duration;

use rusqlite::{Connection, params};

use super::batch::{NEVER_MS, WriteBatch};
use super::deaths::Ending;
use super::rows::{next_plugin, read_group_id, read_text};
use crate::event::{AttemptRecord, DeliveryId, EventId, FailureId, Outcome, PluginName, State};
use crate::store::MAX_CRASHES;
use crate::store::journal::LeftRunning;

/// The leases that a killed host had left when the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Deliveries that it held.
    pub held: usize,
    /// Those of them that it was running.
    pub running: usize,
}

impl WriteBatch<'_> {
    /// Gives back the deliveries that are still leased when the store is closed: no attempt runs
    /// any more.
    pub(super) fn release(&mut self) -> Result<(), rusqlite::Error> {
        for lease in held(self.connection)? {
            let OpenLease { delivery, ref plugin, cancelled, .. } = lease;
            let (state, due_ms) = if cancelled {
                (State::Cancelled, None)
            } else {
                (State::Ready, Some(self.now_ms))
            };
            self.connection
                .prepare_cached(
                    "UPDATE deliveries SET state = ?3, due_ms = ?4, attempt = attempt - 1, cancelled = 0
                     WHERE event = ?1 AND ordinal = ?2",
                )?
                .execute(params![delivery.event.row(), delivery.ordinal, state.code(), due_ms])?;
            self.delta.moved(plugin, Some(State::Leased), Some(state));
            self.moved_in_group(lease.failure, State::Leased, Some(state));
            self.left_behind(&lease, state, self.now_ms)?;
        }
        Ok(())
    }

    /// Recovers the leases of a killed host. Their attempts are not counted, their numbers are
    /// never used again, and the deliveries are due again. An attempt that was running is recorded
    /// as a crash, and a delivery that was running [`MAX_CRASHES`] times when a host died is a dead
    /// letter. A delivery that an operator has cancelled ends.
    pub(super) fn recover(&mut self, left: &LeftRunning) -> Result<Recovered, rusqlite::Error> {
        let mut recovered = Recovered::default();
        for lease in held(self.connection)? {
            let OpenLease { delivery, ref plugin, attempt, crashes, cancelled, .. } = lease;
            let ran = left.holds(delivery, attempt);
            recovered.held += 1;
            recovered.running += usize::from(ran);
            let dead = ran && crashes + 1 >= MAX_CRASHES;
            let again_ms = match lease.key {
                Some(_) if ran => self.next_start_ms(plugin, Duration::ZERO),
                _ => self.now_ms,
            };
            let (state, due_ms) = match (cancelled, dead) {
                (true, _) => (State::Cancelled, None),
                (false, true) => (State::Dead, None),
                (false, false) if again_ms > self.now_ms => (State::Waiting, Some(again_ms)),
                (false, false) => (State::Ready, Some(self.now_ms)),
            };
            self.connection
                .prepare_cached(
                    "UPDATE deliveries SET state = ?3, due_ms = ?4, crashes = crashes + ?5, pardoned = pardoned + 1,
                         cancelled = cancelled AND ?5
                     WHERE event = ?1 AND ordinal = ?2",
                )?
                .execute(params![delivery.event.row(), delivery.ordinal, state.code(), due_ms,
                    ran])?;
            self.delta.moved(plugin, Some(State::Leased), Some(state));
            self.left_behind(&lease, state, again_ms)?;
            if !ran {
                self.moved_in_group(lease.failure, State::Leased, Some(state));
                continue;
            }
            let reason = if state == State::Dead {
                "the host died while it ran this delivery, for the second time: quarantined"
            } else {
                "the host died while it ran this delivery"
            };
            say_crashed(plugin, delivery, attempt, reason, state);
            let record = crashed(self.wall_ms, reason);
            self.settled_in_group((delivery, plugin), lease.failure, Some(&record), state)?;
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
            if state == State::Dead {
                self.notice_death(delivery, plugin)?;
            }
        }
        Ok(recovered)
    }

    /// Does what the end of a delivery asks for, if it has ended. Otherwise its key waits until the
    /// next attempt of it may begin.
    fn left_behind(
        &mut self,
        lease: &OpenLease,
        state: State,
        again_ms: i64,
    ) -> Result<(), rusqlite::Error> {
        let OpenLease { delivery, plugin, key, cancel_tag, subject, .. } = lease;
        if !state.is_settled() {
            return key.as_ref().map_or(Ok(()), |key| self.keep_apart(plugin, key, again_ms));
        }
        let ending = Ending {
            id: *delivery,
            plugin,
            key: key.as_deref(),
            cancel_tag: *cancel_tag,
            subject: subject.as_deref(),
        };
        let next_start_ms = self.next_start_ms(plugin, Duration::ZERO);
        self.ended(&ending, state, next_start_ms)
    }
}

/// The record of an attempt that ran when the host died.
fn crashed(started_at_ms: i64, reason: &str) -> AttemptRecord {
    AttemptRecord::of_host(started_at_ms, Outcome::Crash, Some(reason.to_owned()))
}

/// At most as many lines as attempts run at once.
fn say_crashed(
    plugin: &PluginName,
    delivery: DeliveryId,
    attempt: u32,
    reason: &str,
    state: State,
) {
    let (event, outcome) = (delivery.event, Outcome::Crash.name());
    tracing::info!(
        event.id = %event, delivery.id = %delivery, plugin.name = %plugin,
        delivery.attempt = attempt, outcome, reason,
        "attempt failed"
    );
    if state == State::Dead {
        tracing::warn!(
            event.id = %event, delivery.id = %delivery, plugin.name = %plugin,
            delivery.attempt = attempt, reason,
            "dead letter"
        );
    }
}

/// A leased delivery.
struct OpenLease {
    delivery: DeliveryId,
    plugin: PluginName,
    attempt: u32,
    crashes: u32,
    cancelled: bool,
    key: Option<String>,
    cancel_tag: Option<i64>,
    failure: Option<FailureId>,
    /// The subject of its event, if events can cancel it.
    subject: Option<String>,
}

/// Every leased delivery.
fn held(connection: &Connection) -> Result<Vec<OpenLease>, rusqlite::Error> {
    let mut held = Vec::new();
    for crashes in 0..MAX_CRASHES {
        let mut after = String::new();
        // One seek a plugin: the open deliveries of a million-row backlog are never walked.
        while let Some(plugin) = next_plugin(connection, crashes, &after)? {
            let mut statement = connection.prepare_cached(
                "SELECT event, ordinal, attempt, cancelled, key, cancel_tag,
                        CASE WHEN cancel_tag IS NULL THEN NULL ELSE (SELECT subject FROM events WHERE id = event) END, failure
                 FROM deliveries WHERE crashes = ?1 AND plugin = ?2 AND due_ms = ?3",
            )?;
            let name: PluginName = plugin.as_str().into();
            let mut rows = statement.query(params![crashes, plugin, NEVER_MS])?;
            while let Some(row) = rows.next()? {
                let delivery =
                    DeliveryId { event: EventId::from_row(row.get(0)?), ordinal: row.get(1)? };
                held.push(OpenLease {
                    delivery,
                    plugin: name.clone(),
                    attempt: row.get(2)?,
                    crashes,
                    cancelled: row.get(3)?,
                    key: row.get(4)?,
                    cancel_tag: row.get(5)?,
                    subject: read_text(row, 6)?,
                    failure: read_group_id(row, 7)?,
                });
            }
            after = plugin;
        }
    }
    Ok(held)
}
