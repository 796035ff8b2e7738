//! The events of one call that erases, their copies and their deliveries; and what has come to them
//! while they were locked.

use std::collections::BTreeSet;

use tokio_postgres::Row;

use crate::event::{DEAD, DeliveryId, EventId};
use crate::store::postgres::change::{DeliveryRows, delivery_id};
use crate::store::postgres::work::{Work, WorkError};

/// The most copies of an event that are erased with it.
const MAX_COPIES: usize = if cfg!(test) { 8 } else { 1_000 };

/// Events with the dead letters that tell of them, and with what joins, batches and operators made
/// of them: each copy once, and of each event at most so many.
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
        SELECT e.id FROM hookbox.events e WHERE e.edited_from = t.id
        LIMIT $3) c";

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
    /// Each event that is meant, with itself and its copies.
    families: Vec<(EventId, Vec<EventId>)>,
    /// All of them, in their order.
    pub(super) events: Vec<i64>,
    /// Their deliveries, each with the event whose data it has.
    deliveries: BTreeSet<(EventId, DeliveryId)>,
}

impl ListedErasure {
    /// Lists what there is of these events.
    pub(super) async fn of(work: &Work<'_>, meant: &[EventId]) -> Result<Self, WorkError> {
        let mut families = Vec::with_capacity(meant.len());
        for event in meant {
            families.push((*event, with_copies(work, *event).await?));
        }
        let events: BTreeSet<i64> =
            families.iter().flat_map(|(_, copies)| copies).map(|copy| copy.row()).collect();
        let events: Vec<i64> = events.into_iter().collect();
        let deliveries = deliveries_of(work, &events).await?;
        Ok(Self { families, events, deliveries })
    }

    /// The deliveries, in the order in which they are locked.
    pub(super) fn rows(&self) -> DeliveryRows {
        DeliveryRows::of(self.deliveries.iter().map(|(_, id)| id))
    }

    /// The deliveries that end with the events: a join or a batch only with the last of its
    /// members. Those that are locked get no more members.
    pub(super) async fn ending(&self, work: &Work<'_>) -> Result<Vec<DeliveryId>, WorkError> {
        let rows = self.rows();
        let found = work.query(OF_OTHERS, &[&rows.events, &rows.ordinals, &self.events]).await?;
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
        let all = self.families.iter().flat_map(|(_, copies)| copies);
        all.filter(|copy| events.contains(*copy)).count() as u64
    }

    /// The events that can be emptied while these cannot. An event that is meant stays as long as a
    /// copy of it cannot: by its subject a later call finds the event, and so the copy.
    pub(super) fn at_rest(&self, waits: &BTreeSet<EventId>) -> Vec<EventId> {
        let mut at_rest = BTreeSet::new();
        for (first, copies) in &self.families {
            let has_to_wait = copies.iter().any(|copy| waits.contains(copy));
            let rest = copies.iter().filter(|copy| !waits.contains(*copy));
            at_rest.extend(rest.filter(|copy| !has_to_wait || *copy != first));
        }
        at_rest.into_iter().collect()
    }

    /// Those of these events, which are locked, that have got a delivery or a copy since they were
    /// listed. A replay, an edit and the like lock the event before they make one.
    pub(super) async fn late(
        &self,
        work: &Work<'_>,
        events: &[EventId],
    ) -> Result<BTreeSet<EventId>, WorkError> {
        let ids: Vec<i64> = events.iter().map(|event| event.row()).collect();
        let now = deliveries_of(work, &ids).await?;
        let mut late: BTreeSet<EventId> =
            now.difference(&self.deliveries).map(|(event, _)| *event).collect();
        // A family that is smaller than it may be was listed whole, because no copy is found twice.
        // Of another one nobody can say which copies came late.
        let whole = self.families.iter().filter(|(_, copies)| copies.len() < MAX_COPIES);
        let whole: BTreeSet<EventId> = whole.flat_map(|(_, copies)| copies).copied().collect();
        let ids: Vec<i64> =
            events.iter().filter(|event| whole.contains(*event)).map(|event| event.row()).collect();
        let known = |copy: i64| self.events.binary_search(&copy).is_ok();
        let copies = copies_of(work, &ids).await?;
        late.extend(copies.iter().filter(|(_, copy)| !known(copy.row())).map(|(of, _)| *of));
        Ok(late)
    }
}

/// An event and its copies.
async fn with_copies(work: &Work<'_>, event: EventId) -> Result<Vec<EventId>, WorkError> {
    let mut all = vec![event];
    let mut at = 0;
    while let Some(next) = all.get(at).copied() {
        at += 1;
        for (_, copy) in copies_of(work, &[next.row()]).await? {
            if !all.contains(&copy) && all.len() < MAX_COPIES {
                all.push(copy);
            }
        }
    }
    Ok(all)
}

/// The copies of these events, each after the event that it is one of.
async fn copies_of(work: &Work<'_>, events: &[i64]) -> Result<Vec<(EventId, EventId)>, WorkError> {
    let most = i64::try_from(MAX_COPIES).unwrap_or(i64::MAX);
    let rows = work.query(COPIES, &[&events, &DEAD, &most]).await?;
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
