//! Listings: filters become conditions, and a page walks a bounded number of rows.

use std::fmt::Write as _;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::eras::Span;
use super::read::{DELIVERY_COLUMNS, attempts, read_delivery, with_waits};
use super::rows::{read_event, read_state, read_text};
use crate::config::routes::TypePattern;
use crate::event::{DeliveryId, EventId, FailureId, State};
use crate::store::model::MAX_SCANNED_ROWS;
use crate::store::{
    Cursor, DeliveryFilter, DeliveryView, Emptied, EventFilter, EventState, EventSummary, Page,
};

/// The columns [`read_summary`] reads, from a table named `e`.
pub(super) const SUMMARY_COLUMNS: &str = "e.id, e.source, e.type, e.subject, e.content_type, e.time_ms, e.parent, e.hops, x'', e.root, e.provider_id, e.note, length(e.body), (SELECT at_ms FROM erased x WHERE x.event = e.id), (SELECT asked FROM erased x WHERE x.event = e.id)";

/// Reads an event from [`SUMMARY_COLUMNS`], without its body and its deliveries.
pub(super) fn read_summary(row: &Row<'_>) -> Result<EventSummary, rusqlite::Error> {
    Ok(EventSummary {
        event: read_event(row)?,
        provider_id: read_text(row, 10)?,
        note: row.get(11)?,
        body_bytes: row.get(12)?,
        emptied: match row.get(13)? {
            Some(at_ms) => Some(Emptied { at_ms, asked: row.get(14)? }),
            None => None,
        },
        deliveries: Vec::new(),
    })
}

/// Conditions of a query and what fills their placeholders.
#[derive(Debug, Default)]
pub(super) struct Clauses {
    /// ` AND …` for each condition.
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Clauses {
    pub(super) fn add(&mut self, condition: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        // Numbered, so that a condition may stand anywhere and use its value twice.
        let numbered = condition.replace('?', &format!("?{}", self.values.len()));
        let _ = write!(self.sql, " AND {numbered}");
    }

    pub(super) fn maybe(&mut self, condition: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.add(condition, value);
        }
    }

    /// Conditions on `events e`.
    fn events(filter: &EventFilter, span: &Span) -> Self {
        let mut clauses = Self::default();
        clauses.maybe("e.type = ?", filter.kind.clone());
        clauses.maybe("e.source = ?", filter.source.clone());
        clauses.maybe("e.subject = ?", filter.subject.clone());
        clauses.sql.push_str(match filter.emitted {
            None => "",
            Some(true) => " AND substr(e.source, 1, 8) = 'plugins/'",
            Some(false) => " AND substr(e.source, 1, 8) <> 'plugins/'",
        });
        clauses.of_deliveries(filter);
        clauses.maybe(
            "(instr(e.body, CAST(? AS BLOB)) > 0 OR instr(e.type, ?) > 0 OR instr(coalesce(e.subject, ''), ?) > 0
              OR instr(coalesce(e.provider_id, ''), ?) > 0 OR instr(printf('evt_%016x', e.id), ?) > 0)",
            filter.text.clone(),
        );
        clauses.sql.push_str(&span.by_time("e.id"));
        clauses
    }

    /// Conditions on the deliveries of `events e`: one of them meets all.
    fn of_deliveries(&mut self, filter: &EventFilter) {
        let failing = filter.state == Some(EventState::Failing);
        let state = match filter.state {
            None | Some(EventState::Failing) => None,
            Some(EventState::Unrouted) => {
                self.sql
                    .push_str(" AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event = e.id)");
                None
            }
            Some(EventState::Has(state)) => Some(i64::from(state.code())),
        };
        let asks = failing || filter.plugin.is_some() || filter.min_attempts.is_some();
        if state.is_none() && !asks {
            return;
        }
        self.sql.push_str(" AND EXISTS (SELECT 1 FROM deliveries d WHERE d.event = e.id");
        if failing {
            // Dead, or open after a failure. The plus keeps the index of failures out of it.
            self.sql.push_str(" AND (+d.state = 4 OR (d.state < 3 AND +d.failure IS NOT NULL))");
        }
        self.maybe("d.state = ?", state);
        self.maybe("d.plugin = ?", filter.plugin.clone());
        self.maybe("d.attempt >= ?", filter.min_attempts);
        self.sql.push(')');
    }

    /// Conditions on `deliveries d JOIN events e`.
    pub(super) fn deliveries(filter: &DeliveryFilter, span: &Span) -> Self {
        let mut clauses = Self::default();
        clauses.maybe("d.state = ?", filter.state.map(|state| i64::from(state.code())));
        clauses.maybe("d.plugin = ?", filter.plugin.clone());
        clauses.maybe("e.type = ?", filter.kind.clone());
        clauses.maybe("e.source = ?", filter.source.clone());
        clauses.maybe("e.subject = ?", filter.subject.clone());
        // A walk through a subject keeps its order only by its own index.
        let of_group = if filter.subject.is_some() { "+d.failure = ?" } else { "d.failure = ?" };
        clauses.maybe(of_group, filter.failure.map(FailureId::row));
        clauses.maybe("d.attempt >= ?", filter.min_attempts.map(i64::from));
        clauses.maybe(
            "(SELECT a.outcome FROM attempts a WHERE a.event = d.event AND a.ordinal = d.ordinal
              ORDER BY a.number DESC LIMIT 1) = ?",
            filter.outcome.map(|outcome| i64::from(outcome.code())),
        );
        clauses.sql.push_str(&span.by_time("d.event"));
        clauses
    }
}

