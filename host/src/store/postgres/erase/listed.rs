//! The events of one call that erases, their copies and their deliveries; and what has come to them
//! while they were locked.

use std::collections::BTreeSet;

use tokio_postgres::Row;

use crate::event::{DEAD, DeliveryId, EventId};
use crate::store::postgres::change::{DeliveryRows, delivery_id};
use crate::store::postgres::work::{Work, WorkError};

/// The most events of a family, an event with its copies, that one call erases.
const MAX_COPIES: usize = if cfg!(test) { 8 } else { 1_000 };

/// Events with the dead letters that tell of them, and with what joins, batches and operators made
/// of them: each copy once.
const COPIES: &str = "
    SELECT t.id, c.id FROM unnest($1::bigint[]) AS t (id)
    CROSS JOIN LATERAL (
        SELECT e.id FROM hookbox.events e WHERE e.parent = t.id AND e.type = $2
        UNION
        SELECT e.id FROM hookbox.gathered m
        JOIN hookbox.gatherings g ON g.event = m.gathering AND g.ordinal = m.ordinal
        JOIN hookbox.gathered n ON n.gathering = g.event AND n.ordinal = g.ordinal
        JOIN hookbox.events e ON e.parent = n.event AND e.source = g.plugin
        WHERE m.event = t.id
        UNION
        SELECT e.id FROM hookbox.events e WHERE e.edited_from = t.id) c";

/// Those of some events that a client has not had erased yet.
const NOT_ERASED: &str = "
    SELECT t.id FROM unnest($1::bigint[]) AS t (id) WHERE NOT EXISTS (
        SELECT FROM hookbox.erased r WHERE r.event = t.id AND r.asked)
    ORDER BY t.id LIMIT $2";

/// The deliveries that have data of events, in whatever state, each with the event.
const DELIVERIES: &str = "
    SELECT o.event, o.ordinal, o.event FROM hookbox.open o WHERE o.event = ANY ($1)
    UNION ALL
    SELECT s.event, s.ordinal, s.event FROM hookbox.settled s WHERE s.event = ANY ($1)
    UNION ALL
    SELECT m.gathering, m.ordinal, m.event FROM hookbox.gathered m WHERE m.event = ANY ($1)";

/// Those of some deliveries that gather an event which is neither erased nor meant to be.
const OF_OTHERS: &str = "
    SELECT DISTINCT m.gathering, m.ordinal FROM hookbox.gathered m
    WHERE (m.gathering, m.ordinal) IN (SELECT * FROM unnest($1::bigint[], $2::integer[]))
        AND NOT m.event = ANY ($3) AND NOT EXISTS (SELECT FROM hookbox.erased r
            WHERE r.event = m.event AND r.asked)";

/// The events of a call, as they were listed before anything was locked.
pub(super) struct ListedErasure {
    families: Vec<Family>,
    /// Their deliveries, each with the event whose data it has.
    deliveries: BTreeSet<(EventId, DeliveryId)>,
}

/// An event that is meant, and its copies.
struct Family {
    first: EventId,
    /// With the first one.
    all: BTreeSet<EventId>,
    /// Those of them that this call erases.
    events: Vec<EventId>,
    /// Whether no copy is left to the next call.
    is_whole: bool,
}

impl ListedErasure {
    /// Lists what there is of these events.
    pub(super) async fn of(work: &Work<'_>, meant: &[EventId]) -> Result<Self, WorkError> {
        let mut families = Vec::with_capacity(meant.len());
        for event in meant {
            families.push(Family::of(work, *event).await?);
        }
        let events: BTreeSet<i64> =
            families.iter().flat_map(|family| &family.events).map(|event| event.row()).collect();
        let events: Vec<i64> = events.into_iter().collect();
        let deliveries = deliveries_of(work, &events).await?;
        Ok(Self { families, deliveries })
    }

    /// Whether no copy is left to the next call.
    pub(super) fn is_whole(&self) -> bool {
        self.families.iter().all(|family| family.is_whole)
    }

    /// All events that are meant and all of their copies, in their order.
    pub(super) fn events(&self) -> Vec<i64> {
        let all: BTreeSet<i64> =
            self.families.iter().flat_map(|family| &family.all).map(|event| event.row()).collect();
        all.into_iter().collect()
    }

    /// The deliveries, in the order in which they are locked.
    pub(super) fn rows(&self) -> DeliveryRows {
        DeliveryRows::of(self.deliveries.iter().map(|(_, id)| id))
    }

