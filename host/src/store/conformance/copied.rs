//! A store with everything in it, all that it answers, and how its work goes on: for copies.

use super::audit::{entries, keyed_note};
use super::erase::about;
use super::gatherings::{JOIN, ids, join, member, needs, video};
use super::key_order::keyed_event;
use super::policies::TestPolicies;
use super::queries::all_deliveries;
use super::*;
use crate::event::{DEAD_LETTERS, KeyPolicy, KeySource, NewDelivery, TargetOptions};
use crate::series::{COUNTS, Increment, OwnerKind, SeriesOwner, Spread};
use crate::store::{
    Action, Approval, ApprovalChange, DeliveryFilter, Erasure, EventFilter, FailureFilter,
    GatheringFilter, KvRange, NewOperation, NewStep, OperationOptions, OperationScope, Page,
    Pausable, PauseChange, Recorded, ScheduleChange, ScheduleMark, Steer, Tick, TickStep, Ticked,
    Which,
};

/// The plugins of the cases, and the key of a plugin's deliveries.
const SLOW: &str = "slow";
const CHARGE: &str = "charge";
const REMINDER: &str = "reminder";
const HELD: &str = "held";
const CROWDED: &str = "crowded";
const KEY: &str = "order\u{0}1";

/// The number of a schedule's times.
const SPEC: i64 = 7;

/// The rows that a store was filled with.
#[derive(Debug)]
pub(in crate::store) struct FilledStore {
    retry: DeliveryId,
    keyed: Vec<DeliveryId>,
    held: Vec<DeliveryId>,
    members: Vec<EventId>,
    reminder: DeliveryId,
    first_of_key: EventId,
    value: i64,
    last: EventId,
}

/// Says what there is to know of the plugins of the cases.
pub(in crate::store) fn know_plugins(policies: &TestPolicies) {
    let strict = KeyPolicy::of(KeySource::Subject);
    policies.set(CHARGE, strict.clone());
    policies.set(HELD, KeyPolicy { hold: true, ..strict.clone() });
    policies.set(CROWDED, KeyPolicy { max_waiting: 1, ..strict });
    policies.tell_of(CROWDED);
}

fn schedule() -> Arc<str> {
    "daily".into()
}

fn tick(from_ms: i64) -> Tick {
    let mut new = event("report.due", &["report"]);
    new.attributes.source = "schedules/daily".into();
    let step = TickStep::Emit { event: Box::new(new), skips_overlap: false };
    Tick { name: schedule(), spec: SPEC, from_ms, next_ms: from_ms + 10, step }
}

/// A delivery that is leased, with this settlement.
async fn settled(store: &Arc<dyn Store>, plugin: &str, settlement: Settlement) -> DeliveryId {
    let id = deliver(store, plugin).await;
    let lease = lease_one(store, plugin).await;
    assert_eq!(settle(store, lease, settlement).await, Settled::Kept);
    id
}

fn cancellable() -> NewEvent {
    let options = TargetOptions { cancel_tag: Some(3), ..TargetOptions::default() };
    let target = Arc::new(Target { plugin: REMINDER.into(), options });
    let mut new = NewEvent { delay_ms: 7_200_000, ..event("order.created", &[]) };
    new.attributes.subject = Some("order_1".to_owned());
    new.deliveries = vec![NewDelivery::from(target)];
    new
}

/// Fills an empty store with everything that there is, and leaves nothing leased.
pub(in crate::store) async fn fill(store: &Arc<dyn Store>, clock: &Clock) -> FilledStore {
    let first_of_key = fill_events(store).await;
    let retry = fill_attempts(store).await;
    let keyed = fill_key(store, CHARGE, retry_in(60_000)).await;
    let held = fill_key(store, HELD, dead()).await;
    // The last one is a dead letter of the store's own making, and its notice waits.
    fill_key(store, CROWDED, retry_in(60_000)).await;
    let value = fill_values(store).await;
    fill_shared(store).await;
    // After the end of the attempts.
    clock.set(clock.now_ms() + 5);
    fill_log(store).await;
    let terms = join();
    let mut members = vec![append(store, needs(&terms, KEY, 3)).await];
    for name in ["v1", "v2"] {
        members.push(append(store, member(&terms, KEY, video(name))).await);
    }
    store.set_time_limits(vec![(JOIN.into(), 2 * terms.within)]).await.unwrap();
    let reminder = DeliveryId { event: append(store, cancellable()).await, ordinal: 0 };
    let last = append(store, event("unrouted", &[])).await;
    FilledStore { retry, keyed, held, members, reminder, first_of_key, value, last }
}