/// Which rows a page walks, newest first, to find those that match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walk<'a> {
    Events,
    Subject(&'a str),
    Dead,
    Failed(FailureId),
}

impl<'a> Walk<'a> {
    /// The walk that finds events.
    fn of_events(filter: &'a EventFilter) -> Self {
        match (&filter.subject, filter.state) {
            (Some(subject), _) => Self::Subject(subject),
            (None, Some(EventState::Has(State::Dead))) => Self::Dead,
            (None, _) => Self::Events,
        }
    }

    /// The id `scanned` rows behind the first one from a row to another one, in an order.
    fn row_at(
        self,
        connection: &Connection,
        order: &str,
        [from, before]: [i64; 2],
        scanned: i64,
    ) -> Result<Option<i64>, rusqlite::Error> {
        let (id, rows, of): (_, _, Option<Value>) = match self {
            Self::Events => ("id", "events WHERE true", None),
            Self::Subject(subject) => {
                ("id", "events WHERE subject = ?4", Some(subject.to_owned().into()))
            }
            Self::Dead => ("event", "deliveries WHERE state = 4", None),
            Self::Failed(group) => {
                ("event", "deliveries WHERE failure = ?4", Some(group.row().into()))
            }
        };
        let sql = format!(
            "SELECT {id} FROM {rows} AND {id} >= ?1 AND {id} < ?2 ORDER BY {id} {order} LIMIT 1 OFFSET ?3"
        );
        let values = [from.into(), before.into(), scanned.into()].into_iter().chain(of);
        connection
            .prepare_cached(&sql)?
            .query_row(params_from_iter(values), |row| row.get(0))
            .optional()
    }

    /// Conditions on `events e` that match a filter from a row to another one.
    fn conditions(self, filter: &EventFilter, span: &Span, [from, before]: [i64; 2]) -> Clauses {
        let mut clauses = Clauses::events(filter, span);
        clauses.add("e.id < ?", before);
        clauses.add("e.id >= ?", from);
        if self == Self::Dead {
            // The literal state lets SQLite see that the partial index of dead letters applies.
            let dead = format!(
                "e.id IN (SELECT event FROM deliveries WHERE state = 4 AND event < ? AND event >= {from})"
            );
            clauses.add(&dead, before);
        }
        clauses
    }
}

/// A bounded part of a walk: the ids of events from `from`, inclusive, to `before`, exclusive.
#[derive(Debug)]
struct PageWindow {
    before: i64,
    from: i64,
    /// Where the next page goes on; `None` where the rest of the walk is within bounds.
    low: Option<i64>,
}

