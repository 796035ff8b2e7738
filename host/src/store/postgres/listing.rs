//! Listings, newest first: a page walks a bounded number of rows. Deliveries are in `open` and in
//! `settled`; the caller's transaction is of one moment, so that each is found once.

use tokio_postgres::Row;

use super::change::emptied_at;
use super::client::SqlClient as Client;
use super::conditions::{Conditions, IdSpan, rows_in};
use super::read::{ShownAs, delivery_views};
use super::rows::{read_event, read_state};
use super::work::WorkError;
use crate::config::routes::TypePattern;
use crate::event::{DeliveryId, EventId, FailureId, State};
use crate::store::model::MAX_SCANNED_ROWS;
use crate::store::{
    Cursor, DeliveryFilter, DeliveryView, EventFilter, EventState, EventSummary, Page,
};

/// The columns of [`read_event`] without the body, and those that [`read_summary`] reads, from a
/// table named `e`.
pub(super) const SUMMARY_COLUMNS: &str = "e.id, e.source, e.type, e.subject, e.content_type, \
     e.time_ms, e.parent, e.root, e.hops, NULL::bytea, ''::bytea, e.provider_id, e.note, \
     octet_length(e.body), (SELECT r.at_ms FROM hookbox.erased r WHERE r.event = e.id), \
     (SELECT r.asked FROM hookbox.erased r WHERE r.event = e.id)";

/// Reads an event from [`SUMMARY_COLUMNS`], without its body and its deliveries.
pub(super) fn read_summary(row: &Row) -> EventSummary {
    EventSummary {
        event: read_event(row),
        provider_id: row.get(11),
        note: row.get(12),
        emptied: emptied_at(row, 14),
        body_bytes: u64::from(row.get::<_, i32>(13).unsigned_abs()),
        deliveries: Vec::new(),
    }
}

/// Which rows a page walks, newest first, to find those that match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListingWalk {
    Events,
    Open,
    Settled,
    Dead,
    Failed(FailureId),
}

impl ListingWalk {
    /// The walk that finds events.
    fn of_events(filter: &EventFilter) -> Self {
        match filter.state {
            Some(EventState::Has(state)) => Self::of_state(state),
            Some(EventState::Unrouted | EventState::Failing) | None => Self::Events,
        }
    }

    /// The walk through the deliveries in a state.
    fn of_state(state: State) -> Self {
        match state {
            State::Dead => Self::Dead,
            state if state.is_settled() => Self::Settled,
            _ => Self::Open,
        }
    }

    /// The rows as a table of `event`s.
    fn rows(self) -> String {
        match self {
            Self::Events => "(SELECT id AS event FROM hookbox.events)".to_owned(),
            Self::Open => "hookbox.open".to_owned(),
            Self::Settled => "hookbox.settled".to_owned(),
            Self::Dead => "(SELECT event FROM hookbox.settled WHERE state = 4)".to_owned(),
            Self::Failed(group) => format!(
                "(SELECT event FROM hookbox.open WHERE failure = {0}
                  UNION ALL SELECT event FROM hookbox.settled WHERE failure = {0})",
                group.row()
            ),
        }
    }

    /// Conditions on `events e` that match a filter from a row to another one.
    fn conditions(self, filter: &EventFilter, [from, before]: [i64; 2]) -> Conditions {
        let mut conditions = Conditions::events(filter);
        ListingWindow { before, from, low: None }.bound("e.id", &mut conditions);
        if self != Self::Events {
            let walked = format!(
                "e.id IN (SELECT w.event FROM {} w WHERE w.event < ? AND w.event >= {from})",
                self.rows()
            );
            conditions.add(&walked, before);
        }
        conditions
    }
}

/// A bounded part of a walk: the ids of events from `from`, inclusive, to `before`, exclusive.
#[derive(Debug)]
struct ListingWindow {
    before: i64,
    from: i64,
    /// Where the next page goes on; `None` where the rest of the walk is within bounds.
    low: Option<i64>,
}

