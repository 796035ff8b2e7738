//! The data of the store, and append, lease and settle.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};

use super::audit::AuditRows;
use super::failure_rows::FailureRows;
pub(super) use super::rows::{LastWrite, StoredDelivery, StoredEvent};
use super::schedule_rows::ScheduleRows;
use crate::clock::{Clock, TimeNote, until};
use crate::event::{
    AttemptRecord, DedupeKey, DeliveryId, Event, EventId, NewEvent, Outcome, PluginName, State,
    Target,
};
use crate::series::Increment;
use crate::store::model::LeaseTerms;
use crate::store::{
    AgainSoFar, Appended, AttemptView, DeliveryView, DispatchHandle, EventView, Hint, KvValue,
    Lease, LeasePermit, LeaseQueue, Leased, MAX_CRASHES, Next, Pauses, Settled, Settlement,
    StoredApproval, TreeBudget,
};

/// The most body bytes one call leases (and at least one delivery).
const MAX_LEASED_BYTES: usize = 4 << 20;

#[derive(Debug, Default)]
pub(super) struct MemoryData {
    pub(super) events: BTreeMap<EventId, StoredEvent>,
    pub(super) deliveries: BTreeMap<DeliveryId, StoredDelivery>,
    pub(super) keys: HashMap<(Arc<str>, DedupeKey), EventId>,
    pub(super) kv: BTreeMap<(PluginName, String), KvValue>,
    /// The last write of each value.
    pub(super) kv_writes: BTreeMap<(PluginName, String), LastWrite>,
    /// The in-flight journal.
    pub(super) running: BTreeMap<u32, (DeliveryId, u32)>,
    /// By plugin, the admitted one first.
    pub(super) approvals: BTreeMap<(PluginName, bool), StoredApproval>,
    pub(super) pauses: watch::Sender<Arc<Pauses>>,
    pub(super) schedules: ScheduleRows,
    /// With the times at which they were stored.
    pub(super) samples: Vec<(i64, Vec<Increment>)>,
    /// How far the logs of providers have been read.
    pub(super) positions: BTreeMap<Arc<str>, String>,
    pub(super) audit: AuditRows,
    pub(super) failures: FailureRows,
    pub(super) tree: TreeBudget,
    pub(super) last_id: i64,
    pub(super) duplicates: u64,
    /// The last event whose keys are deleted, and the last one that this pass of deletion has seen.
    pub(super) swept: (i64, i64),
    pub(super) note: Option<TimeNote>,
    // The rest belongs to one host and one call.
    pub(super) dispatch: Option<Arc<dyn DispatchHandle>>,
    pub(super) host_ms: i64,
    pub(super) wall_ms: i64,
    pub(super) hint: Hint,
}

impl MemoryData {
    pub(super) fn of_event(
        &self,
        event: EventId,
    ) -> impl DoubleEndedIterator<Item = &StoredDelivery> {
        self.deliveries
            .range(DeliveryId { event, ordinal: 0 }..=DeliveryId { event, ordinal: u32::MAX })
            .map(|(_, d)| d)
    }

    pub(super) fn next_id(&mut self) -> EventId {
        let id = EventId::from_row(self.last_id).next(self.host_ms);
        self.last_id = id.row();
        id
    }

