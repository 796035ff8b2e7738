//! A host's files in the hands of others: volumes that are mounted with other modes, files that are
//! not there, and things that are no files.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use crate::support::{Host, ROUTE, SECRET, SOURCE, Site, body, wait_for};

const OK: &[u8] = include_bytes!("guests/ok.wat");

/// A source that has no secret, and gets one of the host's own.
const UNSET: &str =
    "[sources.unset]\npreset = \"github\"\nsecrets = [{ env = \"HOOKBOX_TEST_NEVER_SET\" }]\n";

fn site() -> Site {
    Site::of_worker(OK, "")
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Changes a volume as a kubelet does at each mount, if the pod has an `fsGroup`.
fn mount(path: &Path) {
    let adds = if path.is_dir() { 0o2770 } else { 0o660 };
    chmod(path, mode(path) | adds);
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| mount(&entry.unwrap().path()));
    }
}

fn pipe(path: &Path) {
    let _ = fs::remove_file(path);
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// The detail of the problem that `/readyz` has with a part.
fn problem(host: &Host, part: &str, name: &str) -> Option<String> {
    let health = host.api("/readyz");
    let problems = health["problems"].as_array().unwrap();
    let found =
        problems.iter().find(|problem| problem["part"] == part && problem["name"] == name)?;
    assert_eq!(health["status"], "degraded");
    Some(found["detail"].as_str().unwrap().to_owned())
}

#[test]
fn a_volume_that_its_group_may_write_after_each_mount_starts_each_time() {
    let site = Site::new(&format!("{SOURCE}{UNSET}{ROUTE}"), &[("worker.wat", OK)]);
    fs::create_dir(site.path("data")).unwrap();
    for start in 1..=3 {
        mount(&site.path("data"));
        let host = Host::start(&site);
        host.send("step.one", format!("key_{start}"));
        assert_eq!(host.settled()["deliveries"]["done"], start);
        let worker = host.plugin("worker");
        assert_eq!((&worker["state"], &worker["error"]), (&json!("loaded"), &Value::Null));
        for folder in ["compiled", "secrets"] {
            // A new folder takes after the one it is in, which the group may write: that bit is
            // left.
            assert_eq!(mode(&site.path(&format!("data/{folder}"))) & 0o777, 0o700, "{folder}");
        }
        let digest = worker["digest"].as_str().unwrap();
        for file in [&format!("compiled/{digest}.plugin"), "secrets/unset", "hookbox.db"] {
            assert_eq!(mode(&site.path(&format!("data/{file}"))), 0o600, "{file}");
        }
        host.stop();
    }
    let log = site.log();
    for said in ["the folder of compiled plugins", "folder of secrets"] {
        assert_eq!(log.matches(said).count(), 2, "{said}: {log}");
    }
}

#[test]
fn what_a_host_keeps_beside_its_store_is_in_its_data_folder() {
    let places = "data_dir = \"own\"\n[store]\nurl = \"sqlite:store/hookbox.db\"\n";
    let site = Site::new(&format!("{places}{SOURCE}{UNSET}{ROUTE}"), &[("worker.wat", OK)]);
    let names = |folder: &str| {
        let entries = fs::read_dir(site.path(folder)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    for start in 1..=2 {
        let host = Host::start(&site);
        host.send("step.one", format!("key_{start}"));
        assert_eq!(host.settled()["deliveries"]["done"], start);
        assert_eq!(names("own"), ["compiled", "secrets"]);
        assert_eq!(names("own/secrets"), ["unset"]);
        let store = names("store");
        assert!(store.iter().all(|name| name.starts_with("hookbox.db")), "{store:?}");
        assert!(!site.path("data").exists());
        host.kill();
    }
    site.put_config(&format!("{SOURCE}{UNSET}{ROUTE}"));
    site.run(&["check"]).said();
    assert!(!site.path("data").exists(), "to check makes nothing");
}

#[test]
fn a_folder_of_approvals_that_everyone_may_write_is_refused() {
    let site = site();
    Host::start(&site).kill();
    // As an older hookbox has left it.
    fs::create_dir(site.path("data/approved")).unwrap();
    chmod(&site.path("data/approved"), 0o777);
    assert!(Host::start_with(&site, &[]).is_none());
    assert!(
        site.log().contains("everyone may write it: take that away with `chmod go-w`"),
        "{}",
        site.log()
    );
}

#[test]
fn a_host_starts_without_a_routed_plugins_file_and_runs_it_when_it_comes() {
    let site = site();
    let host = Host::start(&site);
    host.send("step.one", "first");
    host.settled();
    host.kill();
    let (file, away) = (site.path("plugins/worker.wat"), site.path("worker.wat"));
    fs::rename(&file, &away).unwrap();
    let checked = site.run(&["check"]);
    assert_eq!(checked.code, 2, "{checked:?}");
    let host = Host::start(&site);
    let worker = || host.plugin("worker");
    assert_eq!(worker()["state"], "missing");
    assert!(worker()["error"].as_str().unwrap().contains("its deliveries wait"), "{}", worker());
    host.send("step.one", "second");
    assert_eq!(worker()["deliveries"]["ready"], 1, "it waits, its attempt unspent");
    let detail = problem(&host, "plugin", "worker").unwrap();
    assert!(detail.contains("no file of it"), "{detail}");
    assert!(site.log().contains("names the unknown plugin `worker`"), "{}", site.log());
    assert!(
        host.api("/readyz")["problems"]
            .as_array()
            .unwrap()
            .iter()
            .all(|problem| problem["part"] != "config")
    );
    host.kill();
    let host = Host::start(&site);
    host.send("step.one", "third");
    fs::rename(&away, &file).unwrap();
    let stats = host.settled();
    assert_eq!(stats["deliveries"]["done"], 3, "{stats}");
    assert_eq!(host.api("/readyz")["status"], "ready");
}

#[test]
fn a_host_starts_without_its_folder_of_plugins() {
    let site = site();
    fs::rename(site.path("plugins"), site.path("away")).unwrap();
    let host = Host::start(&site);
    host.send("step.one", "first");
    assert_eq!(host.plugin("worker")["state"], "missing");
    assert!(problem(&host, "plugin", "worker").is_some());
    assert!(
        host.api("/readyz")["problems"]
            .as_array()
            .unwrap()
            .iter()
            .any(|problem| problem["part"] == "plugins_dir")
    );
    fs::rename(site.path("away"), site.path("plugins")).unwrap();
    assert_eq!(host.settled()["deliveries"]["done"], 1);
    wait_for("the host to be ready", || (host.api("/readyz")["status"] == "ready").then_some(()));
}

/// Swaps a Secret volume as a kubelet does: a new folder, and `..data` led to it at once.
fn swap(site: &Site, number: u32, secret: &str) {
    let volume = site.path("volume");
    fs::create_dir_all(volume.join(format!("..{number}"))).unwrap();
    fs::write(volume.join(format!("..{number}/token")), secret).unwrap();
    symlink(format!("..{number}"), volume.join("..data_tmp")).unwrap();
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    if number == 1 {
        symlink("..data/token", volume.join("token")).unwrap();
    }
}

/// The status of a webhook that is signed with the secret of the tests.
fn status(host: &Host, key: &str) -> u16 {
    host.post(&body("step.one", key)).unwrap().0
}

#[test]
fn a_secret_that_is_swapped_in_its_volume_is_the_one_that_counts() {
    let source = SOURCE.replace("{ env = \"TEST_SECRET\" }", "{ file = \"volume/token\" }");
    let site = Site::new(&format!("{source}{ROUTE}"), &[("worker.wat", OK)]);
    swap(&site, 1, "the secret of last year");
    let host = Host::start(&site);
    assert_eq!(status(&host, "first"), 401);
    swap(&site, 2, &format!("{SECRET}\n"));
    wait_for("the new secret", || (status(&host, "first") == 200).then_some(()));
    swap(&site, 3, "short");
    let config = || {
        host.api("/readyz")["problems"]
            .as_array()
            .unwrap()
            .iter()
            .any(|problem| problem["part"] == "config")
    };
    wait_for("the problem to be told", || config().then_some(()));
    assert_eq!(status(&host, "second"), 200, "the last good one stays");
    swap(&site, 4, "the secret of next year");
    wait_for("the next secret", || (status(&host, "third") == 401).then_some(()));
    assert_eq!(host.api("/readyz")["status"], "ready");
}

#[test]
fn what_a_shell_left_around_a_secret_does_not_count() {
    let site = site();
    for (number, stray) in ["\n", "\r\n", "\r", " ", "\n\n"].into_iter().enumerate() {
        let host =
            Host::start_with(&site, &[("TEST_SECRET", &format!("{SECRET}{stray}"))]).unwrap();
        assert_eq!(status(&host, &format!("key_{number}")), 200, "{stray:?}");
    }
    assert!(
        site.log().contains("whose secret is read without a blank behind it"),
        "{}",
        site.log()
    );
    assert!(!site.log().contains(SECRET));
    assert!(Host::start_with(&site, &[("TEST_SECRET", &format!("\"{SECRET}\""))]).is_none());
    assert!(
        site.log().contains("ends with a quote") && !site.log().contains(SECRET),
        "{}",
        site.log()
    );
}

#[test]
fn a_source_without_a_secret_refuses_posts_where_others_can_reach_it_and_readiness_says_so() {
    let site = site();
    let addresses = "[server]\nlisten = \"0.0.0.0:0\"\nadmin = \"127.0.0.1:0\"\n";
    fs::write(
        site.path("config.toml"),
        format!("{addresses}{}{ROUTE}", SOURCE.replace("TEST_SECRET", "TEST_SECRT")),
    )
    .unwrap();
    let host = Host::start(&site);
    assert_eq!(status(&host, "first"), 503);
    let detail = problem(&host, "source", "test").unwrap();
    assert!(detail.contains("variable `TEST_SECRT`. Every post is refused with 503"), "{detail}");
}

#[test]
fn behind_a_proxy_on_this_machine_a_misspelt_secret_answers_503_and_check_says_so() {
    let site = site();
    let text = fs::read_to_string(site.path("config.toml")).unwrap();
    site.put("config.toml", text.replace("TEST_SECRET", "TEST_SECRT"));
    let host = Host::start(&site);
    assert_eq!(problem(&host, "source", "test"), None, "nothing says that others reach it");
    host.stop();
    let proxied = "[server]\npublic_url = \"https://hooks.example.com\"\nlisten";
    site.put(
        "config.toml",
        text.replace("TEST_SECRET", "TEST_SECRT").replace("[server]\nlisten", proxied),
    );
    let said = "Looked for: variable `TEST_SECRT`. Every post is refused with 503";
    let checked = site.run(&["check"]).said();
    assert!(checked.contains(said) && checked.contains("no secret yet: answers 503"), "{checked}");
    let host = Host::start(&site);
    assert_eq!(status(&host, "first"), 503);
    let detail = problem(&host, "source", "test").unwrap();
    for part in [said, "data/secrets/test, is not used"] {
        assert!(detail.contains(part), "{detail}");
    }
}

#[test]
fn readiness_names_what_is_not_set() {
    let rule =
        "{ host = \"a.example.com\", headers = { X-Key = { env = \"HOOKBOX_TEST_NO_KEY\" } } }";
    let config = format!("{SOURCE}{UNSET}{ROUTE}[plugins.worker]\nhttp = [{rule}]\n");
    let site = Site::new(&config, &[("worker.wat", OK)]);
    let host = Host::start(&site);
    assert_eq!(
        problem(&host, "source", "unset"),
        None,
        "on loopback it works, with a secret of the host"
    );
    let unset = "variable `HOOKBOX_TEST_NEVER_SET`. The secret that this host made is used instead";
    let plugin = problem(&host, "plugin", "worker").unwrap();
    assert!(plugin.contains("`HOOKBOX_TEST_NO_KEY` is empty or absent"), "{plugin}");
    let worker = host.plugin("worker");
    // Where others stand beside it, it names its plugin.
    let named = format!("plugin `worker`: {plugin}");
    assert!(worker["warnings"].as_array().unwrap().contains(&json!(named)), "{worker}");
    // It is on the page that people see, and in the log since the start.
    assert!(site.ask(&host, &["plugins", "worker"]).said().contains(&named));
    assert!(site.log().contains(unset) && site.log().contains(&named), "{}", site.log());
}

#[test]
fn a_pipe_among_the_hosts_files_keeps_no_start_waiting() {
    let site = Site::new(&format!("{SOURCE}{UNSET}{ROUTE}"), &[("worker.wat", OK)]);
    let host = Host::start(&site);
    host.stop();
    // As an older hookbox has left it.
    fs::create_dir(site.path("data/approved")).unwrap();
    for name in [
        "approved/worker.json",
        "approved/worker.json.draft",
        "approved/other.json",
        "compiled/x.y",
    ] {
        pipe(&site.path("data").join(name));
    }
    for entry in fs::read_dir(site.path("data/compiled")).unwrap() {
        pipe(&entry.unwrap().path());
    }
    pipe(&site.path("plugins/pipe.wasm"));
    let host = Host::start(&site);
    host.send("step.one", "first");
    assert_eq!(host.settled()["deliveries"]["done"], 1);
    assert_eq!(host.plugin("pipe")["error"], "pipe.wasm is a named pipe, not a file");
    assert!(
        site.log().contains("is no note of what a plugin may do (it is a named pipe, not a file)"),
        "{}",
        site.log()
    );
    host.stop();
    fs::remove_dir_all(site.path("data/compiled")).unwrap();
    pipe(&site.path("data/compiled"));
    let host = Host::start(&site);
    assert!(site.log().contains("it is a named pipe, not a folder"), "{}", site.log());
    host.kill();
    let refused = [
        ("data/approved", "data/approved: it is a named pipe, not a folder"),
        ("data/secrets", "it is a named pipe, not a folder"),
        ("config.toml", "the configuration file cannot be read: it is a named pipe, not a file"),
    ];
    for (name, said) in refused {
        let (path, away) = (site.path(name), site.path("put-away"));
        fs::rename(&path, &away).unwrap();
        pipe(&path);
        assert!(Host::start_with(&site, &[]).is_none(), "{name}");
        assert!(site.log().replace("\n  │ ", " ").contains(said), "{said}: {}", site.log());
        fs::remove_file(&path).unwrap();
        fs::rename(&away, &path).unwrap();
        site.put("host.log", "");
    }
}
