//! The results of a batch that was committed and whose answer was lost, read from the tables.

use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::batch::{BatchMarker, BatchRows};
use super::calls::Told;
use super::client::{SqlClient as Client, WRITE};
use super::settle;
use super::shared::PostgresShared;
use super::statements::BatchStatements;

/// The results of the settlements of a batch.
const SETTLED: &str = "SELECT coalesce(c.settled[n], 0)::smallint
    FROM generate_series(1, $4::integer) n
    LEFT JOIN hookbox.commits c ON c.incarnation = $1 AND c.writer = $2 AND c.seq = $3
    ORDER BY n";

/// Nothing was leased, and something may be due.
const LEASED: &str = "SELECT NULL::bigint AS id, NULL::bigint AS due, 0::bigint AS next_in";

/// Reads the answers of the statements, in their order. Leases were given back before, other
/// than on insert.
pub(super) async fn look_back(
    rows: &BatchRows<'_>,
    client: &Client,
    statements: &BatchStatements,
    shared: &PostgresShared,
    marker: BatchMarker,
) -> Result<Vec<Vec<Row>>, Error> {
    let BatchMarker { incarnation, writer, seq, .. } = marker;
    let (mut events, mut ordinals) = rows.events.leased();
    for (holder, _) in &rows.steps {
        events.push(holder.delivery.event.row());
        ordinals.push(settle::small(holder.delivery.ordinal));
    }
    let at = shared.at();
    let parameters: [&(dyn ToSql + Sync); 6] =
        [&at, &incarnation, &writer, &seq, &events, &ordinals];
    client.begin(WRITE).await?;
    let taken =
        client.execute("SELECT hookbox.take_back_v1($1, $2, $3, $4, $5, $6)", &parameters).await;
    let end = if taken.is_ok() { "COMMIT" } else { "ROLLBACK" };
    client.batch_execute(end).await.and(taken)?;
    let (len, told) = {
        let calls = rows.calls(client, statements, shared, marker);
        (calls.len(), calls.told)
    };
    let mut answers: Vec<Vec<Row>> = (0..len).map(|_| Vec::new()).collect();
    for (place, told) in told {
        answers[place] = match told {
            Told::Settled => {
                let most = rows.settlements.len();
                client.query(SETTLED, &[&incarnation, &writer, &seq, &most]).await?
            }
            Told::Recorded(step) => settle::look_back(client, rows.steps[step]).await?,
            Told::Ticked(tick) => rows.ticks.look_back(tick, client, rows.events.ids()).await?,
            Told::Appended => rows.events.look_back(client).await?,
            Told::Leased => client.query(LEASED, &[]).await?,
        };
    }
    Ok(answers)
}
