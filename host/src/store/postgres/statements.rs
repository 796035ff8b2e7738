//! The statements of a batch, prepared.

use tokio_postgres::Error;

use super::append::APPEND;
use super::client::{SqlClient as Client, SqlStatement as Statement};
use super::failures::FAIL;
use super::gather::{FREEZE, GATHER};
use super::keys::{LOCK_KEYS, POLICIES, SETTLED_KEYS};
use super::kv::WRITE_VALUES;
use super::lease::LEASE;
use super::schedules::TICK;
use super::settle::{RECORD, SETTLE};
use super::stripes::LOCK;
use super::tail::LEASE_AGAIN;
use super::terms::{ENTER_LATE, TERMS};
use super::trees::CHECK_TREES;

/// The marker of a batch, which comes first.
const MARK: &str = "SELECT hookbox.mark_v1($1, $2, $3, $4)";

/// The statements of a batch, prepared.
pub(super) struct BatchStatements {
    pub(super) mark: Statement,
    pub(super) lock: Statement,
    pub(super) write_values: Statement,
    pub(super) append: Statement,
    pub(super) settle: Statement,
    pub(super) record: Statement,
    pub(super) gather: Statement,
    pub(super) tick: Statement,
    pub(super) fail: Statement,
    pub(super) lease: Statement,
    pub(super) policies: Statement,
    pub(super) lock_keys: Statement,
    pub(super) settled_keys: Statement,
    pub(super) terms: Statement,
    pub(super) enter_late: Statement,
    pub(super) check_trees: Statement,
    pub(super) freeze: Statement,
    pub(super) lease_again: Statement,
}

impl BatchStatements {
    pub(super) async fn prepare(client: &Client) -> Result<Self, Error> {
        Ok(Self {
            mark: client.prepare(MARK).await?,
            lock: client.prepare(LOCK).await?,
            write_values: client.prepare(WRITE_VALUES).await?,
            append: client.prepare(APPEND).await?,
            settle: client.prepare(SETTLE).await?,
            record: client.prepare(RECORD).await?,
            gather: client.prepare(GATHER).await?,
            tick: client.prepare(TICK).await?,
            fail: client.prepare(FAIL).await?,
            lease: client.prepare(LEASE).await?,
            policies: client.prepare(POLICIES).await?,
            lock_keys: client.prepare(LOCK_KEYS).await?,
            settled_keys: client.prepare(SETTLED_KEYS).await?,
            terms: client.prepare(TERMS).await?,
            enter_late: client.prepare(ENTER_LATE).await?,
            check_trees: client.prepare(CHECK_TREES).await?,
            freeze: client.prepare(FREEZE).await?,
            lease_again: client.prepare(LEASE_AGAIN).await?,
        })
    }
}
