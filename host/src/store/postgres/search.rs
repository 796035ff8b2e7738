//! Finds the deliveries that an operator's action is for: a bounded number of rows a call, oldest
//! first. An action takes its deliveries either from `open` or from `settled`. A retried delivery
//! keeps its place, which is behind the walk, and so is not met again.

use super::change::delivery_id;
use super::conditions::{Conditions, IdSpan};
use super::work::{Work, WorkError};
use crate::event::{DeliveryId, EventId, FailureId, State};
use crate::store::model::Position;
use crate::store::{Action, DeliveryFilter, Progress};

/// The most rows that one call visits. In tests so few that a handful of rows takes several calls.
const MAX_LOOKED: i64 = if cfg!(test) { 6 } else { 20_000 };

/// The most deliveries that one call finds.
const MAX_FOUND: usize = if cfg!(test) { 4 } else { 1_000 };

/// The most events of a tree that one call looks at.
const MAX_LOOKED_IN_TREE: usize = if cfg!(test) { 3 } else { 500 };

/// Whether an event has this subject, so that the index of subjects applies.
pub(super) const SUBJECT_IS: &str =
    "hashtextextended(e.subject, 0) = hashtextextended(?, 0) AND e.subject = ?";

/// The result of one call.
#[derive(Debug)]
pub(super) struct FoundRows {
    pub(super) deliveries: Vec<DeliveryId>,
    /// The states that they are meant to be in.
    pub(super) states: Vec<State>,
    /// Only deliveries of events before this row are meant.
    pub(super) before: i64,
    /// Where the next call goes on, unless this one has come to the end.
    pub(super) rest: Option<Position>,
}

/// Part of the walk: from a delivery on, to another one.
struct DeliveryWalk<'f> {
    filter: &'f DeliveryFilter,
    /// Whether the deliveries are in `open`.
    open: bool,
    /// Of those that are settled, only the dead ones.
    dead: bool,
    from: (i64, i32),
    end: (i64, i32),
}

/// The deliveries that `action` is for, from where an earlier call has stopped.
pub(super) async fn find(
    work: &Work<'_>,
    action: &Action,
    filter: &DeliveryFilter,
    from: Option<&Progress>,
) -> Result<FoundRows, WorkError> {
    let before = match from {
        Some(progress) => progress.before,
        None => {
            work.query_one("SELECT coalesce(max(id), 0) + 1 FROM hookbox.events", &[]).await?.get(0)
        }
    };
    let states = action.meant(filter.state);
    let mut found = FoundRows { deliveries: Vec::new(), states, before, rest: None };
    if found.states.is_empty() {
        return Ok(found);
    }
    let span = IdSpan::of(work, filter.since_ms, filter.until_ms).await?;
    let start = match from.and_then(|progress| progress.at.as_ref()) {
        Some(Position::Event(event, ordinal)) => (*event, i32::try_from(*ordinal).unwrap_or(0)),
        _ => (span.low, 0),
    };
    let open = found.states.iter().all(|state| !state.is_settled());
    let dead = found.states == [State::Dead];
    let mut walk = DeliveryWalk { filter, open, dead, from: start, end: (before.min(span.end), 0) };
    let stop = walk.stop(work).await?;
    walk.end = stop.unwrap_or(walk.end);
    found.deliveries = walk.matches(work, action, &found.states).await?;
    let position = |(event, ordinal): (i64, i32)| Position::Event(event, ordinal.unsigned_abs());
    found.rest = match found.deliveries.last() {
        Some(last) if found.deliveries.len() == MAX_FOUND => {
            // Of an event one delivery at most is moved.
            let is_move = matches!(action, Action::Move(_));
            let event = last.event.row();
            let next = if is_move { (event + 1, 0) } else { (event, last.ordinal) };
            Some(Position::Event(next.0, if is_move { 0 } else { next.1 + 1 }))
        }
        _ => stop.map(position),
    };
    Ok(found)
}

