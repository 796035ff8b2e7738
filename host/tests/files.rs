//! The store's files under a running host and between two hosts: what is moved, removed, cut, full,
//! or no file at all.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;

use crate::support::{Host, PATIENCE, SOURCE, Site, body, guest, wait_for};

#[track_caller]
fn all_there(host: &Host, ids: &[String]) {
    for id in ids {
        host.event(id);
    }
}

/// Waits until `/readyz` says this, and returns what it says is wrong with the store.
fn store_is(host: &Host, wanted: &str) -> String {
    wait_for(&format!("`{wanted}`"), || {
        let (code, health) = host.api_status("GET", "/readyz", None);
        assert_eq!(code == 503, health["status"] == "unavailable", "{health}");
        let problems = health["problems"].as_array().unwrap();
        let store = problems.iter().find(|problem| problem["part"] == "store");
        let detail = store.map_or("", |problem| problem["detail"].as_str().unwrap()).to_owned();
        (health["status"] == wanted).then_some(detail)
    })
}

#[track_caller]
fn store_is_still(host: &Host, wanted: &str) {
    let (_, health) = host.api_status("GET", "/readyz", None);
    assert_eq!(health["status"], wanted, "{health}");
}

/// A start that ends by itself, and what it logged.
fn refused(site: &Site) -> String {
    site.put("host.log", "");
    assert!(Host::start_with(site, &[]).is_none(), "it served");
    site.log()
}

/// Starts the host from a shell that does something before.
fn start_by(site: &Site, before: &str) -> Host {
    let mut shell = Command::new("sh");
    site.prepare(shell.args([
        "-c",
        &format!("{before}; exec \"$0\" serve"),
        env!("CARGO_BIN_EXE_hookbox"),
    ]));
    Host::start_as(site, &mut shell).unwrap()
}

fn start_accepting_loss(site: &Site) -> Host {
    Host::start_as(site, &mut site.command(&["serve", "--accept-loss"])).unwrap()
}

#[test]
fn a_store_whose_folder_is_moved_away_refuses_posts_until_it_is_back() {
    let site = Site::new(SOURCE, &[]);
    let host = Host::start(&site);
    let mut ids = vec![host.send("step.one", 1)];
    fs::rename(site.path("data"), site.path("aside")).unwrap();
    let detail = store_is(&host, "unavailable");
    assert!(detail.contains("hookbox.db") && detail.contains("is gone"), "{detail}");
    let (status, reply) = host.post(&body("step.one", 2)).unwrap();
    assert_eq!(status, 503, "{reply}");
    let lines = site.log();
    let copy = format!("cp /proc/{}/fd/", host.pid());
    assert!(
        lines.contains("is gone")
            && (lines.contains(&copy) || !Path::new("/proc/self/fd").exists()),
        "{lines}"
    );
    fs::rename(site.path("aside"), site.path("data")).unwrap();
    store_is(&host, "ready");
    ids.push(host.send("step.one", 3));
    host.stop();
    all_there(&Host::start(&site), &ids);
}

#[test]
fn a_kill_is_never_taken_for_a_loss() {
    let site = Site::new(SOURCE, &[]);
    let mut ids = Vec::new();
    for cycle in 0..24 {
        let point = ["store.after_commit", "store.before_commit", "ingest.before_reply"][cycle % 3];
        let plan = format!("{point}:{}", 3 + cycle % 7);
        let host = Host::start_with(&site, &[("HOOKBOX_FAIL", &plan)]);
        let host = host.unwrap_or_else(|| panic!("cycle {cycle}: {}", site.log()));
        for number in 0..20 {
            match host.post(&body("step.one", 100 * cycle + number)) {
                Ok((200, reply)) => ids.push(reply["id"].as_str().unwrap().to_owned()),
                _ => break,
            }
        }
        host.kill();
    }
    assert!(ids.len() > 48, "{} were acknowledged", ids.len());
    all_there(&Host::start(&site), &ids);
    assert!(!site.log().contains("accept-loss"), "{}", site.log());
}

#[test]
fn a_log_that_is_removed_after_a_kill_is_an_error_until_an_operator_accepts_it() {
    let site = Site::new(SOURCE, &[]);
    let host = Host::start(&site);
    let ids: Vec<_> = (0..3).map(|number| host.send("step.one", number)).collect();
    host.kill();
    let database = site.path("data/hookbox.db");
    // Moved into the database as a long log is, so that there is something in it.
    Connection::open(&database).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let host = Host::start(&site);
    let late = host.send("step.one", 3);
    host.kill();
    fs::remove_file(site.path("data/hookbox.db-wal")).unwrap();
    for _ in 0..2 {
        let lines = refused(&site);
        for part in [
            "events are missing",
            &late,
            &ids[2],
            "(4 events then, 3 now)",
            "hookbox serve --accept-loss",
        ] {
            assert!(lines.contains(part), "{part}: {lines}");
        }
    }
    let host = start_accepting_loss(&site);
    all_there(&host, &ids);
    assert!(site.log().contains("--accept-loss: going on with what is there"), "{}", site.log());
    host.kill();
    all_there(&Host::start(&site), &ids);
}

