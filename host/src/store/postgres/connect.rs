//! Connections to the database.

use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_postgres::config::{Host, TargetSessionAttrs};
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::{AsyncMessage, Config, SimpleQueryMessage};

use super::client::{Pooler, SqlClient, is_of_pooler};
use super::error::{PostgresOpenError, words};
use super::options::PostgresOptions;
use super::server::{self, KnownServer};
use super::tls::PostgresTls;
use super::wake::WakesHeard;
use crate::tasks;

/// The time in which a connection is there, or nobody answers.
const WITHIN: Duration = Duration::from_secs(10);

/// How often two connections are asked whether a pooler is between.
const POOLER_CHECKS: u32 = 3;

/// A connection whose socket is closed when this is dropped, whatever the server does. Nothing is
/// cancelled: a commit that waits for its standby would be visible and might be lost.
#[derive(Debug)]
pub(super) struct HeldConnection {
    client: SqlClient,
    driver: AbortHandle,
    warned: Arc<AtomicBool>,
    /// Its sender goes with the driver.
    ended: watch::Receiver<()>,
    /// Changes when this connection is of no use.
    generation: watch::Receiver<u64>,
    /// The notifications that have come, if it listens.
    pub(super) wakes: Arc<WakesHeard>,
}

impl HeldConnection {
    /// Whether the server has warned since this was asked for the last time.
    pub(super) fn was_warned(&self) -> bool {
        self.warned.swap(false, Ordering::Relaxed)
    }

    /// Whether it has ended, or leads to a server that is no primary any more.
    pub(super) fn is_over(&self) -> bool {
        self.client.is_closed() || self.generation.has_changed().unwrap_or(true)
    }

    /// Returns once it is over.
    pub(super) async fn over(&self) {
        let (mut ended, mut generation) = (self.ended.clone(), self.generation.clone());
        // Nothing is ever sent: an error says that the sender is gone.
        tokio::select! {
            _ = ended.changed() => {}
            _ = generation.changed() => {}
        }
    }

    /// Closes the socket, also while queries still borrow this.
    pub(super) fn close(&self) {
        self.driver.abort();
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
    /// Each server of the address, in the order in which it names them.
    servers: Arc<[(Config, String)]>,
    /// The one of them that was reached last.
    last: Arc<AtomicUsize>,
    tls: PostgresTls,
    pub(super) known: Arc<KnownServer>,
    /// The pooler between, if there is one.
    pub(super) pooler: Arc<Pooler>,
    /// Hosts and ports, for people.
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
        Self::of(&options.url, options.ca_file.as_deref(), options.needs_standby)
    }

    /// Reads an address.
    pub(super) fn of(
        url: &SecretString,
        ca_file: Option<&Path>,
        needs_standby: bool,
    ) -> Result<Self, PostgresOpenError> {
        let config = url.expose_secret().parse::<Config>();
        let config = config.map_err(|error| PostgresOpenError::Address(words(&error)))?;
        let missing = |what: &str| PostgresOpenError::Address(format!("it names no {what}"));
        let server = server_of(&config).ok_or_else(|| missing("host"))?;
        let user = config.get_user().ok_or_else(|| missing("user"))?.to_owned();
        let database = config.get_dbname().ok_or_else(|| missing("database"))?.to_owned();
        let tls = PostgresTls::new(ca_file)
            .map_err(|why| PostgresOpenError::Tls { server: server.clone(), why })?;
        let servers: Arc<[_]> = apart(&config).into();
        let (last, known) = (Arc::default(), Arc::new(KnownServer::new(needs_standby)));
        Ok(Self { servers, last, tls, known, pooler: Arc::default(), server, user, database })
    }

    /// Makes a connection to the first server that takes writes and is the database that is known.
    pub(super) async fn hold(&self) -> Result<HeldConnection, PostgresOpenError> {
        self.hold_some(Some(self.pooler.is_there())).await.map(|[held]| held)
    }

    /// Makes two connections to such a server, and finds out whether a pooler is between if nobody
    /// says so: then both may have the same process of the server.
    pub(super) async fn hold_two(
        &self,
        pooler: Option<bool>,
    ) -> Result<[HeldConnection; 2], PostgresOpenError> {
        self.hold_some(pooler).await
    }

    async fn hold_some<const N: usize>(
        &self,
        pooler: Option<bool>,
    ) -> Result<[HeldConnection; N], PostgresOpenError> {
        let first = self.last.load(Ordering::Relaxed);
        let mut refused: Option<PostgresOpenError> = None;
        for at in (0..self.servers.len()).map(|it| (first + it) % self.servers.len()) {
            let (config, server) = &self.servers[at];
            let held = tokio::time::timeout(WITHIN, self.try_hold(config, server, pooler)).await;
            let held = held.unwrap_or_else(|_| {
                let why = "it does not answer in time".to_owned();
                Err(PostgresOpenError::Unreachable { server: server.clone(), why })
            });
            match held {
                Ok(held) => {
                    self.last.store(at, Ordering::Relaxed);
                    return Ok(held);
                }
                Err(error) => {
                    if refused.as_ref().is_none_or(|before| error.weight() > before.weight()) {
                        refused = Some(error);
                    }
                }
            }
        }
        Err(refused.expect("an address names a server"))
    }

