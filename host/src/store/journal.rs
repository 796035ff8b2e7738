//! The in-flight journal: which attempts run at this moment, in a small file of this host.
//!
//! A dispatcher holds more leases than it runs, so a lease alone does not put a delivery in
//! quarantine when a host dies. Before an attempt begins it is noted here, and struck out when it
//! has its verdict. At the next start a leased delivery that is noted was running, and any other
//! was not.
//!
//! The file is written and never synced: what a process wrote survives its death, and that is all
//! this has to survive. After a power cut the file may be older than the store. Then a note may be
//! missing, which spares a delivery that did nothing wrong; or there is no file to be read, and
//! every lease counts as running.
//!
//! Layout: [`MAGIC`], and then slots of [`SLOT_BYTES`]: event, ordinal, attempt, little-endian;
//! zeros when free.

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::side_file::SideFile;
use crate::event::{DeliveryId, EventId};
use crate::fail;
use crate::store::in_flight::{AttemptLog, InFlight};

/// The first bytes of the file.
const MAGIC: [u8; 8] = *b"hookrun1";

/// The meaning of a failed write, for people.
const MEANS: &str = "no attempt begins that is not noted there, and one that has ended may count as running when the host dies";

/// Bytes of a slot.
const SLOT_BYTES: usize = 16;

/// The deliveries and attempts that a dead host was running.
#[derive(Debug)]
pub(super) enum LeftRunning {
    /// These, and nothing else.
    Noted(HashSet<(DeliveryId, u32)>),
    /// There is no file, or none that can be read: perhaps everything that it held.
    Unknown,
}

impl LeftRunning {
    /// Whether this attempt may have been running.
    pub(super) fn holds(&self, delivery: DeliveryId, attempt: u32) -> bool {
        match self {
            Self::Noted(noted) => noted.contains(&(delivery, attempt)),
            Self::Unknown => true,
        }
    }

    /// The noted attempts; none if they are not known.
    pub(super) fn noted(&self) -> Option<&HashSet<(DeliveryId, u32)>> {
        match self {
            Self::Noted(noted) => Some(noted),
            Self::Unknown => None,
        }
    }
}

/// The file.
#[derive(Debug)]
pub(super) struct InFlightJournal {
    file: SideFile,
    slots: Mutex<JournalSlots>,
}

/// As many as there were attempts at once.
#[derive(Debug, Default)]
struct JournalSlots {
    free: Vec<u32>,
    made: u32,
}

impl InFlightJournal {
    /// Opens the file and reads what a dead host left in it. It stays as it is until
    /// [`InFlightJournal::begin`].
    pub(super) fn open(path: &Path) -> io::Result<(Self, LeftRunning)> {
        let file = SideFile::open(path, "running", MEANS)?;
        let mut bytes = Vec::new();
        file.file().read_to_end(&mut bytes)?;
        let left = match bytes.strip_prefix(&MAGIC) {
            Some(slots) => {
                LeftRunning::Noted(slots.as_chunks().0.iter().filter_map(read).collect())
            }
            None => LeftRunning::Unknown,
        };
        Ok((Self { file, slots: Mutex::default() }, left))
    }

    /// Forgets what a dead host left, once that is settled in the store.
    pub(super) fn begin(&self) -> io::Result<()> {
        self.file.file().set_len(0)?;
        self.file.write_at(&MAGIC, 0)
    }

    /// The problem of the file, if a write failed lately.
    pub(super) fn trouble(&self) -> Option<String> {
        self.file.trouble()
    }

    /// Notes an attempt that is about to begin.
    pub(super) fn note(
        self: &Arc<Self>,
        delivery: DeliveryId,
        attempt: u32,
    ) -> io::Result<InFlight> {
        let slot = self.with_slots(|slots| {
            slots.free.pop().unwrap_or_else(|| {
                slots.made += 1;
                slots.made - 1
            })
        });
        // Struck out and given back on every way out, also if it cannot be written.
        let in_flight = InFlight::new(self.clone(), slot);
        match fail::point(fail::RUNNING_POINT) {
            Some(fault) => {
                return Err(self.file.failed(io::Error::other(format!("injected: {fault:?}"))));
            }
            None => self.write(slot, &written(delivery, attempt))?,
        }
        Ok(in_flight)
    }

