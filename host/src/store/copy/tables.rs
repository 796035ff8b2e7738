//! The tables of a copy: the rows as SQLite has them, and where Postgres keeps them.
//!
//! `:ahead` is the time by which the host's time is ahead of the wall clock. SQLite has due times
//! in host time, and Postgres in the database's.

use super::failures::{files_of, hours_of};
use crate::store::model::CopyRow;
use crate::store::sqlite::undamaged;

/// Makes rows of Postgres of one of SQLite.
pub(super) type IntoRows = fn(CopyRow) -> Result<Vec<CopyRow>, String>;

/// A table of Postgres, and the rows that go into it.
#[derive(Debug, Clone, Copy)]
pub(super) struct CopyTable {
    /// The name of its rows, for people.
    pub(super) name: &'static str,
    /// The table.
    pub(super) into: &'static str,
    /// Its columns.
    pub(super) columns: &'static str,
    /// The query for the rows.
    pub(super) rows: &'static str,
    /// The query for their number; none if a row becomes several.
    pub(super) count: Option<&'static str>,
    /// The rows that a row becomes, if it is not copied as it is.
    pub(super) becomes: Option<IntoRows>,
}

const fn table(
    (name, into): (&'static str, &'static str),
    columns: &'static str,
    rows: &'static str,
    count: &'static str,
) -> CopyTable {
    CopyTable { name, into, columns, rows, count: Some(count), becomes: None }
}

