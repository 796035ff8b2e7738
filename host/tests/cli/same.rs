//! The command and the call at the end of a page say what the page says, with all of its filters.

use std::process::Command;

use serde_json::{Value, json};

use super::{OK, REJECT};
use crate::support::{Host, Site, agent, wait_for};

const CONFIG: &str = r#"
[sources.heygen]
preset = "heygen"
secrets = [{ env = "HEYGEN_WEBHOOK_SECRET" }]

[routes]
"avatar_video.success" = "fine"
"avatar_video.fail" = "refuses"

[joins.videos]
on = "avatar_video.*"
key = "subject"
need = 9
within = "1h"
emit = "videos.ready"

[schedules.report]
every = "1h"
emit = "report.due"
"#;

/// A time before and a time after everything.
const TIMES: &str = "since=2020-01-01T00:00:00Z&until=2100-01-01T00:00:00Z";

/// A host with three events that failed, three that did not, three keys, and two operations.
fn full() -> (Site, Host) {
    let site =
        Site::new(CONFIG, &[("fine.wat", OK.as_bytes()), ("refuses.wat", REJECT.as_bytes())]);
    let host = Host::start(&site);
    for (kind, number) in [("success", 0), ("fail", 1), ("success", 2), ("fail", 3), ("fail", 4)] {
        let set = format!("event_data.callback_id=order_{number}");
        let kind = format!("avatar_video.{kind}");
        let sent = ["send", "heygen", &kind, "--set", &set, "--url", &host.public_url];
        assert_eq!(site.run(&sent).code, 0);
    }
    let count = |state: &str| host.api("/api/v1/stats")["deliveries"][state].clone();
    wait_for("the deliveries", || (count("dead") == 3 && count("done") == 2).then_some(()));
    for key in ["a1", "a2", "b1"] {
        let path = format!("/api/v1/kv/fine/value?key={key}&if_absent=true");
        assert_eq!(host.api_status("PUT", &path, Some(json!(1))).0, 200);
    }
    for _ in 0..2 {
        let plan = json!({ "action": "discard", "state": "dead" });
        assert_eq!(host.api_status("POST", "/api/v1/operations", Some(plan)).0, 201);
    }
    (site, host)
}

