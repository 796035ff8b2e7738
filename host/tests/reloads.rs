//! The reloads of a plugin's files, and what it used: in the API, as commands and on its page.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::{Host, ROUTE, SOURCE, Site, agent, guest, replace, wait_for};

/// The reloads of `worker`, newest first, once there are so many.
fn reloads(host: &Host, count: usize) -> Vec<Value> {
    wait_for("the reloads", || {
        let found = host.api("/api/v1/plugins/worker/reloads");
        let items = found["items"].as_array().unwrap().clone();
        (items.len() == count).then_some(items)
    })
}

/// The host's page of `worker`.
fn page(host: &Host) -> String {
    host.api("/plugins/worker").as_str().unwrap().to_owned()
}

#[test]
fn reloads_say_what_came_of_each_file_and_how_often_it_failed() {
    let retries = "[plugins.worker]\nretry = { max_attempts = 1 }\n";
    let site = Site::of_worker(&guest("reject"), retries);
    let host = Host::start(&site);
    for key in 0..2 {
        host.send("step.one", key);
    }
    host.settled();
    let first = host.plugin("worker")["digest"].clone();
    let [begun] = &reloads(&host, 1)[..] else { panic!("one") };
    assert_eq!(
        (&begun["result"], &begun["from"], &begun["to"]),
        (&json!("loaded"), &json!(null), &first)
    );
    assert_eq!((&begun["failed_before"], &begun["failed_after"]), (&json!(null), &json!(1.0)));
    assert!(begun["detail"].as_str().unwrap().starts_with("compiled in "), "{begun}");
    site.put_plugin("worker.wat", b"(component");
    let bad = reloads(&host, 2).remove(0);
    assert_eq!((&bad["result"], &bad["from"], &bad["to"]), (&json!("kept"), &first, &json!(null)));
    assert_eq!((&bad["failed_before"], &bad["failed_after"]), (&json!(1.0), &json!(null)));
    site.put_plugin("worker.wat", &guest("ok"));
    let fixed = reloads(&host, 3).remove(0);
    let second = host.plugin("worker")["digest"].clone();
    assert_eq!(
        (&fixed["result"], &fixed["from"], &fixed["to"]),
        (&json!("loaded"), &first, &second)
    );
    assert_eq!((&fixed["failed_before"], &fixed["failed_after"]), (&json!(1.0), &json!(null)));
    host.send("step.one", 2);
    host.settled();
    let all = reloads(&host, 3);
    assert_eq!(all[0]["failed_after"], 0.0);
    assert_eq!(all[2]["failed_after"], 1.0, "until the other file ran");
    let said = site.ask(&host, &["plugins", "reloads", "worker"]).said();
    let lines: Vec<_> = said.lines().collect();
    assert!(lines.len() == 4 && lines[0].starts_with("TIME"), "{said}");
    let cells: Vec<_> = lines[1].split_whitespace().collect();
    assert!(cells.windows(4).any(|it| it == ["100.0", "%", "0.0", "%"]), "{said}");
    assert!(lines[2].contains("kept") && lines[2].contains("failed to load worker.wat"), "{said}");
    let told = site.ask(&host, &["plugins", "reloads", "worker", "--json"]).json();
    assert_eq!(told["items"].as_array().unwrap().len(), 3);
    let shown = page(&host);
    assert!(shown.contains("Reloads since the start of the host"), "{shown}");
    assert!(shown.contains("failed to load worker.wat") && shown.contains("100.0 %"), "{shown}");
    let unknown = site.ask(&host, &["plugins", "reloads", "wroker"]);
    assert!(unknown.code == 1 && unknown.err.contains("did you mean `worker`?"), "{unknown:?}");
}

#[test]
fn a_plugin_shows_its_size_what_it_used_of_its_limits_what_it_emits_and_why_it_fails() {
    let config = format!("{SOURCE}[routes]\n\"step.one\" = [\"worker\", \"failing\"]\n");
    let config = format!("{config}[plugins.failing]\nretry = {{ max_attempts = 1 }}\n");
    let (emits, rejects) = (guest("emit"), guest("reject"));
    let site = Site::new(&config, &[("worker.wat", &emits), ("failing.wat", &rejects)]);
    let host = Host::start(&site);
    host.send("step.one", 1);
    host.settled();
    // Emitted events are counted after it is settled.
    let plugin = wait_for("what it emits", || {
        Some(host.plugin("worker")).filter(|plugin| plugin["emits"] != json!([]))
    });
    assert_eq!(plugin["size"], emits.len());
    assert_eq!(plugin["compiled"], "now");
    assert!(plugin["compile_ms"].is_u64(), "{plugin}");
    let peak = &plugin["peak"];
    assert_eq!((&peak["emitted"], &peak["http_requests"]), (&json!(1), &json!(0)));
    assert!(peak["memory_bytes"].as_u64().unwrap() >= 131_072, "{peak}");
    assert!(peak["duration_ms"].as_f64().unwrap() > 0.0, "{peak}");
    let emitted = &plugin["emits"][0];
    assert_eq!((&emitted["type"], &emitted["day"]), (&json!("guest.echoed"), &json!(1)));
    assert_eq!(emitted["routed"], false);
    assert_eq!(plugin["failures"], json!([]));
    let failing = host.plugin("failing");
    let group = &failing["failures"][0];
    assert_eq!((&group["dead"], &group["outcome"]), (&json!(1), &json!("reject")), "{failing}");
    let listed = host.api("/api/v1/plugins");
    assert!(listed["items"][0].get("emits").is_none(), "a listing stays short: {listed}");
    let said = site.ask(&host, &["plugins", "worker"]).said();
    assert!(said.contains("64.0 MiB, used at most 128.0 KiB"), "{said}");
    assert!(said.contains("guest.echoed"), "{said}");
    let shown = page(&host);
    assert!(shown.contains("1 of 256") && shown.contains("guest.echoed"), "{shown}");
    host.stop();
    let host = Host::start(&site);
    let again = host.plugin("worker");
    assert_eq!((&again["compiled"], &again["compile_ms"]), (&json!("before"), &json!(null)));
}

