//! The tree of an event as it is read: one range of the index of roots.

use rusqlite::{Connection, OptionalExtension, params};

use super::pages::{SUMMARY_COLUMNS, read_summary};
use super::read::{bare_attempts, deliveries_of};
use crate::event::{DeliveryId, EventId};
use crate::store::model::tree_mark;
use crate::store::{
    DeliveryView, EventSummary, MAX_MEMBERSHIPS, MAX_PAGE, MAX_TREE_ATTEMPTS, MAX_TREE_MEMBERS,
    Membership, TreeDelivery, TreeEvent, TreeMember, TreeView,
};

/// A page of the tree that `id` is in; nothing if there is no such event.
pub(super) fn tree(
    connection: &Connection,
    id: EventId,
    limit: usize,
    after: Option<EventId>,
) -> Result<Option<TreeView>, rusqlite::Error> {
    let limit = limit.clamp(1, MAX_PAGE);
    let of_event: Option<EventId> = connection
        .prepare_cached("SELECT coalesce(root, id) FROM events WHERE id = ?1")?
        .query_row([id.row()], |row| row.get(0).map(EventId::from_row))
        .optional()?;
    // The root may be deleted before the others.
    let root = of_event.unwrap_or(id);
    let first = summary(connection, root)?;
    let started_ms =
        first.as_ref().map_or_else(|| root.unix_ms(), |first| first.event.attributes.time_ms);
    let mut summaries = Vec::new();
    if after.is_none() {
        summaries.extend(first);
    }
    let left = limit + 1 - summaries.len();
    let sql = format!(
        "SELECT {SUMMARY_COLUMNS} FROM events e WHERE e.root = ?1 AND e.id > ?2 ORDER BY e.id LIMIT ?3"
    );
    let others = connection
        .prepare_cached(&sql)?
        .query_map(params![root.row(), after.unwrap_or(root).row(), left], read_summary)?
        .collect::<Result<Vec<_>, _>>()?;
    summaries.extend(others);
    if of_event.is_none() && summaries.is_empty() {
        return Ok(None);
    }
    let more = summaries.len() > limit;
    summaries.truncate(limit);
    let next = if more { summaries.last().map(|last| last.event.id) } else { None };
    let events = summaries.into_iter().map(|summary| tree_event(connection, summary));
    Ok(Some(TreeView { root, started_ms, events: events.collect::<Result<_, _>>()?, next }))
}

/// See [`Read::tree_mark`](crate::store::Read::tree_mark).
pub(super) fn mark(connection: &Connection, id: EventId) -> Result<u64, rusqlite::Error> {
    type MarkRow = (i64, Option<u32>, Option<u8>, Option<u32>, Option<i64>, Option<bool>);
    let root: Option<i64> = connection
        .prepare_cached("SELECT coalesce(root, id) FROM events WHERE id = ?1")?
        .query_row([id.row()], |row| row.get(0))
        .optional()?;
    let sql = "SELECT e.id, d.ordinal, d.state, d.attempt, d.due_ms, d.cancelled
               FROM (SELECT ?1 AS id UNION ALL
                     SELECT id FROM (SELECT id FROM events WHERE root = ?1 ORDER BY id LIMIT ?2)) e
               LEFT JOIN deliveries d ON d.event = e.id
               ORDER BY 1, 2";
    let rows: Vec<MarkRow> = connection
        .prepare_cached(sql)?
        .query_map(params![root.unwrap_or(id.row()), MAX_PAGE], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
        })?
        .collect::<Result<_, _>>()?;
    Ok(tree_mark(&rows))
}

fn summary(connection: &Connection, id: EventId) -> Result<Option<EventSummary>, rusqlite::Error> {
    connection
        .prepare_cached(&format!("SELECT {SUMMARY_COLUMNS} FROM events e WHERE e.id = ?1"))?
        .query_row([id.row()], read_summary)
        .optional()
}

fn tree_event(
    connection: &Connection,
    mut summary: EventSummary,
) -> Result<TreeEvent, rusqlite::Error> {
    let id = summary.event.id;
    let views = deliveries_of(connection, id)?;
    summary.deliveries = views.iter().map(|view| (view.plugin.clone(), view.state)).collect();
    let deliveries = views.into_iter().map(|view| tree_delivery(connection, view));
    let deliveries = deliveries.collect::<Result<_, _>>()?;
    Ok(TreeEvent { summary, deliveries, member_of: member_of(connection, id)? })
}

fn tree_delivery(
    connection: &Connection,
    mut view: DeliveryView,
) -> Result<TreeDelivery, rusqlite::Error> {
    let most = i64::try_from(MAX_TREE_ATTEMPTS).unwrap_or(i64::MAX);
    view.attempts = bare_attempts(connection, view.id, most)?;
    let mut members = Vec::new();
    if view.gathering.is_some() {
        members = connection
            .prepare_cached(
                "SELECT g.event, e.type, coalesce(e.root, g.event)
                 FROM gathered g LEFT JOIN events e ON e.id = g.event
                 WHERE g.gathering = ?1 AND g.ordinal = ?2 ORDER BY g.event LIMIT ?3",
            )?
            .query_map(
                params![view.id.event.row(), view.id.ordinal, MAX_TREE_MEMBERS + 1],
                |row| {
                    Ok(TreeMember {
                        id: EventId::from_row(row.get(0)?),
                        kind: row.get(1)?,
                        tree: EventId::from_row(row.get(2)?),
                    })
                },
            )?
            .collect::<Result<_, _>>()?;
    }
    let more_members = members.len() > MAX_TREE_MEMBERS;
    members.truncate(MAX_TREE_MEMBERS);
    Ok(TreeDelivery { view, members, more_members })
}

/// The gatherings of other events that an event is a member of.
fn member_of(connection: &Connection, id: EventId) -> Result<Vec<Membership>, rusqlite::Error> {
    connection
        .prepare_cached(
            "SELECT m.gathering, m.ordinal, g.plugin, coalesce(e.root, m.gathering)
             FROM gathered m
             JOIN gatherings g ON g.event = m.gathering AND g.ordinal = m.ordinal
             LEFT JOIN events e ON e.id = m.gathering
             WHERE m.event = ?1 AND m.gathering <> ?1 LIMIT ?2",
        )?
        .query_map(params![id.row(), MAX_MEMBERSHIPS], |row| {
            let event = EventId::from_row(row.get(0)?);
            Ok(Membership {
                delivery: DeliveryId { event, ordinal: row.get(1)? },
                plugin: row.get::<_, String>(2)?.into(),
                tree: EventId::from_row(row.get(3)?),
            })
        })?
        .collect()
}
