//! The map of a running host: what it counts on the road is what the map shows.

use serde_json::{Value, json};

use crate::support::{Host, SOURCE, Site, agent, guest, wait_for};

const ROUTES: &str = r#"
[routes]
"step.one" = "worker"
"plugins/worker:guest.echoed" = "sink"
"never.*" = "sink"
[schedules.nightly]
cron = "0 3 * * *"
tz = "UTC"
emit = "report.due"
"#;

fn edge<'a>(map: &'a Value, from: &str, to: &str) -> &'a Value {
    let edges = map["edges"].as_array().unwrap();
    let found = edges.iter().find(|edge| edge["from"] == from && edge["to"] == to);
    found.unwrap_or_else(|| panic!("no {from} → {to} in {map:#}"))
}

#[test]
fn events_attempts_and_what_is_emitted_are_on_the_map_and_in_its_table() {
    let plugins = [("worker.wat", &guest("emit")[..]), ("sink.wat", &guest("reject")[..])];
    let site = Site::new(&format!("{SOURCE}{ROUTES}"), &plugins);
    let host = Host::start(&site);
    host.send("step.one", 1);
    host.send("step.one", 2);
    host.send("other.kind", 3);
    let map = wait_for("both to be refused", || {
        let map = host.api("/api/v1/map");
        let edges = map["edges"].as_array().unwrap();
        edges.iter().any(|edge| edge["failed"] == 2).then_some(map)
    });
    assert_eq!(edge(&map, "source:test", "type:step.one")["count"], 2);
    let routed = edge(&map, "type:step.one", "plugin:worker");
    assert_eq!((&routed["count"], &routed["failed"]), (&json!(2), &json!(0)));
    assert_eq!(routed["pattern"], "step.one");
    assert_eq!(edge(&map, "plugin:worker", "type:guest.echoed")["count"], 2);
    let failing = edge(&map, "type:guest.echoed", "plugin:sink");
    assert_eq!((&failing["count"], &failing["failed"]), (&json!(2), &json!(2)));
    assert_eq!(failing["pattern"], "plugins/worker:guest.echoed");
    assert!(failing["last_at"].is_string());
    assert_eq!(edge(&map, "type:never.*", "plugin:sink")["count"], 0);
    assert_eq!(edge(&map, "schedule:nightly", "type:report.due")["count"], 0);
    let unrouted: Vec<_> = map["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|node| node["unrouted"] == true)
        .map(|node| node["id"].as_str().unwrap())
        .collect();
    assert_eq!(unrouted, ["type:other.kind", "type:report.due"]);

    let said = site.ask(&host, &["routes"]).said();
    let page = agent().get(format!("{}/map", host.admin_url)).call().unwrap();
    let page = page.into_body().read_to_string().unwrap();
    let rows = map["edges"].as_array().unwrap().len() + unrouted.len();
    assert_eq!(said.lines().count(), 1 + rows, "{said}");
    assert_eq!(page.matches("<tr data-row=").count(), rows, "{page}");
    assert_eq!(page.matches("class=\"near\"").count(), rows - unrouted.len(), "{page}");
    assert!(said.contains("plugins/worker:guest.echoed") && said.contains("no route"), "{said}");

    let focused = site.ask(&host, &["routes", "--focus", "type:other.kind", "--json"]).json();
    let nodes: Vec<_> = focused["nodes"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
    assert!(nodes.contains(&&json!("source:test")) && !nodes.contains(&&json!("plugin:sink")));
    let refused = site.ask(&host, &["routes", "--focus", "plugin:snk"]);
    assert!(refused.code == 2 && refused.err.contains("plugin:sink"), "{refused:?}");
    let (status, problem) = host.api_status("GET", "/api/v1/map?window=14d", None);
    assert_eq!(status, 400, "{problem}");
}
