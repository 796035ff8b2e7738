//! Operations and their deliveries, as they are read.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::MAX_COLLECTED;
use crate::event::{DeliveryId, EventId, Outcome, State};
use crate::store::model::{MAX_RUNNING, Position};
use crate::store::sqlite::rows::read_text;
use crate::store::{
    FoundOperation, ItemResult, Operation, OperationDeed, OperationId, OperationOptions,
    OperationScope, OperationState, Progress, UnreadableOperation,
};

const COLUMNS: &str =
    "id, action, scope, as_of_ms, planned_ms, started_ms, ended_ms, state, reason,
     first, pace, stop_after, total, exact, found, open, ok, failed, skipped, is_found, actor";

/// An operation, also if its row cannot be read.
pub(super) fn found(
    connection: &Connection,
    id: OperationId,
) -> Result<Option<FoundOperation>, rusqlite::Error> {
    let sql = format!("SELECT {COLUMNS} FROM operations WHERE id = ?1");
    connection.prepare_cached(&sql)?.query_row([id.0], read_operation).optional()
}

/// An operation that is there and can be read: with another one nothing is done.
pub(super) fn operation(
    connection: &Connection,
    id: OperationId,
) -> Result<Option<Operation>, rusqlite::Error> {
    Ok(found(connection, id)?.and_then(FoundOperation::whole))
}

