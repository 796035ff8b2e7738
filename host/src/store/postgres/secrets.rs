//! Secrets that hosts share. They are sealed: the key is with the hosts.

use tokio_postgres::Error;

use super::client::SqlClient as Client;
use crate::store::{SealedSecret, SecretMark};

/// Every secret, by name. The versions in `seen` come without their content.
pub(super) async fn list(client: &Client, seen: &[SecretMark]) -> Result<Vec<SealedSecret>, Error> {
    let names: Vec<&str> = seen.iter().map(|mark| mark.name.as_str()).collect();
    let versions: Vec<i64> = seen.iter().map(|mark| mark.version).collect();
    let digests: Vec<&str> = seen.iter().map(|mark| mark.digest.as_str()).collect();
    let sql = "SELECT k.name, k.version, k.deleted,
            CASE WHEN s.name IS NULL THEN k.sealed ELSE '' END
        FROM hookbox.secrets k
        LEFT JOIN unnest($1::text[], $2::bigint[], $3::text[]) AS s (name, version, digest)
            ON s.name = k.name AND s.version = k.version
            AND s.digest = encode(sha256(k.sealed), 'hex')
        ORDER BY k.name";
    let rows = client.query(sql, &[&names, &versions, &digests]).await?;
    let secret = |row: &tokio_postgres::Row| SealedSecret {
        name: row.get(0),
        version: row.get(1),
        deleted: row.get(2),
        sealed: row.get(3),
    };
    Ok(rows.iter().map(secret).collect())
}

/// Keeps a version in the place of the version `before`, or of none if that is 0. False if another
/// one is there.
pub(super) async fn keep(
    client: &Client,
    secret: &SealedSecret,
    before: i64,
) -> Result<bool, Error> {
    let sql = "SELECT hookbox.keep_secret_v1($1, $2, $3, $4, $5)";
    let SealedSecret { name, version, deleted, sealed } = secret;
    let row = client.query_one(sql, &[name, version, deleted, sealed, &before]).await?;
    Ok(row.get(0))
}
