//! The store as a few maps in memory, and random calls made on both.
//!
//! All answers of the store must be as the model expects; at the end everything that was
//! accepted and not deleted is brought to its end, so that nothing is lost on the way.

use std::collections::{BTreeMap, BTreeSet};

use proptest::sample::Index;

use super::dispatch::TestDispatch;
use super::failures::every_group_is_counted;
use super::queries::all_events;
use super::seeing::every_wait_is_named;
use super::*;
use crate::store::{Action, EventFilter, PluginCounts};

mod calls;
mod cancels;

/// A random call. Plugins, sources, keys, subjects and tags are small numbers; an `Index` picks one
/// of what there is. A tagged event cancels deliveries of its subject, and others cancel its own.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Append { key: Option<u8>, source: u8, targets: Vec<u8>, delay_ms: u64 },
    AppendTagged { subject: u8, tags: Tags, targets: Vec<u8>, delay_ms: u64 },
    Lease { plugin: u8, count: u32 },
    LeaseQuarantined { count: u32 },
    Record { pick: Index, name: u8, late: bool },
    Settle { pick: Index, how: How },
    SettleLate { pick: Index, how: How },
    Change { pick: Index, action: Action },
    ChangeAll { plugin: u8, action: Action, state: Option<State> },
    Replay { pick: Index, plugin: u8 },
    Pass { ms: i64 },
    Step { ms: i64 },
    Crash,
    Sweep { event_ms: i64, dedupe_ms: i64 },
}

/// The tag by which the deliveries of an event can be cancelled, and those that it cancels.
pub(super) type Tags = (Option<u8>, Vec<u8>);

/// A random settlement.
#[derive(Debug, Clone)]
pub(super) enum How {
    Done { emits: Vec<u8>, delay_ms: u64, key: u8, stale: bool },
    Again { emits: Vec<u8>, delay_ms: u64 },
    Retry(u64),
    Dead,
    GiveBack(u64),
}

/// The key to which every success adds one.
const SUM: &str = "sum";

/// The plugin that has permits for leases on insert, and how many.
const BUDGETS: [(&str, usize); 1] = [("plugin0", 2)];

#[derive(Debug, Clone)]
struct Delivery {
    plugin: String,
    state: State,
    attempt: u32,
    uncounted: u32,
    crashes: u32,
    due_ms: i64,
    /// Whether it is leased and ends with its settlement.
    cancelled: bool,
    /// The subject and the tag by which events cancel it.
    cancelled_by: Option<(u8, u8)>,
    outcomes: Vec<(u32, Outcome)>,
    /// Recorded steps: the number of the attempt and the result.
    steps: BTreeMap<String, (u32, Vec<u8>)>,
    again: u32,
    /// When the last attempt that was recorded had begun.
    last_started_ms: i64,
}

struct Model<'a, H> {
    harness: &'a H,
    /// Absent only between a crash and the next start.
    open: Option<Arc<dyn Store>>,
    dispatch: TestDispatch,
    deliveries: BTreeMap<DeliveryId, Delivery>,
    events: BTreeSet<EventId>,
    keys: BTreeMap<(u8, u8), EventId>,
    /// How often each event was repeated, and when last.
    duplicates: BTreeMap<EventId, (u64, i64)>,
    /// By plugin and key.
    kv: BTreeMap<(String, String), Vec<u8>>,
    held: Vec<Lease>,
    /// Those of `held` that have a permit of the dispatcher.
    on_insert: BTreeSet<DeliveryId>,
    /// The deliveries that were leased when the host died.
    zombies: Vec<Lease>,
    last_id: EventId,
    swept_keys: EventId,
    /// Whether the clock was set: what is old then is a matter of the tests in `clock`.
    stepped: bool,
}

fn plugin(number: u8) -> String {
    format!("plugin{number}")
}

/// Makes the calls, compares after each crash and at the end, and brings everything to its end.
pub(super) async fn run(harness: impl Harness, ops: Vec<Op>) {
    let store = harness.open().await;
    let dispatch = TestDispatch::attach(&store, &BUDGETS);
    let mut model = Model {
        harness: &harness,
        open: Some(store),
        dispatch,
        deliveries: BTreeMap::new(),
        events: BTreeSet::new(),
        keys: BTreeMap::new(),
        duplicates: BTreeMap::new(),
        kv: BTreeMap::new(),
        held: Vec::new(),
        on_insert: BTreeSet::new(),
        zombies: Vec::new(),
        last_id: EventId::first_at(0),
        swept_keys: EventId::first_at(0),
        stepped: false,
    };
    for op in ops {
        model.apply(op).await;
        every_wait_is_named(&harness, &model.store()).await;
        every_group_is_counted(&model.store()).await;
    }
    model.compare().await;
    model.bring_to_an_end().await;
    model.compare().await;
}