/// Those that run, the oldest first: at least [`MAX_RUNNING`] that can be read, if there are.
pub(super) fn running(connection: &Connection) -> Result<Vec<FoundOperation>, rusqlite::Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM operations WHERE state = 1 AND id > ?1 ORDER BY id LIMIT ?2"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let (mut found, mut whole, mut after) = (Vec::new(), 0, 0);
    loop {
        let page = statement.query_map(params![after, MAX_RUNNING], read_operation)?;
        let page = page.collect::<Result<Vec<FoundOperation>, _>>()?;
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

pub(super) fn newest(
    connection: &Connection,
    before: Option<OperationId>,
    limit: usize,
) -> Result<Vec<FoundOperation>, rusqlite::Error> {
    let sql = format!("SELECT {COLUMNS} FROM operations WHERE id < ?1 ORDER BY id DESC LIMIT ?2");
    let before = before.map_or(i64::MAX, |before| before.0);
    connection.prepare_cached(&sql)?.query_map(params![before, limit], read_operation)?.collect()
}

/// Whether an operation replays events.
pub(super) fn is_replay(connection: &Connection, id: OperationId) -> Result<bool, rusqlite::Error> {
    let sql = "SELECT action FROM operations WHERE id = ?1";
    let read = |row: &Row<'_>| read_text(row, 0);
    let action = connection.prepare_cached(sql)?.query_row([id.0], read).optional()?.flatten();
    let deed = action.and_then(|action| OperationDeed::read(&action));
    Ok(deed.is_some_and(|deed| deed.is_replay()))
}

/// Reads an operation. A column that does not hold what it should is no failure of the query, which
/// would end the store for the sake of one row.
fn read_operation(row: &Row<'_>) -> Result<FoundOperation, rusqlite::Error> {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
    match read_whole(row) {
        Ok(operation) => Ok(operation.into()),
        Err(
            IntegralValueOutOfRange(column, _)
            | FromSqlConversionFailure(column, ..)
            | InvalidColumnType(column, ..),
        ) => {
            let column = row.as_ref().column_name(column)?.to_owned();
            Ok(FoundOperation::Unreadable(Box::new(read_rest(row, column)?)))
        }
        Err(error) => Err(error),
    }
}

fn read_whole(row: &Row<'_>) -> Result<Operation, rusqlite::Error> {
    let odd = |column| rusqlite::Error::IntegralValueOutOfRange(column, 0);
    let text = |column| read_text(row, column).map(Option::unwrap_or_default);
    let (scope, marks) = OperationScope::read(&text(2)?).ok_or(odd(2))?;
    Ok(Operation {
        id: OperationId(row.get(0)?),
        action: OperationDeed::read(&text(1)?).ok_or(odd(1))?,
        scope,
        marks,
        as_of_ms: row.get(3)?,
        planned_ms: row.get(4)?,
        started_ms: row.get(5)?,
        ended_ms: row.get(6)?,
        state: OperationState::from_code(row.get(7)?).ok_or(odd(7))?,
        reason: read_text(row, 8)?,
        options: OperationOptions {
            first: row.get(9)?,
            pace: row.get(10)?,
            stop_after: row.get(11)?,
        },
        total: row.get(12)?,
        exact: row.get(13)?,
        found: row.get(14)?,
        open: row.get(15)?,
        ok: row.get(16)?,
        failed: row.get(17)?,
        skipped: row.get(18)?,
        is_found: row.get(19)?,
        actor: text(20)?,
    })
}

/// The rest of an operation of which this column cannot be read.
fn read_rest(row: &Row<'_>, column: String) -> Result<UnreadableOperation, rusqlite::Error> {
    let count =
        |column: usize| row.get::<_, i64>(column).map(|count| u64::try_from(count).unwrap_or(0));
    Ok(UnreadableOperation {
        id: OperationId(row.get(0)?),
        column,
        state: OperationState::from_code(row.get(7)?),
        as_of_ms: row.get(3)?,
        planned_ms: row.get(4)?,
        started_ms: row.get(5)?,
        ended_ms: row.get(6)?,
        total: count(12)?,
        exact: row.get(13)?,
        open: count(15)?,
        ok: count(16)?,
        failed: count(17)?,
        skipped: count(18)?,
        actor: read_text(row, 20)?.unwrap_or_default(),
    })
}

/// The first deliveries of an operation with this result after one.
pub(super) fn items(
    connection: &Connection,
    id: OperationId,
    result: ItemResult,
    after: Option<DeliveryId>,
    limit: usize,
) -> Result<Vec<DeliveryId>, rusqlite::Error> {
    let sql = "SELECT event, ordinal FROM operation_items
               WHERE operation = ?1 AND result = ?2 AND (event, ordinal) > (?3, ?4)
               ORDER BY event, ordinal LIMIT ?5";
    let (event, ordinal) =
        after.map_or((-1, 0), |after| (after.event.row(), i64::from(after.ordinal)));
    let key = params![id.0, result.code(), event, ordinal, limit];
    connection.prepare_cached(sql)?.query_map(key, delivery_id)?.collect()
}

pub(super) fn delivery_id(row: &Row<'_>) -> Result<DeliveryId, rusqlite::Error> {
    Ok(DeliveryId { event: EventId::from_row(row.get(0)?), ordinal: row.get(1)? })
}

/// The next deliveries that an operation has changed, and where to go on.
pub(super) fn changed_by(
    connection: &Connection,
    of: OperationId,
    from: Option<&Progress>,
) -> Result<(Vec<DeliveryId>, Option<Progress>), rusqlite::Error> {
    let after = match from.and_then(|from| from.at.as_ref()) {
        Some(Position::Event(event, ordinal)) => {
            Some(DeliveryId { event: EventId::from_row(*event), ordinal: *ordinal })
        }
        _ => None,
    };
    let found = items(connection, of, ItemResult::Ok, after, MAX_COLLECTED)?;
    let last = if found.len() == MAX_COLLECTED { found.last() } else { None };
    let next = last.map(|last| Progress {
        before: i64::MAX,
        at: Some(Position::Event(last.event.row(), last.ordinal)),
        changed: false,
    });
    Ok((found, next))
}

/// The deliveries of an operation whose result has come to be known.
pub(super) fn results(
    connection: &Connection,
    id: OperationId,
) -> Result<Vec<(DeliveryId, ItemResult)>, rusqlite::Error> {
    let sql = "SELECT i.event, i.ordinal, i.attempt, d.state, d.attempt,
                      (SELECT outcome FROM attempts a WHERE a.event = i.event AND a.ordinal = i.ordinal
                       ORDER BY number DESC LIMIT 1)
               FROM operation_items i LEFT JOIN deliveries d ON d.event = i.event AND d.ordinal = i.ordinal
               WHERE i.operation = ?1 AND i.result = 1 LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![id.0, MAX_COLLECTED])?;
    let mut known = Vec::new();
    while let Some(row) = rows.next()? {
        let before: u32 = row.get(2)?;
        let state = row.get::<_, Option<u8>>(3)?.and_then(State::from_code);
        let attempts = row.get::<_, Option<u32>>(4)?.unwrap_or_default();
        let outcome = row.get::<_, Option<u8>>(5)?.and_then(Outcome::from_code);
        let result = match state {
            Some(state) => ItemResult::of(state, attempts > before, outcome),
            None => Some(ItemResult::Skipped),
        };
        if let Some(result) = result {
            known.push((delivery_id(row)?, result));
        }
    }
    Ok(known)
}