#[test]
fn an_empty_database_beside_traces_of_an_earlier_one_is_an_error() {
    let site = Site::new(SOURCE, &[]);
    let host = Host::start(&site);
    host.send("step.one", 1);
    host.kill();
    fs::write(site.path("data/hookbox.db"), "").unwrap();
    let log_bytes = fs::metadata(site.path("data/hookbox.db-wal")).unwrap().len();
    let lines = refused(&site);
    assert!(lines.contains("is empty (0 bytes)") && lines.contains("hookbox.db-wal"), "{lines}");
    assert_eq!(fs::metadata(site.path("data/hookbox.db-wal")).unwrap().len(), log_bytes);
    let host = start_accepting_loss(&site);
    assert_eq!(host.api("/api/v1/stats")["events"], 0);
    let id = host.send("step.one", 1);
    host.kill();
    // An option that is given without need says so.
    let host = start_accepting_loss(&site);
    all_there(&host, &[id]);
    assert!(
        site.log().contains("--accept-loss was given and nothing is missing"),
        "{}",
        site.log()
    );
}

#[test]
fn a_fifo_in_the_place_of_a_file_of_the_store_is_named_and_never_waited_for() {
    for name in [
        "hookbox.db",
        "hookbox.db-lock",
        "hookbox.db-running",
        "hookbox.db-committed",
        "hookbox.db-wal",
    ] {
        let site = Site::new(SOURCE, &[]);
        fs::create_dir(site.path("data")).unwrap();
        assert!(
            Command::new("mkfifo").arg(site.path("data").join(name)).status().unwrap().success()
        );
        let lines = refused(&site);
        assert!(lines.contains(&format!("{name}`")) && lines.contains("it is a FIFO"), "{lines}");
    }
}

#[test]
fn files_and_folders_of_a_host_are_its_users_alone_whatever_the_umask() {
    let site = Site::of_worker(&guest("ok"), "");
    let host = start_by(&site, "umask 0");
    host.send("step.one", 1);
    host.settled();
    let mut looked_at = 0;
    let mut folders = vec![site.path("data")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .chain([folder.clone()])
        {
            let found = fs::metadata(&path).unwrap();
            assert_eq!(found.mode() & 0o077, 0, "{}", path.display());
            looked_at += 1;
            if found.is_dir() && path != folder {
                folders.push(path);
            }
        }
    }
    assert!(looked_at > 6, "{looked_at}");
}

