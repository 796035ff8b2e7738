//! The folder of approvals of an older hookbox, and its writers.

use std::os::unix::fs::PermissionsExt;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A note as an older hookbox wrote it.
fn note(ran: &str, capabilities: &[&str], approved: Option<&str>) -> String {
    let approved = approved.map(|content| sha(content).to_string());
    let note = serde_json::json!({
        "digest": sha(ran).to_string(), "capabilities": capabilities, "approved": approved,
    });
    note.to_string()
}

impl Host {
    fn put_former(&self, name: &str, content: impl AsRef<[u8]>) {
        let _ = fs::create_dir(self.former());
        fs::write(self.former().join(name), content).unwrap();
    }
}

#[tokio::test]
async fn what_an_older_hookbox_has_noted_is_moved_once() {
    let mut host = Host::new().await;
    let (old, new) = (asks(1, &[]), asks(2, &["kv"]));
    host.put_former("a.json", note(&old, &[], None));
    host.put_former(&format!("a.{}", sha(&old)), &old);
    host.put_former(&format!("a.{}", sha(&new)), "damaged");
    host.put_former("a.json.draft", "of a host that was killed");
    host.put_former("gone.json", note("gone", &["http"], None));
    host.bench.write("a.wat", &new);
    // A peek sees the same, and moves nothing.
    let peeked = Approvals::peek(Vec::new(), &host.former(), host.config.clone()).unwrap();
    assert!(
        peeked
            .holds("a", sha(&new), &[crate::sandbox::Capability::from_name("kv").unwrap()].into())
            .await
    );
    assert_eq!(fs::read_dir(host.former()).unwrap().count(), 5);
    for _ in 0..2 {
        host.restart().await;
        host.is("held", Some(&old), Some(&new));
        assert!(!host.former().exists());
        assert_eq!(host.rows().await, [(sha(&old), true), (sha("gone"), true)]);
        assert!(host.kept(&old).exists());
    }
    host.approve(&new).await.unwrap();
    host.restart().await;
    host.is("loaded", Some(&new), None);
}

#[tokio::test]
async fn an_approval_that_an_older_hookbox_has_noted_still_counts() {
    let mut host = Host::new().await;
    let (old, new) = (asks(1, &[]), asks(2, &["kv"]));
    host.put_former("a.json", note(&old, &[], Some(&new)));
    host.bench.write("a.wat", &new);
    host.restart().await;
    host.is("loaded", Some(&new), None);
    assert_eq!(host.rows().await, [(sha(&new), true)]);
}

#[tokio::test]
async fn what_the_store_knows_is_newer_than_what_an_older_hookbox_has_noted() {
    let mut host = Host::new().await;
    let (old, new) = (asks(1, &[]), asks(2, &["kv"]));
    host.put(&old).await;
    // A start that was killed before it had moved all, or a backup of an older folder.
    host.put_former("a.json", note(&new, &["kv", "http"], Some(&new)));
    host.bench.write("a.wat", &new);
    host.restart().await;
    host.is("held", Some(&old), Some(&new));
    assert!(!host.former().exists());
}

#[tokio::test]
async fn what_cannot_be_moved_counts_and_is_moved_by_a_later_start() {
    let mut host = Host::new().await;
    let (old, new) = (asks(1, &[]), asks(2, &["kv"]));
    host.put_former("a.json", note(&old, &[], None));
    host.put_former(&format!("a.{}", sha(&old)), &old);
    host.bench.write("a.wat", &new);
    host.store.refuse_writes(true);
    host.restart().await;
    host.is("held", None, Some(&new));
    assert!(host.former().join("a.json").exists());
    host.store.refuse_writes(false);
    host.restart().await;
    host.is("held", Some(&old), Some(&new));
    assert!(!host.former().exists());
}

#[tokio::test]
async fn a_note_that_is_garbage_allows_nothing_for_as_long_as_it_is_there() {
    let mut host = Host::new().await;
    let (file, harmless) = (asks(1, &["kv"]), asks(2, &[]));
    host.bench.write("a.wat", &file);
    host.bench.write("b.wat", &harmless);
    let digest = sha(&file);
    for garbage in [
        String::new(),
        "garbage".to_owned(),
        "{}".to_owned(),
        format!(r#"{{"digest":"{digest}","capabilities":["kv","everything"],"approved":null}}"#),
        r#"{"digest":"abc","capabilities":["kv"],"approved":null}"#.to_owned(),
        format!(r#"{{"digest":"{digest}","capabilities":["kv"],"approved":null,"more":1}}"#),
    ] {
        for name in ["a.json", "b.json"] {
            host.put_former(name, &garbage);
        }
        host.restart().await;
        host.is("held", None, Some(&file));
        assert!(host.trouble().contains("a.json"), "{}", host.trouble());
        assert_eq!(host.bench.state("b"), "loaded", "it asks for nothing");
    }
    host.approve(&file).await.unwrap();
    for _ in 0..2 {
        host.restart().await;
        host.is("loaded", Some(&file), None);
    }
    assert!(!host.former().exists());
}

#[tokio::test]
async fn a_folder_that_everyone_may_write_is_not_believed() {
    let host = Host::new().await;
    host.put_former("a.json", note("a", &["kv"], None));
    chmod(&host.former(), 0o777);
    let refused = host.try_open().await.unwrap_err();
    assert!(refused.contains("chmod go-w"), "{refused}");
    assert!(host.former().join("a.json").exists());
}

#[tokio::test]
async fn a_folder_that_a_group_of_this_user_could_write_is_believed() {
    let mut host = Host::new().await;
    let file = asks(1, &["kv"]);
    host.put_former("a.json", note(&file, &["kv"], None));
    // As a kubelet leaves a volume with `fsGroup`.
    chmod(&host.former().join("a.json"), 0o660);
    chmod(&host.former(), 0o2770);
    host.bench.write("a.wat", &file);
    host.restart().await;
    host.is("loaded", Some(&file), None);
    assert!(!host.former().exists());
}

#[tokio::test]
async fn what_stands_in_the_place_of_a_note_is_named_and_never_waited_for() {
    let mut host = Host::new().await;
    let first = asks(1, &["kv"]);
    fs::create_dir(host.former()).unwrap();
    for name in ["a.json".to_owned(), format!("a.{}", sha(&first))] {
        mknodat(CWD, host.former().join(name), FileType::Fifo, Mode::RWXU, 0).unwrap();
    }
    host.bench.write("a.wat", &first);
    host.restart().await;
    host.is("held", None, Some(&first));
    assert!(host.trouble().contains("(it is a named pipe, not a file)"), "{}", host.trouble());
    fs::remove_dir_all(host.former()).unwrap();
    fs::write(host.former(), "").unwrap();
    let refused = host.try_open().await.unwrap_err();
    assert!(refused.ends_with("approved: it is a file, not a folder"), "{refused}");
}
