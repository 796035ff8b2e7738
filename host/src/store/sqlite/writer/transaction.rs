//! The commands that one transaction takes from the queues: their order, and how many.

use std::time::{Duration, Instant};

use crate::fail::{self, Fault};
use crate::store::sqlite::batch::WriteBatch;
use crate::store::sqlite::command::{CommandAnswer, WriteCommand};
use crate::store::sqlite::failure::injected;
use crate::store::sqlite::queue::Queues;
use crate::store::sqlite::schema;

/// The most that is appended in one transaction (and at least one event), by weight: see
/// [`WriteCommand::weight`].
const MAX_APPENDED: u64 = 512;

/// The most that is done beside in one transaction (and at least one command), by weight, if little
/// was appended.
const MAX_WORK: u64 = 512;

/// Where much is appended, so many times that is done beside, by weight and by time, so that a
/// backlog becomes shorter.
const WORK_PER_APPEND: u32 = 2;

/// The most by which many appends lengthen a transaction, as a factor. Its callers are answered at
/// its end.
const LONGEST: u32 = 3;

/// A transaction that has not begun.
pub(super) struct Transaction<'t, 'w> {
    work: &'t mut WriteBatch<'w>,
    queues: &'t mut Queues,
    batch: &'t mut Vec<WriteCommand>,
    answers: Vec<CommandAnswer>,
}

/// How much else a transaction does beside its appends.
struct WorkBounds {
    /// By weight.
    most: u64,
    /// Whether the first command may exceed that.
    large: bool,
    /// The time after which no more commands are begun.
    longest: Duration,
}

impl<'t, 'w> Transaction<'t, 'w> {
    pub(super) fn new(
        work: &'t mut WriteBatch<'w>,
        queues: &'t mut Queues,
        batch: &'t mut Vec<WriteCommand>,
    ) -> Self {
        Self { work, queues, batch, answers: Vec::new() }
    }

    /// Runs the next commands and commits them. `note` asks for a note of the time, and `prove` for
    /// a write in any case. The commands that were taken from the queues are in
    /// the batch, also after an error.
    pub(super) fn run(
        mut self,
        postponed: &mut bool,
        longest_work: Duration,
        (note, prove): (bool, bool),
        fault: Option<Fault>,
    ) -> Result<Vec<CommandAnswer>, rusqlite::Error> {
        self.work.connection.execute_batch("BEGIN IMMEDIATE")?;
        let begun = Instant::now();
        self.take_appends(longest_work * LONGEST)?;
        let most = MAX_WORK.max(self.work.written * u64::from(WORK_PER_APPEND));
        let longest =
            (begun.elapsed() * WORK_PER_APPEND).clamp(longest_work, longest_work * LONGEST);
        // A large settlement would keep those waiting who have just come: it has a batch of its
        // own, the next one.
        let large = self.batch.is_empty() || *postponed;
        let before = self.batch.len();
        self.take_work(WorkBounds { most, large, longest })?;
        *postponed = !large && self.batch.len() == before && self.queues.has_work();
        if let Some(close) = self.queues.next_close() {
            self.take(close)?;
        }
        // Commands may write nothing, and that would not tell whether the disk takes writes again.
        if prove || self.batch.is_empty() {
            schema::rewrite(self.work.connection)?;
        }
        if note && !self.work.noted {
            self.work.note_time()?;
        }
        self.work.flush_keys()?;
        self.work.flush_groups()?;
        self.work.delta.write(self.work.connection)?;
        if let Some(fault) = fault.or_else(|| fail::point("store.before_commit")) {
            return Err(injected(fault));
        }
        let committing = Instant::now();
        self.work.connection.execute_batch("COMMIT")?;
        metrics::histogram!("hookbox_store_sync_duration_seconds").record(committing.elapsed());
        metrics::histogram!("hookbox_store_batch_commands").record(self.batch.len() as f64);
        Ok(self.answers)
    }

    /// Runs a command, and says how many leases it found.
    fn take(&mut self, mut command: WriteCommand) -> Result<usize, rusqlite::Error> {
        let answer = command.run(self.work);
        self.batch.push(command);
        let answer = answer?;
        let found =
            if let CommandAnswer::Leased(leased) = &answer { leased.leases.len() } else { 0 };
        self.answers.push(answer);
        Ok(found)
    }

    /// Appends come first, so that no settlement keeps a sender waiting longer than the batch
    /// before.
    fn take_appends(&mut self, longest: Duration) -> Result<(), rusqlite::Error> {
        let begun = Instant::now();
        while let Some((weight, command)) = self
            .queues
            .next_append(MAX_APPENDED.saturating_sub(self.work.written), self.batch.is_empty())
        {
            self.take(command)?;
            self.work.written += weight;
            if begun.elapsed() >= longest {
                break;
            }
        }
        Ok(())
    }

    /// As much of everything else as keeps the next append waiting for some milliseconds only.
    fn take_work(
        &mut self,
        WorkBounds { most, large, longest }: WorkBounds,
    ) -> Result<(), rusqlite::Error> {
        let begun = Instant::now();
        let mut written = 0;
        while let Some((weight, command)) =
            self.queues.next_work(most.saturating_sub(written), large && written == 0)
        {
            // A lease costs what it finds.
            written += weight.max(self.take(command)? as u64);
            if begun.elapsed() >= longest {
                break;
            }
        }
        self.work.written += written;
        Ok(())
    }
}
