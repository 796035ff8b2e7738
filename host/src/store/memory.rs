//! A store in memory, for tests that need no disk. It keeps the laws of the road as
//! SQLite does, and not those of workflows: see `docs/design/workflows.md`. Its calls are done when
//! they are made.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{OwnedSemaphorePermit, watch};

use self::data::MemoryData;
use super::changes::{Announcer, Changes};
use super::in_flight::{AttemptLog, InFlight};
use super::{
    Action, Appended, ApprovalChange, AuditNote, Changed, Count, Cursor, DeliveryFilter,
    DeliveryView, DispatchHandle, DueTimes, Erased, Erasure, EventFilter, EventSummary, EventView,
    FailureCursor, FailureFilter, FailureView, FoundFacts, GatheringCursor, GatheringFilter,
    GatheringState, GatheringView, Health, Keep, KeyChange, KvEntry, KvKey, KvRange, KvValue,
    Lease, LeaseHolder, LeaseQueue, Leased, MaybeReady, NewStep, Operate, Page, PauseChange,
    Pauses, Pending, Preview, Progress, Queue, Read, ReadOne, Recorded, Settled, Settlement, Stats,
    StoreError, StoredApproval, StoredFacts, TreeView, Which,
};
use crate::clock::Clock;
use crate::event::{DeliveryId, Event, EventId, FailureId, NewEvent, PluginName, Target};

mod audit;
mod counts;
mod data;
mod failure_rows;
mod failures;
mod history;
mod laws;
mod listing;
mod operate;
mod operations;
mod plugin_data;
mod positions;
mod rows;
mod schedule_rows;
mod schedules;

/// Host time and wall clock may differ by less than this without a difference to sweeps, in
/// milliseconds.
const SMALL_MS: u64 = 60_000;

/// The store. The data of a killed one stays in its `data`.
#[derive(Debug)]
pub(crate) struct MemoryStore {
    data: Arc<Mutex<MemoryData>>,
    clock: Clock,
    changes: Announcer,
    closed: watch::Sender<bool>,
}

impl MemoryStore {
    /// An empty store.
    pub(crate) fn new(clock: Clock) -> Self {
        Self::open(Arc::default(), clock)
    }

    /// A store on what an earlier one has left.
    fn open(data: Arc<Mutex<MemoryData>>, clock: Clock) -> Self {
        data.lock().unwrap().take_up(&clock);
        Self { data, clock, changes: Announcer::default(), closed: watch::Sender::new(false) }
    }

    fn data(&self) -> Result<MutexGuard<'_, MemoryData>, StoreError> {
        let closed = self.closed.borrow().then(|| StoreError::Stopped("it was closed".to_owned()));
        closed.map_or_else(|| Ok(self.data.lock().unwrap()), Err)
    }

    fn read<T>(&self, work: impl FnOnce(&MemoryData) -> T) -> Result<T, StoreError> {
        self.data().map(|data| work(&data))
    }

    /// Does `work`, and tells of it when it is done.
    fn write<T>(
        &self,
        work: impl FnOnce(&mut MemoryData) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut data = self.data()?;
        (data.host_ms, data.wall_ms) = (self.clock.host_ms(), self.clock.now_ms());
        // A small difference counts as none, as in SQLite: deletion then goes by the ids.
        if data.host_ms.abs_diff(data.wall_ms) < SMALL_MS {
            data.wall_ms = data.host_ms;
        }
        let done = work(&mut data);
        data.note = Some(self.clock.note());
        let hint = std::mem::take(&mut data.hint);
        drop(data);
        self.changes.committed(|| hint);
        done
    }
}

/// An answer that is there.
fn done<'a, T: Send + 'a>(answer: Result<T, StoreError>) -> Pending<'a, T> {
    Box::pin(std::future::ready(answer))
}

impl AttemptLog for Mutex<MemoryData> {
    fn ended(&self, number: u32) {
        self.lock().unwrap().running.remove(&number);
    }
}

impl Queue for MemoryStore {
    fn attach(&self, dispatch: Arc<dyn DispatchHandle>) {
        self.data.lock().unwrap().dispatch = Some(dispatch);
    }

    fn append(&self, event: NewEvent) -> Pending<'_, Appended> {
        done(self.write(|data| Ok(data.append(event, None))))
    }

    fn append_all(&self, events: Vec<NewEvent>) -> Pending<'_, Vec<Appended>> {
        done(
            self.write(|data| {
                Ok(events.into_iter().map(|event| data.append(event, None)).collect())
            }),
        )
    }

    fn has_legacy_keys(&self) -> bool {
        false
    }

    fn lease(&self, queue: LeaseQueue, permits: OwnedSemaphorePermit) -> Pending<'_, Leased> {
        // When it is polled: nothing is leased to a caller that has gone.
        Box::pin(async move { self.write(|data| Ok(data.lease(&queue, permits))) })
    }

    fn begin(&self, lease: &Lease) -> MaybeReady<'_, InFlight> {
        let number = self.write(|data| Ok(data.begin(lease)));
        MaybeReady::ready(number.map(|number| InFlight::new(self.data.clone(), number)))
    }

    fn record(&self, holder: &LeaseHolder, step: NewStep) -> Pending<'_, Recorded> {
        done(self.write(|data| Ok(data.record_step(holder, step))))
    }

    fn settle(&self, lease: Lease, settlement: Settlement) -> Pending<'_, Settled> {
        done(self.write(|data| Ok(data.settle(&lease, settlement))))
    }
}