    pub(super) fn append(&mut self, new: NewEvent, root: Option<EventId>) -> Appended {
        self.hint.events = true;
        let source = new.attributes.source.clone();
        let keys = || new.dedupe.iter().map(|key| (source.clone(), *key));
        if let Some(id) = keys().find_map(|key| self.keys.get(&key).copied()) {
            self.duplicates += 1;
            if let Some(StoredEvent { view, .. }) = self.events.get_mut(&id) {
                (view.duplicates, view.last_duplicate_ms) =
                    (view.duplicates + 1, Some(new.attributes.time_ms));
            }
            if let Some(key) = new.spends {
                self.spend(id, (source, key));
            }
            return Appended { id, duplicate: true };
        }
        let id = self.next_id();
        if let Some(trace) = &new.trace {
            trace.stored_as(id);
        }
        self.keys.extend(keys().map(|key| (key, id)));
        let view = EventView {
            event: Event {
                id,
                attributes: new.attributes,
                parent: new.parent,
                root,
                hops: new.hops,
                trace: new.trace.as_ref().map(|trace| trace.context()),
            },
            provider_id: new.provider_id,
            note: new.note,
            signed_by: new.signed_by,
            emptied: None,
            headers: new.headers,
            duplicates: 0,
            last_duplicate_ms: None,
            deliveries: Vec::new(),
            children: Vec::new(),
            edited: new.edited,
            replays: Vec::new(),
        };
        self.events.insert(id, StoredEvent { view, keys: new.dedupe, wall_ms: self.wall_ms });
        for (ordinal, delivery) in (0..).zip(&new.deliveries) {
            let delay_ms = new.delay_ms.max(delivery.target.options.delay_ms);
            self.create(DeliveryId { event: id, ordinal }, &delivery.target, delay_ms, false);
        }
        Appended { id, duplicate: false }
    }

    /// Takes a key of a duplicate for the event that it repeats, if nobody has it.
    fn spend(&mut self, first: EventId, key: (Arc<str>, DedupeKey)) {
        if first.row() > self.swept.0
            && let Some(event) = self.events.get_mut(&first)
            && !self.keys.contains_key(&key)
        {
            event.keys.push(key.1);
            self.keys.insert(key, first);
        }
    }

    /// Creates a delivery: leased on insert if it is due and the dispatcher has a permit for it.
    pub(super) fn create(&mut self, id: DeliveryId, target: &Target, delay_ms: u64, replay: bool) {
        let plugin = &target.plugin;
        let event = &self.events[&id.event].view.event;
        let body_bytes = event.attributes.body.len();
        let dispatch = if delay_ms == 0 { self.dispatch.as_ref() } else { None };
        let permit = dispatch.and_then(|dispatch| dispatch.permit(plugin, body_bytes));
        let view = DeliveryView {
            id,
            plugin: plugin.clone(),
            kind: event.attributes.kind.clone(),
            source: event.attributes.source.to_string(),
            subject: event.attributes.subject.clone(),
            state: if delay_ms == 0 { State::Ready } else { State::Waiting },
            attempt: 0,
            due_ms: Some(self.host_ms.saturating_add_unsigned(delay_ms).min(i64::MAX - 2)),
            key: None,
            behind: None,
            held: false,
            gathering: None,
            quarantined: false,
            replay,
            cancelling: false,
            cut_off: false,
            unrecorded: 0,
            failure: None,
            again: 0,
            retried_after: None,
            steps: Vec::new(),
            attempts: Vec::new(),
        };
        self.deliveries.insert(id, StoredDelivery::new(view));
        let lease = permit.map(|permit| self.take(id, permit));
        match (lease, &self.dispatch) {
            (Some(lease), Some(dispatch)) => dispatch.deliver(vec![lease]),
            _ => self.notify(id),
        }
    }

    /// Notifies the dispatcher of a delivery that is not leased.
    pub(super) fn notify(&mut self, id: DeliveryId) {
        let delivery = &self.deliveries[&id];
        self.hint.plugins.insert(delivery.view.plugin.clone());
        if let Some(dispatch) = &self.dispatch {
            dispatch.notify(&delivery.view.plugin, until(self.host_ms, delivery.due_ms()));
        }
    }

