//! Questions: one event, and pages of many.

use super::data::{MemoryData, StoredDelivery, StoredEvent};
use crate::event::{DeliveryId, Event, EventId, State};
use crate::store::model::tree_mark;
use crate::store::{
    Cursor, DeliveryFilter, DeliveryView, EventFilter, EventState, EventSummary, EventView,
    MAX_PAGE, MAX_TREE_ATTEMPTS, MAX_TREE_CALLS, Page, TreeDelivery, TreeEvent, TreeView,
};

/// Whether an event has these attributes and is of this time.
fn has(
    event: &Event,
    kind: &Option<String>,
    source: &Option<String>,
    subject: &Option<String>,
) -> bool {
    let attributes = &event.attributes;
    kind.as_ref().is_none_or(|kind| *kind == attributes.kind)
        && source.as_ref().is_none_or(|source| **source == *attributes.source)
        && (subject.is_none() || *subject == attributes.subject)
}

fn within(since_ms: Option<i64>, until_ms: Option<i64>, time_ms: i64) -> bool {
    since_ms.is_none_or(|since| time_ms >= since) && until_ms.is_none_or(|until| time_ms < until)
}

impl MemoryData {
    pub(super) fn event_view(&self, id: EventId, ahead_ms: i64) -> Option<EventView> {
        let view = self.events.get(&id)?.view.clone();
        let deliveries =
            self.of_event(id).map(|d| self.whole_delivery(d.view.id, ahead_ms)).collect();
        let children = self.events.values().filter(|child| child.view.event.parent == Some(id));
        let is_made = |event: &&StoredEvent| {
            event.view.edited.as_ref().is_some_and(|edited| edited.event == id)
        };
        let made = self.events.values().filter(is_made);
        Some(EventView {
            deliveries,
            replays: made.map(|made| made.view.event.id).collect(),
            children: children.map(|child| child.view.event.id).collect(),
            ..view
        })
    }

    /// A delivery with all its attempts and steps.
    pub(super) fn whole_delivery(&self, id: DeliveryId, ahead_ms: i64) -> DeliveryView {
        let steps = self.deliveries[&id].steps.values().map(|(view, _)| view.clone()).collect();
        DeliveryView { steps, ..self.delivery_view(id, usize::MAX, ahead_ms) }
    }

    /// A delivery with its last `most` attempts.
    pub(super) fn delivery_view(&self, id: DeliveryId, most: usize, ahead_ms: i64) -> DeliveryView {
        let mut view = self.deliveries[&id].view.clone();
        let waits = matches!(view.state, State::Ready | State::Waiting);
        let due_ms = view.due_ms.map(|due_ms| due_ms.saturating_sub(ahead_ms));
        view.due_ms = if waits { due_ms } else { None };
        view.attempts.drain(..view.attempts.len().saturating_sub(most));
        let StoredDelivery { crashes, deaths, uncounted, .. } = self.deliveries[&id];
        view.quarantined = crashes > 0;
        view.retried_after = DeliveryView::before_retry(view.state, deaths, uncounted);
        view
    }

    /// A page of the tree that an event is in.
    pub(super) fn tree(
        &self,
        id: EventId,
        limit: usize,
        after: Option<EventId>,
        ahead_ms: i64,
    ) -> Option<TreeView> {
        let root = self.events.get(&id).map_or(id, |stored| stored.view.event.tree());
        let in_tree = |stored: &&StoredEvent| stored.view.event.tree() == root;
        let mut found = self.events.values().filter(in_tree).peekable();
        found.peek()?;
        let started_ms = self
            .events
            .get(&root)
            .map_or_else(|| root.unix_ms(), |stored| stored.view.event.attributes.time_ms);
        let mut events: Vec<_> = found
            .filter(|stored| after.is_none_or(|after| stored.view.event.id > after))
            .take(limit + 1)
            .map(|stored| self.tree_event(stored, ahead_ms))
            .collect();
        let more = events.len() > limit;
        events.truncate(limit);
        let next = if more { events.last().map(|last| last.summary.event.id) } else { None };
        Some(TreeView { root, started_ms, events, next })
    }

    pub(super) fn tree_mark(&self, id: EventId) -> u64 {
        let root = self.events.get(&id).map_or(id, |stored| stored.view.event.tree());
        let ids = self.events.iter().filter(|(_, stored)| stored.view.event.tree() == root);
        let ids: Vec<EventId> = ids.map(|(id, _)| *id).take(MAX_PAGE).collect();
        let rows = ids.into_iter().map(|id| {
            let stands = self.of_event(id).map(|delivery| {
                let view = &delivery.view;
                (view.id.ordinal, view.state.code(), view.attempt, view.due_ms, view.cancelling)
            });
            (id.row(), stands.collect::<Vec<_>>())
        });
        tree_mark(&rows.collect::<Vec<_>>())
    }

    fn tree_event(&self, stored: &StoredEvent, ahead_ms: i64) -> TreeEvent {
        let of_tree = |delivery: &StoredDelivery| {
            let mut view = self.delivery_view(delivery.view.id, MAX_TREE_ATTEMPTS, ahead_ms);
            for attempt in &mut view.attempts {
                attempt.record.logs.clear();
                attempt.record.calls.truncate(MAX_TREE_CALLS + 1);
            }
            TreeDelivery { view, members: Vec::new(), more_members: false }
        };
        let deliveries = self.of_event(stored.view.event.id).map(of_tree).collect();
        TreeEvent { summary: self.summary(stored), deliveries, member_of: Vec::new() }
    }

