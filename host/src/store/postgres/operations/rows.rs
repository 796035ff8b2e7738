//! Operations and their deliveries, as they are read.

use tokio_postgres::{Error, Row};

use crate::event::{DeliveryId, Outcome, State};
use crate::store::model::{MAX_RUNNING, Position};
use crate::store::postgres::change::delivery_id;
use crate::store::postgres::client::SqlClient as Client;
use crate::store::postgres::settle::small;
use crate::store::{
    FoundOperation, ItemResult, Operation, OperationDeed, OperationId, OperationOptions,
    OperationScope, OperationState, Progress, UnreadableOperation,
};

/// The most deliveries whose results one call looks at.
const MAX_COLLECTED: usize = 1_000;

const COLUMNS: &str = "id, action, scope, as_of_ms, planned_ms, started_ms, ended_ms, state, \
     reason, first, pace, stop_after, total, exact, found, open, ok, failed, skipped, is_found, \
     actor";

/// An operation, also if its row cannot be read.
pub(super) async fn found(
    client: &Client,
    id: OperationId,
) -> Result<Option<FoundOperation>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM hookbox.operations WHERE id = $1");
    Ok(client.query_opt(&sql, &[&id.0]).await?.map(|row| read_operation(&row)))
}

/// The same, and locks its row for the rest of the transaction.
pub(super) async fn found_locked(
    client: &Client,
    id: OperationId,
) -> Result<Option<FoundOperation>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM hookbox.operations WHERE id = $1 FOR UPDATE");
    Ok(client.query_opt(&sql, &[&id.0]).await?.map(|row| read_operation(&row)))
}

/// An operation that is there and can be read, for the rest of the transaction: with another one
/// nothing is done.
pub(super) async fn locked_operation(
    client: &Client,
    id: OperationId,
) -> Result<Option<Operation>, Error> {
    Ok(found_locked(client, id).await?.and_then(FoundOperation::whole))
}

/// Those that run, the oldest first: at least [`MAX_RUNNING`] that can be read, if there are.
pub(super) async fn running(client: &Client) -> Result<Vec<FoundOperation>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM hookbox.operations WHERE state = 1 AND id > $1 ORDER BY id LIMIT $2"
    );
    let limit = i64::try_from(MAX_RUNNING).unwrap_or(i64::MAX);
    let (mut found, mut whole, mut after) = (Vec::new(), 0, 0_i64);
    loop {
        let rows = client.query(&sql, &[&after, &limit]).await?;
        let page: Vec<FoundOperation> = rows.iter().map(read_operation).collect();
        whole += page.iter().filter(|it| it.is_whole()).count();
        let last = if page.len() == MAX_RUNNING { page.last() } else { None };
        let last = last.map(FoundOperation::id);
        found.extend(page);
        match last {
            Some(last) if whole < MAX_RUNNING => after = last.0,
            _ => return Ok(found),
        }
    }
}

pub(super) async fn newest(
    client: &Client,
    before: Option<OperationId>,
    limit: usize,
) -> Result<Vec<FoundOperation>, Error> {
    let sql =
        format!("SELECT {COLUMNS} FROM hookbox.operations WHERE id < $1 ORDER BY id DESC LIMIT $2");
    let before = before.map_or(i64::MAX, |before| before.0);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = client.query(&sql, &[&before, &limit]).await?;
    Ok(rows.iter().map(read_operation).collect())
}

/// Whether an operation replays events.
pub(super) async fn is_replay(client: &Client, id: OperationId) -> Result<bool, Error> {
    let sql = "SELECT action FROM hookbox.operations WHERE id = $1";
    let found = client.query_opt(sql, &[&id.0]).await?;
    let deed = found.and_then(|row| OperationDeed::read(row.get(0)));
    Ok(deed.is_some_and(|deed| deed.is_replay()))
}

fn count(row: &Row, column: usize) -> u64 {
    row.get::<_, i64>(column).unsigned_abs()
}

fn state(row: &Row) -> Option<OperationState> {
    OperationState::from_code(row.get::<_, i16>(7).into())
}

/// Reads an operation. A column that does not hold what it should leaves the rest of the row.
fn read_operation(row: &Row) -> FoundOperation {
    let whole = read_whole(row).map(FoundOperation::from);
    whole.unwrap_or_else(|column| FoundOperation::Unreadable(Box::new(read_rest(row, column))))
}

/// Reads all of an operation, or says which column cannot be read.
fn read_whole(row: &Row) -> Result<Operation, &'static str> {
    let bound = |column| {
        row.get::<_, Option<i64>>(column).map(|bound| u32::try_from(bound).unwrap_or(u32::MAX))
    };
    let (scope, marks) = OperationScope::read(row.get(2)).ok_or("scope")?;
    Ok(Operation {
        id: OperationId(row.get(0)),
        action: OperationDeed::read(row.get(1)).ok_or("action")?,
        scope,
        marks,
        as_of_ms: row.get(3),
        planned_ms: row.get(4),
        started_ms: row.get(5),
        ended_ms: row.get(6),
        state: state(row).ok_or("state")?,
        reason: row.get(8),
        options: OperationOptions { first: row.get(9), pace: bound(10), stop_after: bound(11) },
        total: count(row, 12),
        exact: row.get(13),
        found: count(row, 14),
        open: count(row, 15),
        ok: count(row, 16),
        failed: count(row, 17),
        skipped: count(row, 18),
        is_found: row.get(19),
        actor: row.get(20),
    })
}

