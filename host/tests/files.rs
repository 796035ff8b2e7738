//! The store's files under a running host and between two hosts: what is moved, removed, cut, full, or no file at all.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;

use crate::harness::{self, Host, SOURCE, Site, wait_for};

const HOOKBOX: &str = env!("CARGO_BIN_EXE_hookbox");

fn body(number: usize) -> String {
    format!(r#"{{"event_type":"step.one","event_data":{{"callback_id":"{number}"}}}}"#)
}

/// Posts what is acknowledged, and returns its id.
fn acknowledged(host: &Host, number: usize) -> String {
    host.provide(&body(number))["id"].as_str().unwrap().to_owned()
}

#[track_caller]
fn all_there(host: &Host, ids: &[String]) {
    for id in ids {
        let (status, event) = host.api_status("GET", &format!("/api/v1/events/{id}"), None);
        assert_eq!(status, 200, "{event}");
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

fn log(site: &Site) -> String {
    fs::read_to_string(site.path("host.log")).unwrap()
}

/// A start that ends by itself, and what it logged.
fn refused(site: &Site) -> String {
    fs::write(site.path("host.log"), "").unwrap();
    assert!(harness::start_with(site, &[]).is_none(), "it served");
    log(site)
}

#[test]
fn a_store_whose_folder_is_moved_away_refuses_posts_until_it_is_back() {
    let site = Site::new(SOURCE, &[]);
    let host = harness::start(&site);
    let mut ids = vec![acknowledged(&host, 1)];
    fs::rename(site.path("data"), site.path("aside")).unwrap();
    let detail = store_is(&host, "unavailable");
    assert!(detail.contains("hookbox.db") && detail.contains("is gone"), "{detail}");
    let (status, reply) = host.post(&body(2)).unwrap();
    assert_eq!(status, 503, "{reply}");
    let lines = log(&site);
    let copy = format!("cp /proc/{}/fd/", host.pid());
    assert!(lines.contains("is gone") && (lines.contains(&copy) || !Path::new("/proc/self/fd").exists()), "{lines}");
    fs::rename(site.path("aside"), site.path("data")).unwrap();
    store_is(&host, "ready");
    ids.push(acknowledged(&host, 3));
    host.signal("TERM");
    assert!(host.wait().success());
    all_there(&harness::start(&site), &ids);
}

#[test]
fn a_kill_is_never_taken_for_a_loss() {
    let site = Site::new(SOURCE, &[]);
    let mut ids = Vec::new();
    for cycle in 0..24 {
        let point = ["store.after_commit", "store.before_commit", "ingest.before_reply"][cycle % 3];
        let plan = format!("{point}:{}", 3 + cycle % 7);
        let host = harness::start_with(&site, &[("HOOKBOX_FAIL", &plan)]);
        let host = host.unwrap_or_else(|| panic!("cycle {cycle}: {}", log(&site)));
        for number in 0..20 {
            match host.post(&body(100 * cycle + number)) {
                Ok((200, reply)) => ids.push(reply["id"].as_str().unwrap().to_owned()),
                _ => break,
            }
        }
        host.kill();
    }
    assert!(ids.len() > 48, "{} were acknowledged", ids.len());
    all_there(&harness::start(&site), &ids);
    assert!(!log(&site).contains("accept-loss"), "{}", log(&site));
}

#[test]
fn a_log_that_is_removed_after_a_kill_is_an_error_until_an_operator_accepts_it() {
    let site = Site::new(SOURCE, &[]);
    let host = harness::start(&site);
    let ids: Vec<_> = (0..3).map(|number| acknowledged(&host, number)).collect();
    host.kill();
    let database = site.path("data/hookbox.db");
    // Moved into the database as a long log is, so that there is something in it.
    Connection::open(&database).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let host = harness::start(&site);
    let late = acknowledged(&host, 3);
    host.kill();
    fs::remove_file(site.path("data/hookbox.db-wal")).unwrap();
    for _ in 0..2 {
        let lines = refused(&site);
        for part in ["events are missing", &late, &ids[2], "(4 events then, 3 now)", "hookbox serve --accept-loss"] {
            assert!(lines.contains(part), "{part}: {lines}");
        }
    }
    let host = harness::start_as(&site, Command::new(HOOKBOX).args(["serve", "--accept-loss"]), &[]).unwrap();
    all_there(&host, &ids);
    assert!(log(&site).contains("--accept-loss: going on with what is there"), "{}", log(&site));
    host.kill();
    all_there(&harness::start(&site), &ids);
}

#[test]
fn an_empty_database_beside_traces_of_an_earlier_one_is_an_error() {
    let site = Site::new(SOURCE, &[]);
    let host = harness::start(&site);
    acknowledged(&host, 1);
    host.kill();
    fs::write(site.path("data/hookbox.db"), "").unwrap();
    let log_bytes = fs::metadata(site.path("data/hookbox.db-wal")).unwrap().len();
    let lines = refused(&site);
    assert!(lines.contains("is empty (0 bytes)") && lines.contains("hookbox.db-wal"), "{lines}");
    assert_eq!(fs::metadata(site.path("data/hookbox.db-wal")).unwrap().len(), log_bytes);
    let host = harness::start_as(&site, Command::new(HOOKBOX).args(["serve", "--accept-loss"]), &[]).unwrap();
    assert_eq!(host.api("/api/v1/stats")["events"], 0);
    let id = acknowledged(&host, 1);
    host.kill();
    // One that is given without need says so.
    let host = harness::start_as(&site, Command::new(HOOKBOX).args(["serve", "--accept-loss"]), &[]).unwrap();
    all_there(&host, &[id]);
    assert!(log(&site).contains("--accept-loss was given and nothing is missing"), "{}", log(&site));
}

#[test]
fn a_fifo_in_the_place_of_a_file_of_the_store_is_named_and_never_waited_for() {
    for name in ["hookbox.db", "hookbox.db-lock", "hookbox.db-running", "hookbox.db-committed", "hookbox.db-wal"] {
        let site = Site::new(SOURCE, &[]);
        fs::create_dir(site.path("data")).unwrap();
        assert!(Command::new("mkfifo").arg(site.path("data").join(name)).status().unwrap().success());
        let lines = refused(&site);
        assert!(lines.contains(&format!("{name}`")) && lines.contains("it is a FIFO"), "{lines}");
    }
}

#[test]
fn files_and_folders_of_a_host_are_its_users_alone_whatever_the_umask() {
    let ok = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/ok.wat")).unwrap();
    let site = Site::new(&format!("{SOURCE}[routes]\n\"step.one\" = \"ok\"\n"), &[("ok.wat", &ok)]);
    let mut command = Command::new("sh");
    command.args(["-c", "umask 0; exec \"$0\" serve", HOOKBOX]);
    let host = harness::start_as(&site, &mut command, &[]).unwrap();
    acknowledged(&host, 1);
    host.settled();
    let mut looked_at = 0;
    let mut folders = vec![site.path("data")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).chain([folder.clone()]) {
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
    // The system then refuses what is beyond the limit, as it refuses what is beyond a quota, and kills nobody for it.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" serve", HOOKBOX]);
    let mut host = harness::start_as(&site, &mut command, &[]).unwrap();
    let mut ids = vec![acknowledged(&host, 0)];
    limit_files(&host, Some(1 << 10));
    for number in 1..4 {
        let (status, reply) = host.post(&body(number)).unwrap();
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
    ids.push(acknowledged(&host, 4));
    assert!(host.ended().is_none());
    host.kill();
    all_there(&harness::start(&site), &ids);
}

#[test]
fn a_vacuum_from_outside_gives_space_back_while_the_host_runs() {
    let site = Site::new(SOURCE, &[]);
    let host = harness::start(&site);
    let pad = "x".repeat(200_000);
    for number in 0..30 {
        host.provide(&format!(r#"{{"event_type":"step.one","n":{number},"pad":"{pad}"}}"#));
    }
    let database = site.path("data/hookbox.db");
    let other = Connection::open(&database).unwrap();
    other.busy_timeout(harness::PATIENCE).unwrap();
    other.execute_batch("DELETE FROM events").unwrap();
    other.execute_batch("VACUUM").unwrap();
    let id = acknowledged(&host, 1);
    // The next commit moves the long log, and cuts the database.
    let bytes = || fs::metadata(&database).unwrap().len();
    wait_for("the database to be small", || (bytes() < 1_000_000).then_some(()));
    store_is(&host, "ready");
    host.kill();
    drop(other);
    all_there(&harness::start(&site), &[id]);
}

#[test]
fn a_damaged_event_is_a_dead_letter_that_says_so() {
    let retry = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/retry.wat")).unwrap();
    let config =
        format!("{SOURCE}[routes]\n\"step.one\" = \"again\"\n[plugins.again]\nretry = {{ initial = \"1h\" }}\n");
    let site = Site::new(&config, &[("again.wat", &retry)]);
    let host = harness::start(&site);
    let id = acknowledged(&host, 1);
    host.none_in(&["ready", "leased"]);
    host.kill();
    let other = Connection::open(site.path("data/hookbox.db")).unwrap();
    let changed = other.execute("UPDATE events SET body = CAST(replace(body, '\"1\"', '\"2\"') AS BLOB)", []);
    assert_eq!(changed, Ok(1));
    drop(other);
    let host = harness::start(&site);
    host.api_status("POST", "/api/v1/deliveries/retry?state=waiting", None);
    host.settled();
    let event = host.api(&format!("/api/v1/events/{id}"));
    let delivery = &event["deliveries"][0];
    assert_eq!(delivery["state"], "dead", "{event}");
    let last = delivery["attempts"].as_array().unwrap().last().unwrap();
    assert_eq!(last["outcome"], "error", "{event}");
    for text in [&last["error"], &event["note"]] {
        assert!(text.as_str().unwrap().contains("the stored event is damaged"), "{event}");
    }
    let shown =
        Command::new(HOOKBOX).args(["events", &id, "--admin", &format!("http://{}", host.admin)]).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("the stored event is damaged"), "{shown}");
    assert!(log(&site).contains("dead letter"), "{}", log(&site));
    let metrics = host.api("/metrics");
    assert!(metrics.as_str().unwrap().contains("hookbox_store_damaged_events_total 1"), "{metrics}");
}

#[test]
fn attempts_that_cannot_be_noted_as_running_are_counted_and_shown() {
    let ok = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/ok.wat")).unwrap();
    let site = Site::new(&format!("{SOURCE}[routes]\n\"step.one\" = \"ok\"\n"), &[("ok.wat", &ok)]);
    let over = site.path("over");
    let env = [("HOOKBOX_FAIL", "store.note_running:1:full"), ("HOOKBOX_FAIL_UNTIL", over.to_str().unwrap())];
    let host = harness::start_with(&site, &env).unwrap();
    acknowledged(&host, 1);
    let detail = store_is(&host, "degraded");
    assert!(detail.contains("hookbox.db-running` cannot be written"), "{detail}");
    let failures = || {
        let metrics = host.api("/metrics");
        let metrics = metrics.as_str().unwrap();
        let line = metrics.lines().find(|line| line.starts_with("hookbox_store_side_file_failures_total{"));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
    };
    wait_for("a second failure", || failures().filter(|failures| *failures > 1));
    let lines = log(&site).matches("a file beside the store cannot be written").count();
    assert_eq!(lines, 1, "once, not for every attempt");
    fs::write(over, "").unwrap();
    let stats: Value = host.settled();
    assert_eq!(stats["deliveries"]["done"], 1, "{stats}");
}
