//! One operation that cannot go on hinders no other.

use std::sync::Mutex;

use super::*;
use crate::config::{MakeSecrets, Surroundings};
use crate::event::{Attributes, DeliveryId};
use crate::store::{
    Action, AuditNote, DeliveryFilter, DeliveryView, EventFilter, EventView, FoundFacts,
    FoundOperation, NewOperation, OperationMarks, OperationOptions, OperationScope, OperationState,
    Pending, Steer, StoredFacts,
};

/// Two operations run; the steps of the first fail as long as `is_broken`.
#[derive(Debug)]
struct HalfBroken {
    is_broken: Mutex<bool>,
    /// The operations that were looked through.
    found: Mutex<Vec<OperationId>>,
    /// Both replay events, of which this one was found.
    left: Option<EventId>,
    /// The headers of events are damaged.
    is_damaged: bool,
    /// The events that were replayed, and the plugins that got them.
    replayed: Mutex<Vec<(EventId, usize)>>,
}

impl HalfBroken {
    fn new(is_broken: bool) -> Self {
        let (found, replayed) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        Self { is_broken: Mutex::new(is_broken), found, left: None, is_damaged: false, replayed }
    }

    fn operation(&self, id: OperationId) -> Operation {
        match self.left {
            Some(_) => Operation {
                action: OperationDeed::Replay(Vec::new()),
                scope: OperationScope::Events(EventFilter::default()),
                found: 1,
                ..operation(id)
            },
            None => operation(id),
        }
    }
}

fn operation(id: OperationId) -> Operation {
    Operation {
        id,
        action: Action::Retry.into(),
        scope: OperationScope::Filter(DeliveryFilter::default()),
        marks: OperationMarks::default(),
        as_of_ms: 0,
        planned_ms: 0,
        started_ms: Some(0),
        ended_ms: None,
        state: OperationState::Running,
        reason: None,
        options: OperationOptions::default(),
        total: 1,
        exact: false,
        found: 0,
        open: 0,
        ok: 0,
        failed: 0,
        skipped: 0,
        is_found: false,
        actor: "ann".to_owned(),
    }
}

fn ids() -> [OperationId; 2] {
    ["op_1", "op_2"].map(|id| id.parse().unwrap())
}

fn config() -> Arc<Config> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("plugins")).unwrap();
    let surroundings = Surroundings { make_secrets: MakeSecrets::No, env: &|_| None };
    let parsed = Config::parse(&folder.path().join("config.toml"), "", surroundings);
    Arc::new(parsed.unwrap_or_else(|problems| panic!("{}", problems.render(false))))
}

fn answer<'a, T: Send + 'a>(value: T) -> Pending<'a, T> {
    Box::pin(async { Ok(value) })
}

fn unasked<'a, T: Send + 'a>() -> Pending<'a, T> {
    Box::pin(async { panic!("nobody asks for it") })
}

impl Operations for HalfBroken {
    fn running_operations(&self) -> Pending<'_, Vec<Operation>> {
        answer(ids().map(|id| self.operation(id)).into())
    }

    fn operation(&self, id: OperationId) -> Pending<'_, Option<Operation>> {
        answer(Some(self.operation(id)))
    }

    fn find_more(&self, id: OperationId) -> Pending<'_, ()> {
        if id == ids()[0] && *self.is_broken.lock().unwrap() {
            return Box::pin(async { Err(StoreError::Query("its rows are damaged".to_owned())) });
        }
        self.found.lock().unwrap().push(id);
        answer(())
    }

    fn plan(&self, _: AuditNote, _: NewOperation) -> Pending<'_, OperationId> {
        unasked()
    }

    fn steer(&self, _: AuditNote, _: OperationId, _: Steer) -> Pending<'_, OperationId> {
        unasked()
    }

    fn undo(&self, _: AuditNote, _: OperationId) -> Pending<'_, OperationId> {
        unasked()
    }

    fn act(&self, _: OperationId, _: usize) -> Pending<'_, ()> {
        unasked()
    }

    fn replay_items(
        &self,
        _: OperationId,
        events: Vec<(EventId, Vec<Arc<Target>>)>,
    ) -> Pending<'_, ()> {
        let events = events.into_iter().map(|(event, targets)| (event, targets.len()));
        self.replayed.lock().unwrap().extend(events);
        answer(())
    }

    fn collect(&self, _: OperationId) -> Pending<'_, ()> {
        unasked()
    }

    fn finish(&self, _: OperationId, _: Option<String>) -> Pending<'_, ()> {
        unasked()
    }

    fn operations(&self, _: Option<OperationId>, _: usize) -> Pending<'_, Vec<FoundOperation>> {
        unasked()
    }

    fn item_ids(
        &self,
        _: OperationId,
        _: ItemResult,
        _: Option<DeliveryId>,
        _: usize,
    ) -> Pending<'_, Vec<DeliveryId>> {
        answer(self.left.iter().map(|event| DeliveryId { event: *event, ordinal: 0 }).collect())
    }

    fn operation_items(
        &self,
        _: OperationId,
        _: ItemResult,
        _: Option<DeliveryId>,
        _: usize,
    ) -> Pending<'_, Vec<DeliveryView>> {
        unasked()
    }
}

