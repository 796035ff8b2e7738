//! Hosts with folders of their own on one store.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Mutex, MutexGuard};

use tempfile::TempDir;

use super::*;
use crate::providers::registered::Registration;
use crate::store::Pending;

const NAME: &str = "heygen.registered";

/// The part of a store that these tests need.
#[derive(Debug, Default)]
struct TestHosts(Mutex<BTreeMap<String, SealedSecret>>);

impl TestHosts {
    fn secrets(&self) -> MutexGuard<'_, BTreeMap<String, SealedSecret>> {
        self.0.lock().unwrap()
    }
}

impl Hosts for TestHosts {
    fn sealed_secrets(&self, seen: Vec<SecretMark>) -> Pending<'_, Vec<SealedSecret>> {
        let shown = |secret: &SealedSecret| {
            let (name, digest) = (secret.name.clone(), digest(&secret.sealed));
            let is_seen = seen.contains(&SecretMark { name, version: secret.version, digest });
            let sealed = if is_seen { Vec::new() } else { secret.sealed.clone() };
            SealedSecret { sealed, ..secret.clone() }
        };
        let all = self.secrets().values().map(shown).collect();
        Box::pin(async { Ok(all) })
    }

    fn keep_secret(&self, secret: SealedSecret, before: i64) -> Pending<'_, bool> {
        let mut secrets = self.secrets();
        let fits = secrets.get(&secret.name).map_or(0, |present| present.version) == before;
        if fits {
            secrets.insert(secret.name.clone(), secret);
        }
        Box::pin(async move { Ok(fits) })
    }
}

/// A host, and its folder.
struct TestHost {
    shared: SharedSecrets,
    _dir: TempDir,
}

fn key(digit: &str) -> SealKey {
    SealKey::read(digit.repeat(64).as_bytes()).unwrap()
}

fn host(store: &Arc<TestHosts>) -> TestHost {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data/secrets");
    TestHost { shared: SharedSecrets::new(store.clone(), key("1"), path), _dir: dir }
}

/// The file of a registration with this secret.
fn file(secret: &str) -> Vec<u8> {
    let mut kept = Registration::of_handshake("heygen");
    kept.add(secret).unwrap();
    kept.text().to_vec()
}

impl TestHost {
    fn path(&self, name: &str) -> PathBuf {
        self.shared.folder.path.join(name)
    }

    fn put(&self, content: &[u8]) {
        fs::create_dir_all(&self.shared.folder.path).unwrap();
        fs::write(self.path(NAME), content).unwrap();
    }

    fn content(&self) -> Option<Vec<u8>> {
        fs::read(self.path(NAME)).ok()
    }

    async fn compare(&mut self) -> bool {
        self.shared.compare().await.unwrap()
    }
}

#[tokio::test]
async fn a_secret_that_changes_at_one_host_is_that_of_the_other() {
    let store = Arc::new(TestHosts::default());
    let (mut east, mut west) = (host(&store), host(&store));
    let (first, second) = (file("the first secret"), file("the second secret"));
    east.put(&first);
    assert!(!east.compare().await, "its own file is as it was");
    assert!(west.compare().await);
    assert_eq!(west.content(), Some(first.clone()));
    assert_eq!(fs::metadata(west.path(NAME)).unwrap().permissions().mode() & 0o777, 0o600);
    west.put(&second);
    assert!(!west.compare().await);
    assert!(east.compare().await);
    assert_eq!(east.content(), Some(second));
    assert!(!east.compare().await && !west.compare().await);
    assert_eq!(store.secrets()[NAME].version, 2, "nothing is put twice");
}

#[tokio::test]
async fn a_file_that_is_gone_at_two_looks_is_removed_at_the_other_host() {
    let store = Arc::new(TestHosts::default());
    let (mut east, mut west) = (host(&store), host(&store));
    let kept = file("a secret of a provider");
    east.put(&kept);
    east.compare().await;
    west.compare().await;
    fs::remove_file(east.path(NAME)).unwrap();
    east.compare().await;
    assert!(!west.compare().await, "it may be on its way into its place");
    east.compare().await;
    assert!(west.compare().await);
    assert_eq!((west.content(), store.secrets()[NAME].deleted), (None, true));
    store.secrets().clear();
    assert!(!east.compare().await && !west.compare().await);
    assert!(store.secrets()[NAME].deleted, "a failover had lost it");
    west.put(&kept);
    west.compare().await;
    assert!(east.compare().await, "it is registered anew");
    assert_eq!(east.content(), Some(kept));
}

#[tokio::test]
async fn a_folder_that_is_lost_removes_nothing_and_is_filled_again() {
    let store = Arc::new(TestHosts::default());
    let mut east = host(&store);
    let kept = file("a secret of a provider");
    east.put(&kept);
    east.compare().await;
    fs::remove_dir_all(&east.shared.folder.path).unwrap();
    assert!(east.compare().await);
    assert_eq!(east.content(), Some(kept.clone()));
    // A damaged note is like none.
    fs::write(east.path("shared.json"), "{").unwrap();
    assert!(!east.compare().await);
    assert_eq!((east.content(), store.secrets()[NAME].version), (Some(kept), 1));
}

#[tokio::test]
async fn of_two_changes_the_stored_one_holds_and_the_other_one_is_kept_beside_it() {
    let store = Arc::new(TestHosts::default());
    let (mut east, mut west) = (host(&store), host(&store));
    let [before, of_east, of_west] = ["a first secret", "a secret of east", "a secret of west"];
    east.put(&file(before));
    east.compare().await;
    west.compare().await;
    east.put(&file(of_east));
    west.put(&file(of_west));
    east.compare().await;
    assert!(west.compare().await);
    assert_eq!(west.content(), Some(file(of_east)));
    let beside = west.path("heygen.registered.replaced");
    assert_eq!(fs::read(&beside).unwrap(), file(of_west));
    assert_eq!(fs::metadata(&beside).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!east.compare().await && !east.path("heygen.registered.replaced").exists());
}

