//! `hookbox bench` against a running host, and against what is none.

use std::net::TcpListener;
use std::process::Stdio;

use serde_json::Value;

use super::pretender::receiver;
use super::site;
use crate::support::{Host, Ran, Site};

mod pretended;

fn bench(site: &Site, host: &Host, arguments: &[&str]) -> Ran {
    let target = [
        "--seconds",
        "1",
        "--connections",
        "4",
        "--url",
        &host.public_url,
        "--admin",
        &host.admin_url,
    ];
    site.run(&[&["bench", "heygen"], arguments, &target].concat())
}

/// The bench of the types that `fine` handles, with its table read from `--json`.
fn figures(site: &Site, host: &Host, arguments: &[&str]) -> Value {
    let ran = bench(site, host, &[&["avatar_video.success", "--json"], arguments].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.json()
}

#[test]
fn what_a_load_was_acknowledged_is_stored_and_settled() {
    let site = site();
    let host = Host::start(&site);
    let ran = bench(&site, &host, &["avatar_video.success", "--json"]);
    let report = ran.json();
    let acknowledged = &report["acknowledged"];
    assert!(ran.code == 0 && acknowledged.as_u64().unwrap() > 0, "{ran:?}");
    assert_eq!((&report["stored"], &report["settled"]), (acknowledged, acknowledged), "{ran:?}");
    for none in ["duplicates", "lost", "dead", "waiting", "open", "unrouted"] {
        assert_eq!(report[none], 0, "{none}: {ran:?}");
    }
    assert!(report["fdatasync_ms"][1].is_number(), "the host is local: {ran:?}");
    assert!(report["loader_cores"].as_f64().unwrap() > 0.0, "{ran:?}");
    let said: Vec<&str> = ran.err.lines().collect();
    assert!(
        said.len() == 1 && said[0].contains("real events"),
        "no bar where nobody watches: {ran:?}"
    );
}

#[test]
fn other_traffic_of_the_host_counts_for_nothing() {
    let site = site();
    let host = Host::start(&site);
    let other =
        ["send", "heygen", "avatar_video.fail", "--count", "100000", "--url", &host.public_url];
    let mut other =
        site.command(&other).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let report = figures(&site, &host, &[]);
    assert!(other.try_wait().unwrap().is_none(), "the other load is still going on");
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(
        (&report["stored"], &report["settled"]),
        (&report["acknowledged"], &report["acknowledged"]),
        "{report}"
    );
    assert_eq!((&report["lost"], &report["dead"]), (&0.into(), &0.into()), "{report}");
}

#[test]
fn what_another_host_acknowledged_is_lost_to_this_one() {
    let (site, other) = (site(), site());
    let (host, elsewhere) = (Host::start(&site), Host::start(&other));
    let arguments = ["bench", "heygen", "avatar_video.success", "--seconds", "1", "--rate", "20"];
    let target = ["--url", &host.public_url, "--admin", &elsewhere.admin_url];
    let ran = site.run(&[&arguments[..], &target].concat());
    assert!(ran.code == 1 && ran.out.contains("LOST: "), "{ran:?}");
    assert!(ran.out.contains("acknowledged events are not stored (evt_"), "{ran:?}");
    assert!(ran.out.contains("does --admin mean the host that --url means?"), "{ran:?}");
}

#[test]
fn a_given_body_is_another_event_each_time() {
    let site = site();
    let host = Host::start(&site);
    site.put("body.json", r#"{"event_type":"avatar_video.success","event_data":{"video_id":"v"}}"#);
    let ran = bench(&site, &host, &["avatar_video.success", "--data", "body.json", "--rate", "40"]);
    assert!(ran.code == 0 && ran.out.contains("are stored and settled"), "{ran:?}");
    let report = figures(&site, &host, &["--data", "body.json", "--rate", "40"]);
    assert_eq!(report["duplicates"], 0, "{report}");
    assert!(report["sent"].as_u64().unwrap() <= 40, "{report}");
}

#[test]
fn deliveries_that_failed_are_named() {
    let site = site();
    let host = Host::start(&site);
    let ran = bench(&site, &host, &["avatar_video.fail", "--rate", "10"]);
    assert!(
        ran.code == 1 && ran.out.contains("dead: dlv_") && ran.out.contains("failed for good"),
        "{ran:?}"
    );
    let report = bench(&site, &host, &["avatar_video.fail", "--rate", "10", "--json"]).json();
    assert!(report["dead"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["dead"], report["settled"], "{report}");
}

#[test]
fn a_type_without_a_route_is_measured_only_if_it_is_meant() {
    let site = site();
    let host = Host::start(&site);
    let ran = bench(&site, &host, &["avatar_video.sucess"]);
    assert!(ran.code == 2 && ran.out.is_empty(), "{ran:?}");
    for said in [
        "no route of",
        "config.toml",
        "`avatar_video.sucess`",
        "did you mean `avatar_video.success`?",
        "--yes",
    ] {
        assert!(ran.err.contains(said), "{said}: {ran:?}");
    }
    let ran = bench(&site, &host, &["zzz"]);
    assert!(
        ran.code == 2
            && ran.err.contains("it has `avatar_video.success`, `avatar_video.fail`. Add"),
        "{ran:?}"
    );
    let ran = bench(&site, &host, &["avatar_video.sucess", "--rate", "10", "--yes"]);
    assert!(
        ran.code == 0 && ran.out.contains("are stored; no route of the host takes them"),
        "{ran:?}"
    );
}

#[test]
fn a_bench_that_cannot_be_meant_is_refused_before_anything_is_sent() {
    let site = site();
    site.put("text.txt", "no json");
    site.put("list.json", "[1]");
    for (arguments, said) in [
        (&["heygn", "avatar_video.success"][..], "did you mean `heygen`?"),
        (
            &["heygen", "x", "--data", "text.txt"],
            "the event is not JSON (expected ident at line 1 column 2)",
        ),
        (&["heygen", "x", "--data", "text.txt"], "(in --data text.txt)"),
        (&["heygen", "x", "--data", "list.json"], "the body is a JSON array"),
        (
            &["heygen", "x", "--url", "https://hooks.example.com"],
            "(--url) is not a loopback address",
        ),
        (&["heygen", "x", "--url", "https://hooks.example.com"], "--yes"),
        (&["heygen", "x", "--seconds", "0"], "--seconds"),
        (
            &["heygen", "x", "--rate", "10000", "--seconds", "3600"],
            "ask for 36000000 events, and 10000000 is the most",
        ),
        (&["heygen", "x", "--data", "missing.json"], "missing.json"),
    ] {
        let ran = with_secret(&site, &[&["bench"], arguments].concat());
        assert!(ran.code == 2 && ran.err.contains(said) && ran.out.is_empty(), "{said}: {ran:?}");
    }
}

#[test]
fn an_address_of_the_configuration_that_is_not_loopback_is_asked_about_too() {
    let site = site();
    let config = std::fs::read_to_string(site.path("config.toml")).unwrap();
    site.put(
        "config.toml",
        config.replace("listen = \"127.0.0.1:0\"", "listen = \"192.0.2.1:3000\""),
    );
    let ran = with_secret(&site, &["bench", "heygen", "avatar_video.success"]);
    assert!(ran.code == 2 && ran.err.contains("http://192.0.2.1:3000/webhook/heygen"), "{ran:?}");
    assert!(
        ran.err.contains("`server.listen` of the configuration") && ran.err.contains("--yes"),
        "{ran:?}"
    );
}

#[test]
fn a_secret_that_is_missing_is_named() {
    let site = site();
    let ran = site.run(&["bench", "heygen", "avatar_video.success"]);
    assert!(ran.code == 2 && ran.out.is_empty(), "{ran:?}");
    for said in
        ["`heygen` has no secret", "variable `HEYGEN_WEBHOOK_SECRET`", "`hookbox serve` makes one"]
    {
        assert!(ran.err.contains(said), "{said}: {ran:?}");
    }
}

#[test]
fn without_a_host_it_says_so() {
    let site = site();
    let nobody = nobody();
    let arguments =
        ["bench", "heygen", "avatar_video.success", "--url", &nobody, "--admin", &nobody];
    let ran = with_secret(&site, &arguments);
    assert!(ran.code == 1 && ran.err.contains("is `hookbox serve` running?"), "{ran:?}");
}

#[test]
fn a_host_that_takes_no_webhooks_at_the_address_is_told_from_none() {
    let site = site();
    let host = Host::start(&site);
    let nobody = nobody();
    let ran = site.run(&[
        "bench",
        "heygen",
        "avatar_video.success",
        "--url",
        &nobody,
        "--admin",
        &host.admin_url,
    ]);
    assert!(ran.code == 1 && ran.out.is_empty(), "{ran:?}");
    for said in
        ["admin address answers, but nobody does at", &nobody, "is --url where it takes webhooks?"]
    {
        assert!(ran.err.contains(said), "{said}: {ran:?}");
    }
}

#[test]
fn a_host_that_refuses_everything_is_exit_code_1() {
    let site = site();
    let host = Host::start(&site);
    let busy = receiver("503 Service Unavailable");
    let arguments = [
        "bench",
        "heygen",
        "avatar_video.success",
        "--rate",
        "20",
        "--seconds",
        "1",
        "--url",
        &busy,
    ];
    let ran = site.ask(&host, &arguments);
    assert!(ran.code == 1 && ran.out.contains("503 Service Unavailable"), "{ran:?}");
    assert!(ran.out.contains("nothing was acknowledged"), "{ran:?}");
}

#[test]
fn an_answer_that_names_no_event_acknowledges_nothing() {
    let site = site();
    let host = Host::start(&site);
    let other = receiver("200 OK");
    let arguments = [
        "bench",
        "heygen",
        "avatar_video.success",
        "--rate",
        "20",
        "--seconds",
        "1",
        "--url",
        &other,
    ];
    let ran = site.ask(&host, &arguments);
    assert!(ran.code == 1 && ran.out.contains("answers of success name no event"), "{ran:?}");
}

/// Runs a command with a secret in its environment.
fn with_secret(site: &Site, arguments: &[&str]) -> Ran {
    site.command(arguments)
        .env("HEYGEN_WEBHOOK_SECRET", "0123456789abcdef")
        .output()
        .unwrap()
        .into()
}

/// An address where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}
