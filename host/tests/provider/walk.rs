//! HeyGen from end to end, as `docs/heygen.md` has it, and callbacks of single jobs.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use hookbox::clock::Clock;
use serde_json::{Value, json};

use super::{MINUTE_MS, address, config, kept, provider, site, stored};
use crate::support::{HeyGen, Host, agent, file, wait_for};

/// The commands of the walk-through, as the page has them.
fn walk_through() -> Vec<Vec<String>> {
    let page = String::from_utf8(file("../docs/heygen.md")).unwrap();
    let commands = page.lines().filter_map(|line| line.strip_prefix("hookbox "));
    commands.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn the_walk_through_of_the_documentation_works_from_the_registration_to_its_end() {
    let heygen = HeyGen::start();
    // The command says by the machine's clock until when an old secret is active.
    let start_ms = Clock::system().now_ms();
    let at = |minutes: i64| start_ms / 1000 + 60 * minutes;
    let clock = Clock::manual(start_ms);
    let site = site(&heygen, "");
    let host = Host::start_by(&site, &clock);
    let url = address(&host);
    let more =
        format!("public_url = \"{}\"\nreconcile = \"10m\"\ncallback = true", host.public_url);
    site.put_config(&config(&heygen, &more));
    let mut commands = walk_through().into_iter();
    let mut next = |verb: &str| {
        let command = commands.next().unwrap_or_else(|| panic!("{verb} is not on the page"));
        assert_eq!(command[..3], ["provider", "heygen", verb], "the order of the page");
        let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        site.run(&arguments)
    };
    // Register: HeyGen probes the address by OPTIONS before there is a secret.
    let shown = next("register").said();
    assert!(shown.contains(&url) && heygen.endpoints().is_empty(), "{shown}");
    next("register").said();
    assert!(next("list").said().contains("registered here"));
    let old = heygen.secret();
    let event = |n: i64| {
        let data = json!({ "video_id": format!("v{n}"), "callback_id": format!("order_{n}") });
        heygen.happen("avatar_video.success", &data, at(n))
    };
    let send =
        |(id, body): &(String, String), secret: &str| HeyGen::deliver(&url, id, body, secret);
    let first = event(0);
    wait_for("the secret to be active", || (send(&first, &old).0 == 200).then_some(()));
    // An event signed with the old key after the rotation.
    next("rotate").said();
    let new = heygen.secret();
    assert_ne!(old, new);
    let second = event(1);
    wait_for("the new secret to be active", || (send(&second, &new).0 == 200).then_some(()));
    assert_eq!(send(&event(2), &old).1["status"], "accepted");
    let missed: Vec<_> = (3..6).map(event).collect();
    clock.set(start_ms + 30 * MINUTE_MS);
    wait_for("the missed events", || (stored(&host).len() == 6).then_some(()));
    missed.iter().for_each(|late| assert_eq!(send(late, &new).1["status"], "duplicate"));
    assert_eq!(noted(&host, &missed), [true; 3], "those from the log have a note");
    let log = next("events").said();
    assert_eq!(log.lines().count(), 6, "a head and five events: {log}");
    // A callback, unsigned; and the same event signed.
    let callback = next("callback-url").said();
    let callback = callback.trim();
    let job = event(7);
    wait_for("the address to be active", || (unsigned(callback, &job.1).0 == 200).then_some(()));
    assert_eq!(send(&job, &new).1["status"], "duplicate");
    next("update").said();
    next("delete").said();
    assert_eq!((heygen.endpoints().len(), kept(&site)), (0, None));
    // The host has the secret that it made itself, as any on loopback.
    wait_for("the secret to end", || (send(&event(8), &new).0 == 401).then_some(()));
    assert!(commands.next().is_none(), "the page has more commands");
}

/// Whether those that were missed say that they are from the log. Others may have been found there
/// before they were sent.
fn noted(host: &Host, missed: &[(String, String)]) -> Vec<bool> {
    let is_noted =
        |it: &Value| it["note"].as_str().is_some_and(|note| note.starts_with("reconciled"));
    let all = stored(host);
    let missed = all.iter().filter(|it| missed.iter().any(|(id, _)| it["provider_id"] == **id));
    missed.map(is_noted).collect()
}

/// Posts a body without a signature.
fn unsigned(url: &str, body: &str) -> (u16, String) {
    let answer = agent().post(url).header("content-type", "application/json").send(body).unwrap();
    let status = answer.status().as_u16();
    (status, answer.into_body().read_to_string().unwrap())
}

#[test]
fn a_callback_needs_its_token_and_a_key_that_waits_for_it() {
    let heygen = HeyGen::start();
    let known = "callback = { known = { bucket = \"orders\", key = \"job/{callback_id}\" } }\n";
    let public = "public_url = \"https://hooks.example.com\"";
    let bucket = "[plugins.worker]\nkv = { bucket = \"orders\" }";
    let site = site(&heygen, &format!("{known}{public}\n{bucket}"));
    let made = provider(&site, &["callback-url", "--json"]).json();
    let made = made["url"].as_str().unwrap().to_owned();
    let token = made.strip_prefix("https://hooks.example.com/webhook/heygen/").unwrap();
    let file = site.path("data/secrets/heygen.callback");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(provider(&site, &["callback-url"]).said().trim(), made, "it stays the same");
    let host = Host::start(&site);
    let url = format!("{}/{token}", address(&host));
    let body = |n: u32| {
        let data = json!({ "video_id": "v", "callback_id": format!("order_{n}") });
        json!({ "event_type": "avatar_video.success", "event_data": data }).to_string()
    };
    let nowhere = unsigned(&format!("{}/webhook/absent/{token}", host.public_url), &body(1));
    let wrong = token.replace(|c: char| c.is_ascii_digit(), "a");
    for other in [wrong.as_str(), &token[1..], "x", &format!("{token}/x"), ""] {
        let answer = unsigned(&format!("{}/{other}", address(&host)), &body(1));
        if other.is_empty() {
            assert_eq!(answer.0, 401, "that is the address of signed requests");
        } else {
            assert_eq!(answer, nowhere, "{other}: like a source that is not there");
        }
    }
    assert_eq!(unsigned(&url, &body(1)).0, 404);
    assert_eq!(unsigned(&url, "{}").0, 404, "without a subject nobody waits for it");
    assert_eq!(stored(&host).len(), 0, "nothing of a refusal is stored");
    let refused = host.api("/api/v1/sources/heygen")["refused"].clone();
    assert_eq!(refused["unknown_callback"], 2, "{refused}");
    site.ask(&host, &["kv", "set", "orders", "job/order_1", "waits", "--force"]).said();
    let (status, answer) = unsigned(&url, &body(1));
    assert!(status == 200 && answer.contains("accepted"), "{answer}");
    assert!(unsigned(&url, &body(1)).1.contains("duplicate"));
    let probe = agent().options(&url).call().unwrap().status().as_u16();
    assert_eq!(probe, 204);
    let event = &stored(&host)[0];
    assert!(event["note"].as_str().unwrap().contains("a callback"), "{event}");
    assert!(!site.log().contains(token) && !host.api("/api/v1/config").to_string().contains(token));
    // Another token ends the first one at once.
    let renewed = provider(&site, &["callback-url", "--new"]).said();
    assert_ne!(renewed.trim(), made);
    wait_for("the old token to end", || (unsigned(&url, &body(1)).0 == 404).then_some(()));
}
