//! Approvals of plugin files, which all hosts share.

use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;
use tokio_postgres::Error;

use super::Postgres;
use super::audit::{known, note_in};
use super::client::SqlClient as Client;
use super::connect::DatabaseAddress;
use super::error::{PostgresOpenError, failed_query};
use super::schema;
use super::work::{Work, WorkError, tried};
use crate::event::{Digest, PluginName};
use crate::store::{Approval, ApprovalChange, AuditNote, StoreError, StoredApproval};

/// The time in which a server without a host says what is approved.
const PEEK_WITHIN: Duration = Duration::from_secs(10);

/// Every approval, by plugin, the admitted one first.
pub(super) async fn read(client: &Client) -> Result<Vec<StoredApproval>, StoreError> {
    let sql = "SELECT plugin, digest, capabilities, approved_by, at_ms, admitted
        FROM hookbox.approvals ORDER BY plugin, admitted DESC";
    let rows = client.query(sql, &[]).await.map_err(|error| failed_query(&error))?;
    let damaged = |_| StoreError::Query("a digest of an approval has not 32 bytes".to_owned());
    rows.iter()
        .map(|row| {
            Ok(StoredApproval {
                approval: Approval {
                    plugin: row.get::<_, String>(0).into(),
                    digest: Digest(row.get::<_, &[u8]>(1).try_into().map_err(damaged)?),
                    capabilities: row.get::<_, Vec<String>>(2).into_iter().collect(),
                    approved_by: row.get(3),
                },
                at_ms: row.get(4),
                admitted: row.get(5),
            })
        })
        .collect()
}

async fn insert(
    work: &Work<'_>,
    approval: &Approval,
    admitted: bool,
    at: Option<i64>,
) -> Result<(), Error> {
    let sql = "INSERT INTO hookbox.approvals
        (plugin, admitted, digest, capabilities, approved_by, at_ms)
        VALUES ($1, $2, $3, $4, $5, hookbox.now_ms_v1($6))
        ON CONFLICT (plugin, admitted) DO UPDATE SET digest = excluded.digest,
            capabilities = excluded.capabilities, approved_by = excluded.approved_by,
            at_ms = excluded.at_ms";
    let capabilities: Vec<&str> = approval.capabilities.iter().map(String::as_str).collect();
    let Approval { plugin, digest, approved_by, .. } = approval;
    let (plugin, digest) = (&**plugin, &digest.0[..]);
    work.execute(sql, &[&plugin, &admitted, &digest, &capabilities, approved_by, &at]).await?;
    Ok(())
}

async fn delete(work: &Work<'_>, plugin: &PluginName) -> Result<(), Error> {
    let sql = "DELETE FROM hookbox.approvals WHERE plugin = $1";
    work.execute(sql, &[&&**plugin]).await.map(drop)
}

async fn apply(work: &Work<'_>, change: &ApprovalChange, at: Option<i64>) -> Result<(), Error> {
    match change {
        ApprovalChange::Approve(approval) => insert(work, approval, false, at).await,
        ApprovalChange::Admit(approval) => {
            delete(work, &approval.plugin).await?;
            insert(work, approval, true, at).await
        }
        ApprovalChange::Withdraw(plugin) => {
            let sql = "DELETE FROM hookbox.approvals WHERE plugin = $1 AND NOT admitted";
            work.execute(sql, &[&&**plugin]).await.map(drop)
        }
        ApprovalChange::Forget(plugin) => delete(work, plugin).await,
    }
}

/// Every approval of a database; none if it has no schema yet.
async fn peek(
    address: &DatabaseAddress,
    pooler: Option<bool>,
) -> Result<Vec<StoredApproval>, String> {
    let connected = address.hold_two(pooler).await;
    let [client, _] = connected.map_err(|error| error.to_string())?;
    let version = schema::present(&client, address).await;
    if version.map_err(|error| error.to_string())? == 0 {
        return Ok(Vec::new());
    }
    read(&client).await.map_err(|error| error.to_string())
}

impl Postgres {
    /// Reads every approval of a database, whether or not a host uses it; creates and changes
    /// nothing.
    ///
    /// # Errors
    /// The server does not answer within some seconds, or refuses; for people.
    pub async fn peek_approvals(
        url: &SecretString,
        ca_file: Option<&Path>,
        pooler: Option<bool>,
    ) -> Result<Vec<StoredApproval>, String> {
        let address =
            DatabaseAddress::of(url, ca_file, false).map_err(|error| error.to_string())?;
        let peeked = tokio::time::timeout(PEEK_WITHIN, peek(&address, pooler)).await;
        peeked.unwrap_or_else(|_| {
            let why = format!("it does not answer within {} s", PEEK_WITHIN.as_secs());
            let server = address.server.clone();
            Err(PostgresOpenError::Unreachable { server, why }.to_string())
        })
    }

    /// Changes what is stored of one plugin.
    pub(super) async fn change_approval(
        &self,
        note: Option<AuditNote>,
        change: ApprovalChange,
    ) -> Result<(), StoreError> {
        let (note, shared) = (note.as_ref(), &self.shared);
        let once = async || {
            let work = self.work.begin().await?;
            if known::<()>(&work, shared, note).await?.is_some() {
                return Ok::<_, WorkError>(());
            }
            apply(&work, &change, shared.at()).await?;
            note_in(&work, shared, note, &()).await?;
            Ok(work.commit().await?)
        };
        tried!(once())
    }
}
