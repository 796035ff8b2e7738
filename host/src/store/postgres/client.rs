//! A connection as the store speaks to it: with prepared statements, or behind a pooler without.
//!
//! A pooler that lends a server's connection for one transaction at a time keeps nothing of a
//! session: no prepared statement, and no setting. Behind one, statements have no name and come
//! with the types of their parameters, and settings are those of the transaction.

use std::collections::HashMap;
use std::future::Future;
use std::ops::Deref;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

use tokio_postgres::error::SqlState;
use tokio_postgres::types::{Oid, ToSql, Type};
use tokio_postgres::{Client, Error, Row, SimpleQueryMessage, Statement};

/// The settings of every session, or behind a pooler of every transaction.
///
/// - No time limit of the server ends a commit that waits for its standby: it would be visible,
///   reported as a success, and might still be lost.
/// - A plan that was made while a table was small is kept when it is large or full of dead rows: no
///   plan reads a whole table where an index leads to the row. Plans without an index look so dear
///   then that they would be compiled (`jit`).
const SETTINGS: [&str; 5] = [
    "statement_timeout = 0",
    "idle_in_transaction_session_timeout = '10s'",
    "lock_timeout = '5s'",
    "enable_seqscan = off",
    "jit = off",
];

/// The commit that acknowledges, of a session or (`true`) a transaction. A server that asks for
/// more than `on` keeps it.
fn commits(is_local: bool) -> String {
    format!(
        "SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')
             WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, {is_local})"
    )
}

/// Begins a transaction of writes, each statement on a snapshot of its own.
pub(super) const WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Begins a transaction of queries, all of it at one moment.
pub(super) const READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// A pooler between host and server, if there is one.
#[derive(Debug, Default)]
pub(super) struct Pooler {
    is_there: AtomicBool,
    /// The types of the parameters of statements that were used.
    types: Mutex<HashMap<String, Arc<[Type]>>>,
}

impl Pooler {
    /// Whether connections are lent for one transaction at a time.
    pub(super) fn is_there(&self) -> bool {
        self.is_there.load(Ordering::Relaxed)
    }

    /// Notes that there is one. Connections that are there use no prepared statement any more.
    pub(super) fn found(&self) {
        self.is_there.store(true, Ordering::Relaxed);
    }

    /// Says what is different with one.
    pub(super) fn tell(&self) {
        if self.is_there() {
            tracing::info!(
                "a pooler is between this host and Postgres: statements are not prepared, and work \
                 of other hosts is found each second"
            );
        }
    }

    /// The settings of a new connection, if there are any.
    pub(super) fn session(&self) -> Option<String> {
        let sql = || {
            let settings = SETTINGS.map(|setting| format!("SET {setting}; ")).concat();
            let commits = commits(false);
            format!(
                "{settings}{commits}; SET TimeZone = 'UTC'; \
                 SET default_transaction_isolation = 'read committed'"
            )
        };
        (!self.is_there()).then(sql)
    }

    /// The text that begins a transaction.
    fn begin(&self, begin: &str) -> String {
        match self.is_there() {
            true => {
                let settings = SETTINGS.map(|setting| format!("; SET LOCAL {setting}")).concat();
                format!("{begin}{settings}; {}", commits(true))
            }
            false => begin.to_owned(),
        }
    }

    fn known(&self, sql: &str) -> Option<Arc<[Type]>> {
        self.types.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned()
    }

    /// The types of a statement's parameters. The statement is prepared for it, and forgotten, in
    /// one message, which a pooler hands to one connection.
    async fn types(&self, client: &Client, sql: &str) -> Result<Arc<[Type]>, Error> {
        if let Some(known) = self.known(sql) {
            return Ok(known);
        }
        let asked = format!(
            "PREPARE hookbox_types AS {sql};
             SELECT array_to_string(p.parameter_types::oid[], ' ')
             FROM pg_prepared_statements p WHERE p.name = 'hookbox_types';
             DEALLOCATE hookbox_types"
        );
        let answers = client.simple_query(&asked).await?;
        let row = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        let of = |oid: &str| oid.parse::<Oid>().ok().and_then(Type::from_oid);
        let types = row.unwrap_or_default().split_ascii_whitespace();
        let types: Arc<[Type]> = types.map(|oid| of(oid).unwrap_or(Type::UNKNOWN)).collect();
        let mut all = self.types.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(sql.to_owned(), Arc::clone(&types));
        Ok(types)
    }
}

/// A statement that is used again and again.
#[derive(Debug, Clone)]
pub(super) struct SqlStatement {
    sql: &'static str,
    types: Arc<[Type]>,
    named: Option<Statement>,
}

/// A statement, made ready or not.
pub(super) trait AsSql: Sync {
    fn sql(&self) -> &str;

    fn ready(&self) -> Option<&SqlStatement> {
        None
    }
}

impl AsSql for str {
    fn sql(&self) -> &str {
        self
    }
}

impl AsSql for String {
    fn sql(&self) -> &str {
        self
    }
}

impl AsSql for SqlStatement {
    fn sql(&self) -> &str {
        self.sql
    }

    fn ready(&self) -> Option<&SqlStatement> {
        Some(self)
    }
}

/// The values of a statement.
type SqlValues<'a> = [&'a (dyn ToSql + Sync)];