fn unescaped(text: &str) -> String {
    let signs = [("&#39;", "'"), ("&#34;", "\""), ("&quot;", "\""), ("&#60;", "<"), ("&lt;", "<")];
    let signs = signs.into_iter().chain([("&#62;", ">"), ("&gt;", ">"), ("&#38;", "&")]);
    signs.chain([("&amp;", "&")]).fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// The text of a page between two texts.
fn between(text: &str, from: &str, to: &str) -> Option<String> {
    Some(unescaped(text.split_once(from)?.1.split_once(to)?.0))
}

/// A page, with its command and the path of its call.
struct Shown {
    text: String,
    command: String,
    call: String,
}

fn shown(host: &Host, path: &str) -> Shown {
    let url = format!("{}{path}", host.admin_url);
    let mut answer = agent().get(&url).header("accept", "text/html").call().unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    assert_eq!(answer.status(), 200, "{path}: {text}");
    let command = between(&text, "<span>as command</span> <hb-copy data-text=\"", "\"").unwrap();
    let call = between(&text, "<span>as API call</span> <hb-copy><code>", "</code>").unwrap();
    let call = call.strip_prefix("curl -s '").and_then(|call| call.strip_suffix('\''));
    let call = call.and_then(|call| call.strip_prefix(&host.admin_url));
    let call = call.unwrap_or_else(|| panic!("{path}: {text}")).to_owned();
    Shown { text, command, call }
}

/// The output of a line of a shell, as JSON.
fn run(site: &Site, host: &Host, command: &str) -> Value {
    let binary = format!("{} ", env!("CARGO_BIN_EXE_hookbox"));
    let line = format!("{} --json", command.replacen("hookbox ", &binary, 1));
    let mut shell = Command::new("sh");
    site.prepare(shell.args(["-euc", &line]));
    let ran = shell.env("HOOKBOX_ADMIN", &host.admin_url).output().unwrap();
    assert!(ran.status.success(), "{line}: {ran:?}");
    serde_json::from_slice(&ran.stdout).unwrap()
}

/// The same without times of open joins: they are told by two clocks, and differ by a millisecond.
fn without_ends(part: &Value) -> Value {
    const TIMES: [&str; 4] = ["due_at", "waits_for", "since", "until"];
    match part {
        Value::Array(items) => items.iter().map(without_ends).collect(),
        Value::Object(members) => {
            let kept = members.iter().filter(|(name, _)| !TIMES.contains(&name.as_str()));
            kept.map(|(name, value)| (name.clone(), without_ends(value))).collect()
        }
        other => other.clone(),
    }
}

/// Checks a listing and the pages after it; how many there are.
fn follow(site: &Site, host: &Host, first: &str) -> usize {
    let (mut path, mut pages) = (first.to_owned(), 0);
    loop {
        let page = shown(host, &path);
        let (asked, said) = (host.api(&page.call), run(site, host, &page.command));
        let is_first = pages == 0;
        let is_empty = asked["items"].as_array().unwrap().is_empty();
        assert!(!is_first || !is_empty, "{path}: nothing is compared");
        for part in ["items", "next_cursor", "next_after"] {
            let [asked, said] = [&asked[part], &said[part]].map(without_ends);
            assert_eq!(asked, said, "{path}: {}", page.command);
        }
        let fields = |text: &str| text.split_once('?').map_or(0, |it| it.1.split('&').count());
        // The way back is of the page alone.
        let own = usize::from(path.contains("back="));
        assert_eq!(fields(&page.call), fields(&path) - own, "{path}: {}", page.call);
        pages += 1;
        let Some(next) = between(&page.text, "rel=\"next\" href=\"", "\"") else { return pages };
        assert!(pages < 10, "{path}");
        path = next;
    }
}

#[test]
fn the_command_and_the_call_of_every_listing_have_all_of_its_filters() {
    let (site, host) = full();
    let group = host.api("/api/v1/failures")["items"][0]["id"].as_str().unwrap().to_owned();
    let oldest = host.api("/api/v1/events?type=avatar_video.success")["items"][1]["id"].clone();
    let oldest = oldest.as_str().unwrap();
    let of = |path: &str| follow(&site, &host, path);
    let events = "/events?type=avatar_video.*&source=heygen&emitted=false&state=failing&plugin=refuses\
                  &min_attempts=1&q=order";
    assert!(of(&format!("{events}&{TIMES}&limit=1")) >= 3);
    assert_eq!(of("/events?subject=order_1"), 1);
    assert!(of(&format!("/events?after={oldest}&type=avatar_video.success&limit=1")) >= 1);
    let deliveries = format!(
        "/deliveries?state=dead&plugin=refuses&type=avatar_video.fail&source=heygen&failure={group}\
         &outcome=reject&min_attempts=1"
    );
    assert!(of(&format!("{deliveries}&{TIMES}&limit=1")) >= 3);
    assert_eq!(of("/deliveries?subject=order_3"), 1);
    let failures = "/failures?state=all&plugin=refuses&outcome=reject";
    let page = shown(&host, &format!("{failures}&{TIMES}"));
    assert!(page.command.contains(" --all --plugin refuses --outcome reject --since "));
    assert_eq!(host.api(&page.call), run(&site, &host, &page.command));
    assert!(of("/operations?limit=1") >= 2);
    assert!(of("/joins?name=joins/videos&limit=1") >= 2);
    assert_eq!(of("/joins?key=order_2"), 1);
    assert!(of(&format!("/settings/audit?actor=local&action=kv&target=fine&{TIMES}&limit=1")) >= 3);
    // Keys go on after a key, so their pages are asked for one by one.
    for path in ["/kv/fine?prefix=a&limit=1", "/kv/fine?prefix=a&after=a1&limit=7"] {
        let page = shown(&host, path);
        assert!(page.call.ends_with(path.strip_prefix("/kv/fine").unwrap()), "{}", page.call);
        assert_eq!(host.api(&page.call), run(&site, &host, &page.command), "{path}");
    }
}

#[test]
fn the_command_and_the_call_of_other_pages_say_the_same() {
    let (site, host) = full();
    let event = host.api("/api/v1/events?limit=1")["items"][0]["id"].as_str().unwrap().to_owned();
    let group = host.api("/api/v1/failures")["items"][0]["id"].as_str().unwrap().to_owned();
    for path in [
        "/plugins".to_owned(),
        "/plugins/fine".to_owned(),
        "/sources".to_owned(),
        "/schedules".to_owned(),
        "/kv".to_owned(),
        "/kv/fine/value?key=a1".to_owned(),
        "/settings".to_owned(),
        format!("/events/{event}"),
        format!("/failures/{group}"),
        "/operations/op_1?result=found".to_owned(),
    ] {
        let page = shown(&host, &path);
        let (mut asked, said) = (host.api(&page.call), run(&site, &host, &page.command));
        // A list without pages has no place to go on at.
        if said.get("next_cursor").is_none() && asked["next_cursor"].is_null() {
            asked.as_object_mut().unwrap().remove("next_cursor");
        }
        assert_eq!(without_ends(&asked), without_ends(&said), "{path}");
    }
    let tree = shown(&host, &format!("/events/{event}?tab=tree"));
    let ids = |tree: Value| {
        tree["events"].as_array().unwrap().iter().map(|it| it["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(host.api(&tree.call)), ids(run(&site, &host, &tree.command)));
    let map = shown(&host, "/map?window=24h&focus=plugin:refuses");
    let nodes = |map: Value| map["nodes"].clone();
    assert_eq!(nodes(host.api(&map.call)), nodes(run(&site, &host, &map.command)));
    let text = shown_lines(&host, &format!("/replays/new?id={event}"));
    assert_eq!(text.0, format!("hookbox events replay {event}"));
    let plan = format!("{}/api/v1/operations?ids={event}&action=replay", host.admin_url);
    assert_eq!(text.1, format!("curl -s '{plan}' -X 'POST'"));
    let config = host.api("/api/v1/config");
    assert!(config["read_at"].as_str().unwrap().ends_with('Z'), "{config}");
    assert!(shown(&host, "/settings").text.contains("<span class=\"dim\">read</span> <hb-time>"));
}

/// The two lines at the end of a page, as they are.
fn shown_lines(host: &Host, path: &str) -> (String, String) {
    let url = format!("{}{path}", host.admin_url);
    let mut answer = agent().get(&url).header("accept", "text/html").call().unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    let command = between(&text, "<span>as command</span> <hb-copy data-text=\"", "\"").unwrap();
    (command, between(&text, "<span>as API call</span> <hb-copy><code>", "</code>").unwrap())
}

#[test]
fn the_audit_log_is_written_as_lines_of_json() {
    let (site, host) = full();
    let lines = site.ask(&host, &["audit", "export", "--action", "kv"]).said();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let listed = host.api("/api/v1/audit?action=kv")["items"].clone();
    assert_eq!(json!(lines), listed);
    assert_eq!(lines.len(), 3);
    let all = site.ask(&host, &["audit", "export"]).said();
    assert_eq!(all.lines().count(), 5, "{all}");
}
