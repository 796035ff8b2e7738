//! Providers whose API is known, against a stand-in HeyGen: what is registered, the secrets that
//! come of it, and what is wrong in between.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use hookbox::clock::Clock;
use serde_json::{Value, json};

use crate::support::{API_KEY, HeyGen, Host, Ran, Site, guest, replace, wait_for};

mod log;
mod lost;
mod walk;

fn config(heygen: &HeyGen, more: &str) -> String {
    format!(
        "[sources.heygen]\npreset = \"heygen\"\napi_url = \"{}\"\napi_key = {{ file = \"api.key\" }}\n{more}\n\
         [routes]\n\"avatar_video.*\" = \"worker\"\n",
        heygen.url
    )
}

fn site(heygen: &HeyGen, more: &str) -> Site {
    let site = Site::new(&config(heygen, more), &[("worker.wat", &guest("ok"))]);
    site.put("api.key", API_KEY);
    site
}

/// `hookbox provider heygen` with these arguments.
fn provider(site: &Site, arguments: &[&str]) -> Ran {
    site.run(&[&["provider", "heygen"], arguments].concat())
}

fn kept(site: &Site) -> Option<Value> {
    let text = fs::read(site.path("data/secrets/heygen.registered")).ok()?;
    Some(serde_json::from_slice(&text).unwrap())
}

/// The address of the source on a host.
fn address(host: &Host) -> String {
    format!("{}/webhook/heygen", host.public_url)
}

#[test]
fn a_registration_is_made_used_changed_and_removed_while_the_host_runs() {
    let heygen = HeyGen::start();
    let site = site(&heygen, "");
    let host = Host::start(&site);
    let url = address(&host);
    let shown = provider(&site, &["register", "--url", &url, "--dry-run"]);
    assert!(shown.out.contains("X-Api-Key: ********") && !shown.out.contains(API_KEY), "{shown:?}");
    assert_eq!((heygen.requests().len(), kept(&site)), (0, None), "nothing was sent");
    let answer = provider(&site, &["register", "--url", &url, "--json"]);
    let secret = heygen.secret();
    assert!(!answer.out.contains(&secret) && answer.code == 0, "{answer:?}");
    assert_eq!(answer.json()["endpoint_id"], "ep_1");
    let file = site.path("data/secrets/heygen.registered");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(kept(&site).unwrap()["secrets"], json!([{ "secret": secret }]));
    let (id, body) = heygen.happen("avatar_video.success", &json!({ "video_id": "v1" }), 1);
    wait_for("the secret to be active", || {
        (HeyGen::deliver(&url, &id, &body, &secret).0 == 200).then_some(())
    });
    let source = host.api("/api/v1/sources/heygen");
    let places = source["secrets"].as_array().unwrap();
    let registered = places.iter().find(|it| it["from"].as_str().unwrap().contains("registration"));
    assert!(registered.unwrap()["last_used_at"].is_string(), "{source}");
    let again = provider(&site, &["register", "--url", &url]);
    assert!(again.code == 2 && again.err.contains("is registered already, as ep_1"), "{again:?}");
    let list = provider(&site, &["list"]).said();
    assert!(list.contains("ep_1") && list.contains("registered here"), "{list}");
    let updated = provider(&site, &["update", "--url", &url, "--event", "avatar_video.fail"]);
    assert!(updated.said().starts_with("updated ep_1"));
    assert_eq!(
        provider(&site, &["list", "--json"]).json()["items"][0]["events"],
        json!(["avatar_video.fail"])
    );
    let events = provider(&site, &["events", "--json"]).json();
    assert_eq!(events["items"][0]["event_id"], id);
    assert!(provider(&site, &["delete"]).said().starts_with("deleted ep_1"));
    assert_eq!((heygen.endpoints().len(), kept(&site)), (0, None));
    wait_for("the secret to end", || {
        let (_, body) = heygen.happen("avatar_video.success", &json!({}), 2);
        (HeyGen::deliver(&url, "x", &body, &secret).0 != 200).then_some(())
    });
}

