//! One operation that cannot go on hinders no other.

use std::sync::Mutex;

use super::*;
use crate::config::{MakeSecrets, Surroundings};
use crate::event::DeliveryId;
use crate::store::{
    Action, AuditNote, DeliveryFilter, DeliveryView, EventView, FoundOperation, NewOperation,
    OperationMarks, OperationOptions, OperationScope, OperationState, Pending, Steer,
};

/// Two operations run; the steps of the first fail as long as `is_broken`.
#[derive(Debug)]
struct HalfBroken {
    is_broken: Mutex<bool>,
    /// The operations that were looked through.
    found: Mutex<Vec<OperationId>>,
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
        answer(ids().map(operation).into())
    }

    fn operation(&self, id: OperationId) -> Pending<'_, Option<Operation>> {
        answer(Some(operation(id)))
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

    fn replay_items(&self, _: OperationId, _: Vec<(EventId, Vec<Arc<Target>>)>) -> Pending<'_, ()> {
        unasked()
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
        unasked()
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

    fn delivery(&self, _: DeliveryId) -> Pending<'_, DeliveryView> {
        unasked()
    }
}

#[tokio::test]
async fn an_operation_that_cannot_go_on_says_so_and_the_others_go_on() {
    let [broken, sound] = ids();
    let store = Arc::new(HalfBroken { is_broken: Mutex::new(true), found: Mutex::new(Vec::new()) });
    let config = Arc::new(ArcSwap::new(config()));
    let signal = Arc::new(OperationSignal::default());
    let parts = OperationParts {
        store: store.clone(),
        reads: store.clone(),
        config,
        signal: signal.clone(),
    };
    let mut runner = Runner { parts, known: HashMap::new(), hindered: HashMap::new() };
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
