//! Filters of events, each with the events of a store that it takes. Lists show those, and the
//! searches of replays find them (`searches.rs`).

use super::operator::act;
use super::queries::{all_events, ids_of};
use super::*;
use crate::config::routes::TypePattern;
use crate::store::model::MAX_EVENTS_FOUND;
use crate::store::{Action, EventFilter, EventState};

/// The time between two events.
pub(super) const APART_MS: i64 = 10;

/// How many events there are of each state: more than one look of a replay finds.
const ROUNDS: usize = MAX_EVENTS_FOUND + 1;

const SUBJECTS: [&str; 3] = ["a", "ab", "b"];

/// An event that is stored, as the laws know it.
pub(super) struct KnownEvent {
    pub(super) id: EventId,
    pub(super) time_ms: i64,
    subject: &'static str,
    kind: &'static str,
    /// The state of its only delivery, if it has one. The plugin has the name of the state.
    state: Option<State>,
}

impl KnownEvent {
    fn is(&self, state: State) -> bool {
        self.state == Some(state)
    }

    /// Whether its delivery is dead, or open after an attempt that failed.
    fn fails(&self) -> bool {
        self.is(State::Dead) || self.is(State::Waiting)
    }
}

/// Stores an event whose delivery comes to this state. A delivery that is leased stays so with the
/// lease.
async fn put(
    store: &Arc<dyn Store>,
    new: NewEvent,
    state: Option<State>,
) -> (EventId, Option<Lease>) {
    let id = append(store, new).await;
    let own = DeliveryId { event: id, ordinal: 0 };
    let settlement = match state {
        None | Some(State::Ready) => return (id, None),
        Some(State::Cancelled) => {
            act(store, Action::Cancel, own).await;
            return (id, None);
        }
        Some(State::Leased) => return (id, Some(lease_one(store, State::Leased.name()).await)),
        Some(State::Waiting) => retry_in(DAY_MS),
        Some(State::Done) => done(),
        Some(State::Dead | State::Discarded) => dead(),
    };
    let lease = lease_one(store, state.unwrap().name()).await;
    assert_eq!(settle(store, lease, settlement).await, Settled::Kept);
    if state == Some(State::Discarded) {
        act(store, Action::Discard, own).await;
    }
    (id, None)
}

/// Events of every state, subject and type, in the order of their ids. Of two neighbours the later
/// one has the earlier time.
pub(super) async fn stored(
    harness: &impl StoreHarness,
    store: &Arc<dyn Store>,
) -> (Vec<KnownEvent>, Vec<Lease>) {
    let (mut known, mut leases) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for state in State::ALL.map(Some).into_iter().chain([None]) {
            let number = i64::try_from(known.len()).unwrap();
            let time_ms = START_MS + APART_MS * (number ^ 1);
            let subject = SUBJECTS[round % SUBJECTS.len()];
            let kind = if round % 2 == 0 { "order.paid" } else { "order.sent.late" };
            let targets: Vec<&str> = state.iter().map(|state| state.name()).collect();
            let mut new = event(kind, &targets);
            new.attributes.subject = Some(subject.to_owned());
            new.attributes.time_ms = time_ms;
            let (id, lease) = put(store, new, state).await;
            known.push(KnownEvent { id, time_ms, subject, kind, state });
            leases.extend(lease);
            pass(harness, APART_MS);
        }
    }
    assert!(known.is_sorted_by_key(|it| it.id) && known.len() % 2 == 0);
    (known, leases)
}

/// A filter, and whether it takes an event.
pub(super) struct FilterCase {
    pub(super) filter: EventFilter,
    takes: Box<dyn Fn(&KnownEvent) -> bool>,
}

impl FilterCase {
    /// The events that it takes, the oldest first.
    pub(super) fn taken(&self, known: &[KnownEvent]) -> Vec<EventId> {
        known.iter().filter(|it| (self.takes)(it)).map(|it| it.id).collect()
    }
}

fn case(filter: EventFilter, takes: impl Fn(&KnownEvent) -> bool + 'static) -> FilterCase {
    FilterCase { filter, takes: Box::new(takes) }
}

pub(super) fn any() -> EventFilter {
    EventFilter::default()
}

fn has(state: State) -> Option<EventState> {
    Some(EventState::Has(state))
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

pub(super) fn by_subject() -> Vec<FilterCase> {
    let of = |subject: &'static str| {
        case(EventFilter { subject: text(subject), ..any() }, move |it| it.subject == subject)
    };
    vec![of("a"), of("ab"), of("b"), of("A"), of("abc"), of("")]
}

