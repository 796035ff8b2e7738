//! The task that keeps this host's row fresh, and learns the database's time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::chores;
use super::connect::{DatabaseAddress, HeldConnection};
use super::error::{is_deposed, words};
use super::pauses;
use super::read_connection::ReadConnection;
use super::server;
use super::shared::PostgresShared;

/// How often the row is renewed.
const EVERY: Duration = Duration::from_secs(1);

/// The time in which a heartbeat is answered, or the connection is of no use.
const WITHIN: Duration = Duration::from_secs(5);

/// The heartbeat's place among those that reach the primary or not, after the writers.
const HEART: usize = 2;

/// Renews the row until the writer has ended.
pub(super) async fn beat(
    mut client: HeldConnection,
    address: DatabaseAddress,
    shared: Arc<PostgresShared>,
    reads: Arc<ReadConnection>,
) {
    let mut ended = shared.ended.subscribe();
    loop {
        let over = tokio::time::timeout(EVERY, ended.wait_for(|ended| *ended)).await.is_ok();
        if over {
            return;
        }
        if client.is_over() {
            match address.hold().await {
                Ok(connected) => client = connected,
                Err(error) => {
                    tracing::warn!(%error, "this host cannot renew its row in Postgres");
                    shared.is_unreachable(HEART, &error.to_string());
                    continue;
                }
            }
        }
        let beaten = tokio::time::timeout(WITHIN, beat_once(&client, &shared)).await;
        match beaten {
            Ok(true) => {
                shared.is_reachable(HEART);
                reads.renew(&address).await;
            }
            Ok(false) => {}
            Err(_) => {
                tracing::warn!("Postgres does not answer this host's heartbeat");
                shared.is_unreachable(HEART, "it does not answer a heartbeat");
                if let Ok(connected) = address.hold().await {
                    client = connected;
                }
            }
        }
    }
}

/// Renews the row and learns what is paused. Returns whether it was answered.
async fn beat_once(client: &HeldConnection, shared: &PostgresShared) -> bool {
    let sent = Instant::now();
    if !renew(client, shared).await {
        return false;
    }
    shared.renew(sent);
    match server::promise(client).await {
        Ok(promise) => shared.known.note(promise),
        Err(error) => {
            tracing::warn!(error = words(&error), "this host cannot learn what is promised");
        }
    }
    if let Err(error) = pauses::refresh(client, shared).await {
        tracing::warn!(error = words(&error), "this host cannot learn what is paused");
    }
    if let Err(error) = chores::reap(client, shared).await {
        tracing::warn!(error = words(&error), "this host cannot look for hosts that are dead");
    }
    if let Err(error) = chores::look_for_due(client, shared).await {
        tracing::warn!(error = words(&error), "this host cannot look for what is due");
    }
    true
}

async fn renew(client: &HeldConnection, shared: &PostgresShared) -> bool {
    let asked_ms = shared.host_ms();
    let (me, acked, at) = (shared.run.incarnation, shared.acked(), shared.at());
    let renewed =
        client.query_one("SELECT hookbox.renew_v1($1, $2, $3)", &[&me, &acked, &at]).await;
    match renewed {
        Err(error) => {
            tracing::warn!(error = words(&error), "this host cannot renew its row in Postgres");
            if is_deposed(&error) {
                shared.known.distrust();
            }
            false
        }
        Ok(row) => match row.get::<_, Option<i64>>(0) {
            Some(database_ms) => {
                shared.compare(asked_ms, database_ms);
                true
            }
            // A close takes the row away as well, and has said so first.
            None => {
                shared.stop("this host's row in Postgres is gone".to_owned());
                false
            }
        },
    }
}