impl ListingWindow {
    /// The first `scanned` rows of `walk` below `before`, none of them before `least`.
    async fn new(
        client: &Client,
        walk: ListingWalk,
        before: i64,
        scanned: i64,
        least: i64,
    ) -> Result<Self, WorkError> {
        let sql = format!(
            "SELECT w.event FROM {} w WHERE w.event < $1 ORDER BY w.event DESC OFFSET $2 LIMIT 1",
            walk.rows()
        );
        let found = client.query_opt(&sql, &[&before, &scanned]).await?;
        // No row before the least one matches, so the search does not go on there.
        let low = found.map(|row| row.get::<_, i64>(0)).filter(|low| *low > least);
        Ok(Self { before, from: low.unwrap_or(least), low })
    }

    /// The condition that a column of ids is within.
    fn bound(&self, column: &str, conditions: &mut Conditions) {
        conditions.add(&format!("{column} < ?"), self.before);
        conditions.add(&format!("{column} >= ?"), self.from);
    }
}

/// A page of events, newest first.
pub(super) async fn events(
    client: &Client,
    filter: &EventFilter,
    page: Page,
) -> Result<(Vec<EventSummary>, Option<Cursor>), WorkError> {
    let page = Page { limit: page.rows(), ..page };
    let walk = ListingWalk::of_events(filter);
    let scanned = filter.scan_limit(page);
    let span = IdSpan::of(client, filter.since_ms, filter.until_ms).await?;
    let before = page.after.map_or(span.end, |cursor| cursor.0.event.row().min(span.end));
    let least = filter.after.map_or(i64::MIN, |after| after.row().saturating_add(1));
    let least = span.low.max(least);
    let window = ListingWindow::new(client, walk, before, scanned, least).await?;
    let conditions = walk.conditions(filter, [window.from, window.before]);
    // The database knows nothing of patterns: of those rows more are read than are shown.
    let rows = if filter.pattern.is_some() { scanned + 1 } else { page.limit as i64 };
    let sql = format!(
        "SELECT e.id, e.type FROM hookbox.events e WHERE true {} ORDER BY e.id DESC LIMIT {rows}",
        conditions.sql
    );
    let found = client.query(&sql, &conditions.values()).await?;
    let ids = ids_that_fit(&found, filter, page.limit);
    let last = if ids.len() == page.limit { ids.last().copied() } else { None };
    let next = last.or(window.low).map(EventId::from_row);
    let found = summaries(client, &ids).await?;
    Ok((found, next.map(|event| Cursor(DeliveryId { event, ordinal: 0 }))))
}

/// The ids of the first `limit` of these rows whose types the filter takes.
fn ids_that_fit(rows: &[Row], filter: &EventFilter, limit: usize) -> Vec<i64> {
    let fits = |row: &&Row| {
        let takes = |pattern: &TypePattern| pattern.takes(row.get(1));
        filter.pattern.as_ref().is_none_or(takes)
    };
    rows.iter().filter(fits).take(limit).map(|row| row.get(0)).collect()
}

/// The events that match from a row on, the oldest first, at most `limit` of them; and the row
/// from which the search goes on.
pub(super) async fn events_onward(
    client: &Client,
    filter: &EventFilter,
    from: Option<i64>,
    limit: usize,
) -> Result<(Vec<EventId>, Option<i64>), WorkError> {
    let walk = ListingWalk::of_events(filter);
    let scanned = filter.scan_limit(Page { limit, after: None });
    let span = IdSpan::of(client, filter.since_ms, filter.until_ms).await?;
    let least = filter.after.map(|after| after.row().saturating_add(1));
    let from = span.low.max(from.or(least).unwrap_or(i64::MIN));
    // The search goes on behind this row, which is looked at.
    let sql = format!(
        "SELECT w.event FROM {} w WHERE w.event >= $1 ORDER BY w.event OFFSET $2 LIMIT 1",
        walk.rows()
    );
    let last = client.query_opt(&sql, &[&from, &scanned]).await?;
    let next = last.map(|row| row.get::<_, i64>(0).saturating_add(1));
    let next = next.filter(|next| *next < span.end);
    let conditions = walk.conditions(filter, [from, next.unwrap_or(span.end)]);
    // With a pattern all within the window are read, also those that have come since it was made.
    let all = filter.pattern.is_some();
    let most = if all { String::new() } else { format!("LIMIT {limit}") };
    let sql = format!(
        "SELECT e.id, e.type FROM hookbox.events e WHERE true {} ORDER BY e.id {most}",
        conditions.sql
    );
    let found = ids_that_fit(&client.query(&sql, &conditions.values()).await?, filter, limit);
    let full = if found.len() == limit { found.last() } else { None };
    let next = full.map(|last| last.saturating_add(1)).or(next);
    Ok((found.into_iter().map(EventId::from_row).collect(), next))
}

