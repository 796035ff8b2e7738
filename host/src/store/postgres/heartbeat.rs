//! The task that keeps this host's row fresh, and learns the database's time.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Client;

use super::connect::DatabaseAddress;
use super::error::words;
use super::pauses;
use super::shared::PostgresShared;

/// How often the row is renewed.
const EVERY: Duration = Duration::from_secs(1);

/// Renews the row until the writer has ended.
pub(super) async fn beat(
    mut client: Client,
    address: DatabaseAddress,
    shared: Arc<PostgresShared>,
) {
    let mut ended = shared.ended.subscribe();
    loop {
        let over = tokio::time::timeout(EVERY, ended.wait_for(|ended| *ended)).await.is_ok();
        if over {
            return;
        }
        if client.is_closed() {
            match address.connect().await {
                Ok(connected) => client = connected,
                Err(error) => {
                    tracing::warn!(%error, "this host cannot renew its row in Postgres");
                    continue;
                }
            }
        }
        renew(&client, &shared).await;
        if let Err(error) = pauses::refresh(&client, &shared).await {
            tracing::warn!(error = words(&error), "this host cannot learn what is paused");
        }
    }
}

async fn renew(client: &Client, shared: &PostgresShared) {
    let asked_ms = shared.host_ms();
    let (me, acked, at) = (shared.run.incarnation, shared.acked(), shared.at());
    let renewed =
        client.query_one("SELECT hookbox.renew_v1($1, $2, $3)", &[&me, &acked, &at]).await;
    match renewed {
        Err(error) => {
            tracing::warn!(error = words(&error), "this host cannot renew its row in Postgres");
        }
        Ok(row) => match row.get::<_, Option<i64>>(0) {
            Some(database_ms) => shared.compare(asked_ms, database_ms),
            // A close takes the row away as well, and has said so first.
            None => shared.stop("this host's row in Postgres is gone".to_owned()),
        },
    }
}
