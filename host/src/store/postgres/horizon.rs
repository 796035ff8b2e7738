//! The oldest snapshot of the server: as long as somebody has it, vacuuming removes nothing that
//! was deleted since, and every query passes over more of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio_postgres::{Error, Row};

use super::client::SqlClient as Client;
use super::error::words;
use super::shared::PostgresShared;
use crate::clock::rfc3339;

/// The most readings that are remembered. Of more, every other one is forgotten.
const MOST: usize = 1_024;

/// The numbers of transactions that were next at earlier readings: the age of a snapshot follows
/// from them, whoever has it. The start of its transaction is another role's secret.
#[derive(Debug, Default)]
pub(super) struct HorizonWatch {
    readings: VecDeque<(i64, Instant)>,
    /// Whether the last reading failed, which is said once.
    is_unknown: bool,
}

/// The time for which the oldest snapshot is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HorizonAge {
    time: Duration,
    /// Whether it was there at the first reading, so that it may be older.
    is_least: bool,
}

/// The holder of the oldest snapshot.
#[derive(Debug)]
struct SnapshotHolder {
    kind: String,
    name: String,
    application: String,
    role: String,
    age: Option<Duration>,
}

impl HorizonWatch {
    /// Reads the oldest snapshot, and notes for operators if it is held for as long as `bound`.
    pub(super) async fn observe(
        &mut self,
        client: &Client,
        shared: &PostgresShared,
        bound: Duration,
    ) {
        let read = self.read(client, shared, bound).await;
        let was_unknown = std::mem::replace(&mut self.is_unknown, read.is_err());
        match read {
            Err(error) if !was_unknown => {
                tracing::warn!(error = words(&error), "this host cannot learn the oldest snapshot");
            }
            Ok(()) if was_unknown => {
                tracing::info!("this host learns the oldest snapshot again");
            }
            _ => {}
        }
    }

    async fn read(
        &mut self,
        client: &Client,
        shared: &PostgresShared,
        bound: Duration,
    ) -> Result<(), Error> {
        let sql = "SELECT next, behind, kind, name, application, role, age_ms
            FROM hookbox.horizon_v1()";
        let row = client.query_one(sql, &[]).await?;
        let (next, behind): (i64, i64) = (row.get(0), row.get(1));
        let age = self.note(next, next - behind, Instant::now());
        let holder = holder(&row);
        let age = age.told_by(holder.as_ref());
        // A snapshot that was there before says nothing of its age at the first reading.
        if !(age.is_least && age.time.is_zero()) {
            metrics::gauge!("hookbox_store_oldest_xmin_seconds").set(age.time.as_secs_f64());
        }
        let warning = (age.time >= bound).then(|| age.words(holder.as_ref(), shared.host_ms()));
        shared.note_horizon(warning);
        Ok(())
    }

    /// Notes that this transaction is the next one, and this one the oldest of all snapshots.
    fn note(&mut self, next: i64, oldest: i64, now: Instant) -> HorizonAge {
        if self.readings.back().is_some_and(|(before, _)| next < *before) {
            // A server that was behind has become the primary.
            self.readings.clear();
        }
        self.readings.push_back((next, now));
        // The last reading before it was there is kept, and those since.
        while self.readings.get(1).is_some_and(|(next, _)| *next <= oldest) {
            self.readings.pop_front();
        }
        if self.readings.len() > MOST {
            let mut place = 0;
            self.readings.retain(|_| {
                place += 1;
                place % 2 == 1
            });
        }
        let (first, at) = self.readings[0];
        HorizonAge { time: now.saturating_duration_since(at), is_least: first > oldest }
    }
}

impl HorizonAge {
    /// The same if the holder's start is known.
    fn told_by(self, holder: Option<&SnapshotHolder>) -> Self {
        match holder.and_then(|holder| holder.age) {
            Some(age) if self.is_least => Self { time: age.max(self.time), is_least: false },
            _ => self,
        }
    }

    /// The matter for an operator: who holds it, since when, and what would be right.
    fn words(self, holder: Option<&SnapshotHolder>, now_ms: i64) -> String {
        let ms = i64::try_from(self.time.as_millis()).unwrap_or(i64::MAX);
        let since = rfc3339(now_ms.saturating_sub(ms));
        let earlier = if self.is_least { " or longer" } else { "" };
        let (who, right) = match holder {
            Some(holder) => holder.words(),
            None => (
                "a transaction that this host's role cannot see".to_owned(),
                "look at `pg_stat_activity`, `pg_prepared_xacts` and `pg_replication_slots` as a \
                 superuser"
                    .to_owned(),
            ),
        };
        format!(
            "{who} keeps an old snapshot of Postgres since {since}{earlier}, so that deleted rows \
             stay and the store becomes slower: {right}"
        )
    }
}

