//! Actions of operators, approvals, and deletion.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::data::{MemoryData, StoredDelivery};
use crate::clock::after_ms;
use crate::event::{DeliveryId, EventId, State, Target};
use crate::store::model::{AuditResult, Position};
use crate::store::{
    Action, ApprovalChange, AuditNote, Changed, DeliveryFilter, Keep, Pausable, Pause, PauseChange,
    Pauses, Preview, Progress, StoreError, StoredApproval,
};

/// The most deliveries an event may have, the most that one call changes, and the most events that
/// one sweep visits.
const MOST: (usize, usize, usize) = (1_000, 4, 500);

impl MemoryData {
    /// Whether a plugin has a delivery of the event that no operator has ended.
    fn has(&self, plugin: &str, event: EventId) -> bool {
        let ended = |state| matches!(state, State::Cancelled | State::Discarded);
        self.of_event(event)
            .any(|delivery| &*delivery.view.plugin == plugin && !ended(delivery.view.state))
    }

    /// The deliveries that `action` is for, in the order in which it goes through them.
    fn find(
        &self,
        action: &Action,
        filter: &DeliveryFilter,
        from: Option<&Progress>,
    ) -> Vec<DeliveryId> {
        let states = action.meant(filter.state);
        let before = from.map_or(i64::MAX, |progress| progress.before);
        let after = match from.and_then(|progress| progress.at.as_ref()) {
            Some(Position::Event(event, ordinal)) => Some((*event, *ordinal)),
            _ => None,
        };
        let filter = DeliveryFilter { state: None, ..filter.clone() };
        let mut found: Vec<_> = self.deliveries.values().collect();
        if let Action::Move(_) = action {
            // Of two deliveries of an event, the one that is due last is moved.
            found.sort_by_key(|delivery| {
                (delivery.crashes, Reverse((delivery.due_ms(), delivery.view.id)))
            });
        }
        let mut moved = BTreeSet::new();
        found.retain(|StoredDelivery { view, .. }| {
            let id = view.id;
            id.event.row() < before
                && after.is_none_or(|after| (id.event.row(), id.ordinal) > after)
                && action.takes_from(view.state, view.cancelling, &states)
                && self.matches(&filter, id)
                && match action {
                    Action::Move(to) => !self.has(to, id.event) && moved.insert(id.event),
                    _ => true,
                }
        });
        found.into_iter().map(|delivery| delivery.view.id).collect()
    }

    pub(super) fn preview(
        &self,
        action: &Action,
        filter: &DeliveryFilter,
        ahead_ms: i64,
    ) -> Preview {
        let found = self.find(action, filter, None);
        let first = found.iter().take(5).map(|id| self.delivery_view(*id, 0, ahead_ms)).collect();
        Preview { deliveries: found.len() as u64, first, next: None }
    }

    pub(super) fn change(&mut self, action: &Action, id: DeliveryId) -> Result<(), StoreError> {
        let found = self
            .deliveries
            .get(&id)
            .ok_or_else(|| StoreError::NotFound(format!("delivery `{id}`")))?;
        if !action.takes_from(found.view.state, found.view.cancelling, action.takes()) {
            return Err(StoreError::Conflict(action.refusal(found.view.state, id)));
        }
        if let Action::Move(to) = action
            && self.has(to, id.event)
        {
            return Err(StoreError::Conflict(format!(
                "delivery `{id}` cannot be moved: `{to}` has the event"
            )));
        }
        self.apply(action, id);
        Ok(())
    }

