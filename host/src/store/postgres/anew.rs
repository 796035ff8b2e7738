//! Deliveries that have ended and begin anew, because an operator retries them.

use super::shared::PostgresShared;
use super::work::{Work, WorkError};

/// Settled to ready; the attempts so far are not counted. The record of the last one goes to those
/// before it.
pub(super) async fn begin_anew(
    work: &Work<'_>,
    shared: &PostgresShared,
    (events, ordinals): (&[i64], &[i32]),
) -> Result<(), WorkError> {
    let sql = "WITH gone AS (
                   DELETE FROM hookbox.settled s
                   USING unnest($1::bigint[], $2::integer[]) AS i (event, ordinal)
                   WHERE s.event = i.event AND s.ordinal = i.ordinal RETURNING s.*
               ), put AS (
                   INSERT INTO hookbox.attempts (event, ordinal, number, started_ms, duration_us,
                       cpu_us, memory_kib, outcome, error, logs, digest, calls, steps)
                   SELECT g.event, g.ordinal, g.attempt, g.started_ms, g.duration_us, g.cpu_us,
                       g.memory_kib, g.outcome, g.error, g.logs, g.digest, g.calls, g.steps
                   FROM gone g WHERE g.outcome IS NOT NULL
               )
               INSERT INTO hookbox.open (event, ordinal, plugin, attempt, uncounted, unrecorded,
                   deaths, waits, steps, due, failure)
               SELECT g.event, g.ordinal, g.plugin, g.attempt, g.attempt, g.unrecorded, g.deaths,
                   false, EXISTS (SELECT FROM hookbox.steps p
                       WHERE p.event = g.event AND p.ordinal = g.ordinal),
                   hookbox.now_ms_v1($3), g.failure
               FROM gone g";
    work.execute(sql, &[&events, &ordinals, &shared.at()]).await?;
    Ok(())
}

/// Lets gatherings among them that are not over wait for their members again.
pub(super) async fn wait_on(
    work: &Work<'_>,
    (events, ordinals): (&[i64], &[i32]),
) -> Result<(), WorkError> {
    work.query("SELECT hookbox.wait_on_v1($1, $2)", &[&events, &ordinals]).await?;
    Ok(())
}
