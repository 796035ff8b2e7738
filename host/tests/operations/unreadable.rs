//! An operation whose row cannot be read.

use serde_json::json;

use super::{dead, look, of_all, plan, post, start, until_state};
use crate::support::Host;

#[test]
fn an_operation_that_cannot_be_read_is_listed_told_of_once_and_can_be_cancelled() {
    let (site, host) = dead(3);
    let odd = plan(&host, of_all("retry"));
    start(&host, &odd, json!({ "pace": 1 }));
    host.kill();
    let store = rusqlite::Connection::open(site.path("data/hookbox.db")).unwrap();
    let damaged = "UPDATE operations SET state = 1, scope = '{\"tenant\":\"a\"}'";
    assert_eq!(store.execute(damaged, []).unwrap(), 1);
    drop(store);
    let host = Host::start(&site);
    let sound = plan(&host, json!({ "action": "discard", "plugin": "worker" }));
    start(&host, &sound, json!({}));
    until_state(&host, &sound, "done");
    let listed = host.api("/api/v1/operations");
    let of_odd = &listed["items"][1];
    assert_eq!(listed["items"][0]["id"], json!(sound));
    assert_eq!((&of_odd["action"], &of_odd["state"]), (&json!("unreadable"), &json!("running")));
    let why = format!("operation `{odd}` cannot be read: its `scope` is damaged");
    assert!(of_odd["reason"].as_str().unwrap().starts_with(&why), "{of_odd}");
    let said = site.ask(&host, &["operations"]).said();
    assert!(said.contains("unreadable") && said.contains("not known"), "{said}");
    let (status, refused) =
        host.api_status("POST", &format!("/api/v1/operations/{odd}/pause"), None);
    assert_eq!(status, 409, "{refused}");
    assert!(refused["detail"].as_str().unwrap().starts_with(&why), "{refused}");
    let page = host.api(&format!("/operations/{odd}"));
    let page = page.as_str().unwrap();
    assert!(page.contains("End it here") && !page.contains(">Pause<"), "{page}");
    post(&host, &format!("/api/v1/operations/{odd}/cancel"), json!({}));
    assert_eq!(look(&host, &odd)["state"], "cancelled");
    host.stop();
    let log = site.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("is left alone")).collect();
    assert!(lines.len() == 1 && lines[0].contains(&odd) && lines[0].contains(&why), "{lines:?}");
}
