//! The end of the history that a failover has lost: it is found by the markers, and sent again.

use std::time::Duration;

use tokio_postgres::Error;

use super::batch::{BatchMarker, BatchResult, BatchResults, BatchRows};
use super::client::SqlClient as Client;
use super::created::{AppendedAs, tell};
use super::error::{is_lost, is_marked, is_over, is_passing, is_scarce, words};
use super::shared::PostgresShared;
use super::statements::BatchStatements;
use super::tail::{NewestMarkers, TailBatch, TailCommand};
use crate::store::{Recorded, Settled, Ticked};

/// Those of these ids that are there.
const THERE: &str = "SELECT id FROM hookbox.events WHERE id = ANY ($1)";

/// Puts a marker where it would be if nothing had been lost.
const MARK: &str = "INSERT INTO hookbox.commits (incarnation, writer, seq) VALUES ($1, $2, $3)
    ON CONFLICT DO NOTHING";

/// How often a transaction is tried when others are in its way.
const TRIES: u32 = 20;

/// Compares the markers of this run with what was acknowledged, and sends again what the server of
/// this connection does not have. Nothing else is to be sent to it before.
pub(super) async fn mend(
    client: &Client,
    statements: &BatchStatements,
    shared: &PostgresShared,
) -> Result<(), Error> {
    let _turn = shared.tail.turn.lock().await;
    // Read first: the other writer goes on meanwhile.
    let (run, acked) = (shared.run().incarnation, shared.acked());
    let mut runs = shared.tail.runs();
    runs.insert(run);
    let newest = NewestMarkers::read(client, &Vec::from_iter(runs)).await?;
    let batches = shared.tail.after(&newest);
    let of_run = newest.of(run);
    if of_run.iter().zip(&acked).any(|(newest, acked)| newest < acked) {
        // Those of a run before were counted when it was the present one.
        let kept = batches.iter().filter(|batch| batch.run == run).count();
        shared.loss.count(of_run, acked, kept, shared.host_ms());
    } else if batches.iter().all(|batch| batch.is_empty()) {
        shared.tail.keep_of(run);
        return Ok(());
    }
    for batch in batches.iter().filter(|batch| !batch.is_empty()) {
        let refused = send(batch, client, statements, shared).await?;
        shared.loss.refuse(refused);
    }
    for (writer, seq) in (0_i16..).zip(&acked).filter(|(_, seq)| **seq > 0) {
        client.execute(MARK, &[&run, &writer, seq]).await?;
    }
    shared.loss.mended();
    shared.tail.keep_of(run);
    tracing::warn!(batches = batches.len(), "what the new primary had lost was sent again");
    Ok(())
}

/// Sends a batch again, with its marker. Returns how many of its commands do not hold any more.
async fn send(
    batch: &TailBatch,
    client: &Client,
    statements: &BatchStatements,
    shared: &PostgresShared,
) -> Result<u64, Error> {
    let writer = i16::try_from(batch.writer).unwrap_or(i16::MAX);
    let marker = BatchMarker { incarnation: batch.run, writer, seq: batch.seq, after: 0 };
    // Leases of a run before this one are not this one's, and its markers come by themselves.
    let marked = (batch.run == shared.run().incarnation).then_some((batch, marker));
    let rows = client.query(THERE, &[&batch.ids()]).await?;
    let there: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let mut commands = batch.commands();
    commands.retain(|(_, ids)| !ids.iter().any(|id| there.contains(id)));
    let mut refused = 0;
    let mut alone = Vec::new();
    match try_send(&commands, marked, client, statements, shared).await {
        Ok(results) => refused += take(results, &commands, shared, &mut alone),
        Err(error) if is_marked(&error) => return Ok(0),
        Err(error) if has_to_wait(&error) => return Err(error),
        Err(_) => alone = commands,
    }
    let is_whole = alone.is_empty();
    // Another event with one of the keys may be on its way at another host.
    let mut tries = 0;
    while !alone.is_empty() && tries < TRIES {
        tries += 1;
        for command in std::mem::take(&mut alone) {
            let one = [command];
            match try_send(&one, None, client, statements, shared).await {
                Ok(results) => refused += take(results, &one, shared, &mut alone),
                Err(error) if has_to_wait(&error) => return Err(error),
                Err(error) => {
                    tracing::error!(error = words(&error), "a command cannot be sent again");
                    refused += 1;
                }
            }
        }
    }
    if marked.is_none() {
        client.execute(MARK, &[&batch.run, &writer, &batch.seq]).await?;
    } else if !is_whole {
        let rest = try_send(&[], marked, client, statements, shared).await;
        match rest {
            Err(error) if !is_marked(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(refused + alone.len() as u64)
}

/// Whether a command may hold at another time: on another connection, in another run, or when there
/// is room.
fn has_to_wait(error: &Error) -> bool {
    is_lost(error) || is_over(error) || is_scarce(error)
}

/// Sends commands again, with the leases and the marker of their batch or alone.
async fn try_send(
    commands: &[(&TailCommand, &[i64])],
    marked: Option<(&TailBatch, BatchMarker)>,
    client: &Client,
    statements: &BatchStatements,
    shared: &PostgresShared,
) -> Result<BatchResults, Error> {
    let mut tries = 0;
    loop {
        let leases = marked.map(|(batch, _)| &batch.leases);
        let mut rows = BatchRows::again(commands, leases, shared);
        rows.know_plugins(client, shared).await?;
        let answers = match marked {
            Some((_, marker)) => rows.run(client, statements, shared, marker).await,
            None => rows.run_unmarked(client, statements, shared).await,
        };
        tries += 1;
        match answers {
            Ok(answers) => return Ok(rows.results(answers, shared)),
            Err(error) if is_passing(&error) && tries < TRIES => {
                tokio::time::sleep(Duration::from_millis(3 << tries.min(6))).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Takes the results of commands that were sent again. Those that have to be appended once more go
/// to `later`. Returns how many do not hold any more.
fn take<'b>(
    results: BatchResults,
    commands: &[(&'b TailCommand, &'b [i64])],
    shared: &PostgresShared,
    later: &mut Vec<(&'b TailCommand, &'b [i64])>,
) -> u64 {
    let mut refused = 0;
    let comes_later = |as_what: &AppendedAs| *as_what == AppendedAs::Later;
    for (command, result) in commands.iter().zip(results.each) {
        let (waits, holds) = match result {
            BatchResult::Appended(appended) => (comes_later(&appended), true),
            BatchResult::AppendedAll(all) => (all.iter().any(comes_later), true),
            BatchResult::Settled(settled) => {
                (false, !matches!(settled, Settled::Lost | Settled::Conflict))
            }
            BatchResult::Recorded(recorded) => (false, recorded == Recorded::Kept),
            BatchResult::Ticked(ticked) => (false, ticked != Ticked::Lost),
            BatchResult::Leased(_) => (false, true),
        };
        if waits {
            later.push(*command);
        }
        refused += u64::from(!holds);
    }
    tell(shared, shared.run().incarnation, results.created);
    refused
}
