-- The store of a host with schema version 5 that had handled two events, as text. Made with the .dump of SQLite.
BEGIN TRANSACTION;
CREATE TABLE attempts (
        event       INTEGER NOT NULL,
        ordinal     INTEGER NOT NULL,
        number      INTEGER NOT NULL,
        started_ms  INTEGER NOT NULL,
        duration_us INTEGER NOT NULL,
        outcome     INTEGER NOT NULL,
        error       TEXT,
        logs        TEXT,
        digest      BLOB, calls TEXT,
        PRIMARY KEY (event, ordinal, number)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "attempts" VALUES(1883090313885515776,0,1,1795854867826,350,0,NULL,NULL,X'DA9CB12C3AF38D64D6E0B2F84C661227E73E5254008A96FA49A7AA9FB7501C86',NULL);
INSERT INTO "attempts" VALUES(1883090314099425280,0,1,1795854868031,89,0,NULL,NULL,X'DA9CB12C3AF38D64D6E0B2F84C661227E73E5254008A96FA49A7AA9FB7501C86',NULL);
CREATE TABLE counts (
        plugin TEXT NOT NULL,
        what   INTEGER NOT NULL,
        n      INTEGER NOT NULL,
        PRIMARY KEY (plugin, what)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "counts" VALUES('',0,2);
INSERT INTO "counts" VALUES('worker',1,0);
INSERT INTO "counts" VALUES('worker',3,2);
CREATE TABLE dedupe (
        source TEXT NOT NULL,
        key    BLOB NOT NULL,
        event  INTEGER NOT NULL,
        PRIMARY KEY (source, key)
    ) STRICT, WITHOUT ROWID;
CREATE TABLE dedupe_moved (segment INTEGER PRIMARY KEY, up_to INTEGER NOT NULL) STRICT;
INSERT INTO "dedupe_moved" WITH RECURSIVE bytes (byte) AS (VALUES (0) UNION ALL SELECT byte + 1 FROM bytes WHERE byte < 255)
    SELECT byte, 0 FROM bytes;
CREATE TABLE deliveries (
        event    INTEGER NOT NULL,
        ordinal  INTEGER NOT NULL,
        plugin   TEXT NOT NULL,
        state    INTEGER NOT NULL,
        attempt  INTEGER NOT NULL,
        pardoned INTEGER NOT NULL,
        crashes  INTEGER NOT NULL,
        replay   INTEGER NOT NULL,
        due_ms   INTEGER, cancelled INTEGER NOT NULL DEFAULT 0, unrecorded INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (event, ordinal)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "deliveries" VALUES(1883090313885515776,0,'worker',3,1,0,0,0,NULL,0,0);
INSERT INTO "deliveries" VALUES(1883090314099425280,0,'worker',3,1,0,0,0,NULL,0,0);
CREATE TABLE duplicates (event INTEGER PRIMARY KEY, n INTEGER NOT NULL, last_ms INTEGER NOT NULL) STRICT;
CREATE TABLE eras (first INTEGER PRIMARY KEY, ahead_ms INTEGER NOT NULL, healed INTEGER NOT NULL) STRICT;
CREATE TABLE events (
        id           INTEGER PRIMARY KEY,
        source       TEXT NOT NULL,
        type         TEXT NOT NULL,
        subject      TEXT,
        content_type TEXT,
        time_ms      INTEGER NOT NULL,
        provider_id  TEXT,
        note         TEXT,
        headers      TEXT,
        parent       INTEGER,
        hops         INTEGER NOT NULL,
        dedupe       BLOB,
        body         BLOB NOT NULL
    , root INTEGER, sum INTEGER) STRICT;
INSERT INTO "events" VALUES(1883090313885515776,'test','step.one','first','application/json',1795854867825,NULL,NULL,'[["content-type","application/json"],["user-agent","Python-urllib/3.11"]]',NULL,0,X'467668C8D8C2C9601FEF70C783D82076',X'7B226576656E745F74797065223A22737465702E6F6E65222C226576656E745F64617461223A7B2263616C6C6261636B5F6964223A226669727374227D7D',NULL,1996102816);
INSERT INTO "events" VALUES(1883090314099425280,'test','step.one','second','application/json',1795854868030,NULL,NULL,'[["content-type","application/json"],["user-agent","Python-urllib/3.11"]]',NULL,0,X'F88F6E561492CE6E6156B8882885A750',X'7B226576656E745F74797065223A22737465702E6F6E65222C226576656E745F64617461223A7B2263616C6C6261636B5F6964223A227365636F6E64227D7D',NULL,2931114191);
CREATE TABLE host_time (
        one     INTEGER PRIMARY KEY CHECK (one = 1),
        host_ms INTEGER NOT NULL,
        wall_ms INTEGER NOT NULL,
        belief  TEXT NOT NULL
    ) STRICT;
INSERT INTO "host_time" VALUES(1,1795854868546,1795854868546,'{"behind_ms":0,"jump":null,"held":[]}');
CREATE TABLE kv (
        plugin  TEXT NOT NULL,
        key     TEXT NOT NULL,
        value   BLOB NOT NULL,
        version INTEGER NOT NULL,
        PRIMARY KEY (plugin, key)
    ) STRICT, WITHOUT ROWID;
CREATE TABLE swept (dedupe_up_to INTEGER NOT NULL, events_up_to INTEGER NOT NULL, legacy_keys_up_to INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "swept" VALUES(0,0,0);
CREATE TABLE trees (root INTEGER PRIMARY KEY, events INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
CREATE INDEX events_subject ON events (subject) WHERE subject IS NOT NULL;
CREATE INDEX events_parent ON events (parent) WHERE parent IS NOT NULL;
CREATE INDEX deliveries_open ON deliveries (crashes, plugin, due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX deliveries_dead ON deliveries (event, ordinal) WHERE state = 4;
CREATE INDEX events_root ON events (root) WHERE root IS NOT NULL;
COMMIT;
PRAGMA user_version = 5;
