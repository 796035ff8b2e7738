//! Samples of sources and plugins in each five minutes, as each host has seen them.

use tokio_postgres::{Error, Row};

use super::client::SqlClient as Client;
use super::shared::PostgresShared;
use super::work::{Work, WorkError};
use crate::series::{COUNTS, Increment, STORED_EACH_MS, SeriesOwner, Spread};
use crate::store::{MAX_SAMPLES, StoreError, StoredSample};

/// Stores what each owner did, and deletes what is old.
pub(super) async fn keep(
    work: &Work<'_>,
    shared: &PostgresShared,
    at_ms: i64,
    samples: &[Increment],
) -> Result<(), Error> {
    let kinds: Vec<i16> = samples.iter().map(|it| i16::from(it.owner.kind.code())).collect();
    let names: Vec<&str> =
        samples.iter().map(|it| it.owner.name.as_deref().unwrap_or("")).collect();
    let counts: Vec<String> = samples.iter().map(|it| text(&it.counts)).collect();
    let durations: Vec<String> = samples.iter().map(|it| text(&it.durations.pairs())).collect();
    let (at, slot, most) = (shared.at(), shared.run().slot, i64::from(MAX_SAMPLES));
    work.execute(
        "SELECT hookbox.keep_samples_v1($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &[&at, &slot, &at_ms, &kinds, &names, &counts, &durations, &most, &STORED_EACH_MS],
    )
    .await
    .map(drop)
}

/// Numbers as JSON.
fn text(numbers: &impl serde::Serialize) -> String {
    serde_json::to_string(numbers).expect("numbers can be written")
}

/// The newest `limit` samples of an owner at each host, the oldest first.
pub(super) async fn read(
    client: &Client,
    owner: &SeriesOwner,
    limit: u32,
) -> Result<Vec<StoredSample>, WorkError> {
    let rows = client
        .query(
            "SELECT at_ms, counts, durations FROM (
                 SELECT s.*, row_number() OVER (PARTITION BY slot ORDER BY n DESC) AS place
                 FROM hookbox.samples s WHERE kind = $1 AND name = $2) s
             WHERE place <= $3 ORDER BY stored_ms, slot, n",
            &[
                &i16::from(owner.kind.code()),
                &owner.name.as_deref().unwrap_or(""),
                &i64::from(limit),
            ],
        )
        .await?;
    Ok(rows.iter().map(sample).collect::<Result<_, _>>()?)
}

fn sample(row: &Row) -> Result<StoredSample, StoreError> {
    let damaged = |error| StoreError::Query(format!("a sample cannot be read: {error}"));
    let counts: [u32; COUNTS] = serde_json::from_str(row.get(1)).map_err(damaged)?;
    let pairs = serde_json::from_str(row.get(2)).map_err(damaged)?;
    let durations = Spread::from_pairs(pairs)
        .ok_or_else(|| StoreError::Query("the durations of a sample are damaged".to_owned()))?;
    Ok(StoredSample { at_ms: row.get(0), counts, durations })
}