#[test]
fn after_a_rotation_the_old_secret_is_active_until_its_time_and_no_longer() {
    let heygen = HeyGen::start();
    let site = site(&heygen, "overlap = \"2h\"");
    let host = Host::start(&site);
    let url = address(&host);
    provider(&site, &["register", "--url", &url]).said();
    let old = heygen.secret();
    let rotated = provider(&site, &["rotate"]).said();
    assert!(rotated.contains("active until "), "{rotated}");
    let new = heygen.secret();
    assert_ne!(old, new);
    let send = |n: i64, secret: &str| {
        let (id, body) = heygen.happen("avatar_video.success", &json!({ "n": n }), n);
        HeyGen::deliver(&url, &id, &body, secret)
    };
    wait_for("both to be active", || {
        (send(1, &new).0 == 200 && send(2, &old).0 == 200).then_some(())
    });
    let mut file = kept(&site).unwrap();
    assert!(file["secrets"][1]["until_ms"].as_i64().unwrap() > 0);
    file["secrets"][1]["until_ms"] = 1.into();
    replace(&site.path("data/secrets/heygen.registered"), file.to_string().as_bytes());
    wait_for("the old one to end", || (send(3, &old).0 == 401).then_some(()));
    assert_eq!(send(4, &new).0, 200);
    let reasons = host.api("/api/v1/sources/heygen")["refused"].clone();
    assert!(reasons["ended_secret"].as_u64().is_some_and(|count| count > 0), "{reasons}");
}

#[test]
fn both_generations_register_and_what_the_older_one_lacks_is_said() {
    let heygen = HeyGen::start();
    let site = site(&heygen, "api_version = \"v1\"");
    let host = Host::start(&site);
    let url = address(&host);
    provider(&site, &["register", "--url", &url]).said();
    assert!(heygen.requests().contains(&"POST /v1/webhook/endpoint.add".to_owned()));
    for verb in ["rotate", "events"] {
        let ran = provider(&site, &[verb]);
        assert!(ran.code == 2 && ran.err.contains("api_version = \"v3\""), "{ran:?}");
    }
    let gone = provider(&site, &["delete", "--endpoint", "ep_9"]);
    assert!(gone.code == 1 && gone.err.contains("endpoint not found"), "{gone:?}");
    provider(&site, &["delete"]).said();
}

#[test]
fn a_call_that_was_limited_or_whose_answer_was_lost_is_made_again_and_has_one_effect() {
    let heygen = HeyGen::start();
    let site = site(&heygen, "");
    let host = Host::start(&site);
    let url = address(&host);
    heygen.fail(429, "0", false);
    provider(&site, &["list"]).said();
    assert_eq!(heygen.requests().len(), 2);
    // The list before a registration, and then the registration.
    heygen.fail(429, "0", false);
    heygen.fail(429, "0", true);
    provider(&site, &["register", "--url", &url]).said();
    assert_eq!(heygen.endpoints(), ["ep_1"]);
    heygen.fail(429, "0", true);
    provider(&site, &["rotate"]).said();
    assert_eq!(kept(&site).unwrap()["secrets"][0]["secret"], heygen.secret());
    heygen.fail(429, "3600", false);
    let limited = provider(&site, &["list"]);
    assert!(limited.code == 1 && limited.err.contains("try again in 3600 s"), "{limited:?}");
    drop(host);
}

