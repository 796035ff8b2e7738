//! Connections to the database.

use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::task::AbortHandle;
use tokio_postgres::config::Host;
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::{AsyncMessage, Client, Config};

use super::error::{PostgresOpenError, words};
use super::options::PostgresOptions;
use super::tls::PostgresTls;
use super::wake::WakesHeard;
use crate::tasks;

/// The settings of every session. No time limit of the server ends a commit that waits for its
/// standby: it would be visible, reported as a success, and might still be lost.
const SESSION: &str = "SET statement_timeout = 0; SET synchronous_commit = on; \
     SET idle_in_transaction_session_timeout = '10s'; SET lock_timeout = '5s'; \
     SET default_transaction_isolation = 'read committed'; SET TimeZone = 'UTC'";

/// The time in which a connection is there, or nobody answers.
const WITHIN: Duration = Duration::from_secs(10);

/// A connection whose socket is closed when this is dropped, whatever the server does. Nothing is
/// cancelled: a commit that waits for its standby would be visible and might be lost.
#[derive(Debug)]
pub(super) struct HeldConnection {
    client: Client,
    driver: AbortHandle,
    warned: Arc<AtomicBool>,
    /// The notifications that have come, if it listens.
    pub(super) wakes: Arc<WakesHeard>,
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
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for HeldConnection {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// The database, and how to get there.
#[derive(Clone)]
pub(super) struct DatabaseAddress {
    config: Config,
    tls: PostgresTls,
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
    /// Reads the address.
    pub(super) fn read(options: &PostgresOptions) -> Result<Self, PostgresOpenError> {
        let mut config: Config = options
            .url
            .expose_secret()
            .parse()
            .map_err(|error| PostgresOpenError::Address(words(&error)))?;
        let missing = |what: &str| PostgresOpenError::Address(format!("it names no {what}"));
        let server = server_of(&config).ok_or_else(|| missing("host"))?;
        let user = config.get_user().ok_or_else(|| missing("user"))?.to_owned();
        let database = config.get_dbname().ok_or_else(|| missing("database"))?.to_owned();
        let tls = PostgresTls::new(options.ca_file.as_deref())
            .map_err(|why| PostgresOpenError::Tls { server: server.clone(), why })?;
        config
            .application_name("hookbox")
            .connect_timeout(Duration::from_secs(5))
            .tcp_user_timeout(Duration::from_secs(10))
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(3);
        Ok(Self { config, tls, server, user, database })
    }

    /// Makes a connection, which is driven by a task of its own.
    pub(super) async fn connect(&self) -> Result<Client, PostgresOpenError> {
        let connected = self.config.connect(self.tls.clone()).await;
        let (client, connection) = connected.map_err(|error| self.refusal(&error))?;
        tasks::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(error = words(&error), "a connection to Postgres has ended");
            }
        });
        client.batch_execute(SESSION).await.map_err(|error| self.refusal(&error))?;
        Ok(client)
    }

    /// Makes a connection to a server that takes writes.
    pub(super) async fn hold(&self) -> Result<HeldConnection, PostgresOpenError> {
        let held = tokio::time::timeout(WITHIN, self.try_hold()).await;
        held.unwrap_or_else(|_| {
            let why = "it does not answer in time".to_owned();
            Err(PostgresOpenError::Unreachable { server: self.server.clone(), why })
        })
    }

    async fn try_hold(&self) -> Result<HeldConnection, PostgresOpenError> {
        let connected = self.config.connect(self.tls.clone()).await;
        let (client, mut connection) = connected.map_err(|error| self.refusal(&error))?;
        let warned = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&warned);
        let wakes = Arc::<WakesHeard>::default();
        let woken = Arc::clone(&wakes);
        let driver = tasks::spawn(async move {
            loop {
                match poll_fn(|cx| connection.poll_message(cx)).await {
                    Some(Ok(AsyncMessage::Notice(notice))) => {
                        if notice.parsed_severity() == Some(Severity::Warning) {
                            tracing::warn!(message = notice.message(), "Postgres warns");
                            heard.store(true, Ordering::Relaxed);
                        }
                    }
                    Some(Ok(AsyncMessage::Notification(note))) => woken.hear(note.payload()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        tracing::warn!(error = words(&error), "a connection to Postgres has ended");
                        return;
                    }
                    None => return,
                }
            }
        });
        let held = HeldConnection { client, driver: driver.abort_handle(), warned, wakes };
        held.batch_execute(SESSION).await.map_err(|error| self.refusal(&error))?;
        let row = held
            .query_one(
                "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean",
                &[],
            )
            .await
            .map_err(|error| self.refusal(&error))?;
        if row.get(0) {
            return Err(PostgresOpenError::ReadOnly(self.server.clone()));
        }
        Ok(held)
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
