//! Actions of operators on deliveries, within a transaction of the writer.

use rusqlite::{Connection, OptionalExtension, params};

use super::batch::WriteBatch;
use super::rows::read_state;
use crate::event::{DeliveryId, EventId, PluginName, State};
use crate::store::{Action, StoreError};

/// The delivery of an event that a plugin has, if an operator has not ended it.
pub(super) fn delivery_to(
    connection: &Connection,
    plugin: &str,
    event: EventId,
) -> Result<Option<DeliveryId>, rusqlite::Error> {
    let [cancelled, discarded] = [State::Cancelled, State::Discarded].map(State::code);
    let ordinal = connection
        .prepare_cached(
            "SELECT ordinal FROM deliveries WHERE event = ?1 AND plugin = ?2 AND state NOT IN (?3, ?4) LIMIT 1",
        )?
        .query_row(params![event.row(), plugin, cancelled, discarded], |row| row.get(0))
        .optional()?;
    Ok(ordinal.map(|ordinal| DeliveryId { event, ordinal }))
}

/// The columns that decide whether an action takes a delivery.
struct Stands {
    plugin: PluginName,
    state: State,
    due_ms: Option<i64>,
    /// Whether it will be cancelled as soon as its attempt is settled.
    cancelled: bool,
}

impl WriteBatch<'_> {
    /// Does `action` to one delivery.
    pub(super) fn change(
        &mut self,
        action: &Action,
        delivery: DeliveryId,
    ) -> Result<Result<u64, StoreError>, rusqlite::Error> {
        let Some(stands) = self.stands(delivery)? else {
            return Ok(Err(StoreError::NotFound(format!("delivery `{delivery}`"))));
        };
        if !action.takes_from(stands.state, stands.cancelled, action.takes()) {
            return Ok(Err(StoreError::Conflict(action.refusal(stands.state, delivery))));
        }
        if let Action::Move(to) = action
            && let Some(other) = delivery_to(self.connection, to, delivery.event)?
        {
            let why = match other == delivery {
                true => format!("it is of plugin `{to}` already"),
                false => format!("plugin `{to}` has `{other}` of the same event"),
            };
            return Ok(Err(StoreError::Conflict(format!(
                "delivery `{delivery}` cannot be moved: {why}"
            ))));
        }
        self.apply(action, delivery, &stands)?;
        Ok(Ok(1))
    }

    /// Does `action` to those that are still in one of these states; says how many.
    pub(super) fn change_all(
        &mut self,
        action: &Action,
        states: &[State],
        found: &[DeliveryId],
    ) -> Result<u64, rusqlite::Error> {
        let mut changed = 0;
        for delivery in found {
            let Some(stands) = self.stands(*delivery)? else { continue };
            if !action.takes_from(stands.state, stands.cancelled, states) {
                continue;
            }
            let free = match action {
                Action::Move(to) => delivery_to(self.connection, to, delivery.event)?.is_none(),
                _ => true,
            };
            if free {
                self.apply(action, *delivery, &stands)?;
                changed += 1;
            }
        }
        Ok(changed)
    }

    fn stands(&self, delivery: DeliveryId) -> Result<Option<Stands>, rusqlite::Error> {
        self.connection
            .prepare_cached(
                "SELECT plugin, state, due_ms, cancelled FROM deliveries WHERE event = ?1 AND ordinal = ?2",
            )?
            .query_row(params![delivery.event.row(), delivery.ordinal], |row| {
                Ok(Stands {
                    plugin: row.get::<_, String>(0)?.into(),
                    state: read_state(row, 1)?,
                    due_ms: row.get(2)?,
                    cancelled: row.get(3)?,
                })
            })
            .optional()
    }

    fn apply(
        &mut self,
        action: &Action,
        id: DeliveryId,
        stands: &Stands,
    ) -> Result<(), rusqlite::Error> {
        match (action, stands.state) {
            (Action::Retry, State::Waiting) => self.due_at_once(id, stands),
            (Action::Retry, _) => self.begin_anew(id, stands),
            (Action::Cancel, State::Leased) => self.end_when_settled(id, stands),
            (Action::Cancel, _) => self.end(id, stands, State::Cancelled),
            (Action::Discard, _) => self.end(id, stands, State::Discarded),
            (Action::Move(to), state) => self.hand_over(id, stands, state, to),
        }
    }

    /// Waiting to ready. It leaves the quarantine queue, as any that is retried does.
    fn due_at_once(&mut self, id: DeliveryId, stands: &Stands) -> Result<(), rusqlite::Error> {
        let due_ms = stands.due_ms.map_or(self.now_ms, |due_ms| due_ms.min(self.now_ms));
        self.connection
            .prepare_cached(
                "UPDATE deliveries SET state = ?3, due_ms = ?4, crashes = 0 WHERE event = ?1 AND ordinal = ?2",
            )?
            .execute(params![id.event.row(), id.ordinal, State::Ready.code(), due_ms])?;
        self.moved(stands, State::Ready);
        self.waiting.push((stands.plugin.clone(), due_ms));
        Ok(())
    }

    /// Settled to ready; the attempts so far are not counted.
    fn begin_anew(&mut self, id: DeliveryId, stands: &Stands) -> Result<(), rusqlite::Error> {
        self.connection
            .prepare_cached(
                "UPDATE deliveries SET state = ?3, due_ms = ?4, pardoned = attempt, crashes = 0, cancelled = 0
                 WHERE event = ?1 AND ordinal = ?2",
            )?
            .execute(params![id.event.row(), id.ordinal, State::Ready.code(), self.now_ms])?;
        self.moved(stands, State::Ready);
        self.waiting.push((stands.plugin.clone(), self.now_ms));
        Ok(())
    }

    /// Marks a leased delivery: it ends when its holder settles it.
    fn end_when_settled(&mut self, id: DeliveryId, stands: &Stands) -> Result<(), rusqlite::Error> {
        self.delta.touch(&stands.plugin);
        self.connection
            .prepare_cached(
                "UPDATE deliveries SET cancelled = 1 WHERE event = ?1 AND ordinal = ?2",
            )?
            .execute(params![id.event.row(), id.ordinal])?;
        Ok(())
    }

    fn end(
        &mut self,
        id: DeliveryId,
        stands: &Stands,
        state: State,
    ) -> Result<(), rusqlite::Error> {
        self.connection
            .prepare_cached(
                "UPDATE deliveries SET state = ?3, due_ms = NULL WHERE event = ?1 AND ordinal = ?2",
            )?
            .execute(params![id.event.row(), id.ordinal, state.code()])?;
        self.moved(stands, state);
        Ok(())
    }

    /// From one plugin to another; it leaves the quarantine queue, because it was the other one
    /// that crashed.
    fn hand_over(
        &mut self,
        id: DeliveryId,
        stands: &Stands,
        state: State,
        to: &PluginName,
    ) -> Result<(), rusqlite::Error> {
        self.connection
            .prepare_cached(
                "UPDATE deliveries SET plugin = ?3, pardoned = attempt, crashes = 0 WHERE event = ?1 AND ordinal = ?2",
            )?
            .execute(params![id.event.row(), id.ordinal, to])?;
        self.delta.moved(&stands.plugin, Some(state), None);
        self.delta.moved(to, None, Some(state));
        self.waiting.push((to.clone(), stands.due_ms.unwrap_or(self.now_ms)));
        Ok(())
    }

    fn moved(&mut self, stands: &Stands, to: State) {
        self.delta.moved(&stands.plugin, Some(stands.state), Some(to));
    }
}
