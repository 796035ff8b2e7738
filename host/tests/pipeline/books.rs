//! The books at the end: what the plan says, what the stand-ins did, and what the host stored.

use std::collections::{BTreeMap, BTreeSet};

use hookbox_tools::cluster::Cluster;
use rusqlite::Connection;

use super::APPROVAL_MS;
use super::plan::{VIDEOS, counted};
use super::senders::Journal;
use super::standins::StandIns;
use crate::support::asked;

/// Where the books are kept. Both are asked the same questions.
pub(super) enum Books<'a> {
    /// In a SQLite file.
    File(Connection),
    /// In a Postgres that hosts share.
    Shared(&'a Cluster),
}

/// Rows that must not be stored at the end: a name, and a query that finds them. The schedule goes
/// on, so its events may be under way.
const NEVER: [(&str, &str); 7] = [
    (
        "orders that have ended twice",
        "SELECT subject FROM events WHERE type IN ('order.complete', 'order.refunded')
          GROUP BY subject HAVING count(*) <> 1",
    ),
    (
        "orders that were begun and have not ended",
        "SELECT DISTINCT subject FROM events WHERE type = 'order.created' EXCEPT
          SELECT subject FROM events WHERE type IN ('order.complete', 'order.refunded')",
    ),
    (
        "open deliveries",
        "SELECT e.type, d.plugin, d.state FROM deliveries d JOIN events e ON e.id = d.event
          WHERE d.due_ms IS NOT NULL AND e.type NOT IN ('report.due', 'report.ready')",
    ),
    (
        "open gatherings",
        "SELECT g.key FROM gatherings g JOIN deliveries d ON d.event = g.event AND d.ordinal = g.ordinal
          WHERE d.state NOT IN (3, 5)",
    ),
    (
        "joins that have ended twice",
        "SELECT source, subject FROM events WHERE source IN ('joins/order-videos', 'joins/approval')
          GROUP BY 1, 2 HAVING count(*) <> 1",
    ),
    (
        "deliveries settled twice",
        "SELECT 1 FROM attempts WHERE outcome = 0 GROUP BY event, ordinal HAVING count(*) > 1",
    ),
    (
        "dead letters that were neither planned nor crashed twice",
        "SELECT d.plugin, e.subject, a.number, a.error FROM deliveries d JOIN events e ON e.id = d.event
          JOIN attempts a ON a.event = d.event AND a.ordinal = d.ordinal AND a.number = d.attempt
          WHERE d.state = 4 AND a.outcome NOT IN (2, 7)",
    ),
];

/// The counts of a run.
pub(super) struct Counts {
    /// Of each end.
    pub(super) ends: BTreeMap<String, usize>,
    /// Orders with a delivery that died in two hosts: they may be refunded for it.
    quarantined: usize,
    /// Orders whose answer came too late although it was sent at once.
    slow: usize,
    /// Effects, and requests for effects that there were already.
    effects: usize,
    repeated: usize,
    events: i64,
    crashed: i64,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { ends, quarantined, slow, effects, repeated, events, crashed } = self;
        write!(
            f,
            "{ends:?}; {events} events, {effects} effects and {repeated} repeated requests for them, {crashed} attempts \
             running when a host died, {quarantined} orders quarantined, {slow} answered slowly"
        )
    }
}

/// Compares everything with everything.
pub(super) fn check(store: &Books<'_>, stand_ins: &StandIns, journal: &Journal) -> Counts {
    for (what, sql) in NEVER {
        let found = store.rows(sql);
        assert!(found.is_empty(), "{what}: {found:?}");
    }
    let stored: BTreeSet<_> =
        store.rows("SELECT printf('evt_%016x', id) FROM events").into_iter().collect();
    for (name, id) in &journal.events {
        assert!(stored.contains(id), "{name} was acknowledged and is lost");
    }
    let plan = &stand_ins.plan;
    let (quarantined, mut slow) = (quarantined(store), slow(store));
    for order in (0..plan.orders).filter(|order| plan.end(*order) == "approval-late") {
        slow.remove(&format!("order_{order}"));
    }
    let (ends, stored_ends) = (stand_ins.ends(), stored_ends(store));
    for order in 0..plan.orders {
        let name = format!("order_{order}");
        let (planned, end) = (plan.end(order), ends[&order].as_str());
        let explained =
            quarantined.contains(&name) || end == "approval-late" && slow.contains(&name);
        assert!(planned == end || explained, "{name} should be {planned} and is {end}");
        assert_eq!(stored_ends[&name], end, "{name}: the shop and the store agree");
    }
    late_answers_change_nothing(store, stand_ins, &ends);
    let (effects, repeated) = effects_are_single(stand_ins);
    let number = |sql: &str| -> i64 { store.rows(sql)[0].parse().unwrap() };
    Counts {
        ends: counted(ends.values().map(String::as_str))
            .into_iter()
            .map(|(end, count)| (end.to_owned(), count))
            .collect(),
        quarantined: quarantined.len(),
        slow: slow.len(),
        effects,
        repeated,
        events: number("SELECT count(*) FROM events"),
        crashed: number("SELECT count(*) FROM attempts WHERE outcome = 7"),
    }
}

