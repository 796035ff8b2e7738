//! Copies the store of a stopped host from a SQLite file into an empty Postgres database.
//!
//! It is one transaction: the database has all of it or is as before, whatever ends the copy.
//! A copy in parts would have to remember how far it came, and a host could start on a half. The
//! rows are read on a thread, and stream into `COPY`.

use std::path::PathBuf;

use secrecy::SecretString;
use tokio::sync::mpsc;

use self::tables::{CopyTable, TABLES};
use super::model::CopyRow;
use super::postgres::{CopyTarget, CopyTransaction};
use super::sqlite::CopySource;
use crate::clock::Clock;
use crate::tasks;

mod failures;
mod tables;

/// The tables of Postgres that are filled, each with its columns.
#[cfg(test)]
pub(in crate::store) fn filled() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLES.iter().map(|table| (table.into, table.columns))
}

/// Rows of a part, and the bytes that end one before.
const PART_ROWS: usize = 512;
const PART_BYTES: usize = 1 << 20;

/// Parts that wait to be written.
const WAITING_PARTS: usize = 4;

/// The source and the target of a copy.
#[derive(Debug, Clone)]
pub struct StoreCopy {
    /// The SQLite file of a stopped host.
    pub from: PathBuf,
    /// The address of the database, with its password.
    pub to: SecretString,
    /// The PEM file of the authorities that the server's certificate is checked against; the public
    /// ones if there is none.
    pub ca_file: Option<PathBuf>,
    /// Whether everything is looked at and nothing is changed.
    pub dry_run: bool,
    /// Tells the time.
    pub clock: Clock,
}

/// The rows of one kind that a copy has, or would have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopiedRows {
    /// Their name, for people.
    pub name: &'static str,
    /// Their number.
    pub rows: u64,
}

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyProgress {
    /// The name of the rows that are being copied.
    pub name: &'static str,
    /// Those that are there.
    pub done: u64,
    /// All of them.
    pub of: u64,
}

/// Copies a store, and tells how far it has come.
///
/// # Errors
/// The store is in use, the database is not empty, or either failed; for people. The database is as
/// before.
pub async fn copy_store(
    copy: StoreCopy,
    mut tell: impl FnMut(CopyProgress),
) -> Result<Vec<CopiedRows>, String> {
    let mut target = CopyTarget::connect(&copy.to, copy.ca_file.as_deref()).await?;
    let names = TABLES.iter().map(|table| (table.name, table.into));
    let transaction = target.begin(names, copy.clock.by_hand_ms()).await?;
    let (path, clock, dry_run) = (copy.from.clone(), copy.clock.clone(), copy.dry_run);
    let mut source = tasks::blocking(move || match dry_run {
        true => CopySource::inspect(&path),
        false => CopySource::open(&path, &clock),
    })
    .await?;
    let (kept, days, counts) = tasks::blocking(move || {
        let (days, counts) = (source.days(), counts(&source));
        (source, days, counts)
    })
    .await;
    source = kept;
    let (days, counts) = (days?, counts?);
    if copy.dry_run {
        return Ok(shown(&counts));
    }
    transaction.make_days(&days).await?;
    let mut copied = Vec::new();
    for (table, count) in TABLES.iter().zip(&counts) {
        let tell = |done| {
            let of = count.unwrap_or(done);
            tell(CopyProgress { name: table.name, done, of });
        };
        let (kept, written) = copy_table(&transaction, source, table, tell).await?;
        source = kept;
        copied.push(Some(written));
    }
    transaction.go_on_from(source.marks()).await?;
    compare(&transaction, &counts, &copied).await?;
    transaction.commit().await?;
    Ok(shown(&copied))
}

/// The number of rows of each table, where it is known before they are read.
fn counts(source: &CopySource) -> Result<Vec<Option<u64>>, String> {
    TABLES.iter().map(|table| table.count.map(|sql| source.count(sql)).transpose()).collect()
}

fn shown(counts: &[Option<u64>]) -> Vec<CopiedRows> {
    let known = TABLES.iter().zip(counts).filter(|(table, _)| table.count.is_some());
    known.map(|(table, rows)| CopiedRows { name: table.name, rows: rows.unwrap_or(0) }).collect()
}

/// Copies the rows of a table. Returns the source and how many were written.
async fn copy_table(
    transaction: &CopyTransaction<'_>,
    source: CopySource,
    table: &'static CopyTable,
    tell: impl FnMut(u64),
) -> Result<(CopySource, u64), String> {
    let (sender, receiver) = mpsc::channel(WAITING_PARTS);
    let reading = tasks::blocking(move || {
        let read = send_rows(&source, table, &sender);
        (source, read)
    });
    let writing = transaction.write(table.into, table.columns, receiver, tell);
    let ((source, read), written) = tokio::join!(reading, writing);
    // The reader ends early if the writer does: its own reason counts.
    let written = written?;
    read?;
    Ok((source, written))
}

/// Reads the rows of a table and sends them in parts.
fn send_rows(
    source: &CopySource,
    table: &CopyTable,
    sender: &mpsc::Sender<Vec<CopyRow>>,
) -> Result<(), String> {
    let (mut part, mut bytes) = (Vec::new(), 0);
    let send = |part: Vec<CopyRow>| {
        sender.blocking_send(part).map_err(|_| "nobody takes the rows any more".to_owned())
    };
    source.rows(table.rows, |row| {
        let rows = match table.becomes {
            Some(becomes) => becomes(row)?,
            None => vec![row],
        };
        for row in rows {
            bytes += row.iter().map(super::model::CopyCell::weight).sum::<usize>();
            part.push(row);
        }
        if part.len() < PART_ROWS && bytes < PART_BYTES {
            return Ok(());
        }
        bytes = 0;
        send(std::mem::take(&mut part))
    })?;
    send(part)
}

/// Compares each table with what was counted in the file, and with what was written.
async fn compare(
    transaction: &CopyTransaction<'_>,
    counts: &[Option<u64>],
    copied: &[Option<u64>],
) -> Result<(), String> {
    for (table, (count, written)) in TABLES.iter().zip(counts.iter().zip(copied)) {
        let (written, found) = (written.unwrap_or(0), transaction.count(table.into).await?);
        let counted = count.unwrap_or(written);
        if (counted, found) != (written, written) {
            return Err(format!(
                "{}: the file has {counted}, {written} were copied and {found} are there. Nothing is kept of the copy: \
                 check the file with `sqlite3 FILE 'PRAGMA integrity_check'`",
                table.name
            ));
        }
    }
    Ok(())
}