#[tokio::test]
async fn what_was_kept_beside_a_secret_goes_with_it() {
    let store = Arc::new(TestHosts::default());
    let (mut east, mut west) = (host(&store), host(&store));
    east.put(&file("a secret of east"));
    west.put(&file("a secret of west"));
    east.compare().await;
    assert!(west.compare().await);
    let beside = west.path("heygen.registered.replaced");
    fs::remove_file(east.path(NAME)).unwrap();
    east.compare().await;
    west.compare().await;
    assert!(beside.exists(), "it may be on its way into its place");
    east.compare().await;
    assert!(west.compare().await);
    assert!(west.content().is_none() && !beside.exists());
    // A version that nobody else has is kept.
    east.put(&file("a new secret"));
    east.compare().await;
    west.compare().await;
    west.put(&file("a newer secret"));
    fs::remove_file(east.path(NAME)).unwrap();
    east.compare().await;
    east.compare().await;
    assert!(west.compare().await);
    assert_eq!((west.content(), fs::read(&beside).unwrap()), (None, file("a newer secret")));
}

#[tokio::test]
async fn nothing_of_a_secret_is_in_the_store() {
    let store = Arc::new(TestHosts::default());
    let mut east = host(&store);
    let secret = "whsec_0123456789abcdef";
    east.put(&file(secret));
    east.compare().await;
    let stored = store.secrets()[NAME].clone();
    let has = |part: &[u8]| stored.sealed.windows(part.len()).any(|it| it == part);
    assert!(!secret.as_bytes().windows(4).any(has), "{stored:?}");
    let shown = format!("{:?} {:?}", east.shared, east.shared.open(&stored).is_some());
    assert!(!shown.contains("whsec") && shown.ends_with("true"), "{shown}");
}

#[tokio::test]
async fn another_key_is_known_before_there_is_a_secret_and_opens_none() {
    let store = Arc::new(TestHosts::default());
    let (mut east, mut west) = (host(&store), host(&store));
    assert_eq!(east.shared.unopened().await.unwrap(), None);
    assert_eq!(west.shared.unopened().await.unwrap(), None, "it has the same key");
    west.shared.key = key("2");
    assert_eq!(west.shared.unopened().await.unwrap().as_deref(), Some(CHECK));
    east.put(&file("a secret of a provider"));
    east.compare().await;
    assert!(!west.compare().await);
    assert!(west.shared.told[NAME].contains("sealed with another key"), "{:?}", west.shared.told);
    // A row that nobody opens keeps no host from starting, whoever has written it into the
    // database.
    store.secrets().get_mut(NAME).unwrap().sealed.reverse();
    assert_eq!(east.shared.unopened().await.unwrap(), None);
    store.secrets().get_mut(NAME).unwrap().sealed.reverse();
    // A version that is put in the place of a later one, or of another secret, is of no use either.
    let row = store.secrets()[NAME].clone();
    for row in [
        SealedSecret { version: 9, ..row.clone() },
        SealedSecret { deleted: true, ..row.clone() },
        SealedSecret { name: "stripe.registered".to_owned(), ..row },
    ] {
        assert!(east.shared.open(&row).is_none(), "{row:?}");
    }
}

#[tokio::test]
async fn a_damaged_file_is_not_shared_and_a_foreign_name_is_not_taken() {
    let store = Arc::new(TestHosts::default());
    let (mut east, mut west) = (host(&store), host(&store));
    east.put(b"half of a");
    east.compare().await;
    assert!(east.shared.told[NAME].contains("damaged"), "{:?}", east.shared.told);
    assert!(store.secrets().is_empty());
    east.put(&file("a secret of a provider"));
    east.compare().await;
    assert_eq!((store.secrets().len(), east.shared.told.len()), (1, 0));
    let name = "../heygen.registered";
    store.secrets().insert(name.to_owned(), east.shared.sealed(name, 1, Some(b"x")));
    assert!(west.compare().await);
    let around = west.shared.folder.path.parent().unwrap();
    assert_eq!(fs::read_dir(around).unwrap().count(), 1, "the folder alone");
}

#[tokio::test]
async fn a_version_that_a_failover_has_lost_is_put_again() {
    let store = Arc::new(TestHosts::default());
    let (mut east, mut west) = (host(&store), host(&store));
    east.put(&file("a first secret"));
    east.compare().await;
    west.compare().await;
    let before = store.secrets().clone();
    let second = file("a second secret");
    east.put(&second);
    east.compare().await;
    *store.secrets() = before;
    assert!(!east.compare().await);
    assert!(west.compare().await);
    assert_eq!((west.content(), store.secrets()[NAME].version), (Some(second.clone()), 3));
    store.secrets().clear();
    assert!(!west.compare().await && !east.compare().await);
    assert_eq!((east.content(), store.secrets().len()), (Some(second), 1));
}

#[tokio::test]
async fn a_file_that_changes_while_the_store_is_asked_is_left_alone() {
    let store = Arc::new(TestHosts::default());
    let east = host(&store);
    let (first, second) = (file("a first secret"), file("a second secret"));
    east.put(&second);
    let (put, was) = (|was| east.shared.folder.put(NAME, was, None, false), digest(&first));
    assert!(!put(Some(&was)).unwrap() && !put(None).unwrap());
    assert_eq!(east.content(), Some(second.clone()));
    assert!(put(Some(&digest(&second))).unwrap());
    assert_eq!(east.content(), None);
}
