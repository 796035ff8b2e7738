//! Deliveries that are ordered by a key.
//!
//! The deliveries of one plugin and one key that are not settled have numbers in the order in which
//! they entered. The first `per_key` of them are open. The others wait behind them, are never due,
//! and delay nothing else. All that end an open delivery open the next one in the same transaction.
//! Nothing is counted beside the rows, so that a crash leaves nothing to repair.
//!
//! A delivery enters when it is appended or, if it is delayed, when it is found due. A retry keeps
//! its number. A dead letter that holds its key keeps its number too, and comes first when it is
//! retried.

use rusqlite::{OptionalExtension, named_params, params};

use super::batch::{BEHIND_MS, NEVER_MS, WriteBatch};
use super::lease::DueDelivery;
use crate::clock::after_ms;
use crate::event::{DeliveryId, EventId, PluginName, State};
use crate::text::plain;

/// The place of a delivery within its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyPlace {
    /// It is open, and due at this host time.
    Open { number: i64, due_ms: i64 },
    /// It waits until others end.
    Behind { number: i64 },
    /// As many wait as may.
    Full { number: i64, waiting: u32 },
}

/// A reason for a key to wait.
struct Hold {
    /// Until when; [`NEVER_MS`] until an operator acts on a dead letter.
    until_ms: i64,
    /// The greatest number of the dead letters that hold it.
    number: i64,
}