impl PageWindow {
    /// The first `scanned` rows of `walk` below `before`, none of them before `least`.
    fn new(
        connection: &Connection,
        walk: Walk<'_>,
        before: i64,
        scanned: i64,
        least: i64,
    ) -> Result<Self, rusqlite::Error> {
        let low = walk.row_at(connection, "DESC", [least, before], scanned)?;
        // No row before this one matches, so the search does not go on there.
        let low = low.filter(|low| *low > least);
        Ok(Self { before, from: low.unwrap_or(least), low })
    }
}

/// The first id that a page does not visit: where the page before ended, or where the listing may
/// begin.
fn before(after: Option<EventId>, span: &Span) -> i64 {
    after.map_or(i64::MAX, EventId::row).min(span.end)
}

/// The statement of a page of events, its conditions and its window.
fn events_query(
    connection: &Connection,
    filter: &EventFilter,
    span: &Span,
    page: Page,
) -> Result<(String, Clauses, PageWindow), rusqlite::Error> {
    let walk = Walk::of_events(filter);
    let scanned = filter.scan_limit(page);
    let before = before(page.after.map(|cursor| cursor.0.event), span);
    let least = filter.after.map_or(i64::MIN, |after| after.row().saturating_add(1));
    let window = PageWindow::new(connection, walk, before, scanned, span.low.max(least))?;
    let clauses = walk.conditions(filter, span, [window.from, window.before]);
    // SQLite knows nothing of patterns: of those rows more are read than are shown.
    let rows = if filter.pattern.is_some() { scanned + 1 } else { page.limit as i64 };
    let sql = format!(
        "SELECT {SUMMARY_COLUMNS} FROM events e WHERE 1 {} ORDER BY e.id DESC LIMIT {rows}",
        clauses.sql
    );
    Ok((sql, clauses, window))
}

/// A page of events, newest first.
pub(super) fn events(
    connection: &Connection,
    filter: &EventFilter,
    span: &Span,
    page: Page,
) -> Result<(Vec<EventSummary>, Option<Cursor>), rusqlite::Error> {
    let page = Page { limit: page.rows(), ..page };
    let (sql, clauses, PageWindow { low, .. }) = events_query(connection, filter, span, page)?;
    let mut found = Vec::new();
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(&clauses.values))?;
    while found.len() < page.limit
        && let Some(row) = rows.next()?
    {
        let fits = |pattern: &TypePattern| {
            row.get_ref(2).is_ok_and(|kind| kind.as_str().is_ok_and(|kind| pattern.takes(kind)))
        };
        if filter.pattern.as_ref().is_none_or(fits) {
            found.push(read_summary(row)?);
        }
    }
    let mut states = connection
        .prepare_cached("SELECT plugin, state FROM deliveries WHERE event = ?1 ORDER BY ordinal")?;
    for summary in &mut found {
        summary.deliveries = states
            .query_map([summary.event.id.row()], |row| {
                Ok((row.get::<_, String>(0)?.into(), read_state(row, 1)?))
            })?
            .collect::<Result<_, _>>()?;
    }
    let last = found.last().map(|summary| summary.event.id);
    let full = if found.len() == page.limit { last } else { None };
    let cursor = next_event(full, low);
    Ok((found, cursor.map(|event| Cursor(DeliveryId { event, ordinal: 0 }))))
}

