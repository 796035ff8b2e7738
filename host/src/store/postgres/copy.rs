//! Takes everything of another store, in one transaction.

use std::error::Error as StdError;
use std::path::Path;
use std::pin::pin;

use bytes::BytesMut;
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{IsNull, ToSql, Type};

use super::client::SqlTransaction;
use super::connect::{DatabaseAddress, HeldConnection};
use super::error::words;
use super::schema;
use crate::store::model::{CopyCell, CopyMarks, CopyRow};

/// The most days that get partitions of their own, the newest ones. Every query locks each of them.
const MAX_DAYS: usize = 64;

const DAY_MS: i64 = 24 * 3600 * 1000;

/// A database that a store is copied into.
#[derive(Debug)]
pub(in crate::store) struct CopyTarget {
    client: HeldConnection,
    address: DatabaseAddress,
}

/// The transaction in which it is filled. If it is dropped, the database is as before.
pub(in crate::store) struct CopyTransaction<'c> {
    transaction: SqlTransaction<'c>,
    address: DatabaseAddress,
    /// The time that stands in the place of the database's, if there is one.
    at: Option<i64>,
}

impl CopyTarget {
    /// Connects to a server that takes writes.
    ///
    /// # Errors
    /// For people.
    pub(in crate::store) async fn connect(
        url: &SecretString,
        ca_file: Option<&Path>,
    ) -> Result<Self, String> {
        let connected = async {
            let address = DatabaseAddress::of(url, ca_file, false)?;
            let client = address.hold().await?;
            schema::check_server(&client, &address).await?;
            Ok::<_, super::PostgresOpenError>(Self { client, address })
        };
        connected.await.map_err(|error| error.to_string())
    }

    /// Makes the schema if there is none, and keeps hosts away until the transaction ends.
    ///
    /// # Errors
    /// A host runs on it, or one of `tables`, which are names for people and tables, has rows.
    pub(in crate::store) async fn begin(
        &mut self,
        tables: impl Iterator<Item = (&'static str, &'static str)>,
        at: Option<i64>,
    ) -> Result<CopyTransaction<'_>, String> {
        let address = self.address.clone();
        let failed = |error| address.refusal(&error).to_string();
        let transaction = self.client.transaction().await.map_err(failed)?;
        // The server waits for rows that are read elsewhere.
        let waits = "SET LOCAL idle_in_transaction_session_timeout = 0";
        transaction.batch_execute(waits).await.map_err(failed)?;
        schema::migrate(&transaction, &address).await.map_err(|error| error.to_string())?;
        let begun = CopyTransaction { transaction, address: address.clone(), at };
        begun.refuse_hosts().await?;
        begun.empty_time_limits().await?;
        begun.refuse_rows(tables).await?;
        Ok(begun)
    }
}