#[test]
fn what_is_wrong_is_named_with_the_remedy() {
    let heygen = HeyGen::start();
    let site = site(&heygen, "public_url = \"http://hooks.example.com\"");
    let refused = |arguments: &[&str], code: i32, says: &str| {
        let ran = provider(&site, arguments);
        assert!(ran.code == code && ran.err.contains(says), "{says}\n{ran:?}");
        assert!(!ran.err.contains(API_KEY) && kept(&site).is_none(), "{ran:?}");
    };
    refused(&["register"], 2, "http://hooks.example.com/webhook/heygen is not https");
    refused(&["register", "--url", "heygen"], 2, "is not an address");
    refused(&["register", "--url", "http://127.0.0.1:1/x"], 1, "does not answer OPTIONS");
    refused(&["rotate", "--endpoint", "ep_9"], 1, "`hookbox provider heygen list`");
    let url = "https://hooks.example.com/webhook/heygen";
    let one = heygen.add(url);
    let says = format!("rotate --endpoint {one}");
    refused(&["register", "--url", url], 1, &says);
    let other = heygen.add(url);
    let says = format!("is registered already, as {one} and {other}");
    refused(&["register", "--url", url], 1, &says);
    site.put_config(&config(&heygen, "public_url = \"https://hooks.example.com\""));
    refused(&["rotate"], 1, "2 endpoints are registered for https://hooks.example.com");
    site.put("api.key", "hg_wrong");
    refused(&["list"], 1, "the API key is not accepted (401: Invalid API key)");
    site.put("api.key", "");
    refused(&["list"], 2, "there is no API key of heygen: the file");
    site.put("api.key", API_KEY);
    let other = site.run(&["provider", "absent", "list"]);
    assert!(other.code == 2 && other.err.contains("there is no source `absent`"), "{other:?}");
    let text = config(&heygen, "").replace(&heygen.url, "http://127.0.0.1:1");
    site.put_config(&text);
    refused(&["list"], 1, "no answer from heygen at 127.0.0.1:1");
}

#[test]
fn a_damaged_registration_is_told_and_the_last_good_one_stays() {
    let heygen = HeyGen::start();
    let site = site(&heygen, "");
    let host = Host::start(&site);
    let url = address(&host);
    provider(&site, &["register", "--url", &url]).said();
    let secret = heygen.secret();
    let (id, body) = heygen.happen("avatar_video.success", &json!({}), 1);
    let arrives = || HeyGen::deliver(&url, &id, &body, &secret).0 == 200;
    wait_for("the secret to be active", || arrives().then_some(()));
    let file = site.path("data/secrets/heygen.registered");
    let whole = fs::read(&file).unwrap();
    replace(&file, &whole[..whole.len() - 20]);
    let told = wait_for("the problem", || {
        let ready = host.api("/readyz").to_string();
        ready.contains("is not what hookbox wrote").then_some(ready)
    });
    assert!(!told.contains(&secret) && arrives(), "{told}");
    let check = site.run(&["check"]);
    assert!(check.code == 2 && check.err.contains("put a copy of the file back"), "{check:?}");
    replace(&file, &whole);
    wait_for("the problem to end", || {
        (!host.api("/readyz").to_string().contains("is not what hookbox wrote")).then_some(())
    });
    assert!(arrives());
}

/// Events that the host has stored, the newest first.
fn stored(host: &Host) -> Vec<Value> {
    host.api("/api/v1/events?limit=500")["items"].as_array().unwrap().clone()
}

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// Waits until a host has asked for the log so often: only then the next time is known.
fn passed(host: &Host, times: u32) {
    let of = |result: &str| {
        let labels = format!("source=\"heygen\",result=\"{result}\"");
        host.metric(&format!("hookbox_reconcile_passes_total{{{labels}}}")).unwrap_or_default()
    };
    wait_for("the end of a pass", || (of("ok") + of("error") == f64::from(times)).then_some(()));
}

