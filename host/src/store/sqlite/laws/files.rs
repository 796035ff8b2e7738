//! Files of the store that are tampered with, while it runs and between two starts.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::*;
use crate::store::OnLoss;

impl OneFile {
    pub(super) fn beside(&self, ending: &str) -> PathBuf {
        super::super::files::beside(&self.options().path, ending)
    }

    /// Opens the file as soon as the store before has let go of it.
    pub(super) async fn reopen(&self, on_loss: OnLoss) -> Result<Sqlite, OpenError> {
        loop {
            match Sqlite::open(SqliteOptions { on_loss, ..self.options() }) {
                Err(OpenError::InUse(_)) => tokio::task::yield_now().await,
                opened => return opened,
            }
        }
    }

    /// The folder as it is at this moment, as after a kill. Nothing is written meanwhile.
    fn copy(&self) -> OneFile {
        let copy = one_file();
        let to = copy.options().path;
        fs::create_dir(to.parent().unwrap()).unwrap();
        for entry in fs::read_dir(self.options().path.parent().unwrap()).unwrap() {
            let path = entry.unwrap().path();
            if !path.to_str().unwrap().ends_with("-shm") {
                fs::copy(&path, to.with_file_name(path.file_name().unwrap())).unwrap();
            }
        }
        copy
    }
}

async fn trouble(store: &Sqlite) -> StoreError {
    let mut trouble = store.published.trouble.subscribe();
    trouble.wait_for(Option::is_some).await.unwrap().clone().unwrap()
}

async fn no_trouble(store: &Sqlite) {
    store.published.trouble.subscribe().wait_for(Option::is_none).await.unwrap();
}

#[track_caller]
fn lost<T: std::fmt::Debug>(answer: Result<T, StoreError>, part: &str) {
    assert!(matches!(&answer, Err(StoreError::Lost(why)) if why.contains(part)), "{answer:?}");
}

