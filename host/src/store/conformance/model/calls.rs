//! Each call, made on the store and on the model.

use std::cmp::Reverse;

use proptest::sample::Index;

use super::super::bulk::act_on_all;
use super::super::dispatch::TestDispatch;
use super::super::steps::again_with;
use super::super::sweep::sweep_all;
use super::*;
use crate::clock::until;
use crate::event::StepUse;
use crate::store::{DeliveryFilter, MAX_CRASHES, NewStep, Recorded, Which};

impl<H: Harness> Model<'_, H> {
    pub(super) async fn append(
        &mut self,
        key: Option<u8>,
        source: u8,
        targets: &[u8],
        delay_ms: u64,
    ) {
        let mut new = event("order.paid", &[]);
        new.attributes.source = format!("source{source}").into();
        new.deliveries = targets.iter().map(|target| Target::to(plugin(*target)).into()).collect();
        new.dedupe = key.into_iter().map(key_of).collect();
        new.delay_ms = delay_ms;
        new.attributes.time_ms = self.now_ms();
        let appended = self.store().append(new).await.unwrap();
        let first = key.and_then(|key| self.keys.get(&(source, key)).copied());
        assert_eq!(appended.duplicate, first.is_some());
        if let Some(first) = first {
            assert_eq!(appended.id, first);
            let now_ms = self.now_ms();
            let (count, last_ms) = self.duplicates.entry(first).or_default();
            (*count, *last_ms) = (*count + 1, now_ms);
            return;
        }
        self.keys.extend(key.map(|key| ((source, key), appended.id)));
        self.stored(appended.id, targets, delay_ms).await;
    }

    /// A new event is there.
    pub(super) async fn stored(&mut self, id: EventId, targets: &[u8], delay_ms: u64) {
        assert!(id > self.last_id, "ids grow");
        self.last_id = id;
        self.events.insert(id);
        for target in targets {
            self.create(id, &plugin(*target), delay_ms);
        }
        self.take_delivered().await;
    }

    pub(super) fn next_delivery(&self, event: EventId) -> DeliveryId {
        let of_event = DeliveryId { event, ordinal: 0 }..=DeliveryId { event, ordinal: u32::MAX };
        let last = self.deliveries.range(of_event).next_back();
        DeliveryId { event, ordinal: last.map_or(0, |(id, _)| id.ordinal + 1) }
    }

    pub(super) fn create(&mut self, event: EventId, plugin: &str, delay_ms: u64) {
        let id = self.next_delivery(event);
        let on_insert =
            delay_ms == 0 && plugin == BUDGETS[0].0 && self.on_insert.len() < BUDGETS[0].1;
        if on_insert {
            self.on_insert.insert(id);
        }
        let state = match (on_insert, delay_ms) {
            (true, _) => State::Leased,
            (false, 0) => State::Ready,
            (false, _) => State::Waiting,
        };
        let due_ms = self.host_ms() + i64::try_from(delay_ms).unwrap();
        let attempt = u32::from(on_insert);
        let plugin = plugin.to_owned();
        let (uncounted, crashes, cancelled, outcomes, last_started_ms) =
            (0, 0, false, Vec::new(), i64::MIN);
        let (steps, again) = (BTreeMap::new(), 0);
        let made = Delivery {
            plugin,
            state,
            attempt,
            uncounted,
            crashes,
            due_ms,
            cancelled,
            cancelled_by: None,
            outcomes,
            steps,
            again,
            last_started_ms,
        };
        self.deliveries.insert(id, made);
    }

    /// Takes up what was leased on insert, which the model has foreseen.
    pub(super) async fn take_delivered(&mut self) {
        for lease in self.dispatch.delivered(&self.store()).await {
            let expected = &self.deliveries[&lease.delivery];
            assert_eq!((expected.state, lease.attempt), (State::Leased, 1));
            assert!(self.on_insert.contains(&lease.delivery));
            self.held.push(lease);
        }
        let leased =
            self.deliveries.values().filter(|delivery| delivery.state == State::Leased).count();
        assert_eq!(self.held.len(), leased, "whatever is leased is held by somebody");
    }

    pub(super) async fn lease(
        &mut self,
        queue: LeaseQueue,
        plugins: &[u8],
        crashes: u32,
        count: u32,
    ) {
        let now_ms = self.host_ms();
        let mut expected = Vec::new();
        let open = |delivery: &Delivery| matches!(delivery.state, State::Ready | State::Waiting);
        for number in plugins {
            let of_queue = self
                .deliveries
                .iter()
                .filter(|(_, d)| d.plugin == plugin(*number) && d.crashes == crashes);
            let mut due: Vec<_> = of_queue.filter(|(_, d)| open(d) && d.due_ms <= now_ms).collect();
            due.sort_by_key(|(id, d)| (d.due_ms, **id));
            expected.extend(due.into_iter().map(|(id, _)| *id));
        }
        expected.truncate(count as usize);
        let leased = self.store().lease(queue, permits(count)).await.unwrap();
        assert_eq!(leased.leases.iter().map(|lease| lease.delivery).collect::<Vec<_>>(), expected);
        for lease in leased.leases {
            let delivery = self.deliveries.get_mut(&lease.delivery).unwrap();
            delivery.state = State::Leased;
            delivery.attempt += 1;
            assert_eq!((lease.attempt, lease.uncounted), (delivery.attempt, delivery.uncounted));
            assert_eq!(*lease.plugin, *delivery.plugin);
            self.held.push(lease);
        }
        let left = self.deliveries.values().filter(|d| open(d) && d.crashes == crashes);
        let left = left.filter(|d| plugins.iter().any(|number| d.plugin == plugin(*number)));
        assert_eq!(leased.next_due_in, left.map(|d| until(now_ms, d.due_ms)).min());
    }

    /// The settlement that `how` means for `lease`, and whether the keys it read are as it saw
    /// them.
    pub(super) async fn settlement(&self, lease: &Lease, how: How) -> (Settlement, bool) {
        let settlement = match how {
            How::Retry(delay_ms) => retry_in(delay_ms.cast_signed()),
            How::Dead => dead(),
            How::GiveBack(delay_ms) => give_back(delay_ms.cast_signed()),
            How::Again { emits, delay_ms } => {
                let emitted = child(lease, &emits, 0);
                again_with(emitted, one_more(), delay_ms.cast_signed())
            }
            How::Done { emits, delay_ms, key, stale } => {
                let key = format!("key{key}");
                let seen = self.store().kv_get(lease.plugin.clone(), key.clone()).await.unwrap();
                let version = seen.map(|seen| seen.version);
                let read =
                    if stale { Some(version.map_or(1, |version| version + 1)) } else { version };
                let value =
                    (!lease.attempt.is_multiple_of(3)).then(|| vec![b'v'; lease.attempt as usize]);
                let kv = KvTransaction {
                    reads: vec![(key.clone(), read)],
                    writes: vec![(key, value)],
                    ..one_more()
                };
                return (done_with(child(lease, &emits, delay_ms), kv), !stale);
            }
        };
        (settlement, true)
    }

    pub(super) async fn settle(&mut self, lease: Lease, how: How) {
        let (settlement, current) = self.settlement(&lease, how.clone()).await;
        let (id, name) = (lease.delivery, lease.plugin.to_string());
        let outcome = settlement.record.as_ref().map(|record| record.outcome);
        let wrote = match &settlement.next {
            Next::Done { kv, .. } => kv.writes.clone(),
            _ => Vec::new(),
        };
        let used = self.deliveries[&id].steps.keys().next().cloned();
        let mut settlement = settlement;
        if let (Some(record), Some(name)) = (&mut settlement.record, used) {
            record.steps = vec![StepUse { name, bytes: 1, recorded_after_ms: None }];
        }
        let settled = settle(&self.store(), lease, settlement).await;
        let now_ms = self.host_ms();
        let delivery = self.deliveries.get_mut(&id).unwrap();
        let cancelled = std::mem::take(&mut delivery.cancelled);
        assert_eq!(
            settled,
            match (cancelled, current) {
                (true, _) => Settled::Cancelled,
                (false, true) => Settled::Kept,
                (false, false) => Settled::Conflict,
            }
        );
        let (state, due_ms) = how.leads_to(current, now_ms);
        (delivery.state, delivery.due_ms) =
            (if cancelled { State::Cancelled } else { state }, due_ms);
        if !current && !cancelled || matches!(how, How::GiveBack(_)) {
            delivery.attempt -= 1;
            self.on_insert.remove(&id);
            return;
        }
        delivery.crashes = 0;
        if let Some(outcome) = outcome {
            delivery.outcomes.push((delivery.attempt, outcome));
            delivery.last_started_ms = delivery.last_started_ms.max(START_MS);
        }
        if cancelled {
            self.on_insert.remove(&id);
            return;
        }
        self.left(id, &name, how, wrote).await;
        // Only now: what it emitted was stored before its permit was free.
        self.on_insert.remove(&id);
    }

    /// The effects of a kept settlement beside its delivery's own state.
    async fn left(
        &mut self,
        id: DeliveryId,
        name: &str,
        how: How,
        wrote: Vec<(String, Option<Vec<u8>>)>,
    ) {
        for (key, value) in wrote {
            let key = (name.to_owned(), key);
            match value {
                Some(value) => self.kv.insert(key, value),
                None => self.kv.remove(&key),
            };
        }
        if matches!(how, How::Done { .. } | How::Again { .. }) {
            let sum =
                self.kv.entry((name.to_owned(), SUM.to_owned())).or_insert_with(|| vec![0; 8]);
            let added = i64::from_le_bytes(sum.clone().try_into().unwrap()) + 1;
            *sum = added.to_le_bytes().to_vec();
        }
        let delivery = self.deliveries.get_mut(&id).unwrap();
        match &how {
            How::Done { .. } => delivery.steps.clear(),
            How::Again { .. } => {
                (delivery.uncounted, delivery.again) = (delivery.attempt, delivery.again + 1);
            }
            How::Retry(_) | How::Dead | How::GiveBack(_) => {}
        }
        let emitted = match how {
            How::Done { emits, delay_ms, .. } => (emits, delay_ms),
            How::Again { emits, .. } => (emits, 0),
            _ => (Vec::new(), 0),
        };
        if let (emits, delay_ms) = emitted
            && !emits.is_empty()
        {
            let children = self.store().event(id.event).await.unwrap().children;
            let new: Vec<_> =
                children.into_iter().filter(|child| !self.events.contains(child)).collect();
            assert_eq!(new.len(), 1, "emitted once");
            self.stored(new[0], &emits, delay_ms).await;
        }
    }

    /// Records a step for an attempt that holds its lease, or for one that has lost it.
    pub(super) async fn record(&mut self, pick: Index, name: u8, late: bool) {
        let leases = if late { &self.zombies } else { &self.held };
        let Some(last) = leases.len().checked_sub(1) else { return };
        let lease = &leases[pick.index(last + 1)];
        let (holder, attempt) = (lease.holder(), lease.attempt);
        let (name, value) = (format!("step{name}"), vec![b's'; attempt as usize]);
        let step = NewStep { name: name.clone(), value: value.clone(), digest: None };
        let recorded = self.store().record(&holder, step).await.unwrap();
        assert_eq!(recorded, if late { Recorded::Lost } else { Recorded::Kept });
        if !late {
            let delivery = self.deliveries.get_mut(&holder.delivery()).unwrap();
            delivery.steps.entry(name).or_insert((attempt, value));
        }
    }

    pub(super) async fn change(&mut self, pick: Index, action: Action) {
        let id = *self.deliveries.keys().nth(pick.index(self.deliveries.len())).unwrap();
        let answer = self.store().change(None, action.clone(), Which::One(id)).await;
        if self.change_one(id, &action, action.takes()) {
            assert_eq!(answer.unwrap().deliveries, 1);
        } else {
            assert!(matches!(answer, Err(StoreError::Conflict(_))), "{answer:?}");
        }
    }

    pub(super) async fn change_all(&mut self, plugin: &str, action: Action, state: Option<State>) {
        let wanted = action.meant(state);
        let filter =
            DeliveryFilter { plugin: Some(plugin.to_owned()), state, ..DeliveryFilter::default() };
        let (changed, _) = act_on_all(&self.store(), action.clone(), &filter).await;
        // In the order in which open ones are walked: it says which one of an event is moved.
        let of_plugin = self.deliveries.iter().filter(|(_, delivery)| delivery.plugin == plugin);
        let mut of_plugin: Vec<_> =
            of_plugin.map(|(id, d)| (d.crashes, Reverse((d.due_ms, *id)))).collect();
        of_plugin.sort();
        let mut expected = 0;
        for (_, Reverse((_, id))) in of_plugin {
            expected += u64::from(self.change_one(id, &action, &wanted));
        }
        assert_eq!(changed, expected, "{} {state:?}", action.name());
    }

    pub(super) async fn crash(&mut self) {
        let mut ran = BTreeSet::new();
        // All of them have been running; every other one still is when the host dies.
        let mut running = Vec::new();
        for lease in &self.held {
            running.push(self.store().begin(lease).await.unwrap());
        }
        for (index, (lease, running)) in self.held.iter().zip(running).enumerate() {
            if index % 2 == 0 {
                std::mem::forget(running);
                ran.insert(lease.delivery);
            }
        }
        self.zombies.append(&mut self.held);
        self.on_insert.clear();
        drop(self.open.take());
        let store = self.harness.open().await;
        self.dispatch = TestDispatch::attach(&store, &BUDGETS);
        self.open = Some(store);
        let (now_ms, host_ms) = (self.now_ms(), self.host_ms());
        for delivery in
            self.deliveries.values_mut().filter(|delivery| delivery.state == State::Ready)
        {
            delivery.due_ms = delivery.due_ms.min(host_ms);
        }
        for (id, delivery) in
            self.deliveries.iter_mut().filter(|(_, delivery)| delivery.state == State::Leased)
        {
            delivery.uncounted += 1;
            (delivery.state, delivery.due_ms) = (State::Ready, host_ms);
            let cancelled = std::mem::take(&mut delivery.cancelled);
            if ran.contains(id) {
                delivery.crashes += 1;
                delivery.outcomes.push((delivery.attempt, Outcome::Crash));
                delivery.last_started_ms = delivery.last_started_ms.max(now_ms);
                delivery.state =
                    if delivery.crashes >= MAX_CRASHES { State::Dead } else { State::Ready };
            }
            if cancelled {
                delivery.state = State::Cancelled;
            }
        }
        self.compare().await;
    }

    pub(super) async fn sweep(&mut self, events_ms: i64, keys_ms: i64) {
        let (events_since_ms, dedupe_since_ms) =
            (self.now_ms() - events_ms, self.now_ms() - keys_ms);
        let keep = Keep { events: time(events_ms), dedupe_keys: time(keys_ms), ..ALL };
        sweep_all(&self.store(), keep).await;
        let (events, keys) =
            (EventId::first_at(events_since_ms), EventId::first_at(dedupe_since_ms));
        let last_swept = self.events.range(..keys).next_back().copied();
        self.swept_keys = self.swept_keys.max(last_swept.unwrap_or(self.swept_keys));
        self.keys.retain(|_, event| *event > self.swept_keys);
        let stays = self.deliveries.iter().filter(|(_, delivery)| delivery.stays(events_since_ms));
        let stays: Vec<_> = stays.map(|(id, _)| id.event).collect();
        let swept_keys = self.swept_keys;
        self.events.retain(|id| *id >= events || *id > swept_keys || stays.contains(id));
        self.deliveries.retain(|id, _| self.events.contains(&id.event));
    }
}