#[test]
fn events_that_never_came_are_appended_once_and_a_gap_is_told() {
    let heygen = HeyGen::start();
    let site = site(&heygen, "secrets = [{ file = \"own.secret\" }]\nreconcile = \"10m\"\n");
    site.put("own.secret", "whsec_own_secret_of_the_test");
    let start_ms = 1_900_000_000_000;
    let seconds = |ms: i64| (start_ms + ms) / 1000;
    heygen.happen("avatar_video.success", &json!({ "n": "too old" }), seconds(-30 * HOUR_MS));
    for n in 0..120 {
        heygen.happen("avatar_video.success", &json!({ "n": n }), seconds(-HOUR_MS + n));
    }
    let clock = Clock::manual(start_ms);
    let (host, _series) = Host::start_measured_by(&site, &clock);
    let count = |expected: usize| {
        wait_for("the events", || (stored(&host).len() == expected).then_some(()));
    };
    count(120);
    passed(&host, 1);
    let first = &host.api(&format!("/api/v1/events/{}", stored(&host)[0]["id"].as_str().unwrap()));
    assert!(first["note"].as_str().unwrap().starts_with("reconciled"), "{first}");
    assert_eq!(heygen.requests().len(), 3, "pages of 50, and no more");
    // A delivered event is not stored again, whichever comes first.
    let (id, body) = heygen.happen("avatar_video.success", &json!({ "n": "here" }), seconds(0));
    let secret = "whsec_own_secret_of_the_test";
    assert_eq!(HeyGen::deliver(&address(&host), &id, &body, secret).1["status"], "accepted");
    let (late, late_body) = heygen.happen("avatar_video.fail", &json!({}), seconds(MINUTE_MS));
    clock.set(start_ms + 10 * MINUTE_MS);
    count(122);
    passed(&host, 2);
    let again = HeyGen::deliver(&address(&host), &late, &late_body, secret);
    assert_eq!(again.1["status"], "duplicate", "{again:?}");
    // Errors are told, and asking goes on.
    for _ in 0..3 {
        heygen.fail(403, "", false);
    }
    let sees = |says: &'static str| {
        wait_for(says, || host.api("/readyz").to_string().contains(says).then_some(()));
    };
    clock.set(start_ms + 20 * MINUTE_MS);
    sees("the API key is not accepted");
    for pass in 3..6 {
        passed(&host, pass);
        let before = heygen.requests().len();
        clock.set(clock.now_ms() + 5 * MINUTE_MS);
        wait_for("the next call", || (heygen.requests().len() > before).then_some(()));
    }
    wait_for("the trouble to end", || {
        (!host.api("/readyz").to_string().contains("is not accepted")).then_some(())
    });
    drop(host);
    // A day later the log holds only what came last.
    heygen.happen("avatar_video.success", &json!({ "n": "last" }), seconds(40 * HOUR_MS));
    heygen.forget(1);
    let clock = Clock::manual(start_ms + 41 * HOUR_MS);
    let host = Host::start_by(&site, &clock);
    wait_for("the last event", || (stored(&host).len() == 123).then_some(()));
    wait_for("the gap", || {
        host.api("/readyz").to_string().contains("does not reach back far enough").then_some(())
    });
}

#[test]
fn keys_of_a_provider_that_cannot_work_are_refused_with_what_would_be_right() {
    let heygen = HeyGen::start();
    let site = site(&heygen, "");
    let refuses = |more: &str, says: &str| {
        site.put_config(&config(&heygen, more));
        let ran = site.run(&["check"]);
        assert!(ran.code == 2 && ran.err.contains(says), "{more}: {says}\n{ran:?}");
    };
    refuses("overlap = \"1s\"", "write a duration from 1m to 30d");
    refuses("reconcile = \"5s\"", "write a duration from 1m to 1d");
    refuses("api_version = \"v2\"", "it can be \"v3\", \"v1\"");
    refuses("api_version = \"v1\"\nreconcile = \"10m\"", "has no log of events");
    refuses("public_url = \"hooks.example.com\"", "write scheme and host");
    refuses("secrets = [{ registered = false }]", "names nothing");
    refuses("secrets = [{ registered = true, env = \"A\" }]", "stands beside `registered`");
    refuses("callback = { known = { bucket = \"orders\" } }", "is not complete");
    refuses("callback = { known = { bucket = \"a b\", key = \"{callback_id}\" } }", "no bucket");
    refuses("callback = { known = { bucket = \"a\", key = \"x\" } }", "{callback_id}");
    site.put_config(
        "[sources.a]\npreset = \"github\"\nsecrets = [{ env = \"A\" }]\nreconcile = \"1h\"\n",
    );
    let ran = site.run(&["check"]);
    assert!(ran.code == 2 && ran.err.contains("provider is not known"), "{ran:?}");
}
