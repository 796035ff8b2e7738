//! The deliveries or events that an operation would be for: counted, and then planned.

use std::time::{Duration, Instant};

use super::scope::event_text;
use crate::admin::by::By;
use crate::admin::deliveries::noted::filter_text;
use crate::admin::params::Deed;
use crate::admin::problem::ProblemJson;
use crate::admin::replay::known_plugins;
use crate::admin::sees::Sees;
use crate::admin::state::Admin;
use crate::admin::view::{DeliveryJson, EventItem};
use crate::admin::waits::WaitFacts;
use crate::store::{
    DeliveryFilter, EventFilter, NewOperation, OperationDeed, OperationId, OperationScope, Page,
};

/// The time for which deliveries or events are counted before an operation is planned.
const COUNTS_FOR: Duration = Duration::from_secs(2);

/// Deliveries or events that are shown before they are acted on.
const SAMPLE: usize = 5;

/// Events that one look counts.
const COUNTED_AT_ONCE: usize = 500;

/// The deliveries or events that an operation would be for.
#[derive(Debug, Default)]
pub(in crate::admin) struct CountedDeliveries {
    pub(in crate::admin) total: u64,
    pub(in crate::admin) exact: bool,
    pub(in crate::admin) sample: Vec<DeliveryJson>,
    /// The first few events of a replay.
    pub(in crate::admin) events: Vec<EventItem>,
}

impl CountedDeliveries {
    /// Whether all of them are shown and wait for their next attempt.
    pub(in crate::admin) fn all_wait(&self) -> bool {
        let shown = self.sample.len() as u64;
        shown > 0 && shown == self.total && self.sample.iter().all(DeliveryJson::waits)
    }
}

/// Counts what an operation would be for.
pub(in crate::admin) async fn count(
    admin: &Admin,
    deed: &Deed,
) -> Result<CountedDeliveries, ProblemJson> {
    let facts = WaitFacts::of(admin);
    let action = match &deed.action {
        OperationDeed::Change(action) => action.clone(),
        OperationDeed::Replay(to) => {
            known_plugins(admin, to)?;
            return count_events(admin, deed).await;
        }
    };
    let filter = match &deed.scope {
        OperationScope::Filter(filter) => {
            let until = |ms: i64| filter.until_ms.unwrap_or(i64::MAX).min(ms.saturating_add(1));
            let until_ms = deed.as_of_ms.map(until).or(filter.until_ms);
            DeliveryFilter { until_ms, ..filter.clone() }
        }
        OperationScope::Undo(_) | OperationScope::Events(_) | OperationScope::EventIds(_) => {
            return Ok(CountedDeliveries::default());
        }
        OperationScope::Ids(ids) => {
            let mut sample = Vec::new();
            for id in ids.iter().take(SAMPLE) {
                sample.push(facts.delivery(admin.store.delivery(*id).await?, Sees::ALL));
            }
            let total = ids.len() as u64;
            return Ok(CountedDeliveries { total, exact: true, sample, events: Vec::new() });
        }
    };
    let (begun, mut counted, mut from) = (Instant::now(), CountedDeliveries::default(), None);
    loop {
        let preview = admin.store.preview(action.clone(), filter.clone(), from).await?;
        counted.total += preview.deliveries;
        counted.sample.extend(preview.first.into_iter().map(|row| facts.delivery(row, Sees::ALL)));
        from = preview.next;
        counted.exact = from.is_none();
        if counted.exact || begun.elapsed() >= COUNTS_FOR {
            return Ok(counted);
        }
    }
}

/// Counts the events that would be replayed.
async fn count_events(admin: &Admin, deed: &Deed) -> Result<CountedDeliveries, ProblemJson> {
    let mut counted = CountedDeliveries { exact: true, ..CountedDeliveries::default() };
    let filter = match &deed.scope {
        OperationScope::Events(filter) => filter,
        OperationScope::EventIds(ids) => {
            counted.total = ids.len() as u64;
            for id in ids.iter().take(SAMPLE) {
                counted.events.push(EventItem::one(admin.store.event(*id).await?));
            }
            return Ok(counted);
        }
        _ => return Ok(counted),
    };
    let until = |ms: i64| filter.until_ms.unwrap_or(i64::MAX).min(ms.saturating_add(1));
    let until_ms = deed.as_of_ms.map(until).or(filter.until_ms);
    let (begun, mut after) = (Instant::now(), None);
    loop {
        let page = Page { limit: COUNTED_AT_ONCE, after };
        let filter = EventFilter { until_ms, ..filter.clone() };
        let (rows, next) = admin.store.events(filter, page).await?;
        counted.total += rows.len() as u64;
        let room = SAMPLE.saturating_sub(counted.events.len());
        counted.events.extend(rows.into_iter().take(room).map(EventItem::from));
        (after, counted.exact) = (next, next.is_none());
        if counted.exact || begun.elapsed() >= COUNTS_FOR {
            return Ok(counted);
        }
    }
}

/// Plans what was counted.
pub(in crate::admin) async fn plan(
    admin: &Admin,
    by: &By,
    deed: Deed,
    counted: CountedDeliveries,
) -> Result<OperationId, ProblemJson> {
    let Deed { action, scope, as_of_ms } = deed;
    let target = match &scope {
        OperationScope::Filter(filter) => filter_text(filter),
        OperationScope::Events(filter) => event_text(filter),
        OperationScope::EventIds(ids) => {
            ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
        OperationScope::Ids(ids) => {
            ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
        OperationScope::Undo(of) => of.to_string(),
    };
    let detail = match &action {
        OperationDeed::Replay(to) if !to.is_empty() => format!("replay to {}", to.join(", ")),
        action => action.name().to_owned(),
    };
    let note = by.note("operations.plan", &target, &detail);
    let CountedDeliveries { total, exact, .. } = counted;
    let actor = note.actor.clone();
    let new = NewOperation { action, scope, total, exact, as_of_ms, actor };
    Ok(admin.store.plan(note, new).await?)
}
