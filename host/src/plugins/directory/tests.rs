//! Folders with everything in them that is not a plugin.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::fs::{CWD, mknodat};
use tempfile::TempDir;

use super::*;

fn folder() -> (TempDir, Directory) {
    let dir = tempfile::tempdir().unwrap();
    let folder = Directory::open(dir.path()).unwrap();
    (dir, folder)
}

fn fingerprint(scan: &Scan, name: &str) -> Fingerprint {
    match scan.get(name) {
        ObservedFile::File { fingerprint, .. } => *fingerprint,
        other => panic!("{name} is {other:?}"),
    }
}

fn unfit(scan: &Scan, name: &str) -> String {
    match scan.get(name) {
        ObservedFile::Unfit(why) => why.clone(),
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn only_wasm_and_wat_files_directly_in_the_folder_are_plugins() {
    let (dir, folder) = folder();
    for name in ["a.wasm", "b-2_X.wat", "README.md", "c.wasm.bak", ".d.wasm", "wasm", ".wasm"] {
        fs::write(dir.path().join(name), "x").unwrap();
    }
    fs::create_dir(dir.path().join("src")).unwrap();
    fs::write(dir.path().join("src/deep.wasm"), "x").unwrap();
    let scan = folder.scan().unwrap();
    let names: Vec<&str> = scan.entries.keys().map(|name| &**name).collect();
    assert_eq!(names, ["a", "b-2_X"]);
    assert!(scan.misnamed.is_empty(), "{:?}", scan.misnamed);
}

#[test]
fn a_file_with_a_name_no_plugin_can_have_is_reported() {
    let (dir, folder) = folder();
    let long = format!("{}.wasm", "n".repeat(MAX_NAME_BYTES + 1));
    for name in ["my plugin.wasm", "a.b.wat", &long] {
        fs::write(dir.path().join(name), "x").unwrap();
    }
    fs::write(dir.path().join(OsStr::from_bytes(b"\xff.wasm")), "x").unwrap();
    fs::write(dir.path().join(format!("{}.wasm", "n".repeat(MAX_NAME_BYTES))), "x").unwrap();
    let scan = folder.scan().unwrap();
    assert_eq!(scan.misnamed.len(), 4, "{:?}", scan.misnamed);
    assert_eq!(scan.entries.len(), 1);
}

#[test]
fn two_files_of_one_name_are_a_problem() {
    let (dir, folder) = folder();
    fs::write(dir.path().join("twin.wasm"), "x").unwrap();
    fs::write(dir.path().join("twin.wat"), "x").unwrap();
    let problem = unfit(&folder.scan().unwrap(), "twin");
    assert!(problem.contains("twin.wasm and twin.wat"), "{problem}");
}

#[test]
fn what_is_not_a_regular_file_is_never_opened() {
    let (dir, folder) = folder();
    let outside = tempfile::NamedTempFile::new().unwrap();
    symlink(outside.path(), dir.path().join("link.wasm")).unwrap();
    fs::create_dir(dir.path().join("dir.wasm")).unwrap();
    mknodat(CWD, dir.path().join("pipe.wasm"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let scan = folder.scan().unwrap();
    assert_eq!(
        unfit(&scan, "link"),
        "link.wasm is a symbolic link that leads out of this folder, and is not followed: copy the file itself here"
    );
    assert!(unfit(&scan, "dir").contains("is a folder"));
    assert!(unfit(&scan, "pipe").contains("named pipe"));
}

#[test]
fn a_link_that_stays_in_the_folder_is_the_file_it_leads_to() {
    let (dir, folder) = folder();
    let path = |name: &str| dir.path().join(name);
    for release in ["..2026_1", "..2026_2"] {
        fs::create_dir(path(release)).unwrap();
        fs::write(path(release).join("a.wasm"), release).unwrap();
    }
    // As a kubelet lays out a ConfigMap, and swaps it.
    symlink("..2026_1", path("..data")).unwrap();
    symlink("..data/a.wasm", path("a.wasm")).unwrap();
    let first = folder.scan().unwrap();
    assert_eq!(folder.read("a.wasm", &fingerprint(&first, "a")), Ok(Some(b"..2026_1".to_vec())));
    symlink("..2026_2", path("..data_tmp")).unwrap();
    fs::rename(path("..data_tmp"), path("..data")).unwrap();
    assert_eq!(
        folder.read("a.wasm", &fingerprint(&first, "a")),
        Ok(None),
        "it is another file now"
    );
    let second = folder.scan().unwrap();
    assert_ne!(fingerprint(&first, "a"), fingerprint(&second, "a"));
    assert_eq!(folder.read("a.wasm", &fingerprint(&second, "a")), Ok(Some(b"..2026_2".to_vec())));
    let names: Vec<&str> = second.entries.keys().map(|name| &**name).collect();
    assert_eq!((names, second.misnamed), (vec!["a"], vec![]));
}

#[test]
fn a_link_that_leads_to_no_file_says_to_what() {
    let (dir, folder) = folder();
    fs::create_dir(dir.path().join("releases")).unwrap();
    mknodat(CWD, dir.path().join("releases/pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        .unwrap();
    for (name, target) in
        [("pipe.wasm", "releases/pipe"), ("dir.wasm", "releases"), ("gone.wasm", "releases/gone")]
    {
        symlink(target, dir.path().join(name)).unwrap();
    }
    let scan = folder.scan().unwrap();
    assert_eq!(
        unfit(&scan, "pipe"),
        "pipe.wasm is a symbolic link that leads to something that is a named pipe, not a file"
    );
    assert_eq!(
        unfit(&scan, "dir"),
        "dir.wasm is a symbolic link that leads to something that is a folder, not a file"
    );
    assert_eq!(
        unfit(&scan, "gone"),
        "gone.wasm is a symbolic link that leads to gone, which is not there"
    );
}

#[test]
fn a_pipe_in_the_place_of_the_folder_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("plugins");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let why = Directory::open(&pipe).unwrap_err();
    assert!(why.ends_with("plugins: it is a named pipe, not a folder"), "{why}");
}

#[test]
fn a_file_that_becomes_a_link_or_a_pipe_after_the_scan_is_not_read() {
    let (dir, folder) = folder();
    let outside = tempfile::NamedTempFile::new().unwrap();
    for name in ["link.wasm", "pipe.wasm"] {
        fs::write(dir.path().join(name), "x").unwrap();
    }
    let scan = folder.scan().unwrap();
    for name in ["link.wasm", "pipe.wasm"] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    symlink(outside.path(), dir.path().join("link.wasm")).unwrap();
    mknodat(CWD, dir.path().join("pipe.wasm"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    assert_eq!(folder.read("link.wasm", &fingerprint(&scan, "link")), Ok(None));
    assert_eq!(folder.read("pipe.wasm", &fingerprint(&scan, "pipe")), Ok(None));
}

#[test]
fn an_oversized_file_is_refused_by_its_size() {
    let (dir, folder) = folder();
    // Sparse: it takes no room on the disk.
    fs::File::create(dir.path().join("big.wasm")).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
    fs::File::create(dir.path().join("most.wasm")).unwrap().set_len(MAX_FILE_BYTES).unwrap();
    let scan = folder.scan().unwrap();
    assert!(unfit(&scan, "big").contains("67108865 bytes, more than the 67108864"));
    assert_eq!(fingerprint(&scan, "most").size, MAX_FILE_BYTES);
}

#[test]
fn a_file_is_read_whole_or_not_at_all() {
    let (dir, folder) = folder();
    let path = dir.path().join("a.wasm");
    fs::write(&path, "first").unwrap();
    let fingerprint = fingerprint(&folder.scan().unwrap(), "a");
    assert_eq!(folder.read("a.wasm", &fingerprint), Ok(Some(b"first".to_vec())));
    fs::write(&path, "first, and more").unwrap();
    assert_eq!(folder.read("a.wasm", &fingerprint), Ok(None));
    fs::remove_file(&path).unwrap();
    assert_eq!(folder.read("a.wasm", &fingerprint), Ok(None));
}

#[test]
fn a_folder_with_too_many_plugins_is_refused() {
    let (dir, folder) = folder();
    for number in 0..=MAX_PLUGINS {
        fs::write(dir.path().join(format!("p{number}.wasm")), "").unwrap();
    }
    assert!(folder.scan().unwrap_err().contains("more than 1000 plugin files"));
}
