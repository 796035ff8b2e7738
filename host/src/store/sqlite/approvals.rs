//! Approvals of plugin files in their table, also read from a file that a host may have open.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, params};
use rustix::fs::stat;

use super::batch::WriteBatch;
use super::failure::explain;
use super::peek::open_to_peek;
use crate::event::{Digest, PluginName};
use crate::files::private;
use crate::store::{Approval, ApprovalChange, StoredApproval};

/// The first version of the schema with the table of approvals.
const SINCE_VERSION: i64 = 6;

impl WriteBatch<'_> {
    /// Changes what is stored of one plugin.
    pub(super) fn approve(&self, change: &ApprovalChange) -> Result<(), rusqlite::Error> {
        match change {
            ApprovalChange::Approve(approval) => self.insert_approval(approval, false),
            ApprovalChange::Admit(approval) => {
                self.delete_approvals(&approval.plugin)?;
                self.insert_approval(approval, true)
            }
            ApprovalChange::Withdraw(plugin) => {
                let sql = "DELETE FROM approvals WHERE plugin = ?1 AND admitted = 0";
                self.connection.prepare_cached(sql)?.execute([plugin]).map(drop)
            }
            ApprovalChange::Forget(plugin) => self.delete_approvals(plugin),
        }
    }

    fn insert_approval(&self, approval: &Approval, admitted: bool) -> Result<(), rusqlite::Error> {
        let capabilities =
            approval.capabilities.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        let sql = "INSERT OR REPLACE INTO approvals (plugin, digest, capabilities, approved_by, at, admitted)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let Approval { plugin, digest, approved_by, .. } = approval;
        let row = params![plugin, digest.0, capabilities, approved_by, self.wall_ms, admitted];
        self.connection.prepare_cached(sql)?.execute(row).map(drop)
    }

    fn delete_approvals(&self, plugin: &PluginName) -> Result<(), rusqlite::Error> {
        let sql = "DELETE FROM approvals WHERE plugin = ?1";
        self.connection.prepare_cached(sql)?.execute([plugin]).map(drop)
    }
}

/// Every approval, by plugin, the admitted one first.
pub(super) fn read(connection: &Connection) -> Result<Vec<StoredApproval>, rusqlite::Error> {
    let sql = "SELECT plugin, digest, capabilities, approved_by, at, admitted FROM approvals
               ORDER BY plugin, admitted DESC";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        let capabilities: String = row.get(2)?;
        let capabilities =
            capabilities.split(',').filter(|name| !name.is_empty()).map(str::to_owned);
        Ok(StoredApproval {
            approval: Approval {
                plugin: PluginName::from(row.get::<_, String>(0)?),
                digest: Digest(row.get(1)?),
                capabilities: capabilities.collect(),
                approved_by: row.get(3)?,
            },
            at_ms: row.get(4)?,
            admitted: row.get(5)?,
        })
    })?;
    rows.collect()
}

/// Reads the approvals in a file that a host may have open; creates and changes nothing. There are
/// none without a file, or in that of a host that did not keep approvals in it.
///
/// # Errors
/// The file cannot be read, or strangers may write it; for people.
pub fn peek(database: &Path) -> Result<Vec<StoredApproval>, String> {
    let Ok(found) = stat(database) else { return Ok(Vec::new()) };
    private::writers(&found).map_err(|why| {
        format!("others may write {}: {why}, and make it this user's own", database.display())
    })?;
    let read = || {
        let connection = open_to_peek(database)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version < SINCE_VERSION { Ok(Vec::new()) } else { read(&connection) }
    };
    read().map_err(|error: rusqlite::Error| {
        format!("failed to read {}: {}", database.display(), explain(&error, database))
    })
}