impl<H: Harness> Model<'_, H> {
    fn store(&self) -> Arc<dyn Store> {
        self.open.clone().expect("a store is open")
    }

    fn now_ms(&self) -> i64 {
        self.harness.clock().now_ms()
    }

    /// The time by which deliveries are due.
    fn host_ms(&self) -> i64 {
        self.harness.clock().host_ms()
    }

    /// Does `action` to a delivery, if it is there for it; says whether.
    fn change_one(&mut self, id: DeliveryId, action: &Action, wanted: &[State]) -> bool {
        let now_ms = self.host_ms();
        let ended =
            |delivery: &Delivery| matches!(delivery.state, State::Cancelled | State::Discarded);
        if let Action::Move(to) = action {
            let mut of_event = self.deliveries.iter().filter(|(other, _)| other.event == id.event);
            if of_event.any(|(_, delivery)| delivery.plugin == **to && !ended(delivery)) {
                return false;
            }
        }
        self.deliveries.get_mut(&id).is_some_and(|delivery| delivery.change(action, wanted, now_ms))
    }

    async fn apply(&mut self, op: Op) {
        match op {
            Op::Append { key, source, targets, delay_ms } => {
                self.append(key, source, &targets, delay_ms).await
            }
            Op::AppendTagged { subject, tags, targets, delay_ms } => {
                self.append_tagged(subject, tags, &targets, delay_ms).await
            }
            Op::Lease { plugin: number, count } => {
                self.lease(queue(&plugin(number)), &[number], 0, count).await
            }
            Op::LeaseQuarantined { count } => {
                let names = [plugin(2), plugin(0), plugin(1)];
                self.lease(quarantine(&names.each_ref().map(String::as_str)), &[2, 0, 1], 1, count)
                    .await;
            }
            Op::Record { pick, name, late } => self.record(pick, name, late).await,
            Op::Settle { pick, how } if !self.held.is_empty() => {
                let lease = self.held.remove(pick.index(self.held.len()));
                self.settle(lease, how).await;
            }
            Op::SettleLate { pick, how } if !self.zombies.is_empty() => {
                let zombie = self.zombies.remove(pick.index(self.zombies.len()));
                let (settlement, _) = self.settlement(&zombie, how).await;
                assert_eq!(settle(&self.store(), zombie, settlement).await, Settled::Lost);
            }
            Op::Change { pick, action } if !self.deliveries.is_empty() => {
                self.change(pick, action).await
            }
            Op::ChangeAll { plugin: number, action, state } => {
                self.change_all(&plugin(number), action, state).await
            }
            Op::Replay { pick, plugin: number } if !self.events.is_empty() => {
                let event = *self.events.iter().nth(pick.index(self.events.len())).unwrap();
                let made = self
                    .store()
                    .replay(None, event, vec![Target::to(plugin(number))])
                    .await
                    .unwrap();
                assert_eq!(made, [self.next_delivery(event)]);
                self.create(event, &plugin(number), 0);
                self.take_delivered().await;
            }
            Op::Pass { ms } => pass(self.harness, ms),
            Op::Step { ms } => {
                self.harness.clock().step(self.now_ms() + ms);
                self.stepped = true;
            }
            Op::Crash => self.crash().await,
            Op::Sweep { .. } if self.stepped => {}
            Op::Sweep { event_ms, dedupe_ms } => self.sweep(event_ms, dedupe_ms).await,
            Op::Settle { .. } | Op::SettleLate { .. } | Op::Change { .. } | Op::Replay { .. } => {}
        }
    }

    /// The store holds what the model holds, and its counts are what a recount finds.
    async fn compare(&self) {
        let listed = all_events(&self.store(), &EventFilter::default(), 7).await;
        let ids: Vec<_> = listed.iter().rev().map(|summary| summary.event.id).collect();
        assert_eq!(ids, self.events.iter().copied().collect::<Vec<_>>());
        let mut counts: BTreeMap<String, PluginCounts> = BTreeMap::new();
        for id in ids {
            let shown = self.store().event(id).await.unwrap();
            let (count, last_ms) = self.duplicates.get(&id).copied().unzip();
            assert_eq!(
                (shown.duplicates, shown.last_duplicate_ms),
                (count.unwrap_or(0), last_ms),
                "{id}"
            );
            for shown in shown.deliveries {
                let expected = &self.deliveries[&shown.id];
                let outcomes: Vec<_> =
                    shown.attempts.iter().map(|a| (a.number, a.record.outcome)).collect();
                assert_eq!(
                    (shown.state, shown.attempt),
                    (expected.state, expected.attempt),
                    "{}",
                    shown.id
                );
                assert_eq!(outcomes, expected.outcomes, "{}", shown.id);
                let due_ms = matches!(expected.state, State::Ready | State::Waiting)
                    .then_some(expected.due_ms - self.harness.clock().ahead_ms());
                assert_eq!(
                    (&*shown.plugin, shown.due_ms),
                    (expected.plugin.as_str(), due_ms),
                    "{}",
                    shown.id
                );
                assert_eq!(shown.cancelling, expected.cancelled, "{}", shown.id);
                expected.compare_steps(&shown);
                counts.entry(expected.plugin.clone()).or_default().0
                    [usize::from(shown.state.code())] += 1;
            }
        }
        let recounted: u64 = counts.values().flat_map(|counts| counts.0).sum();
        assert_eq!(recounted, self.deliveries.len() as u64);
        let stats = self.store().stats().await.unwrap();
        assert_eq!(stats.events, self.events.len() as u64);
        for number in 0..3 {
            let name = plugin(number);
            let counted = stats.plugins.get(name.as_str()).copied().unwrap_or_default();
            assert_eq!(counted, counts.get(&name).copied().unwrap_or_default(), "{name}");
            let bytes = self.kv.iter().filter(|((plugin, _), _)| *plugin == name);
            let bytes: usize = bytes.map(|((_, key), value)| key.len() + value.len()).sum();
            assert_eq!(self.store().kv_bytes(&name).await.unwrap(), bytes as u64, "{name}");
            let sum = self.store().kv_get(name.as_str().into(), SUM.to_owned()).await.unwrap();
            let expected = self.kv.get(&(name.clone(), SUM.to_owned()));
            assert_eq!(sum.map(|sum| sum.value).as_ref(), expected, "{name}");
        }
    }

    /// Nothing is lost: every delivery can be brought to its end.
    async fn bring_to_an_end(&mut self) {
        for _ in 0..2 {
            while let Some(lease) = self.held.pop() {
                self.settle(
                    lease,
                    How::Done { emits: Vec::new(), delay_ms: 0, key: 0, stale: false },
                )
                .await;
            }
            pass(self.harness, DAY_MS);
            for number in 0..3 {
                self.lease(queue(&plugin(number)), &[number], 0, 1_000).await;
                self.lease(quarantine(&[&plugin(number)]), &[number], 1, 1_000).await;
            }
        }
        assert!(self.held.is_empty());
        assert!(self.deliveries.values().all(Delivery::settled));
    }
}

