//! Dead letters: what becomes of a delivery that cannot succeed, and who is told.
//!
//! A settlement brings the event that tells of its death. The store itself knows no routes, so
//! where it gives up on its own, it leaves a delivery to the host's plugin [`DEAD_LETTERS`], which
//! emits that event.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rusqlite::params;

use super::batch::WriteBatch;
use crate::event::{AttemptRecord, DEAD, DEAD_LETTERS, DeliveryId, Outcome, PluginName, State};
use crate::server::LineLimit;

/// Bounds the lines about dead letters that the store makes by itself: each event beyond
/// `max_waiting_per_key` is one.
static LINES: LazyLock<LineLimit> = LazyLock::new(|| LineLimit::new(10, Duration::from_secs(1)));

/// A delivery that ends.
pub(super) struct Ending<'e> {
    pub(super) id: DeliveryId,
    pub(super) plugin: &'e PluginName,
    pub(super) key: Option<&'e str>,
    pub(super) cancel_tag: Option<i64>,
    pub(super) subject: Option<&'e str>,
}

impl WriteBatch<'_> {
    /// Does what the end of a delivery asks for beside its own row: its key goes on, and no event
    /// cancels it any more. The next delivery of its key does not begin before `not_before_ms`.
    pub(super) fn ended(
        &mut self,
        ending: &Ending<'_>,
        state: State,
        not_before_ms: i64,
    ) -> Result<(), rusqlite::Error> {
        if let Some(tag) = ending.cancel_tag {
            self.forget_cancellable(ending.id, ending.subject, tag)?;
        }
        let dead = (state == State::Dead).then_some(ending.id);
        if let Some(dead) = dead {
            self.connection
                .prepare_cached(
                    "UPDATE deliveries SET deaths = deaths + 1 WHERE event = ?1 AND ordinal = ?2",
                )?
                .execute(params![dead.event.row(), dead.ordinal])?;
        }
        if let Some(key) = ending.key {
            self.leave(ending.plugin, key, dead, not_before_ms)?;
        }
        Ok(())
    }

    /// Leaves a delivery that tells of a death which the store itself has decided, if a route takes
    /// that. Of the deaths of those that tell of deaths nobody is told.
    pub(super) fn notice_death(
        &mut self,
        dead: DeliveryId,
        plugin: &PluginName,
    ) -> Result<(), rusqlite::Error> {
        let (event, notices) = (dead.event.row(), PluginName::from(DEAD_LETTERS));
        if *plugin == notices || !self.policies.tells_of_deaths(plugin) {
            return Ok(());
        }
        let made = self
            .connection
            .prepare_cached(
                "INSERT INTO dead_notices (event, ordinal, dead_ordinal, death)
                 SELECT d.event, (SELECT max(ordinal) + 1 FROM deliveries WHERE event = ?1), d.ordinal, d.deaths
                 FROM deliveries d JOIN events e ON e.id = d.event
                 WHERE d.event = ?1 AND d.ordinal = ?2 AND e.type <> ?3",
            )?
            .execute(params![event, dead.ordinal, DEAD])?;
        if made == 0 {
            return Ok(());
        }
        self.connection
            .prepare_cached(
                "INSERT INTO deliveries (event, ordinal, plugin, state, attempt, pardoned, crashes, replay, due_ms)
                 SELECT event, max(ordinal), ?2, ?3, 0, 0, 0, 0, ?4 FROM dead_notices WHERE event = ?1",
            )?
            .execute(params![event, notices, State::Ready.code(), self.now_ms])?;
        self.delta.moved(&notices, None, Some(State::Ready));
        self.waiting.push((notices, self.now_ms));
        Ok(())
    }

    /// Makes a dead letter of a delivery that waits and may not go on, with an attempt that says
    /// why.
    pub(super) fn give_up(
        &mut self,
        ending: &Ending<'_>,
        from: State,
        attempt: u32,
        reason: &str,
    ) -> Result<(), rusqlite::Error> {
        let (DeliveryId { event, ordinal }, dead) = (ending.id, State::Dead);
        let group = self.group_of(ending.id)?;
        self.moved_in_group(group, from, Some(State::Leased));
        let error = Some(reason.to_owned());
        let record = AttemptRecord::of_host(self.wall_ms, Outcome::Error, error);
        self.settled_in_group((ending.id, ending.plugin), group, Some(&record), dead)?;
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
                reason])?;
        self.delta.moved(ending.plugin, Some(from), Some(dead));
        if let Some(omitted) = LINES.admit(Instant::now()) {
            tracing::error!(
                delivery.id = %ending.id, plugin.name = %ending.plugin, delivery.attempt = attempt,
                reason, omitted,
                "dead letter"
            );
        }
        self.ended(ending, dead, self.now_ms)
    }
}