#[track_caller]
fn refused(opened: Result<Sqlite, OpenError>, parts: &[&str]) {
    let error = opened.unwrap_err();
    assert!(matches!(error, OpenError::Lost(_)), "{error}");
    for part in parts.iter().chain(&["--accept-loss"]) {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
}

#[tokio::test]
async fn a_file_that_is_moved_away_while_the_store_is_idle_stops_it_until_it_is_back() {
    let file = one_file();
    let store = file.open_sqlite().await;
    let kept = store.append(event()).await.unwrap().id;
    for ending in ["", "-wal", "-shm", "-lock"] {
        let (path, aside) = (file.beside(ending), file.beside(".aside"));
        fs::rename(&path, &aside).unwrap();
        let seen = trouble(&store).await;
        let what = format!("`{}` is gone", path.display());
        assert!(matches!(&seen, StoreError::Lost(why) if why.contains(&what)), "{seen}");
        lost(store.append(event()).await, &what);
        lost(store.event(kept).await, &what);
        fs::rename(&aside, &path).unwrap();
        no_trouble(&store).await;
        store.append(event()).await.unwrap();
    }
    store.close().await.unwrap();
    assert_eq!(file.open_sqlite().await.stats().await.unwrap().events, 5);
}

#[tokio::test]
async fn a_folder_that_is_moved_away_stops_the_store_and_its_settlements_wait() {
    let file = one_file();
    let store = file.open_sqlite().await;
    store
        .append(NewEvent { deliveries: vec![Target::to("audit").into()], ..event() })
        .await
        .unwrap();
    let permits = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let lease =
        store.lease(LeaseQueue::Plugin("audit".into()), permits).await.unwrap().leases.remove(0);
    let delivery = lease.delivery;
    let folder = file.options().path.parent().unwrap().to_owned();
    let aside = file.folder.path().join("aside");
    fs::rename(&folder, &aside).unwrap();
    let seen = trouble(&store).await.to_string();
    assert!(seen.contains("hookbox.db` is gone"), "{seen}");
    let next = Next::Done { emitted: Vec::new(), kv: KvTransaction::default() };
    let settled = store.settle(lease, Settlement { next, record: None });
    lost(store.append(event()).await, "is gone");
    fs::rename(&aside, &folder).unwrap();
    assert_eq!(settled.await.unwrap(), Settled::Kept);
    assert_eq!(store.event(delivery.event).await.unwrap().deliveries[0].state, State::Done);
}

#[tokio::test]
async fn another_file_in_the_place_of_the_database_is_noticed_and_says_how_to_save_the_old_one() {
    let file = one_file();
    let store = file.open_sqlite().await;
    store.append(event()).await.unwrap();
    let copy = file.beside(".copy");
    fs::copy(file.beside(""), &copy).unwrap();
    fs::rename(&copy, file.beside("")).unwrap();
    let seen = trouble(&store).await.to_string();
    assert!(seen.contains("another file has taken the place"), "{seen}");
    // The text names the open files, and a store goes on from copies of them.
    let saved = one_file();
    fs::create_dir(saved.options().path.parent().unwrap()).unwrap();
    for ending in ["", "-wal"] {
        let to = format!(" FOLDER/hookbox.db{ending}");
        let (before, _) = seen
            .split_once(&format!("{to};"))
            .or_else(|| seen.split_once(&format!("{to})")))
            .unwrap();
        let (_, from) = before.rsplit_once("cp ").unwrap();
        fs::copy(from, saved.beside(ending)).unwrap();
    }
    assert_eq!(saved.open_sqlite().await.stats().await.unwrap().events, 1);
}

#[tokio::test]
async fn a_database_or_log_that_was_emptied_is_noticed_and_never_filled_up_again() {
    for ending in ["", "-wal"] {
        let file = one_file();
        let store = file.open_sqlite().await;
        store.append(event()).await.unwrap();
        fs::File::options().write(true).open(file.beside(ending)).unwrap().set_len(0).unwrap();
        let seen = trouble(&store).await;
        assert!(
            matches!(&seen, StoreError::Lost(why) if why.contains("was emptied or cut")),
            "{seen}"
        );
        drop(store);
        let what =
            if ending.is_empty() { "is empty (0 bytes)" } else { "holds nothing, not even tables" };
        refused(file.reopen(OnLoss::Refuse).await, &[what, "hookbox.db-running"]);
        assert_eq!(fs::metadata(file.beside(ending)).unwrap().len(), 0);
    }
}

#[tokio::test]
async fn a_log_that_another_program_moves_and_empties_is_no_loss() {
    let file = one_file();
    let store = file.open_sqlite().await;
    for _ in 0..20 {
        store.append(event()).await.unwrap();
        let moved = file
            .connection()
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        assert_eq!(moved, Ok(0));
    }
    assert!(store.trouble().is_none());
    file.connection().execute_batch("VACUUM").unwrap();
    store.append(event()).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(file.open_sqlite().await.stats().await.unwrap().events, 21);
}

#[tokio::test]
async fn a_removed_log_that_was_still_open_is_in_the_database_after_an_orderly_stop() {
    let file = one_file();
    let store = file.open_sqlite().await;
    store.append(event()).await.unwrap();
    fs::remove_file(file.beside("-wal")).unwrap();
    trouble(&store).await;
    lost(store.close().await, "is gone");
    assert_eq!(file.open_sqlite().await.stats().await.unwrap().events, 1);
}

#[tokio::test]
async fn a_missing_or_empty_database_beside_traces_of_an_earlier_one_is_not_begun_anew_unasked() {
    let file = one_file();
    file.open_sqlite().await.close().await.unwrap();
    let start = |prepare: &dyn Fn(&OneFile)| {
        let copy = file.copy();
        prepare(&copy);
        copy
    };
    let gone =
        |ending: &'static str| move |file: &OneFile| fs::remove_file(file.beside(ending)).unwrap();
    let empty = |file: &OneFile| fs::write(file.beside(""), "").unwrap();
    let missing = start(&gone(""));
    refused(
        missing.reopen(OnLoss::Refuse).await,
        &["is not there", "hookbox.db-running", "hookbox.db-committed"],
    );
    assert!(!missing.beside("").exists(), "a refused start changes nothing");
    let emptied = start(&|file| {
        empty(file);
        gone("-running")(file);
    });
    refused(emptied.reopen(OnLoss::Refuse).await, &["is empty (0 bytes)", "hookbox.db-committed"]);
    let with_log = start(&|file| {
        empty(file);
        gone("-running")(file);
        gone("-committed")(file);
        fs::write(file.beside("-wal"), "a log").unwrap();
    });
    refused(with_log.reopen(OnLoss::Refuse).await, &["is empty", "hookbox.db-wal"]);
    assert_eq!(fs::read(with_log.beside("-wal")).unwrap(), b"a log", "nor does SQLite");
    let approved = start(&|file| {
        ["", "-running", "-committed", "-lock"].into_iter().for_each(|ending| gone(ending)(file));
        let folder = file.options().path.with_file_name("approved");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("audit.json"), "{}").unwrap();
    });
    refused(approved.reopen(OnLoss::Refuse).await, &["is not there", "approved"]);
    let ran = start(&|file| {
        ["", "-running", "-committed", "-lock"].into_iter().for_each(|ending| gone(ending)(file));
        let folder = file.options().path.with_file_name("compiled");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("0123.plugin"), "").unwrap();
    });
    refused(ran.reopen(OnLoss::Refuse).await, &["is not there", "compiled"]);
    for copy in [missing, emptied, with_log, approved, ran] {
        let store = copy.reopen(OnLoss::Accept).await.unwrap();
        store.append(event()).await.unwrap();
        drop(store);
        assert_eq!(
            copy.reopen(OnLoss::Refuse).await.unwrap().stats().await.unwrap().events,
            1,
            "it is asked once"
        );
    }
}

