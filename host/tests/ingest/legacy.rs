//! A database as hosts before schema version 5 left it: what they stored is still recognised, until
//! its keys expire.

use std::time::Duration;

use hookbox::config::Source;
use hookbox::config::source::Pick;
use hookbox::event::EventId;
use hookbox::store::Keep;
use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::dedupe::post;
use super::host::{Host, NOW_S, Options, SECRET};
use super::sources::{preset, secrets};

const HOUR_MS: i64 = 3_600_000;

const BODY: &str = r#"{"event_type":"avatar_video.success","type":"a","event":"a"}"#;

/// An event of that time.
struct Old {
    source: &'static str,
    kind: &'static str,
    id: Option<&'static str>,
    headers: &'static str,
}

/// A key as those hosts made it.
fn old_key(domain: &str, source: &str, value: &str) -> Vec<u8> {
    let length = (source.len() as u64).to_le_bytes();
    let digest = Sha256::new()
        .chain_update(domain)
        .chain_update(length)
        .chain_update(source)
        .chain_update(value);
    digest.finalize()[..16].to_vec()
}

/// A folder with such a database. The keys of the first `moved` events are in their table, those of
/// the others only in their rows.
fn old_folder(events: &[Old], moved: usize) -> (TempDir, Vec<EventId>) {
    let folder = tempfile::tempdir().unwrap();
    let file = Connection::open(folder.path().join("hookbox.db")).unwrap();
    file.execute_batch(include_str!("version-4.sql")).unwrap();
    let mut ids = Vec::new();
    for (number, old) in events.iter().enumerate() {
        let before_ms = HOUR_MS - i64::try_from(number).unwrap();
        let id = EventId::first_at(NOW_S * 1_000 - before_ms);
        let mut keys = vec![old_key("hookbox.dedupe.body", old.source, BODY)];
        keys.extend(old.id.map(|id| old_key("hookbox.dedupe.id", old.source, id)));
        let sql = "INSERT INTO events (id, source, type, time_ms, provider_id, headers, hops, dedupe, body)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8)";
        let row = params![
            id.row(),
            old.source,
            old.kind,
            id.unix_ms(),
            old.id,
            old.headers,
            keys.concat(),
            BODY.as_bytes()
        ];
        file.execute(sql, row).unwrap();
        file.execute(
            "INSERT INTO counts VALUES ('', 0, 1) ON CONFLICT DO UPDATE SET n = n + 1",
            [],
        )
        .unwrap();
        if number < moved {
            for key in keys {
                file.execute(
                    "INSERT INTO dedupe VALUES (?1, ?2, ?3)",
                    params![old.source, key, id.row()],
                )
                .unwrap();
            }
            file.execute("UPDATE dedupe_moved SET up_to = ?1", [id.row()]).unwrap();
        }
        ids.push(id);
    }
    (folder, ids)
}

const OLD: [Old; 4] = [
    Old { source: "heygen", kind: "avatar_video.success", id: Some("h-1"), headers: "[]" },
    Old { source: "github", kind: "push", id: Some("d-1"), headers: "[]" },
    Old { source: "linear", kind: "a", id: None, headers: "[]" },
    Old {
        source: "zoom",
        kind: "a",
        id: None,
        headers: r#"[["x-zm-request-timestamp","1770000000"]]"#,
    },
];

fn sources() -> [Source; 4] {
    let mut sources =
        ["heygen", "github", "linear", "zoom"].map(|name| preset(name, secrets(&[SECRET])));
    sources[2].kind = Pick::Header("x-type".to_owned());
    sources
}

#[tokio::test]
async fn what_the_version_before_stored_is_a_duplicate_and_what_is_another_event_is_not() {
    for moved in [0, 2, 4] {
        let (folder, ids) = old_folder(&OLD, moved);
        let [heygen, github, linear, zoom] = &sources();
        let host = Host::start_in(
            folder,
            Options { sources: sources().to_vec(), ..Options::default() },
            |s| s,
        )
        .await;
        assert!(host.store.has_legacy_keys());
        let push = [("x-github-event", "push")];
        let repeats = |event: usize| (ids[event].to_string(), "duplicate".to_owned());
        // A captured request under a new id, and a retry.
        assert_eq!(post(&host, heygen, ("h-2", NOW_S), &[], BODY).await, repeats(0));
        assert_eq!(post(&host, heygen, ("h-1", NOW_S), &[], BODY).await, repeats(0));
        assert_eq!(post(&host, github, ("d-1", NOW_S), &push, BODY).await, repeats(1));
        // That host took equal bodies for one event, whatever their type, time and id.
        assert_eq!(post(&host, github, ("d-2", NOW_S), &push, BODY).await.1, "accepted");
        assert_eq!(post(&host, linear, ("", NOW_S), &[("x-type", "b")], BODY).await.1, "accepted");
        assert_eq!(post(&host, linear, ("", NOW_S), &[("x-type", "a")], BODY).await, repeats(2));
        assert_eq!(post(&host, zoom, ("", NOW_S + 1), &[], BODY).await.1, "accepted");
        assert_eq!(post(&host, zoom, ("", NOW_S), &[], BODY).await, repeats(3));
        let counted = host.events().await.iter().map(|event| event.duplicates).collect::<Vec<_>>();
        assert_eq!(counted, [2, 1, 1, 1, 0, 0, 0], "{moved}");
    }
}

#[tokio::test]
async fn keys_of_the_version_before_are_looked_up_until_the_last_of_them_has_expired() {
    let (folder, _) = old_folder(&OLD, 2);
    let heygen = &sources()[0];
    let host = Host::start_in(
        folder,
        Options { sources: sources().to_vec(), ..Options::default() },
        |s| s,
    )
    .await;
    let sweep = async |keep_ms| {
        let keep = Keep {
            events: Duration::MAX,
            payloads: Duration::MAX,
            dedupe_keys: Duration::from_millis(keep_ms),
            audit: Duration::MAX,
        };
        while host.store.sweep(keep).await.unwrap() {}
        host.store.has_legacy_keys()
    };
    assert!(sweep(HOUR_MS.unsigned_abs() - 3).await, "the last event has its keys");
    assert_eq!(
        post(&host, heygen, ("h-2", NOW_S), &[], BODY).await.1,
        "accepted",
        "that of the first one is gone"
    );
    assert_eq!(
        post(&host, heygen, ("h-3", NOW_S), &[], BODY).await.1,
        "duplicate",
        "by the key of today"
    );
    assert!(!sweep(0).await);
    assert_eq!(post(&host, heygen, ("h-4", NOW_S), &[], BODY).await.1, "duplicate");
}

#[tokio::test]
async fn a_new_database_has_no_keys_of_the_version_before() {
    let host = Host::start(Options::default()).await;
    assert!(!host.store.has_legacy_keys());
    post(&host, &preset("heygen", secrets(&[SECRET])), ("h-1", NOW_S), &[], BODY).await;
    assert!(!host.store.has_legacy_keys());
}
