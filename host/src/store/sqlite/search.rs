//! Finds the deliveries that an operator's action is for: a bounded number of rows a call, beside
//! the writer, by the order in which they are stored. Open and dead deliveries have
//! indexes of their own, so settled rows cost nothing.
//!
//! Open deliveries are walked from the last due time to the first. So those that are leased come
//! first of their plugin, and one that is retried and fails again is usually behind the walk. One
//! whose next attempt is due sooner than the last one was may be met again; its attempts count as
//! usual.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::change::delivery_to;
use super::eras::Span;
use super::pages::Clauses;
use super::rows::next_plugin;
use crate::event::{DeliveryId, EventId, State};
use crate::store::model::Position;
use crate::store::{Action, DeliveryFilter, MAX_CRASHES, Progress};

/// The most rows that one call visits; more than an event has deliveries, so that every call gets
/// on. In tests so few that a handful of rows takes several calls.
const MAX_LOOKED: usize = if cfg!(test) { 6 } else { 20_000 };

/// The most deliveries that one call finds.
const MAX_FOUND: usize = if cfg!(test) { 4 } else { 1_000 };

/// The result of one call.
#[derive(Debug)]
pub(super) struct FoundDeliveries {
    pub(super) deliveries: Vec<DeliveryId>,
    /// The states that they are meant to be in.
    pub(super) states: Vec<State>,
    /// Only deliveries of events before this row are meant.
    pub(super) before: i64,
    /// Where the next call goes on, unless this one has come to the end.
    pub(super) rest: Option<Position>,
}

/// The deliveries that `action` is for, from where an earlier call has stopped.
pub(super) fn find(
    connection: &Connection,
    action: &Action,
    filter: &DeliveryFilter,
    span: &Span,
    from: Option<&Progress>,
) -> Result<FoundDeliveries, rusqlite::Error> {
    let before = match from {
        Some(progress) => progress.before,
        None => connection
            .query_row("SELECT coalesce(max(id), 0) + 1 FROM events", [], |row| row.get(0))?,
    };
    let states = action.meant(filter.state);
    let mut found = FoundDeliveries { deliveries: Vec::new(), states, before, rest: None };
    if found.states.is_empty() {
        return Ok(found);
    }
    let states = found.states.clone();
    let search = Search {
        connection,
        filter,
        stands: stands(action, &states),
        since: span.low,
        before: span.end.min(before),
        span,
    };
    let at = from.and_then(|progress| progress.at.as_ref());
    let by_attempts =
        filter.failure.is_some() || filter.outcome.is_some() || filter.min_attempts.is_some();
    if filter.subject.is_none() && !by_attempts && states.iter().all(|state| is_open(*state)) {
        search.open(at, &mut found)?;
    } else {
        let dead = filter.subject.is_none() && filter.failure.is_none() && states == [State::Dead];
        search.by_event(at, dead, &mut found)?;
    }
    if let Action::Move(to) = action {
        found.deliveries = untouched(connection, to, &found.deliveries)?;
    }
    Ok(found)
}

/// Those of an event that the plugin has no delivery of, one of each.
fn untouched(
    connection: &Connection,
    to: &str,
    found: &[DeliveryId],
) -> Result<Vec<DeliveryId>, rusqlite::Error> {
    let (mut untouched, mut events) = (Vec::with_capacity(found.len()), BTreeSet::new());
    for delivery in found {
        if events.insert(delivery.event) && delivery_to(connection, to, delivery.event)?.is_none() {
            untouched.push(*delivery);
        }
    }
    Ok(untouched)
}

fn is_open(state: State) -> bool {
    matches!(state, State::Ready | State::Leased | State::Waiting)
}

/// The condition on `deliveries d` for what an action takes from these states. With literals, so
/// that SQLite sees which partial index applies.
fn stands(action: &Action, states: &[State]) -> String {
    let code = State::code;
    match (action, states) {
        (Action::Cancel, states) => {
            let codes: Vec<_> = states.iter().map(|state| code(*state).to_string()).collect();
            format!("d.state IN ({}) AND d.cancelled = 0", codes.join(", "))
        }
        (_, states) => {
            let any: Vec<_> =
                states.iter().map(|state| format!("d.state = {}", code(*state))).collect();
            format!("({})", any.join(" OR "))
        }
    }
}

