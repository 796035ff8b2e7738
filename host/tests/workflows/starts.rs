//! `hookbox emit` and `hookbox events cancel` on a real host.

use serde_json::{Value, json};

use super::site;
use crate::support::{Host, wait_for};

#[test]
fn an_event_of_ones_own_is_made_once_for_each_key() {
    let site = site("[routes]\n\"order.paid\" = \"next\"\n\"api/local:order.bad\" = \"ship\"\n");
    let host = Host::start(&site);
    site.put("order.json", "{\"total\": 120}");
    let arguments =
        ["emit", "order.paid", "--subject", "order_1", "--data", "order.json", "--key", "k1"];
    let first = site.ask(&host, &[&arguments[..], &["--json"]].concat()).json();
    let id = first["event_id"].as_str().unwrap();
    host.until_done(id);
    let event = host.event(id);
    assert_eq!((&event["source"], &event["subject"]), (&json!("api/local"), &json!("order_1")));
    assert_eq!(event["data"], json!({ "total": 120 }), "{event}");
    let again = site.ask(&host, &arguments).said();
    assert!(again.starts_with(&format!("{id}  duplicate\n  next  done")), "{again}");
    let piped =
        site.run_with(&["emit", "order.paid", "--data", "-", "--admin", &host.admin_url], "hello");
    let id = piped.said().split_whitespace().next().unwrap().to_owned();
    let event = host.event(&id);
    assert_eq!(event["datacontenttype"], "text/plain", "{event}");
    // A dead letter is told of, and not tried again.
    let bad = ["emit", "order.bad", "--key", "k2"];
    site.ask(&host, &bad).said();
    wait_for("a dead letter", || (host.count("dead") == 1).then_some(()));
    let again = site.ask(&host, &bad);
    assert!(again.code == 0 && again.err.contains("deliveries retry dlv_"), "{again:?}");
    let refused = site.ask(&host, &["emit", "hookbox.dead"]);
    assert!(refused.code == 2 && refused.err.contains("the host's own"), "{refused:?}");
    let missing = site.ask(&host, &["emit", "order.paid", "--data", "nothing.json"]);
    assert!(
        missing.code == 2 && missing.err.contains("failed to read nothing.json"),
        "{missing:?}"
    );
}

#[test]
fn what_is_open_of_a_tree_is_cancelled_by_its_event() {
    let site =
        site("[routes]\n\"order.paid\" = [\"next\", { plugin = \"refund\", delay = \"30d\" }]\n");
    let host = Host::start(&site);
    let started = site.ask(&host, &["emit", "order.paid", "--json"]).json();
    let id = started["event_id"].as_str().unwrap();
    wait_for("the plugin that is not delayed", || (host.count("done") == 1).then_some(()));
    assert_eq!(site.ask(&host, &["events", "cancel", id]).said(), "1 cancelled\n");
    let states: Vec<Value> = host.event(id)["deliveries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|delivery| delivery["state"].clone())
        .collect();
    assert_eq!(states, ["done", "cancelled"]);
    let again = site.ask(&host, &["events", "cancel", id]);
    assert!(again.code == 1 && again.err.contains("is open"), "{again:?}");
}