/// The rest of an operation of which this column cannot be read.
fn read_rest(row: &Row, column: &str) -> UnreadableOperation {
    UnreadableOperation {
        id: OperationId(row.get(0)),
        column: column.to_owned(),
        state: state(row),
        as_of_ms: row.get(3),
        planned_ms: row.get(4),
        started_ms: row.get(5),
        ended_ms: row.get(6),
        total: count(row, 12),
        exact: row.get(13),
        open: count(row, 15),
        ok: count(row, 16),
        failed: count(row, 17),
        skipped: count(row, 18),
        actor: row.get(20),
    }
}

/// A result as the database has it.
pub(super) fn result_code(result: ItemResult) -> i16 {
    i16::try_from(result.code()).unwrap_or(i16::MAX)
}

/// The first deliveries of an operation with this result after one.
pub(super) async fn items(
    client: &Client,
    id: OperationId,
    result: ItemResult,
    after: Option<DeliveryId>,
    limit: usize,
) -> Result<Vec<DeliveryId>, Error> {
    let sql = "SELECT i.event, i.ordinal FROM hookbox.operation_items i
               WHERE i.operation = $1 AND i.result = $2 AND (i.event, i.ordinal) > ($3, $4)
               ORDER BY i.event, i.ordinal LIMIT $5";
    let (event, ordinal) =
        after.map_or((i64::MIN, 0), |after| (after.event.row(), small(after.ordinal)));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = client.query(sql, &[&id.0, &result_code(result), &event, &ordinal, &limit]).await?;
    Ok(rows.iter().map(delivery_id).collect())
}

/// The next deliveries that an operation has changed, and where to go on.
pub(super) async fn changed_by(
    client: &Client,
    of: OperationId,
    from: Option<&Progress>,
) -> Result<(Vec<DeliveryId>, Option<Progress>), Error> {
    let after = match from.and_then(|from| from.at.as_ref()) {
        Some(Position::Event(event, ordinal)) => {
            Some(DeliveryId { event: crate::event::EventId::from_row(*event), ordinal: *ordinal })
        }
        _ => None,
    };
    let found = items(client, of, ItemResult::Ok, after, MAX_COLLECTED).await?;
    let last = if found.len() == MAX_COLLECTED { found.last() } else { None };
    let next = last.map(|last| Progress {
        before: i64::MAX,
        at: Some(Position::Event(last.event.row(), last.ordinal)),
        changed: false,
    });
    Ok((found, next))
}

/// Joins the deliveries `d` of an item `i` that fit a condition, as they stand; `?` is the table.
pub(super) fn standing(condition: &str) -> String {
    let [open, settled] = ["o", "s"].map(|table| condition.replace('?', table));
    format!(
        "LEFT JOIN LATERAL (
             SELECT o.ordinal, o.attempt, NULL::smallint AS outcome, (CASE
                 WHEN o.holder IS NOT NULL THEN 1 WHEN o.waits THEN 2 ELSE 0 END)::smallint
                 AS state
             FROM hookbox.open o WHERE o.event = i.event AND {open}
             UNION ALL
             SELECT s.ordinal, s.attempt, s.outcome, s.state
             FROM hookbox.settled s WHERE s.event = i.event AND {settled}) d ON true"
    )
}

/// The deliveries of an operation whose result has come to be known.
pub(super) async fn results(
    client: &Client,
    id: OperationId,
) -> Result<Vec<(DeliveryId, ItemResult)>, Error> {
    let own = standing("?.ordinal = i.ordinal");
    let sql = format!(
        "SELECT i.event, i.ordinal, i.attempt, d.state, d.attempt,
             coalesce(d.outcome, (SELECT a.outcome FROM hookbox.attempts a
                 WHERE a.event = i.event AND a.ordinal = i.ordinal
                 ORDER BY a.number DESC LIMIT 1))
         FROM hookbox.operation_items i {own}
         WHERE i.operation = $1 AND i.result = 1
         ORDER BY i.event, i.ordinal LIMIT $2"
    );
    let most = i64::try_from(MAX_COLLECTED).unwrap_or(i64::MAX);
    let rows = client.query(&sql, &[&id.0, &most]).await?;
    let result = |row: &Row| match stands(row, 3) {
        Some((state, attempts, outcome)) => {
            ItemResult::of(state, attempts > row.get::<_, i32>(2), outcome)
        }
        None => Some(ItemResult::Skipped),
    };
    Ok(rows.iter().filter_map(|row| Some((delivery_id(row), result(row)?))).collect())
}

/// State, attempts and last outcome in these columns, if a delivery is there.
pub(super) fn stands(row: &Row, column: usize) -> Option<(State, i32, Option<Outcome>)> {
    let code = |column| row.get::<_, Option<i16>>(column).and_then(|it| u8::try_from(it).ok());
    let state = code(column).and_then(State::from_code)?;
    let attempts = row.get::<_, Option<i32>>(column + 1).unwrap_or(0);
    Some((state, attempts, code(column + 2).and_then(Outcome::from_code)))
}
