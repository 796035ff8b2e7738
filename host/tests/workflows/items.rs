//! Items of routes: conditions, delays, and events that cancel.

use serde_json::{Value, json};

use super::{events, site};
use crate::support::{Host, SOURCE, Site, body, file, guest, wait_for};

/// The deliveries of an event: plugin and state.
fn deliveries(host: &Host, id: &str) -> Vec<(String, String)> {
    let event = host.event(id);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let deliveries = event["deliveries"].as_array().unwrap();
    deliveries.iter().map(|it| (text(&it["plugin"]), text(&it["state"]))).collect()
}

#[test]
fn an_event_whose_condition_fails_is_unrouted_and_says_why() {
    let site = site("[routes]\n\"order.*\" = { plugin = \"next\", when = \"data.total > 100\" }\n");
    let host = Host::start(&site);
    let send = |total: &str| {
        let body = format!(r#"{{"event_type":"order.paid"{total}}}"#);
        host.provide(&body)["id"].as_str().unwrap().to_owned()
    };
    let (large, small, none) = (send(",\"total\":101"), send(",\"total\":99"), send(""));
    host.settled();
    assert_eq!(deliveries(&host, &large), [("next".to_owned(), "done".to_owned())]);
    let page = host.api("/api/v1/events?state=unrouted");
    let unrouted = page["items"].as_array().unwrap();
    let ids: Vec<_> = unrouted.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [&none, &small]);
    let why = json!("`when` of `next` failed: No such key: total");
    assert_eq!((&unrouted[0]["note"], &unrouted[1]["note"]), (&why, &Value::Null));
    assert_eq!(host.metric("hookbox_route_errors_total{plugin=\"next\"}"), Some(1.0));
    let (status, answer) = host.api_status("POST", &format!("/api/v1/events/{none}/replay"), None);
    let detail = answer["detail"].as_str().unwrap();
    assert!(status == 409 && detail.contains("`when`") && detail.contains("total"), "{answer}");
}

#[test]
fn a_delayed_delivery_waits_and_an_event_of_its_subject_cancels_it() {
    let site = site(
        "[routes]\n\"order.paid\" = [\"next\", { plugin = \"refund\", delay = \"30d\", cancel_on = [\"order.done\", \"order.void\"] }]\n",
    );
    let host = Host::start(&site);
    let (first, second) = (host.send("order.paid", "order_1"), host.send("order.paid", "order_2"));
    let waiting = [("next", "done"), ("refund", "waiting")];
    let states = |id: &str, expected: [(&str, &str); 2]| {
        let expected = expected.map(|(plugin, state)| (plugin.to_owned(), state.to_owned()));
        wait_for("the deliveries", || (deliveries(&host, id) == expected).then_some(()));
    };
    states(&first, waiting);
    states(&second, waiting);
    host.send("order.done", "order_1");
    states(&first, [("next", "done"), ("refund", "cancelled")]);
    states(&second, waiting);
    // An event after the one that cancels is not cancelled by it.
    let third = host
        .provide(&body("order.paid", "order_1").replace("{\"event_type", "{\"n\":3,\"event_type"));
    states(third["id"].as_str().unwrap(), waiting);
    host.kill();
}

#[test]
fn an_event_without_a_subject_cancels_nothing_and_says_so() {
    let site = site(
        "[routes]\n\"order.paid\" = { plugin = \"next\", delay = \"30d\", cancel_on = \"order.done\" }\n",
    );
    let host = Host::start(&site);
    let paid = host.send("order.paid", "order_1");
    host.provide(r#"{"event_type":"order.done"}"#);
    let done = events(&host, "order.done").remove(0);
    assert_eq!(done["note"], "cancels nothing: it has no subject");
    assert_eq!(deliveries(&host, &paid), [("next".to_owned(), "waiting".to_owned())]);
    host.kill();
}

#[test]
fn check_prints_the_routes_as_they_were_understood() {
    let site = site(
        "[routes]\n\"order.done\" = \"next\"\n\"order.paid\" = [\"next\", { plugin = \"refund\", delay = \"90m\", \
         cancel_on = \"order.done\", when = \"data.total > 100\" }]\n",
    );
    let said = site.run(&["check"]).said();
    let lines: Vec<String> =
        said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let at = lines.iter().position(|line| line == "order.done → next").expect(&said);
    assert_eq!(
        lines[at + 1..at + 3],
        [
            "order.paid → next",
            "→ refund when data.total > 100; after 1h30m; cancelled by order.done"
        ],
        "{said}"
    );
}

#[test]
fn the_example_of_the_documentation_does_what_is_written_there() {
    let text = String::from_utf8(file("../docs/workflows.md")).unwrap();
    let (_, section) = text.split_once("## Route items").expect("the section is there");
    let (_, example) = section.split_once("```toml\n").expect("it has an example");
    let (example, _) = example.split_once("```").expect("it ends");
    let ok = guest("ok");
    let plugins = ["charge.wat", "reminder.wat", "vip.wat"].map(|name| (name, ok.as_slice()));
    let site = Site::new(&format!("{SOURCE}{example}"), &plugins);
    let host = Host::start(&site);
    let paid = |total: u32, subject: &str| {
        let data = format!("\"event_data\":{{\"callback_id\":\"{subject}\"}},\"total\":{total}");
        let body = format!("{{\"event_type\":\"order.paid\",{data}}}");
        host.provide(&body)["id"].as_str().unwrap().to_owned()
    };
    let becomes = |id: &str, expected: &[(&str, &str)]| {
        let own = |(plugin, state): &(&str, &str)| ((*plugin).to_owned(), (*state).to_owned());
        let expected: Vec<_> = expected.iter().map(own).collect();
        wait_for("the deliveries", || (deliveries(&host, id) == expected).then_some(()));
    };
    let (large, small) = (paid(101, "order_1"), paid(100, "order_2"));
    becomes(&large, &[("charge", "done"), ("reminder", "waiting"), ("vip", "done")]);
    becomes(&small, &[("charge", "done"), ("reminder", "waiting")]);
    host.send("order.completed", "order_1");
    host.send("order.cancelled", "order_2");
    becomes(&large, &[("charge", "done"), ("reminder", "cancelled"), ("vip", "done")]);
    becomes(&small, &[("charge", "done"), ("reminder", "cancelled")]);
}