/// How each order has ended in the store.
fn stored_ends(store: &Books<'_>) -> BTreeMap<String, String> {
    let sql = "SELECT subject, CASE type WHEN 'order.complete' THEN 'complete'
                 ELSE json_extract(CAST(body AS TEXT), '$.reason') END
               FROM events WHERE type IN ('order.complete', 'order.refunded')";
    let ends = store.rows(sql).into_iter().map(|row| {
        let (order, end) = row.split_once(' ').unwrap();
        (order.to_owned(), end.to_owned())
    });
    ends.collect()
}

/// A customer who answers too late was reminded once, and the answer is noted as a straggler of its
/// join.
fn late_answers_change_nothing(
    store: &Books<'_>,
    stand_ins: &StandIns,
    ends: &BTreeMap<usize, String>,
) {
    let sql = "SELECT subject FROM events WHERE source = 'shop' AND note LIKE 'late_member%'";
    let noted: BTreeSet<_> = store.rows(sql).into_iter().collect();
    let is_late = |order: &usize| stand_ins.plan.end(*order) == "approval-late";
    for order in (0..stand_ins.plan.orders).filter(is_late) {
        if ends[&order] == "approval-late" {
            assert!(noted.contains(&format!("order_{order}")), "order_{order} has no straggler");
            let reminder = (order, "reminder".to_owned());
            assert!(stand_ins.ledger().effects.contains_key(&reminder), "order_{order}");
        }
    }
}

/// Every effect had one idempotency key, however often it was asked for; how many there are, and
/// how many requests were repeated.
fn effects_are_single(stand_ins: &StandIns) -> (usize, usize) {
    let ledger = stand_ins.ledger();
    let mut made = BTreeMap::<usize, usize>::new();
    for ((order, what), effect) in &ledger.effects {
        assert_eq!(effect.keys.len(), 1, "order_{order}, {what}: {:?}", effect.keys);
        *made.entry(*order).or_default() += usize::from(what.starts_with("video-"));
        let both = ledger.effects.contains_key(&(*order, "refund".to_owned()))
            && ledger.effects.contains_key(&(*order, "delivery".to_owned()));
        assert!(!both, "order_{order} was delivered and refunded");
    }
    assert!(made.values().all(|count| *count <= VIDEOS), "{made:?}");
    let requests: usize = ledger.effects.values().flat_map(|effect| effect.keys.values()).sum();
    (ledger.effects.len(), requests - ledger.effects.len())
}

/// Orders of which a delivery died in two hosts.
fn quarantined(store: &Books<'_>) -> BTreeSet<String> {
    let sql = "SELECT e.subject FROM attempts a JOIN events e ON e.id = a.event
               WHERE a.outcome = 7 AND e.subject IS NOT NULL
               GROUP BY a.event, a.ordinal, e.subject HAVING count(*) > 1";
    store.rows(sql).into_iter().collect()
}

/// Orders whose answer was stored when the time for it was over, or nearly.
fn slow(store: &Books<'_>) -> BTreeSet<String> {
    let sql = format!(
        "SELECT answer.subject FROM events answer
           JOIN events asked ON asked.subject = answer.subject AND asked.type = 'approval.asked'
         WHERE answer.source = 'shop' AND answer.time_ms - asked.time_ms > {APPROVAL_MS} - 1000"
    );
    store.rows(&sql).into_iter().collect()
}

impl Books<'_> {
    /// The rows of a query, each as text.
    fn rows(&self, sql: &str) -> Vec<String> {
        let store = match self {
            Self::File(store) => store,
            Self::Shared(cluster) => return asked(cluster, sql),
        };
        let mut statement = store.prepare(sql).unwrap();
        let columns = statement.column_count();
        let text = |row: &rusqlite::Row<'_>| {
            let values = (0..columns).map(|column| row.get::<_, rusqlite::types::Value>(column));
            let text = |value| match value {
                rusqlite::types::Value::Text(text) => text,
                rusqlite::types::Value::Integer(number) => number.to_string(),
                other => format!("{other:?}"),
            };
            let row = values.map(|value| value.map(text)).collect::<Result<Vec<_>, _>>();
            row.map(|row| row.join(" "))
        };
        statement.query_map([], text).unwrap().map(Result::unwrap).collect()
    }
}
