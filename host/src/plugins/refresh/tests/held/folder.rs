//! The folder of notes: who else may write it, and what stands in it.

use std::os::unix::fs::PermissionsExt;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_folder_that_everyone_may_write_is_not_believed() {
    let mut host = Host::new();
    host.put(&asks(1, &[])).await;
    chmod(&host.notes(), 0o777);
    let refused = Approvals::open(host.notes(), host.config.clone()).unwrap_err();
    assert!(refused.contains("chmod go-w"), "{refused}");
}

#[tokio::test]
async fn a_folder_that_a_group_of_this_user_could_write_is_believed_and_taken_back() {
    let mut host = Host::new();
    host.put(&asks(1, &[])).await;
    let note = host.notes().join("a.json");
    // As a kubelet leaves a volume with `fsGroup`.
    chmod(&note, 0o660);
    chmod(&host.notes(), 0o2770);
    let knows = |approvals: Approvals| approvals.kept(&"a".into()).is_some();
    assert!(knows(Approvals::look(host.notes(), host.config.clone()).unwrap()));
    assert_eq!(mode(&host.notes()), 0o2770, "who only looks changes nothing");
    assert!(knows(Approvals::open(host.notes(), host.config.clone()).unwrap()));
    assert_eq!((mode(&host.notes()), mode(&note)), (0o700, 0o600));
}

#[tokio::test]
async fn what_stands_in_the_place_of_a_note_is_named_and_never_waited_for() {
    let mut host = Host::new();
    let (first, second) = (asks(1, &["kv"]), asks(2, &[]));
    host.put(&first).await;
    let pipe = |name: &str| {
        let path = host.notes().join(name);
        let _ = fs::remove_file(&path);
        mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    };
    pipe("a.json");
    pipe(&format!("a.{}", sha(&first)));
    host.restart().await;
    host.is("held", None, Some(&first));
    let trouble = host.bench.shelf.slot("a").unwrap().held.as_ref().unwrap().trouble.clone().unwrap();
    assert!(trouble.contains("(it is a named pipe, not a file)"), "{trouble}");
    // In the way of a note that is to be written.
    let pipe = host.notes().join("a.json.draft");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
    host.put(&second).await;
    host.is("loaded", Some(&second), None);
    assert!(!pipe.exists() && fs::metadata(host.notes().join("a.json")).unwrap().is_file());
    let refused = Approvals::open(host.notes().join("a.json"), host.config.clone()).unwrap_err();
    assert!(refused.ends_with("a.json: it is a file, not a folder"), "{refused}");
}
