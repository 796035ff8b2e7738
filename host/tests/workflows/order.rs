//! Order by a key and pace, as users write them.

use serde_json::json;

use crate::support::{Host, SOURCE, Site, file, guest, wait_for};

/// The example of this section of the documentation.
fn example(section: &str) -> String {
    let text = String::from_utf8(file("../docs/workflows.md")).unwrap();
    let (_, section) = text.split_once(section).expect("the section is there");
    let (_, example) = section.split_once("```toml\n").expect("it has an example");
    example.split_once("```").expect("it ends").0.to_owned()
}

/// Waits until the only delivery of an event is in a state; its id.
fn becomes(host: &Host, event: &str, state: &str) -> String {
    wait_for(state, || {
        let delivery = host.event(event)["deliveries"][0].clone();
        (delivery["state"] == state).then(|| delivery["id"].as_str().unwrap().to_owned())
    })
}

#[test]
fn a_dead_letter_holds_its_key_and_no_other_until_an_operator_decides() {
    let sections = example("## Order by a key");
    let reject = guest("reject");
    let text = format!("{SOURCE}[routes]\n\"order.*\" = \"charge\"\n{sections}");
    let site = Site::new(&text, &[("charge.wat", &reject)]);
    let host = Host::start(&site);
    let first = host.send("order.created", "order_1");
    let dead = becomes(&host, &first, "dead");
    let second = host.send("order.paid", "order_1");
    let other = host.send("order.paid", "order_2");
    becomes(&host, &other, "dead");
    becomes(&host, &second, "waiting");
    site.ask(&host, &["deliveries", "discard", &dead]).said();
    becomes(&host, &second, "dead");
}

#[test]
fn an_event_without_the_key_is_in_no_order_and_says_so() {
    let ok = guest("ok");
    let sections =
        "[routes]\n\"order.*\" = \"charge\"\n[plugins.charge]\nkey = { json = \"/customer\" }\n";
    let site = Site::new(&format!("{SOURCE}{sections}"), &[("charge.wat", &ok)]);
    let host = Host::start(&site);
    let id = host.send("order.paid", "order_1");
    becomes(&host, &id, "done");
    let note = host.event(&id)["note"].as_str().unwrap().to_owned();
    assert!(note.starts_with("not in order for `charge`") && note.contains("/customer"), "{note}");
}

#[test]
fn the_order_and_the_pace_of_a_plugin_are_shown() {
    let sections = example("## Order by a key");
    let ok = guest("ok");
    let text = format!("{SOURCE}[routes]\n\"order.*\" = \"charge\"\n{sections}");
    let site = Site::new(&text, &[("charge.wat", &ok)]);
    let said = site.run(&["check"]).said();
    let pace = "ordered by subject, 1 of a key at once, a dead letter holds its key, at most 10/s on this host";
    assert!(said.contains(pace), "{said}");
    let host = Host::start(&site);
    let plugin = host.plugin("charge");
    assert_eq!(
        (&plugin["key"], &plugin["rate"]),
        (
            &json!({ "by": "subject", "per_key": 1, "interval_ms": null, "on_dead": "hold", "max_waiting_per_key": 10_000 }),
            &json!("10/s")
        )
    );
    let shown = site.ask(&host, &["plugins", "charge"]).said();
    let lines: Vec<String> =
        shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in
        ["concurrency 16 on this host", "rate 10/s on this host", "key subject", "on_dead hold"]
    {
        assert!(lines.iter().any(|shown| shown == line), "{line} is not in\n{shown}");
    }
}
