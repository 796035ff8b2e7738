//! Samples of sources and plugins in each five minutes.

use rusqlite::{Connection, Row, params};

use super::Sqlite;
use super::batch::WriteBatch;
use super::command::WriteCommand;
use crate::series::{COUNTS, Increment, SeriesOwner, Spread};
use crate::store::{History, MAX_SAMPLES, Pending, StoredSample};

/// Since version 7: counts and durations of each owner. `n` counts the times at which samples were
/// stored; they are deleted by it, because the clock may be set. The name of all owners of a kind
/// together is empty. `durations` are pairs of bucket and count.
pub(super) const SCHEMA: &str = "
    CREATE TABLE samples (
        kind      INTEGER NOT NULL,
        name      TEXT NOT NULL,
        n         INTEGER NOT NULL,
        at_ms     INTEGER NOT NULL,
        counts    TEXT NOT NULL,
        durations TEXT NOT NULL,
        PRIMARY KEY (kind, name, n)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX samples_n ON samples (n);
";

impl History for Sqlite {
    fn keep_samples(&self, at_ms: i64, samples: Vec<Increment>) -> Pending<'_, ()> {
        self.ask(|reply| WriteCommand::KeepSamples { at_ms, samples, reply })
    }

    fn samples(&self, owner: SeriesOwner, limit: u32) -> Pending<'_, Vec<StoredSample>> {
        Box::pin(self.readers.ask(move |connection| read(connection, &owner, limit)))
    }
}

fn read(
    connection: &Connection,
    owner: &SeriesOwner,
    limit: u32,
) -> Result<Vec<StoredSample>, rusqlite::Error> {
    let sql = "SELECT at_ms, counts, durations FROM samples
               WHERE kind = ?1 AND name = ?2 ORDER BY n DESC LIMIT ?3";
    let of_owner = params![owner.kind.code(), owner.name.as_deref().unwrap_or(""), limit];
    let mut found: Vec<StoredSample> =
        connection.prepare_cached(sql)?.query_map(of_owner, sample)?.collect::<Result<_, _>>()?;
    found.reverse();
    Ok(found)
}

fn sample(row: &Row<'_>) -> Result<StoredSample, rusqlite::Error> {
    let damaged = |column, error: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error)
    };
    let counts: [u32; COUNTS] = serde_json::from_str(row.get_ref(1)?.as_str()?)
        .map_err(|error| damaged(1, error.into()))?;
    let pairs = serde_json::from_str(row.get_ref(2)?.as_str()?)
        .map_err(|error| damaged(2, error.into()))?;
    let durations = Spread::from_pairs(pairs)
        .ok_or_else(|| damaged(2, "its buckets are not in order".into()))?;
    Ok(StoredSample { at_ms: row.get(0)?, counts, durations })
}

impl WriteBatch<'_> {
    /// Stores what each owner did, and deletes what is old.
    pub(super) fn keep_samples(
        &mut self,
        at_ms: i64,
        samples: &[Increment],
    ) -> Result<(), rusqlite::Error> {
        let n: i64 = self
            .connection
            .prepare_cached("SELECT coalesce(max(n), 0) + 1 FROM samples")?
            .query_row([], |row| row.get(0))?;
        let mut insert = self
            .connection
            .prepare_cached("INSERT INTO samples VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
        for Increment { owner, counts, durations } in samples {
            insert.execute(params![
                owner.kind.code(),
                owner.name.as_deref().unwrap_or(""),
                n,
                at_ms,
                text(&counts),
                text(&durations.pairs()),
            ])?;
        }
        self.connection
            .prepare_cached("DELETE FROM samples WHERE n <= ?1")?
            .execute([n - i64::from(MAX_SAMPLES)])?;
        Ok(())
    }
}

/// Numbers as JSON.
fn text(numbers: &impl serde::Serialize) -> String {
    serde_json::to_string(numbers).expect("numbers can be written")
}