/// From the first time on, and before the second one, by the events' own times.
pub(super) fn by_time() -> Vec<FilterCase> {
    let at = |number: i64| Some(START_MS + APART_MS * number);
    let just_after = |number: i64| at(number).map(|ms| ms + 1);
    let last = i64::try_from(ROUNDS * (State::ALL.len() + 1)).unwrap() - 1;
    let within = |since_ms: Option<i64>, until_ms: Option<i64>| {
        case(EventFilter { since_ms, until_ms, ..any() }, move |it| {
            since_ms.is_none_or(|ms| ms <= it.time_ms) && until_ms.is_none_or(|ms| it.time_ms < ms)
        })
    };
    vec![
        within(at(0), None),
        within(at(20), None),
        within(just_after(20), None),
        within(at(last), None),
        within(just_after(last), None),
        within(None, at(0)),
        within(None, just_after(0)),
        within(None, at(20)),
        within(None, just_after(20)),
        within(at(7), at(23)),
        within(at(20), just_after(20)),
        within(at(20), at(20)),
        within(at(21), at(20)),
    ]
}

pub(super) fn by_state() -> Vec<FilterCase> {
    let is = |state: State| {
        let filter = EventFilter { state: has(state), ..any() };
        case(filter, move |it| it.is(state))
    };
    let mut all: Vec<FilterCase> = State::ALL.map(is).into();
    let unrouted = EventFilter { state: Some(EventState::Unrouted), ..any() };
    all.push(case(unrouted, |it| it.state.is_none()));
    let failing = EventFilter { state: Some(EventState::Failing), ..any() };
    all.push(case(failing, KnownEvent::fails));
    all
}

pub(super) fn by_several(known: &[KnownEvent]) -> Vec<FilterCase> {
    let middle = known[known.len() / 2].id;
    let since_ms = Some(START_MS + APART_MS * 9);
    let until_ms = Some(START_MS + APART_MS * 31);
    let pattern = Some(TypePattern::parse("order.*").unwrap());
    let is_within =
        move |it: &KnownEvent| since_ms <= Some(it.time_ms) && Some(it.time_ms) < until_ms;
    vec![
        case(EventFilter { subject: text("a"), state: has(State::Ready), ..any() }, |it| {
            it.subject == "a" && it.is(State::Ready)
        }),
        case(EventFilter { subject: text("ab"), state: has(State::Dead), ..any() }, |it| {
            it.subject == "ab" && it.is(State::Dead)
        }),
        case(EventFilter { subject: text("ab"), since_ms, until_ms, ..any() }, move |it| {
            it.subject == "ab" && is_within(it)
        }),
        case(EventFilter { state: has(State::Leased), since_ms, until_ms, ..any() }, move |it| {
            it.is(State::Leased) && is_within(it)
        }),
        case(
            EventFilter { state: has(State::Cancelled), since_ms, until_ms, ..any() },
            move |it| it.is(State::Cancelled) && is_within(it),
        ),
        case(EventFilter { state: has(State::Done), after: Some(middle), ..any() }, move |it| {
            it.is(State::Done) && it.id > middle
        }),
        case(EventFilter { pattern, state: has(State::Discarded), ..any() }, |it| {
            it.is(State::Discarded) && it.kind == "order.paid"
        }),
        case(EventFilter { state: Some(EventState::Failing), until_ms, ..any() }, move |it| {
            it.fails() && Some(it.time_ms) < until_ms
        }),
        case(
            EventFilter { state: Some(EventState::Unrouted), subject: text("b"), ..any() },
            |it| it.state.is_none() && it.subject == "b",
        ),
        // One delivery has to meet all.
        case(EventFilter { state: has(State::Waiting), plugin: text("waiting"), ..any() }, |it| {
            it.is(State::Waiting)
        }),
        case(EventFilter { state: has(State::Waiting), plugin: text("ready"), ..any() }, |_| false),
    ]
}

pub(in crate::store) async fn a_list_shows_the_events_that_its_filter_takes(harness: impl Harness) {
    let store = harness.open().await;
    let (known, _leases) = stored(&harness, &store).await;
    let several = by_several(&known);
    for case in [by_subject(), by_time(), by_state(), several].into_iter().flatten() {
        let mut expected = case.taken(&known);
        expected.reverse();
        for limit in [3, 100] {
            let listed = all_events(&store, &case.filter, limit).await;
            assert_eq!(ids_of(&listed), expected, "{:?}", case.filter);
        }
    }
}
