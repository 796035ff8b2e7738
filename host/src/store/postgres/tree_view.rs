//! The tree of an event as it is read: one range of the index of roots.

use std::collections::HashMap;

use tokio_postgres::Client;

use super::listing::{SUMMARY_COLUMNS, read_summary};
use super::read::{ShownAs, delivery_views};
use super::settle::small;
use super::work::WorkError;
use crate::event::{DeliveryId, EventId};
use crate::store::{
    DeliveryView, EventSummary, MAX_MEMBERSHIPS, MAX_PAGE, MAX_TREE_ATTEMPTS, MAX_TREE_MEMBERS,
    Membership, TreeDelivery, TreeEvent, TreeMember, TreeView,
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
    let mut summaries: Vec<_> = first.into_iter().filter(|_| after.is_none()).collect();
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
    let next = summaries.last().filter(|_| more).map(|last| last.event.id);
    let events = with_deliveries(client, summaries).await?;
    Ok(Some(TreeView { root, started_ms, events, next }))
}

async fn with_deliveries(
    client: &Client,
    summaries: Vec<EventSummary>,
) -> Result<Vec<TreeEvent>, WorkError> {
    let ids: Vec<i64> = summaries.iter().map(|summary| summary.event.id.row()).collect();
    let shown = ShownAs { attempts: MAX_TREE_ATTEMPTS as i64, is_bare: true, has_steps: false };
    let views = delivery_views(client, &ids, None, shown).await?;
    let mut members = members(client, &views).await?;
    let mut memberships = memberships(client, &ids).await?;
    let mut of_event: HashMap<EventId, Vec<TreeDelivery>> = HashMap::new();
    for view in views {
        let mut members = members.remove(&view.id).unwrap_or_default();
        let more_members = members.len() > MAX_TREE_MEMBERS;
        members.truncate(MAX_TREE_MEMBERS);
        let delivery = TreeDelivery { view, members, more_members };
        of_event.entry(delivery.view.id.event).or_default().push(delivery);
    }
    let event = |mut summary: EventSummary| {
        let id = summary.event.id;
        let deliveries = of_event.remove(&id).unwrap_or_default();
        let state = |delivery: &TreeDelivery| (delivery.view.plugin.clone(), delivery.view.state);
        summary.deliveries = deliveries.iter().map(state).collect();
        TreeEvent { summary, deliveries, member_of: memberships.remove(&id).unwrap_or_default() }
    };
    Ok(summaries.into_iter().map(event).collect())
}

/// The members of the gatherings of these deliveries, of each one more than is shown.
async fn members(
    client: &Client,
    views: &[DeliveryView],
) -> Result<HashMap<DeliveryId, Vec<TreeMember>>, WorkError> {
    let own = || views.iter().filter(|view| view.gathering.is_some()).map(|view| view.id);
    let events: Vec<i64> = own().map(|id| id.event.row()).collect();
    let ordinals: Vec<i32> = own().map(|id| small(id.ordinal)).collect();
    let mut found: HashMap<DeliveryId, Vec<TreeMember>> = HashMap::new();
    if events.is_empty() {
        return Ok(found);
    }
    let most = i64::try_from(MAX_TREE_MEMBERS + 1).unwrap_or(i64::MAX);
    let rows = client
        .query(
            "SELECT i.event, i.ordinal, m.event, e.type, coalesce(e.root, m.event)
             FROM unnest($1::bigint[], $2::integer[]) AS i (event, ordinal)
             CROSS JOIN LATERAL (SELECT g.event, g.number FROM hookbox.gathered g
                 WHERE g.gathering = i.event AND g.ordinal = i.ordinal
                 ORDER BY g.number LIMIT $3) m
             LEFT JOIN hookbox.events e ON e.id = m.event
             ORDER BY i.event, i.ordinal, m.number",
            &[&events, &ordinals, &most],
        )
        .await?;
    for row in rows {
        let member = TreeMember {
            id: EventId::from_row(row.get(2)),
            kind: row.get(3),
            tree: EventId::from_row(row.get(4)),
        };
        found.entry(delivery_id(row.get(0), row.get(1))).or_default().push(member);
    }
    Ok(found)
}

/// The gatherings of other events that these are members of.
async fn memberships(
    client: &Client,
    events: &[i64],
) -> Result<HashMap<EventId, Vec<Membership>>, WorkError> {
    let mut found: HashMap<EventId, Vec<Membership>> = HashMap::new();
    let most = i64::try_from(MAX_MEMBERSHIPS).unwrap_or(i64::MAX);
    let rows = client
        .query(
            "SELECT i.event, m.gathering, m.ordinal, g.plugin, coalesce(e.root, m.gathering)
             FROM unnest($1::bigint[]) AS i (event)
             CROSS JOIN LATERAL (SELECT o.gathering, o.ordinal FROM hookbox.gathered o
                 WHERE o.event = i.event AND o.gathering <> i.event LIMIT $2) m
             JOIN hookbox.gatherings g ON g.event = m.gathering AND g.ordinal = m.ordinal
             LEFT JOIN hookbox.events e ON e.id = m.gathering
             ORDER BY i.event, m.gathering, m.ordinal",
            &[&events, &most],
        )
        .await?;
    for row in rows {
        let membership = Membership {
            delivery: delivery_id(row.get(1), row.get(2)),
            plugin: row.get::<_, String>(3).into(),
            tree: EventId::from_row(row.get(4)),
        };
        found.entry(EventId::from_row(row.get(0))).or_default().push(membership);
    }
    Ok(found)
}

fn delivery_id(event: i64, ordinal: i32) -> DeliveryId {
    DeliveryId { event: EventId::from_row(event), ordinal: ordinal.unsigned_abs() }
}
