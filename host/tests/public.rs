//! A public HTTP component that was not written for this host, as it comes: `cargo xtask test`
//! fetches and builds it.

use serde_json::json;

use crate::support::{Host, SOURCE, Site, built};

#[test]
fn a_public_http_component_works_when_it_is_dropped_in() {
    let Some(component) = built("public/http-server.wasm") else { return };
    let config = format!(
        "{SOURCE}[routes]\n\"test:video.*\" = [\"echo\", \"status\", \"nowhere\"]\n\
         [plugins.echo]\npath = \"/echo\"\ninstance = \"reuse\"\n\
         [plugins.status]\npath = \"/response-status\"\nretry = {{ max_attempts = 1 }}\n\
         [plugins.nowhere]\npath = \"/nowhere\"\n"
    );
    let files: Vec<(&str, &[u8])> = ["echo.wasm", "status.wasm", "nowhere.wasm"]
        .map(|name| (name, component.as_slice()))
        .into();
    let site = Site::new(&config, &files);
    let host = Host::start(&site);
    let contract = host.until_plugin("echo", "loaded")["contract"].as_str().unwrap().to_owned();
    assert!(contract.starts_with("http@0.2."), "{contract}");
    let orders = ["order_1", "order_2"].map(|order| host.send("video.done", order));
    host.settled();
    for event in orders.map(|id| host.event(&id)) {
        let state = |plugin: &str| {
            let deliveries = event["deliveries"].as_array().unwrap();
            let found = deliveries.iter().find(|delivery| delivery["plugin"] == plugin).unwrap();
            (found["state"].clone(), found["attempts"][0]["outcome"].clone())
        };
        assert_eq!(state("echo"), (json!("done"), json!("ok")), "{event}");
        assert_eq!(
            state("status"),
            (json!("dead"), json!("retry")),
            "a 500 may succeed later: {event}"
        );
        assert_eq!(state("nowhere"), (json!("dead"), json!("reject")), "a 404 never will: {event}");
    }
}
