//! Files that are taken from the folder, and files that are not.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;

const KEY: &str = "0123abcd";

struct CacheFolder {
    dir: TempDir,
    cache: Cache,
}

impl CacheFolder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache"));
        Self { dir, cache }
    }

    fn keep(&self, key: &str, content: &[u8]) -> PathBuf {
        let temp = self.cache.temp_file().unwrap();
        fs::write(self.only(temp_file::ENDING), content).unwrap();
        self.cache.keep(temp.name.unwrap(), &temp.file, key);
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
        fs::read_dir(self.dir.path().join("cache"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
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
    let fixture = CacheFolder::new();
    assert!(!fixture.found());
    let path = fixture.keep(KEY, b"code");
    assert!(fixture.found() && fixture.cache.find("0123abce").is_none());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&fixture.dir.path().join("cache"))), (0o600, 0o700));
}

#[test]
fn what_is_damaged_is_not_used_and_removed() {
    let damage: [fn(&mut Vec<u8>); 4] =
        [|code| code[1] ^= 1, |code| code.truncate(3), |code| code.push(b'!'), |code| code.clear()];
    for damage in damage {
        let fixture = CacheFolder::new();
        let path = fixture.keep(KEY, b"code");
        let mut code = fs::read(&path).unwrap();
        damage(&mut code);
        fs::write(&path, code).unwrap();
        assert!(!fixture.found());
        assert!(!path.exists());
        fixture.keep(KEY, b"code");
        assert!(fixture.found(), "made again");
    }
}

#[test]
fn what_others_may_write_is_not_used() {
    let fixture = CacheFolder::new();
    let path = fixture.keep(KEY, b"code");
    chmod(&path, 0o620);
    assert!(!fixture.found());
    fixture.keep(KEY, b"code");
    let folder = fixture.dir.path().join("cache");
    chmod(&folder, 0o777);
    assert!(!fixture.found() && fixture.cache.temp_file().is_none(), "neither read nor written");
    chmod(&folder, 0o700);
    assert!(fixture.found());
    chmod(fixture.dir.path(), 0o707);
    assert!(!fixture.found(), "everyone can move the folder");
    chmod(fixture.dir.path(), 0o1777);
    assert!(fixture.found(), "the sticky bit keeps them from it");
}

#[test]
fn a_folder_that_a_group_could_write_is_emptied_before_it_is_used() {
    let fixture = CacheFolder::new();
    let folder = fixture.dir.path().join("cache");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    // As a kubelet leaves it; and as a host leaves it that was ended on the way.
    for left in [0o2770, 0o1700] {
        let path = fixture.keep(KEY, b"code");
        chmod(&folder, left);
        // Its own mode says nothing: a member of the group could have given it another's name.
        chmod(&path, 0o600);
        let reader = Cache::read_only(folder.clone());
        assert!(reader.find(KEY).is_none());
        assert!(path.exists() && mode(&folder) == left, "who only looks changes nothing");
        assert!(!fixture.found() && !path.exists(), "{left:o}");
        assert_eq!(mode(&folder), 0o700);
        fixture.keep(KEY, b"code");
        assert!(fixture.found(), "made again");
        fs::remove_file(fixture.only(KEY)).unwrap();
    }
}

#[test]
fn what_belongs_to_another_user_is_not_used() {
    let fixture = CacheFolder::new();
    let stat = rustix::fs::stat(fixture.keep(KEY, b"code")).unwrap();
    let other = Uid::from_raw(geteuid().as_raw() + 1);
    assert!(fit(&stat, FileType::RegularFile, geteuid()).is_ok());
    assert!(fit(&stat, FileType::RegularFile, other).unwrap_err().contains("belongs to the user"));
}

#[test]
fn a_link_is_followed_neither_to_the_folder_nor_to_an_entry() {
    let fixture = CacheFolder::new();
    let (path, elsewhere) = (fixture.keep(KEY, b"code"), fixture.dir.path().join("elsewhere"));
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert!(!fixture.found());
    fixture.keep(KEY, b"code");
    fs::remove_file(&elsewhere).unwrap();
    fs::rename(fixture.dir.path().join("cache"), &elsewhere).unwrap();
    symlink(&elsewhere, fixture.dir.path().join("cache")).unwrap();
    assert!(!fixture.found() && fixture.cache.temp_file().is_none());
}

#[test]
fn reading_only_creates_and_removes_nothing() {
    let fixture = CacheFolder::new();
    let reader = Cache::read_only(fixture.dir.path().join("cache"));
    assert!(reader.find(KEY).is_none() && reader.temp_file().is_none());
    assert!(!fixture.dir.path().join("cache").exists());
    let path = fixture.keep(KEY, b"code");
    assert!(reader.find(KEY).is_some());
    fs::write(&path, b"cods").unwrap();
    assert!(reader.find(KEY).is_none() && path.exists());
}

#[test]
fn what_was_not_used_for_the_longest_time_goes_first() {
    let fixture = CacheFolder::new();
    for (key, age_s) in [("a", 30), ("b", 20), ("c", 10)] {
        let file = File::open(fixture.keep(key, b"code")).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.set_modified(modified - std::time::Duration::from_secs(age_s)).unwrap();
    }
    assert!(fixture.cache.find("a").is_some(), "which makes it the one that was used last");
    let kept = |max_bytes: u64, max: usize| {
        prune(File::open(fixture.dir.path().join("cache")).unwrap(), max_bytes, max);
        let mut keys: Vec<_> = fixture
            .all()
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap()[..1].to_owned())
            .collect();
        keys.sort();
        keys.concat()
    };
    assert_eq!(kept(12, 3), "abc");
    assert_eq!(kept(11, 3), "ac");
    assert_eq!(kept(100, 1), "a");
    assert_eq!(kept(1, 1), "a", "what is in use stays, however large it is");
}

#[test]
fn a_temporary_file_that_is_not_finished_leaves_nothing_behind() {
    let fixture = CacheFolder::new();
    drop(fixture.cache.temp_file().unwrap());
    assert!(fixture.all().is_empty());
}