    pub(super) fn lease(
        &mut self,
        queue: &LeaseQueue,
        mut permits: OwnedSemaphorePermit,
    ) -> Leased {
        let (crashes, plugins) = match queue {
            LeaseQueue::Plugin(name) => (0, std::slice::from_ref(name)),
            LeaseQueue::Quarantine(names) => (1, names.as_slice()),
        };
        let (mut leases, mut next_due_ms, mut memory_is_full) = (Vec::new(), None, false);
        for plugin in plugins {
            let open = self.deliveries.values().filter(|delivery| delivery.is_open());
            let in_queue = open.filter(|d| {
                d.crashes == crashes && d.view.plugin == *plugin && d.due_ms() < i64::MAX
            });
            let mut found: Vec<_> =
                in_queue.map(|delivery| (delivery.due_ms(), delivery.view.id)).collect();
            found.sort_unstable();
            let mut bytes = 0;
            for (due_ms, id) in found {
                let body_bytes = self.events[&id.event].view.event.attributes.body.len();
                let memory =
                    self.dispatch.as_ref().map(|dispatch| dispatch.memory(plugin, body_bytes));
                let stays = due_ms > self.host_ms
                    || bytes >= MAX_LEASED_BYTES
                    || matches!(memory, Some(None));
                memory_is_full |= due_ms <= self.host_ms && matches!(memory, Some(None));
                let budget = match permits.split(1) {
                    Some(budget) if !stays => budget,
                    _ => {
                        next_due_ms =
                            Some(next_due_ms.map_or(due_ms, |next: i64| next.min(due_ms)));
                        break;
                    }
                };
                bytes += body_bytes;
                leases.push(self.take(id, LeasePermit { budget, memory: memory.flatten() }));
            }
        }
        let next_due_in = next_due_ms.map(|due_ms| until(self.host_ms, due_ms));
        Leased { leases, next_due_in, memory_is_full }
    }

    fn take(&mut self, delivery: DeliveryId, permit: LeasePermit) -> Lease {
        let event = Arc::new(self.events[&delivery.event].view.event.clone());
        let StoredDelivery { view, uncounted, deaths, steps, first_again_ms, .. } =
            self.deliveries.get_mut(&delivery).expect("it is there");
        let again = AgainSoFar {
            count: view.again,
            since: first_again_ms.map_or(Duration::ZERO, |first_ms| until(first_ms, self.host_ms)),
        };
        let terms = LeaseTerms { has_steps: !steps.is_empty(), again, ..LeaseTerms::default() };
        (view.state, view.attempt) = (State::Leased, view.attempt + 1);
        let (plugin, attempt) = (view.plugin.clone(), view.attempt);
        self.hint.plugins.insert(plugin.clone());
        let (uncounted, deaths) = (*uncounted, *deaths);
        let due_ms = view.due_ms.unwrap_or(self.host_ms);
        Lease {
            delivery,
            plugin,
            attempt,
            uncounted,
            deaths,
            due_ms,
            event,
            terms,
            permit,
            held: None,
        }
    }

    pub(super) fn begin(&mut self, lease: &Lease) -> u32 {
        let number = self.running.last_key_value().map_or(0, |(last, _)| last + 1);
        self.running.insert(number, (lease.delivery, lease.attempt));
        number
    }

    pub(super) fn settle(
        &mut self,
        lease: &Lease,
        Settlement { next, record }: Settlement,
    ) -> Settled {
        let held =
            self.deliveries.get(&lease.delivery).map(|held| (held.view.state, held.view.attempt));
        if held != Some((State::Leased, lease.attempt)) {
            return Settled::Lost;
        }
        let (conflict, excess, fault) = match next.results() {
            Some((_, kv)) if !self.reads_hold(&lease.plugin, kv) => (true, None, None),
            Some((emitted, kv)) => {
                let excess = self.excess(lease.event.tree(), emitted);
                let fault = self.fault_of_adds(&lease.plugin, kv);
                (false, excess.clone(), excess.or(fault))
            }
            None => (false, None, None),
        };
        let state = match next.state() {
            _ if conflict => State::Ready,
            _ if fault.is_some() => State::Dead,
            state => state,
        };
        let StoredDelivery { view, crashes, deaths, .. } =
            self.deliveries.get_mut(&lease.delivery).expect("it is held");
        let cancelled = std::mem::take(&mut view.cancelling);
        view.state = if cancelled { State::Cancelled } else { state };
        view.cut_off = cancelled && !matches!(next, Next::GiveBack(_));
        *deaths += u32::from(view.state == State::Dead);
        view.due_ms = next.due_ms(self.host_ms).or(Some(self.host_ms));
        match record {
            // The next attempt has the number of one that is not spent.
            _ if conflict && !cancelled || matches!(next, Next::GiveBack(_)) => view.attempt -= 1,
            Some(mut record) => {
                if fault.is_some() {
                    (record.outcome, record.error, record.logs) =
                        (Outcome::Error, fault.clone(), Vec::new());
                }
                if !cancelled {
                    view.failure = self.failures.after(&lease.plugin, &record, self.wall_ms);
                }
                view.attempts.push(AttemptView { number: lease.attempt, record });
                *crashes = 0;
            }
            None => (view.unrecorded, *crashes) = (view.unrecorded + 1, 0),
        }
        self.hint.plugins.insert(lease.plugin.clone());
        if self.deliveries[&lease.delivery].is_open() {
            self.notify(lease.delivery);
        }
        match next {
            _ if cancelled => return Settled::Cancelled,
            _ if conflict => return Settled::Conflict,
            _ if excess.is_some() => return Settled::OverBudget,
            _ if fault.is_some() => return Settled::NotANumber,
            next => self.store_results(lease, next),
        }
        Settled::Kept
    }

