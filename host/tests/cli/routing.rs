//! Sources and routes as they are tried from a terminal: forms, joined types, and lines that can
//! match nothing.

use std::fs::File;

use super::site;
use crate::support::{Host, Site, wait_for};

const FORM: &str = "payload=%7B%22action%22%3A%22opened%22%2C%22zen%22%3A%22a+b%22%7D";

/// A GitHub source, with a line of its own, and these routes.
fn github(line: &str, routes: &str) -> Site {
    let site = site();
    let server = "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n";
    let source =
        "[sources.github]\npreset = \"github\"\nsecrets = [{ env = \"GITHUB_SECRET_NOT_SET\" }]\n";
    site.put("config.toml", format!("{server}{source}{line}\n[routes]\n{routes}"));
    site
}

/// Sends one event and waits until its deliveries are done; the event's id.
fn send(site: &Site, host: &Host, arguments: &[&str]) -> String {
    let ran = site.run(&[&["send", "github"], arguments, &["--url", &host.public_url]].concat());
    assert!(ran.code == 0 && ran.out.contains("accepted"), "{ran:?}");
    let reply: serde_json::Value = serde_json::from_str(ran.out.lines().last().unwrap()).unwrap();
    let id = reply["id"].as_str().unwrap().to_owned();
    wait_for("the delivery to be done", || {
        let event = site.ask(host, &["events", &id, "--json"]).json();
        (event["deliveries"][0]["state"] == "done").then_some(())
    });
    id
}

#[test]
fn a_form_is_delivered_by_its_header_and_shown_both_ways() {
    let site = github("", "\"push\" = \"fine\"\n");
    site.put("form.txt", FORM);
    let host = Host::start(&site);
    let id = send(&site, &host, &["push", "--data", "form.txt"]);
    let shown = site.ask(&host, &["events", &id]);
    for said in
        ["application/x-www-form-urlencoded", FORM, "\"zen\": \"a b\"", "a form that wraps JSON"]
    {
        assert!(shown.code == 0 && shown.out.contains(said), "{said}: {shown:?}");
    }
    assert!(!shown.out.contains("not JSON"), "{shown:?}");
    assert_eq!(site.ask(&host, &["events", &id, "--json"]).json()["form_data"]["action"], "opened");
}

#[test]
fn an_action_joined_to_a_type_is_sent_and_routed() {
    let line = "type = \"{header:X-GitHub-Event}.{json:/action}\"";
    let site = github(
        line,
        "\"pull_request.opened\" = \"fine\"\n\"push\" = \"fine\"\n\"issues.*\" = \"fine\"\n",
    );
    site.put("form.txt", FORM);
    let host = Host::start(&site);
    for (arguments, kind) in [
        (&["pull_request.opened"][..], "pull_request.opened"),
        (&["push"], "push"),
        (&["issues.opened", "--data", "form.txt"], "issues.opened"),
    ] {
        let id = send(&site, &host, arguments);
        assert_eq!(site.ask(&host, &["events", &id, "--json"]).json()["type"], kind);
    }
}

#[test]
fn check_warns_of_lines_that_can_match_nothing() {
    let site = github(
        "",
        "\"pull_request.opened\" = \"fine\"\n\"githb:push\" = \"fine\"\n\"issues\" = \"fine\"\n",
    );
    let ran = site.run(&["check"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    let warnings: Vec<_> =
        ran.out.lines().filter(|line| line.starts_with("warning: the route")).collect();
    assert_eq!(warnings.len(), 2, "{ran:?}");
    assert!(
        warnings[0].contains("\"pull_request.opened\"") && warnings[0].contains("{json:/action}"),
        "{ran:?}"
    );
    assert!(
        warnings[1].contains("\"githb:push\"") && warnings[1].contains("Did you mean `github`?"),
        "{ran:?}"
    );
}

#[test]
fn a_host_says_each_of_its_warnings_once_at_its_start() {
    let site = github(
        "",
        "\"pull_request.opened\" = { plugin = \"fine\", delay = \"1h\", cancel_on = \"github:a.b\" }\n\
         [plugins.fine]\nhttp = [{ host = \"a.example.com\", headers = { X-Key = { env = \"NO_SUCH_KEY\" } } }]\n\
         [sources.open]\nverify = { scheme = \"none\" }\ntype = { fixed = \"x\" }\n",
    );
    let checked = site.run(&["check"]);
    let warnings = checked.out.lines().filter_map(|line| line.strip_prefix("warning: "));
    // The words about a source that anyone may use are others in the log. A host on loopback has
    // made a secret where `check` says that it would.
    let warnings: Vec<_> = warnings
        .map(|warning| match warning.contains("scheme `none`") {
            true => "this source takes requests from anyone",
            false => {
                let part = warning.split_once(';').map_or(warning, |(part, _)| part);
                part.split_once(". `hookbox serve`").map_or(part, |(part, _)| part)
            }
        })
        .collect();
    assert_eq!(warnings.len(), 6, "{checked:?}");
    let file = |name: &str| File::create(site.path(name)).unwrap();
    let mut serve = site.command(&["serve"]);
    let mut host = serve.stdout(file("out")).stderr(file("host.log")).spawn().unwrap();
    for part in warnings.iter().chain(&[" started "]) {
        wait_for(part, || site.log().contains(part).then_some(()));
    }
    host.kill().unwrap();
    host.wait().unwrap();
    let (out, log) = (std::fs::read_to_string(site.path("out")).unwrap(), site.log());
    assert!(out.contains("ctrl-c stops") && !out.contains("warning:"), "{out}");
    for part in warnings {
        assert_eq!(log.matches(part).count(), 1, "{part}: {log}");
    }
}
