//! Tables that several modules share, as they were made.

/// Since version 7: events that are gathered by a key. The delivery of a gathering is one of its
/// first member. `members`: how many it has; `count`: members that are counted; `need`: how many
/// complete it, if a member said so; `seen`: bits of types; `frozen`: whether its delivery was
/// leased; `why`: what has completed it.
pub(super) const GATHERINGS: &str = "
    CREATE TABLE gatherings (
        event     INTEGER NOT NULL,
        ordinal   INTEGER NOT NULL,
        plugin    TEXT NOT NULL,
        key       TEXT NOT NULL,
        opened_ms INTEGER NOT NULL,
        until_ms  INTEGER NOT NULL,
        members   INTEGER NOT NULL,
        count     INTEGER NOT NULL,
        need      INTEGER,
        seen      INTEGER NOT NULL,
        frozen    INTEGER NOT NULL,
        why       INTEGER,
        PRIMARY KEY (event, ordinal)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX gatherings_key ON gatherings (plugin, key, event, ordinal);
    CREATE TABLE gathered (
        gathering INTEGER NOT NULL,
        ordinal   INTEGER NOT NULL,
        event     INTEGER NOT NULL,
        member    TEXT,
        PRIMARY KEY (gathering, ordinal, event)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX gathered_member ON gathered (gathering, ordinal, member) WHERE member IS NOT NULL;
    CREATE INDEX gathered_event ON gathered (event);
";