#[test]
fn the_difference_between_the_file_that_runs_and_the_one_that_waits_is_a_command() {
    let site = Site::new(&format!("{SOURCE}{ROUTE}"), &[("worker.wat", &guest("ok"))]);
    let host = Host::start(&site);
    let said = site.ask(&host, &["plugins", "diff", "worker"]).said();
    assert_eq!(said, "no file of worker waits to be approved: it is loaded\n");
    let import = "(component (import \"wasi:http/outgoing-handler@0.2.0\" (instance))";
    let asks = String::from_utf8(guest("ok")).unwrap().replacen("(component", import, 1);
    site.put_plugin("worker.wat", asks.as_bytes());
    let held = host.until_plugin("worker", "held");
    assert_eq!(held["held"]["size"], asks.len());
    assert_eq!(held["held"]["capabilities"], json!(["http"]));
    let digest = held["held"]["digest"].as_str().unwrap();
    let said = site.ask(&host, &["plugins", "diff", "worker"]).said();
    for part in [
        &digest[..12],
        "capabilities",
        "+ wasi:http/outgoing-handler@0.2.0",
        "granted: nothing",
        &format!("hookbox plugins approve worker --digest {digest}"),
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let told = site.ask(&host, &["plugins", "diff", "worker", "--json"]).json();
    assert_eq!(told["imports_added"], json!(["wasi:http/outgoing-handler@0.2.0"]));
    assert_eq!(told["waits"]["digest"], digest);
    let last = reloads(&host, 2).remove(0);
    assert_eq!((&last["result"], &last["detail"]), (&json!("held"), &json!("asks for http")));
    assert!(page(&host).contains("A file waits to be approved"));
}

#[test]
fn a_running_host_does_not_take_an_address_behind_a_proxy_without_a_token() {
    let site = Site::of_worker(&guest("ok"), "");
    let host = Host::start(&site);
    let url = "admin_url = \"https://hookbox.example.com\"\n";
    site.put_config(&format!("{url}{SOURCE}{ROUTE}"));
    let ready = wait_for("the problem", || {
        let ready = host.api("/readyz").to_string();
        ready.contains("server.admin_url").then_some(ready)
    });
    assert!(ready.contains("there is no token"), "{ready}");
    let applies = host.api("/api/v1/config");
    let mut keys = applies["keys"].as_array().unwrap().iter();
    let url = keys.find(|it| it["key"] == "server.admin_url").unwrap();
    assert_eq!(url["line"], json!(null), "{url}");
}

/// Puts a program there that runs this line of shell.
fn put_program(site: &Site, name: &str, line: &str) {
    let path = site.path(name);
    replace(&path, format!("#!/bin/sh\n{line}\n").as_bytes());
    std::fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_file_that_failed_for_a_reason_that_is_over_is_loaded_when_an_operator_asks() {
    let site = Site::of_worker(&guest("ok"), "");
    put_program(&site, "compiler", "exit 3");
    let host = Host::start_compiled_by(&site, &site.path("compiler"));
    let failed = host.until_plugin("worker", "failed");
    assert_eq!(reloads(&host, 1)[0]["detail"], failed["error"]);
    assert!(page(&host).contains("Try it again"));
    let good = format!("exec {} \"$@\"", env!("CARGO_BIN_EXE_hookbox"));
    put_program(&site, "compiler", &good);
    let said = site.ask(&host, &["plugins", "load", "worker"]).said();
    assert!(said.contains("the file of worker is read again"), "{said}");
    let first = host.until_plugin("worker", "loaded")["digest"].clone();
    assert!(!page(&host).contains("Try it again"));

    // A newer file that is not taken: the form of the page.
    put_program(&site, "compiler", "exit 3");
    site.put_plugin("worker.wat", &guest("reject"));
    host.until_plugin("worker", "stale");
    put_program(&site, "compiler", &good);
    let path = format!("{}/plugins/worker/load", host.admin_url);
    let origin = host.admin_url.as_str();
    let posted = agent().post(&path).header("origin", origin).send_form([("once", "page-1")]);
    let posted = posted.unwrap();
    assert_eq!(posted.status(), 200, "it leads back to the page");
    assert_ne!(host.until_plugin("worker", "loaded")["digest"], first);

    let audit = host.api("/api/v1/audit?action=plugins.load");
    let ways: Vec<_> = audit["items"].as_array().unwrap().iter().map(|it| &it["via"]).collect();
    assert_eq!(ways, ["page", "command"]);
    let loaded = host.api("/api/v1/plugins/worker/reloads");
    assert_eq!(host.api_status("POST", "/api/v1/plugins/worker/load", None).0, 202);
    let (status, problem) = host.api_status("POST", "/api/v1/plugins/wroker/load", None);
    assert!(status == 404 && problem.to_string().contains("`worker`"), "{problem}");
    assert_eq!(host.plugin("worker")["state"], "loaded", "a file that runs goes on");
    assert_eq!(host.api("/api/v1/plugins/worker/reloads"), loaded);
    std::fs::remove_file(site.path("plugins/worker.wat")).unwrap();
    host.until_plugin("worker", "missing");
    let (status, problem) = host.api_status("POST", "/api/v1/plugins/worker/load", None);
    assert!(status == 409 && problem.to_string().contains("has no file"), "{problem}");
    assert!(!page(&host).contains("Try it again"));
}
