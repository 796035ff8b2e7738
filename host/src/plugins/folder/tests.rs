//! Folders with everything in them that is not a plugin.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::fs::{CWD, mknodat};
use tempfile::TempDir;

use super::*;

fn folder() -> (TempDir, Folder) {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    (dir, folder)
}

fn stamp(look: &Look, name: &str) -> Stamp {
    match look.get(name) {
        Seen::File { stamp, .. } => *stamp,
        other => panic!("{name} is {other:?}"),
    }
}

fn unfit(look: &Look, name: &str) -> String {
    match look.get(name) {
        Seen::Unfit(why) => why.clone(),
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
    let look = folder.look().unwrap();
    let names: Vec<&str> = look.entries.keys().map(|name| &**name).collect();
    assert_eq!(names, ["a", "b-2_X"]);
    assert!(look.misnamed.is_empty(), "{:?}", look.misnamed);
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
    let look = folder.look().unwrap();
    assert_eq!(look.misnamed.len(), 4, "{:?}", look.misnamed);
    assert_eq!(look.entries.len(), 1);
}

#[test]
fn two_files_of_one_name_are_a_problem() {
    let (dir, folder) = folder();
    fs::write(dir.path().join("twin.wasm"), "x").unwrap();
    fs::write(dir.path().join("twin.wat"), "x").unwrap();
    let problem = unfit(&folder.look().unwrap(), "twin");
    assert!(problem.contains("twin.wasm and twin.wat"), "{problem}");
}

#[test]
fn what_is_not_a_regular_file_is_never_opened() {
    let (dir, folder) = folder();
    let outside = tempfile::NamedTempFile::new().unwrap();
    symlink(outside.path(), dir.path().join("link.wasm")).unwrap();
    fs::create_dir(dir.path().join("dir.wasm")).unwrap();
    mknodat(CWD, dir.path().join("pipe.wasm"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let look = folder.look().unwrap();
    assert_eq!(
        unfit(&look, "link"),
        "link.wasm is a symbolic link that leads out of this folder, and is not followed: copy the file itself here"
    );
    assert!(unfit(&look, "dir").contains("is a folder"));
    assert!(unfit(&look, "pipe").contains("named pipe"));
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
    let first = folder.look().unwrap();
    assert_eq!(folder.read("a.wasm", &stamp(&first, "a")), Ok(Some(b"..2026_1".to_vec())));
    symlink("..2026_2", path("..data_tmp")).unwrap();
    fs::rename(path("..data_tmp"), path("..data")).unwrap();
    assert_eq!(folder.read("a.wasm", &stamp(&first, "a")), Ok(None), "it is another file now");
    let second = folder.look().unwrap();
    assert_ne!(stamp(&first, "a"), stamp(&second, "a"));
    assert_eq!(folder.read("a.wasm", &stamp(&second, "a")), Ok(Some(b"..2026_2".to_vec())));
    let names: Vec<&str> = second.entries.keys().map(|name| &**name).collect();
    assert_eq!((names, second.misnamed), (vec!["a"], vec![]));
}

#[test]
fn a_link_that_leads_to_no_file_says_to_what() {
    let (dir, folder) = folder();
    fs::create_dir(dir.path().join("releases")).unwrap();
    mknodat(CWD, dir.path().join("releases/pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    for (name, target) in [("pipe.wasm", "releases/pipe"), ("dir.wasm", "releases"), ("gone.wasm", "releases/gone")] {
        symlink(target, dir.path().join(name)).unwrap();
    }
    let look = folder.look().unwrap();
    assert_eq!(
        unfit(&look, "pipe"),
        "pipe.wasm is a symbolic link that leads to something that is a named pipe, not a file"
    );
    assert_eq!(unfit(&look, "dir"), "dir.wasm is a symbolic link that leads to something that is a folder, not a file");
    assert_eq!(unfit(&look, "gone"), "gone.wasm is a symbolic link that leads to gone, which is not there");
}

#[test]
fn a_pipe_in_the_place_of_the_folder_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("plugins");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let why = Folder::open(&pipe).unwrap_err();
    assert!(why.ends_with("plugins: it is a named pipe, not a folder"), "{why}");
}

#[test]
fn a_file_that_becomes_a_link_or_a_pipe_after_the_look_is_not_read() {
    let (dir, folder) = folder();
    let outside = tempfile::NamedTempFile::new().unwrap();
    for name in ["link.wasm", "pipe.wasm"] {
        fs::write(dir.path().join(name), "x").unwrap();
    }
    let look = folder.look().unwrap();
    for name in ["link.wasm", "pipe.wasm"] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    symlink(outside.path(), dir.path().join("link.wasm")).unwrap();
    mknodat(CWD, dir.path().join("pipe.wasm"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    assert_eq!(folder.read("link.wasm", &stamp(&look, "link")), Ok(None));
    assert_eq!(folder.read("pipe.wasm", &stamp(&look, "pipe")), Ok(None));
}

#[test]
fn an_oversized_file_is_refused_by_its_size() {
    let (dir, folder) = folder();
    // Sparse: it takes no room on the disk.
    fs::File::create(dir.path().join("big.wasm")).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
    fs::File::create(dir.path().join("most.wasm")).unwrap().set_len(MAX_FILE_BYTES).unwrap();
    let look = folder.look().unwrap();
    assert!(unfit(&look, "big").contains("67108865 bytes, more than the 67108864"));
    assert_eq!(stamp(&look, "most").size, MAX_FILE_BYTES);
}

#[test]
fn a_file_is_read_whole_or_not_at_all() {
    let (dir, folder) = folder();
    let path = dir.path().join("a.wasm");
    fs::write(&path, "first").unwrap();
    let stamp = stamp(&folder.look().unwrap(), "a");
    assert_eq!(folder.read("a.wasm", &stamp), Ok(Some(b"first".to_vec())));
    fs::write(&path, "first, and more").unwrap();
    assert_eq!(folder.read("a.wasm", &stamp), Ok(None));
    fs::remove_file(&path).unwrap();
    assert_eq!(folder.read("a.wasm", &stamp), Ok(None));
}

#[test]
fn a_folder_with_too_many_plugins_is_refused() {
    let (dir, folder) = folder();
    for number in 0..=MAX_PLUGINS {
        fs::write(dir.path().join(format!("p{number}.wasm")), "").unwrap();
    }
    assert!(folder.look().unwrap_err().contains("more than 1000 plugin files"));
}