impl SnapshotHolder {
    /// The holder, and what ends it.
    fn words(&self) -> (String, String) {
        let Self { name, application, role, .. } = self;
        // Within quotes of SQL.
        let quoted = name.replace('\'', "''");
        let end_query = "end the query there that holds it (`hot_standby_feedback` tells of it)";
        match &*self.kind {
            "used slot" => {
                (format!("the standby at the replication slot `{name}`"), end_query.to_owned())
            }
            "standby" => (format!("the standby `{application}`"), end_query.to_owned()),
            "slot" => (
                format!("the replication slot `{name}`"),
                format!(
                    "start its standby again, or drop it with `SELECT \
                     pg_drop_replication_slot('{quoted}')`"
                ),
            ),
            "prepared" => (
                format!("the prepared transaction `{name}` of role `{role}`"),
                format!(
                    "end it with `COMMIT PREPARED '{quoted}'` or `ROLLBACK PREPARED '{quoted}'`"
                ),
            ),
            _ => (
                format!("process {name} of Postgres (role `{role}`, application `{application}`)"),
                format!(
                    "end its transaction, or the process with `SELECT \
                     pg_terminate_backend({name})`, and set \
                     `idle_in_transaction_session_timeout` for its role"
                ),
            ),
        }
    }
}

/// The holder of a reading, if one is seen.
fn holder(row: &Row) -> Option<SnapshotHolder> {
    let text = |place| row.get::<_, Option<String>>(place).unwrap_or_default();
    let age: Option<i64> = row.get(6);
    Some(SnapshotHolder {
        kind: row.get::<_, Option<String>>(2)?,
        name: text(3),
        application: text(4),
        role: text(5),
        age: age.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn age(seconds: u32, is_least: bool) -> HorizonAge {
        HorizonAge { time: SECOND * seconds, is_least }
    }

    #[test]
    fn the_age_of_a_snapshot_is_the_time_since_its_transaction_was_the_next() {
        let (mut watch, start) = (HorizonWatch::default(), Instant::now());
        let at = |seconds| start + SECOND * seconds;
        assert_eq!(watch.note(100, 40, at(0)), age(0, true), "it may be older");
        assert_eq!(watch.note(110, 40, at(1)), age(1, true));
        assert_eq!(watch.note(120, 105, at(2)), age(2, false), "it came after the first reading");
        assert_eq!(watch.note(130, 115, at(3)), age(2, false));
        assert_eq!(watch.note(140, 140, at(4)), age(0, false), "nobody has an old one");
        for second in 5..20_000 {
            let next = 140 + 10 * i64::from(second);
            assert_eq!(watch.note(next, 190, at(second)), age(second - 5, false));
            assert!(watch.readings.len() <= MOST);
        }
        assert_eq!(watch.note(7, 7, at(20_000)), age(0, false), "another server counts anew");
    }

    #[test]
    fn a_holder_that_tells_its_start_is_as_old_as_it_says_if_it_came_before_the_host() {
        let holder = |age| SnapshotHolder {
            kind: "prepared".to_owned(),
            name: "move".to_owned(),
            application: String::new(),
            role: "app".to_owned(),
            age,
        };
        let told = Some(holder(Some(SECOND * 600)));
        assert_eq!(age(1, true).told_by(told.as_ref()), age(600, false));
        assert_eq!(age(1, false).told_by(told.as_ref()), age(1, false));
        assert_eq!(age(1, true).told_by(Some(&holder(None))), age(1, true));
        let said = age(600, true).words(told.as_ref(), 600_000);
        for part in ["prepared transaction `move`", "1970-01-01T00:00:00", "or longer", "ROLLBACK"]
        {
            assert!(said.contains(part), "{part} is not in: {said}");
        }
        let slot = SnapshotHolder { kind: "slot".to_owned(), ..holder(None) };
        let said = age(600, false).words(Some(&slot), 600_000);
        assert!(said.contains("slot `move`") && !said.contains("or longer"), "{said}");
        let used = SnapshotHolder { kind: "used slot".to_owned(), ..holder(None) };
        let said = age(600, false).words(Some(&used), 600_000);
        assert!(said.contains("standby") && !said.contains("pg_drop"), "{said}");
        let sender = SnapshotHolder { kind: "standby".to_owned(), ..holder(None) };
        let said = age(600, false).words(Some(&sender), 600_000);
        assert!(said.contains("hot_standby_feedback") && !said.contains("terminate"), "{said}");
        let strange = SnapshotHolder { name: "x'; DROP".to_owned(), ..holder(None) };
        let said = age(1, true).words(Some(&strange), 0);
        assert!(said.contains("PREPARED 'x''; DROP'"), "{said}");
        assert!(age(1, true).words(None, 0).contains("cannot see"));
    }
}
