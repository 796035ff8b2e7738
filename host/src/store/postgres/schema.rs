//! The schema: its migrations, and whether this host may use what it finds.
//!
//! Migrations run in one transaction, one host at a time. A version adds and never takes away, as
//! long as a host of the version before may live; its functions have names of their own.

use super::client::{SqlClient as Client, SqlTransaction as Transaction};
use super::connect::DatabaseAddress;
use super::error::PostgresOpenError;

/// The statements that each version adds.
pub(super) const MIGRATIONS: [&[&str]; 1] = [&[
    include_str!("schema/tables.sql"),
    include_str!("schema/hosts.sql"),
    include_str!("schema/chores.sql"),
    include_str!("schema/horizon.sql"),
    include_str!("schema/append.sql"),
    include_str!("schema/lease.sql"),
    include_str!("schema/settle.sql"),
    include_str!("schema/recover.sql"),
    include_str!("schema/unknown.sql"),
    include_str!("schema/reap.sql"),
    include_str!("schema/kv.sql"),
    include_str!("schema/gather.sql"),
    include_str!("schema/limits.sql"),
    include_str!("schema/failures.sql"),
    include_str!("schema/schedules.sql"),
    include_str!("schema/shared.sql"),
    include_str!("schema/listings.sql"),
    include_str!("schema/audit.sql"),
    include_str!("schema/operating.sql"),
    include_str!("schema/keys_tables.sql"),
    include_str!("schema/keys.sql"),
    include_str!("schema/terms.sql"),
    include_str!("schema/trees.sql"),
    include_str!("schema/changed_keys.sql"),
]];

/// The newest version, which is that of this host.
pub(super) const VERSION: i32 = MIGRATIONS.len() as i32;

/// Looks at the server and at what is in the database, and brings the schema to [`VERSION`].
pub(super) async fn prepare(
    client: &mut Client,
    address: &DatabaseAddress,
) -> Result<(), PostgresOpenError> {
    check_server(client, address).await?;
    let refusal = |error| address.refusal(&error);
    let transaction = client.transaction().await.map_err(refusal)?;
    migrate(&transaction, address).await?;
    transaction.commit().await.map_err(refusal)
}

/// Refuses a server that is too old, or takes no writes.
pub(super) async fn check_server(
    client: &Client,
    address: &DatabaseAddress,
) -> Result<(), PostgresOpenError> {
    let server = client
        .query_one(
            "SELECT current_setting('server_version_num')::integer, current_setting('server_version'),
                 pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean",
            &[],
        )
        .await
        .map_err(|error| address.refusal(&error))?;
    if server.get::<_, i32>(0) < 150_000 {
        let found = server.get(1);
        return Err(PostgresOpenError::TooOld { server: address.server.clone(), found });
    }
    if server.get(2) {
        return Err(PostgresOpenError::ReadOnly(address.server.clone()));
    }
    Ok(())
}

/// Brings the schema to [`VERSION`] in a transaction. Of hosts that start at once, one migrates:
/// the others wait until its transaction ends.
pub(super) async fn migrate(
    transaction: &Transaction<'_>,
    address: &DatabaseAddress,
) -> Result<(), PostgresOpenError> {
    let refusal = |error| address.refusal(&error);
    transaction
        .batch_execute("SET LOCAL lock_timeout = '60s'; SELECT pg_advisory_xact_lock(7450001, 0)")
        .await
        .map_err(refusal)?;
    let present = present(transaction, address).await?;
    for migration in MIGRATIONS.iter().skip(usize::try_from(present).unwrap_or(0)) {
        for sql in *migration {
            transaction.batch_execute(sql).await.map_err(refusal)?;
        }
    }
    if present < VERSION {
        transaction
            .execute(
                "INSERT INTO hookbox.meta (version, min_host) VALUES ($1, 1)
                 ON CONFLICT (one) DO UPDATE SET version = excluded.version",
                &[&VERSION],
            )
            .await
            .map_err(refusal)?;
    }
    Ok(())
}

/// The version of the schema that is there; 0 if there is none.
async fn present(
    transaction: &Transaction<'_>,
    address: &DatabaseAddress,
) -> Result<i32, PostgresOpenError> {
    let refusal = |error| address.refusal(&error);
    let found = transaction
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'hookbox'),
                 EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                     WHERE n.nspname = 'hookbox' AND c.relname = 'meta')",
            &[],
        )
        .await
        .map_err(refusal)?;
    match (found.get(0), found.get(1)) {
        (false, _) => Ok(0),
        (true, false) => Err(PostgresOpenError::Foreign(address.database.clone())),
        (true, true) => {
            let meta = transaction
                .query_one("SELECT version, min_host FROM hookbox.meta", &[])
                .await
                .map_err(refusal)?;
            let (found, least): (i32, i32) = (meta.get(0), meta.get(1));
            if least > VERSION {
                let (database, known) = (address.database.clone(), VERSION);
                return Err(PostgresOpenError::Newer { database, found, least, known });
            }
            Ok(found)
        }
    }
}