#[tokio::test]
async fn a_first_start_that_was_killed_early_is_no_loss() {
    let file = one_file();
    fs::create_dir(file.options().path.parent().unwrap()).unwrap();
    // The lock, the secrets and the compiled plugins are made before the database, which is empty
    // at first.
    for name in ["hookbox.db", "hookbox.db-lock"] {
        fs::write(file.options().path.with_file_name(name), "").unwrap();
    }
    for folder in ["approved", "compiled"] {
        fs::create_dir(file.options().path.with_file_name(folder)).unwrap();
    }
    fs::write(file.options().path.with_file_name("compiled").join("key.0123"), "").unwrap();
    file.open_sqlite().await;
    // Nor is a second store in the folder of a first one.
    fs::write(file.options().path.with_file_name("approved").join("audit.json"), "{}").unwrap();
    let other = file.options().path.with_file_name("other.db");
    Sqlite::open(SqliteOptions { path: other, ..file.options() }).unwrap();
}

#[tokio::test]
async fn a_log_that_is_removed_cut_or_damaged_after_a_kill_is_noticed_with_numbers() {
    let file = one_file();
    let store = file.open_sqlite().await;
    let (mut ids, mut sizes) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        ids.push(store.append(event()).await.unwrap().id);
        sizes.push(fs::metadata(file.beside("-wal")).unwrap().len());
    }
    let log = |copy: &OneFile| fs::read(copy.beside("-wal")).unwrap();
    let killed = file.copy();
    assert_eq!(
        killed.reopen(OnLoss::Refuse).await.unwrap().stats().await.unwrap().events,
        5,
        "a kill alone loses nothing"
    );
    let cut = file.copy();
    fs::write(cut.beside("-wal"), &log(&cut)[..usize::try_from(sizes[1]).unwrap()]).unwrap();
    let damaged = file.copy();
    let mut bytes = log(&damaged);
    bytes[usize::try_from(sizes[1]).unwrap() + 100] ^= 1;
    fs::write(damaged.beside("-wal"), bytes).unwrap();
    for copy in [cut, damaged] {
        let (last, end) = (format!("`{}`", ids[4]), format!("ends with `{}`", ids[1]));
        let before = log(&copy);
        refused(
            copy.reopen(OnLoss::Refuse).await,
            &["events are missing", &last, &end, "(5 events then, 2 now)"],
        );
        assert!(log(&copy) == before, "a refused start changes nothing");
        let store = copy.reopen(OnLoss::Accept).await.unwrap();
        assert_eq!(store.stats().await.unwrap().events, 2);
        assert!(store.append(event()).await.unwrap().id > ids[4], "no id is given out twice");
        store.close().await.unwrap();
        assert_eq!(copy.reopen(OnLoss::Refuse).await.unwrap().stats().await.unwrap().events, 3);
    }
}