impl WriteBatch<'_> {
    /// Gives a delivery its place behind those of its key that have entered already.
    pub(super) fn enter(&self, plugin: &str, key: &str) -> Result<KeyPlace, rusqlite::Error> {
        let last: Option<(i64, i64)> = self
            .connection
            .prepare_cached(
                "SELECT entered, due_ms FROM deliveries
                 WHERE plugin = ?1 AND key = ?2 AND due_ms IS NOT NULL AND entered IS NOT NULL
                 ORDER BY entered DESC LIMIT 1",
            )?
            .query_row([plugin, key], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let hold = self.hold(plugin, key)?;
        let number = last.map_or(0, |(number, _)| number);
        let number = number.max(hold.as_ref().map_or(0, |hold| hold.number)) + 1;
        let held = hold.as_ref().is_some_and(|hold| hold.until_ms == NEVER_MS);
        let policy = self.policies.key(plugin);
        let per_key = policy.as_ref().map_or(1, |policy| policy.per_key.get());
        let behind = match last {
            _ if held => true,
            None => false,
            Some((_, BEHIND_MS)) => true,
            Some(_) if per_key == 1 => true,
            Some(_) => self.entered(plugin, key, per_key)? >= per_key,
        };
        if behind {
            let most = policy.map_or(u32::MAX, |policy| policy.max_waiting);
            // Beside a dead letter that holds the key none is open.
            let open = if held { 0 } else { per_key };
            return self.behind(plugin, key, number, open, most);
        }
        let until_ms = hold.map_or(self.now_ms, |hold| hold.until_ms.max(self.now_ms));
        Ok(KeyPlace::Open { number, due_ms: until_ms })
    }

    /// How many of a key have entered and are not settled, up to `most`.
    fn entered(&self, plugin: &str, key: &str, most: u32) -> Result<u32, rusqlite::Error> {
        self.connection
            .prepare_cached(
                "SELECT count(*) FROM
                 (SELECT 1 FROM deliveries
                  WHERE plugin = ?1 AND key = ?2 AND due_ms IS NOT NULL AND entered IS NOT NULL LIMIT ?3)",
            )?
            .query_row(params![plugin, key, most], |row| row.get(0))
    }

    /// A place behind the others, unless as many wait as may. They are counted by their numbers, so
    /// that those that were cancelled among them may count.
    fn behind(
        &self,
        plugin: &str,
        key: &str,
        number: i64,
        open: u32,
        most: u32,
    ) -> Result<KeyPlace, rusqlite::Error> {
        let first: Option<i64> = self
            .connection
            .prepare_cached(
                "SELECT min(entered) FROM deliveries
                 WHERE plugin = ?1 AND key = ?2 AND due_ms IS NOT NULL AND entered IS NOT NULL",
            )?
            .query_row([plugin, key], |row| row.get(0))?;
        let waiting = first.map_or(0, |first| number - first - i64::from(open));
        Ok(match u32::try_from(waiting) {
            Ok(waiting) if waiting >= most => KeyPlace::Full { number, waiting },
            _ => KeyPlace::Behind { number },
        })
    }

    /// The reason for a key to wait, if there is one.
    fn hold(&self, plugin: &str, key: &str) -> Result<Option<Hold>, rusqlite::Error> {
        if !self.is_any_held()? {
            return Ok(None);
        }
        let (until_ms, number): (Option<i64>, Option<i64>) = self
            .connection
            .prepare_cached(
                "SELECT max(h.until_ms), max(d.entered)
                 FROM held_keys h LEFT JOIN deliveries d ON d.event = h.event AND d.ordinal = h.ordinal
                 WHERE h.plugin = ?1 AND h.key = ?2",
            )?
            .query_row([plugin, key], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(until_ms.map(|until_ms| Hold { until_ms, number: number.unwrap_or(0) }))
    }

    /// Whether any key is held, of any plugin; asked once in a transaction.
    fn is_any_held(&self) -> Result<bool, rusqlite::Error> {
        if let Some(known) = self.any_held.get() {
            return Ok(known);
        }
        let any: bool = self
            .connection
            .prepare_cached("SELECT max(until_ms) IS NOT NULL FROM held_keys")?
            .query_row([], |row| row.get(0))?;
        self.any_held.set(Some(any));
        Ok(any)
    }

    /// The host time before which no further attempt of a keyed delivery of `plugin` begins, if one
    /// began so long ago.
    pub(super) fn next_start_ms(&self, plugin: &str, since: std::time::Duration) -> i64 {
        let interval = self.policies.key(plugin).map_or_else(Default::default, |p| p.interval);
        after_ms(self.now_ms, interval.saturating_sub(since))
    }

    /// Opens the next deliveries of a key, because one of them has ended. The next one is not due
    /// before `not_before_ms`, and if there is none, whatever comes is not either.
    pub(super) fn open_next(
        &mut self,
        plugin: &PluginName,
        key: &str,
        not_before_ms: i64,
    ) -> Result<(), rusqlite::Error> {
        self.keep_apart(plugin, key, not_before_ms)?;
        if let Some(held) = &mut self.held_openings {
            held.push((plugin.clone(), key.to_owned(), not_before_ms));
            return Ok(());
        }
        let per_key = self.policies.key(plugin).map_or(1, |policy| policy.per_key.get());
        let first: Vec<(DeliveryId, i64)> = self
            .connection
            .prepare_cached(
                "SELECT event, ordinal, due_ms FROM deliveries
                 WHERE plugin = ?1 AND key = ?2 AND due_ms IS NOT NULL AND entered IS NOT NULL
                 ORDER BY entered LIMIT ?3",
            )?
            .query_map(params![plugin, key, per_key], |row| {
                let delivery =
                    DeliveryId { event: EventId::from_row(row.get(0)?), ordinal: row.get(1)? };
                Ok((delivery, row.get(2)?))
            })?
            .collect::<Result<_, _>>()?;
        // Most keys have nothing behind, and then it does not matter whether they are held.
        if first.iter().all(|(_, due_ms)| *due_ms != BEHIND_MS) {
            return Ok(());
        }
        let until_ms = self.hold(plugin, key)?.map_or(self.now_ms, |hold| hold.until_ms);
        if until_ms == NEVER_MS {
            return Ok(());
        }
        let not_before_ms = not_before_ms.max(until_ms);
        for (delivery, _) in first.into_iter().filter(|(_, due_ms)| *due_ms == BEHIND_MS) {
            self.open(delivery, plugin, not_before_ms.max(self.now_ms))?;
        }
        Ok(())
    }

    /// Does `work`, and lets keys go on only after it, and after whatever it is a part of: of
    /// several deliveries that it ends, none is opened by the end of another.
    pub(super) fn holding_keys<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, rusqlite::Error>,
    ) -> Result<T, rusqlite::Error> {
        if self.held_openings.is_some() {
            return work(self);
        }
        self.held_openings = Some(Vec::new());
        let done = work(self)?;
        for (plugin, key, not_before_ms) in self.held_openings.take().unwrap_or_default() {
            self.open_next(&plugin, &key, not_before_ms)?;
        }
        Ok(done)
    }

    /// Opens a delivery: it is leased if it is due and the dispatcher has a permit for it.
    pub(super) fn open(
        &mut self,
        id: DeliveryId,
        plugin: &PluginName,
        due_ms: i64,
    ) -> Result<(), rusqlite::Error> {
        if due_ms <= self.now_ms && self.dispatch.is_some() {
            let due = self.due_delivery(id, plugin)?;
            if let Some(damage) = &due.damage {
                return self.bury_damaged(&due, damage);
            }
            if let Some(permit) = self.permit(plugin, due.event.attributes.body.len()) {
                let lease = self.take(due, permit)?;
                self.leased.push(lease);
                return Ok(());
            }
        }
        let state = if due_ms <= self.now_ms { State::Ready } else { State::Waiting };
        self.connection
            .prepare_cached(
                "UPDATE deliveries SET state = ?3, due_ms = ?4 WHERE event = ?1 AND ordinal = ?2",
            )?
            .execute(params![id.event.row(), id.ordinal, state.code(), due_ms])?;
        self.delta.moved(plugin, Some(State::Waiting), Some(state));
        self.waiting.push((plugin.clone(), due_ms));
        Ok(())
    }

    /// Gives a delayed delivery that is due its place. Returns whether it is open and due.
    pub(super) fn enter_late(
        &mut self,
        due: &DueDelivery,
        key: &str,
    ) -> Result<bool, rusqlite::Error> {
        let (number, state, due_ms) = match self.enter(&due.plugin, key)? {
            KeyPlace::Open { number, due_ms } if due_ms <= self.now_ms => {
                (number, due.state, due_ms)
            }
            KeyPlace::Open { number, due_ms } => (number, State::Waiting, due_ms),
            KeyPlace::Behind { number } => (number, State::Waiting, BEHIND_MS),
            KeyPlace::Full { waiting, .. } => {
                self.bury(due, &too_many(&due.plugin, key, waiting))?;
                return Ok(false);
            }
        };
        self.connection
            .prepare_cached(
                "UPDATE deliveries SET entered = ?3, state = ?4, due_ms = ?5
                 WHERE event = ?1 AND ordinal = ?2",
            )?
            .execute(params![
                due.delivery.event.row(),
                due.delivery.ordinal,
                number,
                state.code(),
                due_ms
            ])?;
        self.delta.moved(&due.plugin, Some(due.state), Some(state));
        Ok(due_ms <= self.now_ms)
    }

    /// Ends what a delivery did to its key: the next one may go, unless it is a dead letter that
    /// holds it.
    pub(super) fn leave(
        &mut self,
        plugin: &PluginName,
        key: &str,
        dead: Option<DeliveryId>,
        not_before_ms: i64,
    ) -> Result<(), rusqlite::Error> {
        let holds = || self.policies.key(plugin).is_some_and(|policy| policy.hold);
        if let Some(dead) = dead
            && holds()
        {
            self.keep_apart(plugin, key, not_before_ms)?;
            return self.keep_waiting(plugin, key, Some(dead), NEVER_MS);
        }
        self.open_next(plugin, key, not_before_ms)
    }

    /// Keeps the next attempt of a key from beginning before this host time.
    pub(super) fn keep_apart(
        &self,
        plugin: &str,
        key: &str,
        not_before_ms: i64,
    ) -> Result<(), rusqlite::Error> {
        if not_before_ms <= self.now_ms {
            return Ok(());
        }
        self.keep_waiting(plugin, key, None, not_before_ms)
    }

    /// The host time before which no attempt of a key begins, dead letters that hold it aside.
    pub(super) fn earliest_start_ms(
        &self,
        plugin: &str,
        key: Option<&str>,
    ) -> Result<i64, rusqlite::Error> {
        let until_ms: Option<i64> = self
            .connection
            .prepare_cached(
                "SELECT until_ms FROM held_keys
                 WHERE plugin = ?1 AND key = ?2 AND event = 0 AND ordinal = 0",
            )?
            .query_row(params![plugin, key], |row| row.get(0))
            .optional()?;
        Ok(until_ms.map_or(self.now_ms, |until_ms| until_ms.max(self.now_ms)))
    }

    /// Keeps a key waiting until a time, or for a dead letter.
    fn keep_waiting(
        &self,
        plugin: &str,
        key: &str,
        dead: Option<DeliveryId>,
        until_ms: i64,
    ) -> Result<(), rusqlite::Error> {
        let (event, ordinal) = dead.map_or((0, 0), |dead| (dead.event.row(), dead.ordinal));
        self.any_held.set(Some(true));
        self.connection
            .prepare_cached(
                "INSERT INTO held_keys VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO UPDATE SET until_ms = max(until_ms, excluded.until_ms)",
            )?
            .execute(params![plugin, key, event, ordinal, until_ms])?;
        Ok(())
    }

    /// Forgets that a dead letter holds its key; says whether it did.
    pub(super) fn let_go(
        &self,
        plugin: &str,
        key: &str,
        dead: DeliveryId,
    ) -> Result<bool, rusqlite::Error> {
        let forgotten = self
            .connection
            .prepare_cached(
                "DELETE FROM held_keys WHERE plugin = ?1 AND key = ?2 AND event = ?3 AND ordinal = ?4",
            )?
            .execute(params![plugin, key, dead.event.row(), dead.ordinal])?;
        Ok(forgotten > 0)
    }

    /// Forgets keys that need not wait any more, at most `most` of them.
    pub(super) fn forget_held(&self, most: usize) -> Result<bool, rusqlite::Error> {
        let forgotten = self
            .connection
            .prepare_cached(
                "DELETE FROM held_keys WHERE (plugin, key, event, ordinal) IN
                 (SELECT plugin, key, event, ordinal FROM held_keys WHERE until_ms <= :now LIMIT :most)",
            )?
            .execute(named_params! { ":now": self.now_ms, ":most": most })?;
        Ok(forgotten == most)
    }
}

/// Why a delivery is a dead letter at once; for people.
pub(super) fn too_many(plugin: &str, key: &str, waiting: u32) -> String {
    format!(
        "`plugins.{plugin}.max_waiting_per_key`: {waiting} deliveries wait behind the key `{}` already",
        plain(key, 80)
    )
}