    pub(super) fn events_page(
        &self,
        filter: &EventFilter,
        page: Page,
    ) -> (Vec<EventSummary>, Option<Cursor>) {
        let limit = page.rows();
        let before = page.after.map_or(EventId::from_row(i64::MAX), |cursor| cursor.0.event);
        let matching =
            self.events.range(..before).rev().filter(|(_, stored)| self.is_listed(filter, stored));
        let found: Vec<_> = matching.map(|(_, stored)| self.summary(stored)).take(limit).collect();
        let last = if found.len() == limit { found.last() } else { None };
        let cursor = last.map(|last| Cursor(DeliveryId { event: last.event.id, ordinal: 0 }));
        (found, cursor)
    }

    fn summary(&self, StoredEvent { view, .. }: &StoredEvent) -> EventSummary {
        let (mut event, body_bytes) = (view.event.clone(), view.event.attributes.body.len() as u64);
        event.attributes.body.clear();
        let deliveries =
            self.of_event(event.id).map(|d| (d.view.plugin.clone(), d.view.state)).collect();
        EventSummary {
            event,
            provider_id: view.provider_id.clone(),
            note: view.note.clone(),
            emptied: None,
            body_bytes,
            deliveries,
        }
    }

    fn is_listed(&self, filter: &EventFilter, StoredEvent { view, .. }: &StoredEvent) -> bool {
        let (event, attributes) = (&view.event, &view.event.attributes);
        let holds = |text: &String| {
            let texts =
                [Some(&attributes.kind), attributes.subject.as_ref(), view.provider_id.as_ref()];
            let mut texts = texts.into_iter().flatten().cloned().chain([event.id.to_string()]);
            texts.any(|found| found.contains(text))
                || attributes.body.windows(text.len()).any(|w| w == text.as_bytes())
        };
        let unrouted = filter.state == Some(EventState::Unrouted);
        let is_meant = |delivery: &StoredDelivery| {
            let view = &delivery.view;
            let in_state = match filter.state {
                Some(EventState::Has(state)) => view.state == state,
                Some(EventState::Failing) => {
                    let is_open = !view.state.is_settled();
                    view.state == State::Dead || is_open && view.failure.is_some()
                }
                _ => true,
            };
            in_state
                && filter.plugin.as_ref().is_none_or(|plugin| **plugin == *view.plugin)
                && filter.min_attempts.is_none_or(|least| view.attempt >= least)
        };
        let asks = matches!(filter.state, Some(EventState::Has(_) | EventState::Failing))
            || filter.plugin.is_some()
            || filter.min_attempts.is_some();
        (!unrouted || self.of_event(event.id).next().is_none())
            && (!asks || self.of_event(event.id).any(is_meant))
            && filter.pattern.as_ref().is_none_or(|pattern| pattern.takes(&attributes.kind))
            && filter
                .emitted
                .is_none_or(|emitted| attributes.source.starts_with("plugins/") == emitted)
            && filter.after.is_none_or(|after| event.id > after)
            && has(event, &filter.kind, &filter.source, &filter.subject)
            && within(filter.since_ms, filter.until_ms, attributes.time_ms)
            && filter.text.as_ref().is_none_or(holds)
    }

    pub(super) fn deliveries_page(
        &self,
        filter: &DeliveryFilter,
        page: Page,
        ahead_ms: i64,
    ) -> (Vec<DeliveryView>, Option<Cursor>) {
        let limit = page.rows();
        let Cursor(after) = page
            .after
            .unwrap_or(Cursor(DeliveryId { event: EventId::from_row(i64::MAX), ordinal: 0 }));
        let behind = |id: DeliveryId| {
            id.event < after.event || id.event == after.event && id.ordinal > after.ordinal
        };
        let all = self
            .events
            .keys()
            .rev()
            .flat_map(|event| self.of_event(*event))
            .map(|delivery| delivery.view.id);
        let matching = all.filter(|id| behind(*id) && self.matches(filter, *id));
        let found: Vec<_> =
            matching.map(|id| self.delivery_view(id, 1, ahead_ms)).take(limit).collect();
        let last = if found.len() == limit { found.last() } else { None };
        let cursor = last.map(|last| Cursor(last.id));
        (found, cursor)
    }

    pub(super) fn matches(&self, filter: &DeliveryFilter, id: DeliveryId) -> bool {
        let (StoredDelivery { view, .. }, event) =
            (&self.deliveries[&id], &self.events[&id.event].view.event);
        filter.state.is_none_or(|state| view.state == state)
            && filter.plugin.as_ref().is_none_or(|plugin| **plugin == *view.plugin)
            && has(event, &filter.kind, &filter.source, &filter.subject)
            && (filter.failure.is_none() || filter.failure == view.failure)
            && filter.min_attempts.is_none_or(|least| view.attempt >= least)
            && (filter.outcome.is_none()
                || filter.outcome == view.attempts.last().map(|last| last.record.outcome))
            && within(filter.since_ms, filter.until_ms, event.attributes.time_ms)
    }
}
