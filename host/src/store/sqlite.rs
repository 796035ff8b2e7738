//! SQLite behind the [`super::Store`].

/// The store of a single host.
#[derive(Debug)]
pub struct Sqlite {}

/// How it is opened.
#[derive(Debug)]
pub struct SqliteOptions {}