/// Events with keys, a duplicate, and events that were edited, replayed and erased.
async fn fill_events(store: &Arc<dyn Store>) -> EventId {
    let first = append(store, keyed(&[1, 2])).await;
    assert!(store.append(keyed(&[2, 3])).await.unwrap().duplicate);
    for key in 4..40 {
        append(store, keyed(&[key])).await;
    }
    let mut new = NewEvent { dedupe: vec![key_of(50)], ..about("jo", &["audit"]) };
    (new.provider_id, new.note, new.signed_by) = (Some("p1".into()), Some("late".into()), Some(1));
    let old = append(store, new).await;
    let lease = lease_one(store, "audit").await;
    settle(store, lease, done()).await;
    store.make(None, edits::edited(old, &[])).await.unwrap();
    store.replay(None, old, vec![Target::to("audit")]).await.unwrap();
    append(store, NewEvent { dedupe: vec![key_of(99)], ..about("ann", &[]) }).await;
    store.erase(None, Erasure::Subject("ann".to_owned()), false).await.unwrap();
    let mut emits = event("order.sent", &["unloaded"]);
    emits.parent = Some(first);
    deliver(store, "emits").await;
    let lease = lease_one(store, "emits").await;
    let parent = Some(lease.event.id);
    let emitted = vec![NewEvent { parent, hops: 1, ..emits }];
    settle(store, lease, done_with(emitted, KvTransaction::default())).await;
    first
}

/// Attempts of every kind: a retry that waits, a dead letter, one discarded, one cancelled, and one
/// that goes on from its step.
async fn fill_attempts(store: &Arc<dyn Store>) -> DeliveryId {
    let retry = settled(store, SLOW, retry_in(60_000)).await;
    settled(store, "fails", dead()).await;
    let discarded = settled(store, "fails", dead()).await;
    store.change(None, Action::Discard, Which::One(discarded)).await.unwrap();
    let cancelled = settled(store, "cut", retry_in(5)).await;
    store.change(None, Action::Cancel, Which::One(cancelled)).await.unwrap();
    deliver(store, "steps").await;
    let lease = lease_one(store, "steps").await;
    let step = NewStep { name: "pay".to_owned(), value: b"\0paid".to_vec(), digest: None };
    assert_eq!(store.record(&lease.holder(), step).await.unwrap(), Recorded::Kept);
    settle(store, lease, steps::again_with(Vec::new(), KvTransaction::default(), 90_000)).await;
    settled(store, "back", give_back(1_000)).await;
    retry
}

/// Three deliveries of one key, the first of which ends so.
async fn fill_key(store: &Arc<dyn Store>, plugin: &str, first: Settlement) -> Vec<DeliveryId> {
    let mut keyed = Vec::new();
    for _ in 0..3 {
        let event = append(store, keyed_event(KEY, &[plugin])).await;
        keyed.push(DeliveryId { event, ordinal: 0 });
    }
    let lease = lease_one(store, plugin).await;
    settle(store, lease, first).await;
    keyed
}

/// Values with versions, one of which lives for a time. Returns a version.
async fn fill_values(store: &Arc<dyn Store>) -> i64 {
    let writes = [("n", "one"), ("n\u{0}", "two")];
    for (key, value) in writes {
        let writes = [(key.to_owned(), Some(value.as_bytes().to_vec()))].into();
        let kv = KvTransaction { writes, ..KvTransaction::default() };
        settled(store, "orders", done_with(Vec::new(), kv)).await;
    }
    let kv = KvTransaction {
        adds: [("count".to_owned(), 5)].into(),
        ttl: Some(time(3_600_000)),
        ..KvTransaction::default()
    };
    settled(store, "orders", done_with(Vec::new(), kv)).await;
    store.kv_get("orders".into(), "n".to_owned()).await.unwrap().unwrap().version
}