impl CopyTransaction<'_> {
    fn said(&self, error: &tokio_postgres::Error) -> String {
        format!("{} failed: {}", self.address.server, words(error))
    }

    /// Refuses a database with a host that lives, and keeps others from registering.
    async fn refuse_hosts(&self) -> Result<(), String> {
        let locked = "LOCK TABLE hookbox.hosts IN SHARE ROW EXCLUSIVE MODE";
        self.transaction.batch_execute(locked).await.map_err(|error| self.said(&error))?;
        let sql = "SELECT string_agg(h.name, ', ' ORDER BY h.name) FROM hookbox.hosts h
            WHERE h.alive > clock_timestamp() - interval '15 seconds'";
        let row = self.transaction.query_one(sql, &[]).await;
        match row.map_err(|error| self.said(&error))?.get::<_, Option<String>>(0) {
            Some(names) => Err(format!(
                "hosts run on the database `{}` or ended less than 15 s ago: {names}. Stop them first",
                self.address.database
            )),
            None => Ok(()),
        }
    }

    /// Removes the time limits that a host has told which was only tried: those of its
    /// configuration, which it tells at each start.
    async fn empty_time_limits(&self) -> Result<(), String> {
        let emptied = self.transaction.execute("DELETE FROM hookbox.time_limits", &[]).await;
        emptied.map(drop).map_err(|error| self.said(&error))
    }

    /// Refuses a database that is not empty.
    async fn refuse_rows(
        &self,
        tables: impl Iterator<Item = (&'static str, &'static str)>,
    ) -> Result<(), String> {
        let mut found = Vec::new();
        for (name, into) in tables {
            let rows = self.count(into).await?;
            if rows > 0 {
                found.push(format!("{name}: {rows}"));
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let (database, found) = (&self.address.database, found.join(", "));
        Err(format!(
            "the database `{database}` holds a store already ({found}), and a copy needs an empty one: make another \
             with `createdb`, or, if nothing of that is needed, empty this one with `DROP SCHEMA hookbox CASCADE`"
        ))
    }

    /// Makes the partitions of the newest of these days. Events of the others are in the rest.
    pub(in crate::store) async fn make_days(&self, days: &[i64]) -> Result<(), String> {
        for day in &days[days.len().saturating_sub(MAX_DAYS)..] {
            let made = "SELECT hookbox.partitions_v1($1)";
            let made = self.transaction.execute(made, &[&(day * DAY_MS)]).await;
            made.map_err(|error| self.said(&error))?;
        }
        Ok(())
    }

    /// Writes the rows that come, and says after each part how many came; returns their number.
    pub(in crate::store) async fn write(
        &self,
        into: &str,
        columns: &str,
        mut rows: mpsc::Receiver<Vec<CopyRow>>,
        mut tell: impl FnMut(u64),
    ) -> Result<u64, String> {
        let said = |error| format!("table `{into}`: {}", self.said(&error));
        let typed = format!("SELECT {columns} FROM hookbox.{into}");
        let typed = self.transaction.direct().prepare(&typed).await.map_err(said)?;
        let types: Vec<Type> = typed.columns().iter().map(|it| it.type_().clone()).collect();
        let copy = format!("COPY hookbox.{into} ({columns}) FROM STDIN (FORMAT binary)");
        let sink = self.transaction.direct().copy_in(&copy).await.map_err(said)?;
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
        let mut written = 0;
        while let Some(part) = rows.recv().await {
            for row in &part {
                writer.as_mut().write_raw(row).await.map_err(said)?;
            }
            written += part.len() as u64;
            tell(written);
        }
        let finished = writer.finish().await.map_err(said)?;
        match finished == written {
            true => Ok(written),
            false => Err(format!("table `{into}` took {finished} rows of {written}")),
        }
    }

    /// The number of rows of a table.
    pub(in crate::store) async fn count(&self, into: &str) -> Result<u64, String> {
        let sql = format!("SELECT count(*) FROM hookbox.{into}");
        let row = self.transaction.query_one(&sql, &[]).await;
        Ok(row.map_err(|error| self.said(&error))?.get::<_, i64>(0).unsigned_abs())
    }

    /// Counts what is there, and lets every number go on where it stood.
    pub(in crate::store) async fn go_on_from(&self, marks: CopyMarks) -> Result<(), String> {
        let parameters: [&(dyn ToSql + Sync); 5] = [
            &marks.last_id,
            &marks.emptied_up_to,
            &marks.emptying_at,
            &marks.emptying_kept,
            &marks.audit_before_ms,
        ];
        let swept = "WITH audit AS (UPDATE hookbox.audit_swept SET before_ms = $5)
            UPDATE hookbox.swept SET last_id = $1, empty_up_to = $2, empty_at = $3, empty_kept = $4";
        let done = self.transaction.execute(swept, &parameters).await;
        done.map_err(|error| self.said(&error))?;
        let window = "UPDATE hookbox.dedupe_present SET since = hookbox.now_ms_v1($1)";
        let done = self.transaction.execute(window, &[&self.at]).await;
        done.map_err(|error| self.said(&error))?;
        for (sequence, table, column, least) in [
            ("kv_versions", "kv", "version", 0),
            ("audit_id_seq", "audit", "id", marks.last_entry),
            ("operations_id_seq", "operations", "id", marks.last_operation),
            ("gatherings_number_seq", "gatherings", "number", 0),
            ("gathered_number_seq", "gathered", "number", 0),
        ] {
            let sql = format!(
                "SELECT setval('hookbox.{sequence}', greatest(max(t.{column}), $1) + 1, false)
                 FROM hookbox.{table} t"
            );
            let set = self.transaction.execute(&sql, &[&least]).await;
            set.map_err(|error| self.said(&error))?;
        }
        self.transaction.batch_execute(COUNTED).await.map_err(|error| self.said(&error))
    }

    /// Makes it last.
    pub(in crate::store) async fn commit(self) -> Result<(), String> {
        let (server, database) = (self.address.server.clone(), self.address.database.clone());
        self.transaction.commit().await.map_err(|error| {
            format!(
                "{server} did not say whether the copy is there: {}. Copy again: if it is, the database `{database}` is \
                 not empty any more",
                words(&error)
            )
        })
    }
}

/// Counts what was copied. Triggers have counted groups of failures.
const COUNTED: &str = "
    INSERT INTO hookbox.counts (plugin, state, n)
    SELECT o.plugin, CASE WHEN o.waits THEN 2 ELSE 0 END, count(*) FROM hookbox.open o GROUP BY 1, 2
    UNION ALL
    SELECT s.plugin, s.state, count(*) FROM hookbox.settled s GROUP BY 1, 2
    UNION ALL
    SELECT '', -1, count(*) FROM hookbox.events HAVING count(*) > 0
    UNION ALL
    SELECT v.bucket, -2, sum(octet_length(v.key) + octet_length(v.value)) FROM hookbox.kv v
    GROUP BY 1;
    SELECT hookbox.fold_v1();
    ANALYZE hookbox.events, hookbox.open, hookbox.settled, hookbox.attempts, hookbox.dedupe,
        hookbox.kv, hookbox.gathered, hookbox.audit";

impl ToSql for CopyCell {
    fn to_sql(
        &self,
        to: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match (self, to) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Integer(number), &Type::INT8) => number.to_sql(to, out),
            (Self::Integer(number), &Type::INT4) => i32::try_from(*number)?.to_sql(to, out),
            (Self::Integer(number), &Type::INT2) => i16::try_from(*number)?.to_sql(to, out),
            (Self::Integer(number), &Type::BOOL) => (*number != 0).to_sql(to, out),
            // No text of Postgres holds a NUL.
            (Self::Text(text), &Type::TEXT) if text.contains('\0') => {
                text.replace('\0', "\u{fffd}").to_sql(to, out)
            }
            (Self::Text(text), &Type::TEXT) => text.to_sql(to, out),
            (Self::Text(text), &Type::TEXT_ARRAY) => {
                let names: Vec<&str> = text.split(',').filter(|name| !name.is_empty()).collect();
                names.to_sql(to, out)
            }
            (Self::Bytes(bytes), &Type::BYTEA) => bytes.as_slice().to_sql(to, out),
            _ => Err(format!("a value does not fit into a column of the type {to}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    tokio_postgres::types::to_sql_checked!();
}
