//! How far the store was when it committed last, in a small file beside the database.
//!
//! The writer overwrites the file after each commit, before it answers any caller, and never syncs
//! it. So after a kill or a power cut the file may be older than the database. It is newer only if
//! events were lost: the WAL was removed, cut or damaged, or the database was replaced by an older
//! copy.
//!
//! Layout: [`MAGIC`]; the id of the last event and the number of events stored, 8 bytes each; a
//! CRC-32 of all that; all little-endian. A torn or damaged file says nothing.

use std::io::{self, Read};
use std::path::Path;

use crate::event::EventId;
use crate::store::side_file::{SideFile, check_kind};

/// The first bytes of the file.
const MAGIC: [u8; 8] = *b"hookcom1";

/// Bytes that a checksum stands behind.
const CHECKED: usize = MAGIC.len() + 16;

/// How far a store has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Last {
    /// The last event that was stored, whether it is there still or not.
    pub(super) event: EventId,
    /// Events that are stored.
    pub(super) events: u64,
}

/// The file.
#[derive(Debug)]
pub(super) struct CommitMark {
    file: SideFile,
}

impl CommitMark {
    /// Opens the file, or makes it, and writes what the database says now.
    pub(super) fn begin(path: &Path, last: Last) -> io::Result<Self> {
        let means = "a start may not notice that events are missing which were stored last";
        let mark = Self { file: SideFile::open(path, "committed", means)? };
        mark.file.write_at(&written(last), 0)?;
        Ok(mark)
    }

    /// Notes a commit. A failure is counted and logged, and leaves an older note.
    pub(super) fn note(&self, last: Last) {
        let _ = self.file.write_at(&written(last), 0);
    }

    /// The problem of the file, if a write failed lately.
    pub(super) fn trouble(&self) -> Option<String> {
        self.file.trouble()
    }
}

/// Reads the file, if it is there and whole.
pub(super) fn read(path: &Path) -> io::Result<Option<Last>> {
    check_kind(path)?;
    let mut bytes = Vec::new();
    match std::fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?.take(64).read_to_end(&mut bytes)?,
    };
    Ok(parse(&bytes))
}

fn parse(bytes: &[u8]) -> Option<Last> {
    let (checked, sum) = bytes.split_at_checked(CHECKED)?;
    if sum != crc32fast::hash(checked).to_le_bytes() {
        return None;
    }
    let (event, events) = checked.strip_prefix(&MAGIC)?.split_first_chunk()?;
    let event = EventId::from_row(i64::from_le_bytes(*event));
    Some(Last { event, events: u64::from_le_bytes(events.try_into().ok()?) })
}

fn written(last: Last) -> [u8; CHECKED + 4] {
    let mut bytes = [0; CHECKED + 4];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&last.event.row().to_le_bytes());
    bytes[16..24].copy_from_slice(&last.events.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..CHECKED]);
    bytes[CHECKED..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_last_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("committed");
        assert_eq!(read(&path).unwrap(), None);
        let last = |event, events| Last { event: EventId::from_row(event), events };
        let mark = CommitMark::begin(&path, last(7, 1)).unwrap();
        assert_eq!(read(&path).unwrap(), Some(last(7, 1)));
        mark.note(last(i64::MAX, 2));
        assert_eq!(read(&path).unwrap(), Some(last(i64::MAX, 2)));
        CommitMark::begin(&path, last(3, 0)).unwrap();
        assert_eq!(
            read(&path).unwrap(),
            Some(last(3, 0)),
            "a start begins with what the database holds"
        );
    }

    #[test]
    fn a_torn_file_says_nothing() {
        let whole = written(Last { event: EventId::from_row(1 << 40), events: 9 });
        assert!(parse(&whole).is_some());
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "{length}");
        }
        for byte in 0..whole.len() {
            let mut torn = whole;
            torn[byte] ^= 0x10;
            assert_eq!(parse(&torn), None, "{byte}");
        }
        assert_eq!(parse(&[0; CHECKED + 4]), None);
    }
}