/// The rows that hosts share: approvals, pauses, positions in logs, schedules.
async fn fill_shared(store: &Arc<dyn Store>) {
    let approval = |digest| Approval {
        plugin: "audit".into(),
        digest: Digest([digest; 32]),
        capabilities: ["http", "kv"].map(str::to_owned).into(),
        approved_by: "jo".to_owned(),
    };
    store.approve(None, ApprovalChange::Admit(approval(1))).await.unwrap();
    store.approve(None, ApprovalChange::Approve(approval(2))).await.unwrap();
    let (kind, by, reason) = (Pausable::Plugin, "jo".to_owned(), "a release".to_owned());
    let pause = PauseChange::Pause { kind, name: "paused".into(), by, reason };
    store.pause(None, pause).await.unwrap();
    store.keep_log_position("acme".into(), "page 7".to_owned()).await.unwrap();
    let to = ScheduleMark { spec: SPEC, next_ms: 0, active: true };
    let begin = ScheduleChange::Begin { name: schedule(), from: None, to };
    assert!(store.change_schedule(begin).await.unwrap());
    assert!(matches!(store.tick(tick(0)).await.unwrap(), Ticked::Emitted(_)));
    let step = TickStep::Missed { last_ms: 20, ticks: 2 };
    let missed = Tick { name: schedule(), spec: SPEC, from_ms: 10, next_ms: 30, step };
    store.tick(missed).await.unwrap();
}

/// The rows that are kept over time: samples, the audit log with answers, operations.
async fn fill_log(store: &Arc<dyn Store>) {
    let owner = SeriesOwner { kind: OwnerKind::Plugin, name: Some("audit".into()) };
    let durations = Spread::from_pairs(vec![(3, 1), (40, 1)]).unwrap();
    for at_ms in [100, 400] {
        let counts = [2; COUNTS];
        let increment = Increment { owner: owner.clone(), counts, durations: durations.clone() };
        store.keep_samples(at_ms, vec![increment]).await.unwrap();
    }
    store.note(keyed_note("first", "k1")).await.unwrap();
    store.keep_answer(keyed_note("second", "k2"), "\"kept\"".to_owned()).await.unwrap();
    let filter = DeliveryFilter { plugin: Some("fails".into()), ..DeliveryFilter::default() };
    let new = NewOperation {
        action: Action::Retry.into(),
        scope: OperationScope::Filter(filter),
        total: 1,
        exact: true,
        as_of_ms: None,
        actor: keyed_note("", "").actor,
    };
    let id = store.plan(keyed_note("plan", "k3"), new).await.unwrap();
    let start = Steer::Start(OperationOptions::default());
    store.steer(keyed_note("start", "k4"), id, start).await.unwrap();
    store.find_more(id).await.unwrap();
}

/// All answers of a store, each under its question.
pub(in crate::store) async fn answers(store: &Arc<dyn Store>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut say = |asked: String, answer: String| found.push((asked, answer));
    let page = Page { limit: 1_000, after: None };
    let (events, _) = store.events(EventFilter::default(), page).await.unwrap();
    for summary in &events {
        let id = summary.event.id;
        say(format!("summary {id}"), format!("{summary:?}"));
        say(format!("event {id}"), format!("{:?}", store.event(id).await.unwrap()));
        say(format!("tree {id}"), format!("{:?}", store.tree(id, 100, None).await.unwrap()));
    }
    for view in all_deliveries(store, &DeliveryFilter::default(), 100).await {
        let id = view.id;
        say(format!("delivery {id}"), format!("{:?}", store.delivery(id).await.unwrap()));
        say(format!("steps {id}"), format!("{:?}", store.steps(id).await.unwrap()));
        let gathering = store.gathering(id).await.unwrap();
        say(format!("gathering {id}"), format!("{gathering:?}"));
        say(format!("notice {id}"), format!("{:?}", store.dead_notice(id).await.unwrap()));
    }
    let stats = store.stats().await.unwrap();
    let plugins: std::collections::BTreeMap<_, _> = stats.plugins.iter().collect();
    say("stats".to_owned(), format!("{} {plugins:?}", stats.events));
    let due = store.due_times(plugins.keys().map(|name| (*name).clone()).collect()).await;
    say("due times".to_owned(), format!("{:?}", due.unwrap()));
    say("buckets".to_owned(), format!("{:?}", store.kv_buckets().await.unwrap()));
    let range = KvRange { limit: 100, ..KvRange::default() };
    for key in store.kv_keys("orders".into(), range).await.unwrap() {
        let value = store.kv_get("orders".into(), key.key.clone()).await.unwrap();
        say(format!("value {key:?}"), format!("{value:?}"));
    }
    let groups = store.failures(FailureFilter::default(), 100, None).await.unwrap();
    say("failures".to_owned(), format!("{groups:?}"));
    let open = store.gatherings(GatheringFilter::default(), 100, None).await.unwrap();
    say("gatherings".to_owned(), format!("{open:?}"));
    say("approvals".to_owned(), format!("{:?}", store.approvals().await.unwrap()));
    say("pauses".to_owned(), format!("{:?}", *store.pauses().borrow()));
    say("schedules".to_owned(), format!("{:?}", store.schedules().await.unwrap()));
    say("skipped".to_owned(), format!("{:?}", store.skipped_ticks(schedule()).await.unwrap()));
    say("position".to_owned(), format!("{:?}", store.log_position("acme".into()).await.unwrap()));
    let owner = SeriesOwner { kind: OwnerKind::Plugin, name: Some("audit".into()) };
    say("samples".to_owned(), format!("{:?}", store.samples(owner, 10).await.unwrap()));
    say("entries".to_owned(), format!("{:?}", entries(store).await));
    let answer = store.answer(keyed_note("second", "k2")).await.unwrap();
    say("answer".to_owned(), format!("{answer:?}"));
    say("operations".to_owned(), format!("{:?}", store.operations(None, 10).await.unwrap()));
    found
}