impl Operate for MemoryStore {
    fn change(
        &self,
        note: Option<AuditNote>,
        action: Action,
        which: Which,
    ) -> Pending<'_, Changed> {
        done(self.write(|data| {
            let one = matches!(which, Which::One(_));
            let note = if one { note } else { note.map(|note| note.of_a_part()) };
            let mut next = None;
            let change = |data: &mut MemoryData| {
                let changed = match which {
                    Which::One(id) => {
                        data.change(&action, id).map(|()| Changed { deliveries: 1, next: None })
                    }
                    Which::Matching { filter, from } => {
                        Ok(data.change_some(&action, &filter, from))
                    }
                    Which::Tree { event, .. } => data.change_tree(&action, event),
                }?;
                next = changed.next;
                Ok(changed.deliveries)
            };
            let deliveries = data.noted(note, change)?;
            Ok(Changed { deliveries, next })
        }))
    }

    fn preview(
        &self,
        action: Action,
        filter: DeliveryFilter,
        from: Option<Progress>,
    ) -> Pending<'_, Preview> {
        assert!(from.is_none(), "one call counts all");
        done(self.read(|data| data.preview(&action, &filter, self.clock.ahead_ms())))
    }

    fn replay(
        &self,
        note: Option<AuditNote>,
        event: EventId,
        targets: Vec<Arc<Target>>,
    ) -> Pending<'_, Vec<DeliveryId>> {
        done(self.write(|data| data.noted(note, |data| data.replay(event, &targets))))
    }

    fn make(&self, note: Option<AuditNote>, event: NewEvent) -> Pending<'_, Appended> {
        done(self.write(|data| data.noted(note, |data| data.make(event))))
    }

    fn change_key(&self, note: Option<AuditNote>, change: KeyChange) -> Pending<'_, Option<i64>> {
        let sets = change.value.is_some();
        let changed = self.write(|data| data.noted(note, |data| data.change_key(change)));
        done(changed.map(|version| if sets { i64::try_from(version).ok() } else { None }))
    }

    fn approve(&self, note: Option<AuditNote>, change: ApprovalChange) -> Pending<'_, ()> {
        done(self.write(|data| {
            data.noted(note, |data| {
                data.approve(change);
                Ok(())
            })
        }))
    }

    fn pause(&self, note: Option<AuditNote>, change: PauseChange) -> Pending<'_, bool> {
        let changed = self.write(|data| data.noted(note, |data| Ok(u64::from(data.pause(change)))));
        done(changed.map(|changed| changed > 0))
    }

    fn erase(&self, _: Option<AuditNote>, _: Erasure, _: bool) -> Pending<'_, Erased> {
        unreachable!("nothing is erased from the store in memory")
    }

    fn sweep(&self, keep: Keep) -> Pending<'_, bool> {
        done(self.write(|data| Ok(data.sweep(keep, self.clock.deletion_ms()))))
    }

    fn note_time(&self) -> Pending<'_, ()> {
        done(self.write(|_| Ok(())))
    }
}

impl ReadOne for MemoryStore {
    fn event(&self, id: EventId) -> Pending<'_, EventView> {
        let found = self.read(|data| data.event_view(id, self.clock.ahead_ms()));
        done(
            found.and_then(|found| {
                found.ok_or_else(|| StoreError::NotFound(format!("event `{id}`")))
            }),
        )
    }

    fn facts(&self, id: EventId) -> Pending<'_, Option<FoundFacts>> {
        done(self.read(|data| {
            let view = data.event_view(id, self.clock.ahead_ms())?;
            let Event { attributes, hops, .. } = view.event;
            let facts = StoredFacts { attributes, headers: view.headers, hops };
            Some(FoundFacts::Whole(facts))
        }))
    }

    fn delivery(&self, id: DeliveryId) -> Pending<'_, DeliveryView> {
        let found = self.read(|data| {
            let is_there = data.deliveries.contains_key(&id);
            is_there.then(|| data.whole_delivery(id, self.clock.ahead_ms()))
        });
        let missing = || StoreError::NotFound(format!("delivery `{id}` of event `{}`", id.event));
        done(found.and_then(|found| found.ok_or_else(missing)))
    }
}

impl Count for MemoryStore {
    fn stats(&self) -> MaybeReady<'_, Stats> {
        MaybeReady::ready(self.read(MemoryData::stats))
    }
}

