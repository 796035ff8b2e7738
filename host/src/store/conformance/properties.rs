//! Properties that hold for any data and any sequence of calls.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::gathering_model::{self, GatherOp};
use super::gatherings::HOUR_MS;
use super::key_model::{self, KeyHow, KeyOp};
use super::model::{self, Op};
use super::operator::act;
use super::policies::PolicyHarness;
use super::queries::{all_deliveries, all_events};
use super::*;
use crate::store::{Action, DeliveryFilter, EventFilter, EventState};

/// Runs `case` for some values of `strategy`, each on data of its own.
fn check<S: Strategy, H: Harness>(
    cases: u32,
    strategy: S,
    harness: fn() -> H,
    case: impl AsyncFn(H, S::Value),
) where
    S::Value: std::fmt::Debug,
{
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = TestRunner::new(config).run(&strategy, |value| {
        let run = std::panic::AssertUnwindSafe(|| runtime.block_on(case(harness(), value)));
        std::panic::catch_unwind(run).map_err(|panic| TestCaseError::fail(text_of(&*panic)))
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// An event of a listing: small ranges, so that filters match some and not others.
#[derive(Debug, Clone)]
struct Row {
    kind: u8,
    source: u8,
    subject: Option<u8>,
    /// The state of each delivery, as a code of [`State`].
    deliveries: Vec<(u8, u8)>,
}

/// The filter of a listing.
#[derive(Debug, Clone)]
struct RandomFilter {
    kind: Option<u8>,
    source: Option<u8>,
    subject: Option<u8>,
    state: Option<u8>,
    plugin: Option<u8>,
    since_ms: Option<i64>,
    until_ms: Option<i64>,
    limit: usize,
}

impl RandomFilter {
    /// Whether it takes the event of this row, which came at this time; its deliveries aside.
    fn takes(&self, row: &Row, at_ms: i64) -> bool {
        self.kind.is_none_or(|kind| row.kind == kind)
            && self.source.is_none_or(|source| row.source == source)
            && self.subject.is_none_or(|subject| row.subject == Some(subject))
            && self.since_ms.is_none_or(|since| at_ms >= since)
            && self.until_ms.is_none_or(|until| at_ms < until)
    }

    fn deliveries(&self, state: Option<State>) -> DeliveryFilter {
        let EventFilter { kind, source, subject, since_ms, until_ms, .. } = self.events(None);
        let plugin = self.plugin.map(|plugin| named("plugin", plugin));
        DeliveryFilter {
            kind,
            source,
            subject,
            state,
            plugin,
            since_ms,
            until_ms,
            ..DeliveryFilter::default()
        }
    }

    fn events(&self, state: Option<State>) -> EventFilter {
        EventFilter {
            kind: self.kind.map(|kind| named("kind", kind)),
            source: self.source.map(|source| named("source", source)),
            subject: self.subject.map(|subject| named("subject", subject)),
            state: state.map(EventState::Has),
            since_ms: self.since_ms,
            until_ms: self.until_ms,
            ..EventFilter::default()
        }
    }
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let deliveries = prop::collection::vec((0..2u8, 0..7u8), 0..4);
    let row = (0..2u8, 0..2u8, prop::option::of(0..2u8), deliveries)
        .prop_map(|(kind, source, subject, deliveries)| Row { kind, source, subject, deliveries });
    prop::collection::vec(row, 0..25)
}

fn wanted() -> impl Strategy<Value = RandomFilter> {
    let small = || prop::option::weighted(0.4, 0..2u8);
    let time = || prop::option::weighted(0.3, 0..30i64);
    (
        small(),
        small(),
        small(),
        prop::option::weighted(0.4, 0..7u8),
        small(),
        time(),
        time(),
        1..6usize,
    )
        .prop_map(|(kind, source, subject, state, plugin, since, until, limit)| RandomFilter {
            kind,
            source,
            subject,
            state,
            plugin,
            since_ms: since.map(|ms| START_MS + ms),
            until_ms: until.map(|ms| START_MS + ms),
            limit,
        })
}

fn named(what: &str, number: u8) -> String {
    format!("{what}{number}")
}

/// Stores a row and brings its deliveries to their states; the clock moves on by 1 ms.
async fn store_row(harness: &impl Harness, store: &Arc<dyn Store>, row: &Row) -> EventId {
    let mut new = event(&named("kind", row.kind), &[]);
    new.attributes.time_ms = harness.clock().now_ms();
    new.attributes.source = named("source", row.source).into();
    new.attributes.subject = row.subject.map(|subject| named("subject", subject));
    let target = |(plugin, _): &(u8, u8)| Target::to(named("plugin", *plugin)).into();
    new.deliveries = row.deliveries.iter().map(target).collect();
    let id = append(store, new).await;
    for (plugin, _) in &row.deliveries {
        for lease in lease(store, &named("plugin", *plugin), 9).await {
            let state =
                State::from_code(row.deliveries[lease.delivery.ordinal as usize].1).unwrap();
            let settlement = match state {
                State::Leased => continue,
                // Ready would be leased again with the next row: due, but later.
                State::Ready | State::Waiting => retry_in(DAY_MS),
                State::Done | State::Cancelled => done(),
                State::Dead | State::Discarded => dead(),
            };
            let id = lease.delivery;
            if state == State::Cancelled {
                act(store, Action::Cancel, id).await;
            }
            settle(store, lease, settlement).await;
            if state == State::Discarded {
                act(store, Action::Discard, id).await;
            }
        }
    }
    pass(harness, 1);
    id
}

async fn pages(harness: impl Harness, rows: Vec<Row>, wanted: RandomFilter) {
    let store = harness.open().await;
    let mut stored = Vec::new();
    for row in rows {
        let at_ms = harness.clock().now_ms();
        stored.push((store_row(&harness, &store, &row).await, at_ms, row));
    }
    stored.reverse();
    stored.retain(|(_, at_ms, row)| wanted.takes(row, *at_ms));
    let state = wanted.state.map(|code| State::from_code(code).unwrap());
    let stands = |delivery: &(u8, u8)| {
        let stands = State::from_code(delivery.1).unwrap();
        state.is_none_or(|state| {
            state == if stands == State::Ready { State::Waiting } else { stands }
        })
    };

    let found = all_deliveries(&store, &wanted.deliveries(state), wanted.limit).await;
    let expected = stored.iter().flat_map(|(event, _, row)| {
        let matching = (0..).zip(&row.deliveries).filter(|(_, delivery)| stands(delivery));
        let matching = matching
            .filter(|(_, delivery)| wanted.plugin.is_none_or(|plugin| delivery.0 == plugin));
        matching.map(|(ordinal, _)| DeliveryId { event: *event, ordinal })
    });
    assert_eq!(
        found.iter().map(|delivery| delivery.id).collect::<Vec<_>>(),
        expected.collect::<Vec<_>>()
    );

    let found = all_events(&store, &wanted.events(state), wanted.limit).await;
    let expected =
        stored.iter().filter(|(_, _, row)| state.is_none() || row.deliveries.iter().any(stands));
    assert_eq!(
        found.iter().map(|summary| summary.event.id).collect::<Vec<_>>(),
        expected.map(|(id, ..)| *id).collect::<Vec<_>>()
    );
}

pub(in crate::store) fn pages_with_filters_return_every_row_exactly_once<H: Harness>(
    harness: fn() -> H,
) {
    check(24, (rows(), wanted()), harness, async |harness, (rows, wanted)| {
        pages(harness, rows, wanted).await
    });
}

pub(in crate::store) fn any_sequence_of_calls_ends_as_in_the_model<H: Harness>(harness: fn() -> H) {
    let ops = prop::collection::vec(any_op(), 1..80);
    check(40, ops, harness, async |harness, ops: Vec<Op>| model::run(harness, ops).await);
}

pub(in crate::store) fn any_sequence_of_calls_and_cancelling_events_ends_as_in_the_model<
    H: PolicyHarness,
>(
    harness: fn() -> H,
) {
    let targets = prop::collection::vec(0..3u8, 0..3);
    let delay = prop_oneof![2 => Just(0u64), 1 => Just(50)];
    let tags = (prop::option::weighted(0.8, 0..2u8), prop::collection::vec(0..2u8, 0..3));
    let tagged = (0..2u8, tags, targets, delay).prop_map(|(subject, tags, targets, delay_ms)| {
        Op::AppendTagged { subject, tags, targets, delay_ms }
    });
    let ops = prop::collection::vec(prop_oneof![3 => any_op(), 1 => tagged], 1..80);
    check(40, ops, harness, async |harness, ops: Vec<Op>| model::run(harness, ops).await);
}

fn any_op() -> impl Strategy<Value = Op> {
    let delay = || prop_oneof![3 => Just(0u64), 1 => Just(50), 1 => Just(400)];
    let pick = || any::<prop::sample::Index>();
    let to_plugin = || (0..3u8).prop_map(|plugin| Action::Move(format!("plugin{plugin}").into()));
    let action = || {
        prop_oneof![
            2 => Just(Action::Retry),
            1 => Just(Action::RetryFresh),
            2 => Just(Action::Cancel),
            2 => Just(Action::Discard),
            2 => to_plugin(),
        ]
    };
    let how = prop_oneof![
        3 => (prop::collection::vec(0..3u8, 0..3), delay(), 0..3u8, any::<bool>())
            .prop_map(|(emits, delay_ms, key, stale)| model::How::Done { emits, delay_ms, key,
                stale }),
        2 => (prop::collection::vec(0..3u8, 0..2), delay())
            .prop_map(|(emits, delay_ms)| model::How::Again { emits, delay_ms }),
        2 => delay().prop_map(model::How::Retry),
        1 => Just(model::How::Dead),
        2 => delay().prop_map(model::How::GiveBack),
    ];
    prop_oneof![
        6 => (prop::option::of(0..5u8), 0..2u8, prop::collection::vec(0..3u8, 0..4), delay())
            .prop_map(|(key, source, targets, delay_ms)| Op::Append { key, source, targets,
                delay_ms }),
        5 => (0..3u8, 0..4u32).prop_map(|(plugin, count)| Op::Lease { plugin, count }),
        3 => (0..3u32).prop_map(|count| Op::LeaseQuarantined { count }),
        4 => (pick(), 0..3u8, prop::bool::weighted(0.2))
            .prop_map(|(pick, name, late)| Op::Record { pick, name, late }),
        8 => (pick(), how.clone()).prop_map(|(pick, how)| Op::Settle { pick, how }),
        2 => (pick(), how).prop_map(|(pick, how)| Op::SettleLate { pick, how }),
        4 => (pick(), action()).prop_map(|(pick, action)| Op::Change { pick, action }),
        2 => (0..3u8, action(), prop::option::of(prop::sample::select(&State::ALL[..])))
            .prop_map(|(plugin, action, state)| Op::ChangeAll { plugin, action, state }),
        1 => (pick(), 0..3u8).prop_map(|(pick, plugin)| Op::Replay { pick, plugin }),
        3 => (-60..400i64).prop_map(|ms| Op::Pass { ms }),
        1 => prop::sample::select(&[-3_600_000, -DAY_MS, 3_600_000, 30 * DAY_MS,
            34 * 365 * DAY_MS][..])
            .prop_map(|ms| Op::Step { ms }),
        1 => Just(Op::Crash),
        1 => (0..600i64, 0..600i64).prop_map(|(event_ms, dedupe_ms)| Op::Sweep { event_ms,
            dedupe_ms }),
    ]
}

pub(in crate::store) fn of_one_key_at_most_per_key_are_open_and_none_waits_while_fewer_are<
    H: PolicyHarness,
>(
    harness: fn() -> H,
) {
    let calls = (1..4u32, any::<bool>(), prop::collection::vec(any_key_op(), 1..60));
    check(40, calls, harness, async |harness, (per_key, hold, ops): (u32, bool, Vec<KeyOp>)| {
        key_model::run(harness, per_key, hold, ops).await;
    });
}

fn any_key_op() -> impl Strategy<Value = KeyOp> {
    let pick = || any::<prop::sample::Index>();
    let how = prop_oneof![
        4 => Just(KeyHow::Done),
        2 => prop_oneof![Just(0), Just(50)].prop_map(KeyHow::Retry),
        2 => Just(KeyHow::Dead),
        1 => Just(KeyHow::GiveBack),
    ];
    let action = prop_oneof![Just(Action::Retry), Just(Action::Cancel), Just(Action::Discard)];
    prop_oneof![
        6 => (0..3u8, prop_oneof![3 => Just(0u64), 1 => Just(40)])
            .prop_map(|(key, delay_ms)| KeyOp::Append { key, delay_ms }),
        5 => (0..4u32).prop_map(|count| KeyOp::Lease { count }),
        8 => (pick(), how).prop_map(|(pick, how)| KeyOp::Settle { pick, how }),
        4 => (pick(), action).prop_map(|(pick, action)| KeyOp::Change { pick, action }),
        3 => (0..80i64).prop_map(|ms| KeyOp::Pass { ms }),
        1 => Just(KeyOp::Crash),
        1 => Just(KeyOp::Close),
    ]
}

pub(in crate::store) fn each_key_of_a_join_ends_once_and_each_event_of_a_batch_is_in_one<
    H: PolicyHarness,
>(
    harness: fn() -> H,
) {
    let ops = prop::collection::vec(any_gather_op(), 1..60);
    check(40, ops, harness, async |harness, ops: Vec<GatherOp>| {
        gathering_model::run(harness, ops).await;
    });
}

fn any_gather_op() -> impl Strategy<Value = GatherOp> {
    prop_oneof![
        8 => (0..3u8, prop::option::of(0..4u8), prop::option::weighted(0.3, 0..5u32))
            .prop_map(|(key, name, need)| GatherOp::Join { key, name, need }),
        6 => (0..2u8).prop_map(|key| GatherOp::Batch { key }),
        4 => prop::bool::weighted(0.2).prop_map(|crash| GatherOp::End { crash }),
        4 => prop_oneof![3 => 0..6_000i64, 1 => Just(4_000_000i64)]
            .prop_map(|ms| GatherOp::Pass { ms }),
        2 => (any::<bool>(), prop_oneof![Just(1_000i64), Just(20_000), Just(HOUR_MS)])
            .prop_map(|(of_joins, ms)| GatherOp::Limit { of_joins, ms }),
        1 => Just(GatherOp::Crash),
    ]
}
