//! The end of a run in order.

use std::sync::atomic::Ordering;

use tokio_postgres::Error;

use super::client::SqlClient as Client;
use super::keys::know_plugins_of;
use super::shared::PostgresShared;
use super::wake;

/// Gives back what this host holds, takes it off the list of hosts, and tells the others.
pub(super) async fn leave(client: &mut Client, shared: &PostgresShared) -> Result<(), Error> {
    shared.leaving.store(true, Ordering::Relaxed);
    let (at, me) = (shared.at(), shared.run().incarnation);
    let transaction = client.transaction().await?;
    know_plugins_of(&transaction, me, &*shared.policies).await?;
    transaction.execute("SELECT hookbox.leave_v1($1, $2)", &[&at, &me]).await?;
    transaction.commit().await?;
    if let Err(error) = wake::send(client, &me.to_string()).await {
        tracing::debug!(%error, "the other hosts find by their polls what this one has left");
    }
    Ok(())
}