    async fn try_hold<const N: usize>(
        &self,
        config: &Config,
        server: &str,
        pooler: Option<bool>,
    ) -> Result<[HeldConnection; N], PostgresOpenError> {
        let mut all = Vec::with_capacity(N);
        for _ in 0..N {
            all.push(self.dial(config, server).await?);
        }
        match pooler {
            Some(true) => self.pooler.found(),
            Some(false) => {}
            None => self.look_for_pooler(&all, server).await?,
        }
        for held in &mut all {
            self.settle(held, server).await?;
        }
        Ok(all.try_into().expect("there are as many as were asked for"))
    }

    /// A connection that nothing was said on.
    async fn dial(
        &self,
        config: &Config,
        server: &str,
    ) -> Result<HeldConnection, PostgresOpenError> {
        let connected = config.connect(self.tls.clone()).await;
        let (client, mut connection) =
            connected.map_err(|error| self.refusal_of(server, &error))?;
        let warned = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&warned);
        let (alive, ended) = watch::channel(());
        let wakes = Arc::<WakesHeard>::default();
        let woken = Arc::clone(&wakes);
        let driver = tasks::spawn(async move {
            let _alive = alive;
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
        let driver = driver.abort_handle();
        let client = SqlClient::new(client, Arc::clone(&self.pooler));
        let generation = self.known.generation();
        Ok(HeldConnection { client, driver, warned, ended, generation, wakes })
    }

    /// Makes a connection ready, if its server takes writes and is the database that is known.
    async fn settle(
        &self,
        held: &mut HeldConnection,
        server: &str,
    ) -> Result<(), PostgresOpenError> {
        let refusal = |error| self.refusal_of(server, &error);
        if let Some(sql) = self.pooler.session() {
            held.batch_execute(&sql).await.map_err(refusal)?;
        }
        let found = server::view(held).await.map_err(refusal)?;
        if !found.takes_writes {
            return Err(PostgresOpenError::ReadOnly(server.to_owned()));
        }
        if found.isolation != "read committed" {
            let (user, server, isolation) = (self.user.clone(), server.to_owned(), found.isolation);
            return Err(PostgresOpenError::Isolation { server, user, isolation });
        }
        held.generation = self.known.admit(server, found)?;
        Ok(())
    }

    /// Notes a pooler if two connections have one process of the server, which two that are direct
    /// never have. A busy pooler may lend them different ones each time.
    async fn look_for_pooler(
        &self,
        held: &[HeldConnection],
        server: &str,
    ) -> Result<(), PostgresOpenError> {
        for _ in 0..POOLER_CHECKS {
            let mut processes = Vec::new();
            for one in held {
                let asked = one.direct().simple_query("SELECT pg_backend_pid()").await;
                let rows = asked.map_err(|error| self.refusal_of(server, &error))?;
                let process = rows.iter().find_map(|row| match row {
                    SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                    _ => None,
                });
                processes.extend(process);
            }
            let are_alike = processes.windows(2).any(|two| two[0] == two[1]);
            if are_alike {
                self.pooler.found();
                return Ok(());
            }
        }
        Ok(())
    }

    /// The meaning of a refusal.
    pub(super) fn refusal(&self, error: &tokio_postgres::Error) -> PostgresOpenError {
        self.refusal_of(&self.server, error)
    }

    fn refusal_of(&self, server: &str, error: &tokio_postgres::Error) -> PostgresOpenError {
        let (server, why) = (server.to_owned(), words(error));
        let Some(code) = error.code() else {
            return if why.contains("does not allow writes") {
                PostgresOpenError::ReadOnly(server)
            } else if !why.starts_with("error performing TLS handshake") {
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

/// Each server of the address alone, and its host and port for people.
fn apart(config: &Config) -> Vec<(Config, String)> {
    let (ports, addresses) = (config.get_ports(), config.get_hostaddrs());
    let one = |(at, host): (usize, &Host)| {
        let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        let mut alone = Config::new();
        if let Some(address) = addresses.get(at) {
            alone.hostaddr(*address);
        }
        let shown = match host {
            Host::Tcp(name) => {
                alone.host(name);
                format!("{name}:{port}")
            }
            Host::Unix(folder) => {
                alone.host_path(folder);
                format!("{}:{port}", folder.display())
            }
        };
        alone.port(port);
        take_over(config, &mut alone);
        (alone, shown)
    };
    config.get_hosts().iter().enumerate().map(one).collect()
}

/// Sets what all servers of an address have in common.
fn take_over(from: &Config, to: &mut Config) {
    to.user(from.get_user().unwrap_or_default()).dbname(from.get_dbname().unwrap_or_default());
    if let Some(password) = from.get_password() {
        to.password(password);
    }
    if let Some(options) = from.get_options() {
        to.options(options);
    }
    to.ssl_mode(from.get_ssl_mode())
        .ssl_negotiation(from.get_ssl_negotiation())
        .channel_binding(from.get_channel_binding())
        .load_balance_hosts(from.get_load_balance_hosts())
        // A name may have the addresses of several servers.
        .target_session_attrs(TargetSessionAttrs::ReadWrite)
        .application_name("hookbox")
        .connect_timeout(Duration::from_secs(5))
        .tcp_user_timeout(Duration::from_secs(10))
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(5))
        .keepalives_interval(Duration::from_secs(2))
        .keepalives_retries(3);
}

/// Hosts and ports, for people.
fn server_of(config: &Config) -> Option<String> {
    let named: Vec<_> = apart(config).into_iter().map(|(_, shown)| shown).collect();
    (!named.is_empty()).then(|| named.join(", "))
}