    /// Stores what an attempt leaves beside its own delivery.
    fn store_results(&mut self, lease: &Lease, next: Next) {
        let delivery = self.deliveries.get_mut(&lease.delivery).expect("it was held");
        match &next {
            Next::Done { .. } => delivery.steps.clear(),
            Next::Again { .. } => {
                delivery.uncounted = delivery.view.attempt;
                delivery.view.again += 1;
                delivery.first_again_ms = delivery.first_again_ms.or(Some(self.host_ms));
            }
            Next::RetryIn(_) | Next::Dead(_) | Next::GiveBack(_) => {}
        }
        match next {
            Next::Done { emitted, kv } | Next::Again { emitted, kv, .. } => {
                for event in emitted {
                    self.append(event, Some(lease.event.tree()));
                }
                self.write_kv(&lease.plugin, Some((lease.delivery, lease.attempt)), kv);
            }
            Next::Dead(Some(event)) => {
                self.append(*event, Some(lease.event.tree()));
            }
            Next::RetryIn(_) | Next::Dead(None) | Next::GiveBack(_) => {}
        }
    }

    /// Gives back what is still leased at an orderly close.
    pub(super) fn release(&mut self) {
        for StoredDelivery { view, .. } in
            self.deliveries.values_mut().filter(|d| d.view.state == State::Leased)
        {
            let cancelled = std::mem::take(&mut view.cancelling);
            view.state = if cancelled { State::Cancelled } else { State::Ready };
            (view.attempt, view.due_ms) = (view.attempt - 1, Some(self.host_ms));
        }
    }

    /// Goes on from what an earlier store has left.
    pub(super) fn take_up(&mut self, clock: &Clock) {
        let note = self.note.take().unwrap_or_else(|| TimeNote::fresh(clock.now_ms()));
        clock.resume(note, EventId::from_row(self.last_id).unix_ms());
        (self.note, self.dispatch) = (Some(clock.note()), None);
        let running: Vec<_> = std::mem::take(&mut self.running).into_values().collect();
        for StoredDelivery { view, uncounted, crashes, deaths, .. } in self.deliveries.values_mut()
        {
            if view.state == State::Leased {
                let ran = running.contains(&(view.id, view.attempt));
                (*uncounted, *crashes) = (*uncounted + 1, *crashes + u32::from(ran));
                if ran {
                    let (number, record) = (view.attempt, crash(clock.now_ms()));
                    if !view.cancelling {
                        let group = self.failures.meet(&view.plugin, &record, clock.now_ms());
                        view.failure = Some(group);
                    }
                    view.attempts.push(AttemptView { number, record });
                }
                let again = if *crashes >= MAX_CRASHES { State::Dead } else { State::Ready };
                let cancelled = std::mem::take(&mut view.cancelling);
                view.state = if cancelled { State::Cancelled } else { again };
                view.cut_off = cancelled && ran;
                *deaths += u32::from(view.state == State::Dead);
                view.due_ms = Some(clock.host_ms());
            } else if view.state == State::Ready {
                view.due_ms = view.due_ms.min(Some(clock.host_ms()));
            }
        }
    }
}

fn crash(started_at_ms: i64) -> AttemptRecord {
    AttemptRecord::of_host(started_at_ms, Outcome::Crash, Some("the host died".to_owned()))
}
