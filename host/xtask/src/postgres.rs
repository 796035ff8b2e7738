//! Postgres and PgBouncer, for the tests of the store that several hosts share.

use std::path::Path;

use hookbox_tools::{Result, install, install_from};

/// The folder of each version's programs, where Debian has them.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Tells the tests that Postgres has to be there: without it they say that they were skipped.
pub(crate) const REQUIRED: (&str, &str) = ("HOOKBOX_TEST_POSTGRES", "required");

/// Installs what is missing. The tests make clusters of their own, in temporary folders.
pub(crate) fn set_up() -> Result {
    if !Path::new(VERSIONS).is_dir() {
        install_from("initdb", "postgresql")?;
    }
    install("pgbouncer")
}