/// The events that match from a row on, the oldest first, at most `limit` of them; and the row
/// from which the search goes on.
pub(super) fn events_onward(
    connection: &Connection,
    filter: &EventFilter,
    span: &Span,
    from: Option<i64>,
    limit: usize,
) -> Result<(Vec<EventId>, Option<i64>), rusqlite::Error> {
    let (walk, scanned) = (Walk::of_events(filter), filter.scan_limit(Page { limit, after: None }));
    let least = filter.after.map(|after| after.row().saturating_add(1));
    let from = span.low.max(from.or(least).unwrap_or(i64::MIN));
    // The search goes on behind this row, which is looked at.
    let last = walk.row_at(connection, "ASC", [from, span.end], scanned)?;
    let next = last.map(|last| last.saturating_add(1)).filter(|next| *next < span.end);
    let clauses = walk.conditions(filter, span, [from, next.unwrap_or(span.end)]);
    // As in a page: of rows that a pattern is for more are read.
    let rows = if filter.pattern.is_some() { scanned + 1 } else { limit as i64 };
    let sql = format!(
        "SELECT e.id, e.type FROM events e WHERE 1 {} ORDER BY e.id LIMIT {rows}",
        clauses.sql
    );
    let mut found = Vec::new();
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(&clauses.values))?;
    while found.len() < limit
        && let Some(row) = rows.next()?
    {
        let kind = read_text(row, 1)?.unwrap_or_default();
        if filter.pattern.as_ref().is_none_or(|pattern| pattern.takes(&kind)) {
            found.push(EventId::from_row(row.get(0)?));
        }
    }
    let full = if found.len() == limit { found.last() } else { None };
    let next = full.map(|last| last.row().saturating_add(1)).or(next);
    Ok((found, next))
}

/// Where the next page starts: after the last row of a full page, or where the window ended.
fn next_event(full: Option<EventId>, low: Option<i64>) -> Option<EventId> {
    full.or(low.map(EventId::from_row))
}

/// The statement of a page of deliveries, its conditions and its window.
fn deliveries_query(
    connection: &Connection,
    filter: &DeliveryFilter,
    span: &Span,
    page: Page,
) -> Result<(String, Clauses, PageWindow), rusqlite::Error> {
    let walk = match (&filter.subject, filter.failure, filter.state) {
        (Some(subject), ..) => Walk::Subject(subject),
        (None, Some(group), _) => Walk::Failed(group),
        (None, None, Some(State::Dead)) => Walk::Dead,
        (None, None, _) => Walk::Events,
    };
    // The cursor's own event may have further deliveries.
    let after = page.after.map(|Cursor(after)| after);
    let before =
        before(after.map(|after| EventId::from_row(after.event.row().saturating_add(1))), span);
    let window = PageWindow::new(connection, walk, before, MAX_SCANNED_ROWS, span.low)?;
    let mut clauses = Clauses::deliveries(filter, span);
    clauses.add("d.event < ?", window.before);
    clauses.add("d.event >= ?", window.from);
    if walk == Walk::Dead {
        // The literal state lets SQLite see that the partial index of dead letters applies.
        clauses.sql.push_str(" AND d.state = 4");
    }
    if let Some(after) = after {
        clauses.add(&format!("(d.event < ? OR d.ordinal > {})", after.ordinal), after.event.row());
    }
    // The same number; named by the table that is walked, it comes in order.
    let newest = if matches!(walk, Walk::Subject(_)) { "e.id" } else { "d.event" };
    let sql = format!(
        "SELECT {DELIVERY_COLUMNS} FROM deliveries d JOIN events e ON e.id = d.event
         WHERE 1 {} ORDER BY {newest} DESC, d.ordinal LIMIT {}",
        clauses.sql, page.limit
    );
    Ok((sql, clauses, window))
}

/// A page of deliveries, newest first, each with its last attempt.
pub(super) fn deliveries(
    connection: &Connection,
    filter: &DeliveryFilter,
    span: &Span,
    page: Page,
) -> Result<(Vec<DeliveryView>, Option<Cursor>), rusqlite::Error> {
    let page = Page { limit: page.rows(), ..page };
    let (sql, clauses, PageWindow { low, .. }) = deliveries_query(connection, filter, span, page)?;
    let mut found = connection
        .prepare(&sql)?
        .query_map(params_from_iter(&clauses.values), read_delivery)?
        .map(|view| with_waits(connection, view?))
        .collect::<Result<Vec<_>, _>>()?;
    for delivery in &mut found {
        delivery.attempts = attempts(connection, delivery.id, 1)?;
    }
    let cursor = match found.last() {
        Some(last) if found.len() == page.limit => Some(Cursor(last.id)),
        // The window includes its lowest event, so the next page starts behind all of its
        // deliveries.
        _ => low.map(|low| Cursor(DeliveryId { event: EventId::from_row(low), ordinal: u32::MAX })),
    };
    Ok((found, cursor))
}
