//! Connections to the database.

use std::future::{Future, poll_fn};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::task::AbortHandle;
use tokio_postgres::config::Host;
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::{AsyncMessage, Config, SimpleQueryMessage};

use super::client::{Pooler, SqlClient, is_of_pooler};
use super::error::{PostgresOpenError, words};
use super::options::PostgresOptions;
use super::tls::PostgresTls;
use crate::tasks;

/// The time in which a connection is there, or nobody answers.
const WITHIN: Duration = Duration::from_secs(10);

/// How often two connections are asked whether a pooler is between.
const LOOKS: u32 = 3;

/// A connection whose socket is closed when this is dropped, whatever the server does. Nothing is
/// cancelled: a commit that waits for its standby would be visible and might be lost.
#[derive(Debug)]
pub(super) struct HeldConnection {
    client: SqlClient,
    driver: AbortHandle,
    warned: Arc<AtomicBool>,
}

impl HeldConnection {
    /// Whether the server has warned since this was asked for the last time.
    pub(super) fn was_warned(&self) -> bool {
        self.warned.swap(false, Ordering::Relaxed)
    }
}

impl Drop for HeldConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Deref for HeldConnection {
    type Target = SqlClient;

    fn deref(&self) -> &SqlClient {
        &self.client
    }
}

impl DerefMut for HeldConnection {
    fn deref_mut(&mut self) -> &mut SqlClient {
        &mut self.client
    }
}

/// The database, and how to get there.
#[derive(Clone)]
pub(super) struct DatabaseAddress {
    config: Config,
    tls: PostgresTls,
    /// What is between, if anything.
    pub(super) pooler: Arc<Pooler>,
    /// Host and port, for people.
    pub(super) server: String,
    pub(super) user: String,
    pub(super) database: String,
}

impl std::fmt::Debug for DatabaseAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Nothing of the password.
        f.debug_tuple("DatabaseAddress").field(&self.server).finish()
    }
}

impl DatabaseAddress {
    /// Reads the address of a host.
    pub(super) fn read(options: &PostgresOptions) -> Result<Self, PostgresOpenError> {
        Self::of(&options.url, options.ca_file.as_deref())
    }

    /// Reads an address.
    pub(super) fn of(
        url: &SecretString,
        ca_file: Option<&Path>,
    ) -> Result<Self, PostgresOpenError> {
        let mut config: Config = url
            .expose_secret()
            .parse()
            .map_err(|error| PostgresOpenError::Address(words(&error)))?;
        let missing = |what: &str| PostgresOpenError::Address(format!("it names no {what}"));
        let server = server_of(&config).ok_or_else(|| missing("host"))?;
        let user = config.get_user().ok_or_else(|| missing("user"))?.to_owned();
        let database = config.get_dbname().ok_or_else(|| missing("database"))?.to_owned();
        let tls = PostgresTls::new(ca_file)
            .map_err(|why| PostgresOpenError::Tls { server: server.clone(), why })?;
        config
            .application_name("hookbox")
            .connect_timeout(Duration::from_secs(5))
            .tcp_user_timeout(Duration::from_secs(10))
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(3);
        Ok(Self { config, tls, pooler: Arc::default(), server, user, database })
    }

