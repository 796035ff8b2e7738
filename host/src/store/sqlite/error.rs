//! Why a store cannot be opened.

use std::io;
use std::path::PathBuf;

use super::failure::{explain, hint};

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be made, or a file in it cannot be opened.
    #[error("cannot open `{path}`: {source}{}", hint(source))]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another host has it.
    #[error("`{0}` is in use by another hookbox; two hosts cannot share one SQLite file")]
    InUse(PathBuf),
    /// It was written by a newer hookbox.
    #[error(
        "`{path}` has schema version {found}, and this hookbox knows up to {known}: use a newer hookbox"
    )]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The greatest version that this host knows.
        known: i64,
    },
    /// SQLite did not take a setting that durability rests on.
    #[error(
        "`{path}` does not take {setting}: it reads back as `{found}`; is it on a network file system?"
    )]
    Setting {
        /// Which file.
        path: PathBuf,
        /// The value that was set.
        setting: &'static str,
        /// The value that SQLite has.
        found: String,
    },
    /// It is not what the store of this name was when it was written last.
    #[error("{0}")]
    Lost(String),
    /// SQLite failed.
    #[error("cannot open `{path}`: {}", explain(source, path))]
    Sqlite {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}
