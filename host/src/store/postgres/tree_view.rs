//! The tree of an event as it is read: one range of the index of roots.

use std::collections::HashMap;

use super::client::SqlClient as Client;
use super::gathered;
use super::listing::{SUMMARY_COLUMNS, read_summary};
use super::read::{ShownAs, delivery_views};
use super::work::WorkError;
use crate::event::EventId;
use crate::store::model::tree_mark;
use crate::store::{
    DeliveryView, EventSummary, MAX_PAGE, MAX_TREE_ATTEMPTS, MAX_TREE_MEMBERS, TreeDelivery,
    TreeEvent, TreeView,
};

/// A page of the tree that `id` is in; nothing if there is no such event.
pub(super) async fn tree(
    client: &Client,
    id: EventId,
    limit: usize,
    after: Option<EventId>,
) -> Result<Option<TreeView>, WorkError> {
    let limit = limit.clamp(1, MAX_PAGE);
    let root = "SELECT coalesce(root, id) FROM hookbox.events WHERE id = $1";
    let of_event = client.query_opt(root, &[&id.row()]).await?;
    // The root may be deleted before the others.
    let root = of_event.as_ref().map_or(id, |row| EventId::from_row(row.get(0)));
    let sql = format!("SELECT {SUMMARY_COLUMNS} FROM hookbox.events e WHERE e.id = $1");
    let first = client.query_opt(&sql, &[&root.row()]).await?.map(|row| read_summary(&row));
    let started_ms =
        first.as_ref().map_or_else(|| root.unix_ms(), |first| first.event.attributes.time_ms);
    let mut summaries = Vec::new();
    if after.is_none() {
        summaries.extend(first);
    }
    let left = i64::try_from(limit + 1 - summaries.len()).unwrap_or(i64::MAX);
    let sql = format!(
        "SELECT {SUMMARY_COLUMNS} FROM hookbox.events e WHERE e.root = $1 AND e.id > $2
         ORDER BY e.id LIMIT $3"
    );
    let begin = after.unwrap_or(root).row();
    let others = client.query(&sql, &[&root.row(), &begin, &left]).await?;
    summaries.extend(others.iter().map(read_summary));
    if of_event.is_none() && summaries.is_empty() {
        return Ok(None);
    }
    let more = summaries.len() > limit;
    summaries.truncate(limit);
    let next = if more { summaries.last().map(|last| last.event.id) } else { None };
    let events = with_deliveries(client, summaries).await?;
    Ok(Some(TreeView { root, started_ms, events, next }))
}

/// See [`Read::tree_mark`](crate::store::Read::tree_mark).
pub(super) async fn mark(client: &Client, id: EventId) -> Result<u64, WorkError> {
    type MarkRow = (i64, Option<i32>, Option<i16>, Option<i32>, Option<i64>, Option<bool>);
    let sql = "WITH r AS (SELECT coalesce(
                   (SELECT coalesce(e.root, e.id) FROM hookbox.events e WHERE e.id = $1), $1) AS id)
               SELECT i.id, d.ordinal, d.state, d.attempt, d.due, d.cancelled
               FROM (SELECT r.id FROM r UNION ALL
                     (SELECT e.id FROM hookbox.events e WHERE e.root = (SELECT r.id FROM r)
                      ORDER BY e.id LIMIT $2)) i
               LEFT JOIN LATERAL (
                   SELECT o.ordinal, (CASE WHEN o.holder IS NOT NULL THEN 1
                       WHEN o.waits THEN 2 ELSE 0 END)::smallint AS state, o.attempt, o.due,
                       o.cancelled
                   FROM hookbox.open o WHERE o.event = i.id
                   UNION ALL
                   SELECT s.ordinal, s.state, s.attempt, NULL, NULL
                   FROM hookbox.settled s WHERE s.event = i.id) d ON true
               ORDER BY 1, 2";
    let most = i64::try_from(MAX_PAGE).unwrap_or(i64::MAX);
    let rows = client.query(sql, &[&id.row(), &most]).await?;
    let read = |row: &tokio_postgres::Row| -> MarkRow {
        (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4), row.get(5))
    };
    Ok(tree_mark(&rows.iter().map(read).collect::<Vec<_>>()))
}

async fn with_deliveries(
    client: &Client,
    summaries: Vec<EventSummary>,
) -> Result<Vec<TreeEvent>, WorkError> {
    let ids: Vec<i64> = summaries.iter().map(|summary| summary.event.id.row()).collect();
    let shown = ShownAs { attempts: MAX_TREE_ATTEMPTS as i64, is_bare: true, has_steps: false };
    let mut views: HashMap<EventId, Vec<DeliveryView>> = HashMap::new();
    for view in delivery_views(client, &ids, None, shown).await? {
        views.entry(view.id.event).or_default().push(view);
    }
    let gatherings = views.values().flatten().filter(|view| view.gathering.is_some());
    let gatherings: Vec<_> = gatherings.map(|view| view.id).collect();
    let mut members = match gatherings.is_empty() {
        true => HashMap::new(),
        false => gathered::tree_members(client, &gatherings).await?,
    };
    let mut memberships = gathered::memberships(client, &ids).await?;
    let mut delivery = |view: DeliveryView| {
        let mut members = members.remove(&view.id).unwrap_or_default();
        let more_members = members.len() > MAX_TREE_MEMBERS;
        members.truncate(MAX_TREE_MEMBERS);
        TreeDelivery { view, members, more_members }
    };
    let event = |mut summary: EventSummary| {
        let views = views.remove(&summary.event.id).unwrap_or_default();
        summary.deliveries = views.iter().map(|view| (view.plugin.clone(), view.state)).collect();
        let deliveries = views.into_iter().map(&mut delivery).collect();
        let member_of = memberships.remove(&summary.event.id).unwrap_or_default();
        TreeEvent { summary, deliveries, member_of }
    };
    Ok(summaries.into_iter().map(event).collect())
}
