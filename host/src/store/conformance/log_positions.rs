//! How far the logs of providers have been read.

use super::*;

pub(in crate::store) async fn a_position_is_there_after_a_crash_and_is_that_of_one_source(
    harness: impl Harness,
) {
    let store = harness.open().await;
    assert_eq!(store.log_position("heygen".into()).await.unwrap(), None);
    for (source, position) in [("heygen", "1"), ("heygen", "2"), ("stripe", "3")] {
        store.keep_log_position(source.into(), position.to_owned()).await.unwrap();
    }
    drop(store);
    let store = harness.open().await;
    assert_eq!(store.log_position("heygen".into()).await.unwrap().as_deref(), Some("2"));
    assert_eq!(store.log_position("stripe".into()).await.unwrap().as_deref(), Some("3"));
}
