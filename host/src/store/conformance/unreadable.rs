//! Operations whose rows cannot be read, and the others.

use super::operations::cancel;
use super::*;
use crate::store::OperationId;
use crate::store::model::MAX_RUNNING;

/// `damage` makes the row of an operation unreadable.
pub(in crate::store) async fn however_many_are_unreadable_those_that_run_are_found(
    store: Arc<dyn Store>,
    damage: impl AsyncFn(OperationId),
) {
    let running = async || -> Vec<OperationId> {
        store.running_operations().await.unwrap().iter().map(|it| it.id).collect()
    };
    for _ in 0..2 * MAX_RUNNING + 1 {
        damage(cancel(&store, None).await).await;
    }
    assert_eq!(running().await, []);
    let mut sound = vec![cancel(&store, None).await];
    assert_eq!(running().await, sound);
    for _ in 0..MAX_RUNNING - 1 {
        damage(cancel(&store, None).await).await;
        sound.push(cancel(&store, None).await);
    }
    assert_eq!(running().await, sound, "the oldest first, and each once");
    // One look is bounded: the next ones come when these have ended.
    for _ in 0..2 * MAX_RUNNING {
        sound.push(cancel(&store, None).await);
    }
    let found = running().await;
    assert!((MAX_RUNNING..2 * MAX_RUNNING).contains(&found.len()), "{found:?}");
    assert!(sound.starts_with(&found), "{found:?}");
}
