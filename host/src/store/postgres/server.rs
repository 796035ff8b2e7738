//! The server behind a connection: which database it has, how far it is in its history, and what
//! its commit promises.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_postgres::{Error, Row};

use super::client::SqlClient as Client;
use super::error::PostgresOpenError;

/// The settings that decide what a commit promises, and whether the server takes writes.
const SETTINGS: &str = "SELECT current_setting('synchronous_standby_names'),
         current_setting('synchronous_commit'), current_setting('fsync')::boolean,
         current_setting('full_page_writes')::boolean,
         pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean,
         current_setting('default_transaction_isolation')";

/// The number that `initdb` draws, which standbys have as well.
const SYSTEM: &str = "SELECT system_identifier::text FROM pg_control_system()";

/// A file of the log, whose name begins with the timeline. The control file may be behind.
const TIMELINE: &str = "SELECT pg_walfile_name(pg_current_wal_insert_lsn())";

/// The number that the schema draws, for servers that do not tell theirs.
const DATABASE: &str = "SELECT id FROM hookbox.meta";

/// The meaning of an acknowledgement, by the server's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerPromise {
    standbys: String,
    /// Whether a standby has not only written but applied it.
    applied: bool,
    fsync: bool,
    full_pages: bool,
}

impl ServerPromise {
    fn read(row: &Row) -> Self {
        Self {
            standbys: row.get(0),
            applied: row.get::<_, &str>(1) == "remote_apply",
            fsync: row.get(2),
            full_pages: row.get(3),
        }
    }

    /// Whether a commit waits for a standby.
    pub(super) fn is_replicated(&self) -> bool {
        !self.standbys.trim().is_empty()
    }

    /// The settings that break the promise when the machine fails.
    pub(super) fn broken_by(&self) -> Option<&'static str> {
        match (self.fsync, self.full_pages) {
            (false, _) => Some(
                "`fsync = off` on the server: what is acknowledged, and the whole database, may be \
                 lost when its machine fails; set it on",
            ),
            (true, false) => Some(
                "`full_page_writes = off` on the server: the database may be damaged when its \
                 machine fails, unless its file system writes pages whole",
            ),
            (true, true) => None,
        }
    }
}

impl fmt::Display for ServerPromise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.fsync { "on the primary's disk" } else { "in the primary's memory" })?;
        if self.is_replicated() {
            let how =
                if self.applied { "on a standby's, and applied there" } else { "on a standby's" };
            write!(f, " and {how} (synchronous_standby_names = '{}')", self.standbys)?;
        }
        Ok(())
    }
}

/// A server, as a new connection sees it.
#[derive(Debug)]
pub(super) struct ServerView {
    pub(super) takes_writes: bool,
    /// The isolation of transactions that name none.
    pub(super) isolation: String,
    promise: ServerPromise,
    system: Option<String>,
    database: Option<String>,
    timeline: Option<u32>,
}

/// Reads the identity and state of a connection's server.
pub(super) async fn view(client: &Client) -> Result<ServerView, Error> {
    let (settings, system, timeline, database) = tokio::join!(
        client.query_one(SETTINGS, &[]),
        client.query_opt(SYSTEM, &[]),
        client.query_opt(TIMELINE, &[]),
        client.query_opt(DATABASE, &[]),
    );
    let settings = settings?;
    let file = told(timeline)?;
    Ok(ServerView {
        takes_writes: !settings.get::<_, bool>(4),
        isolation: settings.get(5),
        promise: ServerPromise::read(&settings),
        system: told(system)?,
        database: told(database)?,
        timeline: file.and_then(|name| u32::from_str_radix(name.get(..8)?, 16).ok()),
    })
}