    /// The deliveries that end with the events: a join or a batch only with the last of its
    /// members. Those that are locked get no more members.
    pub(super) async fn ending(&self, work: &Work<'_>) -> Result<Vec<DeliveryId>, WorkError> {
        let rows = self.rows();
        let meant = self.events();
        let found = work.query(OF_OTHERS, &[&rows.events, &rows.ordinals, &meant]).await?;
        let of_others: BTreeSet<DeliveryId> = found.iter().map(delivery_id).collect();
        let ids: BTreeSet<DeliveryId> = self.deliveries.iter().map(|(_, id)| *id).collect();
        Ok(ids.difference(&of_others).copied().collect())
    }

    /// The events whose data one of these deliveries has.
    pub(super) fn events_of(&self, ids: &BTreeSet<DeliveryId>) -> BTreeSet<EventId> {
        let those = self.deliveries.iter().filter(|(_, id)| ids.contains(id));
        those.map(|(event, _)| *event).collect()
    }

    /// How many events and copies are among these.
    pub(super) fn count(&self, events: &BTreeSet<EventId>) -> u64 {
        let all = self.families.iter().flat_map(|family| &family.events);
        all.filter(|event| events.contains(*event)).count() as u64
    }

    /// The events that can be emptied while these cannot. An event that is meant stays as long as a
    /// copy of it does: by its subject a later call finds the event, and so the copy.
    pub(super) fn at_rest(&self, waits: &BTreeSet<EventId>) -> Vec<EventId> {
        let mut at_rest = BTreeSet::new();
        for Family { first, events, is_whole, .. } in &self.families {
            let has_to_wait = !is_whole || events.iter().any(|event| waits.contains(event));
            let rest = events.iter().filter(|event| !waits.contains(*event));
            at_rest.extend(rest.filter(|event| !has_to_wait || *event != first));
        }
        at_rest.into_iter().collect()
    }

    /// Those of these events, which are locked, that have got a delivery since they were listed;
    /// and the first ones of families that have got a copy. A replay, an edit and the like lock the
    /// event before they make one, and make none of an erased event.
    pub(super) async fn late(
        &self,
        work: &Work<'_>,
        events: &[EventId],
    ) -> Result<BTreeSet<EventId>, WorkError> {
        let ids: Vec<i64> = events.iter().map(|event| event.row()).collect();
        let now = deliveries_of(work, &ids).await?;
        let mut late: BTreeSet<EventId> =
            now.difference(&self.deliveries).map(|(event, _)| *event).collect();
        // Also of those that another call has erased meanwhile.
        let copies = copies_of(work, &self.events()).await?;
        for Family { first, all, .. } in &self.families {
            if copies.iter().any(|(of, copy)| all.contains(of) && !all.contains(copy)) {
                late.insert(*first);
            }
        }
        Ok(late)
    }
}

impl Family {
    /// A family as it is now. One call erases all of it, or some that are not erased yet.
    async fn of(work: &Work<'_>, first: EventId) -> Result<Self, WorkError> {
        let all = with_copies(work, first).await?;
        if all.len() <= MAX_COPIES {
            return Ok(Self { first, events: all.iter().copied().collect(), all, is_whole: true });
        }
        let ids: Vec<i64> = all.iter().map(|event| event.row()).collect();
        let one_more = i64::try_from(MAX_COPIES + 1).unwrap_or(i64::MAX);
        let rows = work.query(NOT_ERASED, &[&ids, &one_more]).await?;
        let mut events: Vec<EventId> =
            rows.iter().map(|row| EventId::from_row(row.get(0))).collect();
        let is_whole = events.len() <= MAX_COPIES;
        events.truncate(MAX_COPIES);
        Ok(Self { first, all, events, is_whole })
    }
}

/// An event and its copies.
async fn with_copies(work: &Work<'_>, event: EventId) -> Result<BTreeSet<EventId>, WorkError> {
    let (mut all, mut last) = (BTreeSet::from([event]), vec![event.row()]);
    while !last.is_empty() {
        let copies = copies_of(work, &last).await?.into_iter().map(|(_, copy)| copy);
        last = copies.filter(|copy| all.insert(*copy)).map(EventId::row).collect();
    }
    Ok(all)
}

/// The copies of these events, each after the event that it is one of.
async fn copies_of(work: &Work<'_>, events: &[i64]) -> Result<Vec<(EventId, EventId)>, WorkError> {
    let rows = work.query(COPIES, &[&events, &DEAD]).await?;
    let id = |row: &Row, column: usize| EventId::from_row(row.get(column));
    Ok(rows.iter().map(|row| (id(row, 0), id(row, 1))).collect())
}

/// The deliveries of these events, each after the event whose data it has.
async fn deliveries_of(
    work: &Work<'_>,
    events: &[i64],
) -> Result<BTreeSet<(EventId, DeliveryId)>, WorkError> {
    let rows = work.query(DELIVERIES, &[&events]).await?;
    let of = |row: &Row| EventId::from_row(row.get(2));
    Ok(rows.iter().map(|row| (of(row), delivery_id(row))).collect())
}