impl Read for MemoryStore {
    fn events(
        &self,
        filter: EventFilter,
        page: Page,
    ) -> Pending<'_, (Vec<EventSummary>, Option<Cursor>)> {
        done(self.read(|data| data.events_page(&filter, page)))
    }

    fn deliveries(
        &self,
        filter: DeliveryFilter,
        page: Page,
    ) -> Pending<'_, (Vec<DeliveryView>, Option<Cursor>)> {
        done(self.read(|data| data.deliveries_page(&filter, page, self.clock.ahead_ms())))
    }

    fn pauses(&self) -> watch::Receiver<Arc<Pauses>> {
        self.data.lock().unwrap().pauses.subscribe()
    }

    fn approvals(&self) -> Pending<'_, Vec<StoredApproval>> {
        done(self.read(|data| data.approvals.values().cloned().collect()))
    }

    fn dead_notice(&self, _delivery: DeliveryId) -> Pending<'_, Option<(DeliveryId, u32)>> {
        done(self.read(|_| None))
    }

    fn gathering(&self, _delivery: DeliveryId) -> Pending<'_, Option<GatheringView>> {
        done(self.read(|_| None))
    }

    fn failures(
        &self,
        filter: FailureFilter,
        limit: usize,
        after: Option<FailureCursor>,
    ) -> Pending<'_, (Vec<FailureView>, Option<FailureCursor>)> {
        done(self.read(|data| data.failures(&filter, limit, after)))
    }

    fn failure(&self, id: FailureId) -> Pending<'_, FailureView> {
        let missing = || StoreError::NotFound(format!("failure group `{id}`"));
        done(self.read(|data| data.failure(id)).and_then(|found| found.ok_or_else(missing)))
    }

    fn gatherings(
        &self,
        _filter: GatheringFilter,
        _limit: usize,
        _after: Option<GatheringCursor>,
    ) -> Pending<'_, (Vec<GatheringState>, Option<GatheringCursor>)> {
        done(self.read(|_| (Vec::new(), None)))
    }

    fn tree(&self, event: EventId, limit: usize, after: Option<EventId>) -> Pending<'_, TreeView> {
        let found = self.read(|data| data.tree(event, limit, after, self.clock.ahead_ms()));
        let missing = || StoreError::NotFound(format!("event `{event}`"));
        done(found.and_then(|found| found.ok_or_else(missing)))
    }

    fn tree_mark(&self, event: EventId) -> Pending<'_, u64> {
        done(self.read(|data| data.tree_mark(event)))
    }

    fn steps(&self, delivery: DeliveryId) -> Pending<'_, BTreeMap<String, Vec<u8>>> {
        done(self.read(|data| {
            let steps = data.deliveries.get(&delivery).into_iter().flat_map(|found| &found.steps);
            steps.map(|(name, (_, value))| (name.clone(), value.clone())).collect()
        }))
    }

    fn kv_get(&self, bucket: PluginName, key: String) -> Pending<'_, Option<KvValue>> {
        done(self.read(|data| data.kv.get(&(bucket, key)).cloned()))
    }

    fn kv_keys(&self, bucket: PluginName, range: KvRange) -> Pending<'_, Vec<KvKey>> {
        done(self.read(|data| data.kv_keys(&bucket, &range)))
    }

    fn kv_entries(&self, bucket: PluginName, range: KvRange) -> Pending<'_, Vec<KvEntry>> {
        done(self.read(|data| data.kv_entries(&bucket, &range, self.clock.ahead_ms())))
    }

    fn kv_buckets(&self) -> MaybeReady<'_, BTreeMap<PluginName, u64>> {
        MaybeReady::ready(self.read(|data| {
            let names = data.kv.keys().map(|(bucket, _)| bucket.clone());
            names.map(|bucket| (bucket.clone(), data.kv_bytes(&bucket))).collect()
        }))
    }

    fn kv_bytes(&self, bucket: &str) -> MaybeReady<'_, u64> {
        MaybeReady::ready(self.read(|data| data.kv_bytes(bucket)))
    }

    fn due_times(&self, plugins: Vec<PluginName>) -> Pending<'_, BTreeMap<PluginName, DueTimes>> {
        let (now_ms, ahead_ms) = (self.clock.host_ms(), self.clock.ahead_ms());
        done(self.read(|data| data.due_times(&plugins, now_ms, ahead_ms)))
    }

    fn changes(&self) -> Changes {
        self.changes.listen()
    }
}

impl Health for MemoryStore {
    fn trouble(&self) -> Option<StoreError> {
        self.data().err()
    }

    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    fn stopped(&self) -> Pending<'_, ()> {
        let mut closed = self.closed.subscribe();
        Box::pin(async move {
            closed.wait_for(|closed| *closed).await.expect("the sender lives");
            Ok(())
        })
    }

    fn close(&self) -> Pending<'_, ()> {
        let closed = self.write(|data| {
            data.release();
            Ok(())
        });
        self.closed.send_replace(true);
        done(closed)
    }
}
