//! What is taken from the folder, and what is not.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;

const KEY: &str = "0123abcd";

struct Bench {
    dir: TempDir,
    cache: Cache,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache"));
        Self { dir, cache }
    }

    fn keep(&self, key: &str, content: &[u8]) -> PathBuf {
        let draft = self.cache.draft().unwrap();
        fs::write(self.only(DRAFT_ENDING), content).unwrap();
        draft.finish(key, Some(&self.cache));
        self.only(&format!("{key}."))
    }

    /// The only file whose name begins or ends like this.
    fn only(&self, part: &str) -> PathBuf {
        let has = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with(part) || name.ends_with(part)
        };
        let found: Vec<_> = self.all().into_iter().filter(has).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    }

    fn all(&self) -> Vec<PathBuf> {
        fs::read_dir(self.dir.path().join("cache")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    fn found(&self) -> bool {
        self.cache.find(KEY).is_some()
    }
}

#[track_caller]
fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_was_kept_is_found_and_belongs_to_this_user_alone() {
    let bench = Bench::new();
    assert!(!bench.found());
    let path = bench.keep(KEY, b"code");
    assert!(bench.found() && bench.cache.find("0123abce").is_none());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&bench.dir.path().join("cache"))), (0o600, 0o700));
}

#[test]
fn what_is_damaged_is_not_used_and_removed() {
    let damage: [fn(&mut Vec<u8>); 4] =
        [|code| code[1] ^= 1, |code| code.truncate(3), |code| code.push(b'!'), |code| code.clear()];
    for damage in damage {
        let bench = Bench::new();
        let path = bench.keep(KEY, b"code");
        let mut code = fs::read(&path).unwrap();
        damage(&mut code);
        fs::write(&path, code).unwrap();
        assert!(!bench.found());
        assert!(!path.exists());
        bench.keep(KEY, b"code");
        assert!(bench.found(), "made again");
    }
}

#[test]
fn what_others_may_write_is_not_used() {
    let bench = Bench::new();
    let path = bench.keep(KEY, b"code");
    chmod(&path, 0o620);
    assert!(!bench.found());
    bench.keep(KEY, b"code");
    let folder = bench.dir.path().join("cache");
    chmod(&folder, 0o777);
    assert!(!bench.found() && bench.cache.draft().is_none(), "neither read nor written");
    chmod(&folder, 0o700);
    assert!(bench.found());
    chmod(bench.dir.path(), 0o707);
    assert!(!bench.found(), "everyone can move the folder");
    chmod(bench.dir.path(), 0o1777);
    assert!(bench.found(), "the sticky bit keeps them from it");
}

#[test]
fn a_folder_that_a_group_could_write_is_emptied_before_it_is_used() {
    let bench = Bench::new();
    let folder = bench.dir.path().join("cache");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    // As a kubelet leaves it; and as a host leaves it that was ended on the way.
    for left in [0o2770, 0o1700] {
        let path = bench.keep(KEY, b"code");
        chmod(&folder, left);
        // Its own mode says nothing: a member of the group could have given it another's name.
        chmod(&path, 0o600);
        let reader = Cache::read_only(folder.clone());
        assert!(reader.find(KEY).is_none());
        assert!(path.exists() && mode(&folder) == left, "who only looks changes nothing");
        assert!(!bench.found() && !path.exists(), "{left:o}");
        assert_eq!(mode(&folder), 0o700);
        bench.keep(KEY, b"code");
        assert!(bench.found(), "made again");
        fs::remove_file(bench.only(KEY)).unwrap();
    }
}

#[test]
fn what_belongs_to_another_user_is_not_used() {
    let bench = Bench::new();
    let stat = rustix::fs::stat(bench.keep(KEY, b"code")).unwrap();
    let other = Uid::from_raw(geteuid().as_raw() + 1);
    assert!(fit(&stat, FileType::RegularFile, geteuid()).is_ok());
    assert!(fit(&stat, FileType::RegularFile, other).unwrap_err().contains("belongs to the user"));
}

#[test]
fn a_link_is_followed_neither_to_the_folder_nor_to_an_entry() {
    let bench = Bench::new();
    let (path, elsewhere) = (bench.keep(KEY, b"code"), bench.dir.path().join("elsewhere"));
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert!(!bench.found());
    bench.keep(KEY, b"code");
    fs::remove_file(&elsewhere).unwrap();
    fs::rename(bench.dir.path().join("cache"), &elsewhere).unwrap();
    symlink(&elsewhere, bench.dir.path().join("cache")).unwrap();
    assert!(!bench.found() && bench.cache.draft().is_none());
}

#[test]
fn reading_only_creates_and_removes_nothing() {
    let bench = Bench::new();
    let reader = Cache::read_only(bench.dir.path().join("cache"));
    assert!(reader.find(KEY).is_none() && reader.draft().is_none());
    assert!(!bench.dir.path().join("cache").exists());
    let path = bench.keep(KEY, b"code");
    assert!(reader.find(KEY).is_some());
    fs::write(&path, b"cods").unwrap();
    assert!(reader.find(KEY).is_none() && path.exists());
}

#[test]
fn what_was_not_used_for_the_longest_time_goes_first() {
    let bench = Bench::new();
    for (key, age_s) in [("a", 30), ("b", 20), ("c", 10)] {
        let file = File::open(bench.keep(key, b"code")).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.set_modified(modified - std::time::Duration::from_secs(age_s)).unwrap();
    }
    assert!(bench.cache.find("a").is_some(), "which makes it the one that was used last");
    let kept = |max_bytes: u64, max: usize| {
        prune(File::open(bench.dir.path().join("cache")).unwrap(), max_bytes, max);
        let mut keys: Vec<_> =
            bench.all().iter().map(|path| path.file_name().unwrap().to_str().unwrap()[..1].to_owned()).collect();
        keys.sort();
        keys.concat()
    };
    assert_eq!(kept(12, 3), "abc");
    assert_eq!(kept(11, 3), "ac");
    assert_eq!(kept(100, 1), "a");
    assert_eq!(kept(1, 1), "a", "what is in use stays, however large it is");
}

#[test]
fn a_draft_that_is_not_finished_leaves_nothing_behind() {
    let bench = Bench::new();
    drop(bench.cache.draft().unwrap());
    assert!(bench.all().is_empty());
}
