//! Checks once a second that the open files of the store are still those under its names.
//!
//! A database that was removed, moved or exchanged takes commits as before, but no start would find
//! them. So the store stops writing. Accepted events stay in the files that this process has open,
//! from which they can be saved, and the store goes on when the same files are back.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::files::beside;
use super::schema;

/// How often the files are checked.
pub(super) const CHECK_EVERY: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 1_000 });

/// Bytes of the header of a WAL, and of what stands before each page in it.
const WAL_HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;

/// The first bytes of a WAL, but for the last bit, which names the order of its bytes.
const WAL_MAGIC: u32 = 0x377f_0682;

/// The advice about a file that was emptied.
const EMPTIED: &str = "Its content cannot be saved from here: stop the host, look for it, and restore a backup. See docs/operations.md";

/// The identity of a file, which stays when it is moved: device and inode.
type FileIdentity = (u64, u64);

/// The files, as they were when the store was opened.
#[derive(Debug)]
pub(super) struct FileWatch {
    database: PathBuf,
    files: Vec<(PathBuf, FileIdentity)>,
    checked: Option<Instant>,
    lost: Option<String>,
}

impl FileWatch {
    /// Notes which files these are. The WAL and its index are there as soon as something was
    /// written.
    pub(super) fn begin(database: &Path, lock: &File) -> io::Result<Self> {
        // The most important file comes first: it is named when all are gone.
        let mut files = Vec::new();
        for ending in ["", "-wal", "-shm"] {
            let path = beside(database, ending);
            let found = identity(&fs::metadata(&path)?);
            files.push((path, found));
        }
        files.push((beside(database, "-lock"), identity(&lock.metadata()?)));
        Ok(Self { database: database.to_owned(), files, checked: None, lost: None })
    }

    /// Checks the files, unless that was a moment ago, and says what is wrong.
    pub(super) fn check(
        &mut self,
        connection: &Connection,
    ) -> Result<Option<&str>, rusqlite::Error> {
        let fresh = self.checked.is_some_and(|checked| checked.elapsed() < CHECK_EVERY);
        if self.lost.is_none() && fresh { Ok(None) } else { self.check_now(connection) }
    }

    /// Checks the files, and says what is wrong.
    pub(super) fn check_now(
        &mut self,
        connection: &Connection,
    ) -> Result<Option<&str>, rusqlite::Error> {
        self.checked = Some(Instant::now());
        let found = match self.missing() {
            Some(missing) => Some((missing, self.advice())),
            None => self.emptied(connection)?.map(|emptied| (emptied, EMPTIED.to_owned())),
        };
        match found {
            Some((found, advice)) if self.lost.is_none() => {
                tracing::error!(
                    found,
                    advice,
                    "the store's files are not where they were: nothing is acknowledged or written"
                );
                self.lost = Some(format!("{found}. {advice}"));
            }
            Some(_) => {}
            None => self.lost = None,
        }
        Ok(self.lost.as_deref())
    }

    /// A file that is gone, or that another one has taken the place of.
    fn missing(&self) -> Option<String> {
        self.files.iter().find_map(|(path, known)| match fs::metadata(path) {
            Ok(found) if identity(&found) == *known => None,
            Ok(_) => Some(format!("another file has taken the place of `{}`", path.display())),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Some(format!("`{}` is gone", path.display()))
            }
            // A folder that may not be looked at for now says nothing about its files.
            Err(_) => None,
        })
    }

    /// A database or a WAL that was emptied. From then on nothing of the WAL may get into the
    /// database.
    fn emptied(&self, connection: &Connection) -> Result<Option<String>, rusqlite::Error> {
        // Another program may truncate the WAL rightly, once it has checkpointed it; it says so in
        // the index first.
        let emptied = if fs::metadata(&self.database).is_ok_and(|database| database.len() == 0) {
            Some(self.database.clone())
        } else if self.wal_is_cut(connection)? && self.wal_is_cut(connection)? {
            Some(beside(&self.database, "-wal"))
        } else {
            None
        };
        if emptied.is_some() {
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        }
        Ok(emptied.map(|path| format!("`{}` was emptied or cut", path.display())))
    }

    /// Whether the WAL is shorter than what was committed to it.
    fn wal_is_cut(&self, connection: &Connection) -> Result<bool, rusqlite::Error> {
        let pages = u64::try_from(schema::wal_pages(connection)?).unwrap_or(0);
        if pages == 0 {
            return Ok(false);
        }
        let page: u64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let mut magic = [0; 4];
        let read = File::open(beside(&self.database, "-wal")).and_then(|mut wal| {
            wal.read_exact(&mut magic)?;
            wal.metadata()
        });
        Ok(match read {
            Ok(wal) => {
                u32::from_be_bytes(magic) & !1 != WAL_MAGIC
                    || wal.len() < WAL_HEADER + pages * (page + FRAME_HEADER)
            }
            Err(error) => error.kind() == io::ErrorKind::UnexpectedEof,
        })
    }

    fn advice(&self) -> String {
        let copies: Vec<String> =
            ["", "-wal"].into_iter().filter_map(|ending| self.copy(ending)).collect();
        let copies =
            if copies.is_empty() { String::new() } else { format!(" ({})", copies.join("; ")) };
        format!(
            "The host goes on by itself when the same files are back under their names. If they were deleted, copy what \
             this process still holds open{copies} before you stop it, put the copies in place and start it again. See \
             docs/operations.md"
        )
    }

    /// The command that copies a file which this process holds open, where the system shows such
    /// files.
    fn copy(&self, ending: &str) -> Option<String> {
        let path = beside(&self.database, ending);
        let (_, known) = self.files.iter().find(|(file, _)| *file == path)?;
        let held = fs::read_dir("/proc/self/fd").ok()?.flatten().find(|entry| {
            // Looked at through the link, not opened: to close it again would give up SQLite's
            // locks.
            fs::metadata(entry.path()).is_ok_and(|found| identity(&found) == *known)
        })?;
        let name = path.file_name()?.to_string_lossy().into_owned();
        Some(format!(
            "cp /proc/{}/fd/{} FOLDER/{name}",
            std::process::id(),
            held.file_name().to_string_lossy()
        ))
    }
}

fn identity(file: &fs::Metadata) -> FileIdentity {
    (file.dev(), file.ino())
}