    fn apply(&mut self, action: &Action, id: DeliveryId) {
        let StoredDelivery { view, uncounted, crashes, steps, first_again_ms, .. } =
            self.deliveries.get_mut(&id).expect("it was found");
        if matches!(action, Action::RetryFresh | Action::Move(_)) {
            steps.clear();
        }
        self.hint.plugins.insert(view.plugin.clone());
        match (action, view.state) {
            (Action::Cancel, State::Leased) => view.cancelling = true,
            (Action::Cancel, _) => view.state = State::Cancelled,
            (Action::Discard, _) => view.state = State::Discarded,
            (Action::Undiscard, _) => view.state = State::Dead,
            (Action::Move(to), _) => {
                (view.plugin, *uncounted, *crashes) = (to.clone(), view.attempt, 0);
                (view.again, *first_again_ms, view.failure) = (0, None, None);
            }
            (Action::Retry | Action::RetryFresh, State::Waiting) => {
                (view.state, view.due_ms, *crashes) =
                    (State::Ready, view.due_ms.min(Some(self.host_ms)), 0);
            }
            (Action::Retry | Action::RetryFresh, _) => {
                (view.again, *first_again_ms) = (0, None);
                (view.state, view.due_ms) = (State::Ready, Some(self.host_ms));
                view.cut_off = false;
                (*uncounted, *crashes) = (view.attempt, 0);
            }
        }
        if matches!(view.state, State::Ready | State::Waiting) {
            self.notify(id);
        }
    }

    pub(super) fn change_some(
        &mut self,
        action: &Action,
        filter: &DeliveryFilter,
        from: Option<Progress>,
    ) -> Changed {
        let found = self.find(action, filter, from.as_ref());
        let some = &found[..found.len().min(MOST.1)];
        some.iter().for_each(|id| self.apply(action, *id));
        let changed = !some.is_empty() || from.as_ref().is_some_and(|progress| progress.changed);
        let newest = self.events.last_key_value().map_or(0, |(newest, _)| newest.row());
        let before = from.map_or(newest + 1, |progress| progress.before);
        // A retried delivery may be dead again. Other changed deliveries are not found again.
        let behind = if action.is_retry() { some.last() } else { None };
        let at = behind.map(|last| Position::Event(last.event.row(), last.ordinal));
        let rest = found.len() > some.len();
        let next = rest || changed && *action == Action::Cancel;
        let next = next.then_some(Progress { before, at, changed: changed && rest });
        Changed { deliveries: some.len() as u64, next }
    }

    /// All of the tree of an event in one call.
    pub(super) fn change_tree(
        &mut self,
        action: &Action,
        event: EventId,
    ) -> Result<Changed, StoreError> {
        let root = self.events.get(&event).map(|stored| stored.view.event.tree());
        let root = root.ok_or_else(|| StoreError::NotFound(format!("event `{event}`")))?;
        let mut found = self.find(action, &DeliveryFilter::default(), None);
        found.retain(|id| self.events[&id.event].view.event.tree() == root);
        found.iter().for_each(|id| self.apply(action, *id));
        Ok(Changed { deliveries: found.len() as u64, next: None })
    }

    pub(super) fn replay(
        &mut self,
        event: EventId,
        targets: &[Arc<Target>],
    ) -> Result<Vec<DeliveryId>, StoreError> {
        if !self.events.contains_key(&event) {
            return Err(StoreError::NotFound(format!("event `{event}`")));
        }
        let first = self.of_event(event).next_back().map_or(0, |last| last.view.id.ordinal + 1);
        if first as usize + targets.len() > MOST.0 {
            return Err(StoreError::Conflict(format!(
                "event `{event}` has {first} deliveries already"
            )));
        }
        let made = (first..).zip(targets).map(|(ordinal, target)| {
            self.create(DeliveryId { event, ordinal }, target, 0, true);
            DeliveryId { event, ordinal }
        });
        Ok(made.collect())
    }

    /// Deletes a bounded number of what is too old; says whether there may be more.
    /// Does `work`, makes its entry and keeps its answer; or does nothing for a key that is known.
    pub(super) fn noted<T: AuditResult>(
        &mut self,
        note: Option<AuditNote>,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let Some(note) = note else { return work(self) };
        if let Some(answer) = self.audit.known_answer(&note, self.wall_ms)? {
            return Ok(T::read(&answer).unwrap());
        }
        let answer = work(self)?;
        let result = answer.text();
        if result != "0" {
            self.audit.make_entry(&note, &result, self.wall_ms);
            self.audit.keep_answer(note, result, self.wall_ms);
        }
        Ok(answer)
    }

