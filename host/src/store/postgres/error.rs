//! The reasons why the store cannot be opened, and what would be right.

use std::io;

use tokio_postgres::error::SqlState;

use super::client::is_of_pooler;
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
    /// The primary has no synchronous standby, and one is required.
    #[error(
        "{0} acknowledges without a standby, and `store.require` is \"replicated\": set `synchronous_standby_names` on the server, such as 'ANY 1 (*)', or write `require = \"primary\"`"
    )]
    NotReplicated(String),
    /// It is not the database that this host has used.
    #[error(
        "{server} is another database than this host has used so far ({found} in the place of {known}): name the right server in `store.url`; if it was moved there, start this host again"
    )]
    OtherDatabase {
        /// Host and port.
        server: String,
        /// The number of the database of before.
        known: String,
        /// The number of the one that was found.
        found: String,
    },
    /// It was a primary, and another server has taken its place.
    #[error(
        "{server} takes writes on timeline {found}, and this host has seen timeline {seen}: it is a former primary that was left behind; stop it, and make a standby of it with `pg_rewind` or anew"
    )]
    LeftBehind {
        /// Host and port.
        server: String,
        /// Its timeline.
        found: u32,
        /// The newest one that this host has seen.
        seen: u32,
    },
    /// A pooler that nobody has named keeps no prepared statements.
    #[error(
        "{0} is a pooler that lends connections for one transaction at a time, and that was not found out: say `store.pooler = true`"
    )]
    Pooler(String),
    /// Transactions see more than one statement's snapshot, and a pooler keeps no setting of a
    /// session.
    #[error(
        "transactions of user `{user}` on {server} are `{isolation}` by default, and behind a pooler they have to be `read committed`: `ALTER ROLE {user} SET default_transaction_isolation = 'read committed'`"
    )]
    Isolation {
        /// Host and port.
        server: String,
        /// The user.
        user: String,
        /// Their isolation.
        isolation: String,
    },
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
        "database `{database}` has schema version {found}, which is for a hookbox of version {least} or later of the schema, and this one has {known}: start a newer hookbox"
    )]
    Newer {
        /// The database.
        database: String,
        /// The version of the schema.
        found: i32,
        /// The oldest version of a host that can use it.
        least: i32,
        /// The newest version that this host knows.
        known: i32,
    },
    /// Another build has made the schema, otherwise than this one does.
    #[error(
        "schema version {version} in database `{database}` was made by another build of hookbox ({found} in the place of fingerprint `{known}`), and this one cannot use it: start the build that made it, name another database in `store.url`, or, if nothing in it is needed, empty it with `DROP SCHEMA hookbox CASCADE`"
    )]
    OtherBuild {
        /// The database.
        database: String,
        /// The version that is made otherwise.
        version: i32,
        /// The fingerprint that is stored, or that there is none.
        found: String,
        /// The fingerprint of this build.
        known: String,
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

impl PostgresOpenError {
    /// How much it says about what is wrong, where one server of several has to be named.
    pub(super) fn weight(&self) -> u8 {
        match self {
            Self::Unreachable { .. } | Self::NotNow { .. } => 0,
            Self::ReadOnly(_) => 1,
            Self::OtherDatabase { .. } | Self::LeftBehind { .. } | Self::NotReplicated(_) => 3,
            _ => 2,
        }
    }
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
        let is_elsewhere = code.code() == "HB002";
        is_elsewhere
            || class == "08"
            || class == "57"
            || *code == SqlState::READ_ONLY_SQL_TRANSACTION
    };
    is_of_pooler(error) || error.code().map_or_else(|| error.as_db_error().is_none(), gone)
}

/// Whether the server says that it is no primary any more, so that no connection to it is of use.
pub(super) fn is_deposed(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| {
        [
            SqlState::READ_ONLY_SQL_TRANSACTION,
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
        ]
        .contains(code)
    })
}

/// Whether the run of this host is over that has sent the batch: others took it for dead.
pub(super) fn is_over(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code() == "HB001")
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
    if error.is_closed() || is_over(error) {
        return StoreError::Unreachable(words(error));
    }
    if error.code() == Some(&SqlState::DISK_FULL) {
        return StoreError::Full(format!("Postgres has no room: {}", words(error)));
    }
    StoreError::Query(words(error))
}