/// One event, if it goes to any plugin.
fn child(lease: &Lease, emits: &[u8], delay_ms: u64) -> Vec<NewEvent> {
    let targets: Vec<_> = emits.iter().map(|target| plugin(*target)).collect();
    let targets: Vec<_> = targets.iter().map(String::as_str).collect();
    let parent = Some(lease.delivery.event);
    let child = NewEvent { parent, delay_ms, ..event("child", &targets) };
    if emits.is_empty() { Vec::new() } else { vec![child] }
}

/// One more success of the plugin.
fn one_more() -> KvTransaction {
    KvTransaction { adds: vec![(SUM.to_owned(), 1)], ..KvTransaction::default() }
}

impl How {
    /// The state and the time it is due, if its reads were current or not.
    fn leads_to(&self, current: bool, now_ms: i64) -> (State, i64) {
        match self {
            Self::Done { .. } if !current => (State::Ready, now_ms),
            Self::Done { .. } => (State::Done, 0),
            Self::Retry(delay_ms) => (State::Waiting, now_ms + *delay_ms as i64),
            Self::Again { delay_ms: 0, .. } => (State::Ready, now_ms),
            Self::Again { delay_ms, .. } => (State::Waiting, now_ms + *delay_ms as i64),
            Self::Dead => (State::Dead, 0),
            Self::GiveBack(0) => (State::Ready, now_ms),
            Self::GiveBack(delay_ms) => (State::Waiting, now_ms + *delay_ms as i64),
        }
    }
}
