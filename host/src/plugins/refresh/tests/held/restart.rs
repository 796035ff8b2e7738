//! Restarts while files ask for more.

use super::*;
use crate::store::{Approval, ApprovalChange, Operate};

#[tokio::test]
async fn a_restart_runs_what_was_kept_while_its_new_file_is_held() {
    let mut host = Host::new().await;
    let (old, new) = (asks(1, &[]), asks(2, &["kv"]));
    host.put(&old).await;
    host.put(&new).await;
    let changes = host.restart().await;
    assert!(matches!(&changes[..], [Change::Loaded { .. }, Change::Held { .. }]), "{changes:?}");
    host.is("held", Some(&old), Some(&new));
    // Also if it is the second time, and the file was replaced while the host was down.
    let other = asks(3, &["kv", "http"]);
    host.bench.write("a.wat", &other);
    host.restart().await;
    host.is("held", Some(&old), Some(&other));
    host.approve(&other).await.unwrap();
    host.restart().await;
    host.is("loaded", Some(&other), None);
}

#[tokio::test]
async fn a_restart_without_what_was_kept_runs_nothing_until_the_new_file_is_approved() {
    let mut host = Host::new().await;
    let (old, new) = (asks(1, &[]), asks(2, &["kv"]));
    host.put(&old).await;
    host.put(&new).await;
    let kept = host.kept(&old);
    // A damaged file counts as none.
    for damage in [
        |path: &Path| fs::write(path, "(component)").unwrap(),
        |path: &Path| fs::remove_file(path).unwrap(),
    ] {
        damage(&kept);
        assert!(matches!(&host.restart().await[..], [Change::Held { .. }]));
        host.is("held", None, Some(&new));
    }
    host.approve(&new).await.unwrap();
    host.bench.refresh().await;
    host.is("loaded", Some(&new), None);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_allows_nothing() {
    let mut host = Host::new().await;
    let (file, harmless) = (asks(1, &["kv"]), asks(2, &[]));
    host.put(&file).await;
    host.bench.write("b.wat", &harmless);
    host.bench.refresh().await;
    // As a newer hookbox would have written it.
    for (plugin, content) in [("a", &file), ("b", &harmless)] {
        let capabilities = ["everything", "kv"].map(str::to_owned).into();
        let approved_by = "owner".to_owned();
        let approval =
            Approval { plugin: plugin.into(), digest: sha(content), capabilities, approved_by };
        host.store.approve(None, ApprovalChange::Admit(approval)).await.unwrap();
    }
    host.restart().await;
    host.is("held", None, Some(&file));
    assert!(
        host.trouble().contains("plugin `a`") && host.trouble().contains("`everything`"),
        "{}",
        host.trouble()
    );
    assert_eq!(host.bench.state("b"), "loaded", "it asks for nothing");
    host.approve(&file).await.unwrap();
    host.restart().await;
    host.is("loaded", Some(&file), None);
}