impl DeliveryWalk<'_> {
    /// The rows that it walks, with the columns that conditions name.
    fn rows(&self) -> &'static str {
        if self.open {
            "(SELECT o.*, (CASE WHEN o.holder IS NOT NULL THEN 1 WHEN o.waits THEN 2 ELSE 0
                  END)::smallint AS state, NULL::smallint AS outcome FROM hookbox.open o)"
        } else {
            "hookbox.settled"
        }
    }

    /// Where this call stops; nowhere if the rest of the walk is within bounds.
    async fn stop(&self, work: &Work<'_>) -> Result<Option<(i64, i32)>, WorkError> {
        let mut conditions = Conditions::default();
        let from = match &self.filter.subject {
            Some(subject) => {
                conditions.add(SUBJECT_IS, subject.clone());
                conditions.add("e.id > ?", self.from.0);
                conditions.add("e.id < ?", self.end.0);
                "e.id, 0 FROM hookbox.events e".to_owned()
            }
            None => {
                conditions.add("d.event >= ?", self.from.0);
                let after = format!("(d.event > ? OR d.ordinal >= {})", self.from.1);
                conditions.add(&after, self.from.0);
                conditions.add("d.event < ?", self.end.0);
                conditions.maybe("d.failure = ?", self.filter.failure.map(FailureId::row));
                if self.dead {
                    conditions.sql.push_str(" AND d.state = 4");
                }
                format!("d.event, d.ordinal FROM {} d", self.rows())
            }
        };
        let sql = format!(
            "SELECT {from} WHERE true {} ORDER BY 1, 2 OFFSET {MAX_LOOKED} LIMIT 1",
            conditions.sql
        );
        let found = work.query_opt(&sql, &conditions.values()).await?;
        Ok(found.map(|row| (row.get(0), row.get(1))))
    }

    async fn matches(
        &self,
        work: &Work<'_>,
        action: &Action,
        states: &[State],
    ) -> Result<Vec<DeliveryId>, WorkError> {
        let mut conditions = self.conditions();
        let codes: Vec<i16> = states.iter().map(|state| i16::from(state.code())).collect();
        conditions.add("d.state = ANY (?)", codes);
        if *action == Action::Cancel {
            conditions.sql.push_str(" AND NOT d.cancelled");
        }
        if self.dead {
            conditions.sql.push_str(" AND d.state = 4");
        }
        let (distinct, order) = match action {
            Action::Move(to) => {
                conditions.add(
                    "NOT EXISTS (SELECT FROM hookbox.open x
                         WHERE x.event = d.event AND x.plugin = ?)",
                    to.to_string(),
                );
                conditions.add(
                    "NOT EXISTS (SELECT FROM hookbox.settled x
                         WHERE x.event = d.event AND x.plugin = ? AND x.state NOT IN (5, 6))",
                    to.to_string(),
                );
                ("DISTINCT ON (d.event)", "d.event, d.crashes, d.due DESC, d.ordinal DESC")
            }
            _ => ("", "d.event, d.ordinal"),
        };
        let sql = format!(
            "SELECT {distinct} d.event, d.ordinal
             FROM {} d JOIN hookbox.events e ON e.id = d.event
             WHERE true {} ORDER BY {order} LIMIT {MAX_FOUND}",
            self.rows(),
            conditions.sql
        );
        let rows = work.query(&sql, &conditions.values()).await?;
        Ok(rows.iter().map(delivery_id).collect())
    }

    /// Those of the filter, but for its state, and of the part of the walk.
    fn conditions(&self) -> Conditions {
        let any = DeliveryFilter { state: None, ..self.filter.clone() };
        let mut conditions = Conditions::deliveries(&any);
        conditions.add("d.event >= ?", self.from.0);
        conditions.add(&format!("(d.event > ? OR d.ordinal >= {})", self.from.1), self.from.0);
        conditions.add("d.event <= ?", self.end.0);
        conditions.add(&format!("(d.event < ? OR d.ordinal < {})", self.end.1), self.end.0);
        conditions
    }
}

/// The open deliveries of the tree that an event is in, from where an earlier call has stopped;
/// `None` if there is no such event. Events that come while this goes on are found as well, if they
/// come after all others.
pub(super) async fn find_in_tree(
    work: &Work<'_>,
    action: &Action,
    event: EventId,
    from: Option<&Progress>,
) -> Result<Option<FoundRows>, WorkError> {
    let root: Option<i64> = work
        .query_opt("SELECT coalesce(root, id) FROM hookbox.events WHERE id = $1", &[&event.row()])
        .await?
        .map(|row| row.get(0));
    let Some(root) = root else { return Ok(None) };
    let since = match from.and_then(|progress| progress.at.as_ref()) {
        Some(Position::Event(event, _)) => *event,
        _ => i64::MIN,
    };
    let most = i64::try_from(MAX_LOOKED_IN_TREE + 1).unwrap_or(i64::MAX);
    let rows = work
        .query(
            "SELECT id FROM (
                 SELECT $1::bigint AS id WHERE $2 <= $1
                 UNION
                 SELECT e.id FROM hookbox.events e WHERE e.root = $1 AND e.id >= $2) t
             ORDER BY id LIMIT $3",
            &[&root, &since, &most],
        )
        .await?;
    let events: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let open = work
        .query(
            "SELECT o.event, o.ordinal FROM hookbox.open o
             WHERE o.event = ANY ($1) AND NOT o.cancelled ORDER BY o.event, o.ordinal",
            &[&events],
        )
        .await?;
    let states = action.meant(None);
    let mut found = FoundRows { deliveries: Vec::new(), states, before: i64::MAX, rest: None };
    let mut open = open.iter().map(delivery_id).peekable();
    for (looked, event) in events.into_iter().enumerate() {
        if looked >= MAX_LOOKED_IN_TREE || found.deliveries.len() >= MAX_FOUND {
            found.rest = Some(Position::Event(event, 0));
            break;
        }
        while let Some(id) = open.next_if(|id| id.event.row() == event) {
            found.deliveries.push(id);
        }
    }
    Ok(Some(found))
}
