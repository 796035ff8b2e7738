//! A group of failures in detail: what its newest deliveries have in common, its first attempt
//! beside its last one, and the changes that may be its cause.

use std::collections::HashMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::FailureJson;
use crate::admin::history::MarkJson;
use crate::admin::problem::ProblemJson;
use crate::admin::sees::Sees;
use crate::admin::state::Admin;
use crate::admin::view::DeliveryJson;
use crate::admin::view::attempt::AttemptJson;
use crate::admin::waits::WaitFacts;
use crate::event::FailureId;
use crate::store::{DeliveryFilter, DeliveryView, Page, TREND_HOURS};

/// The most deliveries that are looked at.
const LOOKED_AT: usize = 200;

/// The most values of each kind that are shown.
const MAX_VALUES: usize = 10;

/// The newest deliveries that are shown.
const NEWEST: usize = 10;

const HOUR_MS: i64 = 3_600_000;

/// One group of failures, with what a bounded number of its deliveries has in common.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct FailureDetail {
    /// The row of the listing.
    #[serde(flatten)]
    pub(in crate::admin) group: FailureJson,
    /// The deliveries that the lists below are of: the newest of those whose last attempt failed
    /// so, at most 200.
    pub(in crate::admin) looked_at: usize,
    /// Whether older ones were not looked at.
    pub(in crate::admin) has_older: bool,
    /// Types of their events, at most 10, the most frequent first.
    pub(in crate::admin) types: Vec<ValueCount>,
    /// Sources of their events.
    pub(in crate::admin) sources: Vec<ValueCount>,
    /// Subjects of their events.
    pub(in crate::admin) subjects: Vec<ValueCount>,
    /// The first attempt of the oldest of them that had this outcome.
    pub(in crate::admin) first: Option<FailedAttempt>,
    /// The attempt of them that began last.
    pub(in crate::admin) last: Option<FailedAttempt>,
    /// The newest of them, at most 10.
    pub(in crate::admin) newest: Vec<DeliveryJson>,
    /// Changes of the configuration and of this plugin within the hours of `trend`, since the start
    /// of the host; the oldest first.
    pub(in crate::admin) marks: Vec<MarkJson>,
}

/// How often a value occurs.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(in crate::admin) struct ValueCount {
    /// The value.
    pub(in crate::admin) value: String,
    /// Deliveries that have it.
    pub(in crate::admin) count: usize,
}

/// An attempt that failed.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct FailedAttempt {
    /// The event of its delivery.
    pub(in crate::admin) event_id: String,
    /// Its delivery.
    pub(in crate::admin) delivery_id: String,
    /// The attempt.
    pub(in crate::admin) attempt: AttemptJson,
}

impl FailedAttempt {
    /// The first attempt of a delivery that had this outcome, or the last one.
    fn of(row: DeliveryJson, outcome: Option<&str>, is_first: bool) -> Option<Self> {
        let fits = |it: &AttemptJson| outcome.is_none_or(|outcome| it.outcome == outcome);
        let mut its = row.attempts.into_iter().filter(fits);
        let attempt = if is_first { its.next() } else { its.next_back() };
        Some(Self { attempt: attempt?, event_id: row.event_id, delivery_id: row.id })
    }
}

/// A group with its sample.
pub(super) async fn detail(
    admin: &Admin,
    id: FailureId,
    group: FailureJson,
    sees: Sees,
) -> Result<FailureDetail, ProblemJson> {
    let filter = DeliveryFilter { failure: Some(id), ..DeliveryFilter::default() };
    let page = Page { limit: LOOKED_AT, after: None };
    let (rows, next) = admin.store.deliveries(filter, page).await?;
    let of = |value: fn(&DeliveryView) -> &str| counted(rows.iter().map(value));
    let (types, sources) = (of(|row| &row.kind), of(|row| &row.source));
    let subjects = counted(rows.iter().filter_map(|row| row.subject.as_deref()));
    let facts = WaitFacts::of(admin);
    let began = |row: &&DeliveryView| row.attempts.last().map(|it| it.record.started_at_ms);
    let (oldest, latest) = (rows.last(), rows.iter().rev().max_by_key(began));
    let whole = async |row: Option<&DeliveryView>| {
        // It may be gone by now.
        let found = admin.store.delivery(row?.id).await.ok()?;
        Some(facts.delivery(found, sees))
    };
    let first = whole(oldest).await.and_then(|row| FailedAttempt::of(row, group.outcome, true));
    let last = whole(latest).await.and_then(|row| FailedAttempt::of(row, group.outcome, false));
    let looked_at = rows.len();
    let newest = rows.into_iter().take(NEWEST).map(|row| facts.delivery(row, sees)).collect();
    let since_ms = admin.clock.now_ms().saturating_sub(TREND_HOURS as i64 * HOUR_MS);
    let its = |mark: &crate::series::Mark| mark.what != "plugin" || mark.name == group.plugin;
    let marks = admin.series.marks(since_ms).into_iter().filter(its).map(MarkJson::from);
    Ok(FailureDetail {
        looked_at,
        has_older: next.is_some(),
        types,
        sources,
        subjects,
        first,
        last,
        newest,
        marks: marks.collect(),
        group,
    })
}

/// How often each value occurs, the most frequent first.
fn counted<'v>(values: impl Iterator<Item = &'v str>) -> Vec<ValueCount> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    values.for_each(|value| *counts.entry(value).or_default() += 1);
    let mut found: Vec<_> = counts
        .into_iter()
        .map(|(value, count)| ValueCount { value: value.to_owned(), count })
        .collect();
    found.sort_by(|one, other| {
        other.count.cmp(&one.count).then_with(|| one.value.cmp(&other.value))
    });
    found.truncate(MAX_VALUES);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_values_come_first_and_are_bounded() {
        let names: Vec<String> = (0..2 * MAX_VALUES).map(|n| format!("v{n:02}")).collect();
        let values = names.iter().map(String::as_str).chain(["v07", "v07", "v03"]);
        let found = counted(values);
        assert_eq!(found.len(), MAX_VALUES);
        let of = |at: usize| (found[at].value.as_str(), found[at].count);
        assert_eq!((of(0), of(1), of(2)), (("v07", 3), ("v03", 2), ("v00", 1)));
        assert_eq!(counted(std::iter::empty()), []);
    }
}
