//! The store's use of the disk, measured once a second and after large writes.
//!
//! Beyond the bound the store takes no new events. Accepted events are still handled, and their
//! logs are dropped first. The space that is kept free is for their settlements. A disk that is
//! really full is handled by `writer`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use rusqlite::Connection;

use super::files::beside;
use super::schema::WAL_KEPT_BYTES;
use crate::store::StoreSpace;

/// How long what was seen counts, if little is written.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// The space is checked again after so much was written, by weight: some 4 MiB.
const CHECK_AFTER: u64 = 4_096;

/// Without `store.max_size` so much of the disk is left free, unless a tenth of it is less.
const MOST_LEFT_BYTES: u64 = 1 << 30;

/// A WAL that is longer than this is held by a reader.
const LONG_WAL_BYTES: u64 = 64 << 20;

/// Sizes at one moment, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sizes {
    /// Pages of the database that hold something.
    used: u64,
    /// Pages of the file that are free, and written again before the file grows.
    unused: u64,
    /// The WAL.
    wal: u64,
    /// The free bytes of the disk, and all of them; absent if the system does not tell.
    disk: Option<(u64, u64)>,
}

impl Sizes {
    /// The bytes that count against a bound: the WAL counts beyond the part that stays for the next
    /// commits.
    fn taken(&self) -> u64 {
        self.used + self.wal.saturating_sub(WAL_KEPT_BYTES)
    }

    /// Whether the bound is near: from then on attempts leave no logs.
    fn is_tight(&self, max_bytes: Option<u64>) -> bool {
        match (max_bytes, self.disk) {
            (Some(max), _) => self.taken() > max - max / 10,
            (None, Some((free, total))) => free + self.unused < 2 * MOST_LEFT_BYTES.min(total / 10),
            (None, None) => false,
        }
    }

    /// Why no new event is taken, if so; for people. Once `full`, a little more than the bound has
    /// to be free again, so that the answer does not change with every event.
    fn excess(&self, max_bytes: Option<u64>, full: bool) -> Option<String> {
        let show = |bytes: u64| ByteSize::b(bytes).display().iec();
        if let Some(max) = max_bytes {
            let most = if full { max - max / 50 } else { max };
            return (self.taken() > most).then(|| {
                format!(
                    "it takes {} of the {} that `store.max_size` allows: shorten `store.retention`, discard what is not \
                     needed, or raise the limit",
                    show(self.taken()),
                    show(max)
                )
            });
        }
        let (free, total) = self.disk?;
        let least = MOST_LEFT_BYTES.min(total / 10);
        let wanted = if full { least + least / 20 } else { least };
        (free + self.unused < wanted).then(|| {
            format!(
                "the disk has {} free, and {} are kept for what was accepted: make room, or set `store.max_size`",
                show(free + self.unused),
                show(least)
            )
        })
    }
}

/// The writer's knowledge of its disk.
#[derive(Debug)]
pub(super) struct Space {
    database: PathBuf,
    max_bytes: Option<u64>,
    checked: Option<Instant>,
    /// By weight, since then.
    written: u64,
    full: Option<String>,
    tight: bool,
    long_wal: bool,
}

impl Space {
    pub(super) fn new(database: &Path, max_bytes: Option<u64>) -> Self {
        Self {
            database: database.to_owned(),
            max_bytes,
            checked: None,
            written: 0,
            full: None,
            tight: false,
            long_wal: false,
        }
    }

    /// Why no new event is taken, if so.
    pub(super) fn full(&self) -> Option<&str> {
        self.full.as_deref()
    }

    /// Whether there is so little space that logs are not kept.
    pub(super) fn is_tight(&self) -> bool {
        self.tight
    }

    /// Something was committed, of this weight.
    pub(super) fn wrote(&mut self, weight: u64) {
        self.written = self.written.saturating_add(weight);
    }

    /// Checks the space, unless that was a moment ago; says whether the answer to [`Space::full`]
    /// has changed.
    pub(super) fn check(&mut self, connection: &Connection) -> Result<bool, rusqlite::Error> {
        if self.written < CHECK_AFTER
            && self.checked.is_some_and(|checked| checked.elapsed() < CHECK_EVERY)
        {
            return Ok(false);
        }
        self.written = 0;
        self.checked = Some(Instant::now());
        let sizes = sizes(connection, &self.database)?;
        let database = (sizes.used + sizes.unused) as f64;
        metrics::gauge!("hookbox_store_size_bytes", "file" => "db").set(database);
        metrics::gauge!("hookbox_store_size_bytes", "file" => "wal").set(sizes.wal as f64);
        metrics::gauge!("hookbox_store_unused_bytes").set(sizes.unused as f64);
        if let Some((free, all)) = sizes.disk {
            metrics::gauge!("hookbox_store_free_bytes").set(free as f64);
            metrics::gauge!("hookbox_store_disk_bytes").set(all as f64);
        }
        self.warn_of_wal(sizes.wal);
        let tight = sizes.is_tight(self.max_bytes);
        if tight != self.tight {
            self.tight = tight;
            match tight {
                true => tracing::warn!(
                    bytes = sizes.taken(),
                    "the store is nearly full: logs of attempts are not kept from now on"
                ),
                false => tracing::info!(
                    bytes = sizes.taken(),
                    "the store has room: logs of attempts are kept again"
                ),
            }
        }
        let excess = sizes.excess(self.max_bytes, self.full.is_some());
        let changed = excess.is_some() != self.full.is_some();
        if changed {
            match &excess {
                Some(reason) => {
                    tracing::error!(reason, "the store is full: new events are refused")
                }
                None => tracing::info!("the store has room again: new events are taken"),
            }
        }
        self.full = excess;
        Ok(changed)
    }