    fn write(&self, slot: u32, bytes: &[u8; SLOT_BYTES]) -> io::Result<()> {
        self.file.write_at(bytes, (MAGIC.len() + slot as usize * SLOT_BYTES) as u64)
    }

    fn with_slots<T>(&self, work: impl FnOnce(&mut JournalSlots) -> T) -> T {
        work(&mut self.slots.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl AttemptLog for InFlightJournal {
    fn ended(&self, slot: u32) {
        // A note that stays is put right by the next one in its slot; until then it may put an
        // innocent in quarantine.
        let _ = self.write(slot, &[0; SLOT_BYTES]);
        self.with_slots(|slots| slots.free.push(slot));
    }
}

fn written(delivery: DeliveryId, attempt: u32) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    bytes[..8].copy_from_slice(&delivery.event.row().to_le_bytes());
    bytes[8..12].copy_from_slice(&delivery.ordinal.to_le_bytes());
    bytes[12..].copy_from_slice(&attempt.to_le_bytes());
    bytes
}

fn read(slot: &[u8; SLOT_BYTES]) -> Option<(DeliveryId, u32)> {
    let (event, rest) = slot.split_first_chunk()?;
    let (ordinal, attempt) = rest.split_first_chunk()?;
    let delivery = DeliveryId {
        event: EventId::from_row(i64::from_le_bytes(*event)),
        ordinal: u32::from_le_bytes(*ordinal),
    };
    // Attempts are counted from 1.
    let attempt = u32::from_le_bytes(attempt.try_into().ok()?);
    (attempt > 0).then_some((delivery, attempt))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(number: u32) -> DeliveryId {
        DeliveryId { event: EventId::from_row(i64::MAX - i64::from(number)), ordinal: number }
    }

    fn noted(path: &Path) -> Vec<(DeliveryId, u32)> {
        let LeftRunning::Noted(noted) = InFlightJournal::open(path).unwrap().1 else {
            panic!("the file cannot be read")
        };
        let mut noted: Vec<_> = noted.into_iter().collect();
        noted.sort();
        noted
    }

    #[test]
    fn what_runs_is_noted_and_struck_out_when_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("running");
        let (journal, left) = InFlightJournal::open(&path).unwrap();
        assert!(left.holds(delivery(0), 1), "without a file, everything may have been running");
        journal.begin().unwrap();
        let journal = Arc::new(journal);
        let first = journal.note(delivery(1), 7).unwrap();
        let second = journal.note(delivery(0), u32::MAX).unwrap();
        assert_eq!(noted(&path), [(delivery(1), 7), (delivery(0), u32::MAX)]);
        drop(first);
        assert_eq!(noted(&path), [(delivery(0), u32::MAX)]);
        let _third = journal.note(delivery(2), 1).unwrap();
        assert_eq!(noted(&path), [(delivery(2), 1), (delivery(0), u32::MAX)]);
        assert_eq!(
            std::fs::metadata(&path).unwrap().len(),
            8 + 2 * 16,
            "a free slot is used again"
        );
        drop(second);
        journal.begin().unwrap();
        assert_eq!(noted(&path), []);
    }

    #[test]
    fn with_a_file_that_cannot_be_read_everything_counts_as_running() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("running");
        for content in ["", "hookrun", "hookrun9and more bytes of something"] {
            std::fs::write(&path, content).unwrap();
            let (_, left) = InFlightJournal::open(&path).unwrap();
            assert!(matches!(left, LeftRunning::Unknown), "{content}");
        }
        std::fs::write(&path, b"hookrun1 a torn slot").unwrap();
        assert_eq!(noted(&path), []);
    }
}