/// Each table in the order in which it is filled.
pub(super) const TABLES: [CopyTable; 29] = [
    CopyTable {
        becomes: Some(|row| undamaged(row).map(|row| vec![row])),
        ..table(
            ("events", "events"),
            "id, source, type, subject, content_type, time_ms, provider_id, note, headers, parent, \
             root, hops, trace, edited_from, edited_by, signed_by, body",
            "SELECT e.id, e.source, e.type, e.subject, e.content_type, e.time_ms, e.provider_id,
                 e.note, e.headers, e.parent, e.root, e.hops, e.trace, m.replay_of, m.edited_by,
                 e.signed_by, e.body, e.sum
             FROM events e LEFT JOIN edits m ON m.event = e.id ORDER BY e.id",
            "SELECT count(*) FROM events",
        )
    },
    table(
        ("open deliveries", "open"),
        "event, ordinal, plugin, attempt, uncounted, unrecorded, crashes, deaths, again, \
         again_since, waits, steps, cancelled, due, key, entered, cancel_tag, cancel_subject, \
         failure",
        "SELECT d.event, d.ordinal, d.plugin, d.attempt, d.pardoned, d.unrecorded, d.crashes,
             d.deaths, d.again, d.again_since_ms - :ahead, d.state = 2, d.steps, 0,
             CASE WHEN d.due_ms > 4611686018427387904 THEN d.due_ms ELSE d.due_ms - :ahead END,
             CAST(d.key AS BLOB), d.entered, d.cancel_tag,
             CASE WHEN d.cancel_tag IS NOT NULL AND EXISTS (
                 SELECT 1 FROM cancellable c WHERE c.subject = e.subject AND c.tag = d.cancel_tag
                     AND c.event = d.event AND c.ordinal = d.ordinal) THEN e.subject END,
             d.failure
         FROM deliveries d JOIN events e ON e.id = d.event WHERE d.due_ms IS NOT NULL",
        "SELECT count(*) FROM deliveries WHERE due_ms IS NOT NULL",
    ),
    table(
        ("settled deliveries", "settled"),
        "event, ordinal, plugin, state, attempt, uncounted, unrecorded, deaths, again, cut_off, \
         started_ms, duration_us, cpu_us, memory_kib, outcome, error, logs, digest, calls, \
         steps, key, entered, cancel_tag, failure",
        "SELECT d.event, d.ordinal, d.plugin, d.state, d.attempt, d.pardoned, d.unrecorded,
             d.deaths, d.again, d.state = 5 AND d.cancelled, a.started_ms, a.duration_us,
             min(a.cpu_us, 2147483647), min(a.memory_kib, 2147483647), a.outcome, a.error, a.logs,
             a.digest, a.calls, a.steps, CAST(d.key AS BLOB), d.entered, d.cancel_tag, d.failure
         FROM deliveries d LEFT JOIN attempts a
             ON a.event = d.event AND a.ordinal = d.ordinal AND a.number = d.attempt
         WHERE d.due_ms IS NULL",
        "SELECT count(*) FROM deliveries WHERE due_ms IS NULL",
    ),
    table(
        ("attempts before the last one", "attempts"),
        "event, ordinal, number, started_ms, duration_us, cpu_us, memory_kib, outcome, error, \
         logs, digest, calls, steps",
        "SELECT a.event, a.ordinal, a.number, a.started_ms, a.duration_us,
             min(a.cpu_us, 2147483647), min(a.memory_kib, 2147483647), a.outcome, a.error, a.logs,
             a.digest, a.calls, a.steps
         FROM attempts a JOIN deliveries d ON d.event = a.event AND d.ordinal = a.ordinal
         WHERE d.due_ms IS NOT NULL OR a.number <> d.attempt",
        "SELECT (SELECT count(*) FROM attempts) - (SELECT count(*) FROM deliveries d
             WHERE d.due_ms IS NULL AND EXISTS (SELECT 1 FROM attempts a WHERE a.event = d.event
                 AND a.ordinal = d.ordinal AND a.number = d.attempt))",
    ),
    table(
        ("replayed deliveries", "replays"),
        "event, ordinal",
        "SELECT event, ordinal FROM deliveries WHERE replay <> 0",
        "SELECT count(*) FROM deliveries WHERE replay <> 0",
    ),
    table(
        ("steps", "steps"),
        "event, ordinal, name, value, attempt, digest, recorded_ms",
        "SELECT event, ordinal, name, value, attempt, digest, at_ms FROM steps",
        "SELECT count(*) FROM steps",
    ),
    table(
        ("dedupe keys", "dedupe"),
        "slot, source, key, event",
        "SELECT 0, source, key, event FROM dedupe
         UNION ALL SELECT 0, source, key, event FROM temp.recent_keys",
        "SELECT (SELECT count(*) FROM dedupe) + (SELECT count(*) FROM temp.recent_keys)",
    ),
    table(
        ("events with duplicates", "repeats"),
        "event, times, last_ms",
        "SELECT event, n, last_ms FROM duplicates",
        "SELECT count(*) FROM duplicates",
    ),
    table(
        ("keys that wait", "held_keys"),
        "plugin, key, event, ordinal, until, entered",
        "SELECT h.plugin, CAST(h.key AS BLOB), h.event, h.ordinal,
             CASE WHEN h.until_ms > 4611686018427387904 THEN h.until_ms
                 ELSE h.until_ms - :ahead END, d.entered
         FROM held_keys h LEFT JOIN deliveries d ON d.event = h.event AND d.ordinal = h.ordinal",
        "SELECT count(*) FROM held_keys",
    ),
    table(
        ("notices of dead letters", "dead_notices"),
        "event, ordinal, dead_ordinal, death",
        "SELECT event, ordinal, dead_ordinal, death FROM dead_notices",
        "SELECT count(*) FROM dead_notices",
    ),
    table(
        ("sizes of trees", "trees"),
        "root, events, bytes",
        "SELECT root, events, bytes FROM trees",
        "SELECT count(*) FROM trees",
    ),
    table(
        ("joins and batches", "gatherings"),
        "event, ordinal, number, plugin, key, opened, until, quiet_until, members, counted, need, \
         seen, frozen, why",
        "SELECT event, ordinal, row_number() OVER (ORDER BY event, ordinal), plugin,
             CAST(key AS BLOB), opened_ms - :ahead, until_ms - :ahead, quiet_until_ms - :ahead,
             members, count, need, seen, frozen, why
         FROM gatherings",
        "SELECT count(*) FROM gatherings",
    ),
    table(
        ("members of joins and batches", "gathered"),
        "gathering, ordinal, number, event, member",
        "SELECT gathering, ordinal, row_number() OVER (ORDER BY gathering, ordinal, event), event,
             CAST(member AS BLOB)
         FROM gathered",
        "SELECT count(*) FROM gathered",
    ),
    table(
        ("time limits of joins and batches", "time_limits"),
        "plugin, within, moved",
        "SELECT plugin, within_ms, moved FROM time_limits",
        "SELECT count(*) FROM time_limits",
    ),
    table(
        ("values of plugins", "kv"),
        "bucket, key, value, version, expires, event, ordinal, attempt",
        "SELECT plugin, CAST(key AS BLOB), value, version, expires_ms - :ahead, event, ordinal,
             attempt
         FROM kv",
        "SELECT count(*) FROM kv",
    ),
    table(
        ("groups of failures", "failures"),
        "id, plugin, outcome, text, first_ms, last_ms",
        "SELECT id, plugin, outcome, text, first_ms, last_ms FROM failures",
        "SELECT count(*) FROM failures",
    ),
    CopyTable {
        name: "hours of failures",
        into: "failure_hours",
        columns: "id, hour, met",
        rows: "SELECT id, trend FROM failures",
        count: None,
        becomes: Some(hours_of),
    },
    CopyTable {
        name: "files of failures",
        into: "failure_files",
        columns: "id, digest, met, last_ms",
        rows: "SELECT id, last_ms, files FROM failures",
        count: None,
        becomes: Some(files_of),
    },
    table(
        ("erased events", "erased"),
        "event, at_ms, asked",
        "SELECT event, at_ms, asked FROM erased",
        "SELECT count(*) FROM erased",
    ),
    table(
        ("schedules", "schedules"),
        "name, spec, next_ms, active, last_ms, skipped, event, event_ms",
        "SELECT name, spec, next_ms, active, last_ms, skipped, event, event_ms FROM schedules",
        "SELECT count(*) FROM schedules",
    ),
    table(
        ("skipped ticks", "skipped_ticks"),
        "name, first_ms, last_ms, ticks, reason",
        "SELECT name, first_ms, last_ms, ticks, reason FROM skipped_ticks",
        "SELECT count(*) FROM skipped_ticks",
    ),
    table(
        ("pauses", "pauses"),
        "kind, name, at_ms, actor, reason",
        "SELECT kind, name, at_ms, actor, reason FROM pauses",
        "SELECT count(*) FROM pauses",
    ),
    table(
        ("approvals", "approvals"),
        "plugin, admitted, digest, capabilities, approved_by, at_ms",
        "SELECT plugin, admitted, digest, capabilities, approved_by, at FROM approvals",
        "SELECT count(*) FROM approvals",
    ),
    table(
        ("positions in logs", "log_positions"),
        "source, position",
        "SELECT source, position FROM log_positions",
        "SELECT count(*) FROM log_positions",
    ),
    // Those of the first host that starts.
    table(
        ("samples", "samples"),
        "kind, name, slot, n, stored_ms, at_ms, counts, durations",
        "SELECT kind, name, 0, n, at_ms, at_ms, counts, durations FROM samples",
        "SELECT count(*) FROM samples",
    ),
    table(
        ("entries of the audit log", "audit"),
        "id, at_ms, actor, role, via, action, target, detail, result",
        "SELECT id, at_ms, actor, role, via, action, target, detail, result FROM audit",
        "SELECT count(*) FROM audit",
    ),
    table(
        ("answers to keys of requests", "answers"),
        "actor, key, at_ms, request, answer",
        "SELECT actor, key, at_ms, request, answer FROM answers",
        "SELECT count(*) FROM answers",
    ),
    table(
        ("operations", "operations"),
        "id, action, scope, as_of_ms, planned_ms, started_ms, ended_ms, state, reason, first, \
         pace, stop_after, total, exact, found, open, ok, failed, skipped, walk, is_found, actor, \
         via",
        "SELECT id, action, scope, as_of_ms, planned_ms, started_ms, ended_ms, state, reason, first,
             pace, stop_after, total, exact, found, open, ok, failed, skipped, walk, is_found,
             actor, via
         FROM operations",
        "SELECT count(*) FROM operations",
    ),
    table(
        ("deliveries of operations", "operation_items"),
        "operation, event, ordinal, result, attempt",
        "SELECT operation, event, ordinal, result, attempt FROM operation_items",
        "SELECT count(*) FROM operation_items",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::clock::Clock;
    use crate::store::{Sqlite, SqliteOptions};

    /// Tables whose rows are made anew, or are numbers that the copy's end sets.
    const OTHERS: [&str; 9] = [
        "audit_swept",
        "counts",
        "dedupe_moved",
        "emptied",
        "eras",
        "host_time",
        "sqlite_sequence",
        "swept",
        "cancellable",
    ];

    #[test]
    fn every_column_of_every_table_of_sqlite_is_copied() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hookbox.db");
        drop(Sqlite::open(SqliteOptions::at(path.clone(), Clock::manual(0))).unwrap());
        let file = rusqlite::Connection::open(&path).unwrap();
        let sql = "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c
            WHERE t.type = 'table'";
        let mut columns = file.prepare(sql).unwrap();
        let columns = columns.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let columns: Vec<(String, String)> = columns.map(Result::unwrap).collect();
        assert!(columns.len() > 150, "{columns:?}");
        let words = |sql: &str| -> BTreeSet<String> {
            sql.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned).collect()
        };
        // Keys that are in events alone are in `recent_keys`, and groups are counted anew.
        const ELSEWHERE: [(&str, &str); 3] =
            [("events", "dedupe"), ("failures", "dead"), ("failures", "waiting")];
        for (table, column) in columns {
            let mut reads = TABLES.iter().map(|it| words(it.rows)).filter(|it| it.contains(&table));
            let is_read = reads.any(|words| words.contains(&column));
            assert!(
                is_read || OTHERS.contains(&&*table) || ELSEWHERE.contains(&(&*table, &*column)),
                "`{column}` of `{table}` is not copied"
            );
        }
    }
}