/// A connection.
#[derive(Debug)]
pub(super) struct SqlClient {
    client: Client,
    pooler: Arc<Pooler>,
}

impl SqlClient {
    pub(super) fn new(client: Client, pooler: Arc<Pooler>) -> Self {
        Self { client, pooler }
    }

    /// The connection itself, for what no pooler lets through.
    pub(super) fn direct(&self) -> &Client {
        &self.client
    }

    /// Makes a statement ready to be used often.
    pub(super) async fn prepare(&self, sql: &'static str) -> Result<SqlStatement, Error> {
        if self.pooler.is_there() {
            let types = self.pooler.types(&self.client, sql).await?;
            return Ok(SqlStatement { sql, types, named: None });
        }
        let named = self.client.prepare(sql).await?;
        Ok(SqlStatement { sql, types: named.params().into(), named: Some(named) })
    }

    /// The values with their types, if the statement is to have no name; otherwise none.
    async fn typed<'a>(
        &self,
        statement: &(impl AsSql + ?Sized),
        values: &SqlValues<'a>,
    ) -> Result<Option<Vec<(&'a (dyn ToSql + Sync), Type)>>, Error> {
        if !self.pooler.is_there() {
            return Ok(None);
        }
        let types = match statement.ready() {
            Some(ready) => Arc::clone(&ready.types),
            None => self.pooler.types(&self.client, statement.sql()).await?,
        };
        Ok(Some(values.iter().copied().zip(types.iter().cloned()).collect()))
    }

    /// Runs a statement, which is sent with the first poll if it was made ready.
    pub(super) async fn query(
        &self,
        statement: &(impl AsSql + ?Sized),
        values: &SqlValues<'_>,
    ) -> Result<Vec<Row>, Error> {
        if let Some(typed) = self.typed(statement, values).await? {
            return self.client.query_typed(statement.sql(), &typed).await;
        }
        let rows = match statement.ready().and_then(|ready| ready.named.as_ref()) {
            Some(named) => self.client.query(named, values).await,
            None => self.client.query(statement.sql(), values).await,
        };
        self.learn(rows)
    }

    /// Notes a pooler that was not known, if that is the error.
    fn learn<T>(&self, answer: Result<T, Error>) -> Result<T, Error> {
        if answer.as_ref().err().is_some_and(is_of_pooler) {
            self.pooler.found();
        }
        answer
    }

    /// Runs a statement that has one row.
    pub(super) async fn query_one(&self, sql: &str, values: &SqlValues<'_>) -> Result<Row, Error> {
        match self.typed(sql, values).await? {
            Some(typed) => self.client.query_typed_one(sql, &typed).await,
            None => self.learn(self.client.query_one(sql, values).await),
        }
    }

    /// Runs a statement that has one row, or none.
    pub(super) async fn query_opt(
        &self,
        sql: &str,
        values: &SqlValues<'_>,
    ) -> Result<Option<Row>, Error> {
        match self.typed(sql, values).await? {
            Some(typed) => self.client.query_typed_opt(sql, &typed).await,
            None => self.learn(self.client.query_opt(sql, values).await),
        }
    }

    /// Runs a statement, and returns how many rows it has changed or found.
    pub(super) async fn execute(&self, sql: &str, values: &SqlValues<'_>) -> Result<u64, Error> {
        match self.typed(sql, values).await? {
            Some(typed) => self.client.execute_typed(sql, &typed).await,
            None => self.learn(self.client.execute(sql, values).await),
        }
    }

    /// Runs statements without parameters.
    pub(super) async fn batch_execute(&self, sql: &str) -> Result<(), Error> {
        self.client.batch_execute(sql).await
    }

    /// Begins a transaction: [`WRITE`] or [`READ`]. It is sent with the first poll.
    pub(super) async fn begin(&self, begin: &str) -> Result<(), Error> {
        self.client.batch_execute(&self.pooler.begin(begin)).await
    }

    /// Begins a transaction of writes that is rolled back when it is dropped.
    pub(super) async fn transaction(&mut self) -> Result<SqlTransaction<'_>, Error> {
        self.begin(WRITE).await?;
        Ok(SqlTransaction { client: self, open: true })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

/// A transaction on a connection of its own.
#[derive(Debug)]
pub(super) struct SqlTransaction<'c> {
    client: &'c SqlClient,
    open: bool,
}

impl SqlTransaction<'_> {
    pub(super) async fn commit(mut self) -> Result<(), Error> {
        self.open = false;
        self.client.batch_execute("COMMIT").await
    }
}

impl Deref for SqlTransaction<'_> {
    type Target = SqlClient;

    fn deref(&self) -> &SqlClient {
        self.client
    }
}

impl Drop for SqlTransaction<'_> {
    fn drop(&mut self) {
        if self.open {
            // Sent with the first poll, and before whatever follows on the connection.
            let rollback = pin!(self.client.batch_execute("ROLLBACK"));
            let _ = rollback.poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

/// Whether a statement is not known, or another one of its name is: a pooler is between.
pub(super) fn is_of_pooler(error: &Error) -> bool {
    let codes = [SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::DUPLICATE_PSTATEMENT];
    error.code().is_some_and(|code| codes.contains(code))
}
