//! Actions of operators on deliveries, within a transaction of the writer.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::batch::{BEHIND_MS, WriteBatch};
use super::deaths::Ending;
use super::erase;
use super::keys::KeyPlace;
use super::rows::{EVENT_COLUMNS, read_event, read_group_id, read_state, read_text};
use crate::event::{DeliveryId, EventId, FailureId, PluginName, State};
use crate::names::is_built_in;
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
pub(super) struct Stands {
    plugin: PluginName,
    pub(super) state: State,
    due_ms: Option<i64>,
    /// Whether it will be cancelled as soon as its attempt is settled.
    cancelled: bool,
    key: Option<String>,
    cancel_tag: Option<i64>,
    failure: Option<FailureId>,
    /// The subject of its event, if events can cancel it.
    subject: Option<String>,
}

impl Stands {
    /// Whether it waits behind others of its key.
    fn is_behind(&self) -> bool {
        self.due_ms == Some(BEHIND_MS)
    }

    /// Why `action` may not be done to it although its state allows it; for people.
    fn refusal(&self, action: &Action) -> Option<&'static str> {
        let is_own = is_built_in(&self.plugin);
        match action {
            Action::Move(_) if is_own => {
                Some("is the host's own and no plugin can have it; cancel it to end it")
            }
            Action::Retry | Action::RetryFresh if self.is_behind() => {
                Some("waits behind others of its key; cancel or discard those to let it go")
            }
            Action::Retry | Action::RetryFresh if is_own && self.state == State::Waiting => Some(
                "waits for its members or its time, and ends by itself; cancel it to end it now",
            ),
            _ => None,
        }
    }
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
        if action.is_retry()
            && let Some(emptied) = erase::emptied(self.connection, delivery.event)?
        {
            return Ok(Err(erase::refusal(delivery.event, emptied)));
        }
        if let Some(refusal) = stands.refusal(action) {
            return Ok(Err(StoreError::Conflict(format!("delivery `{delivery}` {refusal}"))));
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
        self.holding_keys(|work| {
            let mut changed = 0;
            for delivery in found {
                changed += u64::from(work.change_if(action, states, *delivery)?);
            }
            Ok(changed)
        })
    }

    /// Does `action` to a delivery if it is in one of these states; says whether it did.
    pub(super) fn change_if(
        &mut self,
        action: &Action,
        states: &[State],
        delivery: DeliveryId,
    ) -> Result<bool, rusqlite::Error> {
        let Some(stands) = self.stands(delivery)? else { return Ok(false) };
        if !action.takes_from(stands.state, stands.cancelled, states)
            || stands.refusal(action).is_some()
        {
            return Ok(false);
        }
        if action.is_retry() && erase::emptied(self.connection, delivery.event)?.is_some() {
            return Ok(false);
        }
        if let Action::Move(to) = action
            && delivery_to(self.connection, to, delivery.event)?.is_some()
        {
            return Ok(false);
        }
        self.apply(action, delivery, &stands)?;
        Ok(true)
    }

    pub(super) fn stands(&self, delivery: DeliveryId) -> Result<Option<Stands>, rusqlite::Error> {
        self.connection
            .prepare_cached(
                "SELECT plugin, state, due_ms, cancelled, key, cancel_tag,
                        CASE WHEN cancel_tag IS NULL THEN NULL ELSE (SELECT subject FROM events WHERE id = ?1) END,
                        failure
                 FROM deliveries WHERE event = ?1 AND ordinal = ?2",
            )?
            .query_row(params![delivery.event.row(), delivery.ordinal], |row| {
                Ok(Stands {
                    plugin: row.get::<_, String>(0)?.into(),
                    state: read_state(row, 1)?,
                    due_ms: row.get(2)?,
                    cancelled: row.get(3)?,
                    key: row.get(4)?,
                    cancel_tag: row.get(5)?,
                    subject: read_text(row, 6)?,
                    failure: read_group_id(row, 7)?,
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
        if *action == Action::RetryFresh {
            self.drop_steps(id)?;
        }
        match (action, stands.state) {
            (Action::Retry | Action::RetryFresh, State::Waiting) => self.due_at_once(id, stands),
            (Action::Retry | Action::RetryFresh, _) => self.begin_anew(id, stands),
            (Action::Cancel, State::Leased) => self.end_when_settled(id, stands),
            (Action::Cancel, _) => self.end(id, stands, State::Cancelled),
            (Action::Discard, _) => self.end(id, stands, State::Discarded),
            (Action::Undiscard, _) => self.be_dead_again(id, stands),
            (Action::Move(to), state) => self.hand_over(id, stands, state, to),
        }
    }

    /// Waiting to ready, or as soon as its key may have another attempt. It leaves the quarantine
    /// queue, as any that is retried does.
    fn due_at_once(&mut self, id: DeliveryId, stands: &Stands) -> Result<(), rusqlite::Error> {
        let earliest_ms = self.earliest_start_ms(&stands.plugin, stands.key.as_deref())?;
        let due_ms = stands.due_ms.map_or(earliest_ms, |due_ms| due_ms.min(earliest_ms));
        let state = if due_ms > self.now_ms { State::Waiting } else { State::Ready };
        self.connection
            .prepare_cached(
                "UPDATE deliveries SET state = ?3, due_ms = ?4, crashes = 0 WHERE event = ?1 AND ordinal = ?2",
            )?
            .execute(params![id.event.row(), id.ordinal, state.code(), due_ms])?;
        self.moved(stands, state);
        self.waiting.push((stands.plugin.clone(), due_ms));
        Ok(())
    }

    /// Settled to ready, or behind the others of its key; the attempts so far are not counted. A
    /// dead letter that held its key comes first, and a gathering that is not over waits on.
    fn begin_anew(&mut self, id: DeliveryId, stands: &Stands) -> Result<(), rusqlite::Error> {
        let (entered, due_ms) = match stands.key.as_deref() {
            None => (None, self.waits_for_members_until(id)?.unwrap_or(self.now_ms)),
            Some(key) if self.let_go(&stands.plugin, key, id)? => {
                (None, self.earliest_start_ms(&stands.plugin, Some(key))?)
            }
            Some(key) => match self.enter(&stands.plugin, key)? {
                KeyPlace::Open { number, due_ms } => (Some(number), due_ms),
                KeyPlace::Behind { number } | KeyPlace::Full { number, .. } => {
                    (Some(number), BEHIND_MS)
                }
            },
        };
        let state = if due_ms > self.now_ms { State::Waiting } else { State::Ready };
        self.connection
            .prepare_cached(
                "UPDATE deliveries SET state = ?3, due_ms = ?4, pardoned = attempt, crashes = 0, cancelled = 0,
                        again = 0, again_since_ms = NULL, entered = coalesce(?5, entered)
                 WHERE event = ?1 AND ordinal = ?2",
            )?
            .execute(params![id.event.row(), id.ordinal, state.code(), due_ms, entered])?;
        if let Some(tag) = stands.cancel_tag {
            self.make_cancellable(id, stands.subject.as_deref(), tag)?;
        }
        self.moved(stands, state);
        if due_ms < BEHIND_MS {
            self.waiting.push((stands.plugin.clone(), due_ms));
        }
        match &stands.key {
            // Nothing holds the key any more, and there may be room for others.
            Some(key) if entered.is_none() => self.open_next(&stands.plugin, key, self.now_ms),
            _ => Ok(()),
        }
    }

    /// Marks a leased delivery: it ends when its holder settles it.
    pub(super) fn end_when_settled(
        &mut self,
        id: DeliveryId,
        stands: &Stands,
    ) -> Result<(), rusqlite::Error> {
        self.delta.touch(&stands.plugin);
        self.connection
            .prepare_cached(
                "UPDATE deliveries SET cancelled = 1 WHERE event = ?1 AND ordinal = ?2",
            )?
            .execute(params![id.event.row(), id.ordinal])?;
        Ok(())
    }

    /// Ends a delivery that is not leased.
    pub(super) fn end(
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
        if let Some(key) = &stands.key
            && stands.state == State::Dead
        {
            return match self.let_go(&stands.plugin, key, id)? {
                true => self.open_next(&stands.plugin, key, self.now_ms),
                false => Ok(()),
            };
        }
        let ending = Ending {
            id,
            plugin: &stands.plugin,
            key: stands.key.as_deref(),
            cancel_tag: stands.cancel_tag,
            subject: stands.subject.as_deref(),
        };
        let next_start_ms = self.earliest_start_ms(&stands.plugin, ending.key)?;
        self.ended(&ending, state, next_start_ms)
    }

    /// Discarded to dead. It does not hold its key again: others have gone on.
    fn be_dead_again(&mut self, id: DeliveryId, stands: &Stands) -> Result<(), rusqlite::Error> {
        self.connection
            .prepare_cached("UPDATE deliveries SET state = ?3 WHERE event = ?1 AND ordinal = ?2")?
            .execute(params![id.event.row(), id.ordinal, State::Dead.code()])?;
        self.moved(stands, State::Dead);
        Ok(())
    }

    /// From one plugin to another; it leaves the quarantine queue, because it was the other one
    /// that crashed. It has the key that the other plugin's deliveries are ordered by.
    fn hand_over(
        &mut self,
        id: DeliveryId,
        stands: &Stands,
        state: State,
        to: &PluginName,
    ) -> Result<(), rusqlite::Error> {
        // The results of one plugin mean nothing to another.
        self.drop_steps(id)?;
        // A new key is entered when the delivery is found due.
        let key = self.key_for(to, id)?;
        let due_ms = match stands.due_ms {
            Some(due_ms) if due_ms < BEHIND_MS => due_ms,
            _ => self.now_ms,
        };
        self.connection
            .prepare_cached(
                "UPDATE deliveries SET plugin = ?3, pardoned = attempt, crashes = 0, key = ?4, entered = NULL, due_ms = ?5,
                        again = 0, again_since_ms = NULL
                 WHERE event = ?1 AND ordinal = ?2",
            )?
            .execute(params![id.event.row(), id.ordinal, to, key, due_ms])?;
        self.leave_group(id, stands.failure, state)?;
        self.delta.moved(&stands.plugin, Some(state), None);
        self.delta.moved(to, None, Some(state));
        self.waiting.push((to.clone(), due_ms));
        match &stands.key {
            Some(key) => {
                let next_start_ms = self.earliest_start_ms(&stands.plugin, Some(key))?;
                self.open_next(&stands.plugin, key, next_start_ms)
            }
            None => Ok(()),
        }
    }

    /// The key of a delivery for a plugin.
    fn key_for(&self, plugin: &str, id: DeliveryId) -> Result<Option<Arc<str>>, rusqlite::Error> {
        let Some(policy) = self.policies.key(plugin) else { return Ok(None) };
        let sql = format!("SELECT {EVENT_COLUMNS} FROM events e WHERE e.id = ?1");
        let event =
            self.connection.prepare_cached(&sql)?.query_row([id.event.row()], read_event)?;
        let key = policy.source.key_of(&event.attributes).ok();
        Ok(key.map(|key| key.text(event.tree())))
    }

    fn moved(&mut self, stands: &Stands, to: State) {
        self.delta.moved(&stands.plugin, Some(stands.state), Some(to));
        self.moved_in_group(stands.failure, stands.state, Some(to));
    }
}