    /// Makes a connection, which is driven by a task of its own.
    pub(super) async fn connect(&self) -> Result<SqlClient, PostgresOpenError> {
        let connected = self.config.connect(self.tls.clone()).await;
        let (client, connection) = connected.map_err(|error| self.refusal(&error))?;
        tasks::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(error = words(&error), "a connection to Postgres has ended");
            }
        });
        let client = SqlClient::new(client, Arc::clone(&self.pooler));
        self.set_up(&client).await?;
        Ok(client)
    }

    /// Makes a connection to a server that takes writes.
    pub(super) async fn hold(&self) -> Result<HeldConnection, PostgresOpenError> {
        self.in_time(async {
            let held = self.dial().await?;
            self.settle(&held).await?;
            Ok(held)
        })
        .await
    }

    /// Makes two connections to a server that takes writes, and finds out whether a pooler is
    /// between: then both may have the same process of the server.
    pub(super) async fn hold_two(
        &self,
        pooler: Option<bool>,
    ) -> Result<[HeldConnection; 2], PostgresOpenError> {
        self.in_time(async {
            let both = [self.dial().await?, self.dial().await?];
            match pooler {
                Some(true) => self.pooler.found(),
                Some(false) => {}
                None => self.look_for_pooler(&both).await?,
            }
            for held in &both {
                self.settle(held).await?;
            }
            Ok(both)
        })
        .await
    }

    async fn in_time<T>(
        &self,
        connecting: impl Future<Output = Result<T, PostgresOpenError>>,
    ) -> Result<T, PostgresOpenError> {
        let held = tokio::time::timeout(WITHIN, connecting).await;
        held.unwrap_or_else(|_| {
            let why = "it does not answer in time".to_owned();
            Err(PostgresOpenError::Unreachable { server: self.server.clone(), why })
        })
    }

    /// A connection that nothing was said on.
    async fn dial(&self) -> Result<HeldConnection, PostgresOpenError> {
        let connected = self.config.connect(self.tls.clone()).await;
        let (client, mut connection) = connected.map_err(|error| self.refusal(&error))?;
        let warned = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&warned);
        let driver = tasks::spawn(async move {
            loop {
                match poll_fn(|cx| connection.poll_message(cx)).await {
                    Some(Ok(AsyncMessage::Notice(notice))) => {
                        if notice.parsed_severity() == Some(Severity::Warning) {
                            tracing::warn!(message = notice.message(), "Postgres warns");
                            heard.store(true, Ordering::Relaxed);
                        }
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        tracing::warn!(error = words(&error), "a connection to Postgres has ended");
                        return;
                    }
                    None => return,
                }
            }
        });
        let client = SqlClient::new(client, Arc::clone(&self.pooler));
        Ok(HeldConnection { client, driver: driver.abort_handle(), warned })
    }

    /// Makes a connection ready, if its server takes writes.
    async fn settle(&self, held: &HeldConnection) -> Result<(), PostgresOpenError> {
        self.set_up(held).await?;
        let row = held
            .query_one(
                "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean,
                     current_setting('default_transaction_isolation')",
                &[],
            )
            .await
            .map_err(|error| self.refusal(&error))?;
        if row.get(0) {
            return Err(PostgresOpenError::ReadOnly(self.server.clone()));
        }
        let isolation: String = row.get(1);
        if isolation != "read committed" {
            let (user, server) = (self.user.clone(), self.server.clone());
            return Err(PostgresOpenError::Isolation { server, user, isolation });
        }
        Ok(())
    }

    async fn set_up(&self, client: &SqlClient) -> Result<(), PostgresOpenError> {
        match self.pooler.session() {
            Some(sql) => client.batch_execute(&sql).await.map_err(|error| self.refusal(&error)),
            None => Ok(()),
        }
    }

    /// Notes a pooler if two connections have one process of the server, which two that are direct
    /// never have. A busy pooler may lend them different ones each time.
    async fn look_for_pooler(&self, both: &[HeldConnection; 2]) -> Result<(), PostgresOpenError> {
        for _ in 0..LOOKS {
            let mut processes = Vec::new();
            for held in both {
                let asked = held.direct().simple_query("SELECT pg_backend_pid()").await;
                let rows = asked.map_err(|error| self.refusal(&error))?;
                let process = rows.iter().find_map(|row| match row {
                    SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                    _ => None,
                });
                processes.push(process);
            }
            if processes[0].is_some() && processes[0] == processes[1] {
                self.pooler.found();
                return Ok(());
            }
        }
        Ok(())
    }

    /// What a refusal means.
    pub(super) fn refusal(&self, error: &tokio_postgres::Error) -> PostgresOpenError {
        let (server, why) = (self.server.clone(), words(error));
        let Some(code) = error.code() else {
            return if !why.starts_with("error performing TLS handshake") {
                PostgresOpenError::Unreachable { server, why }
            } else if why.contains("does not support TLS") {
                PostgresOpenError::NoTls(server)
            } else {
                PostgresOpenError::Tls { server, why }
            };
        };
        let (user, database) = (self.user.clone(), self.database.clone());
        match *code {
            SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                PostgresOpenError::Login { server, user, why }
            }
            SqlState::INVALID_CATALOG_NAME => PostgresOpenError::NoDatabase { server, database },
            SqlState::TOO_MANY_CONNECTIONS => PostgresOpenError::Connections(server),
            SqlState::CANNOT_CONNECT_NOW | SqlState::ADMIN_SHUTDOWN => {
                PostgresOpenError::NotNow { server, why }
            }
            SqlState::READ_ONLY_SQL_TRANSACTION => PostgresOpenError::ReadOnly(server),
            SqlState::INSUFFICIENT_PRIVILEGE => PostgresOpenError::Rights { user, database, why },
            SqlState::UNDEFINED_COLUMN | SqlState::UNDEFINED_TABLE => {
                PostgresOpenError::Foreign(database)
            }
            _ if is_of_pooler(error) => PostgresOpenError::Pooler(server),
            _ => PostgresOpenError::Query { server, why },
        }
    }
}

/// Hosts and ports, for people.
fn server_of(config: &Config) -> Option<String> {
    let ports = config.get_ports();
    let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(5432);
    let named = config.get_hosts().iter().enumerate().map(|(at, host)| match host {
        Host::Tcp(name) => format!("{name}:{}", port(at)),
        Host::Unix(folder) => format!("{}:{}", folder.display(), port(at)),
    });
    let named: Vec<_> = named.collect();
    (!named.is_empty()).then(|| named.join(", "))
}
