//! The files of the store: where they are, who may open them, and the lock that keeps a second host
//! away.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::stat;

use super::error::OpenError;
use crate::files::private;
use crate::store::side_file::{FILE_MODE, check_kind, open_own, set_mode};

/// The endings of the store's files, behind the name of the database.
const ENDINGS: [&str; 7] = ["", "-wal", "-shm", "-journal", "-lock", "-running", "-committed"];

/// Makes the folder if it is not there, for the host's user alone, because it has the bodies of
/// events. Its entry in the folder above has to survive a power cut too, whichever process made it.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder == Path::new("/") {
        return Ok(());
    }
    let parent =
        folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let sync = || File::open(parent)?.sync_all();
    if folder.exists() {
        // A folder above that may not be opened was there long before.
        let _ = sync();
        return Ok(());
    }
    make_folder(parent)?;
    DirBuilder::new().mode(0o700).create(folder)?;
    sync()
}

/// Makes the database file if it is not there, mode 0600; SQLite gives its WAL and its index the
/// same.
pub(super) fn make_file(database: &Path) -> io::Result<()> {
    match File::options().create_new(true).write(true).mode(FILE_MODE).open(database) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// The number of [`ENDINGS`] that are SQLite's own files, which hold the approvals.
const SQLITE_ENDINGS: usize = 4;

/// Refuses a file that strangers may write, and with it what was approved.
fn check_writers(path: &Path) -> io::Result<()> {
    let Ok(found) = stat(path) else { return Ok(()) };
    match private::writers(&found) {
        Ok(_) => Ok(()),
        Err(why) => Err(io::Error::other(format!(
            "others may write it: {why}, and make it this user's own"
        ))),
    }
}

/// A file beside the database, as SQLite names its own.
pub(super) fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut path = database.to_owned().into_os_string();
    path.push(ending);
    path.into()
}

/// How often the lock is asked for, and the time between.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Takes the lock that keeps a second host away, held as long as the file lives. Also returns the
/// database's path without links, so that a second name for the same file has no second lock.
pub(super) fn lock(database: &Path) -> Result<(File, PathBuf), OpenError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    if let Some(folder) = database.parent() {
        make_folder(folder).map_err(failed(folder))?;
    }
    // The database itself is not opened for this: closing it again would cancel the locks SQLite
    // has on it.
    let database = match fs::canonicalize(database) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !database.is_symlink() => {
            database.to_owned()
        }
        found => found.map_err(failed(database))?,
    };
    for ending in ENDINGS {
        let path = beside(&database, ending);
        check_kind(&path).map_err(failed(&path))?;
        set_mode(&path);
    }
    for ending in &ENDINGS[..SQLITE_ENDINGS] {
        let path = beside(&database, ending);
        check_writers(&path).map_err(failed(&path))?;
    }
    let path = beside(&database, "-lock");
    let file = open_own(&path).map_err(failed(&path))?;
    // A host that was killed while it began a child leaves the lock to that for some milliseconds.
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok((file, database)),
            Err(TryLockError::WouldBlock) => std::thread::park_timeout(LOCK_PAUSE),
            Err(TryLockError::Error(source)) => return Err(OpenError::Io { path, source }),
        }
    }
    Err(OpenError::InUse(database))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    #[test]
    fn a_file_that_strangers_may_write_is_refused_and_one_of_our_group_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("hookbox.db");
        make_file(&database).unwrap();
        for (mode, refusal) in [(0o600, ""), (0o664, ""), (0o666, "everyone may write it")] {
            fs::set_permissions(&database, Permissions::from_mode(mode)).unwrap();
            let error =
                check_writers(&database).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(
                error.contains(refusal) && error.is_empty() == refusal.is_empty(),
                "{mode:o}: {error}"
            );
        }
        // Modes are set right first; only a file of another user is left to be refused.
        assert!(lock(&database).is_ok());
        if chown(&database, Some(1), None).is_ok() {
            let error = lock(&database).unwrap_err().to_string();
            assert!(
                error.contains("others may write it: it belongs to the user with the number 1"),
                "{error}"
            );
        }
    }
}