/// These events, newest first, each with the states of its deliveries.
async fn summaries(client: &Client, ids: &[i64]) -> Result<Vec<EventSummary>, WorkError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT {SUMMARY_COLUMNS} FROM hookbox.events e WHERE e.id = ANY ($1) ORDER BY e.id DESC"
    );
    let rows = client.query(&sql, &[&ids]).await?;
    let mut found: Vec<_> = rows.iter().map(read_summary).collect();
    let sql = format!(
        "SELECT d.event, d.plugin, d.state FROM {} d WHERE d.event = ANY ($1)
         ORDER BY d.event DESC, d.ordinal",
        rows_in(None)
    );
    let rows = client.query(&sql, &[&ids]).await?;
    let mut states = rows.iter().peekable();
    for summary in &mut found {
        let id = summary.event.id.row();
        while let Some(row) = states.next_if(|row| row.get::<_, i64>(0) == id) {
            summary.deliveries.push((row.get::<_, String>(1).into(), read_state(row.get(2))?));
        }
    }
    Ok(found)
}

/// A page of deliveries, newest first, each with its last attempt.
pub(super) async fn deliveries(
    client: &Client,
    filter: &DeliveryFilter,
    page: Page,
) -> Result<(Vec<DeliveryView>, Option<Cursor>), WorkError> {
    let page = Page { limit: page.rows(), ..page };
    let walk = match (filter.failure, filter.state) {
        (Some(group), _) => ListingWalk::Failed(group),
        (None, Some(state)) => ListingWalk::of_state(state),
        (None, None) => ListingWalk::Events,
    };
    let span = IdSpan::of(client, filter.since_ms, filter.until_ms).await?;
    let after = page.after.map(|Cursor(after)| after);
    // The cursor's own event may have further deliveries.
    let before = after.map_or(i64::MAX, |after| after.event.row().saturating_add(1)).min(span.end);
    let window = ListingWindow::new(client, walk, before, MAX_SCANNED_ROWS, span.low).await?;
    let mut conditions = Conditions::deliveries(filter);
    window.bound("d.event", &mut conditions);
    if let Some(after) = after {
        let behind = format!("(d.event < ? OR d.ordinal > {})", after.ordinal);
        conditions.add(&behind, after.event.row());
    }
    let sql = format!(
        "SELECT d.event, d.ordinal FROM {} d JOIN hookbox.events e ON e.id = d.event
         WHERE true {} ORDER BY d.event DESC, d.ordinal LIMIT {}",
        rows_in(filter.state),
        conditions.sql,
        page.limit
    );
    let rows = client.query(&sql, &conditions.values()).await?;
    let events: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let ordinals: Vec<i32> = rows.iter().map(|row| row.get(1)).collect();
    let found = delivery_views(client, &events, Some(&ordinals), ShownAs::LISTED).await?;
    let cursor = match found.last() {
        Some(last) if found.len() == page.limit => Some(Cursor(last.id)),
        // The window includes its lowest event, so the next page starts behind all of its
        // deliveries.
        _ => window
            .low
            .map(|low| Cursor(DeliveryId { event: EventId::from_row(low), ordinal: u32::MAX })),
    };
    Ok((found, cursor))
}
