//! The schema: its migrations, and whether this host may use what it finds.
//!
//! Migrations run in one transaction, one host at a time. A version adds and never takes away, as
//! long as a host of the version before may live; its functions have names of their own.
//!
//! A build that makes a version otherwise than another one cannot use what that one has made. So
//! the fingerprint of each version is stored, and compared by whoever opens the database.

use sha2::{Digest as _, Sha256};

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

/// The fingerprint of each version that this build makes, the first one first.
pub(super) fn fingerprints() -> Vec<String> {
    MIGRATIONS.iter().map(|texts| fingerprint(texts)).collect()
}

/// The fingerprint of what a version adds. Comments, indents and empty lines are no part of it.
fn fingerprint(texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    let lines = texts.iter().flat_map(|text| text.lines()).map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with("--")) {
        hash.update(line);
        hash.update("\n");
    }
    hex::encode(&hash.finalize()[..8])
}

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
                "INSERT INTO hookbox.meta (version, min_host, made_of) VALUES ($1, 1, $2)
                 ON CONFLICT (one) DO UPDATE SET version = excluded.version,
                     made_of = excluded.made_of",
                &[&VERSION, &fingerprints()],
            )
            .await
            .map_err(refusal)?;
    }
    Ok(())
}

/// The version of the schema that is there; 0 if there is none.
///
/// # Errors
/// It is of somebody else, of a newer host, or of a build that makes a version of it otherwise.
pub(super) async fn present(
    client: &Client,
    address: &DatabaseAddress,
) -> Result<i32, PostgresOpenError> {
    let refusal = |error| address.refusal(&error);
    let found = client
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
            // Early builds have stored no fingerprints, and have no column for them.
            let sql = "SELECT m.version, m.min_host, to_jsonb(m) ->> 'made_of'
                FROM hookbox.meta m";
            let meta = client.query_one(sql, &[]).await.map_err(refusal)?;
            let (found, least): (i32, i32) = (meta.get(0), meta.get(1));
            if least > VERSION {
                let (database, known) = (address.database.clone(), VERSION);
                return Err(PostgresOpenError::Newer { database, found, least, known });
            }
            let made_of = meta.get::<_, Option<String>>(2).unwrap_or_default();
            compare(found, &made_of, address)?;
            Ok(found)
        }
    }
}

/// Refuses a schema of which a version is not the one that this build makes. Versions after this
/// build's are another one's matter.
fn compare(
    version: i32,
    made_of: &str,
    address: &DatabaseAddress,
) -> Result<(), PostgresOpenError> {
    let made_of: Vec<String> = serde_json::from_str(made_of).unwrap_or_default();
    for (number, known) in (1..=version).zip(fingerprints()) {
        let found = usize::try_from(number - 1).ok().and_then(|at| made_of.get(at));
        if found != Some(&known) {
            return Err(PostgresOpenError::OtherBuild {
                database: address.database.clone(),
                version: number,
                found: found.map_or_else(|| "no fingerprint".to_owned(), |it| format!("`{it}`")),
                known,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_of_statements_and_not_of_comments_and_indents() {
        let made = fingerprint(&["-- A table.\nCREATE TABLE a (\n    b text\n);", "SELECT 1;"]);
        assert_eq!(made, fingerprint(&["CREATE TABLE a (\n\n  b text\n);\nSELECT 1;\n"]));
        assert_ne!(made, fingerprint(&["CREATE TABLE a (\n    c text\n);", "SELECT 1;"]));
        assert_eq!(fingerprints().len(), MIGRATIONS.len());
    }
}