/// The most bytes that a file of a host may have from now on.
#[cfg(target_os = "linux")]
fn limit_files(host: &Host, bytes: Option<u64>) {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let pid = Pid::from_raw(i32::try_from(host.pid()).unwrap());
    prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_refuses_writes_is_a_full_disk_and_recovers_by_itself() {
    let site = Site::new(SOURCE, &[]);
    // The system then refuses what is beyond the limit, as it refuses what is beyond a quota, and
    // kills nobody for it.
    let mut host = start_by(&site, "trap '' XFSZ");
    let mut ids = vec![host.send("step.one", 0)];
    limit_files(&host, Some(1 << 10));
    for number in 1..4 {
        let (status, reply) = host.post(&body("step.one", number)).unwrap();
        assert_eq!(status, 503, "{reply}");
    }
    let detail = store_is(&host, "unavailable");
    assert!(detail.contains("a write was refused") && detail.contains("read-only"), "{detail}");
    // It tries again and again, and is not deceived.
    let seen = Instant::now();
    while seen.elapsed() < Duration::from_secs(1) {
        store_is_still(&host, "unavailable");
    }
    limit_files(&host, None);
    store_is(&host, "ready");
    ids.push(host.send("step.one", 4));
    assert!(host.ended().is_none());
    host.kill();
    all_there(&Host::start(&site), &ids);
}

#[test]
fn a_vacuum_from_outside_gives_space_back_while_the_host_runs() {
    let site = Site::new(SOURCE, &[]);
    let host = Host::start(&site);
    let pad = "x".repeat(200_000);
    for number in 0..30 {
        host.provide(&format!(r#"{{"event_type":"step.one","n":{number},"pad":"{pad}"}}"#));
    }
    let database = site.path("data/hookbox.db");
    let other = Connection::open(&database).unwrap();
    other.busy_timeout(PATIENCE).unwrap();
    other.execute_batch("DELETE FROM events").unwrap();
    other.execute_batch("VACUUM").unwrap();
    // The next commit checkpoints the long WAL and truncates the database, unless a reader is in
    // the way just then.
    let bytes = || fs::metadata(&database).unwrap().len();
    let mut ids = Vec::new();
    wait_for("the database to be small", || {
        ids.push(host.send("step.one", ids.len()));
        (bytes() < 1_000_000).then_some(())
    });
    store_is(&host, "ready");
    host.kill();
    drop(other);
    all_there(&Host::start(&site), &ids);
}

#[test]
fn a_damaged_event_is_a_dead_letter_that_says_so() {
    let site = Site::of_worker(&guest("retry"), "[plugins.worker]\nretry = { initial = \"1h\" }\n");
    let host = Host::start(&site);
    let id = host.send("step.one", 1);
    host.none_in(&["ready", "leased"]);
    host.kill();
    let other = Connection::open(site.path("data/hookbox.db")).unwrap();
    let changed =
        other.execute("UPDATE events SET body = CAST(replace(body, '\"1\"', '\"2\"') AS BLOB)", []);
    assert_eq!(changed, Ok(1));
    drop(other);
    let host = Host::start(&site);
    host.api_status("POST", "/api/v1/deliveries/retry?state=waiting", None);
    host.settled();
    let event = host.event(&id);
    let delivery = &event["deliveries"][0];
    assert_eq!(delivery["state"], "dead", "{event}");
    let last = delivery["attempts"].as_array().unwrap().last().unwrap();
    assert_eq!(last["outcome"], "error", "{event}");
    for text in [&last["error"], &event["note"]] {
        assert!(text.as_str().unwrap().contains("the stored event is damaged"), "{event}");
    }
    let shown = site.ask(&host, &["events", &id]).said();
    assert!(shown.contains("the stored event is damaged"), "{shown}");
    assert!(site.log().contains("dead letter"), "{}", site.log());
    assert_eq!(host.metric("hookbox_store_damaged_events_total"), Some(1.0));
}

#[test]
fn attempts_that_cannot_be_noted_as_running_are_counted_and_shown() {
    let site = Site::of_worker(&guest("ok"), "");
    let over = site.path("over");
    let env = [
        ("HOOKBOX_FAIL", "store.note_running:1:full"),
        ("HOOKBOX_FAIL_UNTIL", over.to_str().unwrap()),
    ];
    let host = Host::start_with(&site, &env).unwrap();
    host.send("step.one", 1);
    let detail = store_is(&host, "degraded");
    assert!(detail.contains("hookbox.db-running` cannot be written"), "{detail}");
    let failures = || {
        let metrics = host.api("/metrics");
        let metrics = metrics.as_str().unwrap();
        let line = metrics
            .lines()
            .find(|line| line.starts_with("hookbox_store_side_file_failures_total{"));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
    };
    wait_for("a second failure", || failures().filter(|failures| *failures > 1));
    let lines = site.log().matches("a file beside the store cannot be written").count();
    assert_eq!(lines, 1, "once, not for every attempt");
    fs::write(over, "").unwrap();
    let stats: Value = host.settled();
    assert_eq!(stats["deliveries"]["done"], 1, "{stats}");
}

#[test]
fn a_backup_of_a_host_that_works_is_a_store_that_another_host_goes_on_with() {
    let site = Site::of_worker(&guest("retry-once"), "");
    let host = Host::start(&site);
    let before: Vec<_> = (0..20).map(|number| host.send("step.one", number)).collect();
    let backup = site.path("copy.db");
    let ran = site.run(&["backup", backup.to_str().unwrap()]);
    assert!(ran.err.contains("not in it: `secrets/`"), "{}", ran.err);
    let said = ran.said();
    assert!(said.starts_with("20 events, ") && said.ends_with("copy.db\n"), "{said}");
    let after = host.send("step.one", 99);
    let again = site.run(&["backup", backup.to_str().unwrap()]);
    assert!(again.code == 1 && again.err.contains("exists already"), "{}", again.err);
    let nowhere = site.run(&["backup", "nowhere/copy.db"]);
    assert!(nowhere.err.contains("there is no folder nowhere"), "{}", nowhere.err);
    host.kill();
    let mode = std::os::unix::fs::PermissionsExt::mode(&backup.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    std::fs::remove_dir_all(site.path("data")).unwrap();
    std::fs::create_dir(site.path("data")).unwrap();
    std::fs::rename(&backup, site.path("data/hookbox.db")).unwrap();
    let host = Host::start(&site);
    host.settled();
    for event in &before {
        assert_eq!(host.event(event)["deliveries"][0]["state"], "done");
    }
    assert_eq!(host.api_status("GET", &format!("/api/v1/events/{after}"), None).0, 404);
    host.stop();
    let json = site.run(&["backup", "second.db", "--json"]).json();
    assert_eq!(json["events"], 20);
    site.put("data/hookbox.db", "no database, but long enough to be one");
    let damaged = site.run(&["backup", "third.db"]);
    assert!(damaged.code == 1 && damaged.err.contains("no SQLite database"), "{}", damaged.err);
    assert!(!site.path("third.db").exists());
    let drafts = std::fs::read_dir(site.path(".")).unwrap().map(|entry| entry.unwrap().file_name());
    let drafts: Vec<_> =
        drafts.filter(|name| name.to_string_lossy().contains("hookbox-draft")).collect();
    assert!(drafts.is_empty(), "{drafts:?}");
}
