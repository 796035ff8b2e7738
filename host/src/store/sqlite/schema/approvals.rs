//! The table of approvals, which other files read as well.

/// Since version 6: which files of plugins may run. Of a plugin there is at most one row that was
/// admitted, and one that was not. `capabilities` are names joined by commas.
pub(super) const APPROVALS: &str = "
    CREATE TABLE approvals (
        plugin       TEXT NOT NULL,
        digest       BLOB NOT NULL CHECK (length(digest) = 32),
        capabilities TEXT NOT NULL,
        approved_by  TEXT NOT NULL,
        at           INTEGER NOT NULL,
        admitted     INTEGER NOT NULL,
        PRIMARY KEY (plugin, admitted)
    ) STRICT, WITHOUT ROWID;
";