/// A text that not every server tells: one that is managed may refuse, and an empty database has no
/// table yet.
fn told(answer: Result<Option<Row>, Error>) -> Result<Option<String>, Error> {
    match answer {
        Ok(row) => Ok(row.map(|row| row.get(0))),
        Err(error) if error.as_db_error().is_some() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Asks for the promise anew: settings change while a server runs.
pub(super) async fn promise(client: &Client) -> Result<ServerPromise, Error> {
    client.query_one(SETTINGS, &[]).await.map(|row| ServerPromise::read(&row))
}

/// The facts that a host knows of its database, as long as it lives.
#[derive(Debug)]
pub(super) struct KnownServer {
    needs_standby: bool,
    state: Mutex<KnownState>,
    /// Changes when connections that were made before are of no use.
    generation: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct KnownState {
    system: Option<String>,
    database: Option<String>,
    /// The newest one that was seen; 0 before the first.
    timeline: u32,
    promise: Option<ServerPromise>,
}

impl KnownServer {
    /// Nothing is known. With `needs_standby` a commit has to wait for one.
    pub(super) fn new(needs_standby: bool) -> Self {
        let state = Mutex::default();
        Self { needs_standby, state, generation: watch::Sender::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, KnownState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits a server that is the database as it was known, and not one that was left behind.
    /// Returns a receiver that sees when the connection is of no use any more.
    pub(super) fn admit(
        &self,
        server: &str,
        found: ServerView,
    ) -> Result<watch::Receiver<u64>, PostgresOpenError> {
        let mut state = self.state();
        let known = [(&state.system, &found.system), (&state.database, &found.database)];
        for (known, found) in known {
            if let (Some(known), Some(found)) = (known, found)
                && known != found
            {
                let (server, known, found) = (server.to_owned(), known.clone(), found.clone());
                return Err(PostgresOpenError::OtherDatabase { server, known, found });
            }
        }
        let timeline = found.timeline.unwrap_or(state.timeline);
        if timeline < state.timeline {
            let (server, seen) = (server.to_owned(), state.timeline);
            return Err(PostgresOpenError::LeftBehind { server, found: timeline, seen });
        }
        // Once it runs, a host goes on without a standby, and takes no events.
        if self.needs_standby && state.promise.is_none() && !found.promise.is_replicated() {
            return Err(PostgresOpenError::NotReplicated(server.to_owned()));
        }
        if timeline > state.timeline {
            if state.timeline > 0 {
                let before = state.timeline;
                tracing::warn!(server, timeline, before, "another server is the primary now");
                self.distrust();
            }
            state.timeline = timeline;
        }
        state.system = found.system.or(state.system.take());
        state.database = found.database.or(state.database.take());
        state.promise = Some(found.promise);
        Ok(self.generation())
    }

    /// A receiver that sees when a connection that is made now is of no use any more.
    pub(super) fn generation(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Gives up all connections: their server is no primary any more.
    pub(super) fn distrust(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// Notes what the server's settings are now.
    pub(super) fn note(&self, promise: ServerPromise) {
        let mut state = self.state();
        if state.promise.as_ref() != Some(&promise) {
            tracing::warn!(acknowledged = %promise, "the server promises something else now");
            state.promise = Some(promise);
        }
    }

    /// The meaning of an acknowledgement.
    pub(super) fn promise(&self) -> Option<ServerPromise> {
        self.state().promise.clone()
    }

    /// The reason why no event is acknowledged, if a standby is needed and there is none.
    pub(super) fn lacks_standby(&self) -> Option<String> {
        let state = self.state();
        let lacks = |promise: &&ServerPromise| self.needs_standby && !promise.is_replicated();
        state.promise.as_ref().filter(lacks).map(|promise| {
            format!(
                "`store.require` is \"replicated\", and the primary acknowledges what is \
                 {promise}: set `synchronous_standby_names` on it; until then new events get 503"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(system: Option<&str>, timeline: Option<u32>, standbys: &str) -> ServerView {
        ServerView {
            takes_writes: true,
            isolation: "read committed".to_owned(),
            promise: ServerPromise {
                standbys: standbys.to_owned(),
                applied: false,
                fsync: true,
                full_pages: true,
            },
            system: system.map(str::to_owned),
            database: Some("here".to_owned()),
            timeline,
        }
    }

    #[test]
    fn another_database_and_an_older_timeline_are_refused() {
        let known = KnownServer::new(false);
        let first = known.admit("one", view(Some("7"), Some(2), "")).unwrap();
        let error = known.admit("two", view(Some("8"), Some(3), "")).unwrap_err();
        assert!(matches!(error, PostgresOpenError::OtherDatabase { .. }), "{error}");
        let error = known.admit("two", view(Some("7"), Some(1), "")).unwrap_err();
        assert!(matches!(error, PostgresOpenError::LeftBehind { found: 1, seen: 2, .. }));
        known.admit("managed", view(None, None, "")).unwrap();
        assert!(!first.has_changed().unwrap());
        let next = known.admit("two", view(Some("7"), Some(3), "")).unwrap();
        assert!(first.has_changed().unwrap() && !next.has_changed().unwrap());
        let mut other = view(None, Some(3), "");
        other.database = Some("there".to_owned());
        assert!(known.admit("two", other).is_err());
    }

    #[test]
    fn a_standby_that_is_needed_is_asked_for_at_the_start_and_missed_afterwards() {
        let known = KnownServer::new(true);
        let error = known.admit("one", view(Some("7"), Some(1), " ")).unwrap_err();
        assert!(matches!(error, PostgresOpenError::NotReplicated(_)), "{error}");
        known.admit("one", view(Some("7"), Some(1), "*")).unwrap();
        assert_eq!(known.lacks_standby(), None);
        known.admit("two", view(Some("7"), Some(2), "")).unwrap();
        assert!(known.lacks_standby().unwrap().contains("on the primary's disk"));
        known.note(view(None, None, "ANY 1 (*)").promise);
        assert_eq!(known.lacks_standby(), None);
        let shown = known.promise().unwrap().to_string();
        assert!(shown.contains("and on a standby's (synchronous_standby_names = 'ANY 1 (*)')"));
    }
}