/// Checks that the work of a store that was filled goes on where it stood.
pub(in crate::store) async fn goes_on(store: &Arc<dyn Store>, clock: &Clock, filled: FilledStore) {
    let FilledStore { retry, keyed, held, members, reminder, first_of_key, value, last } = filled;
    for key in [1, 2, 39] {
        let again = store.append(super::keyed(&[key])).await.unwrap();
        assert!(again.duplicate, "{key}");
        assert_eq!(again.id == first_of_key, key < 3);
    }
    assert!(append(store, super::keyed(&[77])).await > last);
    let reads = [("n".to_owned(), Some(value))].into();
    let writes = [("n".to_owned(), Some(b"three".to_vec()))].into();
    let kv = KvTransaction { reads, writes, ..KvTransaction::default() };
    settled(store, "orders", done_with(Vec::new(), kv)).await;
    let cancels = NewEvent { cancels: vec![3], ..event("order.completed", &[]) };
    let mut cancels = cancels;
    cancels.attributes.subject = Some("order_1".to_owned());
    append(store, cancels).await;
    assert_eq!(state(store, reminder).await, State::Cancelled);
    assert!(matches!(store.tick(tick(20)).await.unwrap(), Ticked::Lost));
    assert!(matches!(store.tick(tick(30)).await.unwrap(), Ticked::Emitted(_)));
    let third = append(store, member(&join(), KEY, video("v3"))).await;
    let lease = lease_one(store, JOIN).await;
    let view = store.gathering(lease.delivery).await.unwrap().unwrap();
    assert_eq!(ids(&view), [&members[..], &[third]].concat());
    settle(store, lease, done()).await;
    assert!(super::lease(store, SLOW, 1).await.is_empty());
    clock.set(clock.now_ms() + 60_000);
    let second = lease_one(store, SLOW).await;
    assert_eq!((second.delivery, second.attempt), (retry, 2));
    settle(store, second, done()).await;
    assert_eq!(delivery(store, retry).await.attempts.len(), 2);
    in_order(store, CHARGE, keyed).await;
    assert!(super::lease(store, HELD, 1).await.is_empty());
    operator::act(store, Action::Retry, held[0]).await;
    in_order(store, HELD, held).await;
    let notice = lease_one(store, DEAD_LETTERS).await;
    assert!(store.dead_notice(notice.delivery).await.unwrap().is_some());
    operation_ends(store).await;
    clock.set(clock.now_ms() + 3_600_000);
    while store.sweep(ALL).await.unwrap() {}
    assert_eq!(store.kv_get("orders".into(), "count".to_owned()).await.unwrap(), None);
    failures::every_group_is_counted(store).await;
}

/// Works off the deliveries of a plugin, which come in this order.
async fn in_order(store: &Arc<dyn Store>, plugin: &str, order: Vec<DeliveryId>) {
    for expected in order {
        let lease = lease_one(store, plugin).await;
        assert_eq!(lease.delivery, expected);
        settle(store, lease, done()).await;
    }
}

/// Goes on with the operation that runs: the dead letter that it found is retried.
async fn operation_ends(store: &Arc<dyn Store>) {
    let running = store.running_operations().await.unwrap();
    assert_eq!((running.len(), running[0].found), (1, 1));
    let id = running[0].id;
    store.act(id, 100).await.unwrap();
    let lease = lease_one(store, "fails").await;
    assert_eq!(lease.attempt, 2);
    settle(store, lease, done()).await;
    store.collect(id).await.unwrap();
    assert_eq!(store.operation(id).await.unwrap().unwrap().ok, 1);
}