    pub(super) fn sweep(&mut self, keep: Keep, now_ms: i64) -> bool {
        let before_ms = |time: Duration| now_ms.saturating_sub(after_ms(0, time));
        let keys = self.next_swept(self.swept.0, self.older_than(before_ms(keep.dedupe_keys)));
        for id in &keys {
            let stored = &self.events[id];
            let source = &stored.view.event.attributes.source;
            for key in stored.keys.iter().map(|key| (source.clone(), *key)) {
                if self.keys.get(&key) == Some(id) {
                    self.keys.remove(&key);
                }
            }
            self.swept.0 = id.row();
        }
        let since_ms = before_ms(keep.events);
        let until = self.older_than(since_ms).min(EventId::from_row(self.swept.0 + 1));
        let events = self.next_swept(self.swept.1, until);
        for id in &events {
            if !self.is_kept(*id, since_ms) {
                self.hint.events = true;
                self.deliveries.retain(|delivery, _| delivery.event != *id);
                self.events.remove(id);
            }
        }
        self.sweep_kv(now_ms.min(self.host_ms));
        self.audit.sweep(before_ms(keep.audit), self.wall_ms);
        self.sweep_failures(since_ms);
        let more = events.len() == MOST.2;
        self.swept.1 = if more { events.last().map_or(0, |last| last.row()) } else { 0 };
        more || keys.len() == MOST.2
    }

    /// Pauses a thing or lets it go on; says whether anything has changed.
    pub(super) fn pause(&mut self, change: PauseChange) -> bool {
        let mut pauses = Pauses::clone(&self.pauses.borrow());
        let changed = match change {
            PauseChange::Pause { kind, name, by, reason } => {
                let since_ms = pauses.of(kind, &name).map_or(self.wall_ms, |it| it.since_ms);
                self.hint.plugins.extend((kind == Pausable::Plugin).then(|| name.clone()));
                pauses.insert(kind, name, Pause { since_ms, by, reason });
                true
            }
            PauseChange::Resume { kind, name } => {
                let was_paused = pauses.remove(kind, &name);
                let is_plugin = kind == Pausable::Plugin && was_paused;
                self.hint.plugins.extend(is_plugin.then_some(name));
                was_paused
            }
        };
        self.pauses.send_replace(Arc::new(pauses));
        changed
    }

    pub(super) fn approve(&mut self, change: ApprovalChange) {
        let (plugin, new) = match &change {
            ApprovalChange::Approve(approval) => (&approval.plugin, Some((approval, false))),
            ApprovalChange::Admit(approval) => (&approval.plugin, Some((approval, true))),
            ApprovalChange::Withdraw(plugin) | ApprovalChange::Forget(plugin) => (plugin, None),
        };
        let all_go = matches!(change, ApprovalChange::Admit(_) | ApprovalChange::Forget(_));
        self.approvals.retain(|(its, is_open), _| its != plugin || !*is_open && !all_go);
        if let Some((approval, admitted)) = new {
            let row = StoredApproval { approval: approval.clone(), at_ms: self.wall_ms, admitted };
            self.approvals.insert((plugin.clone(), !admitted), row);
        }
    }

    fn next_swept(&self, after: i64, until: EventId) -> Vec<EventId> {
        self.events
            .keys()
            .copied()
            .filter(|id| id.row() > after && *id < until)
            .take(MOST.2)
            .collect()
    }

    /// Every event before this id is older than `since_ms`, by its own time and by host time. Where
    /// a later event has an earlier time, that was the time of both or before.
    fn older_than(&self, since_ms: i64) -> EventId {
        let (mut later_ms, mut until) = (i64::MAX, EventId::from_row(i64::MAX));
        for (id, stored) in self.events.iter().rev() {
            later_ms = later_ms.min(stored.wall_ms);
            if later_ms < since_ms {
                break;
            }
            until = *id;
        }
        until.min(EventId::first_at(since_ms.saturating_add(self.host_ms - self.wall_ms)))
    }

    /// Whether a delivery keeps an old event: an open one, or a dead letter whose last attempt is
    /// not as old.
    fn is_kept(&self, id: EventId, since_ms: i64) -> bool {
        self.of_event(id).any(|delivery| {
            let mut attempts = delivery.view.attempts.iter();
            let dead = delivery.view.state == State::Dead;
            delivery.is_open()
                || dead && attempts.any(|attempt| attempt.record.started_at_ms >= since_ms)
        })
    }
}
