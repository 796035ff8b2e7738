//! Small files beside the store that are written in place and never synced, and the opening of the
//! store's files.
//!
//! A write that fails is counted, logged at most once a minute, and shown in the host's health for
//! a minute. Events are handled without it.

use std::fs::{self, File, FileType, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::geteuid;

/// The mode of every file of the store: events are the business of the host's user alone.
pub(super) const FILE_MODE: u32 = 0o600;

/// A failure is logged once in this time, and shown for as long after it was seen last.
const REPEAT: Duration = Duration::from_secs(60);

/// Opens a file of the host's own, for reading and writing; makes it if it is not there. Anything
/// but a file is an error, and never waited for. The mode of a file that belongs to this user is
/// set right.
pub(super) fn open_own(path: &Path) -> io::Result<File> {
    check_kind(path)?;
    // A FIFO that came after the check does not hold up the open.
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let mut options = File::options();
    options
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(FILE_MODE)
        .custom_flags(nonblocking);
    let file = options.open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(not_a_file(found.file_type()));
    }
    close_to_others(path, &found, |mode| file.set_permissions(mode));
    Ok(file)
}

/// Sets the mode of a file right without opening it, if it is there and belongs to this user.
pub(super) fn set_mode(path: &Path) {
    if let Ok(found) = fs::metadata(path) {
        close_to_others(path, &found, |mode| fs::set_permissions(path, mode));
    }
}

/// Sets the mode right, where it is wrong and this user may. A file system without modes is no
/// reason to stay away.
fn close_to_others(path: &Path, found: &Metadata, set: impl FnOnce(Permissions) -> io::Result<()>) {
    if found.uid() != geteuid().as_raw() || found.mode() & 0o777 == FILE_MODE {
        return;
    }
    if let Err(error) = set(Permissions::from_mode(FILE_MODE)) {
        tracing::warn!(file = %path.display(), error = %error, "the mode of this file cannot be set to 0600");
    }
}

/// An error if something is at `path` that is no file. Nothing at all is fine.
pub(super) fn check_kind(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(not_a_file(found.file_type())),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn not_a_file(kind: FileType) -> io::Error {
    let what = match kind {
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_dir() => "a folder",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_char_device() || kind.is_block_device() => "a device",
        _ => "something else",
    };
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("it is {what}, and has to be a file: move it away"),
    )
}

/// A file that is written in place.
#[derive(Debug)]
pub(super) struct SideFile {
    file: File,
    path: PathBuf,
    /// The name in the metric.
    name: &'static str,
    /// The meaning of a failure, for people.
    means: &'static str,
    failure: Mutex<Option<SideFileFailure>>,
}

/// A write that failed.
#[derive(Debug)]
struct SideFileFailure {
    error: String,
    seen: Instant,
    logged: Instant,
    /// Since the last line in the log.
    unlogged: u64,
}

impl SideFile {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path, name: &'static str, means: &'static str) -> io::Result<Self> {
        Ok(Self {
            file: open_own(path)?,
            path: path.to_owned(),
            name,
            means,
            failure: Mutex::default(),
        })
    }

    /// The open file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Writes at an offset. A failure is counted and logged here.
    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset).map_err(|error| self.failed(error))
    }

    /// The problem, if a write failed lately.
    pub(super) fn trouble(&self) -> Option<String> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = failure.as_ref().filter(|failure| failure.seen.elapsed() < REPEAT)?;
        Some(format!(
            "`{}` cannot be written: {}; {}",
            self.path.display(),
            failure.error,
            self.means
        ))
    }

    /// Notes a failure, and writes a line if the last one was long ago.
    pub(super) fn failed(&self, error: io::Error) -> io::Error {
        metrics::counter!("hookbox_store_side_file_failures_total", "file" => self.name)
            .increment(1);
        let now = Instant::now();
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let (logged, unlogged) = match &*failure {
            Some(before) if now.duration_since(before.logged) < REPEAT => {
                (before.logged, before.unlogged + 1)
            }
            Some(before) => {
                self.log(&error, before.unlogged + 1);
                (now, 0)
            }
            None => {
                self.log(&error, 1);
                (now, 0)
            }
        };
        *failure = Some(SideFileFailure { error: error.to_string(), seen: now, logged, unlogged });
        error
    }

    fn log(&self, error: &io::Error, failures: u64) {
        let path = self.path.display();
        tracing::warn!(file = %path, error = %error, failures, means = self.means, "a file beside the store cannot be written");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_of_the_host_is_for_its_user_alone_whatever_it_was_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hookbox.db-lock");
        let mode = || fs::metadata(&path).unwrap().mode() & 0o777;
        open_own(&path).unwrap();
        assert_eq!(mode(), FILE_MODE);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        open_own(&path).unwrap();
        assert_eq!(mode(), FILE_MODE);
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        set_mode(&path);
        assert_eq!(mode(), FILE_MODE);
        set_mode(&folder.path().join("absent"));
    }

    #[test]
    fn a_fifo_a_device_or_a_folder_is_named_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let link = folder.path().join("link");
        symlink(&fifo, &link).unwrap();
        for (path, kind) in
            [(fifo, "a FIFO"), (link, "a FIFO"), (folder.path().to_owned(), "a folder")]
        {
            let error = open_own(&path).unwrap_err().to_string();
            assert!(error.contains(kind) && error.contains("has to be a file"), "{error}");
        }
        let error = open_own(Path::new("/dev/null")).unwrap_err().to_string();
        assert!(error.contains("a device"), "{error}");
    }

    #[test]
    fn a_write_that_fails_is_shown_with_what_it_means() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("running");
        let mut side = SideFile::open(&path, "running", "nobody will know").unwrap();
        side.write_at(b"fine", 0).unwrap();
        assert_eq!(side.trouble(), None);
        // A file that is open for reading only refuses every write.
        side.file = File::open(&path).unwrap();
        for _ in 0..3 {
            side.write_at(b"bad", 0).unwrap_err();
        }
        let trouble = side.trouble().unwrap();
        assert!(
            trouble.contains("running` cannot be written") && trouble.contains("nobody will know"),
            "{trouble}"
        );
        let failure = side.failure.lock().unwrap();
        assert_eq!(failure.as_ref().unwrap().unlogged, 2, "one line for all of them");
    }
}