    /// Once when it has become long, and once when it is short again.
    fn warn_of_wal(&mut self, bytes: u64) {
        if !self.long_wal && bytes > LONG_WAL_BYTES {
            self.long_wal = true;
            tracing::warn!(
                bytes,
                "the write-ahead log cannot be reset: a reader has held the database open for long; is another program \
                 looking at it?"
            );
        } else if self.long_wal && bytes <= LONG_WAL_BYTES {
            self.long_wal = false;
            tracing::info!(bytes, "the write-ahead log is short again");
        }
    }
}

/// The bytes of the files, and of their disk; nothing of files that are not there.
pub(super) fn taken(database: &Path) -> Option<StoreSpace> {
    let length = |path: &Path| std::fs::metadata(path).map(|file| file.len());
    let store_bytes = length(database).ok()? + length(&beside(database, "-wal")).unwrap_or(0);
    Some(StoreSpace { store_bytes, disk: disk(database) })
}

/// The free bytes of the disk of a file, and all of them; absent if the system does not tell.
fn disk(file: &Path) -> Option<(u64, u64)> {
    let disk = rustix::fs::statvfs(file).ok()?;
    Some((disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize))
}

fn sizes(connection: &Connection, database: &Path) -> Result<Sizes, rusqlite::Error> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
    let (page, pages, free) =
        (number("page_size")?, number("page_count")?, number("freelist_count")?);
    // Without a file there is no WAL, and without an answer there is no bound.
    let wal = std::fs::metadata(beside(database, "-wal")).map_or(0, |file| file.len());
    let (used, disk) = (pages.saturating_sub(free) * page, disk(database));
    Ok(Sizes { used, unused: free * page, wal, disk })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn of_disk(free: u64, total: u64) -> Sizes {
        Sizes { disk: Some((free, total)), ..Sizes::default() }
    }

    #[test]
    fn without_a_bound_a_tenth_of_the_disk_or_a_gib_is_left_free() {
        assert_eq!(of_disk(2 * GIB, 100 * GIB).excess(None, false), None);
        let full = of_disk(GIB - 1, 100 * GIB).excess(None, false).unwrap();
        assert!(full.contains("1.0 GiB are kept") && full.contains("store.max_size"), "{full}");
        assert_eq!(of_disk(GIB / 5, GIB).excess(None, false), None, "of a small disk a tenth");
        assert!(of_disk(GIB / 11, GIB).excess(None, false).is_some());
        assert_eq!(
            Sizes::default().excess(None, false),
            None,
            "a system that does not tell is taken at its word"
        );
    }

    #[test]
    fn free_pages_within_the_file_count_as_free() {
        let sizes = Sizes { unused: GIB, ..of_disk(GIB / 2, 100 * GIB) };
        assert_eq!(sizes.excess(None, false), None);
    }

    #[test]
    fn with_a_bound_what_is_used_counts_and_its_wal() {
        let wal = WAL_KEPT_BYTES + 11;
        let sizes = Sizes { used: 90, wal, unused: 500, disk: Some((0, GIB)) };
        assert_eq!(sizes.excess(Some(101), false), None, "the disk is somebody else's matter then");
        let full = sizes.excess(Some(100), false).unwrap();
        assert!(full.contains("`store.max_size`") && full.contains("101 B of the 100 B"), "{full}");
    }

    #[test]
    fn logs_are_cut_before_events_are_refused() {
        let sizes = Sizes { used: 91, ..Sizes::default() };
        assert!(sizes.is_tight(Some(100)) && sizes.excess(Some(100), false).is_none());
        assert!(!sizes.is_tight(Some(200)));
        let disk = of_disk(3 * GIB / 2, 100 * GIB);
        assert!(disk.is_tight(None) && disk.excess(None, false).is_none());
        assert!(!of_disk(2 * GIB, 100 * GIB).is_tight(None));
    }

    #[test]
    fn the_wal_that_is_kept_for_the_next_commits_counts_for_nothing() {
        let sizes = Sizes { wal: WAL_KEPT_BYTES, ..Sizes::default() };
        assert_eq!(sizes.excess(Some(1), false), None);
    }

    #[test]
    fn a_store_that_is_full_stays_so_until_there_is_some_room() {
        let sizes = Sizes { used: 99, ..Sizes::default() };
        assert_eq!(sizes.excess(Some(100), false), None);
        assert!(sizes.excess(Some(100), true).is_some());
        assert_eq!(Sizes { used: 98, ..sizes }.excess(Some(100), true), None);
    }
}
