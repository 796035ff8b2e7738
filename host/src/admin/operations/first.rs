//! The one that an operation tries before the others, beside its attempt before.

use serde::Serialize;
use utoipa::ToSchema;

use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::admin::verdict::verdict;
use crate::store::{AttemptView, DeliveryView, EventView, StoreError, TriedItem};

/// The one that was tried before the others.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FirstTried)]
pub(in crate::admin) struct FirstTriedJson {
    /// The delivery.
    pub(in crate::admin) delivery_id: String,
    /// Its plugin.
    pub(in crate::admin) plugin: String,
    /// The outcome of its attempt; absent as long as there is none.
    pub(in crate::admin) outcome: Option<&'static str>,
    /// Why that failed.
    pub(in crate::admin) error: Option<String>,
    /// How long it took, in milliseconds.
    pub(in crate::admin) duration_ms: Option<f64>,
    /// The outcome of the attempt before, by the same plugin; absent if there was none.
    pub(in crate::admin) before: Option<&'static str>,
    /// Why that failed.
    pub(in crate::admin) before_error: Option<String>,
    /// `fixed`, `same error`, `other error`, `still well` or `fails now`; absent as long as it is
    /// not known.
    pub(in crate::admin) verdict: Option<&'static str>,
}

/// The one that was tried first, as it stands; nothing if it is gone.
pub(super) async fn tried(
    admin: &Admin,
    tried: TriedItem,
    is_replay: bool,
) -> Result<Option<FirstTriedJson>, ProblemJson> {
    if is_replay {
        return Ok(match admin.store.event(tried.id.event).await {
            Ok(event) => of_event(&event, tried),
            Err(StoreError::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        });
    }
    Ok(match admin.store.delivery(tried.id).await {
        Ok(delivery) => {
            let of_before = |attempt: &&AttemptView| attempt.number <= tried.number;
            let before = delivery.attempts.iter().rev().find(of_before);
            let now = delivery.attempts.last().filter(|attempt| !of_before(attempt));
            Some(FirstTriedJson::of(&delivery, before, now))
        }
        Err(StoreError::NotFound(_)) => None,
        Err(error) => return Err(error.into()),
    })
}

/// Of the deliveries that were made of an event the first that has failed, or the first one.
fn of_event(event: &EventView, tried: TriedItem) -> Option<FirstTriedJson> {
    let first = tried.id.ordinal;
    let made = first..first.saturating_add(tried.number);
    let mut made = event.deliveries.iter().filter(|it| made.contains(&it.id.ordinal)).peekable();
    let has_failed = |it: &&&DeliveryView| {
        it.attempts.last().is_some_and(|attempt| attempt.record.outcome.is_failure())
    };
    let first_made = made.peek().copied();
    let shown = made.find(|it| has_failed(&it)).or(first_made)?;
    let earlier = event.deliveries.iter().filter(|it| it.id.ordinal < first);
    let earlier = earlier.filter(|it| it.plugin == shown.plugin);
    let before = earlier.filter_map(|it| it.attempts.last()).next_back();
    Some(FirstTriedJson::of(shown, before, shown.attempts.last()))
}

impl FirstTriedJson {
    fn of(
        delivery: &DeliveryView,
        before: Option<&AttemptView>,
        now: Option<&AttemptView>,
    ) -> Self {
        let verdict = before.zip(now).map(|(before, now)| verdict(&before.record, &now.record));
        let record = now.map(|now| &now.record);
        let was = before.map(|before| &before.record);
        Self {
            delivery_id: delivery.id.to_string(),
            plugin: delivery.plugin.to_string(),
            outcome: record.map(|record| record.outcome.name()),
            error: record.and_then(|record| record.error.clone()),
            duration_ms: record.map(|record| record.duration_us as f64 / 1e3),
            before: was.map(|record| record.outcome.name()),
            before_error: was.and_then(|record| record.error.clone()),
            verdict,
        }
    }
}
