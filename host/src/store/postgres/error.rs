//! The reasons why the store cannot be opened, and what would be right.

use std::io;

use tokio_postgres::error::SqlState;

use crate::store::StoreError;

/// The reason why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum PostgresOpenError {
    /// The address cannot be read. The text holds nothing of it, because it has a password.
    #[error(
        "`store.url` is no address of a Postgres database: {0}; it is to read `postgres://USER:PASSWORD@HOST:PORT/DATABASE`"
    )]
    Address(String),
    /// Nobody answers there.
    #[error(
        "no Postgres answers at {server}: {why}; check that it runs, listens there, and that no firewall is between"
    )]
    Unreachable {
        /// Host and port.
        server: String,
        /// The error of the connection.
        why: String,
    },
    /// The server has no TLS.
    #[error(
        "{0} does not offer TLS, and the address asks for it: set `ssl = on` on the server, or `sslmode=disable` in `store.url` if the network between is your own"
    )]
    NoTls(String),
    /// The handshake failed.
    #[error(
        "the TLS handshake with {server} failed: {why}; the certificate has to be for the name in `store.url`, by a public authority or one in `store.ca_file`"
    )]
    Tls {
        /// Host and port.
        server: String,
        /// The error of the handshake.
        why: String,
    },
    /// The user is not let in.
    #[error(
        "{server} does not let user `{user}` in: {why}; check user and password in `store.url`, and the server's pg_hba.conf"
    )]
    Login {
        /// Host and port.
        server: String,
        /// The user.
        user: String,
        /// The server's words.
        why: String,
    },
    /// The database is not there.
    #[error(
        "{server} has no database `{database}`: make it with `createdb {database}`, or name another one in `store.url`"
    )]
    NoDatabase {
        /// Host and port.
        server: String,
        /// The database.
        database: String,
    },
    /// All connections are taken.
    #[error(
        "{0} has no connection left: a host needs 6; raise `max_connections`, or the limit of the user or the database"
    )]
    Connections(String),
    /// The server starts or stops.
    #[error("{server} takes no connections at the moment: {why}; try again")]
    NotNow {
        /// Host and port.
        server: String,
        /// The server's words.
        why: String,
    },
    /// The server is too old.
    #[error("{server} is Postgres {found}; hookbox needs 15 or newer")]
    TooOld {
        /// Host and port.
        server: String,
        /// Its version.
        found: String,
    },
    /// The server is a replica or read-only.
    #[error(
        "{0} is a replica or read-only: `store.url` has to name the primary, or several servers with `target_session_attrs=read-write`"
    )]
    ReadOnly(String),
    /// The user may not do what the host needs.
    #[error(
        "user `{user}` has not all rights in database `{database}`: {why}; make it the owner of the schema with `GRANT CREATE ON DATABASE {database} TO {user}` before the first start"
    )]
    Rights {
        /// The user.
        user: String,
        /// The database.
        database: String,
        /// The server's words.
        why: String,
    },
    /// The schema's name is taken by something else.
    #[error(
        "database `{0}` has a schema `hookbox` that is not of this program: name another database in `store.url`, or rename that schema"
    )]
    Foreign(String),
    /// The schema is of a newer host.
    #[error(
        "database `{database}` has schema version {found}, and this hookbox knows {known}: start a newer hookbox"
    )]
    Newer {
        /// The database.
        database: String,
        /// The version of the schema.
        found: i32,
        /// The newest version that this host knows.
        known: i32,
    },
    /// All slots are taken.
    #[error("256 hosts are registered already: stop one, or wait until one that died is removed")]
    NoSlot,
    /// Another host uses the folder.
    #[error(
        "another hookbox uses the folder `{0}`: stop it, or give this host a `server.data_dir` of its own"
    )]
    InUse(String),
    /// The host's own files.
    #[error("the host's files in `{folder}` cannot be used: {error}")]
    Files {
        /// The folder.
        folder: String,
        /// The error.
        error: io::Error,
    },
    /// Anything else that the server said.
    #[error("{server} cannot be used: {why}")]
    Query {
        /// Host and port.
        server: String,
        /// The server's words.
        why: String,
    },
}

/// The words of an error and of its causes, in one line.
pub(super) fn words(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        let detail = said.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        return format!("{}{detail}", said.message());
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = next.source();
    }
    text
}

/// Whether the same may succeed at another time: two hosts were in each other's way.
pub(super) fn is_passing(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| {
        [
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::LOCK_NOT_AVAILABLE,
        ]
        .contains(code)
    })
}

/// Whether nobody can say what came of the call: the connection is gone, or the server is.
pub(super) fn is_lost(error: &tokio_postgres::Error) -> bool {
    let gone = |code: &SqlState| {
        let class = &code.code()[..2];
        class == "08" || class == "57" || *code == SqlState::READ_ONLY_SQL_TRANSACTION
    };
    error.code().map_or_else(|| error.as_db_error().is_none(), gone)
}

/// Whether the marker of a batch is there already, so that the batch was committed.
pub(super) fn is_marked(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|said| {
        *said.code() == SqlState::UNIQUE_VIOLATION && said.table() == Some("commits")
    })
}

/// Whether the server lacks room, which may pass: its disk is full, or its memory.
pub(super) fn is_scarce(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code().starts_with("53"))
}

/// A query that failed.
pub(super) fn failed_query(error: &tokio_postgres::Error) -> StoreError {
    if error.is_closed() {
        return StoreError::Unreachable(words(error));
    }
    if error.code() == Some(&SqlState::DISK_FULL) {
        return StoreError::Full(format!("Postgres has no room: {}", words(error)));
    }
    StoreError::Query(words(error))
}
