//! Approvals of plugin files: the rows of each plugin, and their replacement.

use super::*;
use crate::store::{Approval, ApprovalChange};

fn approval(plugin: &str, digest: u8, capabilities: &[&str]) -> Approval {
    Approval {
        plugin: plugin.into(),
        digest: Digest([digest; 32]),
        capabilities: capabilities.iter().map(|name| (*name).to_owned()).collect(),
        approved_by: format!("somebody {digest}"),
    }
}

pub(super) fn approve(plugin: &str, digest: u8) -> ApprovalChange {
    ApprovalChange::Approve(approval(plugin, digest, &["http", "kv"]))
}

pub(super) fn admit(plugin: &str, digest: u8) -> ApprovalChange {
    ApprovalChange::Admit(approval(plugin, digest, &[]))
}

pub(super) async fn change(
    store: &Arc<dyn Store>,
    changes: impl IntoIterator<Item = ApprovalChange>,
) {
    for change in changes {
        store.approve(None, change).await.unwrap();
    }
}

/// The plugin, the first byte of the digest and whether it was admitted, of each row.
pub(super) async fn rows(store: &Arc<dyn Store>) -> Vec<(String, u8, bool)> {
    let found = store.approvals().await.unwrap().into_iter();
    found
        .map(|row| (row.approval.plugin.to_string(), row.approval.digest.0[0], row.admitted))
        .collect()
}

pub(super) fn row(plugin: &str, digest: u8, admitted: bool) -> (String, u8, bool) {
    (plugin.to_owned(), digest, admitted)
}

pub(in crate::store) async fn an_approval_is_there_after_a_crash(harness: impl Harness) {
    let store = harness.open().await;
    assert!(rows(&store).await.is_empty());
    change(&store, [admit("audit", 1)]).await;
    pass(&harness, 1_000);
    change(&store, [approve("audit", 2)]).await;
    drop(store);
    let store = harness.open().await;
    let found = store.approvals().await.unwrap();
    let [ran, approved] = &found[..] else { panic!("{found:?}") };
    assert_eq!(
        (&ran.approval, ran.at_ms, ran.admitted),
        (&approval("audit", 1, &[]), START_MS, true)
    );
    let expected = approval("audit", 2, &["http", "kv"]);
    assert_eq!(
        (&approved.approval, approved.at_ms, approved.admitted),
        (&expected, START_MS + 1_000, false)
    );
}

pub(in crate::store) async fn an_admitted_file_takes_the_place_of_everything_before(
    harness: impl Harness,
) {
    let store = harness.open().await;
    change(&store, [admit("audit", 1), approve("audit", 2), admit("audit", 2)]).await;
    assert_eq!(rows(&store).await, [row("audit", 2, true)]);
    change(&store, [approve("audit", 3), admit("audit", 4)]).await;
    assert_eq!(rows(&store).await, [row("audit", 4, true)]);
}

pub(in crate::store) async fn another_approval_takes_the_place_of_one_that_was_not_used(
    harness: impl Harness,
) {
    let store = harness.open().await;
    change(
        &store,
        [admit("audit", 1), approve("audit", 3), approve("audit", 2), approve("audit", 2)],
    )
    .await;
    assert_eq!(rows(&store).await, [row("audit", 1, true), row("audit", 2, false)]);
}

pub(in crate::store) async fn an_approval_that_is_over_leaves_what_ran_last(harness: impl Harness) {
    let store = harness.open().await;
    change(&store, [admit("audit", 2), approve("audit", 1), approve("other", 1)]).await;
    change(
        &store,
        [ApprovalChange::Withdraw("audit".into()), ApprovalChange::Withdraw("absent".into())],
    )
    .await;
    assert_eq!(rows(&store).await, [row("audit", 2, true), row("other", 1, false)]);
}

pub(in crate::store) async fn what_ran_last_can_be_approved_like_any_other_file(
    harness: impl Harness,
) {
    let store = harness.open().await;
    change(&store, [admit("audit", 1), approve("audit", 1)]).await;
    assert_eq!(rows(&store).await, [row("audit", 1, true), row("audit", 1, false)]);
    change(&store, [admit("audit", 1)]).await;
    assert_eq!(rows(&store).await, [row("audit", 1, true)]);
}

pub(in crate::store) async fn a_plugin_that_is_forgotten_leaves_the_others(harness: impl Harness) {
    let store = harness.open().await;
    change(&store, [admit("audit", 1), approve("audit", 2), admit("other", 1)]).await;
    change(&store, [ApprovalChange::Forget("audit".into())]).await;
    drop(store);
    let store = harness.open().await;
    assert_eq!(rows(&store).await, [row("other", 1, true)]);
}
