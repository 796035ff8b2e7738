//! Leases that are made of the database's rows, and what this store does not do yet.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::client::{SqlClient as Client, SqlStatement as Statement};
use super::command::PostgresCommand;
use super::rows::read_event;
use super::settle::small;
use super::shared::PostgresShared;
use crate::event::{DeliveryId, EventId};
use crate::store::model::LeaseTerms;
use crate::store::{
    AgainSoFar, DispatchHandle, Lease, LeasePermit, LeaseQueue, Leased, Next, Settlement,
    StoreError,
};

/// The most body bytes one call leases (and at least one delivery).
const MAX_LEASED_BYTES: i64 = 4 << 20;

/// Calls `lease_v1`. The columns from `id` on are those of [`read_event`].
pub(super) const LEASE: &str = "SELECT event AS id, source, type, subject, content_type, time_ms, \
     parent, root, hops, trace, body, ordinal, plugin, attempt, uncounted, deaths, due, has_steps, \
     again, again_for, key, cancel_tag, next_in FROM hookbox.lease_v1($1, $2, $3, $4, $5, $6, $7)";

/// Asks for what is due.
pub(super) async fn lease(
    client: &Client,
    statement: &Statement,
    shared: &PostgresShared,
    queue: &LeaseQueue,
    most: usize,
) -> Result<Vec<Row>, Error> {
    let (quarantined, plugins) = match queue {
        LeaseQueue::Plugin(name) => (false, std::slice::from_ref(name)),
        LeaseQueue::Quarantine(names) => (true, names.as_slice()),
    };
    let plugins: Vec<&str> = plugins.iter().map(|name| &**name).collect();
    let (at, me) = (shared.at(), shared.run().incarnation);
    let most = i32::try_from(most).unwrap_or(i32::MAX);
    let floor = shared.floors.begin(queue);
    let parameters: [&(dyn ToSql + Sync); 7] =
        [&at, &me, &plugins, &quarantined, &most, &MAX_LEASED_BYTES, &floor];
    client.query(statement, &parameters).await
}

/// Makes leases of rows. Those for which there is no memory are returned beside, to be given back.
pub(super) fn leased(
    rows: &[Row],
    mut permits: OwnedSemaphorePermit,
    dispatch: Option<&Arc<dyn DispatchHandle>>,
) -> (Leased, Vec<Lease>) {
    let mut leased = Leased { leases: Vec::new(), next_due_in: None, memory_is_full: false };
    let mut refused = Vec::new();
    for row in rows {
        if row.get::<_, Option<i64>>(0).is_none() {
            let next_in: Option<i64> = row.get("next_in");
            leased.next_due_in = next_in.map(|ms| Duration::from_millis(ms.unsigned_abs()));
            continue;
        }
        let budget = permits.split(1).expect("no more rows are leased than there are permits");
        let mut lease = read_lease(row, budget);
        let memory = dispatch.map(|it| it.memory(&lease.plugin, lease.event.attributes.body.len()));
        let is_full = matches!(memory, Some(None));
        lease.permit.memory = memory.flatten();
        if is_full {
            leased.memory_is_full = true;
            leased.next_due_in = Some(Duration::ZERO);
            refused.push(lease);
        } else {
            leased.leases.push(lease);
        }
    }
    (leased, refused)
}

/// The due time before which a scan has left nothing; none if it has leased nothing.
pub(super) fn nothing_before(rows: &[Row]) -> Option<i64> {
    let due = |row: &Row| row.get::<_, Option<i64>>("due");
    let (leased, left): (Vec<_>, Vec<_>) =
        rows.iter().partition(|row| row.get::<_, Option<i64>>(0).is_some());
    let last = leased.into_iter().filter_map(due).max()?;
    // A row that another one had locked is left, and may be older.
    Some(left.into_iter().filter_map(due).fold(last, i64::min))
}

/// Makes a lease of a row.
pub(super) fn read_lease(row: &Row, budget: OwnedSemaphorePermit) -> Lease {
    let plugin: String = row.get("plugin");
    let event = Arc::new(read_event(row));
    let (again, again_for): (i32, i64) = (row.get("again"), row.get("again_for"));
    let key: Option<Vec<u8>> = row.get("key");
    Lease {
        delivery: DeliveryId {
            event: event.id,
            ordinal: row.get::<_, i32>("ordinal").unsigned_abs(),
        },
        plugin: plugin.into(),
        attempt: row.get::<_, i32>("attempt").unsigned_abs(),
        uncounted: row.get::<_, i32>("uncounted").unsigned_abs(),
        deaths: row.get::<_, i32>("deaths").unsigned_abs(),
        due_ms: row.get("due"),
        event,
        terms: LeaseTerms {
            key: key.map(|key| String::from_utf8_lossy(&key).into()),
            cancel_tag: row.get("cancel_tag"),
            has_steps: row.get("has_steps"),
            again: AgainSoFar {
                count: again.unsigned_abs(),
                since: Duration::from_millis(again_for.unsigned_abs()),
            },
            ..LeaseTerms::default()
        },
        permit: LeasePermit { budget, memory: None },
        held: None,
    }
}

/// Gives a lease back that nobody has.
pub(super) fn give_back(lease: Lease) -> PostgresCommand {
    let settlement = Settlement { next: Next::GiveBack(Duration::ZERO), record: None };
    let (lease, settlement) = (Box::new(lease), Box::new(settlement));
    PostgresCommand::Settle { lease, settlement, reply: None }
}

/// Leases that are asked for. If the caller goes away before the answer, they are given back.
pub(super) struct PostgresLeaseAnswer<'a> {
    pub(super) commands: &'a mpsc::UnboundedSender<PostgresCommand>,
    pub(super) shared: &'a PostgresShared,
    pub(super) answer: oneshot::Receiver<Result<Leased, StoreError>>,
}

impl PostgresLeaseAnswer<'_> {
    pub(super) async fn leased(mut self) -> Result<Leased, StoreError> {
        (&mut self.answer).await.unwrap_or_else(|_| Err(self.shared.reach.gone()))
    }
}

impl Drop for PostgresLeaseAnswer<'_> {
    fn drop(&mut self) {
        // The writer gives back leases that were not sent by now.
        self.answer.close();
        if let Ok(Ok(stranded)) = self.answer.try_recv() {
            for lease in stranded.leases {
                // A writer that is gone gives nothing back.
                let _ = self.commands.send(give_back(lease));
            }
        }
    }
}

/// The parameters by which a host takes up what a run before it held.
pub(super) fn noted(left: Option<&std::collections::HashSet<(DeliveryId, u32)>>) -> RunningRows {
    let mut rows = RunningRows { all: left.is_none(), ..RunningRows::default() };
    for (delivery, attempt) in left.into_iter().flatten() {
        rows.events.push(EventId::row(delivery.event));
        rows.ordinals.push(small(delivery.ordinal));
        rows.attempts.push(small(*attempt));
    }
    rows
}

/// The attempts that a dead run was running.
#[derive(Default)]
pub(super) struct RunningRows {
    /// Whether every one was.
    pub(super) all: bool,
    pub(super) events: Vec<i64>,
    pub(super) ordinals: Vec<i32>,
    pub(super) attempts: Vec<i32>,
}