impl ReadOne for HalfBroken {
    fn event(&self, _: EventId) -> Pending<'_, EventView> {
        unasked()
    }

    fn facts(&self, _: EventId) -> Pending<'_, Option<FoundFacts>> {
        if *self.is_broken.lock().unwrap() {
            return Box::pin(async { Err(StoreError::Query("it took longer".to_owned())) });
        }
        if self.is_damaged {
            return answer(Some(FoundFacts::Unreadable { column: "headers".to_owned() }));
        }
        let attributes = Attributes {
            source: "acme".into(),
            kind: "order.paid".to_owned(),
            subject: None,
            content_type: None,
            time_ms: 0,
            body: bytes::Bytes::new(),
        };
        let facts = StoredFacts { attributes, headers: Vec::new(), hops: 0 };
        answer(Some(FoundFacts::Whole(facts)))
    }

    fn delivery(&self, _: DeliveryId) -> Pending<'_, DeliveryView> {
        unasked()
    }
}

/// A runner of these operations.
fn runner(store: &Arc<HalfBroken>, signal: &Arc<OperationSignal>) -> Runner {
    let parts = OperationParts {
        store: store.clone(),
        reads: store.clone(),
        config: Arc::new(ArcSwap::new(config())),
        signal: signal.clone(),
    };
    Runner { parts, known: HashMap::new(), hindered: HashMap::new() }
}

#[tokio::test]
async fn a_replay_looks_for_more_when_all_that_it_has_found_are_replayed() {
    let event = EventId::from_row(7);
    let store = Arc::new(HalfBroken { left: Some(event), ..HalfBroken::new(false) });
    let mut runner = runner(&store, &Arc::default());
    runner.turn().await.unwrap();
    // No route leads anywhere.
    assert_eq!(*store.replayed.lock().unwrap(), [(event, 0), (event, 0)]);
    assert!(store.found.lock().unwrap().is_empty(), "it looked for more before");
}

#[tokio::test]
async fn an_event_is_replayed_after_a_read_that_failed_and_passed_over_if_it_is_damaged() {
    for is_damaged in [false, true] {
        let left = Some(EventId::from_row(7));
        let store = Arc::new(HalfBroken { left, is_damaged, ..HalfBroken::new(true) });
        let signal = Arc::default();
        let mut runner = runner(&store, &signal);
        runner.turn().await.unwrap();
        assert!(store.replayed.lock().unwrap().is_empty(), "nothing is skipped for good");
        let trouble = signal.trouble(ids()[0]).unwrap();
        assert!(trouble.contains("it took longer"), "{trouble}");
        *store.is_broken.lock().unwrap() = false;
        // Its time has come.
        runner.hindered.clear();
        runner.turn().await.unwrap();
        assert_eq!(*store.replayed.lock().unwrap(), [(EventId::from_row(7), 0); 2]);
        assert_eq!(signal.trouble(ids()[0]), None, "it goes on");
    }
}

#[tokio::test]
async fn an_operation_that_cannot_go_on_says_so_and_the_others_go_on() {
    let [broken, sound] = ids();
    let (store, signal) = (Arc::new(HalfBroken::new(true)), Arc::default());
    let mut runner = runner(&store, &signal);
    for _ in 0..3 {
        assert_eq!(runner.turn().await.unwrap(), Some(Duration::ZERO));
    }
    assert_eq!(*store.found.lock().unwrap(), [sound; 3]);
    let trouble = signal.trouble(broken).unwrap();
    assert!(trouble.contains("its rows are damaged"), "{trouble}");
    assert_eq!(signal.trouble(sound), None);
    *store.is_broken.lock().unwrap() = false;
    // Its time has come.
    runner.hindered.insert(broken, Instant::now());
    runner.turn().await.unwrap();
    assert_eq!(store.found.lock().unwrap()[3..], [broken, sound]);
    assert_eq!(signal.trouble(broken), None, "it goes on");
}