/// One search, as far as it does not depend on the order.
struct Search<'a> {
    connection: &'a Connection,
    filter: &'a DeliveryFilter,
    stands: String,
    /// Rows of events from here, inclusive.
    since: i64,
    /// To here, exclusive.
    before: i64,
    /// And of these.
    span: &'a Span,
}

impl Search<'_> {
    /// By event, oldest first: all deliveries, those of a subject, or the dead ones.
    fn by_event(
        &self,
        at: Option<&Position>,
        dead: bool,
        found: &mut FoundDeliveries,
    ) -> Result<(), rusqlite::Error> {
        let (event, ordinal) = match at {
            Some(Position::Event(event, ordinal)) if *event >= self.since => (*event, *ordinal),
            _ => (self.since, 0),
        };
        let end = self.end_of_window(event, dead)?;
        let rest =
            DeliveryFilter { state: None, since_ms: None, until_ms: None, ..self.filter.clone() };
        let mut clauses = Clauses::deliveries(&rest, self.span);
        // Named by the table that is walked, rows come in order.
        let (first, walked) = if self.filter.subject.is_some() {
            ("events e", "e.id")
        } else {
            ("deliveries d", "d.event")
        };
        let second = if self.filter.subject.is_some() { "deliveries d" } else { "events e" };
        clauses.add(&format!("{walked} >= ?"), event);
        clauses.add(&format!("{walked} < ?"), end.unwrap_or(self.before).min(self.before));
        clauses.add(&format!("({walked} > ? OR d.ordinal >= {ordinal})"), event);
        let sql = format!(
            "SELECT d.event, d.ordinal FROM {first} CROSS JOIN {second} ON e.id = d.event
             WHERE {} {} ORDER BY {walked}, d.ordinal LIMIT {MAX_FOUND}",
            self.stands, clauses.sql
        );
        let mut statement = self.connection.prepare(&sql)?;
        let rows =
            statement.query_map(params_from_iter(&clauses.values), |row| delivery(row, 0))?;
        found.deliveries = rows.collect::<Result<_, _>>()?;
        found.rest = match found.deliveries.last() {
            Some(last) if found.deliveries.len() == MAX_FOUND => {
                Some(Position::Event(last.event.row(), last.ordinal + 1))
            }
            _ => end.filter(|end| *end < self.before).map(|end| Position::Event(end, 0)),
        };
        Ok(())
    }

    /// The event at which one call stops; `None` if the rest of the walk is within bounds.
    fn end_of_window(&self, from: i64, dead: bool) -> Result<Option<i64>, rusqlite::Error> {
        let looked = MAX_LOOKED as i64;
        let end = match (&self.filter.subject, self.filter.failure) {
            (Some(subject), _) => self
                .connection
                .prepare_cached("SELECT id FROM events WHERE subject = ?3 AND id > ?1 ORDER BY id LIMIT 1 OFFSET ?2")?
                .query_row(params![from, looked, subject], |row| row.get(0)),
            (None, Some(group)) => self
                .connection
                .prepare_cached(
                    "SELECT event FROM deliveries WHERE failure = ?3 AND event > ?1 ORDER BY event LIMIT 1 OFFSET ?2",
                )?
                .query_row([from, looked, group.row()], |row| row.get(0)),
            (None, None) if dead => self
                .connection
                .prepare_cached(
                    "SELECT event FROM deliveries WHERE state = 4 AND event > ?1 ORDER BY event LIMIT 1 OFFSET ?2",
                )?
                .query_row([from, looked], |row| row.get(0)),
            (None, None) => self
                .connection
                .prepare_cached("SELECT id FROM events WHERE id > ?1 ORDER BY id LIMIT 1 OFFSET ?2")?
                .query_row([from, looked], |row| row.get(0)),
        };
        end.optional()
    }

    /// Those that are open, plugin by plugin.
    fn open(
        &self,
        at: Option<&Position>,
        found: &mut FoundDeliveries,
    ) -> Result<(), rusqlite::Error> {
        let mut left = MAX_LOOKED;
        let (mut crashes, mut group, mut after) = match at {
            Some(Position::Open { crashes, plugin, due_ms, event, ordinal }) => {
                (*crashes, Some(plugin.clone()), (*due_ms, *event, *ordinal))
            }
            _ => (0, self.next_group(0, None)?, LAST),
        };
        while crashes < MAX_CRASHES {
            let Some(plugin) = group else {
                crashes += 1;
                group = self.next_group(crashes, None)?;
                continue;
            };
            let (looked, last) = self.walk(crashes, &plugin, after, left, &mut found.deliveries)?;
            if looked == left || found.deliveries.len() == MAX_FOUND {
                let (due_ms, event, ordinal) = last;
                found.rest = Some(Position::Open { crashes, plugin, due_ms, event, ordinal });
                return Ok(());
            }
            // At least one, also for a plugin of which nothing is left.
            left -= looked.max(1).min(left);
            group = self.next_group(crashes, Some(&plugin))?;
            after = LAST;
        }
        Ok(())
    }

    /// The next plugin with open deliveries.
    fn next_group(
        &self,
        crashes: u32,
        after: Option<&str>,
    ) -> Result<Option<String>, rusqlite::Error> {
        match &self.filter.plugin {
            Some(plugin) => Ok(after.is_none().then(|| plugin.clone())),
            None => next_plugin(self.connection, crashes, after.unwrap_or("")),
        }
    }

    /// Visits at most `most` open deliveries of a plugin before `after`; returns their number and
    /// the last one.
    fn walk(
        &self,
        crashes: u32,
        plugin: &str,
        after: DuePosition,
        most: usize,
        found: &mut Vec<DeliveryId>,
    ) -> Result<(usize, DuePosition), rusqlite::Error> {
        let mut clauses = Clauses::default();
        clauses.maybe("e.type = ?", self.filter.kind.clone());
        clauses.maybe("e.source = ?", self.filter.source.clone());
        let of_event = if clauses.values.is_empty() {
            String::new()
        } else {
            format!(
                "AND EXISTS (SELECT 1 FROM events e WHERE e.id = d.event {})",
                std::mem::take(&mut clauses.sql)
            )
        };
        clauses.add("d.crashes = ?", crashes);
        clauses.add("d.plugin = ?", plugin.to_owned());
        let (due_ms, event, ordinal) = after;
        clauses.add(&format!("(d.due_ms, d.event, d.ordinal) < (?, {event}, {ordinal})"), due_ms);
        let sql = format!(
            "SELECT d.due_ms, d.event, d.ordinal,
                    ({} AND d.event >= {} AND d.event < {} {} {of_event})
             FROM deliveries d WHERE d.due_ms IS NOT NULL {}
             ORDER BY d.due_ms DESC, d.event DESC, d.ordinal DESC LIMIT {most}",
            self.stands,
            self.since,
            self.before,
            self.span.by_time("d.event"),
            clauses.sql
        );
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query(params_from_iter(&clauses.values))?;
        let (mut looked, mut last) = (0, after);
        while let Some(row) = rows.next()? {
            looked += 1;
            last = (row.get(0)?, row.get(1)?, row.get(2)?);
            if row.get(3)? {
                found.push(delivery(row, 1)?);
            }
            if found.len() == MAX_FOUND {
                break;
            }
        }
        Ok((looked, last))
    }
}

/// The position of an open delivery in the index: due time, event, ordinal.
type DuePosition = (i64, i64, u32);

/// After all of them.
const LAST: DuePosition = (i64::MAX, i64::MAX, u32::MAX);

fn delivery(row: &Row<'_>, column: usize) -> Result<DeliveryId, rusqlite::Error> {
    Ok(DeliveryId { event: EventId::from_row(row.get(column)?), ordinal: row.get(column + 1)? })
}