#[tokio::test]
async fn an_older_copy_in_the_place_of_the_database_is_noticed() {
    let file = one_file();
    let store = file.open_sqlite().await;
    store.append(event()).await.unwrap();
    store.close().await.unwrap();
    let backup = fs::read(file.beside("")).unwrap();
    let store = file.open_sqlite().await;
    store.append(event()).await.unwrap();
    store.close().await.unwrap();
    fs::write(file.beside(""), &backup).unwrap();
    refused(file.reopen(OnLoss::Refuse).await, &["an older copy", "(2 events then, 1 now)"]);
    // Restored into an empty folder it is what there is.
    let elsewhere = one_file();
    fs::create_dir(elsewhere.options().path.parent().unwrap()).unwrap();
    fs::write(elsewhere.beside(""), backup).unwrap();
    assert_eq!(elsewhere.open_sqlite().await.stats().await.unwrap().events, 1);
}

#[tokio::test]
async fn what_was_swept_or_moved_into_the_database_by_hand_is_no_loss() {
    let file = one_file();
    let store = file.open_sqlite().await;
    store.append(event()).await.unwrap();
    file.clock.set(START_MS + 1_000);
    while store.sweep(file.keep_since(START_MS + 500)).await.unwrap() {}
    assert_eq!(store.stats().await.unwrap().events, 0);
    let swept = file.copy();
    swept.open_sqlite().await;
    store.append(event()).await.unwrap();
    let by_hand = file.copy();
    // The last connection checkpoints the WAL and removes it.
    by_hand.connection().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    assert!(!by_hand.beside("-wal").exists());
    assert_eq!(by_hand.open_sqlite().await.stats().await.unwrap().events, 1);
}

#[tokio::test]
async fn files_of_the_store_are_for_its_user_alone() {
    let file = one_file();
    let folder = file.options().path.parent().unwrap().to_owned();
    let endings = ["", "-lock", "-running", "-committed"];
    fs::create_dir(&folder).unwrap();
    for ending in ["-lock", "-running"] {
        fs::write(file.beside(ending), "").unwrap();
        set_mode(&file.beside(ending), 0o666);
    }
    fs::remove_file(file.beside("-running")).unwrap();
    let store = file.open_sqlite().await;
    for ending in endings.iter().chain(&["-wal", "-shm"]) {
        assert_eq!(fs::metadata(file.beside(ending)).unwrap().mode() & 0o777, 0o600, "{ending}");
    }
    store.close().await.unwrap();
    endings.iter().for_each(|ending| set_mode(&file.beside(ending), 0o664));
    let _store = file.open_sqlite().await;
    for ending in endings {
        assert_eq!(fs::metadata(file.beside(ending)).unwrap().mode() & 0o777, 0o600, "{ending}");
    }
}

fn set_mode(path: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_folder_in_the_place_of_a_file_of_the_store_is_named() {
    for ending in ["", "-wal", "-shm", "-journal", "-lock", "-running", "-committed"] {
        let file = one_file();
        fs::create_dir_all(file.beside(ending)).unwrap();
        let error = file.reopen(OnLoss::Refuse).await.unwrap_err().to_string();
        let path = file.beside(ending).display().to_string();
        assert!(
            error.contains(&format!("`{path}`")) && error.contains("it is a folder"),
            "{error}"
        );
    }
}