impl Delivery {
    /// The steps that are shown are those that were recorded.
    fn compare_steps(&self, shown: &DeliveryView) {
        let steps = shown.steps.iter().map(|step| (&*step.name, step.attempt, step.bytes));
        let steps: Vec<_> = steps.collect();
        let recorded = self.steps.iter();
        let recorded: Vec<_> = recorded
            .map(|(name, (attempt, value))| (&**name, *attempt, value.len() as u64))
            .collect();
        assert_eq!((steps, shown.again), (recorded, self.again), "{}", shown.id);
    }

    fn settled(&self) -> bool {
        !matches!(self.state, State::Ready | State::Leased | State::Waiting)
    }

    /// Whether retention keeps it, and with it its event.
    fn stays(&self, events_since_ms: i64) -> bool {
        !self.settled() || self.state == State::Dead && self.last_started_ms >= events_since_ms
    }

    /// Does `action` to it, if it takes one in its state and that is `wanted`; says whether.
    fn change(&mut self, action: &Action, wanted: &[State], now_ms: i64) -> bool {
        let state = self.state;
        if !wanted.contains(&state) || self.cancelled {
            return false;
        }
        match (action, state) {
            (Action::Retry | Action::RetryFresh, State::Waiting) => {
                (self.state, self.due_ms, self.crashes) =
                    (State::Ready, self.due_ms.min(now_ms), 0);
            }
            (
                Action::Retry | Action::RetryFresh,
                State::Dead | State::Cancelled | State::Discarded,
            ) => {
                (self.state, self.due_ms, self.again) = (State::Ready, now_ms, 0);
                (self.uncounted, self.crashes) = (self.attempt, 0);
            }
            (Action::Cancel, State::Leased) => self.cancelled = true,
            (Action::Cancel, State::Ready | State::Waiting) => self.state = State::Cancelled,
            (Action::Discard, State::Dead) => self.state = State::Discarded,
            (Action::Move(to), State::Ready | State::Waiting) => {
                (self.plugin, self.uncounted, self.crashes) = (to.to_string(), self.attempt, 0);
                self.again = 0;
            }
            _ => return false,
        }
        if matches!(action, Action::RetryFresh | Action::Move(_)) {
            self.steps.clear();
        }
        true
    }
}
